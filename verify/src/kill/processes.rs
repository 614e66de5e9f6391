//! The other half of the stage `kill`: processes killed while they start, run and end, through the library's own `Process`.
//!
//! This program is started once more as the root of a family with one thread. It starts one victim at a time: a child that
//! dies between its first instruction and its last, a parent that dies while it starts a child of its own, a child's child, or
//! a fork server and its forks. Who died must be told as it was, what it committed must be there, and after each death nothing may be left: no process (this one adopts
//! the orphans, so that it can wait for the last of them), no region, page, slot, lane or descriptor.

mod tally;

use super::dice::Dice;
use super::forkservers;
use super::system;
use offspring::{Process, Queue};
use offspring_core::points::{self, Point};
use offspring_core::prim::{AtomicU32, Ordering};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::time::{Duration, Instant};
pub(super) use tally::Tally;

/// The environment variable that names the point at which a child dies, and the visit.
pub(super) const KILL_AT: &str = "OFFSPRING_VERIFY_KILL_AT";
/// The longest that a victim lives before it is killed from outside: longer than a start and an end take.
const LONGEST_LIFE_MICROS: u32 = 4000;
/// Longer than a sleeper trusts that it is told of every death.
const A_BACKSTOP: Duration = Duration::from_millis(1100);
/// No death, end and count takes that long: then this program is stuck, and ends by a signal.
const WATCHDOG_SECONDS: u32 = 120;

/// The points of a process's start that its parent passes.
const OF_PARENTS: [Point; 3] = [Point::StartRecorded, Point::StartForked, Point::StartSent];
/// The points of a process's start and end that it passes itself.
pub(super) const OF_CHILDREN: [Point; 5] = [
    Point::ChildJoined,
    Point::ChildRead,
    Point::ChildRan,
    Point::ChildResultWritten,
    Point::ChildCommitted,
];

/// The points that a fork server passes.
pub(super) const OF_SERVERS: [Point; 5] = [
    Point::ServeAsked,
    Point::ServeForked,
    Point::ServeAnswered,
    Point::ServeReaped,
    Point::ServeTold,
];

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Seed of the dice.
    pub seed: u64,
    /// When to end, once each point has its kills.
    pub until: Instant,
    /// Kills wanted at each point.
    pub least: u64,
    /// Kills wanted of parents, of children, of grandchildren and of fork servers: of each.
    pub each: u64,
}

/// Where a victim is to die.
#[derive(Clone, Copy, Debug)]
pub(super) enum Death {
    /// By itself, at the so-manyth visit to a point.
    At(Point, u32),
    /// From outside, after so long.
    After(Duration),
}

/// Who is to die.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// A child of this one, while it starts children.
    Parent,
    Child,
    /// A child's child; its parent lives, and tells.
    Grandchild,
    Server,
}

impl Who {
    const ALL: [Self; 4] = [Self::Parent, Self::Child, Self::Grandchild, Self::Server];

    /// Those that this system has.
    fn here() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|who| *who != Self::Server || forkservers::are_here())
    }

    fn of(point: Point) -> Self {
        match point {
            _ if OF_PARENTS.contains(&point) => Self::Parent,
            _ if OF_SERVERS.contains(&point) => Self::Server,
            _ => Self::Child,
        }
    }

    /// The points at which it is told to die most of the time.
    fn points(self) -> &'static [Point] {
        match self {
            Self::Parent => &OF_PARENTS,
            Self::Child | Self::Grandchild => &OF_CHILDREN,
            Self::Server => &OF_SERVERS,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Child => "child",
            Self::Grandchild => "grandchild",
            Self::Server => "fork server",
        }
    }
}

/// The points that must have their kills.
fn named() -> impl Iterator<Item = Point> {
    let servers = if forkservers::are_here() { &OF_SERVERS[..] } else { &[] };
    OF_PARENTS.iter().chain(&OF_CHILDREN).chain(servers).copied()
}

/// Where the hook lets this process die: number of the point, and visits still to come.
static POINT: AtomicU32 = AtomicU32::new(u32::MAX);
static VISITS: AtomicU32 = AtomicU32::new(0);

fn die_at(point: u32, visit: u32) {
    VISITS.store(visit, Ordering::Relaxed);
    POINT.store(point, Ordering::Relaxed);
    points::set_hook(Some(|point| {
        if point as u32 == POINT.load(Ordering::Relaxed)
            && VISITS.fetch_sub(1, Ordering::Relaxed) == 1
        {
            system::kill_self();
        }
    }));
}

/// What a child gets and gives: longer than its record has room for, with a handle inside.
type Load = (Queue<u8>, Vec<u8>);

fn grow((queue, mut bytes): Load) -> Load {
    // Full only if nobody looks: the harness empties it.
    let put = queue.try_put(5);
    debug_assert!(put.is_ok());
    bytes.extend_from_within(..);
    (queue, bytes)
}

/// Starts one that waits for ever, and is killed by this process's death, or by this process.
fn start_one((point, visit, queue): (u32, u32, Queue<u8>)) {
    if visit != 0 {
        die_at(point, visit);
    }
    loop {
        let child = Process::spawn(wait_for_ever, (queue.clone(), vec![0; 5000]));
        let Ok(child) = child else { return };
        let _ = child.kill();
        child.wait();
        if visit != 0 {
            return;
        }
    }
}

fn wait_for_ever((queue, _): Load) {
    let _ = queue.get();
}

/// What is in use in the family, and this process's descriptors.
type InUse = (Option<offspring::__InUse>, usize);

fn in_use() -> InUse {
    (offspring::__in_use().ok(), system::open_files())
}

/// Runs the half; its children end inside.
pub fn harness(orders: Orders) -> ExitCode {
    let plan = std::env::var(KILL_AT).ok();
    if let Some((point, visit)) = plan.as_deref().and_then(|plan| plan.split_once(':'))
        && let (Ok(point), Ok(visit)) = (point.parse(), visit.parse())
    {
        die_at(point, visit);
    }
    let _main = offspring::init();
    if let Err(error) = system::adopt_orphans() {
        eprintln!("kill: {error}");
        return ExitCode::FAILURE;
    }
    let begin = Instant::now();
    match run(orders) {
        Ok(tally) => {
            tally.tell(&orders, begin.elapsed());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("kill: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(orders: Orders) -> Result<Tally, String> {
    let mut tally = Tally::new();
    let mut dice = Dice::new(orders.seed);
    // What a first use makes for good is not counted.
    let keep = Queue::<u8>::bounded(1).map_err(|error| error.to_string())?;
    child_case(None, &mut tally)?;
    parent_case(Death::At(Point::StartSent, 1), &mut tally)?;
    system::await_orphans();
    if forkservers::are_here() {
        forkservers::case(None, &mut tally)?;
    }
    tally = Tally::new();
    let before = in_use();
    let mut wanted: Vec<Point> = Vec::new();
    loop {
        if wanted.is_empty() {
            let missing = |point: &Point| tally.at[*point as usize] < orders.least;
            wanted.extend(named().filter(missing));
        }
        let few: Vec<Who> = Who::here().filter(|who| tally.of(*who) < orders.each).collect();
        if wanted.is_empty() && few.is_empty() && Instant::now() >= orders.until {
            break;
        }
        system::watchdog(WATCHDOG_SECONDS);
        let (who, death) = match wanted.pop() {
            Some(point) => (Who::of(point), Death::At(point, 1)),
            None => {
                let who = match dice.pick(&few) {
                    Some(who) => who,
                    None => dice.pick(&Who::here().collect::<Vec<_>>()).unwrap_or(Who::Child),
                };
                (who, any_death(who, &mut dice, &tally))
            }
        };
        let case = match who {
            Who::Parent => parent_case(death, &mut tally),
            Who::Child => child_case(Some(death), &mut tally),
            Who::Grandchild => grandchild_case(death, &mut tally),
            Who::Server => forkservers::case(Some(death), &mut tally),
        };
        let who = who.name();
        case.map_err(|error| format!("a {who} to be killed {death:?}: {error}"))?;
        system::await_orphans();
        let mut now = in_use();
        if now != before {
            // One who died between its first word in the registry and its first life word, and whose parent died before it was
            // told: the next survivor that sleeps until its backstop asks the system about everybody.
            tally.patrols += 1;
            let nothing = keep.get_timeout(A_BACKSTOP);
            debug_assert!(nothing.is_err());
            now = in_use();
        }
        if now != before {
            let what = format_args!("{now:?}, before {before:?}");
            tally.complain(format_args!("left over by a {who} killed {death:?}: {what}"));
        }
        tally.cases += 1;
        if tally.cases.is_multiple_of(50) {
            println!("say\t{} processes, {} killed", tally.cases, tally.kills());
        }
    }
    drop(keep);
    Ok(tally)
}

/// Where the next one is to die: half of the time at a point of its own, else where somebody died before, at any point at all,
/// or from outside.
fn any_death(who: Who, dice: &mut Dice, tally: &Tally) -> Death {
    let reached = || Point::ALL.iter().copied().filter(|point| tally.at[*point as usize] != 0);
    let points = match dice.below(100) {
        0..50 => who.points().to_vec(),
        50..56 => reached().collect(),
        56..60 => Point::ALL.to_vec(),
        _ => Vec::new(),
    };
    match dice.pick(&points) {
        Some(point) => Death::At(point, 1 + dice.below(3)),
        None => Death::After(Duration::from_micros(dice.below(LONGEST_LIFE_MICROS).into())),
    }
}

/// What whoever started a child saw of it.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) killed: bool,
    /// From a kill from outside until the end was told.
    pub(super) told: Option<Duration>,
    pub(super) wrong: Vec<String>,
}

fn child_case(death: Option<Death>, tally: &mut Tally) -> Result<(), String> {
    tally.enter(Who::Child, death, see_child(death)?);
    Ok(())
}

/// Its parent, a child of this process, lives on, and tells what it saw.
fn grandchild_case(death: Death, tally: &mut Tally) -> Result<(), String> {
    let (point, visit, life) = match death {
        Death::At(point, visit) => (point as u32, visit, Duration::ZERO),
        Death::After(life) => (0, 0, life),
    };
    let parent = Process::spawn(
        |(point, visit, life): (u32, u32, Duration)| {
            let death = match Point::ALL.get(point as usize) {
                Some(point) if visit != 0 => Death::At(*point, visit),
                _ => Death::After(life),
            };
            see_child(Some(death))
        },
        (point, visit, life),
    );
    let seen = parent.map_err(|error| error.to_string())?.join();
    tally.enter(Who::Grandchild, Some(death), seen.map_err(|error| format!("{error:?}"))??);
    Ok(())
}

/// A child with arguments and a value too long for its record, both with a handle, dies or not. For a process of one thread.
fn see_child(death: Option<Death>) -> Result<Seen, String> {
    let failed = |error: offspring::Error| error.to_string();
    let mut seen = Seen::default();
    let queue = Queue::<u8>::bounded(1).map_err(failed)?;
    if let Some(Death::At(point, visit)) = death {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var(KILL_AT, format!("{}:{visit}", point as u32)) };
    }
    let child = Process::spawn(grow, (queue, vec![7; 5000]));
    // SAFETY: as above.
    unsafe { std::env::remove_var(KILL_AT) };
    let child = child.map_err(failed)?;
    if let Some(Death::After(life)) = death
        && child.wait_timeout(life).is_none()
    {
        let begin = Instant::now();
        child.kill().map_err(failed)?;
        child.wait();
        seen.told = Some(begin.elapsed());
    }
    let status = child.wait();
    let killed = status.signal() == Some(system::KILLED);
    seen.killed = killed;
    let mut wrong = |what: std::fmt::Arguments<'_>| seen.wrong.push(what.to_string());
    if !killed && !status.success() {
        wrong(format_args!("a child to be killed {death:?} ended with {status}"));
    }
    match child.join() {
        Ok((queue, bytes)) => {
            let whole = bytes.len() == 10_000 && bytes.iter().all(|byte| *byte == 7);
            if !whole || queue.try_get().ok() != Some(5) {
                wrong(format_args!("TORN: the value of a child killed {death:?}"));
            }
            if killed
                && matches!(death, Some(Death::At(point, 1)) if OF_CHILDREN[..4].contains(&point))
            {
                wrong(format_args!("a value came of a child killed {death:?}"));
            }
        }
        Err(error) => {
            if !killed || !error.is_killed() {
                wrong(format_args!("of a child killed {death:?} was told: {error}"));
            }
            if matches!(death, Some(Death::At(Point::ChildCommitted, 1))) {
                wrong(format_args!("LOST: the value of a child killed {death:?}: {error}"));
            }
        }
    }
    Ok(seen)
}

/// A child dies while it starts children of its own.
fn parent_case(death: Death, tally: &mut Tally) -> Result<(), String> {
    let failed = |error: offspring::Error| error.to_string();
    let queue = Queue::<u8>::bounded(1).map_err(failed)?;
    let (point, visit) = match death {
        Death::At(point, visit) => (point as u32, visit),
        Death::After(_) => (0, 0),
    };
    let parent = Process::spawn(start_one, (point, visit, queue.clone())).map_err(failed)?;
    if let Death::After(life) = death
        && parent.wait_timeout(life * 4).is_none()
    {
        parent.kill().map_err(failed)?;
    }
    match parent.join() {
        Ok(()) => tally.count(Who::Parent, Some(death), false),
        Err(error) => {
            if !error.is_killed() || error.status().signal() != Some(system::KILLED) {
                tally.complain(format_args!("of a parent killed {death:?} was told: {error}"));
            }
            tally.count(Who::Parent, Some(death), true);
        }
    }
    // The orphan may have been waiting for an item: it took none.
    if queue.try_put(1).is_err() {
        tally.complain(format_args!("a queue that nobody put anything into is full"));
    }
    Ok(())
}

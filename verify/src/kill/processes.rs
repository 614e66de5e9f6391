//! The other half of the stage `kill`: processes killed while they start, run and end, through the library's own `Process`.
//!
//! This program is started once more as the root of a family with one thread. It starts one victim at a time: a child that
//! dies between its first instruction and its last, or a parent that dies while it starts a child of its own. Who died
//! must be told as it was, what it committed must be there, and after each death nothing may be left: no process (this one adopts
//! the orphans, so that it can wait for the last of them), no region, page, slot, lane or descriptor.

use super::dice::Dice;
use super::forkservers;
use super::print_row;
use super::system;
use offspring::{Process, Queue};
use offspring_core::points::{self, Point};
use offspring_core::prim::{AtomicU32, Ordering};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

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
enum Who {
    Parent,
    Child,
    Server,
}

impl Who {
    fn of(point: Point) -> Self {
        match point {
            _ if OF_PARENTS.contains(&point) => Self::Parent,
            _ if OF_SERVERS.contains(&point) => Self::Server,
            _ => Self::Child,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Child => "child",
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
    let mut tally = Tally { at: vec![0; Point::ALL.len()], ..Tally::default() };
    let mut dice = Dice::new(orders.seed);
    // What a first use makes for good is not counted.
    let keep = Queue::<u8>::bounded(1).map_err(|error| error.to_string())?;
    child_case(None, &mut tally)?;
    parent_case(Death::At(Point::StartSent, 1), &mut tally)?;
    system::await_orphans();
    if forkservers::are_here() {
        forkservers::case(None, &mut tally)?;
    }
    tally = Tally { at: vec![0; Point::ALL.len()], ..Tally::default() };
    let before = in_use();
    let mut wanted: Vec<Point> = Vec::new();
    loop {
        if wanted.is_empty() {
            let missing = |point: &Point| tally.at[*point as usize] < orders.least;
            wanted.extend(named().filter(missing));
            if wanted.is_empty() && Instant::now() >= orders.until {
                break;
            }
        }
        system::watchdog(WATCHDOG_SECONDS);
        let (who, death) = match wanted.pop() {
            Some(point) => (Who::of(point), Death::At(point, 1)),
            None => {
                // Mostly where somebody died before: the points of other objects are never reached.
                let reached: Vec<Point> =
                    Point::ALL.iter().copied().filter(|p| tally.at[*p as usize] != 0).collect();
                let all = if dice.percent(80) { &reached[..] } else { Point::ALL };
                let point = dice.pick(all).unwrap_or(Point::ChildRan);
                let micros = dice.below(LONGEST_LIFE_MICROS);
                let after = Death::After(Duration::from_micros(micros.into()));
                let at = Death::At(point, 1 + dice.below(3));
                let who = match dice.below(100) {
                    0..30 => Who::Parent,
                    30..50 if forkservers::are_here() => Who::Server,
                    _ => Who::Child,
                };
                (who, if dice.percent(60) { at } else { after })
            }
        };
        let case = match who {
            Who::Parent => parent_case(death, &mut tally),
            Who::Child => child_case(Some(death), &mut tally),
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

/// A child with arguments and a value too long for its record, both with a handle, dies or not.
fn child_case(death: Option<Death>, tally: &mut Tally) -> Result<(), String> {
    let failed = |error: offspring::Error| error.to_string();
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
        tally.told.push(begin.elapsed());
    }
    let status = child.wait();
    let killed = status.signal() == Some(system::KILLED);
    if !killed && !status.success() {
        tally.complain(format_args!("a child to be killed {death:?} ended with {status}"));
    }
    tally.count(death, killed);
    match child.join() {
        Ok((queue, bytes)) => {
            let whole = bytes.len() == 10_000 && bytes.iter().all(|byte| *byte == 7);
            if !whole || queue.try_get().ok() != Some(5) {
                tally.complain(format_args!("TORN: the value of a child killed {death:?}"));
            }
            if killed
                && matches!(death, Some(Death::At(point, 1)) if OF_CHILDREN[..4].contains(&point))
            {
                tally.complain(format_args!("a value came of a child killed {death:?}"));
            }
        }
        Err(error) => {
            if !killed || !error.is_killed() {
                tally.complain(format_args!("of a child killed {death:?} was told: {error}"));
            }
            if matches!(death, Some(Death::At(Point::ChildCommitted, 1))) {
                tally
                    .complain(format_args!("LOST: the value of a child killed {death:?}: {error}"));
            }
        }
    }
    Ok(())
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
        Ok(()) => tally.count(Some(death), false),
        Err(error) => {
            if !error.is_killed() || error.status().signal() != Some(system::KILLED) {
                tally.complain(format_args!("of a parent killed {death:?} was told: {error}"));
            }
            tally.count(Some(death), true);
        }
    }
    // The orphan may have been waiting for an item: it took none.
    if queue.try_put(1).is_err() {
        tally.complain(format_args!("a queue that nobody put anything into is full"));
    }
    Ok(())
}

/// What was counted.
#[derive(Default)]
pub(super) struct Tally {
    at: Vec<u64>,
    outside: u64,
    unkilled: u64,
    cases: u64,
    /// Deaths that nobody was told of, which the backstop found.
    patrols: u64,
    /// From a kill until its process's end was told.
    told: Vec<Duration>,
    complaints: u64,
    text: String,
}

/// Complaints that are told whole.
const MOST_TOLD: u64 = 20;

impl Tally {
    pub(super) fn count(&mut self, death: Option<Death>, killed: bool) {
        match death {
            Some(Death::At(point, _)) if killed => self.at[point as usize] += 1,
            Some(Death::After(_)) if killed => self.outside += 1,
            _ => self.unkilled += 1,
        }
    }

    fn kills(&self) -> u64 {
        self.outside + self.at.iter().sum::<u64>()
    }

    pub(super) fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.complaints += 1;
        if self.complaints <= MOST_TOLD {
            let _ = writeln!(self.text, "{what}");
        }
    }

    fn tell(mut self, orders: &Orders, took: Duration) {
        for point in named() {
            let kills = self.at[point as usize];
            let few = (kills < orders.least)
                .then(|| format!("only {kills} kills, {} wanted", orders.least));
            print_row(
                &format!("killed at {}", point.name()),
                &format!("{kills:7} kills"),
                few.as_deref(),
            );
        }
        let points = self.at.iter().filter(|kills| **kills != 0).count();
        let wrong = (self.complaints != 0).then(|| {
            format!("{} violations, seed {}:\n{}", self.complaints, orders.seed, self.text)
        });
        print_row(
            "processes",
            &format!(
                "{} killed at {points} points, {} from outside, {} ended by themselves, {:.0} a second",
                self.kills() - self.outside,
                self.outside,
                self.unkilled,
                self.cases as f64 / took.as_secs_f64()
            ),
            wrong.as_deref(),
        );
        self.told.sort();
        let at = |percent: usize| {
            self.told.get(self.told.len() * percent / 100).copied().unwrap_or_default()
        };
        print_row(
            "  end told",
            &format!("p50 {:.1?}, p99 {:.1?} after the kill", at(50), at(99)),
            None,
        );
        print_row(
            "  leftovers",
            &format!(
                "orphans, regions, pages, slots, lanes, descriptors: after every death; {} found by the backstop",
                self.patrols
            ),
            None,
        );
    }
}

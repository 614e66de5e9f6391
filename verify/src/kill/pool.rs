//! Pools whose workers are killed: at named points, by an order that a worker finds when it starts, and at any instruction.
//!
//! This program is started once more as the root of a family, and owns two pools: one that tries tasks again, one that does
//! not. Each round gives one of them some hundred numbers, by `map`, `imap`, `imap_unordered` or one by one, in chunks of all
//! sizes. With retries every result must be there once and right. Without, every task has one outcome, and ran once at most,
//! which it notes itself in a page that nobody's death tears. Now and then a process that owns a pool is killed, and nothing may be
//! left of either.

use super::dice::Dice;
use super::{print_row, system};
use offspring::pool::{TaskError, Watch};
use offspring::{Pool, Process, Queue};
use offspring_core::points::{self, Point};
use offspring_core::prim::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use offspring_os_unix::pidfd::PidFd;
use std::fmt::Write as _;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The points of a worker that no other object has.
const OF_WORKERS: [Point; 7] = [
    Point::PoolLeased,
    Point::PoolBegun,
    Point::PoolClaimed,
    Point::PoolTaskBegun,
    Point::PoolTaskDone,
    Point::PoolRan,
    Point::PoolReplied,
];
const WORKERS: usize = 3;
const TASKS: u64 = 300;
/// Rounds between two counts of what is left.
const ROUNDS: u64 = 12;
/// Orders that wait for workers to find them.
const ORDERS: usize = 8;
const WATCHDOG_SECONDS: u32 = 120;
/// Kills wanted in all: in the full version, and in the quick one.
const LEAST: u64 = 1000;
const LEAST_QUICK: u64 = 60;

/// What the workers note, in memory that all of them map.
#[repr(C)]
struct Page {
    /// Deaths by order, by point.
    deaths: [AtomicU64; 512],
    /// How often each task of the round began.
    ran: [AtomicU32; TASKS as usize],
}

static PAGE: OnceLock<&'static Page> = OnceLock::new();

fn map(file: &File) -> Option<&'static Page> {
    let len = size_of::<Page>();
    // SAFETY: a fresh mapping of a file that was made that long and stays so.
    let at = unsafe {
        let (rights, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        libc::mmap(std::ptr::null_mut(), len, rights, shared, file.as_raw_fd(), 0)
    };
    // SAFETY: mapped for good, page-aligned, and all of it atomics.
    (at != libc::MAP_FAILED).then(|| unsafe { &*at.cast::<Page>() })
}

/// What a worker does first: it maps the page, and takes an order if one is there.
fn arm((path, orders): (String, Queue<(u32, u32)>)) {
    static POINT: AtomicU32 = AtomicU32::new(u32::MAX);
    static VISITS: AtomicU32 = AtomicU32::new(0);
    let file = File::options().read(true).write(true).open(path).expect("the page is there");
    let page = map(&file).expect("the page can be mapped");
    PAGE.get_or_init(|| page);
    let Ok((point, visit)) = orders.try_get() else { return };
    drop(orders);
    POINT.store(point, Ordering::Relaxed);
    VISITS.store(visit, Ordering::Relaxed);
    points::set_hook(Some(|point| {
        if point as u32 == POINT.load(Ordering::Relaxed)
            && VISITS.fetch_sub(1, Ordering::Relaxed) == 1
            && let Some(page) = PAGE.get()
        {
            page.deaths[point as usize].fetch_add(1, Ordering::Relaxed);
            system::kill_self();
        }
    }));
}

/// The task: notes that it ran.
fn note(n: u64) -> u64 {
    if let Some(page) = PAGE.get() {
        page.ran[n as usize].fetch_add(1, Ordering::Relaxed);
    }
    // Some take long enough to be killed amid.
    if n.is_multiple_of(16) {
        std::thread::sleep(Duration::from_micros(200));
    }
    value(n)
}

fn value(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Owns a pool until it is killed.
fn own_a_pool(_: ()) {
    let Ok(pool) = Pool::builder().workers(2).build() else { return };
    let for_ever = |_: u8| -> u8 {
        loop {
            std::thread::park();
        }
    };
    let _busy = pool.submit(for_ever, 0);
    loop {
        let _ = pool.map(value, 0..1000);
    }
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Seed of the dice.
    pub seed: u64,
    /// When to end, once there were enough kills.
    pub until: Instant,
    /// The small version.
    pub quick: bool,
}

/// Runs the harness.
pub fn harness(orders: Orders) -> ExitCode {
    let _main = offspring::init();
    let begin = Instant::now();
    let ran = system::adopt_orphans().map_err(Into::into).and_then(|()| run(orders));
    match ran {
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

type AnyError = Box<dyn std::error::Error>;

fn run(orders: Orders) -> Result<Tally, AnyError> {
    // SAFETY: takes a name and an integer; the descriptor is nobody else's.
    let file = unsafe {
        let fd = libc::memfd_create(c"pool-notes".as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        File::from_raw_fd(fd)
    };
    file.set_len(size_of::<Page>() as u64)?;
    let page = map(&file).ok_or("map the page")?;
    PAGE.get_or_init(|| page);
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let mut tally = Tally::default();
    let mut dice = Dice::new(orders.seed);
    let mut before = None;
    let least = if orders.quick { LEAST_QUICK } else { LEAST };
    while Instant::now() < orders.until || tally.kills(page) < least {
        system::watchdog(WATCHDOG_SECONDS);
        life(&path, page, &mut dice, &mut tally)?;
        owner_is_killed(&mut dice, &mut tally)?;
        system::await_orphans();
        let now = (offspring::__in_use()?, system::open_files());
        // What a first use makes for good is not counted.
        let before = *before.get_or_insert(now);
        if now != before {
            tally.complain(format_args!("left over: {now:?}, before {before:?}"));
        }
        println!("say\t{} rounds, {} killed", tally.rounds, tally.kills(page));
    }
    tally.at = page.deaths.iter().map(|deaths| deaths.load(Ordering::Relaxed)).collect();
    Ok(tally)
}

/// Two pools from their making to their end.
fn life(path: &str, page: &Page, dice: &mut Dice, tally: &mut Tally) -> Result<(), AnyError> {
    let orders = Queue::<(u32, u32)>::bounded(ORDERS)?;
    let build = |retry| {
        Pool::builder()
            .workers(WORKERS)
            .retry(retry)
            .restart_limit(u32::MAX)
            .initialiser(arm, (path.to_owned(), orders.clone()))
            .build()
    };
    let (mut retries, mut once) = (build(u32::MAX - 1)?, build(0)?);
    for _ in 0..ROUNDS {
        while !orders.is_full() {
            let of = if dice.percent(60) { &OF_WORKERS[..] } else { Point::ALL };
            let point = dice.pick(of).unwrap_or(Point::PoolRan);
            orders.try_put((point as u32, 1 + dice.below(30)))?;
        }
        let pool = if dice.percent(60) { &retries } else { &once };
        page.ran.iter().for_each(|ran| ran.store(0, Ordering::Relaxed));
        let killer = dice.percent(50).then(|| Killer::start(pool.watch(), dice.any()));
        let lost_before = pool.stats().lost;
        let (outcomes, how) = one_round(pool, dice);
        tally.outside += killer.map_or(0, Killer::stop);
        tally.rounds += 1;
        let retried = std::ptr::eq(pool, &retries);
        tally.judge(page, &outcomes, retried, how, pool.stats().lost - lost_before);
    }
    for pool in [&mut retries, &mut once] {
        if dice.percent(50) {
            pool.close();
        } else {
            pool.terminate();
        }
        pool.join()?;
    }
    Ok(())
}

/// What came of each task, by its number.
type Outcomes = Vec<(u64, Result<u64, TaskError>)>;

fn one_round(pool: &Pool, dice: &mut Dice) -> (Outcomes, &'static str) {
    let size = NonZeroUsize::new(dice.pick(&[1, 2, 7, 50, 300]).unwrap_or(1));
    let size = size.unwrap_or(NonZeroUsize::MIN);
    match dice.below(4) {
        0 => {
            let results = pool.imap(note, 0..TASKS).chunk_size(size);
            ((0..).zip(results).collect(), "imap")
        }
        1 => {
            // The order says nothing: the value does, and what is lost is whatever is missing.
            let mut outcomes = Outcomes::new();
            let mut errors = Vec::new();
            for result in pool.imap_unordered(note, 0..TASKS).chunk_size(size) {
                match result {
                    Ok(found) => {
                        let number = (0..TASKS).find(|n| value(*n) == found).unwrap_or(u64::MAX);
                        outcomes.push((number, Ok(found)));
                    }
                    Err(error) => errors.push(error),
                }
            }
            let missing: Vec<u64> =
                (0..TASKS).filter(|n| !outcomes.iter().any(|(number, _)| number == n)).collect();
            outcomes.extend(missing.into_iter().zip(errors.into_iter().map(Err)));
            (outcomes, "imap_unordered")
        }
        2 => {
            let tasks: Vec<_> = (0..TASKS).map(|n| (n, pool.submit(note, n))).collect();
            let get = |task: offspring::Result<offspring::pool::Task<u64>>| match task {
                Ok(task) => task.get(),
                Err(error) => Err(TaskError::Broken(Arc::new(error))),
            };
            (tasks.into_iter().map(|(n, task)| (n, get(task))).collect(), "submit")
        }
        _ => {
            // All or one error: what a map gives is judged by its sum, each by itself by the others.
            let results = pool.imap(note, 0..TASKS);
            ((0..).zip(results).collect(), "imap, sized by time")
        }
    }
}

/// A process that owns a pool is killed.
fn owner_is_killed(dice: &mut Dice, tally: &mut Tally) -> Result<(), AnyError> {
    let owner = Process::spawn(own_a_pool, ())?;
    let _ = owner.wait_timeout(Duration::from_micros(dice.below(30_000).into()));
    owner.kill()?;
    let status = owner.wait();
    if status.signal() != Some(libc::SIGKILL) {
        tally.complain(format_args!("the owner of a pool ended otherwise: {status}"));
    }
    tally.owners += 1;
    Ok(())
}

/// A thread that kills workers at random moments.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Killer {
    fn start(watch: Watch, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut dice = Dice::new(seed);
            let mut killed = 0;
            while !stopped.load(Ordering::Relaxed) {
                // The moment is random, not a wait for something.
                std::thread::sleep(Duration::from_micros(u64::from(dice.below(6000))));
                let workers = watch.stats().workers;
                let Some(victim) = dice.pick(&(0..workers.len()).collect::<Vec<_>>()) else {
                    continue;
                };
                let pid = workers[victim].pid;
                // Still there once it has a name for good: then the name is its own.
                if let Ok(name) = PidFd::open(pid)
                    && watch.stats().workers.iter().any(|worker| worker.pid == pid)
                    && name.send_signal(libc::SIGKILL).is_ok()
                {
                    killed += 1;
                }
            }
            killed
        });
        Self { stop, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}

/// What was counted.
#[derive(Default)]
struct Tally {
    at: Vec<u64>,
    outside: u64,
    rounds: u64,
    owners: u64,
    results: u64,
    lost: u64,
    again: u64,
    complaints: u64,
    text: String,
}

const MOST_TOLD: u64 = 20;

impl Tally {
    fn kills(&self, page: &Page) -> u64 {
        let by_order: u64 = page.deaths.iter().map(|deaths| deaths.load(Ordering::Relaxed)).sum();
        self.outside + by_order
    }

    fn judge(&mut self, page: &Page, outcomes: &Outcomes, retried: bool, how: &str, lost: u64) {
        let mut seen = [0_u32; TASKS as usize];
        let mut told_lost = 0;
        for (n, outcome) in outcomes {
            let Some(seen) = seen.get_mut(*n as usize) else {
                self.complain(format_args!("{how}: a value that no task gives: {outcome:?}"));
                continue;
            };
            *seen += 1;
            let ran = page.ran[*n as usize].load(Ordering::Relaxed);
            match outcome {
                Ok(found) if *found == value(*n) && ran >= 1 => self.results += 1,
                Err(TaskError::WorkerLost { .. }) if !retried => told_lost += 1,
                other => {
                    self.complain(format_args!("{how}: task {n} that ran {ran} times: {other:?}"))
                }
            }
            if !retried && ran > 1 {
                self.complain(format_args!("{how}: task {n} ran {ran} times"));
            }
            self.again += u64::from(ran.saturating_sub(1));
        }
        if seen.iter().any(|times| *times != 1) {
            let wrong = seen.iter().filter(|times| **times != 1).count();
            self.complain(format_args!("{how}: {wrong} tasks have no outcome, or more than one"));
        }
        if !retried && told_lost != lost {
            self.complain(format_args!("{how}: {told_lost} told as lost, {lost} counted"));
        }
        self.lost += lost;
    }

    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.complaints += 1;
        if self.complaints <= MOST_TOLD {
            let _ = writeln!(self.text, "{what}");
        }
    }

    fn tell(self, orders: &Orders, took: Duration) {
        for point in OF_WORKERS {
            let kills = self.at[point as usize];
            let none = (kills == 0).then(|| "nobody was killed here".to_owned());
            let name = format!("killed at {}", point.name());
            print_row(&name, &format!("{kills:7} kills"), none.as_deref());
        }
        let (by_order, points): (u64, usize) =
            (self.at.iter().sum(), self.at.iter().filter(|kills| **kills != 0).count());
        let wrong = (self.complaints != 0).then(|| {
            format!("{} violations, seed {}:\n{}", self.complaints, orders.seed, self.text)
        });
        let a_second = (by_order + self.outside) as f64 / took.as_secs_f64();
        print_row(
            "pool",
            &format!(
                "{by_order} workers killed at {points} points, {} from outside, {a_second:.0} a second, in {} rounds",
                self.outside, self.rounds
            ),
            wrong.as_deref(),
        );
        let text = format!(
            "{} exact, {} tasks lost with their workers, {} ran again",
            self.results, self.lost, self.again
        );
        print_row("  results", &text, None);
        let text =
            format!("{} owners of pools killed: no orphan, region, lane, descriptor", self.owners);
        print_row("  leftovers", &text, None);
    }
}

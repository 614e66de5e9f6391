//! What the tests across processes share: a watchdog, a look at processes that sleep, and the count of what is left.
#![allow(dead_code, clippy::disallowed_types)] // each program uses its part; equipment is not what loom explores

pub mod arena;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

pub use system::*;

use offspring::{__InUse as InUse, Process};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longer than anything that is awaited here takes on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a kill, a request to end, and an abort are told as; everywhere.
pub const SIGKILL: i32 = 9;
/// See [`SIGKILL`].
pub const SIGTERM: i32 = 15;
/// See [`SIGKILL`].
pub const SIGABRT: i32 = 6;

/// Waits until `done`, for states that no one is told of.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Kills a process and waits until it is gone.
#[track_caller]
pub fn kill<R>(process: &Process<R>) {
    process.kill().unwrap();
    assert_eq!(process.wait().signal(), Some(SIGKILL));
}

/// What must be as before once a test is over. Tests that count are one at a time.
pub struct Audit {
    before: Figures,
    _one: MutexGuard<'static, ()>,
}

#[derive(Clone, Copy, Debug)]
struct Figures {
    used: InUse,
    /// 512-byte pieces of the arena that have memory.
    pieces: u64,
    /// Open descriptors.
    descriptors: usize,
}

impl Figures {
    fn now() -> Self {
        let used = offspring::__in_use().unwrap();
        Self { used, pieces: pieces(), descriptors: descriptors() }
    }

    /// Less is the end of a test's thread that was not quite over.
    fn within(&self, before: &Self) -> bool {
        self.used.regions <= before.used.regions
            && self.used.processes <= before.used.processes
            && self.used.lanes <= before.used.lanes
            && (self.pieces <= before.pieces || PAGES_MAY_BE_LEFT.load(Ordering::Relaxed))
            && self.descriptors <= before.descriptors
    }
}

static PAGES_MAY_BE_LEFT: AtomicBool = AtomicBool::new(false);

/// From here on the arena may keep pages: where an overwritten member table let a region go while it was in use, or where its
/// tables had to grow.
pub fn pages_may_be_left() {
    PAGES_MAY_BE_LEFT.store(true, Ordering::Relaxed);
}

/// Begins to count. What a first use makes for good is made before.
pub fn audit() -> Audit {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    warm_up();
    Audit { before: Figures::now(), _one: one }
}

fn warm_up() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let queue = offspring::Queue::<u32>::bounded(1).unwrap();
        Process::spawn(|queue: offspring::Queue<u32>| queue.put(1).unwrap(), queue.clone())
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(queue.get().unwrap(), 1);
    });
}

impl Drop for Audit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // A grandchild whose parent was killed ends by itself, and nothing tells its grandparent.
        let begun = Instant::now();
        loop {
            let now = Figures::now();
            if now.within(&self.before) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "left over: {now:?} of {:?}", self.before);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!has_children(), "a child is left, running or unreaped");
    }
}

/// Runs cases one after another, each counted, in a program of one thread.
pub fn run(cases: &[(&str, fn())]) {
    run_with(cases, || ());
}

/// As [`run`]; `after` each case, and before what it left is counted.
pub fn run_with(cases: &[(&str, fn())], after: fn()) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<_> = arguments.iter().filter(|text| !text.starts_with('-')).collect();
    let chosen = |name: &str| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let cases: Vec<_> = cases.iter().filter(|case| chosen(case.0)).collect();
    if arguments.iter().any(|text| text == "--list") {
        return cases.iter().for_each(|case| println!("{}: test", case.0));
    }
    println!("\nrunning {} tests", cases.len());
    for (name, case) in &cases {
        // A panic ends the program, and says where.
        println!("test {name} ...");
        let audit = audit();
        case();
        after();
        drop(audit);
        println!("test {name} ... ok");
    }
    println!("\ntest result: ok. {} passed; 0 failed\n", cases.len());
}

//! The runner, and what the cases share: children, shared words, gates.

use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Watch};
use offspring_os_unix::arena::Arena;
use offspring_os_unix::start::{Child, Fork};
use offspring_os_unix::status::{self, ExitStatus};
use offspring_os_unix::{futex, start};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A test: its name is a statement.
pub type Case = (&'static str, fn());

/// The cases of a module, by the names of their functions.
#[macro_export]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub const CASES: &[$crate::support::Case] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}

const WATCHDOG: u32 = 60;

/// Runs what the arguments ask for, as libtest would; returns the exit code.
pub fn run(cases: &[Case]) -> i32 {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|text| !text.starts_with('-')).collect();
    let chosen = |name: &str| {
        let exact = arguments.iter().any(|text| text == "--exact");
        let fits = |filter: &&String| {
            if exact { name == filter.as_str() } else { name.contains(filter.as_str()) }
        };
        filters.is_empty() || filters.iter().any(fits)
    };
    let name = |case: &Case| case.0.split_once("::").map_or(case.0, |(_, name)| name);
    let cases: Vec<&Case> = cases.iter().filter(|case| chosen(name(case))).collect();
    if arguments.iter().any(|text| text == "--list") {
        cases.iter().for_each(|case| println!("{}: test", name(case)));
        return 0;
    }
    println!("\nrunning {} tests", cases.len());
    let mut failed = 0;
    for case in &cases {
        let status = status::wait(&child(case.1));
        let passed = status.is_success();
        failed += u32::from(!passed);
        match passed {
            true => println!("test {} ... ok", name(case)),
            false => println!("test {} ... FAILED: it {status}", name(case)),
        }
    }
    let passed = cases.len() - failed as usize;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed\n");
    i32::from(failed != 0) * 101
}

/// Forks a child that runs `body` and exits with 0, or with 101 if that panics.
///
/// The caller has one thread, or `body` does nothing that needs a lock another thread may hold.
pub fn child(body: impl FnOnce()) -> Child {
    // SAFETY: see above.
    match unsafe { start::fork() }.unwrap() {
        Fork::Parent(child) => child,
        Fork::InChild => {
            // SAFETY: takes integers.
            unsafe { libc::alarm(WATCHDOG) };
            let code = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(()) => 0,
                Err(_) => 101,
            };
            // SAFETY: ends the process without running what the parent registered.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for a child and wants it to have exited with 0.
#[track_caller]
pub fn join(child: &Child) {
    assert_eq!(status::wait(child), ExitStatus::Code(0));
}

pub fn kill(child: &Child) {
    child.pidfd().send_signal(libc::SIGKILL).unwrap();
}

pub const KILLED: ExitStatus = ExitStatus::Signal { signal: libc::SIGKILL, core_dumped: false };

/// A page of zeroed words that children share; leaked.
pub fn shared() -> &'static [AtomicU32] {
    let arena = Box::leak(Box::new(Arena::create(65536).unwrap()));
    arena.commit(0, 65536).unwrap();
    let words = arena.base().cast::<AtomicU32>();
    // SAFETY: the mapping is leaked, zeroed, aligned to pages, and 65536 bytes long.
    unsafe { std::slice::from_raw_parts(words.as_ptr(), 65536 / 4) }
}

pub fn after_millis(millis: u64) -> Deadline {
    futex::now().after(millis * 1_000_000)
}

/// Sets `word` and wakes all that sleep on it.
pub fn set(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    futex::wake(word, u32::MAX);
}

/// Sleeps until `word` is at least `value`; the watchdog ends it otherwise.
pub fn until(word: &AtomicU32, value: u32) {
    loop {
        let seen = word.load(Ordering::Acquire);
        if seen >= value {
            return;
        }
        let _ = futex::wait(&[Watch { word, seen }], None);
    }
}

/// Adds one and wakes all that sleep on it.
pub fn count(word: &AtomicU32) {
    word.fetch_add(1, Ordering::AcqRel);
    futex::wake(word, u32::MAX);
}

/// Sleeps until something kills this process.
pub fn stand() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// Returns once the only thread of `child` sleeps in the kernel.
pub fn until_asleep(child: &Child) {
    let stat = format!("/proc/{}/stat", child.pid());
    while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
        std::thread::yield_now();
    }
}

/// The middle and the last but hundredth of some times, in microseconds.
pub fn middle_and_p99(mut nanos: Vec<u64>) -> String {
    nanos.sort_unstable();
    let at = |share: f64| nanos[((nanos.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    format!("p50 {:.1} µs, p99 {:.1} µs of {}", at(0.5), at(0.99), nanos.len())
}

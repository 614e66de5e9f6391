//! A panic is told as one, whether the stack unwinds or the process aborts: run with either `-C panic`.

use offspring::{Process, process::JoinError};

const ABORTS: bool = cfg!(panic = "abort");

fn main() {
    let _main = offspring::init();
    let error = Process::spawn(halve, 7).unwrap().join().unwrap_err();
    check(&error, "7 is odd");
    assert_eq!(error.status().code(), (!ABORTS).then_some(101));
    assert_eq!(error.status().signal_name(), ABORTS.then_some("SIGABRT"));

    let joined = Process::spawn(halve_in_a_thread, 9).unwrap().join();
    match joined {
        Err(error) if ABORTS => check(&error, "9 is odd"),
        joined => assert_eq!(joined.unwrap(), None, "the thread's panic is the function's affair"),
    }

    let error = Process::spawn(abort, ()).unwrap().join().unwrap_err();
    assert!(error.is_killed() && !error.is_panic(), "{error}");
    println!("panics are told where they {}", if ABORTS { "abort" } else { "unwind" });
}

fn check(error: &JoinError, message: &str) {
    assert!(error.is_panic() && !error.is_killed() && !error.is_exit(), "{error}");
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), message);
    assert!(panic.location().unwrap().starts_with("tests/panics.rs:"), "{panic}");
}

fn halve(n: u32) -> u32 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n / 2
}

fn halve_in_a_thread(n: u32) -> Option<u32> {
    std::thread::spawn(move || halve(n)).join().ok()
}

fn abort(_: ()) {
    std::process::abort();
}

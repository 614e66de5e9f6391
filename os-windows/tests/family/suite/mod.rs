//! A family of real processes: they wait for each other, are terminated anywhere, and nothing is lost or stuck.
//!
//! This program starts itself again: `roles.rs` is what the children do. No wait here has a deadline or a backstop, so a wake
//! that is lost is a test that hangs, and a watchdog ends it.

mod crowd;
mod deaths;
mod kit;
mod roles;
mod waiting;

use std::time::Duration;

pub fn main() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(200));
        eprintln!("the watchdog ends this program");
        std::process::abort();
    });
    if roles::play_if_asked() {
        return;
    }
    let cases = [waiting::CASES, deaths::CASES, crowd::CASES].concat();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let chosen = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter));
    let cases: Vec<_> = cases.into_iter().filter(|(name, _)| chosen(name)).collect();
    println!("\nrunning {} tests", cases.len());
    for (name, case) in &cases {
        // A panic ends the program, and says where.
        println!("test {name} ...");
        case();
        println!("test {name} ... ok");
    }
    println!("\ntest result: ok. {} passed; 0 failed\n", cases.len());
}

/// A test and its name.
type Case = (&'static str, fn());

//! What this crate promises of processes, across real ones that are really terminated.
//!
//! This program starts itself again: `roles.rs` is what the children do. A watchdog ends a program that hangs, and with it
//! all that it started.

mod ends;
mod handles;
mod lifeline;
mod roles;

use offspring_os_windows::inherited;
use offspring_os_windows::lifeline::{Lifeline, LifelineEnd};
use offspring_os_windows::start::{Child, Start};
use std::ffi::OsString;
use std::os::windows::io::BorrowedHandle;
use std::time::Duration;

pub fn main() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(120));
        eprintln!("the watchdog ends this program");
        std::process::abort();
    });
    if roles::play_if_asked() {
        return;
    }
    let cases = [handles::CASES, lifeline::CASES, ends::CASES].concat();
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

/// A child that plays a role, with both ends of its lifeline.
struct Played {
    child: Child,
    lifeline: Lifeline,
    end: LifelineEnd,
}

/// Starts this program as `role`, whose number 3 is its lifeline and 4 and on are `handles`.
fn play(role: &str, more: &[OsString], handles: Vec<BorrowedHandle<'_>>) -> Played {
    let (lifeline, end) = Lifeline::pair().unwrap();
    let child = start(role, more, [vec![end.fd()], handles].concat(), &lifeline);
    Played { child, lifeline, end }
}

fn start(
    role: &str,
    more: &[OsString],
    handles: Vec<BorrowedHandle<'_>>,
    lifeline: &Lifeline,
) -> Child {
    let program = inherited::arguments().into_iter().take(1);
    let argv = program.chain([role.into()]).chain(more.iter().cloned()).collect();
    let env = inherited::environment_with("OFFSPRING_TEST", "value with = and \u{fc}");
    Start { argv, env, ..Start::tied(lifeline, handles) }.spawn().unwrap()
}

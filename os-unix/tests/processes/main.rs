//! What this crate promises, across real processes that are really killed.
//!
//! Each case runs in a forked child of this process, which has one thread, with a watchdog of 60 s. Cases may
//! start this program again: see `again.rs`.

mod again;
mod arena;
mod barrier;
mod fallbacks;
mod forkserver;
mod futex;
mod generation;
mod life;
mod lifeline;
mod pidfd;
mod start;
mod status;
mod support;

fn main() {
    again::run_if_asked();
    let cases = [
        arena::CASES,
        barrier::CASES,
        fallbacks::CASES,
        forkserver::CASES,
        futex::CASES,
        generation::CASES,
        life::CASES,
        lifeline::CASES,
        pidfd::CASES,
        start::CASES,
        status::CASES,
    ];
    std::process::exit(support::run(&cases.concat()));
}

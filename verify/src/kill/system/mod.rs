//! The operating system under the kill test: children, how they die and stop, shared memory, what a process holds.
//!
//! `unix` and `windows` have the same items; nothing else here names a system.

#[cfg(unix)]
#[path = "unix.rs"]
mod back;
#[cfg(windows)]
#[path = "windows.rs"]
mod back;

pub use back::*;

/// How fast processes come and go here: times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Kills of one round, about.
    pub kills: u64,
    /// What a process that executes the program may take until it takes part.
    pub start: u64,
    /// How long a victim may take to come to its point.
    pub patience: u64,
    /// A victim that is killed from outside lives at most so long.
    pub life: u32,
    /// The slowest recovery that one in a hundred may exceed.
    pub slowest: u64,
    /// A wait that lasts as long was ended by nothing but the backstop, so its notice was lost.
    pub stall: u64,
    /// How long a survivor may take to come to the end of a closed queue.
    pub hang: u64,
}

/// A process under Wine starts within tens of milliseconds, most of them its server's work, for one process at a time. A machine with
/// other work holds all of them up for seconds, so a wait's length tells little: there the backstop is put off, and a notice that is
/// lost while nobody dies, at the end of a round, keeps its sleeper for good.
pub const PACE: Pace = if cfg!(windows) {
    Pace {
        kills: 80,
        start: 60_000_000,
        patience: 500_000_000,
        life: 150_000_000,
        slowest: 500_000_000,
        stall: 20_000_000_000,
        hang: 30_000_000_000,
    }
} else {
    Pace {
        kills: 250,
        start: 3_000_000,
        patience: 5_000_000,
        life: 3_000_000,
        slowest: 10_000_000,
        stall: 1_000_000_000,
        hang: 10_000_000_000,
    }
};

/// What became of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// It stopped itself, and can go on.
    Stopped,
    /// It was killed, by itself or by another.
    Killed,
    /// It died of something else.
    Died(i32),
    /// It ended with this code.
    Ended(i32),
}

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

//! The signals that end a process, by portable names.

/// Asks a process to end; it may handle or ignore it.
pub const TERMINATE: i32 = libc::SIGTERM;

/// Ends a process; it cannot refuse.
pub const KILL: i32 = libc::SIGKILL;

/// From now on Ctrl-C does not end this process.
pub fn ignore_interrupt() {
    // SAFETY: sets no handler, so no code of ours runs in one.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// What a process sends itself when it gives up (`abort`).
pub const ABORT: i32 = libc::SIGABRT;

pub use crate::interrupt::on_interrupt;

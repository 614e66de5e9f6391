//! The signals that end a process, by portable names.

/// Asks a process to end; it may handle or ignore it.
pub const TERMINATE: i32 = libc::SIGTERM;

/// Ends a process; it cannot refuse.
pub const KILL: i32 = libc::SIGKILL;

/// What a process sends itself when it gives up (`abort`).
pub const ABORT: i32 = libc::SIGABRT;

//! What the tests ask of the system: Unix.

use super::{arena, until};
use std::fs;

/// Ends this program by a signal if it takes that long; its children go with it.
pub fn watchdog(seconds: u32) {
    // SAFETY: takes an integer.
    unsafe { libc::alarm(seconds) };
}

/// The calling thread's number.
pub fn thread() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() as u32 }
}

/// Waits until that thread of another process sleeps in a futex, where blocked operations do.
#[track_caller]
pub fn until_blocked(thread: u32) {
    let futexes = [libc::SYS_futex, libc::SYS_futex_waitv].map(|call| call.to_string());
    until(&format!("thread {thread} blocks"), || {
        let call = fs::read_to_string(format!("/proc/{thread}/syscall")).expect("it lives");
        futexes.iter().any(|number| call.split(' ').next() == Some(number))
            && status_of(thread, "State").starts_with('S')
    });
}

/// A line of a thread's `status` in /proc.
#[track_caller]
pub fn status_of(thread: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{thread}/status")).expect("it lives");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("it has the line").trim().to_owned()
}

/// 512-byte pieces of the arena that have memory.
pub fn pieces() -> u64 {
    arena::pieces()
}

/// Open descriptors.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether this process has a child, running or unreaped.
pub fn has_children() -> bool {
    // SAFETY: all zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is writable.
    unsafe { libc::waitid(libc::P_ALL, 0, &mut info, options) == 0 }
}

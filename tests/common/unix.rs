//! What the tests ask of the system: Unix.

use super::until;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Whether memory that is not used any more goes back to the system while the family lives.
pub const MEMORY_GOES_BACK: bool = true;

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

/// Kills a process by its number: a child that nobody has reaped, or a child of the caller's parent.
pub fn kill_number(pid: u32) {
    // SAFETY: takes integers.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

/// Kills this process.
pub fn kill_self() {
    kill_number(std::process::id());
}

/// Waits until the process with that number has ended; perhaps nobody has reaped it yet.
pub fn until_gone(pid: u32) {
    let process = offspring_os_unix::pidfd::PidFd::open(pid);
    assert!(process.map_or(true, |process| process.wait_gone(None)));
}

/// Whether a sentinel is ready within so many milliseconds, or ever.
pub fn is_ready(sentinel: BorrowedFd<'_>, millis: Option<i32>) -> bool {
    let mut entry = libc::pollfd { fd: sentinel.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, writable.
    unsafe { libc::poll(&mut entry, 1, millis.unwrap_or(-1)) == 1 }
}

/// Closes this process's standard output and standard error.
pub fn close_streams() {
    // SAFETY: takes integers; the streams are this process's own.
    unsafe { (libc::close(1), libc::close(2)) };
}

/// Whether the process with that number has ended; perhaps nobody has reaped it yet.
pub fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// The arena's file; it is this process's only one without a name on any disk.
pub struct Memory(File);

impl Memory {
    /// Opens it.
    pub fn open() -> Self {
        let paths = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
        let mut arenas = paths.filter(|path| {
            fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:"))
        });
        let path = arenas.next().expect("a family was founded");
        Self(OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    /// Reads what lies at an offset.
    #[track_caller]
    pub fn read(&self, at: u64, into: &mut [u8]) {
        self.0.read_exact_at(into, at).unwrap();
    }

    /// Overwrites what lies at an offset.
    #[track_caller]
    pub fn write(&self, at: u64, bytes: &[u8]) {
        self.0.write_all_at(bytes, at).unwrap();
    }

    /// The parts of a range (offset, length) that have memory, in the same form.
    pub fn used(&self, (from, len): (u64, u64)) -> Vec<(u64, u64)> {
        let end = from + len;
        let seek = |at: u64, whence| {
            // SAFETY: takes integers.
            let to = unsafe { libc::lseek64(self.0.as_raw_fd(), at as i64, whence) };
            u64::try_from(to).unwrap_or(end).min(end)
        };
        let mut parts = Vec::new();
        let mut at = seek(from, libc::SEEK_DATA);
        while at < end {
            let hole = seek(at, libc::SEEK_HOLE);
            parts.push((at, hole - at));
            at = seek(hole, libc::SEEK_DATA);
        }
        parts
    }
}

/// 512-byte pieces of the arena that have memory.
pub fn pieces() -> u64 {
    Memory::open().0.metadata().unwrap().blocks()
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

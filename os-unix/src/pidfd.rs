//! A process named for good, however its pid is re-used.
//!
//! A pidfd names the process itself. Its *identity* is a number that tells it from every other process that had or
//! will have the same pid: the pidfd's inode (Linux 6.9, unique per boot), else the time it started, in the
//! kernel's ticks. The two kinds differ in their lowest bit, so that they are never mistaken for each other.
//!
//! Where `pidfd_open` is refused, /proc and `kill(pid, 0)` tell the same, and waiting becomes looking again.
//! Pids are those of the caller's pid namespace: a family does not cross one.

use crate::error::{OsError, Result, errno};
use crate::futex;
use offspring_core::wait::Deadline;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A process, alive or ended.
#[derive(Debug)]
pub struct PidFd {
    fd: Option<OwnedFd>,
    pid: u32,
    identity: u64,
}

/// `f_type` of the file system of pidfds, where each has an inode of its own.
const PID_FS_MAGIC: libc::c_long = 0x5049_4446;

/// Lowest bit of an identity: the rest is an inode, not a time.
const INODE: u64 = 1;

/// Looking again takes so many nanoseconds, at first and at last.
const RECHECK: (u64, u64) = (500_000, 50_000_000);

impl PidFd {
    /// The process that has the number `pid` now.
    ///
    /// To be sure that it is the one that was meant, the caller is its parent and has not reaped it, or
    /// compares its [`identity`](Self::identity) with one noted before.
    ///
    /// # Errors
    ///
    /// Not found: no process has that number. A limit: no descriptor is left.
    pub fn open(pid: u32) -> Result<Self> {
        match open(pid) {
            Ok(fd) => Ok(Self::from_fd(pid, fd)),
            Err(code @ (libc::ENOSYS | libc::EPERM | libc::EACCES)) => match started(pid) {
                Some(identity) => Ok(Self { fd: None, pid, identity }),
                None if exists(pid) => Err(failed(pid, code)),
                None => Err(failed(pid, libc::ESRCH)),
            },
            Err(code) => Err(failed(pid, code)),
        }
    }

    /// The process of which `fd` is a pidfd, and whose number is `pid`.
    pub(crate) fn from_fd(pid: u32, fd: OwnedFd) -> Self {
        let identity = match inode(&fd) {
            Some(inode) => inode << 1 | INODE,
            // Nobody started when the machine did and then made a child, so zero is no process's time.
            None => started(pid).unwrap_or(0),
        };
        Self { fd: Some(fd), pid, identity }
    }

    /// A process that had the number `pid` and is known to have ended and to be reaped.
    pub(crate) fn reaped(pid: u32) -> Self {
        Self { fd: None, pid, identity: 0 }
    }

    /// Its number; another process may have it once this one has ended and was reaped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells it from every other process with the same number, in every process of this machine.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// The descriptor, readable from when the process has ended; `None` where the system refuses one.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Whether all of its threads have ended; also before it is reaped. A stopped process has not ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match &self.fd {
            Some(fd) => poll(fd, Some(Deadline(0))),
            // Undecidable is the same as not known yet.
            None => gone_by_proc(self.pid, self.identity).unwrap_or(false),
        }
    }

    /// Waits until it has ended; false when `until` passed before.
    #[must_use]
    pub fn wait_gone(&self, until: Option<Deadline>) -> bool {
        match &self.fd {
            Some(fd) => poll(fd, until),
            None => self.look_until(until),
        }
    }

    /// Without a descriptor the kernel does not tell: looks again and again.
    fn look_until(&self, until: Option<Deadline>) -> bool {
        let (mut pause, longest) = RECHECK;
        loop {
            if self.is_gone() {
                return true;
            }
            let now = futex::now();
            if until.is_some_and(|until| now >= until) {
                return false;
            }
            let next = now.after(pause);
            let next = until.map_or(next, |until| until.min(next));
            let _ = futex::wait(&[], Some(next));
            pause = (pause * 2).min(longest);
        }
    }

    /// How it ended, as `waitpid` tells it, if it has ended and its parent has not reaped it. `None` also where the system does
    /// not say.
    pub(crate) fn status_of_zombie(&self) -> Option<i32> {
        let stat = stat(self.pid).filter(|stat| stat.ended)?;
        let status = stat.status?;
        // Whoever may not see it is shown a zero; whoever may sees where this link leads, too.
        if status == 0 && fs::read_link(format!("/proc/{}/ns/user", self.pid)).is_err() {
            return None;
        }
        let same = match self.identity & INODE {
            0 => stat.started << 1 == self.identity,
            // It can still be signalled, so nobody else has its number yet.
            _ => self.send_signal(0).is_ok(),
        };
        same.then_some(status)
    }

    /// Sends `signal` to it, and to no other process that may have its number by now.
    ///
    /// Where the system refuses pidfds, its identity is checked first; it may end between the two.
    ///
    /// # Errors
    ///
    /// Not found: it was reaped. Denied: it is another user's. Invalid: no such signal.
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        let failed =
            |code| OsError::new("send", format!("signal {signal} to process {}", self.pid), code);
        if let Some(fd) = &self.fd {
            // SAFETY: takes integers and a null pointer for the details of the signal.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    fd.as_raw_fd(),
                    signal,
                    std::ptr::null::<libc::siginfo_t>(),
                    0,
                )
            };
            match done {
                0 => return Ok(()),
                _ => match errno() {
                    libc::ENOSYS => {}
                    // Another user's process, or a filter: `kill` below says which.
                    libc::EPERM => {}
                    code => return Err(failed(code)),
                },
            }
        }
        if is_gone(self.pid, self.identity) != Some(false) {
            return Err(failed(libc::ESRCH));
        }
        // SAFETY: takes integers; a pid is positive, so this is one process and no group.
        match unsafe { libc::kill(self.pid as libc::pid_t, signal) } {
            0 => Ok(()),
            _ => Err(failed(errno())),
        }
    }
}

/// The identity of the calling process; another one in a forked child.
///
/// # Errors
///
/// Neither pidfds nor /proc can be used.
pub fn identity_of_self() -> Result<u64> {
    PidFd::open(std::process::id()).map(|process| process.identity)
}

/// Whether the process that had the number `pid` and this `identity` has ended.
///
/// `None` where that cannot be told: no descriptor is left, or both pidfds and /proc are refused.
#[must_use]
pub fn is_gone(pid: u32, identity: u64) -> Option<bool> {
    match open(pid) {
        Ok(fd) => {
            let now = match inode(&fd) {
                Some(inode) => inode << 1 | INODE,
                None => match started(pid) {
                    Some(time) => time,
                    // It ended in between, or /proc cannot be used.
                    None => return poll(&fd, Some(Deadline(0))).then_some(true),
                },
            };
            if now & INODE != identity & INODE {
                // Noted where pidfds are refused; the time tells.
                return gone_by_proc(pid, identity);
            }
            Some(now != identity || poll(&fd, Some(Deadline(0))))
        }
        // No process has that number, or a thread has it now.
        Err(libc::ESRCH | libc::EINVAL | libc::ENOENT) => Some(true),
        Err(_) => gone_by_proc(pid, identity),
    }
}

fn failed(pid: u32, code: i32) -> OsError {
    OsError::new("open", format!("process {pid}"), code)
}

fn open(pid: u32) -> std::result::Result<OwnedFd, i32> {
    if pid == 0 || i32::try_from(pid).is_err() {
        return Err(libc::ESRCH);
    }
    // SAFETY: takes integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: the call made this descriptor (close-on-exec), and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn inode(fd: &OwnedFd) -> Option<u64> {
    // SAFETY: all zero is a valid `statfs`.
    let mut system: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `system` is writable.
    let done = unsafe { libc::fstatfs(fd.as_raw_fd(), &mut system) };
    if done != 0 || system.f_type as libc::c_long != PID_FS_MAGIC {
        return None;
    }
    // SAFETY: all zero is a valid `stat64`.
    let mut status: libc::stat64 = unsafe { std::mem::zeroed() };
    // SAFETY: `status` is writable.
    let done = unsafe { libc::fstat64(fd.as_raw_fd(), &mut status) };
    (done == 0).then_some(status.st_ino)
}

/// Whether `fd` becomes readable by `until`.
fn poll(fd: &OwnedFd, until: Option<Deadline>) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        let time = until.map(|until| {
            // Asking alone needs no clock.
            let left = if until.0 == 0 { 0 } else { until.0.saturating_sub(futex::now().0) };
            futex::timespec(left)
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: one entry, writable; `time` is null or a local that lives until after the call; no mask.
        match unsafe { libc::ppoll(&mut entry, 1, time, std::ptr::null()) } {
            1 => return entry.revents & libc::POLLIN != 0,
            0 => return false,
            _ if errno() == libc::EINTR => {}
            // No memory, or no descriptors may be polled (a limit of zero): it may pass.
            _ if until.is_some_and(|until| until <= futex::now()) => return false,
            _ => {
                let _ = futex::wait(&[], Some(futex::now().after(RECHECK.1)));
            }
        }
    }
}

/// What /proc says of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    /// The letter for what it does.
    pub(crate) letter: char,
    /// Ended, and not reaped yet.
    pub(crate) ended: bool,
    /// When it started, in ticks since the boot.
    started: u64,
    /// Of one that has ended: how. Zero, too, for whoever may not look.
    status: Option<i32>,
}

/// See proc_pid_stat(5). The second field, the program's name, may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let threads: u64 = fields.nth(16)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    let status = fields.nth(29).and_then(|field| field.parse().ok());
    // The first thread of a process may be a zombie long before the others end.
    let letter = state.chars().next()?;
    Some(Stat { letter, ended: matches!(letter, 'Z' | 'X' | 'x') && threads <= 1, started, status })
}

pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&bytes))
}

/// Identity by time.
fn started(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.started << 1)
}

fn gone_by_proc(pid: u32, identity: u64) -> Option<bool> {
    if let Some(stat) = stat(pid) {
        if stat.ended {
            // Whoever has the number has ended; so has whoever had it before.
            return Some(true);
        }
        // An inode cannot be compared with a time.
        return (identity & INODE == 0).then_some(stat.started << 1 != identity);
    }
    if exists(pid) { None } else { Some(true) }
}

/// Whether some process has this number; one that has ended and is not reaped counts.
fn exists(pid: u32) -> bool {
    libc::pid_t::try_from(pid).is_ok_and(|pid| {
        // SAFETY: signal 0 only asks; a positive number is one process.
        pid > 0 && (unsafe { libc::kill(pid, 0) } == 0 || errno() != libc::ESRCH)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_any_name() {
        let text = |state: &str, threads: u32| {
            format!(
                "12 (a) R (b) {state} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 {threads} 18 777 20"
            )
        };
        let parsed = |letter, ended| Some(Stat { letter, ended, started: 777, status: None });
        assert_eq!(parse_stat(&text("S", 1)), parsed('S', false));
        assert_eq!(parse_stat(&text("Z", 1)), parsed('Z', true));
        assert_eq!(parse_stat(&text("Z", 3)), parsed('Z', false), "other threads live");
        assert_eq!(parse_stat("12 (a"), None);
        let between = (23..52).map(|field| format!(" {field}")).collect::<String>();
        let killed = parse_stat(&format!("{}{between} 9", text("Z", 1).trim_end_matches(" 20")));
        assert_eq!(killed.and_then(|stat| stat.status), Some(9));
    }

    #[test]
    fn own_process_is_there_and_has_one_identity() {
        let me = std::process::id();
        let identity = identity_of_self().unwrap();
        assert_eq!(identity, PidFd::open(me).unwrap().identity());
        assert_eq!(is_gone(me, identity), Some(false));
        assert_eq!(is_gone(me, identity ^ 2), Some(true), "another incarnation");
        let time = started(me).unwrap();
        assert_eq!(is_gone(me, time), Some(false), "noted by time, asked with pidfds");
        assert_eq!(is_gone(me, time + 2), Some(true));
        assert!(!PidFd::open(me).unwrap().is_gone());
    }

    #[test]
    fn numbers_that_are_no_process_are_not_found() {
        for pid in [0, 1 << 22, i32::MAX as u32, u32::MAX] {
            assert!(PidFd::open(pid).unwrap_err().is_not_found(), "{pid}");
            assert_eq!(is_gone(pid, 8), Some(true), "{pid}");
            assert_eq!(gone_by_proc(pid, 8), Some(true), "{pid}");
        }
    }
}

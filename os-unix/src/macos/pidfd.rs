//! A process named for good, however its pid is re-used. macOS; type-checked, not run.
//!
//! macOS has no pidfds. A process's *identity* is the microsecond at which it started, and its end is told by a kqueue of its
//! own (`EVFILT_PROC`, `NOTE_EXIT`), which polls as readable from then on. A kqueue is not inherited by a fork, which closes the
//! number; so a fork leaves it alone.

use crate::error::{OsError, Result, errno};
use crate::{futex, generation};
use offspring_core::wait::Deadline;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A process, alive or ended.
#[derive(Debug)]
pub struct PidFd {
    exit: Option<Queue>,
    pid: u32,
    identity: u64,
}

/// A kqueue, of the process that made it.
#[derive(Debug)]
pub(crate) struct Queue {
    fd: ManuallyDrop<OwnedFd>,
    generation: u32,
}

/// Without a queue the kernel does not tell: looking again takes so many nanoseconds, at first and at last.
const RECHECK: (u64, u64) = (500_000, 50_000_000);

impl Queue {
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: takes nothing.
        let fd = unsafe { libc::kqueue() };
        if fd < 0 {
            return Err(OsError::last("make", "a kqueue"));
        }
        // SAFETY: the call made this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: takes integers.
        if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(OsError::last("make", "a kqueue"));
        }
        Ok(Self { fd: ManuallyDrop::new(fd), generation: generation::current() })
    }

    /// Asks to be told of the end of `pid`; `Ok(false)` if no living process has that number.
    pub(crate) fn watch(&self, pid: u32) -> Result<bool> {
        let change = libc::kevent {
            ident: pid as usize,
            filter: libc::EVFILT_PROC,
            flags: libc::EV_ADD | libc::EV_ONESHOT,
            fflags: libc::NOTE_EXIT,
            data: 0,
            udata: std::ptr::null_mut(),
        };
        // SAFETY: one change, readable; no room for events is given, so none is taken.
        let done = unsafe {
            libc::kevent(
                self.fd.as_raw_fd(),
                &raw const change,
                1,
                std::ptr::null_mut(),
                0,
                std::ptr::null(),
            )
        };
        match done {
            0 => Ok(true),
            _ if errno() == libc::ESRCH => Ok(false),
            _ => Err(OsError::last("watch", format!("process {pid}"))),
        }
    }

    /// Waits for the end of one of the watched; its number.
    pub(crate) fn next_end(&self) -> Result<u32> {
        loop {
            // SAFETY: all zero is a valid `kevent`.
            let mut event: libc::kevent = unsafe { std::mem::zeroed() };
            // SAFETY: room for one event.
            let got = unsafe {
                libc::kevent(
                    self.fd.as_raw_fd(),
                    std::ptr::null(),
                    0,
                    &raw mut event,
                    1,
                    std::ptr::null(),
                )
            };
            match got {
                1 => return Ok(event.ident as u32),
                _ if got < 0 && errno() != libc::EINTR => {
                    return Err(OsError::last("wait for", "the end of a process"));
                }
                _ => {}
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.generation == generation::current() {
            // SAFETY: not used or dropped after; in this process the number is still the queue's.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

impl PidFd {
    /// The process that has the number `pid` now.
    ///
    /// To be sure that it is the one that was meant, the caller is its parent and has not reaped it, or
    /// compares its [`identity`](Self::identity) with one noted before.
    ///
    /// # Errors
    ///
    /// Not found: no process has that number. Denied: it is another user's. A limit: no descriptor is left.
    pub fn open(pid: u32) -> Result<Self> {
        let failed = |code| OsError::new("open", format!("process {pid}"), code);
        let info = bsd_info(pid).map_err(failed)?;
        let queue = Queue::new()?;
        // One that has ended and is not reaped cannot be watched, and need not.
        let exit = queue.watch(pid)?.then_some(queue);
        Ok(Self { exit, pid, identity: identity(&info) })
    }

    /// A process that had the number `pid` and is known to have ended and to be reaped.
    pub(crate) fn reaped(pid: u32) -> Self {
        Self { exit: None, pid, identity: 0 }
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

    /// A descriptor that is readable from when the process has ended; `None` where there is none.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        let exit = self.exit.as_ref()?;
        (exit.generation == generation::current()).then(|| exit.fd.as_fd())
    }

    /// Whether all of its threads have ended; also before it is reaped. A stopped process has not ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.identity == 0 || is_gone(self.pid, self.identity) == Some(true)
    }

    /// Waits until it has ended; false when `until` passed before.
    #[must_use]
    pub fn wait_gone(&self, until: Option<Deadline>) -> bool {
        let (mut pause, longest) = RECHECK;
        loop {
            if self.is_gone() {
                return true;
            }
            if until.is_some_and(|until| futex::now() >= until) {
                return false;
            }
            let told = self
                .fd()
                .is_some_and(|fd| crate::calls::poll(fd, libc::POLLIN, until) & libc::POLLIN != 0);
            if told || self.fd().is_none() {
                // Told, it is gone within a moment; untold, looking again is all there is.
                let next = futex::now().after(pause);
                sleep_until(until.map_or(next, |until| until.min(next)));
                pause = (pause * 2).min(longest);
            }
        }
    }

    /// What the system says of it; `None` once another has its number, or nobody.
    pub(crate) fn info(&self) -> Option<libc::proc_bsdinfo> {
        bsd_info(self.pid).ok().filter(|info| identity(info) == self.identity)
    }

    /// Sends `signal` to it. Its identity is checked first; unless the caller is its parent and has not reaped it, it may end
    /// between the two.
    ///
    /// # Errors
    ///
    /// Not found: it was reaped. Denied: it is another user's. Invalid: no such signal.
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        let failed =
            |code| OsError::new("send", format!("signal {signal} to process {}", self.pid), code);
        if self.info().is_none() {
            return Err(failed(libc::ESRCH));
        }
        // SAFETY: takes integers; a pid is positive, so this is one process and no group.
        match unsafe { libc::kill(self.pid as libc::pid_t, signal) } {
            0 => Ok(()),
            _ => Err(failed(errno())),
        }
    }
}

fn sleep_until(until: Deadline) {
    let left = until.0.saturating_sub(futex::now().0);
    std::thread::sleep(std::time::Duration::from_nanos(left));
}

/// The identity of the calling process; another one in a forked child.
///
/// # Errors
///
/// The system does not tell.
pub fn identity_of_self() -> Result<u64> {
    let failed = |code| OsError::new("look at", "this process", code);
    bsd_info(std::process::id()).map(|info| identity(&info)).map_err(failed)
}

/// Whether the process that had the number `pid` and this `identity` (0: any) has ended; `None` where that cannot be told.
#[must_use]
pub fn is_gone(pid: u32, expected: u64) -> Option<bool> {
    match bsd_info(pid) {
        Ok(info) => {
            Some(info.pbi_status == libc::SZOMB || expected != 0 && identity(&info) != expected)
        }
        Err(libc::ESRCH) => Some(true),
        // Another user's, or a filter: whether somebody has the number can be asked at least.
        Err(_) => {
            // SAFETY: signal 0 only asks.
            let found = unsafe { libc::kill(pid as libc::pid_t, 0) } == 0;
            (!found && errno() == libc::ESRCH).then_some(true)
        }
    }
}

/// When it started, in microseconds; never 0.
fn identity(info: &libc::proc_bsdinfo) -> u64 {
    (info.pbi_start_tvsec.wrapping_mul(1_000_000).wrapping_add(info.pbi_start_tvusec)).max(1)
}

/// What the system says of the process with that number, one that has ended and is not reaped among them.
fn bsd_info(pid: u32) -> std::result::Result<libc::proc_bsdinfo, i32> {
    if pid == 0 || i32::try_from(pid).is_err() {
        return Err(libc::ESRCH);
    }
    // SAFETY: all zero is a valid value.
    let mut info: libc::proc_bsdinfo = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info) as libc::c_int;
    // SAFETY: `info` is writable and as long as said. The 1 asks for those that are not reaped, too.
    let got = unsafe {
        libc::proc_pidinfo(
            pid as libc::c_int,
            libc::PROC_PIDTBSDINFO,
            1,
            (&raw mut info).cast(),
            size,
        )
    };
    match got {
        _ if got == size => Ok(info),
        _ => Err(errno()),
    }
}

/// What the system says of this process's memory and threads.
pub(crate) fn task_info() -> Option<libc::proc_taskinfo> {
    // SAFETY: all zero is a valid value.
    let mut info: libc::proc_taskinfo = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info) as libc::c_int;
    // SAFETY: `info` is writable and as long as said.
    let got = unsafe {
        libc::proc_pidinfo(libc::getpid(), libc::PROC_PIDTASKINFO, 0, (&raw mut info).cast(), size)
    };
    (got == size).then_some(info)
}

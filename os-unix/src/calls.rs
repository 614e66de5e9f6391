//! Calls that the systems have under different names, or lack: files, pipes, waiting for a descriptor.

use crate::error::errno;
use crate::futex;
use offspring_core::wait::Deadline;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What is known of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) inode: u64,
    pub(crate) is_pipe: bool,
}

#[cfg(target_os = "macos")]
use libc::{fstat, stat};
#[cfg(target_os = "linux")]
use libc::{fstat64 as fstat, stat64 as stat};

/// What the file under `fd` is; `None` if nothing is open there.
pub(crate) fn status(fd: RawFd) -> Option<Status> {
    // SAFETY: all zero is a valid value.
    let mut status: stat = unsafe { std::mem::zeroed() };
    // SAFETY: any number may be asked for; `status` is writable.
    let done = unsafe { fstat(fd, &mut status) };
    let is_pipe = status.st_mode & libc::S_IFMT == libc::S_IFIFO;
    (done == 0).then_some(Status { inode: status.st_ino, is_pipe })
}

/// A pipe that no program executed here gets: the end to read, and the end to write.
pub(crate) fn pipe() -> Result<[OwnedFd; 2], i32> {
    let mut fds: [RawFd; 2] = [-1; 2];
    #[cfg(target_os = "linux")]
    // SAFETY: room for two descriptors.
    let done = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) };
    #[cfg(not(target_os = "linux"))]
    // SAFETY: as above.
    let done = unsafe { libc::pipe(fds.as_mut_ptr()) };
    if done != 0 {
        return Err(errno());
    }
    // SAFETY: the call made both, and nobody else knows them.
    let ends = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    #[cfg(not(target_os = "linux"))]
    for end in &ends {
        // A program that another thread starts in between, by other means than this crate's, gets them.
        // SAFETY: takes integers.
        if unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(errno());
        }
    }
    Ok(ends)
}

/// Waits until `fd` has one of `events`, by `until`; what it has, 0 if time is over or a signal came.
pub(crate) fn poll(fd: BorrowedFd<'_>, events: i16, until: Option<Deadline>) -> i16 {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let left = until.map(|until| until.0.saturating_sub(futex::now().0));
    #[cfg(target_os = "linux")]
    let ready = {
        let time = left.map(futex::timespec);
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: one entry, writable; `time` is null or a local that lives until after the call; no mask.
        unsafe { libc::ppoll(&mut entry, 1, time, std::ptr::null()) }
    };
    #[cfg(not(target_os = "linux"))]
    let ready = {
        let millis =
            left.map_or(-1, |left| i32::try_from(left.div_ceil(1_000_000)).unwrap_or(i32::MAX));
        // SAFETY: one entry, writable.
        unsafe { libc::poll(&mut entry, 1, millis) }
    };
    if ready == 1 { entry.revents } else { 0 }
}

/// Takes a SIGPIPE away that is pending for the calling thread, which blocks it.
pub(crate) fn take_sigpipe(set: &libc::sigset_t) {
    #[cfg(target_os = "linux")]
    {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both are initialised.
        while unsafe { libc::sigtimedwait(set, std::ptr::null_mut(), &at_once) } < 0
            && errno() == libc::EINTR
        {}
    }
    #[cfg(not(target_os = "linux"))]
    // SAFETY: locals. It is pending, so that this does not block; one that another thread took meanwhile is not waited for.
    unsafe {
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&mut pending);
        if libc::sigismember(&pending, libc::SIGPIPE) == 1 {
            let mut taken = 0;
            libc::sigwait(set, &mut taken);
        }
    }
}

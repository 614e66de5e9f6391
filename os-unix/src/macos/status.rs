//! How a child ended, for any number of askers. macOS; type-checked, not run.
//!
//! One of the threads that ask reaps the child and notes how it ended; the others read the note. A child that
//! something else reaped (another library, or `SIGCHLD` ignored) is [`ExitStatus::Unknown`]. Nobody waits for a child that is
//! gone.

use crate::error::errno;
use crate::start::Child;
use offspring_core::wait::Deadline;
use std::os::fd::AsRawFd;

pub use crate::ended::{ExitStatus, signal_name};

/// Waits until `child` has ended, reaps it, and says how it ended. Any number of times, from any thread.
pub fn wait(child: &Child) -> ExitStatus {
    loop {
        if let Some(status) = try_wait(child) {
            return status;
        }
        let _ = child.process.wait_gone(None);
    }
}

/// How `child` ended; `None` while it has not.
pub fn try_wait(child: &Child) -> Option<ExitStatus> {
    if let Some(status) = child.status.get() {
        return Some(*status);
    }
    // A second thread waits here for the first, which does not block.
    let _one = child.reaping.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(status) = child.status.get() {
        return Some(*status);
    }
    let status = reap(child)?;
    Some(*child.status.get_or_init(|| status))
}

/// As [`wait`], until `until` at the latest; then `None`.
pub fn wait_deadline(child: &Child, until: Deadline) -> Option<ExitStatus> {
    loop {
        if let Some(status) = try_wait(child) {
            return Some(status);
        }
        if !child.process.wait_gone(Some(until)) {
            return try_wait(child);
        }
    }
}

/// Waits until one of `children` has ended, and says which, by its place; reaps it. `None` when there are none.
pub fn wait_any(children: &[&Child]) -> Option<usize> {
    const RECHECK_MILLIS: i32 = 20;
    if children.is_empty() {
        return None;
    }
    loop {
        if let Some(place) = children.iter().position(|child| try_wait(child).is_some()) {
            return Some(place);
        }
        // Of one that is told of already, the end is a moment away.
        let mut entries: Vec<_> = children
            .iter()
            .filter_map(|child| child.process.fd())
            .map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        // Those without a descriptor are looked at again and again.
        let time = if entries.len() == children.len() { -1 } else { RECHECK_MILLIS };
        // SAFETY: as many entries as said, writable.
        unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, time) };
    }
}

fn reap(child: &Child) -> Option<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable. While nobody has reaped it, nobody else has its number.
        let got = unsafe { libc::waitpid(child.pid() as libc::pid_t, &mut status, libc::WNOHANG) };
        return match got {
            0 => None,
            pid if pid > 0 => Some(ExitStatus::from_wait_status(status)),
            _ if errno() == libc::EINTR => continue,
            // Something else reaped it, or this is a forked child of its parent and it may live.
            _ => child.process.is_gone().then_some(ExitStatus::Unknown),
        };
    }
}

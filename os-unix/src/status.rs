//! How a child ended, for any number of askers.
//!
//! One of the threads that ask reaps the child and notes how it ended; the others read the note. A child that
//! something else reaped (another library, or `SIGCHLD` ignored) still tells where the kernel keeps it with the
//! pidfd (Linux 6.15), else it is [`ExitStatus::Unknown`]. Nobody waits for a child that is gone.

use crate::error::errno;
use crate::futex;
use crate::start::Child;
use offspring_core::wait::Deadline;
use std::os::fd::AsRawFd;

pub use crate::ended::{ExitStatus, signal_name};

/// Waits until `child` has ended, reaps it, and says how it ended. Any number of times, from any thread.
pub fn wait(child: &Child) -> ExitStatus {
    loop {
        if let Some(reported) = &child.reported {
            if let Some(status) = try_wait(child) {
                return status;
            }
            let _ = child.process.wait_gone(None);
            reported.wait(Some(futex::now().after(SOON)));
            if let Some(status) = try_wait(child) {
                return status;
            }
            reported.wait(None);
            continue;
        }
        if child.process.fd().is_some() {
            let _ = child.process.wait_gone(None);
            if let Some(status) = try_wait(child) {
                return status;
            }
        }
        // Without a descriptor, or while a debugger keeps the child's end from its parent, the kernel tells of
        // a child all the same; of what is no child (any more) only looking does.
        if !wait_unreaped(child.pid()) {
            let _ = child.process.wait_gone(None);
        }
        if let Some(status) = try_wait(child) {
            return status;
        }
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
        if let Some(reported) = &child.reported {
            reported.wait(Some(until.min(futex::now().after(SOON))));
            return try_wait(child).or_else(|| {
                reported.wait(Some(until));
                try_wait(child)
            });
        }
    }
}

/// Waits until one of `children` has ended, and says which, by its place; reaps it. `None` when there are none.
pub fn wait_any(children: &[&Child]) -> Option<usize> {
    if children.is_empty() {
        return None;
    }
    loop {
        if let Some(place) = children.iter().position(|child| try_wait(child).is_some()) {
            return Some(place);
        }
        let mut entries: Vec<_> = children
            .iter()
            .filter_map(|child| child.process.fd())
            .map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        // Those without a descriptor are looked at again and again.
        let time = if entries.len() == children.len() { -1 } else { RECHECK_MILLIS };
        // SAFETY: as many entries as said, writable.
        let ready =
            unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, time) };
        if ready > 0 {
            // One that has ended, and whose status is still on its way.
            for child in children.iter().filter(|child| child.process.is_gone()) {
                if let Some(reported) = &child.reported {
                    reported.wait(Some(futex::now().after(SOON)));
                    if try_wait(child).is_none() {
                        reported.wait(None);
                    }
                }
            }
        }
    }
}

const RECHECK_MILLIS: i32 = 20;

/// A server that serves has told how a fork ended within so many nanoseconds. After that the fork itself is looked at:
/// while its server is stopped, it lies there unreaped.
const SOON: u64 = 5_000_000;

/// What `waitid` found.
enum Found {
    Ended(ExitStatus),
    Lives,
    NotOurs,
    Refused,
}

fn reap(child: &Child) -> Option<ExitStatus> {
    if let Some(reported) = &child.reported {
        return match reported.look() {
            // The server is gone; the process need not be.
            Some(ExitStatus::Unknown) => child
                .process
                .is_gone()
                .then(|| kept_by_kernel(child).unwrap_or(ExitStatus::Unknown)),
            Some(told) => Some(told),
            None if child.process.is_gone() => {
                child.process.status_of_zombie().map(ExitStatus::from_wait_status)
            }
            None => None,
        };
    }
    let found = match child.process.fd() {
        Some(fd) => match waitid(libc::P_PIDFD, fd.as_raw_fd() as u32, libc::WNOHANG) {
            // Before Linux 5.4.
            Found::Refused => waitid(libc::P_PID, child.pid(), libc::WNOHANG),
            found => found,
        },
        None => waitid(libc::P_PID, child.pid(), libc::WNOHANG),
    };
    match found {
        Found::Ended(status) => Some(status),
        Found::Lives => None,
        // Something else reaped it, or this is a forked child of its parent and it may live.
        Found::NotOurs | Found::Refused => {
            child.process.is_gone().then(|| kept_by_kernel(child).unwrap_or(ExitStatus::Unknown))
        }
    }
}

/// Sleeps until the child `pid` has ended, and leaves it unreaped; false if there is no such child.
fn wait_unreaped(pid: u32) -> bool {
    matches!(waitid(libc::P_PID, pid, libc::WNOWAIT), Found::Ended(_))
}

fn waitid(kind: libc::idtype_t, id: u32, flags: i32) -> Found {
    match wait_info(kind, id, flags) {
        Ok(Some((_, status))) => Found::Ended(status),
        Ok(None) => Found::Lives,
        Err(libc::ECHILD) => Found::NotOurs,
        Err(_) => Found::Refused,
    }
}

/// A child of this process that has ended, and how; it is left unreaped. `None` if there is none.
pub(crate) fn first_ended() -> Option<(u32, ExitStatus)> {
    wait_info(libc::P_ALL, 0, libc::WNOHANG | libc::WNOWAIT).ok().flatten()
}

fn wait_info(
    kind: libc::idtype_t,
    id: u32,
    flags: i32,
) -> std::result::Result<Option<(u32, ExitStatus)>, i32> {
    loop {
        // SAFETY: all zero is a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is writable.
        if unsafe { libc::waitid(kind, id, &mut info, libc::WEXITED | flags) } != 0 {
            match errno() {
                libc::EINTR => continue,
                code => return Err(code),
            }
        }
        // SAFETY: `waitid` succeeded, so these fields are what it filled in, or zero: no child has ended.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        let status = match info.si_code {
            _ if pid == 0 => return Ok(None),
            libc::CLD_EXITED => ExitStatus::Code(status),
            libc::CLD_KILLED | libc::CLD_DUMPED => {
                ExitStatus::Signal { signal: status, core_dumped: info.si_code == libc::CLD_DUMPED }
            }
            _ => ExitStatus::Unknown,
        };
        return Ok(Some((pid as u32, status)));
    }
}

/// The kernel's `struct pidfd_info`, first version.
#[repr(C)]
#[derive(Default)]
struct PidFdInfo {
    mask: u64,
    cgroup: u64,
    numbers: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidFdInfo>() == 64);

const INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xFF, 11, struct pidfd_info)`, whose parts are in the same place on every machine that is supported.
const GET_INFO: u32 = 3 << 30 | (size_of::<PidFdInfo>() as u32) << 16 | 0xff << 8 | 11;

/// The status of a child that is reaped already, kept with the pidfd since Linux 6.15.
fn kept_by_kernel(child: &Child) -> Option<ExitStatus> {
    let fd = child.process.fd()?;
    let mut info = PidFdInfo { mask: INFO_EXIT, ..PidFdInfo::default() };
    // SAFETY: the request carries the size of `info`, which is writable.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    (done == 0 && info.mask & INFO_EXIT != 0).then(|| ExitStatus::from_wait_status(info.exit_code))
}

//! What a fork server tells of the ends of its forks, as its client reads it.

use super::packet::numbers;
use super::{entry, locked, long};
use crate::error::errno;
use crate::futex;
use crate::status::ExitStatus;
use offspring_core::wait::Deadline;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// One fork among those that a server reports on.
#[derive(Debug)]
pub(crate) struct Reported {
    reports: Arc<Reports>,
    serial: u64,
}

/// What a server told of the ends of its forks.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) socket: OwnedFd,
    told: Mutex<Told>,
    /// Something was told, or the one who reads stopped.
    changed: Condvar,
}

#[derive(Debug)]
struct Told {
    statuses: HashMap<u64, ExitStatus>,
    /// Forks that nobody asks about any more, and of which it was not told yet.
    forgotten: HashSet<u64>,
    /// The server is gone: nothing more will be told.
    over: bool,
    /// A thread waits at the socket; the others wait for it.
    reading: bool,
}

impl Reported {
    /// How it ended, once it is told; `Unknown` if it will not be told any more. `None` while that may come.
    pub(crate) fn look(&self) -> Option<ExitStatus> {
        let mut told = locked(&self.reports.told);
        if !told.reading {
            self.reports.drain(&mut told);
        }
        // It stays there: another thread may wait for the same.
        let status = told.statuses.get(&self.serial).copied();
        status.or_else(|| told.over.then_some(ExitStatus::Unknown))
    }

    /// Waits until [`look`](Self::look) has an answer, or `until` has passed; the answer stays to be looked at.
    pub(crate) fn wait(&self, until: Option<Deadline>) {
        let reports = &*self.reports;
        let mut told = locked(&reports.told);
        loop {
            if !told.reading {
                reports.drain(&mut told);
            }
            if told.over || told.statuses.contains_key(&self.serial) {
                return;
            }
            let left = until.map(|until| until.0.saturating_sub(futex::now().0));
            if left == Some(0) {
                return;
            }
            if told.reading {
                told = match left {
                    Some(left) => {
                        let left = std::time::Duration::from_nanos(left);
                        let waited = reports.changed.wait_timeout(told, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => reports.changed.wait(told).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            }
            told.reading = true;
            drop(told);
            wait_readable(&reports.socket, until);
            told = locked(&reports.told);
            told.reading = false;
            reports.drain(&mut told);
            reports.changed.notify_all();
        }
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        let mut told = locked(&self.reports.told);
        if told.statuses.remove(&self.serial).is_none() && !told.over {
            told.forgotten.insert(self.serial);
        }
    }
}

impl Reports {
    pub(super) fn new(socket: OwnedFd) -> Self {
        let told = Told {
            statuses: HashMap::new(),
            forgotten: HashSet::new(),
            over: false,
            reading: false,
        };
        Self { socket, told: Mutex::new(told), changed: Condvar::new() }
    }

    /// The fork that the server calls `serial`.
    pub(super) fn of(self: &Arc<Self>, serial: u64) -> Reported {
        Reported { reports: Arc::clone(self), serial }
    }

    /// Takes all that was told so far.
    fn drain(&self, told: &mut Told) {
        let mut packet = [0; 16];
        while !told.over {
            // SAFETY: `packet` is writable for its length.
            let got = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    packet.as_mut_ptr().cast(),
                    packet.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            match got {
                16 => {
                    let [a, b, kind, number] = numbers(&packet);
                    let serial = long(a, b);
                    if !told.forgotten.remove(&serial) {
                        told.statuses.insert(serial, status(kind, number as i32));
                    }
                }
                -1 if errno() == libc::EINTR => {}
                -1 if errno() == libc::EAGAIN => return,
                // The server is gone, or says what it never would.
                _ => told.over = true,
            }
        }
    }
}

/// A status as two numbers, and back.
fn status(kind: u32, number: i32) -> ExitStatus {
    match kind {
        0 => ExitStatus::Code(number & 0xff),
        1 | 2 => ExitStatus::Signal { signal: number & 0x7f, core_dumped: kind == 2 },
        _ => ExitStatus::Unknown,
    }
}

pub(super) fn kind_and_number(status: ExitStatus) -> [u32; 2] {
    match status {
        ExitStatus::Code(code) => [0, code as u32],
        ExitStatus::Signal { signal, core_dumped } => [1 + u32::from(core_dumped), signal as u32],
        ExitStatus::Unknown => [3, 0],
    }
}

fn wait_readable(fd: &OwnedFd, until: Option<Deadline>) {
    let mut entry = entry(fd, libc::POLLIN);
    let time = until.map(|until| futex::timespec(until.0.saturating_sub(futex::now().0)));
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: one entry, writable; `time` is null or a local that lives until after the call; no mask. Whatever it
    // says, the caller looks.
    unsafe { libc::ppoll(&mut entry, 1, time, ptr::null()) };
}

#[cfg(test)]
mod tests {
    use super::super::packet::{send, words};
    use super::*;

    #[test]
    fn statuses_travel_as_numbers() {
        for one in [
            ExitStatus::Code(0),
            ExitStatus::Code(255),
            ExitStatus::Signal { signal: 9, core_dumped: false },
            ExitStatus::Signal { signal: 6, core_dumped: true },
            ExitStatus::Unknown,
        ] {
            let [kind, number] = kind_and_number(one);
            assert_eq!(status(kind, number as i32), one);
        }
    }

    #[test]
    fn report_that_comes_too_late_is_not_kept() {
        let (client, [_requests, server]) = super::super::pair().unwrap();
        let reports = client.reports();
        let tell = |serial| send(&server, &words(&[serial, 0, 0, 5]), &[], 0).unwrap();
        let (late, other) = (reports.of(1), reports.of(2));
        assert_eq!(late.look(), None);
        drop(late);
        tell(1);
        tell(2);
        other.wait(None);
        assert_eq!(other.look(), Some(ExitStatus::Code(5)));
        drop(other);
        let told = locked(&reports.told);
        assert!(told.statuses.is_empty() && told.forgotten.is_empty());
    }
}

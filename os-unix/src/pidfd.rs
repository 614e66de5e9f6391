//! A process named for good, however its pid is re-used.
use crate::error::Result;
use offspring_core::wait::Deadline;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A process.
#[derive(Debug)]
pub struct PidFd {
    _fd: Option<OwnedFd>,
    _pid: u32,
    _identity: u64,
}

impl PidFd {
    /// Opens.
    pub fn open(_pid: u32) -> Result<Self> {
        todo!()
    }
    /// Its number.
    pub fn pid(&self) -> u32 {
        todo!()
    }
    /// Tells this incarnation from any other with the same number.
    pub fn identity(&self) -> u64 {
        todo!()
    }
    /// The descriptor, where the system has such (for `poll`).
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        todo!()
    }
    /// Whether it has ended (all of its threads).
    pub fn is_gone(&self) -> bool {
        todo!()
    }
    /// Waits until it has ended: true, or `until` passed: false.
    pub fn wait_gone(&self, _until: Option<Deadline>) -> bool {
        todo!()
    }
    /// Sends a signal to it and to nobody else.
    pub fn send_signal(&self, _signal: i32) -> Result<()> {
        todo!()
    }
}

/// The identity of the calling process.
pub fn identity_of_self() -> Result<u64> {
    todo!()
}

/// Whether the process that had `pid` and `identity` has ended; `None` where that cannot be told.
pub fn is_gone(_pid: u32, _identity: u64) -> Option<bool> {
    todo!()
}

//! A child's start message, and its end when its parent is gone.
use crate::error::Result;
use offspring_core::wait::Deadline;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The longest start message, in bytes.
pub const MOST_MESSAGE: usize = 16 << 20;

/// The parent's end: while it is open the child may live. A forked child of the parent does not keep it.
#[derive(Debug)]
pub struct Lifeline {
    _write: OwnedFd,
}

/// The child's end.
#[derive(Debug)]
pub struct LifelineEnd {
    _read: OwnedFd,
}

impl Lifeline {
    /// A new pipe.
    pub fn pair() -> Result<(Self, LifelineEnd)> {
        todo!()
    }
    /// Writes the start message; blocks while the pipe is full, until `until`.
    pub fn send_message(&self, _message: &[u8], _until: Option<Deadline>) -> Result<()> {
        todo!()
    }
}

impl LifelineEnd {
    /// Takes the descriptor that the parent passed; checks that it is the reading end of a pipe.
    pub fn from_fd(_fd: OwnedFd) -> Result<Self> {
        todo!()
    }
    /// The descriptor, to pass to the child.
    pub fn fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
    /// The pipe's inode: the same on both sides.
    pub fn inode(&self) -> Result<u64> {
        todo!()
    }
    /// Reads the start message of at most `limit` bytes.
    pub fn read_message(&self, _limit: usize) -> Result<Vec<u8>> {
        todo!()
    }
    /// From now on this process is killed when the parent's end closes; at once if it has.
    pub fn arm(self) -> Result<Armed> {
        todo!()
    }
}

/// An armed lifeline; stays armed when dropped.
#[derive(Debug)]
pub struct Armed {
    _fd: i32,
}

impl Armed {
    /// The parent's end does not matter any more.
    pub fn disarm(self) -> Result<()> {
        todo!()
    }
}

//! Exec of this image with exactly the descriptors the child needs; fork.
use crate::error::Result;
use crate::pidfd::PidFd;
use crate::status::ExitStatus;
use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

/// Where one of the child's standard streams comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Stdio<'a> {
    /// What the parent has.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// This.
    Fd(BorrowedFd<'a>),
}

/// A program to start.
#[derive(Clone, Debug, Default)]
pub struct Start<'a> {
    /// The program; `None` is the one that is running.
    pub exe: Option<CString>,
    /// Its arguments, its name first.
    pub argv: Vec<CString>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// Its descriptors 0, 1, 2.
    pub stdio: [Stdio<'a>; 3],
    /// Its descriptors 3, 4, 5 and so on; it gets no others.
    pub fds: Vec<BorrowedFd<'a>>,
}

/// A process that this one started.
#[derive(Debug)]
pub struct Child {
    pub(crate) process: PidFd,
    pub(crate) status: OnceLock<ExitStatus>,
}

impl Child {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
    /// Its name for good.
    pub fn pidfd(&self) -> &PidFd {
        &self.process
    }
}

impl Start<'_> {
    /// Starts it.
    pub fn spawn(&self) -> Result<Child> {
        todo!()
    }
}

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Fork {
    /// The one that forked.
    Parent(Child),
    /// The new one.
    InChild,
}

/// Forks.
/// # Safety
/// The process has one thread.
pub unsafe fn fork() -> Result<Fork> {
    todo!()
}

/// How many threads this process has.
pub fn thread_count() -> Result<usize> {
    todo!()
}

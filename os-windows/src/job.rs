//! Children that end with their parent: a job object for each.
//!
//! The parent alone has the job's handle. When it ends, however, the system closes the handle, and with the last handle
//! every process in the job ends. Only the child itself is in it: what the child starts leaves the job silently, and its
//! own children are in jobs of its own, so that an end travels down the tree, and stops at whoever was let go.

use crate::error::{OsError, Result};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use windows_sys::Win32::System::JobObjects as job;

/// A job: while it is open, the process in it may live.
#[derive(Debug)]
#[must_use = "the process in it ends when this is dropped"]
pub struct Job {
    handle: OwnedHandle,
}

impl Job {
    /// A new one, with no process in it. No program that is started from here gets its handle.
    ///
    /// # Errors
    ///
    /// A limit, or memory.
    pub fn new() -> Result<Self> {
        // SAFETY: both arguments may be null: no name, the default rights, not inheritable.
        let handle = unsafe { job::CreateJobObjectW(ptr::null(), ptr::null()) };
        if handle.is_null() {
            return Err(OsError::last("make", "a job object"));
        }
        // SAFETY: the call made this handle, and nobody else knows it.
        let this = Self { handle: unsafe { OwnedHandle::from_raw_handle(handle) } };
        this.limit(
            job::JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | job::JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK,
        )?;
        Ok(this)
    }

    /// From now on the process in it lives on when this is dropped.
    ///
    /// # Errors
    ///
    /// None on a system that works.
    pub fn release(&self) -> Result<()> {
        self.limit(job::JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK)
    }

    /// The handle, to start a process in the job.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }

    fn limit(&self, flags: job::JOB_OBJECT_LIMIT) -> Result<()> {
        let mut limits = job::JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = flags;
        // SAFETY: `limits` is what the class says, and as long as the last argument says.
        let done = unsafe {
            job::SetInformationJobObject(
                self.handle.as_raw_handle(),
                job::JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size_of_val(&limits) as u32,
            )
        };
        if done == 0 { Err(OsError::last("set the limits of", "a job object")) } else { Ok(()) }
    }
}

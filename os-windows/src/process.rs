//! A process named for good: a handle, and the time of its creation, which no later process with its id has.
//!
//! A process's handle is signalled when all its threads are gone, and pins its id while anybody has one. A process that has
//! ended may still be opened (Wine, and wherever another handle is left), so an opened one is always asked.

use crate::error::{OsError, Result, last_error};
use crate::{clock, signal};
use offspring_core::wait::Deadline;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::sync::OnceLock;
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_PARAMETER, ERROR_NOT_FOUND, FILETIME, HANDLE, WAIT_OBJECT_0,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE, TerminateProcess, WaitForSingleObject,
};

/// A process, alive or gone.
#[derive(Debug)]
pub struct Process {
    handle: OwnedHandle,
    pid: u32,
    identity: u64,
}

impl Process {
    /// Opens the process that now has `pid`.
    ///
    /// # Errors
    ///
    /// Not found: no process has it. Denied: this process may not look at it.
    pub fn open(pid: u32) -> Result<Self> {
        let object = || format!("process {pid}");
        let access = PROCESS_SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION;
        // SAFETY: takes integers only.
        let handle = unsafe { OpenProcess(access, 0, pid) };
        if handle.is_null() {
            return Err(match last_error() {
                code if code as u32 == ERROR_INVALID_PARAMETER => {
                    OsError::new("open", object(), ERROR_NOT_FOUND as i32)
                        .with_advice("it has ended")
                }
                code => OsError::new("open", object(), code),
            });
        }
        // SAFETY: the call made this handle, and nobody else knows it.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        let identity = creation_time(handle.as_raw_handle())
            .ok_or_else(|| OsError::last("look at", object()))?;
        Ok(Self { handle, pid, identity })
    }

    /// The process of which `handle`, which has all rights, is the handle, and whose id is `pid`.
    pub(crate) fn from_handle(pid: u32, handle: OwnedHandle) -> Self {
        let identity = creation_time(handle.as_raw_handle()).unwrap_or(0);
        Self { handle, pid, identity }
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it was created, in the system's units: what tells it from others that had or will have its id.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// The handle: signalled when it is gone.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }

    /// As [`handle`](Self::handle), which every process has here.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedHandle<'_>> {
        Some(self.handle())
    }

    /// Ends it at once, whatever it does: [`TERMINATE`](signal::TERMINATE) and [`KILL`](signal::KILL) differ in what is
    /// told of its end.
    ///
    /// # Errors
    ///
    /// Not found: it has ended. Invalid: another number. Denied: this process has no right to it, as when it only opened it.
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        let failed = |code: u32| {
            OsError::new("end", format!("process {} by signal {signal}", self.pid), code as i32)
        };
        let code = signal::exit_code(signal).ok_or_else(|| failed(ERROR_INVALID_PARAMETER))?;
        // Windows refuses to end what has ended, Wine does not.
        if self.is_gone() {
            return Err(failed(ERROR_NOT_FOUND));
        }
        // SAFETY: our own handle.
        if unsafe { TerminateProcess(self.handle.as_raw_handle(), code) } != 0 {
            return Ok(());
        }
        let code = last_error() as u32;
        // It may have ended in between.
        Err(failed(if self.is_gone() { ERROR_NOT_FOUND } else { code }))
    }

    /// Whether it is gone as a whole.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.wait(0)
    }

    /// Sleeps until it is gone, or until `until`; says whether it is.
    #[must_use]
    pub fn wait_gone(&self, until: Option<Deadline>) -> bool {
        loop {
            if self.wait(clock::millis_until(until)) {
                return true;
            }
            if until.is_some_and(|until| clock::now() >= until) {
                return false;
            }
        }
    }

    fn wait(&self, millis: u32) -> bool {
        // SAFETY: our own handle.
        let told = unsafe { WaitForSingleObject(self.handle.as_raw_handle(), millis) };
        told == WAIT_OBJECT_0
    }
}

/// Whether the process that had `pid` and `identity` is gone; `None` if this process may not know.
#[must_use]
pub fn is_gone(pid: u32, identity: u64) -> Option<bool> {
    match Process::open(pid) {
        Ok(process) => Some(process.identity != identity || process.is_gone()),
        Err(error) => error.is_not_found().then_some(true),
    }
}

/// What tells the calling process from others with its id; 0 if the system does not say.
#[must_use]
pub fn identity_of_self() -> u64 {
    static SELF: OnceLock<u64> = OnceLock::new();
    // SAFETY: takes nothing; a constant that means the calling process.
    *SELF.get_or_init(|| creation_time(unsafe { GetCurrentProcess() }).unwrap_or(0))
}

fn creation_time(process: HANDLE) -> Option<u64> {
    let zero = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let mut times = [zero; 4];
    let [created, ended, kernel, user] = &mut times;
    // SAFETY: a handle that the caller has; four writable results.
    let told = unsafe { GetProcessTimes(process, created, ended, kernel, user) } != 0;
    told.then(|| u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_itself_and_is_not_gone() {
        let me = Process::open(std::process::id()).unwrap();
        assert_ne!(identity_of_self(), 0);
        assert_eq!((me.identity(), me.pid()), (identity_of_self(), std::process::id()));
        assert!(!me.is_gone());
        assert!(!me.wait_gone(Some(clock::now().after(1_000_000))));
        assert_eq!(is_gone(std::process::id(), identity_of_self()), Some(false));
    }

    #[test]
    fn another_process_of_the_same_id_is_gone() {
        assert_eq!(is_gone(std::process::id(), identity_of_self() + 1), Some(true));
    }

    #[test]
    fn nobody_is_not_found() {
        // No process has an id that is no multiple of four.
        let error = Process::open(0x7fff_fff1).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(error.to_string().contains("it has ended"), "{error}");
    }
}

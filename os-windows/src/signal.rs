//! The ways to end a process, by portable names. Windows has no signals: both end it at once, with an exit code that
//! says which it was.

use crate::error::OsError;
use std::sync::OnceLock;
use windows_sys::Win32::System::Console::{CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};

/// Ends a process. Unlike on Unix it cannot handle or refuse it. Its exit code is [`CODE`], which is Python's.
pub const TERMINATE: i32 = 15;

/// Ends a process. Its exit code is [`CODE`] with this number in the lowest bits.
pub const KILL: i32 = 9;

/// What stands for the end of a process that gave up (`abort`). It cannot be sent.
pub const ABORT: i32 = 6;

/// The exit code of a process that was terminated; the same that Python's `terminate` gives.
pub const CODE: u32 = 0x1_0000;

/// The exit code that tells of `signal`; `None` for one that cannot be sent.
pub(crate) fn exit_code(signal: i32) -> Option<u32> {
    match signal {
        TERMINATE => Some(CODE),
        KILL => Some(CODE | KILL as u32),
        _ => None,
    }
}

/// The opposite of [`exit_code`].
pub(crate) fn of_exit_code(code: u32) -> Option<i32> {
    [TERMINATE, KILL].into_iter().find(|signal| exit_code(*signal) == Some(code))
}

/// Ends the calling process at once by `signal`, [`TERMINATE`] or [`KILL`]: nothing of it runs any more, in any thread.
pub fn end_this_process(signal: i32) -> ! {
    let code = exit_code(signal).unwrap_or(CODE | KILL as u32);
    loop {
        // SAFETY: ends this process, which nothing can refuse.
        unsafe { TerminateProcess(GetCurrentProcess(), code) };
    }
}

/// From now on control-C, which the console sends to all of its processes, does not end this process.
pub fn ignore_interrupt() {
    // SAFETY: no handler stands for "ignore control-C".
    unsafe { SetConsoleCtrlHandler(None, 1) };
}

/// Who decides what a press of control-C means.
static HEEDED: OnceLock<fn() -> bool> = OnceLock::new();

/// From now on each control-C calls `heeded`, in a thread that the system starts for it. If that returns false, the press has the
/// effect that it had before. Of several calls the first one's `heeded` stays.
///
/// # Errors
///
/// The system refuses the handler.
pub fn on_interrupt(heeded: fn() -> bool) -> Result<(), OsError> {
    if HEEDED.set(heeded).is_err() {
        return Ok(());
    }
    // SAFETY: `pressed` is a handler, and stays.
    match unsafe { SetConsoleCtrlHandler(Some(pressed), 1) } {
        0 => Err(OsError::last("handle", "control-C")),
        _ => Ok(()),
    }
}

/// Says whether this was all that there is to do.
extern "system" fn pressed(event: u32) -> i32 {
    i32::from(event == CTRL_C_EVENT && HEEDED.get().is_some_and(|heeded| heeded()))
}

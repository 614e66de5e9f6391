//! How a child ended, for any number of askers: a process's handle keeps it.

use crate::clock::{millis_until, now};
use crate::error::{OsError, Result};
use crate::signal;
use crate::start::Child;
use offspring_core::wait::Deadline;
use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::{fmt, ptr};
use windows_sys::Win32::Foundation::{self as win, HANDLE};
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetExitCodeProcess, INFINITE, RegisterWaitForSingleObject, SetEvent,
    UnregisterWaitEx, WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE, WaitForMultipleObjects,
    WaitForSingleObject,
};

/// How a process ended.
///
/// The system tells an exit code and nothing else. Those of [`Process::send_signal`](crate::process::Process::send_signal) are told as signals, Python's own
/// `terminate` among them, and those of exceptions that nobody handled as exceptions; a program that exits with
/// such a code cannot be told from them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExitStatus {
    /// It exited with this code. Codes from 2^31 on are negative.
    Code(i32),
    /// It was ended from outside.
    Signal {
        /// [`TERMINATE`](signal::TERMINATE) or [`KILL`](signal::KILL).
        signal: i32,
        /// Never, here.
        core_dumped: bool,
    },
    /// An exception ended it.
    Exception {
        /// The exception's code, such as 0xc0000005.
        code: u32,
    },
    /// It ended, and the system does not tell how.
    Unknown,
}

impl ExitStatus {
    /// Whether it exited with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The number of the signal that ended it, or of the one by which Unix would have told of the exception that did.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Signal { signal, .. } => Some(signal),
            Self::Exception { code } => {
                EXCEPTIONS.iter().find(|(known, ..)| *known == code).map(|(_, signal, _)| *signal)
            }
            _ => None,
        }
    }

    /// From the system's exit code.
    #[must_use]
    pub fn from_exit_code(code: u32) -> Self {
        if let Some(signal) = signal::of_exit_code(code) {
            return Self::Signal { signal, core_dumped: false };
        }
        if EXCEPTIONS.iter().any(|(known, ..)| *known == code) {
            return Self::Exception { code };
        }
        Self::Code(code as i32)
    }
}

/// Exceptions that end processes: code, the signal that Unix has for it, name.
const EXCEPTIONS: [(u32, i32, &str); 13] = [
    (win::STATUS_CONTROL_C_EXIT as u32, 2, "control-C"),
    (win::STATUS_ILLEGAL_INSTRUCTION as u32, 4, "an illegal instruction"),
    (win::STATUS_PRIVILEGED_INSTRUCTION as u32, 4, "a privileged instruction"),
    (win::STATUS_BREAKPOINT as u32, 5, "a breakpoint"),
    (win::STATUS_STACK_BUFFER_OVERRUN as u32, signal::ABORT, "abort, or a check that failed"),
    (win::STATUS_HEAP_CORRUPTION as u32, signal::ABORT, "heap corruption"),
    (win::STATUS_IN_PAGE_ERROR as u32, 7, "a page that could not be read"),
    (win::STATUS_DATATYPE_MISALIGNMENT as u32, 7, "a misaligned access"),
    (win::STATUS_INTEGER_DIVIDE_BY_ZERO as u32, 8, "a division by zero"),
    (win::STATUS_INTEGER_OVERFLOW as u32, 8, "an integer overflow"),
    (win::STATUS_ACCESS_VIOLATION as u32, 11, "an access violation"),
    (win::STATUS_STACK_OVERFLOW as u32, 11, "a stack overflow"),
    (win::STATUS_GUARD_PAGE_VIOLATION as u32, 11, "a guard page violation"),
];

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            // Large codes are read in hexadecimal, as the system's headers have them.
            Self::Code(code) if code < 0 => write!(f, "exited with code {code:#x}"),
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal { signal, .. } => match signal_name(signal) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
            Self::Exception { code } => {
                let known = EXCEPTIONS.iter().find(|(known, ..)| *known == code);
                let name = known.map_or("an exception", |(_, _, name)| *name);
                write!(f, "ended by {name} ({code:#x})")
            }
            Self::Unknown => write!(f, "ended, and how is not known"),
        }
    }
}

/// The usual name of a signal that can end a process.
#[must_use]
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        2 => "SIGINT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        signal::ABORT => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        signal::KILL => "SIGKILL",
        11 => "SIGSEGV",
        signal::TERMINATE => "SIGTERM",
        _ => return None,
    })
}

/// How `child` ended. Blocks until it has.
pub fn wait(child: &Child) -> ExitStatus {
    while !child.pidfd().wait_gone(None) {}
    told(child)
}

/// How `child` ended; `None` while it has not.
#[must_use]
pub fn try_wait(child: &Child) -> Option<ExitStatus> {
    child.pidfd().is_gone().then(|| told(child))
}

/// As [`wait`], until `until` at the latest; then `None`.
#[must_use]
pub fn wait_deadline(child: &Child, until: Deadline) -> Option<ExitStatus> {
    child.pidfd().wait_gone(Some(until)).then(|| told(child))
}

/// Waits until one of `children` has ended, and says which, by its place. `None` when there are none.
///
/// The system waits for 64 objects at once; more are waited for by threads of its pool.
#[must_use]
pub fn wait_any(children: &[&Child]) -> Option<usize> {
    wait_any_deadline(children, None)
}

/// As [`wait_any`], until `until` at the latest; then `None`.
#[must_use]
pub fn wait_any_deadline(children: &[&Child], until: Option<Deadline>) -> Option<usize> {
    if children.is_empty() {
        return None;
    }
    let passed = || until.is_some_and(|until| now() >= until);
    let ended = || children.iter().position(|child| child.pidfd().is_gone());
    if children.len() <= MOST_AT_ONCE {
        let handles: Vec<_> =
            children.iter().map(|child| child.pidfd().handle().as_raw_handle()).collect();
        loop {
            let (count, millis) = (handles.len() as u32, millis_until(until));
            // SAFETY: as many open handles as said.
            unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, millis) };
            let place = ended();
            if place.is_some() || passed() {
                return place;
            }
        }
    }
    let Ok(told) = Told::new() else {
        // Nothing is left to be told by: the first of them, then.
        let _ = children[0].pidfd().wait_gone(until);
        return ended();
    };
    let waits: Vec<_> = children.iter().map(|child| told.of(child)).collect();
    // Those that the pool does not take are looked at again and again.
    let millis = if waits.iter().all(Option::is_some) { INFINITE } else { RECHECK_MILLIS };
    loop {
        let place = ended();
        if place.is_some() || passed() {
            return place;
        }
        told.wait(millis.min(millis_until(until)));
    }
}

const MOST_AT_ONCE: usize = 64;

const RECHECK_MILLIS: u32 = 20;

/// An event that the pool's threads set when a process has ended.
struct Told(OwnedHandle);

/// A process that the pool waits for, until this is dropped.
struct PoolWait(HANDLE);

impl Told {
    fn new() -> Result<Self> {
        // SAFETY: no security attributes and no name; it is reset by who waits for it.
        let event = unsafe { CreateEventW(ptr::null(), 0, 0, ptr::null()) };
        if event.is_null() {
            return Err(OsError::last("make", "an event"));
        }
        // SAFETY: the call made this handle, and nobody else knows it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(event) }))
    }

    /// Has it set when `child` has ended; `None` if the pool takes no more.
    fn of(&self, child: &Child) -> Option<PoolWait> {
        unsafe extern "system" fn set(event: *mut c_void, _: bool) {
            // SAFETY: the event is open until all waits are over: `PoolWait` is dropped first.
            unsafe { SetEvent(event) };
        }
        let mut wait = ptr::null_mut();
        let event = self.0.as_raw_handle();
        // SAFETY: an open process, a writable result, a function without captures and what it takes.
        let done = unsafe {
            RegisterWaitForSingleObject(
                &mut wait,
                child.pidfd().handle().as_raw_handle(),
                Some(set),
                event,
                INFINITE,
                WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD,
            )
        };
        (done != 0).then(|| PoolWait(wait))
    }

    fn wait(&self, millis: u32) {
        // SAFETY: an open event.
        unsafe { WaitForSingleObject(self.0.as_raw_handle(), millis) };
    }
}

impl Drop for PoolWait {
    fn drop(&mut self) {
        // SAFETY: registered by `of`, and ended once; by the second argument this blocks until `set` is not running.
        unsafe { UnregisterWaitEx(self.0, win::INVALID_HANDLE_VALUE) };
    }
}

/// Of a child that has ended.
fn told(child: &Child) -> ExitStatus {
    let mut code = 0;
    // SAFETY: an open handle of a process, with all rights, and a writable answer.
    if unsafe { GetExitCodeProcess(child.pidfd().handle().as_raw_handle(), &mut code) } == 0 {
        return ExitStatus::Unknown;
    }
    ExitStatus::from_exit_code(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_reads_like_a_sentence() {
        let text = |code| ExitStatus::from_exit_code(code).to_string();
        assert_eq!(text(3), "exited with code 3");
        assert_eq!(text(0x1_0000), "killed by SIGTERM");
        assert_eq!(text(0x1_0009), "killed by SIGKILL");
        assert_eq!(text(0xc000_0005), "ended by an access violation (0xc0000005)");
        assert_eq!(text(0xc000_0022), "exited with code 0xc0000022");
    }

    #[test]
    fn exceptions_are_told_as_unix_tells_them() {
        let signal = |code| ExitStatus::from_exit_code(code).signal();
        assert_eq!(signal(0xc000_0409), Some(signal::ABORT));
        assert_eq!(signal(0xc000_0005).and_then(signal_name), Some("SIGSEGV"));
        assert_eq!(signal(1), None);
        // Python's code of `terminate`, for which it says -15.
        assert_eq!(signal(0x1_0000), Some(15));
    }
}

//! How a process ended.

use crate::sys;
use std::fmt;

/// How a process ended: with an exit code, by a signal, or unknown (something else in this program reaped it).
///
/// ```
/// use offspring::Process;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let child = Process::spawn(|code| -> u32 { std::process::exit(code) }, 7)?;
///     assert_eq!(child.wait().code(), Some(7));
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExitStatus(pub(super) sys::ExitStatus);

impl ExitStatus {
    /// How it ended is not known.
    pub(crate) const UNKNOWN: Self = Self(sys::ExitStatus::Unknown);

    /// Whether it ended with exit code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self.0.is_success()
    }

    /// Its exit code, 0 to 255 (on Windows any); `None` if a signal ended it, or it is not known.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        match self.0 {
            sys::ExitStatus::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The number of the signal that ended it. On Windows that is 15 after `terminate` and 9 after `kill`; an exception is
    /// told by the number of the signal that Unix has for it.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        self.0.signal()
    }

    /// The name of the signal that ended it, if it is one of the usual ones.
    #[must_use]
    pub fn signal_name(self) -> Option<&'static str> {
        self.signal().and_then(sys::signal_name)
    }

    /// Whether a signal ended it and the system wrote a core file.
    #[must_use]
    pub fn core_dumped(self) -> bool {
        matches!(self.0, sys::ExitStatus::Signal { core_dumped: true, .. })
    }

    /// Python's `exitcode`: the exit code, or minus the number of the signal that ended it.
    #[must_use]
    pub fn exitcode(self) -> Option<i32> {
        self.code().or_else(|| self.signal().map(|signal| -signal))
    }

    /// By the signal of a process that gives up.
    pub(super) fn is_abort(self) -> bool {
        self.signal() == Some(sys::signal::ABORT)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

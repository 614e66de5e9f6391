//! What went wrong at the operating system: what was attempted, on what, and the error's number.

use std::borrow::Cow;
use std::{fmt, io};
use windows_sys::Win32::Foundation as win;

/// What a call of this crate returns.
pub type Result<T, E = OsError> = std::result::Result<T, E>;

/// An operating-system call that failed.
///
/// Displays as `open the process 4711: The parameter is incorrect. (os error 87); it has ended`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OsError {
    op: &'static str,
    object: Cow<'static, str>,
    code: i32,
    advice: Option<Cow<'static, str>>,
}

impl OsError {
    /// `op` (a verb phrase, as in "commit") was attempted on `object` and failed with the Win32 error `code`.
    #[must_use]
    pub fn new(op: &'static str, object: impl Into<Cow<'static, str>>, code: i32) -> Self {
        Self { op, object: object.into(), code, advice: None }
    }

    /// As [`new`](Self::new), with the calling thread's last error.
    #[must_use]
    pub fn last(op: &'static str, object: impl Into<Cow<'static, str>>) -> Self {
        Self::new(op, object, last_error())
    }

    /// With the sentence that tells what to do, in place of the general one for the number.
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What was attempted.
    #[must_use]
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// On what.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The Win32 error.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code
    }

    /// Whether memory, or the room that the commit limit and jobs leave, is short.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(
            self.win32(),
            win::ERROR_NOT_ENOUGH_MEMORY
                | win::ERROR_OUTOFMEMORY
                | win::ERROR_COMMITMENT_LIMIT
                | win::ERROR_COMMITMENT_MINIMUM
                | win::ERROR_DISK_FULL
        )
    }

    /// Whether a limit on the number of something (handles, processes of a job) is reached.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(
            self.win32(),
            win::ERROR_TOO_MANY_OPEN_FILES
                | win::ERROR_NO_SYSTEM_RESOURCES
                | win::ERROR_NOT_ENOUGH_QUOTA
                | win::ERROR_MAX_THRDS_REACHED
                | win::ERROR_ACTIVE_CONNECTIONS
        )
    }

    /// Whether the system does not permit it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.win32(), win::ERROR_ACCESS_DENIED | win::ERROR_PRIVILEGE_NOT_HELD)
    }

    /// Whether this system does not have it.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.win32(),
            win::ERROR_NOT_SUPPORTED
                | win::ERROR_CALL_NOT_IMPLEMENTED
                | win::ERROR_INVALID_FUNCTION
                | win::ERROR_PROC_NOT_FOUND
        )
    }

    /// Whether the file or object is not there (any more).
    ///
    /// Windows says `ERROR_INVALID_PARAMETER` of a process that has ended; what opens processes turns that into
    /// `ERROR_NOT_FOUND`.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.win32(),
            win::ERROR_FILE_NOT_FOUND | win::ERROR_PATH_NOT_FOUND | win::ERROR_NOT_FOUND
        )
    }

    /// Whether a deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.win32(), win::WAIT_TIMEOUT | win::ERROR_TIMEOUT | win::ERROR_SEM_TIMEOUT)
    }

    /// Whether the other side is gone.
    #[must_use]
    pub fn is_peer_gone(&self) -> bool {
        matches!(
            self.win32(),
            win::ERROR_BROKEN_PIPE
                | win::ERROR_NO_DATA
                | win::ERROR_PIPE_NOT_CONNECTED
                | win::ERROR_NETNAME_DELETED
        )
    }

    /// Whether what was handed in is not what it should be.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(
            self.win32(),
            win::ERROR_INVALID_PARAMETER
                | win::ERROR_INVALID_HANDLE
                | win::ERROR_INVALID_DATA
                | win::ERROR_INVALID_ADDRESS
                | win::ERROR_BAD_LENGTH
                | win::ERROR_BAD_FORMAT
        )
    }

    fn win32(&self) -> u32 {
        self.code as u32
    }

    fn advice(&self) -> Option<&str> {
        if let Some(advice) = &self.advice {
            return Some(advice);
        }
        Some(match self.win32() {
            win::ERROR_NOT_ENOUGH_MEMORY
            | win::ERROR_OUTOFMEMORY
            | win::ERROR_COMMITMENT_LIMIT
            | win::ERROR_COMMITMENT_MINIMUM => "free memory, or make the paging file larger",
            win::ERROR_NOT_ENOUGH_QUOTA => "raise the limit of the job that this process is in",
            win::ERROR_ACCESS_DENIED => {
                "check the rights of this process, and the limits of its job"
            }
            win::ERROR_CALL_NOT_IMPLEMENTED => "a newer Windows is needed",
            _ => return None,
        })
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.op, self.object)?;
        // "Access is denied. (os error 5)" is std's text for it.
        write!(f, "{}", io::Error::from_raw_os_error(self.code))?;
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for OsError {}

impl From<OsError> for io::Error {
    /// Keeps the kind and the whole text; `raw_os_error` is lost in favour of the text.
    fn from(error: OsError) -> Self {
        let kind = io::Error::from_raw_os_error(error.code).kind();
        Self::new(kind, error)
    }
}

/// The calling thread's last error.
pub(crate) fn last_error() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_on_what_why_and_what_to_do() {
        let code = win::ERROR_ACCESS_DENIED as i32;
        let error = OsError::new("open", "process 4711", code);
        let text = error.to_string();
        assert!(text.starts_with("open process 4711: ") && text.contains("(os error 5)"), "{text}");
        assert!(text.contains("; check the rights"), "{text}");
        assert!(error.is_denied() && !error.is_not_found());
    }

    #[test]
    fn own_advice_replaces_the_general_one() {
        let code = win::ERROR_COMMITMENT_LIMIT as i32;
        let error = OsError::new("commit", "4096 bytes", code).with_advice("put less");
        assert!(error.is_out_of_memory());
        assert!(error.to_string().ends_with("; put less"), "{error}");
    }

    #[test]
    fn io_error_keeps_kind_and_text() {
        let error = OsError::new("write", "the lifeline", win::ERROR_BROKEN_PIPE as i32);
        assert!(error.is_peer_gone());
        let text = error.to_string();
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(error.to_string(), text);
    }
}

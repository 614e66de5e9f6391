//! What went wrong at the operating system: what was attempted, on what, and the errno.

use std::borrow::Cow;
use std::{fmt, io};

/// What a call of this crate returns.
pub type Result<T, E = OsError> = std::result::Result<T, E>;

/// An operating-system call that failed.
///
/// Displays as `open the process 4711: No such process (errno 3); it has ended`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OsError {
    op: &'static str,
    object: Cow<'static, str>,
    code: i32,
    advice: Option<Cow<'static, str>>,
}

impl OsError {
    /// `op` (a verb phrase, as in "commit") was attempted on `object` and failed with the errno `code`.
    #[must_use]
    pub fn new(op: &'static str, object: impl Into<Cow<'static, str>>, code: i32) -> Self {
        Self { op, object: object.into(), code, advice: None }
    }

    /// As [`new`](Self::new), with the calling thread's errno.
    #[must_use]
    pub fn last(op: &'static str, object: impl Into<Cow<'static, str>>) -> Self {
        Self::new(op, object, errno())
    }

    /// With the sentence that tells what to do, in place of the general one for the errno.
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

    /// The errno.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code
    }

    /// Whether memory, or the room that limits and cgroups leave, is short.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.code, libc::ENOMEM | libc::ENOSPC | libc::EDQUOT)
    }

    /// Whether a limit on the number of something (descriptors, processes) is reached.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self.code, libc::EMFILE | libc::ENFILE | libc::EAGAIN)
    }

    /// Whether the system does not permit it (rights, seccomp).
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.code, libc::EPERM | libc::EACCES)
    }

    /// Whether this system does not have it.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.code, libc::ENOSYS | libc::EOPNOTSUPP)
    }

    /// Whether the file or process is not there (any more).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.code, libc::ENOENT | libc::ESRCH | libc::ECHILD)
    }

    /// Whether a deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.code == libc::ETIMEDOUT
    }

    /// Whether the other side is gone.
    #[must_use]
    pub fn is_peer_gone(&self) -> bool {
        matches!(self.code, libc::EPIPE | libc::ECONNRESET)
    }

    /// Whether what was handed in is not what it should be.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.code, libc::EINVAL | libc::EBADF | libc::EPROTO | libc::EMSGSIZE)
    }

    fn advice(&self) -> Option<&str> {
        if let Some(advice) = &self.advice {
            return Some(advice);
        }
        Some(match self.code {
            libc::ENOMEM | libc::ENOSPC => "free memory, or raise the limit",
            libc::EMFILE => "raise the limit on open files (ulimit -n)",
            libc::ENFILE => "the whole system is out of open files",
            libc::EAGAIN => "raise the limit on processes (ulimit -u, pids.max)",
            libc::EPERM | libc::EACCES => "check the rights and the seccomp filter of this process",
            libc::ENOSYS => "a newer kernel, or a seccomp filter that lets it through, is needed",
            libc::ESRCH => "it has ended",
            _ => return None,
        })
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.op, self.object)?;
        // "No such process (os error 3)" is std's text for it.
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

/// The calling thread's errno.
pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_on_what_why_and_what_to_do() {
        let error = OsError::new("open", "process 4711", libc::ESRCH);
        assert_eq!(
            error.to_string(),
            "open process 4711: No such process (os error 3); it has ended"
        );
        assert!(error.is_not_found() && !error.is_denied());
    }

    #[test]
    fn own_advice_replaces_the_general_one() {
        let error = OsError::new("commit", "4096 bytes", libc::ENOMEM).with_advice("put less");
        assert!(error.to_string().ends_with("; put less"), "{error}");
    }

    #[test]
    fn io_error_keeps_kind_and_text() {
        let error = OsError::new("write", "the lifeline", libc::EPIPE);
        let text = error.to_string();
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(error.to_string(), text);
    }
}

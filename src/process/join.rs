//! Why a process gave no value: it panicked, ended otherwise, or its value could not travel.

use super::children::Started;
use super::record::{NoteKind, Outcome};
use super::{ExitStatus, Panic};
use crate::error::{Error, Kind, Subject};
use std::fmt;

/// Why [`join`](super::Process::join) gives no value.
///
/// Says which process it was and how it ended. `?` turns it into an [`Error`], of which
/// [`is_panic`](crate::Error::is_panic) or [`is_participant_lost`](crate::Error::is_participant_lost) is true then.
///
/// ```
/// use offspring::Process;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let error = Process::spawn(half, 7)?.join().unwrap_err();
///     assert_eq!(error.panic().unwrap().message(), "7 is odd");
///     assert_eq!(error.status().code(), Some(101));
///     Ok(())
/// }
///
/// fn half(n: u32) -> u32 {
///     if n % 2 == 1 {
///         panic!("{n} is odd");
///     }
///     n / 2
/// }
/// ```
pub struct JoinError(Box<Inner>);

struct Inner {
    pid: u32,
    name: String,
    status: ExitStatus,
    why: Why,
}

pub(super) enum Why {
    Panicked(Panic),
    /// It ended by itself or was ended, before the function returned.
    Ended,
    /// It ended before it came to the function.
    NeverBegan,
    /// It said that it could not run the function or return its value.
    Refused(String),
    /// It returned something that cannot be read here.
    Unreadable(Error),
}

impl Why {
    pub(super) fn of(started: &Started, outcome: &Outcome, status: ExitStatus) -> Option<Self> {
        let record = &started.record;
        let note = record.read_note();
        Some(match (outcome, note) {
            (Outcome::Value(..), _) => return None,
            (Outcome::Panicked, Some((NoteKind::Panic | NoteKind::FatalPanic, note))) => {
                Self::Panicked(Panic::from_note(&note))
            }
            (Outcome::Panicked, _) => {
                Self::Panicked(Panic::saying("(there was no memory to note the message)"))
            }
            (Outcome::Refused, Some((NoteKind::Refusal, note))) => {
                Self::Refused(String::from_utf8_lossy(&note).into_owned())
            }
            (Outcome::Refused, _) => {
                Self::Refused("it could not do what it was started for".to_owned())
            }
            (_, Some((NoteKind::FatalPanic, note))) if status.is_abort() => {
                Self::Panicked(Panic::from_note(&note))
            }
            _ if record.child().is_none() => Self::NeverBegan,
            _ => Self::Ended,
        })
    }
}

impl JoinError {
    pub(super) fn new(pid: u32, name: &str, status: ExitStatus, why: Why) -> Self {
        Self(Box::new(Inner { pid, name: name.to_owned(), status, why }))
    }

    /// Why the process `started`, which has ended, left no value; `None` if it left one.
    pub(super) fn of(started: &Started) -> Option<Self> {
        let status = started.wait();
        let outcome = started.record.read_result();
        let why = Why::of(started, &outcome, status)?;
        Some(Self::new(started.pid(), &started.name, status, why))
    }

    /// The function panicked, or a panic anywhere in it ended the process.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.0.why, Why::Panicked(_))
    }

    /// The process ended by an exit code before the function returned: it called `std::process::exit`.
    #[must_use]
    pub fn is_exit(&self) -> bool {
        matches!(self.0.why, Why::Ended | Why::NeverBegan) && self.0.status.code().is_some()
    }

    /// A signal ended the process before the function returned.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        matches!(self.0.why, Why::Ended | Why::NeverBegan) && self.0.status.signal().is_some()
    }

    /// The arguments could not be read there, or the value could not come back; the text says which and why.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.0.why, Why::Refused(_) | Why::Unreadable(_))
    }

    /// The panic.
    #[must_use]
    pub fn panic(&self) -> Option<&Panic> {
        match &self.0.why {
            Why::Panicked(panic) => Some(panic),
            _ => None,
        }
    }

    /// How the process ended.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.0.status
    }

    /// The process's number. Another process may have it by now.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// The process's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { pid, name, status, why } = &*self.0;
        write!(f, "join process {pid} `{name}`: ")?;
        match why {
            Why::Panicked(panic) => panic.fmt(f),
            Why::Ended => write!(f, "{status} before its function returned"),
            Why::NeverBegan => write!(
                f,
                "{status} before it began; its `main` must call `offspring::init()` first (see what it wrote to stderr)"
            ),
            Why::Refused(text) => f.write_str(text),
            Why::Unreadable(_) => f.write_str("its value cannot be read here"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        if let Why::Panicked(panic) = &self.0.why
            && let Some(backtrace) = panic.backtrace()
        {
            write!(f, "\n{backtrace}")?;
        }
        if let Why::Unreadable(error) = &self.0.why {
            write!(f, ": {error:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.why {
            Why::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        let kind = match &error.0.why {
            Why::Panicked(_) => Kind::Panicked,
            Why::Ended | Why::NeverBegan => Kind::ParticipantLost,
            Why::Refused(_) => Kind::Decode,
            Why::Unreadable(cause) => cause.kind(),
        };
        let text = error.to_string();
        Self::caused(kind, Subject::None, text, error)
    }
}

//! Why a task gave no value.

use crate::error::{Error, Kind, Subject};
use crate::process::{ExitStatus, Panic};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a task gave no value. Each concerns this task alone, but for the last four.
///
/// `?` turns it into an [`Error`]: [`is_panic`](Error::is_panic), [`is_participant_lost`](Error::is_participant_lost),
/// [`is_timeout`](Error::is_timeout), [`is_cancelled`](Error::is_cancelled), [`is_encode`](Error::is_encode),
/// [`is_decode`](Error::is_decode), [`is_closed`](Error::is_closed), [`is_degraded`](Error::is_degraded).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. Its worker lives.
    Panicked(Box<Panic>),
    /// The worker ended while it ran this task: it was killed, crashed, aborted, or the task called `exit`.
    WorkerLost {
        /// Its number. Another process may have it by now.
        pid: u32,
        /// How it ended.
        how: ExitStatus,
        /// The panic that ended it, if one did (`panic = "abort"`, or a panic while unwinding).
        panic: Option<Box<Panic>>,
        /// How many workers this task cost, with [`retry`](super::Builder::retry).
        attempts: u32,
    },
    /// It ran for longer than its deadline, and was ended.
    Deadline {
        /// The deadline.
        after: Duration,
    },
    /// It was cancelled.
    #[doc(alias = "CancelledError")]
    Cancelled,
    /// The worker could not read the argument, or not send the result; the text says which and why.
    #[doc(alias = "MaybeEncodingError")]
    Refused(String),
    /// The result arrived, and is no such value.
    Unreadable(Arc<Error>),
    /// It has not ended yet: from calls that do not wait, or not so long.
    NotReady,
    /// The pool was [interrupted](super::Pool::interrupt) before the task began.
    Interrupted,
    /// The pool was terminated first.
    Terminated,
    /// The pool cannot start workers any more; the text says why.
    Degraded(String),
    /// The pool's own memory failed it.
    Broken(Arc<Error>),
}

impl TaskError {
    /// Whether the task may yet give a value.
    #[must_use]
    pub fn is_not_ready(&self) -> bool {
        matches!(self, Self::NotReady)
    }

    /// The panic, whether the worker outlived it or not.
    #[must_use]
    pub fn panic(&self) -> Option<&Panic> {
        match self {
            Self::Panicked(panic) => Some(panic),
            Self::WorkerLost { panic, .. } => panic.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => write!(f, "the task {panic}"),
            Self::WorkerLost { pid, how, panic, attempts } => {
                write!(f, "the task's worker (process {pid}) ")?;
                match panic {
                    Some(panic) => write!(f, "{panic}, which ended it ({how})")?,
                    None => how.fmt(f)?,
                }
                match attempts {
                    0 | 1 => Ok(()),
                    n => write!(f, "; this task cost {n} workers"),
                }
            }
            Self::Deadline { after } => write!(f, "the task ran for more than {after:?}"),
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Refused(why) => write!(f, "the task: {why}"),
            Self::Unreadable(_) => f.write_str("the task's result cannot be read"),
            Self::NotReady => f.write_str("the task has not ended yet"),
            Self::Interrupted => f.write_str("the pool was interrupted before the task began"),
            Self::Terminated => f.write_str("the pool was terminated before the task ended"),
            Self::Degraded(why) => write!(f, "the pool gave up starting workers: {why}"),
            Self::Broken(_) => f.write_str("the pool could not pass the task on"),
        }
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) | Self::Broken(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        let kind = match &error {
            TaskError::Panicked(_) => Kind::Panicked,
            TaskError::WorkerLost { .. } => Kind::ParticipantLost,
            TaskError::Deadline { .. } | TaskError::NotReady => Kind::Timeout,
            TaskError::Cancelled => Kind::Cancelled,
            TaskError::Refused(_) => Kind::Encode,
            TaskError::Unreadable(cause) | TaskError::Broken(cause) => cause.kind(),
            TaskError::Interrupted | TaskError::Terminated => Kind::Closed,
            TaskError::Degraded(_) => Kind::Degraded,
        };
        let text = error.to_string();
        Self::caused(kind, Subject::None, text, error)
    }
}

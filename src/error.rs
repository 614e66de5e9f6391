//! What went wrong: one opaque error with predicates, and the refusal that gives a value back.

use std::error::Error as StdError;
use std::fmt;

/// What a call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done: what was attempted, on what, and the cause.
///
/// Ask with the predicates; print it for a person. The causes behind it are in [`source`](StdError::source).
///
/// ```
/// use offspring::Queue;
///
/// let queue = Queue::<u32>::bounded(1)?;
/// let error = queue.try_get().unwrap_err();
/// assert!(error.is_empty());
/// assert!(!error.is_closed());
/// # Ok::<(), offspring::Error>(())
/// ```
pub struct Error(Repr);

/// The frequent ones cost no allocation.
enum Repr {
    Plain(Kind, Subject),
    Full(Box<Detail>),
}

struct Detail {
    kind: Kind,
    subject: Subject,
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of trouble; one predicate each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Timeout,
    Closed,
    Full,
    Empty,
    TooLarge,
    NoMemory,
    Corrupt,
    Gone,
    WrongType,
    WrongFamily,
    Encode,
    Decode,
    OwnLease,
    DeadLettered,
    NoRoom,
    ParticipantLost,
    Panicked,
    Forked,
    Cancelled,
    Degraded,
    NotInitialised,
    Unsupported,
    AlreadySet,
    Threads,
    Options,
    Os,
}

/// On what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    None,
    /// A queue, by its region.
    Queue(u64),
    /// A process, by its pid.
    #[allow(dead_code)] // the process part names it by text where it has more to say
    Process(u32),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Queue(region) => write!(f, "queue #{}: ", region & 0xffff_ffff),
            Self::Process(pid) => write!(f, "process {pid}: "),
        }
    }
}

impl Error {
    pub(crate) const fn plain(kind: Kind, subject: Subject) -> Self {
        Self(Repr::Plain(kind, subject))
    }

    /// `text` says what was attempted, on what, and what to do.
    pub(crate) fn new(kind: Kind, subject: Subject, text: impl Into<String>) -> Self {
        Self(Repr::Full(Box::new(Detail { kind, subject, text: text.into(), source: None })))
    }

    pub(crate) fn caused(
        kind: Kind,
        subject: Subject,
        text: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let source = Some(source.into());
        Self(Repr::Full(Box::new(Detail { kind, subject, text: text.into(), source })))
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.0 {
            Repr::Plain(kind, _) => *kind,
            Repr::Full(detail) => detail.kind,
        }
    }

    /// The time given was over first. Nothing was changed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == Kind::Timeout
    }

    /// The object was closed, and for a taker: nothing is left in it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.kind() == Kind::Closed
    }

    /// Nothing was there for a call that does not wait (Python's `queue.Empty`).
    #[doc(alias = "Empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kind() == Kind::Empty
    }

    /// No slot or room was free for a call that does not wait (Python's `queue.Full`).
    #[doc(alias = "Full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.kind(), Kind::Full | Kind::NoRoom)
    }

    /// The message could never fit, however long one waits.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.kind() == Kind::TooLarge
    }

    /// The system, or a limit set on this process, has no memory left.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.kind() == Kind::NoMemory
    }

    /// Another process ended before it did what was asked of it; the text says which and how it ended.
    #[must_use]
    pub fn is_participant_lost(&self) -> bool {
        self.kind() == Kind::ParticipantLost
    }

    /// The function that ran in another process panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.kind() == Kind::Panicked
    }

    /// A handle or message is of another type than the one asked for.
    #[must_use]
    pub fn is_wrong_type(&self) -> bool {
        self.kind() == Kind::WrongType
    }

    /// A handle belongs to another family of processes.
    #[must_use]
    pub fn is_wrong_family(&self) -> bool {
        self.kind() == Kind::WrongFamily
    }

    /// The object exists no more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.kind() == Kind::Gone
    }

    /// The value could not be turned into bytes, or may not travel this way.
    #[must_use]
    pub fn is_encode(&self) -> bool {
        self.kind() == Kind::Encode
    }

    /// The bytes that arrived are no value of the type asked for.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        self.kind() == Kind::Decode
    }

    /// The object's shared memory was overwritten by something that is not this library.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.kind() == Kind::Corrupt
    }

    /// The call would have waited for a lease that the calling thread itself took.
    #[must_use]
    pub fn is_own_lease(&self) -> bool {
        self.kind() == Kind::OwnLease
    }

    /// The item was given back as often as its queue allows and lies with the dead letters.
    #[must_use]
    pub fn is_dead_lettered(&self) -> bool {
        self.kind() == Kind::DeadLettered
    }

    /// The task was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.kind() == Kind::Cancelled
    }

    /// A pool gave up starting workers, as they ended before they could work; the text says how.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.kind() == Kind::Degraded
    }

    /// `offspring::init()` (or `test_entry!`) was not called in this program.
    #[must_use]
    pub fn is_not_initialised(&self) -> bool {
        self.kind() == Kind::NotInitialised
    }

    /// This system, or this program, cannot do it at all: a start method that it does not have.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.kind() == Kind::Unsupported
    }

    /// What can be set once was set before.
    #[must_use]
    pub fn is_already_set(&self) -> bool {
        self.kind() == Kind::AlreadySet
    }

    /// `fork` was refused, since this process has more than one thread.
    #[must_use]
    pub fn is_many_threads(&self) -> bool {
        self.kind() == Kind::Threads
    }

    /// The options contradict each other, or the call does not fit the process that made it.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.kind() == Kind::Options
    }
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Timeout => "the time was over first",
            Self::Closed => "closed, and nothing is left in it",
            Self::Full => "full",
            Self::Empty => "empty",
            Self::TooLarge => "the message could never fit",
            Self::NoMemory => "no memory left",
            Self::Corrupt => "its shared memory was overwritten",
            Self::Gone => "exists no more",
            Self::WrongType => "is of another type",
            Self::WrongFamily => "belongs to another family of processes",
            Self::Encode => "the value cannot be serialised",
            Self::Decode => "the message is no such value",
            Self::OwnLease => {
                "what is left is leased by the calling thread, which would wait for itself"
            }
            Self::DeadLettered => {
                "the item was given back too often and lies with the dead letters"
            }
            Self::NoRoom => "no block is free for a message of this size",
            Self::ParticipantLost => "another process ended too early",
            Self::Panicked => "the function panicked",
            Self::Forked => "belongs to the process that forked this one",
            Self::Cancelled => "it was cancelled",
            Self::Degraded => "the pool gave up starting workers",
            Self::NotInitialised => "call `offspring::init()` first in `main`",
            Self::Unsupported => "is not to be had here",
            Self::AlreadySet => "was set before",
            Self::Threads => "this process has more than one thread",
            Self::Options => "the options contradict each other",
            Self::Os => "the operating system refused",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Plain(kind, subject) => write!(f, "{subject}{}", kind.text()),
            Repr::Full(detail) => write!(f, "{}{}", detail.subject, detail.text),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `main` returning an error prints this: for people, with the causes.
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            Repr::Plain(..) => None,
            Repr::Full(detail) => detail.source.as_deref().map(|s| s as _),
        }
    }
}

/// A value that was not taken, and why. `?` turns it into the [`Error`] alone.
///
/// ```
/// use offspring::Queue;
///
/// let queue = Queue::<String>::bounded(1)?;
/// queue.put("first".into())?;
/// let refused = queue.try_put("second".into()).unwrap_err();
/// assert!(refused.error().is_full());
/// assert_eq!(refused.into_inner(), "second");
/// # Ok::<(), offspring::Error>(())
/// ```
pub struct Refused<T> {
    value: T,
    error: Error,
}

impl<T> Refused<T> {
    pub(crate) fn new(value: T, error: Error) -> Self {
        Self { value, error }
    }

    /// Why.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The value, unchanged.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Both.
    pub fn into_parts(self) -> (T, Error) {
        (self.value, self.error)
    }
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> StdError for Refused<T> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Self {
        refused.error
    }
}

//! Why an operation on a semaphore was refused; nothing was changed then.

use core::fmt;

/// Permits were not acquired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AcquireError {
    /// Not that many are free now: blocking waits for them. Only from [`try_acquire`](super::Semaphore::try_acquire).
    NotFree {
        /// How many were asked for.
        asked: u32,
        /// How many were free.
        free: u32,
    },
    /// The deadline passed. Only from [`acquire_deadline`](super::Semaphore::acquire_deadline).
    TimedOut {
        /// How many were asked for.
        asked: u32,
    },
    /// That many can never be free: ask for fewer.
    TooMany {
        /// How many were asked for.
        asked: u32,
        /// The most that can be free.
        most: u32,
    },
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotFree { asked, free } => write!(f, "acquire {asked} permits: {free} are free"),
            Self::TimedOut { asked } => {
                write!(f, "acquire {asked} permits: not free before the time was over")
            }
            Self::TooMany { asked, most } => {
                write!(f, "acquire {asked} permits: no more than {most} can ever be free")
            }
        }
    }
}

impl core::error::Error for AcquireError {}

/// Permits were not given back, put in or forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The caller's process does not hold that many; permits that nobody holds are put in by
    /// [`post`](super::Semaphore::post).
    NotHeld {
        /// How many were to be released.
        asked: u32,
        /// How many the process holds.
        held: u32,
    },
    /// More would be free than the semaphore's limit: somebody released or posted too often.
    TooMany {
        /// How many were to be released.
        asked: u32,
        /// How many are free.
        free: u32,
        /// The most that can be free.
        most: u32,
    },
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotHeld { asked, held } => {
                write!(f, "release {asked} permits: this process holds {held}")
            }
            Self::TooMany { asked, free, most } => write!(
                f,
                "release {asked} permits: {free} are free, and no more than {most} may be"
            ),
        }
    }
}

impl core::error::Error for ReleaseError {}

/// The words given to [`attach`](super::Semaphore::attach) do not fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// The ledger needs one entry more than the member table has: entry 0 is nobody's.
    Ledger {
        /// Entries given.
        entries: usize,
        /// Members that the table can have.
        members: usize,
    },
    /// The member's index is 0 or beyond the table.
    Member {
        /// The index given.
        index: u16,
    },
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ledger { entries, members } => write!(
                f,
                "attach to a semaphore: a ledger of {entries} entries for {members} members, one more is needed"
            ),
            Self::Member { index } => {
                write!(f, "attach to a semaphore: no member has index {index}")
            }
        }
    }
}

impl core::error::Error for AttachError {}

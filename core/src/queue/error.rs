//! Why a queue operation did not do what was asked. Each verb has its own small enum.

use core::fmt;

/// A word of the queue's region holds what the protocol never writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the queue's shared memory holds what no participant writes: it was overwritten",
        )
    }
}

impl core::error::Error for Corrupt {}

/// Memory for a message could not be committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory {
    /// Bytes that were asked for.
    pub asked: u64,
    /// Bytes that could be had, as far as the system tells.
    pub available: u64,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of memory asked for, {} available", self.asked, self.available)
    }
}

impl core::error::Error for NoMemory {}

/// Why a message was not put. Nothing of it is left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PutError {
    /// Every slot holds an item: wait for a `get`.
    Full,
    /// No block for a message of this size is free: wait for a lease to end or a `get`.
    NoRoom,
    /// The queue is closed.
    Closed,
    /// The message could never fit.
    TooLarge {
        /// Bytes of the message.
        len: usize,
        /// Bytes of the largest message this queue takes.
        most: usize,
    },
    /// The system has no memory for it.
    NoMemory(NoMemory),
    /// The queue was made without replies, and a reply was asked for.
    NoReplies,
    /// The queue's memory was overwritten.
    Corrupt,
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the queue is full"),
            Self::NoRoom => f.write_str("the queue has no block free for a message of this size"),
            Self::Closed => f.write_str("the queue is closed"),
            Self::TooLarge { len, most } => {
                write!(f, "a message of {len} bytes never fits: this queue takes at most {most}")
            }
            Self::NoMemory(why) => why.fmt(f),
            Self::NoReplies => f.write_str("the queue was made without replies"),
            Self::Corrupt => Corrupt.fmt(f),
        }
    }
}

impl core::error::Error for PutError {}

/// Why nothing was got or leased.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GetError {
    /// Nothing is there (or what is there is being written or read): wait for a put.
    Empty,
    /// The queue is closed and nothing is left: nothing will ever come.
    Closed,
    /// The queue is closed and nothing is in it, but items are leased and may come back: wait for their end.
    Leased {
        /// How many of them the caller's process holds.
        mine: u32,
        /// Whether anybody else holds or moves one.
        others: bool,
    },
    /// A lease needs a block for the item, and none is free.
    NoRoom,
    /// The system has no memory for it.
    NoMemory(NoMemory),
    /// The queue's memory was overwritten.
    Corrupt,
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the queue is empty"),
            Self::Closed => f.write_str("the queue is closed and nothing is left in it"),
            Self::Leased { .. } => {
                f.write_str("the queue is closed, and the items left in it are leased")
            }
            Self::NoRoom => f.write_str("the queue has no block free to lease an item into"),
            Self::NoMemory(why) => why.fmt(f),
            Self::Corrupt => Corrupt.fmt(f),
        }
    }
}

impl core::error::Error for GetError {}

/// Why a reply was not given; the lease is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReplyError {
    /// No block for a reply of this size is free now.
    NoRoom,
    /// The reply could never fit.
    TooLarge {
        /// Bytes of the reply.
        len: usize,
        /// Bytes of the largest reply this queue takes.
        most: usize,
    },
    /// The system has no memory for it.
    NoMemory(NoMemory),
    /// The queue's memory was overwritten.
    Corrupt,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("the queue has no block free for a reply of this size"),
            Self::TooLarge { len, most } => {
                write!(f, "a reply of {len} bytes never fits: this queue takes at most {most}")
            }
            Self::NoMemory(why) => why.fmt(f),
            Self::Corrupt => Corrupt.fmt(f),
        }
    }
}

impl core::error::Error for ReplyError {}

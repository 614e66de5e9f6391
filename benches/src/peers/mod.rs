//! The peers, each as its own users would use it, asked the same questions.

pub mod array_queue;

/// Messages that every bounded queue here holds.
pub const CAPACITY: usize = 1024;

//! The peers, each as its own users would use it, asked the same questions.

pub mod array_queue;
pub mod crossbeam;
pub mod iceoryx;
pub mod ipc;
pub mod pools;
pub mod python;

/// Messages that every bounded queue here holds.
pub const CAPACITY: usize = 1024;

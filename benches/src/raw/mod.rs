//! The limits: what the machine gives when nothing stands between the program and it.

pub mod blocks;
pub mod futex;
pub mod memory;
pub mod process;
pub mod ring;
pub mod words;

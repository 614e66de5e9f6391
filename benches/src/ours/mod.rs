//! Our side of every question.

pub mod facade;
pub mod pool;
pub mod process;
pub mod ring;
pub mod spsc;

//! Our side of every question.

pub mod blocks;
pub mod facade;
pub mod plain;
pub mod pool;
pub mod process;
pub mod ring;
pub mod spsc;

//! What the machine gives when nothing stands between the program and it.

pub mod memory;

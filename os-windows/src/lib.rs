#![cfg(windows)]
#![warn(missing_docs)]
//! The Windows back end of offspring: every system call, and no protocol.
//!
//! One concept a file; each can be used alone. The files that offspring-os-unix has, too, have the same names.
//!
//! | file | what |
//! |---|---|
//! | [`clock`] | monotonic time, and what is left until a deadline |
//! | [`error`] | what was attempted, on what, and the error's number |

pub mod clock;
pub mod error;

pub use error::{OsError, Result};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

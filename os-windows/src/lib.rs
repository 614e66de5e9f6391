#![cfg(windows)]
#![warn(missing_docs)]
//! The Windows back end of offspring: every system call, and no protocol.
//!
//! One concept a file; each can be used alone. The files that offspring-os-unix has, too, have the same names.
//!
//! | file | what |
//! |---|---|
//! | [`arena`] | one anonymous section of shared pages, committed in ranges |
//! | [`headroom`] | how much memory may still be committed |
//! | [`park`], [`event`] | sleep on several shared words at once; wake |
//! | [`barrier`] | plain fences |
//! | [`life`], [`peers`] | whose a lane is, and whether that process lives |
//! | [`process`] | a process named for good, however its id is re-used |
//! | [`family`] | a process's part in a family: core's protocols over all of these |
//! | [`cores`] | whether this process has one processor only |
//! | [`at_exit`] | what this process does when it ends |
//! | [`clock`] | monotonic time, and what is left until a deadline |
//! | [`error`] | what was attempted, on what, and the error's number |
//! | [`fork`] | copies of a process, which Windows does not make |
//! | [`generation`] | whether this is still the process that it was: always |
//! | [`image`] | the program that is running: where it lies, and what tells it from others |
//! | [`inherited`] | what a program was started with: arguments, environment, handles |
//! | [`job`] | a child that ends with its parent |
//! | [`lifeline`] | a child's start message, and its end when its parent is gone |
//! | [`memory`] | how much memory this process has |
//! | [`setup`] | what a child changes of what it inherited |
//! | [`signal`] | the ways to end a process |
//! | [`start`] | a program started with exactly the handles that it needs |
//! | [`state`] | what a process does at the moment, which Windows does not tell |
//! | [`status`] | how a child ended, for any number of askers |

pub mod arena;
pub mod at_exit;
pub mod barrier;
pub mod clock;
pub mod cores;
pub mod error;
pub mod event;
pub mod family;
pub mod fork;
pub mod generation;
pub mod headroom;
pub mod image;
pub mod inherited;
pub mod job;
pub mod life;
pub mod lifeline;
pub mod memory;
pub mod park;
pub mod peers;
pub mod process;
pub mod setup;
pub mod signal;
pub mod start;
pub mod state;
pub mod status;

pub use error::{OsError, Result};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

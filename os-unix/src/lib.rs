#![cfg(unix)]
//! The Unix back end of offspring: every system call, and no protocol.
//!
//! One concept a file; each can be used alone.
//!
//! | file | what |
//! |---|---|
//! | [`error`] | what was attempted, on what, and the errno |
//! | [`arena`] | one anonymous, sealed, sparse file of shared pages, committed and given back in ranges |
//! | [`headroom`] | how much memory may still be used before the kernel kills somebody |
//! | [`futex`] | sleep on several shared words at once; wake; the monotonic clock |
//! | [`barrier`] | the asymmetric barrier (`membarrier`), or plain fences |
//! | [`life`] | a word that the kernel marks when a thread is gone |
//! | [`pidfd`] | a process named for good, however its pid is re-used |
//! | [`generation`] | whether this is still the process that it was (fork) |
//! | [`start`] | exec of this image with exactly the descriptors the child needs; fork |
//! | [`status`] | how a child ended, for any number of askers |
//! | [`forkserver`] | a process of one thread that forks itself on request |
//! | [`setup`] | what a child changes of what it inherited: streams, umask |
//! | [`state`] | what a process does: runs, sleeps, is stopped |
//! | [`lifeline`] | a child's start message, and its end when its parent is gone |
//! | [`family`] | a process's part in a family: core's protocols over all of these |
//! | [`image`] | the program that is running: where it lies, and what tells it from others |
//! | [`inherited`] | what a program was started with: arguments, environment, descriptors |
//! | [`signal`] | the signals that end a process |
//! | [`at_exit`] | what this process does when it ends |
//! | [`deny`] | system calls refused to the calling thread, for the tests of every fallback |

#[cfg(not(target_os = "linux"))]
compile_error!("offspring-os-unix knows Linux only so far");

pub mod arena;
pub mod at_exit;
pub mod barrier;
pub mod cores;
mod credit;
#[doc(hidden)]
pub mod deny;
pub mod error;
pub mod family;
pub mod forkserver;
pub mod futex;
pub mod generation;
pub mod headroom;
pub mod image;
pub mod inherited;
mod interrupt;
pub mod life;
pub mod lifeline;
pub mod memory;
pub mod pidfd;
pub mod setup;
pub mod signal;
pub mod start;
pub mod state;
pub mod status;

pub use error::{OsError, Result};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

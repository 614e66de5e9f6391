#![cfg(unix)]
//! The Unix back end of offspring: every system call, and no protocol.
//!
//! One concept a file; each can be used alone. Linux has all of it. macOS has the same modules from `macos/`, but for `deny`:
//! **type-checked, not run**, with waiting by `park` over `futex`, which sleeps on one word there, and without fork servers.
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
//! | `deny` | system calls refused to the calling thread, for the tests of every fallback |

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("offspring-os-unix knows Linux and macOS only so far");

#[cfg_attr(target_os = "macos", path = "macos/arena.rs")]
pub mod arena;
#[cfg(target_os = "macos")]
#[path = "macos/armed.rs"]
mod armed;
pub mod at_exit;
#[cfg_attr(target_os = "macos", path = "macos/barrier.rs")]
pub mod barrier;
mod calls;
pub mod cores;
#[cfg(target_os = "linux")]
mod credit;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod deny;
mod ended;
pub mod error;
#[cfg_attr(target_os = "macos", path = "macos/family.rs")]
pub mod family;
#[cfg_attr(target_os = "macos", path = "macos/forkserver.rs")]
pub mod forkserver;
#[cfg_attr(target_os = "macos", path = "macos/futex.rs")]
pub mod futex;
pub mod generation;
#[cfg_attr(target_os = "macos", path = "macos/headroom.rs")]
pub mod headroom;
#[cfg_attr(target_os = "macos", path = "macos/image.rs")]
pub mod image;
pub mod inherited;
mod interrupt;
#[cfg_attr(target_os = "macos", path = "macos/life.rs")]
pub mod life;
pub mod lifeline;
#[cfg_attr(target_os = "macos", path = "macos/memory.rs")]
pub mod memory;
#[cfg(target_os = "macos")]
#[path = "macos/park.rs"]
pub mod park;
#[cfg_attr(target_os = "macos", path = "macos/pidfd.rs")]
pub mod pidfd;
pub mod setup;
pub mod signal;
#[cfg_attr(target_os = "macos", path = "macos/start.rs")]
pub mod start;
#[cfg_attr(target_os = "macos", path = "macos/state.rs")]
pub mod state;
#[cfg_attr(target_os = "macos", path = "macos/status.rs")]
pub mod status;
#[cfg(target_os = "macos")]
#[path = "macos/watcher.rs"]
mod watcher;

pub use error::{OsError, Result};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! Processes as easy as threads.
//!
//! Start a function in another process with [`Process::spawn`], share a [`Queue`] with it, get its value, panic or exit code back.
//! Any process may be killed at any instruction, and the survivors go on: nothing committed is lost, torn or stuck.
//!
//! ```
//! use offspring::{Process, Queue};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let _main = offspring::init(); // children begin here
//!     let lines = Queue::<String>::bounded(16)?;
//!     let counter = Process::spawn(count_words, lines.clone())?;
//!     lines.put("to be or not to be".into())?;
//!     lines.close();
//!     assert_eq!(counter.join()?, 6);
//!     Ok(())
//! }
//!
//! fn count_words(lines: Queue<String>) -> usize {
//!     lines.iter().map(|line| line.split(' ').count()).sum()
//! }
//! ```
//!
//! | Python | here |
//! |---|---|
//! | `multiprocessing.Process` | [`Process`], [`process`] |
//! | `multiprocessing.Queue` | [`Queue`], [`queue`] |
//! | `if __name__ == "__main__":` | [`init()`] as the first line of `main` |
//! | `queue.Full`, `queue.Empty` | [`Error::is_full`], [`Error::is_empty`] |
//!
//! # What a child is
//!
//! This same executable, started again: [`init()`] notices and runs the function, so it must be the first line of `main`. Functions
//! are plain `fn`s; what they need travels as their argument, by serde. In tests see [`test_entry!`].
//!
//! # What a family is
//!
//! The process that came first and all it starts. They share one anonymous arena of memory, which vanishes with the last of them;
//! there is no broker, no daemon, and nothing to clean up.
#![deny(unsafe_code)]

#[cfg(doctest)]
mod compile_fail;
mod error;
mod family;
mod init;
pub mod pool;
pub mod process;
pub mod queue;
mod sys;
mod value;

pub use error::{Error, Refused, Result};
#[doc(hidden)]
pub use family::{
    InUse as __InUse, in_use as __in_use, is_asleep as __is_asleep, place as __place,
};
#[doc(hidden)]
pub use init::__test_entry;
pub use init::{Main, init};
pub use pool::Pool;
pub use process::Process;
pub use queue::Queue;
pub use value::Plain;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

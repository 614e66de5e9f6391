//! Processes as easy as threads.
#![deny(unsafe_code)]

mod error;
mod family;
mod init;
pub mod process;
pub mod queue;
mod sys;
mod value;

pub use error::{Error, Refused, Result};
#[doc(hidden)]
pub use family::{InUse as __InUse, in_use as __in_use};
#[doc(hidden)]
pub use init::__test_entry;
pub use init::{Main, init};
pub use process::Process;
pub use queue::Queue;

//! A back end as the suite knows it: besides the seam itself, how participants start and get at the arena.

use super::fault::Broken;
use super::mate::{Mate, Orders};
use offspring_core::part::in_process::{InProcess, Memory};
use offspring_core::part::{System, Traces};
use std::sync::Arc;

/// A back end to be examined, whole or broken.
pub trait Bench: System<File: Send> {
    /// How rows call it.
    const NAME: &'static str;
    /// Whether a participant can be killed; where not, none is ever to be called dead unless it left.
    const DIES: bool;

    /// What leads to the same arena once more.
    fn again(file: Self::FileRef<'_>) -> Result<Self::File, String>;

    /// Starts a participant that takes part through `T`: this back end, or this one broken.
    fn start<T: Bench<File = Self::File>>(
        file: Self::FileRef<'_>,
        orders: Orders,
    ) -> Result<Mate, String>;

    /// Length of an arena, and bytes of it that the machine cannot commit; `None` if it could commit the longest.
    fn hopeless() -> Option<(u64, u64)>;
}

/// A back end that is not broken.
pub trait Native: Bench {
    /// The table of traces of this back end broken.
    fn broken_traces() -> &'static Traces<Broken<Self>>;
}

/// The operating system's.
#[cfg(unix)]
pub(super) use super::unix as system;
#[cfg(windows)]
pub(super) use super::windows as system;

/// This system's back end.
pub type Processes = system::Platform;

static BROKEN_THREADS: Traces<Broken<InProcess>> = Traces::new();
static BROKEN_PROCESSES: Traces<Broken<Processes>> = Traces::new();

impl Bench for InProcess {
    const NAME: &'static str = "threads";
    const DIES: bool = false;

    fn again(file: &Arc<Memory>) -> Result<Arc<Memory>, String> {
        Ok(Arc::clone(file))
    }

    fn start<T: Bench<File = Arc<Memory>>>(
        file: &Arc<Memory>,
        orders: Orders,
    ) -> Result<Mate, String> {
        Mate::thread::<T>(Arc::clone(file), orders)
    }

    /// All is allocated when the arena is made.
    fn hopeless() -> Option<(u64, u64)> {
        None
    }
}

impl Native for InProcess {
    fn broken_traces() -> &'static Traces<Broken<Self>> {
        &BROKEN_THREADS
    }
}

impl Native for Processes {
    fn broken_traces() -> &'static Traces<Broken<Self>> {
        &BROKEN_PROCESSES
    }
}

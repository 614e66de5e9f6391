//! What a process does at the moment: Windows tells of threads alone, and names no state for a process.

use crate::process::Process;

/// What a process does, as the system tells it. Here none of these is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum State {
    /// It runs, or waits for a processor.
    Running,
    /// It waits for something, and a signal would wake it.
    Sleeping,
    /// It waits for a device, and no signal wakes it.
    DiskSleep,
    /// A signal stopped it, until another lets it go on.
    Stopped,
    /// A debugger stopped it.
    Traced,
    /// It has ended, and was not reaped yet.
    Zombie,
}

/// What `process` does; `None` once it is gone, or where the system does not tell, which it never does here.
#[must_use]
pub fn of(_: &Process) -> Option<State> {
    None
}

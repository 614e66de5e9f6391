//! What a process does at the moment. macOS; type-checked, not run.

use crate::pidfd::PidFd;

/// What a process does, as the system tells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum State {
    /// It runs, waits for a processor, or sleeps: macOS does not tell these apart.
    Running,
    /// It waits for something. Linux only.
    Sleeping,
    /// It waits for a device. Linux only.
    DiskSleep,
    /// A signal or a debugger stopped it.
    Stopped,
    /// A debugger stopped it. Linux only.
    Traced,
    /// It has ended, and was not reaped yet.
    Zombie,
}

/// What `process` does; `None` once it is gone, or where the system does not tell.
#[must_use]
pub fn of(process: &PidFd) -> Option<State> {
    let info = process.info()?;
    match info.pbi_status {
        libc::SIDL | libc::SRUN | libc::SSLEEP => Some(State::Running),
        libc::SSTOP => Some(State::Stopped),
        libc::SZOMB => Some(State::Zombie),
        _ => None,
    }
}

//! How a child ended.
use crate::start::Child;
use offspring_core::wait::Deadline;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// It exited.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// Which.
        signal: i32,
        /// Whether it left a core file.
        core_dumped: bool,
    },
    /// It ended, and the system does not tell how.
    Unknown,
}

/// Waits until `child` has ended, and reaps it.
pub fn wait(_child: &Child) -> ExitStatus {
    todo!()
}
/// Whether `child` has ended, and how.
pub fn try_wait(_child: &Child) -> Option<ExitStatus> {
    todo!()
}
/// As [`wait`], until `until` at the latest.
pub fn wait_deadline(_child: &Child, _until: Deadline) -> Option<ExitStatus> {
    todo!()
}

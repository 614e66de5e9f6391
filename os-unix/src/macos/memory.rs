//! How much memory this process has. macOS; type-checked, not run.

/// Bytes of this process that are in memory; `None` where the system does not tell.
#[must_use]
pub fn resident() -> Option<u64> {
    crate::pidfd::task_info().map(|info| info.pti_resident_size)
}

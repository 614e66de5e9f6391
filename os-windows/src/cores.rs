//! On how many processors this process may run.

use std::sync::OnceLock;

/// Whether this process may run on one processor only, so that nothing it waits for can happen while it spins. Asked of the
/// system once.
#[must_use]
pub fn is_alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    *ALONE.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() == 1))
}

//! How much memory may still be used before the kernel reclaims in distress or kills.

/// Bytes that this process may still commit: the least of `MemAvailable` and of what every memory cgroup
/// above this process leaves. `None` where nothing of it can be read.
#[must_use]
pub fn available() -> Option<u64> {
    todo!()
}

//! How much memory this process has.

use std::fs;

/// Bytes of this process that are in memory; `None` where the system does not tell.
#[must_use]
pub fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: takes an integer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_memory_is_resident() {
        let before = resident().unwrap();
        let touched = std::hint::black_box(vec![1_u8; 32 << 20]);
        let after = resident().unwrap();
        assert!(after >= before + (24 << 20), "{before} and {after}");
        drop(touched);
    }
}

//! How much memory this process has.

use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// Bytes of this process that are in memory (its working set); `None` where the system does not tell.
#[must_use]
pub fn resident() -> Option<u64> {
    let mut counters = PROCESS_MEMORY_COUNTERS::default();
    let size = size_of_val(&counters) as u32;
    // SAFETY: this process, and counters that are writable and as long as said.
    let done = unsafe { K32GetProcessMemoryInfo(GetCurrentProcess(), &mut counters, size) };
    (done != 0).then_some(counters.WorkingSetSize as u64)
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

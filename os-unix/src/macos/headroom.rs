//! How much memory may still be used before the system swaps or kills. macOS; type-checked, not run.
//!
//! macOS reserves nothing for who commits: it compresses, then swaps, then asks the user whom to end. So this look is what there
//! is: the pages that are free, or can be had without swapping.

/// What is left, and who says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes.
    pub bytes: u64,
    /// What sets the limit.
    pub set_by: String,
}

/// How much memory may still be used; `None` if the system does not tell.
#[must_use]
pub fn room() -> Option<Room> {
    // SAFETY: all zero is a valid value.
    let mut info: libc::vm_statistics64 = unsafe { std::mem::zeroed() };
    let mut count = libc::HOST_VM_INFO64_COUNT;
    #[allow(deprecated)] // the whole of mach is to move to another crate
    // SAFETY: `info` is writable for `count` words; the host's port is this task's own.
    let done = unsafe {
        libc::host_statistics64(
            libc::mach_host_self(),
            libc::HOST_VM_INFO64,
            (&raw mut info).cast(),
            &mut count,
        )
    };
    if done != libc::KERN_SUCCESS {
        return None;
    }
    let pages = u64::from(info.free_count) + u64::from(info.inactive_count);
    let bytes = pages * crate::arena::page_size();
    Some(Room { bytes, set_by: "the machine's free memory".to_owned() })
}

//! Windows under the suite: the arena's handle for a participant. Nothing stops, and nothing forks.

use super::bench::Bench;
use super::mate::{Mate, Orders};
use offspring_os_windows::family::Windows;
use offspring_os_windows::{arena, headroom};
use std::io::Error;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

pub use offspring_os_windows::family::Windows as Platform;

impl Bench for Windows {
    const NAME: &'static str = "windows";
    const DIES: bool = true;

    fn again(file: BorrowedHandle<'_>) -> Result<OwnedHandle, String> {
        file.try_clone_to_owned().map_err(|error| format!("duplicate the arena: {error}"))
    }

    fn start<T: Bench<File = OwnedHandle>>(
        file: BorrowedHandle<'_>,
        orders: Orders,
    ) -> Result<Mate, String> {
        // A handle that programs inherit, for the time of the start.
        let inherited = Self::again(file)?;
        let handle = inherited.as_raw_handle();
        // SAFETY: our own handle.
        if unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) } == 0 {
            return Err(format!("let a participant inherit the arena: {}", Error::last_os_error()));
        }
        Mate::process(T::NAME, &Orders { arena: handle.addr() as u64, ..orders })
    }

    /// Nearly all of the longest arena, if the commit limit is below that.
    fn hopeless() -> Option<(u64, u64)> {
        let bytes = arena::DEFAULT_LEN - (1 << 30);
        headroom::room()
            .is_some_and(|room| room.bytes < bytes)
            .then_some((arena::DEFAULT_LEN, bytes))
    }
}

/// What a participant was started with.
///
/// # Safety
///
/// The examiner handed it to this process under that number, and nothing else has taken it.
pub unsafe fn handed(arena: u64) -> OwnedHandle {
    let handle = std::ptr::with_exposed_provenance_mut(arena as usize);
    // SAFETY: the caller's promise.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

/// Stops a process; `false`: there is no such thing.
pub fn stop(_: u32) -> bool {
    false
}

/// Lets it go on.
pub fn go_on(_: u32) {}

/// What `ask` says in a forked child, and in a child of that; `None`: nothing forks.
pub fn in_forks(_: fn() -> u32) -> Option<Result<[u32; 2], String>> {
    None
}

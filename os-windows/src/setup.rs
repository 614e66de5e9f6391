//! What a child changes, before it begins, of what it inherited.

use crate::error::{OsError, Result};
use crate::start::open_null;
use std::os::windows::io::{IntoRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::ERROR_INVALID_HANDLE;
use windows_sys::Win32::System::Console as console;

/// Windows has no umask: sets none, and gives the one that stands for that.
pub fn set_umask(_: u32) -> u32 {
    0
}

/// Makes `file` the standard stream `number` (0, 1 or 2) of this process.
///
/// # Errors
///
/// Invalid: no standard stream has that number. A limit: no handle is left.
pub fn become_stream(number: i32, file: &OwnedHandle) -> Result<()> {
    let failed = |code| OsError::new("replace", format!("the standard stream {number}"), code);
    let name = match number {
        0 => console::STD_INPUT_HANDLE,
        1 => console::STD_OUTPUT_HANDLE,
        2 => console::STD_ERROR_HANDLE,
        _ => return Err(failed(ERROR_INVALID_HANDLE as i32)),
    };
    let copy = file.try_clone().map_err(|error| failed(error.raw_os_error().unwrap_or(0)))?;
    // The standard streams are the whole process's, for its life; what stood there stays open for whoever uses it.
    // SAFETY: an open handle that nobody closes.
    if unsafe { console::SetStdHandle(name, copy.into_raw_handle()) } == 0 {
        return Err(OsError::last("replace", "a standard stream"));
    }
    Ok(())
}

/// `NUL`, to read and to write.
///
/// # Errors
///
/// It cannot be opened; no handles are left.
pub fn null() -> Result<OwnedHandle> {
    open_null()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_standard_streams_are_replaced() {
        let file = null().unwrap();
        for number in [-1, 3, i32::MAX] {
            assert!(become_stream(number, &file).unwrap_err().is_invalid());
        }
    }
}

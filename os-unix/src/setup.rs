//! What a child changes, before it begins, of what it inherited.

use crate::error::{OsError, Result, errno};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Sets this process's umask; gives the one before.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: takes an integer; bits that mean nothing are ignored.
    unsafe { libc::umask(mask as libc::mode_t) as u32 }
}

/// Makes `file` the standard stream `number` (0, 1 or 2) of this process.
///
/// # Errors
///
/// Invalid: no standard stream has that number.
pub fn become_stream(number: i32, file: &OwnedFd) -> Result<()> {
    if !(0..=2).contains(&number) {
        return Err(OsError::new("replace", format!("the standard stream {number}"), libc::EBADF));
    }
    // SAFETY: takes integers; the standard streams belong to the whole process.
    let done = unsafe {
        if file.as_raw_fd() == number {
            libc::fcntl(number, libc::F_SETFD, 0)
        } else {
            libc::dup2(file.as_raw_fd(), number)
        }
    };
    if done < 0 {
        return Err(OsError::new("replace", format!("the standard stream {number}"), errno()));
    }
    Ok(())
}

/// `/dev/null`, to read and to write.
///
/// # Errors
///
/// It cannot be opened; no descriptors are left.
pub fn null() -> Result<OwnedFd> {
    // SAFETY: the path is a terminated string.
    let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(OsError::last("open", "/dev/null"));
    }
    // SAFETY: the call made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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

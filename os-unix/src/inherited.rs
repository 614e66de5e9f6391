//! What a program was started with, in the form in which it starts others: arguments, environment, descriptors.

use crate::error::{OsError, Result};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The process that started this one, or the one that took over when that ended.
#[must_use]
pub fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// This program's arguments, its name first.
#[must_use]
pub fn arguments() -> Vec<CString> {
    std::env::args_os().filter_map(terminated).collect()
}

/// This program's environment with `name` set to `value`, `NAME=value` each.
#[must_use]
pub fn environment_with(name: &str, value: &str) -> Vec<CString> {
    environment_changed(true, &[(name.into(), Some(value.into()))])
}

/// This program's environment, or an empty one, with changes: a new value, or none. `NAME=value` each; the last change of
/// a name counts.
#[must_use]
pub fn environment_changed(
    inherit: bool,
    changes: &[(OsString, Option<OsString>)],
) -> Vec<CString> {
    let changed =
        |name: &OsStr, from: usize| changes[from..].iter().any(|(other, _)| other == name);
    let kept = std::env::vars_os().filter(|(name, _)| inherit && !changed(name, 0));
    let new = changes.iter().enumerate().filter_map(|(place, (name, value))| {
        let value = value.clone().filter(|_| !changed(name, place + 1))?;
        Some((name.clone(), value))
    });
    kept.chain(new)
        .filter_map(|(name, value)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        })
        .collect()
}

/// As the C library takes it; `None` for what no program can have been started with.
#[must_use]
pub fn terminated(text: OsString) -> Option<CString> {
    CString::new(text.into_vec()).ok()
}

/// The inode of the open file under `fd`; `None` if nothing is open there.
#[must_use]
pub fn inode(fd: RawFd) -> Option<u64> {
    crate::calls::status(fd).map(|status| status.inode)
}

/// Takes an inherited descriptor, and sees to it that no program started from here gets it.
///
/// # Errors
///
/// Invalid: there is no such descriptor.
///
/// # Safety
///
/// Nothing else in this process owns `fd`.
pub unsafe fn take(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: takes integers.
    if fd < 0 || unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(OsError::last("take over", format!("the inherited descriptor {fd}"))
            .with_advice("something closed it before this library came to it"));
    }
    // SAFETY: it is open (just seen), and the caller promises that nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `file` this process's standard output.
///
/// # Errors
///
/// None on a system that works.
pub fn become_stdout(file: OwnedFd) -> Result<()> {
    // SAFETY: takes integers; the standard streams belong to the whole process.
    match unsafe { libc::dup2(file.as_raw_fd(), libc::STDOUT_FILENO) } {
        -1 => Err(OsError::last("replace", "the standard output")),
        _ => Ok(()),
    }
}

/// Whether a read of this pipe would return at once: with bytes, or with its end.
#[must_use]
pub fn is_readable(pipe: BorrowedFd<'_>) -> bool {
    let mut entry = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, writable.
    unsafe { libc::poll(&mut entry, 1, 0) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_has_the_new_value_once() {
        let all = environment_with("PATH", "here");
        let paths: Vec<_> =
            all.iter().filter(|entry| entry.to_bytes().starts_with(b"PATH=")).collect();
        assert_eq!(paths, [c"PATH=here"]);
        assert_eq!(all.len(), std::env::vars_os().filter(|(name, _)| name != "PATH").count() + 1);
    }

    #[test]
    fn descriptor_that_is_not_open_is_refused() {
        // SAFETY: nobody owns a descriptor that is not open.
        assert!(unsafe { take(1 << 20) }.unwrap_err().is_invalid());
        // SAFETY: as above.
        assert!(unsafe { take(-1) }.is_err());
    }
}

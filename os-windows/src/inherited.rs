//! What a program was started with, in the form in which it starts others: arguments, environment, handles.
//!
//! Windows gives a child handles under the numbers that they have in its parent. [`Start`](crate::start::Start) names
//! them to the child in an environment variable, in order, so that here as on Unix they are numbers 3, 4, 5 and so on.

use crate::error::{OsError, Result};
use crate::lifeline;
use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{
    AsRawHandle, BorrowedHandle, FromRawHandle, IntoRawHandle, OwnedHandle, RawHandle,
};
use std::ptr;
use std::sync::OnceLock;
use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation as win;
use windows_sys::Win32::System::Console::{STD_OUTPUT_HANDLE, SetStdHandle};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, PROCESS_BASIC_INFORMATION};

/// The environment variable with the handles that a child was passed, in hexadecimal, parted by commas.
pub(crate) const HANDLES: &str = "OFFSPRING_HANDLES";

/// The first number that is not a standard stream.
const FIRST: i32 = 3;

/// The process that started this one. It may have ended, and another process may have its number by now.
#[must_use]
pub fn parent_pid() -> u32 {
    let mut info = PROCESS_BASIC_INFORMATION::default();
    // SAFETY: `info` is what the class says, and as long as the fourth argument says; no length is asked for.
    let status = unsafe {
        NtQueryInformationProcess(
            GetCurrentProcess(),
            ProcessBasicInformation,
            (&raw mut info).cast(),
            size_of_val(&info) as u32,
            ptr::null_mut(),
        )
    };
    // Zero is no process that starts others.
    if status < 0 { 0 } else { info.InheritedFromUniqueProcessId as u32 }
}

/// This program's arguments, its name first.
#[must_use]
pub fn arguments() -> Vec<OsString> {
    std::env::args_os().collect()
}

/// This program's environment with `name` set to `value`, `NAME=value` each.
#[must_use]
pub fn environment_with(name: &str, value: &str) -> Vec<OsString> {
    environment_changed(true, &[(name.into(), Some(value.into()))])
}

/// This program's environment, or an empty one, with changes: a new value, or none. `NAME=value` each; the last change of
/// a name, in upper or lower case, counts.
#[must_use]
pub fn environment_changed(
    inherit: bool,
    changes: &[(OsString, Option<OsString>)],
) -> Vec<OsString> {
    let changed = |name: &OsStr, from: usize| {
        changes[from..].iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    // Without this one no program finds the system's libraries; it tells nothing of this process.
    let kept = std::env::vars_os().filter(|(name, _)| {
        (inherit || name.eq_ignore_ascii_case("SystemRoot")) && !changed(name, 0)
    });
    let new = changes.iter().enumerate().filter_map(|(place, (name, value))| {
        let value = value.clone().filter(|_| !changed(name, place + 1))?;
        Some((name.clone(), value))
    });
    kept.chain(new)
        .filter(|(name, value)| !has_nul(name) && !has_nul(value))
        .map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            entry
        })
        .collect()
}

/// As the system takes it; `None` for what no program can have been started with.
#[must_use]
pub fn terminated(text: OsString) -> Option<OsString> {
    (!has_nul(&text)).then_some(text)
}

pub(crate) fn has_nul(text: &OsStr) -> bool {
    text.encode_wide().any(|unit| unit == 0)
}

/// What was passed under `number`; `None` if nothing was.
fn passed(number: i32) -> Option<RawHandle> {
    static PASSED: OnceLock<Vec<usize>> = OnceLock::new();
    let passed = PASSED.get_or_init(|| {
        let Some(value) = std::env::var_os(HANDLES) else { return Vec::new() };
        // SAFETY: on Windows the environment may be changed at any time.
        unsafe { std::env::remove_var(HANDLES) };
        let numbers = value.to_str().unwrap_or_default().split(',');
        numbers.map(|number| usize::from_str_radix(number, 16).unwrap_or(0)).collect()
    });
    let at = usize::try_from(number.checked_sub(FIRST)?).ok()?;
    passed.get(at).filter(|handle| **handle != 0).map(|handle| *handle as RawHandle)
}

/// What tells the lifeline under `number` from every other, as
/// [`LifelineEnd::inode`](crate::lifeline::LifelineEnd::inode); `None` if there is no lifeline with an unread message.
#[must_use]
pub fn inode(number: i32) -> Option<u64> {
    let handle = passed(number)?;
    // SAFETY: used until the end of this call only, which asks of any handle, open or not, what it is.
    lifeline::identity(unsafe { BorrowedHandle::borrow_raw(handle) })
}

/// Takes an inherited handle, and sees to it that no program started from here gets it.
///
/// # Errors
///
/// Invalid: there is no such handle.
///
/// # Safety
///
/// Nothing else in this process owns what was passed under `number`.
pub unsafe fn take(number: i32) -> Result<OwnedHandle> {
    let failed = |code: u32| {
        OsError::new("take over", format!("the inherited handle {number}"), code as i32)
            .with_advice("something closed it before this library came to it")
    };
    let handle = passed(number).ok_or_else(|| failed(win::ERROR_INVALID_HANDLE))?;
    // SAFETY: any number may be asked about.
    if unsafe { win::SetHandleInformation(handle, win::HANDLE_FLAG_INHERIT, 0) } == 0 {
        // SAFETY: no arguments.
        return Err(failed(unsafe { win::GetLastError() }));
    }
    // SAFETY: it is open (just seen), and the caller promises that nobody else owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Makes `file` this process's standard output.
///
/// # Errors
///
/// None on a system that works.
pub fn become_stdout(file: OwnedHandle) -> Result<()> {
    // The standard streams are the whole process's, for its life; what stood there stays open for whoever uses it.
    let handle = file.into_raw_handle();
    // SAFETY: an open handle that nobody closes.
    if unsafe { SetStdHandle(STD_OUTPUT_HANDLE, handle) } == 0 {
        return Err(OsError::last("replace", "the standard output"));
    }
    Ok(())
}

/// Whether a read of this pipe would return at once: with bytes, or with its end.
#[must_use]
pub fn is_readable(pipe: BorrowedHandle<'_>) -> bool {
    let mut waiting = 0;
    // SAFETY: nothing is read but the number of bytes.
    let done = unsafe {
        PeekNamedPipe(
            pipe.as_raw_handle(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            &mut waiting,
            ptr::null_mut(),
        )
    };
    // An error is the end, or comes back from the read.
    done == 0 || waiting > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_has_the_new_value_once_in_either_case() {
        let all = environment_with("path", "here");
        let paths: Vec<_> = all
            .iter()
            .filter(|entry| entry.to_string_lossy().to_ascii_lowercase().starts_with("path="))
            .collect();
        assert_eq!(paths, ["path=here"]);
        let others =
            std::env::vars_os().filter(|(name, _)| !name.eq_ignore_ascii_case("path")).count();
        assert_eq!(all.len(), others + 1);
    }

    #[test]
    fn emptied_environment_has_the_changes_that_count() {
        let change = |name: &str, value: Option<&str>| (name.into(), value.map(Into::into));
        let changes = [change("A", Some("1")), change("b", Some("2")), change("a", None)];
        let all = environment_changed(false, &changes);
        assert!(all.contains(&"b=2".into()), "{all:?}");
        assert!(all.len() <= 2, "{all:?}");
    }

    #[test]
    fn handle_that_was_not_passed_is_refused() {
        for number in [-1, 0, 3, 1 << 20] {
            // SAFETY: nobody owns a handle that was not passed.
            assert!(unsafe { take(number) }.unwrap_err().is_invalid());
            assert_eq!(inode(number), None);
        }
    }

    #[test]
    fn parent_is_another_process() {
        assert_ne!(parent_pid(), std::process::id());
    }

    #[test]
    fn text_with_a_nul_is_no_argument() {
        assert_eq!(terminated("a\0b".into()), None);
        assert_eq!(terminated("ab".into()), Some("ab".into()));
    }
}

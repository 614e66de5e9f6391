//! The operating system: the one file of this crate that names it. Re-exports one back end under portable names.

#[cfg(unix)]
pub(crate) use offspring_os_unix::{
    OsError, at_exit,
    family::{Family, FamilyError, Object, ObjectError, Options, set_trace},
    forkserver,
    futex::now,
    generation::current as generation,
    image, inherited,
    lifeline::{Armed, Lifeline, LifelineEnd},
    memory,
    pidfd::{PidFd as Peer, identity_of_self},
    setup, signal,
    start::{Child, Fork, Start, Stdio, fork, thread_count},
    state,
    status::{self, ExitStatus, signal_name},
};

#[cfg(windows)]
pub(crate) use offspring_os_windows::{
    OsError, at_exit,
    clock::now,
    family::{Family, FamilyError, Object, ObjectError, Options, set_trace},
    fork::{Fork, fork, forkserver, thread_count},
    generation::current as generation,
    image, inherited,
    lifeline::{Armed, Lifeline, LifelineEnd},
    memory,
    process::Process as Peer,
    setup, signal,
    start::{Child, Start, Stdio},
    state,
    status::{self, ExitStatus, signal_name},
};

#[cfg(not(any(unix, windows)))]
compile_error!("offspring has back ends for Linux, Windows and (type-checked only) macOS");

pub(crate) use offspring_core::family::{RegionRef, RegionSpec, flags};

/// How processes can be started here, the usual way first: whether by `fork`, too.
pub(crate) const FORKS: bool = cfg!(unix);

/// Whether `std::process::exit` ends all other threads before it calls anybody.
pub(crate) const EXIT_ENDS_THREADS_FIRST: bool = cfg!(windows);

/// Ends the process where nothing is left to be done; see [`EXIT_ENDS_THREADS_FIRST`].
#[cfg(windows)]
pub(crate) use offspring_os_windows::at_exit::exit_at_once;
#[cfg(unix)]
pub(crate) use std::process::exit as exit_at_once;

/// Text as programs are started with it.
#[cfg(unix)]
pub(crate) type Text = std::ffi::CString;
#[cfg(windows)]
pub(crate) type Text = std::ffi::OsString;

/// A file, socket or pipe of somebody else; on Windows a file or pipe.
#[cfg(unix)]
pub(crate) use std::os::fd::BorrowedFd as BorrowedFile;
#[cfg(windows)]
pub(crate) use std::os::windows::io::BorrowedHandle as BorrowedFile;

/// A file, socket or pipe that this process owns.
#[cfg(unix)]
pub(crate) type OwnedFile = std::os::fd::OwnedFd;
#[cfg(windows)]
pub(crate) type OwnedFile = std::os::windows::io::OwnedHandle;

/// Anything that has a file to pass.
#[cfg(unix)]
pub(crate) use std::os::fd::AsFd as AsFile;
#[cfg(windows)]
pub(crate) use std::os::windows::io::AsHandle as AsFile;

/// Lends a file.
#[cfg(unix)]
pub(crate) fn borrow<F: AsFile>(file: &F) -> BorrowedFile<'_> {
    file.as_fd()
}
#[cfg(windows)]
pub(crate) fn borrow<F: AsFile>(file: &F) -> BorrowedFile<'_> {
    file.as_handle()
}

/// What tells the calling process from others that had or will have its number.
#[cfg(windows)]
pub(crate) fn identity_of_self() -> Result<u64, OsError> {
    Ok(offspring_os_windows::process::identity_of_self())
}

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

/// How processes can be started here, the usual way first: whether by `fork`, too.
pub(crate) const FORKS: bool = cfg!(unix);

/// A file, socket or pipe of somebody else.
#[cfg(unix)]
pub(crate) use std::os::fd::BorrowedFd as BorrowedFile;

/// A file, socket or pipe that this process owns.
#[cfg(unix)]
pub(crate) type OwnedFile = std::os::fd::OwnedFd;

#[cfg(unix)]
pub(crate) use std::os::fd::AsFd;

#[cfg(not(unix))]
compile_error!("offspring has a back end for Unix only so far");

pub(crate) use offspring_core::family::{RegionRef, RegionSpec, flags};

/// Anything that has a file to pass.
#[cfg(unix)]
pub(crate) use std::os::fd::AsFd as AsFile;

//! Unix under the suite: the arena's descriptor for a participant, processes that stop, forks.

use super::bench::Bench;
use super::mate::{Mate, Orders};
use offspring_os_unix::family::Unix;
use std::io::{Error, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub use offspring_os_unix::family::Unix as Platform;

impl Bench for Unix {
    const NAME: &'static str = "unix";
    const DIES: bool = true;

    fn again(file: BorrowedFd<'_>) -> Result<OwnedFd, String> {
        file.try_clone_to_owned().map_err(|error| format!("duplicate the arena: {error}"))
    }

    fn start<T: Bench<File = OwnedFd>>(
        file: BorrowedFd<'_>,
        orders: Orders,
    ) -> Result<Mate, String> {
        // A descriptor that programs inherit, for the time of the start.
        // SAFETY: takes an integer.
        let inherited = unsafe { libc::dup(file.as_raw_fd()) };
        if inherited < 0 {
            return Err(format!("duplicate the arena: {}", Error::last_os_error()));
        }
        // SAFETY: the call made this descriptor, and nobody else knows it.
        let inherited = unsafe { OwnedFd::from_raw_fd(inherited) };
        let arena = inherited.as_raw_fd() as u64;
        Mate::process(T::NAME, &Orders { arena, ..orders })
    }

    /// Half of what an arena can have at most: 8 TiB.
    fn hopeless() -> Option<(u64, u64)> {
        Some((1 << 44, 1 << 43))
    }
}

/// What a participant was started with.
///
/// # Safety
///
/// The examiner handed it to this process under that number, and nothing else has taken it.
pub unsafe fn handed(arena: u64) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(arena as i32) }
}

/// Stops a process; `false` where there is no such thing.
pub fn stop(pid: u32) -> bool {
    // SAFETY: takes integers.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGSTOP) == 0 }
}

/// Lets it go on.
pub fn go_on(pid: u32) {
    // SAFETY: takes integers.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGCONT) };
}

/// What `ask` says in a forked child, and in a child of that; `None` where nothing forks.
pub fn in_forks(ask: fn() -> u32) -> Option<Result<[u32; 2], String>> {
    let (mut from, to) = match std::io::pipe() {
        Ok(ends) => ends,
        Err(error) => return Some(Err(format!("make a pipe: {error}"))),
    };
    // SAFETY: the children only ask for a number, write it to a pipe and end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut to = &to;
        let _ = to.write_all(&ask().to_le_bytes());
        // SAFETY: as above.
        let grandchild = unsafe { libc::fork() };
        if grandchild == 0 {
            let _ = to.write_all(&ask().to_le_bytes());
        } else {
            // SAFETY: may be given no place for the status.
            unsafe { libc::waitpid(grandchild, std::ptr::null_mut(), 0) };
        }
        // SAFETY: ends this process.
        unsafe { libc::_exit(0) };
    }
    if child < 0 {
        return Some(Err(format!("fork: {}", Error::last_os_error())));
    }
    drop(to);
    let mut told = [[0; 4]; 2];
    let read = told.iter_mut().try_for_each(|number| from.read_exact(number));
    // SAFETY: may be given no place for the status.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let told = told.map(u32::from_le_bytes);
    Some(read.map(|()| told).map_err(|error| format!("hear from a forked child: {error}")))
}

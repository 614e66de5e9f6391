//! The signals of a fork server.

use crate::error::{OsError, Result};
use offspring_core::prim::{AtomicU32, Ordering};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// SIGCHLD as something to read, and SIGINT ignored; both as they were again in a fork.
///
/// By a handler, not by `signalfd`: the thread that waits for this one need not block the signal, and would swallow it.
pub(super) struct Signals {
    pub(super) fd: OwnedFd,
    mask: libc::sigset_t,
    child: libc::sigaction,
    interrupt: libc::sigaction,
}

/// The descriptor to which the handler of SIGCHLD tells; none where nobody listens.
static NOTICE: AtomicU32 = AtomicU32::new(u32::MAX);

extern "C" fn notice(_: libc::c_int) {
    // ORDER: Relaxed. A number; the descriptor was open before it was stored.
    let fd = NOTICE.load(Ordering::Relaxed) as RawFd;
    let one = 1_u64;
    // SAFETY: `write` may be called in a handler, and reads a local; whoever was interrupted finds its errno again.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(fd, (&raw const one).cast(), size_of::<u64>());
        *errno = before;
    }
}

impl Signals {
    pub(super) fn take() -> Result<Self> {
        let failed = || OsError::last("take", "the signals of a fork server");
        // SAFETY: takes integers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(failed());
        }
        // SAFETY: the call made this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // ORDER: Relaxed, as in `notice`.
        NOTICE.store(fd.as_raw_fd() as u32, Ordering::Relaxed);
        let child = set_action(libc::SIGCHLD, notice as *const () as usize).ok_or_else(failed)?;
        let interrupt = set_action(libc::SIGINT, libc::SIG_IGN).ok_or_else(failed)?;
        // Whoever started this process may have blocked it.
        // SAFETY: all zero is a valid `sigset_t`, and both are locals.
        let mask = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGCHLD);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, &mut mask);
            // Ignored and blocked: one that is meant for a fork waits until that has restored both.
            libc::sigdelset(&mut set, libc::SIGCHLD);
            libc::sigaddset(&mut set, libc::SIGINT);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
            mask
        };
        Ok(Self { fd, mask, child, interrupt })
    }

    pub(super) fn forget_all(&self) {
        let mut count = 0_u64;
        // SAFETY: `count` is writable for the size given. One read empties it.
        unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }

    pub(super) fn restore(self) {
        // SAFETY: all three were filled in by `take`.
        unsafe {
            libc::sigaction(libc::SIGINT, &self.interrupt, ptr::null_mut());
            libc::sigaction(libc::SIGCHLD, &self.child, ptr::null_mut());
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, ptr::null_mut());
        }
        // ORDER: Relaxed, as in `notice`.
        NOTICE.store(u32::MAX, Ordering::Relaxed);
    }
}

/// Sets what `signal` does; gives what it did.
fn set_action(signal: i32, handler: libc::sighandler_t) -> Option<libc::sigaction> {
    // SAFETY: all zero is a valid `sigaction`; both are locals, and the handler is one for signals or a constant.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        (libc::sigaction(signal, &action, &mut before) == 0).then_some(before)
    }
}

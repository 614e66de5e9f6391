//! Ctrl-C, told to a thread: a handler of this program decides in ordinary code what a press means.
//!
//! The signal's handler only writes to an event descriptor, which one thread reads. I1 The descriptor is never closed, so
//! whoever writes to it writes to no other file. I2 A handler calls nothing but `getpid`, `write`, `signal` and `kill`, and leaves
//! `errno` as it was.

use crate::error::{OsError, errno};
use offspring_core::prim::{AtomicU32, Ordering};
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
#[cfg(not(target_os = "linux"))]
use std::os::fd::IntoRawFd;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// The event descriptor, once there is one.
static EVENT: AtomicU32 = AtomicU32::new(u32::MAX);
/// The process that reads it: a fork has the handler and no reader.
static READER: AtomicU32 = AtomicU32::new(0);
/// What was there before, while the handler is set, and the process that set it.
static BEFORE: Mutex<Option<(u32, Action)>> = Mutex::new(None);

struct Action(libc::sigaction);

/// From now on each interrupt of this process (SIGINT, which a terminal sends to all processes of its group) calls `heeded`, in a
/// thread of its own. If that returns false, the interrupt has the effect that it had before, and so have those after it, until
/// this is called again.
///
/// A process that ignores interrupts goes on doing so. Of several calls the first one's `heeded` stays. Presses that come while one is dealt with are dealt with one by one.
///
/// # Errors
///
/// No descriptor or thread is to be had.
pub fn on_interrupt(heeded: fn() -> bool) -> Result<(), OsError> {
    let me = std::process::id();
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if before.as_ref().is_some_and(|(process, _)| *process == me) {
        return Ok(());
    }
    if set(None)?.sa_sigaction == libc::SIG_IGN {
        return Ok(());
    }
    // ORDER: Relaxed, as below: written under the mutex; the handler runs in a process that set it before.
    if READER.load(Ordering::Relaxed) != me {
        let (event, number) = event()?;
        let thread = std::thread::Builder::new().name("interrupts".into());
        thread.spawn(move || read(&event, heeded)).map_err(|error| {
            OsError::new("start", "a thread for interrupts", error.raw_os_error().unwrap_or(0))
        })?;
        EVENT.store(number, Ordering::Relaxed);
        READER.store(me, Ordering::Relaxed);
    }
    let handler = pressed as *const () as usize;
    // SAFETY: all zero is a valid `sigaction`, and the default one.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let default = action;
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    let was = set(Some(&action))?;
    // A fork inherited the handler, of which it knows nothing.
    let was = if was.sa_sigaction == handler { default } else { was };
    *before = Some((me, Action(was)));
    Ok(())
}

/// What the reader reads, and the number that the handler writes to.
#[cfg(target_os = "linux")]
fn event() -> Result<(OwnedFd, u32), OsError> {
    // SAFETY: takes integers.
    let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    let Ok(number) = u32::try_from(event) else {
        return Err(OsError::last("make", "an event descriptor for interrupts"));
    };
    // SAFETY: it was just made and is nobody else's.
    Ok((unsafe { OwnedFd::from_raw_fd(event) }, number))
}

/// What the reader reads, and the number that the handler writes to: a pipe, in which a press is eight bytes.
#[cfg(not(target_os = "linux"))]
fn event() -> Result<(OwnedFd, u32), OsError> {
    let [read, write] =
        crate::calls::pipe().map_err(|code| OsError::new("make", "a pipe for interrupts", code))?;
    // I1.
    Ok((read, write.into_raw_fd() as u32))
}

#[cfg(target_os = "linux")]
use libc::__errno_location as errno_place;
#[cfg(target_os = "macos")]
use libc::__error as errno_place;

/// Sets what is done at an interrupt, if told to; gives what was there.
fn set(action: Option<&libc::sigaction>) -> Result<libc::sigaction, OsError> {
    // SAFETY: all zero is a valid `sigaction`.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    let action = action.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: null, or valid: the handler is `pressed`, which does only what a handler may (I2), or one that was there before.
    match unsafe { libc::sigaction(libc::SIGINT, action, &mut before) } {
        0 => Ok(before),
        _ => Err(OsError::last("handle", "interrupts")),
    }
}

extern "C" fn pressed(_: libc::c_int) {
    let kept = errno();
    // ORDER: Relaxed, both. Written before the handler was set.
    if READER.load(Ordering::Relaxed) == std::process::id() {
        let one = 1_u64;
        // SAFETY: I1; eight bytes of a local. A count that is full holds more presses than anybody makes.
        unsafe { libc::write(EVENT.load(Ordering::Relaxed) as i32, (&raw const one).cast(), 8) };
    } else {
        // SAFETY: takes integers. A fork that never asked for the handler ends as if it were not there; the signal comes again
        // once this handler has returned.
        unsafe {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            libc::kill(libc::getpid(), libc::SIGINT);
        }
    }
    // SAFETY: the calling thread's own.
    unsafe { *errno_place() = kept };
}

/// Passes the presses on, for the process's life.
fn read(event: &OwnedFd, heeded: fn() -> bool) {
    loop {
        let mut presses = 0_u64;
        // SAFETY: eight writable bytes of a local.
        let got = unsafe { libc::read(event.as_raw_fd(), (&raw mut presses).cast(), 8) };
        if got != 8 {
            continue;
        }
        for _ in 0..presses {
            if !heeded() {
                give_up();
            }
        }
    }
}

/// Nobody heeds the press: it has the effect that it had before.
fn give_up() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, Action(action))) = before.take() {
        // It was accepted before.
        let _ = set(Some(&action));
    }
    // Not to the group: the others had theirs.
    // SAFETY: takes integers.
    unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
}

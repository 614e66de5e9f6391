//! Start of a program, usually this one again, with exactly the descriptors that the child needs; and fork. macOS; type-checked,
//! not run.
//!
//! By `posix_spawn` with `POSIX_SPAWN_CLOEXEC_DEFAULT`, by which the kernel closes whatever the file actions do not name.

use crate::error::{OsError, Result, errno};
use crate::lifeline::Lifeline;
use crate::pidfd::{self, PidFd};
use crate::status::ExitStatus;
use crate::watcher;
use std::ffi::{CStr, CString, c_int};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::{Mutex, OnceLock};

/// Where one of the child's standard streams comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Stdio<'a> {
    /// What the parent has.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// This.
    Fd(BorrowedFd<'a>),
}

/// A program to start.
///
/// It gets the standard streams, `fds` as its descriptors 3, 4, 5 and so on, and no other descriptor. Its signal
/// mask is the calling thread's; signals that are handled here, and SIGPIPE, are at their default there.
#[derive(Clone, Debug, Default)]
pub struct Start<'a> {
    /// The program's path; `None` is the file of the program that is running.
    pub exe: Option<CString>,
    /// Its arguments, its name first.
    pub argv: Vec<CString>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// Its descriptors 0, 1 and 2.
    pub stdio: [Stdio<'a>; 3],
    /// Its descriptors from 3 on.
    pub fds: Vec<BorrowedFd<'a>>,
}

/// A process that this one started. Dropping it neither ends nor reaps the process.
#[derive(Debug)]
pub struct Child {
    pub(crate) process: PidFd,
    /// How it ended, once somebody saw.
    pub(crate) status: OnceLock<ExitStatus>,
    /// Held by the one thread that is about to reap it.
    pub(crate) reaping: Mutex<()>,
}

impl Child {
    fn new(process: PidFd) -> Self {
        Self { process, status: OnceLock::new(), reaping: Mutex::new(()) }
    }

    /// Its number. Another process may have it once this one was reaped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process itself: to signal it, to poll for its end.
    #[must_use]
    pub fn pidfd(&self) -> &PidFd {
        &self.process
    }
}

unsafe extern "C" {
    /// From <spawn.h>: the child keeps a descriptor that `POSIX_SPAWN_CLOEXEC_DEFAULT` would close.
    fn posix_spawn_file_actions_addinherit_np(
        actions: *mut libc::posix_spawn_file_actions_t,
        fd: c_int,
    ) -> c_int;
}

/// The first descriptor that is not a standard stream.
const FIRST: RawFd = 3;

/// The initialised parts of a start, which are given back in any case.
struct Parts {
    actions: libc::posix_spawn_file_actions_t,
    attributes: libc::posix_spawnattr_t,
}

impl Parts {
    fn new() -> std::result::Result<Self, i32> {
        let (mut actions, mut attributes) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: both are writable, and not initialised yet.
        unsafe {
            check(libc::posix_spawn_file_actions_init(&mut actions))?;
            if let Err(code) = check(libc::posix_spawnattr_init(&mut attributes)) {
                libc::posix_spawn_file_actions_destroy(&mut actions);
                return Err(code);
            }
        }
        Ok(Self { actions, attributes })
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // SAFETY: both were initialised.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&mut self.actions);
            libc::posix_spawnattr_destroy(&mut self.attributes);
        }
    }
}

/// These calls give the error itself.
fn check(code: c_int) -> std::result::Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(code) }
}

impl<'a> Start<'a> {
    /// A start, of this program and without arguments, of a process that gets `fds`, its end of `lifeline` first: by arming
    /// that it ends with the lifeline.
    #[must_use]
    pub fn tied(_: &'a Lifeline, fds: Vec<BorrowedFd<'a>>) -> Self {
        Self { fds, ..Self::default() }
    }

    /// Starts the program.
    ///
    /// # Errors
    ///
    /// What the system says of the program (not found, denied, out of memory), and limits on processes or
    /// descriptors. Nothing is left behind.
    pub fn spawn(&self) -> Result<Child> {
        let exe = match &self.exe {
            Some(exe) => exe.clone(),
            None => this_program()?,
        };
        let passing = |code| OsError::new("pass descriptors to", text(&exe), code);
        let null = if self.stdio.iter().any(|from| matches!(from, Stdio::Null)) {
            Some(crate::setup::null()?)
        } else {
            None
        };
        let mut moves = Vec::with_capacity(3 + self.fds.len());
        for (from, to) in self.stdio.iter().zip(0..) {
            let from = match from {
                Stdio::Inherit => to,
                Stdio::Null => null.as_ref().map_or(-1, AsRawFd::as_raw_fd),
                Stdio::Fd(fd) => fd.as_raw_fd(),
            };
            moves.push((from, to));
        }
        moves.extend(self.fds.iter().zip(FIRST..).map(|(fd, to)| (fd.as_raw_fd(), to)));
        let beyond = FIRST + self.fds.len() as RawFd;
        // Out of the way of the numbers to be given, so that none is overwritten before it was copied.
        let mut moved = Vec::new();
        for (from, to) in &mut moves {
            if *from < beyond && from != to {
                // SAFETY: takes integers.
                let copy = unsafe { libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, beyond) };
                if copy < 0 {
                    return Err(passing(errno()));
                }
                // SAFETY: the call made this descriptor, and nobody else knows it.
                moved.push(unsafe { OwnedFd::from_raw_fd(copy) });
                *from = copy;
            }
        }
        let mut parts = Parts::new().map_err(passing)?;
        for (from, to) in &moves {
            // A standard stream that is closed here is closed there.
            // SAFETY: takes integers.
            if *to < FIRST && from == to && unsafe { libc::fcntl(*from, libc::F_GETFD) } < 0 {
                continue;
            }
            // SAFETY: initialised actions; integers.
            let added = unsafe {
                if from == to {
                    posix_spawn_file_actions_addinherit_np(&mut parts.actions, *from)
                } else {
                    libc::posix_spawn_file_actions_adddup2(&mut parts.actions, *from, *to)
                }
            };
            check(added).map_err(passing)?;
        }
        let started = |code| OsError::new("execute", text(&exe), code);
        set_attributes(&mut parts.attributes).map_err(started)?;
        let (argv, env) = (pointers(&self.argv), pointers(&self.env));
        let mut pid = -1;
        // SAFETY: path, arguments and environment are terminated and live until after the call, as the initialised parts do.
        let done = unsafe {
            libc::posix_spawn(
                &mut pid,
                exe.as_ptr(),
                &parts.actions,
                &parts.attributes,
                argv.as_ptr(),
                env.as_ptr(),
            )
        };
        drop(moved);
        check(done).map_err(|code| match code {
            libc::ENOENT => started(code)
                .with_advice("check the path; was the program's file moved or replaced?"),
            _ => started(code),
        })?;
        adopt(pid as u32)
    }
}

/// The calling thread's mask, defaults for what is handled here and for SIGPIPE, and no descriptor that is not named.
fn set_attributes(attributes: &mut libc::posix_spawnattr_t) -> std::result::Result<(), i32> {
    const SIGNALS: c_int = 31;
    let flags = libc::POSIX_SPAWN_SETSIGMASK
        | libc::POSIX_SPAWN_SETSIGDEF
        | libc::POSIX_SPAWN_CLOEXEC_DEFAULT;
    // SAFETY: all zero is a valid value of each; the calls only write to these locals, and to the initialised attributes.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        check(libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), &mut mask))?;
        let mut defaults: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut defaults);
        libc::sigaddset(&mut defaults, libc::SIGPIPE);
        for signal in 1..=SIGNALS {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, ptr::null(), &mut action) == 0
                && ![libc::SIG_IGN, libc::SIG_DFL].contains(&action.sa_sigaction)
            {
                libc::sigaddset(&mut defaults, signal);
            }
        }
        check(libc::posix_spawnattr_setsigmask(attributes, &mask))?;
        check(libc::posix_spawnattr_setsigdefault(attributes, &defaults))?;
        check(libc::posix_spawnattr_setflags(attributes, flags as libc::c_short))
    }
}

/// The file of the program that is running.
fn this_program() -> Result<CString> {
    let failed = |code| {
        OsError::new("find", "the program that is running", code)
            .with_advice("give the program's path")
    };
    let path = std::env::current_exe()
        .map_err(|error| failed(error.raw_os_error().unwrap_or(libc::ENOENT)))?;
    CString::new(path.into_os_string().into_vec()).map_err(|_| failed(libc::EINVAL))
}

/// Names a child that was just made.
fn adopt(pid: u32) -> Result<Child> {
    match PidFd::open(pid) {
        Ok(process) => Ok(Child::new(process)),
        // It has ended, and something else reaped it (SIGCHLD is ignored, perhaps).
        Err(error) if error.is_not_found() => {
            let child = Child::new(PidFd::reaped(pid));
            child.status.get_or_init(|| ExitStatus::Unknown);
            Ok(child)
        }
        // Not to be named safely, so it must not run.
        Err(error) => {
            // SAFETY: takes integers; the number was in use a moment ago and numbers are not re-used at once.
            unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
            reap(pid);
            Err(error)
        }
    }
}

fn reap(pid: u32) {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(pid as libc::pid_t, ptr::null_mut(), 0) } < 0
        && errno() == libc::EINTR
    {}
}

fn text(exe: &CStr) -> String {
    exe.to_string_lossy().into_owned()
}

/// As the C library takes them: it does not write there.
fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Fork {
    /// The one that forked; this is its child.
    Parent(Child),
    /// The new one.
    InChild,
}

/// Copies this process; returns in both.
///
/// # Errors
///
/// A limit on processes or memory. The number of descriptors: then the child has been killed.
///
/// # Safety
///
/// This process has one thread ([`thread_count`]), or the child does nothing but async-signal-safe calls until
/// it executes a program or ends: locks that other threads held stay locked in it for ever. Apple's frameworks must not have
/// been used: they do not survive a fork.
pub unsafe fn fork() -> Result<Fork> {
    // SAFETY: the caller's promise.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::InChild),
        -1 => Err(OsError::last("fork", "this process")),
        pid => adopt(pid as u32).map(Fork::Parent),
    }
}

/// How many threads this process has, but for those of this crate, which are parked in the kernel.
///
/// # Errors
///
/// The system does not tell.
pub fn thread_count() -> Result<usize> {
    let info =
        pidfd::task_info().ok_or_else(|| OsError::last("count", "the threads of this process"))?;
    let all = usize::try_from(info.pti_threadnum).unwrap_or(1);
    Ok(all.saturating_sub(watcher::threads()).max(1))
}

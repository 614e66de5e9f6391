//! Exec of a program, usually this one again, with exactly the descriptors that the child needs; and fork.
//!
//! `spawn` does what glibc's `posix_spawn` does: the child of `clone(CLONE_VM | CLONE_VFORK)` borrows this
//! process's memory until it has executed the program, on a stack of its own, while the calling thread stands
//! still. So it costs the same however much memory this process has, and an error of exec comes back through a
//! plain field. Invariants of the code that runs in the child (`child`):
//!
//! - C1 No signal handler of this process runs in it: all signals are blocked from before `clone` until every
//!   handled one is back at its default.
//! - C2 It allocates nothing, takes no lock and does not unwind: other threads of this process go on meanwhile,
//!   and one of them may hold any lock.
//! - C3 It writes to its own stack and to `Job`, which nobody else looks at until the calling thread goes on.

use crate::error::{OsError, Result, errno};
use crate::forkserver::Reported;
use crate::lifeline::Lifeline;
use crate::pidfd::PidFd;
use crate::status::ExitStatus;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
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
    /// The program's path; `None` is the program that is running, even if its file was replaced meanwhile.
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
    /// Of a fork server's fork: where that tells how it ended.
    pub(crate) reported: Option<Reported>,
}

impl Child {
    fn new(process: PidFd) -> Self {
        Self { process, status: OnceLock::new(), reaping: Mutex::new(()), reported: None }
    }

    /// One that a fork server started for this process.
    pub(crate) fn reported(process: PidFd, reported: Reported) -> Self {
        Self { reported: Some(reported), ..Self::new(process) }
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

const THIS_PROGRAM: &CStr = c"/proc/self/exe";

/// The first descriptor that is not a standard stream.
const FIRST: RawFd = 3;

/// Room for the child's calls, which are shallow; a page table of it costs more than its size.
const STACK: usize = 64 << 10;

impl<'a> Start<'a> {
    /// A start, of this program and without arguments, of a process that gets `fds`, its end of `lifeline` first: by arming
    /// that it ends with the lifeline.
    #[must_use]
    pub fn tied(_: &'a Lifeline, fds: Vec<BorrowedFd<'a>>) -> Self {
        Self { fds, ..Self::default() }
    }

    /// Starts the program; blocks until it runs.
    ///
    /// # Errors
    ///
    /// What exec says of the program (not found, denied, out of memory), and limits on processes or
    /// descriptors. Nothing is left behind.
    pub fn spawn(&self) -> Result<Child> {
        let exe = self.exe.as_deref().unwrap_or(THIS_PROGRAM);
        let null = if self.stdio.iter().any(|from| matches!(from, Stdio::Null)) {
            Some(open_null()?)
        } else {
            None
        };
        let mut moves = Vec::with_capacity(3 + self.fds.len());
        for (from, to) in self.stdio.iter().zip(0..) {
            let from = match from {
                Stdio::Inherit => continue,
                Stdio::Null => null.as_ref().map_or(-1, AsRawFd::as_raw_fd),
                Stdio::Fd(fd) => fd.as_raw_fd(),
            };
            moves.push(Move { from, to });
        }
        moves
            .extend(self.fds.iter().zip(FIRST..).map(|(fd, to)| Move { from: fd.as_raw_fd(), to }));
        let beyond = FIRST + self.fds.len() as RawFd;
        let argv = pointers(&self.argv);
        let env = pointers(&self.env);
        let mut job = Job {
            exe: exe.as_ptr(),
            argv: argv.as_ptr(),
            env: env.as_ptr(),
            moves: moves.as_mut_ptr(),
            count: moves.len(),
            beyond,
            mask: 0,
            failure: None,
        };
        let (pid, fd) = clone_child(&mut job)?;
        if let Some((step, code)) = job.failure {
            reap(pid);
            let error = match step {
                Step::Pass => OsError::new("pass descriptors to", text(exe), code),
                Step::Execute => OsError::new("execute", text(exe), code),
            };
            return Err(match code {
                libc::ENOENT if self.exe.is_none() => {
                    error.with_advice("/proc must be mounted, or the program's path be given")
                }
                libc::ENOENT => error.with_advice("check the path, and its interpreter or loader"),
                _ => error,
            });
        }
        adopt(pid, fd)
    }
}

/// Names a child that was just made.
fn adopt(pid: u32, fd: Option<OwnedFd>) -> Result<Child> {
    let process = match fd {
        Some(fd) => Ok(PidFd::from_fd(pid, fd)),
        None => PidFd::open(pid),
    };
    match process {
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

fn text(exe: &CStr) -> String {
    exe.to_string_lossy().into_owned()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn open_null() -> Result<OwnedFd> {
    // SAFETY: the path is a terminated string.
    let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(OsError::last("open", "/dev/null"));
    }
    // SAFETY: the call made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes away a child that has ended; waits for its end.
pub(crate) fn reap(pid: u32) {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(pid as libc::pid_t, ptr::null_mut(), 0) } < 0
        && errno() == libc::EINTR
    {}
}

/// A descriptor of this process, and its number in the child.
#[derive(Clone, Copy)]
struct Move {
    from: RawFd,
    to: RawFd,
}

/// What the child is to do, and what became of it.
struct Job {
    exe: *const libc::c_char,
    argv: *const *const libc::c_char,
    env: *const *const libc::c_char,
    moves: *mut Move,
    count: usize,
    /// The first number that the child must not have.
    beyond: RawFd,
    /// The kernel's signal mask of the calling thread.
    mask: u64,
    failure: Option<(Step, i32)>,
}

#[derive(Clone, Copy)]
enum Step {
    Pass,
    Execute,
}

/// A stack for the child, with a page that nobody may touch below it.
struct Stack(*mut libc::c_void);

impl Stack {
    fn new() -> Result<Self> {
        let failed = || OsError::last("map", "a stack for the child");
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(failed());
        }
        let stack = Self(base);
        // SAFETY: `sysconf` takes an integer; the range is the lowest page of the mapping just made.
        let done = unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            if page < STACK / 2 { libc::mprotect(base, page, libc::PROT_NONE) } else { 0 }
        };
        if done == 0 { Ok(stack) } else { Err(failed()) }
    }

    /// Stacks grow down on all machines that are supported; 64 KiB keeps any alignment.
    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(STACK)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped, and no child uses it any more: `clone` has returned.
        unsafe { libc::munmap(self.0, STACK) };
    }
}

/// Runs [`child`] in a new process; returns when that has executed the program or ended.
fn clone_child(job: &mut Job) -> Result<(u32, Option<OwnedFd>)> {
    let stack = Stack::new()?;
    job.mask = set_mask(u64::MAX);
    let plain = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let mut fd: RawFd = -1;
    let mut pid = -1;
    let mut code = 0;
    // Kernels before 5.2 ignore the flag, and leave `fd` alone; a filter may refuse it.
    for flags in [plain | libc::CLONE_PIDFD, plain] {
        // SAFETY: the child runs on a stack of its own, in our memory, while this thread stands still
        // (CLONE_VFORK); C1: all signals are blocked; C2, C3: see `child`. `job` and `fd` outlive the call.
        pid = unsafe {
            libc::clone(child, stack.top(), flags, ptr::from_mut(job).cast(), &raw mut fd)
        };
        code = errno();
        if pid >= 0 || !matches!(code, libc::EINVAL | libc::EPERM | libc::ENOSYS) {
            break;
        }
    }
    set_mask(job.mask);
    match u32::try_from(pid) {
        // SAFETY: the kernel made this descriptor (close-on-exec) for us, and nobody else knows it.
        Ok(pid) => Ok((pid, (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) }))),
        Err(_) => Err(OsError::new("start", "a process", code)),
    }
}

/// Sets the calling thread's signal mask, the signals that the C library keeps to itself included; returns
/// the old one.
fn set_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both masks are as long as the fourth argument says.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            size_of::<u64>(),
        )
    };
    old
}

/// The child. Invariants C1 to C3 are its whole duty; it never returns.
extern "C" fn child(job: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `clone_child` passed its `&mut Job` and stands still until this process is gone (C3).
    let job = unsafe { &mut *job.cast::<Job>() };
    default_signals();
    // SAFETY: `moves` and `count` are those of a vector that the calling thread keeps (C3).
    let moves = unsafe { std::slice::from_raw_parts_mut(job.moves, job.count) };
    let (step, code) = match pass_descriptors(moves, job.beyond) {
        Err(code) => (Step::Pass, code),
        Ok(()) => {
            set_mask(job.mask);
            // SAFETY: path, arguments and environment are terminated and kept by the calling thread.
            unsafe { libc::execve(job.exe, job.argv, job.env) };
            (Step::Execute, errno())
        }
    };
    job.failure = Some((step, code));
    // SAFETY: ends this process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

/// C1: whatever has a handler goes back to its default, and SIGPIPE, which Rust ignores, too.
fn default_signals() {
    const SIGNALS: i32 = 64;
    for signal in 1..=SIGNALS {
        // The kernel's `struct sigaction` begins with the handler on all machines; all zero is the default.
        // The C library's own `sigaction` may take a lock (C2).
        let mut action = [0_u64; 8];
        // SAFETY: the kernel writes at most 32 bytes of `action`, whose mask is as long as the last argument says.
        let done = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                ptr::null::<u64>(),
                action.as_mut_ptr(),
                size_of::<u64>(),
            )
        };
        let handler = action[0] as libc::sighandler_t;
        let ignored = handler == libc::SIG_IGN && signal != libc::SIGPIPE;
        if done != 0 || handler == libc::SIG_DFL || ignored {
            continue;
        }
        let default = [0_u64; 8];
        // SAFETY: as above, read instead of written. The table of handlers is this process's own
        // (no CLONE_SIGHAND).
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
}

/// Gives every descriptor its number in the child, and closes all others.
fn pass_descriptors(moves: &mut [Move], beyond: RawFd) -> std::result::Result<(), i32> {
    // First out of the way of the numbers to be given, so that none is overwritten before it was copied.
    for one in moves.iter_mut() {
        if one.from < beyond && one.from != one.to {
            // SAFETY: takes integers.
            let moved = unsafe { libc::fcntl(one.from, libc::F_DUPFD_CLOEXEC, beyond) };
            if moved < 0 {
                return Err(errno());
            }
            one.from = moved;
        }
    }
    for one in moves.iter() {
        // SAFETY: both take integers. `dup2` onto itself would leave close-on-exec set.
        let done = unsafe {
            if one.from == one.to {
                libc::fcntl(one.from, libc::F_SETFD, 0)
            } else {
                libc::dup2(one.from, one.to)
            }
        };
        if done < 0 {
            return Err(errno());
        }
    }
    close_from(beyond)
}

fn close_from(first: RawFd) -> std::result::Result<(), i32> {
    // SAFETY: takes integers; the descriptors are copies of the parent's, and nobody else in this process
    // uses them.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } == 0 {
        return Ok(());
    }
    if close_listed(first) { Ok(()) } else { close_each(first) }
}

/// Closes what /proc lists from `first` on; false where it lists nothing.
fn close_listed(first: RawFd) -> bool {
    // SAFETY: the path is a terminated string.
    let directory = unsafe {
        libc::open(c"/proc/self/fd".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
    };
    if directory < 0 {
        return false;
    }
    // Bytes of the kernel's `struct linux_dirent64`: its length at 16, its name at 19.
    let mut buffer = [0_u64; 256];
    let size = size_of_val(&buffer);
    let complete = loop {
        // SAFETY: `buffer` has `size` writable bytes.
        let got =
            unsafe { libc::syscall(libc::SYS_getdents64, directory, buffer.as_mut_ptr(), size) };
        let Ok(got) = usize::try_from(got) else { break false };
        if got == 0 {
            break true;
        }
        // SAFETY: the kernel wrote `got` bytes, at most `size`, and plain bytes may be read of integers.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), got) };
        let mut at = 0;
        while let Some([low, high]) = bytes.get(at + 16..at + 18).and_then(<[u8]>::first_chunk) {
            let length = usize::from(u16::from_ne_bytes([*low, *high]));
            let end = bytes.len().min(at + length);
            if let Some(fd) = bytes.get(at + 19..end).and_then(number)
                && fd >= first
                && fd != directory
            {
                // SAFETY: as in `close_from`. The list goes by number, so closing does not disturb it.
                unsafe { libc::close(fd) };
            }
            at += length.max(19);
        }
    };
    // SAFETY: opened above.
    unsafe { libc::close(directory) };
    complete
}

/// The number that a terminated name is.
fn number(name: &[u8]) -> Option<RawFd> {
    let digits = name.split(|byte| *byte == 0).next()?;
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |value: RawFd, byte| {
        let digit = byte.is_ascii_digit().then(|| RawFd::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Without /proc: every number that the limit allows. A limit lowered below an open one hides that.
fn close_each(first: RawFd) -> std::result::Result<(), i32> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    if unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(errno());
    }
    for fd in first..RawFd::try_from(limit.rlim_cur).unwrap_or(RawFd::MAX) {
        // SAFETY: as in `close_from`.
        unsafe { libc::close(fd) };
    }
    Ok(())
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
/// it executes a program or ends: locks that other threads held stay locked in it for ever.
pub unsafe fn fork() -> Result<Fork> {
    // SAFETY: the caller's promise.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::InChild),
        -1 => Err(OsError::last("fork", "this process")),
        pid => adopt(pid as u32, None).map(Fork::Parent),
    }
}

/// How many threads this process has.
///
/// # Errors
///
/// /proc cannot be read.
pub fn thread_count() -> Result<usize> {
    let failed = |error: std::io::Error| {
        OsError::new("count", "the threads of this process", error.raw_os_error().unwrap_or(0))
            .with_advice("/proc must be mounted")
    };
    let tasks = std::fs::read_dir("/proc/self/task").map_err(failed)?;
    Ok(tasks.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_descriptors_are_numbers() {
        assert_eq!(number(b"12\0xyz"), Some(12));
        assert_eq!(number(b".."), None);
        assert_eq!(number(b"\0"), None);
        assert_eq!(number(b"99999999999999"), None);
    }
}

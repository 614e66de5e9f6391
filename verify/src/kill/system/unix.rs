//! Unix: children by fork or exec, signals, a file in memory.

use super::News;
use offspring_core::family::layout::HEAP_AT;
use offspring_os_unix::start::{Start, Stdio};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};

pub use offspring_os_unix::family::{Family, Object, ObjectError, Options, set_trace};
pub use offspring_os_unix::futex::now;
pub use std::os::fd::{BorrowedFd as BorrowedFile, OwnedFd as OwnedFile};

/// Lends a file.
pub fn borrow(file: &OwnedFile) -> BorrowedFile<'_> {
    file.as_fd()
}

/// Whether sleepers park: the kernel has futexes, so nobody does, and the points of parking are not passed.
pub const PARKS: bool = false;

/// The signal that tells of a kill.
pub const KILLED: i32 = libc::SIGKILL;

/// What a victim is handed, in this order.
///
/// # Safety
///
/// The harness handed exactly these to this process, and nothing else has taken them.
pub unsafe fn handed() -> Option<[OwnedFile; 2]> {
    // SAFETY: the caller's promise.
    Some(unsafe { [3, 4].map(|number| OwnedFile::from_raw_fd(number)) })
}

/// The children of this process, which has one thread.
#[derive(Debug)]
pub struct Children(());

impl Children {
    /// None yet. The signal of a child's news stays pending from now on.
    pub fn new() -> Self {
        let set = child_signal();
        // SAFETY: `set` is initialised.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        Self(())
    }

    /// A copy of this process, which lives `life`; its number. `None` where there is no such thing.
    pub fn fork(&mut self, life: impl FnOnce()) -> Option<Result<u32, String>> {
        // SAFETY: this process has one thread.
        Some(match unsafe { libc::fork() } {
            0 => {
                life();
                quit(0)
            }
            -1 => Err(format!("fork a victim: {}", io::Error::last_os_error())),
            pid => Ok(pid as u32),
        })
    }

    /// This program again, with arguments and files; its number.
    pub fn execute(
        &mut self,
        arguments: [&str; 3],
        files: Vec<BorrowedFile<'_>>,
    ) -> Result<u32, String> {
        let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
        let start = Start {
            argv: arguments.into_iter().map(text).collect::<Result<_, _>>()?,
            stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
            fds: files,
            ..Start::default()
        };
        start.spawn().map(|child| child.pid()).map_err(|error| error.to_string())
    }

    /// Kills a child that [`news`](Self::news) has not told the end of.
    pub fn kill(&self, pid: u32) {
        signal(pid, libc::SIGKILL);
    }

    /// Lets a child that stopped go on.
    pub fn go_on(&self, pid: u32) {
        signal(pid, libc::SIGCONT);
    }

    /// What became of one of them; `None` if nothing is new.
    pub fn news(&mut self) -> Option<(u32, News)> {
        let mut status = 0;
        // SAFETY: `status` is writable.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::WUNTRACED) };
        let news = if libc::WIFSTOPPED(status) {
            News::Stopped
        } else if !libc::WIFSIGNALED(status) {
            News::Ended(libc::WEXITSTATUS(status))
        } else if libc::WTERMSIG(status) == libc::SIGKILL {
            News::Killed
        } else {
            News::Died(libc::WTERMSIG(status))
        };
        (pid > 0).then_some((pid as u32, news))
    }

    /// Blocks until a child has ended, whatever comes of it.
    pub fn await_end(&mut self, pid: u32) {
        // SAFETY: may be given no place for the status.
        unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), 0) };
    }

    /// Sleeps until a child has news, or so many nanoseconds.
    pub fn sleep(&self, nanos: u64) {
        let set = child_signal();
        let time = libc::timespec {
            tv_sec: (nanos / 1_000_000_000) as _,
            tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: all three are initialised or null.
        unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &time) };
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: takes integers; the child was not reaped, so the number is its own.
    unsafe { libc::kill(pid as i32, signal) };
}

fn child_signal() -> libc::sigset_t {
    // SAFETY: all zero is an initialised set; the calls take pointers to it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        set
    }
}

/// Whether so many are killed in a second that whoever needs another's death soon meets one.
pub const MANY: bool = true;

/// Stops this process until another lets it go on. Whether it shall stop there again.
pub fn stop_self() -> bool {
    raise(libc::SIGSTOP);
    false
}

/// Kills this process. Where there are other threads it may return, to be taken a moment later.
pub fn kill_self() {
    raise(libc::SIGKILL);
}

fn raise(signal: i32) {
    // SAFETY: takes integers.
    unsafe { libc::kill(libc::getpid(), signal) };
}

/// Leaves the process without running what it inherited.
pub fn quit(code: i32) -> ! {
    // SAFETY: ends this process.
    unsafe { libc::_exit(code) }
}

/// Nothing but notices is to end this process's waits within a round: the usual backstop is long enough to tell.
pub fn trust_notices() {}

/// This process does not outlive its parent.
pub fn end_with_parent() {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Ends this process by a signal unless it is called again within so many seconds.
pub fn watchdog(seconds: u32) {
    // SAFETY: takes an integer.
    unsafe { libc::alarm(seconds) };
}

/// From now on this process is told the end of its children's children, too.
pub fn adopt_orphans() -> Result<(), String> {
    // SAFETY: takes integers.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err("this system lets no process adopt orphans".to_owned()),
    }
}

/// The process that made this one.
pub fn parent() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

/// Kills a process that is no child of this one, and that nobody has reaped.
pub fn kill(pid: u32) {
    // SAFETY: takes integers.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
}

/// Waits until this process has no child: whoever was adopted has ended.
pub fn await_orphans() {
    loop {
        // SAFETY: may be given no place for the status.
        let reaped = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        if reaped < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return;
        }
    }
}

/// Memory for this process and whom it is handed to: `len` zeros, and where they lie for the process's life.
pub fn make_memory(len: usize) -> io::Result<(OwnedFile, *mut u8)> {
    // SAFETY: the name is a terminated string.
    let fd = unsafe { libc::memfd_create(c"kill-board".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor, and nobody else knows it.
    let file = unsafe { OwnedFile::from_raw_fd(fd) };
    // SAFETY: takes integers.
    if unsafe { libc::ftruncate(file.as_raw_fd(), len as libc::off_t) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let base = map_memory(&file, len)?;
    Ok((file, base))
}

/// What [`make_memory`] made, in a process that it was handed to.
pub fn map_memory(file: &OwnedFile, len: usize) -> io::Result<*mut u8> {
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(base.cast()) }
}

/// The arena, to hand to a victim.
pub fn arena(family: &Family) -> BorrowedFile<'_> {
    family.arena_fd()
}

/// Bytes of the arena's heap that have pages, hole by hole: pages are given back, so they are not data.
pub fn heap_bytes(family: &Family) -> u64 {
    let fd = family.arena_fd().as_raw_fd();
    let (mut at, mut sum) = (HEAP_AT as libc::off_t, 0);
    loop {
        // SAFETY: takes integers; nothing reads or writes this descriptor at its position.
        let (data, hole) = unsafe {
            let data = libc::lseek(fd, at, libc::SEEK_DATA);
            if data < 0 {
                return sum; // no data behind `at`
            }
            (data, libc::lseek(fd, data, libc::SEEK_HOLE))
        };
        if hole <= data {
            return sum;
        }
        sum += (hole - data) as u64;
        at = hole;
    }
}

/// Files, pipes and the like that this process has open.
pub fn open_files() -> usize {
    entries("/proc/self/fd")
}

/// Names that shared memory has on this machine.
pub fn names() -> usize {
    entries("/dev/shm")
}

fn entries(path: &str) -> usize {
    fs::read_dir(path).map_or(0, Iterator::count)
}

/// This process's children, zombies among them.
pub fn children() -> usize {
    let list = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    list.split_whitespace().count()
}

//! A child's start message, and its end when its parent is gone: one pipe for both.
//!
//! The parent alone holds the writing end. It writes the start message; the child reads it and then *arms* its
//! end: the kernel sends it SIGKILL when the last writing end closes, which is when the parent process is gone,
//! or lets go. (`PR_SET_PDEATHSIG` fires when the *thread* that forked ends, which is not this.) Whatever is
//! written after that kills, too, so nothing is.
//!
//! Writing ends must not leak into other children, or they would keep the siblings alive. exec closes them; in a
//! child forked by the C library's `fork` a hook does.

use crate::error::{OsError, Result, errno};
use crate::{calls, futex, generation};
use offspring_core::prim::UnsafeCell;
use offspring_core::wait::Deadline;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Once;

/// The longest start message, in bytes.
pub const MOST_MESSAGE: usize = 16 << 20;

const MAGIC: [u8; 4] = *b"ofsp";

/// Magic and length.
const HEADER: usize = 8;

/// The parent's end: while it is open the child may live.
///
/// In a forked child of the parent it is closed, and using or dropping it does nothing.
#[derive(Debug)]
#[must_use = "the child ends when this is dropped"]
pub struct Lifeline {
    write: ManuallyDrop<OwnedFd>,
    /// Of the process that made it.
    generation: u32,
}

/// The child's end, not armed yet.
#[derive(Debug)]
pub struct LifelineEnd {
    read: OwnedFd,
}

impl Lifeline {
    /// A new pipe: the end to keep, and the end to pass to the child and then drop.
    ///
    /// # Errors
    ///
    /// A limit: no descriptors are left.
    pub fn pair() -> Result<(Self, LifelineEnd)> {
        let failed = || OsError::last("make", "a lifeline pipe");
        // Before the lock: it may install a hook, and forks hold the list of hooks while they wait for the lock.
        let generation = generation::current();
        let ends = WriteEnds::lock();
        let [read, write] = calls::pipe().map_err(|_| failed())?;
        change_flags(&write, |flags| flags | libc::O_NONBLOCK).map_err(|_| failed())?;
        ends.add(write.as_raw_fd());
        let write = ManuallyDrop::new(write);
        Ok((Self { write, generation }, LifelineEnd { read }))
    }

    /// Sends the start message. Blocks while the pipe is full and the child does not read, until `until`.
    ///
    /// Once, and before the child arms its end.
    ///
    /// # Errors
    ///
    /// The peer is gone: the child ended, or closed its end. A time-out; what was sent then is of no use. Invalid:
    /// longer than [`MOST_MESSAGE`], or this is a forked child of the parent.
    pub fn send_message(&self, message: &[u8], until: Option<Deadline>) -> Result<()> {
        let failed = |code| {
            OsError::new("send", format!("a start message of {} bytes", message.len()), code)
        };
        if self.generation != generation::current() {
            return Err(failed(libc::EBADF)
                .with_advice("only the process that made the lifeline can use it, no fork of it"));
        }
        if message.len() > MOST_MESSAGE {
            return Err(failed(libc::EMSGSIZE)
                .with_advice(format!("at most {MOST_MESSAGE} bytes; pass more by shared memory")));
        }
        let len = (message.len() as u32).to_ne_bytes();
        // In one piece: each write costs three more calls, to do without SIGPIPE.
        let whole = [&MAGIC[..], &len, message].concat();
        let mut rest = &whole[..];
        while !rest.is_empty() {
            match write_without_sigpipe(&self.write, rest) {
                Ok(written) => rest = &rest[written..],
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN) => {
                    if !writable(&self.write, until) {
                        return Err(failed(libc::ETIMEDOUT)
                            .with_advice("the child does not read it; is it stopped?"));
                    }
                }
                Err(code @ libc::EPIPE) => {
                    return Err(failed(code).with_advice("the child has ended"));
                }
                Err(code) => return Err(failed(code)),
            }
        }
        Ok(())
    }

    /// The pipe's inode, the same on both sides: for the child to check what it was passed.
    ///
    /// # Errors
    ///
    /// None on a system that works.
    pub fn inode(&self) -> Result<u64> {
        stat(&self.write).map(|status| status.inode)
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if self.generation == generation::current() {
            let ends = WriteEnds::lock();
            ends.remove(self.write.as_raw_fd());
            // SAFETY: not used or dropped after; in this process it is still this lifeline's, as the hook
            // closes it in others alone.
            unsafe { ManuallyDrop::drop(&mut self.write) };
        }
    }
}

impl LifelineEnd {
    /// Takes the descriptor that the parent passed. No program executed by the child gets it.
    ///
    /// # Errors
    ///
    /// Invalid: it is not the reading end of a pipe.
    pub fn from_fd(read: OwnedFd) -> Result<Self> {
        let refuse = |code| {
            OsError::new("take", format!("descriptor {} as a lifeline", read.as_raw_fd()), code)
                .with_advice("the reading end of a pipe is needed; was the right one passed on?")
        };
        let kind = stat(&read)?;
        // SAFETY: takes integers.
        let flags = unsafe { libc::fcntl(read.as_raw_fd(), libc::F_GETFL) };
        if !kind.is_pipe || flags & libc::O_ACCMODE != libc::O_RDONLY {
            return Err(refuse(libc::EINVAL));
        }
        // SAFETY: takes integers.
        if unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(refuse(errno()));
        }
        Ok(Self { read })
    }

    /// The descriptor, to pass to the child.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// As [`Lifeline::inode`].
    ///
    /// # Errors
    ///
    /// None on a system that works.
    pub fn inode(&self) -> Result<u64> {
        stat(&self.read).map(|status| status.inode)
    }

    /// Whether the parent's end is closed.
    #[must_use]
    pub fn is_parent_gone(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.read.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one entry, writable.
        let ready = unsafe { libc::poll(&mut entry, 1, 0) };
        ready == 1 && entry.revents & libc::POLLHUP != 0
    }

    /// Reads the start message. Blocks until the parent has sent it, or is gone.
    ///
    /// # Errors
    ///
    /// The peer is gone. Invalid: not a start message, or longer than `limit` bytes.
    pub fn read_message(&self, limit: usize) -> Result<Vec<u8>> {
        let failed = |code| OsError::new("read", "the start message", code);
        let mut header = [0; HEADER];
        self.read_exact(&mut header)?;
        let [magic, length] = [0, 4].map(|at| [0, 1, 2, 3].map(|i| header[at + i]));
        if magic != MAGIC {
            return Err(failed(libc::EPROTO)
                .with_advice("this process was not started by this version of this library"));
        }
        let length = u32::from_ne_bytes(length) as usize;
        if length > limit {
            return Err(failed(libc::EMSGSIZE)
                .with_advice(format!("it has {length} bytes, and {limit} are allowed")));
        }
        let mut message = vec![0; length];
        self.read_exact(&mut message)?;
        Ok(message)
    }

    fn read_exact(&self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            match read(&self.read, buffer) {
                Ok(0) => {
                    return Err(OsError::new("read", "the start message", libc::EPIPE)
                        .with_advice("the parent ended before it had sent it"));
                }
                Ok(got) => buffer = &mut buffer[got..],
                Err(libc::EINTR) => {}
                Err(code) => return Err(OsError::new("read", "the start message", code)),
            }
        }
        Ok(())
    }

    /// Takes back what [`arm`](Self::arm) did, or will have done, for whoever shares this end: for the parent, of the
    /// end that it passed to the child and kept. Does nothing to an end that is not armed yet.
    ///
    /// # Errors
    ///
    /// None on a system that works.
    #[cfg(target_os = "linux")]
    pub fn release(&self) -> Result<()> {
        change_flags(&self.read, |flags| flags & !libc::O_ASYNC)
            .map_err(|code| OsError::new("disarm", "the lifeline of a child", code))
    }

    /// Takes back what [`arm`](Self::arm) did, or will have done, for whoever shares this end. Forks share no lifeline here.
    ///
    /// # Errors
    ///
    /// Unsupported, always.
    #[cfg(not(target_os = "linux"))]
    pub fn release(&self) -> Result<()> {
        Err(OsError::new("disarm", "the lifeline of a child", libc::ENOTSUP)
            .with_advice("only the child itself can, here"))
    }

    /// From now on the kernel kills this process (SIGKILL) when the parent's end closes. If it has closed
    /// already, this does not return.
    ///
    /// # Errors
    ///
    /// Invalid: the pipe has more to read than the start message. What the system says otherwise.
    #[cfg(not(target_os = "linux"))]
    pub fn arm(self) -> Result<Armed> {
        crate::armed::arm(self.read)
    }

    /// From now on the kernel kills this process (SIGKILL) when the parent's end closes. If it has closed
    /// already, this does not return.
    ///
    /// # Errors
    ///
    /// Invalid: the pipe has more to read than the start message. What the system says otherwise.
    #[cfg(target_os = "linux")]
    pub fn arm(self) -> Result<Armed> {
        let failed = |code| OsError::new("arm", "the lifeline", code);
        let fd = self.read.as_raw_fd();
        // SAFETY: both take integers.
        let owned = unsafe {
            libc::fcntl(fd, F_SETSIG, libc::SIGKILL) == 0
                && libc::fcntl(fd, libc::F_SETOWN, libc::getpid()) == 0
        };
        if !owned {
            return Err(failed(errno()));
        }
        change_flags(&self.read, |flags| flags | libc::O_ASYNC | libc::O_NONBLOCK)
            .map_err(failed)?;
        // The parent may have gone before the line above; then nobody will tell any more.
        loop {
            match read(&self.read, &mut [0]) {
                Ok(0) => end(),
                Ok(_) => {
                    return Err(failed(libc::EPROTO)
                        .with_advice("read the start message first; nothing may follow it"));
                }
                Err(libc::EAGAIN) => break,
                Err(libc::EINTR) => {}
                Err(code) => return Err(failed(code)),
            }
        }
        let read = ManuallyDrop::new(self.read);
        Ok(Armed { read, generation: generation::current() })
    }
}

/// The other systems' way.
#[cfg(not(target_os = "linux"))]
pub use crate::armed::Armed;

/// Not in the C library's bindings: fcntl(2).
#[cfg(target_os = "linux")]
const F_SETSIG: libc::c_int = 10;

/// An armed lifeline. Stays armed when dropped.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Armed {
    read: ManuallyDrop<OwnedFd>,
    /// Of the process that armed it.
    generation: u32,
}

#[cfg(target_os = "linux")]
impl Armed {
    /// In a fork of the process that armed it: closes the fork's copy, which does nothing there. Elsewhere it stays.
    pub fn close_in_fork(mut self) {
        if self.generation != generation::current() {
            // SAFETY: not used or dropped after.
            unsafe { ManuallyDrop::drop(&mut self.read) };
        }
    }

    /// From now on the parent's end does not matter.
    ///
    /// # Errors
    ///
    /// Invalid: this is a forked child of the process that armed it, and concerns itself alone.
    pub fn disarm(mut self) -> Result<()> {
        let failed = |code| OsError::new("disarm", "the lifeline", code);
        if self.generation != generation::current() {
            return Err(failed(libc::EBADF)
                .with_advice("only the process that armed it can; a fork of it has no lifeline"));
        }
        change_flags(&self.read, |flags| flags & !libc::O_ASYNC).map_err(failed)?;
        // SAFETY: not used or dropped after.
        unsafe { ManuallyDrop::drop(&mut self.read) };
        Ok(())
    }
}

pub(crate) fn end() -> ! {
    loop {
        // SAFETY: takes integers. It does not return, as SIGKILL can be neither blocked nor handled.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

fn stat(fd: &OwnedFd) -> Result<calls::Status> {
    calls::status(fd.as_raw_fd()).ok_or_else(|| OsError::last("look at", "the lifeline"))
}

fn change_flags(fd: &OwnedFd, change: impl FnOnce(i32) -> i32) -> std::result::Result<(), i32> {
    // SAFETY: takes integers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: takes integers.
    if flags < 0 || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, change(flags)) } < 0 {
        return Err(errno());
    }
    Ok(())
}

fn read(fd: &OwnedFd, buffer: &mut [u8]) -> std::result::Result<usize, i32> {
    // SAFETY: `buffer` is writable for its length.
    let got = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(got).map_err(|_| errno())
}

/// Whether `fd` can be written to (or its reader is gone) by `until`.
fn writable(fd: &OwnedFd, until: Option<Deadline>) -> bool {
    // A signal counts as ready: the caller tries again.
    calls::poll(fd.as_fd(), libc::POLLOUT, until) != 0
        || until.is_none_or(|until| futex::now() < until)
}

/// Writes; where the reader is gone that is an error, and never SIGPIPE, whatever this process does with it.
fn write_without_sigpipe(fd: &OwnedFd, bytes: &[u8]) -> std::result::Result<usize, i32> {
    // SAFETY: all zero is a valid `sigset_t`, and the calls below only write to the three locals. A SIGPIPE
    // of a write goes to the writing thread, so that it is this thread that blocks it and takes it.
    unsafe {
        let mut pipe: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut pipe);
        libc::sigaddset(&mut pipe, libc::SIGPIPE);
        libc::sigpending(&mut pending);
        let other = libc::sigismember(&pending, libc::SIGPIPE) == 1;
        libc::pthread_sigmask(libc::SIG_BLOCK, &pipe, &mut before);
        let written = libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        let result = usize::try_from(written).map_err(|_| errno());
        if result == Err(libc::EPIPE) && !other {
            calls::take_sigpipe(&pipe);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        result
    }
}

/// The writing ends that this process holds, for the hook that closes them in a forked child.
struct WriteEnds {
    /// Held while an end is made or closed, and by a thread that forks, so that the child sees all of them.
    lock: UnsafeCell<libc::pthread_mutex_t>,
    fds: UnsafeCell<Vec<RawFd>>,
}

static WRITE_ENDS: WriteEnds = WriteEnds {
    lock: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    fds: UnsafeCell::new(Vec::new()),
};

// SAFETY: `fds` is touched only with `lock` held (`Ends`, and the hook in a child whose parent's thread took it).
unsafe impl Sync for WriteEnds {}

/// `WRITE_ENDS`, locked by the calling thread.
struct Ends(());

impl WriteEnds {
    fn lock() -> Ends {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            // SAFETY: the three hooks are async-signal-safe but for the lock, which the first takes in the thread
            // that forks, and the others give back in that thread, or its copy.
            unsafe { libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
        });
        // SAFETY: a valid, static mutex.
        WRITE_ENDS.lock.with_mut(|lock| unsafe { libc::pthread_mutex_lock(lock) });
        Ends(())
    }
}

impl Ends {
    fn add(&self, fd: RawFd) {
        // SAFETY: the lock is held, by the existence of `self`.
        WRITE_ENDS.fds.with_mut(|fds| unsafe { (*fds).push(fd) });
    }

    fn remove(&self, fd: RawFd) {
        // SAFETY: as above.
        WRITE_ENDS.fds.with_mut(|fds| unsafe { (*fds).retain(|other| *other != fd) });
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // SAFETY: this thread holds the lock.
        WRITE_ENDS.lock.with_mut(|lock| unsafe { libc::pthread_mutex_unlock(lock) });
    }
}

unsafe extern "C" fn before_fork() {
    // SAFETY: a valid, static mutex; the thread that forks does not hold it, as nothing in here forks with it.
    WRITE_ENDS.lock.with_mut(|lock| unsafe { libc::pthread_mutex_lock(lock) });
}

unsafe extern "C" fn in_parent() {
    // SAFETY: `before_fork` took it in this thread.
    WRITE_ENDS.lock.with_mut(|lock| unsafe { libc::pthread_mutex_unlock(lock) });
}

unsafe extern "C" fn in_child() {
    WRITE_ENDS.fds.with_mut(|fds| {
        // SAFETY: the lock is held by this thread, which is the only one; `clear` keeps the memory, so that
        // nothing is freed here.
        let fds = unsafe { &mut *fds };
        for fd in fds.iter() {
            // SAFETY: the child's copy of a writing end; its `Lifeline` is of another generation here and does not
            // touch it any more.
            unsafe { libc::close(*fd) };
        }
        fds.clear();
    });
    // SAFETY: `before_fork` took it in the thread that this one is the copy of.
    WRITE_ENDS.lock.with_mut(|lock| unsafe { libc::pthread_mutex_unlock(lock) });
}

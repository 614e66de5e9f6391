//! A child's start message, and its end when its parent is gone: a pipe for the one, a job for the other.
//!
//! The parent alone holds the pipe's writing end and the job. It writes the start message; the child reads it and
//! then *arms* its end: it looks whether the parent is still there. From its first instruction on the child is in
//! the job ([`Start::tied`](crate::start::Start::tied)), so the system ends it when the parent is gone, or drops
//! its end, at any time.
//!
//! The pipe begins with a number of its own, drawn by chance: whoever is handed something knows by it, without
//! reading, whether that is the lifeline that was meant.

use crate::clock::{millis_until, now};
use crate::error::{OsError, Result, last_error};
use crate::job::Job;
use crate::signal;
use offspring_core::wait::Deadline;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::{Arc, Weak};
use windows_sys::Wdk::Storage::FileSystem as nt;
use windows_sys::Win32::Foundation as win;
use windows_sys::Win32::Security::Authentication::Identity::RtlGenRandom;
use windows_sys::Win32::Storage::FileSystem as fs;
use windows_sys::Win32::System::IO::{
    CancelIoEx, GetOverlappedResult, IO_STATUS_BLOCK, OVERLAPPED,
};
use windows_sys::Win32::System::Pipes as pipe;
use windows_sys::Win32::System::Threading as thread;

/// The longest start message, in bytes.
pub const MOST_MESSAGE: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"ofsp-win";

/// What stands in the pipe from the beginning: the magic and the number.
const HEADER: usize = 16;

/// What the pipe takes before the child reads, header included.
const ROOM: u32 = 64 << 10;

/// The parent's end: while it is open the child may live.
#[derive(Debug)]
#[must_use = "the child ends when this is dropped"]
pub struct Lifeline {
    /// For writing while the caller may stop waiting (overlapped).
    write: OwnedHandle,
    job: Arc<Job>,
    identity: u64,
}

/// The child's end, not armed yet.
#[derive(Debug)]
pub struct LifelineEnd {
    read: OwnedHandle,
    identity: u64,
    /// In the process that made it: the job, while the parent's end is open.
    job: Weak<Job>,
}

impl Lifeline {
    /// A new one: the end to keep, and the end to pass to the child and then drop.
    ///
    /// # Errors
    ///
    /// A limit: no handles are left.
    pub fn pair() -> Result<(Self, LifelineEnd)> {
        let job = Arc::new(Job::new()?);
        let [identity, name] = random()?;
        let (write, read) = pipe(name)?;
        let job_of_end = Arc::downgrade(&job);
        let this = Self { write, job, identity };
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&MAGIC);
        header[8..].copy_from_slice(&identity.to_le_bytes());
        // The pipe is empty and takes it at once.
        this.write_all(&header, Some(now()), HEADER)?;
        Ok((this, LifelineEnd { read, identity, job: job_of_end }))
    }

    /// Sends the start message. Blocks while the pipe is full and the child does not read, until `until`.
    ///
    /// Once, and before the child arms its end.
    ///
    /// # Errors
    ///
    /// The peer is gone: the child ended, or closed its end. A time-out; what was sent then is of no use. Invalid:
    /// longer than [`MOST_MESSAGE`].
    pub fn send_message(&self, message: &[u8], until: Option<Deadline>) -> Result<()> {
        if message.len() > MOST_MESSAGE {
            return Err(failed_send(message.len(), win::ERROR_BAD_LENGTH as i32)
                .with_advice(format!("at most {MOST_MESSAGE} bytes; pass more by shared memory")));
        }
        let length = (message.len() as u32).to_le_bytes();
        self.write_all(&length, until, message.len())?;
        self.write_all(message, until, message.len())
    }

    /// What tells this lifeline from every other, the same on both sides: for the child to check what it was passed.
    ///
    /// # Errors
    ///
    /// None.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.identity)
    }

    /// The job that the child is to be in.
    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    fn write_all(&self, mut rest: &[u8], until: Option<Deadline>, of: usize) -> Result<()> {
        while !rest.is_empty() {
            let written = self.write(rest, until).map_err(|code| {
                let error = failed_send(of, code as i32);
                match code {
                    win::WAIT_TIMEOUT => {
                        error.with_advice("the child does not read it; is it stopped?")
                    }
                    win::ERROR_BROKEN_PIPE | win::ERROR_NO_DATA => {
                        error.with_advice("the child has ended")
                    }
                    _ => error,
                }
            })?;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Writes some of `bytes` by `until`, or none.
    fn write(&self, bytes: &[u8], until: Option<Deadline>) -> std::result::Result<usize, u32> {
        let pipe = self.write.as_raw_handle();
        let event = event().map_err(|error| error.code() as u32)?;
        let mut overlapped = OVERLAPPED { hEvent: event.as_raw_handle(), ..OVERLAPPED::default() };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // SAFETY: `bytes`, the event and `overlapped` live, and stay where they are, until the system is done with them:
        // each way out of here waits for that.
        let begun = unsafe {
            fs::WriteFile(pipe, bytes.as_ptr(), length, ptr::null_mut(), &mut overlapped)
        };
        if begun == 0 {
            let code = last_error() as u32;
            if code != win::ERROR_IO_PENDING {
                return Err(code);
            }
        }
        loop {
            // SAFETY: an open event.
            let woken =
                unsafe { thread::WaitForSingleObject(event.as_raw_handle(), millis_until(until)) };
            if woken == win::WAIT_TIMEOUT && until.is_some_and(|until| now() < until) {
                continue;
            }
            if woken != win::WAIT_OBJECT_0 {
                // SAFETY: the same operation; where it has ended meanwhile there is nothing to cancel.
                unsafe { CancelIoEx(pipe, &overlapped) };
            }
            break;
        }
        let mut written = 0;
        // SAFETY: as above; blocks until the operation has ended, which after a cancellation is at once.
        let done = unsafe { GetOverlappedResult(pipe, &overlapped, &mut written, 1) };
        match done {
            0 => Err(match last_error() as u32 {
                win::ERROR_OPERATION_ABORTED => win::WAIT_TIMEOUT,
                code => code,
            }),
            _ => Ok(written as usize),
        }
    }
}

fn failed_send(length: usize, code: i32) -> OsError {
    OsError::new("send", format!("a start message of {length} bytes"), code)
}

impl LifelineEnd {
    /// Takes the handle that the parent passed. No program that is started from here gets it.
    ///
    /// # Errors
    ///
    /// Invalid: it is not the reading end of a lifeline whose message is unread.
    pub fn from_fd(read: OwnedHandle) -> Result<Self> {
        let Some(identity) = identity(read.as_handle()) else {
            return Err(OsError::new(
                "take",
                "a handle as a lifeline",
                win::ERROR_INVALID_HANDLE as i32,
            )
            .with_advice("the reading end of a lifeline is needed; was the right one passed on?"));
        };
        // SAFETY: an open handle.
        let done =
            unsafe { win::SetHandleInformation(read.as_raw_handle(), win::HANDLE_FLAG_INHERIT, 0) };
        if done == 0 {
            return Err(OsError::last("take", "a handle as a lifeline"));
        }
        Ok(Self { read, identity, job: Weak::new() })
    }

    /// The handle, to pass to the child.
    #[must_use]
    pub fn fd(&self) -> BorrowedHandle<'_> {
        self.read.as_handle()
    }

    /// As [`Lifeline::inode`].
    ///
    /// # Errors
    ///
    /// None.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.identity)
    }

    /// Whether the parent's end is closed.
    #[must_use]
    pub fn is_parent_gone(&self) -> bool {
        let mut state = nt::FILE_PIPE_LOCAL_INFORMATION::default();
        let mut status = IO_STATUS_BLOCK::default();
        // SAFETY: both are writable, and the first is what the class says, of the size that is said.
        let code = unsafe {
            nt::NtQueryInformationFile(
                self.read.as_raw_handle(),
                &mut status,
                (&raw mut state).cast(),
                size_of_val(&state) as u32,
                nt::FilePipeLocalInformation,
            )
        };
        code == win::STATUS_PIPE_BROKEN
            || code == win::STATUS_PIPE_DISCONNECTED
            || code >= 0 && state.NamedPipeState != nt::FILE_PIPE_CONNECTED_STATE
    }

    /// Reads the start message. Blocks until the parent has sent it, or is gone.
    ///
    /// # Errors
    ///
    /// The peer is gone. Invalid: not a start message, or longer than `limit` bytes.
    pub fn read_message(&self, limit: usize) -> Result<Vec<u8>> {
        let failed = |code: u32| OsError::new("read", "the start message", code as i32);
        let mut header = [0; HEADER];
        self.read_exact(&mut header)?;
        if header[..8] != MAGIC {
            return Err(failed(win::ERROR_INVALID_DATA)
                .with_advice("this process was not started by this version of this library"));
        }
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > limit {
            return Err(failed(win::ERROR_BAD_LENGTH)
                .with_advice(format!("it has {length} bytes, and {limit} are allowed")));
        }
        let mut message = vec![0; length];
        self.read_exact(&mut message)?;
        Ok(message)
    }

    fn read_exact(&self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let mut got = 0;
            let most = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
            // SAFETY: `buffer` is writable for its length; the pipe was opened for calls that wait.
            let done = unsafe {
                fs::ReadFile(
                    self.read.as_raw_handle(),
                    buffer.as_mut_ptr(),
                    most,
                    &mut got,
                    ptr::null_mut(),
                )
            };
            if done == 0 {
                let error = OsError::last("read", "the start message");
                return Err(if error.is_peer_gone() {
                    error.with_advice("the parent ended before it had sent it")
                } else {
                    error
                });
            }
            buffer = &mut buffer[got as usize..];
        }
        Ok(())
    }

    /// Lets the child live on when the parent's end closes: for the parent, of the end that it passed to the child and
    /// kept. Does nothing in another process.
    ///
    /// # Errors
    ///
    /// None on a system that works.
    pub fn release(&self) -> Result<()> {
        self.job.upgrade().map_or(Ok(()), |job| job.release())
    }

    /// Makes sure that the parent is still there; if it is not, this does not return. From then on, as before, the system
    /// ends this process when the parent's end closes.
    ///
    /// # Errors
    ///
    /// Invalid: the pipe has more to read than the start message. Unsupported: this process was started without
    /// [`Start::tied`](crate::start::Start::tied), so nothing would end it. What the system says otherwise.
    pub fn arm(self) -> Result<Armed> {
        let failed = |code: u32| OsError::new("arm", "the lifeline", code as i32);
        let mut waiting = 0;
        // SAFETY: nothing is read but the number of bytes.
        let done = unsafe {
            pipe::PeekNamedPipe(
                self.read.as_raw_handle(),
                ptr::null_mut(),
                0,
                ptr::null_mut(),
                &mut waiting,
                ptr::null_mut(),
            )
        };
        if self.is_parent_gone() || done == 0 && OsError::last("", "").is_peer_gone() {
            signal::end_this_process(signal::KILL);
        }
        if waiting > 0 {
            return Err(failed(win::ERROR_INVALID_DATA)
                .with_advice("read the start message first; nothing may follow it"));
        }
        let mut tied = 0;
        // SAFETY: a pseudo-handle, no particular job, and a writable answer.
        let asked = unsafe {
            windows_sys::Win32::System::JobObjects::IsProcessInJob(
                thread::GetCurrentProcess(),
                ptr::null_mut(),
                &mut tied,
            )
        };
        if asked == 0 {
            return Err(OsError::last("arm", "the lifeline"));
        }
        if tied == 0 {
            return Err(failed(win::ERROR_NOT_SUPPORTED)
                .with_advice("the parent must start this process by `Start::tied`"));
        }
        Ok(Armed { _read: self.read })
    }
}

impl Armed {
    /// Elsewhere: closes the copy that a fork has. Here there is none.
    pub fn close_in_fork(self) {}
}

/// An armed lifeline. Stays armed when dropped.
#[derive(Debug)]
pub struct Armed {
    _read: OwnedHandle,
}

/// The number of the lifeline whose reading end is `handle`; `None` if it is something else, or its message was read.
pub(crate) fn identity(handle: BorrowedHandle<'_>) -> Option<u64> {
    // SAFETY: of any handle it may be asked what it is.
    if unsafe { fs::GetFileType(handle.as_raw_handle()) } != fs::FILE_TYPE_PIPE {
        return None;
    }
    let mut header = [0_u8; HEADER];
    let mut got = 0;
    // SAFETY: `header` is writable for its length, and `got` is writable. Sockets are pipes to the call above, and
    // refused here.
    let done = unsafe {
        pipe::PeekNamedPipe(
            handle.as_raw_handle(),
            header.as_mut_ptr().cast(),
            HEADER as u32,
            &mut got,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if done == 0 || got as usize != HEADER || header[..8] != MAGIC {
        return None;
    }
    header[8..].first_chunk().map(|number| u64::from_le_bytes(*number))
}

/// A pipe: its writing end, which does not block, and its reading end, which does. Nobody inherits either.
fn pipe(name: u64) -> Result<(OwnedHandle, OwnedHandle)> {
    let path = format!(r"\\.\pipe\offspring.{}.{name:016x}", std::process::id());
    let path: Vec<u16> = path.encode_utf16().chain([0]).collect();
    // SAFETY: a terminated name; no security attributes are the default ones, and not inheritable.
    let write = unsafe {
        pipe::CreateNamedPipeW(
            path.as_ptr(),
            fs::PIPE_ACCESS_OUTBOUND | fs::FILE_FLAG_OVERLAPPED | fs::FILE_FLAG_FIRST_PIPE_INSTANCE,
            pipe::PIPE_TYPE_BYTE | pipe::PIPE_WAIT | pipe::PIPE_REJECT_REMOTE_CLIENTS,
            1,
            ROOM,
            0,
            0,
            ptr::null(),
        )
    };
    if write == win::INVALID_HANDLE_VALUE {
        return Err(OsError::last("make", "a lifeline pipe"));
    }
    // SAFETY: the call made this handle, and nobody else knows it.
    let write = unsafe { OwnedHandle::from_raw_handle(write) };
    // SAFETY: as above.
    let read = unsafe {
        fs::CreateFileW(
            path.as_ptr(),
            win::GENERIC_READ,
            0,
            ptr::null(),
            fs::OPEN_EXISTING,
            0,
            ptr::null_mut(),
        )
    };
    if read == win::INVALID_HANDLE_VALUE {
        return Err(OsError::last("open", "a lifeline pipe"));
    }
    // SAFETY: as above.
    Ok((write, unsafe { OwnedHandle::from_raw_handle(read) }))
}

/// An event that is reset, and stays set once it is.
fn event() -> Result<OwnedHandle> {
    // SAFETY: no security attributes and no name.
    let event = unsafe { thread::CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    if event.is_null() {
        return Err(OsError::last("make", "an event"));
    }
    // SAFETY: the call made this handle, and nobody else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}

fn random() -> Result<[u64; 2]> {
    let mut numbers = [0_u64; 2];
    // SAFETY: the array is writable for its size, and any bytes are numbers.
    let done = unsafe { RtlGenRandom(numbers.as_mut_ptr().cast(), size_of_val(&numbers) as u32) };
    if done { Ok(numbers) } else { Err(OsError::last("draw", "a random number")) }
}

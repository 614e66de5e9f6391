//! Shared memory of a family: one anonymous shared-memory object, mapped whole. macOS; type-checked, not run.
//!
//! The object gets a name for the moment of its making, which nobody else can guess in time or keep. Its length is set once:
//! macOS refuses to set it again, so that it needs no seal. There is no call that reserves memory for a range, and none that
//! gives a shared page back: committing looks at what is left and touches the pages, giving back makes them zero and keeps them
//! for the next one, so a family's memory is its high water.

use crate::error::{OsError, Result, errno};
use crate::headroom::{self, Room};
use memmap2::{MmapOptions, MmapRaw};
use offspring_core::prim::{AtomicU32, Ordering};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// The length of an arena if nobody asks for another, in bytes.
pub const DEFAULT_LEN: u64 = 64 << 30;

/// Kept for others, in bytes.
const RESERVE: u64 = 4 << 20;
/// Committed at a time, in bytes.
const STEP: u64 = 16 << 20;

/// An arena, mapped in this process.
#[derive(Debug)]
pub struct Arena {
    map: MmapRaw,
    file: OwnedFd,
    page: u64,
}

impl Arena {
    /// Creates an arena of `len` bytes. Nothing is committed.
    ///
    /// # Errors
    ///
    /// No descriptor or address space is left.
    pub fn create(len: u64) -> Result<Self> {
        let page = page_size();
        let len = len.min(1 << 46).next_multiple_of(page).max(page);
        let file = anonymous()?;
        // SAFETY: takes integers; nothing maps the object yet.
        if unsafe { libc::ftruncate(file.as_raw_fd(), len as libc::off_t) } != 0 {
            return Err(OsError::last("create", format!("an arena of {len} bytes")));
        }
        Ok(Self { map: map(&file, len)?, file, page })
    }

    /// Maps the arena that another process created.
    ///
    /// # Errors
    ///
    /// `fd` is not an arena (a shared-memory object of whole pages, open for writing), or no address space is left.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let refuse = |code, why: &'static str| {
            OsError::new("attach", format!("descriptor {} as an arena", fd.as_raw_fd()), code)
                .with_advice(why)
        };
        // SAFETY: all zero is a valid `stat`.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `status` is writable.
        if unsafe { libc::fstat(fd.as_raw_fd(), &mut status) } != 0 {
            return Err(refuse(errno(), "nothing is open there; was the right one passed on?"));
        }
        // A shared-memory object has no kind of file.
        if status.st_mode & libc::S_IFMT != 0 {
            return Err(refuse(libc::EINVAL, "it is no shared-memory object"));
        }
        let page = page_size();
        let len = u64::try_from(status.st_size).unwrap_or(0);
        if len == 0 || !len.is_multiple_of(page) {
            return Err(refuse(libc::EINVAL, "its length is not one that an arena has"));
        }
        Ok(Self { map: map(&fd, len)?, file: fd, page })
    }

    /// Where the mapping begins in this process.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        // SAFETY: without a wish of ours the kernel places no mapping at address zero.
        unsafe { NonNull::new_unchecked(self.map.as_mut_ptr()) }
    }

    /// Its length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // it is never empty
    pub fn len(&self) -> u64 {
        self.map.len() as u64
    }

    /// The object, to pass on to a child.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes in a page: what offsets and lengths are multiples of.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.page
    }

    /// Commits the pages of a range, as far as macOS can: looks whether there is memory for them, and touches them.
    ///
    /// The caller owns the range alone. What was touched on the way to an error stays for the next one, and is zero.
    ///
    /// # Errors
    ///
    /// Out of memory: less than the range and a reserve of 4 MiB is left. Invalid: not whole pages of the arena.
    pub fn commit(&self, offset: u64, len: u64) -> Result<()> {
        self.commit_within(offset, len, headroom::room)
    }

    /// As [`commit`](Self::commit), for a range in which others may have pages in use already: theirs stay as they are.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn commit_more(&self, offset: u64, len: u64) -> Result<()> {
        self.commit(offset, len)
    }

    fn commit_within(
        &self,
        offset: u64,
        len: u64,
        mut room: impl FnMut() -> Option<Room>,
    ) -> Result<()> {
        self.check("commit", offset, len)?;
        for done in (0..len).step_by(STEP as usize) {
            let wanted = len - done + RESERVE;
            if let Some(room) = room().filter(|room| room.bytes < wanted) {
                let object = format!("{len} bytes of shared memory");
                return Err(OsError::new("commit", object, libc::ENOMEM).with_advice(format!(
                    "{} leaves {} bytes after the first {done}, and {RESERVE} are kept in reserve; \
                     free some, or use less",
                    room.set_by, room.bytes
                )));
            }
            for at in (done..len.min(done + STEP)).step_by(self.page as usize) {
                // SAFETY: inside the mapping, aligned to a page, and used as atomics by everybody who has it already; this
                // changes nothing of what it holds.
                let word =
                    unsafe { self.base().add((offset + at) as usize).cast::<AtomicU32>().as_ref() };
                // ORDER: Relaxed. For the page's sake.
                word.fetch_or(0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Makes a range that nobody needs any more zero; its pages stay, for the next one who commits them.
    ///
    /// # Errors
    ///
    /// Invalid: not whole pages of the arena.
    pub fn release(&self, offset: u64, len: u64) -> Result<()> {
        self.check("release", offset, len)?;
        for at in (offset..offset + len).step_by(self.page as usize) {
            // One that nobody touched is zero.
            if self.pages_in_use(at, self.page)? != 0 {
                // SAFETY: inside the mapping; the range belongs to the caller, who says that nobody needs it.
                unsafe { self.base().add(at as usize).write_bytes(0, self.page as usize) };
            }
        }
        Ok(())
    }

    /// How many bytes of the whole arena were touched. Never falls.
    ///
    /// # Errors
    ///
    /// None on a system that works.
    pub fn resident_bytes(&self) -> Result<u64> {
        let mut pages = 0;
        for at in (0..self.len()).step_by(1 << 30) {
            pages += self.pages_in_use(at, (self.len() - at).min(1 << 30))?;
        }
        Ok(pages * self.page)
    }

    fn pages_in_use(&self, offset: u64, len: u64) -> Result<u64> {
        /// `MINCORE_INCORE`, `MINCORE_PAGED_OUT`.
        const IN_USE: libc::c_char = 0x1 | 0x20;
        let mut pages: Vec<libc::c_char> = vec![0; len.div_ceil(self.page) as usize];
        // SAFETY: the range lies in our mapping; there is a byte for each of its pages.
        let done = unsafe {
            let from = self.map.as_ptr().add(offset as usize);
            libc::mincore(from.cast(), len as usize, pages.as_mut_ptr())
        };
        if done != 0 {
            return Err(OsError::last("look at", "the pages of the arena"));
        }
        Ok(pages.iter().filter(|page| **page & IN_USE != 0).count() as u64)
    }

    fn check(&self, op: &'static str, offset: u64, len: u64) -> Result<()> {
        let whole = offset.is_multiple_of(self.page) && len.is_multiple_of(self.page);
        if whole && offset.checked_add(len).is_some_and(|end| end <= self.len()) {
            return Ok(());
        }
        let object = format!("{len} bytes at {offset} of an arena of {}", self.len());
        Err(OsError::new(op, object, libc::EINVAL)
            .with_advice(format!("a range of whole pages of {} bytes is needed", self.page)))
    }
}

/// A shared-memory object without a name, which no program executed here gets.
fn anonymous() -> Result<OwnedFd> {
    const TRIES: u32 = 16;
    let failed = || OsError::last("create", "a shared-memory object");
    for _ in 0..TRIES {
        // At most 31 bytes: PSHMNAMLEN.
        let mut number = 0_u64;
        // SAFETY: eight writable bytes.
        unsafe { libc::arc4random_buf((&raw mut number).cast(), 8) };
        let Ok(name) = CString::new(format!("/offspring.{number:016x}")) else { break };
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
        // SAFETY: a terminated name, and the rights that the flag O_CREAT asks for.
        let fd = unsafe { libc::shm_open(name.as_ptr(), flags, 0o600 as libc::c_uint) };
        if fd < 0 {
            if errno() == libc::EEXIST {
                continue;
            }
            return Err(failed());
        }
        // SAFETY: the call made this descriptor (close-on-exec), and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a terminated name, which was just made.
        return if unsafe { libc::shm_unlink(name.as_ptr()) } == 0 {
            Ok(fd)
        } else {
            Err(failed())
        };
    }
    Err(OsError::new("create", "a shared-memory object", libc::EEXIST))
}

fn map(file: &OwnedFd, len: u64) -> Result<MmapRaw> {
    let failed = |code| OsError::new("map", format!("an arena of {len} bytes"), code);
    let size = usize::try_from(len).map_err(|_| failed(libc::ENOMEM))?;
    MmapOptions::new()
        .len(size)
        .map_raw(file)
        .map_err(|error| failed(error.raw_os_error().unwrap_or(libc::ENOMEM)))
}

pub(crate) fn page_size() -> u64 {
    // SAFETY: `sysconf` takes an integer.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(16384)
}

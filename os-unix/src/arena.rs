//! One anonymous, sealed, sparse file of shared pages, mapped whole; ranges are committed and given back.
//!
//! The file has no name and vanishes with the last process that has it. Sealed against shrinking (a shrunk file
//! under a mapping is SIGBUS) and growing. Its length is address space only: pages cost memory from when they
//! are committed, and committing looks for memory first, so that exhaustion is an error.

use crate::credit::{self, Credit};
use crate::error::{OsError, Result, errno};
use crate::headroom::{Headroom, Room};
use memmap2::{Advice, MmapOptions, MmapRaw};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// The length to ask for: 16 TiB, an eighth of the 47 bits of address space that a process usually has; room for some ten
/// thousand queues that could each take messages of 256 MiB.
pub const DEFAULT_LEN: u64 = 16 << 40;

/// Below this length `create` gives up rather than take less.
const LEAST_LEN: u64 = 4 << 30;

/// Memory is looked for once for each so many bytes.
const STEP: u64 = 16 << 20;

/// What a commit leaves to others: page tables, the kernel's own batches of 64 pages a processor, small change.
const RESERVE: u64 = 4 << 20;

static CREDIT: Credit = Credit::new();

/// What is left, for a commit of `len` bytes; `None` where it need not be known, or cannot be.
fn look(headroom: &mut Option<Headroom>, len: u64, wanted: u64) -> Option<Room> {
    let now = credit::now();
    if CREDIT.draw(len, now) {
        return None;
    }
    let room = headroom.get_or_insert_with(Headroom::of_self).room(wanted)?;
    CREDIT.found(room.bytes, now);
    Some(room)
}

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Since Linux 6.3: no mapping of the file can ever be executable, and no warning is logged.
const MFD_NOEXEC_SEAL: libc::c_uint = 8;

/// The file and its mapping in this process.
#[derive(Debug)]
pub struct Arena {
    map: MmapRaw,
    file: OwnedFd,
    page: u64,
}

/// What becomes of the pages committed before a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    Release,
    Keep,
}

impl Arena {
    /// Creates an arena of `len` bytes, or, where address space is limited (`ulimit -v`, `ulimit -f`), of a half,
    /// a quarter and so on of it, but never less than the lesser of `len` and 4 GiB. Nothing is committed.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or not even 4 GiB of address space.
    pub fn create(len: u64) -> Result<Self> {
        let file = memfd()?;
        let page = page_size();
        let round = |len: u64| len.div_ceil(page).saturating_mul(page).max(page);
        let least = round(len.min(LEAST_LEN));
        let mut len = round(len.min(1 << 62));
        // Beyond this limit `ftruncate` raises SIGXFSZ.
        let most = file_size_limit();
        loop {
            let failure = if len > most {
                OsError::new("create", format!("an arena of {len} bytes"), libc::EFBIG)
                    .with_advice("raise the limit on file sizes (ulimit -f)")
            } else {
                match resize(&file, len).and_then(|()| map(&file, len)) {
                    Ok(map) => {
                        seal(&file)?;
                        return Ok(Self { map, file, page });
                    }
                    Err(error) => error,
                }
            };
            if len / 2 < least {
                return Err(failure);
            }
            len = round(len / 2);
        }
    }

    /// Maps the arena that another process created.
    ///
    /// # Errors
    ///
    /// `fd` is not an arena (an anonymous file that can neither shrink nor grow, open for writing), or the
    /// address space of this process is limited to less than its length.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let refuse = |code, why: &'static str| {
            OsError::new("attach", format!("descriptor {} as an arena", fd.as_raw_fd()), code)
                .with_advice(why)
        };
        // SAFETY: F_GET_SEALS and F_GETFL take no argument and touch no memory.
        let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 {
            return Err(refuse(errno(), "it is no anonymous file; was the right one passed on?"));
        }
        if seals & SEALS != SEALS {
            return Err(refuse(libc::EINVAL, "it could shrink or grow, so it is no arena"));
        }
        // SAFETY: as above.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        if flags & libc::O_ACCMODE != libc::O_RDWR {
            return Err(refuse(libc::EACCES, "it is not open for reading and writing"));
        }
        let page = page_size();
        let len = u64::try_from(stat(&fd)?.st_size).unwrap_or(0);
        if len == 0 || !len.is_multiple_of(page) {
            return Err(refuse(libc::EINVAL, "its length is not one that an arena has"));
        }
        let map = map(&fd, len)?;
        Ok(Self { map, file: fd, page })
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

    /// The file, to pass on to a child.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes in a page: what offsets and lengths are multiples of.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.page
    }

    /// Commits the pages of a range: writing to them will need no further memory.
    ///
    /// The caller owns the range alone, and nothing in it is needed yet: after an error none of it is
    /// committed. Costs 50 µs for looking, and about 0.1 ms a MiB.
    ///
    /// # Errors
    ///
    /// Out of memory, before the kernel is: less than the range and a reserve of 4 MiB is left on the machine or
    /// in a control group above this process. Invalid: not whole pages of the arena.
    pub fn commit(&self, offset: u64, len: u64) -> Result<()> {
        let mut headroom = None;
        self.commit_within(offset, len, OnFailure::Release, |wanted| {
            look(&mut headroom, len, wanted)
        })
    }

    /// As [`commit`](Self::commit), for a range in which others may have pages in use already: what was committed stays on
    /// failure, since giving it back would take theirs.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn commit_more(&self, offset: u64, len: u64) -> Result<()> {
        let mut headroom = None;
        self.commit_within(offset, len, OnFailure::Keep, |wanted| look(&mut headroom, len, wanted))
    }

    /// As [`commit`](Self::commit), asking `room` what is left.
    fn commit_within(
        &self,
        offset: u64,
        len: u64,
        on_failure: OnFailure,
        mut room: impl FnMut(u64) -> Option<Room>,
    ) -> Result<()> {
        self.check("commit", offset, len)?;
        let (mut done, mut most) = (0, STEP);
        while done < len {
            let step = most.min(len - done);
            // Asked for the rest at once: what cannot succeed fails before it takes memory from others.
            let wanted = len - done + RESERVE;
            let failure = match room(wanted) {
                Some(room) if room.bytes < wanted => {
                    OsError::new("commit", format!("{len} bytes of shared memory"), libc::ENOMEM)
                        .with_advice(format!(
                            "{} leaves {} bytes after the first {done}, and {RESERVE} are kept in \
                             reserve; free some, use less, or raise the limit",
                            room.set_by, room.bytes
                        ))
                }
                _ => match fallocate(&self.file, 0, offset + done, step) {
                    Ok(()) => {
                        done += step;
                        continue;
                    }
                    // A signal undoes the step; a smaller one gets through between two signals.
                    Err(libc::EINTR) => {
                        most = (step / 2).next_multiple_of(self.page).max(self.page);
                        continue;
                    }
                    Err(code) => {
                        OsError::new("commit", format!("{len} bytes of shared memory"), code)
                    }
                },
            };
            if done > 0 && on_failure == OnFailure::Release {
                self.release(offset, done)?;
            }
            return Err(failure);
        }
        Ok(())
    }

    /// Gives the pages of a range back to the system; whoever reads them afterwards reads zeros.
    ///
    /// # Errors
    ///
    /// Invalid: not whole pages of the arena.
    pub fn release(&self, offset: u64, len: u64) -> Result<()> {
        self.check("release", offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        loop {
            match fallocate(&self.file, mode, offset, len) {
                Ok(()) => return Ok(()),
                Err(libc::EINTR) => {}
                Err(code) => {
                    let object = format!("{len} bytes of shared memory");
                    return Err(OsError::new("release", object, code));
                }
            }
        }
    }

    /// How many bytes of the whole arena are committed, or were touched.
    ///
    /// # Errors
    ///
    /// None on a system that works.
    pub fn resident_bytes(&self) -> Result<u64> {
        // In units of 512 bytes whatever the file system: stat(2).
        Ok(u64::try_from(stat(&self.file)?.st_blocks).unwrap_or(0) * 512)
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

fn memfd() -> Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Kernels that do not know the last flag refuse it.
    for flags in [flags | MFD_NOEXEC_SEAL, flags] {
        // SAFETY: the name is a terminated string.
        let fd = unsafe { libc::memfd_create(c"offspring".as_ptr(), flags) };
        if fd >= 0 {
            // SAFETY: the call made this descriptor, and nobody else knows it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        if errno() != libc::EINVAL {
            break;
        }
    }
    Err(OsError::last("create", "an anonymous file (memfd)"))
}

fn resize(file: &OwnedFd, len: u64) -> Result<()> {
    let size = libc::off64_t::try_from(len).unwrap_or(libc::off64_t::MAX);
    // SAFETY: takes integers only; nothing maps the file yet that could be cut off.
    match unsafe { libc::ftruncate64(file.as_raw_fd(), size) } {
        0 => Ok(()),
        _ => Err(OsError::last("create", format!("an arena of {len} bytes"))),
    }
}

fn map(file: &OwnedFd, len: u64) -> Result<MmapRaw> {
    let failed = |code| {
        OsError::new("map", format!("an arena of {len} bytes"), code)
            .with_advice("raise the limit on address space (ulimit -v)")
    };
    let size = usize::try_from(len).map_err(|_| failed(libc::ENOMEM))?;
    let map = MmapOptions::new()
        .len(size)
        .no_reserve_swap()
        .map_raw(file)
        .map_err(|error| failed(error.raw_os_error().unwrap_or(libc::ENOMEM)))?;
    // A core dump of all that the family shares helps nobody; where that cannot be said, it is only large.
    let _ = map.advise(Advice::DontDump);
    Ok(map)
}

fn seal(file: &OwnedFd) -> Result<()> {
    // SAFETY: F_ADD_SEALS takes an integer.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } {
        0 => Ok(()),
        _ => Err(OsError::last("seal", "the arena")),
    }
}

fn stat(file: &OwnedFd) -> Result<libc::stat64> {
    // SAFETY: all zero is a valid `stat64`.
    let mut status: libc::stat64 = unsafe { std::mem::zeroed() };
    // SAFETY: `status` is writable.
    match unsafe { libc::fstat64(file.as_raw_fd(), &mut status) } {
        0 => Ok(status),
        _ => Err(OsError::last("look at", "the arena")),
    }
}

fn fallocate(file: &OwnedFd, mode: i32, offset: u64, len: u64) -> std::result::Result<(), i32> {
    // Both fit: the arena's length does, which the file's has to.
    let (offset, len) = (offset as libc::off64_t, len as libc::off64_t);
    // SAFETY: takes integers only; a punched range reads zero and stays mapped.
    match unsafe { libc::fallocate64(file.as_raw_fd(), mode, offset, len) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

fn page_size() -> u64 {
    // SAFETY: `sysconf` takes an integer.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

fn file_size_limit() -> u64 {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    match unsafe { libc::getrlimit64(libc::RLIMIT_FSIZE, &mut limit) } {
        0 => limit.rlim_cur,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 65536; // a multiple of every page size

    fn small() -> Arena {
        Arena::create(64 << 20).unwrap()
    }

    #[test]
    fn default_arena_is_sparse_and_reads_zero() {
        let arena = Arena::create(DEFAULT_LEN).unwrap();
        assert!(arena.len() >= LEAST_LEN && arena.len() <= DEFAULT_LEN);
        assert_eq!(arena.resident_bytes().unwrap(), 0);
        let last = arena.len() - PAGE;
        arena.commit(last, PAGE).unwrap();
        assert_eq!(arena.resident_bytes().unwrap(), PAGE);
        // SAFETY: inside the mapping; this test alone has the arena.
        assert_eq!(unsafe { arena.base().add(last as usize).read_volatile() }, 0);
    }

    #[test]
    fn two_mappings_of_one_arena_share_pages() {
        let arena = small();
        arena.commit(PAGE, PAGE).unwrap();
        let other = Arena::from_fd(arena.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(other.len(), arena.len());
        assert_ne!(other.base(), arena.base());
        // SAFETY: both inside their mapping, one after the other by the same thread.
        unsafe {
            arena.base().add(PAGE as usize).write_volatile(7);
            assert_eq!(other.base().add(PAGE as usize).read_volatile(), 7);
        }
    }

    #[test]
    fn arena_cannot_be_resized() {
        let arena = small();
        for len in [0, arena.len() / 2, arena.len() * 2] {
            // SAFETY: takes integers; the seals keep it from doing anything.
            let done = unsafe { libc::ftruncate64(arena.fd().as_raw_fd(), len as i64) };
            assert_eq!((done, errno()), (-1, libc::EPERM));
        }
    }

    #[test]
    fn other_descriptors_are_refused() {
        let refused = |fd: OwnedFd| Arena::from_fd(fd).unwrap_err();
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(refused(null.into()).is_invalid());
        let unsealed = memfd().unwrap();
        resize(&unsealed, PAGE).unwrap();
        assert!(refused(unsealed).to_string().contains("could shrink or grow"));
        let empty = memfd().unwrap();
        seal(&empty).unwrap();
        assert!(refused(empty).is_invalid());
        let (pipe, _other) = std::io::pipe().unwrap();
        assert!(refused(pipe.into()).is_invalid());
    }

    #[test]
    fn released_range_reads_zero_and_costs_nothing() {
        let arena = small();
        arena.commit(0, 4 * PAGE).unwrap();
        // SAFETY: inside the mapping; this test alone has the arena.
        unsafe { arena.base().add(PAGE as usize).write_volatile(9) };
        arena.release(PAGE, PAGE).unwrap();
        assert_eq!(arena.resident_bytes().unwrap(), 3 * PAGE);
        // SAFETY: as above.
        assert_eq!(unsafe { arena.base().add(PAGE as usize).read_volatile() }, 0);
    }

    #[test]
    fn ranges_outside_or_across_pages_are_refused() {
        let arena = small();
        for (offset, len) in [(1, PAGE), (0, 1), (arena.len(), PAGE), (u64::MAX - PAGE + 1, PAGE)] {
            assert!(arena.commit(offset, len).unwrap_err().is_invalid(), "{offset} {len}");
            assert!(arena.release(offset, len).unwrap_err().is_invalid(), "{offset} {len}");
        }
        arena.commit(arena.len(), 0).unwrap();
    }

    #[test]
    fn commit_beyond_what_is_left_takes_nothing() {
        let arena = small();
        let room = |bytes| Some(Room { bytes, set_by: "the test".to_owned() });
        let len = 3 * STEP;
        let error = arena.commit_within(0, len, OnFailure::Release, |_| room(len)).unwrap_err();
        assert!(error.is_out_of_memory());
        assert!(error.to_string().contains(&len.to_string()), "{error}");
        assert!(error.to_string().contains("the test leaves"), "{error}");
        assert_eq!(arena.resident_bytes().unwrap(), 0);
        arena.commit_within(0, len, OnFailure::Release, |_| room(len + RESERVE)).unwrap();
        assert_eq!(arena.resident_bytes().unwrap(), len);
    }

    #[test]
    fn memory_that_runs_out_on_the_way_is_given_back() {
        let arena = small();
        arena.commit(0, PAGE).unwrap();
        let mut asked = 0;
        let error = arena
            .commit_within(PAGE, 3 * STEP, OnFailure::Release, |wanted| {
                asked += 1;
                let bytes = if asked < 3 { wanted } else { wanted - 1 };
                Some(Room { bytes, set_by: "the test".to_owned() })
            })
            .unwrap_err();
        assert_eq!(asked, 3);
        assert!(error.to_string().contains("after the first 33554432"), "{error}");
        assert_eq!(arena.resident_bytes().unwrap(), PAGE);
    }

    #[test]
    fn commit_of_more_than_the_machine_has_is_an_error() {
        let arena = Arena::create(DEFAULT_LEN).unwrap();
        let error = arena.commit(0, arena.len()).unwrap_err();
        assert!(error.is_out_of_memory(), "{error}");
        assert_eq!(arena.resident_bytes().unwrap(), 0);
    }
}

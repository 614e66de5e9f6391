//! One anonymous section of shared pages, reserved and mapped whole; ranges are committed and given back.
//!
//! The section has no name and vanishes with the last process that has it. It is backed by the paging file and reserved
//! (`SEC_RESERVE`): its length is address space, and pages cost memory from when they are committed, by any process for all.
//! Windows refuses a commit that it could not honour, so exhaustion is an error. The crate `memmap2` maps files only, and a
//! section without a file is what is needed here, so the mapping is made by hand.
//!
//! Committed pages of a section cannot be given back one by one (`VirtualFree` refuses a mapped view). So `release` makes
//! them zero, and the next commit of that range finds them committed: a family's memory is its high water.
//!
//! A reserved section costs the kernel eight bytes for each page at its making, so the usual length is far below that on Unix.

use crate::error::{OsError, Result, last_error};
use crate::headroom::{self, Room};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use windows_sys::Win32::Foundation::{
    ERROR_COMMITMENT_LIMIT, ERROR_INVALID_DATA, ERROR_INVALID_PARAMETER, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEMORY_BASIC_INFORMATION,
    MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, SEC_RESERVE, UnmapViewOfFile,
    VirtualAlloc, VirtualQuery,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

/// The length to ask for: 64 GiB, for which the kernel keeps 128 MiB of page tables that it can page out.
pub const DEFAULT_LEN: u64 = 64 << 30;

/// Below this length `create` gives up rather than take less.
const LEAST_LEN: u64 = 1 << 30;

/// What mappings begin at multiples of.
const UNIT: u64 = 64 << 10;

/// Memory is looked for once for each so many bytes.
const STEP: u64 = 16 << 20;

/// What a commit leaves to others.
const RESERVE: u64 = 4 << 20;

/// The section and its mapping in this process.
#[derive(Debug)]
pub struct Arena {
    section: OwnedHandle,
    base: NonNull<u8>,
    len: u64,
}

// SAFETY: the mapping belongs to the process, not to a thread; what lies in it is accessed through raw pointers and atomics
// by whoever has a reason of his own.
unsafe impl Send for Arena {}
// SAFETY: as above; the methods only make system calls that any thread may make at any time.
unsafe impl Sync for Arena {}

/// Pages that lie together and are all committed, or all not.
struct Extent {
    end: u64,
    committed: bool,
}

impl Arena {
    /// Creates an arena of `len` bytes, or, where the kernel's memory or address space does not allow that, of a half, a
    /// quarter and so on of it, but never less than the lesser of `len` and 1 GiB. Nothing is committed.
    ///
    /// # Errors
    ///
    /// Out of memory: not even the least length can be had.
    pub fn create(len: u64) -> Result<Self> {
        let round = |len: u64| len.min(1 << 46).next_multiple_of(UNIT).max(UNIT);
        let least = round(len.min(LEAST_LEN));
        let mut len = round(len);
        loop {
            let failure = match section(len).and_then(|section| Self::map(section, len)) {
                Ok(arena) => return Ok(arena),
                Err(error) => error,
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
    /// `section` is not an arena, or does not allow writing, or there is no address space for it.
    pub fn from_handle(section: OwnedHandle) -> Result<Self> {
        Self::map(section, 0)
    }

    /// Maps `section` whole; `expected` is its length, or 0 if only the system knows.
    fn map(section: OwnedHandle, expected: u64) -> Result<Self> {
        let object = || match expected {
            0 => "the arena that this process was handed".to_owned(),
            len => format!("an arena of {len} bytes"),
        };
        // SAFETY: maps the whole section at an address that the system chooses; the view is unmapped by `Drop` alone.
        let view = unsafe {
            MapViewOfFile(section.as_raw_handle(), FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, 0)
        };
        let Some(base) = NonNull::new(view.Value.cast::<u8>()) else {
            return Err(OsError::last("map", object()));
        };
        let mut arena = Self { section, base, len: u64::MAX >> 1 };
        // The view's length: up to where another mapping begins, or none.
        let mut end = 0;
        while let Some(extent) = arena.extent(end) {
            end = extent.end;
        }
        arena.len = end;
        if end == 0 || expected > end || !end.is_multiple_of(arena.page()) {
            return Err(OsError::new("map", object(), ERROR_INVALID_DATA as i32)
                .with_advice("it is no arena; was the right handle passed on?"));
        }
        Ok(arena)
    }

    /// Where the mapping begins in this process.
    #[inline]
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its length in bytes.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // it is never empty
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The section, to pass on to a child.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        self.section.as_handle()
    }

    /// Bytes in a page: what offsets and lengths are multiples of.
    #[must_use]
    pub fn page(&self) -> u64 {
        page_size()
    }

    /// Commits the pages of a range, for all processes: writing to them will need no further memory. Pages that were
    /// committed and [released](Self::release) before are used again, and read zero.
    ///
    /// The caller owns the range alone, and nothing in it is needed yet.
    ///
    /// # Errors
    ///
    /// Out of memory: less than the range and a reserve of 4 MiB may still be committed; what was committed on the way stays for
    /// the next one. Invalid: not whole pages of the arena.
    pub fn commit(&self, offset: u64, len: u64) -> Result<()> {
        self.commit_within(offset, len, headroom::room)
    }

    fn commit_within(
        &self,
        offset: u64,
        len: u64,
        mut room: impl FnMut() -> Option<Room>,
    ) -> Result<()> {
        self.check("commit", offset, len)?;
        let mut done = 0;
        while done < len {
            // What is committed already needs no room.
            let extent = self.extent(offset + done);
            let end = extent.as_ref().map_or(offset + len, |extent| extent.end.min(offset + len));
            if extent.is_some_and(|extent| extent.committed) {
                done = end - offset;
                continue;
            }
            let step = STEP.min(end - offset - done);
            let wanted = len - done + RESERVE;
            if let Some(room) = room()
                && room.bytes < wanted
            {
                let code = ERROR_COMMITMENT_LIMIT as i32;
                return Err(OsError::new("commit", format!("{len} bytes of shared memory"), code)
                    .with_advice(format!(
                        "{} leaves {} bytes after the first {done}, and {RESERVE} are kept in \
                         reserve; free some, use less, or raise the limit",
                        room.set_by, room.bytes
                    )));
            }
            let at = self.pointer(offset + done).cast();
            // SAFETY: the range lies in our own view; committing what is committed changes nothing.
            if unsafe { VirtualAlloc(at, step as usize, MEM_COMMIT, PAGE_READWRITE) }.is_null() {
                return Err(OsError::last("commit", format!("{len} bytes of shared memory")));
            }
            done += step;
        }
        Ok(())
    }

    /// As [`commit`](Self::commit), for a range in which others may have pages in use already: theirs stay as they are.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub fn commit_more(&self, offset: u64, len: u64) -> Result<()> {
        self.commit(offset, len)
    }

    /// Makes a range that nobody needs any more zero; its pages stay committed, for the next one who commits them.
    ///
    /// # Errors
    ///
    /// Invalid: not whole pages of the arena.
    pub fn release(&self, offset: u64, len: u64) -> Result<()> {
        self.check("release", offset, len)?;
        let mut at = offset;
        while at < offset + len {
            let Some(extent) = self.extent(at) else { break };
            let end = extent.end.min(offset + len);
            if extent.committed {
                // SAFETY: the range is committed, lies in our view, and belongs to the caller, who says that nobody needs it.
                unsafe { self.pointer(at).write_bytes(0, (end - at) as usize) };
            }
            at = end;
        }
        Ok(())
    }

    /// How many bytes of the whole arena are committed. Never falls.
    ///
    /// # Errors
    ///
    /// None.
    pub fn resident_bytes(&self) -> Result<u64> {
        let (mut at, mut bytes) = (0, 0);
        while let Some(extent) = self.extent(at) {
            if extent.committed {
                bytes += extent.end - at;
            }
            at = extent.end;
        }
        Ok(bytes)
    }

    /// The offset of an address in this process's mapping.
    #[inline]
    #[must_use]
    pub fn offset_of(&self, address: *const u8) -> Option<u64> {
        let offset = address.addr().checked_sub(self.base.as_ptr().addr())? as u64;
        (offset < self.len).then_some(offset)
    }

    fn pointer(&self, offset: u64) -> *mut u8 {
        self.base.as_ptr().wrapping_add(offset as usize)
    }

    /// The pages from `offset` on that are in the same state; `None` at the end of the view.
    fn extent(&self, offset: u64) -> Option<Extent> {
        if offset >= self.len {
            return None;
        }
        // SAFETY: all zero is a valid value.
        let mut info: MEMORY_BASIC_INFORMATION = unsafe { std::mem::zeroed() };
        let at = self.pointer(offset);
        // SAFETY: `info` is writable for the length given; the address is only looked up.
        let told = unsafe {
            VirtualQuery(at.cast_const().cast(), &mut info, size_of::<MEMORY_BASIC_INFORMATION>())
        };
        if told == 0 || info.AllocationBase != self.base.as_ptr().cast() {
            return None;
        }
        let end = (info.BaseAddress.addr() + info.RegionSize - self.base.as_ptr().addr()) as u64;
        (end > offset).then_some(Extent { end, committed: info.State & MEM_COMMIT != 0 })
    }

    fn check(&self, op: &'static str, offset: u64, len: u64) -> Result<()> {
        let whole = offset.is_multiple_of(self.page()) && len.is_multiple_of(self.page());
        if whole && offset.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let object = format!("{len} bytes at {offset} of an arena of {}", self.len);
        Err(OsError::new(op, object, ERROR_INVALID_PARAMETER as i32)
            .with_advice(format!("a range of whole pages of {} bytes is needed", self.page())))
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let view = MEMORY_MAPPED_VIEW_ADDRESS { Value: self.base.as_ptr().cast() };
        // SAFETY: our own view, which nobody can get at without `self`.
        unsafe { UnmapViewOfFile(view) };
    }
}

fn section(len: u64) -> Result<OwnedHandle> {
    // SAFETY: no file, no name, no security attributes: an anonymous section that is not inherited.
    let section = unsafe {
        CreateFileMappingW(
            INVALID_HANDLE_VALUE,
            ptr::null(),
            PAGE_READWRITE | SEC_RESERVE,
            (len >> 32) as u32,
            len as u32,
            ptr::null(),
        )
    };
    if section.is_null() {
        let code = last_error();
        return Err(OsError::new("create", format!("an arena of {len} bytes"), code));
    }
    // SAFETY: the call made this handle, and nobody else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(section) })
}

fn page_size() -> u64 {
    static PAGE: OnceLock<u64> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: all zero is a valid value.
        let mut info: SYSTEM_INFO = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is writable.
        unsafe { GetSystemInfo(&mut info) };
        u64::from(info.dwPageSize).max(4096)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 65536;

    fn small() -> Arena {
        Arena::create(64 << 20).unwrap()
    }

    fn read(arena: &Arena, at: u64) -> u8 {
        assert!(at < arena.len());
        // SAFETY: inside the mapping and committed, says the test, which alone has the arena.
        unsafe { arena.pointer(at).read_volatile() }
    }

    fn write(arena: &Arena, at: u64, value: u8) {
        assert!(at < arena.len());
        // SAFETY: as above.
        unsafe { arena.pointer(at).write_volatile(value) };
    }

    #[test]
    fn default_arena_is_sparse_and_reads_zero() {
        let arena = Arena::create(DEFAULT_LEN).unwrap();
        assert!(arena.len() >= LEAST_LEN && arena.len() <= DEFAULT_LEN);
        assert_eq!(arena.resident_bytes().unwrap(), 0);
        let last = arena.len() - PAGE;
        arena.commit(last, PAGE).unwrap();
        assert_eq!(arena.resident_bytes().unwrap(), PAGE);
        assert_eq!(read(&arena, last), 0);
    }

    #[test]
    fn pages_committed_through_one_mapping_are_there_in_the_other() {
        let arena = small();
        let other = Arena::from_handle(arena.handle().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(other.len(), arena.len());
        assert_ne!(other.base(), arena.base());
        arena.commit(3 * PAGE, PAGE).unwrap();
        write(&arena, 3 * PAGE, 7);
        assert_eq!(read(&other, 3 * PAGE), 7);
        other.commit(PAGE, PAGE).unwrap();
        write(&other, PAGE, 9);
        assert_eq!(read(&arena, PAGE), 9);
    }

    #[test]
    fn released_pages_read_zero_and_are_committed_again() {
        let arena = small();
        arena.commit(PAGE, 2 * PAGE).unwrap();
        for at in [PAGE, 3 * PAGE - 1] {
            write(&arena, at, 1);
        }
        // A range of which only the middle was ever committed.
        arena.release(0, 8 * PAGE).unwrap();
        arena.commit(0, 4 * PAGE).unwrap();
        assert!((0..4 * PAGE).step_by(511).all(|at| read(&arena, at) == 0));
        assert_eq!(arena.resident_bytes().unwrap(), 4 * PAGE);
    }

    #[test]
    fn commit_more_keeps_what_is_there() {
        let arena = small();
        arena.commit(PAGE, PAGE).unwrap();
        write(&arena, PAGE, 5);
        arena.commit_more(0, 4 * PAGE).unwrap();
        assert_eq!(read(&arena, PAGE), 5);
    }

    #[test]
    fn commit_asks_for_room_and_says_who_refuses() {
        let arena = small();
        let none = || Some(Room { bytes: 100, set_by: "the test".to_owned() });
        let error = arena.commit_within(0, PAGE, none).unwrap_err();
        assert!(error.is_out_of_memory(), "{error}");
        assert!(error.to_string().contains("the test leaves 100 bytes"), "{error}");
        assert_eq!(arena.resident_bytes().unwrap(), 0);
        // What is committed needs no room.
        arena.commit(0, PAGE).unwrap();
        arena.commit_within(0, PAGE, none).unwrap();
    }

    #[test]
    fn ranges_outside_or_of_no_whole_pages_are_refused() {
        let arena = small();
        let len = arena.len();
        for (offset, bytes) in [(1, PAGE), (0, 1), (len, PAGE), (!4095, 8192)] {
            assert!(arena.commit(offset, bytes).unwrap_err().is_invalid());
            assert!(arena.release(offset, bytes).unwrap_err().is_invalid());
        }
    }

    #[test]
    fn what_is_no_section_is_refused() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(Arena::from_handle(OwnedHandle::from(reader)).is_err());
    }
}

//! What lies where in the arena: the family's head, its three tables, and the head of every region.
//!
//! ```text
//! 0         FamilyHead      magic, version, sizes, family id, barrier mode, epoch, family lock, high-water marks
//! 4 KiB     process table   4096 x 64 B
//! 512 KiB   lane table      8192 x 128 B
//! 1.5 MiB   parking         256 x 1 KiB, where the system has no futex
//! 2 MiB     region table    65536 x 64 B
//! 8 MiB     regions         whole pages; each begins with a RegionHead
//! ```
//!
//! All words are atomics, so that a peer's nonsense can at worst be a wrong number: every number read from
//! here is checked where it is used.

use crate::family::word::{LaneWord, ProcessWord, RegionWord};
use crate::prim::{AtomicU32, AtomicU64, UnsafeCell};
use crate::wait::EventCount;

/// The first word of an arena: `offspri` and a layout letter.
pub const FAMILY_MAGIC: u64 = u64::from_le_bytes(*b"offspri\x01");
/// Raised with every change of the layout or of a protocol over it.
pub const FAMILY_VERSION: u32 = 2;
/// The first word of a region.
pub const REGION_MAGIC: u32 = u32::from_le_bytes(*b"regn");

/// Where the process table begins, in bytes.
pub const PROCESSES_AT: usize = 4 << 10;
/// Where the lane table begins, in bytes.
pub const LANES_AT: usize = 512 << 10;
/// Where the buckets of [`parking`](crate::parking) begin, in bytes.
pub const PARKING_AT: usize = LANES_AT + MOST_LANES * 128;
/// Where the region table begins, in bytes.
pub const REGIONS_AT: usize = 2 << 20;
/// Where the regions themselves begin, in bytes.
pub const HEAP_AT: u64 = 8 << 20;
/// Processes that can be members of a family at once.
pub const MOST_PROCESSES: usize = 4096;
/// Threads that can use the arena at once, over all processes.
pub const MOST_LANES: usize = 8192;
/// Regions that can exist at once.
pub const MOST_REGIONS: usize = 65536;
/// The unit in which regions are placed; at least the largest page size of the platforms we know (bytes).
pub const GRANULE: u64 = if cfg!(target_arch = "x86_64") { 4 << 10 } else { 64 << 10 };

/// The head of the family, at offset 0 of the arena.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct FamilyHead {
    /// [`FAMILY_MAGIC`], written last by the root.
    pub magic: AtomicU64,
    /// [`FAMILY_VERSION`].
    pub version: AtomicU32,
    /// 1: asymmetric barrier (`membarrier`); 2: a full fence on both sides. Decided once by the root.
    pub barrier: AtomicU32,
    /// A random number that tells families apart.
    pub family_id: AtomicU64,
    /// Length of the arena in bytes.
    pub arena_len: AtomicU64,
    /// Entries of the process, lane and region tables.
    pub process_count: AtomicU32,
    /// See `process_count`.
    pub lane_count: AtomicU32,
    /// See `process_count`.
    pub region_count: AtomicU32,
    /// Unused, zero.
    pub reserved: AtomicU32,

    /// How many deaths were noticed (and, harmlessly, a few more).
    pub epoch: Line<AtomicU32>,

    /// The family lock: the bits of the process that holds it, 0 if none does.
    pub lock: Line<AtomicU64>,
    /// Wakes those who wait for the lock.
    pub lock_event: EventCount,
    /// The epoch up to which unreachable regions were collected; written under the lock.
    pub collected: AtomicU32,
    /// No granule below this offset is free; written under the lock.
    pub free_from: AtomicU64,

    /// One more than the largest slot ever used of each table.
    pub process_high: Line<AtomicU32>,
    /// See `process_high`.
    pub lane_high: AtomicU32,
    /// See `process_high`.
    pub region_high: AtomicU32,

    /// How many processes became members of an object that has owners. Who sleeps looks again whom it must watch.
    pub newcomers: Line<AtomicU32>,
}

/// Puts a word on a cache line of its own start.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line<T>(pub T);

impl<T> core::ops::Deref for Line<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// One process; see `registry` for the protocol.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct ProcessEntry {
    /// `state 3 | seq 7 | pid 22 | generation 32`.
    pub word: ProcessWord,
    /// What tells this process from a later one with the same pid (0: not known), valid if `identified` says so.
    pub identity: AtomicU64,
    /// Within which numbers of processes the pid has a meaning (a pid namespace), valid as `identity` is.
    pub space: AtomicU64,
    /// The generation that wrote `identity` and `space`.
    pub identified: AtomicU32,
    /// The first lane of the process, plus 1; a hint.
    pub primary: AtomicU32,
    /// The process that started this one; information only.
    pub parent: AtomicU64,
}

/// Room for the platform's life word: a robust mutex on Unix. core never looks inside.
#[repr(C, align(64))]
pub struct LifeArea(UnsafeCell<[u64; 8]>);

// SAFETY: core hands out a raw pointer only; the platform's life words are made to be shared.
unsafe impl Sync for LifeArea {}
// SAFETY: as above.
unsafe impl Send for LifeArea {}

impl LifeArea {
    /// Where the platform's life word lies.
    pub fn pointer(&self) -> *mut u8 {
        self.0.with_mut(|area| area.cast())
    }
}

impl Default for LifeArea {
    fn default() -> Self {
        Self(UnsafeCell::new([0; 8]))
    }
}

impl core::fmt::Debug for LifeArea {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LifeArea")
    }
}

/// One thread that touches the arena; see `lane` for the protocol.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct LaneEntry {
    /// The life word.
    pub life: LifeArea,
    /// Whose it is.
    pub word: Line<LaneWord>,
}

/// One region; see `region` for the protocol.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct RegionEntry {
    /// `state 3 | generation 32`.
    pub word: RegionWord,
    /// Offset in the arena, in bytes; changed only while FREE.
    pub offset: AtomicU64,
    /// Length in bytes, whole granules; changed only while FREE.
    pub len: AtomicU64,
    /// Hash of the user's type, 0 if none; changed only while FREE.
    pub type_hash: AtomicU64,
    /// What kind of object; changed only while FREE.
    pub kind: AtomicU32,
}

/// The first 64 bytes of every region, written by its creator before the region is LIVE.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct RegionHead {
    /// [`REGION_MAGIC`].
    pub magic: AtomicU32,
    /// The same as in the table.
    pub kind: AtomicU32,
    /// The version of the kind's own layout.
    pub version: AtomicU32,
    /// Bits of [`flags`].
    pub flags: AtomicU32,
    /// The length of the region in bytes.
    pub len: AtomicU64,
    /// Where the member table begins, from the region's start, in bytes.
    pub members_offset: AtomicU64,
    /// Entries of the member table.
    pub members_count: AtomicU32,
    /// The member table's high-water mark.
    pub members_high: AtomicU32,
}

/// What a region's flags say.
pub mod flags {
    /// A reference to this region was put into a message; set by the sender before the message is committed.
    pub const TRAVELLED: u32 = 1;
    /// A message in this region names other regions; set by the sender before the message is committed.
    pub const CARRIES: u32 = 2;
    /// No word of the object names a member, so nothing is to be swept and the family itself frees the entries
    /// of dead members.
    pub const OWNERLESS: u32 = 4;
}

#[cfg(not(offspring_loom))]
const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<FamilyHead>() <= PROCESSES_AT);
    assert!(offset_of!(FamilyHead, epoch) == 64);
    assert!(offset_of!(FamilyHead, lock) == 128);
    assert!(offset_of!(FamilyHead, process_high) == 256);
    assert!(size_of::<ProcessEntry>() == 64);
    assert!(size_of::<LaneEntry>() == 128 && offset_of!(LaneEntry, word) == 64);
    assert!(size_of::<RegionEntry>() == 64);
    assert!(size_of::<RegionHead>() == 64);
    assert!(PROCESSES_AT + MOST_PROCESSES * size_of::<ProcessEntry>() <= LANES_AT);
    assert!(LANES_AT + MOST_LANES * size_of::<LaneEntry>() <= PARKING_AT);
    let parking = crate::parking::BUCKETS * size_of::<crate::parking::Bucket>();
    assert!(PARKING_AT + parking <= REGIONS_AT && PARKING_AT.is_multiple_of(64));
    assert!(crate::parking::MOST_LANES == MOST_LANES);
    assert!(REGIONS_AT + MOST_REGIONS * size_of::<RegionEntry>() <= HEAP_AT as usize);
    assert!(HEAP_AT.is_multiple_of(GRANULE));
    assert!(MOST_PROCESSES <= 1 << 16 && MOST_REGIONS <= 1 << 16);
};

/// Views of the head and the tables: borrowed from the arena, or from small boxes in tests and models.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// The head.
    pub head: &'a FamilyHead,
    /// The process table, at most 65536 entries.
    pub processes: &'a [ProcessEntry],
    /// The lane table.
    pub lanes: &'a [LaneEntry],
    /// The region table, at most 65536 entries.
    pub regions: &'a [RegionEntry],
    /// The arena's length in bytes, as the platform knows it (never as a peer wrote it).
    pub arena_len: u64,
}

#[cfg(not(offspring_loom))]
impl<'a> Tables<'a> {
    /// The tables of the arena at `base`.
    ///
    /// # Safety
    ///
    /// `base..base + arena_len` is mapped readable and writable for `'a`, shared, aligned to 64 bytes, at least
    /// [`HEAP_AT`] long, and nothing ever accesses the first [`HEAP_AT`] bytes other than through these types (or,
    /// for the life areas, the platform's life word).
    #[must_use]
    pub unsafe fn at(base: *const u8, arena_len: u64) -> Self {
        debug_assert!(base.addr().is_multiple_of(64) && arena_len >= HEAP_AT);
        // SAFETY: the caller's promise; all fields are atomics or opaque cells, any bit pattern is valid; the tables
        // do not overlap and end below `HEAP_AT` (asserted above at compile time).
        unsafe {
            Self {
                head: &*base.cast(),
                processes: core::slice::from_raw_parts(
                    base.add(PROCESSES_AT).cast(),
                    MOST_PROCESSES,
                ),
                lanes: core::slice::from_raw_parts(base.add(LANES_AT).cast(), MOST_LANES),
                regions: core::slice::from_raw_parts(base.add(REGIONS_AT).cast(), MOST_REGIONS),
                arena_len,
            }
        }
    }
}

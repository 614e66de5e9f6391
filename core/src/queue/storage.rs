//! Where a queue's words and bytes are: the trait, and the words themselves.

use super::error::NoMemory;
use super::layout::Geometry;
use crate::member::MemberTable;
use crate::prim::Ordering;
use crate::prim::{AtomicU32, AtomicU64};
use crate::wait::EventCount;
use core::ptr::NonNull;

/// What stands once a queue. Zeroed memory is a new queue.
///
/// The three groups lie on lines of their own, two lines apart, because processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Head {
    /// Read by every operation, written on closing, on deaths and when an item comes back.
    pub(crate) calm: Calm,
    pub(crate) tail: Padded<AtomicU64>,
    pub(crate) head: Padded<AtomicU64>,
}

/// The rarely written words.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Calm {
    /// How often something was given back (monotone), and up to which of these everything was found again.
    pub(crate) pend: AtomicU64,
    pub(crate) scanned: AtomicU64,
    /// Set once, never cleared.
    pub(crate) closed: AtomicU32,
    /// The death epoch up to which every word was repaired.
    pub(crate) swept: AtomicU32,
    /// Waiting for items, for slots, for blocks.
    pub(crate) readers: EventCount,
    pub(crate) writers: EventCount,
    pub(crate) rooms: EventCount,
    /// Set once some message carried handles.
    pub(crate) carries: AtomicU32,
    /// Blocks of each size class whose memory is committed: monotone, and how far a scan must look.
    pub(crate) committed: [AtomicU32; super::layout::MOST_CLASSES],
    /// Where a free block of each class may be.
    pub(crate) free_hint: [AtomicU32; super::layout::MOST_CLASSES],
}

/// A value on cache lines of its own.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Padded<T>(pub(crate) T);

/// The words of one slot; its inline bytes follow in the storage.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SlotHead {
    pub(crate) word: AtomicU64,
    /// The block that holds the item; written while WRITING or READING.
    pub(crate) block: AtomicU32,
    /// Length of an inline item and its flag; written while WRITING.
    pub(crate) len: AtomicU32,
}

/// The words of one block; its bytes lie elsewhere in the storage.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct BlockHead {
    pub(crate) word: AtomicU64,
    /// In a request the member that waits, in a result the member that wrote it; written while OWNED.
    pub(crate) link: AtomicU32,
    /// The requester sleeps here.
    pub(crate) bell: EventCount,
    /// Length of the message and its flag; written while OWNED.
    pub(crate) len: AtomicU64,
}

#[cfg(not(offspring_loom))]
const _: () = {
    assert!(size_of::<SlotHead>() == 16);
    assert!(size_of::<BlockHead>() == 32);
    assert!(size_of::<Head>() == 512);
};

/// The inline bytes of one slot: `geometry().inline()` of them.
pub trait Inline: Copy {
    /// Copies `bytes` into the slot.
    ///
    /// # Safety
    ///
    /// The caller's member owns the slot (WRITING), and `bytes` are at most `geometry().inline()`.
    unsafe fn write(self, bytes: &[u8]);

    /// Copies the first `len` bytes of the slot to `out`.
    ///
    /// # Safety
    ///
    /// The caller's member owns the slot (READING), `len` is at most `geometry().inline()`, and `out` is valid for
    /// writes of `len` bytes.
    unsafe fn read(self, out: *mut u8, len: usize);
}

/// Where a queue lies.
///
/// # Safety
///
/// Implementors promise: Q1 `head`, `slot`, `block` and `members` always give the same words for the same
/// arguments, shared by all participants, for every index below what `geometry` says; Q2 the bytes of
/// different slots and blocks do not overlap each other or the words; Q3 `geometry` never changes and came from
/// [`Geometry::new`].
pub unsafe trait Storage {
    /// Whether it is one ring of a chain: then the chain frees the indices of the dead, and judges what is behind the mark.
    const PART: bool = false;

    /// Where readers sleep.
    #[inline(always)]
    fn readers(&self) -> &EventCount {
        &self.head().calm.readers
    }

    /// Where writers sleep that found no slot.
    #[inline(always)]
    fn writers(&self) -> &EventCount {
        &self.head().calm.writers
    }

    /// Where those sleep that found no block.
    #[inline(always)]
    fn rooms(&self) -> &EventCount {
        &self.head().calm.rooms
    }

    /// Whether nothing is put here any more once the mark is set.
    #[inline(always)]
    fn is_ended(&self) -> bool {
        // ORDER: Acquire, Q4.
        self.head().calm.closed.load(Ordering::Acquire) != 0
    }

    /// Whether readers may sleep because of what others hold: then each commit wakes them.
    #[inline(always)]
    fn is_closing(&self) -> bool {
        self.is_ended()
    }

    /// Something was given back here, and counted.
    #[inline(always)]
    fn given_back(&self) {}

    /// Whether blocks `from..to` of `class` may get memory at all.
    fn may_commit(&self, _class: usize, _from: u32, _to: u32) -> bool {
        true
    }

    /// The fixed sizes.
    fn geometry(&self) -> &Geometry;

    /// The queue's own words.
    fn head(&self) -> &Head;

    /// The words of slot `index`, below the capacity (else a panic: callers check first).
    fn slot(&self, index: u32) -> &SlotHead;

    /// The words of block `block`, below `geometry().blocks()` (else a panic: callers check first).
    fn block(&self, block: u32) -> &BlockHead;

    /// Who takes part.
    fn members(&self) -> MemberTable<'_>;

    /// Where the inline bytes of a slot are.
    type Inline<'s>: Inline
    where
        Self: 's;

    /// The words of slot `index` and its inline bytes, both with one check of the index (as [`slot`](Self::slot)).
    fn slot_and_bytes(&self, index: u32) -> (&SlotHead, Self::Inline<'_>);

    /// Copies `bytes` into the block.
    ///
    /// # Safety
    ///
    /// The caller's member owns the block (OWNED) and its memory is committed; `bytes` fit its class.
    unsafe fn write_block(&self, block: u32, bytes: &[u8]);

    /// Copies the first `len` bytes of the block to `out`.
    ///
    /// # Safety
    ///
    /// The caller's member holds the block (OWNED, LEASED, or REPLIED to it), `len` fits its class, and `out` is valid for
    /// writes of `len` bytes.
    unsafe fn read_block(&self, block: u32, out: *mut u8, len: usize);

    /// Where the bytes of block `block` are, in which `len` bytes fit (else a panic: callers check first), for as long as the
    /// memory is there. `None` where they have no address that may be given away.
    fn block_address(&self, _block: u32, _len: usize) -> Option<NonNull<u8>> {
        None
    }

    /// Makes sure that blocks `from..to` of `class` (and their replies) have memory. May cost a system call; what has memory
    /// already keeps it and its contents.
    fn commit(&self, class: usize, from: u32, to: u32) -> Result<(), NoMemory>;
}

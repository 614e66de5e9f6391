//! A queue's words and bytes on the heap: the words are loom's atomics, the bytes lie in cells that loom watches.

use offspring_core::member::MemberTable;
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering, UnsafeCell};
use offspring_core::queue::{
    BlockHead, Geometry, Head, Inline, NoMemory, Options, SlotHead, Storage,
};
use std::ptr;

/// Room for the longest message of these models.
const MOST_BYTES: usize = 32;

type Bytes = UnsafeCell<[u8; MOST_BYTES]>;

/// Makes loom try both orders of any two accesses to the words beside it.
///
/// loom keeps only the *last* access to each atomic: a load, then a CAS of the same word by one thread hide the CAS from another's
/// earlier load, and their other order is never tried. Two read-modify-writes are always seen to race. This one is Relaxed, so that
/// it carries nothing from one to the other.
#[derive(Debug, Default)]
struct Turn(AtomicU32);

impl Turn {
    fn take(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything of one queue.
#[derive(Debug)]
pub(super) struct Heap {
    geometry: Geometry,
    head: Head,
    slots: Vec<(SlotHead, Bytes, Turn)>,
    blocks: Vec<(BlockHead, Bytes, Turn)>,
    entries: Vec<AtomicU64>,
    high_water: AtomicU32,
}

// SAFETY: the words are atomics. The cells are handed from one to another by the protocol; whether they really are is what
// is explored: loom panics when two threads touch one without an order between them.
unsafe impl Sync for Heap {}
// SAFETY: nothing here belongs to a thread.
unsafe impl Send for Heap {}

impl Heap {
    /// A new queue with room for so many members.
    pub(super) fn new(options: Options, members: usize) -> Self {
        let geometry = Geometry::new(options).expect("a small queue");
        let bytes = || UnsafeCell::new([0; MOST_BYTES]);
        Self {
            head: Head::default(),
            slots: (0..geometry.capacity())
                .map(|_| (SlotHead::default(), bytes(), Turn::default()))
                .collect(),
            blocks: (0..geometry.blocks())
                .map(|_| (BlockHead::default(), bytes(), Turn::default()))
                .collect(),
            entries: (0..members).map(|_| AtomicU64::new(0)).collect(),
            high_water: AtomicU32::new(0),
            geometry,
        }
    }
}

fn write(cell: &Bytes, bytes: &[u8]) {
    // SAFETY: the caller of the storage owns these bytes; if the protocol erred, loom stops here.
    cell.with_mut(|to| unsafe { (&mut *to)[..bytes.len()].copy_from_slice(bytes) });
}

/// # Safety
///
/// `out` is valid for writes of `len` bytes.
unsafe fn read(cell: &Bytes, out: *mut u8, len: usize) {
    // SAFETY: as in `write`; `out` by the caller's promise, and nobody else has it.
    cell.with(|from| unsafe { ptr::copy_nonoverlapping((&(*from))[..len].as_ptr(), out, len) });
}

// SAFETY: Q1, Q2: each slot and block has its own words and its own cell. Q3: the geometry is private and made by
// `Geometry::new`.
unsafe impl Storage for Heap {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn slot(&self, index: u32) -> &SlotHead {
        let slot = &self.slots[index as usize];
        slot.2.take();
        &slot.0
    }

    fn block(&self, block: u32) -> &BlockHead {
        let block = &self.blocks[block as usize];
        block.2.take();
        &block.0
    }

    fn members(&self) -> MemberTable<'_> {
        MemberTable::new(&self.entries, &self.high_water)
    }

    type Inline<'s> = HeapInline<'s>;

    fn slot_and_bytes(&self, index: u32) -> (&SlotHead, HeapInline<'_>) {
        let slot = &self.slots[index as usize];
        slot.2.take();
        (&slot.0, HeapInline(&slot.1))
    }

    unsafe fn write_block(&self, block: u32, bytes: &[u8]) {
        write(&self.blocks[block as usize].1, bytes);
    }

    unsafe fn read_block(&self, block: u32, out: *mut u8, len: usize) {
        // SAFETY: the caller's.
        unsafe { read(&self.blocks[block as usize].1, out, len) }
    }

    fn commit(&self, _class: usize, _from: u32, _to: u32) -> Result<(), NoMemory> {
        Ok(())
    }
}

/// The bytes of one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeapInline<'s>(&'s Bytes);

impl Inline for HeapInline<'_> {
    unsafe fn write(self, bytes: &[u8]) {
        write(self.0, bytes);
    }

    unsafe fn read(self, out: *mut u8, len: usize) {
        // SAFETY: the caller's.
        unsafe { read(self.0, out, len) }
    }
}

//! A queue in mapped memory, at whatever address this process has it.

use core::borrow::Borrow;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::storage::{BlockHead, Head, Inline, SlotHead, Storage};
use super::{Geometry, NoMemory};
use crate::member::MemberTable;
use crate::prim::{AtomicU32, AtomicU64};
use crate::wait::EventCount;

/// Commits memory below a mapped queue.
pub trait Commit {
    /// Makes sure that the `len` bytes at `offset` from the queue's start have memory. Bytes beside them, and those among them
    /// that have memory already, keep it and their contents, whatever happens.
    ///
    /// # Errors
    ///
    /// When the system has none left; nothing is changed then.
    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory>;
}

/// A queue in a range of mapped, zero-initialised, shared memory.
///
/// Invariants: M1 `base` is valid for reads and writes of `geometry.len()` bytes, aligned to a page, for as long as `self`
/// lives; M2 `members` and `high_water` likewise; M3 no reference to non-atomic bytes is ever made, only raw copies.
pub struct Mapped<C, G = Geometry> {
    base: NonNull<u8>,
    members: NonNull<[AtomicU64]>,
    high_water: NonNull<AtomicU32>,
    geometry: G,
    commit: C,
}

// SAFETY: M1-M3: everything reached through the pointers is atomic, or raw bytes that the protocol gives to one owner.
unsafe impl<C: Send, G: Send> Send for Mapped<C, G> {}
// SAFETY: as above.
unsafe impl<C: Sync, G: Sync> Sync for Mapped<C, G> {}

impl<C, G: fmt::Debug> fmt::Debug for Mapped<C, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("base", &self.base)
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}

impl<C: Commit, G: Borrow<Geometry>> Mapped<C, G> {
    /// The queue of this geometry at `base`; the geometry may be borrowed.
    ///
    /// # Safety
    ///
    /// - `base` is page-aligned and valid for reads and writes of `geometry.len()` bytes, of which the first
    ///   `geometry.committed_at_first()` have memory, while the value lives; the bytes were zero before the first use and are
    ///   changed only by this protocol (arbitrary bytes make it err, not leave the range);
    /// - `members` and `high_water` are valid for the same time and lie outside that range.
    pub unsafe fn new(
        base: NonNull<u8>,
        members: NonNull<[AtomicU64]>,
        high_water: NonNull<AtomicU32>,
        geometry: G,
        commit: C,
    ) -> Self {
        Self { base, members, high_water, geometry, commit }
    }

    /// What commits its memory.
    pub fn commit_with(&self) -> &C {
        &self.commit
    }

    /// Where the bell of `block` is (in [`ChainStorage::bell`](super::ChainStorage::bell)'s sense), valid as long as the memory is.
    #[must_use]
    pub fn bell(&self, block: u32) -> Option<NonNull<EventCount>> {
        let offset = self.geometry.borrow().block_head_at(block)?;
        let head = self.at(offset).cast::<BlockHead>();
        // SAFETY: M1; inside the heads of its class, 32-aligned; only an address is made.
        Some(unsafe { NonNull::new_unchecked(&raw mut (*head).bell) })
    }

    #[inline(always)]
    fn at(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset < self.geometry.borrow().len());
        // SAFETY: M1; every caller computes `offset` from the private geometry and a checked index.
        unsafe { self.base.as_ptr().add(offset as usize) }
    }

    #[inline(always)]
    fn slot_at(&self, index: u32) -> *mut u8 {
        let geometry: &Geometry = self.geometry.borrow();
        assert!(index < geometry.capacity(), "slot index is checked by the protocol");
        self.at(super::layout::HEAD_LEN + u64::from(index) * u64::from(geometry.stride()))
    }

    #[inline]
    fn payload(&self, block: u32, len: usize) -> *mut u8 {
        let (offset, size) = self
            .geometry
            .borrow()
            .payload_at(block)
            .expect("block number is checked by the protocol");
        assert!(len as u64 <= size, "length is checked by the protocol");
        self.at(offset)
    }
}

#[cfg(not(offspring_loom))]
// SAFETY: Q1, Q2: places come from the geometry, whose ranges do not overlap (tested there). Q3: it is private and made by
// `Geometry::new`.
unsafe impl<C: Commit, G: Borrow<Geometry>> Storage for Mapped<C, G> {
    #[inline(always)]
    fn geometry(&self) -> &Geometry {
        self.geometry.borrow()
    }

    #[inline(always)]
    fn head(&self) -> &Head {
        // SAFETY: M1; `Head` is at offset 0, made of atomics, for which every bit pattern is valid.
        unsafe { &*self.base.as_ptr().cast() }
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> &SlotHead {
        // SAFETY: M1; inside the slots (checked), 16-aligned since the stride is a multiple of 16; atomics.
        unsafe { &*self.slot_at(index).cast() }
    }

    #[inline]
    fn block(&self, block: u32) -> &BlockHead {
        let offset = self
            .geometry
            .borrow()
            .block_head_at(block)
            .expect("block number is checked by the protocol");
        // SAFETY: M1; inside the heads of its class, 32-aligned; atomics.
        unsafe { &*self.at(offset).cast() }
    }

    #[inline(always)]
    fn members(&self) -> MemberTable<'_> {
        // SAFETY: M2; atomics.
        unsafe { MemberTable::new(self.members.as_ref(), self.high_water.as_ref()) }
    }

    type Inline<'s>
        = MappedInline<'s>
    where
        C: 's,
        G: 's;

    #[inline(always)]
    fn slot_and_bytes(&self, index: u32) -> (&SlotHead, MappedInline<'_>) {
        let at = self.slot_at(index);
        // SAFETY: as in `slot`; the inline bytes follow the slot's 16 bytes of words, inside its stride.
        unsafe { (&*at.cast(), MappedInline(at.add(16), PhantomData)) }
    }

    #[inline]
    unsafe fn write_block(&self, block: u32, bytes: &[u8]) {
        let to = self.payload(block, bytes.len());
        // SAFETY: the caller owns the block; `payload` checked the length against the class.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    #[inline]
    unsafe fn read_block(&self, block: u32, out: *mut u8, len: usize) {
        let from = self.payload(block, len);
        // SAFETY: the caller holds the block; `payload` checked the length; `out` is valid for it.
        unsafe { core::ptr::copy_nonoverlapping(from, out, len) }
    }

    fn block_address(&self, block: u32, len: usize) -> Option<NonNull<u8>> {
        NonNull::new(self.payload(block, len))
    }

    fn commit(&self, class: usize, from: u32, to: u32) -> Result<(), NoMemory> {
        for (offset, len) in self.geometry.borrow().ranges(class, from, to) {
            self.commit.commit(offset, len)?;
        }
        Ok(())
    }
}

/// The inline bytes of a mapped slot; only [`Storage::slot_and_bytes`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct MappedInline<'s>(*mut u8, PhantomData<&'s ()>);

impl Inline for MappedInline<'_> {
    #[inline(always)]
    unsafe fn write(self, bytes: &[u8]) {
        // SAFETY: the caller owns the slot and `bytes` fit the inline bytes.
        unsafe { copy(bytes.as_ptr(), self.0, bytes.len()) }
    }

    #[inline(always)]
    unsafe fn read(self, out: *mut u8, len: usize) {
        // SAFETY: the caller owns the slot, `len` is within the inline bytes, `out` is valid for it.
        unsafe { copy(self.0, out, len) }
    }
}

/// Copies a short message by at most two moves of each width, which may overlap: a call of `memcpy` costs more than the copy
/// (5 ns of 20 for 8 bytes, put and get together, on the machine this was written on).
///
/// # Safety
///
/// As `ptr::copy_nonoverlapping`.
#[inline(always)]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    /// Copies `len` bytes, one to two times the size of `T`.
    ///
    /// # Safety
    ///
    /// As `copy`; `len` is at least the size of `T`, at most twice that.
    #[inline(always)]
    unsafe fn ends<T: Copy>(from: *const u8, to: *mut u8, len: usize) {
        let last = len - size_of::<T>();
        // SAFETY: both ranges of `size_of::<T>()` bytes lie inside `len`; `T` is plain bytes of any alignment.
        unsafe {
            let head = from.cast::<T>().read_unaligned();
            let tail = from.add(last).cast::<T>().read_unaligned();
            to.cast::<T>().write_unaligned(head);
            to.add(last).cast::<T>().write_unaligned(tail);
        }
    }
    // SAFETY: the caller's; each arm's `T` fits its lengths.
    unsafe {
        match len {
            0 => {}
            1 => *to = *from,
            2..=3 => ends::<u16>(from, to, len),
            4..=7 => ends::<u32>(from, to, len),
            8..=16 => ends::<u64>(from, to, len),
            17..=32 => ends::<[u64; 2]>(from, to, len),
            33..=64 => ends::<[u64; 4]>(from, to, len),
            _ => core::ptr::copy_nonoverlapping(from, to, len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::copy;

    #[test]
    fn short_copies_copy_every_byte_and_no_more() {
        let from: [u8; 130] = core::array::from_fn(|i| i as u8 + 1);
        for len in 0..=128 {
            let mut to = [0_u8; 130];
            // SAFETY: both arrays are longer than `len`.
            unsafe { copy(from.as_ptr(), to.as_mut_ptr(), len) };
            assert_eq!(to[..len], from[..len]);
            assert!(to[len..].iter().all(|b| *b == 0));
        }
    }
}

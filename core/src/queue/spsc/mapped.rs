//! A ring in mapped memory.

use core::ptr::NonNull;

use super::{Bytes, Head};
use crate::queue::mapped::copy;

/// A ring in a range of mapped, zero-initialised, shared memory.
///
/// Invariants: M1 `base` is valid for reads and writes of [`len`](Self::len) bytes and aligned to a page for as long as the value
/// lives; M2 no reference to non-atomic bytes is ever made.
#[derive(Debug)]
pub struct MappedBytes {
    base: NonNull<u8>,
    size: u64,
}

// SAFETY: M1, M2: everything reached through the pointer is atomic, or raw bytes that the protocol gives to one side.
unsafe impl Send for MappedBytes {}
// SAFETY: as above.
unsafe impl Sync for MappedBytes {}

/// Bytes of a ring before its records: the head, to the end of its page.
const RECORDS_AT: u64 = 4096;
const _: () = assert!(size_of::<Head>() <= RECORDS_AT as usize);

impl MappedBytes {
    /// Bytes that a ring of `size` bytes takes; `None` where there can be no such ring.
    #[must_use]
    pub fn len(size: u64) -> Option<u64> {
        (size.is_power_of_two() && (64..=1 << 40).contains(&size)).then(|| RECORDS_AT + size)
    }

    /// The ring at `base`.
    ///
    /// # Safety
    ///
    /// `base` is page-aligned and valid for reads and writes of `len(size)` bytes, which is not `None`, while the value lives. The
    /// bytes were zero before the first use and are changed only by this protocol (arbitrary bytes make it err, not leave the range).
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>, size: u64) -> Self {
        Self { base, size }
    }

    #[inline(always)]
    fn at(&self, at: u64, len: usize) -> *mut u8 {
        debug_assert!(at + len as u64 <= self.size);
        // SAFETY: M1; the callers promise that `at + len` is at most `size`.
        unsafe { self.base.as_ptr().add((RECORDS_AT + at) as usize) }
    }
}

#[cfg(not(offspring_loom))]
// SAFETY: T1, T3: the head's page and the bytes behind it do not overlap. T2: `size` is private; `new`'s caller.
unsafe impl Bytes for MappedBytes {
    #[inline(always)]
    fn head(&self) -> &Head {
        // SAFETY: M1; `Head` is at offset 0 and made of atomics, for which every bit pattern is valid.
        unsafe { &*self.base.as_ptr().cast() }
    }

    #[inline(always)]
    fn size(&self) -> u64 {
        self.size
    }

    #[inline(always)]
    unsafe fn write(&self, at: u64, bytes: &[u8]) {
        // SAFETY: the caller's; `at` gives a pointer to as many bytes.
        unsafe { copy(bytes.as_ptr(), self.at(at, bytes.len()), bytes.len()) }
    }

    #[inline(always)]
    unsafe fn read(&self, at: u64, out: *mut u8, len: usize) {
        // SAFETY: as above; `out` by the caller's promise.
        unsafe { copy(self.at(at, len), out, len) }
    }
}

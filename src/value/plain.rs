//! Plain data: values that are their bytes, and runs of them in shared memory.
#![allow(unsafe_code)] // copies to and from shared memory; the invariant is `Span::new`'s

use super::Bytes;
use bytemuck::Pod;
use offspring_core::queue::Buffer;
use std::ptr::{self, NonNull};

/// Data that is its bytes: any bit pattern is a value, no byte of it is padding, and nothing in it points anywhere.
///
/// Such data lies in shared memory as it is: nothing is serialised. Every [`bytemuck::Pod`] is plain: numbers, arrays of plain
/// data, and your own types:
///
/// ```
/// #[derive(Clone, Copy, PartialEq, Debug, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Sample {
///     at: u64,
///     values: [f32; 6],
/// }
///
/// fn is_plain<T: offspring::Plain>() {}
/// is_plain::<Sample>();
/// is_plain::<[u16; 1000]>();
/// ```
///
/// What points somewhere is refused, and so is what not every byte makes a value of:
///
/// ```compile_fail
/// fn is_plain<T: offspring::Plain>() {}
/// is_plain::<&'static str>();
/// ```
///
/// ```compile_fail
/// fn is_plain<T: offspring::Plain>() {}
/// is_plain::<bool>();
/// ```
pub trait Plain: Pod + Send + Sync {}

impl<T: Pod + Send + Sync> Plain for T {}

/// The largest alignment of plain data in a queue: that of every block.
const MOST_ALIGN: usize = 256;

/// Bytes that are copied to private memory at a time: they stay in the innermost cache.
const PART_BYTES: usize = 8192;

/// Refuses, when compiled, types that have no bytes or want more alignment than blocks have.
pub(crate) const fn check<T: Plain>() {
    const {
        assert!(size_of::<T>() > 0, "a type without bytes has nothing to send");
        assert!(align_of::<T>() <= MOST_ALIGN, "blocks of shared memory are 256-aligned");
    }
}

/// A run of plain values in shared memory that its owner alone uses, as far as every process keeps to the protocol.
///
/// Safe code copies in and out: whatever another process writes meanwhile, what comes out are values of `T`.
pub(crate) struct Span<T> {
    at: NonNull<T>,
    len: usize,
}

// SAFETY: it is used like a `&mut [T]` whose memory another process may change, and `T: Plain` is `Send` and `Sync`.
unsafe impl<T: Plain> Send for Span<T> {}
// SAFETY: as above; a shared `Span` only reads.
unsafe impl<T: Plain> Sync for Span<T> {}

impl<T: Plain> Span<T> {
    /// `len` values at `at`.
    ///
    /// # Safety
    ///
    /// `at` is valid for reads and writes of `len` values as long as the span is used, and aligned for `T`; nobody of this
    /// process but the span's user touches them.
    pub(crate) unsafe fn new(at: NonNull<u8>, len: usize) -> Self {
        check::<T>();
        Self { at: at.cast(), len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The address of `count` values from number `from` on.
    ///
    /// # Panics
    ///
    /// There are not so many.
    fn at(&self, from: usize, count: usize) -> *mut T {
        assert!(
            from <= self.len && count <= self.len - from,
            "values {from} to {from} + {count} of {}",
            self.len
        );
        // SAFETY: inside the run, or at its end: `new`'s contract and the check above.
        unsafe { self.at.as_ptr().add(from) }
    }

    /// Copies values out, from number `from` on.
    pub(crate) fn read(&self, from: usize, out: &mut [T]) {
        let at = self.at(from, out.len());
        // SAFETY: `at` has so many values (checked), of which any bytes are some; `out` is private memory.
        unsafe { ptr::copy_nonoverlapping(at, out.as_mut_ptr(), out.len()) };
    }

    /// Copies values in, from number `from` on.
    pub(crate) fn write(&mut self, from: usize, values: &[T]) {
        let at = self.at(from, values.len());
        // SAFETY: `at` has room for so many (checked), and is the span's alone; `values` are private memory.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), at, values.len()) };
    }

    /// Value number `index`.
    pub(crate) fn get(&self, index: usize) -> T {
        let at = self.at(index, 1);
        // SAFETY: one value is there (checked), aligned by `new`'s contract. Volatile: it is read once, whoever writes.
        unsafe { at.read_volatile() }
    }

    /// All of them.
    pub(crate) fn to_vec(&self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.len);
        // SAFETY: the vector has room for `len` values, which the span has; any bytes are values.
        unsafe {
            ptr::copy_nonoverlapping(self.at.as_ptr(), all.as_mut_ptr(), self.len);
            all.set_len(self.len);
        }
        all
    }

    /// Private memory for a part of them.
    fn part(&self) -> Vec<T> {
        vec![T::zeroed(); (PART_BYTES / size_of::<T>()).clamp(1, self.len.max(1))]
    }

    /// Calls `f` with one copied part after another, and where it begins.
    pub(crate) fn parts(&self, mut f: impl FnMut(usize, &[T])) {
        let mut part = self.part();
        let mut from = 0;
        while from < self.len {
            let count = part.len().min(self.len - from);
            self.read(from, &mut part[..count]);
            f(from, &part[..count]);
            from += count;
        }
    }

    /// Lets `f` fill one part after another, each told where it begins, and copies them in.
    pub(crate) fn fill_parts(&mut self, mut f: impl FnMut(usize, &mut [T])) {
        let mut part = self.part();
        let mut from = 0;
        while from < self.len {
            let count = part.len().min(self.len - from);
            f(from, &mut part[..count]);
            self.write(from, &part[..count]);
            from += count;
        }
    }

    /// The values themselves.
    ///
    /// # Safety
    ///
    /// No process writes there while the reference lives.
    pub(crate) unsafe fn as_slice(&self) -> &[T] {
        // SAFETY: `new`'s contract, and the caller's.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    /// The values themselves, to be written.
    ///
    /// # Safety
    ///
    /// No other process reads or writes there while the reference lives.
    pub(crate) unsafe fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: `new`'s contract, and the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

/// Takes a message behind what a vector holds already. Until [`end`](Self::end) the vector is as it was.
pub(crate) struct Appended<'v, T> {
    into: &'v mut Vec<T>,
    /// Bytes of the message.
    len: usize,
}

impl<'v, T: Plain> Appended<'v, T> {
    pub(crate) fn to(into: &'v mut Vec<T>) -> Self {
        check::<T>();
        Self { into, len: 0 }
    }

    /// How many values came; else the bytes that came, which are no whole number of them.
    pub(crate) fn end(self) -> Result<usize, usize> {
        if !self.len.is_multiple_of(size_of::<T>()) {
            return Err(self.len);
        }
        let count = self.len / size_of::<T>();
        // SAFETY: `room` reserved them behind the vector's own, the queue wrote all `len` bytes, and any bytes are values.
        unsafe { self.into.set_len(self.into.len() + count) };
        Ok(count)
    }
}

// SAFETY: `room` reserves `len` bytes behind the vector's end, and nothing touches the vector before the next call.
unsafe impl<T: Plain> Buffer for Appended<'_, T> {
    #[inline]
    fn room(&mut self, len: usize) -> *mut u8 {
        self.len = 0;
        self.into.reserve(len.div_ceil(size_of::<T>()));
        self.into.spare_capacity_mut().as_mut_ptr().cast()
    }

    #[inline]
    fn filled(&mut self, len: usize, _carries: bool) {
        self.len = len;
    }
}

/// For leases that are read where they lie: what lies in a slot goes through here on its way to a block.
pub(crate) struct Passing(Bytes);

impl Passing {
    pub(crate) fn new() -> Self {
        Self(Bytes::new())
    }
}

// SAFETY: as `Bytes`.
unsafe impl Buffer for Passing {
    const IN_PLACE: bool = true;

    fn room(&mut self, len: usize) -> *mut u8 {
        self.0.room(len)
    }

    fn filled(&mut self, len: usize, carries: bool) {
        self.0.filled(len, carries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span<T: Plain>(memory: &mut [T]) -> Span<T> {
        let at = NonNull::new(memory.as_mut_ptr()).unwrap().cast();
        // SAFETY: the tests use the memory through the span alone.
        unsafe { Span::new(at, memory.len()) }
    }

    #[test]
    fn parts_cover_every_value_once() {
        for len in [0, 1, 2047, 2048, 2049, 10_000_usize] {
            let mut memory = vec![0_u32; len];
            let mut span = span(&mut memory);
            span.fill_parts(|from, part| {
                part.iter_mut().enumerate().for_each(|(i, value)| *value = (from + i) as u32);
            });
            let mut seen = Vec::new();
            span.parts(|from, part| {
                assert_eq!(from, seen.len());
                seen.extend_from_slice(part);
            });
            assert_eq!(seen, (0..len as u32).collect::<Vec<_>>());
            assert_eq!(span.to_vec(), seen);
        }
    }

    #[test]
    fn values_larger_than_a_part_go_one_by_one() {
        let mut memory = vec![[7_u8; 10_000]; 3];
        let span = span(&mut memory);
        let mut parts = 0;
        span.parts(|from, part| {
            assert_eq!((from, part.len(), part[0]), (parts, 1, [7; 10_000]));
            parts += 1;
        });
        assert_eq!(parts, 3);
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let refused = |f: fn(&mut Span<u16>)| {
            let mut memory = [1_u16, 2, 3];
            let mut span = span(&mut memory);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&mut span))).is_err()
        };
        assert!(!refused(|span| span.write(1, &[8, 9])));
        assert!(refused(|span| span.write(2, &[8, 9])));
        assert!(refused(|span| span.write(usize::MAX, &[8, 9])));
        assert!(refused(|span| span.read(4, &mut [])));
        assert!(refused(|span| assert_eq!(span.get(3), 0)));
    }
}

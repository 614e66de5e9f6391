//! A message's bytes in private memory: short ones on the stack.
#![allow(unsafe_code)] // an uninitialised array; its invariant is one field

use offspring_core::queue::Buffer;
use std::mem::MaybeUninit;

const SHORT: usize = 192;

/// Bytes that are written once and read once. The first `len` of `short` are initialised while `long` is empty;
/// otherwise `long` has them all.
pub(crate) struct Bytes {
    short: [MaybeUninit<u8>; SHORT],
    long: Vec<u8>,
    len: usize,
    /// Whether the message begins with handles, as its sender said.
    pub(crate) carries: bool,
    /// Called with the message before it is taken for good, if it carries handles.
    pub(crate) adopt: Option<fn(&[u8])>,
}

impl Bytes {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        let short = [const { MaybeUninit::uninit() }; SHORT];
        Self { short, long: Vec::new(), len: 0, carries: false, adopt: None }
    }

    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.long.is_empty() {
            // SAFETY: the first `len` bytes of `short` are initialised (the type's invariant).
            unsafe { std::slice::from_raw_parts(self.short.as_ptr().cast(), self.len) }
        } else {
            &self.long
        }
    }

    /// Puts `front` before what is there.
    pub(crate) fn prepend(&mut self, front: &[u8]) {
        let mut all = Vec::with_capacity(front.len() + self.as_slice().len());
        all.extend_from_slice(front);
        all.extend_from_slice(self.as_slice());
        self.len = all.len();
        self.long = all;
    }

    /// How many there are.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Writes over what is at `at` already. Does nothing where that much is not there.
    pub(super) fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.len {
            return;
        }
        if self.long.is_empty() {
            for (to, byte) in self.short[at..end].iter_mut().zip(bytes) {
                to.write(*byte);
            }
        } else {
            self.long[at..end].copy_from_slice(bytes);
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) {
        if self.long.is_empty() {
            if self.len < SHORT {
                self.short[self.len].write(byte);
                self.len += 1;
                return;
            }
            self.spill(1);
        }
        self.long.push(byte);
        self.len += 1;
    }

    #[inline(always)]
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            if bytes.len() <= SHORT - self.len {
                // SAFETY: the target is inside `short` (just checked), the source is another allocation.
                unsafe {
                    let to = self.short.as_mut_ptr().add(self.len).cast::<u8>();
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
                }
                self.len += bytes.len();
                return;
            }
            self.spill(bytes.len());
        }
        self.long.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Moves what is there to the heap, with room for `more`. Something must follow, since an empty vector means the stack.
    #[cold]
    fn spill(&mut self, more: usize) {
        let mut long = Vec::with_capacity((self.len + more).max(SHORT * 4));
        long.extend_from_slice(self.as_slice());
        self.long = long;
    }
}

// SAFETY: `room` returns the beginning of `short`, which has SHORT bytes, or of a vector with capacity for `len`; neither
// moves before the next call, since `filled` only sets lengths.
unsafe impl Buffer for Bytes {
    #[inline(always)]
    fn room(&mut self, len: usize) -> *mut u8 {
        self.len = 0;
        self.long.clear();
        if len <= SHORT {
            self.short.as_mut_ptr().cast()
        } else {
            self.long.reserve(len);
            self.long.as_mut_ptr()
        }
    }

    #[inline(always)]
    fn filled(&mut self, len: usize, carries: bool) {
        self.len = len;
        self.carries = carries;
        if len > SHORT {
            // SAFETY: `room(len)` reserved them, and the caller wrote them all.
            unsafe { self.long.set_len(len) };
        }
        if carries && let Some(adopt) = self.adopt {
            adopt(self.as_slice());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order_across_the_move_to_the_heap() {
        let mut bytes = Bytes::new();
        let mut all = Vec::new();
        for i in 0..300_u32 {
            bytes.push(i as u8);
            bytes.extend(&i.to_le_bytes());
            all.push(i as u8);
            all.extend_from_slice(&i.to_le_bytes());
            assert_eq!(bytes.as_slice(), all);
        }
        bytes.prepend(b"front");
        assert_eq!(&bytes.as_slice()[..5], b"front");
        assert_eq!(&bytes.as_slice()[5..], all);
    }

    #[test]
    fn extension_over_the_edge_loses_nothing() {
        let mut bytes = Bytes::new();
        bytes.extend(&[1; SHORT - 1]);
        bytes.extend(&[2; 2]);
        bytes.push(3);
        bytes.overwrite(0, &[1; 4]);
        bytes.overwrite(SHORT, &[2, 3, 9]);
        assert_eq!(bytes.len(), SHORT + 2);
        assert_eq!(bytes.as_slice().len(), SHORT + 2);
        assert_eq!(bytes.as_slice()[SHORT - 2..], [1, 2, 2, 3]);
    }
}

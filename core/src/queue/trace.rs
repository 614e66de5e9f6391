//! Which regions a queue's messages name: for whoever decides what is still needed.
//!
//! A message that carries handles begins with them: a 16-bit count, then so many 64-bit region references, little-endian.

use super::word::BlockState;
use super::{Inline, Queue, SLOT_CARRIES, SlotState, Storage};
use crate::prim::Ordering;
use crate::wait::Family;

/// The most handles in one message.
pub const MOST_HANDLES: usize = 1000;

/// Bytes that `count` handles take at the beginning of a message.
#[must_use]
pub const fn handles_len(count: usize) -> usize {
    2 + count * 8
}

/// Splits a message that carries handles: the references, and the rest. `None` if it is not well-formed.
#[must_use]
pub fn split_handles(message: &[u8]) -> Option<(impl Iterator<Item = u64> + '_, &[u8])> {
    let (count, rest) = message.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_le_bytes(*count));
    let (list, rest) = rest.split_at_checked(count * 8)?;
    let refs = list
        .chunks_exact(8)
        .map(|c| u64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]));
    Some((refs, rest))
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Calls `found` with every region reference that a committed message names.
    ///
    /// Sees every message that was committed before the call and is not taken during it; a message that is being
    /// taken may be seen or not (its taker has joined its regions before).
    pub fn trace(&self, found: &mut dyn FnMut(u64)) {
        // ORDER: Acquire, with `note_carrying`: set before the first such message was published.
        if self.storage.head().calm.carries.load(Ordering::Acquire) == 0 {
            return;
        }
        // Slots first: an item moves from slot to block, never back.
        for index in 0..self.capacity() {
            let w = self.slot_word(index);
            if w.is_block() || !matches!(w.state(), SlotState::Full | SlotState::Reading) {
                continue;
            }
            // ORDER: Relaxed, published by FULL (Q1).
            let raw = self.storage.slot(index).len.load(Ordering::Relaxed);
            let len = (raw & !SLOT_CARRIES) as usize;
            if raw & SLOT_CARRIES == 0 || len > self.storage.geometry().inline() {
                continue;
            }
            self.list(len, found, |out, n| {
                // SAFETY: `n <= len <= inline`, `out` has room for it. We may not own the slot any more: the bytes are used only
                // as numbers to look up, each checked, and a wrong one keeps a region a little longer.
                unsafe { self.storage.slot_and_bytes(index).1.read(out, n) };
            });
        }
        self.each_block(|block| {
            let w = self.block_word(block);
            if matches!(w.state(), BlockState::Free | BlockState::Owned) {
                return true;
            }
            if let Some((len, true)) = self.block_len(block) {
                self.list(len, found, |out, n| {
                    // SAFETY: as above; `block_len` checked `len` against the class.
                    unsafe { self.storage.read_block(block, out, n) };
                });
            }
            true
        });
    }

    /// Reads the handles at the beginning of a message of `len` bytes through `read`.
    fn list(&self, len: usize, found: &mut dyn FnMut(u64), read: impl Fn(*mut u8, usize)) {
        let mut bytes = [0_u8; handles_len(MOST_HANDLES)];
        let n = len.min(bytes.len());
        read(bytes.as_mut_ptr(), n);
        if let Some((refs, _)) = split_handles(&bytes[..n]) {
            refs.for_each(found);
        }
    }
}

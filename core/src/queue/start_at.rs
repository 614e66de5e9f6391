//! For tests: a queue whose counters stand where an ordinary one's would after years, and what its words hold.

use super::word::{BlockState, BlockWord, SlotWord};
use super::{Position, Queue, SlotState, Storage};
use crate::prim::Ordering;
use crate::wait::Family;

/// Where the counters stand. Zeroes are a new queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Start {
    /// The lap of head, tail and all slots; 39 bits count.
    pub lap: u64,
    /// The generation of every block; 24 bits count.
    pub generation: u32,
    /// How often something was given back.
    pub given_back: u64,
    /// The death epoch that was swept for.
    pub epoch: u32,
}

/// What is not free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InUse {
    /// Slots that are neither EMPTY nor CLOSED.
    pub slots: usize,
    /// Blocks that are not FREE.
    pub blocks: usize,
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Makes the new queue one of that age. Nobody else may use it yet, and all its memory must be committed.
    pub fn start_at(&self, start: Start) {
        let head = self.storage.head();
        let first = Position::at(start.lap, 0);
        // ORDER: Relaxed, all of these: nobody else is there.
        head.head.0.store(first.0, Ordering::Relaxed);
        head.tail.0.store(first.0, Ordering::Relaxed);
        head.calm.pend.store(start.given_back, Ordering::Relaxed);
        head.calm.scanned.store(start.given_back, Ordering::Relaxed);
        head.calm.swept.store(start.epoch, Ordering::Relaxed);
        for index in 0..self.capacity() {
            let word = SlotWord::empty(start.lap);
            self.storage.slot(index).word.store(word.0, Ordering::Relaxed);
        }
        for block in 0..self.storage.geometry().blocks() {
            let word = BlockWord(u64::from(start.generation) << 40);
            self.storage.block(block).word.store(word.0, Ordering::Relaxed);
        }
    }

    /// Counts what is not free: exact while nobody acts.
    pub fn in_use(&self) -> InUse {
        let slots = (0..self.capacity())
            .filter(|i| !matches!(self.slot_word(*i).state(), SlotState::Empty | SlotState::Closed))
            .count();
        let mut blocks = 0;
        self.each_block(|block| {
            blocks += usize::from(self.block_word(block).state() != BlockState::Free);
            true
        });
        InUse { slots, blocks }
    }
}

//! What the words of a queue say, for whoever must find out what went wrong.

use super::word::{BlockState, BlockWord, SlotWord};
use super::{Position, Queue, Storage};
use crate::prim::Ordering;
use crate::wait::Family;
use core::fmt;

/// The words of a queue, each read when its turn comes; see [`Queue::dump`].
#[derive(Clone, Copy)]
pub struct Dump<'q, 'a, S, F>(&'q Queue<'a, S, F>);

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// The queue's words, to be printed: members, hints, slots, and the blocks that are not FREE. Exact while nobody acts.
    #[must_use]
    pub fn dump(&self) -> Dump<'_, '_, S, F> {
        Dump(self)
    }
}

impl<S: Storage, F: Family> fmt::Debug for Dump<'_, '_, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queue, storage) = (self.0, self.0.storage);
        let head = storage.head();
        let calm = &head.calm;
        // ORDER: Relaxed, all of these: each is a figure of its own.
        let (pend, scanned) =
            (calm.pend.load(Ordering::Relaxed), calm.scanned.load(Ordering::Relaxed));
        let swept = calm.swept.load(Ordering::Relaxed);
        writeln!(f, "closed {}, given back {pend}, found again {scanned}", queue.flagged())?;
        writeln!(f, "swept at epoch {swept}, now {}", queue.family.death_epoch())?;
        let hints = [("head", &head.head.0), ("tail", &head.tail.0)];
        for (name, hint) in hints {
            let p = Position(hint.load(Ordering::Relaxed));
            writeln!(f, "{name} hint: slot {} of lap {}", p.index(), p.lap())?;
        }
        for (index, process) in storage.members().iter() {
            let state = if queue.family.is_dead(process) { "dead" } else { "alive" };
            writeln!(f, "member {index}: {process:?}, {state}")?;
        }
        for index in 0..queue.capacity() {
            let slot = storage.slot(index);
            let word = SlotWord(slot.word.load(Ordering::Relaxed));
            let (block, len) =
                (slot.block.load(Ordering::Relaxed), slot.len.load(Ordering::Relaxed));
            writeln!(f, "slot {index}: {word:?}, block {block}, {len} bytes inline")?;
        }
        let mut done = Ok(());
        queue.each_block(|number| {
            let block = storage.block(number);
            let word = BlockWord(block.word.load(Ordering::Relaxed));
            if word.state() != BlockState::Free {
                let (link, len) =
                    (block.link.load(Ordering::Relaxed), block.len.load(Ordering::Relaxed));
                done = writeln!(f, "block {number}: {word:?}, link {link}, {len} bytes");
            }
            done.is_ok()
        });
        done
    }
}

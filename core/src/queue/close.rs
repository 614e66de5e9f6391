//! Closing: a flag, then a mark in the ring where nothing comes after.
//!
//! A flag alone would lose the item of a producer that passed the check; so `Closed` is said only behind the mark, which
//! is set by CAS on the next EMPTY slot, and only when nothing before it can still come back.

use super::word::{BlockState, SlotWord};
use super::{GetError, Position, Queue, SlotState, Storage};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::wait::Family;

/// What the slots before the mark say.
pub(super) enum Slots {
    /// Nothing is in them.
    Clear,
    /// Somebody alive holds one.
    Held,
    /// An item was found, or a dead one's slot repaired.
    Changed,
    Corrupt,
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Closes the queue: puts are refused from now on, items already put are still delivered. True if this call closed it.
    pub fn close(&self) -> bool {
        let calm = &self.storage.head().calm;
        // ORDER: AcqRel, Q4. A `put` that did not see it may still commit; the mark decides.
        let first = calm.closed.swap(1, Ordering::AcqRel) == 0;
        hit(Point::CloseFlagged);
        self.readers().notify_all(self.family);
        self.writers().notify_all(self.family);
        self.rooms().notify_all(self.family);
        first
    }

    /// Whether the queue was closed; items may still be in it.
    pub fn is_closed(&self) -> bool {
        self.flagged()
    }

    /// The caller, who saw the flag, stands at position `p`, reached over claimed positions only, and saw it EMPTY.
    pub(super) fn mark_closed(&self, p: Position, empty: SlotWord) {
        let mark = SlotWord::new(p.lap(), 0, false, 0, SlotState::Closed);
        if self.swap_slot(p.index(), empty, mark) {
            hit(Point::CloseMarked);
        }
    }

    /// The caller saw the mark where it would read next. Is anything before it still to come? Slots first, then blocks, since an
    /// item only moves from slot to block. `None`: something was found or repaired, start again.
    pub(super) fn closed_check(&self) -> Option<GetError> {
        let (mut mine, mut others) = (0, false);
        match self.slots_behind_mark() {
            Slots::Clear => {}
            Slots::Held => others = true,
            Slots::Changed => return None,
            Slots::Corrupt => return Some(GetError::Corrupt),
        }
        if self.blocks_behind_mark(&mut mine, &mut others) {
            None
        } else if mine > 0 || others {
            Some(GetError::Leased { mine, others })
        } else {
            Some(GetError::Closed)
        }
    }

    /// The first half of the check.
    pub(super) fn slots_behind_mark(&self) -> Slots {
        let mut held = false;
        for index in 0..self.capacity() {
            let w = self.slot_word(index);
            match w.state() {
                SlotState::Full => {
                    if w.generation() != 0 && !self.given_back_waiting() {
                        // Given back: the count may not be raised yet by one who died; the scan must find it.
                        self.count_given_back();
                    }
                    return Slots::Changed;
                }
                SlotState::Writing | SlotState::Reading if self.dead(w.owner()) => {
                    self.repair_slot(index, w);
                    return Slots::Changed;
                }
                SlotState::Writing | SlotState::Reading => held = true,
                SlotState::Empty | SlotState::Closed => {}
                SlotState::Bad => return Slots::Corrupt,
            }
        }
        if held { Slots::Held } else { Slots::Clear }
    }

    /// The second half: counts the leases. True if something was found or repaired.
    pub(super) fn blocks_behind_mark(&self, mine: &mut u32, others: &mut bool) -> bool {
        let mut again = false;
        self.each_block(|block| {
            let w = self.block_word(block);
            match w.state() {
                BlockState::Leased if w.member() == self.me => *mine += 1,
                BlockState::Leased if self.dead(w.member()) => {
                    self.sweep_block(block, w);
                    again = true;
                }
                BlockState::Leased => *others = true,
                BlockState::Returned => {
                    again = true;
                    if !self.given_back_waiting() {
                        self.count_given_back();
                    }
                }
                _ => {}
            }
            true
        });
        again
    }
}

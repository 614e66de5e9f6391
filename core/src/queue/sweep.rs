//! Repair: what survivors do with words that name the dead. Idempotent, by any number at once, each of which may die.
//!
//! Deadness is tested on the word just read, and every change is a CAS of that exact word.
//!
//! | # | finds | does |
//! |---|---|---|
//! | S1 | slot (L,WRITING,dead) at p | while its block is QUEUED(p): CAS → FREE. **Then** slot → (L+1,EMPTY) |
//! | S2 | slot (L,READING,dead,block) at p | while its block is QUEUED(p): CAS → RETURNED. Then slot → (L+1,EMPTY) |
//! | S2i | slot (L,READING,dead,inline) at p | while its block is QUEUED(p) *and the slot's word is still the same*: CAS → FREE (an unfinished move). Then slot → (L,FULL,g+1), then `pend`+1 |
//! | S3 | OWNED(dead) | CAS → FREE |
//! | S4 | LEASED(dead) | CAS → RETURNED (or DEAD at the limit) |
//! | S5 | a ticket whose requester is dead; QUEUED, LEASED, RETURNED, DEAD | CAS: clear the ticket |
//! | S6 | REPLIED(r)T whose requester is dead | if r is REPLY(b): **b unchanged?** CAS r → FREE; then CAS b → FREE |
//! | S7 | r REPLY(b) whose writer is dead | b is REPLIED(r): leave it; else CAS r → FREE |
//! | S8 | end | any RETURNED, or FULL with a generation, seen or made: `pend`+1; member indices free; `swept` = the epoch read at the *beginning* |

use super::word::{BlockState, BlockWord, NO_BLOCK, SlotWord};
use super::{Position, Queue, SlotState, Storage};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::process::ProcessRef;
use crate::wait::Family;

/// Dead members whose indices one pass frees; more are done by the next pass.
const MOST_FREED: usize = 32;

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Sweeps if a death was noticed since the last sweep. True if it swept.
    #[inline]
    pub fn sweep_if_due(&self) -> bool {
        // ORDER: Acquire, Q6 with the store at the end of a sweep.
        let swept = self.storage.head().calm.swept.load(Ordering::Acquire);
        if self.family.death_epoch() == swept {
            return false;
        }
        self.sweep();
        true
    }

    /// Repairs every word that names a dead member, frees the dead's indices, and wakes who may go on because of it.
    #[cold]
    pub fn sweep(&self) {
        loop {
            let epoch = self.family.death_epoch();
            // Who is dead *before* the pass: only their indices are free after it.
            let mut dead = [(0_u16, ProcessRef::NONE); MOST_FREED];
            let mut count = 0;
            let mut more = false;
            for (index, process) in self.storage.members().iter() {
                if index != self.me && self.family.is_dead(process) {
                    if count == MOST_FREED {
                        more = true;
                        break;
                    }
                    dead[count] = (index, process);
                    count += 1;
                }
            }
            hit(Point::SweepBegun);
            let mut returned = false;
            for index in 0..self.capacity() {
                let w = self.slot_word(index);
                if matches!(w.state(), SlotState::Writing | SlotState::Reading)
                    && self.dead(w.owner())
                {
                    self.repair_slot(index, w);
                }
                // One who repaired it may have died before it counted.
                let w = self.slot_word(index);
                returned |= w.state() == SlotState::Full && w.generation() != 0;
            }
            self.each_block(|block| {
                loop {
                    let w = self.block_word(block);
                    returned |= w.state() == BlockState::Returned;
                    if !self.sweep_block(block, w) {
                        break true;
                    }
                }
            });
            if returned {
                self.count_given_back();
                hit(Point::SweepCounted);
            }
            // In a ring of a chain, other rings may still name them: the chain frees them, and counts how many there are.
            let more = more && !S::PART;
            for (index, process) in dead[..count].iter().filter(|_| !S::PART) {
                self.storage.members().free_if(*index, *process);
                hit(Point::SweepMemberFreed);
            }
            let calm = &self.storage.head().calm;
            if !more {
                // Monotone in the sense of a wrapping count; a value ahead of the epoch was never swept for.
                // ORDER: Release, Q6.
                let mut seen = calm.swept.load(Ordering::Relaxed);
                while (epoch.wrapping_sub(seen) as i32) > 0
                    || (self.family.death_epoch().wrapping_sub(seen) as i32) < 0
                {
                    match calm.swept.compare_exchange(
                        seen,
                        epoch,
                        Ordering::Release,
                        Ordering::Relaxed,
                    ) {
                        Ok(_) => break,
                        Err(now) => seen = now,
                    }
                }
            }
            self.readers().notify_all(self.family);
            self.writers().notify_all(self.family);
            self.rooms().notify_all(self.family);
            if !more {
                return;
            }
        }
    }

    /// S1, S2, S2i: `w`, just read from slot `index`, is WRITING or READING by a dead member.
    pub(super) fn repair_slot(&self, index: u32, w: SlotWord) {
        let p = Position::at(w.lap(), index);
        let slot = self.storage.slot(index);
        let reading = w.state() == SlotState::Reading;
        let moved = reading && w.is_block();
        // The block first: a sweeper that dies after the slot would leave it to nobody.
        loop {
            // ORDER: Acquire, Q1: a newer name than the word's is caught by the test below.
            let block = slot.block.load(Ordering::Acquire);
            if !self.known(block) {
                break;
            }
            let b = self.block_word(block);
            if !b.is(BlockState::Queued, p.low()) {
                break;
            }
            // The lap does not move when an inline item goes back to FULL, so `b` may be the work of a later, living
            // reader of the same slot: only if the slot's word is unchanged after `b` was read, `b` is the dead one's.
            if self.slot_word(index) != w {
                return;
            }
            let limit = self.storage.geometry().options().most_deliveries;
            let to = if moved { b.given_back(limit) } else { b.freed() };
            if self.swap_block(block, b, to) {
                hit(Point::SweepSlotBlock);
                if moved {
                    self.count_given_back();
                    if to.state() == BlockState::Dead {
                        self.storage.block(block).bell.notify_all(self.family);
                    }
                } else {
                    self.freed(block);
                }
            }
        }
        if reading && !moved {
            let generation = w.generation().wrapping_add(1);
            // Never 0 again: 0 says that the item was never given back.
            let generation = if generation == 0 { 1 } else { generation };
            let back = SlotWord::new(w.lap(), generation, false, 0, SlotState::Full);
            if self.swap_slot(index, w, back) {
                hit(Point::SweepReverted);
                self.count_given_back();
            }
        } else if self.swap_slot(index, w, SlotWord::empty(w.lap() + 1)) {
            hit(Point::SweepSlotDone);
            self.writers().notify_one(self.family);
            self.after_commit();
        }
    }

    /// S3-S7 for one block whose word was just read as `w`. True if the word was or should be looked at again.
    pub(super) fn sweep_block(&self, block: u32, w: BlockWord) -> bool {
        let limit = self.storage.geometry().options().most_deliveries;
        match w.state() {
            BlockState::Free => false,
            BlockState::Owned => self.dead(w.member()) && self.sweep_free(block, w),
            BlockState::Leased if self.dead(w.member()) => {
                let to = w.given_back(limit);
                if self.swap_block(block, w, to) {
                    hit(Point::SweepBlockDone);
                    if to.state() == BlockState::Returned {
                        self.count_given_back();
                    } else {
                        self.storage.block(block).bell.notify_all(self.family);
                    }
                }
                true
            }
            BlockState::Queued | BlockState::Leased | BlockState::Returned | BlockState::Dead => {
                if w.ticket() && self.dead_link(block) {
                    if self.swap_block(block, w, w.with_ticket(false)) {
                        hit(Point::SweepBlockDone);
                    }
                    true
                } else {
                    false
                }
            }
            BlockState::Reply => {
                let request = w.aux();
                if !self.dead_link(block) || !self.known(request) {
                    return false;
                }
                let answered = self.block_word(request).is(BlockState::Replied, block);
                !answered && self.sweep_free(block, w)
            }
            BlockState::Replied => {
                if !w.ticket() || !self.dead_link(block) {
                    return false;
                }
                let result = w.aux();
                if result != NO_BLOCK && self.known(result) {
                    let r = self.block_word(result);
                    if r.is(BlockState::Reply, block) {
                        // Another sweeper may have freed both, and both be in use again as another request and its result.
                        if self.block_word(block) != w {
                            return true;
                        }
                        if self.swap_block(result, r, r.freed()) {
                            hit(Point::SweepResultFreed);
                            self.freed(result);
                        }
                    }
                }
                self.sweep_free(block, w)
            }
        }
    }

    fn sweep_free(&self, block: u32, w: BlockWord) -> bool {
        if self.swap_block(block, w, w.freed()) {
            hit(Point::SweepBlockDone);
            self.freed(block);
        }
        true
    }

    /// Whether the process in the block's link is dead. The link was written before the word was published.
    pub(super) fn dead_link(&self, block: u32) -> bool {
        // ORDER: Acquire: before the CAS that tests the word again.
        let link = self.storage.block(block).link.load(Ordering::Acquire);
        u16::try_from(link).is_ok_and(|member| self.dead(member))
    }
}

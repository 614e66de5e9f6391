//! The crash-tolerant queue: many producers, many consumers, bounded, with leases and replies.
//!
//! Any participant may be killed between any two instructions. What commits:
//!
//! - a **put** with the store that makes its slot FULL: before it, death leaves no trace; after it, the item is delivered;
//! - a **get** with the store (or CAS) after which the item is nobody else's: death before it means delivery to another,
//!   death after it means that the item shared its taker's fate;
//! - a **lease** with `commit` or `reply`; death, drop and unwinding give the item back, counted.
//!
//! # Slots
//!
//! A ring of slots, each with one 64-bit word that names its lap, its state and its owner. A participant claims the
//! *slot* by CAS, its own member index goes into the word; `head` and `tail` are hints that may be stale. So a dead
//! owner is visible in the word itself, and anyone can repair it. Position p is claimed only after p-1 was.
//!
//! | # | from → to | by | how |
//! |---|---|---|---|
//! | 1 | (L,EMPTY) → (L,WRITING,me) | producer | CAS |
//! | 2 | (L,WRITING,me) → (L,FULL) | producer: **commit of a put** | store |
//! | 3 | (L,FULL,g) → (L,READING,me,g) | consumer | CAS |
//! | 4 | (L,READING,me) → (L+1,EMPTY) | consumer: **commit of a get** of an inline item | store |
//! | 5 | (L,READING,me,inline) → (L,READING,me,block) | consumer that leases an inline item, once the block is QUEUED | store |
//! | 6 | (L,WRITING,dead) → (L+1,EMPTY) | sweeper, after its block is free | CAS |
//! | 7 | (L,READING,dead,inline,g) → (L,FULL,g+1), then `pend`+1 | sweeper, after an unfinished 5 is undone | CAS |
//! | 8 | (L,READING,dead,block) → (L+1,EMPTY) | sweeper, after its block is RETURNED | CAS |
//! | 9 | (L,EMPTY) → (L,CLOSED) | whoever stands there and saw the flag | CAS |
//!
//! # Blocks
//!
//! Messages that do not fit a slot, leased items and replies lie in blocks, whose heads are the truth: there is no
//! free list. Block words change as in `lease.rs`, `loan.rs`, `ticket.rs` and `sweep.rs`; each file has its part of the table.
//!
//! # Orderings
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | Q1 publish | put: FULL store, block QUEUED store (Release) | consumer's load of the word (Acquire) | the message |
//! | Q2 recycle | (L+1,EMPTY) store, block FREE (Release) | producer's load or CAS (Acquire) | the reader is done with the bytes |
//! | Q3 give back | block RETURNED, slot FULL again, then `pend` (Release) | scanner's load of `pend` (Acquire) | what to look for |
//! | Q4 close | the flag, then the mark (Release) | load of the mark (Acquire) | nothing comes after |
//! | Q5 answer | block REPLIED CAS (Release) | requester's load (Acquire) | the result |
//! | Q6 swept | `swept` (Release) | load (Acquire) | the repairs |
//!
//! The claiming CASes are AcqRel: they continue the release sequence of the word they replace. Hints are Relaxed: nothing
//! is read through them.
//!
//! # Not promised
//!
//! Laps have 39 bits, an inline item's generation 8 and a block's 24: a thread that is stopped in the middle of a CAS, and goes on in
//! exactly the same state of all of them after they wrapped, would err.

mod batch;
mod block;
mod chain;
mod close;
mod dump;
mod error;
mod layout;
mod lease;
mod loan;
mod mapped;
mod put;
pub mod spsc;
#[cfg(any(feature = "points", offspring_loom))]
mod start_at;
mod storage;
mod sweep;
mod take;
mod ticket;
mod trace;
mod word;

#[cfg(all(test, not(offspring_loom)))]
mod tests;

pub use chain::{
    Chain, ChainHead, ChainStorage, InChain, MakeError, Pin, RingControl, RingState, RingWord,
};
pub use dump::Dump;
pub use error::{Corrupt, GetError, NoMemory, PutError, ReplyError};
pub use layout::{BadOptions, Class, Geometry, MOST_CLASSES, Options};
pub use lease::{LeaseToken, Replied};
pub use loan::LoanToken;
pub use mapped::{Commit, Mapped, MappedInline};
#[cfg(any(feature = "points", offspring_loom))]
#[doc(hidden)]
pub use start_at::{InUse, Start};
pub use storage::{BlockHead, Head, Inline, SlotHead, Storage};
pub use take::{Buffer, Mode, Taken};
pub use ticket::{Answer, TicketToken};
pub use trace::{MOST_HANDLES, handles_len, split_handles};
pub use word::{BlockState, MOST_BLOCKS, MOST_SLOTS, Position, SlotState};

use crate::prim::Ordering;
use crate::process::Liveness;
use crate::wait::{EventCount, Family};

/// One message: its bytes, and whether they begin with a list of handles.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What travels.
    pub bytes: &'a [u8],
    /// Whether the bytes name regions that must live as long as the message does.
    pub carries: bool,
}

/// Length words: bit 31 (slot) or 63 (block) says that the message carries handles.
const SLOT_CARRIES: u32 = 1 << 31;
const BLOCK_CARRIES: u64 = 1 << 63;

/// One participant's access to a queue: where it lies, who watches over the participants, and which of its members acts.
///
/// All operations here return at once; waiting is [`crate::block_on`]'s, on [`readers`](Self::readers) and
/// [`writers`](Self::writers). Nothing allocates.
#[derive(Debug)]
pub struct Queue<'a, S, F> {
    storage: &'a S,
    family: &'a F,
    me: u16,
}

impl<S, F> Clone for Queue<'_, S, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, F> Copy for Queue<'_, S, F> {}

impl<'a, S: Storage, F: Family> Queue<'a, S, F> {
    /// The queue in `storage`, for its member `me`.
    ///
    /// `me` must be an index that the caller's process holds in the queue's member table: with another one, items
    /// may be lost or delivered twice (memory stays safe only as far as the storage's own promises go).
    #[inline(always)]
    pub fn new(storage: &'a S, family: &'a F, me: u16) -> Self {
        Self { storage, family, me }
    }

    /// The family.
    #[inline(always)]
    pub fn family(&self) -> &'a F {
        self.family
    }

    /// The other members, beginning behind the caller's index and going round: whom a sleeper watches.
    pub fn others(&self) -> impl Iterator<Item = crate::process::ProcessRef> + use<'a, S, F> {
        let (members, me) = (self.storage.members(), self.me);
        let behind = members.iter().filter(move |(index, _)| *index > me);
        let before = members.iter().take_while(move |(index, _)| *index < me);
        behind.chain(before).map(|(_, process)| process)
    }

    /// Where readers sleep.
    pub fn readers(&self) -> &'a EventCount {
        self.storage.readers()
    }

    /// Where those sleep that found no block (`NoRoom`): writers, and readers that lease.
    pub fn rooms(&self) -> &'a EventCount {
        self.storage.rooms()
    }

    /// Where writers sleep that found no slot (`Full`).
    pub fn writers(&self) -> &'a EventCount {
        self.storage.writers()
    }

    /// Slots.
    pub fn capacity(&self) -> u32 {
        self.storage.geometry().capacity()
    }

    /// Whether the process that has member index `member` is dead. A word that names nobody is nobody's death.
    fn dead(&self, member: u16) -> bool {
        member != self.me && {
            let process = self.storage.members().get(member);
            !process.is_none() && self.family.is_dead(process)
        }
    }

    /// Looks whether any member died unnoticed, and repairs what the dead left. True if something was swept.
    pub fn recover(&self) -> bool {
        // All are asked, so that every death is noticed. Whoever noticed one of them may have died before it raised the epoch:
        // that a member is dead is reason enough.
        let mut dead = false;
        for (index, process) in self.storage.members().iter() {
            dead |= index != self.me && self.family.is_dead(process);
        }
        if dead {
            self.sweep();
            return true;
        }
        self.sweep_if_due()
    }

    /// A guess whether an item is there for the next `get`: one look at the hint.
    pub fn is_next_ready(&self) -> bool {
        // ORDER: Relaxed. A hint.
        let hint = self.storage.head().head.0.load(Ordering::Relaxed);
        Position::checked(hint, self.capacity()).is_some_and(|p| {
            let w = self.slot_word(p.index());
            w.lap() == p.lap() && w.state() == SlotState::Full
        })
    }

    /// A snapshot of how many items are there for a `get` or `lease`: exact while nobody acts. Takes time in
    /// proportion to the answer.
    pub fn len(&self) -> usize {
        let (mut full, capacity) = (0, self.capacity());
        let head = self.storage.head();
        let behind = if self.given_back_waiting() { self.count_returned() } else { 0 };
        // ORDER: Relaxed. A hint.
        let hint = head.head.0.load(Ordering::Relaxed);
        let Some(mut p) = Position::checked(hint, capacity) else { return behind };
        for _ in 0..capacity * 3 {
            // ORDER: Acquire, Q1; only the state is used.
            let w = self.slot_word(p.index());
            if w.is_after(p) {
                // Takers that died have left the hint where it was. Whatever is still there is in the last lap before the one
                // that this slot has finished.
                let far = Position::at(w.lap().wrapping_sub(2), p.index());
                p = if p.is_before(far) { far } else { p }.next(capacity);
                continue;
            }
            if w.is_before(p)
                || w.lap() == p.lap() && matches!(w.state(), SlotState::Empty | SlotState::Closed)
            {
                break;
            }
            if w.lap() == p.lap()
                && w.state() == SlotState::Full
                && (behind == 0 || w.generation() == 0)
            {
                full += 1;
            }
            p = p.next(capacity);
        }
        full + behind
    }

    /// Whether a `get` would have found nothing just now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a `put` would have found no slot just now.
    pub fn is_full(&self) -> bool {
        let capacity = self.capacity();
        // ORDER: Relaxed. A hint.
        let hint = self.storage.head().tail.0.load(Ordering::Relaxed);
        let Some(mut p) = Position::checked(hint, capacity) else { return false };
        for _ in 0..=capacity * 2 {
            let w = self.slot_word(p.index());
            if w.is_after(p) {
                // Putters that died have left the hint where it was: all up to the lap that this slot has finished is claimed.
                p = Position::at(w.lap().wrapping_sub(1), p.index()).next(capacity);
                continue;
            }
            if w.is_before(p) {
                return true;
            }
            if w.lap() == p.lap() && w.state() == SlotState::Empty {
                return false;
            }
            p = p.next(capacity);
        }
        true
    }

    /// Items given back and not yet found again: in blocks, or in slots that the head hint has passed.
    fn count_returned(&self) -> usize {
        let slots = (0..self.capacity()).filter(|i| {
            let w = self.slot_word(*i);
            w.state() == SlotState::Full && w.generation() != 0
        });
        let mut blocks = 0;
        self.each_block(|b| {
            if self.block_word(b).state() == BlockState::Returned {
                blocks += 1;
            }
            true
        });
        slots.count() + blocks
    }

    /// Whether something was given back that no scan has cleared.
    #[inline(always)]
    fn given_back_waiting(&self) -> bool {
        let calm = &self.storage.head().calm;
        // ORDER: Acquire, Q3. `scanned` Relaxed: an old value only costs a scan.
        calm.pend.load(Ordering::Acquire) != calm.scanned.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn slot_word(&self, index: u32) -> word::SlotWord {
        // ORDER: Acquire, Q1 with the FULL store and Q2 with the EMPTY store.
        word::SlotWord(self.storage.slot(index).word.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn block_word(&self, block: u32) -> word::BlockWord {
        // ORDER: Acquire, Q1 with QUEUED, Q3 with RETURNED, Q5 with REPLIED, Q2 with FREE.
        word::BlockWord(self.storage.block(block).word.load(Ordering::Acquire))
    }

    /// Exchanges a slot's exact word.
    #[inline(always)]
    fn swap_slot(&self, index: u32, from: word::SlotWord, to: word::SlotWord) -> bool {
        // ORDER: AcqRel: acquires what the replaced word published (Q1, Q2) and continues its release sequence.
        let word = &self.storage.slot(index).word;
        word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Exchanges a block's exact word.
    #[inline(always)]
    fn swap_block(&self, block: u32, from: word::BlockWord, to: word::BlockWord) -> bool {
        // ORDER: AcqRel, as in `swap_slot`; Q3 and Q5 where the new word is RETURNED or REPLIED.
        let word = &self.storage.block(block).word;
        word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Wakes one reader, or all once the queue is closed: then each must see for itself whether anything is left.
    #[inline(always)]
    fn wake_reader(&self) {
        self.readers().notify_one(self.family);
        self.after_commit();
    }

    /// After a commit: once the flag is set, every reader must look again (a reader may sleep because of what just ended).
    #[inline(always)]
    fn after_commit(&self) {
        // The light barrier of the notification before (or this one's) orders the commit before this load.
        if self.storage.is_closing() {
            self.readers().notify_all(self.family);
        }
    }

    #[inline(always)]
    fn flagged(&self) -> bool {
        self.storage.is_ended()
    }
}

impl<S, F: Liveness> Queue<'_, S, F> {
    /// The member that acts.
    #[must_use]
    pub fn me(&self) -> u16 {
        self.me
    }
}

//! Putting: claim the next slot, write, publish with one store.

use super::block::Use;
use super::word::{BlockState, SlotWord};
use super::{
    BLOCK_CARRIES, Inline, Message, Position, PutError, Queue, SLOT_CARRIES, SlotHead, SlotState,
    Storage, TicketToken,
};
use crate::points::{Point, hit};
use crate::prim::{AtomicU64, Ordering, spin};
use crate::wait::Family;

/// Steps beyond four laps after which a walk looks whether its hint moved. If not, nobody else acted, and the words
/// are not the protocol's: a walk from the hint to the end takes two laps at most, and each participant can be between its
/// claim and its hint once.
const SLACK_STEPS: u32 = 1 << 16;

/// Ends a walk that would never end.
pub(super) struct Steps {
    left: u32,
    hint: u64,
}

impl Steps {
    pub(super) fn new(capacity: u32, hint: u64) -> Self {
        Self { left: capacity * 4 + SLACK_STEPS, hint }
    }

    /// Takes `n` steps; false if the walk can only be on overwritten words.
    #[inline(always)]
    pub(super) fn take(&mut self, n: u32, capacity: u32, hint: &AtomicU64) -> bool {
        if self.left > n {
            self.left -= n;
            return true;
        }
        // ORDER: Relaxed. A hint.
        let now = hint.load(Ordering::Relaxed);
        let moved = now != self.hint;
        *self = Self::new(capacity, now);
        moved
    }
}

/// Looks at a hint that others are ahead of, each twice as long after the one before (1, 2, 4 ... 64 pauses), before the walk.
pub(super) const TURNS: u32 = if cfg!(offspring_loom) { 1 } else { 7 };

pub(super) enum Claim {
    At(Position),
    Full,
    Closed,
    Corrupt,
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Puts `message`, if a slot (and for a large one a block) is free.
    ///
    /// Committed with one store: when this returns `Ok`, every process sees the item. On an error nothing is left behind.
    ///
    /// # Errors
    ///
    /// See [`PutError`]; `Full` and `NoRoom` may end by waiting.
    #[inline(always)]
    pub fn try_put(&self, message: Message<'_>) -> Result<(), PutError> {
        if self.lies_in_slot(&message) {
            self.put_inline(message)
        } else {
            self.put_block(message, false).map(|_| ())
        }
    }

    /// Whether `message` goes into a slot; else it goes into a block.
    #[inline(always)]
    pub(super) fn lies_in_slot(&self, message: &Message<'_>) -> bool {
        let geometry = self.storage.geometry();
        message.bytes.len() <= geometry.inline() && geometry.options().most_deliveries == 0
    }

    /// Puts `message` as a request: whoever leases it can reply, and the ticket gets the reply.
    ///
    /// The ticket must be ended with [`take_answer`](Self::take_answer) or [`drop_ticket`](Self::drop_ticket).
    ///
    /// # Errors
    ///
    /// As [`try_put`](Self::try_put); `NoReplies` if the queue was not made for it.
    pub fn try_request(&self, message: Message<'_>) -> Result<TicketToken, PutError> {
        if !self.storage.geometry().options().replies {
            return Err(PutError::NoReplies);
        }
        self.put_block(message, true).map(|block| TicketToken { ring: 0, block })
    }

    #[inline(always)]
    fn put_inline(&self, message: Message<'_>) -> Result<(), PutError> {
        hit(Point::PutBeforeClaim);
        let p = match self.claim_at_hint() {
            Some(p) => p,
            None => match self.claim() {
                Claim::At(p) => p,
                other => return Err(other.error()),
            },
        };
        hit(Point::PutClaimed);
        let slot = self.storage.slot_and_bytes(p.index());
        self.write_slot(slot, message);
        self.publish(slot.0, p, false);
        self.wake_reader();
        Ok(())
    }

    /// Writes `message` into a slot that is WRITING by us; it fits.
    #[inline(always)]
    pub(super) fn write_slot(
        &self,
        (slot, inline): (&SlotHead, S::Inline<'_>),
        message: Message<'_>,
    ) {
        if message.carries {
            self.note_carrying();
        }
        let len = message.bytes.len() as u32 | if message.carries { SLOT_CARRIES } else { 0 };
        // ORDER: Relaxed. Published by the FULL store, Q1.
        slot.len.store(len, Ordering::Relaxed);
        // SAFETY: our CAS made the slot WRITING with our index, and nobody else touches a WRITING slot unless its owner
        // is dead. The callers asked `lies_in_slot`.
        unsafe { inline.write(message.bytes) };
        hit(Point::PutWritten);
    }

    fn put_block(&self, message: Message<'_>, ticket: bool) -> Result<u32, PutError> {
        let block = self.put_block_quietly(message, ticket)?;
        self.wake_reader();
        Ok(block)
    }

    /// Puts a message in a block, and leaves the waking to the caller.
    pub(super) fn put_block_quietly(
        &self,
        message: Message<'_>,
        ticket: bool,
    ) -> Result<u32, PutError> {
        // Asked first, so that a full or closed queue costs no block; asked again by the claim.
        if self.flagged() {
            return Err(PutError::Closed);
        }
        let block = self.fill_block(message)?;
        if message.carries {
            self.note_carrying();
        }
        match self.queue_block(block, ticket) {
            Ok(()) => Ok(block),
            Err(why) => {
                self.free_block(block);
                Err(why)
            }
        }
    }

    /// Makes a block that is OWNED by us, and written, an item: a slot names it, and is published. Wakes nobody. On an error the
    /// block is still OWNED by us.
    pub(super) fn queue_block(&self, block: u32, ticket: bool) -> Result<(), PutError> {
        hit(Point::PutBeforeClaim);
        let p = match self.claim_next() {
            Claim::At(p) => p,
            other => return Err(other.error()),
        };
        hit(Point::PutClaimed);
        // ORDER: Relaxed. Published by the FULL store, Q1; a sweeper checks it against the block's word.
        let slot = self.storage.slot(p.index());
        slot.block.store(block, Ordering::Relaxed);
        hit(Point::PutBlockNamed);
        let owned = self.block_word(block);
        let queued = owned.to(BlockState::Queued, p.low()).with_ticket(ticket);
        // ORDER: Release, Q1. A plain store: the block is OWNED by us. It comes before FULL, or a reader could find a
        // FULL slot whose block is not QUEUED.
        self.storage.block(block).word.store(queued.0, Ordering::Release);
        hit(Point::PutBlockQueued);
        self.publish(slot, p, true);
        Ok(())
    }

    /// Says once and for all that messages of this queue may name regions.
    fn note_carrying(&self) {
        let carries = &self.storage.head().calm.carries;
        // ORDER: Relaxed, Release: before the item is published (Q1), and never unset.
        if carries.load(Ordering::Relaxed) == 0 {
            carries.store(1, Ordering::Release);
        }
    }

    /// The commit, and the hint.
    #[inline(always)]
    fn publish(&self, slot: &SlotHead, p: Position, block: bool) {
        self.store_full(slot, p, block);
        self.advance_tail(p);
        hit(Point::PutHinted);
    }

    /// The commit: (L,WRITING,me) → (L,FULL).
    #[inline(always)]
    pub(super) fn store_full(&self, slot: &SlotHead, p: Position, block: bool) {
        let full = SlotWord::new(p.lap(), 0, block, 0, SlotState::Full);
        // ORDER: Release, Q1. A plain store: the word is ours while WRITING names us.
        slot.word.store(full.0, Ordering::Release);
        hit(Point::PutCommitted);
    }

    /// Position `p` is claimed: the next one may be free.
    #[inline(always)]
    pub(super) fn advance_tail(&self, p: Position) {
        let tail = &self.storage.head().tail.0;
        let next = p.next(self.capacity());
        // ORDER: Relaxed. A hint: a stale or backward value costs probes only.
        if Position(tail.load(Ordering::Relaxed)).is_before(next) {
            tail.store(next.0, Ordering::Relaxed);
        }
    }

    /// Claims the next position.
    pub(super) fn claim_next(&self) -> Claim {
        match self.claim_at_hint() {
            Some(p) => Claim::At(p),
            None => self.claim(),
        }
    }

    /// Claims the position that the hint names, if it is EMPTY. Whoever finds it taken steps back for a while and looks at the
    /// hint again, not at the next slot: it lies in the line that the winner is about to write. So one producer at a
    /// time has long runs, which is what a contended ring is fastest with.
    #[inline(always)]
    fn claim_at_hint(&self) -> Option<Position> {
        let capacity = self.capacity();
        for turn in 0..TURNS {
            // ORDER: Relaxed. A hint.
            let hint = self.storage.head().tail.0.load(Ordering::Relaxed);
            let p = Position::checked(hint, capacity)?;
            if self.flagged() {
                return None;
            }
            let slot = self.storage.slot(p.index());
            // ORDER: Acquire, Q2 with the EMPTY store.
            let w = SlotWord(slot.word.load(Ordering::Acquire));
            let empty = SlotWord::empty(p.lap());
            let mine = empty.claimed(self.me);
            // ORDER: AcqRel, as in `swap_slot`.
            if w == empty
                && slot
                    .word
                    .compare_exchange(empty.0, mine.0, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                return Some(p);
            }
            if w.is_before(p) {
                return None; // full, or held by an older lap: the walk finds out
            }
            (0..1 << turn).for_each(|_| spin());
        }
        None
    }

    /// Claims the next position: walks from the hint over claimed ones to the first EMPTY.
    #[cold]
    #[inline(never)]
    fn claim(&self) -> Claim {
        let capacity = self.capacity();
        let hint = &self.storage.head().tail.0;
        // ORDER: Relaxed. A hint.
        let start = hint.load(Ordering::Relaxed);
        let Some(mut p) = Position::checked(start, capacity) else {
            return Claim::Corrupt;
        };
        if self.flagged() {
            return Claim::Closed;
        }
        let mut steps = Steps::new(capacity, start);
        while steps.take(1, capacity, hint) {
            let w = self.slot_word(p.index());
            if w.lap() == p.lap() {
                match w.state() {
                    SlotState::Empty => {
                        let mine = w.claimed(self.me);
                        if self.swap_slot(p.index(), w, mine) {
                            return Claim::At(p);
                        }
                        // Somebody was faster: look at the same slot again.
                    }
                    SlotState::Closed => return Claim::Closed,
                    SlotState::Bad => return Claim::Corrupt,
                    _ => p = p.next(capacity),
                }
            } else if w.is_after(p) {
                // Lapped: the hint was old, perhaps by far (a putter stood still between looking at it and storing it). All
                // positions up to the lap that this slot has finished are claimed, so the walk goes on behind them.
                p = Position::at(w.lap().wrapping_sub(1), p.index()).next(capacity);
            } else {
                // The lap before still lies here.
                if matches!(w.state(), SlotState::Writing | SlotState::Reading)
                    && self.dead(w.owner())
                {
                    self.repair_slot(p.index(), w);
                } else {
                    return Claim::Full;
                }
            }
        }
        Claim::Corrupt
    }
}

impl Claim {
    #[cold]
    pub(super) fn error(self) -> PutError {
        match self {
            Self::Closed => PutError::Closed,
            Self::Corrupt => PutError::Corrupt,
            Self::Full | Self::At(_) => PutError::Full,
        }
    }
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Takes a block for `message`, writes it and makes it ready to be named: OWNED by us.
    pub(super) fn fill_block(&self, message: Message<'_>) -> Result<u32, PutError> {
        let len = message.bytes.len();
        let Some(class) = self.storage.geometry().class_for(len) else {
            let most = self.storage.geometry().options().most_message as usize;
            return Err(PutError::TooLarge { len, most });
        };
        let block = self.take_block(class, Use::Put)?;
        self.write_owned(block, message);
        Ok(block)
    }

    /// Writes `message` into a block that is OWNED by us and large enough.
    pub(super) fn write_owned(&self, block: u32, message: Message<'_>) {
        let len = message.bytes.len() as u64 | if message.carries { BLOCK_CARRIES } else { 0 };
        self.note_len(block, len);
        // SAFETY: the block is OWNED by us (our CAS in `take_block` or `take_pair`), its class takes `len` bytes and its
        // memory was committed before the CAS.
        unsafe { self.storage.write_block(block, message.bytes) };
        hit(Point::BlockWritten);
    }

    /// Writes down how long the message is in a block that is OWNED by us (with its flag), and who wrote it.
    pub(super) fn note_len(&self, block: u32, len: u64) {
        let head = self.storage.block(block);
        // ORDER: Relaxed. Published with the block's next word (Q1, Q5); a sweeper reads `link` only through its CAS on the
        // word, whose generation is another once the block was freed.
        head.len.store(len, Ordering::Relaxed);
        head.link.store(u32::from(self.me), Ordering::Relaxed);
    }
}

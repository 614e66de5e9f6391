//! Taking an item: for good (`get`) or on trial (`lease`).
//!
//! The walk starts at the head hint and passes what others hold: live readers freely, live writers only if they are still
//! at it, every one of them unchanged, when the item behind them is claimed. At the moment of the last look none of them
//! had published, so the item claimed was the first one there: the order stays that of a queue.

use super::block::{NoBlock, Use};
use super::lease::LeaseToken;
use super::put::{Steps, TURNS};
use super::word::{BlockState, SlotWord};
use super::{GetError, Inline, Position, Queue, SLOT_CARRIES, SlotHead, SlotState, Storage};
use crate::points::{Point, hit};
use crate::prim::{Ordering, spin};
use crate::wait::Family;

/// Where a message is copied to.
///
/// # Safety
///
/// Implementors promise that the pointer that `room(len)` returns is valid for writes of `len` bytes until the next call.
pub unsafe trait Buffer {
    /// Room for a message of `len` bytes.
    fn room(&mut self, len: usize) -> *mut u8;

    /// The message of `len` bytes is there; `carries` as its sender said. Called before the item is taken for good: whatever
    /// must exist before the message may go (membership in the regions it names) is done here.
    fn filled(&mut self, len: usize, carries: bool);

    /// Whether an item that is leased, and lies in a block, shall not be copied: it is read where it lies
    /// ([`Queue::lease_address`]).
    const IN_PLACE: bool = false;
}

/// For good, or on trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The item shares the caller's fate.
    Get,
    /// The item comes back unless the lease is committed.
    Lease,
}

/// What was taken; its message is in the buffer.
#[derive(Debug)]
pub enum Taken {
    /// For good.
    Item,
    /// On trial.
    Lease(LeaseToken),
}

/// Live writers that one walk passes.
const MOST_PASSED: usize = 8;

/// What a walk passed and what must still be as it was when the item behind it is claimed, so that the order stays.
pub(super) struct Trail {
    passed: [(Position, SlotWord); MOST_PASSED],
    count: usize,
    over: bool,
}

impl Trail {
    pub(super) const fn new() -> Self {
        let nowhere = (Position(0), SlotWord(0));
        Self { passed: [nowhere; MOST_PASSED], count: 0, over: false }
    }

    /// Whether nothing was passed.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the walk ended because there was too much to pass.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    fn clear(&mut self) {
        (self.count, self.over) = (0, false);
    }

    fn first(&self) -> Option<Position> {
        self.passed[..self.count].first().map(|(p, _)| *p)
    }

    fn pass(&mut self, p: Position, w: SlotWord) -> bool {
        match self.passed.get_mut(self.count) {
            Some(next) => {
                *next = (p, w);
                self.count += 1;
            }
            None => self.over = true,
        }
        !self.over
    }
}

/// A claimed slot (READING by us), or a block taken out of RETURNED.
enum Found {
    Slot(Position, SlotWord, Option<Position>),
    Block(u32),
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Takes an item and copies its message into `buffer`.
    ///
    /// `thorough` also looks for members that died unnoticed before it says that nothing is there; a spinning caller
    /// leaves that for the last look before it sleeps.
    ///
    /// # Errors
    ///
    /// See [`GetError`]; `Empty`, `Leased` and `NoRoom` may end by waiting.
    #[inline(always)]
    pub fn try_take<B: Buffer>(
        &self,
        mode: Mode,
        thorough: bool,
        buffer: &mut B,
    ) -> Result<Taken, GetError> {
        // A lease of an item that lies in its slot moves it to a block; taken before the claim, so that the claim never has to
        // be undone for want of one.
        let mut spare = None;
        let done = self.take(mode, thorough, buffer, &mut spare);
        if let Some(block) = spare {
            self.free_block(block);
        }
        done
    }

    #[inline(always)]
    fn take<B: Buffer>(
        &self,
        mode: Mode,
        thorough: bool,
        buffer: &mut B,
        spare: &mut Option<u32>,
    ) -> Result<Taken, GetError> {
        self.repair_if_due();
        if mode == Mode::Get
            && !self.given_back_waiting()
            && let Some((p, w)) = self.claim_full_at_hint()
        {
            let hint = Some(p.next(self.capacity()));
            return self.finish_inline(mode, p, w, hint, buffer, spare);
        }
        self.take_by_walk(mode, thorough, buffer, spare)
    }

    /// Repairs what a death left that was noticed already.
    #[inline(always)]
    pub(super) fn repair_if_due(&self) {
        let calm = &self.storage.head().calm;
        // ORDER: Relaxed. Whoever raised the epoch woke us or will; a late look only defers the repair.
        if self.family.death_epoch() != calm.swept.load(Ordering::Relaxed) {
            self.sweep_if_due();
        }
    }

    /// Claims the item at the hint, if it is FULL and lies in its slot; steps back from others as the producers' does.
    #[inline(always)]
    pub(super) fn claim_full_at_hint(&self) -> Option<(Position, SlotWord)> {
        let capacity = self.capacity();
        for turn in 0..TURNS {
            // ORDER: Relaxed. A hint.
            let hint = self.storage.head().head.0.load(Ordering::Relaxed);
            let p = Position::checked(hint, capacity)?;
            let slot = self.storage.slot(p.index());
            // ORDER: Acquire, Q1 with the FULL store.
            let w = SlotWord(slot.word.load(Ordering::Acquire));
            if w.lap() == p.lap() {
                match w.state() {
                    SlotState::Full if w.is_block() => return None,
                    SlotState::Full => {
                        hit(Point::GetBeforeClaim);
                        let mine = w.claimed(self.me);
                        // ORDER: AcqRel, as in `swap_slot`.
                        if slot
                            .word
                            .compare_exchange(w.0, mine.0, Ordering::AcqRel, Ordering::Relaxed)
                            .is_ok()
                        {
                            hit(Point::GetClaimed);
                            return Some((p, mine));
                        }
                    }
                    SlotState::Reading | SlotState::Writing => {}
                    _ => return None, // nothing there: the walk finds out why
                }
            } else if w.is_before(p) {
                return None;
            }
            (0..1 << turn).for_each(|_| spin());
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn take_by_walk<B: Buffer>(
        &self,
        mode: Mode,
        thorough: bool,
        buffer: &mut B,
        spare: &mut Option<u32>,
    ) -> Result<Taken, GetError> {
        let found = self.walk(mode, thorough, spare, &mut Trail::new(), &|| true)?;
        self.finish(mode, found, buffer, spare)
    }

    fn finish<B: Buffer>(
        &self,
        mode: Mode,
        found: Found,
        buffer: &mut B,
        spare: &mut Option<u32>,
    ) -> Result<Taken, GetError> {
        match found {
            Found::Slot(p, w, hint) if w.is_block() => self.finish_block(mode, p, hint, buffer),
            Found::Slot(p, w, hint) => self.finish_inline(mode, p, w, hint, buffer, spare),
            Found::Block(block) => self.finish_lease(mode, block, buffer),
        }
    }

    /// As [`try_take`](Self::try_take) in a ring of a chain, where others lie before it: notes in `trail` what it passed, and claims
    /// an item only if `still` says that those before are as they were (else it says `Empty`).
    #[cold]
    pub(super) fn try_take_behind<B: Buffer>(
        &self,
        mode: Mode,
        buffer: &mut B,
        trail: &mut Trail,
        still: &dyn Fn() -> bool,
    ) -> Result<Taken, GetError> {
        let mut spare = None;
        let found = self.walk(mode, false, &mut spare, trail, still);
        let done = found.and_then(|found| self.finish(mode, found, buffer, &mut spare));
        if let Some(block) = spare {
            self.free_block(block);
        }
        done
    }

    /// Takes something that was given back here, if the count says that there may be something.
    #[cold]
    pub(super) fn try_take_given_back<B: Buffer>(
        &self,
        mode: Mode,
        buffer: &mut B,
    ) -> Result<Option<Taken>, GetError> {
        if !self.given_back_waiting() {
            return Ok(None);
        }
        let mut spare = None;
        let done = match self.find_returned(mode, &mut spare) {
            Ok(Some(found)) => self.finish(mode, found, buffer, &mut spare).map(Some),
            Ok(None) => Ok(None),
            Err(why) => Err(why),
        };
        if let Some(block) = spare {
            self.free_block(block);
        }
        done
    }

    /// Whether what a walk passed is as it was.
    pub(super) fn is_still(&self, trail: &Trail) -> bool {
        // ORDER: the Acquire loads of `slot_word`; the claim behind them is an RMW.
        trail.passed[..trail.count].iter().all(|(q, seen)| self.slot_word(q.index()) == *seen)
    }

    /// Finds and claims an item: one that was given back, else the first one there from the head hint on.
    fn walk(
        &self,
        mode: Mode,
        mut thorough: bool,
        spare: &mut Option<u32>,
        trail: &mut Trail,
        still: &dyn Fn() -> bool,
    ) -> Result<Found, GetError> {
        let capacity = self.capacity();
        let hint = &self.storage.head().head.0;
        // ORDER: Relaxed. A hint.
        let mut steps = Steps::new(capacity, hint.load(Ordering::Relaxed));
        'again: loop {
            // A restart costs more than a step: it follows a repair or a check of everything.
            if !steps.take(64, capacity, hint) {
                return Err(GetError::Corrupt);
            }
            // In each turn: what a repair of the last one gave back may lie behind the hint, or in no slot.
            if self.given_back_waiting()
                && let Some(found) = self.find_returned(mode, spare)?
            {
                return Ok(found);
            }
            // ORDER: Relaxed. A hint.
            let mut p = Position::checked(hint.load(Ordering::Relaxed), capacity)
                .ok_or(GetError::Corrupt)?;
            trail.clear();
            loop {
                if !steps.take(1, capacity, hint) {
                    return Err(GetError::Corrupt);
                }
                let w = self.slot_word(p.index());
                if w.is_after(p) {
                    // Taken, or voided; the hint was old, perhaps by far. Whatever is still there is in the last lap before the
                    // one that this slot has finished.
                    let far = Position::at(w.lap().wrapping_sub(2), p.index());
                    p = if p.is_before(far) { far } else { p }.next(capacity);
                    continue;
                }
                if w.is_before(p) {
                    // All slots behind are passed: an older lap still lies here, and the ring is full up to it.
                    if matches!(w.state(), SlotState::Writing | SlotState::Reading)
                        && self.dead(w.owner())
                    {
                        self.repair_slot(p.index(), w);
                        continue 'again;
                    }
                    if self.due(&mut thorough) {
                        continue 'again;
                    }
                    if S::PART {
                        trail.pass(p, w);
                    }
                    return Err(GetError::Empty);
                }
                match w.state() {
                    SlotState::Full => {
                        if mode == Mode::Lease && !w.is_block() && spare.is_none() {
                            *spare = Some(self.take_block_for_lease()?);
                            continue; // time has passed: look again
                        }
                        if !self.is_still(trail) {
                            continue 'again;
                        }
                        if !still() {
                            return Err(GetError::Empty);
                        }
                        hit(Point::GetBeforeClaim);
                        let mine = w.claimed(self.me);
                        if self.swap_slot(p.index(), w, mine) {
                            hit(Point::GetClaimed);
                            let first = trail.first().unwrap_or(p.next(capacity));
                            return Ok(Found::Slot(p, mine, Some(first)));
                        }
                    }
                    SlotState::Reading => {
                        if self.dead(w.owner()) {
                            self.repair_slot(p.index(), w);
                            continue 'again;
                        }
                        p = p.next(capacity);
                    }
                    SlotState::Writing => {
                        if self.dead(w.owner()) {
                            self.repair_slot(p.index(), w);
                            continue 'again;
                        }
                        if !trail.pass(p, w) {
                            return Err(GetError::Empty);
                        }
                        p = p.next(capacity);
                    }
                    SlotState::Empty => {
                        if self.flagged() {
                            self.mark_closed(p, w);
                            continue;
                        }
                        if self.due(&mut thorough) {
                            continue 'again;
                        }
                        return Err(GetError::Empty);
                    }
                    // Whether anything before it may come back is asked of the whole chain.
                    SlotState::Closed if S::PART => return Err(GetError::Closed),
                    SlotState::Closed => {
                        match self.closed_check() {
                            None => {
                                // Somebody else is at it, or what we saw is old.
                                spin();
                                continue 'again;
                            }
                            Some(GetError::Leased { .. }) if self.due(&mut thorough) => {
                                continue 'again;
                            }
                            Some(error) => return Err(error),
                        }
                    }
                    SlotState::Bad => return Err(GetError::Corrupt),
                }
            }
        }
    }

    /// Before "nothing is there" is said: repairs what a death left, looking for unnoticed ones once if asked to.
    fn due(&self, thorough: &mut bool) -> bool {
        if core::mem::take(thorough) { self.recover() } else { self.sweep_if_due() }
    }

    /// A block to lease any inline item into.
    fn take_block_for_lease(&self) -> Result<u32, GetError> {
        let class =
            self.storage.geometry().class_for(self.storage.geometry().inline()).unwrap_or(0);
        self.take_block(class, Use::Lease).map_err(|why| match why {
            NoBlock::NoRoom => GetError::NoRoom,
            NoBlock::NoMemory(why) => GetError::NoMemory(why),
        })
    }

    /// An item that lies in its slot, which is READING by us.
    #[inline(always)]
    fn finish_inline<B: Buffer>(
        &self,
        mode: Mode,
        p: Position,
        w: SlotWord,
        hint: Option<Position>,
        buffer: &mut B,
        spare: &mut Option<u32>,
    ) -> Result<Taken, GetError> {
        let slot = self.storage.slot(p.index());
        let Some((room, len, carries)) = self.read_slot(p, buffer) else {
            self.empty_slot(slot, p, hint);
            return Err(GetError::Corrupt);
        };
        match (mode, spare.take()) {
            (Mode::Lease, Some(block)) => {
                // SAFETY: `room` holds `len` bytes that were just written, and `filled` may not have moved them (Buffer).
                let bytes = unsafe { core::slice::from_raw_parts(room, len) };
                self.move_to_block(p, w, block, super::Message { bytes, carries });
                hit(Point::LeaseHeld);
                self.empty_slot(slot, p, hint);
                hit(Point::LeaseSlotEmptied);
                Ok(Taken::Lease(LeaseToken { ring: 0, block, deliveries: w.generation() }))
            }
            (_, unused) => {
                *spare = unused;
                self.empty_slot(slot, p, hint);
                Ok(Taken::Item)
            }
        }
    }

    /// Copies the item in a slot that is READING by us: where to, how long, and whether it carries handles. `None` if its length
    /// cannot be.
    #[inline(always)]
    pub(super) fn read_slot<B: Buffer>(
        &self,
        p: Position,
        buffer: &mut B,
    ) -> Option<(*mut u8, usize, bool)> {
        let (slot, inline) = self.storage.slot_and_bytes(p.index());
        // ORDER: Relaxed. Published by the FULL store (Q1), which our claim read.
        let raw = slot.len.load(Ordering::Relaxed);
        let (len, carries) = ((raw & !SLOT_CARRIES) as usize, raw & SLOT_CARRIES != 0);
        if len > self.storage.geometry().inline() {
            return None;
        }
        let room = buffer.room(len);
        // SAFETY: the slot is READING by us; `len <= inline` was just checked, since it was read from shared memory; `room`
        // is valid for `len` bytes by `Buffer`'s promise.
        unsafe { inline.read(room, len) };
        buffer.filled(len, carries);
        hit(Point::GetCopied);
        Some((room, len, carries))
    }

    /// (L,READING,me) → (L+1,EMPTY), the hint, and a wake for a writer.
    #[inline(always)]
    fn empty_slot(&self, slot: &SlotHead, p: Position, hint: Option<Position>) {
        self.store_empty(slot, p);
        if let Some(next) = hint {
            self.advance_head(next);
        }
        hit(Point::GetHinted);
        self.writers().notify_one(self.family);
        self.after_commit();
    }

    /// (L,READING,me) → (L+1,EMPTY): for an inline item that was got, the commit.
    #[inline(always)]
    pub(super) fn store_empty(&self, slot: &SlotHead, p: Position) {
        let empty = SlotWord::empty(p.lap() + 1);
        // ORDER: Release, Q2. A plain store: the word is ours while READING names us.
        slot.word.store(empty.0, Ordering::Release);
        hit(Point::GetCommitted);
    }

    /// What lies before `next` is taken, or held by somebody.
    #[inline(always)]
    pub(super) fn advance_head(&self, next: Position) {
        let head = &self.storage.head().head.0;
        // ORDER: Relaxed. A hint; it never passes a position whose item was not yet published.
        if Position(head.load(Ordering::Relaxed)).is_before(next) {
            head.store(next.0, Ordering::Relaxed);
        }
    }

    /// An item in a block, whose slot is READING by us: takes the block on trial, frees the slot, goes on as a lease.
    fn finish_block<B: Buffer>(
        &self,
        mode: Mode,
        p: Position,
        hint: Option<Position>,
        buffer: &mut B,
    ) -> Result<Taken, GetError> {
        // ORDER: Relaxed. Published by the FULL store (Q1); checked before use.
        let slot = self.storage.slot(p.index());
        let block = slot.block.load(Ordering::Relaxed);
        let leased = self.known(block) && self.lease_queued(block, p);
        hit(Point::GetBlockTaken);
        self.empty_slot(slot, p, hint);
        hit(Point::LeaseSlotEmptied);
        if leased { self.finish_lease(mode, block, buffer) } else { Err(GetError::Corrupt) }
    }

    /// A block that is LEASED to us: copies its message, and commits if it was a `get`.
    fn finish_lease<B: Buffer>(
        &self,
        mode: Mode,
        block: u32,
        buffer: &mut B,
    ) -> Result<Taken, GetError> {
        let w = self.block_word(block);
        let token = LeaseToken { ring: 0, block, deliveries: w.deliveries() };
        let Some((len, carries)) = self.block_len(block) else {
            self.commit(token);
            return Err(GetError::Corrupt);
        };
        if B::IN_PLACE && mode == Mode::Lease {
            hit(Point::LeaseCopied);
            return Ok(Taken::Lease(token));
        }
        let room = buffer.room(len);
        // SAFETY: the block is LEASED to us, `block_len` checked `len` against its class, `room` is valid for `len` bytes.
        unsafe { self.storage.read_block(block, room, len) };
        buffer.filled(len, carries);
        hit(Point::LeaseCopied);
        Ok(match mode {
            Mode::Lease => Taken::Lease(token),
            Mode::Get => {
                self.commit(token);
                Taken::Item
            }
        })
    }

    /// Looks everywhere for what was given back. Found nothing: says that all up to now was found.
    #[cold]
    fn find_returned(
        &self,
        mode: Mode,
        spare: &mut Option<u32>,
    ) -> Result<Option<Found>, GetError> {
        let calm = &self.storage.head().calm;
        // ORDER: Acquire, Q3: what was given back before this count is visible to the scan.
        let seen = calm.pend.load(Ordering::Acquire);
        let mut no_room = None;
        for index in 0..self.capacity() {
            let w = self.slot_word(index);
            if w.state() == SlotState::Full && w.generation() != 0 {
                if mode == Mode::Lease && spare.is_none() {
                    match self.take_block_for_lease() {
                        Ok(block) => *spare = Some(block),
                        Err(why) => {
                            // What was given back in a block needs none: look there first.
                            no_room = Some(why);
                            continue;
                        }
                    }
                }
                let mine = w.claimed(self.me);
                if self.swap_slot(index, w, mine) {
                    hit(Point::GetClaimed);
                    return Ok(Some(Found::Slot(Position::at(w.lap(), index), mine, None)));
                }
            }
        }
        let mut found = None;
        self.each_block(|block| {
            let w = self.block_word(block);
            if w.state() == BlockState::Returned {
                let mine = w.to(BlockState::Leased, u32::from(self.me));
                if self.swap_block(block, w, mine) {
                    hit(Point::ReturnedTaken);
                    found = Some(block);
                }
            }
            found.is_none()
        });
        if found.is_none() {
            if let Some(why) = no_room {
                return Err(why);
            }
            // ORDER: Release: monotone; a late scanner never takes back what a later one said.
            calm.scanned.fetch_max(seen, Ordering::AcqRel);
        }
        Ok(found.map(Found::Block))
    }
}

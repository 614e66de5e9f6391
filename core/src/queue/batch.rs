//! Several at once: a batch is put or taken slot by slot, each with its own commit; hints and sleepers are seen to once.
//!
//! One slot is claimed at a time, as without a batch: so a participant that stops in the middle holds no more than one, and who is
//! killed there has put, or taken, a prefix. (To claim several slots first and publish them together was tried, and is
//! no faster.)

use super::put::Claim;
use super::word::SlotWord;
use super::{Buffer, GetError, Message, Mode, Position, PutError, Queue, SlotState, Storage};
use crate::points::{Point, hit};
use crate::wait::Family;

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Puts `messages` in their order, as many as there is room for now.
    ///
    /// Each is committed by itself, with one store; when this returns, every process sees those that were put, and as many
    /// sleepers as there are items were woken. Other producers' messages may come between them.
    ///
    /// # Errors
    ///
    /// How many were put (the first ones; of the next nothing is left behind), and why no more: see [`PutError`].
    pub fn try_put_many(&self, messages: &[Message<'_>]) -> Result<(), (usize, PutError)> {
        let mut put = 0;
        let mut done = Ok(());
        while done.is_ok() && put < messages.len() {
            let (count, tried) = self.put_run(&messages[put..]);
            put += count;
            done = tried.map_err(|why| (put, why));
        }
        if put > 0 {
            self.readers().notify_many(self.family, put);
            self.after_commit();
        }
        done
    }

    /// Puts some of `messages` (there is one at least) and wakes nobody: how many, and what stopped it.
    fn put_run(&self, messages: &[Message<'_>]) -> (usize, Result<(), PutError>) {
        let in_slot = |message: &Message<'_>| self.lies_in_slot(message);
        if !in_slot(&messages[0]) {
            let put = self.put_block_quietly(messages[0], false);
            return (usize::from(put.is_ok()), put.map(|_| ()));
        }
        let (mut last, mut count) = (None::<Position>, 0);
        let mut refused = Ok(());
        for message in messages.iter().take_while(|message| in_slot(message)) {
            hit(Point::PutBeforeClaim);
            let next = last.map(|last| last.next(self.capacity()));
            let p = match next.filter(|p| self.claim_exactly(*p)) {
                Some(p) => p,
                None => {
                    last.into_iter().for_each(|last| self.advance_tail(last));
                    match self.claim_next() {
                        Claim::At(p) => p,
                        other => {
                            refused = Err(other.error());
                            break;
                        }
                    }
                }
            };
            hit(Point::PutClaimed);
            let slot = self.storage.slot_and_bytes(p.index());
            self.write_slot(slot, *message);
            self.store_full(slot.0, p, false);
            last = Some(p);
            count += 1;
        }
        if let Some(last) = last {
            self.advance_tail(last);
            hit(Point::PutHinted);
        }
        (count, refused)
    }

    /// Claims position `p`, which follows one that we claimed, if it is EMPTY.
    fn claim_exactly(&self, p: Position) -> bool {
        let empty = SlotWord::empty(p.lap());
        !self.flagged()
            && self.slot_word(p.index()) == empty
            && self.swap_slot(p.index(), empty, empty.claimed(self.me))
    }

    /// Takes up to `buffers.len()` items for good, in their order, without waiting for any: how many, one at least.
    ///
    /// Each is taken by itself, with one store; writers are woken once, as many as there are slots free now. A message
    /// that lies in a block, or carries handles, is the last of its batch.
    ///
    /// `thorough` as in [`try_take`](Self::try_take).
    ///
    /// # Errors
    ///
    /// As [`try_take`](Self::try_take), when nothing was taken. `Corrupt` also when something was, and comes with how many: they
    /// are in the first buffers.
    pub fn try_take_many<B: Buffer>(
        &self,
        thorough: bool,
        buffers: &mut [B],
    ) -> Result<usize, (usize, GetError)> {
        let Some(first) = buffers.first_mut() else { return Ok(0) };
        self.repair_if_due();
        let claimed = if self.given_back_waiting() { None } else { self.claim_full_at_hint() };
        let Some(claimed) = claimed else {
            return self.try_take(Mode::Get, thorough, first).map(|_| 1).map_err(|why| (0, why));
        };
        let mut taken = 0;
        let mut next = Some(claimed);
        let mut done = Ok(true);
        while let Some(claimed) = next.take()
            && done.is_ok()
        {
            let (count, tried) = self.take_run(claimed, &mut buffers[taken..]);
            taken += count;
            done = tried.map_err(|why| (taken, why));
            // What was given back while we took comes first.
            if matches!(done, Ok(true)) && taken < buffers.len() && !self.given_back_waiting() {
                next = self.claim_full_at_hint();
            }
        }
        self.writers().notify_many(self.family, taken);
        self.after_commit();
        done.map(|_| taken)
    }

    /// Takes the item in the slot that we just claimed, and what follows it: how many, and whether more may be had.
    fn take_run<B: Buffer>(
        &self,
        claimed: (Position, SlotWord),
        buffers: &mut [B],
    ) -> (usize, Result<bool, GetError>) {
        let (mut p, mut count) = (claimed.0, 0);
        let done = loop {
            let read = self.read_slot(p, &mut buffers[count]);
            self.store_empty(self.storage.slot(p.index()), p);
            match read {
                Some((_, _, carries)) if carries => break Ok(false),
                Some(_) => {}
                None => break Err(GetError::Corrupt),
            }
            count += 1;
            let next = p.next(self.capacity());
            if count == buffers.len() || !self.claim_exactly_full(next) {
                break Ok(true);
            }
            p = next;
        };
        self.advance_head(p.next(self.capacity()));
        hit(Point::GetHinted);
        (count + usize::from(matches!(done, Ok(false))), done)
    }

    /// Claims the item at position `p`, which follows one that we claimed, if it is there and lies in its slot.
    fn claim_exactly_full(&self, p: Position) -> bool {
        let w = self.slot_word(p.index());
        if w.lap() != p.lap() || w.state() != SlotState::Full || w.is_block() {
            return false;
        }
        hit(Point::GetBeforeClaim);
        let claimed = self.swap_slot(p.index(), w, w.claimed(self.me));
        if claimed {
            hit(Point::GetClaimed);
        }
        claimed
    }
}

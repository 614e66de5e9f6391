//! The requester's side: waiting for a reply, taking it, giving up.
//!
//! | # | what | how |
//! |---|---|---|
//! | T1 | sees REPLIED(r)T: copies r; **r → FREE first, then the request → FREE** | two stores |
//! | T2 | gives up: clears the ticket; if it finds REPLIED → T1 without copying | CAS loop |

use super::word::{BlockState, NO_BLOCK};
use super::{Buffer, Corrupt, Queue, Storage};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::wait::{EventCount, Family};

/// A request under way. It must be ended: by [`Queue::take_answer`] that gives an answer, or by [`Queue::drop_ticket`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a ticket that is not ended keeps its blocks until the process dies"]
pub struct TicketToken {
    /// In a chain, the ring that the block is of; else 0.
    pub(super) ring: u16,
    pub(super) block: u32,
}

/// What a requester finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing yet; the ticket goes on.
    Pending,
    /// The reply is in the buffer. The ticket is ended.
    Reply,
    /// The item was committed without a reply. The ticket is ended.
    Committed,
    /// The item was given back as often as the limit allows and lies with the dead letters. The ticket is ended.
    Dead,
}

impl<'a, S: Storage, F: Family> Queue<'a, S, F> {
    /// Where the holder of `ticket` sleeps.
    pub fn bell(&self, ticket: &TicketToken) -> &'a EventCount {
        &self.storage.block(ticket.block).bell
    }

    /// Looks for the answer and takes it; the ticket comes back while it is pending.
    ///
    /// # Errors
    ///
    /// `Corrupt`: the request's block holds what no participant writes.
    pub fn take_answer<B: Buffer>(
        &self,
        ticket: TicketToken,
        buffer: &mut B,
    ) -> Result<(Answer, Option<TicketToken>), Corrupt> {
        let request = ticket.block;
        let w = self.block_word(request);
        match w.state() {
            BlockState::Queued | BlockState::Leased | BlockState::Returned => {
                Ok((Answer::Pending, Some(ticket)))
            }
            BlockState::Dead => {
                self.drop_ticket(ticket);
                Ok((Answer::Dead, None))
            }
            BlockState::Replied if w.ticket() => {
                let result = w.aux();
                let mut answer = Answer::Committed;
                if result != NO_BLOCK {
                    if !self.known(result)
                        || !self.block_word(result).is(BlockState::Reply, request)
                    {
                        return Err(Corrupt);
                    }
                    let (len, carries) = self.block_len(result).ok_or(Corrupt)?;
                    let room = buffer.room(len);
                    // SAFETY: the block is the REPLY to our request, which is REPLIED to us: nobody but our sweeper
                    // frees it. `len` was checked against its class, `room` is large enough.
                    unsafe { self.storage.read_block(result, room, len) };
                    buffer.filled(len, carries);
                    answer = Answer::Reply;
                }
                hit(Point::TicketTaken);
                self.free_answered(request);
                Ok((answer, None))
            }
            _ => Err(Corrupt),
        }
    }

    /// Gives up waiting. The item stays; a reply to it will be dropped.
    pub fn drop_ticket(&self, ticket: TicketToken) {
        loop {
            let w = self.block_word(ticket.block);
            match w.state() {
                BlockState::Replied if w.ticket() => return self.free_answered(ticket.block),
                BlockState::Queued
                | BlockState::Leased
                | BlockState::Returned
                | BlockState::Dead
                    if w.ticket() =>
                {
                    if self.swap_block(ticket.block, w, w.with_ticket(false)) {
                        hit(Point::TicketCleared);
                        return;
                    }
                }
                _ => return, // overwritten
            }
        }
    }

    /// T1: the result first, then the request: else a sweeper would take the result for an abandoned one.
    fn free_answered(&self, request: u32) {
        let w = self.block_word(request);
        let result = w.aux();
        if result != NO_BLOCK && self.known(result) {
            let r = self.block_word(result);
            if r.is(BlockState::Reply, request) {
                // ORDER: Release, Q2. A plain store: the result of our request is ours.
                self.storage.block(result).word.store(r.freed().0, Ordering::Release);
                hit(Point::TicketResultFreed);
                self.freed(result);
            }
        }
        // ORDER: Release, Q2. A plain store: REPLIED with our ticket is ours.
        self.storage.block(request).word.store(w.freed().0, Ordering::Release);
        self.freed(request);
    }
}

//! Items on trial, in blocks: how they get there, and how a lease ends.
//!
//! | # | from → to | by | how |
//! |---|---|---|---|
//! | L1 | OWNED(me) → QUEUED(p) | producer before FULL; or the reader that moves an inline item | store |
//! | L2 | QUEUED(p) → LEASED(me) | the reader whose slot p is READING | CAS loop: the ticket may be cleared meanwhile |
//! | L3 | RETURNED → LEASED(me), DEAD → LEASED(me) | scanner | CAS |
//! | L4 | LEASED(me) without ticket → FREE = **commit** | owner | store |
//! | L5 | LEASED(me)T → REPLIED(none)T = **commit** | owner | CAS; fails → L4 |
//! | L6 | LEASED(me)T → REPLIED(r)T = **result and commit at once** | owner, after r: OWNED → REPLY(b) | CAS; fails → r FREE, then L4 |
//! | L7 | LEASED(me) → RETURNED or DEAD, generation+1; then `pend`+1; then wake | owner | CAS loop |

use super::block::{NoBlock, Use};
use super::word::{BlockState, NO_BLOCK, SlotWord};
use super::{Message, Position, Queue, ReplyError, SlotState, Storage};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::wait::Family;

/// An item on trial. It must be ended: by [`Queue::commit`], [`Queue::try_reply`] or [`Queue::give_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is not ended keeps its item until the process dies"]
pub struct LeaseToken {
    /// In a chain, the ring that the block is of; else 0.
    pub(super) ring: u16,
    pub(super) block: u32,
    pub(super) deliveries: u8,
}

impl LeaseToken {
    /// How often the item was given back before; saturates at 255. Exact in queues with a limit of deliveries; elsewhere, what lay
    /// inline is counted modulo 256.
    #[must_use]
    pub fn deliveries(&self) -> u8 {
        self.deliveries
    }

    /// The number of the block.
    #[must_use]
    pub fn block(&self) -> u32 {
        self.block
    }
}

/// What became of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Replied {
    /// The requester has it.
    Delivered,
    /// The requester gave up or died (or never asked): the item is committed, the reply dropped.
    RequesterGone,
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// L2: the block that slot p names becomes LEASED to us, with whatever ticket it has. False if it is not QUEUED there.
    pub(super) fn lease_queued(&self, block: u32, p: Position) -> bool {
        loop {
            let w = self.block_word(block);
            if !w.is(BlockState::Queued, p.low()) {
                return false;
            }
            if self.swap_block(block, w, w.to(BlockState::Leased, u32::from(self.me))) {
                return true;
            }
        }
    }

    /// Moves an inline item from the slot that we READ into `block` (OWNED by us), on lease.
    ///
    /// The slot's word alone says where the item is: until the store in the middle it is in the slot, then in the block.
    pub(super) fn move_to_block(&self, p: Position, w: SlotWord, block: u32, message: Message<'_>) {
        self.write_owned(block, message);
        let slot = self.storage.slot(p.index());
        // ORDER: Relaxed. A sweeper reads it after the word that L1 or the store below published.
        slot.block.store(block, Ordering::Relaxed);
        hit(Point::LeaseNamed);
        let owned = self.block_word(block);
        let deliveries = u64::from(w.generation()) << 4;
        let queued = super::word::BlockWord(
            owned.to(BlockState::Queued, p.low()).0 & !(0xff << 4) | deliveries,
        );
        // ORDER: Release, Q1: a sweeper that sees QUEUED sees the bytes and `slot.block`. A plain store: OWNED by us.
        self.storage.block(block).word.store(queued.0, Ordering::Release);
        hit(Point::LeaseQueued);
        let moved = SlotWord::new(w.lap(), w.generation(), true, self.me, SlotState::Reading);
        // ORDER: Release, Q1: whoever sees the item in the block sees the block. A plain store: READING by us.
        slot.word.store(moved.0, Ordering::Release);
        hit(Point::LeaseMoved);
        // A QUEUED block is taken away by sweepers of a dead owner alone, so this fails only if somebody wrote wild; then nothing
        // of ours is there to end.
        let _ = self.lease_queued(block, p);
    }

    /// Ends the lease: the item is done with.
    pub fn commit(&self, lease: LeaseToken) {
        hit(Point::CommitBefore);
        let block = lease.block;
        loop {
            let w = self.block_word(block);
            if !w.is(BlockState::Leased, u32::from(self.me)) {
                return; // overwritten: nothing of ours is there to end
            }
            if !w.ticket() {
                // ORDER: Release, Q2. A plain store: LEASED to us, and a cleared ticket never comes back.
                self.storage.block(block).word.store(w.freed().0, Ordering::Release);
                hit(Point::CommitDone);
                self.freed(block);
                break;
            }
            if self.swap_block(block, w, w.to(BlockState::Replied, NO_BLOCK)) {
                hit(Point::CommitDone);
                self.storage.block(block).bell.notify_all(self.family);
                break;
            }
        }
        self.after_commit();
    }

    /// Ends the lease by giving the item back, counted; another takes it, or it goes to the dead letters at the limit.
    pub fn give_back(&self, lease: LeaseToken) {
        let limit = self.storage.geometry().options().most_deliveries;
        let back = loop {
            let w = self.block_word(lease.block);
            if !w.is(BlockState::Leased, u32::from(self.me)) {
                return;
            }
            let back = w.given_back(limit);
            if self.swap_block(lease.block, w, back) {
                break back;
            }
        };
        hit(Point::ReturnDone);
        self.count_given_back();
        if back.state() == BlockState::Dead {
            self.storage.block(lease.block).bell.notify_all(self.family);
        }
    }

    /// After something became RETURNED, or FULL again: counts it, then wakes the readers. In this order: a scanner that closes
    /// the count before it sees the item would strand it.
    pub(super) fn count_given_back(&self) {
        // ORDER: Release, Q3.
        self.storage.head().calm.pend.fetch_add(1, Ordering::AcqRel);
        hit(Point::ReturnCounted);
        self.storage.given_back();
        self.readers().notify_all(self.family);
    }

    /// Ends the lease with a reply: result and commit are one CAS.
    ///
    /// Never waits for room: the block set aside takes the reply if it is not larger than the request's size class, else a free one is
    /// looked for.
    ///
    /// # Errors
    ///
    /// See [`ReplyError`]; the lease is kept and comes back with the error.
    pub fn try_reply(
        &self,
        lease: LeaseToken,
        message: Message<'_>,
    ) -> Result<Replied, (LeaseToken, ReplyError)> {
        let w = self.block_word(lease.block);
        if !w.is(BlockState::Leased, u32::from(self.me)) {
            return Err((lease, ReplyError::Corrupt));
        }
        // S5, which the next sweep would do: nobody else may have looked for the requester's death so far.
        let gone = w.ticket()
            && self.dead_link(lease.block)
            && self.swap_block(lease.block, w, w.with_ticket(false));
        if gone || !w.ticket() {
            self.commit(lease);
            return Ok(Replied::RequesterGone);
        }
        let result = match self.reply_block(lease.block, message) {
            Ok(result) => result,
            Err(why) => return Err((lease, why)),
        };
        hit(Point::ReplyWritten);
        let reply = self.block_word(result).to(BlockState::Reply, lease.block);
        // ORDER: Release, Q5: whoever follows the request to this block sees its bytes. A plain store: OWNED by us.
        self.storage.block(result).word.store(reply.0, Ordering::Release);
        hit(Point::ReplyMarked);
        loop {
            let w = self.block_word(lease.block);
            if !w.is(BlockState::Leased, u32::from(self.me)) {
                self.free_block(result);
                return Err((lease, ReplyError::Corrupt));
            }
            if !w.ticket() {
                self.free_block(result);
                hit(Point::ReplyRefused);
                self.commit(lease);
                return Ok(Replied::RequesterGone);
            }
            if self.swap_block(lease.block, w, w.to(BlockState::Replied, result)) {
                break;
            }
        }
        hit(Point::ReplyDone);
        self.storage.block(lease.block).bell.notify_all(self.family);
        self.after_commit();
        Ok(Replied::Delivered)
    }

    /// A block for the reply to `request`, written: OWNED by us.
    fn reply_block(&self, request: u32, message: Message<'_>) -> Result<u32, ReplyError> {
        let geometry = self.storage.geometry();
        let len = message.bytes.len();
        let too_large =
            ReplyError::TooLarge { len, most: geometry.options().most_message as usize };
        let wanted = geometry.class_for(len).ok_or(too_large)?;
        let set_aside = geometry.class_of(request).ok_or(ReplyError::Corrupt)?;
        let block = if wanted <= set_aside && geometry.each() == 2 {
            self.take_pair(request).ok_or(ReplyError::Corrupt)?
        } else {
            self.take_block(wanted, Use::Put).map_err(|why| match why {
                NoBlock::NoRoom => ReplyError::NoRoom,
                NoBlock::NoMemory(why) => ReplyError::NoMemory(why),
            })?
        };
        if message.carries {
            // ORDER: Release, before the reply is published (Q5).
            self.storage.head().calm.carries.store(1, Ordering::Release);
        }
        self.write_owned(block, message);
        Ok(block)
    }

    /// Takes one of the items that were given back as often as the limit allows, on lease.
    pub fn try_take_dead<B: super::Buffer>(&self, buffer: &mut B) -> Option<LeaseToken> {
        let mut taken = None;
        self.each_block(|block| {
            let w = self.block_word(block);
            if w.state() == BlockState::Dead
                && self.swap_block(block, w, w.to(BlockState::Leased, u32::from(self.me)))
            {
                if let Some((len, carries)) = self.block_len(block) {
                    let room = buffer.room(len);
                    // SAFETY: as in `finish_lease`: LEASED to us, `len` checked against the class, `room` is large enough.
                    unsafe { self.storage.read_block(block, room, len) };
                    buffer.filled(len, carries);
                    taken = Some(LeaseToken { ring: 0, block, deliveries: w.deliveries() });
                } else {
                    self.commit(LeaseToken { ring: 0, block, deliveries: 0 });
                }
            }
            taken.is_none()
        });
        taken
    }
}

//! One handle for both kinds of queue: a ring, or a chain of rings; every verb goes to the one that is there.

mod rings;

pub(super) use rings::{Chained, Rings};

use super::place::{Attached, Pages};
use crate::sys::Family;
use crate::value::Bytes;
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::process::ProcessRef;
use offspring_core::queue::{
    Answer, Buffer, Chain, Corrupt, GetError, LeaseToken, Mapped, Message, Mode, NoMemory,
    PutError, Queue, Replied, ReplyError, Taken, TicketToken,
};
use offspring_core::wait::EventCount;
use std::cell::Cell;

/// Where a handle's queue lies.
#[allow(clippy::large_enum_variant)] // one a handle, and the bounded one is looked at in every operation
pub(super) enum Stored {
    Ring(Mapped<Pages>),
    Chain(Box<Rings>),
}

/// A bounded queue as core sees it.
pub(super) type Ring<'a> = Queue<'a, Mapped<Pages>, Family>;

/// A queue as one thread uses it.
pub(crate) struct Core<'a> {
    at: &'a Attached,
    me: u16,
}

/// Does the same with whichever there is.
macro_rules! both {
    ($core:expr, $queue:ident => $act:expr) => {
        match &$core.at.storage {
            Stored::Ring(ring) => {
                let $queue = Queue::new(ring, &$core.at.family, $core.me);
                $act
            }
            Stored::Chain(rings) => {
                let $queue = Chain::new(&**rings, &$core.at.family, $core.me, seat($core.me));
                $act
            }
        }
    };
}

/// Where the calling thread begins to look for a free pin.
fn seat(me: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static SEAT: Cell<Option<u16>> = const { Cell::new(None) };
    }
    let mine = SEAT.try_with(|seat| match seat.get() {
        Some(mine) => mine,
        None => {
            // ORDER: Relaxed. Any number will do.
            let mine = NEXT.fetch_add(1, Ordering::Relaxed) as u16;
            seat.set(Some(mine));
            mine
        }
    });
    // Processes count alike: they begin apart.
    mine.unwrap_or(0).wrapping_add(me.wrapping_mul(37))
}

impl<'a> Core<'a> {
    #[inline(always)]
    pub(super) fn new(at: &'a Attached, me: u16) -> Self {
        Self { at, me }
    }

    /// Gives a new chain its first ring.
    pub(super) fn start(&self) -> Result<(), NoMemory> {
        match &self.at.storage {
            Stored::Ring(_) => Ok(()),
            Stored::Chain(rings) => {
                let chain = Chain::new(&**rings, &self.at.family, self.me, 0);
                chain.start().map_err(|why| match why {
                    PutError::NoMemory(why) => why,
                    _ => NoMemory { asked: 0, available: 0 },
                })
            }
        }
    }

    #[inline(always)]
    pub(super) fn family(&self) -> &'a Family {
        &self.at.family
    }

    /// The other members, beginning behind the caller's index and going round.
    pub(super) fn others(&self) -> impl Iterator<Item = ProcessRef> + use<> {
        let (members, me) = (self.at.object.members(), self.me);
        let behind = members.iter().filter(move |(index, _)| *index > me);
        let before = members.iter().take_while(move |(index, _)| *index < me);
        behind.chain(before).map(|(_, process)| process)
    }

    pub(super) fn readers(&self) -> &'a EventCount {
        both!(self, queue => queue.readers())
    }

    pub(super) fn writers(&self) -> &'a EventCount {
        both!(self, queue => queue.writers())
    }

    pub(super) fn rooms(&self) -> &'a EventCount {
        both!(self, queue => queue.rooms())
    }

    /// Slots; as many as a number can say, if there is no bound.
    pub(super) fn capacity(&self) -> usize {
        match &self.at.storage {
            Stored::Ring(ring) => Queue::new(ring, &self.at.family, self.me).capacity() as usize,
            Stored::Chain(_) => usize::MAX,
        }
    }

    pub(super) fn len(&self) -> usize {
        both!(self, queue => queue.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        both!(self, queue => queue.is_empty())
    }

    pub(super) fn is_full(&self) -> bool {
        both!(self, queue => queue.is_full())
    }

    pub(super) fn is_next_ready(&self) -> bool {
        both!(self, queue => queue.is_next_ready())
    }

    pub(super) fn close(&self) -> bool {
        both!(self, queue => queue.close())
    }

    pub(super) fn is_closed(&self) -> bool {
        both!(self, queue => queue.is_closed())
    }

    pub(super) fn recover(&self) -> bool {
        both!(self, queue => queue.recover())
    }

    pub(super) fn sweep(&self) {
        both!(self, queue => queue.sweep());
    }

    pub(super) fn sweep_if_due(&self) -> bool {
        both!(self, queue => queue.sweep_if_due())
    }

    #[inline(always)]
    pub(super) fn try_put(&self, message: Message<'_>) -> Result<(), PutError> {
        match &self.at.storage {
            Stored::Ring(ring) => Queue::new(ring, &self.at.family, self.me).try_put(message),
            Stored::Chain(rings) => self.put_in_chain(rings, message),
        }
    }

    /// Apart, so that the bounded queue's way stays short.
    #[inline(never)]
    fn put_in_chain(&self, rings: &Rings, message: Message<'_>) -> Result<(), PutError> {
        Chain::new(rings, &self.at.family, self.me, seat(self.me)).try_put(message)
    }

    /// The ring itself, if it is one and no chain.
    #[inline(always)]
    pub(super) fn ring(&self) -> Option<Ring<'a>> {
        match &self.at.storage {
            Stored::Ring(ring) => Some(Queue::new(ring, &self.at.family, self.me)),
            Stored::Chain(_) => None,
        }
    }

    pub(super) fn try_put_many(&self, messages: &[Message<'_>]) -> Result<(), (usize, PutError)> {
        both!(self, queue => queue.try_put_many(messages))
    }

    pub(super) fn try_request(&self, message: Message<'_>) -> Result<TicketToken, PutError> {
        both!(self, queue => queue.try_request(message))
    }

    #[inline(always)]
    pub(super) fn try_take<B: Buffer>(
        &self,
        mode: Mode,
        thorough: bool,
        buffer: &mut B,
    ) -> Result<Taken, GetError> {
        match &self.at.storage {
            Stored::Ring(ring) if self.at.senders.is_none() => {
                Queue::new(ring, &self.at.family, self.me).try_take(mode, thorough, buffer)
            }
            _ => self.take_elsewhere(mode, thorough, buffer),
        }
    }

    /// From a chain, or a channel; apart, so that the bounded queue's way stays short.
    #[inline(never)]
    fn take_elsewhere<B: Buffer>(
        &self,
        mode: Mode,
        thorough: bool,
        buffer: &mut B,
    ) -> Result<Taken, GetError> {
        match both!(self, queue => queue.try_take(mode, thorough, buffer)) {
            Err(GetError::Empty) if self.ends_now() => {
                both!(self, queue => queue.try_take(mode, thorough, buffer))
            }
            taken => taken,
        }
    }

    /// Closes a channel that nobody can send through any more. False if somebody can, or it is no channel.
    pub(super) fn ends_now(&self) -> bool {
        match &self.at.senders {
            Some(senders) => {
                senders.are_gone(&self.at.family) && {
                    self.close();
                    true
                }
            }
            None => false,
        }
    }

    pub(super) fn try_take_many(
        &self,
        thorough: bool,
        buffers: &mut [Bytes],
    ) -> Result<usize, (usize, GetError)> {
        let taken = both!(self, queue => queue.try_take_many(thorough, buffers));
        match taken {
            Err((0, GetError::Empty)) if self.ends_now() => {
                both!(self, queue => queue.try_take_many(thorough, buffers))
            }
            taken => taken,
        }
    }

    pub(super) fn try_take_dead(&self, buffer: &mut Bytes) -> Option<LeaseToken> {
        both!(self, queue => queue.try_take_dead(buffer))
    }

    pub(super) fn commit(&self, lease: LeaseToken) {
        both!(self, queue => queue.commit(lease));
    }

    pub(super) fn give_back(&self, lease: LeaseToken) {
        both!(self, queue => queue.give_back(lease));
    }

    pub(super) fn try_reply(
        &self,
        lease: LeaseToken,
        message: Message<'_>,
    ) -> Result<Replied, (LeaseToken, ReplyError)> {
        both!(self, queue => queue.try_reply(lease, message))
    }

    /// `None`: the memory was overwritten.
    pub(super) fn bell(&self, ticket: &TicketToken) -> Option<&'a EventCount> {
        match &self.at.storage {
            Stored::Ring(ring) => Some(Queue::new(ring, &self.at.family, self.me).bell(ticket)),
            Stored::Chain(rings) => Chain::new(&**rings, &self.at.family, self.me, 0).bell(ticket),
        }
    }

    pub(super) fn take_answer(
        &self,
        ticket: TicketToken,
        buffer: &mut Bytes,
    ) -> Result<(Answer, Option<TicketToken>), Corrupt> {
        both!(self, queue => queue.take_answer(ticket, buffer))
    }

    pub(super) fn drop_ticket(&self, ticket: TicketToken) {
        both!(self, queue => queue.drop_ticket(ticket));
    }
}

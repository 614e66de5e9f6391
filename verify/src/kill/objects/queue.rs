//! The round's queue, whichever kind it is: a ring, or a chain of rings.

use super::{Pages, Rings};
use crate::kill::system::Family;
use offspring_core::process::ProcessRef;
use offspring_core::queue::{
    Answer, Buffer, Chain, Corrupt, GetError, InUse, LeaseToken, Mapped, Message, Mode, PutError,
    Queue, Replied, ReplyError, Taken, TicketToken,
};
use offspring_core::wait::EventCount;
use std::fmt;

/// Where the round's queue lies.
#[allow(clippy::large_enum_variant)] // one a process
pub enum Stored {
    Ring(Mapped<Pages>),
    Chain(Rings),
}

/// A process's view of it.
#[derive(Clone, Copy)]
pub enum RoundQueue {
    Ring(Queue<'static, Mapped<Pages>, Family>),
    Chain(Chain<'static, Rings, Family>),
}

/// Does the same with whichever there is.
macro_rules! both {
    ($queue:expr, $each:ident => $act:expr) => {
        match $queue {
            RoundQueue::Ring($each) => $act,
            RoundQueue::Chain($each) => $act,
        }
    };
}

impl RoundQueue {
    /// For its member `me`, in a thread that begins to look for a pin at `seat`.
    pub fn new(stored: &'static Stored, family: &'static Family, me: u16, seat: u16) -> Self {
        match stored {
            Stored::Ring(ring) => Self::Ring(Queue::new(ring, family, me)),
            Stored::Chain(rings) => Self::Chain(Chain::new(rings, family, me, seat)),
        }
    }

    /// The other members.
    pub fn others(self) -> impl Iterator<Item = ProcessRef> {
        let (mut ring, mut chain) = (None, None);
        match self {
            Self::Ring(queue) => ring = Some(queue.others()),
            Self::Chain(queue) => chain = Some(queue.others()),
        }
        ring.into_iter().flatten().chain(chain.into_iter().flatten())
    }

    pub fn readers(self) -> &'static EventCount {
        both!(self, queue => queue.readers())
    }

    pub fn writers(self) -> &'static EventCount {
        both!(self, queue => queue.writers())
    }

    pub fn rooms(self) -> &'static EventCount {
        both!(self, queue => queue.rooms())
    }

    pub fn try_put(self, message: Message<'_>) -> Result<(), PutError> {
        both!(self, queue => queue.try_put(message))
    }

    pub fn try_request(self, message: Message<'_>) -> Result<TicketToken, PutError> {
        both!(self, queue => queue.try_request(message))
    }

    pub fn try_put_many(self, messages: &[Message<'_>]) -> Result<(), (usize, PutError)> {
        both!(self, queue => queue.try_put_many(messages))
    }

    pub fn try_take<B: Buffer>(
        self,
        mode: Mode,
        thorough: bool,
        buffer: &mut B,
    ) -> Result<Taken, GetError> {
        both!(self, queue => queue.try_take(mode, thorough, buffer))
    }

    pub fn try_take_many<B: Buffer>(
        self,
        thorough: bool,
        buffers: &mut [B],
    ) -> Result<usize, (usize, GetError)> {
        both!(self, queue => queue.try_take_many(thorough, buffers))
    }

    pub fn try_take_dead<B: Buffer>(self, buffer: &mut B) -> Option<LeaseToken> {
        both!(self, queue => queue.try_take_dead(buffer))
    }

    pub fn commit(self, lease: LeaseToken) {
        both!(self, queue => queue.commit(lease));
    }

    pub fn give_back(self, lease: LeaseToken) {
        both!(self, queue => queue.give_back(lease));
    }

    pub fn try_reply(
        self,
        lease: LeaseToken,
        message: Message<'_>,
    ) -> Result<Replied, (LeaseToken, ReplyError)> {
        both!(self, queue => queue.try_reply(lease, message))
    }

    /// `None`: the ticket names no block.
    pub fn bell(self, ticket: &TicketToken) -> Option<&'static EventCount> {
        match self {
            Self::Ring(queue) => Some(queue.bell(ticket)),
            Self::Chain(chain) => chain.bell(ticket),
        }
    }

    pub fn take_answer<B: Buffer>(
        self,
        ticket: TicketToken,
        buffer: &mut B,
    ) -> Result<(Answer, Option<TicketToken>), Corrupt> {
        both!(self, queue => queue.take_answer(ticket, buffer))
    }

    pub fn drop_ticket(self, ticket: TicketToken) {
        both!(self, queue => queue.drop_ticket(ticket));
    }

    pub fn is_closed(self) -> bool {
        both!(self, queue => queue.is_closed())
    }

    pub fn close(self) {
        both!(self, queue => { queue.close(); });
    }

    pub fn recover(self) {
        both!(self, queue => { queue.recover(); });
    }

    /// Frees the indices of the dead, for one who is no member yet. False: others are at it.
    pub fn sweep_as_guest(self, me: ProcessRef) -> bool {
        match self {
            Self::Ring(queue) => {
                queue.sweep();
                true
            }
            Self::Chain(chain) => chain.sweep_as_guest(me),
        }
    }

    /// Repairs what the dead left, whether or not anybody heard of a death.
    pub fn sweep(self) {
        both!(self, queue => queue.sweep());
    }

    pub fn in_use(self) -> InUse {
        both!(self, queue => queue.in_use())
    }

    pub fn dump(self) -> impl fmt::Debug {
        match self {
            Self::Ring(queue) => format!("{:?}", queue.dump()),
            Self::Chain(chain) => format!("{:?}", chain.dump()),
        }
    }
}

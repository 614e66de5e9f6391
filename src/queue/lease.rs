//! Items on trial.

use super::Queue;
use super::place::Attached;
use super::unbounded::Core;
use crate::error::{Error, Kind, Result};
use crate::sys::RegionRef;
use crate::value::{self, Bytes, Place};
use offspring_core::queue::{self as core, LeaseToken, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// Which leases a thread took: each of them holds its thread's mark for the queue, wherever it goes and ends, so the mark's
/// count is theirs and one.
pub(super) struct Mark {
    region: RegionRef,
    generation: u32,
}

thread_local! {
    /// This thread's marks: so that it does not wait for itself. Few: those that no lease holds are dropped for new ones.
    static MARKS: RefCell<Vec<Arc<Mark>>> = const { RefCell::new(Vec::new()) };
}

/// How many leases this thread took that did not end yet. One that moved to another thread counts where it was taken.
pub(super) fn held_by_this_thread(region: RegionRef) -> i64 {
    let generation = crate::sys::generation();
    let held = |marks: &RefCell<Vec<Arc<Mark>>>| {
        let marks = marks.borrow();
        let mark = marks.iter().find(|mark| mark.region == region && mark.generation == generation);
        mark.map_or(0, |mark| Arc::strong_count(mark) as i64 - 1)
    };
    MARKS.try_with(held).unwrap_or(0)
}

/// The calling thread's mark for a queue. `None` in a thread that is ending: there nobody is left to wait for itself.
pub(super) fn mark(region: RegionRef, generation: u32) -> Option<Arc<Mark>> {
    let find = |marks: &RefCell<Vec<Arc<Mark>>>| {
        let mut marks = marks.borrow_mut();
        let known =
            marks.iter().find(|mark| mark.region == region && mark.generation == generation);
        if let Some(mark) = known {
            return mark.clone();
        }
        if marks.len() == marks.capacity() {
            marks.retain(|mark| Arc::strong_count(mark) > 1);
        }
        let mark = Arc::new(Mark { region, generation });
        marks.push(mark.clone());
        mark
    };
    MARKS.try_with(find).ok()
}

/// An item on trial: nobody else has it, and it comes back unless [`commit`](Self::commit) or [`reply`](Self::reply) ends it.
///
/// Dropping it (also by unwinding), and the death of the process, give the item back, counted in
/// [`deliveries`](Self::deliveries). A thread that ends gives nothing back: a lease belongs to its process, and may be
/// sent to another thread. In a forked child a lease of the parent does nothing.
///
/// What was done with an item before its lease ended may be done twice; a reply cannot be.
#[must_use = "dropping a lease gives the item back"]
pub struct Lease<T, R = ()> {
    /// `None` once ended.
    value: Option<T>,
    token: Option<LeaseToken>,
    deliveries: u8,
    at: Arc<Attached>,
    generation: u32,
    _mark: Option<Arc<Mark>>,
    replies: PhantomData<fn(R)>,
}

impl<T, R> Lease<T, R> {
    /// How often the item was given back before: 0 at its first delivery; saturates at 255. Exact in queues with
    /// [`max_deliveries`](super::Builder::max_deliveries); elsewhere a small item's count wraps at 256.
    pub fn deliveries(&self) -> u32 {
        u32::from(self.deliveries)
    }

    /// The token, taken out; `None` in a forked child, whose parent has the lease.
    fn take_token(&mut self) -> Option<LeaseToken> {
        let token = self.token.take()?;
        (self.generation == crate::sys::generation()).then_some(token)
    }

    /// Ends the lease: the item is done with. Returns it.
    ///
    /// Committed with one store; for a request, the requester learns that it was done without a reply.
    pub fn commit(mut self) -> T {
        if let Some(token) = self.take_token()
            && let Ok(core) = self.at.core()
        {
            core.commit(token);
        }
        self.value.take().expect("a lease has its value until it ends")
    }
}

impl<T: DeserializeOwned, R> Lease<T, R> {
    /// The value of an item just leased. If it cannot be read, the item is given back.
    pub(super) fn read(
        at: &Arc<Attached>,
        core: &Core<'_>,
        token: LeaseToken,
        bytes: &Bytes,
    ) -> Result<Self> {
        match value::decode(bytes.as_slice(), bytes.carries, Vec::new()) {
            Ok(value) => {
                let deliveries = token.deliveries();
                let generation = crate::sys::generation();
                Ok(Self {
                    value: Some(value),
                    token: Some(token),
                    deliveries,
                    at: at.clone(),
                    generation,
                    _mark: mark(at.region, generation),
                    replies: PhantomData,
                })
            }
            Err(error) => {
                core.give_back(token);
                Err(error)
            }
        }
    }
}

impl<T, R: Serialize> Lease<T, R> {
    /// Ends the lease with an answer for the requester: result and commit are one step, so an answer is never given twice.
    ///
    /// Never waits for room. If the requester is gone (or never asked), the item is committed and the answer dropped.
    ///
    /// # Errors
    ///
    /// Each gives lease and answer back: the answer cannot be serialised or could never fit; it is larger than the block set aside and
    /// no other is free now; no memory; the lease belongs to the process that forked this one.
    pub fn reply(mut self, answer: R) -> Result<Replied, ReplyRefused<T, R>> {
        let attempt = |lease: &mut Self| -> Result<Replied> {
            if lease.generation != crate::sys::generation() {
                return Err(Error::plain(Kind::Forked, lease.at.subject()));
            }
            let at = lease.at.clone();
            let core = at.core()?;
            let encoded = value::encode(&answer, Place::Queue)?;
            if encoded.carries {
                at.mark_carries();
                value::mark_travelled(encoded.bytes.as_slice())?;
            }
            let message = Message { bytes: encoded.bytes.as_slice(), carries: encoded.carries };
            let token = lease.token.take().ok_or_else(|| Error::plain(Kind::Gone, at.subject()))?;
            match core.try_reply(token, message) {
                Ok(core::Replied::Delivered) => Ok(Replied::Delivered),
                Ok(core::Replied::RequesterGone) => Ok(Replied::RequesterGone),
                Err((token, why)) => {
                    lease.token = Some(token);
                    Err(reply_error(&at, why))
                }
            }
        };
        match attempt(&mut self) {
            Ok(done) => Ok(done),
            Err(error) => Err(ReplyRefused { lease: self, answer, error }),
        }
    }
}

fn reply_error(at: &Attached, why: core::ReplyError) -> Error {
    match why {
        core::ReplyError::TooLarge { len, most } => {
            let text = format!(
                "reply with {len} bytes: this queue takes at most {most}; build it with a larger `max_message`"
            );
            Error::new(Kind::TooLarge, at.subject(), text)
        }
        core::ReplyError::NoMemory(why) => super::place::no_memory(why, at.subject()),
        core::ReplyError::NoRoom => Error::plain(Kind::NoRoom, at.subject()),
        _ => Error::plain(Kind::Corrupt, at.subject()),
    }
}

impl<T, R> Deref for Lease<T, R> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a lease has its value until it ends")
    }
}

impl<T, R> Drop for Lease<T, R> {
    fn drop(&mut self) {
        if let Some(token) = self.take_token()
            && let Ok(core) = self.at.core()
        {
            core.give_back(token);
        }
    }
}

impl<T: fmt::Debug, R> fmt::Debug for Lease<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("value", &self.value)
            .field("deliveries", &self.deliveries)
            .finish()
    }
}

/// What became of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replied {
    /// The requester has it.
    Delivered,
    /// The requester gave up, died, or never asked; the item is committed, the answer dropped.
    RequesterGone,
}

impl Replied {
    /// Whether the requester has it.
    #[must_use]
    pub fn is_delivered(self) -> bool {
        self == Self::Delivered
    }
}

/// A reply that was not given, with the lease, which goes on. `?` turns it into the [`Error`] alone, and so gives the item back.
#[derive(Debug)]
pub struct ReplyRefused<T, R> {
    /// The lease, not ended.
    pub lease: Lease<T, R>,
    /// The answer.
    pub answer: R,
    /// Why.
    pub error: Error,
}

impl<T, R> fmt::Display for ReplyRefused<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T: fmt::Debug, R: fmt::Debug> std::error::Error for ReplyRefused<T, R> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<T, R> From<ReplyRefused<T, R>> for Error {
    fn from(refused: ReplyRefused<T, R>) -> Self {
        refused.error
    }
}

/// The dead letters of a queue, each on lease; see [`Queue::dead_letters`].
#[derive(Debug)]
pub struct DeadLetters<'a, T, R = ()> {
    pub(super) queue: &'a Queue<T, R>,
}

impl<T: DeserializeOwned, R> Iterator for DeadLetters<'_, T, R> {
    type Item = Result<Lease<T, R>>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = &self.queue.at;
        let core = match at.core() {
            Ok(core) => core,
            Err(error) => return Some(Err(error)),
        };
        let mut bytes = Bytes::new();
        bytes.adopt = Some(value::adopt);
        let token = core.try_take_dead(&mut bytes)?;
        Some(Lease::read(at, &core, token, &bytes))
    }
}

//! The requester's side of a reply.

use super::Until;
use super::place::Attached;
use super::unbounded::Core;
use crate::error::{Error, Kind, Result};
use crate::value::{self, Bytes};
use offspring_core::block_on::block_on;
use offspring_core::queue::{Answer, Corrupt, TicketToken};
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request under way: waits for its reply.
///
/// If the process that works on it dies, another gets the request, and the ticket goes on waiting. Dropping the ticket gives up:
/// the request is still delivered, a reply to it is dropped. A forked child cannot use its parent's tickets.
#[must_use = "dropping a ticket gives the reply up"]
pub struct Ticket<R> {
    at: Arc<Attached>,
    token: Option<TicketToken>,
    generation: u32,
    gives: PhantomData<fn() -> R>,
}

impl<R> Ticket<R> {
    pub(super) fn new(at: Arc<Attached>, token: TicketToken) -> Self {
        Self { at, token: Some(token), generation: crate::sys::generation(), gives: PhantomData }
    }
}

impl<R: DeserializeOwned> Ticket<R> {
    /// Waits for the reply. A ticket gives one reply.
    ///
    /// # Errors
    ///
    /// The item went to the dead letters; it was committed without a reply (and `R` is not `()`); the reply is no `R`; the
    /// reply was taken before.
    pub fn wait(&mut self) -> Result<R> {
        self.wait_until(|_| Until::Ever)
    }

    /// The reply, if it is there.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<R> {
        self.wait_until(|_| Until::Never)
    }

    /// Waits for the reply for `timeout` at most; the ticket goes on after a time-out.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<R> {
        self.wait_until(|core| Until::timeout(core, timeout))
    }

    /// Waits for the reply until `deadline` at most; the ticket goes on after a time-out.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`wait`](Self::wait).
    pub fn wait_deadline(&mut self, deadline: Instant) -> Result<R> {
        self.wait_until(|core| Until::deadline(core, deadline))
    }

    fn wait_until(&mut self, until: impl FnOnce(&Core<'_>) -> Until) -> Result<R> {
        let at = self.at.clone();
        if self.generation != crate::sys::generation() {
            return Err(Error::plain(Kind::Forked, at.subject()));
        }
        let core = at.core()?;
        let gone = || {
            Error::new(Kind::Gone, at.subject(), "wait for a reply: this ticket's was taken before")
        };
        let mut bytes = Bytes::new();
        bytes.adopt = Some(value::adopt);
        let mut look = |held: &mut Option<TicketToken>| -> Option<Result<Answer, Corrupt>> {
            core.sweep_if_due();
            match core.take_answer(held.take()?, &mut bytes) {
                Ok((Answer::Pending, token)) => {
                    *held = token;
                    None
                }
                Ok((answer, _)) => Some(Ok(answer)),
                Err(corrupt) => Some(Err(corrupt)),
            }
        };
        if self.token.is_none() {
            return Err(gone());
        }
        let answer = match look(&mut self.token) {
            Some(answer) => answer,
            None => match until(&core) {
                Until::Never => return Err(Error::plain(Kind::Empty, at.subject())),
                until => {
                    let Some(token) = self.token.as_ref() else { return Err(gone()) };
                    let corrupt = || Error::plain(Kind::Corrupt, at.subject());
                    let bell = core.bell(token).ok_or_else(corrupt)?;
                    let token = &mut self.token;
                    let done = block_on(
                        core.family(),
                        bell,
                        || core.others(),
                        &at.spin,
                        until.nanos(),
                        || look(token),
                    );
                    done.ok_or_else(|| Error::plain(Kind::Timeout, at.subject()))?
                }
            },
        };
        match answer {
            Ok(Answer::Reply) => value::decode(bytes.as_slice(), bytes.carries, Vec::new()),
            Ok(Answer::Dead) => Err(Error::plain(Kind::DeadLettered, at.subject())),
            // `()` is what a commit without a value says.
            Ok(Answer::Committed | Answer::Pending) => value::decode(&[], false, Vec::new())
                .map_err(|_| {
                    Error::new(
                        Kind::Decode,
                        at.subject(),
                        "wait for a reply: the item was committed without one",
                    )
                }),
            Err(Corrupt) => Err(Error::plain(Kind::Corrupt, at.subject())),
        }
    }
}

impl<R> Drop for Ticket<R> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take()
            && self.generation == crate::sys::generation()
            && let Ok(core) = self.at.core()
        {
            core.drop_ticket(token);
        }
    }
}

impl<R> fmt::Debug for Ticket<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("pending", &self.token.is_some()).finish_non_exhaustive()
    }
}

//! Messages of plain data where they lie: lent to be written, leased to be read.
#![allow(unsafe_code)] // makes spans of blocks that a loan or lease holds, and lends them without a copy to callers who vouch

use super::plain::{Raw, not_whole, ring};
use super::unbounded::Core;
use super::{Queue, Until, lease};
use crate::error::{Error, Kind, Result};
use crate::value::plain::{Plain, Span};
use offspring_core::queue::{LeaseToken, LoanToken, PutError};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A block of shared memory, lent to be filled with a message of plain values; [`publish`](Self::publish) makes it one, without a
/// copy.
///
/// Got from [`PlainQueue::loan`](super::PlainQueue::loan). Nobody sees it before it is published. Dropping it (also by unwinding)
/// and the death of the process give the block back; what was written is nobody's then. It belongs to its process and may be sent
/// to another thread.
///
/// # Panics
///
/// Every method that reads or writes values panics where they lie outside, as a slice does, and in a forked child, to which a loan
/// of its parent does not belong.
#[must_use = "dropping a loan gives its block back: `publish` makes it a message"]
pub struct Loan<T: Plain> {
    span: Span<T>,
    /// `None` once ended.
    token: Option<LoanToken>,
    queue: Queue<Raw<T>>,
    generation: u32,
}

impl<T: Plain> Loan<T> {
    /// The block just lent.
    pub(super) fn over(queue: &Queue<Raw<T>>, core: &Core<'_>, token: LoanToken) -> Result<Self> {
        let ring = ring(queue, core)?;
        let len = token.len() / size_of::<T>();
        let Some(at) = ring.loan_address(&token) else {
            ring.return_loan(token);
            return Err(Error::plain(Kind::Corrupt, queue.subject()));
        };
        // SAFETY: a block of so many bytes that is OWNED by us until the token is ended: `span` is used only while `token` is
        // there, and in this process. The arena stays mapped for the life of the process. Blocks are 256-aligned (checked against
        // `T` when compiled).
        let span = unsafe { Span::new(at, len) };
        let generation = crate::sys::generation();
        Ok(Self { span, token: Some(token), queue: queue.clone(), generation })
    }

    fn own(&self) {
        assert!(
            self.generation == crate::sys::generation(),
            "a loan belongs to the process that took it, not to the children that it forks"
        );
    }

    /// How many values the message will have.
    #[must_use]
    pub fn len(&self) -> usize {
        self.span.len()
    }

    /// Whether the message will be an empty one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the message shorter: its first `len` values. A greater `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.span.truncate(len);
        if let Some(token) = &mut self.token {
            token.truncate(self.span.len() * size_of::<T>());
        }
    }

    /// Copies `values` in, from number `from` on.
    #[track_caller]
    pub fn write(&mut self, from: usize, values: &[T]) {
        self.own();
        self.span.write(from, values);
    }

    /// Fills it with `value`.
    pub fn fill(&mut self, value: T) {
        self.fill_parts(|_, part| part.fill(value));
    }

    /// Lets `f` fill one part after another, each told where it begins, in private memory of a few KiB that is copied in: nearly as
    /// fast as to write in place, and safe.
    pub fn fill_parts(&mut self, f: impl FnMut(usize, &mut [T])) {
        self.own();
        self.span.fill_parts(f);
    }

    /// Copies values out, from number `from` on.
    #[track_caller]
    pub fn read(&self, from: usize, out: &mut [T]) {
        self.own();
        self.span.read(from, out);
    }

    /// The values themselves, to be written in place.
    ///
    /// # Safety
    ///
    /// - No other process writes there while the reference lives. Processes that keep to this library do not: the block is this
    ///   loan's. The caller vouches that none of the family writes wild.
    /// - This process is the one that took the loan, not a child that it forked.
    #[must_use]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the caller's.
        unsafe { self.span.as_mut_slice() }
    }

    /// Makes it a message, waiting while the queue is full: with one store, and nothing copied.
    ///
    /// # Errors
    ///
    /// Each gives the loan back: the queue was closed; its memory was overwritten; the loan belongs to the process that forked this
    /// one.
    pub fn publish(self) -> Result<(), PublishRefused<T>> {
        self.publish_until(|_| Until::Ever)
    }

    /// Makes it a message if there is a free slot now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`publish`](Self::publish).
    pub fn try_publish(self) -> Result<(), PublishRefused<T>> {
        self.publish_until(|_| Until::Never)
    }

    /// Makes it a message, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`publish`](Self::publish).
    pub fn publish_timeout(self, timeout: Duration) -> Result<(), PublishRefused<T>> {
        self.publish_until(|core| Until::timeout(core, timeout))
    }

    /// Makes it a message, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`publish`](Self::publish).
    pub fn publish_deadline(self, deadline: Instant) -> Result<(), PublishRefused<T>> {
        self.publish_until(|core| Until::deadline(core, deadline))
    }

    fn publish_until(
        mut self,
        until: impl FnOnce(&Core<'_>) -> Until,
    ) -> Result<(), PublishRefused<T>> {
        let queue = self.queue.clone();
        let attempt = |token: &mut Option<LoanToken>| -> Result<()> {
            if self.generation != crate::sys::generation() {
                return Err(Error::plain(Kind::Forked, queue.subject()));
            }
            let core = queue.at.core()?;
            let ring = ring(&queue, &core)?;
            let mut publish = || {
                let Some(loan) = token.take() else { return Err(PutError::Corrupt) };
                ring.try_publish(loan).map_err(|(loan, why)| {
                    *token = Some(loan);
                    why
                })
            };
            match publish() {
                Ok(()) => Ok(()),
                Err(why) => queue.put_slow(&core, why, until(&core), publish),
            }
        };
        attempt(&mut self.token).map_err(|error| PublishRefused { loan: self, error })
    }
}

impl<T: Plain> Drop for Loan<T> {
    fn drop(&mut self) {
        if self.generation == crate::sys::generation()
            && let Some(token) = self.token.take()
            && let Ok(core) = self.queue.at.core()
            && let Some(ring) = core.ring()
        {
            ring.return_loan(token);
        }
    }
}

impl<T: Plain> fmt::Debug for Loan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A loan that was not published, with the loan, which goes on. `?` turns it into the [`Error`] alone, and so gives the block
/// back.
pub struct PublishRefused<T: Plain> {
    /// The loan, with what was written.
    pub loan: Loan<T>,
    /// Why.
    pub error: Error,
}

impl<T: Plain> fmt::Debug for PublishRefused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("PublishRefused");
        out.field("loan", &self.loan).field("error", &self.error).finish()
    }
}

impl<T: Plain> fmt::Display for PublishRefused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T: Plain> std::error::Error for PublishRefused<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<T: Plain> From<PublishRefused<T>> for Error {
    fn from(refused: PublishRefused<T>) -> Self {
        refused.error
    }
}

/// A message of plain values on trial, read where it lies: nobody else has it, and it comes back unless
/// [`commit`](Self::commit) ends it.
///
/// Got from [`PlainQueue::lease`](super::PlainQueue::lease). Dropping it (also by unwinding) and the death of the process give
/// the message back, counted in [`deliveries`](Self::deliveries). It belongs to its process and may be sent to another thread.
///
/// # Panics
///
/// Every method that reads values panics where they lie outside, as a slice does, and in a forked child, to which a lease of its
/// parent does not belong.
#[must_use = "dropping a lease gives the message back"]
pub struct InPlace<T: Plain> {
    span: Span<T>,
    /// `None` once ended.
    token: Option<LeaseToken>,
    deliveries: u8,
    queue: Queue<Raw<T>>,
    generation: u32,
    _mark: Option<Arc<lease::Mark>>,
}

impl<T: Plain> InPlace<T> {
    /// The message just leased; one that is no run of `T`s is given back.
    pub(super) fn over(queue: &Queue<Raw<T>>, core: &Core<'_>, token: LeaseToken) -> Result<Self> {
        let place = ring(queue, core)?.lease_address(&token);
        let whole = |len: usize| len.is_multiple_of(size_of::<T>());
        let (at, len) = match place {
            Some((at, len)) if whole(len) => (at, len / size_of::<T>()),
            other => {
                core.give_back(token);
                return Err(match other {
                    Some((_, len)) => not_whole::<T>(queue, len),
                    None => Error::plain(Kind::Corrupt, queue.subject()),
                });
            }
        };
        // SAFETY: a block of so many bytes that is LEASED to us until the token is ended: `span` is used only while `token` is
        // there, in this process, and never written. The arena stays mapped for the life of the process. Blocks are 256-aligned.
        let span = unsafe { Span::new(at, len) };
        let generation = crate::sys::generation();
        let deliveries = token.deliveries();
        let _mark = lease::mark(queue.at.region, generation);
        Ok(Self { span, token: Some(token), deliveries, queue: queue.clone(), generation, _mark })
    }

    fn own(&self) {
        assert!(
            self.generation == crate::sys::generation(),
            "a lease belongs to the process that took it, not to the children that it forks"
        );
    }

    /// How many values the message has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.span.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often the message was given back before, as [`Lease::deliveries`](super::Lease::deliveries).
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        u32::from(self.deliveries)
    }

    /// Value number `index`.
    #[track_caller]
    #[must_use]
    pub fn get(&self, index: usize) -> T {
        self.own();
        self.span.get(index)
    }

    /// Copies values out, from number `from` on.
    #[track_caller]
    pub fn read(&self, from: usize, out: &mut [T]) {
        self.own();
        self.span.read(from, out);
    }

    /// Copies all of them.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.own();
        self.span.to_vec()
    }

    /// Calls `f` with one part after another, and where each begins: a copy of a few KiB, which stays in the innermost cache. Nearly
    /// as fast as to read in place, and safe.
    pub fn parts(&self, f: impl FnMut(usize, &[T])) {
        self.own();
        self.span.parts(f);
    }

    /// The values themselves.
    ///
    /// # Safety
    ///
    /// - No process writes there while the reference lives. Processes that keep to this library do not: the block is this lease's.
    ///   The caller vouches that none of the family writes wild.
    /// - This process is the one that took the lease, not a child that it forked.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[T] {
        // SAFETY: the caller's.
        unsafe { self.span.as_slice() }
    }

    /// Ends the lease: the message is done with, and its block free, with one store.
    pub fn commit(mut self) {
        let Some(token) = self.token.take() else { return };
        if let Some(core) = self.core() {
            core.commit(token);
        }
    }

    /// The queue, in the process that has the lease.
    fn core(&self) -> Option<Core<'_>> {
        if self.generation != crate::sys::generation() {
            return None;
        }
        self.queue.at.core().ok()
    }
}

impl<T: Plain> Drop for InPlace<T> {
    fn drop(&mut self) {
        let Some(token) = self.token.take() else { return };
        if let Some(core) = self.core() {
            core.give_back(token);
        }
    }
}

impl<T: Plain> fmt::Debug for InPlace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("InPlace");
        out.field("len", &self.len()).field("deliveries", &self.deliveries).finish()
    }
}

//! Maps whose arguments are taken, and whose results are given, one after the other.

use super::chunk::{Chunk, Filling, To};
use super::error::TaskError;
use super::function::Entry;
use super::gather::{Gather, Got};
use super::hub::Hub;
use super::wire::Values;
use crate::error::{Error, Result};
use offspring_core::wait::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
#[cfg(feature = "stream")]
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "stream")]
use std::task::{Context, Poll};
use std::time::Duration;

/// What became of each task, as an iterator; see [`Pool::imap`](super::Pool::imap).
///
/// An error concerns its own task: the next one is another's.
#[must_use = "tasks begin when the iterator is asked for their results"]
pub struct Imap<'p, I, R> {
    hub: &'p Arc<Hub>,
    /// `None` once it gave its last.
    arguments: Option<I>,
    function: Result<u32, Arc<Error>>,
    gather: Arc<Gather>,
    ordered: bool,
    /// How many travel together, if that was said.
    size: Option<usize>,
    /// Tasks that were sent, that arrived here, and chunks that were sent.
    sent: u64,
    taken: u64,
    ahead: Vec<u64>,
    /// Results at hand, and the next among them.
    at_hand: Option<(Got, usize)>,
    /// An error that ends it, behind the results of what was sent before.
    last: Option<TaskError>,
    /// The one of them that did not fit the chunk before it.
    alone: Option<Values>,
    #[cfg(feature = "progress")]
    bar: Option<indicatif::ProgressBar>,
    gives: PhantomData<fn() -> R>,
}

impl<I, R> fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("sent", &self.sent).field("taken", &self.taken).finish()
    }
}

impl<'p, I, R> Imap<'p, I, R> {
    pub(super) fn new(
        hub: &'p Arc<Hub>,
        entry: Result<Entry>,
        arguments: I,
        ordered: bool,
    ) -> Self {
        let function = entry.and_then(|entry| hub.function(entry)).map_err(Arc::new);
        Self {
            hub,
            arguments: Some(arguments),
            function,
            gather: Gather::new(None),
            ordered,
            size: None,
            sent: 0,
            taken: 0,
            ahead: Vec::new(),
            at_hand: None,
            last: None,
            alone: None,
            #[cfg(feature = "progress")]
            bar: None,
            gives: PhantomData,
        }
    }

    /// How many tasks travel together. Without this the pool measures how long they take. Before the first `next`.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, tasks: NonZeroUsize) -> Self {
        self.size = Some(tasks.get().min(super::chunk::MOST_TASKS));
        self
    }
}

#[cfg(feature = "progress")]
impl<I: Iterator, R> Imap<'_, I, R> {
    /// Shows on `bar` how many tasks have ended, also those whose turn has not come. A bar without a length gets one, if the arguments
    /// say how many they are. It is finished with the last result, and left as it is if the iterator is dropped before.
    ///
    /// The bar moves while `next` is called. A whole map is `imap(..).progress(bar).collect::<Result<Vec<_>, _>>()`, which, other
    /// than [`map`](super::Pool::map), gives up what is behind the first error.
    pub fn progress(mut self, bar: indicatif::ProgressBar) -> Self {
        if let Some(arguments) = &self.arguments
            && let (least, Some(most)) = arguments.size_hint()
            && least == most
            && bar.length().is_none_or(|length| length == 0)
        {
            bar.set_length(most as u64);
        }
        self.bar = Some(bar);
        self
    }
}

impl<A, I, R> Imap<'_, I, R>
where
    A: Serialize,
    I: Iterator<Item = A>,
    R: DeserializeOwned,
{
    /// Moves the bar, if there is one.
    #[cfg(feature = "progress")]
    fn show(&self, last: bool) {
        match &self.bar {
            Some(bar) if !last => bar.set_position(self.gather.arrived()),
            Some(bar) if !bar.is_finished() => bar.finish(),
            _ => {}
        }
    }

    /// There are no bars in this build.
    #[cfg(not(feature = "progress"))]
    fn show(&self, _: bool) {}

    /// As `next`, waiting for `timeout` at most: [`TaskError::NotReady`] then, and a later `next` still gives it.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.next_until(Some(self.hub.deadline(timeout)))
    }

    fn next_until(&mut self, until: Option<Deadline>) -> Option<Result<R, TaskError>> {
        loop {
            if let Some((got, index)) = &mut self.at_hand {
                if *index < got.len() {
                    *index += 1;
                    return Some(got.read(*index - 1));
                }
                self.at_hand = None;
            }
            self.fill();
            if self.taken == self.sent {
                self.show(self.last.is_none());
                return self.last.take().map(Err);
            }
            match self.await_some(until) {
                Ok(got) => self.at_hand = Some((got, 0)),
                Err(error) => {
                    if !error.is_not_ready() {
                        self.give_up();
                    }
                    return Some(Err(error));
                }
            }
        }
    }

    /// Sends chunks until enough are under way.
    fn fill(&mut self) {
        let function = match &self.function {
            Ok(function) => *function,
            Err(error) => {
                if self.arguments.take().is_some() {
                    self.last = Some(TaskError::Broken(error.clone()));
                }
                return;
            }
        };
        loop {
            let depth = self.hub.depth(self.hub.lock().target);
            // Those that are being waited for, or lie here because an earlier one is not there yet.
            self.ahead.retain(|end| *end > self.taken);
            if self.ahead.len() >= depth || self.arguments.is_none() && self.alone.is_none() {
                return;
            }
            match self.next_values(function) {
                Ok(Some(values)) => {
                    let (count, to) =
                        (values.len() as u64, To::One(self.gather.clone(), self.sent));
                    if let Err(error) = self.hub.send(Chunk::new(function, values, to)) {
                        self.stop(error);
                        return;
                    }
                    self.sent += count;
                    self.ahead.push(self.sent);
                }
                Ok(None) => {
                    self.arguments = None;
                    return;
                }
                Err(error) => self.stop(error),
            }
        }
    }

    /// Nothing more will come of this.
    fn give_up(&mut self) {
        (self.arguments, self.alone) = (None, None);
        (self.taken, self.last) = (self.sent, None);
    }

    /// Nothing more is sent; the error comes behind what was.
    fn stop(&mut self, error: Error) {
        (self.arguments, self.alone) = (None, None);
        self.last = Some(TaskError::Broken(Arc::new(error)));
    }

    /// The next chunk's arguments, from the user's iterator.
    fn next_values(&mut self, function: u32) -> Result<Option<Values>> {
        if let Some(alone) = self.alone.take() {
            return Ok(Some(alone));
        }
        let Some(arguments) = &mut self.arguments else { return Ok(None) };
        let mut most = self.size.unwrap_or_else(|| self.hub.size_of(function));
        if let (least, Some(left)) = arguments.size_hint()
            && least == left
            && self.size.is_none()
        {
            // So that all workers end at about the same time.
            let workers = self.hub.config.workers;
            most = most.min(left.div_ceil(2 * workers)).max(1);
        }
        let mut filling = Filling::default();
        while !filling.is_full(most) {
            let Some(argument) = arguments.next() else {
                self.arguments = None;
                break;
            };
            match filling.add(&argument) {
                Ok(None) => {}
                Ok(Some(alone)) if filling.len() == 0 => return Ok(Some(alone)),
                Ok(alone) => {
                    self.alone = alone;
                    break;
                }
                Err(error) if filling.len() == 0 => return Err(error),
                Err(error) => {
                    self.stop(error);
                    break;
                }
            }
        }
        Ok(filling.take())
    }

    /// Results that are next.
    fn await_some(&mut self, until: Option<Deadline>) -> Result<Got, TaskError> {
        let next = self.ordered.then_some(self.taken);
        let look = || {
            self.show(false);
            match self.gather.take(next) {
                Some(got) => Some(Ok(got)),
                None => self.gather.why_ended().map(Err),
            }
        };
        let got = self.hub.wait(until, look).unwrap_or(Err(TaskError::NotReady))?;
        self.took(&got);
        Ok(got)
    }

    /// Results were taken.
    fn took(&mut self, got: &Got) {
        self.taken += got.len() as u64;
        if !self.ordered {
            // Any of them: the oldest are as good as done.
            let under_way = self.sent - self.taken;
            self.ahead.retain(|end| *end > self.sent - under_way);
        }
    }

    /// All values in order, or the first error, once all have ended.
    pub(super) fn all(mut self) -> Result<Vec<R>, TaskError> {
        let mut values = Vec::new();
        let mut failed = None;
        for result in &mut self {
            match result {
                Ok(value) if failed.is_none() => values.push(value),
                Ok(_) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => Ok(values),
            Some(error) => Err(error),
        }
    }
}

impl<A, I, R> Iterator for Imap<'_, I, R>
where
    A: Serialize,
    I: Iterator<Item = A>,
    R: DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}

/// The results without blocking the thread: the pool's own thread wakes the task. For any executor; also this is lazy, and arguments are
/// taken from their iterator inside of `poll_next`.
#[cfg(feature = "stream")]
impl<A, I, R> futures_core::Stream for Imap<'_, I, R>
where
    A: Serialize,
    I: Iterator<Item = A> + Unpin,
    R: DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some((got, index)) = &mut this.at_hand {
                if *index < got.len() {
                    *index += 1;
                    return Poll::Ready(Some(got.read(*index - 1)));
                }
                this.at_hand = None;
            }
            this.fill();
            if this.taken == this.sent {
                this.show(this.last.is_none());
                return Poll::Ready(this.last.take().map(Err));
            }
            this.hub.pump();
            this.show(false);
            match this.gather.poll_take(this.ordered.then_some(this.taken), context.waker()) {
                Poll::Ready(Some(got)) => {
                    this.took(&got);
                    this.at_hand = Some((got, 0));
                }
                Poll::Ready(None) => {
                    let error = this.gather.why_ended().unwrap_or(TaskError::Cancelled);
                    this.give_up();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Pending => {
                    this.hub.listen(&this.gather);
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<I, R> Drop for Imap<'_, I, R> {
    fn drop(&mut self) {
        if self.taken < self.sent && self.hub.is_ours() && self.gather.end(TaskError::Cancelled) {
            self.hub.lock().give_up(self.hub, &self.gather);
            self.hub.ring_thread();
        }
    }
}

//! A handle on a task, or on all tasks of a map.

use super::error::TaskError;
use super::gather::{Callback, Gather};
use super::hub::Hub;
use serde::de::DeserializeOwned;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A task under way, or a whole map: waits for its value, any number of times.
///
/// Dropping it changes nothing: the task is run, and its value dropped.
///
/// # Blocking and crash
///
/// Who waits is woken by the worker itself, and at once if that dies. See [`TaskError`] for what a death costs.
///
/// # Examples
///
/// ```
/// use offspring::Pool;
/// use std::sync::mpsc;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let pool = Pool::builder().workers(1).build()?;
///     let (send, received) = mpsc::channel();
///     let task = pool.submit(|n: u32| n + 100, 7)?.on_ok(move |sum| send.send(*sum).unwrap());
///     assert_eq!(task.get()?, 107);
///     assert_eq!(received.try_recv(), Ok(107), "callbacks come before `get` returns");
///     Ok(())
/// }
/// ```
#[doc(alias = "AsyncResult")]
#[doc(alias = "Future")]
#[must_use = "a task gives its value to whoever waits for it"]
pub struct Task<R> {
    hub: Arc<Hub>,
    gather: Arc<Gather>,
    read: fn(&Gather) -> Result<R, TaskError>,
}

impl<R> Task<R> {
    pub(super) fn new(
        hub: Arc<Hub>,
        gather: Arc<Gather>,
        read: fn(&Gather) -> Result<R, TaskError>,
    ) -> Self {
        Self { hub, gather, read }
    }

    /// Waits for the value. Each call reads it anew.
    ///
    /// # Errors
    ///
    /// See [`TaskError`]; of a map the first error in the order of the arguments, after all tasks have ended.
    pub fn get(&self) -> Result<R, TaskError> {
        self.wait();
        (self.read)(&self.gather)
    }

    /// The value, if it is there.
    ///
    /// # Errors
    ///
    /// [`TaskError::NotReady`], and those of [`get`](Self::get).
    pub fn try_get(&self) -> Result<R, TaskError> {
        match self.is_ready() {
            true => (self.read)(&self.gather),
            false => Err(TaskError::NotReady),
        }
    }

    /// Waits for the value for `timeout` at most. A time-out does nothing to the task.
    ///
    /// # Errors
    ///
    /// [`TaskError::NotReady`], and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, TaskError> {
        match self.wait_timeout(timeout) {
            true => (self.read)(&self.gather),
            false => Err(TaskError::NotReady),
        }
    }

    /// Waits until the task has ended, and its callbacks too.
    pub fn wait(&self) {
        self.hub.wait(None, || self.gather.is_ready().then_some(()));
    }

    /// As [`wait`](Self::wait), for `timeout` at most; whether it has ended.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let until = self.hub.deadline(timeout);
        self.hub.wait(Some(until), || self.gather.is_ready().then_some(())).is_some()
    }

    /// Whether the task has ended, and its callbacks too.
    #[doc(alias = "ready")]
    #[doc(alias = "done")]
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.gather.is_ready() || {
            self.hub.pump();
            self.gather.is_ready()
        }
    }

    /// Whether the task gave a value; `None` while it has not ended. (A value that cannot be read here counts as one.)
    #[doc(alias = "successful")]
    #[must_use]
    pub fn is_successful(&self) -> Option<bool> {
        self.hub.pump();
        self.gather.is_successful()
    }

    /// Gives the task up: it is [`TaskError::Cancelled`] at once, unless it has ended; whether it was given up.
    ///
    /// If it has not begun, it never will. If it is running, it can find out by [`is_cancelled`](super::is_cancelled); after the
    /// pool's [grace](super::Builder::grace) its worker is killed and replaced.
    pub fn cancel(&self) -> bool {
        self.hub.pump();
        if !self.gather.end(TaskError::Cancelled) {
            return false;
        }
        self.hub.lock().give_up(&self.hub, &self.gather);
        self.hub.ring_thread();
        true
    }

    fn call_back(&self, callback: Callback) {
        match self.gather.call_back(callback) {
            Some(now) => self.hub.callbacks.run(&self.hub.board, self.gather.clone(), now),
            None => self.hub.listen(&self.gather),
        }
    }
}

impl<R: DeserializeOwned + 'static> Task<R> {
    /// Calls `function` with the value, once, in a thread that the pool has for callbacks; before [`get`](Self::get) returns.
    ///
    /// A slow callback holds up other callbacks and those who wait for this task, and nobody else. In a callback do not wait for
    /// a task that has callbacks.
    #[doc(alias = "callback")]
    #[doc(alias = "add_done_callback")]
    pub fn on_ok(self, function: impl FnOnce(&R) + Send + 'static) -> Self {
        self.on_end(|ended| {
            if let Ok(value) = ended {
                function(&value);
            }
        })
    }

    /// Calls `function` with the error, if it ends with one; otherwise as [`on_ok`](Self::on_ok).
    #[doc(alias = "error_callback")]
    pub fn on_err(self, function: impl FnOnce(&TaskError) + Send + 'static) -> Self {
        self.on_end(|ended| {
            if let Err(error) = ended {
                function(&error);
            }
        })
    }

    fn on_end(self, function: impl FnOnce(Result<R, TaskError>) + Send + 'static) -> Self {
        let (gather, read) = (self.gather.clone(), self.read);
        self.call_back(Box::new(move || function(read(&gather))));
        self
    }
}

#[cfg(feature = "progress")]
impl<R> Task<Vec<R>> {
    /// As [`wait`](Task::wait), showing on `bar` how many tasks of the map have ended. It is finished with the last.
    pub fn wait_with(&self, bar: &indicatif::ProgressBar) {
        bar.set_length(self.gather.total().unwrap_or_default());
        self.hub.wait(None, || {
            bar.set_position(self.gather.arrived());
            self.gather.is_ready().then_some(())
        });
        bar.finish();
    }
}

/// Waits without blocking the thread: the pool's own thread wakes the future. For any executor.
impl<R> Future for Task<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_ready() || self.gather.wake_when_ready(context.waker()) {
            return Poll::Ready((self.read)(&self.gather));
        }
        self.hub.listen(&self.gather);
        Poll::Pending
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("ready", &self.gather.is_ready()).finish_non_exhaustive()
    }
}

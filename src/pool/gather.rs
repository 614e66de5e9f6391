//! Where the results of a call arrive: one task, or all of a map's.

use super::error::TaskError;
use super::wire::{Blob, Values};
use crate::error::Error;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What became of some tasks in a row.
#[derive(Clone, Debug)]
pub(super) enum Got {
    Values(Values),
    /// One task.
    Failed(TaskError),
}

impl Got {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Failed(_) => 1,
        }
    }

    /// The value that lies there among others.
    pub(super) fn one(bytes: &Blob, begin: u32, end: u32) -> Self {
        let own = bytes.0.get(begin as usize..end as usize).unwrap_or_default().to_vec();
        let ends = vec![own.len() as u32];
        Self::Values(Values::Plain { ends, bytes: Blob(Arc::new(own)) })
    }

    /// Reads one of them.
    pub(super) fn read<R: DeserializeOwned>(&self, index: usize) -> Result<R, TaskError> {
        match self {
            Self::Failed(error) => Err(error.clone()),
            Self::Values(values) => {
                let value = values.get(index).ok_or_else(|| unreadable(cut_off()))?;
                value.decode().map_err(unreadable)
            }
        }
    }
}

fn unreadable(error: Error) -> TaskError {
    TaskError::Unreadable(Arc::new(error))
}

fn cut_off() -> Error {
    Error::plain(crate::error::Kind::Corrupt, crate::error::Subject::None)
}

pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// Results as they come, in any order.
#[derive(Default)]
pub(super) struct Gather(Mutex<State>);

#[derive(Default)]
struct State {
    /// With the number of the first task of each, in the order in which they came.
    parts: Vec<(u64, Got)>,
    arrived: u64,
    /// How many there will be, once that is known.
    total: Option<u64>,
    /// What became of all that did not arrive.
    ended: Option<TaskError>,
    callbacks: Vec<Callback>,
    /// Callbacks that have not ended, these among them.
    running: usize,
    wakers: Vec<Waker>,
    /// Who takes results as they come, and the first it can use: any, if `None`.
    #[cfg(feature = "stream")]
    taker: Option<(Option<u64>, Waker)>,
    /// It was told that it is over.
    told: bool,
}

impl State {
    fn is_over(&self) -> bool {
        self.ended.is_some() || self.total == Some(self.arrived)
    }

    /// Where the results lie that begin with number `next`, or any.
    fn place_of(&self, next: Option<u64>) -> Option<usize> {
        match next {
            Some(next) => self.parts.iter().position(|(first, _)| *first == next),
            None => (!self.parts.is_empty()).then_some(0),
        }
    }
}

impl Gather {
    /// For as many tasks as `total`, or as will be said.
    pub(super) fn new(total: Option<u64>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { total, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_total(&self, total: u64) {
        self.lock().total = Some(total);
    }

    /// What became of the tasks from number `first` on. Nothing if all ended otherwise before.
    pub(super) fn deliver(&self, first: u64, got: Got) {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.arrived += got.len() as u64;
            state.parts.push((first, got));
        }
    }

    /// All that did not arrive ended so; false if everything was over before.
    pub(super) fn end(&self, error: TaskError) -> bool {
        let mut state = self.lock();
        if state.is_over() {
            return false;
        }
        state.ended = Some(error);
        true
    }

    /// Whether nobody waits for more.
    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// Everything arrived or ended; callbacks may be running.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// It is over, and so are its callbacks.
    pub(super) fn is_ready(&self) -> bool {
        let state = self.lock();
        state.is_over() && state.running == 0
    }

    /// Adds a callback; it comes back if it should run at once.
    pub(super) fn call_back(&self, callback: Callback) -> Option<Callback> {
        let mut state = self.lock();
        state.running += 1;
        if state.is_over() && state.told {
            return Some(callback);
        }
        state.callbacks.push(callback);
        None
    }

    /// Wakes the task behind it once it is over; true if it is.
    pub(super) fn wake_when_ready(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.is_over() && state.running == 0 {
            return true;
        }
        state.told = false;
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        false
    }

    /// As [`take`](Self::take); if there is nothing to take and more will come, whoever pumps wakes the task behind it.
    #[cfg(feature = "stream")]
    pub(super) fn poll_take(
        &self,
        next: Option<u64>,
        waker: &Waker,
    ) -> std::task::Poll<Option<Got>> {
        let mut state = self.lock();
        if let Some(place) = state.place_of(next) {
            return std::task::Poll::Ready(Some(state.parts.remove(place).1));
        }
        if state.ended.is_some() {
            return std::task::Poll::Ready(None);
        }
        state.taker = Some((next, waker.clone()));
        std::task::Poll::Pending
    }

    /// Who is to be woken, as there is something to take.
    #[cfg(feature = "stream")]
    pub(super) fn taker(&self) -> Option<Waker> {
        let mut state = self.lock();
        let (next, _) = state.taker.as_ref()?;
        let due = state.ended.is_some() || state.place_of(*next).is_some();
        due.then(|| state.taker.take()).flatten().map(|(_, waker)| waker)
    }

    /// Nobody takes results in this build.
    #[cfg(not(feature = "stream"))]
    pub(super) fn taker(&self) -> Option<Waker> {
        None
    }

    /// How many tasks gave a value or an error so far.
    #[cfg(feature = "progress")]
    pub(super) fn arrived(&self) -> u64 {
        self.lock().arrived
    }

    /// How many tasks there are, if that is known.
    #[cfg(feature = "progress")]
    pub(super) fn total(&self) -> Option<u64> {
        self.lock().total
    }

    /// If it has just become over: what is to be called, once.
    pub(super) fn tell(&self) -> Vec<Callback> {
        let mut state = self.lock();
        if !state.is_over() || state.told {
            return Vec::new();
        }
        state.told = true;
        if state.callbacks.is_empty() {
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
            return Vec::new();
        }
        std::mem::take(&mut state.callbacks)
    }

    /// A callback has ended.
    pub(super) fn called_back(&self) {
        let mut state = self.lock();
        state.running -= 1;
        if state.running == 0 {
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether every task gave a value, if all is over.
    pub(super) fn is_successful(&self) -> Option<bool> {
        let state = self.lock();
        let fine = |state: &State| {
            state.ended.is_none()
                && !state.parts.iter().any(|(_, got)| matches!(got, Got::Failed(_)))
        };
        (state.is_over() && state.running == 0).then(|| fine(&state))
    }

    /// The only task's value.
    pub(super) fn read_one<R: DeserializeOwned>(&self) -> Result<R, TaskError> {
        let got = {
            let state = self.lock();
            match (state.parts.first(), &state.ended) {
                (Some((_, got)), _) => got.clone(),
                (None, Some(error)) => return Err(error.clone()),
                (None, None) => return Err(TaskError::NotReady),
            }
        };
        got.read(0)
    }

    /// All values in order, or the first error in that order.
    pub(super) fn read_all<R: DeserializeOwned>(&self) -> Result<Vec<R>, TaskError> {
        self.read_each()?.into_iter().collect()
    }

    /// What became of each, in order.
    pub(super) fn read_each<R: DeserializeOwned>(
        &self,
    ) -> Result<Vec<Result<R, TaskError>>, TaskError> {
        let mut parts = {
            let state = self.lock();
            match (&state.ended, state.is_over()) {
                (Some(error), _) => return Err(error.clone()),
                (None, false) => return Err(TaskError::NotReady),
                (None, true) => state.parts.clone(),
            }
        };
        parts.sort_unstable_by_key(|(first, _)| *first);
        let each = parts.iter().flat_map(|(_, got)| (0..got.len()).map(|index| got.read(index)));
        Ok(each.collect())
    }

    /// Takes some results out: those that begin with number `next`, or any.
    pub(super) fn take(&self, next: Option<u64>) -> Option<Got> {
        let mut state = self.lock();
        let place = state.place_of(next)?;
        // Few lie here at once: they are taken as they come.
        Some(state.parts.remove(place).1)
    }

    /// Why nothing more will come, if so.
    pub(super) fn why_ended(&self) -> Option<TaskError> {
        self.lock().ended.clone()
    }
}

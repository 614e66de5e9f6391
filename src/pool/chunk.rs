//! Tasks that travel together, and how many do.

use super::gather::{Gather, Got};
use super::wire::{Blob, Carrying, Values};
use crate::error::Result;
use crate::value::{self, Bytes, Place};
use serde::Serialize;
use std::sync::Arc;

/// What a chunk's work should take, in nanoseconds: long against a message's cost, short against a person's patience.
const WORK: f64 = 500_000.0;
/// A chunk's tasks and bytes at most.
pub(super) const MOST_TASKS: usize = 4096;
pub(super) const MOST_BYTES: usize = 32 << 10;

/// Tasks of one function.
pub(super) struct Chunk {
    pub(super) function: u32,
    pub(super) values: Values,
    pub(super) to: To,
    /// How many workers its (single) task cost so far.
    pub(super) attempts: u32,
    /// How often it came back though nothing of it had begun.
    pub(super) returned: u32,
}

/// Who gets the results.
pub(super) enum To {
    /// Each task somebody else.
    Tasks(Vec<Arc<Gather>>),
    /// All the same, the first one with this number.
    One(Arc<Gather>, u64),
}

impl Chunk {
    pub(super) fn new(function: u32, values: Values, to: To) -> Self {
        Self { function, values, to, attempts: 0, returned: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Those from `first` on, as many as `count`.
    pub(super) fn part(&self, first: usize, count: usize) -> Self {
        let to = match &self.to {
            To::Tasks(tasks) => To::Tasks(tasks[first..first + count].to_vec()),
            To::One(gather, number) => To::One(gather.clone(), number + first as u64),
        };
        let values = self.values.part(first, count);
        let Self { function, attempts, returned, .. } = *self;
        Self { function, values, to, attempts, returned }
    }

    /// Without the tasks that nobody waits for any more.
    pub(super) fn wanted(self) -> Option<Self> {
        match &self.to {
            To::One(gather, _) => (!gather.is_ended()).then_some(self),
            To::Tasks(tasks) if !tasks.iter().any(|task| task.is_ended()) => Some(self),
            To::Tasks(tasks) => {
                let mut left: Option<Self> = None;
                for index in (0..tasks.len()).filter(|index| !tasks[*index].is_ended()) {
                    let task = self.part(index, 1);
                    match &mut left {
                        Some(left) => left.append(task),
                        None => left = Some(task),
                    }
                }
                left
            }
        }
    }

    /// Whether `more` can travel with it.
    pub(super) fn takes(&self, more: &Self, most: usize) -> bool {
        let plain = |chunk: &Self| match &chunk.values {
            Values::Plain { bytes, .. } => Some(bytes.0.len()),
            Values::Carrying(_) => None,
        };
        let same = self.function == more.function && self.attempts == more.attempts;
        let (Some(mine), Some(theirs)) = (plain(self), plain(more)) else { return false };
        let apart = matches!((&self.to, &more.to), (To::Tasks(_), To::Tasks(_)));
        same && apart && self.len() + more.len() <= most && mine + theirs <= MOST_BYTES
    }

    /// Puts `more` behind it, which it [`takes`](Self::takes).
    pub(super) fn append(&mut self, more: Self) {
        if let (To::Tasks(to), To::Tasks(tasks)) = (&mut self.to, more.to)
            && let Values::Plain { ends, bytes } = &mut self.values
            && let Values::Plain { ends: more_ends, bytes: more_bytes } = more.values
        {
            let before = bytes.0.len() as u32;
            to.extend(tasks);
            ends.extend(more_ends.iter().map(|end| before + end));
            Arc::make_mut(&mut bytes.0).extend_from_slice(&more_bytes.0);
        }
    }

    /// Hands on what became of the tasks from `first` on.
    pub(super) fn deliver(&self, first: usize, got: Got) {
        match &self.to {
            To::One(gather, number) => gather.deliver(number + first as u64, got),
            To::Tasks(tasks) => match got {
                Got::Failed(error) => tasks[first].deliver(0, Got::Failed(error)),
                Got::Values(Values::Carrying(value)) => {
                    tasks[first].deliver(0, Got::Values(Values::Carrying(value)));
                }
                Got::Values(Values::Plain { ends, bytes }) => {
                    let mut begin = 0;
                    for (task, end) in tasks[first..].iter().zip(ends) {
                        task.deliver(0, Got::one(&bytes, begin, end));
                        begin = end;
                    }
                }
            },
        }
    }
}

/// Serialises arguments until a chunk is full.
#[derive(Default)]
pub(super) struct Filling {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Filling {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds an argument, unless it must travel alone: then that one comes back.
    pub(super) fn add<A: Serialize>(&mut self, argument: &A) -> Result<Option<Values>> {
        let mut bytes = Bytes::new();
        value::encode_into(argument, Place::Queue, &mut bytes)?;
        if bytes.carries {
            let carrying = Carrying::new(bytes.as_slice().to_vec());
            return Ok(Some(Values::Carrying(carrying)));
        }
        self.bytes.extend_from_slice(bytes.as_slice());
        self.ends.push(self.bytes.len() as u32);
        Ok(None)
    }

    pub(super) fn is_full(&self, most: usize) -> bool {
        self.ends.len() >= most || self.bytes.len() >= MOST_BYTES
    }

    pub(super) fn take(&mut self) -> Option<Values> {
        let Self { ends, bytes } = std::mem::take(self);
        (!ends.is_empty()).then(|| Values::Plain { ends, bytes: Blob(Arc::new(bytes)) })
    }
}

/// One argument by itself.
pub(super) fn single<A: Serialize>(argument: &A) -> Result<Values> {
    let mut filling = Filling::default();
    let alone = filling.add(argument)?;
    Ok(alone
        .or_else(|| filling.take())
        .unwrap_or_else(|| Values::Plain { ends: Vec::new(), bytes: Blob::default() }))
}

/// What is known of the time that a function takes.
#[derive(Clone, Copy, Default)]
pub(super) struct Measured {
    /// Nanoseconds a task; 0 before the first came back.
    nanos: f64,
    /// The largest number that made a chunk.
    size: usize,
}

impl Measured {
    /// `tasks` took `nanos` in all.
    pub(super) fn learn(&mut self, tasks: usize, nanos: u64) {
        let each = (nanos as f64 / tasks as f64).max(1.0);
        self.nanos = if self.nanos == 0.0 { each } else { self.nanos * 0.75 + each * 0.25 };
        self.size = self.size.max(tasks);
    }

    /// How many tasks should travel together. One, before anything is known; then at most four times as many as did before,
    /// since the first tasks may be unlike the others.
    pub(super) fn size(&self) -> usize {
        if self.nanos == 0.0 {
            return 1;
        }
        let by_time = (WORK / self.nanos) as usize;
        by_time.clamp(1, (self.size * 4).clamp(1, MOST_TASKS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_as_far_as_their_time_allows() {
        let mut measured = Measured::default();
        assert_eq!(measured.size(), 1);
        measured.learn(1, 100);
        assert_eq!(measured.size(), 4);
        measured.learn(4, 400);
        assert_eq!(measured.size(), 16);
        for _ in 0..9 {
            let size = measured.size();
            measured.learn(size, size as u64 * 100);
        }
        assert_eq!(measured.size(), MOST_TASKS);
        for _ in 0..60 {
            measured.learn(1, 250_000);
        }
        assert_eq!(measured.size(), 2);
    }

    #[test]
    fn part_of_a_chunk_has_its_own_values() {
        let mut filling = Filling::default();
        for n in 0..5_u32 {
            assert!(filling.add(&vec![n as u8; n as usize]).unwrap().is_none());
        }
        let values = filling.take().unwrap().part(2, 2);
        let read = |index| values.get(index).map(|value| value.decode::<Vec<u8>>().unwrap());
        assert_eq!((read(0), read(1), read(2)), (Some(vec![2; 2]), Some(vec![3; 3]), None));
    }
}

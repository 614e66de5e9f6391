//! What users of `offspring` have: `Queue<T>`, given to functions in spawned processes.

use crate::Result;
use crate::cores::{Cores, pin};
use crate::message::{Message, Word};
use crate::peers::CAPACITY;
use crate::stage::{Seat, Stage};
use offspring::{Process, Queue};
use serde::{Deserialize, Serialize};

/// Which part a spawned process plays in a measurement: the children find the stage by its path.
#[derive(Serialize, Deserialize)]
pub(super) struct Part {
    stage: String,
    seat: usize,
    core: usize,
}

impl Part {
    pub(super) fn new(stage: &Stage, seat: usize, core: usize) -> Self {
        Self { stage: stage.path(), seat, core }
    }

    /// Plays it; an error is told to the parent in words, since it must travel.
    pub(super) fn play(&self, work: impl FnOnce(Seat<'_>) -> Result<()>) -> Outcome {
        let play = || {
            pin(self.core)?;
            let stage = Stage::open(&self.stage)?;
            work(stage.seat(self.seat))
        };
        play().map_err(|error| error.to_string())
    }
}

pub(super) type Outcome = std::result::Result<(), String>;

/// Waits for all children; an error of any fails the measurement.
pub(super) fn join(children: impl IntoIterator<Item = Process<Outcome>>) -> Result<()> {
    for child in children {
        child.join()??;
    }
    Ok(())
}

fn produce<M: Message>((part, queue, count): (Part, Queue<M>, u64)) -> Outcome {
    part.play(|seat| {
        seat.produce(0..count, |message| {
            Ok(queue.put(message).map_err(|refused| refused.into_parts().1)?)
        })
    })
}

fn consume<M: Message>((part, queue, count): (Part, Queue<M>, u64)) -> Outcome {
    part.play(|seat| seat.consume(count, || Ok(queue.get()?)))
}

/// Nanoseconds for `count` messages from one process to another, by blocking `put` and `get`.
pub fn one_to_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let (stage, queue) = (Stage::new(2)?, Queue::<M>::bounded(CAPACITY)?);
    let consumer =
        Process::spawn(consume::<M>, (Part::new(&stage, 1, cores.second), queue.clone(), count))?;
    let producer = Process::spawn(produce::<M>, (Part::new(&stage, 0, cores.first), queue, count))?;
    join([producer, consumer])?;
    stage.nanos_for(count)
}

/// How the two sides of a ping-pong wait.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Waiting {
    /// `put` and `get`, which sleep when nothing comes.
    Blocking,
    /// `try_put` and `try_get`, again and again.
    Spinning,
}

impl Waiting {
    fn put(self, queue: &Queue<Word>, turn: u64) -> Result<()> {
        let message = Word::numbered(turn);
        let put = match self {
            Self::Blocking => queue.put(message),
            // There is never more than one message in a ping-pong's queue, so it is not full.
            Self::Spinning => queue.try_put(message),
        };
        Ok(put.map_err(|refused| refused.into_parts().1)?)
    }

    fn get(self, queue: &Queue<Word>) -> Result<u64> {
        let message = match self {
            Self::Blocking => queue.get()?,
            Self::Spinning => loop {
                match queue.try_get() {
                    Ok(message) => break message,
                    Err(error) if error.is_empty() => std::hint::spin_loop(),
                    Err(error) => return Err(error.into()),
                }
            },
        };
        Ok(message.number())
    }
}

/// One side's queues: out, in.
type Sides = (Queue<Word>, Queue<Word>);

fn ping((part, (there, back), trips, waiting): (Part, Sides, u64, Waiting)) -> Outcome {
    part.play(|seat| {
        seat.start();
        for turn in 1..=trips {
            waiting.put(&there, turn)?;
            let came = waiting.get(&back)?;
            if came != turn {
                return Err(format!("ping {turn} was answered by pong {came}").into());
            }
        }
        seat.finish(0, 0);
        Ok(())
    })
}

fn pong((part, (there, back), trips, waiting): (Part, Sides, u64, Waiting)) -> Outcome {
    part.play(|seat| {
        seat.start();
        for _ in 0..trips {
            let turn = waiting.get(&there)?;
            waiting.put(&back, turn)?;
        }
        seat.finish(0, 0);
        Ok(())
    })
}

fn ping_pong(trips: u64, (first, second): (usize, usize), waiting: Waiting) -> Result<u64> {
    let stage = Stage::new(2)?;
    let sides = (Queue::bounded(CAPACITY)?, Queue::bounded(CAPACITY)?);
    let pong = Process::spawn(pong, (Part::new(&stage, 1, second), sides.clone(), trips, waiting))?;
    let ping = Process::spawn(ping, (Part::new(&stage, 0, first), sides, trips, waiting))?;
    join([ping, pong])?;
    Ok(stage.outcome().nanos)
}

/// Nanoseconds for `trips` round trips between two spinning processes on two cores.
pub fn ping_pong_spinning(trips: u64, cores: Cores) -> Result<u64> {
    ping_pong(trips, (cores.first, cores.second), Waiting::Spinning)
}

/// Nanoseconds for `trips` round trips between two blocking processes on one core.
pub fn ping_pong_on_one_core(trips: u64, cores: Cores) -> Result<u64> {
    ping_pong(trips, (cores.first, cores.first), Waiting::Blocking)
}

/// Nanoseconds for `trips` round trips between two blocking processes on two cores.
pub fn ping_pong_on_two_cores(trips: u64, cores: Cores) -> Result<u64> {
    ping_pong(trips, (cores.first, cores.second), Waiting::Blocking)
}

//! `offspring::queue::spsc` between two spawned processes, one by one and in batches; and `Queue` in batches.

use super::facade::{Outcome, Part, join};
use crate::Result;
use crate::cores::Cores;
use crate::message::Message;
use crate::peers::CAPACITY;
use crate::stage::{Seat, Stage};
use offspring::queue::{Consumer, Producer, spsc};
use offspring::{Process, Queue};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Messages of a batch.
const BATCH: u64 = 32;

fn produce<M: Message>((part, mut producer, count): (Part, Producer<M>, u64)) -> Outcome {
    part.play(|seat| {
        seat.produce(0..count, |message| {
            Ok(producer.put(message).map_err(|refused| refused.into_parts().1)?)
        })
    })
}

fn consume<M: Message>((part, mut consumer, count): (Part, Consumer<M>, u64)) -> Outcome {
    part.play(|seat| seat.consume(count, || Ok(consumer.get()?)))
}

/// Nanoseconds for `count` messages from one process to another, by blocking `put` and `get`.
pub fn one_by_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let (stage, (producer, consumer)) = (Stage::new(2)?, spsc::<M>(CAPACITY)?);
    let to = (Part::new(&stage, 1, cores.second), consumer, count);
    let consumer = Process::spawn(consume::<M>, to)?;
    let from = (Part::new(&stage, 0, cores.first), producer, count);
    let producer = Process::spawn(produce::<M>, from)?;
    join([producer, consumer])?;
    stage.nanos_for(count)
}

/// Takes part as a producer of `count` messages in batches.
fn produce_batches<M: Message>(
    seat: Seat<'_>,
    count: u64,
    mut put: impl FnMut(Vec<M>) -> Result<()>,
) -> Result<()> {
    seat.start();
    for first in (0..count).step_by(BATCH as usize) {
        let batch: Range<u64> = first..count.min(first + BATCH);
        put(batch.map(M::numbered).collect())?;
    }
    seat.finish(0, 0);
    Ok(())
}

/// Takes part as a consumer of `count` messages in batches.
fn consume_batches<M: Message>(
    seat: Seat<'_>,
    count: u64,
    mut get: impl FnMut(&mut Vec<M>) -> Result<()>,
) -> Result<()> {
    seat.start();
    let (mut received, mut sum, mut batch) = (0, 0_u64, Vec::with_capacity(BATCH as usize));
    while received < count {
        get(&mut batch)?;
        received += batch.len() as u64;
        sum = batch.drain(..).fold(sum, |sum, message| sum.wrapping_add(message.number()));
    }
    seat.finish(received, sum);
    Ok(())
}

/// The ends of a queue that puts and gets batches.
#[derive(Serialize, Deserialize)]
#[serde(bound = "M: Message")]
enum From<M> {
    Ring(Producer<M>),
    Queue(Queue<M>),
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "M: Message")]
enum To<M> {
    Ring(Consumer<M>),
    Queue(Queue<M>),
}

fn put_batches<M: Message>((part, mut from, count): (Part, From<M>, u64)) -> Outcome {
    part.play(|seat| {
        produce_batches(seat, count, |batch| {
            let put = match &mut from {
                From::Ring(producer) => producer.put_many(batch),
                From::Queue(queue) => queue.put_many(batch),
            };
            Ok(put.map_err(|refused| refused.into_parts().1)?)
        })
    })
}

fn get_batches<M: Message>((part, mut to, count): (Part, To<M>, u64)) -> Outcome {
    part.play(|seat| {
        consume_batches(seat, count, |batch| {
            match &mut to {
                To::Ring(consumer) => consumer.get_many(batch, BATCH as usize)?,
                To::Queue(queue) => queue.get_many(batch, BATCH as usize)?,
            };
            Ok(())
        })
    })
}

fn batches<M: Message>(count: u64, cores: Cores, (from, to): (From<M>, To<M>)) -> Result<u64> {
    let stage = Stage::new(2)?;
    let to = (Part::new(&stage, 1, cores.second), to, count);
    let consumer = Process::spawn(get_batches::<M>, to)?;
    let from = (Part::new(&stage, 0, cores.first), from, count);
    let producer = Process::spawn(put_batches::<M>, from)?;
    join([producer, consumer])?;
    stage.nanos_for(count)
}

/// The same in batches of 32.
pub fn in_batches<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let (producer, consumer) = spsc::<M>(CAPACITY)?;
    batches(count, cores, (From::Ring(producer), To::Ring(consumer)))
}

/// `Queue::put_many` and `Queue::get_many`, 32 at a time.
pub fn queue_in_batches<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let queue = Queue::<M>::bounded(CAPACITY)?;
    batches(count, cores, (From::Queue(queue.clone()), To::Queue(queue)))
}

//! What users of `offspring` have for plain data: `queue::spsc_of_plain` between two spawned processes, one by one and in slices.

use super::facade::{Outcome, Part, join};
use crate::Result;
use crate::cores::Cores;
use crate::message::Message;
use crate::peers::CAPACITY;
use crate::stage::{Seat, Stage};
use offspring::Process;
use offspring::queue::{PlainConsumer, PlainProducer, spsc_of_plain};

/// Messages of a slice.
const BATCH: u64 = 32;

type From<M> = (Part, PlainProducer<M>, u64);
type To<M> = (Part, PlainConsumer<M>, u64);

fn produce<M: Message>((part, mut producer, count): From<M>) -> Outcome {
    part.play(|seat| seat.produce(0..count, |message| Ok(producer.put(message)?)))
}

fn consume<M: Message>((part, mut consumer, count): To<M>) -> Outcome {
    part.play(|seat| seat.consume(count, || Ok(consumer.get()?)))
}

fn produce_slices<M: Message>((part, mut producer, count): From<M>) -> Outcome {
    part.play(|seat: Seat<'_>| {
        seat.start();
        let mut slice = [M::numbered(0); BATCH as usize];
        for first in (0..count).step_by(BATCH as usize) {
            let len = BATCH.min(count - first) as usize;
            for (message, number) in slice[..len].iter_mut().zip(first..) {
                *message = M::numbered(number);
            }
            producer.put_slice(&slice[..len]).map_err(offspring::Error::from)?;
        }
        seat.finish(0, 0);
        Ok(())
    })
}

fn consume_slices<M: Message>((part, mut consumer, count): To<M>) -> Outcome {
    part.play(|seat: Seat<'_>| {
        seat.start();
        let (mut received, mut sum) = (0, 0_u64);
        let mut slice = [M::numbered(0); BATCH as usize];
        while received < count {
            let got = consumer.get_slice(&mut slice)?;
            received += got as u64;
            sum = slice[..got].iter().fold(sum, |sum, message| sum.wrapping_add(message.number()));
        }
        seat.finish(received, sum);
        Ok(())
    })
}

fn between<M: Message>(
    count: u64,
    cores: Cores,
    (from, to): (fn(From<M>) -> Outcome, fn(To<M>) -> Outcome),
) -> Result<u64> {
    let (stage, (producer, consumer)) = (Stage::new(2)?, spsc_of_plain::<M>(CAPACITY)?);
    let consumer = Process::spawn(to, (Part::new(&stage, 1, cores.second), consumer, count))?;
    let producer = Process::spawn(from, (Part::new(&stage, 0, cores.first), producer, count))?;
    join([producer, consumer])?;
    stage.nanos_for(count)
}

/// Nanoseconds for `count` messages from one process to another, by blocking `put` and `get`.
pub fn one_by_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    between::<M>(count, cores, (produce, consume))
}

/// The same in slices of 32.
pub fn in_slices<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    between::<M>(count, cores, (produce_slices, consume_slices))
}

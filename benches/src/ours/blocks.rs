//! `PlainQueue` between two spawned processes with messages of 1 MiB: copied in and out, and written and read where they lie.

use super::facade::{Outcome, Part, join};
use crate::Result;
use crate::blocks::{self, DEPTH, WORDS, fill, number_of};
use crate::cores::Cores;
use crate::stage::Stage;
use offspring::queue::PlainQueue;
use offspring::{Error, Process};

type Args = (Part, PlainQueue<u64>, u64);

fn put_copies((part, queue, count): Args) -> Outcome {
    let mut message = vec![0; WORDS];
    part.play(|seat| {
        blocks::produce(seat, count, |number| {
            fill(&mut message, number);
            Ok(queue.put(&message)?)
        })
    })
}

fn get_copies((part, queue, count): Args) -> Outcome {
    let mut message = Vec::with_capacity(WORDS);
    part.play(|seat| {
        blocks::consume(seat, count, || {
            message.clear();
            queue.get_into(&mut message)?;
            number_of(&message)
        })
    })
}

fn publish_loans((part, queue, count): Args) -> Outcome {
    part.play(|seat| {
        blocks::produce(seat, count, |number| {
            let mut loan = queue.loan(WORDS)?;
            // SAFETY: both processes of this family keep to the library, and this one took the loan.
            fill(unsafe { loan.as_mut_slice() }, number);
            Ok(loan.publish().map_err(Error::from)?)
        })
    })
}

fn read_in_place((part, queue, count): Args) -> Outcome {
    part.play(|seat| {
        blocks::consume(seat, count, || {
            let lease = queue.lease()?;
            // SAFETY: both processes of this family keep to the library, and this one took the lease.
            let number = number_of(unsafe { lease.as_slice() });
            lease.commit();
            number
        })
    })
}

fn publish_parts((part, queue, count): Args) -> Outcome {
    part.play(|seat| {
        blocks::produce(seat, count, |number| {
            let mut loan = queue.loan(WORDS)?;
            loan.fill_parts(|from, part| fill(part, number + from as u64));
            Ok(loan.publish().map_err(Error::from)?)
        })
    })
}

fn read_parts((part, queue, count): Args) -> Outcome {
    part.play(|seat| {
        blocks::consume(seat, count, || {
            let lease = queue.lease()?;
            let mut sum = 0_u64;
            lease.parts(|_, part| sum = part.iter().fold(sum, |sum, word| sum.wrapping_add(*word)));
            lease.commit();
            blocks::number_of_sum(sum)
        })
    })
}

fn between(
    count: u64,
    cores: Cores,
    (from, to): (fn(Args) -> Outcome, fn(Args) -> Outcome),
) -> Result<u64> {
    // As many blocks as the bare ring has.
    let bytes = DEPTH * size_of::<u64>() * WORDS;
    let queue = PlainQueue::builder()
        .capacity(DEPTH)
        .max_message(size_of::<u64>() * WORDS)
        .class_bytes(bytes)
        .build()?;
    let stage = Stage::new(2)?;
    let consumer = Process::spawn(to, (Part::new(&stage, 1, cores.second), queue.clone(), count))?;
    let producer = Process::spawn(from, (Part::new(&stage, 0, cores.first), queue, count))?;
    join([producer, consumer])?;
    stage.nanos_for(count)
}

/// Nanoseconds for `count` messages by `put` and `get_into`.
pub fn copied(count: u64, cores: Cores) -> Result<u64> {
    between(count, cores, (put_copies, get_copies))
}

/// The same by `loan` and `lease`, written and read in place.
pub fn in_place(count: u64, cores: Cores) -> Result<u64> {
    between(count, cores, (publish_loans, read_in_place))
}

/// The same by the safe methods, which copy a few KiB at a time.
pub fn in_parts(count: u64, cores: Cores) -> Result<u64> {
    between(count, cores, (publish_parts, read_parts))
}

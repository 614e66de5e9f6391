//! crossbeam's `ArrayQueue`: the bounded many-to-many ring that Rust programs use between threads.

use super::CAPACITY;
use crate::Result;
use crate::cores::Cores;
use crate::message::Message;
use crate::roles::{Role, in_threads};
use crate::stage::{Stage, until, until_room};
use crossbeam_queue::ArrayQueue;
use std::hint::black_box;

/// Nanoseconds for `count` times put and get by one thread.
pub fn alone<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let (stage, queue) = (Stage::new(1)?, ArrayQueue::new(CAPACITY));
    let both = Role::new(cores.first, |seat| {
        seat.consume(count, {
            let mut numbers = 0..count;
            let queue = black_box(&queue);
            move || {
                let number = numbers.next().unwrap_or(0);
                queue.push(M::numbered(number)).map_err(|_| "an empty queue is full")?;
                Ok(queue.pop().ok_or("a queue with a message is empty")?)
            }
        })
    });
    in_threads(&stage, vec![both])?;
    stage.nanos_for(count)
}

/// Nanoseconds for `count` messages from `pairs` producing threads to as many consuming ones.
fn between<M: Message>(count: u64, cores: Cores, pairs: u64) -> Result<u64> {
    let (stage, queue) = (Stage::new(2 * pairs as usize)?, ArrayQueue::new(CAPACITY));
    let queue = &queue;
    let share = count / pairs;
    let mut roles = Vec::new();
    for pair in 0..pairs {
        // Every core has one producer and one consumer when there are two pairs.
        let (here, there) = cores.crossed(pair);
        let numbers = pair * share..(pair + 1) * share;
        roles.push(Role::new(here, move |seat| {
            seat.produce(numbers, |message: M| {
                until_room(|| queue.push(message).ok());
                Ok(())
            })
        }));
        roles.push(Role::new(there, move |seat| {
            seat.consume(share, || Ok::<M, _>(until(|| queue.pop())))
        }));
    }
    in_threads(&stage, roles)?;
    stage.nanos_for(share * pairs)
}

/// One producing thread, one consuming thread.
pub fn one_to_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    between::<M>(count, cores, 1)
}

/// Two producing threads, two consuming threads.
pub fn two_to_two<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    between::<M>(count, cores, 2)
}

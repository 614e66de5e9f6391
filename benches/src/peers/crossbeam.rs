//! crossbeam-channel, bounded: the blocking queue that Rust programs use between threads.

use super::CAPACITY;
use crate::Result;
use crate::cores::Cores;
use crate::message::Message;
use crate::roles::{Role, in_threads};
use crate::stage::Stage;

/// Nanoseconds for `count` messages from one thread to another.
pub fn one_to_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let stage = Stage::new(2)?;
    let (sender, receiver) = crossbeam_channel::bounded::<M>(CAPACITY);
    let producer = Role::new(cores.first, move |seat| {
        seat.produce(0..count, |message| {
            sender.send(message).map_err(|_| "the receiver is gone".into())
        })
    });
    let consumer =
        Role::new(cores.second, move |seat| seat.consume(count, || Ok(receiver.recv()?)));
    in_threads(&stage, vec![producer, consumer])?;
    stage.nanos_for(count)
}

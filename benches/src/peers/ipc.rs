//! ipc-channel: typed messages over a socket, blocking, between processes.

use crate::Result;
use crate::cores::Cores;
use crate::message::Message;
use crate::roles::{Role, in_processes};
use crate::stage::Stage;
use ipc_channel::ipc;

/// Nanoseconds for `count` messages from one process to another.
pub fn one_to_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let stage = Stage::new(2)?;
    let (sender, receiver) = ipc::channel::<M>()?;
    let producer = Role::new(cores.first, move |seat| {
        seat.produce(0..count, |message| Ok(sender.send(message)?))
    });
    let consumer = Role::new(cores.second, move |seat| {
        seat.consume(count, || receiver.recv().map_err(|error| format!("{error:?}").into()))
    });
    in_processes(&stage, vec![producer, consumer])?;
    stage.nanos_for(count)
}

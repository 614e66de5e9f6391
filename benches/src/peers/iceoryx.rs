//! iceoryx2, publish-subscribe through shared memory between processes. It does not block for a message: its
//! subscriber polls as fast as it can. Nothing is dropped: a publisher that finds the buffer full tries again.

use super::CAPACITY;
use crate::Result;
use crate::blocks::{self, DEPTH, WORDS, number_of};
use crate::cores::Cores;
use crate::message::Message;
use crate::roles::{Role, in_processes};
use crate::stage::{Stage, now, until};
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe;

type Service<M> = publish_subscribe::PortFactory<ipc::Service, M, ()>;

/// The service of this name, joined as a node of its own.
fn join<M: Message>(name: &str) -> Result<(Node<ipc::Service>, Service<M>)> {
    set_log_level(LogLevel::Fatal);
    let node = NodeBuilder::new()
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()?;
    let service = node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<M>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(CAPACITY)
        .history_size(0)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()?;
    Ok((node, service))
}

/// Nanoseconds for `count` messages from one process to another.
pub fn one_to_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let stage = Stage::new(2)?;
    let name = format!("offspring-benches/{}/{}", std::process::id(), now());
    let producer = Role::new(cores.first, |seat| {
        let (_node, service) = join::<M>(&name)?;
        let publisher = service
            .publisher_builder()
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        // A message published before the subscriber is there would reach nobody.
        until(|| (service.dynamic_config().number_of_subscribers() == 1).then_some(()));
        publisher.update_connections()?;
        seat.produce(0..count, |message| match publisher.send_copy(message)? {
            1 => Ok(()),
            reached => Err(format!("a message reached {reached} subscribers").into()),
        })
    });
    let consumer = Role::new(cores.second, |seat| {
        let (_node, service) = join::<M>(&name)?;
        let subscriber = service.subscriber_builder().buffer_size(CAPACITY).create()?;
        until(|| (service.dynamic_config().number_of_publishers() == 1).then_some(()));
        seat.consume(count, || {
            until(|| match subscriber.receive() {
                Ok(sample) => sample.map(|sample| Ok(*sample.payload())),
                Err(error) => Some(Err(error.into())),
            })
        })
    });
    in_processes(&stage, vec![producer, consumer])?;
    stage.nanos_for(count)
}

/// The service of this name for messages of 1 MiB, joined as a node of its own.
fn join_blocks(
    name: &str,
) -> Result<(Node<ipc::Service>, publish_subscribe::PortFactory<ipc::Service, [u64], ()>)> {
    set_log_level(LogLevel::Fatal);
    let node = NodeBuilder::new()
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()?;
    let service = node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<[u64]>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(DEPTH)
        .history_size(0)
        .max_publishers(1)
        .max_subscribers(1)
        .open_or_create()?;
    Ok((node, service))
}

/// Nanoseconds for `count` messages of 1 MiB, lent by the publisher's port and read where they lie.
pub fn blocks(count: u64, cores: Cores) -> Result<u64> {
    let stage = Stage::new(2)?;
    let name = format!("offspring-benches/{}/{}", std::process::id(), now());
    let producer = Role::new(cores.first, |seat| {
        let (_node, service) = join_blocks(&name)?;
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(WORDS)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        until(|| (service.dynamic_config().number_of_subscribers() == 1).then_some(()));
        publisher.update_connections()?;
        blocks::produce(seat, count, |number| {
            let mut sample = publisher.loan_slice_uninit(WORDS)?;
            for (word, i) in sample.payload_mut().iter_mut().zip(0..) {
                word.write(number + i);
            }
            // SAFETY: all WORDS words were just written.
            match unsafe { sample.assume_init() }.send()? {
                1 => Ok(()),
                reached => Err(format!("a message reached {reached} subscribers").into()),
            }
        })
    });
    let consumer = Role::new(cores.second, |seat| {
        let (_node, service) = join_blocks(&name)?;
        let subscriber = service.subscriber_builder().buffer_size(DEPTH).create()?;
        until(|| (service.dynamic_config().number_of_publishers() == 1).then_some(()));
        blocks::consume(seat, count, || {
            until(|| match subscriber.receive() {
                Ok(sample) => sample.map(|sample| number_of(sample.payload())),
                Err(error) => Some(Err(error.into())),
            })
        })
    });
    in_processes(&stage, vec![producer, consumer])?;
    stage.nanos_for(count)
}

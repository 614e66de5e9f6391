//! One producer, one consumer: the fastest way from one process to another.

mod consumer;
mod end;
mod place;
mod plain;
mod producer;

pub use consumer::{Consumer, Incoming};
pub use plain::{PlainConsumer, PlainProducer, Stopped, spsc_of_plain};
pub use producer::Producer;

use super::Queue;
use crate::error::{Error, Kind, Result, Subject};
use end::End;
use offspring_core::queue::spsc::Side;
use place::Attached;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A ring from one [`Producer`] to one [`Consumer`], each of which may go to another process; for about `capacity` values of a plain
/// `T`.
///
/// Several times as fast as a [`Queue`] for small values, above all in batches. There is one of each end: they
/// are not `Clone`, and an end that was sent belongs to the process that received it.
///
/// # Shape and units
///
/// The ring holds bytes: a value as [`Queue`] serialises it, and its length (one byte up to 253, else nine). So the longer
/// the values, the fewer there is room for; [`spsc_of_bytes`] says how many bytes. No value that takes more than all of them can
/// ever be put, and none that holds a handle.
///
/// # Blocking and crash
///
/// `put` blocks while there is no room, `get` while nothing is there. Whatever returned from `put` is delivered, whoever is killed
/// when: a batch is put, and taken, in parts of up to 32, each with one store. A producer that is dropped ends the stream: `get` gives
/// what is left, then says closed. One whose process *dies* does not: `get` gives what is left, and then an error
/// ([`is_participant_lost`](Error::is_participant_lost)), after which [`replace_producer`](Consumer::replace_producer)
/// makes a successor that goes on where the dead one committed last; and so the other way round.
///
/// Until the receiver has it, an end that travels counts as its sender's: if the receiver dies before, nobody is told. Where that
/// matters wait with a time limit; `replace_producer` and `replace_consumer` take the place of an end that travels, too, and
/// make that one void. A forked child has no use of an end of its parent.
///
/// # Errors
///
/// `capacity` is 0 or too large; no memory; or this process cannot found a family.
///
/// # Examples
///
/// ```
/// use offspring::queue::spsc;
///
/// let (mut producer, mut consumer) = spsc::<u64>(1024)?;
/// producer.put(1)?;
/// producer.put_many(vec![2, 3, 4])?;
/// drop(producer);
/// assert_eq!(consumer.iter().sum::<u64>(), 10);
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn spsc<T: Serialize + DeserializeOwned>(
    capacity: usize,
) -> Result<(Producer<T>, Consumer<T>)> {
    if capacity == 0 {
        let text = "make a ring for no values: ask for 1 at least";
        return Err(Error::new(Kind::Options, Subject::None, text));
    }
    // The bytes of one record: its length, and for an enum the number of its variant.
    let bytes = capacity.saturating_mul(size_of::<T>() + 2);
    spsc_of_bytes(bytes.max(SMALLEST))
}

/// No ring is smaller, so that a text or a short vector fits as well.
const SMALLEST: usize = 4096;

/// As [`spsc`], with a ring of at least `bytes` bytes, rounded up to a power of two.
///
/// # Errors
///
/// More than 2^40 bytes; no memory; or this process cannot found a family.
pub fn spsc_of_bytes<T: Serialize + DeserializeOwned>(
    bytes: usize,
) -> Result<(Producer<T>, Consumer<T>)> {
    let size = bytes.max(64).checked_next_power_of_two().map_or(u64::MAX, |size| size as u64);
    let at = Arc::new(Attached::create(size, Queue::<T>::type_hash())?);
    let ring = at.ring();
    let (producer, consumer) = (ring.begin(Side::Producer), ring.begin(Side::Consumer));
    Ok((
        Producer { end: End::over(at.clone(), producer)? },
        Consumer { end: End::over(at.clone(), consumer)? },
    ))
}

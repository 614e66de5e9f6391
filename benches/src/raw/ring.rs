//! The bare ring from one process to another: words in shared memory, two counts, each side's last look at the other's kept
//! in private memory. Nothing is typed, blocks, sleeps or survives a death; a full or empty ring is asked again.

use super::memory::{Shared, Words};
use super::words::Line64;
use crate::Result;
use crate::cores::Cores;
use crate::message::Message;
use crate::peers::CAPACITY;
use crate::roles::{Role, in_processes};
use crate::stage::{Stage, until, until_room};
use offspring_core::prim::{AtomicU64, Ordering};

/// Words of the longest message.
const MOST_WORDS: usize = 8;

#[derive(Debug)]
#[repr(C)]
struct Ring {
    written: Line64,
    read: Line64,
    words: [AtomicU64; CAPACITY * MOST_WORDS],
}

// SAFETY: atomics, valid when zero.
unsafe impl Words for Ring {}

impl Ring {
    /// The words of the message at this count.
    fn slot<M: Message>(&self, count: u64) -> &[AtomicU64] {
        let words = size_of::<M>() / size_of::<AtomicU64>();
        let at = count as usize % CAPACITY * words;
        &self.words[at..at + words]
    }

    fn write<M: Message>(&self, count: u64, message: M) {
        let bytes = message.to_bytes();
        let words = bytes.as_ref().as_chunks::<8>().0;
        for (word, bytes) in self.slot::<M>(count).iter().zip(words) {
            // ORDER: Relaxed. Published by the count.
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    fn read<M: Message>(&self, count: u64) -> Result<M> {
        let mut bytes = [0; 8 * MOST_WORDS];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.slot::<M>(count)) {
            // ORDER: Relaxed. The count was read.
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        M::from_bytes(&bytes[..size_of::<M>()]).ok_or_else(|| "a message lost bytes".into())
    }
}

/// Nanoseconds for `count` messages, published so many at a time.
fn between<M: Message>(count: u64, cores: Cores, batch: u64) -> Result<u64> {
    let (stage, ring) = (Stage::new(2)?, Shared::<Ring>::new()?);
    let ring = &ring;
    let room = CAPACITY as u64;
    let producer = Role::new(cores.first, |seat| {
        let (mut written, mut read) = (0, 0);
        seat.produce(0..count, |message: M| {
            if written - read == room {
                read = until_room(|| {
                    // ORDER: Acquire, with the consumer's Release.
                    let now = ring.read.0.load(Ordering::Acquire);
                    (written - now < room).then_some(now)
                });
            }
            ring.write(written, message);
            written += 1;
            if written % batch == 0 || written == count {
                // ORDER: Release, with the consumer's Acquire.
                ring.written.0.store(written, Ordering::Release);
            }
            Ok(())
        })
    });
    let consumer = Role::new(cores.second, |seat| {
        let (mut read, mut written) = (0, 0);
        seat.consume(count, || {
            if read == written {
                written = until(|| {
                    // ORDER: Acquire, with the producer's Release.
                    let now = ring.written.0.load(Ordering::Acquire);
                    (now > read).then_some(now)
                });
            }
            let message = ring.read::<M>(read);
            read += 1;
            if read % batch == 0 || read == count {
                // ORDER: Release, with the producer's Acquire.
                ring.read.0.store(read, Ordering::Release);
            }
            message
        })
    });
    in_processes(&stage, vec![producer, consumer])?;
    stage.nanos_for(count)
}

/// One by one.
pub fn one_by_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    between::<M>(count, cores, 1)
}

/// Published 32 at a time.
pub fn in_batches<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    between::<M>(count, cores, 32)
}

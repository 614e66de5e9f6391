//! The bare ring of blocks from one process to another: 1 MiB each in shared memory, copied in and out or used in place, two
//! counts. Nothing is typed, blocks, sleeps or survives a death.

use super::memory::{Shared, Words};
use super::words::Line64;
use crate::Result;
use crate::blocks::{self, DEPTH, WORDS, fill, number_of};
use crate::cores::Cores;
use crate::roles::{Role, in_processes};
use crate::stage::{Stage, until, until_room};
use offspring_core::prim::{AtomicU64, Ordering};
use std::slice;

#[derive(Debug)]
#[repr(C, align(4096))]
struct Block([AtomicU64; WORDS]);

#[derive(Debug)]
#[repr(C)]
struct Ring {
    written: Line64,
    read: Line64,
    blocks: [Block; DEPTH],
}

// SAFETY: atomics, valid when zero.
unsafe impl Words for Ring {}

impl Ring {
    /// The block of the message at this count.
    fn block(&self, count: u64) -> *mut u64 {
        self.blocks[count as usize % DEPTH].0.as_ptr().cast_mut().cast()
    }
}

/// How a message is written and read.
struct Way {
    /// Before there is room.
    prepare: fn(private: &mut [u64], number: u64),
    write: fn(block: &mut [u64], number: u64, private: &[u64]),
    /// Which message is in a block.
    sum: fn(block: &[u64], private: &mut [u64]) -> Result<u64>,
}

/// Nanoseconds for `count` messages from one process to another.
fn between(count: u64, cores: Cores, way: &Way) -> Result<u64> {
    let (stage, ring) = (Stage::new(2)?, Shared::<Ring>::new()?);
    let (ring, room) = (&ring, DEPTH as u64);
    let producer = Role::new(cores.first, |seat| {
        let (mut private, mut read) = (vec![0; WORDS], 0);
        blocks::produce(seat, count, |number| {
            (way.prepare)(&mut private, number);
            if number - read == room {
                read = until_room(|| {
                    // ORDER: Acquire, with the consumer's Release.
                    let now = ring.read.0.load(Ordering::Acquire);
                    (number - now < room).then_some(now)
                });
            }
            // SAFETY: the block is WORDS long; the consumer is done with it, and reads it only after the store below.
            let block = unsafe { slice::from_raw_parts_mut(ring.block(number), WORDS) };
            (way.write)(block, number, &private);
            // ORDER: Release, with the consumer's Acquire.
            ring.written.0.store(number + 1, Ordering::Release);
            Ok(())
        })
    });
    let consumer = Role::new(cores.second, |seat| {
        let (mut private, mut read, mut written) = (vec![0; WORDS], 0, 0);
        blocks::consume(seat, count, || {
            if read == written {
                written = until(|| {
                    // ORDER: Acquire, with the producer's Release.
                    let now = ring.written.0.load(Ordering::Acquire);
                    (now > read).then_some(now)
                });
            }
            // SAFETY: the block is WORDS long, and the producer writes it again only after the store below.
            let block = unsafe { slice::from_raw_parts(ring.block(read), WORDS) };
            let number = (way.sum)(block, &mut private);
            read += 1;
            // ORDER: Release, with the producer's Acquire.
            ring.read.0.store(read, Ordering::Release);
            number
        })
    });
    in_processes(&stage, vec![producer, consumer])?;
    stage.nanos_for(count)
}

/// Written to private memory and copied in, copied out and summed there.
pub fn copied(count: u64, cores: Cores) -> Result<u64> {
    let way = Way {
        prepare: fill,
        write: |block, _, private| block.copy_from_slice(private),
        sum: |block, private| {
            private.copy_from_slice(block);
            number_of(private)
        },
    };
    between(count, cores, &way)
}

/// Written and summed in place: what the memory gives.
pub fn in_place(count: u64, cores: Cores) -> Result<u64> {
    let way = Way {
        prepare: |_, _| {},
        write: |block, number, _| fill(block, number),
        sum: |block, _| number_of(block),
    };
    between(count, cores, &way)
}

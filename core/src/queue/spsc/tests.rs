//! The ring in one process, deaths included.

extern crate std;

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::boxed::Box;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::vec::Vec;
use std::{assert_eq, vec};

use super::*;
use crate::prim::AtomicU32;
use crate::process::{Liveness, ProcessRef};
use crate::queue::tests::{Bytes as Room, Mortals};
use crate::queue::{GetError, PutError};
use crate::wait::{Deadline, Wait, Watch, Woken};

/// One process of the family of `Mortals`.
struct Process<'a> {
    all: &'a Mortals,
    me: ProcessRef,
}

// SAFETY: forwards.
unsafe impl Liveness for Process<'_> {
    fn is_dead(&self, process: ProcessRef) -> bool {
        // A wild word can name anybody.
        process.slot() < 16 && self.all.is_dead(process)
    }

    fn death_epoch(&self) -> u32 {
        self.all.death_epoch()
    }
}

// SAFETY: forwards.
unsafe impl Wait for Process<'_> {
    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        self.all.wait(watches, until)
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        self.all.wake(word, most)
    }

    fn now(&self) -> Deadline {
        Deadline(0)
    }

    fn light_barrier(&self) {
        self.all.light_barrier();
    }

    fn heavy_barrier(&self) {
        self.all.heavy_barrier();
    }
}

// SAFETY: forwards.
unsafe impl Family for Process<'_> {
    fn me(&self) -> ProcessRef {
        self.me
    }

    fn epoch_word(&self) -> &AtomicU32 {
        self.all.epoch_word()
    }

    fn life_watch(&self, _: ProcessRef) -> Option<Watch<'_>> {
        None
    }

    fn backstop(&self) -> u64 {
        0
    }
}

const SIZE: u64 = 64;

struct World {
    all: Mortals,
    ring: MappedBytes,
    memory: (NonNull<u8>, Layout),
}

impl Drop for World {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `world`.
        unsafe { dealloc(self.memory.0.as_ptr(), self.memory.1) }
    }
}

fn world(size: u64) -> World {
    let len = MappedBytes::len(size).unwrap() as usize;
    let layout = Layout::from_size_align(len, 4096).unwrap();
    // SAFETY: the size is not zero.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
    // SAFETY: zeroed, page-aligned, `len` bytes long, freed with the world.
    let ring = unsafe { MappedBytes::new(base, size) };
    World { all: Mortals::new(), ring, memory: (base, layout) }
}

impl World {
    /// The process with this number; lives as long as the test.
    fn process(&self, number: u16) -> Spsc<'_, MappedBytes, Process<'_>> {
        let me = ProcessRef::new(number, 1);
        Spsc::new(&self.ring, Box::leak(Box::new(Process { all: &self.all, me })))
    }

    /// Process 1 with both roles.
    fn begun(&self) -> (Writer, Reader) {
        let ring = self.process(1);
        let writer = ring.writer(ring.begin(Side::Producer)).unwrap();
        let reader = ring.reader(ring.begin(Side::Consumer)).unwrap();
        (writer, reader)
    }
}

type Ring<'a> = Spsc<'a, MappedBytes, Process<'a>>;

fn get(ring: &Ring<'_>, reader: &mut Reader) -> Result<Vec<u8>, GetError> {
    let mut room = Room::default();
    ring.try_take(reader, &mut room).map(|()| room.0)
}

#[test]
fn records_of_any_length_come_out_in_order_round_and_round() {
    for size in [64, 1024] {
        let w = world(size);
        let ring = w.process(1);
        let (mut writer, mut reader) = w.begun();
        let mut plain: VecDeque<Vec<u8>> = VecDeque::new();
        let mut state = 12345_u64;
        for turn in 0..20_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let len = (state >> 33) % size;
            if state >> 63 == 0 {
                let bytes = vec![turn as u8; len as usize];
                match ring.try_put(&mut writer, &bytes) {
                    Ok(()) => plain.push_back(bytes),
                    Err(PutError::Full) => assert!(!plain.is_empty()),
                    Err(PutError::TooLarge { len, most }) => assert!(len > most),
                    Err(why) => panic!("{why}"),
                }
            } else {
                let got = get(&ring, &mut reader);
                assert_eq!(got, plain.pop_front().ok_or(GetError::Empty));
            }
        }
    }
}

#[test]
fn a_batch_is_put_as_far_as_it_fits_and_taken_at_once() {
    let w = world(SIZE);
    let ring = w.process(1);
    let (mut writer, mut reader) = w.begun();
    let all: Vec<Vec<u8>> = (0..20_u8).map(|i| vec![i; 7]).collect();
    let slices = |from: usize| all[from..].iter().map(Vec::as_slice);
    assert_eq!(ring.try_put_many(&mut writer, slices(0)), Err((8, PutError::Full)));
    let mut rooms: Vec<Room> = (0..5).map(|_| Room::default()).collect();
    assert_eq!(ring.try_take_many(&mut reader, &mut rooms), Ok(5));
    assert_eq!(ring.try_put_many(&mut writer, slices(8)), Err((5, PutError::Full)));
    let mut got: Vec<_> = rooms.into_iter().map(|room| room.0).collect();
    while let Ok(next) = get(&ring, &mut reader) {
        got.push(next);
    }
    assert_eq!(got, all[..13]);
    assert_eq!(ring.try_take_many::<Room>(&mut reader, &mut []), Ok(0));
}

#[test]
fn the_longest_message_fits_and_a_longer_one_is_told_so() {
    for size in [64_usize, 512] {
        let w = world(size as u64);
        let ring = w.process(1);
        let (mut writer, mut reader) = w.begun();
        let Err(PutError::TooLarge { most, .. }) = ring.try_put(&mut writer, &vec![0; size]) else {
            panic!("it cannot fit");
        };
        for _ in 0..3 {
            ring.try_put(&mut writer, &vec![7; most]).unwrap();
            assert_eq!(ring.try_put(&mut writer, &[]), Err(PutError::Full));
            assert_eq!(get(&ring, &mut reader).unwrap(), vec![7; most]);
        }
        let refused = ring.try_put(&mut writer, &vec![0; most + 1]);
        assert_eq!(refused, Err(PutError::TooLarge { len: most + 1, most }));
    }
}

#[test]
fn who_left_ends_the_stream_behind_what_it_put() {
    let w = world(SIZE);
    let ring = w.process(1);
    let (mut writer, mut reader) = w.begun();
    ring.try_put(&mut writer, b"last").unwrap();
    ring.leave(Side::Producer, writer.held());
    assert_eq!(ring.peer(Side::Producer), Peer::Left);
    assert_eq!(get(&ring, &mut reader).unwrap(), b"last");
    assert_eq!(get(&ring, &mut reader), Err(GetError::Closed));
    // A successor may come all the same.
    let mut writer = ring.writer(ring.replace(Side::Producer).unwrap()).unwrap();
    ring.try_put(&mut writer, b"again").unwrap();
    assert_eq!(get(&ring, &mut reader).unwrap(), b"again");
    ring.leave(Side::Consumer, reader.held());
    assert_eq!(ring.try_put(&mut writer, b"to nobody"), Err(PutError::Closed));
}

#[test]
fn a_successor_goes_on_where_the_dead_committed_last() {
    let w = world(SIZE);
    let (first, second, third) = (w.process(1), w.process(2), w.process(3));
    let (writer, reader) = w.begun();
    let share = writer.held().share();
    let mut writer = second.writer(second.claim(Side::Producer, share).unwrap()).unwrap();
    second.try_put(&mut writer, b"one").unwrap();
    second.try_put(&mut writer, b"two").unwrap();
    assert_eq!(second.replace(Side::Consumer), None, "it lives");
    let share = reader.held().share();
    let mut reader = third.reader(third.claim(Side::Consumer, share).unwrap()).unwrap();
    assert_eq!(get(&third, &mut reader).unwrap(), b"one");
    w.all.kill(3);
    assert_eq!(second.peer(Side::Consumer), Peer::Dead);
    let mut reader = first.reader(first.replace(Side::Consumer).unwrap()).unwrap();
    w.all.kill(2);
    assert_eq!(get(&first, &mut reader).unwrap(), b"two");
    assert_eq!(get(&first, &mut reader), Err(GetError::Empty));
    let mut writer = first.writer(first.replace(Side::Producer).unwrap()).unwrap();
    first.try_put(&mut writer, b"three").unwrap();
    assert_eq!(get(&first, &mut reader).unwrap(), b"three");
}

#[test]
fn a_share_is_worth_something_once() {
    let w = world(SIZE);
    let (first, second, third) = (w.process(1), w.process(2), w.process(3));
    let (writer, _reader) = w.begun();
    let share = writer.held().share();
    let held = second.claim(Side::Producer, share).unwrap();
    assert_eq!(third.claim(Side::Producer, share), None);
    assert_eq!(first.claim(Side::Producer, share), None, "the sender, too late");
    // The sender goes on: what travels is void.
    let share = held.share();
    let held = second.claim(Side::Producer, share).unwrap();
    assert_eq!(third.claim(Side::Producer, share), None);
    // Giving up a role that somebody else has does nothing.
    first.leave(Side::Producer, writer.held());
    assert_eq!(first.peer(Side::Producer), Peer::Here);
    second.leave(Side::Producer, &held);
    assert_eq!(first.peer(Side::Producer), Peer::Left);
    assert_eq!(third.claim(Side::Producer, held.share()), None, "it left");
}

#[test]
fn what_travels_can_be_claimed_or_made_void() {
    let w = world(SIZE);
    let (first, second) = (w.process(1), w.process(2));
    let (writer, reader) = w.begun();
    first.part_with(Side::Producer, writer.held());
    assert_eq!(second.peer(Side::Producer), Peer::Sent);
    let held = second.claim(Side::Producer, writer.held().share()).unwrap();
    first.part_with(Side::Producer, writer.held());
    assert_eq!(first.peer(Side::Producer), Peer::Here, "it is another's");
    second.part_with(Side::Producer, &held);
    let share = held.share();
    assert!(first.replace(Side::Producer).is_some());
    assert_eq!(second.claim(Side::Producer, share), None);
    first.part_with(Side::Consumer, reader.held());
    w.all.kill(1);
    assert_eq!(second.peer(Side::Consumer), Peer::Dead, "its sender died");
}

#[test]
fn wild_bytes_are_messages_or_errors() {
    let w = world(SIZE);
    let ring = w.process(1);
    let len = MappedBytes::len(SIZE).unwrap() as usize;
    let mut state = 99_u64;
    for _ in 0..20_000 {
        let (mut writer, mut reader) = w.begun();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = match state >> 62 {
                0 => 128 + (state >> 32) as usize % 256,
                1 => (state >> 32) as usize % 64,
                _ => len - 64 + (state >> 32) as usize % 64,
            };
            // SAFETY: inside the ring's memory, which this thread alone uses now.
            unsafe { w.memory.0.add(at).write(state as u8) };
        }
        for _ in 0..4 {
            let _ = ring.try_put(&mut writer, &[1, 2, 3]);
            if let Ok(bytes) = get(&ring, &mut reader) {
                assert!(bytes.len() < SIZE as usize);
            }
        }
        assert!(ring.bytes_in() <= SIZE);
        let words = [ring.replace(Side::Producer), ring.replace(Side::Consumer)];
        let _ = words.map(|held| held.map(|held| ring.writer(held).is_ok()));
        // SAFETY: as above.
        unsafe { w.memory.0.write_bytes(0, len) };
    }
}

#[test]
fn units_stay_whole_round_the_end_of_the_ring() {
    // 64 is no multiple of 5 or 24: units lie across the end.
    for unit in [1, 5, 8, 24, 64] {
        let w = world(SIZE);
        let (p, c) = (w.process(1), w.process(2));
        let mut writer = p.writer(p.begin(Side::Producer)).unwrap();
        let mut reader = c.reader(c.begin(Side::Consumer)).unwrap();
        let most = SIZE as usize / unit;
        let (mut sent, mut got) = (0_usize, 0_usize);
        let bytes_of = |n: usize| (0..unit).map(move |i| (n * 7 + i) as u8);
        for turn in 0..400 {
            let batch: Vec<u8> = (sent..sent + turn % 11).flat_map(bytes_of).collect();
            let free = most - (sent - got);
            match p.try_put_units(&mut writer, &batch, unit) {
                Ok(len) => {
                    assert_eq!(len, batch.len().min(free * unit), "as many as fit");
                    sent += len / unit;
                }
                Err(why) => assert_eq!((why, free), (PutError::Full, 0)),
            }
            let mut out = vec![0; turn % 7 * unit + unit - 1];
            match c.try_take_units(&mut reader, &mut out, unit) {
                Ok(len) => {
                    let most = (turn % 7).min(sent - got);
                    assert!(len <= most * unit && (len > 0 || most == 0));
                    let count = len / unit;
                    let expected: Vec<u8> = (got..got + count).flat_map(bytes_of).collect();
                    assert_eq!(out[..len], expected);
                    got += count;
                }
                Err(why) => assert_eq!((why, got), (GetError::Empty, sent)),
            }
        }
        assert!(got > 100 || unit == 64, "{got} of {unit} bytes");
        p.leave(Side::Producer, writer.held());
        let mut out = vec![0; SIZE as usize];
        while got < sent {
            got += c.try_take_units(&mut reader, &mut out, unit).unwrap() / unit;
        }
        assert_eq!(c.try_take_units(&mut reader, &mut out, unit), Err(GetError::Closed));
        c.leave(Side::Consumer, reader.held());
        assert_eq!(p.try_put_units(&mut writer, &out, unit), Err(PutError::Closed));
    }
}

#[test]
fn counts_that_cannot_be_end_a_ring_of_units() {
    let w = world(SIZE);
    let (p, c) = (w.process(1), w.process(2));
    let mut writer = p.writer(p.begin(Side::Producer)).unwrap();
    let mut reader = c.reader(c.begin(Side::Consumer)).unwrap();
    let mut out = [0; 64];
    // Half a unit: nobody puts that.
    assert_eq!(p.try_put_units(&mut writer, &[0; 4], 1), Ok(4));
    assert_eq!(c.try_take_units(&mut reader, &mut out, 8), Err(GetError::Corrupt));
    w.ring.head().read.0.store(77, Ordering::Relaxed);
    assert_eq!(p.try_put_units(&mut writer, &[0; 64], 8), Err(PutError::Corrupt));
    let w = world(SIZE);
    let (ring, (_, mut reader)) = (w.process(1), w.begun());
    w.ring.head().written.0.store(1 << 40, Ordering::Relaxed);
    assert_eq!(ring.try_take_units(&mut reader, &mut out, 8), Err(GetError::Corrupt));
}

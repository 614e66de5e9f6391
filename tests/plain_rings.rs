//! What a ring of plain values from one producer to one consumer promises, in one process and between several, whoever of them
//! is killed where.

mod common;

use common::{SIGKILL, audit, kill, kill_self, thread, until_blocked};
use offspring::queue::{PlainConsumer, PlainProducer, spsc_of_plain};
use offspring::{Process, Queue};
use offspring_core::points::{self, Point};
use offspring_core::prim::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

offspring::test_entry!();

fn begin() -> common::Audit {
    common::watchdog(240);
    audit()
}

/// Twelve bytes: no power of two, so that values lie across the end of the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Triple([u32; 3]);

fn triple(n: u32) -> Triple {
    Triple([n, !n, n.wrapping_mul(7)])
}

#[test]
fn values_come_out_in_order_one_by_one_and_in_slices() {
    let _audit = begin();
    let (mut producer, mut consumer) = spsc_of_plain::<Triple>(100).unwrap();
    let (mut sent, mut got) = (0, 0);
    let mut out = [triple(0); 40];
    for turn in 0..2_000_u32 {
        if turn % 3 == 0 {
            producer.put(triple(sent)).unwrap();
            sent += 1;
        }
        let some: Vec<_> = (sent..sent + turn % 17).map(triple).collect();
        producer.put_slice(&some).unwrap();
        sent += some.len() as u32;
        while sent - got > 50 {
            let count = consumer.get_slice(&mut out[..1 + turn as usize % 40]).unwrap();
            for value in &out[..count] {
                assert_eq!(*value, triple(got));
                got += 1;
            }
        }
        if got < sent {
            assert_eq!(consumer.get().unwrap(), triple(got));
            got += 1;
        }
    }
    assert_eq!(consumer.get_slice(&mut []).unwrap(), 0);
    drop(producer);
    while let Ok(value) = consumer.get() {
        assert_eq!(value, triple(got));
        got += 1;
    }
    assert_eq!(got, sent);
    assert!(consumer.get().unwrap_err().is_closed());
}

#[test]
fn what_does_not_fit_is_told_with_what_did() {
    let _audit = begin();
    // 4096 bytes, 512 values.
    let (mut producer, mut consumer) = spsc_of_plain::<u64>(1).unwrap();
    let values: Vec<u64> = (0..600).collect();
    let stopped = producer.try_put_slice(&values).unwrap_err();
    assert_eq!((stopped.put, stopped.error.is_full()), (512, true));
    assert!(producer.try_put(0).unwrap_err().is_full());
    let short = Duration::from_millis(10);
    assert!(producer.put_timeout(0, short).unwrap_err().is_timeout());
    assert!(producer.put_deadline(0, Instant::now()).unwrap_err().is_timeout());
    assert_eq!(consumer.get().unwrap(), 0);
    let stopped = producer.put_slice_timeout(&values[512..], short).unwrap_err();
    assert_eq!((stopped.put, stopped.error.is_timeout()), (1, true));
    let text = stopped.to_string();
    assert!(text.starts_with("1 values were put"), "{text}");
    let stopped = producer.put_slice_deadline(&values, Instant::now()).unwrap_err();
    assert_eq!((stopped.put, stopped.error.is_timeout()), (0, true));
    let mut out = [0; 600];
    let mut got = 0;
    while got < 512 {
        got += consumer.try_get_slice(&mut out[got..]).unwrap();
    }
    assert_eq!(out[..512], values[1..513]);
    assert!(consumer.try_get().unwrap_err().is_empty());
    assert!(consumer.get_timeout(short).unwrap_err().is_timeout());
    assert!(consumer.get_deadline(Instant::now()).unwrap_err().is_timeout());
    assert!(consumer.get_slice_timeout(&mut out, short).unwrap_err().is_timeout());
    assert!(consumer.get_slice_deadline(&mut out, Instant::now()).unwrap_err().is_timeout());
    drop(consumer);
    let stopped = producer.put_slice(&values).unwrap_err();
    assert!(stopped.put == 0 && stopped.error.is_closed());
    assert!(spsc_of_plain::<u8>(0).is_err() && spsc_of_plain::<u64>(usize::MAX).is_err());
}

type Ends = (PlainConsumer<Triple>, PlainProducer<Triple>);

/// Sends everything back until there is no more.
fn echo((mut from, mut to): Ends) -> u64 {
    let (mut count, mut some) = (0, [triple(0); 7]);
    while let Ok(got) = from.get_slice(&mut some) {
        count += got as u64;
        to.put_slice(&some[..got]).unwrap();
    }
    count
}

#[test]
fn slices_longer_than_the_ring_go_to_another_process_and_back() {
    let _audit = begin();
    let (mut there, from_here) = spsc_of_plain(1).unwrap();
    let (from_there, mut back) = spsc_of_plain(1).unwrap();
    let child = Process::spawn(echo, (from_here, from_there)).unwrap();
    let all: Vec<_> = (0..50_000).map(triple).collect();
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| {
            there.put_slice(&all).unwrap();
            drop(there);
        });
        let mut out = vec![triple(0); 1000];
        let mut got = 0;
        while let Ok(count) = back.get_slice(&mut out) {
            assert_eq!(out[..count], all[got..got + count]);
            got += count;
        }
        assert_eq!(got, all.len());
        putter.join().unwrap();
    });
    assert_eq!(child.join().unwrap(), 50_000);
}

#[test]
fn a_sleeping_taker_is_woken_by_a_slice_and_by_the_end() {
    let _audit = begin();
    let (mut producer, consumer) = spsc_of_plain::<u64>(4).unwrap();
    let tell = Queue::<u32>::bounded(1).unwrap();
    let taker = Process::spawn(sum_all, (consumer, tell.clone())).unwrap();
    let asleep = tell.get().unwrap();
    until_blocked(asleep);
    producer.put_slice(&[5, 6]).unwrap();
    until_blocked(asleep);
    drop(producer);
    assert_eq!(taker.join().unwrap(), 11);
}

fn sum_all((mut consumer, tell): (PlainConsumer<u64>, Queue<u32>)) -> u64 {
    tell.put(thread()).unwrap();
    std::iter::from_fn(|| consumer.get().ok()).sum()
}

fn put_for_ever((mut producer, batch): (PlainProducer<Triple>, u32)) {
    for i in 0.. {
        let some: Vec<_> = (i * batch..(i + 1) * batch).map(triple).collect();
        producer.put_slice(&some).unwrap();
    }
}

#[test]
fn a_killed_producer_leaves_whole_values_and_a_successor_goes_on() {
    let _audit = begin();
    for round in 0..20 {
        let (producer, mut consumer) = spsc_of_plain(50).unwrap();
        let putter = Process::spawn(put_for_ever, (producer, 1 + round % 3 * 100)).unwrap();
        let (mut next, mut out) = (0, [triple(0); 64]);
        let mut expect = |values: &[Triple]| {
            for value in values {
                assert_eq!(*value, triple(next));
                next += 1;
            }
        };
        for _ in 0..=round * 40 {
            let count = consumer.get_slice(&mut out).unwrap();
            expect(&out[..count]);
        }
        kill(&putter);
        let _ = putter.join();
        let error = loop {
            match consumer.get_slice(&mut out) {
                Ok(count) => expect(&out[..count]),
                Err(error) => break error,
            }
        };
        assert!(error.is_participant_lost(), "{error}");
        let mut producer = consumer.replace_producer().unwrap();
        producer.put(triple(9)).unwrap();
        assert_eq!(consumer.get().unwrap(), triple(9));
    }
}

static POINT: AtomicU32 = AtomicU32::new(u32::MAX);
static VISITS: AtomicU32 = AtomicU32::new(0);

/// From here on this process is killed at its `visit`th time at `point`.
fn die_at((point, visit): (u32, u32)) {
    POINT.store(point, Ordering::Relaxed);
    VISITS.store(visit, Ordering::Relaxed);
    points::set_hook(Some(|point| {
        if point as u32 == POINT.load(Ordering::Relaxed)
            && VISITS.fetch_sub(1, Ordering::Relaxed) == 1
        {
            kill_self();
        }
    }));
}

const SLICE: u32 = 30;

fn put_until_killed((mut producer, point, visit): (PlainProducer<Triple>, u32, u32)) {
    die_at((point, visit));
    for first in (0..SLICE * 10).step_by(SLICE as usize) {
        let some: Vec<_> = (first..first + SLICE).map(triple).collect();
        producer.put_slice(&some).unwrap();
    }
}

fn take_until_killed((mut consumer, point, visit): (PlainConsumer<Triple>, u32, u32)) {
    die_at((point, visit));
    let mut out = [triple(0); SLICE as usize];
    for first in (0..SLICE * 10).step_by(SLICE as usize) {
        assert_eq!(consumer.get_slice(&mut out).unwrap(), SLICE as usize);
        assert_eq!(out[0], triple(first));
    }
}

#[test]
fn killed_at_every_point_a_slice_was_put_or_not() {
    let _audit = begin();
    // Which points lie behind the store that puts a slice.
    let cases = [(Point::SpscWritten, 0), (Point::SpscPublished, 1)];
    for (point, put) in cases {
        for visit in 1..=5 {
            let (producer, mut consumer) = spsc_of_plain(1_000).unwrap();
            let child = Process::spawn(put_until_killed, (producer, point as u32, visit)).unwrap();
            assert_eq!(child.wait().signal(), Some(SIGKILL));
            let values: Vec<_> = std::iter::from_fn(|| consumer.get().ok()).collect();
            let expected: Vec<_> = (0..SLICE * (visit - 1 + put)).map(triple).collect();
            assert_eq!(values, expected, "{point:?} {visit}");
            let mut producer = consumer.replace_producer().unwrap();
            producer.put(triple(1)).unwrap();
            assert_eq!(consumer.get().unwrap(), triple(1), "{point:?} {visit}");
        }
    }
}

#[test]
fn killed_at_every_point_a_slice_was_taken_or_not() {
    let _audit = begin();
    let cases = [(Point::SpscCopied, 0), (Point::SpscTaken, 1)];
    for (point, taken) in cases {
        for visit in 1..=5 {
            let (mut producer, consumer) = spsc_of_plain(1_000).unwrap();
            let all: Vec<_> = (0..SLICE * 10).map(triple).collect();
            producer.put_slice(&all).unwrap();
            let child = Process::spawn(take_until_killed, (consumer, point as u32, visit)).unwrap();
            assert_eq!(child.wait().signal(), Some(SIGKILL));
            let mut consumer = producer.replace_consumer().unwrap();
            drop(producer);
            let left: Vec<_> = std::iter::from_fn(|| consumer.get().ok()).collect();
            let gone = (SLICE * (visit - 1 + taken)) as usize;
            assert_eq!(left, all[gone..], "{point:?} {visit}");
        }
    }
}

//! What a ring from one producer to one consumer promises, in one process and between several, whoever of them is killed.

mod common;

use common::{audit, kill, thread, until_blocked};
use offspring::queue::{Consumer, Producer, spsc, spsc_of_bytes};
use offspring::{Process, Queue};
use std::time::{Duration, Instant};

offspring::test_entry!();

fn begin() -> common::Audit {
    common::watchdog(240);
    audit()
}

#[test]
fn values_of_any_length_come_out_in_order() {
    let _audit = begin();
    let (mut producer, mut consumer) = spsc::<(u32, String)>(100).unwrap();
    let value = |i: u32| (i, "x".repeat((i * 37 % 500) as usize));
    for round in 0..50 {
        for i in 0..5 {
            producer.put(value(round * 5 + i)).unwrap();
        }
        for i in 0..5 {
            assert_eq!(consumer.get().unwrap(), value(round * 5 + i));
        }
    }
    assert!(consumer.try_get().unwrap_err().is_empty());
    assert!(consumer.get_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
    assert!(consumer.get_deadline(Instant::now()).unwrap_err().is_timeout());
}

#[test]
fn no_capacity_and_too_much_are_refused() {
    let _audit = begin();
    assert!(spsc::<u8>(0).is_err());
    assert!(spsc::<u8>(usize::MAX).is_err());
    assert!(spsc_of_bytes::<u8>(usize::MAX).is_err());
}

#[test]
fn what_does_not_fit_comes_back() {
    let _audit = begin();
    let (mut producer, mut consumer) = spsc_of_bytes::<u64>(64).unwrap();
    // Each takes nine bytes.
    let refused = producer.try_put_many((0..20).collect()).unwrap_err();
    assert!(refused.error().is_full());
    assert_eq!(refused.into_inner(), (7..20).collect::<Vec<_>>());
    let refused = producer.try_put(7).unwrap_err();
    assert!(refused.error().is_full());
    let refused = producer.put_timeout(7, Duration::from_millis(10)).unwrap_err();
    assert!(refused.error().is_timeout());
    let refused = producer.put_many_deadline(vec![7, 8], Instant::now()).unwrap_err();
    assert!(refused.error().is_timeout());
    assert_eq!(refused.into_inner(), [7, 8]);
    let mut got = Vec::new();
    assert_eq!(consumer.get_many(&mut got, 5).unwrap(), 5);
    assert_eq!(consumer.get_many(&mut got, 100).unwrap(), 2);
    assert_eq!(got, (0..7).collect::<Vec<_>>());
    let (mut producer, _consumer) = spsc_of_bytes::<Vec<u8>>(64).unwrap();
    assert!(producer.put(vec![0; 64]).unwrap_err().error().is_too_large());
    producer.put(vec![0; 63]).unwrap();
}

#[test]
fn a_value_with_a_handle_is_refused() {
    let _audit = begin();
    let (mut producer, _consumer) = spsc::<Queue<u8>>(4).unwrap();
    let refused = producer.put(Queue::bounded(1).unwrap()).unwrap_err();
    assert!(refused.error().is_encode());
}

#[test]
fn dropping_an_end_is_told_to_the_other() {
    let _audit = begin();
    let (mut producer, mut consumer) = spsc::<u8>(4).unwrap();
    producer.put_many(vec![1, 2]).unwrap();
    drop(producer);
    let mut all = consumer.iter();
    assert_eq!(all.by_ref().collect::<Vec<_>>(), [1, 2]);
    assert!(all.error().is_none());
    assert!(consumer.get().unwrap_err().is_closed());
    let (mut producer, consumer) = spsc::<u8>(4).unwrap();
    drop(consumer);
    let refused = producer.put(1).unwrap_err();
    assert!(refused.error().is_closed());
    assert_eq!(refused.into_inner(), 1);
}

#[test]
fn an_end_that_was_dropped_can_have_a_successor() {
    let _audit = begin();
    let (producer, mut consumer) = spsc::<u8>(4).unwrap();
    assert!(consumer.replace_producer().is_err(), "it is there");
    drop(producer);
    assert!(consumer.get().unwrap_err().is_closed());
    let mut producer = consumer.replace_producer().unwrap();
    producer.put(1).unwrap();
    drop(consumer);
    let mut consumer = producer.replace_consumer().unwrap();
    assert_eq!(consumer.get().unwrap(), 1);
}

type Ends = (Consumer<u64>, Producer<u64>);

/// Sends everything back until there is no more.
fn echo((mut from, mut to): Ends) -> u64 {
    let mut count = 0;
    let mut some = Vec::new();
    while let Ok(got) = from.get_many(&mut some, 7) {
        count += got as u64;
        to.put_many(std::mem::take(&mut some)).unwrap();
    }
    count
}

#[test]
fn both_ends_work_in_other_processes() {
    let _audit = begin();
    let (mut there, from_here) = spsc::<u64>(10).unwrap();
    let (from_there, mut back) = spsc::<u64>(10).unwrap();
    let child = Process::spawn(echo, (from_here, from_there)).unwrap();
    for i in 0..20_000 {
        there.put(i).unwrap();
        if i % 3 == 0 {
            there.put(i).unwrap();
            assert_eq!(back.get().unwrap(), i);
        }
        assert_eq!(back.get().unwrap(), i);
    }
    drop(there);
    assert!(back.get().unwrap_err().is_closed());
    assert_eq!(child.join().unwrap(), 20_000 + 6_667);
}

#[test]
fn an_end_that_was_sent_is_the_receivers() {
    let _audit = begin();
    let post = Queue::<Producer<u8>>::bounded(2).unwrap();
    let (producer, mut consumer) = spsc::<u8>(4).unwrap();
    // Refused, it comes back and goes on here.
    post.close();
    let mut producer = post.put(producer).unwrap_err().into_inner();
    producer.put(1).unwrap();
    let post = Queue::<Producer<u8>>::bounded(2).unwrap();
    post.put(producer).unwrap();
    assert_eq!(consumer.get().unwrap(), 1);
    assert!(consumer.try_get().unwrap_err().is_empty(), "sending an end does not end the stream");
    let mut producer = post.get().unwrap();
    producer.put(2).unwrap();
    assert_eq!(consumer.get().unwrap(), 2);
}

#[test]
fn an_end_that_was_refused_goes_on_and_can_be_sent_again() {
    let _audit = begin();
    let post = Queue::<(Producer<u8>, u8)>::bounded(2).unwrap();
    let (producer, mut consumer) = spsc::<u8>(4).unwrap();
    let full = Queue::<(Producer<u8>, u8)>::bounded(1).unwrap();
    let (other, _rest) = spsc::<u8>(4).unwrap();
    full.put((other, 0)).unwrap();
    // Serialised, and refused for want of room: whatever was written of it is void once it is used again.
    let (mut producer, _) = full.try_put((producer, 1)).unwrap_err().into_inner();
    producer.put(7).unwrap();
    post.put((producer, 2)).unwrap();
    let (mut producer, two) = post.get().unwrap();
    producer.put(two).unwrap();
    assert_eq!((consumer.get().unwrap(), consumer.get().unwrap()), (7, 2));
}

#[test]
fn a_sleeping_taker_is_woken_by_a_value_and_by_the_end() {
    let _audit = begin();
    let (mut producer, consumer) = spsc::<u64>(4).unwrap();
    let tell = Queue::<u32>::bounded(1).unwrap();
    let taker = Process::spawn(sum_all, (consumer, tell.clone())).unwrap();
    let asleep = tell.get().unwrap();
    until_blocked(asleep);
    producer.put(5).unwrap();
    until_blocked(asleep);
    drop(producer);
    assert_eq!(taker.join().unwrap(), 5);
}

fn sum_all((mut consumer, tell): (Consumer<u64>, Queue<u32>)) -> u64 {
    tell.put(thread()).unwrap();
    consumer.iter().sum()
}

fn put_for_ever((mut producer, batch): (Producer<u64>, u64)) {
    for i in 0.. {
        if batch == 1 {
            producer.put(i).unwrap();
        } else {
            producer.put_many((i * batch..(i + 1) * batch).collect()).unwrap();
        }
    }
}

#[test]
fn a_killed_producer_loses_nothing_committed_and_a_successor_goes_on() {
    let _audit = begin();
    for round in 0..30 {
        let (producer, mut consumer) = spsc::<u64>(50).unwrap();
        let batch = if round % 2 == 0 { 1 } else { 7 };
        let putter = Process::spawn(put_for_ever, (producer, batch)).unwrap();
        // The ring went round a few times, or has just begun; the first value says that the end arrived.
        let mut next = 0;
        for _ in 0..=round * 40 {
            assert_eq!(consumer.get().unwrap(), next);
            next += 1;
        }
        kill(&putter);
        let _ = putter.join();
        let error = loop {
            match consumer.get() {
                Ok(value) => assert_eq!(value, next),
                Err(error) => break error,
            }
            next += 1;
        };
        assert!(error.is_participant_lost(), "{error}");
        let mut producer = consumer.replace_producer().unwrap();
        producer.put(1_000_000).unwrap();
        assert_eq!(consumer.get().unwrap(), 1_000_000);
    }
}

fn take_for_ever((mut consumer, mut tell): (Consumer<u64>, Producer<u64>)) {
    loop {
        tell.put(consumer.get().unwrap()).unwrap();
    }
}

#[test]
fn what_a_killed_consumer_did_not_take_is_its_successors() {
    let _audit = begin();
    for round in 0..30 {
        let (mut producer, consumer) = spsc::<u64>(50).unwrap();
        let (tell, mut told) = spsc::<u64>(50).unwrap();
        let taker = Process::spawn(take_for_ever, (consumer, tell)).unwrap();
        let mut seen = 1;
        producer.put(0).unwrap();
        assert_eq!(told.get().unwrap(), 0, "both ends arrived");
        for i in 1..=round * 20 {
            producer.put(i).unwrap();
            while let Ok(value) = told.try_get() {
                assert_eq!(value, seen);
                seen += 1;
            }
        }
        kill(&taker);
        let _ = taker.join();
        for value in told.iter() {
            assert_eq!(value, seen);
            seen += 1;
        }
        let mut consumer = producer.replace_consumer().unwrap();
        let mut left = Vec::new();
        while let Ok(value) = consumer.try_get() {
            left.push(value);
        }
        // At most one value shared the taker's fate: taken, and not told.
        let first = left.first().copied().unwrap_or(round * 20 + 1);
        assert!(first == seen || first == seen + 1, "{seen} told, {first} is next");
        assert_eq!(left, (first..=round * 20).collect::<Vec<_>>());
    }
}

#[test]
fn an_end_whose_receiver_never_came_can_be_replaced() {
    let _audit = begin();
    let (producer, mut consumer) = spsc::<u8>(4).unwrap();
    let post = Queue::<Producer<u8>>::bounded(1).unwrap();
    post.put(producer).unwrap();
    let short = Duration::from_millis(10);
    assert!(consumer.get_timeout(short).unwrap_err().is_timeout());
    let mut producer = consumer.replace_producer().unwrap();
    producer.put(3).unwrap();
    assert_eq!(consumer.get().unwrap(), 3);
    assert!(post.get().is_err(), "the one that travelled is void");
}

#[test]
fn who_waits_learns_of_a_death() {
    let _audit = begin();
    let arrived = Queue::<()>::bounded(1).unwrap();
    let (producer, mut consumer) = spsc::<u64>(50).unwrap();
    let waits = Process::spawn(hold, (producer, arrived.clone())).unwrap();
    arrived.get().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| consumer.get().unwrap_err().is_participant_lost());
        // Whether it sleeps already or not, it must learn of it.
        kill(&waits);
        assert!(waiter.join().unwrap());
    });
    let _ = waits.join();
    let (mut producer, consumer) = spsc_of_bytes::<u64>(64).unwrap();
    let waits = Process::spawn(hold, (consumer, arrived.clone())).unwrap();
    arrived.get().unwrap();
    while producer.try_put(1).is_ok() {}
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| producer.put(2).unwrap_err().error().is_participant_lost());
        kill(&waits);
        assert!(waiter.join().unwrap());
    });
    let _ = waits.join();
}

/// Keeps an end until the process is killed.
fn hold<E>((_end, arrived): (E, Queue<()>)) {
    arrived.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

//! What batches promise: the same items as one by one, in order; a prefix, whoever dies or closes; handles that arrive.

mod common;

use common::{audit, kill, thread, until_blocked};
use offspring::{Process, Queue};
use std::time::{Duration, Instant};

offspring::test_entry!();

fn begin() -> common::Audit {
    common::watchdog(240);
    audit()
}

#[test]
fn batches_of_any_length_come_out_as_they_went_in() {
    let _audit = begin();
    let queue = Queue::<(u32, Vec<u8>)>::bounded(300).unwrap();
    let value = |i: u32| (i, vec![i as u8; if i.is_multiple_of(5) { 700 } else { 3 }]);
    for len in [0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 300] {
        queue.put_many((0..len).map(value).collect()).unwrap();
        let mut got = Vec::new();
        while got.len() < len as usize {
            let before = got.len();
            let count = queue.get_many(&mut got, 20).unwrap();
            assert!((1..=20).contains(&count) && got.len() == before + count);
        }
        assert_eq!(got, (0..len).map(value).collect::<Vec<_>>());
        assert!(queue.is_empty());
    }
    assert_eq!(queue.get_many(&mut Vec::new(), 0).unwrap(), 0, "nothing was asked for");
}

#[test]
fn what_does_not_fit_comes_back() {
    let _audit = begin();
    let queue = Queue::<u32>::bounded(10).unwrap();
    let refused = queue.try_put_many((0..25).collect()).unwrap_err();
    assert!(refused.error().is_full());
    assert_eq!(refused.into_inner(), (10..25).collect::<Vec<_>>());
    let short = Duration::from_millis(20);
    let refused = queue.put_many_timeout(vec![7, 8], short).unwrap_err();
    assert!(refused.error().is_timeout());
    assert_eq!(refused.into_inner(), [7, 8]);
    let mut got = Vec::new();
    assert_eq!(queue.try_get_many(&mut got, 4).unwrap(), 4);
    let refused = queue.put_many_deadline((10..25).collect(), Instant::now()).unwrap_err();
    assert!(refused.error().is_timeout());
    assert_eq!(refused.into_inner(), (14..25).collect::<Vec<_>>());
    queue.close();
    let refused = queue.put_many(vec![1, 2]).unwrap_err();
    assert!(refused.error().is_closed());
    assert_eq!(refused.into_inner(), [1, 2]);
    assert_eq!(queue.get_many(&mut got, 100).unwrap(), 10);
    assert_eq!(got, (0..14).collect::<Vec<_>>());
    assert!(queue.get_many(&mut got, 100).unwrap_err().is_closed());
}

#[test]
fn value_that_cannot_go_leaves_those_before_it_put() {
    let _audit = begin();
    let queue = Queue::<Vec<u8>>::builder().capacity(40).max_message(4096).build().unwrap();
    let mut values = vec![vec![1]; 20];
    values.push(vec![0; 5000]);
    values.push(vec![2]);
    let refused = queue.put_many(values).unwrap_err();
    assert!(refused.error().is_too_large());
    let rest = refused.into_inner();
    assert_eq!((rest.len(), rest[0].len(), queue.len()), (2, 5000, 20));
}

#[test]
fn nothing_there_is_told_in_each_form() {
    let _audit = begin();
    let queue = Queue::<u8>::bounded(4).unwrap();
    let mut got = Vec::new();
    assert!(queue.try_get_many(&mut got, 3).unwrap_err().is_empty());
    let short = Duration::from_millis(20);
    assert!(queue.get_many_timeout(&mut got, 3, short).unwrap_err().is_timeout());
    assert!(queue.get_many_deadline(&mut got, 3, Instant::now()).unwrap_err().is_timeout());
    assert!(got.is_empty());
}

#[test]
fn handles_in_a_batch_arrive() {
    let _audit = begin();
    let post = Queue::<(u32, Option<Queue<u32>>)>::bounded(64).unwrap();
    let sender = Process::spawn(send_handles, post.clone()).unwrap();
    sender.join().unwrap();
    let mut got = Vec::new();
    while got.len() < 40 {
        post.get_many(&mut got, 64).unwrap();
    }
    for (i, (number, queue)) in (0..).zip(&got) {
        assert_eq!(*number, i);
        assert_eq!(queue.is_some(), i % 3 == 0);
        if let Some(queue) = queue {
            assert_eq!(queue.get().unwrap(), i);
        }
    }
}

fn send_handles(post: Queue<(u32, Option<Queue<u32>>)>) {
    let values = (0..40).map(|i| {
        let with = (i % 3 == 0).then(|| Queue::bounded(1).unwrap());
        with.iter().for_each(|queue: &Queue<u32>| queue.put(i).unwrap());
        (i, with)
    });
    post.put_many(values.collect()).unwrap();
}

#[test]
fn a_batch_wakes_as_many_as_it_has_items() {
    let _audit = begin();
    let (work, done) = (Queue::<u32>::bounded(64).unwrap(), Queue::<u32>::bounded(64).unwrap());
    let takers: Vec<_> =
        (0..3).map(|_| Process::spawn(take_one, (work.clone(), done.clone())).unwrap()).collect();
    takers.iter().for_each(|_| until_blocked(done.get().unwrap()));
    work.put_many(vec![1, 2, 3]).unwrap();
    let sum: u32 = (0..3).map(|_| done.get_timeout(Duration::from_secs(60)).unwrap()).sum();
    assert_eq!(sum, 6);
    takers.into_iter().for_each(|taker| taker.join().unwrap());
}

fn take_one((work, done): (Queue<u32>, Queue<u32>)) {
    done.put(thread()).unwrap();
    done.put(work.get().unwrap()).unwrap();
}

#[test]
fn a_batch_that_waits_for_room_goes_on_as_there_is_some() {
    let _audit = begin();
    let queue = Queue::<u32>::bounded(3).unwrap();
    let putter = Process::spawn(
        |queue: Queue<u32>| queue.put_many((0..100).collect()).unwrap(),
        queue.clone(),
    )
    .unwrap();
    for i in 0..100 {
        assert_eq!(queue.get().unwrap(), i);
    }
    putter.join().unwrap();
}

#[test]
fn killed_in_batches_a_putter_has_put_a_prefix_and_a_taker_has_taken_one() {
    let _audit = begin();
    for round in 0..20 {
        let queue = Queue::<u64>::bounded(100).unwrap();
        let putter = Process::spawn(put_batches_for_ever, queue.clone()).unwrap();
        let taker = Process::spawn(take_batches_for_ever, queue.clone()).unwrap();
        // Both are at it once the ring went round.
        std::thread::sleep(Duration::from_millis(round));
        kill(&taker);
        kill(&putter);
        let _ = (taker.join(), putter.join());
        queue.close();
        let mut left: Vec<u64> = queue.iter().collect();
        // What came back from the dead taker comes late. Both put and take in order, so that what is left has no gap.
        left.sort_unstable();
        let first = left.first().copied().unwrap_or(0);
        assert_eq!(left, (first..first + left.len() as u64).collect::<Vec<_>>());
    }
}

fn put_batches_for_ever(queue: Queue<u64>) {
    for batch in 0.. {
        queue.put_many((batch * 30..(batch + 1) * 30).collect()).unwrap();
    }
}

fn take_batches_for_ever(queue: Queue<u64>) {
    let (mut got, mut next) = (Vec::new(), 0);
    loop {
        queue.get_many(&mut got, 16).unwrap();
        for value in got.drain(..) {
            assert_eq!(value, next);
            next += 1;
        }
    }
}

//! What unbounded queues promise across processes: the same items in the same order whatever the burst, whoever dies while
//! it grows or shrinks, and the memory back afterwards.

#[path = "../common/mod.rs"]
mod common;
mod points;

use common::{audit, kill, thread, until, until_blocked};
use offspring::{Process, Queue};
use std::time::Duration;

offspring::test_entry!();

fn begin() -> common::Audit {
    common::watchdog(240);
    audit()
}

fn regions() -> usize {
    offspring::__in_use().unwrap().regions
}

#[test]
fn put_never_waits_and_the_order_stays() {
    let _audit = begin();
    let queue = Queue::<u64>::unbounded().unwrap();
    assert_eq!(queue.capacity(), usize::MAX);
    let mut next = 0;
    for burst in [1, 10, 300, 5_000, 50_000, 7] {
        (next..next + burst).for_each(|n| queue.try_put(n).unwrap());
        assert!(!queue.is_full());
        assert_eq!(queue.len(), burst as usize);
        assert!((next..next + burst).all(|n| queue.try_get().unwrap() == n));
        assert!(queue.is_empty() && queue.try_get().unwrap_err().is_empty());
        next += burst;
    }
}

#[test]
fn messages_of_all_sizes_go_through() {
    let _audit = begin();
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    let value = |n: usize| vec![n as u8; [0, 3, 40, 300, 5_000, 100_000][n % 6]];
    for n in 0..1_200 {
        queue.put(value(n)).unwrap();
    }
    queue.put_many((1_200..1_500).map(value).collect()).unwrap();
    for n in 0..700 {
        assert_eq!(queue.get().unwrap(), value(n));
    }
    let mut rest = Vec::new();
    while rest.len() < 800 {
        queue.get_many(&mut rest, 100).unwrap();
    }
    assert!(rest.iter().zip(700..).all(|(got, n)| *got == value(n)));
}

#[test]
fn memory_goes_back_after_a_burst() {
    let _audit = begin();
    let queue = Queue::<[u64; 16]>::unbounded().unwrap();
    queue.put([0; 16]).unwrap();
    queue.get().unwrap();
    let (before, pieces) = (regions(), common::pieces());
    for n in 0..200_000 {
        queue.put([n; 16]).unwrap();
    }
    assert!(regions() > before + 5);
    let used = common::pieces() - pieces;
    assert!(used > 200_000 * 128 / 512 || !common::MEMORY_GOES_BACK, "{used} pieces");
    for n in 0..200_000 {
        assert_eq!(queue.get().unwrap(), [n; 16]);
    }
    assert!(queue.try_get().unwrap_err().is_empty());
    assert_eq!(regions(), before, "one ring is left");
    assert!(common::pieces() <= pieces + 4096, "and it is a small one");
}

#[test]
fn limit_of_bytes_makes_put_wait() {
    let _audit = begin();
    let queue = Queue::<u64>::builder().max_bytes(256 << 10).build().unwrap();
    let full = (0..).find(|n| queue.try_put(*n).is_err()).unwrap();
    assert!((2_000..=8_192).contains(&full), "{full} items of 32 bytes");
    assert!(queue.is_full() && queue.try_put(0).unwrap_err().error().is_full());
    let short = Duration::from_millis(20);
    assert!(queue.put_timeout(0, short).unwrap_err().error().is_timeout());
    let told = Queue::bounded(1).unwrap();
    let putter = Process::spawn(put_from, (queue.clone(), told.clone(), full)).unwrap();
    until_blocked(told.get().unwrap());
    for n in 0..full + 20_000 {
        assert_eq!(queue.get().unwrap(), n);
    }
    putter.join().unwrap();
}

fn put_from((queue, told, from): (Queue<u64>, Queue<u32>, u64)) {
    told.put(thread()).unwrap();
    (from..from + 20_000).for_each(|n| queue.put(n).unwrap());
}

#[test]
fn limit_too_small_for_a_ring_is_refused() {
    let _audit = begin();
    let error = Queue::<u64>::builder().max_bytes(100).build().unwrap_err();
    assert!(error.to_string().contains("max_bytes"), "{error}");
}

#[test]
fn limit_of_bytes_does_not_stand_still_with_messages_of_many_sizes() {
    let _audit = begin();
    let queue = Queue::<Vec<u8>>::builder().max_bytes(512 << 10).build().unwrap();
    let putter = Process::spawn(put_sizes, queue.clone()).unwrap();
    for n in 0..3_000 {
        assert_eq!(queue.get().unwrap().len(), SIZES[n % SIZES.len()]);
    }
    putter.join().unwrap();
}

const SIZES: [usize; 5] = [10, 900, 20_000, 3_000, 200_000];

fn put_sizes(queue: Queue<Vec<u8>>) {
    (0..3_000).for_each(|n| queue.put(vec![1; SIZES[n % SIZES.len()]]).unwrap());
}

type Stream = Queue<(u32, u32)>;

fn produce((queue, me, count): (Stream, u32, u32)) {
    (0..count).for_each(|n| queue.put((me, n)).unwrap());
}

#[test]
fn many_producers_and_consumers_lose_nothing_and_keep_each_order() {
    let _audit = begin();
    let queue = Stream::builder().unbounded().capacity(4).build().unwrap();
    let done = Queue::<Vec<(u32, u32)>>::unbounded().unwrap();
    let producers: Vec<_> =
        (0..3).map(|me| Process::spawn(produce, (queue.clone(), me, 20_000)).unwrap()).collect();
    let consumers: Vec<_> =
        (0..2).map(|_| Process::spawn(consume, (queue.clone(), done.clone())).unwrap()).collect();
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    queue.close();
    consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
    let mut all = Vec::new();
    for _ in 0..2 {
        let got = done.get().unwrap();
        for me in 0..3 {
            let mine = got.iter().filter(|(from, _)| *from == me);
            assert!(mine.is_sorted(), "in order, for each producer");
        }
        all.extend(got);
    }
    all.sort_unstable();
    assert_eq!(all, (0..3).flat_map(|me| (0..20_000).map(move |n| (me, n))).collect::<Vec<_>>());
}

fn consume((queue, done): (Stream, Queue<Vec<(u32, u32)>>)) {
    done.put(queue.iter().collect()).unwrap();
}

#[test]
fn producers_killed_while_it_grows_leave_what_they_put() {
    let _audit = begin();
    for round in 0..12 {
        let queue = Stream::builder().unbounded().capacity(8).build().unwrap();
        let producers: Vec<_> = (0..2)
            .map(|me| Process::spawn(produce, (queue.clone(), me, u32::MAX)).unwrap())
            .collect();
        until("some are put", || queue.len() > 200 * (round + 1));
        producers.iter().for_each(kill);
        let mut next = [0, 0];
        while let Ok((me, n)) = queue.try_get() {
            assert_eq!(n, next[me as usize], "the next of producer {me}");
            next[me as usize] += 1;
        }
        assert!(next[0] + next[1] > 200);
        queue.put((9, 9)).unwrap();
        assert_eq!(queue.get().unwrap(), (9, 9));
    }
}

#[test]
fn consumers_killed_while_it_shrinks_give_back_what_they_lease() {
    let _audit = begin();
    for _ in 0..6 {
        let queue = Stream::builder().unbounded().capacity(8).build().unwrap();
        let told = Stream::unbounded().unwrap();
        (0..5_000).for_each(|n| queue.put((0, n)).unwrap());
        let consumers: Vec<_> = (0..2)
            .map(|_| Process::spawn(lease_all, (queue.clone(), told.clone())).unwrap())
            .collect();
        until("some are committed", || told.len() > 1_000);
        consumers.iter().for_each(kill);
        let mut seen = vec![0; 5_000];
        while let Ok((_, n)) = told.try_get() {
            seen[n as usize] += 1;
        }
        while let Ok(lease) = queue.try_lease() {
            seen[lease.1 as usize] += 1;
            lease.commit();
        }
        // Told before the commit: who was killed between was heard of twice.
        assert!(seen.iter().all(|times| (1..=2).contains(times)));
        assert!(seen.iter().filter(|times| **times == 2).count() <= 2);
    }
}

fn lease_all((queue, told): (Stream, Stream)) {
    loop {
        let lease = queue.lease().unwrap();
        told.put(*lease).unwrap();
        lease.commit();
    }
}

#[test]
fn requests_are_answered_over_many_rings() {
    let _audit = begin();
    let queue: Queue<u32, u64> =
        Queue::builder().unbounded().capacity(4).replies(true).build().unwrap();
    let server = Process::spawn(serve, queue.clone()).unwrap();
    let tickets: Vec<_> = (0..500).map(|n| queue.request(n).unwrap()).collect();
    for (n, mut ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait().unwrap(), n as u64 * n as u64);
    }
    let asked = Queue::bounded(1).unwrap();
    let asker = Process::spawn(ask_and_stay, (queue.clone(), asked.clone())).unwrap();
    asked.get().unwrap();
    kill(&asker);
    queue.close();
    server.join().unwrap();
}

fn serve(queue: Queue<u32, u64>) {
    while let Ok(lease) = queue.lease() {
        match *lease {
            u32::MAX => drop(lease.commit()),
            n => drop(lease.reply(u64::from(n) * u64::from(n)).unwrap()),
        }
    }
}

fn ask_and_stay((queue, asked): (Queue<u32, u64>, Queue<u32>)) {
    let _tickets: Vec<_> = (0..50).map(|n| queue.request(n).unwrap()).collect();
    asked.put(1).unwrap();
    let silent = Queue::<u8>::bounded(1).unwrap();
    let _ = silent.get();
}

#[test]
fn handles_in_any_ring_keep_their_objects() {
    let _audit = begin();
    let post = Queue::<Queue<u32>>::builder().unbounded().capacity(2).build().unwrap();
    let sender = Process::spawn(send_handles, post.clone()).unwrap();
    until("all are sent", || post.len() == 20);
    kill(&sender);
    offspring::__in_use().unwrap();
    for n in 0..20 {
        assert_eq!(post.get().unwrap().get().unwrap(), n);
    }
}

fn send_handles(post: Queue<Queue<u32>>) {
    for n in 0..20 {
        let queue = Queue::unbounded().unwrap();
        queue.put(n).unwrap();
        post.put(queue).unwrap();
    }
    let silent = Queue::<u8>::bounded(1).unwrap();
    let _ = silent.get();
}

#[test]
fn reader_of_an_empty_one_is_woken_by_what_comes() {
    let _audit = begin();
    let (there, back) = (Queue::<u32>::unbounded().unwrap(), Queue::<u32>::unbounded().unwrap());
    let echo = Process::spawn(echo, (there.clone(), back.clone())).unwrap();
    let reader = back.get().unwrap();
    for n in 0..200 {
        if n % 50 == 0 {
            until_blocked(reader);
        }
        there.put(n).unwrap();
        assert_eq!(back.get().unwrap(), n);
    }
    there.close();
    echo.join().unwrap();
}

fn echo((from, to): (Queue<u32>, Queue<u32>)) {
    to.put(thread()).unwrap();
    from.iter().for_each(|n| to.put(n).unwrap());
}

#[test]
fn given_up_with_much_in_it_leaves_nothing() {
    let _audit = begin();
    let queue = Queue::<Vec<u8>>::unbounded().unwrap();
    for n in 0..3_000 {
        queue.put(vec![0; n % 1_000]).unwrap();
    }
    drop(queue);
}

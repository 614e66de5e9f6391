//! What a queue promises inside one process; across processes see `process_queue.rs`.

use offspring::Queue;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Ends a test that hangs: nothing here takes this long.
fn watchdog() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        thread::spawn(|| {
            thread::sleep(Duration::from_secs(120));
            eprintln!("watchdog: a test hangs");
            std::process::abort();
        });
    });
}

fn queue(capacity: usize) -> Queue<u64> {
    watchdog();
    Queue::bounded(capacity).unwrap()
}

#[test]
fn items_come_out_in_the_order_they_went_in() {
    let q = queue(5);
    for round in 0..50 {
        (0..5).for_each(|i| q.put(round * 5 + i).unwrap());
        assert!(q.is_full());
        assert_eq!(q.len(), 5);
        (0..5).for_each(|i| assert_eq!(q.get().unwrap(), round * 5 + i));
        assert!(q.is_empty());
    }
}

#[test]
fn capacity_zero_is_refused_by_name() {
    watchdog();
    let error = Queue::<u8>::bounded(0).unwrap_err();
    assert!(format!("{error:?}").contains("capacity 0"), "{error:?}");
}

#[test]
fn capacity_beyond_the_possible_is_refused_by_name() {
    watchdog();
    for capacity in [1 << 24, usize::MAX] {
        let error = Queue::<u8>::bounded(capacity).unwrap_err();
        assert!(error.to_string().contains("16777215"), "{error}");
    }
}

#[test]
fn full_queue_gives_the_value_back() {
    let q = Queue::<String>::bounded(1).unwrap();
    q.put("one".into()).unwrap();
    let refused = q.try_put("two".into()).unwrap_err();
    assert!(refused.error().is_full());
    let refused = q.put_timeout(refused.into_inner(), Duration::from_millis(20)).unwrap_err();
    assert!(refused.error().is_timeout());
    let refused = q.put_deadline(refused.into_inner(), Instant::now()).unwrap_err();
    assert_eq!(refused.into_inner(), "two");
}

#[test]
fn empty_queue_says_so_in_each_form() {
    let q = queue(1);
    assert!(q.try_get().unwrap_err().is_empty());
    assert!(q.get_timeout(Duration::from_millis(20)).unwrap_err().is_timeout());
    assert!(q.get_deadline(Instant::now()).unwrap_err().is_timeout());
    assert!(q.try_lease().unwrap_err().is_empty());
    assert!(q.lease_timeout(Duration::ZERO).unwrap_err().is_timeout());
    assert!(q.lease_deadline(Instant::now()).unwrap_err().is_timeout());
}

#[test]
fn values_of_any_size_pass() {
    watchdog();
    let q: Queue<Vec<u8>> = Queue::bounded(3).unwrap();
    for size in [0, 1, 15, 16, 47, 48, 255, 256, 257, 5000, 70_000, 3 << 20, 17 << 20] {
        let value: Vec<u8> = (0..size).map(|i| (i * 31 + size) as u8).collect();
        q.put(value.clone()).unwrap();
        assert!(q.get().unwrap() == value, "size {size}");
        q.put(value.clone()).unwrap();
        let lease = q.lease().unwrap();
        assert!(*lease == value, "size {size}");
        lease.commit();
    }
}

#[test]
fn message_that_never_fits_is_refused_with_the_way_out() {
    watchdog();
    let q: Queue<Vec<u8>> = Queue::builder().max_message(1000).build().unwrap();
    let refused = q.put(vec![0; 2000]).unwrap_err();
    assert!(refused.error().is_too_large());
    assert!(refused.to_string().contains("max_message"));
    assert_eq!(refused.into_inner().len(), 2000);
}

#[test]
fn closed_queue_refuses_puts_and_drains() {
    let q = queue(4);
    q.put(1).unwrap();
    q.put(2).unwrap();
    assert!(q.close());
    assert!(!q.close());
    assert!(q.put(3).unwrap_err().error().is_closed());
    assert_eq!(q.iter().collect::<Vec<_>>(), [1, 2]);
    assert!(q.get().unwrap_err().is_closed());
    assert!(q.try_lease().unwrap_err().is_closed());
}

#[test]
fn close_wakes_sleeping_readers_and_writers() {
    let (empty, full) = (queue(1), queue(1));
    full.put(0).unwrap();
    let (reader, writer) = (empty.clone(), full.clone());
    let reader = thread::spawn(move || reader.get());
    let writer = thread::spawn(move || writer.put(1));
    thread::sleep(Duration::from_millis(50)); // so that both sleep; either way they must end
    empty.close();
    full.close();
    assert!(reader.join().unwrap().unwrap_err().is_closed());
    assert!(writer.join().unwrap().unwrap_err().error().is_closed());
}

#[test]
fn own_lease_is_an_error_instead_of_a_wait_for_oneself() {
    let q = queue(2);
    q.put(1).unwrap();
    q.close();
    let lease = q.lease().unwrap();
    assert!(q.get().unwrap_err().is_own_lease());
    lease.commit();
    assert!(q.get().unwrap_err().is_closed());
}

#[test]
fn lease_that_ended_in_another_thread_counts_nowhere() {
    let q = queue(2);
    q.put(1).unwrap();
    q.put(2).unwrap();
    q.close();
    let moved = q.lease().unwrap();
    let own = q.lease().unwrap();
    thread::spawn(move || moved.commit()).join().unwrap();
    assert!(q.get().unwrap_err().is_own_lease(), "it is the last");
    let (ask, asked) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let other = thread::spawn(move || {
        ask.send(()).unwrap();
        gone.recv().unwrap();
        drop(own);
    });
    asked.recv().unwrap();
    let reader = q.clone();
    // This one took no lease, and so waits for the other.
    let reader = thread::spawn(move || {
        assert!(reader.get_timeout(Duration::from_millis(20)).unwrap_err().is_timeout());
        go.send(()).unwrap();
        reader.get()
    });
    assert_eq!(reader.join().unwrap().unwrap(), 2);
    other.join().unwrap();
    assert!(q.get().unwrap_err().is_closed(), "this thread's lease ended elsewhere");
}

#[test]
fn reader_of_a_closed_queue_waits_for_anothers_lease() {
    let q = queue(2);
    q.put(1).unwrap();
    q.close();
    let lease = q.lease().unwrap();
    let other = q.clone();
    let reader = thread::spawn(move || other.get());
    thread::sleep(Duration::from_millis(30)); // so that it sleeps; either way it must get the item
    drop(lease);
    assert_eq!(reader.join().unwrap().unwrap(), 1);
}

#[test]
fn dropped_lease_comes_back_counted() {
    let q = queue(2);
    q.put(7).unwrap();
    for n in 0..300 {
        let lease = q.lease().unwrap();
        assert_eq!((*lease, lease.deliveries()), (7, u32::min(n, 255)));
    }
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _lease = q.lease().unwrap();
        panic!("the worker's own");
    }));
    assert!(unwound.is_err());
    assert_eq!(q.lease().unwrap().commit(), 7);
    assert!(q.is_empty());
}

#[test]
fn item_given_back_too_often_is_a_dead_letter() {
    watchdog();
    let q: Queue<u32, u32> = Queue::builder().max_deliveries(3).replies(true).build().unwrap();
    let mut ticket = q.request(5).unwrap();
    for _ in 0..3 {
        drop(q.lease().unwrap());
    }
    assert!(q.try_get().unwrap_err().is_empty());
    assert!(ticket.wait().unwrap_err().is_dead_lettered());
    let letter = q.dead_letters().next().unwrap().unwrap();
    assert_eq!((*letter, letter.deliveries()), (5, 3));
    drop(letter);
    assert_eq!(q.dead_letters().next().unwrap().unwrap().commit(), 5);
    assert!(q.dead_letters().next().is_none());
}

#[test]
fn replies_reach_their_requesters() {
    watchdog();
    let q: Queue<u64, String> = Queue::builder().capacity(4).replies(true).build().unwrap();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let q = q.clone();
            thread::spawn(move || {
                let mut n = 0;
                while let Ok(lease) = q.lease() {
                    let text = "x".repeat(*lease as usize % 2000);
                    assert!(lease.reply(text).unwrap().is_delivered());
                    n += 1;
                }
                n
            })
        })
        .collect();
    let requesters: Vec<_> = (0..3)
        .map(|r| {
            let q = q.clone();
            thread::spawn(move || {
                for i in 0..500_u64 {
                    let mut ticket = q.request(i * 7 + r).unwrap();
                    assert_eq!(ticket.wait().unwrap().len() as u64, (i * 7 + r) % 2000);
                    assert!(ticket.wait().is_err());
                }
            })
        })
        .collect();
    requesters.into_iter().for_each(|r| r.join().unwrap());
    q.close();
    assert_eq!(workers.into_iter().map(|w| w.join().unwrap()).sum::<i32>(), 1500);
}

#[test]
fn reply_to_a_dropped_ticket_commits() {
    watchdog();
    let q: Queue<u8, u8> = Queue::builder().replies(true).build().unwrap();
    drop(q.request(1).unwrap());
    assert!(!q.lease().unwrap().reply(2).unwrap().is_delivered());
    assert!(q.is_empty());
}

#[test]
fn request_without_replies_is_refused() {
    let q = queue(1);
    assert!(q.request(1).unwrap_err().to_string().contains("replies(true)"));
}

#[test]
fn ticket_of_a_unit_reply_is_answered_by_commit() {
    watchdog();
    let q: Queue<u8, ()> = Queue::builder().replies(true).build().unwrap();
    let mut ticket = q.request(1).unwrap();
    assert!(ticket.try_wait().unwrap_err().is_empty());
    assert!(ticket.wait_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
    q.lease().unwrap().commit();
    ticket.wait().unwrap();
}

#[test]
fn many_threads_lose_and_double_nothing() {
    let q = queue(7);
    const N: u64 = 30_000;
    let (out, seen) = mpsc::channel();
    thread::scope(|s| {
        for p in 0..3 {
            let q = q.clone();
            s.spawn(move || (0..N).for_each(|i| q.put(p * N + i).unwrap()));
        }
        let readers: Vec<_> = (0..3)
            .map(|r| {
                let (q, out) = (q.clone(), out.clone());
                s.spawn(move || {
                    let mut last = [None; 3];
                    loop {
                        let got = if r == 0 { q.lease().map(|l| l.commit()) } else { q.get() };
                        let Ok(item) = got else { break };
                        let (p, i) = ((item / N) as usize, item % N);
                        assert!(last[p] < Some(i), "each producer's items stay in order");
                        last[p] = Some(i);
                        out.send(item).unwrap();
                    }
                })
            })
            .collect();
        let mut got: Vec<u64> = seen.iter().take(3 * N as usize).collect();
        q.close();
        readers.into_iter().for_each(|r| r.join().unwrap());
        got.sort_unstable();
        assert!(got.iter().copied().eq(0..3 * N));
    });
}

#[derive(Serialize, Deserialize)]
struct Job {
    number: u32,
    answers: Vec<Queue<u32>>,
}

#[test]
fn handles_travel_inside_values_through_queues() {
    watchdog();
    let jobs: Queue<Job> = Queue::bounded(4).unwrap();
    let answers: Queue<u32> = Queue::bounded(4).unwrap();
    let copies = vec![answers.clone(), answers.clone(), Queue::bounded(2).unwrap()];
    jobs.put(Job { number: 5, answers: copies }).unwrap();
    let job = jobs.get().unwrap();
    assert!(job.answers[0] == answers && job.answers[2] != answers);
    job.answers[1].put(job.number * 2).unwrap();
    assert_eq!(answers.get().unwrap(), 10);
}

#[test]
fn queue_that_only_a_message_names_lives_on() {
    watchdog();
    let outer: Queue<Queue<String>> = Queue::bounded(4).unwrap();
    let inner: Queue<String> = Queue::bounded(4).unwrap();
    inner.put("still here".into()).unwrap();
    outer.put(inner).unwrap();
    // Other queues come and go meanwhile.
    drop(Queue::<u8>::bounded(4).unwrap());
    let inner = outer.lease().unwrap();
    assert_eq!(inner.get().unwrap(), "still here");
    drop(inner);
    assert_eq!(outer.get().unwrap().capacity(), 4);
}

#[test]
fn handle_given_to_another_serialiser_is_refused() {
    let q = queue(1);
    let error = postcard::to_allocvec(&q).unwrap_err();
    assert_eq!(error, postcard::Error::SerdeSerCustom);
}

/// Goes in as a queue of bytes and comes out as one of text, as from a peer that was built from other sources.
#[derive(Debug)]
struct Liar(Result<Queue<u8>, Queue<String>>);

impl Serialize for Liar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().ok().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Liar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Option::<Queue<String>>::deserialize(deserializer)?;
        Ok(Self(Err(read.expect("one was sent"))))
    }
}

#[test]
fn handle_of_another_type_is_refused() {
    watchdog();
    let out: Queue<Liar> = Queue::bounded(1).unwrap();
    out.put(Liar(Ok(Queue::bounded(3).unwrap()))).unwrap();
    let error = out.lease().unwrap_err();
    assert!(error.is_wrong_type(), "{error}");
    assert_eq!(out.len(), 1, "what cannot be read is given back");
}

struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this one never travels"))
    }
}

impl<'de> Deserialize<'de> for Unserialisable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("this one never arrives"))
    }
}

#[test]
fn value_that_cannot_be_serialised_comes_back() {
    watchdog();
    let q: Queue<Unserialisable> = Queue::bounded(1).unwrap();
    let refused = q.put(Unserialisable).unwrap_err();
    assert!(refused.error().is_encode());
    assert!(q.is_empty());
}

#[test]
fn value_that_panics_while_serialised_leaves_the_queue_usable() {
    struct Bomb(bool);
    impl Serialize for Bomb {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            assert!(self.0, "boom");
            s.serialize_bool(true)
        }
    }
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            bool::deserialize(d).map(Bomb)
        }
    }
    watchdog();
    let q: Queue<Bomb> = Queue::bounded(2).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| q.put(Bomb(false)))).is_err());
    q.put(Bomb(true)).unwrap();
    assert!(q.get().unwrap().0);
    assert!(postcard::to_allocvec(&q).is_err(), "the context of the unwound put is gone");
}

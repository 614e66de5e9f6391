//! What a pool does when nothing goes wrong, and what it says when something does.

mod common;

use common::{until, watchdog};
use offspring::pool::{Task, TaskError};
use offspring::{Pool, Queue};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::mpsc::channel;
use std::time::Duration;

offspring::test_entry!();

fn pool(workers: usize) -> Pool {
    watchdog(120);
    Pool::builder().workers(workers).build().unwrap()
}

/// As `pool`, for many panics: a backtrace of each would fill the tests' log.
fn silent(workers: usize) -> Pool {
    watchdog(120);
    let silence = |()| std::panic::set_hook(Box::new(|_| {}));
    Pool::builder().workers(workers).initialiser(silence, ()).build().unwrap()
}

fn square(n: u64) -> u64 {
    n * n
}

fn odd_panics(n: u64) -> u64 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n
}

fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Ends once it is told what to return.
fn told(go: Queue<u64>) -> u64 {
    go.get().unwrap()
}

/// Runs until it is killed.
fn for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

fn pid(_: u64) -> u32 {
    std::process::id()
}

#[test]
fn map_keeps_the_order() {
    let pool = pool(2);
    let expected: Vec<u64> = (0..10_000).map(square).collect();
    assert_eq!(pool.map(square, 0..10_000).unwrap(), expected);
    assert_eq!(pool.map(square, [7]).unwrap(), [49]);
}

#[test]
fn empty_input_gives_nothing() {
    let pool = pool(1);
    assert_eq!(pool.map(square, []).unwrap(), [0; 0]);
    assert_eq!(pool.imap(square, []).count(), 0);
    assert_eq!(pool.imap_unordered(square, []).count(), 0);
    assert_eq!(pool.starmap(u64::pow, []).unwrap(), [0; 0]);
    assert_eq!(pool.submit_map(square, []).unwrap().get().unwrap(), [0; 0]);
    assert_eq!(pool.submit_starmap(u64::pow, []).unwrap().get().unwrap(), [0; 0]);
}

#[test]
fn starmap_unpacks_pairs() {
    let pool = pool(2);
    assert_eq!(pool.starmap(u64::pow, [(2, 10), (3, 2)]).unwrap(), [1024, 9]);
    assert_eq!(pool.submit_starmap(u64::pow, [(5, 2)]).unwrap().get().unwrap(), [25]);
}

#[test]
fn results_of_every_size_arrive() {
    let pool = pool(2);
    let sizes = [0_usize, 1, 191, 192, 4096, 70_000, 3 << 20];
    let sized = pool.map(|size: usize| vec![3_u8; size], sizes).unwrap();
    assert_eq!(sized.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
    let big = pool.map(|bytes: Vec<u8>| bytes.len(), sizes.map(|size| vec![1; size])).unwrap();
    assert_eq!(big, sizes);
}

#[test]
fn many_results_larger_than_the_board_arrive() {
    let pool = pool(2);
    let count = NonZeroUsize::new(100).unwrap();
    let results = pool.imap(|n: u32| vec![n as u8; 3000], 0..300).chunk_size(count);
    for (n, bytes) in results.enumerate() {
        assert_eq!(bytes.unwrap(), vec![n as u8; 3000]);
    }
}

#[test]
fn unordered_gives_each_once() {
    let pool = pool(3);
    let mut found: Vec<u64> =
        pool.imap_unordered(square, 0..5000).collect::<Result<_, _>>().unwrap();
    found.sort_unstable();
    assert_eq!(found, (0..5000).map(square).collect::<Vec<_>>());
}

#[test]
fn panic_is_told_and_costs_nothing_else() {
    let pool = pool(1);
    let before = pool.apply(pid, 0).unwrap();
    let error = pool.apply(odd_panics, 7).unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "7 is odd");
    assert!(panic.location().unwrap().contains("pool.rs"), "{panic}");
    assert!(error.to_string().contains("7 is odd"), "{error}");
    assert_eq!(pool.apply(pid, 0).unwrap(), before, "the worker lives");
    assert!(offspring::Error::from(error).is_panic());
}

#[test]
fn map_runs_all_and_tells_the_first_error() {
    let pool = silent(2);
    let error = pool.map(odd_panics, 0..100).unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "1 is odd");
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.succeeded, stats.failed), (100, 50, 50));
}

#[test]
fn imap_gives_each_error_in_its_place() {
    let pool = silent(2);
    for (n, result) in pool.imap(odd_panics, 0..1000).enumerate() {
        let n = n as u64;
        match result {
            Ok(value) => assert_eq!(value, n),
            Err(error) => assert_eq!(error.panic().unwrap().message(), format!("{n} is odd")),
        }
    }
}

#[test]
fn input_is_taken_as_it_is_needed() {
    let pool = pool(2);
    let (send, taken) = channel();
    let input = (0..).inspect(move |n: &u64| send.send(*n).unwrap());
    let mut results = pool.imap(square, input).chunk_size(NonZeroUsize::MIN);
    for n in 0..20 {
        assert_eq!(results.next().unwrap().unwrap(), square(n));
    }
    let ahead = taken.try_iter().last().unwrap();
    assert!(ahead < 20 + 10, "an endless input was read to {ahead}");
}

#[test]
fn next_timeout_passes_and_the_value_still_comes() {
    let pool = pool(1);
    let go = Queue::<u64>::bounded(2).unwrap();
    let mut results = pool.imap(told, [go.clone(), go.clone()]);
    let early = results.next_timeout(Duration::from_millis(10)).unwrap().unwrap_err();
    assert!(early.is_not_ready());
    go.put(300).unwrap();
    assert_eq!(results.next().unwrap().unwrap(), 300);
    go.put(0).unwrap();
    assert_eq!(results.next().unwrap().unwrap(), 0);
    assert!(results.next().is_none());
}

#[test]
fn get_timeout_does_not_end_the_task() {
    let pool = pool(1);
    let go = Queue::<u64>::bounded(1).unwrap();
    let task = pool.submit(told, go.clone()).unwrap();
    assert!(task.get_timeout(Duration::from_millis(10)).unwrap_err().is_not_ready());
    assert_eq!(task.is_successful(), None);
    assert!(task.try_get().unwrap_err().is_not_ready());
    go.put(300).unwrap();
    assert_eq!(task.get().unwrap(), 300);
    assert_eq!(task.get().unwrap(), 300, "as often as one likes");
    assert_eq!((task.is_successful(), task.is_ready()), (Some(true), true));
}

#[test]
fn callback_comes_once_and_before_get() {
    let pool = pool(2);
    let (ok, err) = (channel(), channel());
    for n in [4, 5] {
        let (ok, err) = (ok.0.clone(), err.0.clone());
        let task = pool.submit(odd_panics, n).unwrap();
        let task = task.on_ok(move |n| ok.send(*n).unwrap());
        let task = task.on_err(move |error| err.send(error.to_string()).unwrap());
        let _ = task.get();
    }
    assert_eq!(ok.1.try_iter().collect::<Vec<_>>(), [4]);
    let errors: Vec<_> = err.1.try_iter().collect();
    assert!(errors.len() == 1 && errors[0].contains("5 is odd"), "{errors:?}");
}

#[test]
fn callback_comes_though_nobody_waits() {
    let pool = pool(1);
    let (send, received) = channel();
    let task = pool.submit_map(square, 0..4).unwrap();
    let _task = task.on_ok(move |all| send.send(all.clone()).unwrap());
    assert_eq!(received.recv_timeout(common::PATIENCE).unwrap(), [0, 1, 4, 9]);
}

#[test]
fn slow_callback_holds_up_only_its_own_task() {
    let pool = pool(1);
    let (go, wait) = channel::<()>();
    let slow = pool.submit(square, 2).unwrap().on_ok(move |_| wait.recv().unwrap());
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    assert!(!slow.is_ready());
    go.send(()).unwrap();
    assert_eq!(slow.get().unwrap(), 4);
}

#[test]
fn terminate_in_a_callback_is_no_deadlock() {
    let pool = std::sync::Arc::new(pool(1));
    let inner = pool.clone();
    let task = pool.submit(odd_panics, 1).unwrap().on_err(move |_| inner.terminate());
    assert!(task.get().is_err());
    assert!(pool.submit(square, 1).unwrap_err().is_closed());
}

#[test]
fn closed_pool_finishes_and_takes_no_more() {
    let mut pool = pool(2);
    let tasks: Vec<Task<u64>> = (0..50).map(|n| pool.submit(square, n).unwrap()).collect();
    assert!(pool.join().is_err(), "it is open");
    pool.close();
    assert!(pool.submit(square, 1).unwrap_err().is_closed());
    assert!(pool.map(square, [1]).is_err());
    pool.join().unwrap();
    pool.join().unwrap();
    pool.close();
    pool.terminate();
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(task.try_get().unwrap(), square(n as u64));
    }
    assert!(pool.stats().workers.is_empty());
}

#[test]
fn terminate_ends_what_waits_and_what_runs() {
    let mut pool = pool(2);
    let running: Vec<_> = (0..2).map(|_| pool.submit(for_ever, ()).unwrap()).collect();
    let waiting: Vec<_> = (0..1000).map(|n| pool.submit(square, n).unwrap()).collect();
    pool.terminate();
    for task in running {
        assert!(matches!(task.get(), Err(TaskError::Terminated)));
    }
    for task in waiting {
        assert!(matches!(task.get(), Err(TaskError::Terminated)));
    }
    pool.join().unwrap();
}

#[test]
fn scope_finishes_what_was_given() {
    watchdog(120);
    let mut kept = None;
    Pool::builder()
        .workers(2)
        .scope(|pool| {
            kept = Some(pool.submit(nap, 50)?);
            Ok(())
        })
        .unwrap();
    assert_eq!(kept.unwrap().try_get().unwrap(), 50);
}

#[test]
fn queues_travel_as_arguments_and_results() {
    let pool = pool(2);
    let queue = Queue::<u64>::bounded(16).unwrap();
    let put = |(queue, n): (Queue<u64>, u64)| {
        queue.put(n).unwrap();
        queue
    };
    let back = pool.map(put, (0..8).map(|n| (queue.clone(), n))).unwrap();
    assert!(back.iter().all(|other| *other == queue));
    let mut found: Vec<_> = (0..8).map(|_| queue.get().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (0..8).collect::<Vec<_>>());
    let made = pool.apply(|n: usize| Queue::<u8>::bounded(n).unwrap(), 5).unwrap();
    assert_eq!(made.capacity(), 5, "it outlives the worker's own handle");
}

/// Can be sent, but not be read back.
#[derive(Debug)]
struct OneWay;

impl serde::Serialize for OneWay {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(1)
    }
}

impl<'de> serde::Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("one way"))
    }
}

/// Cannot be sent.
#[derive(Debug, serde::Deserialize)]
struct NoWay;

impl serde::Serialize for NoWay {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no way"))
    }
}

#[test]
fn values_that_cannot_travel_are_their_tasks_error() {
    let pool = pool(1);
    let worker = pool.apply(pid, 0).unwrap();
    for _ in 0..20 {
        let error = pool.apply(|_: u8| NoWay, 1).unwrap_err();
        assert!(matches!(&error, TaskError::Refused(why) if why.contains("result")), "{error:?}");
        let error = pool.apply(|_: u8| OneWay, 1).unwrap_err();
        assert!(matches!(error, TaskError::Unreadable(_)), "{error:?}");
        let error = pool.apply(|_: OneWay| 1_u8, OneWay).unwrap_err();
        assert!(matches!(&error, TaskError::Refused(why) if why.contains("argument")), "{error:?}");
    }
    assert!(pool.submit(|_: NoWay| 1_u8, NoWay).unwrap_err().is_encode());
    assert!(pool.map(|_: NoWay| 1_u8, [NoWay]).is_err());
    assert_eq!(pool.apply(pid, 0).unwrap(), worker, "no worker was lost");
}

#[test]
fn numbers_out_of_range_are_refused() {
    for workers in [0, 257, usize::MAX] {
        let error = Pool::builder().workers(workers).build().unwrap_err();
        assert!(error.to_string().contains("workers"), "{error}");
    }
    let error = Pool::builder().max_tasks_per_child(0).build().unwrap_err();
    assert!(error.to_string().contains("1 task"), "{error}");
}

#[test]
fn initialiser_runs_in_every_worker_first() {
    use std::sync::OnceLock;
    static SEED: OnceLock<u64> = OnceLock::new();
    let pool = Pool::builder().workers(2).initialiser(|seed| SEED.set(seed).unwrap(), 40_u64);
    let pool = pool.build().unwrap();
    let add = |n: u64| SEED.get().unwrap() + n;
    assert_eq!(pool.map(add, 0..3).unwrap(), [40, 41, 42]);
    assert!(SEED.get().is_none(), "not in this process");
}

#[test]
fn initialiser_that_fails_is_an_error_of_the_construction() {
    watchdog(120);
    let built = Pool::builder().workers(3).initialiser(|n: u32| panic!("no {n}"), 7).build();
    let error = built.unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("no 7"), "{error}");
}

#[test]
fn worker_is_replaced_after_so_many_tasks() {
    watchdog(120);
    let who = |_: u64| (std::process::id(), offspring::process::current().name());
    for most in 1..=10 {
        let pool = Pool::builder().workers(3).max_tasks_per_child(most).build().unwrap();
        let ran = pool.map(who, 0..100).unwrap();
        for worker in ran.iter().collect::<HashSet<_>>() {
            let did = ran.iter().filter(|by| *by == worker).count();
            assert!(did <= most as usize, "{worker:?} did {did} of {most}: {ran:?}");
        }
    }
}

#[test]
fn closing_with_short_lived_workers_finishes() {
    let mut pool = Pool::builder().workers(3).max_tasks_per_child(1).build().unwrap();
    let tasks: Vec<_> = (0..6).map(|_| pool.submit(nap, 20).unwrap()).collect();
    pool.close();
    pool.join().unwrap();
    assert!(tasks.iter().all(|task| task.try_get().unwrap() == 20));
}

#[test]
fn as_many_tasks_run_at_once_as_there_are_workers() {
    let pool = pool(3);
    let (running, go) = (Queue::<i32>::bounded(64).unwrap(), Queue::<()>::bounded(64).unwrap());
    let work = |(running, go): (Queue<i32>, Queue<()>)| {
        running.put(1).unwrap();
        go.get().unwrap();
        running.put(-1).unwrap();
    };
    let task = pool.submit_map(work, (0..12).map(|_| (running.clone(), go.clone()))).unwrap();
    // Each that runs waits for the others; no fourth begins.
    let three: Vec<_> = (0..3).map(|_| running.get().unwrap()).collect();
    assert_eq!(three, [1; 3]);
    for _ in 0..12 {
        go.put(()).unwrap();
    }
    task.get().unwrap();
    let mut now = 3;
    for _ in 0..21 {
        now += running.get().unwrap();
        assert!((0..=3).contains(&now), "{now} ran at once");
    }
    assert_eq!(now, 0);
}

#[test]
fn long_task_holds_up_none_behind_it_while_others_are_idle() {
    use std::sync::OnceLock;
    static GO: OnceLock<Queue<u64>> = OnceLock::new();
    watchdog(120);
    let go = Queue::bounded(1).unwrap();
    let hold = |go| drop(GO.set(go));
    let pool = Pool::builder().workers(2).initialiser(hold, go.clone()).build().unwrap();
    let work = |n: u64| if n == 3 { GO.get().unwrap().get().unwrap() } else { n };
    let all = NonZeroUsize::new(50).unwrap();
    let mut results = pool.imap_unordered(work, 0..50).chunk_size(all);
    let mut found: Vec<u64> = (0..46).map(|_| results.next().unwrap().unwrap()).collect();
    assert!(!found.contains(&3), "only what lies before it in its chunk waits with it");
    go.put(3).unwrap();
    found.extend(results.map(Result::unwrap));
    found.sort_unstable();
    assert_eq!(found, (0..50).collect::<Vec<_>>());
}

#[test]
fn resized_pool_has_as_many_workers() {
    let pool = pool(2);
    pool.resize(5).unwrap();
    until("there are five", || pool.stats().workers.len() == 5);
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
    pool.resize(1).unwrap();
    until("there is one", || pool.stats().workers.len() == 1);
    assert_eq!(pool.map(square, 0..4).unwrap(), [0, 1, 4, 9]);
    assert!(pool.resize(0).is_err());
}

#[test]
fn pool_in_a_pool_works() {
    let pool = pool(2);
    let inner = |n: u64| {
        let pool = Pool::builder().workers(2).build().unwrap();
        pool.map(square, 0..n).unwrap().into_iter().sum::<u64>()
    };
    assert_eq!(pool.map(inner, [3, 4]).unwrap(), [5, 14]);
}

#[test]
fn worker_that_grows_is_replaced() {
    let pool = Pool::builder().workers(1).memory_limit(64 << 20).build().unwrap();
    let first = pool.apply(pid, 0).unwrap();
    assert_eq!(pool.apply(pid, 0).unwrap(), first);
    let grow = |bytes: usize| {
        std::mem::forget(std::hint::black_box(vec![1_u8; bytes]));
        std::process::id()
    };
    assert_eq!(pool.apply(grow, 80 << 20).unwrap(), first);
    assert_ne!(pool.apply(pid, 0).unwrap(), first);
    let stats = pool.stats();
    assert_eq!((stats.lost, stats.failed), (0, 0), "{stats:?}");
}

#[test]
fn future_is_woken() {
    use std::task::{Context, Poll, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let pool = pool(1);
    let mut task = pool.submit(nap, 50).unwrap();
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match std::pin::Pin::new(&mut task).poll(&mut context) {
            Poll::Ready(value) => break assert_eq!(value.unwrap(), 50),
            Poll::Pending => std::thread::park(),
        }
    }
}

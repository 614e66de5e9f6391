//! Small programs as Python's tutorials have them, E15 to E20, with what they must print put into assertions.

mod common;

use common::watchdog;
use offspring::{Pool, Queue};
use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

offspring::test_entry!();

fn pool(workers: usize) -> Pool {
    watchdog(120);
    Pool::builder().workers(workers).build().unwrap()
}

fn square(n: u64) -> u64 {
    n * n
}

fn pid(_: ()) -> u32 {
    std::process::id()
}

fn sleep(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// A task that says when it begins and when it ends, to who counts how many run.
fn noted(running: Queue<i32>) {
    running.put(1).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    running.put(-1).unwrap();
}

/// What callbacks say.
fn said<T>() -> (Sender<T>, Receiver<T>) {
    channel()
}

/// E15: Pool(5), 10 tasks that sleep, a callback for each, close, join.
#[test]
fn e15_five_at_once_and_a_callback_each() {
    let mut pool = pool(5);
    let (running, (done, told)) = (Queue::<i32>::bounded(64).unwrap(), said());
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let done = done.clone();
            let task = pool.submit(noted, running.clone()).unwrap();
            task.on_ok(move |()| done.send(n).unwrap())
        })
        .collect();
    pool.close();
    pool.join().unwrap();
    tasks.iter().for_each(|task| task.get().unwrap());
    let callbacks: HashSet<_> = told.try_iter().collect();
    assert_eq!(callbacks, (0..10).collect());
    let mut now = 0;
    for _ in 0..20 {
        now += running.get().unwrap();
        assert!((0..=5).contains(&now), "{now} ran at once");
    }
    assert_eq!(now, 0);
}

/// E16: Pool(5), the callback is given `i + 100`; the program goes on meanwhile.
#[test]
fn e16_callbacks_are_given_the_values() {
    let mut pool = pool(5);
    let (done, told) = said();
    let go = Queue::<u64>::bounded(16).unwrap();
    let plus = |(n, go): (u64, Queue<u64>)| n + go.get().unwrap();
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let done = done.clone();
            let task = pool.submit(plus, (n, go.clone())).unwrap();
            task.on_ok(move |sum| done.send(*sum).unwrap())
        })
        .collect();
    assert!(told.try_recv().is_err(), "this line comes before the results");
    (0..10).for_each(|_| go.put(100).unwrap());
    pool.close();
    pool.join().unwrap();
    tasks.iter().for_each(|task| task.wait());
    assert_eq!(told.try_iter().collect::<HashSet<_>>(), (100..110).collect());
}

/// E17: Pool(2); close must come before join.
#[test]
fn e17_join_wants_close_first() {
    let mut pool = pool(2);
    let (done, told) = said();
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let done = done.clone();
            pool.submit(square, n).unwrap().on_ok(move |square| done.send(*square).unwrap())
        })
        .collect();
    assert!(pool.join().unwrap_err().to_string().contains("close"));
    pool.close();
    pool.join().unwrap();
    tasks.iter().for_each(|task| task.wait());
    assert_eq!(told.try_iter().collect::<HashSet<_>>(), (0..10).map(square).collect());
}

/// E18: Pool(3), 10 workers that sleep for different times and print how long; the end comes last.
#[test]
fn e18_join_is_the_end_of_all() {
    let mut pool = pool(3);
    let log = Queue::<u128>::bounded(32).unwrap();
    let work = |(n, log): (u64, Queue<u128>)| {
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(n * 7 % 40));
        log.put(begun.elapsed().as_millis()).unwrap();
    };
    for n in 0..10 {
        drop(pool.submit(work, (n, log.clone())).unwrap());
    }
    pool.close();
    pool.join().unwrap();
    let times: Vec<u128> = std::iter::from_fn(|| log.try_get().ok()).collect();
    assert_eq!(times.len(), 10, "all was said before the end");
    assert!(times.iter().sum::<u128>() >= (0..10).map(|n| n * 7 % 40).sum());
}

/// E19: Pool(4): one result, a map, the first three of an imap, and a get whose time runs out.
#[test]
fn e19_results_one_by_one() {
    let pool = pool(4);
    assert_eq!(pool.submit(square, 10).unwrap().get_timeout(common::PATIENCE).unwrap(), 100);
    assert_eq!(pool.map(square, 0..10).unwrap(), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
    let mut results = pool.imap(square, 0..10);
    assert_eq!(results.next().unwrap().unwrap(), 0);
    assert_eq!(results.next().unwrap().unwrap(), 1);
    assert_eq!(results.next_timeout(common::PATIENCE).unwrap().unwrap(), 4);
    let slow = pool.submit(sleep, 100).unwrap();
    let error = slow.get_timeout(Duration::from_millis(100)).unwrap_err();
    assert!(error.is_not_ready() && offspring::Error::from(error).is_timeout());
}

/// E20: Pool(4): a map, an unordered one, numbers of processes, and a time-out that is caught.
#[test]
fn e20_lacking_patience_is_an_error_one_can_catch() {
    let pool = pool(4);
    assert_eq!(pool.map(square, 0..10).unwrap(), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
    let found: Result<HashSet<_>, _> = pool.imap_unordered(square, 0..10).collect();
    assert_eq!(found.unwrap(), (0..10).map(square).collect());
    assert_eq!(pool.submit(square, 20).unwrap().get_timeout(common::PATIENCE).unwrap(), 400);
    let one = pool.apply(pid, ()).unwrap();
    let several: Vec<_> = (0..4).map(|_| pool.submit(pid, ()).unwrap()).collect();
    let several: Vec<u32> = several.iter().map(|task| task.get().unwrap()).collect();
    assert!(one != std::process::id() && !several.contains(&std::process::id()));
    let workers: HashSet<u32> = several.into_iter().chain([one]).collect();
    assert!(workers.len() <= 4);
    let slow = pool.submit(sleep, 100).unwrap();
    match slow.get_timeout(Duration::from_millis(100)) {
        Err(error) => assert_eq!(error.to_string(), "the task has not ended yet"),
        Ok(()) => panic!("it slept for 100 s in a tenth of one"),
    }
}

//! A pool's results without blocking, and the bars of its maps: features `stream` and `progress`.

mod common;

use common::{until, watchdog};
use futures_core::Stream;
use indicatif::ProgressBar;
use offspring::pool::TaskError;
use offspring::{Pool, Queue};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

offspring::test_entry!();

fn pool(workers: usize) -> Pool {
    watchdog(120);
    Pool::builder().workers(workers).build().unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The least of an executor: polls once for each wake.
fn next<S: Stream>(mut stream: Pin<&mut S>) -> Option<S::Item> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match stream.as_mut().poll_next(&mut context) {
            Poll::Ready(item) => return item,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn stream_gives_results_in_order() {
    let pool = pool(2);
    let mut results = pin!(pool.imap(square, 0..500));
    for n in 0..500 {
        assert_eq!(next(results.as_mut()).unwrap().unwrap(), square(n));
    }
    assert!(next(results.as_mut()).is_none());
    assert!(next(results.as_mut()).is_none(), "it stays over");
}

#[test]
fn unordered_stream_gives_each_once() {
    let pool = pool(3);
    let mut results = pin!(pool.imap_unordered(square, 0..500));
    let mut found: Vec<u64> =
        std::iter::from_fn(|| next(results.as_mut())).map(Result::unwrap).collect();
    found.sort_unstable();
    assert_eq!(found, (0..500).map(square).collect::<Vec<_>>());
}

#[test]
fn unordered_stream_does_not_wait_for_the_first() {
    let pool = pool(2);
    let go = Queue::<u64>::bounded(1).unwrap();
    let work = |(n, go): (u64, Queue<u64>)| if n == 0 { go.get().unwrap() } else { n };
    let mut results = pin!(pool.imap_unordered(work, (0..10).map(|n| (n, go.clone()))));
    let mut found: Vec<u64> = (1..10).map(|_| next(results.as_mut()).unwrap().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (1..10).collect::<Vec<_>>());
    go.put(77).unwrap();
    assert_eq!(next(results.as_mut()).unwrap().unwrap(), 77);
    assert!(next(results.as_mut()).is_none());
}

#[test]
fn lost_worker_is_an_item_of_the_stream() {
    let pool = pool(2);
    let work = |n: u64| {
        if n == 5 {
            std::process::abort();
        }
        n
    };
    let mut results = pin!(pool.imap(work, 0..10));
    for n in 0..10 {
        match next(results.as_mut()).unwrap() {
            Ok(found) => assert!(found == n && n != 5),
            Err(TaskError::WorkerLost { .. }) => assert_eq!(n, 5),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(next(results.as_mut()).is_none());
}

#[test]
fn terminated_pool_wakes_its_streams() {
    let pool = pool(1);
    let begun = Queue::<u64>::bounded(1).unwrap();
    let stuck = |begun: Queue<u64>| -> u64 {
        begun.put(1).unwrap();
        loop {
            std::thread::park();
        }
    };
    std::thread::scope(|scope| {
        let mut results = pin!(pool.imap(stuck, [begun.clone()]));
        scope.spawn(|| {
            begun.get().unwrap();
            pool.terminate();
        });
        assert!(matches!(next(results.as_mut()), Some(Err(TaskError::Terminated))));
        assert!(next(results.as_mut()).is_none());
    });
}

#[test]
fn bar_counts_what_has_ended_not_what_was_taken() {
    let pool = pool(2);
    let go = Queue::<u64>::bounded(1).unwrap();
    let work = |(n, go): (u64, Queue<u64>)| if n == 0 { go.get().unwrap() } else { n };
    let bar = ProgressBar::hidden();
    let arguments: Vec<_> = (0..10).map(|n| (n, go.clone())).collect();
    let results = pool.imap(work, arguments).chunk_size(NonZeroUsize::MIN).progress(bar.clone());
    assert_eq!(bar.length(), Some(10));
    std::thread::scope(|scope| {
        let all = scope.spawn(|| results.collect::<Result<Vec<_>, _>>().unwrap());
        // The first one is not there yet, but others that were sent with it.
        until("others have ended", || bar.position() >= 3);
        assert!(!bar.is_finished());
        go.put(50).unwrap();
        assert_eq!(all.join().unwrap(), [50, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    });
    assert!(bar.is_finished() && bar.position() == 10);
}

#[test]
fn bar_follows_a_submitted_map() {
    let pool = pool(2);
    let bar = ProgressBar::hidden();
    let task = pool.submit_map(square, 0..100).unwrap();
    task.wait_with(&bar);
    assert_eq!((bar.position(), bar.length(), bar.is_finished()), (100, Some(100), true));
    assert_eq!(task.try_get().unwrap().len(), 100);
}

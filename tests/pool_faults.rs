//! What a pool does when workers die, run too long, or cannot start; and when it is given a lot at once.

mod common;

use common::{PATIENCE, SIGKILL, kill_number, kill_self, until, watchdog};
use offspring::pool::{TaskError, Watch, is_cancelled};
use offspring::{Pool, Process, Queue};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

offspring::test_entry!();

/// No task takes so long that does not mean to, however busy the machine is.
const LONG: Duration = Duration::from_secs(1);

fn pool(workers: usize) -> Pool {
    watchdog(200);
    Pool::builder().workers(workers).build().unwrap()
}

fn pid(_: u64) -> u32 {
    std::process::id()
}

fn same(n: u64) -> u64 {
    n
}

/// Numbers that end in 3 kill the worker.
fn three_kills(n: u64) -> u64 {
    if n % 10 == 3 {
        kill_self();
    }
    n
}

fn for_ever(_: u64) -> u64 {
    loop {
        std::thread::park();
    }
}

#[test]
fn killed_worker_fails_its_task_at_once() {
    let pool = pool(2);
    let victim = pool.submit(|_: ()| kill_self(), ()).unwrap();
    match victim.get() {
        Err(TaskError::WorkerLost { pid, how, panic, attempts }) => {
            assert_eq!(how.signal(), Some(SIGKILL));
            assert!(pid != std::process::id() && panic.is_none() && attempts == 1);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.map(same, 0..100).unwrap(), (0..100).collect::<Vec<_>>());
    until("it is replaced", || pool.stats().workers.len() == 2);
    assert!(offspring::Error::from(victim.get().unwrap_err()).is_participant_lost());
}

#[test]
fn killed_worker_is_replaced_though_nobody_waits() {
    let pool = pool(2);
    until("both are there", || pool.stats().workers.len() == 2);
    let before: Vec<u32> = pool.stats().workers.iter().map(|worker| worker.pid).collect();
    for pid in &before {
        kill_number(*pid);
    }
    until("they are replaced", || {
        let now = pool.stats().workers;
        now.len() == 2 && now.iter().all(|worker| !before.contains(&worker.pid))
    });
    assert_eq!(pool.stats().lost, 0, "they had no task");
}

#[test]
fn death_in_a_chunk_costs_one_task() {
    let pool = pool(2);
    let ten = NonZeroUsize::new(10).unwrap();
    for (n, result) in pool.imap(three_kills, 0..100).chunk_size(ten).enumerate() {
        let n = n as u64;
        match result {
            Ok(value) => assert!(value == n && n % 10 != 3),
            Err(TaskError::WorkerLost { .. }) => assert_eq!(n % 10, 3),
            Err(other) => panic!("{n}: {other:?}"),
        }
    }
    let stats = pool.stats();
    assert_eq!((stats.succeeded, stats.lost, stats.failed), (90, 10, 10), "{stats:?}");
}

#[test]
fn task_of_a_dead_worker_ran_once_only() {
    let pool = pool(2);
    let ran = Queue::<u64>::bounded(1000).unwrap();
    let work = |(ran, n): (Queue<u64>, u64)| {
        ran.put(n).unwrap();
        three_kills(n)
    };
    let results: Vec<_> = pool.imap(work, (0..100).map(|n| (ran.clone(), n))).collect();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 10);
    let mut found: Vec<u64> = std::iter::from_fn(|| ran.try_get().ok()).collect();
    found.sort_unstable();
    assert_eq!(found, (0..100).collect::<Vec<_>>());
}

#[test]
fn exit_in_a_task_is_told_with_its_code() {
    let pool = pool(1);
    match pool.apply(|code: i32| -> i32 { std::process::exit(code) }, 3) {
        Err(TaskError::WorkerLost { how, .. }) => assert_eq!(how.code(), Some(3)),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.apply(same, 5).unwrap(), 5);
}

#[test]
fn panic_that_aborts_costs_the_worker_and_says_so() {
    extern "C" fn cannot_unwind(n: u64) -> u64 {
        panic!("fatal {n}")
    }
    let pool = pool(1);
    let error = pool.apply(|n: u64| cannot_unwind(n), 9).unwrap_err();
    assert!(matches!(error, TaskError::WorkerLost { .. }), "{error:?}");
    let text = error.to_string();
    let how = if cfg!(windows) { "ended by abort" } else { "SIGABRT" };
    assert!(text.contains("fatal 9") && text.contains(how), "{text}");
    assert_eq!(pool.apply(same, 5).unwrap(), 5);
}

#[test]
fn retried_task_gives_its_result_once() {
    watchdog(200);
    let pool = Pool::builder().workers(2).retry(2).build().unwrap();
    let tries = Queue::<u64>::bounded(1000).unwrap();
    // The first try of each ends its worker.
    let flaky = |(tries, n): (Queue<u64>, u64)| {
        let first = Queue::len(&tries) == 0;
        tries.put(n).unwrap();
        if first {
            kill_self();
        }
        n
    };
    for n in 0..10 {
        assert_eq!(pool.apply(flaky, (tries.clone(), n)).unwrap(), n);
        assert_eq!((tries.get().unwrap(), tries.get().unwrap()), (n, n));
        assert!(tries.is_empty());
    }
    let stats = pool.stats();
    assert_eq!((stats.lost, stats.retried, stats.succeeded, stats.failed), (10, 10, 10, 0));
}

#[test]
fn retries_come_to_an_end() {
    watchdog(200);
    let pool = Pool::builder().workers(1).retry(2).build().unwrap();
    let error = pool.apply(three_kills, 3).unwrap_err();
    assert!(matches!(error, TaskError::WorkerLost { attempts: 3, .. }), "{error:?}");
    assert!(error.to_string().contains("cost 3 workers"), "{error}");
}

#[test]
fn deadline_ends_its_task_and_no_other() {
    watchdog(200);
    let pool = Pool::builder()
        .workers(2)
        .task_deadline(LONG)
        .grace(Duration::from_millis(20))
        .build()
        .unwrap();
    let work = |n: u64| if n == 7 { for_ever(n) } else { n };
    let begun = Instant::now();
    for (n, result) in pool.imap(work, 0..20).chunk_size(NonZeroUsize::new(5).unwrap()).enumerate()
    {
        match result {
            Ok(value) => assert_eq!(value, n as u64),
            Err(TaskError::Deadline { after }) => {
                assert_eq!((n, after), (7, LONG));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(begun.elapsed() >= LONG);
    until("it is replaced", || pool.stats().workers.len() == 2 && pool.stats().started == 3);
}

#[test]
fn deadline_counts_from_the_tasks_own_beginning() {
    watchdog(200);
    let pool = Pool::builder().workers(1).task_deadline(LONG).build().unwrap();
    let nap = |millis| std::thread::sleep(Duration::from_millis(millis));
    // All together they take longer than one may.
    pool.submit_map(nap, [150; 8]).unwrap().get().unwrap();
}

#[test]
fn task_that_heeds_its_deadline_keeps_its_worker() {
    watchdog(200);
    let pool = Pool::builder().workers(1).task_deadline(LONG).grace(PATIENCE).build().unwrap();
    let before = pool.apply(pid, 0).unwrap();
    let heeds = |_: u64| {
        while !is_cancelled() {
            std::thread::yield_now();
        }
    };
    assert!(matches!(pool.apply(heeds, 0), Err(TaskError::Deadline { .. })));
    assert_eq!(pool.apply(pid, 0).unwrap(), before);
    assert!(!pool.apply(|_: u64| is_cancelled(), 0).unwrap(), "the next one is not meant");
}

#[test]
fn cancelled_task_never_begins() {
    let pool = pool(1);
    let (go, ran) = (Queue::<()>::bounded(1).unwrap(), Queue::<u64>::bounded(100).unwrap());
    let first = pool.submit(|go: Queue<()>| go.get().unwrap(), go.clone()).unwrap();
    let put = |(ran, n): (Queue<u64>, u64)| ran.put(n).unwrap();
    let tasks: Vec<_> = (0..20).map(|n| pool.submit(put, (ran.clone(), n)).unwrap()).collect();
    for task in tasks.iter().step_by(2) {
        assert!(task.cancel());
        assert!(!task.cancel(), "once");
        assert!(matches!(task.get(), Err(TaskError::Cancelled)));
    }
    go.put(()).unwrap();
    first.get().unwrap();
    for task in tasks.iter().skip(1).step_by(2) {
        task.get().unwrap();
    }
    let found: Vec<u64> = std::iter::from_fn(|| ran.try_get().ok()).collect();
    assert_eq!(found, (0..20).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    assert!(!first.cancel(), "it has ended");
}

#[test]
fn cancelled_task_that_runs_is_ended() {
    watchdog(200);
    let pool = Pool::builder().workers(1).grace(Duration::from_millis(10)).build().unwrap();
    let begun = Queue::<u32>::bounded(1).unwrap();
    let work = |begun: Queue<u32>| {
        begun.put(std::process::id()).unwrap();
        for_ever(0)
    };
    let task = pool.submit(work, begun.clone()).unwrap();
    let victim = begun.get().unwrap();
    assert!(task.cancel());
    assert!(matches!(task.get(), Err(TaskError::Cancelled)));
    assert_ne!(pool.apply(pid, 0).unwrap(), victim);
    let stats = pool.stats();
    assert_eq!(stats.lost, 0, "that was no loss: {stats:?}");
}

#[test]
fn dropped_iterator_gives_its_workers_back() {
    watchdog(200);
    let pool = Pool::builder().workers(2).grace(Duration::from_millis(10)).build().unwrap();
    let mut results = pool.imap_unordered(|n: u64| if n == 0 { n } else { for_ever(n) }, 0..100);
    assert_eq!(results.next().unwrap().unwrap(), 0);
    drop(results);
    assert_eq!(pool.map(same, 0..10).unwrap(), (0..10).collect::<Vec<_>>());
}

#[test]
fn workers_that_cannot_start_degrade_the_pool() {
    watchdog(200);
    let allowed = Queue::<()>::bounded(8).unwrap();
    allowed.put(()).unwrap();
    let once = |allowed: Queue<()>| allowed.try_get().expect("no more than one");
    let pool = Pool::builder().workers(1).restart_limit(3).initialiser(once, allowed);
    let pool = pool.build().unwrap();
    let waiting = pool.submit(for_ever, 1).unwrap();
    let killed = pool.stats().workers[0].pid;
    let behind = pool.submit(same, 1).unwrap();
    kill_number(killed);
    for task in [waiting, behind] {
        match task.get() {
            Err(TaskError::Degraded(why)) => assert!(why.contains("no more than one"), "{why}"),
            Err(TaskError::WorkerLost { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    until("it says so", || pool.submit(same, 1).is_err_and(|error| error.is_degraded()));
    assert!(pool.stats().started <= 5, "{:?}", pool.stats());
}

#[test]
fn pool_outlives_a_worker_that_is_killed_again_and_again() {
    let pool = pool(2);
    let watch = pool.watch();
    let killer = Process::spawn(
        |watch: Watch| {
            let mut killed = 0;
            while killed < 50 {
                if let Some(worker) = watch.stats().workers.iter().find(|worker| worker.busy) {
                    kill_number(worker.pid);
                    killed += 1;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        },
        watch,
    )
    .unwrap();
    let (mut done, mut lost) = (0, 0);
    while killer.is_alive() {
        for (n, result) in pool.imap(same, 0..2000).enumerate() {
            match result {
                Ok(value) => {
                    assert_eq!(value, n as u64);
                    done += 1;
                }
                Err(TaskError::WorkerLost { .. }) => lost += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    killer.join().unwrap();
    assert!(done > 0 && lost <= 50, "{done} and {lost}");
    assert_eq!(pool.stats().lost, lost);
}

#[test]
fn killed_parent_leaves_no_workers() {
    watchdog(200);
    let pids = Queue::<Vec<u32>>::bounded(1).unwrap();
    let parent = |pids: Queue<Vec<u32>>| {
        let pool = Pool::builder().workers(3).warm(true).build().unwrap();
        let _busy: Vec<_> = (0..2).map(|n| pool.submit(for_ever, n).unwrap()).collect();
        until("two are busy", || pool.stats().workers.iter().filter(|w| w.busy).count() == 2);
        pids.put(pool.stats().workers.iter().map(|worker| worker.pid).collect()).unwrap();
        for_ever(0);
    };
    let parent = Process::spawn(parent, pids.clone()).unwrap();
    let workers = pids.get().unwrap();
    assert_eq!(workers.len(), 3);
    common::kill(&parent);
    until("they are gone", || workers.iter().all(|pid| common::has_ended(*pid)));
}

#[test]
fn pool_that_nobody_finished_ends_with_its_process() {
    watchdog(200);
    let leaked = |_: ()| {
        let pool = Pool::builder().workers(2).build().unwrap();
        let _running = pool.submit(for_ever, 0).unwrap();
        std::mem::forget(pool);
    };
    assert!(Process::spawn(leaked, ()).unwrap().wait().success());
}

#[test]
fn million_tasks_are_terminated_at_once() {
    let mut pool = pool(2);
    let task = pool.submit_map(for_ever, 0..500_000).unwrap();
    let tasks: Vec<_> = (0..500_000).map(|n| pool.submit(for_ever, n).unwrap()).collect();
    pool.terminate();
    pool.join().unwrap();
    assert!(matches!(task.get(), Err(TaskError::Terminated)));
    assert!(tasks.iter().all(|task| matches!(task.try_get(), Err(TaskError::Terminated))));
}

#[test]
fn two_hundred_workers_work() {
    // Each that comes wakes those who sleep, and each of these asks the system about all: a minute's work for Wine's server.
    let workers = if cfg!(windows) { 70 } else { 200 };
    let mut pool = pool(workers);
    assert_eq!(pool.map(same, 0..1000).unwrap(), (0..1000).collect::<Vec<_>>());
    assert_eq!(pool.stats().started, workers as u64);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn handles_in_tasks_are_given_back() {
    let pool = pool(1);
    let queues: Vec<_> = (0..10).map(|_| Queue::<u8>::bounded(1).unwrap()).collect();
    let before = offspring::__in_use().unwrap().regions;
    let back = pool.map(|queue: Queue<u8>| queue, queues).unwrap();
    drop(back);
    // The worker lets go of them once it has replied.
    until("ten regions are free", || offspring::__in_use().unwrap().regions + 10 <= before);
}

//! What the kernel sees of a queue: nothing while nobody must wait, and nothing of a process that waits.

#[path = "../common/mod.rs"]
mod common;

use common::{status_of, thread, until_blocked};
use offspring::{Process, Queue};
use offspring_os_unix::deny::kill_on_any_syscall_except;
use std::time::Duration;

pub fn main() {
    let _main = offspring::init();
    common::watchdog(120);
    common::run(&[
        ("filter_kills_who_makes_a_system_call", filter_kills_who_makes_a_system_call),
        ("pairs_of_put_and_get_make_no_system_call", pairs_of_put_and_get_make_no_system_call),
        ("pairs_of_lease_and_commit_make_no_system_call", leases_make_no_system_call),
        ("requests_answered_in_time_make_no_system_call", requests_make_no_system_call),
        ("sleeping_processes_are_left_asleep", sleeping_processes_are_left_asleep),
    ]);
}

/// The exit code of a child that was not killed by the filter.
const QUIET: i32 = 42;

const PAIRS: u64 = 1000;

/// From here on any system call kills this process, but for the end in `done`.
fn filter() {
    kill_on_any_syscall_except(&[libc::SYS_exit_group]).unwrap();
}

fn done() -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::syscall(libc::SYS_exit_group, QUIET) };
    unreachable!()
}

#[track_caller]
fn expect_quiet<A>(function: fn(A), arguments: A)
where
    A: serde::Serialize + serde::de::DeserializeOwned,
{
    let child = Process::spawn(function, arguments).unwrap();
    let status = child.wait();
    assert_eq!(status.code(), Some(QUIET), "{status}");
}

fn filter_kills_who_makes_a_system_call() {
    let child = Process::spawn(
        |()| {
            filter();
            // SAFETY: takes nothing.
            unsafe { libc::syscall(libc::SYS_getppid) };
            done()
        },
        (),
    );
    let child: Process<()> = child.unwrap();
    assert_eq!(child.wait().signal(), Some(libc::SIGSYS));
}

/// 64 bytes as they are written.
type Long = ([u8; 32], [u8; 32]);

fn long(n: u64) -> Long {
    ([n as u8; 32], [!n as u8; 32])
}

type Both = (Queue<u64>, Queue<Long>);

/// The parent has the queues, too, so they are between processes.
fn both() -> Both {
    (Queue::bounded(64).unwrap(), Queue::bounded(64).unwrap())
}

fn pairs_of_put_and_get_make_no_system_call() {
    let queues = both();
    expect_quiet(put_and_get, queues.clone());
    assert!(queues.0.is_empty() && queues.1.is_empty());
}

fn put_and_get((short, wide): Both) {
    let pair = |n: u64| {
        short.put(u64::MAX - n).unwrap();
        assert_eq!(short.get().unwrap(), u64::MAX - n);
        wide.put(long(n)).unwrap();
        assert_eq!(wide.get().unwrap(), long(n));
    };
    pair(0);
    filter();
    (0..PAIRS).for_each(pair);
    // Several at once, and the ring's turn.
    for n in 0..PAIRS {
        short.try_put(n).unwrap();
        if n % 50 == 49 {
            (n - 49..=n).for_each(|n| assert_eq!(short.try_get().unwrap(), n));
        }
    }
    done()
}

fn leases_make_no_system_call() {
    expect_quiet(lease_and_commit, both());
}

fn lease_and_commit((short, wide): Both) {
    let pair = |n: u64| {
        short.put(n).unwrap();
        assert_eq!(short.lease().unwrap().commit(), n);
        wide.put(long(n)).unwrap();
        let lease = wide.lease().unwrap();
        assert_eq!(*lease, long(n));
        drop(lease);
        let lease = wide.lease().unwrap();
        assert_eq!(lease.deliveries(), 1);
        lease.commit();
    };
    pair(0);
    filter();
    (0..PAIRS).for_each(pair);
    done()
}

type Asks = Queue<u64, Long>;

fn requests_make_no_system_call() {
    expect_quiet(ask_and_reply, Queue::builder().capacity(64).replies(true).build().unwrap());
}

fn ask_and_reply(queue: Asks) {
    let pair = |n: u64| {
        let mut ticket = queue.request(n).unwrap();
        let lease = queue.lease().unwrap();
        assert!(lease.reply(long(n)).unwrap().is_delivered());
        assert_eq!(ticket.wait().unwrap(), long(n));
    };
    pair(0);
    filter();
    (0..PAIRS).for_each(pair);
    done()
}

/// How long they are watched, and how often each may be switched to meanwhile: by the backstop, once a second.
const WINDOW: Duration = Duration::from_secs(2);
const MOST_SWITCHES: u64 = 2;

type Load = (Queue<u32>, Queue<u32>, Queue<u32, u32>);

fn sleeping_processes_are_left_asleep() {
    let threads = Queue::<u32>::bounded(4).unwrap();
    let (empty, full) = (Queue::<u32>::bounded(2).unwrap(), Queue::<u32>::bounded(1).unwrap());
    let asks: Queue<u32, u32> = Queue::builder().capacity(4).replies(true).build().unwrap();
    full.put(1).unwrap();
    type Case = fn((Queue<u32>, Load)) -> u32;
    let functions: [Case; 3] = [
        |(threads, (empty, ..))| {
            threads.put(thread()).unwrap();
            empty.get().unwrap()
        },
        |(threads, (_, full, _))| {
            threads.put(thread()).unwrap();
            full.put(2).unwrap();
            12
        },
        |(threads, (.., asks))| {
            let mut ticket = asks.request(3).unwrap();
            threads.put(thread()).unwrap();
            ticket.wait().unwrap()
        },
    ];
    let children = functions.map(|function| {
        let load = (empty.clone(), full.clone(), asks.clone());
        let child = Process::spawn(function, (threads.clone(), load)).unwrap();
        let thread = threads.get().unwrap();
        until_blocked(thread);
        (child, thread)
    });
    let switches = |thread: u32| -> u64 {
        status_of(thread, "voluntary_ctxt_switches").parse().expect("a number")
    };
    let before = children.each_ref().map(|(_, thread)| switches(*thread));
    // Nobody is waited for: this is how long they are watched.
    std::thread::sleep(WINDOW);
    let after = children.each_ref().map(|(_, thread)| switches(*thread));
    let grown = [0, 1, 2].map(|n: usize| after[n] - before[n]);
    println!("voluntary switches in {WINDOW:?} of get, put and wait: {grown:?}");
    assert!(grown.iter().all(|grown| *grown <= MOST_SWITCHES), "{grown:?}");

    empty.put(11).unwrap();
    assert_eq!(full.get().unwrap(), 1);
    assert!(asks.lease().unwrap().reply(13).unwrap().is_delivered());
    let values = children.map(|(child, _)| child.join().unwrap());
    assert_eq!(values, [11, 12, 13]);
    assert_eq!(full.get().unwrap(), 2);
}

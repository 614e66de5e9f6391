//! Two hundred children at once, and more ends waited for than one system call can watch.

mod common;

use common::{kill, pages_may_be_left, thread, until_blocked};
use offspring::process::{self, Handle};
use offspring::{Process, Queue};

offspring::test_entry!();

/// More than three calls can watch where one takes 63 (Windows), more than one where it takes 128 (Linux).
const MANY: u32 = 200;

fn begin() -> common::Audit {
    common::watchdog(400);
    // The tables of processes and lanes have grown, and stay.
    pages_may_be_left();
    common::audit()
}

#[test]
fn two_hundred_children_give_their_values() {
    let _audit = begin();
    let double = |n: u32| 2 * n;
    let children: Vec<_> = (0..MANY).map(|n| Process::spawn(double, n).unwrap()).collect();
    for (n, child) in (0..).zip(children) {
        assert_eq!(child.join().unwrap(), 2 * n);
    }
}

type Numbers = Queue<u32>;

/// Uses the queue, and says so; some keep an item that they lease. Nothing but a kill ends it.
fn stay((there, work, holds): (Numbers, Numbers, bool)) {
    let lease = holds.then(|| work.lease().unwrap());
    assert_eq!(work.len(), 0, "it is a member now");
    there.put(std::process::id()).unwrap();
    loop {
        std::thread::park();
        std::hint::black_box(&lease);
    }
}

#[test]
fn death_of_any_of_two_hundred_is_told_to_who_waits_for_it_and_to_who_sleeps() {
    let _audit = begin();
    let [there, work] = [0; 2].map(|_| Numbers::bounded(MANY as usize).unwrap());
    let start = |holds| Process::spawn(stay, (there.clone(), work.clone(), holds)).unwrap();
    let mut children = Vec::new();
    for n in 0..MANY {
        let holds = matches!(n, 0 | 100 | 199);
        if holds {
            work.put(n).unwrap();
        }
        children.push(start(holds));
        assert_eq!(there.get().unwrap(), children[n as usize].pid());
    }

    // This thread sleeps for the items that three of them hold, beside all the others.
    for n in [199, 100, 0] {
        let (holder, sleeper) = (children.remove(n as usize), thread());
        let killer = std::thread::spawn(move || {
            until_blocked(sleeper);
            kill(&holder);
        });
        let lease = work.lease().unwrap();
        assert_eq!((*lease, lease.deliveries()), (n, 1));
        lease.commit();
        killer.join().unwrap();
    }

    // First, last, and at the borders of what one call watches.
    for place in [196, 127, 64, 63, 62, 0] {
        let handles: Vec<Handle> = children.iter().map(Process::handle).collect();
        let waiting = std::thread::spawn(move || process::wait_any(&handles));
        kill(&children[place]);
        assert_eq!(waiting.join().unwrap(), Some(place));
        children.remove(place);
    }
    children.iter().for_each(kill);
}

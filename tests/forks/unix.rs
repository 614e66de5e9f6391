//! What a forked child inherits: handles work in it, leases, tickets and guards remain its parent's.

#[path = "../common/mod.rs"]
mod common;

use common::{thread, until_blocked};
use offspring::queue::{Loan, PlainQueue};
use offspring::{Process, Queue};
use offspring_os_unix::start::{Child, Fork, fork, thread_count};
use offspring_os_unix::status::{self, ExitStatus};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub fn main() {
    let _main = offspring::init();
    common::watchdog(120);
    common::run(&[
        ("inherited_queue_works_both_ways", inherited_queue_works_both_ways),
        ("lease_of_the_parent_does_nothing_in_the_child", lease_of_the_parent),
        ("loans_of_the_parent_do_nothing_in_the_child", loans_of_the_parent),
        ("ticket_of_the_parent_does_nothing_in_the_child", ticket_of_the_parent),
        ("own_leases_of_a_forked_child_work", own_leases_of_a_forked_child_work),
        ("forked_child_waits_for_its_parents_lease", forked_child_waits_for_its_parents_lease),
        ("forked_child_survives_its_parent_and_gets_its_lease", forked_child_survives_its_parent),
        ("forked_child_killed_while_blocked_takes_nothing", killed_while_blocked),
        ("fork_of_a_fork_takes_part", fork_of_a_fork_takes_part),
        ("forked_child_hands_its_queues_on", forked_child_hands_its_queues_on),
        ("guard_of_main_does_nothing_in_the_child", guard_of_main),
        ("forked_child_that_ends_leaves_its_parents_queue", queue_dropped_in_the_child),
    ]);
}

/// Runs `body` in a forked child, which then ends: with code 0 unless it panicked.
fn forked(body: impl FnOnce()) -> Child {
    assert_eq!(thread_count().unwrap(), 1);
    // SAFETY: this process has one thread.
    match unsafe { fork() }.unwrap() {
        Fork::Parent(child) => child,
        Fork::InChild => {
            let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err());
            // SAFETY: takes an integer and does not return.
            unsafe { libc::_exit(code) }
        }
    }
}

#[track_caller]
fn ends_well(child: &Child) {
    assert_eq!(status::wait(child), ExitStatus::Code(0));
}

fn kill(child: &Child) {
    child.pidfd().send_signal(libc::SIGKILL).unwrap();
    assert!(matches!(status::wait(child), ExitStatus::Signal { signal: libc::SIGKILL, .. }));
}

fn stay() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

fn inherited_queue_works_both_ways() {
    let (there, back) = (Queue::<String>::bounded(1).unwrap(), Queue::<usize>::bounded(1).unwrap());
    let child = forked(|| {
        for _ in 0..100 {
            back.put(there.get().unwrap().len()).unwrap();
        }
    });
    for len in 0..100 {
        there.put("x".repeat(len * 9)).unwrap();
        assert_eq!(back.get().unwrap(), len * 9);
    }
    ends_well(&child);
}

fn loans_of_the_parent() {
    let queue = PlainQueue::<u64>::bounded(4).unwrap();
    queue.put(&[7; 100]).unwrap();
    let mut loans = [1, 2].map(|n| {
        let mut loan = queue.loan(100).unwrap();
        loan.fill(n);
        Some(loan)
    });
    let mut lease = Some(queue.lease().unwrap());
    let child = forked(|| {
        let refused = loans[0].take().unwrap().publish().unwrap_err();
        assert!(refused.error.to_string().contains("forked"), "{}", refused.error);
        let writes =
            |loan: &mut Loan<u64>| catch_unwind(AssertUnwindSafe(|| loan.write(0, &[9]))).is_ok();
        assert!(!writes(loans[1].as_mut().unwrap()), "it would be the parent's message");
        let reads = catch_unwind(AssertUnwindSafe(|| lease.as_ref().unwrap().get(0)));
        assert!(reads.is_err());
        drop((refused, loans[1].take()));
        lease.take().unwrap().commit();
        assert!(queue.try_get().unwrap_err().is_empty(), "the lease is still the parent's");
        let mut own = queue.loan(100).unwrap();
        own.fill(3);
        own.publish().unwrap();
    });
    ends_well(&child);
    assert_eq!(queue.get().unwrap(), [3; 100]);
    for (loan, n) in loans.into_iter().flatten().zip(1..) {
        loan.publish().unwrap();
        assert_eq!(queue.get().unwrap(), [n; 100]);
    }
    let lease = lease.unwrap();
    assert_eq!((lease.to_vec(), lease.deliveries()), (vec![7; 100], 0));
    drop(lease);
    assert_eq!(queue.get().unwrap(), [7; 100]);
}

fn lease_of_the_parent() {
    let queue: Queue<u32, u32> = Queue::builder().capacity(4).replies(true).build().unwrap();
    (0..3).for_each(|n| queue.put(n).unwrap());
    let dropped = queue.lease().unwrap();
    let mut committed = Some(queue.lease().unwrap());
    let mut replied = Some(queue.lease().unwrap());
    let mut inherited = Some(dropped);
    let child = forked(|| {
        drop(inherited.take());
        assert_eq!(committed.take().unwrap().commit(), 1);
        let refused = replied.take().unwrap().reply(5).unwrap_err();
        assert_eq!((*refused.lease, refused.answer), (2, 5));
        assert!(refused.error.to_string().contains("forked"), "{}", refused.error);
        drop(refused);
        assert!(queue.try_get().unwrap_err().is_empty(), "all three are still the parent's");
    });
    ends_well(&child);
    let leases = [inherited.unwrap(), committed.unwrap(), replied.unwrap()];
    assert!(queue.try_get().unwrap_err().is_empty());
    for (lease, n) in leases.into_iter().zip(0..) {
        assert_eq!((*lease, lease.deliveries()), (n, 0));
        drop(lease);
        let lease = queue.lease().unwrap();
        assert_eq!((*lease, lease.deliveries()), (n, 1), "the parent's own drop gave it back");
        lease.commit();
    }
}

fn ticket_of_the_parent() {
    let queue: Queue<u32, u32> = Queue::builder().capacity(4).replies(true).build().unwrap();
    let mut ticket = Some(queue.request(6).unwrap());
    let child = forked(|| {
        let mut ticket = ticket.take().unwrap();
        let errors = [ticket.try_wait().unwrap_err(), ticket.wait().unwrap_err()];
        errors.iter().for_each(|error| assert!(error.to_string().contains("forked"), "{error}"));
        drop(ticket);
        let lease = queue.lease().unwrap();
        assert!(lease.reply(36).unwrap().is_delivered(), "the parent still waits");
        // Its own request and ticket.
        let mut own = queue.request(7).unwrap();
        assert!(queue.lease().unwrap().reply(49).unwrap().is_delivered());
        assert_eq!(own.wait().unwrap(), 49);
    });
    assert_eq!(ticket.as_mut().unwrap().wait().unwrap(), 36);
    ends_well(&child);
}

fn own_leases_of_a_forked_child_work() {
    let queue = Queue::<u32>::bounded(4).unwrap();
    (0..3).for_each(|n| queue.put(n).unwrap());
    let parents = queue.lease().unwrap();
    let said = Queue::<u32>::bounded(1).unwrap();
    let child = forked(|| {
        let lease = queue.lease().unwrap();
        assert_eq!((*lease, lease.deliveries()), (1, 0));
        lease.commit();
        let lease = queue.lease().unwrap();
        said.put(*lease).unwrap();
        stay();
    });
    assert_eq!(said.get().unwrap(), 2);
    kill(&child);
    let lease = queue.lease().unwrap();
    assert_eq!((*lease, lease.deliveries()), (2, 1), "the child's came back with its death");
    assert!(queue.try_get().unwrap_err().is_empty(), "the parent's did not");
    assert_eq!((parents.deliveries(), parents.commit()), (0, 0));
    lease.commit();
}

fn forked_child_waits_for_its_parents_lease() {
    let queue = Queue::<u32>::bounded(4).unwrap();
    queue.put(1).unwrap();
    let lease = queue.lease().unwrap();
    queue.close();
    assert!(queue.get().unwrap_err().is_own_lease());
    // The child has a copy of the lease, but it is not the one that it would wait for.
    let child = forked(|| assert!(queue.get().unwrap_err().is_closed()));
    until_blocked(child.pid());
    lease.commit();
    ends_well(&child);
}

fn forked_child_survives_its_parent() {
    let queue = Queue::<u32>::bounded(4).unwrap();
    let said = Queue::<(u32, u32)>::bounded(4).unwrap();
    queue.put(8).unwrap();
    let middle = forked(|| {
        let _lease = queue.lease().unwrap();
        let _child = forked(|| {
            said.put((thread(), 0)).unwrap();
            let lease = queue.lease().unwrap();
            said.put((*lease, lease.deliveries())).unwrap();
            lease.commit();
        });
        stay();
    });
    until_blocked(said.get().unwrap().0);
    kill(&middle);
    assert_eq!(said.get().unwrap(), (8, 1));
    assert!(queue.try_get().unwrap_err().is_empty());
}

fn killed_while_blocked() {
    let queue = Queue::<u32>::bounded(4).unwrap();
    let children = [0, 1].map(|_| forked(|| assert_eq!(queue.get().unwrap(), 3)));
    children.iter().for_each(|child| until_blocked(child.pid()));
    kill(&children[0]);
    queue.put(3).unwrap();
    ends_well(&children[1]);
    assert!(queue.is_empty());
}

fn fork_of_a_fork_takes_part() {
    let queue = Queue::<u32>::bounded(4).unwrap();
    let child = forked(|| {
        // Its first use of the queue is its own child's.
        ends_well(&forked(|| {
            ends_well(&forked(|| queue.put(3).unwrap()));
            queue.put(2).unwrap();
        }));
        queue.put(1).unwrap();
    });
    ends_well(&child);
    let seen: Vec<u32> = (0..3).map(|_| queue.try_get().unwrap()).collect();
    assert_eq!(seen, [3, 2, 1]);
}

fn forked_child_hands_its_queues_on() {
    let post = Queue::<Queue<u32>>::bounded(2).unwrap();
    let answers = Queue::<u32>::bounded(2).unwrap();
    let worker = Process::spawn(
        |post: Queue<Queue<u32>>| post.iter().for_each(|answers| answers.put(9).unwrap()),
        post.clone(),
    )
    .unwrap();
    let child = forked(|| {
        post.put(answers.clone()).unwrap();
        // One that nobody else knows, given away by a process that ends.
        let own = Queue::bounded(1).unwrap();
        post.put(own.clone()).unwrap();
        assert_eq!(own.get().unwrap(), 9);
    });
    assert_eq!(answers.get().unwrap(), 9);
    ends_well(&child);
    post.close();
    worker.join().unwrap();
}

fn guard_of_main() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let ours = Process::spawn(|queue: Queue<u32>| queue.get().unwrap(), queue.clone()).unwrap();
    // It exits in the usual way, exit handlers included, with a copy of the parent's `Process`.
    // SAFETY: this process has one thread.
    let child = match unsafe { fork() }.unwrap() {
        Fork::Parent(child) => child,
        Fork::InChild => {
            // What a guard ends are this process's own children.
            drop(offspring::init());
            std::process::exit(0)
        }
    };
    ends_well(&child);
    assert!(ours.is_alive(), "it is not the child's to wait for or to end");
    queue.put(4).unwrap();
    assert_eq!(ours.join().unwrap(), 4);
}

fn queue_dropped_in_the_child() {
    let mut queue = Some(Queue::<u32>::bounded(2).unwrap());
    queue.as_ref().unwrap().put(1).unwrap();
    let child = forked(|| {
        let queue = queue.take().unwrap();
        assert_eq!(queue.len(), 1);
        drop(queue);
    });
    ends_well(&child);
    let queue = queue.unwrap();
    assert_eq!(queue.get().unwrap(), 1);
    // And one whose handles the parent gave up while the child lives.
    let (go, own) = (Queue::<u32>::bounded(1).unwrap(), Queue::<u32>::bounded(1).unwrap());
    own.put(7).unwrap();
    let child = forked(|| {
        assert_eq!(own.len(), 1); // it is a member from here on
        go.put(0).unwrap();
        assert_eq!(queue.get().unwrap(), 2);
        assert_eq!(own.get().unwrap(), 7);
    });
    go.get().unwrap();
    drop(own);
    queue.put(2).unwrap();
    ends_well(&child);
}

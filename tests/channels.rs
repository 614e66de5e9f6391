//! What channels promise across processes: open as long as anybody, or any message, has a sender; then what was sent, and the end.

mod common;

use common::{audit, kill, thread, until_blocked};
use offspring::queue::{Receiver, Sender, channel};
use offspring::{Process, Queue};
use std::time::Duration;

offspring::test_entry!();

const SHORT: Duration = Duration::from_millis(30);

fn begin() -> common::Audit {
    common::watchdog(240);
    audit()
}

#[test]
fn last_sender_dropped_ends_it_behind_what_was_sent() {
    let _audit = begin();
    let (sender, receiver) = channel::<u32>().unwrap();
    let other = sender.clone();
    sender.put(1).unwrap();
    drop(sender);
    assert_eq!(receiver.get().unwrap(), 1);
    assert!(receiver.try_get().unwrap_err().is_empty(), "there is another sender");
    other.put_many(vec![2, 3]).unwrap();
    drop(other);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [2, 3]);
    assert!(receiver.get().unwrap_err().is_closed());
    let mut more = Vec::new();
    assert!(receiver.get_many(&mut more, 3).unwrap_err().is_closed());
}

#[test]
fn bounded_channel_ends_too() {
    let _audit = begin();
    let (sender, receiver) = Queue::<u32>::builder().capacity(2).channel().unwrap();
    let child = Process::spawn(send_to, (sender, 100)).unwrap();
    assert_eq!(receiver.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    child.join().unwrap();
}

fn send_to((sender, count): (Sender<u32>, u32)) {
    (0..count).for_each(|n| sender.put(n).unwrap());
}

#[test]
fn receiver_that_sleeps_hears_of_the_last_drop() {
    let _audit = begin();
    let (sender, receiver) = channel::<u32>().unwrap();
    let told = Queue::bounded(1).unwrap();
    let child = Process::spawn(count_all, (receiver, told.clone())).unwrap();
    let reader = told.get().unwrap();
    until_blocked(reader);
    sender.put(7).unwrap();
    until_blocked(reader);
    drop(sender);
    assert_eq!(child.join().unwrap(), 1);
}

fn count_all((receiver, told): (Receiver<u32>, Queue<u32>)) -> u32 {
    told.put(thread()).unwrap();
    receiver.iter().count() as u32
}

#[test]
fn only_sender_killed_ends_it_behind_what_it_committed() {
    let _audit = begin();
    for _ in 0..8 {
        let (sender, receiver) = channel::<u32>().unwrap();
        let child = Process::spawn(send_for_ever, sender).unwrap();
        for n in 0..500 {
            assert_eq!(receiver.get().unwrap(), n);
        }
        child.kill().unwrap();
        let rest: Vec<_> = receiver.iter().collect();
        assert!((500..).zip(&rest).all(|(n, got)| n == *got));
        assert!(receiver.get().unwrap_err().is_closed());
        child.wait();
    }
}

fn send_for_ever(sender: Sender<u32>) {
    (0..u32::MAX).for_each(|n| sender.put(n).unwrap());
}

#[test]
fn receiver_that_sleeps_hears_of_the_only_senders_death() {
    let _audit = begin();
    let (sender, receiver) = channel::<u32>().unwrap();
    let told = Queue::bounded(1).unwrap();
    let idle = Process::spawn(hold, (sender, told.clone())).unwrap();
    told.get().unwrap();
    let child = Process::spawn(count_all, (receiver, told.clone())).unwrap();
    until_blocked(told.get().unwrap());
    kill(&idle);
    assert_eq!(child.join().unwrap(), 0);
}

fn hold((sender, told): (Sender<u32>, Queue<u32>)) {
    told.put(thread()).unwrap();
    let silent = Queue::<u8>::bounded(1).unwrap();
    let _ = silent.get();
    drop(sender);
}

#[test]
fn sender_in_a_message_keeps_it_open() {
    let _audit = begin();
    let (sender, receiver) = channel::<u32>().unwrap();
    let post = Queue::<Sender<u32>>::unbounded().unwrap();
    post.put(sender).unwrap();
    assert!(receiver.get_timeout(SHORT).unwrap_err().is_timeout(), "a message has a sender");
    let sender = post.get().unwrap();
    sender.put(5).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [5]);
}

#[test]
fn sender_in_a_message_of_the_dead_keeps_it_open_until_the_message_goes() {
    let _audit = begin();
    let (sender, receiver) = channel::<u32>().unwrap();
    let post = Queue::<Sender<u32>>::bounded(1).unwrap();
    let child = Process::spawn(pass_on_and_stay, (sender, post.clone())).unwrap();
    common::until("it is passed on", || post.len() == 1);
    kill(&child);
    assert!(receiver.get_timeout(SHORT).unwrap_err().is_timeout(), "the message has a sender");
    drop(post);
    assert!(receiver.get().unwrap_err().is_closed());
}

fn pass_on_and_stay((sender, post): (Sender<u32>, Queue<Sender<u32>>)) {
    post.put(sender).unwrap();
    let silent = Queue::<u8>::bounded(1).unwrap();
    let _ = silent.get();
}

#[test]
fn senders_in_many_processes_each_count() {
    let _audit = begin();
    let (sender, receiver) = channel::<u32>().unwrap();
    let children: Vec<_> =
        (0..3).map(|_| Process::spawn(send_to, (sender.clone(), 1_000)).unwrap()).collect();
    let told = Queue::bounded(1).unwrap();
    let idle = Process::spawn(hold, (sender, told.clone())).unwrap();
    told.get().unwrap();
    let mut sum = 0;
    for _ in 0..3_000 {
        sum += receiver.get().unwrap();
    }
    assert_eq!(sum, 3 * (0..1_000).sum::<u32>());
    children.into_iter().for_each(|child| child.join().unwrap());
    assert!(receiver.get_timeout(SHORT).unwrap_err().is_timeout(), "one is left");
    kill(&idle);
    assert!(receiver.get().unwrap_err().is_closed());
}

#[test]
fn values_on_lease_come_back_before_the_end() {
    let _audit = begin();
    let (sender, receiver) = channel::<u32>().unwrap();
    sender.put(9).unwrap();
    drop(sender);
    drop(receiver.lease().unwrap());
    let lease = receiver.lease().unwrap();
    assert_eq!((*lease, lease.deliveries()), (9, 1));
    lease.commit();
    assert!(receiver.get().unwrap_err().is_closed());
}

//! What waiting for several queues promises: woken by any of them, in whatever process the item, the close or the death is.

mod common;

use common::{audit, kill, kill_number, thread, until_blocked};
use offspring::queue::{Sender, Waitable, channel, wait};
use offspring::{Process, Queue};
use std::time::Duration;

offspring::test_entry!();

fn begin() -> common::Audit {
    common::watchdog(240);
    audit()
}

type Numbers = Queue<u32>;

fn queues(n: usize) -> Vec<Numbers> {
    (0..n)
        .map(|i| if i % 2 == 0 { Queue::bounded(8) } else { Queue::unbounded() }.unwrap())
        .collect()
}

fn all(queues: &[Numbers]) -> Vec<&dyn Waitable> {
    queues.iter().map(|queue| queue as &dyn Waitable).collect()
}

#[test]
fn what_is_there_is_told_at_once() {
    let _audit = begin();
    let queues = queues(5);
    assert!(wait(&[], None).unwrap().is_empty());
    assert!(wait(&all(&queues), Some(Duration::ZERO)).unwrap().is_empty());
    queues[1].put(1).unwrap();
    queues[4].put(1).unwrap();
    assert_eq!(wait(&all(&queues), None).unwrap(), [1, 4]);
    queues[1].get().unwrap();
    queues[2].close();
    assert_eq!(wait(&all(&queues), None).unwrap(), [2, 4]);
    let short = Duration::from_millis(20);
    assert!(wait(&all(&queues[..2]), Some(short)).unwrap().is_empty());
}

#[test]
fn more_than_one_sleep_can_watch_is_refused() {
    let _audit = begin();
    let queue = Numbers::bounded(1).unwrap();
    let many: Vec<&dyn Waitable> = (0..500).map(|_| &queue as &dyn Waitable).collect();
    assert!(wait(&many, None).unwrap_err().to_string().contains("500 queues"));
}

#[test]
fn sleeper_is_woken_by_any_of_them() {
    let _audit = begin();
    let (queues, back) = (queues(6), Numbers::bounded(1).unwrap());
    let waiter = Process::spawn(echo_all, (queues.clone(), back.clone())).unwrap();
    let sleeper = back.get().unwrap();
    for n in 0..60 {
        if n % 10 == 0 {
            until_blocked(sleeper);
        }
        queues[n as usize % 6].put(n).unwrap();
        assert_eq!(back.get().unwrap(), n);
    }
    queues[3].close();
    waiter.join().unwrap();
}

fn echo_all((queues, back): (Vec<Numbers>, Numbers)) {
    back.put(thread()).unwrap();
    loop {
        for i in wait(&all(&queues), None).unwrap() {
            match queues[i].try_get() {
                Ok(n) => back.put(n).unwrap(),
                Err(error) if error.is_closed() => return,
                Err(error) => assert!(error.is_empty(), "{error}"),
            }
        }
    }
}

#[test]
fn sleeper_hears_of_the_death_that_ends_a_channel() {
    let _audit = begin();
    let (sender, receiver) = channel::<u32>().unwrap();
    let (silent, told) = (Numbers::bounded(1).unwrap(), Numbers::bounded(1).unwrap());
    let holder = Process::spawn(hold, (sender, told.clone())).unwrap();
    told.get().unwrap();
    let killer = Process::spawn(kill_when_told, (told.clone(), holder.pid(), thread())).unwrap();
    told.put(0).unwrap();
    assert_eq!(wait(&[&silent, &receiver], None).unwrap(), [1]);
    assert!(receiver.try_get().unwrap_err().is_closed());
    killer.join().unwrap();
    holder.wait();
}

fn hold((sender, told): (Sender<u32>, Numbers)) {
    told.put(1).unwrap();
    let silent = Numbers::bounded(1).unwrap();
    let _ = silent.get();
    drop(sender);
}

fn kill_when_told((told, victim, sleeper): (Numbers, u32, u32)) {
    told.get().unwrap();
    until_blocked(sleeper);
    kill_number(victim);
}

#[test]
fn item_that_a_dead_process_held_wakes() {
    let _audit = begin();
    let (queue, told) = (Numbers::unbounded().unwrap(), Numbers::bounded(1).unwrap());
    queue.put(7).unwrap();
    let holder = Process::spawn(lease_and_stay, (queue.clone(), told.clone())).unwrap();
    told.get().unwrap();
    let other = Numbers::bounded(1).unwrap();
    assert!(wait(&[&other, &queue], Some(Duration::from_millis(20))).unwrap().is_empty());
    kill(&holder);
    assert_eq!(wait(&[&other, &queue], None).unwrap(), [1]);
    assert_eq!(queue.get().unwrap(), 7);
}

fn lease_and_stay((queue, told): (Numbers, Numbers)) {
    let _lease = queue.lease().unwrap();
    told.put(1).unwrap();
    let silent = Numbers::bounded(1).unwrap();
    let _ = silent.get();
}

#[test]
fn wake_that_is_not_used_is_passed_on() {
    let _audit = begin();
    let (queue, told) = (Numbers::bounded(4).unwrap(), Numbers::bounded(4).unwrap());
    for _ in 0..20 {
        let lookers: Vec<_> = (0..2)
            .map(|_| Process::spawn(only_look, (queue.clone(), told.clone())).unwrap())
            .collect();
        lookers.iter().for_each(|_| until_blocked(told.get().unwrap()));
        let taker = Process::spawn(take_one, (queue.clone(), told.clone())).unwrap();
        until_blocked(told.get().unwrap());
        queue.put(5).unwrap();
        assert_eq!(taker.join().unwrap(), 5, "it is not left asleep");
        // Who did not look in time looks now.
        lookers.iter().for_each(|_| queue.put(6).unwrap());
        lookers.into_iter().for_each(|looker| looker.join().unwrap());
        while queue.try_get().is_ok() {}
    }
}

fn only_look((queue, told): (Numbers, Numbers)) {
    told.put(thread()).unwrap();
    wait(&[&queue], None).unwrap();
}

fn take_one((queue, told): (Numbers, Numbers)) -> u32 {
    told.put(thread()).unwrap();
    queue.get().unwrap()
}

//! What a queue promises between processes, whoever of them is killed. Every test ends with nothing left of it.

mod common;

use common::{audit, kill, thread, until, until_blocked};
use offspring::{Process, Queue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

offspring::test_entry!();

fn begin() -> common::Audit {
    common::watchdog(240);
    audit()
}

/// Keeps a child there until it is killed.
fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

// How handles travel.

#[derive(Serialize, Deserialize)]
enum Route {
    Direct(Queue<String>),
    Named { by_name: BTreeMap<String, Queue<String>>, spare: Option<Box<Route>> },
}

#[test]
fn handles_travel_inside_any_value_to_a_child_and_back() {
    let _audit = begin();
    let queues: Vec<Queue<String>> = (0..4).map(|_| Queue::bounded(2).unwrap()).collect();
    let [a, b, c, d] = [0, 1, 2, 3].map(|n: usize| queues[n].clone());
    let by_name = BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
    let route = Route::Named { by_name, spare: Some(Box::new(Route::Direct(c))) };
    let child =
        Process::spawn(answer_everywhere, (7_u8, route, vec![(d, "d".to_owned())])).unwrap();
    for (queue, text) in queues.iter().zip(["a", "b", "spare", "d"]) {
        assert_eq!(queue.get().unwrap(), text);
    }
    let back = child.join().unwrap();
    assert!(back.len() == 2 && back["a"] == queues[0] && back["b"] == queues[1]);
}

type Routes = (u8, Route, Vec<(Queue<String>, String)>);

fn answer_everywhere((seven, route, list): Routes) -> BTreeMap<String, Queue<String>> {
    assert_eq!(seven, 7);
    let Route::Named { by_name, spare } = route else { panic!("not what was sent") };
    by_name.iter().for_each(|(name, queue)| queue.put(name.clone()).unwrap());
    let Some(Route::Direct(queue)) = spare.map(|spare| *spare) else { panic!("not what was sent") };
    queue.put("spare".into()).unwrap();
    list.into_iter().for_each(|(queue, text)| queue.put(text).unwrap());
    by_name
}

#[test]
fn handles_travel_through_queues_from_child_to_child() {
    let _audit = begin();
    let post = Queue::<Queue<u32>>::bounded(4).unwrap();
    let maker = Process::spawn(make_and_send, post.clone()).unwrap();
    maker.join().unwrap();
    // Nobody living has a handle on it now; the message alone keeps it.
    let taker = Process::spawn(|post: Queue<Queue<u32>>| post.get().unwrap().get().unwrap(), post);
    assert_eq!(taker.unwrap().join().unwrap(), 11);
}

fn make_and_send(post: Queue<Queue<u32>>) {
    let made = Queue::bounded(1).unwrap();
    made.put(11).unwrap();
    post.put(made).unwrap();
}

#[test]
fn handles_travel_to_grandchildren() {
    let _audit = begin();
    let queue = Queue::<u32>::bounded(4).unwrap();
    let depth = Process::spawn(descend, (queue.clone(), 3)).unwrap();
    assert_eq!(depth.join().unwrap(), 3);
    let seen: Vec<u32> = (0..4).map(|_| queue.get().unwrap()).collect();
    assert_eq!(seen, [0, 1, 2, 3]);
}

fn descend((queue, more): (Queue<u32>, u32)) -> u32 {
    let below = match more {
        0 => 0,
        _ => 1 + Process::spawn(descend, (queue.clone(), more - 1)).unwrap().join().unwrap(),
    };
    queue.put(below).unwrap();
    below
}

// Whoever is killed.

type Ids = Queue<u32>;

/// Leases one item, says what was in it and how often it was given back before, and stays.
fn lease_and_stay((queue, said): (Ids, Queue<(u32, u32)>)) {
    let lease = queue.lease().unwrap();
    said.put((*lease, lease.deliveries())).unwrap();
    stay();
}

/// Says which thread it is, then leases one item, commits it and gives it back as its value.
fn lease_and_commit((queue, said): (Ids, Ids)) -> (u32, u32) {
    said.put(thread()).unwrap();
    let lease = queue.lease().unwrap();
    let deliveries = lease.deliveries();
    (lease.commit(), deliveries)
}

#[test]
fn leased_item_of_a_killed_process_goes_to_another_marked() {
    let _audit = begin();
    let queue = Ids::bounded(4).unwrap();
    let (said, ids) = (Queue::bounded(4).unwrap(), Ids::bounded(4).unwrap());
    queue.put(5).unwrap();
    for deaths in 0..3 {
        let holder = Process::spawn(lease_and_stay, (queue.clone(), said.clone())).unwrap();
        assert_eq!(said.get().unwrap(), (5, deaths));
        assert!(queue.try_get().unwrap_err().is_empty(), "it is with one process at a time");
        kill(&holder);
    }
    let other = Process::spawn(lease_and_commit, (queue.clone(), ids)).unwrap();
    assert_eq!(other.join().unwrap(), (5, 3));
    assert!(queue.try_get().unwrap_err().is_empty());
}

#[test]
fn sleeping_reader_hears_of_a_death_at_once() {
    let _audit = begin();
    let mut delays = Vec::new();
    for _ in 0..5 {
        let queue = Ids::bounded(4).unwrap();
        let (said, ids) = (Queue::bounded(4).unwrap(), Ids::bounded(4).unwrap());
        queue.put(5).unwrap();
        let holder = Process::spawn(lease_and_stay, (queue.clone(), said.clone())).unwrap();
        said.get().unwrap();
        let sleepers: Vec<_> = (0..2)
            .map(|_| Process::spawn(lease_and_commit, (queue.clone(), ids.clone())).unwrap())
            .collect();
        (0..2).for_each(|_| until_blocked(ids.get().unwrap()));
        let begun = Instant::now();
        holder.kill().unwrap();
        until("one of them has it", || sleepers.iter().any(|one| one.try_wait().is_some()));
        delays.push(begun.elapsed());
        holder.wait();
        queue.put(6).unwrap();
        let mut got: Vec<_> = sleepers.into_iter().map(|one| one.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [(5, 1), (6, 0)]);
    }
    println!("from a lease holder's kill to the end of the process that had its item: {delays:?}");
}

#[test]
fn reader_of_a_closed_queue_gets_what_a_killed_process_held() {
    let _audit = begin();
    let queue = Ids::bounded(4).unwrap();
    let (said, ids) = (Queue::bounded(4).unwrap(), Ids::bounded(4).unwrap());
    queue.put(5).unwrap();
    let holder = Process::spawn(lease_and_stay, (queue.clone(), said.clone())).unwrap();
    said.get().unwrap();
    queue.close();
    let reader = Process::spawn(lease_and_commit, (queue.clone(), ids.clone())).unwrap();
    until_blocked(ids.get().unwrap());
    kill(&holder);
    assert_eq!(reader.join().unwrap(), (5, 1));
    assert!(queue.get().unwrap_err().is_closed());
}

#[test]
fn item_taken_for_good_shares_its_takers_fate() {
    let _audit = begin();
    let queue = Ids::bounded(4).unwrap();
    let said = Ids::bounded(4).unwrap();
    queue.put(5).unwrap();
    queue.put(6).unwrap();
    let taker = Process::spawn(
        |(queue, said): (Ids, Ids)| -> () {
            said.put(queue.get().unwrap()).unwrap();
            stay()
        },
        (queue.clone(), said.clone()),
    )
    .unwrap();
    assert_eq!(said.get().unwrap(), 5);
    kill(&taker);
    assert_eq!(queue.get().unwrap(), 6);
    assert!(queue.try_get().unwrap_err().is_empty());
}

#[test]
fn what_was_put_outlives_its_producer() {
    let _audit = begin();
    let queue = Queue::<Vec<u8>>::bounded(64).unwrap();
    let done = Ids::bounded(1).unwrap();
    let producer = Process::spawn(
        |(queue, done): (Queue<Vec<u8>>, Ids)| -> () {
            // Short ones lie in the ring, long ones in blocks.
            (0..50_u8).for_each(|n| queue.put(vec![n; usize::from(n) * 40]).unwrap());
            done.put(0).unwrap();
            stay()
        },
        (queue.clone(), done.clone()),
    )
    .unwrap();
    done.get().unwrap();
    kill(&producer);
    for n in 0..50_u8 {
        assert_eq!(queue.try_get().unwrap(), vec![n; usize::from(n) * 40]);
    }
}

/// Puts `(who, 0)`, `(who, 1)` and so on until it is killed; every third is long.
fn put_for_ever((queue, who): (Queue<Numbered>, u32)) {
    for n in 0_u64.. {
        let filling = if n % 3 == 0 { vec![n as u8; 1000] } else { Vec::new() };
        queue.put((who, n, filling)).unwrap();
    }
}

type Numbered = (u32, u64, Vec<u8>);

#[test]
fn producer_killed_amid_its_puts_leaves_no_hole_and_no_half_item() {
    let _audit = begin();
    let queue = Queue::<Numbered>::bounded(5).unwrap();
    let mut next = BTreeMap::<u32, u64>::new();
    let mut expect = |(who, n, filling): Numbered| {
        let next = next.entry(who).or_insert(0);
        assert_eq!(n, *next, "producer {who}");
        *next += 1;
        let len = if n % 3 == 0 { 1000 } else { 0 };
        assert!(filling.len() == len && filling.iter().all(|byte| *byte == n as u8));
        who
    };
    for round in 0..12_u32 {
        let producers: Vec<_> = (0..3)
            .map(|n| Process::spawn(put_for_ever, (queue.clone(), round * 3 + n)).unwrap())
            .collect();
        for (producer, n) in producers.iter().zip(0..) {
            // After some of its own, at no particular instruction.
            let mut more = 20 + round * 7;
            while more > 0 {
                more -= u32::from(expect(queue.get().unwrap()) == round * 3 + n);
            }
            producer.kill().unwrap();
        }
        producers
            .iter()
            .for_each(|producer| assert_eq!(producer.wait().signal(), Some(common::SIGKILL)));
        while let Ok(item) = queue.try_get() {
            expect(item);
        }
    }
    // Nothing that they held is lost to the queue.
    (0..5).for_each(|n| queue.try_put((0, n, Vec::new())).unwrap());
    assert!(queue.try_put((0, 0, Vec::new())).unwrap_err().error().is_full());
    (0..5).for_each(|n| assert_eq!(queue.try_get().unwrap().1, n));
}

#[test]
fn consumers_killed_amid_their_leases_lose_nothing() {
    let _audit = begin();
    const ITEMS: u32 = 600;
    let (queue, done) = (Ids::bounded(8).unwrap(), Ids::bounded(8).unwrap());
    let work = |(queue, done): (Ids, Ids)| {
        while let Ok(lease) = queue.lease() {
            done.put(*lease).unwrap();
            lease.commit();
        }
    };
    let work: fn((Ids, Ids)) = work;
    let start = || Process::spawn(work, (queue.clone(), done.clone())).unwrap();
    let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
    let putter = Process::spawn(
        |queue: Ids| {
            (0..ITEMS).for_each(|n| queue.put(n).unwrap());
            queue.close();
        },
        queue.clone(),
    )
    .unwrap();
    let mut seen = vec![0; ITEMS as usize];
    let mut missing = ITEMS;
    let (mut met, mut killed) = (0, 0);
    while missing > 0 {
        let n = done.get().unwrap();
        missing -= u32::from(seen[n as usize] == 0);
        seen[n as usize] += 1;
        met += 1;
        if met % 60 == 0 && killed < 8 {
            let worker = std::mem::replace(&mut workers[killed % 3], start());
            kill(&worker);
            killed += 1;
        }
    }
    putter.join().unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    // What was said but not committed when its worker was killed is said again.
    let again: u32 = std::iter::from_fn(|| done.try_get().ok()).map(|_| 1).sum();
    assert_eq!(killed, 8);
    assert!(seen.iter().sum::<u32>() + again <= ITEMS + 8, "once for each kill at most");
    assert!(queue.get().unwrap_err().is_closed());
}

#[test]
fn process_killed_while_it_is_blocked_takes_nothing_along() {
    let _audit = begin();
    let (queue, ids) = (Ids::bounded(2).unwrap(), Ids::bounded(4).unwrap());
    for survivors in 1..3 {
        // Each of them may be the one that the next item wakes.
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let worker = Process::spawn(lease_and_commit, (queue.clone(), ids.clone()));
                until_blocked(ids.get().unwrap());
                worker.unwrap()
            })
            .collect();
        let (dead, living) = workers.split_at(3 - survivors);
        // The first of them may be woken for an item before it is known to be dead.
        dead[1..].iter().for_each(kill);
        dead[0].kill().unwrap();
        for n in 0..survivors as u32 {
            queue.put(n).unwrap();
        }
        living.iter().for_each(|worker| assert!(worker.wait().success()));
        dead[0].wait();
        let got: Vec<_> =
            workers.into_iter().filter_map(|worker| worker.join().ok()).map(|got| got.0).collect();
        assert_eq!(got.iter().sum::<u32>(), (0..survivors as u32).sum());
        assert_eq!(got.len(), survivors);
        assert!(queue.try_get().unwrap_err().is_empty());
    }
}

#[test]
fn writer_killed_while_it_is_blocked_puts_nothing() {
    let _audit = begin();
    let (queue, ids) = (Ids::bounded(1).unwrap(), Ids::bounded(4).unwrap());
    queue.put(1).unwrap();
    let put = |(queue, ids, n): (Ids, Ids, u32)| {
        ids.put(thread()).unwrap();
        queue.put(n).unwrap();
    };
    let put: fn((Ids, Ids, u32)) = put;
    let writers = [2, 3].map(|n| {
        let writer = Process::spawn(put, (queue.clone(), ids.clone(), n)).unwrap();
        until_blocked(ids.get().unwrap());
        writer
    });
    kill(&writers[0]);
    assert_eq!(queue.get().unwrap(), 1);
    assert_eq!(queue.get().unwrap(), 3);
    assert!(writers[1].wait().success());
    assert!(queue.try_get().unwrap_err().is_empty());
}

// Requests and replies.

type Asks = Queue<u32, String>;

fn asks() -> Asks {
    Queue::builder().capacity(4).replies(true).build().unwrap()
}

#[test]
fn reply_to_a_killed_requester_says_that_it_is_gone() {
    let _audit = begin();
    let (queue, said) = (asks(), Ids::bounded(1).unwrap());
    let requester = Process::spawn(
        |(queue, said): (Asks, Ids)| {
            let mut ticket = queue.request(5).unwrap();
            said.put(thread()).unwrap();
            ticket.wait().unwrap()
        },
        (queue.clone(), said.clone()),
    )
    .unwrap();
    until_blocked(said.get().unwrap());
    let lease = queue.lease().unwrap();
    kill(&requester);
    assert_eq!((*lease, lease.deliveries()), (5, 0));
    assert!(!lease.reply("too late".into()).unwrap().is_delivered());
    assert!(queue.try_get().unwrap_err().is_empty());
}

#[test]
fn request_of_a_killed_requester_is_still_delivered() {
    let _audit = begin();
    let (queue, said) = (asks(), Ids::bounded(1).unwrap());
    let requester = Process::spawn(
        |(queue, said): (Asks, Ids)| -> () {
            let _ticket = queue.request(5).unwrap();
            said.put(0).unwrap();
            stay()
        },
        (queue.clone(), said.clone()),
    )
    .unwrap();
    said.get().unwrap();
    kill(&requester);
    let lease = queue.lease().unwrap();
    assert_eq!(*lease, 5);
    assert!(!lease.reply("nobody asks any more".into()).unwrap().is_delivered());
}

#[test]
fn ticket_of_a_killed_worker_is_answered_by_another() {
    let _audit = begin();
    let (queue, said) = (asks(), Queue::<(u32, u32)>::bounded(8).unwrap());
    type Told = Queue<(u32, u32)>;
    let holder: fn((Asks, Told)) = |(queue, said)| {
        let lease = queue.lease().unwrap();
        said.put((*lease, lease.deliveries())).unwrap();
        stay()
    };
    let requester =
        Process::spawn(|queue: Asks| queue.request(8).unwrap().wait().unwrap(), queue.clone())
            .unwrap();
    for deaths in 0..2 {
        let worker = Process::spawn(holder, (queue.clone(), said.clone())).unwrap();
        assert_eq!(said.get().unwrap(), (8, deaths));
        kill(&worker);
    }
    let worker = Process::spawn(
        |queue: Asks| {
            let lease = queue.lease().unwrap();
            let text = format!("{} after {}", *lease, lease.deliveries());
            lease.reply(text).unwrap().is_delivered()
        },
        queue.clone(),
    )
    .unwrap();
    assert!(worker.join().unwrap());
    assert_eq!(requester.join().unwrap(), "8 after 2");
}

#[test]
fn requests_between_workers_that_are_killed_are_each_answered_once() {
    let _audit = begin();
    let queue = asks();
    let work: fn(Asks) = |queue| {
        while let Ok(lease) = queue.lease() {
            let text = format!("{}", *lease * 2);
            lease.reply(text).unwrap();
        }
    };
    let start = || Process::spawn(work, queue.clone()).unwrap();
    let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
    let ask: fn((Asks, u32)) -> u32 = |(queue, first)| {
        let mut answered = 0;
        for n in first..first + 300 {
            let mut ticket = queue.request(n).unwrap();
            assert_eq!(ticket.wait().unwrap(), (n * 2).to_string());
            assert!(ticket.try_wait().unwrap_err().is_gone());
            answered += 1;
        }
        answered
    };
    let requesters = [0, 1000].map(|first| Process::spawn(ask, (queue.clone(), first)).unwrap());
    for n in 0..9 {
        let worker = std::mem::replace(&mut workers[n % 3], start());
        kill(&worker);
    }
    for requester in requesters {
        assert_eq!(requester.join().unwrap(), 300);
    }
    queue.close();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

// Closing.

#[test]
fn close_reaches_processes_that_sleep() {
    let _audit = begin();
    let (empty, full) = (Ids::bounded(1).unwrap(), Ids::bounded(1).unwrap());
    let ids = Ids::bounded(4).unwrap();
    full.put(1).unwrap();
    let reader = Process::spawn(
        |(queue, ids): (Ids, Ids)| {
            ids.put(thread()).unwrap();
            queue.get().unwrap_err().is_closed()
        },
        (empty.clone(), ids.clone()),
    )
    .unwrap();
    let writer = Process::spawn(
        |(queue, ids): (Ids, Ids)| {
            ids.put(thread()).unwrap();
            let (value, error) = queue.put(77).unwrap_err().into_parts();
            (value, error.is_closed())
        },
        (full.clone(), ids.clone()),
    )
    .unwrap();
    (0..2).for_each(|_| until_blocked(ids.get().unwrap()));
    let closer =
        Process::spawn(|(a, b): (Ids, Ids)| a.close() && b.close(), (empty.clone(), full.clone()));
    assert!(closer.unwrap().join().unwrap());
    assert!(reader.join().unwrap());
    assert_eq!(writer.join().unwrap(), (77, true));
    assert_eq!(full.get().unwrap(), 1);
    assert!(full.get().unwrap_err().is_closed());
    assert!(full.put(2).unwrap_err().error().is_closed());
}

// What comes in wrong.

#[test]
fn child_that_dies_while_it_reads_its_arguments_is_told() {
    #[derive(Serialize)]
    struct Deadly(Ids);
    impl<'de> Deserialize<'de> for Deadly {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let queue = Ids::deserialize(from)?;
            let _held = queue.lease().unwrap();
            std::process::abort()
        }
    }
    let _audit = begin();
    let queue = Ids::bounded(2).unwrap();
    queue.put(9).unwrap();
    let error = Process::spawn(|_: Deadly| (), Deadly(queue.clone())).unwrap().join().unwrap_err();
    assert!(error.is_killed() && !error.is_refused(), "{error}");
    assert_eq!(error.status().signal(), Some(common::SIGABRT));
    assert_eq!(queue.lease().unwrap().deliveries(), 1);
}

#[test]
fn arguments_that_cannot_be_read_give_their_handles_back() {
    #[derive(Serialize)]
    struct Unreadable(Ids);
    impl<'de> Deserialize<'de> for Unreadable {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            Ids::deserialize(from)?;
            Err(serde::de::Error::custom("not this one"))
        }
    }
    let _audit = begin();
    let queue = Ids::bounded(2).unwrap();
    let error = Process::spawn(|_: Unreadable| (), Unreadable(queue)).unwrap().join().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("Unreadable"), "{error}");
}

#[test]
fn blocked_operation_ends_at_its_time() {
    let _audit = begin();
    let queue = Ids::bounded(1).unwrap();
    let child = Process::spawn(
        |queue: Ids| {
            let time = Duration::from_millis(100);
            let begun = Instant::now();
            assert!(queue.get_timeout(time).unwrap_err().is_timeout());
            queue.put(1).unwrap();
            let refused = queue.put_timeout(2, time).unwrap_err();
            assert!(refused.error().is_timeout() && refused.into_inner() == 2);
            begun.elapsed() >= 2 * time
        },
        queue,
    );
    assert!(child.unwrap().join().unwrap());
}

//! Parking: a wake that comes after a change ends the sleep, is swallowed by nobody, and is that sleep's alone.
//!
//! The bells are loom's condition variables with one bit, as events are. Nobody sleeps on a process's end: whoever ended it
//! tells of it, once it is dead. A sleeper that misses its ring is a deadlock.

use super::Model;
use crate::fake::{Fate, Process, World, reference};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use offspring_core::parking::{BUCKETS, Bell, Bucket, Lot, Spot, Spots};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::process::Liveness;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model { name: "parking: a wake after the change ends the sleep", victims: 0, body: change },
    Model { name: "parking: a late waker does not choose the next sleep", victims: 0, body: next },
    Model {
        name: "parking: a sleeper gets its item, though the other dies",
        victims: 1,
        body: sleepers,
    },
    Model { name: "parking: a dead waker leaves nobody asleep", victims: 1, body: waker },
];

/// Arena offsets of the words that are slept on.
const ITEMS: u64 = 64;
const OTHER: u64 = 128;

/// Two lanes, those of processes 2 and 3.
struct Yard {
    items: AtomicU32,
    /// Raised with each item.
    word: AtomicU32,
    epoch: AtomicU32,
    spots: [Spot; 2],
    buckets: Vec<Bucket>,
    bells: [(Mutex<bool>, Condvar); 2],
}

struct Stalls<'a>(&'a [Spot]);

impl Spots for Stalls<'_> {
    fn spot(&self, lane: usize) -> Option<&Spot> {
        self.0.get(lane)
    }

    fn lanes(&self) -> usize {
        self.0.len()
    }
}

/// A process's hand on the bells.
struct Rope<'a>(&'a Yard, &'a Process);

impl Bell for Rope<'_> {
    fn is_gone(&mut self, lane: usize) -> bool {
        self.1.is_dead(reference(lane + 2))
    }

    fn ring(&mut self, lane: usize) -> bool {
        let (rung, bell) = &self.0.bells[lane];
        *rung.lock().expect("not poisoned") = true;
        bell.notify_one();
        true
    }
}

impl Yard {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            items: AtomicU32::new(0),
            word: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            spots: [Spot::default(), Spot::default()],
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            bells: [(Mutex::new(false), Condvar::new()), (Mutex::new(false), Condvar::new())],
        })
    }

    fn lot(&self) -> Lot<'_, Stalls<'_>> {
        Lot::new(Stalls(&self.spots), &self.buckets)
    }

    fn put(&self, process: &Process) {
        self.items.fetch_add(1, Ordering::Relaxed);
        // ORDER: Release, with the Acquire of the sleeper: it carries the item, as an event count does.
        self.word.fetch_add(1, Ordering::Release);
        self.lot().wake(ITEMS, 1, 0, &mut Rope(self, process));
    }

    fn try_take(&self) -> bool {
        // ORDER: Relaxed. A count; nothing is read through it.
        let mut items = self.items.load(Ordering::Relaxed);
        while items > 0 {
            let (now, less) = (Ordering::Relaxed, items - 1);
            match self.items.compare_exchange(items, less, now, now) {
                Ok(_) => return true,
                Err(seen) => items = seen,
            }
        }
        false
    }

    /// Sleeps on the items until `done`.
    fn wait_for(&self, lane: usize, mut done: impl FnMut() -> bool) {
        loop {
            let seen = [&self.word, &self.epoch].map(|word| word.load(Ordering::Acquire));
            if done() {
                return;
            }
            let parked = self.lot().park(lane, &[ITEMS, 0, 0, 0]).expect("a lane");
            let now = [&self.word, &self.epoch].map(|word| word.load(Ordering::Acquire));
            if now == seen {
                let (rung, bell) = &self.bells[lane];
                let mut rung = rung.lock().expect("not poisoned");
                while !*rung {
                    rung = bell.wait(rung).expect("not poisoned");
                }
                *rung = false;
            }
            self.lot().unpark(parked);
        }
    }

    fn tell_of_a_death(&self, process: &Process) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.lot().notice(&mut Rope(self, process));
    }
}

fn change(_: &[Fate]) {
    let (world, yard) = (World::new(3), Yard::new());
    let sleeper = {
        let yard = yard.clone();
        thread::spawn(move || yard.wait_for(0, || yard.try_take()))
    };
    yard.put(&world.process(1));
    sleeper.join().expect("no panic");
}

fn next(_: &[Fate]) {
    let (world, yard) = (World::new(3), Yard::new());
    // Asleep before the others begin: fewer preemptions lead to what is looked for.
    let first = yard.lot().park(0, &[ITEMS, 0, 0, 0]).expect("a lane");
    let waker = {
        let (process, yard) = (world.process(1), yard.clone());
        thread::spawn(move || {
            yard.word.fetch_add(1, Ordering::Relaxed);
            yard.lot().wake(ITEMS, 1, 0, &mut Rope(&yard, &process));
            yard.word.fetch_add(1, Ordering::Relaxed);
        })
    };
    let sleeper = {
        let yard = yard.clone();
        thread::spawn(move || {
            // Loom branches where a load meets a store; the protocol's own loads hide each other.
            let look = || yard.word.load(Ordering::Relaxed);
            look();
            yard.lot().unpark(first);
            look();
            let second = yard.lot().park(0, &[OTHER, 0, 0, 0]).expect("a lane");
            look();
            assert!(!yard.lot().unpark(second), "nobody wakes those who sleep on the other word");
        })
    };
    waker.join().expect("no panic");
    sleeper.join().expect("no panic");
}

fn sleepers(fates: &[Fate]) {
    let (world, yard) = (World::new(3), Yard::new());
    let start = |number: usize, fate: Fate| {
        let (process, yard) = (world.process(number), yard.clone());
        thread::spawn(move || process.run(&fate, |_| yard.wait_for(number - 2, || yard.try_take())))
    };
    let victim = start(2, fates[0].clone());
    let survivor = start(3, Fate::lives());
    let giver = world.process(1);
    yard.put(&giver);
    yard.put(&giver);
    if victim.join().expect("no panic").is_none() {
        yard.tell_of_a_death(&giver);
    }
    survivor.join().expect("no panic").expect("lives");
}

fn waker(fates: &[Fate]) {
    let (world, yard) = (World::new(3), Yard::new());
    let victim = {
        let (process, yard, fate) = (world.process(1), yard.clone(), fates[0].clone());
        thread::spawn(move || process.run(&fate, |process| yard.put(process)))
    };
    let sleeper = {
        let yard = yard.clone();
        thread::spawn(move || {
            // An item, or the death of the one who was to give it.
            yard.wait_for(0, || yard.try_take() || yard.epoch.load(Ordering::Acquire) != 0);
        })
    };
    if victim.join().expect("no panic").is_none() {
        yard.tell_of_a_death(&world.process(3));
    }
    sleeper.join().expect("no panic");
}

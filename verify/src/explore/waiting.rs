//! Event count and blocking loop: nobody sleeps on while there is something for it, whoever dies.
//!
//! Time stands still and no backstop helps: a sleeper that misses its wake is a deadlock.

use super::Model;
use crate::fake::{Fate, Process, World, reference};
use loom::thread;
use offspring_core::block_on::block;
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::process::Liveness;
use offspring_core::wait::{Adaptive, EventCount};
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "waiting: a sleeper gets its item, though the other dies",
        victims: 1,
        body: takers,
    },
    Model { name: "waiting: both sleepers learn that the giver died", victims: 1, body: giver },
    Model {
        name: "waiting: a death is noticed, though its noticer dies",
        victims: 2,
        body: noticer,
    },
    Model { name: "waiting: notify_all wakes all", victims: 0, body: everybody },
];

/// Something to take, and who takes part.
struct Shop {
    items: AtomicU32,
    open: EventCount,
    members: usize,
}

/// What a wait came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Got {
    Item,
    GiverDied,
}

impl Shop {
    fn new(members: usize) -> Arc<Self> {
        Arc::new(Self { items: AtomicU32::new(0), open: EventCount::new(), members })
    }

    fn give(&self, family: &Process) {
        self.items.fetch_add(1, Ordering::Release);
        self.open.notify_one(family);
    }

    fn try_take(&self) -> Option<Got> {
        let mut items = self.items.load(Ordering::Acquire);
        while items > 0 {
            let next = items - 1;
            match self.items.compare_exchange(items, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(Got::Item),
                Err(now) => items = now,
            }
        }
        None
    }

    /// Takes one, or finds out that process `giver` is dead and has left none.
    fn take(&self, family: &Process, giver: Option<usize>) -> Got {
        block(
            family,
            &self.open,
            || (1..=self.members).map(reference),
            &Adaptive::new(),
            || {
                self.try_take().or_else(|| {
                    let dead = giver.is_some_and(|giver| family.is_dead(reference(giver)));
                    // What it gave before it died is seen now that it is dead.
                    dead.then(|| self.try_take().unwrap_or(Got::GiverDied))
                })
            },
        )
    }
}

fn takers(fates: &[Fate]) {
    let world = World::new(3);
    let shop = Shop::new(3);
    let start = |number: usize, fate: Fate| {
        let (process, shop) = (world.process(number), shop.clone());
        thread::spawn(move || process.run(&fate, |family| shop.take(family, None)))
    };
    let victim = start(2, fates[0].clone());
    let survivor = start(3, Fate::lives());
    let giver = world.process(1);
    shop.give(&giver);
    shop.give(&giver);
    assert_eq!(survivor.join().expect("no panic"), Some(Got::Item));
    victim.join().expect("no panic");
}

fn giver(fates: &[Fate]) {
    let world = World::new(3);
    let shop = Shop::new(3);
    let victim = {
        let (process, shop, fate) = (world.process(1), shop.clone(), fates[0].clone());
        thread::spawn(move || {
            process.run(&fate, |family| {
                shop.give(family);
                shop.give(family);
            })
        })
    };
    let taker = {
        let (process, shop) = (world.process(2), shop.clone());
        thread::spawn(move || process.run(&Fate::lives(), |family| shop.take(family, Some(1))))
    };
    let mine = shop.take(&world.process(3), Some(1));
    let other = taker.join().expect("no panic").expect("lives");
    if victim.join().expect("no panic").is_some() {
        assert_eq!((mine, other), (Got::Item, Got::Item));
    }
    let taken = [mine, other].iter().filter(|got| **got == Got::Item).count() as u32;
    let left = shop.items.load(Ordering::Acquire);
    assert!(left == 0 || taken == 2, "a taker gave up though {left} were left");
}

fn noticer(fates: &[Fate]) {
    let world = World::new(3);
    let shop = Shop::new(3);
    let giver = {
        let (process, shop, fate) = (world.process(1), shop.clone(), fates[0].clone());
        thread::spawn(move || {
            process.run(&fate, |family| {
                shop.items.fetch_add(2, Ordering::Release);
                shop.open.notify_all(family);
            })
        })
    };
    let taker = {
        let (process, shop, fate) = (world.process(2), shop.clone(), fates[1].clone());
        thread::spawn(move || process.run(&fate, |family| shop.take(family, Some(1))))
    };
    let got = shop.take(&world.process(3), Some(1));
    taker.join().expect("no panic");
    let gave_all = giver.join().expect("no panic").is_some();
    assert!(got == Got::Item || !gave_all, "two items were given, and the other takes one at most");
}

fn everybody(_: &[Fate]) {
    let world = World::new(3);
    let shop = Shop::new(3);
    let sleepers: Vec<_> = (2..=3)
        .map(|number| {
            let (process, shop) = (world.process(number), shop.clone());
            thread::spawn(move || shop.take(&process, None))
        })
        .collect();
    shop.items.fetch_add(2, Ordering::Release);
    shop.open.notify_all(&world.process(1));
    for sleeper in sleepers {
        assert_eq!(sleeper.join().expect("no panic"), Got::Item);
    }
}

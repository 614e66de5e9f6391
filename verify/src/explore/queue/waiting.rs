//! Readers and writers that sleep in the queue are woken for all that is theirs. Time stands still: a lost wake is a deadlock.

use super::leases::lease_and_commit;
use super::{Ring, Seat, join, slots};
use crate::explore::Model;
use crate::explore::queue::ledger::Item;
use crate::fake::{Fate, reference};
use offspring_core::block_on::block;
use offspring_core::process::Liveness;
use offspring_core::queue::{GetError, PutError};
use offspring_core::wait::{Adaptive, EventCount};

pub(in crate::explore) const MODELS: &[Model] = &[
    Model { name: "queue: a sleeping reader gets what a dead one held", victims: 1, body: heir },
    Model {
        name: "queue: a sleeping writer gets the slot, though a reader dies",
        victims: 1,
        body: writer,
    },
    Model { name: "queue: a writer that sleeps for a block gets it", victims: 1, body: room },
    Model { name: "queue: a reader sleeps no longer than to the close", victims: 1, body: closing },
    Model { name: "queue: closing wakes all readers", victims: 0, body: all_readers },
    Model {
        name: "queue: the end of the last lease wakes a reader at the close",
        victims: 1,
        body: last_lease,
    },
    // The largest: last, so that it gets what time the others leave.
    Model {
        name: "queue: a sleeping reader gets the item, though another dies",
        victims: 1,
        body: readers,
    },
];

/// Sleeps until there is an item, or none will come.
fn get(seat: &Seat<'_>) -> Result<Item, GetError> {
    get_after_look(seat, true)
}

/// The same; `thorough`: each try looks for unnoticed deaths, as the loop does between the tries.
fn get_after_look(seat: &Seat<'_>, thorough: bool) -> Result<Item, GetError> {
    let members = || (1..=seat.ring.members).map(reference);
    block(seat.family, seat.queue.readers(), members, &Adaptive::new(), || {
        match seat.get_after_look(thorough) {
            Err(GetError::Empty | GetError::Leased { .. }) => None,
            done => Some(done),
        }
    })
}

fn readers(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 3, fates);
    let victim = ring.start(1, |seat| get_after_look(seat, false));
    let other = ring.start(2, |seat| get_after_look(seat, false));
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    main.put(Item::small(3, 1)).expect("two slots are empty");
    main.put(Item::small(3, 2)).expect("one slot is empty");
    assert!(matches!(join([other])[0], Some(Ok(_))));
    join([victim]);
    main.settle();
}

fn heir(fates: &[Fate]) {
    let ring = Ring::new(slots(1), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::small(2, 1)).expect("the slot is empty");
    let victim = ring.start(1, |seat| {
        if let Ok(lease) = seat.lease() {
            seat.give_back(lease);
        }
    });
    assert_eq!(get(&main), Ok(Item::small(2, 1)), "the other never keeps it");
    join([victim]);
    main.settle();
}

/// Puts as often as it takes, asleep in between; once process 1 is dead, makes room itself.
fn put_or_clear(seat: &Seat<'_>, count: &EventCount, item: Item) {
    let members = || (1..=seat.ring.members).map(reference);
    block(seat.family, count, members, &Adaptive::new(), || {
        if seat.family.is_dead(reference(1)) {
            let _ = seat.get();
        }
        match seat.put_again(item) {
            Ok(()) => Some(()),
            Err(PutError::Full | PutError::NoRoom) => None,
            Err(why) => panic!("{why}"),
        }
    });
}

fn writer(fates: &[Fate]) {
    let ring = Ring::new(slots(1), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::small(2, 1)).expect("the slot is empty");
    let victim = ring.start(1, |seat| seat.get().expect("an item is there"));
    put_or_clear(&main, main.queue.writers(), Item::small(2, 2));
    join([victim]);
    main.settle();
}

fn room(fates: &[Fate]) {
    let ring = Ring::new(slots(3), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::large(2, 1)).expect("two blocks are for puts");
    main.put(Item::large(2, 2)).expect("one block is left for puts");
    let victim = ring.start(1, |seat| seat.commit(seat.lease().expect("an item is there")));
    put_or_clear(&main, main.queue.rooms(), Item::large(2, 3));
    join([victim]);
    main.settle();
}

fn closing(fates: &[Fate]) {
    let ring = Ring::new(slots(1), 3, fates);
    let victim = ring.start(1, |seat| seat.queue.close());
    let other = ring.start(2, |seat| seat.queue.close());
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    assert_eq!(get(&main), Err(GetError::Closed));
    let (first, second) = (join([victim])[0], join([other])[0]);
    assert!(first != second || first.is_none(), "one of them closed it");
    main.settle();
}

fn all_readers(_: &[Fate]) {
    let ring = Ring::new(slots(1), 3, &[]);
    let readers = [ring.start(1, get), ring.start(2, get)];
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    assert!(main.queue.close());
    assert_eq!(join(readers), [Some(Err(GetError::Closed)); 2]);
    main.settle();
}

fn last_lease(fates: &[Fate]) {
    let ring = Ring::new(slots(1), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::large(2, 1)).expect("the slot is empty");
    let victim = ring.start(1, lease_and_commit);
    assert!(main.queue.close());
    let got = get(&main);
    join([victim]);
    if got.is_ok() {
        assert_eq!(get(&main), Err(GetError::Closed));
    }
    main.settle();
}

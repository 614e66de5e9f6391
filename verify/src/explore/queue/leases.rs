//! Items on trial: committed, given back, moved from slot to block, taken from the dead.

use super::{Ring, Seat, join, slots};
use crate::explore::Model;
use crate::explore::queue::ledger::Item;
use crate::fake::Fate;
use offspring_core::queue::{GetError, Options};

pub(in crate::explore) const MODELS: &[Model] = &[
    Model { name: "queue: a lease of a slot's item moves it whole", victims: 1, body: moved },
    Model { name: "queue: a lease of a block's item", victims: 1, body: block },
    Model { name: "queue: what is given back reaches another", victims: 1, body: given_back },
    Model { name: "queue: one gets what another is moving, and dies", victims: 1, body: contended },
    Model {
        name: "queue: sweepers race over a dead owner, and one dies",
        victims: 2,
        body: sweepers,
    },
    Model { name: "queue: the limit of deliveries counts deaths", victims: 1, body: dead_letter },
];

/// Leases an item, if one is there, and commits.
pub(super) fn lease_and_commit(seat: &Seat<'_>) -> Result<(), GetError> {
    seat.commit(seat.lease()?);
    Ok(())
}

fn moved(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::small(2, 1)).expect("two slots are empty");
    let victim = ring.start(1, lease_and_commit);
    let _ = main.get();
    join([victim]);
    main.settle();
}

fn block(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::large(2, 1)).expect("two slots are empty");
    let victim = ring.start(1, lease_and_commit);
    let _ = main.put(Item::large(2, 2));
    let _ = lease_and_commit(&main);
    join([victim]);
    main.settle();
}

fn given_back(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::large(2, 1)).expect("two slots are empty");
    let victim = ring.start(1, |seat| {
        seat.give_back(seat.lease()?);
        lease_and_commit(seat)
    });
    if let Ok(lease) = main.lease() {
        main.give_back(lease);
    }
    let _ = main.get();
    join([victim]);
    main.settle();
}

fn contended(fates: &[Fate]) {
    let ring = Ring::new(slots(1), 3, fates);
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    main.put(Item::small(3, 1)).expect("the slot is empty");
    let victim = ring.start(1, lease_and_commit);
    let other = ring.start(2, |seat| seat.get());
    join([victim]);
    join([other]);
    main.settle();
}

fn sweepers(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 3, fates);
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    main.put(Item::small(3, 1)).expect("two slots are empty");
    // The first victim dies alone: every state that it can leave is met by every race of the two others.
    let lived = ring.play(1, |seat| {
        seat.put(Item::large(1, 1)).expect("one slot is empty");
        seat.give_back(seat.lease().expect("two items are there"));
    });
    let sweeper = ring.start(2, |seat| seat.get());
    let got = main.get();
    if lived.is_some() {
        let other = join([sweeper])[0];
        assert!(got.is_ok() && other.is_none_or(|got| got.is_ok()), "an item is there for each");
    } else {
        join([sweeper]);
    }
    main.settle();
}

fn dead_letter(fates: &[Fate]) {
    let ring = Ring::new(Options { most_deliveries: 1, ..slots(2) }, 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::small(2, 1)).expect("two slots are empty");
    let victim = ring.start(1, |seat| seat.lease().map(|lease| seat.give_back(lease)));
    if let Ok(lease) = main.lease() {
        assert_eq!(lease.token.deliveries(), 0, "once given back, an item is a dead letter");
        main.commit(lease);
    }
    join([victim]);
    assert_eq!(main.get(), Err(GetError::Empty));
    if let Some(lease) = main.take_dead() {
        assert_eq!(lease.token.deliveries(), 1);
        main.commit(lease);
    }
    main.settle();
}

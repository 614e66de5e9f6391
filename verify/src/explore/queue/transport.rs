//! Puts and gets: of small messages in slots, of large ones in blocks, round and round the ring, and to its close.

use super::{Ring, join, slots};
use crate::explore::Model;
use crate::explore::queue::ledger::Item;
use crate::fake::Fate;
use offspring_core::queue::{GetError, PutError};

pub(in crate::explore) const MODELS: &[Model] = &[
    Model { name: "queue: a put is whole or nothing", victims: 1, body: putter },
    Model { name: "queue: a get takes whole or leaves", victims: 1, body: getter },
    Model { name: "queue: a slot is written again only when it was read", victims: 1, body: wrap },
    Model {
        name: "queue: a slot is read again only when it was written",
        victims: 1,
        body: wrap_read,
    },
    Model { name: "queue: readers pass a slow writer in order", victims: 1, body: two_putters },
    Model { name: "queue: two readers share, and one dies", victims: 1, body: two_getters },
    Model { name: "queue: a put of a block is whole or nothing", victims: 1, body: block_putter },
    Model { name: "queue: a get of a block takes whole or leaves", victims: 1, body: block_getter },
    Model { name: "queue: of a batch put, a prefix is there", victims: 1, body: batch_putter },
    Model { name: "queue: of a batch taken, the rest comes back", victims: 1, body: batch_getter },
    Model { name: "queue: two batches from two sides", victims: 1, body: two_batches },
    Model { name: "queue: closed is said when nothing comes any more", victims: 1, body: late_put },
    Model { name: "queue: the closer may die", victims: 1, body: closer },
];

fn putter(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let victim = ring.start(1, |seat| {
        for nth in 1..=3 {
            let _ = seat.put(Item::small(1, nth));
        }
    });
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    let _ = (main.get(), main.get());
    join([victim]);
    main.settle();
}

fn getter(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::small(2, 1)).expect("two slots are empty");
    main.put(Item::small(2, 2)).expect("one slot is empty");
    let victim = ring.start(1, |seat| (seat.get(), seat.get()).0);
    let _ = main.put(Item::small(2, 3));
    let _ = main.get();
    join([victim]);
    main.settle();
}

fn wrap(fates: &[Fate]) {
    let ring = Ring::new(slots(1), 2, fates);
    let victim = ring.start(1, |seat| {
        for nth in 1..=3 {
            let _ = seat.put(Item::small(1, nth));
        }
    });
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    for _ in 0..3 {
        let _ = main.get();
    }
    join([victim]);
    main.settle();
}

fn wrap_read(fates: &[Fate]) {
    let ring = Ring::new(slots(1), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::small(2, 1)).expect("the slot is empty");
    let victim = ring.start(1, |seat| (seat.get(), seat.get()).0);
    for nth in 2..=4 {
        let _ = main.put(Item::small(2, nth));
    }
    join([victim]);
    main.settle();
}

fn two_putters(fates: &[Fate]) {
    let ring = Ring::new(slots(3), 3, fates);
    let victim = ring.start(1, |seat| seat.put(Item::small(1, 1)));
    let other = ring.start(2, |seat| {
        seat.put(Item::small(2, 1))?;
        seat.put(Item::small(2, 2))
    });
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    let _ = main.get_after_look(false);
    for lived in join([victim, other]).into_iter().flatten() {
        assert_eq!(lived, Ok(()), "there are slots for all");
    }
    main.settle();
}

fn two_getters(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 3, fates);
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    main.put(Item::small(3, 1)).expect("two slots are empty");
    main.put(Item::small(3, 2)).expect("one slot is empty");
    let victim = ring.start(1, |seat| seat.get());
    let other = ring.start(2, |seat| seat.get());
    let _ = main.put(Item::small(3, 3));
    join([victim, other]);
    main.settle();
}

fn block_putter(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let victim = ring.start(1, |seat| {
        let _ = seat.put(Item::large(1, 1));
        let _ = seat.put(Item::large(1, 2));
    });
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    let _ = (main.get(), main.get());
    join([victim]);
    main.settle();
}

fn block_getter(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    main.put(Item::large(2, 1)).expect("two slots are empty");
    let victim = ring.start(1, |seat| (seat.get(), seat.get()).0);
    let _ = main.put(Item::large(2, 2));
    let _ = main.get();
    join([victim]);
    main.settle();
}

fn batch_putter(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let items = [1, 2, 3].map(|nth| Item::small(1, nth));
    let victim = ring.start(1, move |seat| seat.put_many(&items));
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    let _ = (main.get(), main.get());
    join([victim]);
    main.settle();
}

fn batch_getter(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    assert_eq!(main.put_many(&[1, 2].map(|nth| Item::small(2, nth))), Ok(()));
    let victim = ring.start(1, |seat| seat.get_many(3));
    let _ = main.put(Item::small(2, 3));
    let _ = main.get();
    join([victim]);
    main.settle();
}

fn two_batches(fates: &[Fate]) {
    let ring = Ring::new(slots(3), 3, fates);
    let victim = ring.start(1, |seat| seat.put_many(&[1, 2].map(|nth| Item::small(1, nth))));
    let other = ring.start(2, |seat| seat.put(Item::small(2, 1)));
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    let _ = main.get_many(2);
    for lived in join([victim]).into_iter().flatten() {
        assert_eq!(lived, Ok(()), "there are slots for all");
    }
    join([other]);
    main.settle();
}

fn late_put(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 2, fates);
    let victim = ring.start(1, |seat| seat.put(Item::small(1, 1)));
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    assert!(main.queue.close());
    let said_closed = (0..2).any(|_| main.get() == Err(GetError::Closed));
    let put = join([victim])[0];
    assert!(matches!(put, None | Some(Ok(()) | Err(PutError::Closed))), "{put:?}");
    if said_closed {
        assert_eq!(main.get(), Err(GetError::Closed), "closed was said already");
    }
    main.settle();
}

fn closer(fates: &[Fate]) {
    let ring = Ring::new(slots(2), 3, fates);
    let victim = ring.start(1, |seat| {
        seat.queue.close();
        assert_eq!(seat.put(Item::small(1, 1)), Err(PutError::Closed));
        let _ = seat.get();
    });
    let other = ring.start(2, |seat| seat.put(Item::small(2, 1)));
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    let said_closed = main.get() == Err(GetError::Closed);
    join([victim]);
    join([other]);
    if said_closed {
        assert_eq!(main.get(), Err(GetError::Closed), "closed was said already");
    }
    main.settle();
}

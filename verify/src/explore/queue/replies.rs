//! Requests and their replies: result and commit are one step, and no block is left behind by whoever dies.

use super::{Ring, Seat, join, slots};
use crate::explore::Model;
use crate::explore::queue::ledger::Item;
use crate::fake::Fate;
use offspring_core::queue::{Answer, Options, Replied};

pub(in crate::explore) const MODELS: &[Model] = &[
    Model { name: "queue: a requester may give up, or die", victims: 1, body: requester },
    Model { name: "queue: a reply and its commit are one", victims: 1, body: replier },
    Model { name: "queue: requester and replier die one after the other", victims: 2, body: both },
    Model {
        name: "queue: replier and sweeper race over a dead request",
        victims: 1,
        body: abandoned,
    },
];

const QUESTION: Item = Item::small(1, 1);
const REPLY: &[u8] = &[7; 5];

fn options() -> Options {
    Options { replies: true, ..slots(1) }
}

/// Looks twice for the answer, then gives up.
fn ask(seat: &Seat<'_>) -> Option<(Answer, Vec<u8>)> {
    let mut ticket = seat.request(QUESTION).expect("slot and blocks are free");
    for _ in 0..2 {
        ticket = match seat.answer(ticket) {
            Ok(answer) => return Some(answer),
            Err(ticket) => ticket,
        };
    }
    seat.queue.drop_ticket(ticket);
    None
}

fn serve(seat: &Seat<'_>) -> Option<Replied> {
    let lease = seat.lease().ok()?;
    Some(seat.reply(lease, REPLY))
}

fn requester(fates: &[Fate]) {
    let ring = Ring::new(options(), 2, fates);
    let victim = ring.start(1, ask);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    let replied = serve(&main);
    let answer = join([victim]).pop().expect("one");
    // A reply can also be delivered to one who gives up before it looked.
    if let Some(Some(answer)) = answer {
        assert_eq!(answer, (Answer::Reply, REPLY.to_vec()));
        assert_eq!(replied, Some(Replied::Delivered));
    }
    main.settle();
}

fn replier(fates: &[Fate]) {
    let ring = Ring::new(options(), 2, fates);
    let process = ring.world.process(2);
    let main = ring.seat(&process);
    let ticket = main.request(Item::small(2, 1)).expect("slot and blocks are free");
    let victim = ring.start(1, serve);
    let early = main.answer(ticket);
    let served = join([victim]).pop().flatten();
    let answer = early.or_else(|ticket| main.answer(ticket)).unwrap_or_else(|ticket| {
        assert_eq!(served, None, "a reply that was given is there");
        let lease = main.lease().expect("the lease of the dead came back");
        assert_eq!(main.reply(lease, REPLY), Replied::Delivered);
        main.answer(ticket).expect("we gave it ourselves")
    });
    assert_eq!(answer, (Answer::Reply, REPLY.to_vec()));
    main.settle();
}

fn both(fates: &[Fate]) {
    let ring = Ring::new(options(), 3, fates);
    let requester = ring.start(1, ask);
    let replier = ring.start(2, serve);
    let answer = join([requester]).pop().flatten();
    join([replier]);
    assert!(matches!(answer, None | Some(None | Some((Answer::Reply, _)))), "{answer:?}");
    ring.seat(&ring.world.process(3)).settle();
}

fn abandoned(fates: &[Fate]) {
    let ring = Ring::new(options(), 3, fates);
    let process = ring.world.process(3);
    let main = ring.seat(&process);
    // Alone: what it leaves is met by every race of the two others.
    ring.play(1, |seat| {
        let ticket = seat.request(QUESTION).expect("slot and blocks are free");
        seat.queue.drop_ticket(ticket);
    });
    let replier = ring.start(2, serve);
    main.queue.recover();
    join([replier]);
    main.settle();
}

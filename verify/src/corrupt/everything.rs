//! Every public operation on a region, one after the other; whatever the region holds, each must come back.

use crate::step::world::{BLOCK_KINDS, KIND, Page, Ring, bytes_of, message};
use offspring_core::block_on::block_on;
use offspring_core::prim::Ordering;
use offspring_core::queue::{Buffer, LeaseToken, Message, Mode, Taken, TicketToken};
use offspring_core::wait::{Adaptive, Wait};
use std::fmt::Write;

/// Word of the page that says which operation is under way.
pub const UNDER_WAY: usize = 2;

/// What they are called, by the number on the page.
pub const NAMES: [&str; 19] = [
    "nothing",
    "put",
    "request",
    "lease",
    "get",
    "commit",
    "give back",
    "reply",
    "take answer",
    "drop ticket",
    "take dead letter",
    "look at sizes",
    "trace",
    "dump",
    "sweep",
    "recover",
    "close",
    "wait",
    "join or leave",
];

/// Room for a message, of a sane size only.
#[derive(Default)]
struct Copied(Vec<u8>);

// SAFETY: `room` makes the vector as long as asked, and nothing moves it before the next call.
unsafe impl Buffer for Copied {
    fn room(&mut self, len: usize) -> *mut u8 {
        assert!(len <= MOST, "a message of {len} bytes: no block is that large");
        self.0.clear();
        self.0.resize(len, 0);
        self.0.as_mut_ptr()
    }

    fn filled(&mut self, _: usize, _: bool) {}
}

/// Bytes of the largest block.
const MOST: usize = 4096;

/// What a participant has in hand when the bytes change.
#[derive(Default)]
pub struct Hands {
    leases: Vec<LeaseToken>,
    tickets: Vec<TicketToken>,
}

/// Tries everything on `ring`, as whatever member the process is.
///
/// With `sleep` it falls asleep for want of an item, and of room, for a moment.
pub fn try_everything(ring: &Ring, page: &Page, hands: &mut Hands, close: bool, sleep: bool) {
    let at = |number: u64| page.word(UNDER_WAY).store(number, Ordering::Relaxed);
    let q = ring.queue();
    let mut copied = Copied::default();
    for kind in BLOCK_KINDS {
        for len in [0, 300, 1100, 5000] {
            let mut bytes = bytes_of(7, kind);
            bytes.resize(bytes.len().max(len), 7);
            at(1);
            let _ = q.try_put(Message { bytes: &bytes, carries: len == 300 });
            at(2);
            hands.tickets.extend(q.try_request(message(&bytes)));
            at(3);
            if let Ok(Taken::Lease(lease)) = q.try_take(Mode::Lease, len == 0, &mut copied) {
                hands.leases.push(lease);
            }
            at(4);
            let _ = q.try_take(Mode::Get, len != 0, &mut copied);
        }
    }
    for (i, lease) in std::mem::take(&mut hands.leases).into_iter().enumerate() {
        match i % 3 {
            0 => {
                at(5);
                q.commit(lease);
            }
            1 => {
                at(6);
                q.give_back(lease);
            }
            _ => {
                at(7);
                if let Err((lease, _)) = q.try_reply(lease, message(&[1; 700])) {
                    q.give_back(lease);
                }
            }
        }
    }
    for (i, ticket) in std::mem::take(&mut hands.tickets).into_iter().enumerate() {
        let rest = if i % 2 == 0 {
            at(8);
            q.take_answer(ticket, &mut copied).ok().and_then(|(_, ticket)| ticket)
        } else {
            Some(ticket)
        };
        at(9);
        rest.into_iter().for_each(|ticket| q.drop_ticket(ticket));
    }
    at(10);
    hands.leases.extend(q.try_take_dead(&mut copied));
    at(11);
    let _ = (q.len(), q.is_empty(), q.is_full(), q.is_closed(), q.is_next_ready(), q.in_use());
    at(12);
    q.trace(&mut |_| {});
    at(13);
    let mut text = String::new();
    let _ = write!(text, "{:?}", q.dump()); // a string takes all
    at(14);
    q.sweep();
    at(15);
    q.recover();
    if close {
        at(16);
        q.close();
    }
    at(17);
    let until = Some(q.family().now().after(if sleep { 200_000 } else { 0 }));
    let spin = Adaptive::new();
    let _ = block_on(
        q.family(),
        q.readers(),
        || q.others(),
        &spin,
        until,
        || q.try_take(Mode::Get, true, &mut copied).ok(),
    );
    let _ = block_on(
        q.family(),
        q.writers(),
        || q.others(),
        &spin,
        until,
        || q.try_put(message(&[3; 10])).ok(),
    );
    at(18);
    let family = ring.family.0;
    if family.join_object(ring.region, KIND, 0).is_ok() {
        family.leave_object(ring.region);
    }
    let _ = family.look(ring.region, KIND, 0);
    let _ = family.adopt(ring.region).map(|_| family.leave_object(ring.region));
    // Something in hand for the next time.
    at(3);
    if let Ok(Taken::Lease(lease)) = q.try_take(Mode::Lease, true, &mut copied) {
        hands.leases.push(lease);
    }
    at(2);
    hands.tickets.extend(q.try_request(message(b"again")));
    at(0);
}

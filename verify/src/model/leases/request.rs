//! What a requester does: put, wait, take the result, give up.

use super::word::{In, Is, NO_RESULT, Slot};
use super::{At, COMMITTED, FRESH, Leases, Mutant, RESULT, State, Steps, Thread};

impl Leases {
    pub(super) fn request(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let b = usize::from(me.b).wrapping_sub(1);
        let r = usize::from(me.r).wrapping_sub(1);
        let i = usize::from(me.slot).wrapping_sub(1);
        let early = self.has(Mutant::FullBeforeQueued);
        let mut n = *s;
        let bw = s.block[b];
        let thread = &mut n.thread[t];
        match me.at {
            At::Fill | At::Queue if !bw.held(Is::Owned, self.me(t)) => {
                out.wrong(t, "writes its block", "a living owner lost its block");
            }
            At::Fill => {
                thread.at = At::Claim;
                (n.content[b], n.link[b]) = (me.item, self.me(t));
                out.step(t, "writes payload and link", n);
            }
            At::Claim => {
                let i = usize::from(s.next % self.slots);
                let lap = s.next / self.slots;
                if s.slot[i] == (Slot { lap, owner: 0, state: In::Empty }) {
                    (thread.at, thread.slot) = (At::SlotBlock, i as u8 + 1);
                    n.slot[i] = Slot { lap, owner: self.me(t), state: In::Writing };
                    n.next += 1;
                    out.step(t, "claims a slot: WRITING", n);
                } else if s.swept < s.deaths {
                    // A full ring: the sweep may make room.
                    (thread.at, thread.back, thread.e) = (At::Sweep, At::Claim, s.deaths);
                    out.step(
                        t,
                        "ring full, sees that a death was not swept; reads the death epoch",
                        n,
                    );
                }
            }
            At::SlotBlock | At::Publish
                if s.slot[i].owner != self.me(t) || s.slot[i].state != In::Writing =>
            {
                out.wrong(t, "writes its slot", "a living writer lost its slot");
            }
            At::SlotBlock => {
                thread.at = if early { At::Publish } else { At::Queue };
                n.blk[i] = me.b;
                out.step(t, "stores slot.blk", n);
            }
            At::Queue => {
                let p = s.slot[i].lap * self.slots + i as u8;
                n.block[b] = bw.to(Is::Queued, p).with_ticket(true);
                (thread.at, thread.slot) =
                    if early { (At::Wait, 0) } else { (At::Publish, me.slot) };
                out.step(t, "block OWNED -> QUEUED, TICKET", n);
            }
            At::Publish => {
                n.slot[i] = Slot { lap: s.slot[i].lap, owner: 0, state: In::Full };
                n.item[usize::from(me.item)] = COMMITTED;
                (thread.at, thread.slot) = if early { (At::Queue, me.slot) } else { (At::Wait, 0) };
                out.step(t, "slot WRITING -> FULL: the put is committed", n);
            }
            At::Wait => {
                if !bw.ticket() || s.link[b] != self.me(t) {
                    return out.wrong(
                        t,
                        "looks at its request",
                        "a living requester lost its request",
                    );
                }
                if s.swept < s.deaths {
                    // A waiter is woken by the death, and sweeps.
                    (thread.at, thread.back, thread.e) = (At::Sweep, At::Wait, s.deaths);
                    out.step(t, "waits, sees that a death was not swept; reads the death epoch", n);
                    n = *s;
                }
                let replied = bw.is() == Is::Replied;
                if replied {
                    let none = bw.aux() == NO_RESULT;
                    n.thread[t].at = if none { At::FreeRequest } else { At::Copy };
                    n.thread[t].r = if none { 0 } else { bw.aux() + 1 };
                    out.step(t, "sees REPLIED", n);
                    n = *s;
                }
                if s.drops > 0 {
                    n.drops -= 1;
                    if replied {
                        let none = bw.aux() == NO_RESULT;
                        n.thread[t].at = if none { At::FreeRequest } else { At::FreeResult };
                        n.thread[t].r = if none { 0 } else { bw.aux() + 1 };
                        out.step(t, "drops its ticket, finds REPLIED", n);
                    } else {
                        n.block[b] = bw.with_ticket(false);
                        n.thread[t] = Thread { did: me.did + 1, ..FRESH };
                        out.step(t, "drops its ticket: TICKET cleared", n);
                    }
                }
            }
            At::Copy | At::FreeResult
                if !s.block[r].held(Is::Reply, me.b - 1) || s.content[r] != me.item + RESULT =>
            {
                out.wrong(t, "reads its result", "a requester's result is not there any more");
            }
            At::Copy => {
                thread.at = if self.has(Mutant::RequestFreedFirst) {
                    At::FreeRequest
                } else {
                    At::FreeResult
                };
                out.step(t, "copies the result", n);
            }
            At::FreeResult => {
                Self::set_free(&mut n, r);
                n.thread[t].at = At::FreeRequest;
                if self.has(Mutant::RequestFreedFirst) {
                    n.thread[t] = Thread { did: me.did + 1, ..FRESH };
                }
                out.step(t, "result -> FREE", n);
            }
            _ => {
                if bw.is() != Is::Replied || !bw.ticket() {
                    return out.wrong(t, "request -> FREE", "a living requester lost its request");
                }
                Self::set_free(&mut n, b);
                if self.has(Mutant::RequestFreedFirst) && me.r != 0 {
                    n.thread[t].at = At::FreeResult;
                } else {
                    n.thread[t] = Thread { did: me.did + 1, ..FRESH };
                }
                out.step(t, "request -> FREE", n);
            }
        }
    }
}

//! What a producer does.

use super::word::{In, Is, Slot};
use super::{At, COMMITTED, FRESH, Ring, State, Steps, Thread};

impl Ring {
    pub(super) fn put(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let (i, lap) = (self.at(me.p), self.lap(me.p));
        let big = self.big[usize::from(me.item)];
        let w = s.slot[i];
        let writing = Slot::new(lap, In::Writing, self.me(t), false, 0);
        let mut n = *s;
        match me.at {
            At::PutWalk => {
                if w == Slot::empty(lap) {
                    n.slot[i] = writing;
                    n.thread[t].at = At::PutWrite;
                    out.step(t, "claims the slot: WRITING", n);
                } else if w.lap() >= lap {
                    n.thread[t].p = if w.lap() > lap { s.tail.max(me.p + 1) } else { me.p + 1 };
                    out.step(t, "finds the slot claimed, goes on", n);
                } else if self.dead(s, w.owner()) {
                    Self::repair(&mut n, t, w, i as u8, At::PutWalk);
                    out.step(t, "finds a dead owner in the way", n);
                } else {
                    n.thread[t] = Thread { did: me.did, item: me.item, b: me.b, ..FRESH };
                    out.step(t, "finds the ring full", n);
                }
                return;
            }
            At::PutWrite if w != writing => {
                return out.wrong(t, "writes its slot", "a living writer lost its slot");
            }
            At::PutWrite => {
                if big {
                    n.blk[i] = me.b;
                    n.thread[t].at = At::PutQueued;
                    out.step(t, "stores slot.blk", n);
                } else {
                    n.inline[i] = me.item;
                    n.thread[t].at = At::PutFull;
                    out.step(t, "writes the payload", n);
                }
                return;
            }
            At::PutQueued => {
                let b = usize::from(me.b) - 1;
                if !s.block[b].held(Is::Owned, self.me(t)) {
                    return out.wrong(t, "stores QUEUED", "a living owner lost its block");
                }
                n.block[b] = s.block[b].to(Is::Queued, me.p);
                n.thread[t].at = At::PutFull;
                out.step(t, "block OWNED -> QUEUED", n);
                return;
            }
            At::PutFull if w != writing => {
                return out.wrong(t, "stores FULL", "a living writer lost its slot");
            }
            At::PutFull => {
                n.slot[i] = Slot::new(lap, In::Full, 0, big, 0);
                n.item[usize::from(me.item)] = COMMITTED;
                n.thread[t].at = At::PutHint;
                out.step(t, "slot WRITING -> FULL: the put is committed", n);
                return;
            }
            At::PutHint if s.tail < me.p + 1 => {
                n.thread[t].at = At::PutHintStore;
                out.step(t, "sees an old tail hint", n);
                return;
            }
            At::PutHintStore => n.tail = me.p + 1,
            _ => {}
        }
        n.thread[t] = Thread { did: me.did + 1, ..FRESH };
        out.step(t, "is done with the tail hint", n);
    }
}

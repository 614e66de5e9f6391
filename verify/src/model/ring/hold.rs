//! What a reader does with an item that it holds.

use super::word::{In, Is, Slot};
use super::{At, FRESH, Mutant, NONE, Ring, State, Steps, Thread};

impl Ring {
    /// What the owner of READING does.
    pub(super) fn hold(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = self.at(me.p);
        let mine = s.slot[i] == me.w && self.payload(s, i, me.w) == me.item;
        let b = usize::from(me.b).wrapping_sub(1);
        let mut n = *s;
        if me.at != At::LeaseEmpty && me.at != At::Empty && !mine {
            return out.wrong(t, "reads its slot", "a living reader lost its slot or payload");
        }
        match me.at {
            At::Claimed => match (me.lease, me.w.block()) {
                (false, true) => {
                    (n.thread[t].at, n.thread[t].b) = (At::GetBlockFree, s.blk[i]);
                    out.step(t, "get: copies out of the block", n);
                }
                (false, false) => {
                    n.slot[i] = Slot::empty(self.lap(me.p) + 1);
                    n.inline[i] = NONE;
                    n.thread[t].at = At::Hint;
                    let done = self.consume(&mut n, t);
                    out.either(t, "get: copies, slot -> EMPTY: committed", done.map(|()| n));
                }
                (true, true) => {
                    (n.thread[t].at, n.thread[t].b) = (At::LeaseTake, s.blk[i]);
                    out.step(t, "lease: reads slot.blk", n);
                }
                (true, false) => {
                    let b = usize::from(me.spare) - 1;
                    if !s.block[b].held(Is::Owned, self.me(t)) {
                        return out.wrong(t, "writes its block", "a living owner lost its block");
                    }
                    n.content[b] = me.item;
                    n.blk[i] = me.spare;
                    (n.thread[t].b, n.thread[t].spare) = (me.spare, 0);
                    let early = self.has(Mutant::SlotBeforeQueued);
                    n.thread[t].at = if early { At::ConvertSlot } else { At::ConvertQueued };
                    out.step(t, "lease: copies the payload into the block, stores slot.blk", n);
                }
            },
            At::GetBlockFree if !s.block[b].queued_at(me.p) => {
                out.wrong(
                    t,
                    "block QUEUED -> FREE",
                    "the block of a slot in READING is not QUEUED",
                );
            }
            At::GetBlockFree => {
                n.block[b] = s.block[b].freed();
                n.content[b] = NONE;
                n.thread[t].at = At::Empty;
                let done = self.consume(&mut n, t);
                out.either(t, "get: block QUEUED -> FREE: committed", done.map(|()| n));
            }
            At::ConvertQueued if !s.block[b].held(Is::Owned, self.me(t)) => {
                out.wrong(t, "writes its block", "a living owner lost its block");
            }
            At::ConvertQueued => {
                n.block[b] = s.block[b].to(Is::Queued, me.p);
                let early = self.has(Mutant::SlotBeforeQueued);
                n.thread[t].at = if early { At::LeaseTake } else { At::ConvertSlot };
                out.step(t, "block OWNED -> QUEUED", n);
            }
            At::ConvertSlot => {
                n.slot[i] = Slot::new(self.lap(me.p), In::Reading, self.me(t), true, me.w.g());
                n.inline[i] = NONE;
                n.thread[t].w = n.slot[i];
                let early = self.has(Mutant::SlotBeforeQueued);
                n.thread[t].at = if early { At::ConvertQueued } else { At::LeaseTake };
                if self.has(Mutant::ConvertedGoesOnEarly) {
                    n.slot[i] = Slot::empty(self.lap(me.p) + 1);
                    n.block[b] = s.block[b];
                    n.thread[t].at = At::LeaseEmpty;
                }
                out.step(t, "slot READING inline -> READING BLOCK", n);
            }
            At::LeaseTake if !s.block[b].queued_at(me.p) => {
                out.wrong(
                    t,
                    "block QUEUED -> LEASED",
                    "the block of a slot in READING is not QUEUED",
                );
            }
            At::LeaseTake => {
                n.block[b] = s.block[b].to(Is::Leased, self.me(t));
                n.thread[t].at = At::LeaseEmpty;
                out.step(t, "block QUEUED -> LEASED", n);
            }
            At::LeaseEmpty
                if self.has(Mutant::ConvertedGoesOnEarly) && s.slot[i].state() != In::Reading =>
            {
                n.block[b] = s.block[b].to(Is::Leased, self.me(t));
                n.thread[t].at = At::Hint;
                out.step(t, "block QUEUED -> LEASED", n);
            }
            _ if s.slot[i] != me.w => {
                out.wrong(t, "slot -> EMPTY", "a living reader lost its slot")
            }
            _ => {
                n.slot[i] = Slot::empty(self.lap(me.p) + 1);
                n.thread[t].at = At::Hint;
                if me.at == At::Empty {
                    n.thread[t].b = 0;
                }
                out.step(t, "slot -> EMPTY", n);
            }
        }
    }

    pub(super) fn leased(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let b = usize::from(me.b).wrapping_sub(1);
        let mut n = *s;
        if me.at == At::Unspare {
            let spare = usize::from(me.spare) - 1;
            if !s.block[spare].held(Is::Owned, self.me(t)) {
                return out.wrong(t, "gives its spare block back", "a living owner lost its block");
            }
            n.block[spare] = s.block[spare].freed();
            n.content[spare] = NONE;
            n.thread[t].spare = 0;
            n.thread[t].at = if me.item == NONE { At::Idle } else { At::Leased };
            return out.step(t, "its spare block OWNED -> FREE", n);
        }
        if me.at == At::DropPend {
            n.pend += 1;
            Self::rest(&mut n, t);
            return out.step(t, "pend + 1", n);
        }
        if !s.block[b].held(Is::Leased, self.me(t)) || s.content[b] != me.item {
            return out.wrong(t, "ends its lease", "a living lessee lost its block");
        }
        n.block[b] = s.block[b].freed();
        n.content[b] = NONE;
        n.thread[t].b = 0;
        n.thread[t].at = At::Idle;
        let done = self.consume(&mut n, t);
        out.either(t, "lease LEASED -> FREE: committed", done.map(|()| n));
        if s.returns > 0 {
            n = *s;
            n.returns -= 1;
            n.block[b] = s.block[b].returned();
            n.thread[t] = Thread { at: At::DropPend, ..FRESH };
            out.step(t, "drops its lease: LEASED -> RETURNED", n);
        }
    }
}

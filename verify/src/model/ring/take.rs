//! What a reader does until it holds an item: scan for what was given back, or walk from the hint.

use super::word::{In, Is, Slot};
use super::{At, Mutant, NONE, Ring, SLOTS, State, Steps};

impl Ring {
    pub(super) fn scan(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        match me.at {
            At::ScanSlots if me.i == self.slots => {
                (n.thread[t].at, n.thread[t].i) = (At::ScanBlocks, 0);
                out.step(t, "scanned the slots, goes on to the blocks", n);
            }
            At::ScanSlots => {
                let w = s.slot[i];
                if w.state() == In::Full && w.g() > 0 {
                    if me.lease && !w.block() && me.spare == 0 {
                        return self.spare(s, t, out);
                    }
                    n.slot[i] = Slot::new(w.lap(), In::Reading, self.me(t), w.block(), w.g());
                    let thread = &mut n.thread[t];
                    (thread.at, thread.w, thread.p) =
                        (At::Claimed, n.slot[i], w.lap() * self.slots + me.i);
                    thread.hint = if self.has(Mutant::ScanMovesHead) { thread.p + 1 } else { NONE };
                    let taken = self.take(&mut n, t, self.payload(s, i, w));
                    out.either(t, "scan: takes a redelivered slot", taken.map(|()| n));
                } else {
                    n.thread[t].i += 1;
                    out.step(t, "scan: looks at a slot", n);
                }
            }
            At::ScanBlocks if me.i == self.blocks => {
                n.thread[t].at = At::ScanEnd;
                out.step(t, "scanned the blocks: nothing", n);
            }
            At::ScanBlocks => {
                let bw = s.block[i];
                if bw.is() == Is::Returned {
                    n.block[i] = bw.to(Is::Leased, self.me(t));
                    n.thread[t].at = if me.spare == 0 { At::Leased } else { At::Unspare };
                    n.thread[t].b = me.i + 1;
                    let taken = self.take(&mut n, t, s.content[i]);
                    out.either(t, "scan: RETURNED -> LEASED", taken.map(|()| n));
                } else {
                    n.thread[t].i += 1;
                    out.step(t, "scan: looks at a block", n);
                }
            }
            _ if me.flag => {
                Self::rest(&mut n, t);
                out.step(t, "nothing found, but passed what it has no room for", n);
            }
            _ if self.has(Mutant::PendSetBack) => {
                if s.pend == me.e {
                    (n.pend, n.scanned) = (0, 0);
                }
                Self::walk(&mut n, t, s.head);
                out.step(t, "nothing found: pend back to 0 by CAS; reads the head hint", n);
            }
            _ => {
                n.scanned = s.scanned.max(me.e);
                Self::walk(&mut n, t, s.head);
                out.step(t, "nothing found: scanned = what pend was; reads the head hint", n);
            }
        }
    }

    /// A lessee found an inline item: it takes a block first, and then looks again.
    pub(super) fn spare(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let mut n = *s;
        let thread = &mut n.thread[t];
        if let Some(b) = (0..usize::from(self.blocks)).find(|&b| s.block[b].is() == Is::Free) {
            thread.spare = b as u8 + 1;
            n.block[b] = s.block[b].to(Is::Owned, self.me(t));
            out.step(t, "finds an inline item: takes a FREE block, will look again", n);
        } else if thread.at == At::Walk || self.has(Mutant::NoRoomEndsScan) {
            Self::rest(&mut n, t);
            out.step(t, "finds an inline item and no FREE block", n);
        } else {
            (thread.i, thread.flag) = (thread.i + 1, true);
            out.step(t, "scan: passes an inline item, having no FREE block", n);
        }
    }

    /// The item that a slot with word `w` holds.
    pub(super) fn payload(&self, s: &State, i: usize, w: Slot) -> u8 {
        match (w.block(), s.blk[i]) {
            (false, _) => s.inline[i],
            (true, 0) => NONE,
            (true, b) => s.content[usize::from(b) - 1],
        }
    }

    pub(super) fn get(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let (i, lap) = (self.at(me.p), self.lap(me.p));
        let w = s.slot[i];
        let mut n = *s;
        match me.at {
            At::Walk => {
                if w.lap() > lap {
                    n.thread[t].p += 1;
                    return out.step(t, "finds the position consumed, goes on", n);
                }
                if self.dead(s, w.owner()) {
                    // Starts again behind the repair.
                    Self::rest(&mut n, t);
                    Self::repair(&mut n, t, w, i as u8, At::Idle);
                    return out.step(t, "finds a dead owner", n);
                }
                match w.state() {
                    _ if w.lap() < lap => {}
                    In::Full if me.lease && !w.block() && me.spare == 0 => {
                        return self.spare(s, t, out);
                    }
                    In::Full => {
                        n.thread[t].w = w;
                        n.thread[t].i = 0;
                        let check = me.skip != [0; SLOTS] && !self.has(Mutant::NoRevalidate);
                        n.thread[t].at = if check { At::Validate } else { At::Claim };
                        return out.step(t, "finds FULL", n);
                    }
                    In::Reading => {
                        n.thread[t].p += 1;
                        return out.step(t, "passes a living READING", n);
                    }
                    In::Writing => {
                        n.thread[t].skip[i] = w.owner();
                        n.thread[t].p += 1;
                        if me.hint == NONE {
                            n.thread[t].hint = me.p;
                        }
                        return out.step(t, "passes a living WRITING", n);
                    }
                    In::Empty => {}
                }
                Self::rest(&mut n, t);
                out.step(t, "finds nothing", n);
            }
            At::Validate => {
                let j = usize::from(me.i);
                if j == usize::from(self.slots) {
                    n.thread[t].at = At::Claim;
                    return out.step(t, "nothing passed has changed", n);
                }
                n.thread[t].i += 1;
                if me.skip[j] != 0 {
                    // The one position below p, by less than a lap, in slot j.
                    let p = me.p - (me.p - me.i) % self.slots;
                    if s.slot[j] != Slot::new(self.lap(p), In::Writing, me.skip[j], false, 0) {
                        Self::rest(&mut n, t);
                        return out.step(t, "a slot it passed has changed: starts again", n);
                    }
                }
                out.step(t, "looks again at what it passed", n);
            }
            At::Claim => {
                if w != me.w {
                    n.thread[t].at = At::Walk;
                    n.thread[t].w = Slot(0);
                    n.thread[t].i = 0;
                    return out.step(t, "CAS to READING fails", n);
                }
                n.slot[i] = Slot::new(lap, In::Reading, self.me(t), w.block(), w.g());
                let thread = &mut n.thread[t];
                (thread.at, thread.w) = (At::Claimed, n.slot[i]);
                (thread.skip, thread.i) = ([0; SLOTS], 0);
                if thread.hint == NONE {
                    thread.hint = me.p + 1;
                }
                let taken = self.take(&mut n, t, self.payload(s, i, w));
                out.either(t, "slot FULL -> READING", taken.map(|()| n));
            }
            At::Hint if me.hint != NONE && s.head < me.hint => {
                n.thread[t].at = At::HintStore;
                out.step(t, "sees an old head hint", n);
            }
            _ => {
                if me.at == At::HintStore {
                    n.head = me.hint;
                }
                Self::rest(&mut n, t);
                if me.item != NONE {
                    n.thread[t].b = me.b;
                    if me.spare == 0 {
                        n.thread[t].at = At::Leased;
                    }
                }
                out.step(t, "is done with the head hint", n);
            }
        }
    }
}

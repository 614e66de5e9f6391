//! A reader: from the head on, passing what others hold; retiring; leases.

use super::state::*;
use super::{Chain, Mutant::*, Steps, TOUCH};

impl Chain {
    pub(super) fn walk(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let x = usize::from(me.x.index);
        let ring = &s.ring[x];
        let behind = me.x != me.head;
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::PassPin => {
                thread.pins[1] = me.new.index;
                thread.at = At::PassCheck;
                out.step(t, "pins the next ring", n);
            }
            At::PassCheck if s.head == me.head || self.has(PassWithoutRecheck) => {
                (thread.x, thread.at, thread.new) = (me.new, At::Look, NOWHERE);
                out.step(t, "sees the head where it was: passes", n);
            }
            At::PassCheck => {
                Self::leave(thread);
                out.step(t, "sees that the head moved", n);
            }
            _ if !Self::memory(s, me.x) => out.wrong(t, "looks at the slots", TOUCH),
            At::Look => self.look(s, t, out),
            At::Still => {
                if !Self::memory(s, me.head) {
                    return out.wrong(t, "looks at what it passed", TOUCH);
                }
                let passed = &s.ring[usize::from(me.head.index)].slot;
                let noted = |i: &usize| me.trail[*i] != EMPTY;
                let still = (0..SLOTS).filter(noted).all(|i| passed[i] == me.trail[i]);
                if still || self.has(PassWithoutGuard) {
                    thread.at = At::Take;
                } else {
                    Self::leave(thread);
                }
                out.step(t, "looks at what it passed", n);
            }
            At::Take => {
                let i = usize::from(me.slot);
                if ring.slot[i] != me.seen {
                    thread.at = At::Look;
                    return out.step(t, "CAS of the slot fails", n);
                }
                let owner = t as u8 + 1;
                n.ring[x].slot[i] = Slot { is: In::Reading, owner, ..me.seen };
                n.thread[t].at = if self.lease { At::LeaseBlock } else { At::Copy };
                n.thread[t].item = me.seen.item;
                let taken = self.hand_over(&mut n, me.seen.item);
                out.either(t, "slot FULL -> READING", taken.map(|()| n));
            }
            _ => {
                let i = usize::from(me.slot);
                if ring.slot[i] == me.seen {
                    n.ring[x].slot[i].is = In::Closed;
                }
                n.thread[t].at = At::Look;
                out.step(t, if behind { "CAS of the mark, behind" } else { "CAS of the mark" }, n);
            }
        }
    }

    fn look(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let x = usize::from(me.x.index);
        let ring = &s.ring[x];
        let behind = me.x != me.head;
        let mut n = *s;
        let mut trail = [EMPTY; SLOTS];
        let mut marked = self.has(HeadPassesWithoutMark);
        let mut last = None;
        for &i in &self.in_order(ring)[..usize::from(self.slots)] {
            let w = ring.slot[i];
            if self.is_older(ring, last, i)
                && let Some(last) = last
            {
                trail[last] = ring.slot[last];
                break;
            }
            last = Some(i);
            let thread = &mut n.thread[t];
            match w.is {
                In::Full => {
                    (thread.slot, thread.seen) = (i as u8, w);
                    let passed = trail.iter().any(|slot| slot.is == In::Writing);
                    if passed && behind {
                        Self::leave(thread);
                        return out.step(t, "gives up behind a second writer", n);
                    }
                    if !behind {
                        thread.trail = trail;
                    }
                    thread.at = if behind || passed { At::Still } else { At::Take };
                    return out.step(t, "finds an item", n);
                }
                In::Empty if ring.next != NOWHERE && !self.has(HeadPassesWithoutMark) => {
                    (thread.slot, thread.seen, thread.at) = (i as u8, w, At::Mark);
                    return out.step(t, "finds EMPTY, and a successor", n);
                }
                In::Empty => break,
                In::Closed => {
                    marked = true;
                    break;
                }
                In::Writing => trail[i] = w,
                In::Reading => {}
            }
        }
        let thread = &mut n.thread[t];
        if ring.next == NOWHERE {
            Self::leave(thread);
            return out.step(t, "finds nothing", n);
        }
        thread.new = ring.next;
        if marked && !behind {
            (thread.at, thread.trail) = (At::SlotsClear, trail);
            return out.step(t, "finds the mark", n);
        }
        self.pass(thread, behind, trail);
        out.step(t, "finds nothing to take, and a successor", n);
    }

    /// Goes on to the next ring, if there is not too much to note.
    fn pass(&self, thread: &mut Thread, behind: bool, trail: [Slot; SLOTS]) {
        if behind {
            Self::leave(thread);
        } else {
            (thread.at, thread.trail) = (At::PassPin, trail);
        }
    }

    pub(super) fn retire(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let x = usize::from(me.x.index);
        let mut n = *s;
        match me.at {
            At::SlotsClear => {
                if !Self::memory(s, me.x) {
                    return out.wrong(t, "looks at the slots", TOUCH);
                }
                let used = |slot: &Slot| !matches!(slot.is, In::Empty | In::Closed);
                let held = s.ring[x].slot[..usize::from(self.slots)].iter().any(used);
                if !held || self.has(HeadPassesUsedSlots) {
                    n.thread[t].at = At::RetirePromote;
                    out.step(t, "sees no slot in use", n);
                } else {
                    self.pass(&mut n.thread[t], false, me.trail);
                    out.step(t, "sees a slot in use", n);
                }
            }
            At::RetirePromote => {
                let next = &mut n.ring[usize::from(me.new.index)].word;
                let offered = matches!(next.is, Is::Offered(_));
                if offered && next.generation == me.new.generation {
                    next.is = Is::Live;
                }
                n.thread[t].at = At::RetireTail;
                out.step(t, "promotes the successor", n);
            }
            At::RetireTail => {
                if s.tail == me.x {
                    n.tail = me.new;
                }
                let late = self.has(RetireAfterHead);
                n.thread[t].at = if late { At::RetireHead } else { At::RetireWord };
                out.step(t, "CAS of the tail", n);
            }
            At::RetireWord => {
                let word = &mut n.ring[x].word;
                if word.is == Is::Live && word.generation == me.x.generation {
                    word.is = Is::Retired;
                }
                if self.has(RetireAfterHead) {
                    Self::leave(&mut n.thread[t]);
                } else {
                    n.thread[t].at = At::RetireHead;
                }
                out.step(t, "ring LIVE -> RETIRED", n);
            }
            _ => {
                if s.head == me.x {
                    n.head = me.new;
                }
                if self.has(RetireAfterHead) {
                    n.thread[t].at = At::RetireWord;
                } else {
                    Self::leave(&mut n.thread[t]);
                }
                out.step(t, "CAS of the head", n);
            }
        }
    }

    pub(super) fn hold(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let (x, i) = (usize::from(me.x.index), usize::from(me.slot));
        let owner = t as u8 + 1;
        let mut n = *s;
        if me.at == At::Hold {
            for back in [false, true] {
                if back && s.returns == 0 {
                    continue;
                }
                let mut n = *s;
                n.returns -= u8::from(back);
                (n.thread[t].at, n.thread[t].back) = (At::EndPin, back);
                out.step(t, if back { "will give it back" } else { "will commit it" }, n);
            }
            return;
        }
        if me.at != At::EndPin && me.at != At::EndCount && !Self::memory(s, me.x) {
            return out.wrong(t, "uses a slot or a block", TOUCH);
        }
        match me.at {
            At::Copy | At::LeaseSlot => {
                let w = s.ring[x].slot[i];
                if w.is != In::Reading || w.owner != owner {
                    return out.wrong(t, "empties the slot", "a living reader lost its slot");
                }
                n.ring[x].slot[i] = Slot { lap: w.lap + 1, ..EMPTY };
                if me.at == At::Copy {
                    n.item[usize::from(me.item)] = Item::Gone;
                    n.thread[t].item = NONE;
                }
                Self::leave(&mut n.thread[t]);
                out.step(t, "slot READING -> EMPTY", n);
            }
            At::LeaseBlock => {
                // One block a ring: who finds it in use waits, as for a block of its own.
                if s.ring[x].block != Block::Free {
                    let w = s.ring[x].slot[i];
                    n.ring[x].slot[i] = Slot { is: In::Full, owner: 0, ..w };
                    n.item[usize::from(me.item)] = Item::There;
                    n.thread[t].item = NONE;
                    Self::leave(&mut n.thread[t]);
                    return out.step(t, "finds no block", n);
                }
                n.ring[x].block = Block::Leased(owner, me.item);
                n.thread[t].at = At::LeaseSlot;
                out.step(t, "block -> LEASED", n);
            }
            At::EndPin => {
                n.thread[t].pins[0] = me.x.index;
                n.thread[t].at = At::EndBlock;
                if me.back && self.has(SweepTakesPendFirst) {
                    n.pend += 1;
                }
                out.step(t, "pins the ring of its lease", n);
            }
            At::EndBlock => {
                if s.ring[x].block != Block::Leased(owner, me.item) {
                    return out.wrong(t, "ends its lease", "a living lessee lost its block");
                }
                if me.back {
                    n.ring[x].block = Block::Returned(me.item);
                    n.item[usize::from(me.item)] = Item::There;
                    n.thread[t].at = At::EndCount;
                } else {
                    n.ring[x].block = Block::Free;
                    n.item[usize::from(me.item)] = Item::Gone;
                }
                n.thread[t].item = NONE;
                if !me.back || self.has(SweepTakesPendFirst) {
                    n.thread[t].back = false;
                    Self::leave(&mut n.thread[t]);
                }
                out.step(t, if me.back { "block -> RETURNED" } else { "block -> FREE" }, n);
            }
            _ => {
                n.pend += 1;
                n.thread[t].back = false;
                Self::leave(&mut n.thread[t]);
                out.step(t, "pend + 1", n);
            }
        }
    }

    /// Looks in every ring for what was given back.
    pub(super) fn scan(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        let thread = &mut n.thread[t];
        if me.at == At::ScanEnd || i == usize::from(self.rings) {
            n.scanned = s.scanned.max(me.e);
            n.thread[t] = Thread { did: me.did, ..FRESH };
            return out.step(t, "scan: found nothing", n);
        }
        match me.at {
            At::ScanPin if s.ring[i].word.is_there() => {
                thread.pins[0] = me.i;
                thread.at = At::ScanCheck;
                out.step(t, "scan: pins a ring", n);
            }
            At::ScanPin => {
                thread.i += 1;
                out.step(t, "scan: no ring there", n);
            }
            At::ScanCheck => {
                let word = s.ring[i].word;
                if word.is_there() {
                    let generation = word.generation;
                    (thread.x, thread.at) = (Link { index: me.i, generation }, At::ScanTake);
                } else {
                    (thread.pins[0], thread.at) = (NONE, At::ScanPin);
                    thread.i += 1;
                }
                out.step(t, "scan: is it there?", n);
            }
            _ if !Self::memory(s, me.x) => out.wrong(t, "scans a ring", TOUCH),
            _ => {
                if let Block::Returned(item) = s.ring[i].block {
                    n.ring[i].block = Block::Leased(t as u8 + 1, item);
                    let taken = self.hand_over(&mut n, item);
                    n.thread[t].item = item;
                    if self.lease {
                        Self::leave(&mut n.thread[t]);
                    }
                    return out.either(t, "scan: block RETURNED -> LEASED", taken.map(|()| n));
                }
                // Nothing here: out of the ring, on to the next.
                thread.pins[0] = NONE;
                thread.i += 1;
                (thread.free, thread.then, thread.at) = (me.i, At::ScanPin, At::FreeWord);
                out.step(t, "scan: nothing here", n);
            }
        }
    }
}

//! Leaving a ring, giving it back, and repair.

use super::state::*;
use super::{Chain, Mutant::*, Steps, TOUCH};

impl Chain {
    pub(super) fn unpin(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        let thread = &mut n.thread[t];
        let after = if me.item == NONE { At::Idle } else { At::Hold };
        let over = |thread: &mut Thread| {
            *thread = match after {
                At::Hold => {
                    let Thread { x, item, did, .. } = *thread;
                    Thread { at: At::Hold, x, item, did, ..FRESH }
                }
                _ => Thread { did: thread.did, ..FRESH },
            };
        };
        match me.at {
            At::UnpinSecond | At::UnpinFirst => {
                let second = me.at == At::UnpinSecond;
                let pin = &mut thread.pins[usize::from(second)];
                thread.free = std::mem::replace(pin, NONE);
                thread.at = if second { At::LeftSecond } else { At::LeftFirst };
                if thread.free == NONE {
                    over(thread);
                }
                out.step(t, "unpins", n);
            }
            _ => {
                let then = if me.at == At::LeftSecond { At::UnpinFirst } else { At::LeftFirst };
                let retired = s.ring[usize::from(me.free)].word.is == Is::Retired;
                if retired && !self.has(LeaveDoesNotFree) {
                    (thread.then, thread.at) = (then, At::FreeWord);
                    if then == At::LeftFirst {
                        thread.then = after;
                    }
                } else if then == At::UnpinFirst {
                    thread.at = then;
                } else {
                    over(thread);
                }
                out.step(t, "looks whether the ring it left is RETIRED", n);
            }
        }
    }

    /// The attempt is over: on to whatever is next.
    fn freed(n: &mut State, t: usize) {
        // A word matters only to those who know it: without them, all that a ring was spared is forgotten.
        let free = n.thread[t].free;
        let known = |other: usize| other != t && n.thread[other].free == free;
        let used_up = n.ring[usize::from(free)].word.spare == MOST_SPARED;
        if !used_up && !(0..THREADS).any(known) {
            n.ring[usize::from(free)].word.spare = 0;
        }
        let thread = &mut n.thread[t];
        thread.at = thread.then;
        (thread.word, thread.free, thread.j, thread.then) = (NO_WORD, NONE, 0, At::Idle);
        match thread.at {
            At::Idle => *thread = Thread { did: thread.did, ..FRESH },
            At::Hold => {
                let Thread { x, item, did, .. } = *thread;
                *thread = Thread { at: At::Hold, x, item, did, ..FRESH };
            }
            _ => {}
        }
    }

    pub(super) fn free(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.free);
        let word = s.ring[i].word;
        let here = Link { index: me.free, generation: me.word.generation };
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::FreeWord => {
                if word.is == Is::Retired {
                    (thread.word, thread.at) = (word, At::FreeHead);
                } else {
                    Self::freed(&mut n, t);
                }
                out.step(t, "free: RETIRED?", n);
            }
            At::FreeHead | At::FreeTail => {
                let end = if me.at == At::FreeHead { s.head } else { s.tail };
                if end == here {
                    Self::freed(&mut n, t);
                } else {
                    thread.at = if me.at == At::FreeHead { At::FreeTail } else { At::FreePin };
                }
                out.step(t, "free: no end there?", n);
            }
            At::FreePin => {
                thread.pins[2] = me.free;
                thread.at = At::FreeAgain;
                out.step(t, "free: pins it", n);
            }
            At::FreeAgain => {
                thread.at = if word == me.word { At::FreeBlock } else { At::FreeBack };
                out.step(t, "free: the same word?", n);
            }
            At::FreeBlock => {
                if !Self::memory(s, here) {
                    return out.wrong(t, "free: looks at the blocks", TOUCH);
                }
                let unused = s.ring[i].block == Block::Free || self.has(BlocksNotLookedAt);
                thread.at = if unused { At::FreeDying } else { At::FreeBack };
                out.step(t, "free: no block in use?", n);
            }
            At::FreeDying => {
                let mine = word == me.word;
                thread.at = if mine { At::FreeUnpin } else { At::FreeBack };
                if mine && !self.has(NoDying) {
                    n.ring[i].word.is = Is::Dying(t as u8 + 1);
                }
                out.step(t, "free: RETIRED -> DYING", n);
            }
            At::FreeUnpin => {
                (thread.pins[2], thread.j, thread.at) = (NONE, 0, At::FreeScan);
                out.step(t, "free: unpins", n);
            }
            At::FreeScan | At::FreeScanAgain => {
                let first = me.at == At::FreeScan;
                let j = usize::from(me.j);
                if j == self.threads() {
                    thread.j = 0;
                    thread.at = if first { At::FreeFree } else { At::FreeWord };
                    return out.step(t, "free: nobody looks at it", n);
                }
                let counts = !Self::is_dead(s, me.j + 1) || self.has(DeadPinsCount);
                let pinned = counts && s.thread[j].pins.contains(&me.free);
                if pinned && !self.has(NoPin) {
                    thread.j = 0;
                    if first {
                        thread.at = At::FreeSpare;
                    } else {
                        Self::freed(&mut n, t);
                    }
                    return out.step(t, "free: somebody looks at it", n);
                }
                thread.j += 1;
                out.step(t, "free: a pin, elsewhere", n);
            }
            At::FreeSpare => {
                if self.has(NoDying) {
                    thread.at = At::FreeScanAgain;
                    return out.step(t, "free: spares it", n);
                }
                if word != me.word.to(Is::Dying(t as u8 + 1)) {
                    return out.wrong(t, "free: spares it", "a living owner lost a DYING ring");
                }
                let changed = u8::from(!self.has(SparedUnchanged));
                n.ring[i].word = Word {
                    spare: (me.word.spare + changed).min(MOST_SPARED),
                    ..me.word.to(Is::Retired)
                };
                n.thread[t].at = At::FreeScanAgain;
                out.step(t, "free: DYING -> RETIRED", n);
            }
            At::FreeFree => {
                let mine = if self.has(NoDying) {
                    word == me.word
                } else {
                    word == me.word.to(Is::Dying(t as u8 + 1))
                };
                if mine {
                    n.ring[i].word = Word { is: Is::Free, ..word };
                    n.thread[t].at = At::FreeMemory;
                } else {
                    Self::freed(&mut n, t);
                }
                out.step(t, "free: DYING -> FREE", n);
            }
            At::FreeMemory => {
                n.ring[i].memory &= !(1 << me.word.generation);
                Self::freed(&mut n, t);
                out.step(t, "free: gives the memory back", n);
            }
            At::FreeBack => {
                (thread.pins[2], thread.at) = (NONE, At::FreeBackLook);
                out.step(t, "free: unpins in vain", n);
            }
            _ => {
                if word == me.word {
                    Self::freed(&mut n, t);
                } else {
                    thread.at = At::FreeWord;
                }
                out.step(t, "free: still the same word?", n);
            }
        }
    }

    pub(super) fn sweep(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        let thread = &mut n.thread[t];
        if me.at == At::SweepControl && i == usize::from(self.rings) {
            n.swept = s.swept.max(me.e);
            // Before or behind it, the collector that follows each death: what no word names any more goes.
            for ring in &mut n.ring {
                let named = ring.word.is != Is::Free;
                ring.memory &= if named { 1 << ring.word.generation } else { 0 };
            }
            *thread = Thread { did: me.did, ..FRESH };
            return out.step(t, "sweep: done", n);
        }
        let word = s.ring[i].word;
        let here = Link { index: me.i, generation: word.generation };
        match me.at {
            At::SweepControl => {
                thread.at = At::SweepPin;
                match word.is {
                    Is::Owned(owner) if Self::is_dead(s, owner) => {
                        (thread.word, thread.at) = (word, At::SweepMemory);
                        n.ring[i].word.is = Is::Free;
                    }
                    Is::Offered(owner) if Self::is_dead(s, owner) => {
                        let before = s.ring[i].before;
                        let linked = s.ring[usize::from(before.index)].next == here;
                        let live = linked && !self.has(OfferedAlwaysFreed);
                        n.ring[i].word.is = if live { Is::Live } else { Is::Retired };
                    }
                    Is::Dying(owner) if Self::is_dead(s, owner) => {
                        n.ring[i].word.is = Is::Retired;
                    }
                    _ => {}
                }
                out.step(t, "sweep: a ring's word", n);
            }
            At::SweepMemory => {
                n.ring[i].memory &= !(1 << me.word.generation);
                (thread.word, thread.at) = (NO_WORD, At::SweepPin);
                out.step(t, "sweep: gives memory back", n);
            }
            At::SweepPin if word.is_there() => {
                (thread.pins[2], thread.at) = (me.i, At::SweepCheck);
                out.step(t, "sweep: pins a ring", n);
            }
            At::SweepPin => {
                (thread.i, thread.at) = (me.i + 1, At::SweepControl);
                out.step(t, "sweep: no ring there", n);
            }
            At::SweepCheck => {
                if word.is_there() {
                    (thread.new, thread.at) = (here, At::SweepWords);
                } else {
                    (thread.pins[2], thread.i, thread.at) = (NONE, me.i + 1, At::SweepControl);
                }
                out.step(t, "sweep: is it there?", n);
            }
            At::SweepWords => {
                if !Self::memory(s, me.new) {
                    return out.wrong(t, "sweep: looks at a ring's words", TOUCH);
                }
                let mut returned = false;
                for k in 0..SLOTS {
                    let w = s.ring[i].slot[k];
                    if !Self::is_dead(s, w.owner) {
                        continue;
                    }
                    let moved = s.ring[i].block == Block::Leased(w.owner, w.item);
                    n.ring[i].slot[k] = match w.is {
                        In::Reading if !moved => {
                            n.item[usize::from(w.item)] = Item::There;
                            Slot { is: In::Full, owner: 0, ..w }
                        }
                        In::Writing | In::Reading => Slot { lap: w.lap + 1, ..EMPTY },
                        _ => w,
                    };
                }
                if let Block::Leased(owner, item) = s.ring[i].block
                    && Self::is_dead(s, owner)
                {
                    n.ring[i].block = Block::Returned(item);
                    n.item[usize::from(item)] = Item::There;
                }
                returned |= matches!(n.ring[i].block, Block::Returned(_));
                n.thread[t].at = if returned { At::SweepCount } else { At::SweepUnpin };
                n.thread[t].new = NOWHERE;
                out.step(t, "sweep: a ring's words", n);
            }
            At::SweepCount => {
                n.pend += 1;
                n.thread[t].at = At::SweepUnpin;
                out.step(t, "sweep: pend + 1", n);
            }
            At::SweepUnpin => {
                (thread.pins[2], thread.at) = (NONE, At::SweepFree);
                out.step(t, "sweep: unpins", n);
            }
            _ => {
                thread.i += 1;
                (thread.free, thread.then, thread.at) = (me.i, At::SweepControl, At::FreeWord);
                out.step(t, "sweep: tries to free", n);
            }
        }
    }
}

//! A producer: at the tail, and where it makes a successor.

use super::state::*;
use super::{Chain, Mutant::*, Steps, TOUCH};

impl Chain {
    pub(super) fn put(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let x = usize::from(me.x.index);
        let ring = &s.ring[x];
        let owner = t as u8 + 1;
        let item = self.puts[..t].iter().sum::<u8>() + me.did;
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::Next if ring.next == NOWHERE => {
                thread.at = At::Claim;
                out.step(t, "sees no successor", n);
            }
            At::Next => {
                (thread.at, thread.new) = (At::Follow, ring.next);
                out.step(t, "sees a successor", n);
            }
            At::Follow => {
                if s.tail == me.x {
                    n.tail = me.new;
                }
                Self::leave(&mut n.thread[t]);
                out.step(t, "CAS of the tail", n);
            }
            _ if !Self::memory(s, me.x) => out.wrong(t, "looks at the slots", TOUCH),
            At::Claim => {
                let order = self.in_order(ring);
                let mut last = None;
                for &i in &order[..usize::from(self.slots)] {
                    let w = ring.slot[i];
                    if self.is_older(ring, last, i) {
                        break;
                    }
                    last = Some(i);
                    match w.is {
                        In::Empty => {
                            n.ring[x].slot[i] = Slot { is: In::Writing, owner, item, ..w };
                            (n.thread[t].at, n.thread[t].slot) = (At::Fill, i as u8);
                            return out.step(t, "slot EMPTY -> WRITING", n);
                        }
                        In::Closed => {
                            Self::leave(&mut n.thread[t]);
                            return out.step(t, "finds the mark", n);
                        }
                        _ => {}
                    }
                }
                n.thread[t].at = At::Grow;
                out.step(t, "finds the ring full", n);
            }
            _ => {
                let w = ring.slot[usize::from(me.slot)];
                if w.is != In::Writing || w.owner != owner {
                    return out.wrong(t, "stores FULL", "a living writer lost its slot");
                }
                n.ring[x].slot[usize::from(me.slot)] = Slot { is: In::Full, owner: 0, ..w };
                n.item[usize::from(item)] = Item::There;
                n.thread[t].did += 1;
                Self::leave(&mut n.thread[t]);
                out.step(t, "slot WRITING -> FULL: the put is committed", n);
            }
        }
    }

    pub(super) fn grow(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let (x, i) = (usize::from(me.x.index), usize::from(me.new.index));
        let owner = t as u8 + 1;
        let mut n = *s;
        match me.at {
            At::Grow => {
                let free = (0..usize::from(self.rings)).find(|i| s.ring[*i].word.is == Is::Free);
                let Some(i) = free else {
                    Self::leave(&mut n.thread[t]);
                    return out.step(t, "finds no place for a ring", n);
                };
                let generation = s.ring[i].word.generation + 1;
                // Generations of the model end: such a run is no more looked at than one that is over.
                if generation == 8 {
                    return;
                }
                n.ring[i].word = Word { is: Is::Owned(owner), generation, spare: 0 };
                n.thread[t].new = Link { index: i as u8, generation };
                n.thread[t].at = At::Reset;
                out.step(t, "ring FREE -> OWNED", n);
            }
            At::Reset => {
                if !self.has(NextNotReset) {
                    n.ring[i].next = NOWHERE;
                }
                n.thread[t].at = At::Make;
                out.step(t, "resets next", n);
            }
            At::Make => {
                n.ring[i].memory |= 1 << me.new.generation;
                n.ring[i].slot = [EMPTY; SLOTS];
                n.ring[i].block = Block::Free;
                n.thread[t].at = At::Offer;
                out.step(t, "makes the ring", n);
            }
            At::Offer => {
                n.ring[i].before = me.x;
                if !self.has(NoOffer) {
                    n.ring[i].word.is = Is::Offered(owner);
                }
                n.thread[t].at = At::Link;
                out.step(t, "ring OWNED -> OFFERED", n);
            }
            At::Link => {
                let won = s.ring[x].next == NOWHERE;
                if won || self.has(LinkByStore) {
                    n.ring[x].next = me.new;
                    n.thread[t].at = At::Promote;
                } else {
                    n.thread[t].at = At::Lost;
                }
                out.step(t, "CAS of the link", n);
            }
            At::Promote => {
                let mine = if self.has(NoOffer) { Is::Owned(owner) } else { Is::Offered(owner) };
                if s.ring[i].word.is == mine && s.ring[i].word.generation == me.new.generation {
                    n.ring[i].word.is = Is::Live;
                }
                n.thread[t].at = At::MoveTail;
                out.step(t, "ring OFFERED -> LIVE", n);
            }
            At::MoveTail => {
                if s.tail == me.x {
                    n.tail = me.new;
                }
                Self::leave(&mut n.thread[t]);
                out.step(t, "CAS of the tail", n);
            }
            _ => {
                if s.ring[i].word.generation == me.new.generation {
                    n.ring[i].word.is = Is::Retired;
                }
                let thread = &mut n.thread[t];
                (thread.free, thread.then, thread.at) = (i as u8, At::UnpinFirst, At::FreeWord);
                out.step(t, "lost: ring OFFERED -> RETIRED", n);
            }
        }
    }
}

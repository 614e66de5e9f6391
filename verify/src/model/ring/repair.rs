//! What survivors do with words that name the dead.

use super::word::{Block, In, Is, Slot};
use super::{At, FRESH, Mutant, NONE, Ring, State, Steps, Thread};

impl Ring {
    pub(super) fn repair(n: &mut State, t: usize, w: Slot, i: u8, back: At) {
        let thread = &mut n.thread[t];
        (thread.at, thread.back, thread.w, thread.i) = (At::Repair, back, w, i);
    }

    pub(super) fn sweep(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let forgets = self.has(Mutant::SweepForgetsReverts) || self.has(Mutant::PendBeforeRevert);
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        match me.at {
            At::Sweep if me.i == self.slots || self.has(Mutant::NoSweep) => {
                (n.thread[t].at, n.thread[t].i) = (At::SweepBlocks, 0);
                out.step(t, "sweep: goes on to the blocks", n);
            }
            At::Sweep => {
                let w = s.slot[i];
                if self.dead(s, w.owner()) {
                    Self::repair(&mut n, t, w, me.i, At::Sweep);
                    return out.step(t, "sweep: finds a slot of a dead owner", n);
                }
                n.thread[t].flag |= w.state() == In::Full
                    && w.g() > 0
                    && !forgets
                    && !self.has(Mutant::SweepForgetsSlots);
                n.thread[t].i += 1;
                out.step(t, "sweep: looks at a slot", n);
            }
            At::SweepBlocks if me.i == self.blocks => {
                n.thread[t].at = if me.flag { At::SweepPend } else { At::SweepEnd };
                out.step(t, "sweep: saw all blocks", n);
            }
            At::SweepBlocks => {
                let bw = s.block[i];
                if matches!(bw.is(), Is::Owned | Is::Leased) && self.dead(s, bw.aux()) {
                    (n.thread[t].at, n.thread[t].bw) = (At::SweepBlockCas, bw);
                    return out.step(t, "sweep: finds a block of a dead owner", n);
                }
                n.thread[t].flag |=
                    bw.is() == Is::Returned && !self.has(Mutant::SweepForgetsReverts);
                n.thread[t].i += 1;
                out.step(t, "sweep: looks at a block", n);
            }
            At::SweepBlockCas => {
                if s.block[i] == me.bw {
                    let leased = me.bw.is() == Is::Leased;
                    n.block[i] = if leased { me.bw.returned() } else { self.free(me.bw) };
                    if !leased {
                        n.content[i] = NONE;
                    }
                    n.thread[t].flag |= leased;
                }
                n.thread[t].at = At::SweepBlocks;
                n.thread[t].bw = Block(0);
                out.step(t, "sweep: CAS of a dead owner's block", n);
            }
            At::SweepPend => {
                n.pend += 1;
                n.thread[t].at = At::SweepEnd;
                out.step(t, "sweep: pend + 1", n);
            }
            _ => {
                let e = if self.has(Mutant::SweptReadLate) { s.deaths } else { me.e };
                n.swept = s.swept.max(e);
                n.thread[t] = Thread { did: me.did, item: me.item, b: me.b, ..FRESH };
                out.step(t, "sweep: done", n);
            }
        }
    }

    pub(super) fn free(&self, bw: Block) -> Block {
        if self.has(Mutant::NoGenerationOnFree) { bw.to(Is::Free, 0) } else { bw.freed() }
    }

    /// Brings one slot of a dead owner back: word `w` of slot `i` was read before.
    pub(super) fn mend(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let (i, w) = (usize::from(me.i), me.w);
        let p = w.lap() * self.slots + me.i;
        let revert = w.state() == In::Reading && (!w.block() || self.has(Mutant::BlockBackToFull));
        let blk = usize::from(s.blk[i]);
        let mut n = *s;
        // The block comes first: `e` counts what is put back, so it is kept for the sweep; `hint` holds slot.blk.
        match me.at {
            At::Repair
                if self.has(Mutant::PendBeforeRevert) && me.back == At::Sweep && !me.lease =>
            {
                n.pend += 1;
                n.thread[t].lease = true;
                out.step(t, "repair: pend + 1", n);
            }
            At::Repair if self.has(Mutant::SlotBeforeBlock) => {
                n.thread[t].at = At::RepairSlot;
                out.step(t, "repair: begins with the slot", n);
            }
            At::Repair if blk == 0 || (self.has(Mutant::NoBlockLook) && revert) => {
                n.thread[t].at = At::RepairSlot;
                out.step(t, "repair: no block", n);
            }
            At::Repair => {
                (n.thread[t].at, n.thread[t].hint) = (At::RepairLook, s.blk[i]);
                out.step(t, "repair: reads slot.blk", n);
            }
            At::RepairLook => {
                let bw = s.block[usize::from(me.hint) - 1];
                n.thread[t].bw = bw;
                n.thread[t].at = match bw.queued_at(p) {
                    false => At::RepairSlot,
                    true if revert && !self.has(Mutant::NoReread) => At::RepairReread,
                    true => At::RepairBlock,
                };
                if self.has(Mutant::SlotBeforeBlock) && n.thread[t].at == At::RepairSlot {
                    n.thread[t].at = me.back;
                }
                out.step(t, "repair: reads the block's word", n);
            }
            At::RepairReread => {
                if s.slot[i] == w {
                    n.thread[t].at = At::RepairBlock;
                } else {
                    Self::mended(&mut n, t);
                }
                out.step(t, "repair: reads the slot's word again", n);
            }
            At::RepairBlock => {
                let b = usize::from(me.hint) - 1;
                if s.block[b] == me.bw {
                    let back = w.state() == In::Reading && !revert;
                    n.block[b] = if back { me.bw.returned() } else { self.free(me.bw) };
                    if !back && !self.has(Mutant::BlockBackToFull) {
                        n.content[b] = NONE;
                    }
                }
                n.thread[t].at = At::RepairLook;
                out.step(t, "repair: CAS of the QUEUED block", n);
            }
            At::RepairSlot => {
                let done = s.slot[i] == w;
                if done || (self.has(Mutant::PlainRevert) && revert) {
                    let g =
                        if self.has(Mutant::NoCountOnRevert) { w.g().max(1) } else { w.g() + 1 };
                    n.slot[i] = match revert {
                        true => Slot::new(w.lap(), In::Full, 0, w.block(), g),
                        false => Slot::empty(w.lap() + 1),
                    };
                    if !revert {
                        n.inline[i] = NONE;
                    }
                }
                if self.has(Mutant::SlotBeforeBlock) && blk != 0 {
                    (n.thread[t].at, n.thread[t].hint) = (At::RepairLook, s.blk[i]);
                } else if me.back == At::Sweep && !self.has(Mutant::SweepForgetsSlots) {
                    n.thread[t].flag |=
                        done && w.state() == In::Reading && !self.has(Mutant::PendBeforeRevert);
                    Self::mended(&mut n, t);
                } else if done && w.state() == In::Reading {
                    n.thread[t].at = At::RepairPend;
                } else {
                    Self::mended(&mut n, t);
                }
                out.step(t, "repair: CAS of the slot", n);
            }
            _ => {
                n.pend += 1;
                Self::mended(&mut n, t);
                out.step(t, "repair: pend + 1", n);
            }
        }
    }

    pub(super) fn mended(n: &mut State, t: usize) {
        let thread = &mut n.thread[t];
        let back = thread.back;
        if back == At::Idle {
            return Self::rest(n, t);
        }
        (thread.at, thread.back) = (back, At::Idle);
        (thread.w, thread.bw, thread.hint, thread.lease) = (Slot(0), Block(0), NONE, false);
        if back != At::Sweep {
            thread.i = 0;
        }
    }
}

//! What survivors do with words that name the dead.

use super::word::{Block, In, Is, NO_RESULT, Slot};
use super::{At, FRESH, Leases, Mutant, NONE, State, Steps, Thread};

impl Leases {
    pub(super) fn sweep(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let hi = usize::from(me.hi).wrapping_sub(1);
        let slot_first = self.has(Mutant::SlotBeforeBlock);
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::Sweep if me.i == self.slots => {
                (thread.at, thread.i) = (At::SweepBlocks, 0);
                out.step(t, "sweep: goes on to the blocks", n);
            }
            At::Sweep => {
                if self.dead(s, s.slot[i].owner) {
                    thread.w = s.slot[i];
                    thread.at = if slot_first { At::SweepSlot } else { At::SweepBlk };
                } else {
                    thread.i += 1;
                }
                out.step(t, "sweep: looks at a slot", n);
            }
            At::SweepBlk => {
                thread.hi = s.blk[i];
                thread.at = match s.blk[i] {
                    0 if slot_first => At::Sweep,
                    0 => At::SweepSlot,
                    _ => At::SweepLook,
                };
                out.step(t, "sweep: reads slot.blk", n);
            }
            At::SweepLook => {
                let p = me.w.lap * self.slots + me.i;
                let bw = s.block[hi];
                let queued =
                    bw.is() == Is::Queued && (bw.aux() == p || self.has(Mutant::NoPositionTest));
                thread.at = match queued {
                    true => At::SweepQueued,
                    false if slot_first => At::Sweep,
                    false => At::SweepSlot,
                };
                thread.bw = if queued { bw } else { Block(0) };
                if thread.at == At::Sweep {
                    (thread.w, thread.hi) = (FRESH.w, 0);
                }
                out.step(t, "sweep: reads the block's word", n);
            }
            At::SweepQueued => {
                if self.has(Mutant::NoRepeat) {
                    thread.at = At::SweepSlot;
                } else {
                    thread.at = At::SweepLook;
                }
                thread.bw = Block(0);
                if s.block[hi] == me.bw {
                    if me.w.state == In::Reading {
                        thread.flag = true;
                        n.block[hi] = self.returned(me.bw);
                    } else {
                        Self::set_free(&mut n, hi);
                    }
                }
                out.step(t, "sweep: CAS of a QUEUED block", n);
            }
            At::SweepSlot => {
                if s.slot[i] == me.w {
                    n.slot[i] = Slot { lap: me.w.lap + 1, owner: 0, state: In::Empty };
                }
                let thread = &mut n.thread[t];
                if slot_first {
                    thread.at = At::SweepBlk;
                } else {
                    thread.at = At::Sweep;
                    (thread.w, thread.hi) = (FRESH.w, 0);
                }
                out.step(t, "sweep: CAS of the slot", n);
            }
            At::SweepBlocks if me.i == self.blocks => {
                (thread.at, thread.i) = (if me.flag { At::SweepPend } else { At::SweepEnd }, 0);
                thread.flag = false;
                out.step(t, "sweep: saw all blocks", n);
            }
            At::SweepPend => {
                n.pend += 1;
                n.thread[t].at = At::SweepEnd;
                out.step(t, "sweep: pend + 1", n);
            }
            At::SweepEnd => {
                let e = if self.has(Mutant::SweptReadLate) { s.deaths } else { me.e };
                n.swept = s.swept.max(e);
                n.thread[t] = Thread { at: me.back, did: me.did, item: me.item, b: me.b, ..FRESH };
                out.step(t, "sweep: done", n);
            }
            _ => self.sweep_block(s, t, out),
        }
    }

    pub(super) fn sweep_block(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let hi = usize::from(me.hi).wrapping_sub(1);
        let bw = s.block[i];
        let mut n = *s;
        // The CAS of the word seen; then the block is looked at again.
        let cas = |n: &mut State, to: Block| {
            let done = bw == me.bw;
            if done {
                n.block[i] = to;
                if to.is() == Is::Free {
                    n.content[i] = NONE;
                }
            }
            let thread = &mut n.thread[t];
            (thread.at, thread.bw, thread.hr, thread.hi) = (At::SweepBlocks, Block(0), Block(0), 0);
            done
        };
        let thread = &mut n.thread[t];
        match me.at {
            At::SweepBlocks => {
                let dead = self.dead_owner(s, bw);
                thread.flag |= bw.is() == Is::Returned && !self.has(Mutant::ReturnedNotCounted);
                thread.at = match bw.is() {
                    Is::Owned if dead => At::SweepOwned,
                    Is::Leased if dead => At::SweepLeased,
                    Is::Replied if self.has(Mutant::NoRepliedSweep) => At::SweepBlocks,
                    Is::Reply if self.has(Mutant::NoReplySweep) => At::SweepBlocks,
                    Is::Reply => At::SweepLink,
                    Is::Queued | Is::Leased | Is::Returned | Is::Replied if bw.ticket() => {
                        At::SweepLink
                    }
                    _ => At::SweepBlocks,
                };
                match thread.at {
                    At::SweepBlocks => thread.i += 1,
                    _ => thread.bw = bw,
                }
                out.step(t, "sweep: looks at a block", n);
            }
            At::SweepLink => {
                let dead = self.dead(s, s.link[i]);
                let is = me.bw.is();
                thread.at = match is {
                    _ if !dead => At::SweepBlocks,
                    Is::Reply => At::SweepReplyOf,
                    Is::Replied if me.bw.aux() == NO_RESULT => At::SweepFreeRequest,
                    Is::Replied => At::SweepResult,
                    _ if self.has(Mutant::NoTicketSweep) => At::SweepBlocks,
                    _ => At::SweepTicket,
                };
                if thread.at == At::SweepBlocks {
                    thread.i += 1;
                    thread.bw = Block(0);
                }
                out.step(t, "sweep: reads the link", n);
            }
            At::SweepOwned => {
                cas(&mut n, me.bw.freed());
                out.step(t, "sweep: CAS of the block to FREE", n);
            }
            At::SweepLeased => {
                let done = cas(&mut n, self.returned(me.bw));
                n.thread[t].flag |= done;
                out.step(t, "sweep: CAS of the block to RETURNED", n);
            }
            At::SweepTicket => {
                cas(&mut n, me.bw.with_ticket(false));
                out.step(t, "sweep: CAS: TICKET cleared", n);
            }
            At::SweepResult => {
                let r = usize::from(me.bw.aux());
                let hr = s.block[r];
                if hr.held(Is::Reply, me.i) {
                    let again = !self.has(Mutant::NoReread);
                    thread.at = if again { At::SweepReread } else { At::SweepFreeResult };
                    (thread.hr, thread.hi) = (hr, r as u8 + 1);
                } else {
                    thread.at = At::SweepFreeRequest;
                }
                out.step(t, "sweep: reads the result's word", n);
            }
            At::SweepReread => {
                thread.at = At::SweepFreeResult;
                if bw != me.bw {
                    (thread.at, thread.bw) = (At::SweepBlocks, Block(0));
                    (thread.hr, thread.hi) = (Block(0), 0);
                }
                out.step(t, "sweep: reads the request's word again", n);
            }
            At::SweepFreeResult => {
                thread.at = At::SweepFreeRequest;
                (thread.hr, thread.hi) = (Block(0), 0);
                if s.block[hi] == me.hr {
                    Self::set_free(&mut n, hi);
                }
                out.step(t, "sweep: CAS of the result to FREE", n);
            }
            At::SweepFreeRequest => {
                cas(&mut n, me.bw.freed());
                out.step(t, "sweep: CAS of the request to FREE", n);
            }
            _ => {
                let request = s.block[usize::from(me.bw.aux())];
                if request.held(Is::Replied, me.i) {
                    (thread.at, thread.bw) = (At::SweepBlocks, Block(0));
                    thread.i += 1;
                } else {
                    thread.at = At::SweepOwned;
                }
                out.step(t, "sweep: a dead replier's result: reads the request's word", n);
            }
        }
    }
}

//! What a worker does: take, commit, reply, give back, scan for what was given back.

use super::word::{Block, In, Is, NO_RESULT, Slot};
use super::{At, FRESH, Leases, Mutant, RESULT, State, Steps, Thread};

impl Leases {
    pub(super) fn work(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.slot).wrapping_sub(1);
        let b = usize::from(me.b).wrapping_sub(1);
        let r = usize::from(me.r).wrapping_sub(1);
        let mut n = *s;
        let p = if me.slot == 0 { 0 } else { s.slot[i].lap * self.slots + i as u8 };
        let mine = |at: usize| s.block[at].held(Is::Leased, self.me(t)) && s.content[at] == me.item;
        const LOST: &str = "a living lessee lost its block";
        match me.at {
            At::Take | At::GetFree => {
                let b = usize::from(s.blk[i]).wrapping_sub(1);
                if s.blk[i] == 0 || !s.block[b].held(Is::Queued, p) {
                    return out.wrong(
                        t,
                        "reads slot.blk",
                        "the block of a slot in READING is not QUEUED",
                    );
                }
                let bw = s.block[b];
                if me.at == At::GetFree {
                    n.thread[t].at = At::Empty;
                    if bw.ticket() {
                        n.block[b] = bw.to(Is::Replied, NO_RESULT);
                    } else {
                        Self::set_free(&mut n, b);
                    }
                    n.thread[t].b = 0;
                    let done = Self::consume(&mut n, t);
                    return out.either(
                        t,
                        "get: QUEUED -> FREE or REPLIED(none): committed",
                        done.map(|()| n),
                    );
                }
                let taken = self.take(&mut n, t, b);
                if self.get && taken.is_ok() {
                    let mut n = n;
                    n.thread[t].at = At::GetFree;
                    out.step(t, "will get: copies the payload out", n);
                }
                if self.has(Mutant::PlainLease) {
                    (n.thread[t].at, n.thread[t].bw) = (At::TakeStore, bw);
                } else {
                    n.block[b] = bw.to(Is::Leased, self.me(t));
                    n.thread[t].at = At::Empty;
                }
                out.either(t, "block QUEUED -> LEASED", taken.map(|()| n));
            }
            At::TakeStore => {
                n.block[b] = me.bw.to(Is::Leased, self.me(t));
                let leased = self.has(Mutant::EmptyBeforeLeased);
                n.thread[t].at = if leased { At::Leased } else { At::Empty };
                n.thread[t].bw = Block(0);
                out.step(t, "stores LEASED", n);
            }
            At::Empty if s.slot[i].owner != self.me(t) || s.slot[i].state != In::Reading => {
                out.wrong(t, "slot -> EMPTY", "a living reader lost its slot");
            }
            At::Empty => {
                let lap = s.slot[i].lap + 1;
                n.slot[i] = Slot { lap, owner: 0, state: In::Empty };
                n.thread[t].slot = 0;
                if self.has(Mutant::EmptyBeforeLeased) {
                    // The block's word is taken on behind the slot's.
                    n.thread[t].at = At::TakeStore;
                    n.thread[t].bw = s.block[b];
                    n.thread[t].w = FRESH.w;
                    let taken = self.take(&mut n, t, b);
                    return out.either(t, "slot -> EMPTY", taken.map(|()| n));
                }
                if me.b == 0 {
                    Self::rest(&mut n, t);
                } else {
                    n.thread[t].at = At::Leased;
                }
                out.step(t, "slot -> EMPTY", n);
            }
            At::Leased if !mine(b) => out.wrong(t, "looks at its lease", LOST),
            At::Leased => self.end(s, t, b, out),
            At::CommitFree | At::ReplyUndo if !mine(b) => out.wrong(t, "LEASED -> FREE", LOST),
            At::CommitFree => {
                Self::set_free(&mut n, b);
                let done = Self::consume(&mut n, t);
                Self::rest(&mut n, t);
                out.either(t, "LEASED -> FREE: committed", done.map(|()| n));
            }
            At::ReplyFill | At::ReplyMark if !s.block[r].held(Is::Owned, self.me(t)) => {
                out.wrong(t, "writes the result", "a living owner lost its block");
            }
            At::ReplyFill => {
                (n.content[r], n.link[r]) = (me.item + RESULT, self.me(t));
                n.thread[t].at =
                    if self.has(Mutant::ResultStaysOwned) { At::Reply } else { At::ReplyMark };
                out.step(t, "writes the result and its link", n);
            }
            At::ReplyMark => {
                n.block[r] = s.block[r].to(Is::Reply, me.b - 1);
                n.thread[t].at = At::Reply;
                out.step(t, "result OWNED -> REPLY", n);
            }
            At::Reply | At::ReplyStore if !mine(b) => out.wrong(t, "LEASED -> REPLIED", LOST),
            At::Reply => {
                let bw = s.block[b];
                if !bw.ticket() {
                    n.thread[t].at = At::ReplyUndo;
                    return out.step(t, "reply: the ticket is gone", n);
                }
                if self.has(Mutant::PlainReply) {
                    n.thread[t].at = At::ReplyStore;
                    return out.step(t, "reply: sees the ticket", n);
                }
                n.block[b] = bw.to(Is::Replied, me.r - 1);
                let done = Self::consume(&mut n, t);
                Self::rest(&mut n, t);
                out.either(t, "reply: LEASED -> REPLIED: committed", done.map(|()| n));
            }
            At::ReplyStore => {
                n.block[b] = s.block[b].to(Is::Replied, me.r - 1).with_ticket(true);
                let done = Self::consume(&mut n, t);
                Self::rest(&mut n, t);
                out.either(t, "reply: stores REPLIED", done.map(|()| n));
            }
            At::ReplyUndo => {
                let still =
                    s.block[r].held(Is::Reply, me.b - 1) || s.block[r].held(Is::Owned, self.me(t));
                if !still {
                    return out.wrong(
                        t,
                        "result -> FREE",
                        "a replier's unused result was taken away",
                    );
                }
                Self::set_free(&mut n, r);
                (n.thread[t].at, n.thread[t].r) = (At::CommitFree, 0);
                out.step(t, "result -> FREE", n);
            }
            At::NackStore => {
                n.block[b] = self.returned(me.bw);
                n.thread[t] = Thread { at: At::NackPend, ..FRESH };
                out.step(t, "stores RETURNED", n);
            }
            At::NackLate => {
                n.block[b] = self.returned(s.block[b]);
                Self::rest(&mut n, t);
                out.step(t, "nack: LEASED -> RETURNED", n);
            }
            _ => {
                n.pend += 1;
                Self::rest(&mut n, t);
                out.step(t, "pend + 1", n);
            }
        }
    }

    /// What a lessee can do.
    pub(super) fn end(&self, s: &State, t: usize, b: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let bw = s.block[b];
        let mut n = *s;
        if !bw.ticket() {
            n.thread[t].at = At::CommitFree;
            out.step(t, "commit: no ticket", n);
        } else {
            if self.commit {
                n.block[b] = bw.to(Is::Replied, NO_RESULT);
                let done = Self::consume(&mut n, t);
                Self::rest(&mut n, t);
                out.either(t, "commit: LEASED -> REPLIED(none)", done.map(|()| n));
                n = *s;
            }
            if let Some(r) = self.free(s, 0) {
                n.block[r] = s.block[r].to(Is::Owned, self.me(t));
                (n.thread[t].at, n.thread[t].r) = (At::ReplyFill, r as u8 + 1);
                out.step(t, "reply: block FREE -> OWNED", n);
            }
        }
        if s.nacks == 0 {
            return;
        }
        n = *s;
        n.nacks -= 1;
        if self.has(Mutant::PendBeforeReturned) {
            n.pend += 1;
            n.thread[t].at = At::NackLate;
            return out.step(t, "nack: pend + 1", n);
        }
        if self.has(Mutant::PlainNack) {
            (n.thread[t].at, n.thread[t].bw) = (At::NackStore, bw);
            return out.step(t, "nack: reads the block's word", n);
        }
        n.block[b] = self.returned(bw);
        n.thread[t] = Thread { at: At::NackPend, did: me.did, ..FRESH };
        out.step(t, "nack: LEASED -> RETURNED", n);
    }

    pub(super) fn scan(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        if me.at == At::ScanEnd {
            if !self.has(Mutant::PendSetBack) {
                n.scanned = s.scanned.max(me.e);
            } else if s.pend == me.e {
                n.pend = 0;
            }
            Self::rest(&mut n, t);
            return out.step(t, "scan: nothing found", n);
        }
        let b = usize::from(me.i);
        if s.block[b].is() == Is::Returned {
            n.block[b] = s.block[b].to(Is::Leased, self.me(t));
            n.thread[t] = Thread { at: At::Leased, ..FRESH };
            let taken = self.take(&mut n, t, b);
            return out.either(t, "scan: RETURNED -> LEASED", taken.map(|()| n));
        }
        n.thread[t].i += 1;
        if n.thread[t].i == self.blocks {
            (n.thread[t].at, n.thread[t].i) = (At::ScanEnd, 0);
        }
        out.step(t, "scan: looks at a block", n);
    }
}

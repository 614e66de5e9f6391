//! Leases, tickets and replies in blocks: the truth about an item is its block's word, the ring only orders.
//!
//! Words: slot `lap | owner | state`, block `generation | aux | TICKET | state`. To find a slot (or a FREE block: the
//! lowest, for most re-use) and to CAS it is one step; the hints are the ring model's matter. Every put asks for a
//! ticket; one without is a ticket dropped at once.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const SLOTS: usize = 2;
const BLOCKS: usize = 4;
const THREADS: usize = 4;
const ITEMS: usize = 3;
const NONE: u8 = 0xff;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum In {
    #[default]
    Empty,
    Writing,
    Full,
    Reading,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Slot {
    lap: u8,
    owner: u8,
    state: In,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    Free,
    Owned,
    Queued,
    Leased,
    Returned,
    /// Holds the result of request `aux`.
    Reply,
    /// Was answered by block `aux`, or by none.
    Replied,
}

/// `aux` of a request answered without a value.
const NO_RESULT: u8 = 31;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Block(u16);

impl Block {
    fn new(is: Is, aux: u8, ticket: bool, generation: u8) -> Self {
        assert!(aux < 32 && generation < 128);
        Self(u16::from(generation) << 9 | u16::from(aux) << 4 | u16::from(ticket) << 3 | is as u16)
    }

    fn is(self) -> Is {
        [Is::Free, Is::Owned, Is::Queued, Is::Leased, Is::Returned, Is::Reply, Is::Replied]
            [usize::from(self.0 & 7)]
    }

    fn ticket(self) -> bool {
        self.0 & 8 != 0
    }

    fn aux(self) -> u8 {
        (self.0 >> 4 & 31) as u8
    }

    fn generation(self) -> u8 {
        (self.0 >> 9) as u8
    }

    fn held(self, is: Is, aux: u8) -> bool {
        self.is() == is && self.aux() == aux
    }

    fn to(self, is: Is, aux: u8) -> Self {
        Self::new(is, aux, self.ticket(), self.generation())
    }

    fn with_ticket(self, ticket: bool) -> Self {
        Self::new(self.is(), self.aux(), ticket, self.generation())
    }

    fn freed(self) -> Self {
        Self::new(Is::Free, 0, false, self.generation() + 1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum At {
    #[default]
    Idle,
    Dead,
    // A requester.
    Fill,
    Claim,
    SlotBlock,
    Queue,
    Publish,
    Wait,
    Copy,
    FreeResult,
    FreeRequest,
    // A worker.
    Take,
    TakeStore,
    GetFree,
    Empty,
    Leased,
    CommitFree,
    ReplyFill,
    ReplyMark,
    Reply,
    ReplyStore,
    ReplyUndo,
    NackStore,
    NackPend,
    NackLate,
    Scan,
    ScanEnd,
    // Anyone.
    Sweep,
    SweepBlk,
    SweepLook,
    SweepQueued,
    SweepSlot,
    SweepBlocks,
    SweepLink,
    SweepOwned,
    SweepLeased,
    SweepTicket,
    SweepResult,
    SweepReread,
    SweepFreeResult,
    SweepFreeRequest,
    SweepReplyOf,
    SweepPend,
    SweepEnd,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    /// Its slot, request block and result block, from 1.
    slot: u8,
    b: u8,
    r: u8,
    /// The item it puts, waits for or holds; `NONE` = no item.
    item: u8,
    did: u8,
    /// `pend` or the death epoch, read before a scan or sweep; where that is.
    e: u8,
    i: u8,
    flag: bool,
    w: Slot,
    bw: Block,
    /// A result block and its word, as a sweeper saw them.
    hr: Block,
    hi: u8,
    /// Where a sweep returns to.
    back: At,
}

const FRESH: Thread = Thread {
    at: At::Idle,
    slot: 0,
    b: 0,
    r: 0,
    item: NONE,
    did: 0,
    e: 0,
    i: 0,
    flag: false,
    w: Slot { lap: 0, owner: 0, state: In::Empty },
    bw: Block(0),
    hr: Block(0),
    hi: 0,
    back: At::Idle,
};

const COMMITTED: u8 = 1;
const CONSUMED: u8 = 2;
/// Added to an item: its result.
const RESULT: u8 = 100;

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    slot: [Slot; SLOTS],
    blk: [u8; SLOTS],
    block: [Block; BLOCKS],
    link: [u8; BLOCKS],
    content: [u8; BLOCKS],
    /// The next position to be claimed.
    next: u8,
    pend: u8,
    scanned: u8,
    swept: u8,
    deaths: u8,
    died: [u8; THREADS],
    item: [u8; ITEMS],
    thread: [Thread; THREADS],
    crashes: u8,
    nacks: u8,
    drops: u8,
    joins: u8,
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    PlainReply,
    PlainNack,
    PlainLease,
    ResultStaysOwned,
    RequestFreedFirst,
    NoReread,
    FullBeforeQueued,
    EmptyBeforeLeased,
    SlotBeforeBlock,
    NoRepeat,
    NoPositionTest,
    NoTicketSweep,
    NoRepliedSweep,
    ReturnedNotCounted,
    PendBeforeReturned,
    PendSetBack,
    NoGenerationOnReturn,
    SweptReadLate,
    NoReserve,
    NoReplySweep,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Leases {
    pub slots: u8,
    pub blocks: u8,
    /// Blocks that only replies take.
    pub reserve: u8,
    /// Requests of each requester; the requesters are the first threads.
    pub puts: &'static [u8],
    /// The process (member index - 1) of each worker.
    pub workers: &'static [u8],
    /// Workers also get for good.
    pub get: bool,
    /// Workers may commit without a reply.
    pub commit: bool,
    pub crashes: u8,
    pub nacks: u8,
    pub drops: u8,
    pub joins: u8,
    pub mutant: Option<Mutant>,
}

impl Leases {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn requesters(&self) -> usize {
        self.puts.len()
    }

    fn threads(&self) -> usize {
        self.puts.len() + self.workers.len()
    }

    fn me(&self, t: usize) -> u8 {
        match t.checked_sub(self.requesters()) {
            None => t as u8 + 1,
            Some(worker) => self.workers[worker] + 1,
        }
    }

    fn dead(&self, s: &State, member: u8) -> bool {
        member != 0 && s.died[usize::from(member) - 1] != 0
    }

    fn free(&self, s: &State, from: u8) -> Option<usize> {
        (usize::from(from)..usize::from(self.blocks)).find(|&b| s.block[b].is() == Is::Free)
    }

    fn set_free(n: &mut State, b: usize) {
        n.block[b] = n.block[b].freed();
        n.content[b] = NONE;
    }

    fn returned(&self, bw: Block) -> Block {
        let up = u8::from(!self.has(Mutant::NoGenerationOnReturn));
        Block::new(Is::Returned, 0, bw.ticket(), bw.generation() + up)
    }

    /// Worker `t` now holds the request in block `b`.
    fn take(&self, n: &mut State, t: usize, b: usize) -> Result<(), &'static str> {
        let item = n.content[b];
        if item >= RESULT {
            return Err("a block without a request is handed out");
        }
        match n.item[usize::from(item)] {
            0 => return Err("a request is handed out whose put is not committed"),
            CONSUMED => return Err("a request is handed out again after its commit"),
            _ => {}
        }
        if (self.requesters()..self.threads()).any(|o| n.thread[o].item == item) {
            return Err("a request is with two living processes at once");
        }
        n.thread[t].item = item;
        n.thread[t].b = b as u8 + 1;
        Ok(())
    }

    fn consume(n: &mut State, t: usize) -> Result<(), &'static str> {
        let item = usize::from(n.thread[t].item);
        n.thread[t].item = NONE;
        if n.item[item] != COMMITTED {
            return Err("a request is committed twice");
        }
        n.item[item] = CONSUMED;
        Ok(())
    }

    fn rest(n: &mut State, t: usize) {
        n.thread[t] = Thread { did: n.thread[t].did, ..FRESH };
    }

    fn idle(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let mut n = *s;
        if s.swept < s.deaths {
            (n.thread[t].at, n.thread[t].e) = (At::Sweep, s.deaths);
            out.step(t, "sees that a death was not swept; reads the death epoch", n);
            n = *s;
        }
        if t < self.requesters() {
            let did = s.thread[t].did;
            let reserve = if self.has(Mutant::NoReserve) { 0 } else { self.reserve };
            if did < self.puts[t]
                && let Some(b) = self.free(s, reserve)
            {
                n.block[b] = s.block[b].to(Is::Owned, self.me(t));
                n.thread[t].item = self.puts[..t].iter().sum::<u8>() + did;
                (n.thread[t].at, n.thread[t].b) = (At::Fill, b as u8 + 1);
                out.step(t, "block FREE -> OWNED", n);
            }
            return;
        }
        if s.pend != s.scanned {
            (n.thread[t].at, n.thread[t].e) = (At::Scan, s.pend);
            out.step(t, "pend differs from scanned: will scan", n);
            n = *s;
        }
        // The FULL slot at the lowest position.
        let full = (0..usize::from(self.slots)).filter(|&i| s.slot[i].state == In::Full);
        if let Some(i) = full.min_by_key(|&i| (s.slot[i].lap, i)) {
            n.slot[i].state = In::Reading;
            n.slot[i].owner = self.me(t);
            (n.thread[t].at, n.thread[t].slot) = (At::Take, i as u8 + 1);
            if self.has(Mutant::EmptyBeforeLeased) {
                n.thread[t].w = n.slot[i];
                n.thread[t].b = n.blk[i];
                n.thread[t].at = At::Empty;
            }
            out.step(t, "slot FULL -> READING", n);
        }
    }

    fn request(&self, s: &State, t: usize, out: &mut Steps<State>) {
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

    fn work(&self, s: &State, t: usize, out: &mut Steps<State>) {
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
    fn end(&self, s: &State, t: usize, b: usize, out: &mut Steps<State>) {
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

    fn scan(&self, s: &State, t: usize, out: &mut Steps<State>) {
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

impl Leases {
    fn sweep(&self, s: &State, t: usize, out: &mut Steps<State>) {
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

    fn sweep_block(&self, s: &State, t: usize, out: &mut Steps<State>) {
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

    fn dead_owner(&self, s: &State, bw: Block) -> bool {
        matches!(bw.is(), Is::Owned | Is::Leased) && self.dead(s, bw.aux())
    }

    fn die(&self, s: &State, t: usize) -> State {
        let mut n = *s;
        n.crashes -= 1;
        n.deaths += 1;
        n.died[usize::from(self.me(t)) - 1] = n.deaths;
        for o in 0..self.threads() {
            if self.me(o) == self.me(t) {
                n.thread[o] = Thread { at: At::Dead, ..FRESH };
            }
        }
        n
    }
}

impl Protocol for Leases {
    type State = State;

    fn start(&self) -> State {
        State {
            slot: [Slot::default(); SLOTS],
            blk: [0; SLOTS],
            block: [Block::default(); BLOCKS],
            link: [0; BLOCKS],
            content: [NONE; BLOCKS],
            next: 0,
            pend: 0,
            scanned: 0,
            swept: 0,
            deaths: 0,
            died: [0; THREADS],
            item: [0; ITEMS],
            thread: [FRESH; THREADS],
            crashes: self.crashes,
            nacks: self.nacks,
            drops: self.drops,
            joins: self.joins,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.threads() {
            match s.thread[t].at {
                At::Dead => {
                    let died = s.died[usize::from(self.me(t)) - 1];
                    if s.joins > 0 && died != 0 && s.swept >= died {
                        let mut n = *s;
                        n.joins -= 1;
                        n.died[usize::from(self.me(t)) - 1] = 0;
                        // A requester's successor only works on what there is: it has nothing to put.
                        n.thread[t] = FRESH;
                        if t < self.requesters() {
                            n.thread[t].did = self.puts[t];
                        }
                        out.luck(t, "a new process gets the dead one's index", n);
                    }
                    continue;
                }
                At::Idle => self.idle(s, t, out),
                At::Fill
                | At::Claim
                | At::SlotBlock
                | At::Queue
                | At::Publish
                | At::Wait
                | At::Copy
                | At::FreeResult
                | At::FreeRequest => self.request(s, t, out),
                At::Scan | At::ScanEnd => self.scan(s, t, out),
                At::Take
                | At::TakeStore
                | At::GetFree
                | At::Empty
                | At::Leased
                | At::CommitFree
                | At::ReplyFill
                | At::ReplyMark
                | At::Reply
                | At::ReplyStore
                | At::ReplyUndo
                | At::NackStore
                | At::NackPend
                | At::NackLate => self.work(s, t, out),
                _ => self.sweep(s, t, out),
            }
            if s.crashes > 0 {
                out.luck(t, "dies", self.die(s, t));
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        let alive = |t: &usize| s.thread[*t].at != At::Dead;
        if !(0..self.threads()).any(|t| alive(&t)) {
            return true;
        }
        let swept = s.swept >= s.deaths
            && s.slot.iter().all(|w| !self.dead(s, w.owner))
            && (0..BLOCKS).all(|b| {
                let asks = s.block[b].ticket() && self.dead(s, s.link[b]);
                !self.dead_owner(s, s.block[b]) && !asks
            });
        let mut workers = self.requesters()..self.threads();
        if !workers.clone().any(|t| alive(&t)) {
            let still = [Is::Free, Is::Queued, Is::Returned];
            // Nobody serves: a requester waits for its result or for room.
            let waits = |t: usize| match s.thread[t].at {
                At::Dead | At::Wait => true,
                At::Idle => s.thread[t].did == self.puts[t] || self.free(s, self.reserve).is_none(),
                At::Claim => s.slot[usize::from(s.next % self.slots)].state != In::Empty,
                _ => false,
            };
            let claims = (0..self.requesters()).any(|t| s.thread[t].at == At::Claim);
            return swept
                && (0..self.requesters()).all(waits)
                && s.block
                    .iter()
                    .all(|b| still.contains(&b.is()) || claims && b.is() == Is::Owned)
                && s.slot.iter().all(|w| matches!(w.state, In::Empty | In::Full));
        }
        let mut requesters = 0..self.requesters();
        swept
            && requesters.all(|t| {
                !alive(&t) || (s.thread[t].at == At::Idle && s.thread[t].did == self.puts[t])
            })
            && workers.all(|t| !alive(&t) || s.thread[t].item == NONE)
            && s.item.iter().all(|&item| item != COMMITTED)
            && s.slot.iter().all(|w| w.state == In::Empty)
            && s.block.iter().all(|b| b.is() == Is::Free)
    }

    fn name(&self, who: usize) -> String {
        let kind = if who < self.requesters() { "requester" } else { "worker" };
        format!("{kind} {who} (process {})", self.me(who))
    }
}

const NAME: &str = "leases";

const BASE: Leases = Leases {
    slots: 1,
    blocks: 3,
    reserve: 0,
    puts: &[1],
    workers: &[1, 2],
    get: false,
    commit: true,
    crashes: 1,
    nacks: 1,
    drops: 1,
    joins: 0,
    mutant: None,
};

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let two = Leases { blocks: 4, puts: &[2], ..BASE };
    let calm = Leases { crashes: 0, ..BASE };
    let hard = Leases { crashes: 2, ..BASE };
    let again = Leases { joins: 1, ..hard };
    let plain = Leases { commit: false, nacks: 0, drops: 0, ..BASE };
    let reply = Leases { puts: &[1, 1], workers: &[2], reserve: 1, ..plain };
    let pair = Leases { puts: &[1, 1], blocks: 2, workers: &[2, 3], ..plain };
    let lap = Leases { slots: 2, puts: &[2, 1], workers: &[2], ..plain };
    let sound = |config, leases| Case::sound(NAME, config, leases);
    let mut cases = vec![
        sound("3 blocks, 1 request, 2 workers, 1 crash, 1 nack, 1 drop", BASE),
        sound("same, workers also get, 2 crashes", Leases { get: true, ..hard }),
        sound(
            "2 slots, 4 blocks, 2 requests, 2 nacks, no crash",
            Leases { slots: 2, nacks: 2, crashes: 0, ..two },
        ),
        sound("3 blocks, 1 reserved, 2 requesters, 1 worker that must reply, 1 crash", reply),
    ];
    cases.extend(mutants(&[
        ("reply by plain store", PlainReply, Stuck, calm),
        ("nack by plain store", PlainNack, Stuck, calm),
        ("lease by plain store", PlainLease, Stuck, calm),
        ("result stays OWNED when attached", ResultStaysOwned, Unsafe, BASE),
        ("request freed before its result", RequestFreedFirst, Unsafe, BASE),
        ("REPLIED swept without a second look at it", NoReread, Unsafe, pair),
        ("slot FULL before the block is QUEUED", FullBeforeQueued, Unsafe, calm),
        ("slot EMPTY before the block is LEASED", EmptyBeforeLeased, Stuck, BASE),
        ("sweep: slot before block", SlotBeforeBlock, Stuck, hard),
        ("sweep: no repeat after a failed CAS", NoRepeat, Stuck, BASE),
        ("sweep: no test of the position", NoPositionTest, Unsafe, lap),
        ("sweep: tickets of the dead are left", NoTicketSweep, Stuck, BASE),
        ("sweep: REPLIED of a dead requester is left", NoRepliedSweep, Stuck, BASE),
        ("sweep: REPLY of a dead replier is left", NoReplySweep, Stuck, BASE),
        ("sweep: RETURNED already there is not counted", ReturnedNotCounted, Stuck, BASE),
        ("pend + 1 before RETURNED", PendBeforeReturned, Stuck, calm),
        (
            "pend set back by CAS",
            PendSetBack,
            Stuck,
            Leases { workers: &[1, 2, 3], nacks: 2, ..calm },
        ),
        ("no new generation at RETURNED", NoGenerationOnReturn, Unsafe, again),
        ("swept set to the epoch at the end", SweptReadLate, Stuck, hard),
        (
            "no block reserved for replies",
            NoReserve,
            Stuck,
            Leases { blocks: 2, slots: 2, crashes: 0, ..reply },
        ),
    ]));
    if !quick {
        cases.extend([
            sound("3 blocks, 1 request, 2 workers, 2 crashes, 1 index again", again),
            sound("4 blocks, 2 requests, 2 workers, 1 crash", two),
            sound(
                "4 blocks, 2 requests, 2 workers, which also get, 1 crash",
                Leases { get: true, ..two },
            ),
            sound("4 blocks, 2 requests, 2 workers, 2 crashes", Leases { crashes: 2, ..two }),
            sound(
                "3 blocks, 1 request, processes of 2 and 1 workers, 1 crash",
                Leases { workers: &[1, 1, 2], ..BASE },
            ),
            sound(
                "4 blocks, 1 reserved, 2 requesters, 2 workers, 1 crash",
                Leases { blocks: 4, reserve: 1, ..pair },
            ),
        ]);
    }
    cases
}

fn mutants(list: &[(&'static str, Mutant, Expect, Leases)]) -> impl Iterator<Item = Case> {
    list.iter().map(|&(name, mutant, expect, leases)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Leases { mutant: Some(mutant), ..leases })
    })
}

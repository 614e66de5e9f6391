//! Leases, tickets and replies in blocks: the truth about an item is its block's word, the ring only orders.
//!
//! Words: slot `lap | owner | state`, block `generation | aux | TICKET | state`. To find a slot (or a FREE block: the
//! lowest, for most re-use) and to CAS it is one step; the hints are the ring model's matter. Every put asks for a
//! ticket; one without is a ticket dropped at once.

mod request;
mod sweep;
mod word;
mod work;

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;
use word::{Block, In, Is, Slot};

const SLOTS: usize = 2;
const BLOCKS: usize = 4;
const THREADS: usize = 4;
const ITEMS: usize = 3;
const NONE: u8 = 0xff;

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
}

impl Leases {
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

//! The ring: slots claimed by their own word, real (racy) hints, redelivery in place, and leases of inline items,
//! which move an item from its slot to a block while it is read.
//!
//! Words: slot `lap | redeliveries | BLOCK | owner | state`, block `generation | aux | state`. Every load, store and
//! CAS of a shared word is a step; a load whose value only feeds the CAS right behind it is one step with it.

mod hold;
mod put;
mod repair;
mod take;
mod word;

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;
use word::{Block, In, Is, Slot};

const SLOTS: usize = 3;
const BLOCKS: usize = 3;
const THREADS: usize = 4;
const ITEMS: usize = 4;
const NONE: u8 = 0xff;

/// What became of an item.
const COMMITTED: u8 = 1;
const TAKEN: u8 = 2;
const CONSUMED: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum At {
    /// Between two operations.
    #[default]
    Idle,
    Dead,
    // A producer.
    PutWalk,
    PutWrite,
    PutQueued,
    PutFull,
    PutHint,
    PutHintStore,
    // A reader.
    ScanSlots,
    ScanBlocks,
    ScanEnd,
    Walk,
    Validate,
    Claim,
    Claimed,
    GetBlockFree,
    Empty,
    ConvertQueued,
    ConvertSlot,
    LeaseTake,
    LeaseEmpty,
    Hint,
    HintStore,
    Unspare,
    Leased,
    DropPend,
    // Anyone.
    Sweep,
    SweepBlocks,
    SweepBlockCas,
    SweepPend,
    SweepEnd,
    Repair,
    RepairLook,
    RepairReread,
    RepairBlock,
    RepairSlot,
    RepairPend,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    /// Where a repair returns to.
    back: At,
    /// A position.
    p: u8,
    i: u8,
    /// `pend` or the death epoch, read before a scan or sweep.
    e: u8,
    w: Slot,
    b: u8,
    /// A block that it took in case the lease is of an inline item, from 1.
    spare: u8,
    bw: Block,
    /// Owners of the live WRITING slots that the walk passed, by slot; 0 = none.
    skip: [u8; SLOTS],
    /// The item it puts or holds; `NONE` = no item.
    item: u8,
    /// Items put.
    did: u8,
    /// Where the hint should go; `NONE` after a scan.
    hint: u8,
    lease: bool,
    flag: bool,
}

const FRESH: Thread = Thread {
    at: At::Idle,
    back: At::Idle,
    p: 0,
    i: 0,
    e: 0,
    w: Slot(0),
    b: 0,
    spare: 0,
    bw: Block(0),
    skip: [0; SLOTS],
    item: NONE,
    did: 0,
    hint: NONE,
    lease: false,
    flag: false,
};

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    slot: [Slot; SLOTS],
    blk: [u8; SLOTS],
    inline: [u8; SLOTS],
    block: [Block; BLOCKS],
    content: [u8; BLOCKS],
    head: u8,
    tail: u8,
    pend: u8,
    scanned: u8,
    swept: u8,
    /// Deaths so far, and at which count each member died (0 = alive).
    deaths: u8,
    died: [u8; THREADS],
    item: [u8; ITEMS],
    thread: [Thread; THREADS],
    crashes: u8,
    returns: u8,
    joins: u8,
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoReread,
    NoBlockLook,
    SlotBeforeQueued,
    SlotBeforeBlock,
    PendBeforeRevert,
    NoCountOnRevert,
    NoGenerationOnFree,
    BlockBackToFull,
    ConvertedGoesOnEarly,
    NoSweep,
    SweepForgetsReverts,
    SweepForgetsSlots,
    NoRoomEndsScan,
    NoRevalidate,
    ScanMovesHead,
    PendSetBack,
    NoReserve,
    PlainRevert,
    SweptReadLate,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// Slots, blocks, and how many of the blocks only a lease takes.
    pub slots: u8,
    pub blocks: u8,
    pub reserve: u8,
    /// Items of each producer; the producers are the first threads.
    pub puts: &'static [u8],
    /// The process (member index - 1) of each reader.
    pub readers: &'static [u8],
    /// Whether an item lies in a block from the start, by item.
    pub big: [bool; ITEMS],
    /// Which readers get and which lease, one bit each.
    pub get: u8,
    pub lease: u8,
    pub crashes: u8,
    pub returns: u8,
    pub joins: u8,
    /// A producer's process may die.
    pub producers_die: bool,
    pub mutant: Option<Mutant>,
}

impl Ring {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn producers(&self) -> usize {
        self.puts.len()
    }

    fn threads(&self) -> usize {
        self.puts.len() + self.readers.len()
    }

    /// The member index of a thread, from 1.
    fn me(&self, t: usize) -> u8 {
        match t.checked_sub(self.producers()) {
            None => t as u8 + 1,
            Some(reader) => self.readers[reader] + 1,
        }
    }

    fn dead(&self, s: &State, member: u8) -> bool {
        member != 0 && s.died[usize::from(member) - 1] != 0
    }

    fn lap(&self, p: u8) -> u8 {
        p / self.slots
    }

    fn at(&self, p: u8) -> usize {
        usize::from(p % self.slots)
    }

    /// The item that producer `t` puts as its `n`th.
    fn item(&self, t: usize, n: u8) -> u8 {
        self.puts[..t].iter().sum::<u8>() + n
    }

    /// `t` now holds the item in `word`'s slot.
    fn take(&self, n: &mut State, t: usize, item: u8) -> Result<(), &'static str> {
        if item == NONE {
            return Err("reads a slot without an item");
        }
        match n.item[usize::from(item)] {
            0 => return Err("an item is handed out whose put is not committed"),
            CONSUMED => return Err("an item is handed out again after its commit"),
            _ => {}
        }
        if (0..self.threads()).any(|o| o >= self.producers() && n.thread[o].item == item) {
            return Err("an item is with two living processes at once");
        }
        let calm = n.deaths == 0 && n.returns == self.returns;
        let mut first = 0;
        for &puts in self.puts {
            let before = first..item;
            if calm
                && (first..first + puts).contains(&item)
                && before.into_iter().any(|i| n.item[usize::from(i)] == COMMITTED)
            {
                return Err("a later item of the same producer is handed out first");
            }
            first += puts;
        }
        n.item[usize::from(item)] = TAKEN;
        n.thread[t].item = item;
        Ok(())
    }

    /// The commit of a get or lease.
    fn consume(&self, n: &mut State, t: usize) -> Result<(), &'static str> {
        let item = n.thread[t].item;
        n.thread[t].item = NONE;
        if n.item[usize::from(item)] != TAKEN {
            return Err("an item is consumed twice");
        }
        n.item[usize::from(item)] = CONSUMED;
        Ok(())
    }

    /// After an operation: nothing is remembered.
    fn rest(n: &mut State, t: usize) {
        let Thread { did, item, spare, .. } = n.thread[t];
        let at = if spare == 0 { At::Idle } else { At::Unspare };
        n.thread[t] = Thread { at, did, item, spare, ..FRESH };
    }

    fn walk(n: &mut State, t: usize, p: u8) {
        let thread = &mut n.thread[t];
        *thread = Thread { at: At::Walk, p, lease: thread.lease, spare: thread.spare, ..FRESH };
    }

    fn idle(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        if s.swept < s.deaths {
            let thread = &mut n.thread[t];
            (thread.at, thread.e, thread.i, thread.flag) = (At::Sweep, s.deaths, 0, false);
            out.step(t, "sees that a death was not swept; reads the death epoch", n);
            n = *s;
        }
        if t >= self.producers() {
            for lease in [false, true] {
                let may = if lease { self.lease } else { self.get };
                if may >> (t - self.producers()) & 1 == 0 {
                    continue;
                }
                n = *s;
                n.thread[t].lease = lease;
                if s.pend == s.scanned {
                    Self::walk(&mut n, t, s.head);
                    out.step(t, "pend = scanned; reads the head hint", n);
                } else {
                    (n.thread[t].at, n.thread[t].e, n.thread[t].i) = (At::ScanSlots, s.pend, 0);
                    out.step(t, "pend differs from scanned: will scan", n);
                }
            }
            return;
        }
        if me.did == self.puts[t] {
            return;
        }
        let item = self.item(t, me.did);
        n.thread[t].item = item;
        if self.big[usize::from(item)] && me.b == 0 {
            let from = if self.has(Mutant::NoReserve) { 0 } else { usize::from(self.reserve) };
            let free = (from..usize::from(self.blocks)).find(|&b| s.block[b].is() == Is::Free);
            if let Some(b) = free {
                n.block[b] = s.block[b].to(Is::Owned, self.me(t));
                n.content[b] = item;
                n.thread[t].b = b as u8 + 1;
                out.step(t, "takes a FREE block and fills it", n);
            }
        } else {
            (n.thread[t].at, n.thread[t].p) = (At::PutWalk, s.tail);
            out.step(t, "reads the tail hint", n);
        }
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

impl Protocol for Ring {
    type State = State;

    fn start(&self) -> State {
        State {
            slot: [Slot::empty(0); SLOTS],
            blk: [0; SLOTS],
            inline: [NONE; SLOTS],
            block: [Block::default(); BLOCKS],
            content: [NONE; BLOCKS],
            head: 0,
            tail: 0,
            pend: 0,
            scanned: 0,
            swept: 0,
            deaths: 0,
            died: [0; THREADS],
            item: [0; ITEMS],
            thread: [FRESH; THREADS],
            crashes: self.crashes,
            returns: self.returns,
            joins: self.joins,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.threads() {
            match s.thread[t].at {
                At::Dead => {
                    let died = s.died[usize::from(self.me(t)) - 1];
                    if s.joins > 0 && t >= self.producers() && died != 0 && s.swept >= died {
                        let mut n = *s;
                        n.joins -= 1;
                        n.died[usize::from(self.me(t)) - 1] = 0;
                        n.thread[t] = FRESH;
                        out.luck(t, "a new process gets the dead one's index", n);
                    }
                    continue;
                }
                At::Idle => self.idle(s, t, out),
                At::PutWalk
                | At::PutWrite
                | At::PutQueued
                | At::PutFull
                | At::PutHint
                | At::PutHintStore => {
                    self.put(s, t, out);
                }
                At::ScanSlots | At::ScanBlocks | At::ScanEnd => self.scan(s, t, out),
                At::Walk | At::Validate | At::Claim | At::Hint | At::HintStore => {
                    self.get(s, t, out)
                }
                At::Claimed
                | At::GetBlockFree
                | At::Empty
                | At::ConvertQueued
                | At::ConvertSlot
                | At::LeaseTake
                | At::LeaseEmpty => self.hold(s, t, out),
                At::Unspare | At::Leased | At::DropPend => self.leased(s, t, out),
                At::Sweep | At::SweepBlocks | At::SweepBlockCas | At::SweepPend | At::SweepEnd => {
                    self.sweep(s, t, out);
                }
                At::Repair
                | At::RepairLook
                | At::RepairReread
                | At::RepairBlock
                | At::RepairSlot
                | At::RepairPend => self.mend(s, t, out),
            }
            if s.crashes > 0 && (self.producers_die || t >= self.producers()) {
                out.luck(t, "dies", self.die(s, t));
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        let alive = |t: &usize| s.thread[*t].at != At::Dead;
        let swept = s.swept >= s.deaths
            && s.slot.iter().all(|w| !self.dead(s, w.owner()))
            && s.block
                .iter()
                .all(|b| !(matches!(b.is(), Is::Owned | Is::Leased) && self.dead(s, b.aux())));
        let producers = 0..self.producers();
        let mut readers = self.producers()..self.threads();
        if !readers.clone().any(|t| alive(&t)) {
            return swept || !producers.clone().any(|t| alive(&t));
        }
        let all_put = producers
            .filter(alive)
            .all(|t| s.thread[t].at == At::Idle && s.thread[t].did == self.puts[t]);
        swept
            && all_put
            && readers.all(|t| !alive(&t) || s.thread[t].item == NONE)
            && s.item.iter().all(|&item| item == 0 || item == CONSUMED)
            && s.slot.iter().all(|w| w.state() == In::Empty)
            && s.block.iter().all(|b| b.is() == Is::Free)
    }

    fn name(&self, who: usize) -> String {
        let kind = if who < self.producers() { "producer" } else { "reader" };
        format!("{kind} {who} (process {})", self.me(who))
    }
}

const BASE: Ring = Ring {
    slots: 2,
    blocks: 2,
    reserve: 1,
    puts: &[1],
    readers: &[1, 2],
    big: [false; ITEMS],
    get: 0xff,
    lease: 0xff,
    crashes: 1,
    returns: 0,
    joins: 0,
    producers_die: true,
    mutant: None,
};

const NAME: &str = "ring";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let two = Ring { puts: &[2], ..BASE };
    let three = Ring { readers: &[1, 2, 3], ..BASE };
    let get = Ring { lease: 0, ..BASE };
    let get2 = Ring { puts: &[2], ..get };
    let get3 = Ring { lease: 0, ..three };
    let lease = Ring { get: 0, ..BASE };
    let lease3 = Ring { get: 0, ..three };
    let pair = Ring { puts: &[1, 1], readers: &[2, 3], ..BASE };
    let pair_get = Ring { lease: 0, ..pair };
    let mixed = Ring { big: [false, true, false, true], returns: 1, ..two };
    let one = Ring { puts: &[2], blocks: 1, returns: 1, ..BASE };
    let split = Ring { get: 1, lease: 2, ..one };
    let again = Ring { crashes: 2, joins: 1, ..get3 };
    let full =
        Ring { slots: 3, puts: &[3], readers: &[1], big: [false, true, true, false], ..lease };
    let sound = |config, ring| Case::sound(NAME, config, ring);
    let mut cases = vec![
        sound("1 put, 2 readers, 2 crashes", Ring { crashes: 2, ..BASE }),
        sound("2 puts, 2 lessees, 1 crash", Ring { get: 0, ..two }),
        sound("2 puts, 2 getters, 2 crashes", Ring { crashes: 2, ..get2 }),
        sound("1 put, 2 lessees, 1 crash, 1 index again", Ring { joins: 1, ..lease }),
        sound("1 block, 2 puts, 1 getter, 1 lessee, 1 crash, 1 return", split),
    ];
    cases.extend(mutants(&[
        ("sweeper does not read the slot again", NoReread, Unsafe, lease3),
        ("sweeper does not look at slot.blk", NoBlockLook, Stuck, lease),
        ("slot says BLOCK before the block is QUEUED", SlotBeforeQueued, Stuck, lease),
        ("sweeper repairs slot before block", SlotBeforeBlock, Stuck, Ring { crashes: 2, ..lease }),
        ("pend + 1 before the revert", PendBeforeRevert, Stuck, Ring { slots: 3, ..get2 }),
        ("redeliveries not counted in the slot", NoCountOnRevert, Unsafe, again),
        ("freed without a new generation", NoGenerationOnFree, Unsafe, Ring { joins: 1, ..lease3 }),
        ("an item in a block goes back to its slot", BlockBackToFull, Unsafe, lease),
        ("slot EMPTY before the block is LEASED", ConvertedGoesOnEarly, Stuck, lease),
        ("slots are not swept", NoSweep, Stuck, Ring { slots: 3, ..get2 }),
        (
            "sweep forgets what others put back",
            SweepForgetsReverts,
            Stuck,
            Ring { slots: 3, crashes: 2, ..get2 },
        ),
        (
            "sweep counts only its own reverts",
            SweepForgetsSlots,
            Stuck,
            Ring { slots: 3, crashes: 2, ..get2 },
        ),
        (
            "what was passed is not looked at again",
            NoRevalidate,
            Unsafe,
            Ring { readers: &[1], ..get2 },
        ),
        ("a scan moves the head hint", ScanMovesHead, Stuck, pair_get),
        ("pend set back by CAS", PendSetBack, Stuck, Ring { crashes: 0, returns: 2, ..lease3 }),
        ("no block reserved for leases", NoReserve, Stuck, Ring { crashes: 0, ..full }),
        (
            "a scan that finds no FREE block ends",
            NoRoomEndsScan,
            Stuck,
            Ring { get: 1, lease: 2, ..one },
        ),
        ("revert by plain store", PlainRevert, Unsafe, get3),
        ("swept set to the epoch at the end", SweptReadLate, Stuck, Ring { crashes: 2, ..lease }),
    ]));
    if !quick {
        let processes = Ring { readers: &[1, 1, 2], returns: 1, ..lease };
        cases.extend([
            sound("2 puts, 2 readers, 1 crash", two),
            sound("1 block, 2 puts, 2 readers, 1 crash, 1 return", one),
            sound("2 puts, the second in a block, 2 readers, 1 crash, 1 return", mixed),
            sound("2 producers, 2 getters, 1 crash", pair_get),
            sound(
                "1 put, 2 readers, 2 crashes, 1 index again",
                Ring { crashes: 2, joins: 1, ..BASE },
            ),
            sound("1 put, 3 getters, 2 crashes, 1 index again", again),
            sound("3 slots, 3 puts, 2 getters, 1 crash", Ring { slots: 3, puts: &[3], ..get }),
            sound("3 slots, 3 puts, two of them in blocks, 1 lessee, 1 crash", full),
            sound("1 put, 3 lessees, 1 crash", lease3),
            sound("1 put, processes of 2 and 1 lessees, 1 crash, 1 return", processes),
            sound("2 producers, 2 readers, 1 crash", pair),
        ]);
    }
    cases
}

fn mutants(list: &[(&'static str, Mutant, Expect, Ring)]) -> impl Iterator<Item = Case> {
    list.iter().map(|&(name, mutant, expect, ring)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Ring { mutant: Some(mutant), ..ring })
    })
}

//! The ring: slots claimed by their own word, real (racy) hints, redelivery in place, and leases of inline items,
//! which move an item from its slot to a block while it is read.
//!
//! Words: slot `lap | redeliveries | BLOCK | owner | state`, block `generation | aux | state`. Every load, store and
//! CAS of a shared word is a step; a load whose value only feeds the CAS right behind it is one step with it.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const SLOTS: usize = 3;
const BLOCKS: usize = 3;
const THREADS: usize = 4;
const ITEMS: usize = 4;
const NONE: u8 = 0xff;

/// A slot's word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Slot(u16);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum In {
    Empty,
    Writing,
    Full,
    Reading,
}

impl Slot {
    fn new(lap: u8, state: In, owner: u8, block: bool, g: u8) -> Self {
        assert!(lap < 32 && g < 16 && owner < 8);
        let (lap, g) = (u16::from(lap), u16::from(g));
        Self(lap << 11 | g << 7 | u16::from(block) << 6 | u16::from(owner) << 3 | state as u16)
    }

    fn empty(lap: u8) -> Self {
        Self::new(lap, In::Empty, 0, false, 0)
    }

    fn lap(self) -> u8 {
        (self.0 >> 11) as u8
    }

    fn g(self) -> u8 {
        (self.0 >> 7 & 15) as u8
    }

    fn block(self) -> bool {
        self.0 >> 6 & 1 != 0
    }

    fn owner(self) -> u8 {
        (self.0 >> 3 & 7) as u8
    }

    fn state(self) -> In {
        [In::Empty, In::Writing, In::Full, In::Reading][usize::from(self.0 & 3)]
    }
}

/// A block's word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Block(u16);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    Free,
    Owned,
    Queued,
    Leased,
    Returned,
}

impl Block {
    fn new(is: Is, aux: u8, generation: u8) -> Self {
        assert!(aux < 32 && generation < 64);
        Self(u16::from(generation) << 8 | u16::from(aux) << 3 | is as u16)
    }

    fn is(self) -> Is {
        [Is::Free, Is::Owned, Is::Queued, Is::Leased, Is::Returned][usize::from(self.0 & 7)]
    }

    fn aux(self) -> u8 {
        (self.0 >> 3 & 31) as u8
    }

    fn generation(self) -> u8 {
        (self.0 >> 8) as u8
    }

    fn queued_at(self, p: u8) -> bool {
        self.is() == Is::Queued && self.aux() == p
    }

    /// Member `me` holds it in `is`.
    fn held(self, is: Is, me: u8) -> bool {
        self.is() == is && self.aux() == me
    }

    fn to(self, is: Is, aux: u8) -> Self {
        Self::new(is, aux, self.generation())
    }

    fn freed(self) -> Self {
        Self::new(Is::Free, 0, self.generation() + 1)
    }

    fn returned(self) -> Self {
        Self::new(Is::Returned, 0, self.generation() + 1)
    }
}

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

    fn repair(n: &mut State, t: usize, w: Slot, i: u8, back: At) {
        let thread = &mut n.thread[t];
        (thread.at, thread.back, thread.w, thread.i) = (At::Repair, back, w, i);
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

    fn put(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let (i, lap) = (self.at(me.p), self.lap(me.p));
        let big = self.big[usize::from(me.item)];
        let w = s.slot[i];
        let writing = Slot::new(lap, In::Writing, self.me(t), false, 0);
        let mut n = *s;
        match me.at {
            At::PutWalk => {
                if w == Slot::empty(lap) {
                    n.slot[i] = writing;
                    n.thread[t].at = At::PutWrite;
                    out.step(t, "claims the slot: WRITING", n);
                } else if w.lap() >= lap {
                    n.thread[t].p = if w.lap() > lap { s.tail.max(me.p + 1) } else { me.p + 1 };
                    out.step(t, "finds the slot claimed, goes on", n);
                } else if self.dead(s, w.owner()) {
                    Self::repair(&mut n, t, w, i as u8, At::PutWalk);
                    out.step(t, "finds a dead owner in the way", n);
                } else {
                    n.thread[t] = Thread { did: me.did, item: me.item, b: me.b, ..FRESH };
                    out.step(t, "finds the ring full", n);
                }
                return;
            }
            At::PutWrite if w != writing => {
                return out.wrong(t, "writes its slot", "a living writer lost its slot");
            }
            At::PutWrite => {
                if big {
                    n.blk[i] = me.b;
                    n.thread[t].at = At::PutQueued;
                    out.step(t, "stores slot.blk", n);
                } else {
                    n.inline[i] = me.item;
                    n.thread[t].at = At::PutFull;
                    out.step(t, "writes the payload", n);
                }
                return;
            }
            At::PutQueued => {
                let b = usize::from(me.b) - 1;
                if !s.block[b].held(Is::Owned, self.me(t)) {
                    return out.wrong(t, "stores QUEUED", "a living owner lost its block");
                }
                n.block[b] = s.block[b].to(Is::Queued, me.p);
                n.thread[t].at = At::PutFull;
                out.step(t, "block OWNED -> QUEUED", n);
                return;
            }
            At::PutFull if w != writing => {
                return out.wrong(t, "stores FULL", "a living writer lost its slot");
            }
            At::PutFull => {
                n.slot[i] = Slot::new(lap, In::Full, 0, big, 0);
                n.item[usize::from(me.item)] = COMMITTED;
                n.thread[t].at = At::PutHint;
                out.step(t, "slot WRITING -> FULL: the put is committed", n);
                return;
            }
            At::PutHint if s.tail < me.p + 1 => {
                n.thread[t].at = At::PutHintStore;
                out.step(t, "sees an old tail hint", n);
                return;
            }
            At::PutHintStore => n.tail = me.p + 1,
            _ => {}
        }
        n.thread[t] = Thread { did: me.did + 1, ..FRESH };
        out.step(t, "is done with the tail hint", n);
    }

    fn scan(&self, s: &State, t: usize, out: &mut Steps<State>) {
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
    fn spare(&self, s: &State, t: usize, out: &mut Steps<State>) {
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
    fn payload(&self, s: &State, i: usize, w: Slot) -> u8 {
        match (w.block(), s.blk[i]) {
            (false, _) => s.inline[i],
            (true, 0) => NONE,
            (true, b) => s.content[usize::from(b) - 1],
        }
    }

    fn get(&self, s: &State, t: usize, out: &mut Steps<State>) {
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

    /// What the owner of READING does.
    fn hold(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = self.at(me.p);
        let mine = s.slot[i] == me.w && self.payload(s, i, me.w) == me.item;
        let b = usize::from(me.b).wrapping_sub(1);
        let mut n = *s;
        if me.at != At::LeaseEmpty && me.at != At::Empty && !mine {
            return out.wrong(t, "reads its slot", "a living reader lost its slot or payload");
        }
        match me.at {
            At::Claimed => match (me.lease, me.w.block()) {
                (false, true) => {
                    (n.thread[t].at, n.thread[t].b) = (At::GetBlockFree, s.blk[i]);
                    out.step(t, "get: copies out of the block", n);
                }
                (false, false) => {
                    n.slot[i] = Slot::empty(self.lap(me.p) + 1);
                    n.inline[i] = NONE;
                    n.thread[t].at = At::Hint;
                    let done = self.consume(&mut n, t);
                    out.either(t, "get: copies, slot -> EMPTY: committed", done.map(|()| n));
                }
                (true, true) => {
                    (n.thread[t].at, n.thread[t].b) = (At::LeaseTake, s.blk[i]);
                    out.step(t, "lease: reads slot.blk", n);
                }
                (true, false) => {
                    let b = usize::from(me.spare) - 1;
                    if !s.block[b].held(Is::Owned, self.me(t)) {
                        return out.wrong(t, "writes its block", "a living owner lost its block");
                    }
                    n.content[b] = me.item;
                    n.blk[i] = me.spare;
                    (n.thread[t].b, n.thread[t].spare) = (me.spare, 0);
                    let early = self.has(Mutant::SlotBeforeQueued);
                    n.thread[t].at = if early { At::ConvertSlot } else { At::ConvertQueued };
                    out.step(t, "lease: copies the payload into the block, stores slot.blk", n);
                }
            },
            At::GetBlockFree if !s.block[b].queued_at(me.p) => {
                out.wrong(
                    t,
                    "block QUEUED -> FREE",
                    "the block of a slot in READING is not QUEUED",
                );
            }
            At::GetBlockFree => {
                n.block[b] = s.block[b].freed();
                n.content[b] = NONE;
                n.thread[t].at = At::Empty;
                let done = self.consume(&mut n, t);
                out.either(t, "get: block QUEUED -> FREE: committed", done.map(|()| n));
            }
            At::ConvertQueued if !s.block[b].held(Is::Owned, self.me(t)) => {
                out.wrong(t, "writes its block", "a living owner lost its block");
            }
            At::ConvertQueued => {
                n.block[b] = s.block[b].to(Is::Queued, me.p);
                let early = self.has(Mutant::SlotBeforeQueued);
                n.thread[t].at = if early { At::LeaseTake } else { At::ConvertSlot };
                out.step(t, "block OWNED -> QUEUED", n);
            }
            At::ConvertSlot => {
                n.slot[i] = Slot::new(self.lap(me.p), In::Reading, self.me(t), true, me.w.g());
                n.inline[i] = NONE;
                n.thread[t].w = n.slot[i];
                let early = self.has(Mutant::SlotBeforeQueued);
                n.thread[t].at = if early { At::ConvertQueued } else { At::LeaseTake };
                if self.has(Mutant::ConvertedGoesOnEarly) {
                    n.slot[i] = Slot::empty(self.lap(me.p) + 1);
                    n.block[b] = s.block[b];
                    n.thread[t].at = At::LeaseEmpty;
                }
                out.step(t, "slot READING inline -> READING BLOCK", n);
            }
            At::LeaseTake if !s.block[b].queued_at(me.p) => {
                out.wrong(
                    t,
                    "block QUEUED -> LEASED",
                    "the block of a slot in READING is not QUEUED",
                );
            }
            At::LeaseTake => {
                n.block[b] = s.block[b].to(Is::Leased, self.me(t));
                n.thread[t].at = At::LeaseEmpty;
                out.step(t, "block QUEUED -> LEASED", n);
            }
            At::LeaseEmpty
                if self.has(Mutant::ConvertedGoesOnEarly) && s.slot[i].state() != In::Reading =>
            {
                n.block[b] = s.block[b].to(Is::Leased, self.me(t));
                n.thread[t].at = At::Hint;
                out.step(t, "block QUEUED -> LEASED", n);
            }
            _ if s.slot[i] != me.w => {
                out.wrong(t, "slot -> EMPTY", "a living reader lost its slot")
            }
            _ => {
                n.slot[i] = Slot::empty(self.lap(me.p) + 1);
                n.thread[t].at = At::Hint;
                if me.at == At::Empty {
                    n.thread[t].b = 0;
                }
                out.step(t, "slot -> EMPTY", n);
            }
        }
    }

    fn leased(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let b = usize::from(me.b).wrapping_sub(1);
        let mut n = *s;
        if me.at == At::Unspare {
            let spare = usize::from(me.spare) - 1;
            if !s.block[spare].held(Is::Owned, self.me(t)) {
                return out.wrong(t, "gives its spare block back", "a living owner lost its block");
            }
            n.block[spare] = s.block[spare].freed();
            n.content[spare] = NONE;
            n.thread[t].spare = 0;
            n.thread[t].at = if me.item == NONE { At::Idle } else { At::Leased };
            return out.step(t, "its spare block OWNED -> FREE", n);
        }
        if me.at == At::DropPend {
            n.pend += 1;
            Self::rest(&mut n, t);
            return out.step(t, "pend + 1", n);
        }
        if !s.block[b].held(Is::Leased, self.me(t)) || s.content[b] != me.item {
            return out.wrong(t, "ends its lease", "a living lessee lost its block");
        }
        n.block[b] = s.block[b].freed();
        n.content[b] = NONE;
        n.thread[t].b = 0;
        n.thread[t].at = At::Idle;
        let done = self.consume(&mut n, t);
        out.either(t, "lease LEASED -> FREE: committed", done.map(|()| n));
        if s.returns > 0 {
            n = *s;
            n.returns -= 1;
            n.block[b] = s.block[b].returned();
            n.thread[t] = Thread { at: At::DropPend, ..FRESH };
            out.step(t, "drops its lease: LEASED -> RETURNED", n);
        }
    }

    fn sweep(&self, s: &State, t: usize, out: &mut Steps<State>) {
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

    fn free(&self, bw: Block) -> Block {
        if self.has(Mutant::NoGenerationOnFree) { bw.to(Is::Free, 0) } else { bw.freed() }
    }

    /// Brings one slot of a dead owner back: word `w` of slot `i` was read before.
    fn mend(&self, s: &State, t: usize, out: &mut Steps<State>) {
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

    fn mended(n: &mut State, t: usize) {
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

//! The close mark: a flag, then a mark in the ring behind which nothing comes, with sleeping and waking.
//!
//! Slots, blocks and hints are those of the ring model, told shorter: a repair is one step a word, and an item on lease lies
//! in a block of its own. An event count is two bits a thread: armed, and signalled since; that they may be is the event
//! count model's matter. A death signals everybody.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const SLOTS: usize = 3;
const THREADS: usize = 4;
const ITEMS: usize = 3;
const NONE: u8 = 0xff;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum In {
    Empty,
    Writing,
    Full,
    Reading,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Slot {
    is: In,
    lap: u8,
    owner: u8,
    item: u8,
    /// Given back since.
    again: bool,
    /// Its item has moved to a block.
    block: bool,
}

const EMPTY: Slot =
    Slot { is: In::Empty, lap: 0, owner: 0, item: NONE, again: false, block: false };

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Block {
    Free,
    Leased(u8),
    Returned,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Idle,
    Done,
    Dead,
    Asleep,
    // The closer.
    WakeReaders,
    WakeWriters,
    // A producer.
    ReadTail,
    PutWalk,
    PutFull,
    PutWake,
    PutHint,
    PutHintStore,
    // A reader.
    ReadHead,
    Walk,
    ReadFlag,
    Mark,
    CheckSlots,
    CheckBlocks,
    Claimed,
    LeaseEmpty,
    Hint,
    HintStore,
    WakeWriter,
    AfterCommit,
    Leased,
    ReturnPend,
    ReturnWake,
    ScanSlots,
    ScanBlocks,
    // Anyone.
    SweepSlots,
    SweepBlocks,
    SweepPend,
    SweepEnd,
    SweepWake,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    armed: bool,
    signalled: bool,
    p: u8,
    i: u8,
    e: u8,
    item: u8,
    hint: u8,
    did: u8,
    flag: bool,
    lease: bool,
}

const FRESH: Thread = Thread {
    at: At::Idle,
    armed: false,
    signalled: false,
    p: 0,
    i: 0,
    e: 0,
    item: NONE,
    hint: NONE,
    did: 0,
    flag: false,
    lease: false,
};

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    slot: [Slot; SLOTS],
    block: [Block; ITEMS],
    /// 0 not put, 1 committed, 2 consumed.
    item: [u8; ITEMS],
    closed: bool,
    /// A reader has said Closed.
    said: bool,
    head: u8,
    tail: u8,
    pend: u8,
    scanned: u8,
    swept: u8,
    dead: u8,
    thread: [Thread; THREADS],
    crashes: u8,
    returns: u8,
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoMark,
    MarkByStore,
    NoSlotLook,
    NoBlockLook,
    BlocksFirst,
    ReadersDoNotMark,
    CommitWakesNobody,
    CloseWakesNoReader,
    CloseWakesNoWriter,
    FlagNotReadAgain,
}

/// Who takes part: the closer first, then the producers, then the readers.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    pub slots: u8,
    /// Items of each producer.
    pub puts: &'static [u8],
    pub readers: usize,
    pub get: bool,
    pub lease: bool,
    pub crashes: u8,
    pub returns: u8,
    /// Who may die, one bit each.
    pub mortal: u8,
    pub mutant: Option<Mutant>,
}

impl Close {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn threads(&self) -> usize {
        1 + self.puts.len() + self.readers
    }

    fn is_reader(&self, t: usize) -> bool {
        t > self.puts.len()
    }

    fn is_dead(s: &State, owner: u8) -> bool {
        owner != 0 && s.dead >> (owner - 1) & 1 != 0
    }

    fn deaths(s: &State) -> u8 {
        s.dead.count_ones() as u8
    }

    fn at(&self, p: u8) -> usize {
        usize::from(p % self.slots)
    }

    /// Signals threads that wait: everybody armed, and of the sleepers all or one.
    fn notify(&self, s: &State, readers: bool, all: bool) -> Vec<State> {
        let mine = |t: &usize| self.is_reader(*t) == readers && *t != 0;
        let mut n = *s;
        let mut asleep = Vec::new();
        for t in (0..self.threads()).filter(mine) {
            if n.thread[t].at == At::Asleep {
                asleep.push(t);
            } else if n.thread[t].armed {
                n.thread[t].signalled = true;
            }
        }
        let wake = |n: &mut State, t: usize| {
            let did = n.thread[t].did;
            n.thread[t] = Thread { did, ..FRESH };
        };
        if all || asleep.is_empty() {
            asleep.iter().for_each(|&t| wake(&mut n, t));
            return vec![n];
        }
        let one = |&t: &usize| {
            let mut n = n;
            wake(&mut n, t);
            n
        };
        asleep.iter().map(one).collect()
    }

    fn tell(
        &self,
        s: &State,
        t: usize,
        (readers, all): (bool, bool),
        then: impl Fn(&mut Thread),
        what: &'static str,
        out: &mut Steps<State>,
    ) {
        for mut n in self.notify(s, readers, all) {
            then(&mut n.thread[t]);
            out.step(t, what, n);
        }
    }

    /// An operation is over.
    fn over(thread: &mut Thread) {
        *thread = Thread { did: thread.did, ..FRESH };
    }

    /// An attempt failed: arm and try again, or sleep.
    fn failed(thread: &mut Thread) {
        let did = thread.did;
        if !thread.armed {
            *thread = Thread { armed: true, did, ..FRESH };
        } else if thread.signalled {
            *thread = Thread { did, ..FRESH };
        } else {
            *thread = Thread { at: At::Asleep, did, ..FRESH };
        }
    }

    fn begin(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let mut n = *s;
        let thread = &mut n.thread[t];
        if s.swept != Self::deaths(s) && t != 0 {
            (thread.at, thread.e) = (At::SweepSlots, Self::deaths(s));
            return out.step(t, "sees that a death was not swept", n);
        }
        if t == 0 {
            n.closed = true;
            n.thread[t].at = At::WakeReaders;
            return out.step(t, "closes: sets the flag", n);
        }
        if self.is_reader(t) {
            if s.pend != s.scanned {
                (thread.at, thread.e) = (At::ScanSlots, s.pend);
                return out.step(t, "pend differs from scanned: will scan", n);
            }
            thread.at = At::ReadHead;
            return out.step(t, "pend = scanned", n);
        }
        if thread.did == self.puts[t - 1] {
            *thread = Thread { at: At::Done, ..FRESH };
            return out.step(t, "has put all", n);
        }
        if s.closed && !(self.has(FlagNotReadAgain) && thread.armed) {
            *thread = Thread { at: At::Done, ..FRESH };
            return out.step(t, "put: sees the flag, is refused", n);
        }
        thread.at = At::ReadTail;
        out.step(t, "put: sees no flag", n);
    }

    fn put(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = self.at(me.p);
        let lap = me.p / self.slots;
        let w = s.slot[i];
        let item = self.puts[..t - 1].iter().sum::<u8>() + me.did;
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::ReadTail => {
                (thread.at, thread.p) = (At::PutWalk, s.tail);
                out.step(t, "reads the tail hint", n);
            }
            At::PutWalk if w.lap == lap && w.is == In::Empty => {
                n.slot[i] = Slot { is: In::Writing, owner: t as u8 + 1, item, ..w };
                thread.at = At::PutFull;
                out.step(t, "claims a slot: WRITING", n);
            }
            At::PutWalk if w.lap == lap && w.is == In::Closed => {
                *thread = Thread { at: At::Done, ..FRESH };
                out.step(t, "finds the mark, is refused", n);
            }
            At::PutWalk if w.lap >= lap => {
                thread.p = if w.lap > lap { s.tail.max(me.p + 1) } else { me.p + 1 };
                out.step(t, "finds the slot claimed, goes on", n);
            }
            At::PutWalk => {
                Self::failed(thread);
                out.step(t, "finds the ring full", n);
            }
            At::PutFull if w.is != In::Writing || w.owner != t as u8 + 1 => {
                out.wrong(t, "stores FULL", "a living writer lost its slot");
            }
            At::PutFull if s.said => {
                out.wrong(t, "stores FULL", "a put commits after Closed was said")
            }
            At::PutFull => {
                n.slot[i] = Slot { is: In::Full, owner: 0, ..w };
                n.item[usize::from(item)] = 1;
                thread.at = At::PutWake;
                (thread.armed, thread.signalled) = (false, false);
                out.step(t, "slot WRITING -> FULL: the put is committed", n);
            }
            At::PutWake => {
                self.tell(s, t, (true, false), |t| t.at = At::PutHint, "wakes a reader", out);
            }
            At::PutHint if s.tail <= me.p => {
                thread.at = At::PutHintStore;
                out.step(t, "sees an old tail hint", n);
            }
            _ => {
                if me.at == At::PutHintStore {
                    n.tail = me.p + 1;
                }
                thread.did += 1;
                Self::over(thread);
                out.step(t, "is done with the tail hint", n);
            }
        }
    }

    /// `t` now holds `item`.
    fn take(&self, n: &mut State, t: usize, item: u8) -> Result<(), &'static str> {
        if n.said {
            return Err("an item is handed out after Closed was said");
        }
        if n.item[usize::from(item)] != 1 {
            return Err("an item is handed out that is not there");
        }
        n.thread[t].item = item;
        (n.thread[t].armed, n.thread[t].signalled) = (false, false);
        Ok(())
    }

    fn walk(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = self.at(me.p);
        let lap = me.p / self.slots;
        let w = s.slot[i];
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::ReadHead => {
                (thread.at, thread.p) = (At::Walk, s.head);
                out.step(t, "reads the head hint", n);
            }
            At::Walk if w.lap > lap => {
                thread.p += 1;
                out.step(t, "finds the position consumed", n);
            }
            At::Walk if w.lap < lap => {
                Self::failed(thread);
                out.step(t, "finds nothing", n);
            }
            At::Walk => match w.is {
                In::Full => {
                    self.claim(s, t, i, me.hint.min(me.p + 1), "walk: FULL -> READING", out)
                }
                In::Reading => {
                    thread.p += 1;
                    out.step(t, "passes READING", n);
                }
                In::Writing => {
                    thread.hint = thread.hint.min(me.p);
                    thread.p += 1;
                    out.step(t, "passes WRITING", n);
                }
                In::Empty => {
                    thread.at = At::ReadFlag;
                    out.step(t, "finds EMPTY", n);
                }
                In::Closed => {
                    let blocks = self.has(BlocksFirst) || self.has(NoSlotLook);
                    thread.at = if blocks { At::CheckBlocks } else { At::CheckSlots };
                    out.step(t, "finds the mark", n);
                }
            },
            At::ReadFlag if s.closed && self.has(NoMark) => {
                thread.at = At::CheckSlots;
                out.step(t, "sees the flag", n);
            }
            At::ReadFlag if s.closed && !self.has(ReadersDoNotMark) => {
                thread.at = At::Mark;
                out.step(t, "sees the flag", n);
            }
            At::ReadFlag => {
                Self::failed(thread);
                out.step(t, "sees no flag: finds nothing", n);
            }
            At::Mark => {
                let same = w.is == In::Empty && w.lap == lap;
                if same || (self.has(MarkByStore) && w.lap == lap) {
                    n.slot[i] = Slot { is: In::Closed, lap, ..EMPTY };
                }
                n.thread[t].at = At::Walk;
                out.step(t, "CAS of the mark", n);
            }
            _ => self.closed_check(s, t, out),
        }
    }

    fn claim(
        &self,
        s: &State,
        t: usize,
        i: usize,
        hint: u8,
        what: &'static str,
        out: &mut Steps<State>,
    ) {
        for lease in [false, true] {
            if !(if lease { self.lease } else { self.get }) {
                continue;
            }
            let mut n = *s;
            let w = &mut n.slot[i];
            (w.is, w.owner) = (In::Reading, t as u8 + 1);
            let (item, p) = (w.item, w.lap * self.slots + i as u8);
            let thread = &mut n.thread[t];
            (thread.at, thread.hint, thread.p, thread.lease) = (At::Claimed, hint, p, lease);
            (thread.i, thread.e) = (0, 0);
            let taken = self.take(&mut n, t, item);
            out.either(t, what, taken.map(|()| n));
        }
    }

    /// The mark was seen: is anything before it still to come?
    fn closed_check(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        let thread = &mut n.thread[t];
        let slots = me.at == At::CheckSlots;
        let last = if slots { i == usize::from(self.slots) } else { i == ITEMS };
        if last {
            (thread.at, thread.i) = (if slots { At::CheckBlocks } else { At::CheckSlots }, 0);
            let to_blocks = slots && !self.has(BlocksFirst) && !self.has(NoBlockLook);
            let to_slots = !slots && self.has(BlocksFirst);
            if to_blocks || to_slots {
                return out.step(t, "check: half of it seen", n);
            }
            if me.flag {
                Self::failed(thread);
                return out.step(t, "check: others may still give something back", n);
            }
            *thread = Thread { at: At::Done, ..FRESH };
            n.said = true;
            let all = s.item.iter().all(|&item| item != 1);
            let right = if all { Ok(n) } else { Err("Closed is said before all is consumed") };
            return out.either(t, "says Closed", right);
        }
        let again = |thread: &mut Thread| {
            *thread = Thread {
                armed: thread.armed,
                signalled: thread.signalled,
                did: thread.did,
                ..FRESH
            };
        };
        thread.i += 1;
        if slots {
            let w = s.slot[i];
            match w.is {
                In::Full => {
                    // Given back, perhaps not counted: the scan must find it.
                    if w.again && s.pend == s.scanned {
                        n.pend += 1;
                    }
                    again(&mut n.thread[t]);
                }
                In::Writing | In::Reading if Self::is_dead(s, w.owner) => again(thread),
                In::Writing | In::Reading => thread.flag = true,
                In::Empty | In::Closed => {}
            }
        } else {
            match s.block[i] {
                Block::Leased(owner) if Self::is_dead(s, owner) => again(thread),
                Block::Leased(_) => thread.flag = true,
                Block::Returned => {
                    if s.pend == s.scanned {
                        n.pend += 1;
                    }
                    again(&mut n.thread[t]);
                }
                Block::Free => {}
            }
        }
        out.step(t, "check: looks at a word", n);
    }

    fn hold(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = self.at(me.p);
        let item = usize::from(me.item);
        let mut n = *s;
        match me.at {
            At::Claimed if me.lease => {
                n.slot[i].block = true;
                n.block[item] = Block::Leased(t as u8 + 1);
                n.thread[t].at = At::LeaseEmpty;
                out.step(t, "lease: the item moves to a block", n);
            }
            At::Claimed | At::LeaseEmpty => {
                if s.slot[i].owner != t as u8 + 1 {
                    return out.wrong(t, "slot -> EMPTY", "a living reader lost its slot");
                }
                n.slot[i] = Slot { lap: s.slot[i].lap + 1, ..EMPTY };
                if me.at == At::Claimed {
                    n.item[item] = 2;
                    n.thread[t].item = NONE;
                }
                n.thread[t].at = At::Hint;
                out.step(t, "slot -> EMPTY", n);
            }
            At::Hint if me.hint != NONE && s.head < me.hint => {
                n.thread[t].at = At::HintStore;
                out.step(t, "sees an old head hint", n);
            }
            At::Hint | At::HintStore => {
                if me.at == At::HintStore {
                    n.head = me.hint;
                }
                n.thread[t].at = At::WakeWriter;
                out.step(t, "is done with the head hint", n);
            }
            At::WakeWriter => {
                let then = |t: &mut Thread| t.at = At::AfterCommit;
                self.tell(s, t, (false, false), then, "wakes a writer", out);
            }
            At::AfterCommit => {
                let then = |thread: &mut Thread| {
                    let item = thread.item;
                    Self::over(thread);
                    if item != NONE {
                        (thread.at, thread.item) = (At::Leased, item);
                    }
                };
                if s.closed && !self.has(CommitWakesNobody) {
                    return self.tell(
                        s,
                        t,
                        (true, true),
                        then,
                        "sees the flag, wakes all readers",
                        out,
                    );
                }
                then(&mut n.thread[t]);
                out.step(t, "sees no flag", n);
            }
            At::Leased => {
                n.block[item] = Block::Free;
                n.item[item] = 2;
                n.thread[t] = Thread { at: At::AfterCommit, did: me.did, ..FRESH };
                out.step(t, "commits its lease", n);
                if s.returns > 0 {
                    n = *s;
                    n.returns -= 1;
                    n.block[item] = Block::Returned;
                    n.thread[t] = Thread { at: At::ReturnPend, did: me.did, ..FRESH };
                    out.step(t, "drops its lease: RETURNED", n);
                }
            }
            At::ReturnPend => {
                n.pend += 1;
                n.thread[t].at = At::ReturnWake;
                out.step(t, "pend + 1", n);
            }
            _ => self.tell(s, t, (true, true), Self::over, "wakes all readers", out),
        }
    }

    fn scan(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        let thread = &mut n.thread[t];
        if me.at == At::ScanSlots {
            if me.i == self.slots {
                (thread.at, thread.i) = (At::ScanBlocks, 0);
            } else if s.slot[i].is == In::Full && s.slot[i].again {
                return self.claim(s, t, i, NONE, "scan: FULL -> READING", out);
            } else {
                thread.i += 1;
            }
            return out.step(t, "scan: looks at a slot", n);
        }
        if i == ITEMS {
            n.scanned = s.scanned.max(me.e);
            (thread.at, thread.i, thread.e) = (At::ReadHead, 0, 0);
            return out.step(t, "scan: nothing found", n);
        }
        if s.block[i] == Block::Returned {
            n.block[i] = Block::Leased(t as u8 + 1);
            n.thread[t] = Thread { at: At::Leased, did: me.did, ..FRESH };
            let taken = self.take(&mut n, t, me.i);
            return out.either(t, "scan: RETURNED -> LEASED", taken.map(|()| n));
        }
        thread.i += 1;
        out.step(t, "scan: looks at a block", n);
    }

    fn sweep(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::SweepSlots if me.i == self.slots => {
                (thread.at, thread.i) = (At::SweepBlocks, 0);
                out.step(t, "sweep: saw the slots", n);
            }
            At::SweepSlots => {
                let w = s.slot[i];
                if Self::is_dead(s, w.owner) {
                    let empty = Slot { lap: w.lap + 1, ..EMPTY };
                    let again = Slot { is: In::Full, owner: 0, again: true, ..w };
                    let back = w.is == In::Reading && !w.block;
                    n.slot[i] = if back { again } else { empty };
                    n.thread[t].flag |= back;
                } else {
                    thread.flag |= w.is == In::Full && w.again;
                }
                n.thread[t].i += 1;
                out.step(t, "sweep: a slot", n);
            }
            At::SweepBlocks if i == ITEMS => {
                (thread.at, thread.i) = (if me.flag { At::SweepPend } else { At::SweepEnd }, 0);
                out.step(t, "sweep: saw the blocks", n);
            }
            At::SweepBlocks => {
                if let Block::Leased(owner) = s.block[i]
                    && Self::is_dead(s, owner)
                {
                    n.block[i] = Block::Returned;
                }
                n.thread[t].flag |= n.block[i] == Block::Returned;
                n.thread[t].i += 1;
                out.step(t, "sweep: a block", n);
            }
            At::SweepPend => {
                n.pend += 1;
                n.thread[t].at = At::SweepEnd;
                out.step(t, "sweep: pend + 1", n);
            }
            At::SweepEnd => {
                n.swept = s.swept.max(me.e);
                n.thread[t].at = At::SweepWake;
                out.step(t, "sweep: done", n);
            }
            _ => {
                let Thread { armed, signalled, did, .. } = me;
                for n in self.notify(s, true, true) {
                    for mut n in self.notify(&n, false, true) {
                        n.thread[t] = Thread { armed, signalled, did, ..FRESH };
                        out.step(t, "sweep: wakes all", n);
                    }
                }
            }
        }
    }
}

impl Protocol for Close {
    type State = State;

    fn start(&self) -> State {
        let mut thread = [Thread { at: At::Done, ..FRESH }; THREADS];
        thread[..self.threads()].fill(FRESH);
        State {
            slot: [EMPTY; SLOTS],
            block: [Block::Free; ITEMS],
            item: [0; ITEMS],
            closed: false,
            said: false,
            head: 0,
            tail: 0,
            pend: 0,
            scanned: 0,
            swept: 0,
            dead: 0,
            thread,
            crashes: self.crashes,
            returns: self.returns,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.threads() {
            let mut n = *s;
            match s.thread[t].at {
                At::Dead | At::Done => continue,
                At::Asleep => {}
                At::Idle => self.begin(s, t, out),
                At::WakeReaders if self.has(CloseWakesNoReader) => {
                    n.thread[t].at = At::WakeWriters;
                    out.step(t, "close: does not wake the readers", n);
                }
                At::WakeReaders => {
                    let then = |t: &mut Thread| t.at = At::WakeWriters;
                    self.tell(s, t, (true, true), then, "close: wakes all readers", out);
                }
                At::WakeWriters if self.has(CloseWakesNoWriter) => {
                    n.thread[t].at = At::Done;
                    out.step(t, "close: does not wake the writers", n);
                }
                At::WakeWriters => {
                    let then = |t: &mut Thread| t.at = At::Done;
                    self.tell(s, t, (false, true), then, "close: wakes all writers", out);
                }
                At::ReadTail
                | At::PutWalk
                | At::PutFull
                | At::PutWake
                | At::PutHint
                | At::PutHintStore => self.put(s, t, out),
                At::ReadHead
                | At::Walk
                | At::ReadFlag
                | At::Mark
                | At::CheckSlots
                | At::CheckBlocks => self.walk(s, t, out),
                At::ScanSlots | At::ScanBlocks => self.scan(s, t, out),
                At::SweepSlots | At::SweepBlocks | At::SweepPend | At::SweepEnd | At::SweepWake => {
                    self.sweep(s, t, out)
                }
                _ => self.hold(s, t, out),
            }
            if s.crashes > 0 && self.mortal >> t & 1 != 0 {
                let mut n = *s;
                n.crashes -= 1;
                n.dead |= 1 << t;
                n.thread[t] = Thread { at: At::Dead, ..FRESH };
                // The notice: nobody stays asleep.
                for n in self.notify(&n, true, true) {
                    for n in self.notify(&n, false, true) {
                        out.luck(t, "dies", n);
                    }
                }
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        let over = |t: usize| matches!(s.thread[t].at, At::Done | At::Dead);
        let alive = |t: usize| s.thread[t].at != At::Dead;
        let mut readers = self.puts.len() + 1..self.threads();
        if s.closed {
            return (0..self.threads()).all(over);
        }
        // The closer died before it closed: what was put is consumed, if anybody reads.
        let reads = readers.clone().any(alive);
        let waits = |t: usize| over(t) || !reads && s.thread[t].at == At::Asleep;
        !alive(0)
            && (1..=self.puts.len()).all(waits)
            && (!reads || s.item.iter().all(|&item| item != 1))
            && readers.all(|t| s.thread[t].item == NONE)
    }

    fn name(&self, who: usize) -> String {
        match who {
            0 => "closer".to_owned(),
            _ if self.is_reader(who) => format!("reader {who}"),
            _ => format!("producer {who}"),
        }
    }
}

const NAME: &str = "close";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let base = Close {
        slots: 2,
        puts: &[1],
        readers: 2,
        get: false,
        lease: true,
        crashes: 1,
        returns: 0,
        mortal: 0xff,
        mutant: None,
    };
    let calm = Close { crashes: 0, ..base };
    let get = Close { get: true, lease: false, ..base };
    let full = Close { puts: &[3], readers: 1, ..get };
    let wide = Close { slots: 3, puts: &[2], ..base };
    let sound = |config, close| Case::sound(NAME, config, close);
    let mut cases = vec![
        sound("1 put, 2 getters, 1 death", get),
        sound("1 put, 2 lessees, 1 return, no death", Close { returns: 1, ..calm }),
        sound("1 put, 2 lessees, 1 death of a reader", Close { mortal: 0b1100, ..base }),
        sound("2 producers, 1 getter, 1 death", Close { puts: &[1, 1], readers: 1, ..get }),
        sound("2 slots, 3 puts, 1 getter, 1 death", full),
    ];
    let list: &[(&'static str, Mutant, Expect, Close)] = &[
        ("Closed on flag and EMPTY, no mark", NoMark, Unsafe, calm),
        ("mark by plain store", MarkByStore, Unsafe, calm),
        ("slots not looked at", NoSlotLook, Unsafe, calm),
        ("blocks not looked at", NoBlockLook, Unsafe, calm),
        ("blocks first, then slots", BlocksFirst, Unsafe, calm),
        ("readers do not set the mark", ReadersDoNotMark, Stuck, calm),
        ("a commit after close wakes nobody", CommitWakesNobody, Stuck, calm),
        ("close wakes no reader", CloseWakesNoReader, Stuck, calm),
        ("close wakes no writer", CloseWakesNoWriter, Stuck, full),
        ("a writer does not read the flag again", FlagNotReadAgain, Stuck, full),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, close)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Close { mutant: Some(mutant), ..close })
    }));
    if !quick {
        let both = Close { get: true, ..base };
        cases.extend([
            sound(
                "1 put, 2 readers that get or lease, 1 death, 1 return",
                Close { returns: 1, ..both },
            ),
            sound("1 put, 2 lessees, 2 deaths", Close { crashes: 2, ..base }),
            sound("3 slots, 2 puts, 2 lessees, no death", Close { crashes: 0, ..wide }),
            sound("3 slots, 2 puts, 2 getters, 1 death", Close { get: true, lease: false, ..wide }),
            sound("2 puts, 2 lessees, 1 death", Close { slots: 2, ..wide }),
        ]);
    }
    cases
}

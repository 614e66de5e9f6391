//! The semaphore with a ledger: the core's `semaphore`, step by step.
//!
//! `stamp` names the last operation, `settled` the last one that is in the ledger. What each process really holds is kept
//! beside the shared words, and compared whenever everything is settled.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const THREADS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Stamp {
    free: u8,
    member: u8,
    seq: u8,
    reclaim: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Entry {
    held: u8,
    seq: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Idle,
    Done,
    Dead,
    Join,
    // Sweep.
    Sweep,
    Reclaim,
    ReclaimLook,
    FreeIndex,
    // Settle, then go on at `back`.
    Settle,
    SettledLoad,
    StampAgain,
    HelpLoad,
    HelpSwap,
    HelpSettle,
    // An operation.
    Look,
    Stamp,
    RecordLoad,
    RecordSwap,
    RecordSettle,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    back: At,
    /// Operations done; even ones acquire, odd ones release.
    did: u8,
    a: Stamp,
    b: Stamp,
    next: Stamp,
    entry: Entry,
    i: u8,
    /// The process whose index is reclaimed.
    exact: u8,
    e: u8,
}

const FRESH: Thread = Thread {
    at: At::Idle,
    back: At::Idle,
    did: 0,
    a: Stamp { free: 0, member: 0, seq: 0, reclaim: false },
    b: Stamp { free: 0, member: 0, seq: 0, reclaim: false },
    next: Stamp { free: 0, member: 0, seq: 0, reclaim: false },
    entry: Entry { held: 0, seq: 0 },
    i: 0,
    exact: 0,
    e: 0,
};

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    stamp: Stamp,
    settled: Stamp,
    ledger: [Entry; THREADS],
    /// The process that has each index, from 1.
    table: [u8; THREADS],
    swept: u8,
    deaths: u8,
    /// What the holder of each index really holds.
    held: [u8; THREADS],
    thread: [Thread; THREADS],
    crashes: u8,
    joins: u8,
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoHelp,
    NoStampAgain,
    NoIndexLook,
    SettledFirst,
    RecordByStore,
    IndexFreedFirst,
    NoReclaim,
    NoSequence,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Semaphore {
    pub permits: u8,
    /// The index of each thread's process.
    pub threads: &'static [u8],
    /// How many permits each thread takes at once, and how many operations it does.
    pub each: &'static [u8],
    pub operations: u8,
    pub crashes: u8,
    pub joins: u8,
    pub mutant: Option<Mutant>,
}

impl Semaphore {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn dead(&self, s: &State, process: u8) -> bool {
        // A name is dead if no living thread has it.
        process != 0
            && (0..self.threads.len()).all(|t| {
                matches!(s.thread[t].at, At::Dead | At::Join)
                    || self.threads[t] + 1 != process % 100
                    || (self.joined(s, t) != (process >= 100))
            })
    }

    fn joined(&self, s: &State, t: usize) -> bool {
        s.thread[t].did >= 100
    }

    fn rest(n: &mut State, t: usize) {
        n.thread[t] = Thread { did: n.thread[t].did, ..FRESH };
    }

    /// What must be so when everything is settled.
    fn settled(&self, n: State) -> Result<State, &'static str> {
        let held: u8 = n.held.iter().sum();
        if n.stamp.free + held != self.permits {
            return Err("permits were lost or made");
        }
        let right = (0..THREADS).all(|m| n.ledger[m].held == n.held[m]);
        if n.stamp == n.settled && !right {
            return Err("everything is settled, but the ledger is wrong");
        }
        Ok(n)
    }

    fn step(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mine = self.threads[t];
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::Idle => {
                if me.did % 100 == self.operations {
                    thread.at = At::Done;
                    return out.step(t, "is done", n);
                }
                if me.did.is_multiple_of(2) && s.swept != s.deaths {
                    (thread.at, thread.e) = (At::Sweep, s.deaths);
                    return out.step(t, "sees that a death was not swept; reads the epoch", n);
                }
                (thread.at, thread.back) = (At::Settle, At::Look);
                out.step(
                    t,
                    if me.did.is_multiple_of(2) { "will acquire" } else { "will release" },
                    n,
                );
            }
            At::Join => {
                if s.table[usize::from(mine)] == 0 {
                    n.table[usize::from(mine)] = mine + 101;
                    n.thread[t] = Thread { did: 100, ..FRESH };
                    out.luck(t, "a new process joins with the dead one's index", n);
                }
            }
            At::Look => {
                thread.entry = s.ledger[usize::from(mine)];
                let each = self.each[t];
                let acquires = me.did.is_multiple_of(2);
                if acquires && me.a.free < each {
                    Self::rest(&mut n, t);
                    return out.step(t, "finds too few permits", n);
                }
                let free = if acquires { me.a.free - each } else { me.a.free + each };
                let seq = thread.entry.seq + u8::from(!self.has(NoSequence));
                thread.next = Stamp { free, member: mine, seq, reclaim: false };
                (thread.at, thread.i) = (At::Stamp, mine);
                out.step(t, "reads its own entry", n);
            }
            At::Stamp => self.stamp(s, t, out),
            At::RecordLoad | At::HelpLoad => {
                // (before, stamp) = (a, next) for its own operation, (b, a) when it helps.
                let stamp = if me.at == At::HelpLoad { me.a } else { me.next };
                thread.entry = s.ledger[usize::from(stamp.member)];
                let due = thread.entry.seq + u8::from(!self.has(NoSequence)) == stamp.seq;
                thread.at = match (me.at, due) {
                    (At::HelpLoad, true) => At::HelpSwap,
                    (At::HelpLoad, false) => At::HelpSettle,
                    (_, true) => At::RecordSwap,
                    (_, false) => At::RecordSettle,
                };
                out.step(t, "reads the entry of the operation", n);
            }
            At::RecordSwap | At::HelpSwap => {
                let help = me.at == At::HelpSwap;
                let (before, stamp) = if help { (me.b, me.a) } else { (me.a, me.next) };
                let total =
                    i16::from(me.entry.held) + i16::from(before.free) - i16::from(stamp.free);
                let held = if stamp.reclaim { 0 } else { total.max(0) as u8 };
                let at = usize::from(stamp.member);
                if s.ledger[at] == me.entry || self.has(RecordByStore) {
                    n.ledger[at] = Entry { held, seq: stamp.seq };
                }
                n.thread[t].entry = Entry::default();
                n.thread[t].at = if help { At::HelpSettle } else { At::RecordSettle };
                if self.has(SettledFirst) {
                    self.done(&mut n, t, help);
                }
                out.either(t, "CAS of the entry", self.settled(n));
            }
            At::RecordSettle | At::HelpSettle => {
                let help = me.at == At::HelpSettle;
                let (before, stamp) = if help { (me.b, me.a) } else { (me.a, me.next) };
                if s.settled == before {
                    n.settled = stamp;
                }
                if self.has(SettledFirst) {
                    n.thread[t].at = if help { At::HelpLoad } else { At::RecordLoad };
                } else {
                    self.done(&mut n, t, help);
                }
                out.either(t, "CAS of settled", self.settled(n));
            }
            At::Settle => {
                thread.a = s.stamp;
                thread.at = if self.has(NoHelp) { me.back } else { At::SettledLoad };
                out.step(t, "reads the stamp", n);
            }
            At::SettledLoad => {
                thread.b = s.settled;
                thread.at = At::StampAgain;
                if s.settled == me.a {
                    (thread.at, thread.b) = (me.back, Stamp::default());
                } else if self.has(NoStampAgain) {
                    thread.at = At::HelpLoad;
                }
                out.step(t, "reads settled", n);
            }
            At::StampAgain => {
                let first = if self.has(SettledFirst) { At::HelpSettle } else { At::HelpLoad };
                thread.at = if s.stamp == me.a { first } else { At::Settle };
                out.step(t, "reads the stamp again", n);
            }
            _ => self.sweep(s, t, out),
        }
    }

    /// Behind the last step of recording.
    fn done(&self, n: &mut State, t: usize, help: bool) {
        let me = n.thread[t];
        if help {
            n.thread[t].at = At::Settle;
        } else if me.next.reclaim {
            let thread = &mut n.thread[t];
            (thread.a, thread.next, thread.entry) = Default::default();
            thread.at = if self.has(IndexFreedFirst) { At::Sweep } else { At::FreeIndex };
            if self.has(IndexFreedFirst) {
                thread.i += 1;
                thread.exact = 0;
            }
        } else {
            n.thread[t].did += 1;
            Self::rest(n, t);
        }
    }

    fn stamp(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        if s.stamp != me.a {
            n.thread[t].at = At::Settle;
            (n.thread[t].next, n.thread[t].entry) = Default::default();
            return out.step(t, "CAS of the stamp fails", n);
        }
        n.stamp = me.next;
        let first = if self.has(SettledFirst) { At::RecordSettle } else { At::RecordLoad };
        (n.thread[t].at, n.thread[t].entry) = (first, Entry::default());
        let m = usize::from(me.next.member);
        if me.next.reclaim {
            let freed = me.next.free - me.a.free;
            let owner = s.table[m];
            if owner != 0 && !self.dead(s, owner) {
                return out.wrong(
                    t,
                    "CAS of the stamp: reclaims",
                    "a living process's permits are reclaimed",
                );
            }
            if n.held[m] != freed {
                return out.wrong(
                    t,
                    "CAS of the stamp: reclaims",
                    "not what the dead one held is reclaimed",
                );
            }
            n.held[m] = 0;
        } else if me.did.is_multiple_of(2) {
            n.held[m] += self.each[t];
        } else {
            n.held[m] -= self.each[t];
        }
        out.either(t, "CAS of the stamp: the operation is done", self.settled(n));
    }

    fn sweep(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::Sweep if i == THREADS => {
                n.swept = me.e;
                Self::rest(&mut n, t);
                out.step(t, "sweep: stores the epoch", n);
            }
            At::Sweep => {
                let process = s.table[i];
                if self.dead(s, process) && !self.has(NoReclaim) {
                    thread.exact = process;
                    (thread.at, thread.back) = (At::Settle, At::Reclaim);
                    if self.has(IndexFreedFirst) {
                        n.table[i] = 0;
                    }
                } else {
                    thread.i += 1;
                }
                out.step(t, "sweep: looks at a member", n);
            }
            At::Reclaim => {
                let entry = s.ledger[i];
                thread.at = At::ReclaimLook;
                if entry.held == 0 {
                    (thread.at, thread.a) = (At::FreeIndex, Stamp::default());
                }
                let seq = entry.seq + 1;
                let free = me.a.free + entry.held;
                if thread.at == At::ReclaimLook {
                    thread.next = Stamp { free, member: me.i, seq, reclaim: true };
                }
                out.step(t, "sweep: reads the entry of the dead", n);
            }
            At::ReclaimLook => {
                let same = s.table[i] == me.exact || self.has(IndexFreedFirst);
                if same || self.has(NoIndexLook) {
                    thread.at = At::Stamp;
                } else {
                    (thread.at, thread.a, thread.next) =
                        (At::FreeIndex, Stamp::default(), Stamp::default());
                }
                out.step(t, "sweep: looks whose the index is", n);
            }
            _ => {
                if s.table[i] == me.exact {
                    n.table[i] = 0;
                }
                (thread.at, thread.i, thread.exact) = (At::Sweep, me.i + 1, 0);
                thread.back = At::Idle;
                out.step(t, "sweep: frees the index", n);
            }
        }
    }
}

impl Protocol for Semaphore {
    type State = State;

    fn start(&self) -> State {
        let mut thread = [Thread { at: At::Done, ..FRESH }; THREADS];
        let mut table = [0; THREADS];
        for (thread, &index) in thread.iter_mut().zip(self.threads) {
            *thread = FRESH;
            table[usize::from(index)] = index + 1;
        }
        let stamp = Stamp { free: self.permits, ..Stamp::default() };
        State {
            stamp,
            settled: stamp,
            ledger: [Entry::default(); THREADS],
            table,
            swept: 0,
            deaths: 0,
            held: [0; THREADS],
            thread,
            crashes: self.crashes,
            joins: self.joins,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.threads.len() {
            match s.thread[t].at {
                At::Done => {}
                At::Dead => {
                    if s.joins > 0 {
                        let mut n = *s;
                        n.joins -= 1;
                        n.thread[t].at = At::Join;
                        out.luck(t, "a new process begins", n);
                    }
                    continue;
                }
                At::Join => {
                    self.step(s, t, out);
                    continue;
                }
                _ => self.step(s, t, out),
            }
            if s.crashes > 0 {
                let mut n = *s;
                n.crashes -= 1;
                n.deaths += 1;
                for o in 0..self.threads.len() {
                    if self.threads[o] == self.threads[t] {
                        n.thread[o] = Thread { at: At::Dead, ..FRESH };
                    }
                }
                out.luck(t, "dies", n);
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        let over = |t: usize| matches!(s.thread[t].at, At::Done | At::Dead | At::Join);
        (0..self.threads.len()).all(over)
    }

    fn name(&self, who: usize) -> String {
        format!("thread {who} (member {})", self.threads[who])
    }
}

const NAME: &str = "semaphore";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let base = Semaphore {
        permits: 1,
        threads: &[0, 1],
        each: &[1, 1],
        operations: 2,
        crashes: 1,
        joins: 0,
        mutant: None,
    };
    let three = Semaphore { permits: 2, threads: &[0, 1, 2], each: &[1, 1, 2], ..base };
    let shared = Semaphore { permits: 2, threads: &[0, 0, 1], each: &[1, 1, 2], ..base };
    let again = Semaphore { joins: 1, ..three };
    let sound = |config, semaphore| Case::sound(NAME, config, semaphore);
    let mut cases = vec![
        sound("1 permit, 2 processes, twice, 1 death", Semaphore { operations: 4, ..base }),
        sound("2 permits, 3 processes that take 1, 1 and 2, 1 death", three),
        sound("2 permits, processes of 2 and 1 threads, 1 death", shared),
    ];
    let list: &[(&'static str, Mutant, Expect, Semaphore)] = &[
        ("the operation before is not settled", NoHelp, Unsafe, three),
        ("the stamp is not read again before helping", NoStampAgain, Unsafe, three),
        ("reclaimed without a look whose the index is", NoIndexLook, Unsafe, again),
        ("settled before the ledger", SettledFirst, Unsafe, base),
        ("recorded by plain store", RecordByStore, Unsafe, three),
        ("index free before its permits are", IndexFreedFirst, Unsafe, again),
        ("the dead one's permits are left", NoReclaim, Stuck, base),
        ("operations are not counted", NoSequence, Unsafe, three),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, semaphore)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Semaphore { mutant: Some(mutant), ..semaphore })
    }));
    if !quick {
        cases.extend([
            sound("2 permits, 3 processes, 2 deaths", Semaphore { crashes: 2, ..three }),
            sound("2 permits, 3 processes, 1 death, 1 index again", again),
            sound(
                "2 permits, processes of 2 and 1 threads, 1 death, 1 index again",
                Semaphore { joins: 1, ..shared },
            ),
            sound(
                "2 permits, 3 processes, twice each, 1 death",
                Semaphore { operations: 4, ..three },
            ),
        ]);
    }
    cases
}

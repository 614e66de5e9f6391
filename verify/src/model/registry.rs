//! The process registry: lanes, life words that the kernel marks thread by thread, suspicion and declaration.
//!
//! Follows the core's `family::registry` and `family::lane`. A killed process's threads go on until the kernel has ended
//! each; the kernel does end them, so that counts as progress. A name (slot and generation) stands for one process,
//! which the model numbers; the system's own word (pidfd) is that every thread of a process has ended.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const SLOTS: usize = 3;
const LANES: usize = 4;
const THREADS: usize = 5;
const PROCESSES: usize = 4;
/// Suspicions of one process; a search that gets there is not followed on.
const MOST_SUSPICIONS: u8 = 5;
const NOBODY: u8 = 0xff;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Is {
    Free,
    Joining,
    Alive,
    Suspect,
    Dead,
}

/// A process entry's word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Word {
    is: Is,
    seq: u8,
    process: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum LaneIs {
    Free,
    Taken,
    Published,
}

/// A lane's word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Lane {
    is: LaneIs,
    late: bool,
    process: u8,
}

const NO_LANE: Lane = Lane { is: LaneIs::Free, late: false, process: NOBODY };

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Life {
    Free,
    Held,
    Marked,
}

/// What a thread is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Has a lane, works.
    Old,
    /// Has a lane, works, ends cleanly.
    Quits,
    /// Takes a lane first, works.
    New,
    /// Takes a lane while it ends, and cannot give it back.
    Late,
    /// Has a lane, finds out who is dead.
    Judge,
    /// Is a process of its own: takes a slot, then a lane.
    Joins,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Outside,
    Ended,
    ClaimSlot,
    ClaimLane,
    LookAtProcess,
    GiveUp,
    HoldLife,
    Publish,
    NowAlive,
    Work,
    FreeLane,
    // A judge.
    Scan,
    ScanLife,
    Suspect,
    Declare,
    Clear,
    RaiseEpoch,
    FreeLanes,
    FreeLanesCas,
    FreeSlot,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    /// Its lane, from 1.
    lane: u8,
    i: u8,
    target: u8,
    bits: Word,
    seen: Lane,
    second: bool,
    marked: bool,
    undecided: bool,
}

const NO_WORD: Word = Word { is: Is::Free, seq: 0, process: NOBODY };

const FRESH: Thread = Thread {
    at: At::Outside,
    lane: 0,
    i: 0,
    target: 0,
    bits: NO_WORD,
    seen: NO_LANE,
    second: false,
    marked: false,
    undecided: false,
};

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    slot: [Word; SLOTS],
    lane: [Lane; LANES],
    life: [Life; LANES],
    /// The slot of each process; `NOBODY` = not in yet.
    place: [u8; PROCESSES],
    killed: u8,
    /// Processes whose death was followed by a raise of the epoch.
    told: u8,
    thread: [Thread; THREADS],
    crashes: u8,
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoSecondScan,
    NoLookAtProcess,
    LaneReusedEarly,
    NoSeq,
    TakenNotCounted,
    LateCounts,
    NoMarkNeeded,
    EpochNotRaised,
    ClearByStore,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Registry {
    /// The process and role of each thread.
    pub threads: &'static [(u8, Role)],
    /// Processes that may be killed, one bit each.
    pub mortal: u8,
    pub crashes: u8,
    /// Whether the system tells that a process is gone.
    pub system: bool,
    pub lanes: u8,
    pub mutant: Option<Mutant>,
}

impl Registry {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn process(&self, t: usize) -> u8 {
        self.threads[t].0
    }

    fn word(s: &State, process: u8) -> Word {
        match s.place[usize::from(process)] {
            NOBODY => NO_WORD,
            slot => s.slot[usize::from(slot)],
        }
    }

    fn over(s: &State, process: u8) -> bool {
        let word = Self::word(s, process);
        word.process != process || matches!(word.is, Is::Free | Is::Dead)
    }

    /// Every thread of it has ended, and it did not only not begin.
    fn gone(&self, s: &State, process: u8) -> bool {
        s.killed >> process & 1 != 0
            && (0..self.threads.len())
                .all(|t| self.process(t) != process || s.thread[t].at == At::Ended)
    }

    /// The CAS of a process's word; whether it was done.
    fn change(n: &mut State, process: u8, from: Word, to: Word) -> bool {
        let slot = usize::from(n.place[usize::from(process)]);
        let same = n.slot[slot] == from;
        if same {
            n.slot[slot] = to;
        }
        same
    }

    /// Whether thread `t` may be using the arena.
    fn inside(s: &State, t: usize) -> bool {
        !matches!(
            s.thread[t].at,
            At::Outside
                | At::Ended
                | At::ClaimSlot
                | At::ClaimLane
                | At::LookAtProcess
                | At::GiveUp
        )
    }

    /// What is wrong with `process` being DEAD now.
    fn wrongly_dead(&self, s: &State, process: u8) -> Result<(), &'static str> {
        if s.killed >> process & 1 == 0 {
            return Err("a process that nobody killed is declared dead");
        }
        if (0..self.threads.len()).any(|t| self.process(t) == process && Self::inside(s, t)) {
            return Err("a process is declared dead while a thread of it uses the arena");
        }
        Ok(())
    }

    fn take(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let process = self.process(t);
        let role = self.threads[t].1;
        let lane = usize::from(me.lane).wrapping_sub(1);
        let taken = Lane { is: LaneIs::Taken, late: false, process };
        let published = Lane { is: LaneIs::Published, late: role == Role::Late, process };
        let mut n = *s;
        match me.at {
            At::Outside => {
                n.thread[t].at = if role == Role::Joins { At::ClaimSlot } else { At::ClaimLane };
                out.step(t, "begins", n);
            }
            At::ClaimSlot => {
                if let Some(slot) = (0..SLOTS).find(|&slot| s.slot[slot].is == Is::Free) {
                    n.slot[slot] = Word { is: Is::Joining, seq: 0, process };
                    n.place[usize::from(process)] = slot as u8;
                    n.thread[t].at = At::ClaimLane;
                    out.step(t, "slot FREE -> JOINING", n);
                }
            }
            At::ClaimLane => {
                for i in 0..usize::from(self.lanes) {
                    let word = s.lane[i];
                    let held = s.life[i] == Life::Held;
                    let over = || word.process != NOBODY && Self::over(s, word.process);
                    let early = self.has(LaneReusedEarly) && s.life[i] == Life::Marked;
                    let free = match word.is {
                        LaneIs::Free => true,
                        LaneIs::Taken => over(),
                        LaneIs::Published => !held && (over() || early),
                    };
                    if free {
                        n = *s;
                        n.lane[i] = taken;
                        let look = !self.has(NoLookAtProcess);
                        n.thread[t].at = if look { At::LookAtProcess } else { At::HoldLife };
                        n.thread[t].lane = i as u8 + 1;
                        out.step(t, "claims a lane: TAKEN", n);
                    }
                }
            }
            At::LookAtProcess => {
                let word = Self::word(s, process);
                n.thread[t].at = At::HoldLife;
                if Self::over(s, process) {
                    n.thread[t].at = At::GiveUp;
                    return out.step(t, "sees that its process is dead", n);
                }
                if word.is == Is::Suspect {
                    n.slot[usize::from(s.place[usize::from(process)])].is = Is::Alive;
                    return out.step(t, "its process: SUSPECT -> ALIVE", n);
                }
                out.step(t, "looks at its process", n);
            }
            At::GiveUp => {
                if s.lane[lane] == taken {
                    n.lane[lane] = NO_LANE;
                }
                n.thread[t] = Thread { at: At::Ended, ..FRESH };
                out.step(t, "gives the lane back", n);
            }
            At::HoldLife => {
                if s.life[lane] == Life::Held {
                    return out.wrong(t, "takes its life word", "the life word is held by another");
                }
                n.life[lane] = Life::Held;
                n.thread[t].at = At::Publish;
                out.step(t, "holds its life word", n);
            }
            At::Publish => {
                if s.lane[lane] != taken {
                    return out.wrong(t, "publishes its lane", "the lane was taken over meanwhile");
                }
                n.lane[lane] = published;
                n.thread[t].at = if role == Role::Joins { At::NowAlive } else { At::Work };
                out.step(t, "publishes its lane", n);
            }
            At::NowAlive => {
                let word = Self::word(s, process);
                let to = Word { is: Is::Alive, ..word };
                if word.process == process && word.is == Is::Joining {
                    Self::change(&mut n, process, word, to);
                }
                n.thread[t].at = At::Work;
                out.step(t, "JOINING -> ALIVE", n);
            }
            At::Work if Self::over(s, process) => {
                out.wrong(t, "uses the arena", "a thread uses the arena after its process is dead");
            }
            At::Work => match role {
                Role::Quits => {
                    n.life[lane] = Life::Free;
                    n.thread[t].at = At::FreeLane;
                    out.step(t, "ends cleanly: gives its life word back", n);
                }
                Role::Late => {
                    n.life[lane] = Life::Marked;
                    n.thread[t] = Thread { at: At::Ended, ..FRESH };
                    out.step(t, "ends; the kernel marks its life word", n);
                }
                Role::Judge => self.choose(s, t, out),
                Role::Old | Role::New | Role::Joins => {}
            },
            _ => {
                if s.lane[lane] == published {
                    n.lane[lane] = NO_LANE;
                }
                n.thread[t] = Thread { at: At::Ended, ..FRESH };
                out.step(t, "lane -> FREE", n);
            }
        }
    }

    /// A judge begins to examine any process that it may ask about.
    fn choose(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let processes = self.threads.iter().map(|thread| thread.0).max().unwrap_or(0);
        for target in 0..=processes {
            if target == self.process(t) || self.mortal >> target & 1 == 0 {
                continue;
            }
            if s.place[usize::from(target)] != NOBODY && !Self::over(s, target) {
                let mut n = *s;
                n.thread[t].target = target;
                n.thread[t].bits = Self::word(s, target);
                n.thread[t].at = At::Scan;
                out.step(t, "reads a process's word", n);
            }
        }
        // What a dead declarer left: DEAD, perhaps without a raised epoch.
        for target in 0..=processes {
            let word = Self::word(s, target);
            if word.process == target && word.is == Is::Dead {
                let mut n = *s;
                (n.thread[t].at, n.thread[t].target) = (At::RaiseEpoch, target);
                out.step(t, "finds a process DEAD", n);
            }
        }
    }

    fn judge(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let i = usize::from(me.i);
        let mut n = *s;
        let at_work = Thread { at: At::Work, lane: me.lane, ..FRESH };
        let suspect = Word { is: Is::Suspect, ..me.bits };
        match me.at {
            At::Scan if me.i == self.lanes || me.bits.is == Is::Joining => {
                let all_marked = (me.marked || self.has(NoMarkNeeded)) && !me.undecided;
                let thread = &mut n.thread[t];
                (thread.i, thread.marked, thread.undecided) = (0, false, false);
                if me.bits.is == Is::Joining || !all_marked {
                    if me.second {
                        thread.at = At::Clear;
                    } else if self.system && self.gone(s, me.target) {
                        thread.at = At::Declare;
                    } else {
                        *thread = at_work;
                    }
                    return out.step(t, "scanned: not all lanes are marked; asks the system", n);
                }
                thread.at = if me.second { At::Declare } else { At::Suspect };
                out.step(t, "scanned: all lanes are marked", n);
            }
            At::Scan => {
                let word = s.lane[i];
                let thread = &mut n.thread[t];
                if word.is == LaneIs::Free || word.process != me.target {
                    thread.i += 1;
                } else if word.is == LaneIs::Taken {
                    thread.undecided |= !self.has(TakenNotCounted);
                    thread.i += 1;
                } else {
                    (thread.at, thread.seen) = (At::ScanLife, word);
                }
                out.step(t, "scan: reads a lane's word", n);
            }
            At::ScanLife => {
                let thread = &mut n.thread[t];
                let late = me.seen.late && !self.has(LateCounts);
                (thread.at, thread.seen, thread.i) = (At::Scan, NO_LANE, me.i + 1);
                match s.life[i] {
                    Life::Held if me.second => {
                        thread.at = At::Clear;
                        (thread.i, thread.marked, thread.undecided) = (0, false, false);
                    }
                    Life::Held => *thread = at_work,
                    Life::Marked => thread.marked |= !late,
                    Life::Free => thread.undecided = true,
                }
                out.step(t, "scan: reads a lane's life word", n);
            }
            At::Suspect => {
                let seq = if self.has(NoSeq) { me.bits.seq } else { me.bits.seq + 1 };
                let suspect = Word { seq, ..suspect };
                n.thread[t] = at_work;
                if seq <= MOST_SUSPICIONS && Self::change(&mut n, me.target, me.bits, suspect) {
                    let thread = &mut n.thread[t];
                    (thread.target, thread.bits, thread.second) = (me.target, suspect, true);
                    thread.at = if self.has(NoSecondScan) { At::Declare } else { At::Scan };
                }
                out.step(t, "CAS to SUSPECT", n);
            }
            At::Declare => {
                n.thread[t] = at_work;
                let dead = Word { is: Is::Dead, ..me.bits };
                if Self::change(&mut n, me.target, me.bits, dead) {
                    (n.thread[t].at, n.thread[t].target) = (At::RaiseEpoch, me.target);
                    let right = self.wrongly_dead(&n, me.target);
                    return out.either(t, "CAS to DEAD", right.map(|()| n));
                }
                out.step(t, "CAS to DEAD fails", n);
            }
            At::Clear => {
                n.thread[t] = at_work;
                let alive = Word { is: Is::Alive, ..me.bits };
                if self.has(ClearByStore) {
                    n.slot[usize::from(s.place[usize::from(me.target)])] = alive;
                } else {
                    Self::change(&mut n, me.target, me.bits, alive);
                }
                out.step(t, "CAS from SUSPECT to ALIVE", n);
            }
            At::RaiseEpoch => {
                if !self.has(EpochNotRaised) {
                    for process in 0..PROCESSES as u8 {
                        let placed = s.place[usize::from(process)] != NOBODY;
                        n.told |= u8::from(placed && Self::over(s, process)) << process;
                    }
                }
                n.thread[t].at = At::FreeLanes;
                out.step(t, "raises the epoch, wakes all", n);
            }
            At::FreeLanes if me.i == self.lanes => {
                (n.thread[t].at, n.thread[t].i) = (At::FreeSlot, 0);
                out.step(t, "saw all lanes of the dead", n);
            }
            At::FreeLanes => {
                let word = s.lane[i];
                if word.is != LaneIs::Free && word.process == me.target {
                    (n.thread[t].at, n.thread[t].seen) = (At::FreeLanesCas, word);
                } else {
                    n.thread[t].i += 1;
                }
                out.step(t, "reads a lane's word", n);
            }
            At::FreeLanesCas => {
                if s.life[i] != Life::Held && s.lane[i] == me.seen {
                    n.lane[i] = NO_LANE;
                }
                let thread = &mut n.thread[t];
                (thread.at, thread.i, thread.seen) = (At::FreeLanes, me.i + 1, NO_LANE);
                out.step(t, "CAS of a dead one's lane to FREE", n);
            }
            _ => {
                let word = Self::word(s, me.target);
                if word.process == me.target && word.is == Is::Dead {
                    Self::change(&mut n, me.target, word, Word { is: Is::Free, seq: 0, ..word });
                }
                n.thread[t] = at_work;
                out.step(t, "DEAD -> FREE", n);
            }
        }
    }
}

impl Protocol for Registry {
    type State = State;

    fn start(&self) -> State {
        let mut s = State {
            slot: [NO_WORD; SLOTS],
            lane: [NO_LANE; LANES],
            life: [Life::Free; LANES],
            place: [NOBODY; PROCESSES],
            killed: 0,
            told: 0,
            thread: [Thread { at: At::Ended, ..FRESH }; THREADS],
            crashes: self.crashes,
        };
        for (t, &(process, role)) in self.threads.iter().enumerate() {
            s.thread[t] = FRESH;
            if role == Role::Joins {
                continue;
            }
            s.place[usize::from(process)] = process;
            s.slot[usize::from(process)] = Word { is: Is::Alive, seq: 0, process };
            if matches!(role, Role::Old | Role::Quits | Role::Judge) {
                s.thread[t] = Thread { at: At::Work, lane: t as u8 + 1, ..FRESH };
                s.lane[t] = Lane { is: LaneIs::Published, late: false, process };
                s.life[t] = Life::Held;
            }
        }
        s
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.threads.len() {
            let process = self.process(t);
            match s.thread[t].at {
                At::Ended => continue,
                At::Outside
                | At::ClaimSlot
                | At::ClaimLane
                | At::LookAtProcess
                | At::GiveUp
                | At::HoldLife
                | At::Publish
                | At::NowAlive
                | At::Work
                | At::FreeLane => self.take(s, t, out),
                _ => self.judge(s, t, out),
            }
            let mut n = *s;
            if s.killed >> process & 1 != 0 {
                let lane = usize::from(s.thread[t].lane).wrapping_sub(1);
                let holds = !matches!(
                    s.thread[t].at,
                    At::LookAtProcess | At::GiveUp | At::HoldLife | At::FreeLane
                );
                if lane < LANES && holds {
                    n.life[lane] = Life::Marked;
                }
                n.thread[t] = Thread { at: At::Ended, ..FRESH };
                out.step(t, "is ended by the kernel", n);
            } else if s.crashes > 0 && self.mortal >> process & 1 != 0 {
                n.crashes -= 1;
                n.killed |= 1 << process;
                out.luck(t, "its process is killed", n);
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        let threads = 0..self.threads.len();
        let lives = |t: &usize| s.killed >> self.process(*t) & 1 == 0;
        let mut judges = threads.clone().filter(|&t| self.threads[t].1 == Role::Judge);
        if !judges.any(|t| lives(&t)) || s.slot.iter().any(|word| word.seq == MOST_SUSPICIONS) {
            return true;
        }
        let ended = |t: usize| s.thread[t].at == At::Ended;
        let buried = |process: u8| {
            s.place[usize::from(process)] == NOBODY
                || (Self::over(s, process) && s.told >> process & 1 != 0)
        };
        threads.clone().all(|t| lives(&t) || ended(t))
            && (0..PROCESSES as u8).all(|process| s.killed >> process & 1 == 0 || buried(process))
    }

    fn name(&self, who: usize) -> String {
        format!("thread {who} of process {}", self.process(who))
    }
}

const NAME: &str = "registry";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    use Role::{Joins, Judge, Late, New, Old, Quits};
    const JUDGES: &[(u8, Role)] = &[(0, Old), (1, Judge), (2, Judge), (0, New)];
    let base = Registry {
        threads: JUDGES,
        mortal: 0b001,
        crashes: 1,
        system: true,
        lanes: 4,
        mutant: None,
    };
    let all = Registry { mortal: 0b111, crashes: 2, ..base };
    let one = Registry { threads: &[(0, Old), (1, Judge), (0, New)], ..base };
    let quits = Registry { threads: &[(0, Quits), (1, Judge), (0, New)], ..base };
    let late = Registry { threads: &[(0, Late), (1, Judge), (0, New)], ..base };
    let reused = Registry {
        threads: &[(0, Old), (1, Judge), (3, Joins)],
        mortal: 0b1001,
        crashes: 2,
        system: false,
        ..base
    };
    let deaf =
        Registry { threads: &[(0, Old), (0, Old), (1, Judge), (2, Judge)], system: false, ..all };
    let sound = |config, registry| Case::sound(NAME, config, registry);
    let mut cases = vec![
        sound("1 process with an old and a new thread, 2 judges, all may be killed, 2 deaths", all),
        sound("2 judges, 2 threads, no word of the system, 2 deaths", deaf),
        sound("1 thread that ends cleanly, 1 new, 1 judge, 1 death", quits),
        sound("1 thread that takes a late lane, 1 new, 1 judge, 1 death", late),
        sound("1 thread, 1 judge, 1 newcomer, 2 deaths", Registry { system: true, ..reused }),
    ];
    let calm = Registry { crashes: 0, ..quits };
    let list: &[(&'static str, Mutant, Expect, Registry)] = &[
        ("no second scan after SUSPECT", NoSecondScan, Unsafe, one),
        ("a new thread does not look at its process", NoLookAtProcess, Unsafe, one),
        ("a marked lane is reused before its process is DEAD", LaneReusedEarly, Stuck, reused),
        ("suspicions are not counted", NoSeq, Unsafe, base),
        ("lanes being taken do not count", TakenNotCounted, Unsafe, one),
        ("marks of late lanes count", LateCounts, Unsafe, Registry { crashes: 0, ..late }),
        ("no lane at all counts as dead", NoMarkNeeded, Unsafe, calm),
        ("the epoch is not raised", EpochNotRaised, Stuck, one),
        ("suspicion cleared by plain store", ClearByStore, Unsafe, all),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, registry)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Registry { mutant: Some(mutant), ..registry })
    }));
    if !quick {
        cases.extend([
            sound(
                "2 threads that end cleanly, 1 judge, 1 process of 2 new threads, killed",
                Registry {
                    threads: &[(0, Quits), (0, Quits), (1, Judge), (2, New), (2, New)],
                    mortal: 0b101,
                    ..base
                },
            ),
            sound(
                "old and new thread, 2 judges, 1 newcomer, 2 deaths",
                Registry {
                    threads: &[(0, Old), (1, Judge), (2, Judge), (0, New), (3, Joins)],
                    mortal: 0b1001,
                    crashes: 2,
                    ..base
                },
            ),
        ]);
    }
    cases
}

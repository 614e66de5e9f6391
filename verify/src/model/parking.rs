//! Parking between processes: `core::parking` step by step, with events of one bit, process handles that are signalled some
//! time after a death, and notices by bystanders.
//!
//! A waiter looks for an item of some kind, parks under the kind's word, looks at the word and the epoch, and sleeps. A
//! producer puts an item, counts the word and wakes one. A bystander is whoever asks the system about the others and tells a
//! death: here nobody sleeps on handles, so that all depends on the notice. Bystanders die, too, but for the last one.
//!
//! Sequentially consistent; the fences are loom's matter. One wake looks at the lanes in order, from any lane on.

use super::checker::{Protocol, Steps};
use super::{Case, Expect, Expect::Stuck};
use Mutant::*;

const THREADS: usize = 5;
const WAITERS: usize = 3;
const KINDS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Idle,
    Done,
    Dead,
    // A producer, at lane `lane`, `seen` what it loaded there.
    Count,
    LookAtBit,
    LoadSpot,
    ReadName,
    AskIfGone,
    Choose,
    Ring,
    // A waiter.
    ReadEpoch,
    TryAgain,
    Record,
    SetBit,
    Park,
    LookAtWord,
    LookAtEpoch,
    Asleep,
    Unpark,
    // A bystander.
    Raise,
    ClearGone,
    RingAll,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Slot {
    Awake,
    Parked,
    Chosen,
}

/// A parking word, and what the lane's thread is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Spot {
    slot: Slot,
    ticket: u8,
    name: u8,
    /// One bit a kind.
    bits: u8,
    /// The event.
    bell: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    /// Items put or taken so far.
    done: u8,
    key: u8,
    epoch: u8,
    late: bool,
    /// The lane looked at, and how many are still to look at.
    lane: u8,
    left: u8,
    /// Ticket loaded there.
    seen: u8,
    /// Whose deaths a bystander is telling.
    telling: u8,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    items: [u8; KINDS],
    words: [u8; KINDS],
    epoch: u8,
    spots: [Spot; WAITERS],
    /// Handles that are signalled; deaths that everybody was told of.
    gone: u8,
    told: u8,
    crashes: u8,
    quits: u8,
    threads: [Thread; THREADS],
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// Chosen while its time ran out, a waiter says that nobody woke it.
    NoBaton,
    /// Neither wakes nor notices care whether a sleeper is gone.
    DeadSwallows,
    /// A wake chooses the gone as well.
    WakeAsksNobody,
    /// A notice leaves the gone parked.
    NoticeClearsNobody,
    /// A notice rings those who are parked, and not those who were chosen.
    NoticeToParkedOnly,
    /// A notice rings before it ends the sleeps of the gone, and wakes ask nobody.
    RingsBeforeClearing,
    /// The CAS asks for any sleep of that lane.
    NoTicket,
    /// The bit is set after the look at the words.
    BitAfterLook,
    /// No look at the words after parking.
    NoLook,
    /// No look at the epoch after parking; the wakes ask nobody.
    EpochNotLookedAt,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Parking {
    /// The kinds of items that each producer puts; the producers are the first threads.
    pub puts: &'static [&'static [u8]],
    /// The kinds of items that each waiter takes.
    pub takes: &'static [&'static [u8]],
    pub bystanders: usize,
    pub crashes: u8,
    pub quits: u8,
    pub mutant: Option<Mutant>,
}

const FRESH: Thread = Thread {
    at: At::Idle,
    done: 0,
    key: 0,
    epoch: 0,
    late: false,
    lane: 0,
    left: 0,
    seen: 0,
    telling: 0,
};

impl Parking {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn wake_asks(&self) -> bool {
        let blind = [DeadSwallows, WakeAsksNobody, RingsBeforeClearing, EpochNotLookedAt];
        !blind.iter().any(|mutant| self.has(*mutant))
    }

    fn notice_clears(&self) -> bool {
        !self.has(DeadSwallows) && !self.has(NoticeClearsNobody)
    }

    fn threads(&self) -> usize {
        self.puts.len() + self.takes.len() + self.bystanders
    }

    /// Thread `t`'s lane, if it is a waiter.
    fn lane(&self, t: usize) -> Option<usize> {
        t.checked_sub(self.puts.len()).filter(|lane| *lane < self.takes.len())
    }

    fn is_gone(&self, s: &State, lane: usize) -> bool {
        s.gone >> (self.puts.len() + lane) & 1 != 0
    }

    fn kind(&self, s: &State, t: usize) -> usize {
        let list = self.puts.iter().chain(self.takes).nth(t).copied().unwrap_or(&[]);
        usize::from(list[usize::from(s.threads[t].done)])
    }

    fn produce(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.threads[t];
        let mut n = *s;
        let my = &mut n.threads[t];
        let lane = usize::from(me.lane);
        let lanes = self.takes.len() as u8;
        if me.at == At::Idle {
            n.items[self.kind(s, t)] += 1;
            my.at = At::Count;
            return out.step(t, "puts an item", n);
        }
        let kind = self.kind(s, t);
        let finish = |my: &mut Thread| {
            let done = me.done + 1;
            let over = usize::from(done) == self.puts[t].len();
            *my = Thread { at: if over { At::Done } else { At::Idle }, done, ..FRESH };
        };
        let next_lane = |my: &mut Thread| match me.left - 1 {
            0 => finish(my),
            left => {
                *my = Thread {
                    at: At::LookAtBit,
                    done: me.done,
                    lane: (me.lane + 1) % lanes,
                    left,
                    ..FRESH
                };
            }
        };
        match me.at {
            At::Count => {
                n.words[kind] += 1;
                for first in 0..lanes {
                    n.threads[t] = Thread {
                        at: At::LookAtBit,
                        done: me.done,
                        lane: first,
                        left: lanes,
                        ..FRESH
                    };
                    out.step(t, "counts the event", n);
                }
            }
            At::LookAtBit => {
                if s.spots[lane].bits >> kind & 1 == 0 {
                    next_lane(my);
                } else {
                    my.at = At::LoadSpot;
                }
                out.step(t, "looks at a lane's bit", n);
            }
            At::LoadSpot => {
                if s.spots[lane].slot == Slot::Parked {
                    (my.at, my.seen) = (At::ReadName, s.spots[lane].ticket);
                } else {
                    next_lane(my);
                }
                out.step(t, "looks at a lane's parking word", n);
            }
            At::ReadName => {
                if usize::from(s.spots[lane].name) == kind {
                    my.at = if self.wake_asks() { At::AskIfGone } else { At::Choose };
                } else {
                    next_lane(my);
                }
                out.step(t, "reads what it sleeps on", n);
            }
            At::AskIfGone => {
                let same = s.spots[lane].slot == Slot::Parked && s.spots[lane].ticket == me.seen;
                if self.is_gone(s, lane) {
                    next_lane(my);
                    if same {
                        n.spots[lane].slot = Slot::Awake;
                    }
                    return out.step(t, "passes over a sleeper that is gone", n);
                }
                my.at = At::Choose;
                out.step(t, "asks whether it is gone", n);
            }
            At::Choose => {
                let spot = &mut n.spots[lane];
                let same = spot.ticket == me.seen || self.has(NoTicket);
                if spot.slot == Slot::Parked && same {
                    spot.slot = Slot::Chosen;
                    my.at = At::Ring;
                    return out.step(t, "chooses it", n);
                }
                next_lane(my);
                out.step(t, "is too late for it", n);
            }
            _ => {
                n.spots[lane].bell = true;
                finish(my);
                out.step(t, "rings", n);
            }
        }
    }

    /// One attempt: an item, or what comes next.
    fn attempt(&self, s: &State, t: usize, else_at: At, out: &mut Steps<State>) {
        let (kind, me) = (self.kind(s, t), s.threads[t]);
        let mut n = *s;
        if s.items[kind] == 0 {
            n.threads[t].at = else_at;
            return out.step(t, "finds nothing", n);
        }
        n.items[kind] -= 1;
        let done = me.done + 1;
        let lane = t - self.puts.len();
        let over = usize::from(done) == self.takes[lane].len() || me.late;
        n.threads[t] = Thread { at: if over { At::Done } else { At::Idle }, done, ..FRESH };
        out.step(t, "takes an item", n);
    }

    fn wait(&self, s: &State, t: usize, lane: usize, out: &mut Steps<State>) {
        let me = s.threads[t];
        let mut n = *s;
        let my = &mut n.threads[t];
        let spot = &mut n.spots[lane];
        match me.at {
            At::Idle => {
                my.key = s.words[self.kind(s, t)];
                my.at = At::ReadEpoch;
                out.step(t, "arms", n);
            }
            At::ReadEpoch => {
                my.epoch = s.epoch;
                my.at = At::TryAgain;
                out.step(t, "reads the epoch", n);
            }
            At::TryAgain if me.late => self.attempt(s, t, At::Done, out),
            At::TryAgain => self.attempt(s, t, At::Record, out),
            At::Record => {
                let kind = self.kind(s, t) as u8;
                spot.bits &= 1 << kind;
                spot.name = kind;
                my.at = if self.has(BitAfterLook) { At::Park } else { At::SetBit };
                out.step(t, "records what it sleeps on", n);
            }
            At::SetBit => {
                spot.bits |= 1 << spot.name;
                my.at = if self.has(BitAfterLook) { At::Asleep } else { At::Park };
                out.step(t, "sets its bit", n);
            }
            At::Park => {
                (spot.slot, spot.ticket) = (Slot::Parked, spot.ticket + 1);
                my.at = if self.has(NoLook) { At::Asleep } else { At::LookAtWord };
                out.step(t, "parks", n);
            }
            At::LookAtWord => {
                let same = s.words[self.kind(s, t)] == me.key;
                my.at = if same { At::LookAtEpoch } else { At::Unpark };
                out.step(t, "looks at the word", n);
            }
            At::LookAtEpoch => {
                let same = s.epoch == me.epoch || self.has(EpochNotLookedAt);
                my.at = match same {
                    true if self.has(BitAfterLook) => At::SetBit,
                    true => At::Asleep,
                    false => At::Unpark,
                };
                out.step(t, "looks at the epoch", n);
            }
            At::Asleep if spot.bell => {
                spot.bell = false;
                my.at = At::Unpark;
                out.step(t, "is rung", n);
            }
            At::Unpark => {
                let chosen = spot.slot == Slot::Chosen && !self.has(NoBaton);
                spot.slot = Slot::Awake;
                let leaves = me.late && !chosen;
                let at = if leaves { At::Done } else { At::Idle };
                *my = Thread { at, done: me.done, late: me.late && !leaves, ..FRESH };
                out.step(t, "is awake", n);
            }
            _ => {}
        }
    }

    fn stand_by(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.threads[t];
        let mut n = *s;
        let my = &mut n.threads[t];
        let lane = usize::from(me.lane);
        let last = lane + 1 == self.takes.len();
        let (first, second) = match self.has(RingsBeforeClearing) {
            true => (At::RingAll, At::ClearGone),
            false => (At::ClearGone, At::RingAll),
        };
        match me.at {
            At::Idle if s.gone & !s.told != 0 => {
                my.telling = s.gone & !s.told;
                my.at = At::Raise;
                out.step(t, "finds a process gone", n);
            }
            At::Raise => {
                n.epoch += 1;
                my.at = first;
                out.step(t, "raises the epoch", n);
            }
            At::ClearGone | At::RingAll => {
                let what = if me.at == At::ClearGone {
                    if self.is_gone(s, lane) && self.notice_clears() {
                        n.spots[lane].slot = Slot::Awake;
                    }
                    "ends the sleep of a lane if it is gone"
                } else {
                    let rings = match s.spots[lane].slot {
                        Slot::Awake => false,
                        Slot::Parked => true,
                        Slot::Chosen => !self.has(NoticeToParkedOnly),
                    };
                    n.spots[lane].bell |= rings;
                    "rings a lane if it sleeps"
                };
                let my = &mut n.threads[t];
                my.lane += 1;
                if last {
                    my.lane = 0;
                    my.at = second;
                    if me.at == second {
                        n.told |= me.telling;
                        n.threads[t] = FRESH;
                    }
                }
                out.step(t, what, n);
            }
            _ => {}
        }
    }

    fn may_die(&self, s: &State, t: usize) -> bool {
        let others = self.puts.len() + self.takes.len()..self.threads();
        s.crashes > 0
            && (!others.contains(&t)
                || others.clone().any(|o| o != t && s.threads[o].at != At::Dead))
    }
}

impl Protocol for Parking {
    type State = State;

    fn start(&self) -> State {
        let spot = Spot { slot: Slot::Awake, ticket: 0, name: 0, bits: 0, bell: false };
        let mut threads = [Thread { at: At::Done, ..FRESH }; THREADS];
        threads[..self.threads()].fill(FRESH);
        State {
            items: [0; KINDS],
            words: [0; KINDS],
            epoch: 0,
            spots: [spot; WAITERS],
            gone: 0,
            told: 0,
            crashes: self.crashes,
            quits: self.quits,
            threads,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.threads() {
            let at = s.threads[t].at;
            if at == At::Dead {
                if s.gone >> t & 1 == 0 {
                    let mut n = *s;
                    n.gone |= 1 << t;
                    out.step(t, "its handle is signalled", n);
                }
                continue;
            }
            match self.lane(t) {
                _ if at == At::Done => {}
                Some(lane) => self.wait(s, t, lane, out),
                None if t < self.puts.len() => self.produce(s, t, out),
                None => self.stand_by(s, t, out),
            }
            if s.quits > 0 && at == At::Asleep {
                let mut n = *s;
                n.quits -= 1;
                (n.threads[t].late, n.threads[t].at) = (true, At::Unpark);
                out.luck(t, "runs out of time", n);
            }
            if at != At::Done && self.may_die(s, t) {
                let mut n = *s;
                n.crashes -= 1;
                n.threads[t] = Thread { at: At::Dead, ..FRESH };
                out.luck(t, "dies", n);
            }
        }
    }

    /// Everything is put and told, and whoever sleeps has nothing to sleep less for.
    fn finished(&self, s: &State) -> bool {
        (0..self.threads()).all(|t| match s.threads[t].at {
            At::Done | At::Dead => true,
            At::Asleep => s.items[self.kind(s, t)] == 0,
            At::Idle => self.lane(t).is_none() && t >= self.puts.len(),
            _ => false,
        })
    }

    fn name(&self, who: usize) -> String {
        match self.lane(who) {
            Some(lane) => format!("waiter {lane}"),
            None if who < self.puts.len() => format!("producer {who}"),
            None => format!("bystander {who}"),
        }
    }
}

const NAME: &str = "parking";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let base = Parking {
        puts: &[&[0, 0]],
        takes: &[&[0], &[0, 0]],
        bystanders: 1,
        crashes: 1,
        quits: 0,
        mutant: None,
    };
    let calm = Parking { crashes: 0, bystanders: 0, ..base };
    let kinds = Parking { puts: &[&[0, 1], &[0]], takes: &[&[0, 1], &[0]], ..calm };
    let two = Parking { puts: &[&[0], &[0]], ..base };
    let sound = |config, parking| Case::sound(NAME, config, parking);
    let mut cases = vec![
        sound("1 producer of 2, 2 waiters, 1 crash", base),
        sound("2 producers, 2 waiters of two words, no crash", kinds),
        sound("1 producer of 2, 2 waiters, 1 crash, 1 out of time", Parking { quits: 1, ..base }),
        sound(
            "1 producer, 2 waiters, 2 bystanders, 2 crashes",
            Parking { puts: &[&[0]], takes: &[&[0], &[0]], bystanders: 2, crashes: 2, ..base },
        ),
    ];
    let list: &[(&'static str, Mutant, Expect, Parking)] = &[
        (
            "no baton: chosen and out of time, it leaves",
            NoBaton,
            Stuck,
            Parking { quits: 1, ..calm },
        ),
        ("a dead waiter swallows the wake", DeadSwallows, Stuck, base),
        (
            "wakes choose the gone",
            WakeAsksNobody,
            Expect::Harmless("the notice to come makes it good, later"),
            base,
        ),
        (
            "the notice leaves the gone parked",
            NoticeClearsNobody,
            Expect::Harmless("wakes ask by themselves"),
            base,
        ),
        ("the notice rings only who was not chosen", NoticeToParkedOnly, Stuck, base),
        ("rings before it clears, and wakes ask nobody", RingsBeforeClearing, Stuck, base),
        ("the choice is for any sleep of the lane", NoTicket, Stuck, kinds),
        ("bit set after the look", BitAfterLook, Stuck, calm),
        ("no look after parking", NoLook, Stuck, calm),
        ("epoch not looked at, and wakes ask nobody", EpochNotLookedAt, Stuck, base),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, parking)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Parking { mutant: Some(mutant), ..parking })
    }));
    if !quick {
        cases.extend([
            sound("2 producers, 2 waiters, 1 crash", two),
            sound("2 producers, 2 waiters, 2 crashes", Parking { crashes: 2, ..two }),
            sound(
                "1 producer of 2, 3 waiters, 1 crash",
                Parking { takes: &[&[0], &[0], &[0]], ..base },
            ),
            sound(
                "2 producers, 2 waiters of two words, 1 crash",
                Parking { crashes: 1, bystanders: 1, ..kinds },
            ),
        ]);
    }
    cases
}

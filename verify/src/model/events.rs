//! The event count and the blocking loop on top of it: `EventCount` and `block_on` of the core, step by step, with
//! futexes, life words of which the kernel wakes one sleeper, and the death epoch.
//!
//! Sequentially consistent; that a publisher needs no fence is the barrier model's matter. The backstop is left
//! out: nobody may count on it.

use super::checker::{Protocol, Steps};
use super::{Case, Expect, Expect::Stuck};
use Mutant::*;

const THREADS: usize = 4;
const WAITERS: u8 = 1;
const STEP: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// A producer between puts; a waiter before its spin.
    Idle,
    Done,
    Dead,
    // A producer.
    Look,
    Count,
    Wake,
    Clear,
    WakeAll,
    // A waiter.
    Arm,
    ReadEpoch,
    TryAgain,
    LookAtLives,
    Sleep,
    Asleep,
    Woken,
    // A declarer.
    RaiseEpoch,
    TellAll,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    /// Items still to put or to take.
    left: u8,
    key: u8,
    epoch: u8,
    /// The members whose life words it watches.
    watched: u8,
    /// Looked at the lives again after one was dead.
    retried: bool,
    /// Its time is over.
    late: bool,
    /// It was woken: looks at the life words before anything else.
    pass_on: bool,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    word: u8,
    epoch: u8,
    items: u8,
    /// Life words that the kernel marked; members declared dead.
    marked: u8,
    declared: u8,
    crashes: u8,
    quits: u8,
    thread: [Thread; THREADS],
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoWakeAfterClear,
    ClearByStore,
    ClearDoesNotCount,
    NoLifeWatch,
    NoPassOn,
    EpochNotWatched,
    NoSecondTry,
    EpochReadLate,
    LateLeavesAtOnce,
    NoCountWhenNotifying,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    /// Items that each producer puts; the producers are the first threads.
    pub puts: &'static [u8],
    /// Items that each waiter takes.
    pub takes: &'static [u8],
    /// Producers notify all.
    pub all: bool,
    pub crashes: u8,
    /// How many waiters may run out of time.
    pub quits: u8,
    pub mutant: Option<Mutant>,
}

impl Events {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn threads(&self) -> usize {
        self.puts.len() + self.takes.len()
    }

    fn asleep(s: &State) -> impl Iterator<Item = usize> + '_ {
        (0..THREADS).filter(|&t| s.thread[t].at == At::Asleep)
    }

    fn wake(n: &mut State, t: usize) {
        (n.thread[t].at, n.thread[t].pass_on) = (At::Woken, true);
    }

    fn wake_all(n: &mut State) {
        for t in 0..THREADS {
            if n.thread[t].at == At::Asleep {
                Self::wake(n, t);
            }
        }
    }

    fn produce(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        let after = if me.left == 0 { At::Done } else { At::Idle };
        match me.at {
            At::Idle => {
                n.items += 1;
                n.thread[t].left -= 1;
                n.thread[t].at = At::Look;
                out.step(t, "publishes an item", n);
            }
            At::Look => {
                n.thread[t].at = if s.word & WAITERS == 0 { after } else { At::Count };
                if self.has(NoCountWhenNotifying) && n.thread[t].at == At::Count {
                    (n.thread[t].at, n.thread[t].key) = (At::Wake, s.word);
                }
                out.step(t, "looks for waiters", n);
            }
            At::Count => {
                n.word = s.word + STEP;
                (n.thread[t].at, n.thread[t].key) = (At::Wake, n.word);
                out.step(t, "counts the event", n);
            }
            At::Wake => {
                if self.all {
                    Self::wake_all(&mut n);
                    n.thread[t].at = At::Clear;
                    return out.step(t, "wakes all", n);
                }
                n.thread[t].at = At::Clear;
                if Self::asleep(s).next().is_none() {
                    return out.step(t, "wakes one: nobody sleeps", n);
                }
                for sleeper in Self::asleep(s) {
                    n = *s;
                    (n.thread[t].at, n.thread[t].key) = (after, 0);
                    Self::wake(&mut n, sleeper);
                    out.step(t, "wakes one", n);
                }
            }
            At::Clear => {
                if s.word == me.key || self.has(ClearByStore) {
                    let counts = if self.has(ClearDoesNotCount) { 0 } else { STEP };
                    n.word = (me.key & !WAITERS) + counts;
                    n.thread[t].at = if self.has(NoWakeAfterClear) { after } else { At::WakeAll };
                } else {
                    n.thread[t].at = after;
                }
                n.thread[t].key = 0;
                out.step(t, "takes the mark away by CAS", n);
            }
            _ => {
                n.thread[t].at = after;
                Self::wake_all(&mut n);
                out.step(t, "wakes all behind the mark", n);
            }
        }
    }

    /// One attempt: an item, or what comes next.
    fn attempt(&self, s: &State, t: usize, else_at: At, out: &mut Steps<State>) {
        let mut n = *s;
        let thread = &mut n.thread[t];
        if s.items > 0 {
            n.items -= 1;
            let left = thread.left - 1;
            let at = if left == 0 { At::Done } else { At::Idle };
            *thread = Thread { at, left, ..FRESH };
            out.step(t, "takes an item", n);
        } else {
            thread.at = else_at;
            out.step(t, "finds nothing", n);
        }
    }

    /// `t` finds that the kernel marked somebody who is not declared dead, and declares him.
    fn declare(s: &State, t: usize, out: &mut Steps<State>) -> bool {
        let mut n = *s;
        n.declared = s.marked;
        n.thread[t].at = At::RaiseEpoch;
        let found = s.marked & !s.declared != 0;
        if found {
            out.step(t, "declares a marked process DEAD", n);
        }
        found
    }

    fn wait(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        match me.at {
            At::Idle => self.attempt(s, t, At::Arm, out),
            At::Arm => {
                n.word = s.word | WAITERS;
                (n.thread[t].key, n.thread[t].at) = (n.word, At::ReadEpoch);
                if self.has(EpochReadLate) {
                    n.thread[t].at = At::TryAgain;
                }
                out.step(t, "arms", n);
            }
            At::ReadEpoch => {
                n.thread[t].epoch = s.epoch;
                n.thread[t].at = At::TryAgain;
                if self.has(EpochReadLate) || self.has(NoSecondTry) {
                    n.thread[t].at = At::LookAtLives;
                }
                out.step(t, "reads the epoch", n);
            }
            At::TryAgain if self.has(EpochReadLate) => self.attempt(s, t, At::ReadEpoch, out),
            At::TryAgain => self.attempt(s, t, At::LookAtLives, out),
            At::LookAtLives => {
                if !self.has(NoLifeWatch) && Self::declare(s, t, out) {
                    return;
                }
                let thread = &mut n.thread[t];
                thread.watched = !s.declared & ((1 << self.threads()) - 1) & !(1 << t);
                if s.declared != 0 && !me.retried {
                    // Somebody was dead: one more round.
                    *thread = Thread {
                        left: me.left,
                        late: me.late,
                        retried: true,
                        at: At::Arm,
                        ..FRESH
                    };
                    return out.step(t, "finds a member dead, goes round once more", n);
                }
                thread.retried = false;
                thread.at = if me.late { At::Done } else { At::Sleep };
                if me.late {
                    *thread = Thread { at: At::Done, left: 0, ..FRESH };
                }
                out.step(t, "looks at the members' lives", n);
            }
            At::Sleep => {
                let stays = s.word == me.key
                    && (s.epoch == me.epoch || self.has(EpochNotWatched))
                    && (s.marked & me.watched == 0 || self.has(NoLifeWatch));
                n.thread[t].at = if stays { At::Asleep } else { At::Woken };
                n.thread[t].pass_on = !stays;
                out.step(t, if stays { "sleeps" } else { "may not sleep: a word changed" }, n);
            }
            At::Woken => {
                let marked = s.marked & me.watched != 0 && !self.has(NoLifeWatch);
                if me.pass_on && marked && !self.has(NoPassOn) {
                    if Self::declare(s, t, out) {
                        return;
                    }
                    // Wakes the other sleepers of the life words that changed.
                    for o in 0..THREADS {
                        if n.thread[o].at == At::Asleep && s.marked & s.thread[o].watched != 0 {
                            Self::wake(&mut n, o);
                        }
                    }
                }
                n.thread[t] = Thread { at: At::Arm, left: me.left, late: me.late, ..FRESH };
                out.step(t, "is awake", n);
                // What it may want to do instead: see `LateLeavesAtOnce`.
                if me.late && self.has(LateLeavesAtOnce) {
                    n.thread[t] = Thread { at: At::Done, left: 0, ..FRESH };
                    out.step(t, "is late and leaves", n);
                }
            }
            At::RaiseEpoch => {
                n.epoch += 1;
                n.thread[t].at = At::TellAll;
                out.step(t, "raises the epoch", n);
            }
            _ => {
                if !self.has(EpochNotWatched) {
                    Self::wake_all(&mut n);
                }
                // Back to where it declared.
                n.thread[t].at = if me.pass_on { At::Woken } else { At::LookAtLives };
                out.step(t, "wakes all sleepers of the epoch", n);
            }
        }
    }

    /// `t` is killed; the kernel marks its life word and wakes one of its sleepers, any.
    fn die(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let mut n = *s;
        n.crashes -= 1;
        n.marked |= 1 << t;
        n.thread[t] = Thread { at: At::Dead, left: 0, ..FRESH };
        let watching = |o: &usize| s.thread[*o].watched >> t & 1 != 0 && !self.has(NoLifeWatch);
        let mut woke = false;
        for o in Self::asleep(s).filter(|o| *o != t).filter(watching) {
            let mut n = n;
            Self::wake(&mut n, o);
            out.luck(t, "dies; the kernel wakes one sleeper of its life word", n);
            woke = true;
        }
        if !woke {
            out.luck(t, "dies", n);
        }
    }
}

const FRESH: Thread = Thread {
    at: At::Idle,
    left: 0,
    key: 0,
    epoch: 0,
    watched: 0,
    retried: false,
    late: false,
    pass_on: false,
};

impl Protocol for Events {
    type State = State;

    fn start(&self) -> State {
        let mut thread = [Thread { at: At::Done, ..FRESH }; THREADS];
        for (thread, &left) in thread.iter_mut().zip(self.puts.iter().chain(self.takes)) {
            *thread = Thread { left, ..FRESH };
        }
        State {
            word: 0,
            epoch: 0,
            items: 0,
            marked: 0,
            declared: 0,
            crashes: self.crashes,
            quits: self.quits,
            thread,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.threads() {
            match s.thread[t].at {
                At::Dead => continue,
                At::Done | At::Asleep => {}
                _ if t < self.puts.len() => self.produce(s, t, out),
                _ => self.wait(s, t, out),
            }
            if s.quits > 0 && matches!(s.thread[t].at, At::Asleep | At::Woken) {
                let mut n = *s;
                n.quits -= 1;
                n.thread[t].late = true;
                Self::wake(&mut n, t);
                out.luck(t, "runs out of time", n);
            }
            if s.crashes > 0 {
                self.die(s, t, out);
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        let over = |t: usize| matches!(s.thread[t].at, At::Done | At::Dead);
        (0..self.puts.len()).all(over)
            && (s.items == 0 || (self.puts.len()..self.threads()).all(over))
    }

    fn name(&self, who: usize) -> String {
        format!("{} {who}", if who < self.puts.len() { "producer" } else { "waiter" })
    }
}

const NAME: &str = "event count";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let base =
        Events { puts: &[1, 1], takes: &[2, 2], all: false, crashes: 1, quits: 0, mutant: None };
    let calm = Events { crashes: 0, ..base };
    let one = Events { puts: &[2], takes: &[2, 2], ..base };
    let again = Events { puts: &[2, 1], ..calm };
    let three = Events { puts: &[1], takes: &[1, 1, 1], ..base };
    let sound = |config, events| Case::sound(NAME, config, events);
    let mut cases = vec![
        sound("2 producers, 2 waiters, 1 crash", base),
        sound("1 producer of 2, 2 waiters, 2 crashes", Events { crashes: 2, ..one }),
        sound("1 producer of 2, 2 waiters, 1 crash, 1 out of time", Events { quits: 1, ..one }),
        sound("2 producers that notify all, 2 waiters, 1 crash", Events { all: true, ..base }),
        sound("1 producer, 3 waiters, 2 crashes", Events { crashes: 2, ..three }),
        sound("2 producers of 2 and 1, 2 waiters, no crash", again),
        sound("same, notifying all", Events { all: true, ..again }),
    ];
    let list: &[(&'static str, Mutant, Expect, Events)] = &[
        ("nobody is woken behind the clear", NoWakeAfterClear, Stuck, calm),
        (
            "mark taken away by plain store",
            ClearByStore,
            Stuck,
            Events { puts: &[2, 2], takes: &[3, 1], ..calm },
        ),
        ("the mark is taken away without counting", ClearDoesNotCount, Stuck, again),
        (
            "events not counted",
            NoCountWhenNotifying,
            Expect::Harmless("each event wakes a sleeper or takes the mark away, which counts"),
            again,
        ),
        ("life words not watched", NoLifeWatch, Stuck, base),
        (
            "who a life word woke tells nobody",
            NoPassOn,
            Expect::Harmless("a life word wakes as many as the dead one could have swallowed"),
            three,
        ),
        ("the epoch is not watched", EpochNotWatched, Stuck, Events { crashes: 2, ..three }),
        ("no second try after arming", NoSecondTry, Stuck, calm),
        (
            "epoch read after the second try",
            EpochReadLate,
            Expect::Harmless("the life words tell it too"),
            Events { crashes: 2, ..base },
        ),
        ("out of time, leaves without a try", LateLeavesAtOnce, Stuck, Events { quits: 1, ..calm }),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, events)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Events { mutant: Some(mutant), ..events })
    }));
    if !quick {
        cases.extend([
            sound(
                "2 producers of 2 and 1, 2 waiters, 2 crashes",
                Events { puts: &[2, 1], crashes: 2, ..base },
            ),
            sound(
                "2 producers of 2 that notify all, 2 waiters, 2 crashes, 1 out of time",
                Events { puts: &[2, 2], all: true, crashes: 2, quits: 1, ..base },
            ),
        ]);
    }
    cases
}

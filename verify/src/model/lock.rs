//! The recoverable lock: a word that names its holder, taken over when the holder is dead; who waits sleeps on an
//! event count, the death epoch and the life words of all others, as every blocking loop of the core does.
//!
//! Every thread is a process of its own. The backstop is left out: nobody may count on it.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const THREADS: usize = 4;
const WAITERS: u8 = 1;
const STEP: u8 = 2;
const NOBODY: u8 = 0;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Idle,
    Done,
    Dead,
    Try,
    TryCas,
    Repair,
    Change,
    ChangeBack,
    Unlock,
    Look,
    Count,
    Wake,
    Clear,
    WakeAll,
    Arm,
    ReadEpoch,
    LookAtLives,
    Sleep,
    Asleep,
    Woken,
    RaiseEpoch,
    TellAll,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Thread {
    at: At,
    /// Where a declaration goes on.
    back: At,
    /// How often it still wants the lock.
    left: u8,
    /// The holder it saw, from 1.
    seen: u8,
    /// Armed: its next failed attempt leads to sleep.
    armed: bool,
    key: u8,
    epoch: u8,
    /// Whose life words it watches, one bit each.
    watched: u8,
}

const FRESH: Thread = Thread {
    at: At::Idle,
    back: At::Idle,
    left: 0,
    seen: 0,
    armed: false,
    key: 0,
    epoch: 0,
    watched: 0,
};

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The holder, from 1.
    word: u8,
    event: u8,
    epoch: u8,
    marked: u8,
    declared: u8,
    /// What the lock guards is half changed.
    half: bool,
    crashes: u8,
    thread: [Thread; THREADS],
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoTakeOver,
    NoRepair,
    TakeByStore,
    HolderOnly,
    NoLives,
    NoPassOn,
    NoEpoch,
    NoSecondTry,
    TakeOverUndeclared,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Lock {
    /// How often each thread takes the lock.
    pub takes: &'static [u8],
    pub crashes: u8,
    pub mutant: Option<Mutant>,
}

impl Lock {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn bit(holder: u8) -> u8 {
        if holder == NOBODY { 0 } else { 1 << (holder - 1) }
    }

    fn wake(n: &mut State, t: usize) {
        n.thread[t].at = At::Woken;
    }

    fn wake_all(n: &mut State) {
        for t in 0..THREADS {
            if n.thread[t].at == At::Asleep {
                Self::wake(n, t);
            }
        }
    }

    fn asleep(s: &State) -> impl Iterator<Item = usize> + '_ {
        (0..THREADS).filter(|&t| s.thread[t].at == At::Asleep)
    }

    /// `is_dead` of all in `who`: declares whom the kernel marked and nobody has declared.
    fn declare(s: &State, t: usize, who: u8, back: At, out: &mut Steps<State>) -> bool {
        let due = s.marked & !s.declared & who;
        if due != 0 {
            let mut n = *s;
            n.declared |= due;
            (n.thread[t].at, n.thread[t].back) = (At::RaiseEpoch, back);
            out.step(t, "declares a marked process DEAD", n);
        }
        due != 0
    }

    fn attempt(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        let thread = &mut n.thread[t];
        if me.at == At::Try {
            let over =
                s.word == NOBODY || (s.marked & Self::bit(s.word) != 0 && !self.has(NoTakeOver));
            thread.seen = s.word;
            thread.at = match over {
                true => At::TryCas,
                false if me.armed => At::LookAtLives,
                false => At::Arm,
            };
            return out.step(t, "reads the lock's word", n);
        }
        let declare = !self.has(TakeOverUndeclared);
        if declare && Self::declare(s, t, Self::bit(me.seen), At::TryCas, out) {
            return;
        }
        if s.word == me.seen || self.has(TakeByStore) {
            n.word = t as u8 + 1;
            let repair = me.seen != NOBODY && !self.has(NoRepair);
            let at = if repair { At::Repair } else { At::Change };
            n.thread[t] = Thread { at, left: me.left, ..FRESH };
            let others = (0..THREADS).any(|o| o != t && Self::holds(s, o));
            let right = if others { Err("two living processes hold the lock") } else { Ok(n) };
            return out.either(t, "takes the lock by CAS", right);
        }
        thread.at = if me.armed { At::LookAtLives } else { At::Arm };
        thread.seen = NOBODY;
        out.step(t, "CAS of the lock fails", n);
    }

    fn holds(s: &State, t: usize) -> bool {
        matches!(s.thread[t].at, At::Repair | At::Change | At::ChangeBack | At::Unlock)
    }

    fn hold(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        let thread = &mut n.thread[t];
        if s.word != t as u8 + 1 {
            return out.wrong(t, "works under the lock", "a living holder lost the lock");
        }
        match me.at {
            At::Repair => {
                n.half = false;
                thread.at = At::Change;
                out.step(t, "repairs what a dead holder left", n);
            }
            At::Change if s.half => {
                out.wrong(t, "begins a change", "a holder finds the guarded data half changed");
            }
            At::Change => {
                n.half = true;
                thread.at = At::ChangeBack;
                out.step(t, "begins a change", n);
            }
            At::ChangeBack => {
                n.half = false;
                thread.at = At::Unlock;
                out.step(t, "finishes its change", n);
            }
            _ => {
                n.word = NOBODY;
                thread.left -= 1;
                thread.at = At::Look;
                out.step(t, "unlocks", n);
            }
        }
    }

    fn notify(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        let after = if me.left == 0 { At::Done } else { At::Idle };
        match me.at {
            At::Look => {
                n.thread[t].at = if s.event & WAITERS == 0 { after } else { At::Count };
                out.step(t, "looks for waiters", n);
            }
            At::Count => {
                n.event = s.event + STEP;
                (n.thread[t].at, n.thread[t].key) = (At::Wake, n.event);
                out.step(t, "counts the event", n);
            }
            At::Wake if Self::asleep(s).next().is_some() => {
                for sleeper in Self::asleep(s) {
                    n = *s;
                    (n.thread[t].at, n.thread[t].key) = (after, 0);
                    Self::wake(&mut n, sleeper);
                    out.step(t, "wakes one", n);
                }
            }
            At::Wake => {
                n.thread[t].at = At::Clear;
                out.step(t, "wakes one: nobody sleeps", n);
            }
            At::Clear => {
                n.thread[t].at = after;
                if s.event == me.key {
                    n.event = (me.key & !WAITERS) + STEP;
                    n.thread[t].at = At::WakeAll;
                }
                n.thread[t].key = 0;
                out.step(t, "takes the mark away by CAS", n);
            }
            _ => {
                Self::wake_all(&mut n);
                n.thread[t].at = after;
                out.step(t, "wakes all behind the mark", n);
            }
        }
    }

    fn wait(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = s.thread[t];
        let mut n = *s;
        let thread = &mut n.thread[t];
        match me.at {
            At::Arm => {
                n.event = s.event | WAITERS;
                (thread.key, thread.armed, thread.at) = (s.event | WAITERS, true, At::ReadEpoch);
                out.step(t, "arms", n);
            }
            At::ReadEpoch => {
                thread.epoch = s.epoch;
                thread.at = if self.has(NoSecondTry) { At::LookAtLives } else { At::Try };
                out.step(t, "reads the epoch", n);
            }
            At::LookAtLives => {
                let mut lives = !s.declared & !(1 << t) & ((1 << self.takes.len()) - 1);
                if self.has(HolderOnly) {
                    lives &= Self::bit(s.word);
                }
                if self.has(NoLives) {
                    lives = 0;
                } else if Self::declare(s, t, lives, At::Try, out) {
                    return;
                }
                (thread.watched, thread.at) = (lives, At::Sleep);
                out.step(t, "looks whose life to watch", n);
            }
            At::Sleep => {
                let stays = s.event == me.key
                    && (s.epoch == me.epoch || self.has(NoEpoch))
                    && s.marked & me.watched == 0;
                thread.at = if stays { At::Asleep } else { At::Woken };
                out.step(t, if stays { "sleeps" } else { "may not sleep: a word changed" }, n);
            }
            At::Woken => {
                if !self.has(NoPassOn) && Self::declare(s, t, me.watched, At::Woken, out) {
                    return;
                }
                // Wakes the other sleepers of the life words that changed.
                for o in 0..THREADS {
                    let same = s.marked & me.watched & s.thread[o].watched;
                    if n.thread[o].at == At::Asleep && same != 0 && !self.has(NoPassOn) {
                        Self::wake(&mut n, o);
                    }
                }
                let thread = &mut n.thread[t];
                *thread = Thread { at: At::Arm, left: me.left, ..FRESH };
                out.step(t, "is awake", n);
            }
            At::RaiseEpoch => {
                n.epoch += 1;
                thread.at = At::TellAll;
                out.step(t, "raises the epoch", n);
            }
            _ => {
                thread.at = me.back;
                thread.back = At::Idle;
                if !self.has(NoEpoch) {
                    Self::wake_all(&mut n);
                }
                out.step(t, "wakes all sleepers of the epoch", n);
            }
        }
    }

    fn die(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let mut n = *s;
        n.crashes -= 1;
        n.marked |= 1 << t;
        n.thread[t] = Thread { at: At::Dead, ..FRESH };
        let watching = |o: &usize| *o != t && s.thread[*o].watched >> t & 1 != 0;
        let mut woke = false;
        for o in Self::asleep(s).filter(watching) {
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

impl Protocol for Lock {
    type State = State;

    fn start(&self) -> State {
        let mut thread = [Thread { at: At::Done, ..FRESH }; THREADS];
        for (thread, &left) in thread.iter_mut().zip(self.takes) {
            *thread = Thread { left, ..FRESH };
        }
        State {
            word: NOBODY,
            event: 0,
            epoch: 0,
            marked: 0,
            declared: 0,
            half: false,
            crashes: self.crashes,
            thread,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..self.takes.len() {
            match s.thread[t].at {
                At::Dead => continue,
                At::Done | At::Asleep => {}
                At::Idle => {
                    let mut n = *s;
                    n.thread[t].at = At::Try;
                    out.step(t, "wants the lock", n);
                }
                At::Try | At::TryCas => self.attempt(s, t, out),
                At::Repair | At::Change | At::ChangeBack | At::Unlock => self.hold(s, t, out),
                At::Look | At::Count | At::Wake | At::Clear | At::WakeAll => self.notify(s, t, out),
                _ => self.wait(s, t, out),
            }
            if s.crashes > 0 {
                self.die(s, t, out);
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        s.thread.iter().all(|thread| matches!(thread.at, At::Done | At::Dead))
    }
}

const NAME: &str = "lock";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let base = Lock { takes: &[1, 1, 1], crashes: 2, mutant: None };
    let two = Lock { takes: &[2, 2], crashes: 1, ..base };
    let sound = |config, lock| Case::sound(NAME, config, lock);
    let mut cases =
        vec![sound("3 processes, 2 deaths", base), sound("2 processes, twice each, 1 death", two)];
    let list: &[(&'static str, Mutant, Expect, Lock)] = &[
        ("the lock of a dead holder is not taken over", NoTakeOver, Stuck, two),
        ("what a dead holder left is not repaired", NoRepair, Unsafe, two),
        ("taken by plain store", TakeByStore, Unsafe, two),
        ("only the holder's life word is watched", HolderOnly, Stuck, base),
        ("no life word is watched", NoLives, Stuck, two),
        (
            "who a life word woke tells nobody",
            NoPassOn,
            Expect::Harmless("every sleeper watches who was woken, too"),
            base,
        ),
        ("the epoch is not watched", NoEpoch, Expect::Harmless("the life words tell it too"), base),
        ("no second try after arming", NoSecondTry, Stuck, two),
        (
            "taken over without declaring the holder dead",
            TakeOverUndeclared,
            Expect::Harmless("whoever sleeps next declares it"),
            base,
        ),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, lock)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Lock { mutant: Some(mutant), ..lock })
    }));
    if !quick {
        cases.extend([
            sound("3 processes, twice each, 2 deaths", Lock { takes: &[2, 2, 2], ..base }),
            sound("4 processes, 2 deaths", Lock { takes: &[1, 1, 1, 1], ..base }),
        ]);
    }
    cases
}

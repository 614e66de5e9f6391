//! Guests of a chain: who sweeps before it is a member says at which ring it looks, and the ring stays meanwhile.
//!
//! One ring, which is to be given back, one seat, two guests, and a member that gives back. A guest's store of its ring waits in
//! its buffer until it is flushed: at any time, or by the giver's barrier. A guest that left becomes a member, and sweeps as such;
//! so does somebody after each death. More seats and rings are more of the same: a guest looks at one ring at a time.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

/// Guests.
const GUESTS: usize = 2;
/// The giver's number.
const GIVER: usize = GUESTS;

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoSeat,
    NoBarrier,
    NoRecheck,
    SeatOfTheLiving,
    LeavesEarly,
    DeadGuestsCount,
    NoSweepAsMember,
    NoDying,
}

/// Who may die, and what is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Guests {
    crashes: u8,
    mutant: Option<Mutant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Ring {
    Retired,
    Dying,
    Free,
}

/// Where somebody stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // A guest.
    Outside,
    /// Saw this in the seat.
    Saw(u8),
    Seated,
    /// Wrote the ring.
    Wrote,
    /// Saw that the ring is there.
    Looks,
    Looked,
    /// Left the ring; still has the seat.
    Left,
    Member,
    Dead,
    // The giver.
    Idle,
    Changed,
    ReadRing,
    ReadWho,
    Frees,
    Spares,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    ring: Ring,
    memory: bool,
    /// Guest number plus 1, or 0.
    who: u8,
    /// Whether the seat names the ring.
    seat: bool,
    /// Each guest's store of `seat` that nobody else sees yet.
    buffer: [Option<bool>; GUESTS],
    at: [At; GUESTS + 1],
    /// What the giver read of the seat.
    named: bool,
    /// Sweeps by members that are still to come.
    due: u8,
    dead: u8,
    crashes: u8,
}

impl Guests {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn dead(s: &State, who: u8) -> bool {
        who != 0 && s.dead >> (who - 1) & 1 != 0
    }

    fn guest(&self, s: &State, t: usize, out: &mut Steps<State>) {
        let me = t as u8 + 1;
        let mut n = *s;
        let at = &mut n.at[t];
        match s.at[t] {
            At::Outside => {
                *at = At::Saw(s.who);
                out.step(t, "reads who has the seat", n);
            }
            At::Saw(who) => {
                let free = who == 0 || Self::dead(s, who) || self.has(SeatOfTheLiving);
                if free && s.who == who {
                    (*at, n.who) = (At::Seated, me);
                } else {
                    *at = At::Outside;
                }
                out.step(t, "CAS of the seat", n);
            }
            At::Seated => {
                *at = At::Wrote;
                if !self.has(NoSeat) {
                    n.buffer[t] = Some(true);
                }
                out.step(t, "stores the ring", n);
            }
            At::Wrote => {
                let there = s.ring == Ring::Retired || self.has(NoRecheck);
                *at = if there { At::Looks } else { At::Looked };
                if there && self.has(LeavesEarly) {
                    (n.who, n.buffer[t]) = (0, None);
                }
                out.step(t, "sees whether the ring is there", n);
            }
            At::Looks if !s.memory => out.wrong(t, "sweeps the ring", "it was given back"),
            At::Looks => {
                *at = At::Looked;
                out.step(t, "sweeps the ring", n);
            }
            At::Looked => {
                *at = At::Left;
                n.buffer[t] = Some(false);
                out.step(t, "stores that it left the ring", n);
            }
            // Stores become visible in their order.
            At::Left if s.buffer[t].is_none() => {
                *at = At::Member;
                if n.who == me {
                    n.who = 0;
                }
                n.due += u8::from(!self.has(NoSweepAsMember));
                out.step(t, "leaves the seat", n);
            }
            _ => {}
        }
        if let Some(value) = s.buffer[t]
            && s.at[t] != At::Dead
        {
            let mut n = *s;
            (n.buffer[t], n.seat) = (None, value);
            out.step(t, "its store is seen", n);
        }
    }

    fn giver(&self, s: &State, out: &mut Steps<State>) {
        let t = GIVER;
        let mut n = *s;
        match s.at[t] {
            At::Idle if s.due > 0 => {
                n.due -= 1;
                if s.ring == Ring::Retired {
                    n.at[t] = At::Changed;
                    if !self.has(NoDying) {
                        n.ring = Ring::Dying;
                    }
                }
                out.step(t, "RETIRED -> DYING", n);
            }
            At::Changed => {
                if !self.has(NoBarrier) {
                    for guest in 0..GUESTS {
                        if let Some(value) = n.buffer[guest].take() {
                            n.seat = value;
                        }
                    }
                }
                n.at[t] = At::ReadRing;
                out.step(t, "barrier", n);
            }
            At::ReadRing => {
                (n.named, n.at[t]) = (s.seat, At::ReadWho);
                out.step(t, "reads the seat's ring", n);
            }
            At::ReadWho => {
                let counts = s.who != 0 && (!Self::dead(s, s.who) || self.has(DeadGuestsCount));
                n.at[t] = if s.named && counts { At::Spares } else { At::Frees };
                n.named = false;
                out.step(t, "reads whose the seat is", n);
            }
            At::Spares => {
                (n.ring, n.at[t]) = (Ring::Retired, At::Idle);
                out.step(t, "DYING -> RETIRED", n);
            }
            At::Frees => {
                (n.ring, n.memory, n.at[t]) = (Ring::Free, false, At::Idle);
                out.step(t, "DYING -> FREE, and gives the memory back", n);
            }
            _ => {}
        }
    }
}

impl Protocol for Guests {
    type State = State;

    fn start(&self) -> State {
        let mut at = [At::Outside; GUESTS + 1];
        at[GIVER] = At::Idle;
        State {
            ring: Ring::Retired,
            memory: true,
            who: 0,
            seat: false,
            buffer: [None; GUESTS],
            at,
            named: false,
            due: 1,
            dead: 0,
            crashes: self.crashes,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        for t in 0..GUESTS {
            self.guest(s, t, out);
            if s.crashes > 0 && !matches!(s.at[t], At::Member | At::Dead) {
                // What it stored is in memory; whoever hears of the death sweeps.
                let mut n = *s;
                n.crashes -= 1;
                n.dead |= 1 << t;
                n.at[t] = At::Dead;
                if let Some(value) = n.buffer[t].take() {
                    n.seat = value;
                }
                n.due += 1;
                out.luck(t, "dies", n);
            }
        }
        self.giver(s, out);
    }

    fn finished(&self, s: &State) -> bool {
        let over = |at: &At| matches!(at, At::Member | At::Dead);
        s.at[..GUESTS].iter().all(over) && s.ring == Ring::Free && s.at[GIVER] == At::Idle
    }

    fn name(&self, who: usize) -> String {
        if who == GIVER { "giver".to_owned() } else { format!("guest {who}") }
    }
}

const NAME: &str = "guests";

/// Every case of this model; all are small.
pub fn cases(_: bool) -> Vec<Case> {
    let sound = |config, crashes| Case::sound(NAME, config, Guests { crashes, mutant: None });
    let mut cases = vec![sound("no death", 0), sound("1 death", 1), sound("2 deaths", 2)];
    let list: &[(&'static str, Mutant, Expect, u8)] = &[
        ("a guest does not say at which ring it looks", NoSeat, Unsafe, 0),
        ("no barrier before the look at the seats", NoBarrier, Unsafe, 0),
        ("the ring's word is not read again behind the store", NoRecheck, Unsafe, 0),
        ("a seat is taken from the living", SeatOfTheLiving, Unsafe, 0),
        ("the seat is left before the ring", LeavesEarly, Unsafe, 0),
        ("seats of the dead count", DeadGuestsCount, Stuck, 2),
        ("a guest that becomes a member does not sweep", NoSweepAsMember, Stuck, 0),
        ("no state before the look at the seats", NoDying, Unsafe, 0),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, crashes)| {
        let guests = Guests { crashes, mutant: Some(mutant) };
        Case::mutant(NAME, "2 guests", name, expect, guests)
    }));
    cases
}

//! Who has a role; the table is in the parent module.

use super::{Bytes, Spsc};
use crate::points::{Point, hit};
use crate::prim::{AtomicU64, Ordering};
use crate::process::ProcessRef;
use crate::wait::{EventCount, Family};

/// One of the two ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Puts.
    Producer,
    /// Gets.
    Consumer,
}

impl Side {
    /// The opposite end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Producer => Self::Consumer,
            Self::Consumer => Self::Producer,
        }
    }
}

/// A role word: `process 48 | number 14 | state 2`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Role(u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Left,
    Held,
    Sent,
    Bad,
}

const NUMBERS: u64 = (1 << 14) - 1;

impl Role {
    fn process(self) -> ProcessRef {
        ProcessRef::from_bits(self.0 >> 16)
    }

    #[inline(always)]
    fn state(self) -> State {
        match self.0 & 3 {
            0 => State::Left,
            1 => State::Held,
            2 => State::Sent,
            _ => State::Bad,
        }
    }

    fn next_number(self) -> u64 {
        (((self.0 >> 2) + 1) & NUMBERS) << 2
    }

    fn held_by(self, process: ProcessRef) -> Self {
        Self(process.bits() << 16 | self.next_number() | 1)
    }

    fn left(self) -> Self {
        Self(self.next_number())
    }

    /// The same word, HELD, as SENT: the number stays, since what travels names it.
    fn sent(self) -> Self {
        Self(self.0 & !3 | 2)
    }
}

/// The right to a role, as it travels: worth something to the first who [claims](Spsc::claim) it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share(u64);

impl Share {
    /// What a message holds.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// What a message held.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Proof that the caller claimed a role and that its word stood there then.
#[derive(PartialEq, Eq, Debug)]
pub struct Held(Role);

impl core::fmt::Debug for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Role({:#x})", self.0)
    }
}

impl Held {
    /// What to send to whoever shall have the role. The sender must [claim](Spsc::claim) it again before it acts again.
    #[must_use]
    pub fn share(&self) -> Share {
        Share(self.0.0)
    }
}

/// What became of the one with the other role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// It has the role and lives.
    Here,
    /// The role travels, and whoever sent it lives.
    Sent,
    /// It gave the role up.
    Left,
    /// It died with the role.
    Dead,
}

impl<'a, S: Bytes, F: Family> Spsc<'a, S, F> {
    fn role(&self, side: Side) -> &'a AtomicU64 {
        let calm = &self.storage.head().calm;
        match side {
            Side::Producer => &calm.producer,
            Side::Consumer => &calm.consumer,
        }
    }

    fn sleepers(&self, side: Side) -> &'a EventCount {
        match side {
            Side::Producer => self.writers(),
            Side::Consumer => self.readers(),
        }
    }

    fn load(&self, side: Side) -> Role {
        // ORDER: Acquire, T-end with R3.
        Role(self.role(side).load(Ordering::Acquire))
    }

    fn change(&self, side: Side, from: Role, to: Role) -> bool {
        // ORDER: AcqRel, T-hand-over, and T-end for R3.
        let word = self.role(side);
        word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes a role of a new ring.
    ///
    /// Nobody has it yet, and no other process knows the ring.
    pub fn begin(&self, side: Side) -> Held {
        let to = Role(0).held_by(self.family.me());
        // ORDER: Relaxed. Whoever is told of the ring is told of this.
        self.role(side).store(to.0, Ordering::Relaxed);
        Held(to)
    }

    /// R5: the caller sent its role, and shall not use it here again. Does nothing if somebody else claimed it.
    pub fn part_with(&self, side: Side, held: &Held) {
        self.change(side, held.0, held.0.sent());
    }

    /// R1, R2: takes the role that `share` stands for. `None` if it is worth nothing any more: somebody else claimed it.
    pub fn claim(&self, side: Side, share: Share) -> Option<Held> {
        let from = Role(share.0);
        let to = from.held_by(self.family.me());
        if from.state() != State::Held
            || !self.change(side, from, to) && !self.change(side, from.sent(), to)
        {
            return None;
        }
        hit(Point::SpscClaimed);
        // Who sleeps over there watches the life of the one before.
        self.sleepers(side.other()).notify_all(self.family);
        Some(Held(to))
    }

    /// R4: takes a role whose owner is dead or has left, or which travels: what travels is void then. `None` while a living process
    /// has it.
    pub fn replace(&self, side: Side) -> Option<Held> {
        loop {
            let from = self.load(side);
            if from.state() == State::Held && !self.family.is_dead(from.process()) {
                return None;
            }
            let to = from.held_by(self.family.me());
            if self.change(side, from, to) {
                hit(Point::SpscClaimed);
                return Some(Held(to));
            }
        }
    }

    /// R3: gives the role up. Does nothing if somebody else claimed it.
    pub fn leave(&self, side: Side, held: &Held) {
        if self.change(side, held.0, held.0.left()) {
            hit(Point::SpscLeft);
            self.sleepers(side.other()).notify_all(self.family);
        }
    }

    /// Whether the role was given up and nobody took it over.
    #[inline(always)]
    pub fn has_left(&self, side: Side) -> bool {
        self.load(side).state() == State::Left
    }

    /// What became of the one with role `side`. Asks the system where it must.
    pub fn peer(&self, side: Side) -> Peer {
        let role = self.load(side);
        match role.state() {
            State::Left => Peer::Left,
            _ if self.family.is_dead(role.process()) => Peer::Dead,
            State::Sent => Peer::Sent,
            State::Held | State::Bad => Peer::Here,
        }
    }

    /// The process with role `side`, for who sleeps to watch.
    pub fn holder(&self, side: Side) -> Option<ProcessRef> {
        let role = self.load(side);
        (role.state() != State::Left && role.process() != self.family.me()).then(|| role.process())
    }
}

//! A guest's sweep: who wants to become a member, and finds every index taken by the dead, repairs before it is one.
//!
//! A pin names its owner by a member index, and a guest has none: a pin of "nobody" keeps nothing, and to give it back would
//! give back whose it became meanwhile. So a guest writes its own name beside the one ring that it looks at:
//!
//! | # | what | how |
//! |---|---|---|
//! | G1 | a seat: who = nobody or one who is dead → me | CAS |
//! | G2 | per ring: the seat's ring = it; barrier; its word still says that it is there? sweep it | as C1a |
//! | G3 | all rings swept: the indices of those free who were dead *before* G2 | as CS |
//! | G4 | the seat: ring = none, **then** who = nobody | stores |
//!
//! C7 looks at the guests where it looks at the pins. A seat that a dead guest left keeps nothing. A guest gives no ring back (it
//! could not say whose a DYING ring is); each member's sweep tries that, and the guest is a member next.

use super::Chain;
use super::storage::{ChainStorage, Guest, high};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::process::ProcessRef;
use crate::wait::Family;

/// Dead members whose indices one guest frees; one is enough to come in.
const MOST_FREED: usize = 32;

impl<S: ChainStorage, F: Family> Chain<'_, S, F> {
    /// Repairs what dead members left and frees their indices, for `me`, a process that is no member and wants to be one: this
    /// access is one for member 0. Whoever becomes a member afterwards sweeps as such, which gives back the memory of rings
    /// that only the guest was looking at.
    ///
    /// False if nothing was freed because other guests are at it: try to become a member, then this again.
    pub fn sweep_as_guest(&self, me: ProcessRef) -> bool {
        let storage = self.storage;
        let Some(seat) = storage.head().guests.iter().find(|seat| self.take_seat(seat, me)) else {
            return false;
        };
        let mut dead = [(0_u16, ProcessRef::NONE); MOST_FREED];
        let found = storage.members().iter().filter(|(_, process)| self.family.is_dead(*process));
        let count = dead.iter_mut().zip(found).map(|(place, found)| *place = found).count();
        hit(Point::SweepBegun);
        self.sweep_pins();
        let mut whole = true;
        for index in 1..=high(storage) {
            self.sweep_control(index);
            if !self.visit(seat, index) {
                whole = false;
            }
        }
        // ORDER: Release, C1: behind what we did in the last ring.
        seat.ring.store(0, Ordering::Release);
        if whole {
            for (index, process) in &dead[..count] {
                storage.members().free_if(*index, *process);
                hit(Point::SweepMemberFreed);
            }
        }
        // ORDER: Release, with the CAS of the next guest.
        seat.who.store(0, Ordering::Release);
        hit(Point::ChainGuestLeft);
        let calm = &storage.head().calm;
        calm.readers.notify_all(self.family);
        calm.writers.notify_all(self.family);
        calm.rooms.notify_all(self.family);
        true
    }

    /// G1.
    fn take_seat(&self, seat: &Guest, me: ProcessRef) -> bool {
        // ORDER: Relaxed. A guess for the CAS.
        let who = ProcessRef::from_bits(seat.who.load(Ordering::Relaxed));
        if !who.is_none() && !self.family.is_dead(who) {
            return false;
        }
        // ORDER: AcqRel: behind what the last guest did.
        let taken = seat
            .who
            .compare_exchange(who.bits(), me.bits(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if taken {
            hit(Point::ChainGuestCame);
        }
        taken
    }

    /// G2. False: the ring holds nonsense.
    fn visit(&self, seat: &Guest, index: u16) -> bool {
        // ORDER: Release, C1: what we did in the ring before comes before we leave it.
        seat.ring.store(index.into(), Ordering::Release);
        self.family.light_barrier();
        let word = self.storage.control(index).word();
        !word.is_there() || self.on(super::Place { index, word }, |queue| queue.sweep()).is_some()
    }

    /// Whether a living guest looks at ring `index`. The caller changed the ring's word, and a heavy barrier is behind it.
    pub(super) fn is_visited(&self, index: u16) -> bool {
        self.storage.head().guests.iter().any(|seat| {
            // ORDER: Acquire, C1: whoever left the ring did so behind its last access. The ring first: a seat that changes hands
            // between the two had left it.
            let ring = seat.ring.load(Ordering::Acquire);
            let who = ProcessRef::from_bits(seat.who.load(Ordering::Acquire));
            ring == u32::from(index) && !who.is_none() && !self.family.is_dead(who)
        })
    }
}

//! Lanes: one life word for each thread that touches the arena.
//!
//! | from → to | by | when |
//! |---|---|---|
//! | FREE → TAKEN(p) | a thread of p | first of all; then it looks at its process's word |
//! | TAKEN(p) → FREE | that thread | its process was declared dead, or the platform refused a life word |
//! | TAKEN(p) → PUBLISHED(p) | that thread | it holds the life word |
//! | PUBLISHED(p) → FREE | that thread | it ends cleanly and has given the life word back |
//! | PUBLISHED(p) → FREE or TAKEN(q) | anyone | p is dead and the life word is not held |
//! | TAKEN(p) → FREE or TAKEN(q) | anyone | p is dead |
//!
//! A TAKEN lane counts as the sign of a living thread, so nobody declares its process dead on the evidence of other
//! lanes. If p is dead nevertheless, then either the system said so and no thread of p is left, or the thread took the
//! lane after the declaration: then it sees that (F1) and does nothing but give the lane back.
//!
//! A *late* lane is taken by a thread that is already ending and cannot give it back. The kernel's mark on
//! it proves only that this thread is gone; it never counts as evidence that the process dies.

use super::registry::Registry;
use super::word::{LaneBits, LaneState, ProcessState};
use super::{Backend, Life};
use crate::points::{Point, hit};
use crate::prim::{Ordering, fence};
use crate::process::{Liveness, ProcessRef};
use crate::wait::Watch;

/// Why a thread has no lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneError {
    /// Every lane belongs to a living process.
    Full,
    /// The calling process was declared dead: it must never touch the arena again.
    Dead,
    /// The platform refused to make a life word.
    Refused,
}

/// What the lanes say about a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Evidence {
    /// A thread lives.
    Alive,
    /// At least one thread ended without a word, and no lane says that another lives.
    AllMarked,
    /// A thread ended without a word, so the process ends; but a lane that is being taken or given back may still have
    /// its thread.
    Ending,
    /// Nothing for sure: no lane at all, or only such as are being taken or given back.
    Undecided,
}

impl<'a, B: Backend + ?Sized> Registry<'a, B> {
    /// Takes a lane for the calling thread of this process; `late` if the thread is ending and cannot give it back.
    ///
    /// # Blocking and crash
    ///
    /// Does not block. Dying anywhere leaves a lane that names a dead process, which the next taker may take over.
    ///
    /// # Errors
    ///
    /// See [`LaneError`]; nothing is held then.
    pub fn take_lane(&self, late: bool) -> Result<usize, LaneError> {
        let lane = self.claim_lane().ok_or(LaneError::Full)?;
        hit(Point::JoinLaneTaken);
        let entry = &self.tables.lanes[lane];
        let taken = LaneBits::taken(self.me);
        // ORDER: F1. The claim above comes before the look at our process's word.
        fence(Ordering::SeqCst);
        if !self.clear_suspicion() {
            // ORDER: Release, F4.
            entry.word.change(taken, LaneBits::FREE, Ordering::Release);
            return Err(LaneError::Dead);
        }
        // SAFETY: we took the lane. Its life word is not held: it was FREE (given back before, or never used) or its
        // process is dead and the word not held; nobody else makes it, since the word says TAKEN by us and we live.
        if !unsafe { self.backend.hold_life(lane) } {
            // ORDER: Release, F4.
            entry.word.change(taken, LaneBits::FREE, Ordering::Release);
            return Err(LaneError::Refused);
        }
        // ORDER: Release, F4: whoever sees the lane published sees the life word held.
        entry.word.store(LaneBits::published(self.me, late), Ordering::Release);
        hit(Point::JoinLanePublished);
        Ok(lane)
    }

    /// Gives the calling thread's `lane` back.
    ///
    /// # Safety
    ///
    /// The calling thread took it with [`take_lane`](Self::take_lane) and gives it back once.
    pub unsafe fn release_lane(&self, lane: usize) {
        let Some(entry) = self.tables.lanes.get(lane) else { return };
        // SAFETY: the caller's promise: this thread holds the life word of its lane.
        unsafe { self.backend.release_life(lane) };
        for late in [false, true] {
            // ORDER: Release, F4. Fails if our process is dead and a newcomer was quicker; the lane is its own then.
            entry.word.change(
                LaneBits::published(self.me, late),
                LaneBits::FREE,
                Ordering::Release,
            );
        }
        hit(Point::LaneFreed);
    }

    /// How many lanes are not free, of living and dead processes.
    pub fn lanes_in_use(&self) -> usize {
        self.lanes().filter(|(_, bits)| bits.state() != LaneState::Free).count()
    }

    fn claim_lane(&self) -> Option<usize> {
        for (lane, entry) in self.tables.lanes.iter().enumerate() {
            loop {
                // ORDER: Acquire, F4.
                let bits = entry.word.load(Ordering::Acquire);
                if bits.state() != LaneState::Free && !self.is_abandoned(lane, bits) {
                    break;
                }
                // ORDER: Release, F1: a scan that sees our claim, or that we must not miss, covers this lane.
                self.tables.head.lane_high.fetch_max(lane as u32 + 1, Ordering::Release);
                // ORDER: AcqRel, F1 and F4.
                if entry.word.change(bits, LaneBits::taken(self.me), Ordering::AcqRel) {
                    return Some(lane);
                }
                // Another took it, or it was freed meanwhile, perhaps by our own finding that its process is dead.
            }
        }
        None
    }

    /// Whether a lane that is not free may be taken over.
    fn is_abandoned(&self, lane: usize, bits: LaneBits) -> bool {
        match bits.state() {
            LaneState::Free => false,
            LaneState::Taken => self.is_dead(bits.owner()) || bits.owner().is_none(),
            // A process that left is dead, but its threads may go on outside the arena with their life words held.
            LaneState::Published => {
                self.backend.life(lane) != Life::Held && self.is_dead(bits.owner())
            }
        }
    }

    /// Sets our process from SUSPECT to ALIVE; says whether it is in the arena still.
    fn clear_suspicion(&self) -> bool {
        let Some(entry) = self.tables.processes.get(usize::from(self.me.slot())) else {
            return false;
        };
        loop {
            // ORDER: Acquire; F1 by the fence before the call.
            let bits = entry.word.load(Ordering::Acquire);
            if bits.generation() != self.me.generation() {
                return false;
            }
            match bits.state() {
                ProcessState::Joining | ProcessState::Alive => return true,
                ProcessState::Free | ProcessState::Dead => return false,
                ProcessState::Suspect => {
                    // ORDER: AcqRel, with the suspecter's CAS from SUSPECT: only one of the two happens.
                    if entry.word.change(bits, bits.with(ProcessState::Alive), Ordering::AcqRel) {
                        return true;
                    }
                }
            }
        }
    }

    /// What the lanes say about `process`.
    pub(super) fn evidence(&self, process: ProcessRef) -> Evidence {
        let (mut marked, mut undecided) = (false, false);
        for (lane, bits) in self.lanes() {
            if bits.state() == LaneState::Free || bits.owner() != process {
                continue;
            }
            if bits.state() == LaneState::Taken {
                undecided = true;
                continue;
            }
            let life = self.backend.life(lane);
            if self.lane(lane) != bits {
                // Freed and taken by another in between: the life word is not this process's.
                undecided = true;
                continue;
            }
            match life {
                Life::Held => return Evidence::Alive,
                Life::Marked => marked |= !bits.is_late(),
                Life::Free => undecided = true,
            }
        }
        match (marked, undecided) {
            (true, false) => Evidence::AllMarked,
            (true, true) => Evidence::Ending,
            (false, _) => Evidence::Undecided,
        }
    }

    /// A held life word of `process`, its first lane's if possible.
    pub(super) fn held_life(&self, process: ProcessRef) -> Option<Watch<'a>> {
        let first = self.primary(process);
        let of_it = |lane: usize| {
            let bits = self.lane(lane);
            bits.state() == LaneState::Published && bits.owner() == process
        };
        first
            .into_iter()
            .chain(0..self.lanes_high())
            .filter(|lane| of_it(*lane))
            .find_map(|lane| self.backend.life_watch(lane))
    }

    /// Frees the lanes of a dead process: all that are abandoned, or every one if the system said that it is gone.
    pub(super) fn free_lanes(&self, dead: ProcessRef, gone: bool) {
        for (lane, bits) in self.lanes() {
            if bits.state() == LaneState::Free || bits.owner() != dead {
                continue;
            }
            if gone || self.backend.life(lane) != Life::Held {
                // ORDER: Release, F4.
                self.tables.lanes[lane].word.change(bits, LaneBits::FREE, Ordering::Release);
            }
        }
    }

    /// Frees the lanes that their next taker would take over.
    pub(super) fn free_abandoned_lanes(&self) {
        for (lane, bits) in self.lanes() {
            if self.is_abandoned(lane, bits) {
                // ORDER: Release, F4.
                self.tables.lanes[lane].word.change(bits, LaneBits::FREE, Ordering::Release);
            }
        }
    }

    /// Whether the first lane of `process` says that it lives: the short way of a look at a process.
    #[inline]
    pub(super) fn primary_lives(&self, process: ProcessRef) -> bool {
        self.primary(process).is_some_and(|lane| {
            let bits = self.lane(lane);
            bits.state() == LaneState::Published
                && bits.owner() == process
                && self.backend.life(lane) == Life::Held
        })
    }

    fn primary(&self, process: ProcessRef) -> Option<usize> {
        let entry = self.tables.processes.get(usize::from(process.slot()))?;
        // ORDER: Relaxed. A hint; the lane's own word says whose it is.
        let lane = (entry.primary.load(Ordering::Relaxed) as usize).checked_sub(1)?;
        (lane < self.tables.lanes.len()).then_some(lane)
    }

    #[inline]
    fn lane(&self, lane: usize) -> LaneBits {
        // ORDER: Acquire, F4.
        self.tables.lanes[lane].word.load(Ordering::Acquire)
    }

    fn lanes_high(&self) -> usize {
        // ORDER: Acquire, F1. A peer may have written nonsense: never beyond the table.
        let high = self.tables.head.lane_high.load(Ordering::Acquire) as usize;
        high.min(self.tables.lanes.len())
    }

    fn lanes(&self) -> impl Iterator<Item = (usize, LaneBits)> + '_ {
        (0..self.lanes_high()).map(|lane| (lane, self.lane(lane)))
    }
}

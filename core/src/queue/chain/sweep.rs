//! Repair after deaths, in all rings; only then the dead's indices are free.

use super::Chain;
use super::pin::Pins;
use super::storage::{ChainStorage, high};
use super::word::{Link, RingState};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::process::ProcessRef;
use crate::wait::Family;

/// Dead members whose indices one pass frees; more are done by the next pass.
const MOST_FREED: usize = 32;

impl<S: ChainStorage, F: Family> Chain<'_, S, F> {
    /// Looks whether any member died unnoticed, and repairs what the dead left; as [`Queue::recover`](super::Queue::recover).
    pub fn recover(&self) -> bool {
        let mut dead = false;
        for (index, process) in self.storage.members().iter() {
            dead |= index != self.me && self.family.is_dead(process);
        }
        if dead {
            self.sweep();
            return true;
        }
        self.sweep_if_due()
    }

    /// Sweeps if a death was noticed since the last sweep. True if it swept.
    #[inline(always)]
    pub fn sweep_if_due(&self) -> bool {
        // ORDER: Acquire, Q6.
        let swept = self.storage.head().calm.swept.load(Ordering::Acquire);
        if self.family.death_epoch() == swept {
            return false;
        }
        self.sweep();
        true
    }

    /// Repairs every word that names a dead member, frees the dead's indices, and wakes who may go on because of it.
    #[cold]
    pub fn sweep(&self) {
        let calm = &self.storage.head().calm;
        loop {
            let epoch = self.family.death_epoch();
            // Who is dead *before* the pass: only their indices are free after it.
            let mut dead = [(0_u16, ProcessRef::NONE); MOST_FREED];
            let (mut count, mut more) = (0, false);
            for (index, process) in self.storage.members().iter() {
                if index != self.me && self.family.is_dead(process) {
                    let Some(next) = dead.get_mut(count) else {
                        more = true;
                        break;
                    };
                    *next = (index, process);
                    count += 1;
                }
            }
            hit(Point::SweepBegun);
            self.sweep_pins();
            let mut whole = true;
            for index in 1..=high(self.storage) {
                self.sweep_control(index);
                // What the dead left in a ring that is not there yet, or no more, is nothing.
                let mut pins = Pins::default();
                match self.enter_any(index, &mut pins) {
                    Ok(Some(at)) => {
                        self.on(at, |queue| queue.sweep());
                        self.unpin_all(&mut pins);
                        self.try_free(index);
                    }
                    Ok(None) => {}
                    Err(_) => whole = false,
                }
            }
            if !whole {
                return; // no pin was to be had: whoever comes next sweeps
            }
            for (index, process) in &dead[..count] {
                self.storage.members().free_if(*index, *process);
                hit(Point::SweepMemberFreed);
            }
            if !more {
                // ORDER: Release, Q6. Monotone in the sense of a wrapping count; a value ahead of the epoch was never swept for.
                let mut seen = calm.swept.load(Ordering::Relaxed);
                while (epoch.wrapping_sub(seen) as i32) > 0
                    || (self.family.death_epoch().wrapping_sub(seen) as i32) < 0
                {
                    match calm.swept.compare_exchange(
                        seen,
                        epoch,
                        Ordering::Release,
                        Ordering::Relaxed,
                    ) {
                        Ok(_) => break,
                        Err(now) => seen = now,
                    }
                }
            }
            hit(Point::ChainSwept);
            calm.readers.notify_all(self.family);
            calm.writers.notify_all(self.family);
            calm.rooms.notify_all(self.family);
            if !more {
                return;
            }
        }
    }

    /// CS: what a dead owner left half-done with ring `index`.
    pub(super) fn sweep_control(&self, index: u16) {
        let control = self.storage.control(index);
        let w = control.word();
        if w.owner() == 0 || !self.dead(w.owner()) {
            return;
        }
        match w.state() {
            RingState::Owned => {
                let region = control.region();
                if control.swap(w, w.to(RingState::Free, 0)) {
                    hit(Point::ChainRingFree);
                    // Perhaps the name of an earlier ring, which leads nowhere any more.
                    self.storage.free(region);
                }
            }
            RingState::Offered => {
                // ORDER: Relaxed. Written before OFFERED, C2.
                let before = Link(control.before.load(Ordering::Relaxed));
                // Linked, it stays so until the ring before is used again, and who retired that one has made this one LIVE. Not
                // linked, it never will be: its owner is dead.
                let linked = self.is_ring(before)
                    && self.storage.control(before.index()).next()
                        == Link::new(index, w.generation());
                let to = if linked { RingState::Live } else { RingState::Retired };
                if control.swap(w, w.to(to, 0)) {
                    hit(if linked { Point::ChainPromoted } else { Point::ChainLost });
                }
            }
            RingState::Dying if control.swap(w, w.to(RingState::Retired, 0)) => {
                hit(Point::ChainSpared);
            }
            _ => {}
        }
    }
}

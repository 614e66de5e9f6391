//! The family lock: one word that names its holder, taken over when that process is dead.
//!
//! It guards the region table and the members of regions; nothing on the path of a message takes it. Its holder
//! may die anywhere: the next one sees the dead name, takes the lock over by CAS and [repairs](Registry::lock).
//! Threads of one process exclude each other by the same word.
//!
//! A sleeper watches the lives of *all* processes, not the holder's alone: the one whom the kernel wakes for a dead holder
//! may be killed before it says so, and then its own life word must wake the next.

use super::Backend;
use super::registry::Registry;
use crate::block_on::block;
use crate::points::{Point, hit};
use crate::prim::{Ordering, fence};
use crate::process::{Liveness, ProcessRef};
use crate::wait::Adaptive;

/// Proof that this thread holds the family lock; dropping it frees the lock, and collects if a death made that due.
#[must_use = "the family lock is free again when this is dropped"]
#[derive(Debug)]
pub struct Locked<'r, 'a, B: Backend + ?Sized> {
    pub(super) registry: &'r Registry<'a, B>,
}

impl<'a, B: Backend + ?Sized> Registry<'a, B> {
    /// Takes the family lock.
    ///
    /// # Blocking and crash
    ///
    /// Blocks while a living process holds the lock: a *stopped* holder stops everybody who makes, joins, leaves or frees
    /// regions, and nobody else. A dead holder's half-done step is repaired before this returns.
    ///
    /// # Panics
    ///
    /// If the calling thread has no lane (see [`Registry::newcomer`]).
    pub fn lock(&self) -> Locked<'_, 'a, B> {
        assert!(self.has_lane, "the family lock needs a thread with a lane");
        let spin = Adaptive::new();
        block(self, &self.tables.head.lock_event, || self.others(), &spin, || self.try_lock())
    }

    /// Takes the family lock if nobody alive holds it; `None` at once otherwise, or without a lane.
    pub fn try_lock(&self) -> Option<Locked<'_, 'a, B>> {
        if !self.has_lane {
            return None;
        }
        let word = &self.tables.head.lock;
        // ORDER: Relaxed. A guess for the CAS.
        let seen = word.load(Ordering::Relaxed);
        let holder = ProcessRef::from_bits(seen);
        if seen != 0 && !self.is_over(holder) {
            return None;
        }
        // ORDER: Acquire, F5: the last holder's table; of a dead one by F2, too.
        word.compare_exchange(seen, self.me.bits(), Ordering::AcqRel, Ordering::Relaxed).ok()?;
        let locked = Locked { registry: self };
        if seen == 0 {
            hit(Point::LockTaken);
        } else {
            hit(Point::LockTakenOver);
            locked.repair();
        }
        Some(locked)
    }

    /// Whether a holder is nobody (a word that no holder wrote) or dead.
    fn is_over(&self, holder: ProcessRef) -> bool {
        holder.is_none() || self.is_dead(holder)
    }

    /// Collects if a death made it due and the lock is free. If it is not, its holder does it when it frees the lock.
    pub fn settle(&self) {
        while self.is_collection_due() {
            let Some(locked) = self.try_lock() else { return };
            let done = locked.collect();
            locked.free();
            if !done {
                return;
            }
        }
    }

    fn is_collection_due(&self) -> bool {
        let head = self.tables.head;
        // ORDER: Acquire, F6 by the fences of `finish_death` and `unlock`.
        head.collected.load(Ordering::Acquire) != head.epoch.load(Ordering::Acquire)
    }

    fn unlock(&self) {
        let head = self.tables.head;
        hit(Point::LockBeforeFree);
        // ORDER: Release, F5. A CAS, since a forked child that unwinds out of here must free nothing.
        let freed =
            head.lock.compare_exchange(self.me.bits(), 0, Ordering::Release, Ordering::Relaxed);
        // ORDER: F6. The release comes before a look at the epoch.
        fence(Ordering::SeqCst);
        if freed.is_ok() {
            hit(Point::LockFreed);
            head.lock_event.notify_one(self.backend);
        }
    }
}

impl<B: Backend + ?Sized> Locked<'_, '_, B> {
    /// Frees the lock and collects nothing.
    fn free(self) {
        let registry = *self.registry;
        core::mem::forget(self);
        registry.unlock();
    }
}

impl<B: Backend + ?Sized> Drop for Locked<'_, '_, B> {
    fn drop(&mut self) {
        self.registry.unlock();
        self.registry.settle();
    }
}

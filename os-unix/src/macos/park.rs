//! Sleeping on words of the arena until another process changes them, and waking: [`offspring_core::parking`] over one bell
//! a lane, a word that its thread sleeps on. macOS; type-checked, not run.
//!
//! A sleeper parks, which records the words that it sleeps on, looks at them once more, and sleeps on its bell; a waker chooses
//! parked lanes by the recorded words and rings them. The kinds of words, each treated in its own way:
//!
//! - *the death epoch*: everybody sleeps on it. A wake of it is a death notice: it ends the sleeps of the gone, then rings all
//!   who sleep.
//! - *life words*: nobody writes them when a process dies. The process's watcher does, when it is told of the end.
//! - *other words* of the arena: up to [`MOST_NAMES`] are recorded.
//!
//! What can be neither (a word outside of the arena, a fifth word, a process that may not be watched, a thread without a lane)
//! is looked at again every [`RECHECK`].

use crate::futex;
use crate::life::{self, Place, Places};
use crate::watcher::{self, Told};
use offspring_core::family::{Life, Tables};
use offspring_core::parking::{Bell, Bucket, Lot, MOST_NAMES, Names};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Watch, Woken};

/// How many words one wait can sleep on, life words included.
pub const MOST_WATCHES: usize = 128;

/// How long a sleeper trusts notices when it cannot sleep on all of its words, in nanoseconds.
pub const RECHECK: u64 = 100_000_000;

/// What sleepers and wakers of one arena need.
#[derive(Clone, Copy, Debug)]
pub struct Parking<'a> {
    /// The family's tables.
    pub tables: Tables<'a>,
    /// The arena's buckets.
    pub buckets: &'a [Bucket],
}

/// What the watches ask for.
#[derive(Default)]
struct Plan<'a> {
    names: Names,
    watched: Vec<(&'a Place, life::Holder)>,
    /// Not all can be slept on.
    recheck: bool,
    /// A process is gone already.
    over: bool,
}

impl<'a> Parking<'a> {
    fn lot(&self) -> Lot<'a, Places<'a>> {
        Lot::new(Places(self.tables), self.buckets)
    }

    /// The name of a word: its offset in the arena.
    fn name(&self, word: &AtomicU32) -> Option<u64> {
        let base = std::ptr::from_ref(self.tables.head).addr();
        let offset = std::ptr::from_ref(word).addr().checked_sub(base)? as u64;
        (offset != 0 && offset < self.tables.arena_len).then_some(offset)
    }

    fn is_epoch(&self, word: &AtomicU32) -> bool {
        std::ptr::eq(word, &*self.tables.head.epoch)
    }

    /// Sleeps while every word holds what was seen, until `until` at the latest. `lane` is the calling thread's.
    #[must_use]
    pub fn wait(
        &self,
        lane: Option<usize>,
        watches: &[Watch<'_>],
        until: Option<Deadline>,
    ) -> Woken {
        let mut plan = self.plan(watches);
        if plan.over {
            return Woken::Maybe;
        }
        let mine = lane.and_then(|lane| Some((lane, life::place(&self.tables, lane)?)));
        let Some((lane, place)) = mine else { return wait_without_lane(watches, until) };
        // ORDER: Acquire, with who rings. Read before the words are looked at: a ring that comes after ends the sleep.
        let seen = place.bell.load(Ordering::Acquire);
        let Some(parked) = self.lot().park(lane, &plan.names) else {
            return wait_without_lane(watches, until);
        };
        let told = watch(&mut plan, &place.bell);
        let woken = if plan.over || changed(watches) {
            Woken::Maybe
        } else {
            sleep(&place.bell, seen, plan.recheck, until)
        };
        drop(told);
        // Chosen while the time ran out: the wake is this sleeper's, and it must look.
        if self.lot().unpark(parked) { Woken::Maybe } else { woken }
    }

    fn plan(&self, watches: &[Watch<'_>]) -> Plan<'a> {
        let mut plan = Plan::default();
        let mut names = 0;
        for watch in watches {
            if self.is_epoch(watch.word) {
                continue;
            }
            if let Some(lane) = life::lane_of(&self.tables, watch.word) {
                let Some(place) = life::place(&self.tables, lane) else { continue };
                match place.holder().filter(|holder| holder.word == watch.seen) {
                    // Changed since it was seen.
                    None => plan.over = true,
                    Some(holder) if holder.is_self() => {}
                    Some(holder) => plan.watched.push((place, holder)),
                }
                continue;
            }
            match self.name(watch.word) {
                Some(name) if names < MOST_NAMES => {
                    plan.names[names] = name;
                    names += 1;
                }
                _ => plan.recheck = true,
            }
        }
        plan
    }

    /// Wakes at most `most` sleepers on `word`; says how many it woke.
    pub fn wake(&self, word: &AtomicU32, most: u32, from: usize) -> u32 {
        let mut bell = self;
        if self.is_epoch(word) {
            return self.lot().notice(&mut bell);
        }
        if life::lane_of(&self.tables, word).is_some() {
            return 0;
        }
        self.name(word).map_or(0, |name| self.lot().wake(name, most, from, &mut bell))
    }

    /// Makes `lane` ready for the calling thread, which has taken it, and holds its life word; `false` beyond the table.
    #[must_use]
    pub fn hold(&self, lane: usize, identity: u64) -> bool {
        let Some(place) = life::place(&self.tables, lane) else { return false };
        self.lot().take_over(lane);
        place.hold(identity);
        true
    }

    /// Gives the life word of `lane` back.
    pub fn release(&self, lane: usize) {
        if let Some(place) = life::place(&self.tables, lane) {
            place.release();
        }
    }
}

impl Bell for &Parking<'_> {
    fn is_gone(&mut self, lane: usize) -> bool {
        life::place(&self.tables, lane).is_none_or(|place| place.life() != Life::Held)
    }

    fn ring(&mut self, lane: usize) -> bool {
        let place = life::place(&self.tables, lane).filter(|place| place.holder().is_some());
        place.inspect(|place| watcher::ring(&place.bell)).is_some()
    }
}

/// Asks to be told of the ends of those that are watched, while what it gives lives.
fn watch<'a>(plan: &mut Plan<'a>, bell: &'a AtomicU32) -> Vec<Told<'a>> {
    let mut told = Vec::with_capacity(plan.watched.len());
    for (place, holder) in &plan.watched {
        match watcher::tell(place, *holder, bell) {
            Ok(Some(one)) => told.push(one),
            Ok(None) => {
                // It may live under its number and not be watched any more: the system decides.
                if holder.is_gone() {
                    place.mark(holder);
                }
                plan.over = true;
            }
            Err(_) => plan.recheck = true,
        }
    }
    told
}

fn sleep(bell: &AtomicU32, seen: u32, recheck: bool, until: Option<Deadline>) -> Woken {
    let soon = recheck.then(|| futex::now().after(RECHECK));
    let cut = match (soon, until) {
        (Some(soon), Some(until)) => Some(soon.min(until)),
        (soon, until) => soon.or(until),
    };
    match (futex::wait(bell, seen, cut), until) {
        (Woken::TimedOut, Some(until)) if futex::now() >= until => Woken::TimedOut,
        _ => Woken::Maybe,
    }
}

/// For a thread that nobody can wake: looks again after a while.
fn wait_without_lane(watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
    if changed(watches) {
        return Woken::Maybe;
    }
    let soon = futex::now().after(RECHECK);
    let cut = until.map_or(soon, |until| until.min(soon));
    std::thread::sleep(std::time::Duration::from_nanos(cut.0.saturating_sub(futex::now().0)));
    match until {
        Some(until) if futex::now() >= until => Woken::TimedOut,
        _ => Woken::Maybe,
    }
}

/// Whether a word does not hold what was seen in it any more.
fn changed(watches: &[Watch<'_>]) -> bool {
    // ORDER: Acquire. Sees what was stored before the change; the parking's fence (K1) came before.
    watches.iter().any(|watch| watch.word.load(Ordering::Acquire) != watch.seen)
}

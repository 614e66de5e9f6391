//! Sleeping on words of the arena until another process changes them, and waking: [`offspring_core::parking`] over one event a
//! lane, and process handles in the place of life words.
//!
//! `WaitOnAddress` works inside one process only, so a sleeper waits for its lane's event. It parks, which records the words
//! that it sleeps on, looks at them once more, and sleeps; a waker chooses parked lanes by the recorded words and sets their
//! events. The kinds of words, each treated in its own way:
//!
//! - *the death epoch*: everybody sleeps on it. A wake of it is a death notice: it ends the sleeps of the gone, then sets the
//!   events of all who sleep.
//! - *life words*: nobody writes them when a process dies. A sleeper waits for the process's handle in their place and, when
//!   that is signalled, marks the word. So a wake of a life word has nothing to do.
//! - *other words* of the arena: up to [`MOST_NAMES`] are recorded.
//!
//! What can be neither (a word outside of the arena, a fifth word, a process that may not be opened, a thread without a lane)
//! is looked at again every [`RECHECK`].

use crate::clock;
use crate::event::Events;
use crate::life::{self, Holder, Place, Places};
use crate::peers::{Known, Peer, Peers};
use offspring_core::family::{Life, Tables};
use offspring_core::parking::{Bell, Bucket, Lot, MOST_NAMES, Names};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Watch, Woken};
use std::os::windows::io::AsRawHandle;
use std::sync::Arc;
use std::time::Duration;
use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::WaitForMultipleObjects;

/// How many words one wait can sleep on, life words included.
pub const MOST_WATCHES: usize = 128;

/// How long a sleeper trusts notices when it cannot sleep on all of its words, in nanoseconds.
pub const RECHECK: u64 = 100_000_000;

/// Handles that one system call can wait for.
const MOST_HANDLES: usize = 64;

/// What sleepers and wakers of one arena need.
#[derive(Debug)]
pub struct Parking<'a> {
    /// The family's tables.
    pub tables: Tables<'a>,
    /// The arena's buckets.
    pub buckets: &'a [Bucket],
    /// The family's random number, for the events' names.
    pub family: u64,
    /// This process's handles on events.
    pub events: &'a Arc<Events>,
    /// This process's handles on processes.
    pub peers: &'a Peers,
}

/// A process whose end ends the sleep, and the place that says it lives.
struct Watched<'a> {
    place: &'a Place,
    holder: Holder,
    peer: Arc<Peer>,
}

/// What the watches ask for.
#[derive(Default)]
struct Plan<'a> {
    names: Names,
    watched: Vec<Watched<'a>>,
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
        let event = lane.and_then(|lane| self.events.own(lane));
        let Some((event, parked)) =
            event.and_then(|event| Some((event, self.lot().park(lane?, &plan.names)?)))
        else {
            return self.wait_without_lane(watches, until);
        };
        let woken = if changed(watches) {
            Woken::Maybe
        } else {
            self.sleep(event.as_raw_handle(), &mut plan, until)
        };
        // Chosen while the time ran out: the wake is this sleeper's, and it must look. A chosen sleeper's event may be
        // set still; then its next sleep ends early.
        if self.lot().unpark(parked) { Woken::Maybe } else { woken }
    }

    fn plan<'w>(&self, watches: &[Watch<'w>]) -> Plan<'a> {
        let mut plan = Plan::default();
        let mut names = 0;
        for watch in watches {
            if self.is_epoch(watch.word) {
                continue;
            }
            if let Some(lane) = life::lane_of(&self.tables, watch.word) {
                self.plan_life(lane, watch.seen, &mut plan);
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

    fn plan_life(&self, lane: usize, seen: u32, plan: &mut Plan<'a>) {
        let Some(place) = life::place(&self.tables, lane) else { return };
        let Some(holder) = place.holder().filter(|holder| holder.word == seen) else {
            // Changed since it was seen: `changed` says so as well.
            plan.over = true;
            return;
        };
        if holder.is_self() {
            return;
        }
        match self.peers.get(holder.pid, holder.identity) {
            Known::Peer(peer) => plan.watched.push(Watched { place, holder, peer }),
            Known::Gone => {
                place.mark(&holder);
                plan.over = true;
            }
            Known::Unknown => plan.recheck = true,
        }
    }

    /// Waits for the event, the end of a watched process, or `until`.
    fn sleep(&self, event: HANDLE, plan: &mut Plan<'a>, until: Option<Deadline>) -> Woken {
        let mut handles = [event; MOST_HANDLES];
        let direct = plan.watched.len().min(MOST_HANDLES - 1);
        for (handle, watched) in handles[1..].iter_mut().zip(&plan.watched) {
            *handle = watched.peer.process().handle().as_raw_handle();
        }
        let by_pool = &plan.watched[direct..];
        for watched in by_pool {
            plan.recheck |= !watched.peer.watch_by_pool(self.events);
        }
        loop {
            // After the pool was told, before the sleep: what it saw before is seen here, and later it rings.
            if let Some(over) = by_pool.iter().find(|watched| watched.peer.was_seen_gone()) {
                over.place.mark(&over.holder);
                return Woken::Maybe;
            }
            let soon = plan.recheck.then(|| clock::now().after(RECHECK));
            let cut = match (until, soon) {
                (Some(until), Some(soon)) => Some(until.min(soon)),
                (until, soon) => until.or(soon),
            };
            let millis = clock::millis_until(cut);
            // SAFETY: that many handles, open as long as `plan` and the caller's event are.
            let told =
                unsafe { WaitForMultipleObjects(direct as u32 + 1, handles.as_ptr(), 0, millis) };
            match told {
                WAIT_TIMEOUT => {
                    let now = clock::now();
                    if until.is_some_and(|until| now >= until) {
                        return Woken::TimedOut;
                    }
                    if soon.is_some_and(|soon| now >= soon) {
                        return Woken::Maybe;
                    }
                }
                WAIT_OBJECT_0 => return self.rung(by_pool),
                WAIT_FAILED => {
                    // No handle of ours is bad; whatever it is, let some time pass and look again.
                    std::thread::sleep(Duration::from_millis(1));
                    return Woken::Maybe;
                }
                index => {
                    if let Some(over) = plan.watched.get((index - WAIT_OBJECT_0) as usize - 1) {
                        over.place.mark(&over.holder);
                    }
                    return Woken::Maybe;
                }
            }
        }
    }

    fn rung(&self, by_pool: &[Watched<'a>]) -> Woken {
        for watched in by_pool.iter().filter(|watched| watched.peer.was_seen_gone()) {
            watched.place.mark(&watched.holder);
        }
        Woken::Maybe
    }

    /// For a thread that nobody can wake: looks again after a while.
    fn wait_without_lane(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        if changed(watches) {
            return Woken::Maybe;
        }
        let soon = clock::now().after(RECHECK);
        let cut = until.map_or(soon, |until| until.min(soon));
        std::thread::sleep(Duration::from_nanos(cut.0.saturating_sub(clock::now().0)));
        match until {
            Some(until) if clock::now() >= until => Woken::TimedOut,
            _ => Woken::Maybe,
        }
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

    /// Whether the thread of `lane` sleeps, or is about to, and no waker has chosen it.
    #[must_use]
    pub fn is_asleep(&self, lane: usize) -> bool {
        self.lot().is_unwoken(lane)
    }

    /// Makes `lane` ready for the calling thread, which has taken it, and holds its life word; `false` if it has no event.
    #[must_use]
    pub fn hold(&self, lane: usize) -> bool {
        let Some(place) = life::place(&self.tables, lane) else { return false };
        self.lot().take_over(lane);
        place.hold(|sequence| self.events.make(self.family, lane, sequence)).is_ok()
    }

    /// Gives the life word of `lane` back.
    pub fn release(&self, lane: usize) {
        if let Some(place) = life::place(&self.tables, lane) {
            place.release();
        }
        self.events.forget(lane);
    }
}

impl Bell for &Parking<'_> {
    fn is_gone(&mut self, lane: usize) -> bool {
        let ask =
            |holder: &Holder| self.peers.is_gone(holder.pid, holder.identity).unwrap_or(false);
        life::place(&self.tables, lane).is_none_or(|place| place.life(ask) != Life::Held)
    }

    fn ring(&mut self, lane: usize) -> bool {
        life::place(&self.tables, lane)
            .and_then(Place::holder)
            .is_some_and(|holder| self.events.ring(self.family, lane, holder.sequence()))
    }
}

/// Whether a word does not hold what was seen in it any more.
fn changed(watches: &[Watch<'_>]) -> bool {
    // ORDER: Acquire. Sees what was stored before the change; the parking's fence (K1) came before.
    watches.iter().any(|watch| watch.word.load(Ordering::Acquire) != watch.seen)
}

//! Sleeping until another process changes a word: what a platform must offer, and the event count on top.
//!
//! The uncontended path never gets here. A waiter spins a little, then *arms* the event count of what it
//! waits for, looks once more, and sleeps on three kinds of words at once: the event count, the family's
//! death epoch, and the life words of the processes that could owe it something.
//!
//! # Orderings
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | W1 | publisher: store of the item, light barrier, load of the event count | waiter: `fetch_or` of the event count, heavy barrier, look at the item | one of the two sees the other |
//! | W2 | publisher: `fetch_add` (Release) | waiter: load of the key (Acquire) | what was published |

use crate::points::{Point, hit};
use crate::prim::{AtomicU32, Ordering, spin};
use crate::process::{Liveness, ProcessRef};

/// A point of the machine's monotonic clock, in nanoseconds; the same in every process of the family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(pub u64);

impl Deadline {
    /// This much later; saturates at the end of time.
    #[must_use]
    pub const fn after(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// A word to sleep on, and the value seen in it.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The word.
    pub word: &'a AtomicU32,
    /// Sleep only while the word holds this.
    pub seen: u32,
}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// A word changed, somebody woke the sleeper, or nothing happened at all: look again.
    Maybe,
    /// The deadline passed.
    TimedOut,
}

/// Sleep and wake on words that several processes share.
///
/// # Safety
///
/// Implementors promise: W1 a wake begun after a word changed ends every wait that saw the old value of
/// it; W2 a wait may end early, callers look again; W3 both hold when the word is mapped at different
/// addresses; W4 a wait ends soon after its deadline; W5 of a light barrier in one participant and a heavy one
/// in another, each between a store and a load, at least one of the two loads sees the other's store; W6 a wake of at
/// most n, begun after a word changed, ends the waits of n sleepers that saw the old value, or of all if there are fewer, and
/// says no more than n.
pub unsafe trait Wait {
    /// How many words one wait can watch, at least 2.
    const MOST_WATCHES: usize = 128;

    /// Sleeps while every word holds what was seen, until `until` at the latest.
    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken;

    /// Wakes at most `most` sleepers on `word`; says how many it woke.
    fn wake(&self, word: &AtomicU32, most: u32) -> u32;

    /// Now.
    fn now(&self) -> Deadline;

    /// Whether the calling thread may run on one processor only, so that spinning keeps those from running that it waits for, if
    /// they run there.
    fn is_alone(&self) -> bool {
        false
    }

    /// The publisher's side of the asymmetric barrier: free where the platform has one.
    fn light_barrier(&self);

    /// The sleeper's side: may cost a system call.
    fn heavy_barrier(&self);
}

/// The family that an object lives in, as the object's protocol sees it from one of its processes.
///
/// # Safety
///
/// Implementors promise, besides [`Liveness`] and [`Wait`]: F1 `death_epoch` is the value of `epoch_word`;
/// F2 whoever first finds out that a process is dead (in `is_dead`, too) raises the epoch and wakes all that
/// sleep on it before it goes on; F3 the word of a `life_watch` changes, and one sleeper on it is woken, when
/// a thread of that process ends without having said so; F4 after a process became a member of an object, and before
/// it does anything with it, the word of `newcomers_word` changes and all that sleep on it are woken.
pub unsafe trait Family: Liveness + Wait {
    /// The caller.
    fn me(&self) -> ProcessRef;

    /// The word that counts the deaths noticed.
    fn epoch_word(&self) -> &AtomicU32;

    /// The word that counts the members that came, `None` where none comes while others sleep.
    fn newcomers_word(&self) -> Option<&AtomicU32> {
        None
    }

    /// A life word of `process` to sleep on, if it has one that still says alive.
    fn life_watch(&self, process: ProcessRef) -> Option<Watch<'_>>;

    /// How long a sleeper trusts the notices before it looks again, in nanoseconds.
    fn backstop(&self) -> u64;
}

const WAITERS: u32 = 1;
const STEP: u32 = 2;

/// A count of events with a mark that somebody sleeps: `count << 1 | waiters`.
///
/// The mark is never a number of sleepers, so a dead one costs at most two wasted system calls, after which
/// the mark is gone. A wake that a dying sleeper swallowed is made good by the death notice, which wakes all.
#[derive(Debug)]
#[repr(transparent)]
pub struct EventCount(AtomicU32);

impl EventCount {
    /// No event, nobody sleeps.
    #[cfg(not(offspring_loom))]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// No event, nobody sleeps.
    #[cfg(offspring_loom)]
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The word to watch.
    pub fn word(&self) -> &AtomicU32 {
        &self.0
    }

    /// Says that the caller is about to sleep, and returns the key to sleep with.
    ///
    /// The caller must look at its condition again before it sleeps; the heavy barrier between is in here.
    pub fn arm<W: Wait + ?Sized>(&self, platform: &W) -> u32 {
        // ORDER: AcqRel, W2 with the `fetch_add` in `notify_slow`; the barrier below is W1's.
        let key = self.0.fetch_or(WAITERS, Ordering::AcqRel) | WAITERS;
        hit(Point::WaitArmed);
        platform.heavy_barrier();
        key
    }

    /// Wakes one sleeper, if there may be one. Call after the store that made its condition true.
    #[inline(always)]
    pub fn notify_one<W: Wait + ?Sized>(&self, platform: &W) {
        platform.light_barrier();
        // ORDER: Relaxed. W1 orders it after the caller's store; nothing is read through it.
        if self.0.load(Ordering::Relaxed) & WAITERS != 0 {
            self.notify_slow(platform, 1);
        }
    }

    /// Wakes as many sleepers as that many events can use, if there may be any. Call after the stores.
    #[inline]
    pub fn notify_many<W: Wait + ?Sized>(&self, platform: &W, events: usize) {
        platform.light_barrier();
        // ORDER: Relaxed, as in `notify_one`.
        if self.0.load(Ordering::Relaxed) & WAITERS != 0 {
            self.notify_slow(platform, u32::try_from(events).unwrap_or(u32::MAX));
        }
    }

    /// Wakes every sleeper. Call after the store that made their condition true.
    #[inline(always)]
    pub fn notify_all<W: Wait + ?Sized>(&self, platform: &W) {
        platform.light_barrier();
        // ORDER: Relaxed, as in `notify_one`.
        if self.0.load(Ordering::Relaxed) & WAITERS != 0 {
            self.notify_slow(platform, u32::MAX);
        }
    }

    #[cold]
    fn notify_slow<W: Wait + ?Sized>(&self, platform: &W, most: u32) {
        // ORDER: AcqRel, W2: a sleeper that reads the new count sees what was published.
        let counted = self.0.fetch_add(STEP, Ordering::AcqRel).wrapping_add(STEP);
        hit(Point::NotifyCounted);
        let woken = platform.wake(&self.0, most);
        hit(Point::NotifyWoken);
        if woken == 0 || most == u32::MAX {
            // Nobody sleeps at this count (any more): take the mark away, unless somebody armed or counted since.
            // That counts as well: else a waiter could arm, the mark be cleared, events be published to nobody, another
            // waiter arm, and the word be back at the first one's key while it has not slept yet.
            let cleared_word = (counted & !WAITERS).wrapping_add(STEP);
            // ORDER: AcqRel. A failure means that another notifier or waiter is at work and has the duty.
            let cleared = self
                .0
                .compare_exchange(counted, cleared_word, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
            if cleared {
                hit(Point::NotifyCleared);
                // A waiter that armed before the clear, and whose `fetch_or` changed nothing, may be going to
                // sleep with a key that still has the mark: the clear changes the word, so its wait refuses;
                // one that slept between our wake and the clear is woken here.
                platform.wake(&self.0, u32::MAX);
            }
        }
    }
}

#[cfg(not(offspring_loom))]
const _: () = assert!(size_of::<EventCount>() == 4);

impl Default for EventCount {
    fn default() -> Self {
        Self::new()
    }
}

/// How many turns to spin before sleeping, learned from how long it took before.
///
/// A spin that succeeded moves the guess to twice what it took. A spin that failed says nothing by itself; the sleep behind it
/// does: a short one (or one that was refused, since what was waited for had come) would have been spared by a longer spin,
/// so the guess doubles; a long one makes it smaller.
///
/// How long to wait between two looks is learned, too. Each look takes the line away from the one who is about to write it, so
/// in a stream it pays to look rarely and find several things at once; in a conversation it pays to look at once. Every
/// sixteenth wait tries the long pause; it stays as long as more than one thing is there afterwards ([`found`](Self::found)).
///
/// A caller that may run on one processor only spins in vain if the one that it waits for runs there as well. Where that one
/// runs is not known, but shows: only from another processor can something come while the caller spins. Every 64th wait tries
/// that for 2 µs, which costs a pair that shares a processor one part in a hundred.
#[derive(Debug)]
pub struct Adaptive {
    guess: AtomicU32,
    waits: AtomicU32,
    first_pause: AtomicU32,
    /// Waits of a caller that is bound to one processor.
    bound_waits: AtomicU32,
    /// How many spins of such a caller may still fail before it spins no more; 0: it does not spin.
    elsewhere: AtomicU32,
    patient: bool,
}

const LONG_PAUSE: u32 = 64;
const PROBE_EVERY: u32 = 16;
const BOUND_PROBE_EVERY: u32 = 64;
const PROBE_TURNS: u32 = 128;
const MOST_CHANCES: u32 = 8;

/// Turns of the longest and of the shortest spin: on current x86-64 (16 ns a turn on the machine this was measured on) 65 µs, about what
/// waking an idle core costs; and 16 µs, about what going to sleep and being woken costs both sides in system calls, so that
/// spinning in vain at most doubles the price of a sleep.
const MOST_TURNS: u32 = 4096;
const FEWEST_TURNS: u32 = 1024;
const FIRST_GUESS: u32 = 1024;
/// A sleep shorter than this costs more than spinning through it: two system calls on each side, and the waking of a core.
const SHORT_SLEEP: u64 = 20_000;

impl Adaptive {
    /// Looks again after 1 turn, then 2, 4, … 64: for who waits for something to come.
    #[cfg(not(offspring_loom))]
    pub const fn new() -> Self {
        Self {
            guess: AtomicU32::new(FIRST_GUESS),
            waits: AtomicU32::new(0),
            first_pause: AtomicU32::new(1),
            bound_waits: AtomicU32::new(0),
            elsewhere: AtomicU32::new(0),
            patient: false,
        }
    }

    /// Looks again after 1 turn, then 2, 4, … 64: for who waits for something to come.
    #[cfg(offspring_loom)]
    pub fn new() -> Self {
        Self {
            guess: AtomicU32::new(FIRST_GUESS),
            waits: AtomicU32::new(0),
            first_pause: AtomicU32::new(1),
            bound_waits: AtomicU32::new(0),
            elsewhere: AtomicU32::new(0),
            patient: false,
        }
    }

    /// Looks again after 64 turns each: for who waits for room in something that is full. Each look takes the line away from
    /// the one who makes the room, and there are microseconds of work in what is full.
    pub fn patient() -> Self {
        Self { patient: true, ..Self::new() }
    }

    /// Tries `attempt` until it gives something or spinning does not pay any more; once, where it never pays.
    #[inline]
    pub fn spin<W: Wait + ?Sized, R>(
        &self,
        platform: &W,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        if cfg!(offspring_loom) {
            return attempt();
        }
        // ORDER: Relaxed. A guess.
        let guess = self.guess.load(Ordering::Relaxed);
        let most = guess.clamp(FEWEST_TURNS, MOST_TURNS);
        if !platform.is_alone() {
            return self.spin_for(guess, most, &mut attempt);
        }
        // What is there already, after a sleep for instance, shows nothing.
        if let Some(done) = attempt() {
            return Some(done);
        }
        let chances = self.chances();
        let most = match chances {
            0 => return None,
            1 => most.min(PROBE_TURNS),
            _ => most,
        };
        let done = self.spin_for(guess, most, &mut attempt);
        // ORDER: Relaxed. A guess; a lost update does no harm.
        let next = if done.is_some() { MOST_CHANCES } else { chances - 1 };
        self.elsewhere.store(next, Ordering::Relaxed);
        done
    }

    /// How many spins of a caller that is bound to one processor may fail from here on.
    fn chances(&self) -> u32 {
        // ORDER: Relaxed, all three. Guesses; a lost update does no harm.
        let chances = self.elsewhere.load(Ordering::Relaxed);
        if chances > 0 {
            return chances;
        }
        let waits = self.bound_waits.load(Ordering::Relaxed).wrapping_add(1);
        self.bound_waits.store(waits, Ordering::Relaxed);
        u32::from(waits.is_multiple_of(BOUND_PROBE_EVERY))
    }

    #[inline]
    fn spin_for<R>(
        &self,
        guess: u32,
        most: u32,
        attempt: &mut impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let (mut turns, mut pause) = (0, self.first_pause());
        while turns < most {
            // The pause first: the caller has just looked.
            for _ in 0..pause {
                spin();
            }
            turns += pause;
            if let Some(done) = attempt() {
                self.learn(guess, guess - guess / 8 + turns / 4);
                return Some(done);
            }
            pause = (pause * 2).min(LONG_PAUSE);
        }
        None
    }

    fn first_pause(&self) -> u32 {
        if self.patient {
            return LONG_PAUSE;
        }
        // ORDER: Relaxed, here and below. Guesses; a lost update does no harm.
        let waits = self.waits.load(Ordering::Relaxed).wrapping_add(1);
        self.waits.store(waits, Ordering::Relaxed);
        if waits.is_multiple_of(PROBE_EVERY) {
            self.first_pause.store(LONG_PAUSE, Ordering::Relaxed);
        }
        self.first_pause.load(Ordering::Relaxed)
    }

    /// After a wait that gave something: whether there is more of it already.
    pub fn found(&self, more: bool) {
        if !more {
            // ORDER: Relaxed. A guess.
            self.first_pause.store(1, Ordering::Relaxed);
        }
    }

    /// After a spin that failed: the caller slept so many nanoseconds, 0 if the sleep was spared or refused.
    pub(crate) fn slept(&self, nanos: u64) {
        // ORDER: Relaxed. A guess.
        let guess = self.guess.load(Ordering::Relaxed);
        let next = if nanos < SHORT_SLEEP { guess * 2 } else { guess - guess / 4 };
        self.learn(guess, next);
    }

    fn learn(&self, guess: u32, next: u32) {
        let next = next.clamp(FEWEST_TURNS, MOST_TURNS);
        if next != guess {
            // ORDER: Relaxed. A guess; a lost update does no harm.
            self.guess.store(next, Ordering::Relaxed);
        }
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(offspring_loom)))]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    /// A caller that is bound to one processor.
    struct Bound;

    // SAFETY: nobody sleeps or is woken here.
    unsafe impl Wait for Bound {
        fn wait(&self, _: &[Watch<'_>], _: Option<Deadline>) -> Woken {
            unreachable!("nobody sleeps here")
        }

        fn wake(&self, _: &AtomicU32, _: u32) -> u32 {
            0
        }

        fn now(&self) -> Deadline {
            Deadline(0)
        }

        fn is_alone(&self) -> bool {
            true
        }

        fn light_barrier(&self) {}

        fn heavy_barrier(&self) {}
    }

    /// How often a spin that finds something at its `found`th look looks.
    fn looks(spin: &Adaptive, found: u32) -> u32 {
        let mut count = 0;
        spin.spin(&Bound, || {
            count += 1;
            (count == found).then_some(())
        });
        count
    }

    #[test]
    fn bound_caller_looks_once_and_seldom_longer() {
        let spin = Adaptive::new();
        let often = (0..640).filter(|_| looks(&spin, u32::MAX) > 1).count();
        assert_eq!(often, 10);
    }

    #[test]
    fn bound_caller_spins_once_something_came_while_it_did() {
        let spin = Adaptive::new();
        let tries = (0..BOUND_PROBE_EVERY).map(|_| looks(&spin, 3)).collect::<Vec<_>>();
        assert_eq!(tries[..63], [1; 63]);
        assert_eq!(tries[63], 3);
        assert_eq!(looks(&spin, 5), 5);
        // And stops to, once that failed so often in a row.
        let long = (0..20).filter(|_| looks(&spin, u32::MAX) > 1).count();
        assert_eq!(long, MOST_CHANCES as usize);
        assert_eq!(looks(&spin, 3), 1);
    }

    #[test]
    fn what_was_there_already_teaches_a_bound_caller_nothing() {
        let spin = Adaptive::new();
        assert!((0..640).all(|_| looks(&spin, 1) == 1));
        assert_eq!(looks(&spin, u32::MAX), 1);
    }
}

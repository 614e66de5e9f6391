//! Sleepers between processes on a system without a futex: who sleeps on which word, and whom a wake chooses.
//!
//! A system that has no futex between processes (Windows) has events: objects that one thread sleeps on and any process
//! can set. This protocol says whose event to set. Each lane has a [`Spot`] with its *parking word* and the names (arena
//! offsets) of the words that its thread sleeps on. Hashed [`Bucket`]s of one bit a lane tell a waker which spots to look at,
//! so that it need not look at all of them. The event itself is the platform's: a wake calls `ring`.
//!
//! The parking word is `ticket 62 | state 2`. The ticket rises with every sleep, so a CAS on a word that was read before
//! the names chooses the sleep that the names belong to, and no later one.
//!
//! | from → to | by | when |
//! |---|---|---|
//! | AWAKE t → PARKED t+1 | the lane's thread | names and bits are written; then a fence, then a look at the words, then it sleeps |
//! | PARKED t → CHOSEN t | a waker | it read the names between its load and this CAS, and its word is among them; then it rings |
//! | PARKED t, CHOSEN t → AWAKE t | the lane's thread | it was rung, its time is over, or a word had changed |
//! | PARKED t, CHOSEN t → AWAKE t | a waker, or whoever tells a death | the lane's process is gone |
//! | any t → AWAKE t+1 | the lane's next thread | it took the lane over; the bits of the old names are cleared before |
//!
//! What a death leaves, and why nothing is lost:
//!
//! - *A dead waiter that is PARKED* could be chosen, and the wake would be swallowed. A waker asks whether a sleeper is gone
//!   before it chooses it, and one that dies just then is a woken sleeper that dies before it acts, as with any futex: its death
//!   notice makes that good. Whoever tells a death ([`notice`](Lot::notice)) first ends the sleeps of all the gone, and only
//!   then rings the living: a wake that a dead waiter swallowed came before that, and the living look again after it.
//! - *A waker that dies between its CAS and its ring* leaves a living sleeper CHOSEN, whom no wake of one chooses again. So a
//!   notice rings every sleeper, CHOSEN ones too, and so does a wake of all.
//! - *A waiter that is chosen while its time runs out* holds the baton: [`unpark`](Lot::unpark) tells it, and it must not say that
//!   nobody woke it, but look again, as a futex's sleeper that the kernel had woken does.
//! - *Bits* are hints: they are set before a thread parks, stay set while its record names the word (a thread that sleeps on
//!   the same words again touches none), and belong to the lane alone. A bit without a sleeper costs a look.
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | K1 | sleeper: names, bits, store of PARKED, `fence(SeqCst)`, load of the words | waker: change of a word, `fence(SeqCst)`, load of the bits and the parking word | one of the two sees the other |
//! | K2 | sleeper: store of PARKED (Release) | waker: load of the parking word (Acquire) | the names |
//! | K3 | waker: CAS to CHOSEN (AcqRel) | sleeper: swap to AWAKE (AcqRel) | a later sleep's names cannot be what the waker read |

use crate::points::{Point, hit};
use crate::prim::{AtomicU64, Ordering, fence};

/// Words that one sleep can be found by.
pub const MOST_NAMES: usize = 4;

/// Lanes that a bucket has bits for.
pub const MOST_LANES: usize = if cfg!(offspring_loom) { 64 } else { 8192 };

/// Buckets of an arena.
pub const BUCKETS: usize = if cfg!(offspring_loom) { 1 } else { 256 };

const STATE: u64 = 3;
const PARKED: u64 = 1;
const CHOSEN: u64 = 2;

/// The words of one sleep, by name: an arena offset, never 0.
pub type Names = [u64; MOST_NAMES];

/// A lane's part in parking. All zero is a spot that nobody used.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Spot {
    /// `ticket 62 | state 2`.
    word: AtomicU64,
    /// What the lane's thread sleeps on, or slept on last; 0 is nothing.
    names: [AtomicU64; MOST_NAMES],
}

/// One bit a lane: whether the lane's record names a word that hashes to this bucket.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Bucket {
    bits: [AtomicU64; MOST_LANES / 64],
}

#[cfg(not(offspring_loom))]
const _: () = assert!(size_of::<Spot>() == 40 && size_of::<Bucket>() == 1024);

impl Default for Bucket {
    fn default() -> Self {
        Self { bits: core::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

/// Where the spots are.
pub trait Spots {
    /// The spot of `lane`; `None` beyond the table.
    fn spot(&self, lane: usize) -> Option<&Spot>;

    /// How many lanes were ever used.
    fn lanes(&self) -> usize;
}

/// What the platform does for wakers.
pub trait Bell {
    /// Whether the process whose thread has this lane is gone. A process that may live is not.
    fn is_gone(&mut self, lane: usize) -> bool;

    /// Ends the lane's sleep, or its next one; `false` if nobody can hear it.
    fn ring(&mut self, lane: usize) -> bool;
}

/// The spots and buckets of one arena.
#[derive(Clone, Copy, Debug)]
pub struct Lot<'a, P> {
    spots: P,
    buckets: &'a [Bucket],
}

/// A sleep that has begun: to be ended with [`Lot::unpark`].
#[derive(Debug)]
#[must_use = "the lane stays parked until `unpark`"]
pub struct Parked {
    lane: usize,
    ticket: u64,
}

impl<'a, P: Spots> Lot<'a, P> {
    /// The parking of an arena.
    ///
    /// # Panics
    ///
    /// If there is no bucket.
    pub fn new(spots: P, buckets: &'a [Bucket]) -> Self {
        assert!(!buckets.is_empty(), "parking needs a bucket");
        Self { spots, buckets }
    }

    /// Says that the calling thread, whose lane this is, is about to sleep on the words named (0: none). It must look at
    /// the words after this and before it sleeps, and [`unpark`](Self::unpark) in any case. `None` for a lane beyond the
    /// table.
    pub fn park(&self, lane: usize, names: &Names) -> Option<Parked> {
        let spot = self.spots.spot(lane)?;
        for (slot, &name) in spot.names.iter().zip(names) {
            // ORDER: Relaxed. Only this lane's thread writes its record and its bits.
            let old = slot.load(Ordering::Relaxed);
            if old != name {
                self.clear_bit(lane, old);
                slot.store(name, Ordering::Relaxed);
            }
        }
        for &name in names.iter().filter(|name| **name != 0) {
            let (bits, bit) = self.bit(lane, name);
            // ORDER: Relaxed, as above; K1's fence orders the setting.
            if bits.load(Ordering::Relaxed) & bit == 0 {
                bits.fetch_or(bit, Ordering::Relaxed);
            }
        }
        hit(Point::ParkRecorded);
        // ORDER: Relaxed. While it is AWAKE only this thread changes it.
        let ticket = (spot.word.load(Ordering::Relaxed) >> 2).wrapping_add(1) << 2;
        // ORDER: Release, K2.
        spot.word.store(ticket | PARKED, Ordering::Release);
        // ORDER: SeqCst, K1.
        fence(Ordering::SeqCst);
        hit(Point::ParkParked);
        Some(Parked { lane, ticket })
    }

    /// Ends the sleep; says whether a waker chose this sleeper, who then must look at what it waits for.
    pub fn unpark(&self, parked: Parked) -> bool {
        let Some(spot) = self.spots.spot(parked.lane) else { return false };
        // ORDER: AcqRel, K3.
        let old = spot.word.swap(parked.ticket, Ordering::AcqRel);
        hit(Point::ParkUnparked);
        old == parked.ticket | CHOSEN
    }

    /// Wakes at most `most` of those who sleep on the word named; says how many. Call after the word changed.
    ///
    /// Sleepers are chosen from the lane `from` on and round, so that a caller that varies it is fair. A wake of all
    /// (`u32::MAX`) also rings those who were chosen before, without counting them.
    pub fn wake(&self, name: u64, most: u32, from: usize, bell: &mut impl Bell) -> u32 {
        // ORDER: SeqCst, K1.
        fence(Ordering::SeqCst);
        let mut woken = 0;
        let bucket = &self.buckets[self.hash(name)];
        let words = self.spots.lanes().min(MOST_LANES).div_ceil(64);
        if words == 0 || name == 0 {
            return 0;
        }
        let (first, low) = (from / 64 % words, u64::MAX << (from % 64));
        for turn in 0..=words {
            let at = (first + turn) % words;
            // ORDER: Relaxed. K1's fence came before.
            let mut bits = bucket.bits[at].load(Ordering::Relaxed);
            // The first word in two halves: from the lane on, and at the end what is before it.
            match turn {
                0 => bits &= low,
                _ if turn == words => bits &= !low,
                _ => {}
            }
            while bits != 0 {
                let lane = at * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if self.wake_lane(lane, name, most == u32::MAX, bell) {
                    woken += 1;
                    if woken >= most {
                        return woken;
                    }
                }
            }
        }
        woken
    }

    /// Wakes the sleeper of `lane` if it sleeps on the word named; whether one more was chosen and rung. `again`: rings it if it
    /// was chosen before, too.
    fn wake_lane(&self, lane: usize, name: u64, again: bool, bell: &mut impl Bell) -> bool {
        let Some(spot) = self.spots.spot(lane) else { return false };
        // ORDER: Acquire, K2.
        let seen = spot.word.load(Ordering::Acquire);
        let chosen_before = again && seen & STATE == CHOSEN;
        if seen & STATE != PARKED && !chosen_before {
            return false;
        }
        // ORDER: Relaxed. K2 carries them; if the thread has gone on since, K3 lets the CAS fail.
        if !spot.names.iter().any(|slot| slot.load(Ordering::Relaxed) == name) {
            return false;
        }
        if chosen_before {
            bell.ring(lane);
            return false;
        }
        let gone = bell.is_gone(lane);
        let next = seen & !STATE | if gone { 0 } else { CHOSEN };
        // ORDER: AcqRel, K3.
        let changed =
            spot.word.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if gone || !changed {
            return false;
        }
        hit(Point::ParkChosen);
        let heard = bell.ring(lane);
        hit(Point::ParkRung);
        heard
    }

    /// Tells a death to everybody, whatever they sleep on: ends the sleeps of those whose process is gone, then rings all
    /// the others. Call after the death's epoch was raised. Says how many were rung.
    pub fn notice(&self, bell: &mut impl Bell) -> u32 {
        // ORDER: SeqCst, K1.
        fence(Ordering::SeqCst);
        let lanes = self.spots.lanes();
        for lane in 0..lanes {
            let Some(spot) = self.spots.spot(lane) else { break };
            loop {
                // ORDER: Acquire. As K2; what the gone did is carried by `is_gone`.
                let seen = spot.word.load(Ordering::Acquire);
                if seen & STATE == 0 || !bell.is_gone(lane) {
                    break;
                }
                // ORDER: AcqRel. A waker's CAS that comes after it fails: the wake goes on to somebody else. One that came
                // before it happens before the rings below.
                if spot
                    .word
                    .compare_exchange(seen, seen & !STATE, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
                {
                    break;
                }
            }
        }
        hit(Point::ParkCleared);
        let mut rung = 0;
        for lane in 0..lanes {
            let Some(spot) = self.spots.spot(lane) else { break };
            // ORDER: Acquire; K1 by the fence: who parks later sees the epoch raised.
            if spot.word.load(Ordering::Acquire) & STATE != 0 && bell.ring(lane) {
                rung += 1;
                hit(Point::ParkRung);
            }
        }
        rung
    }

    /// Makes a lane's spot ready for the thread that has just taken the lane: whoever had it before is gone, or gave it back.
    pub fn take_over(&self, lane: usize) {
        let Some(spot) = self.spots.spot(lane) else { return };
        for slot in &spot.names {
            // ORDER: Relaxed. Carried by the taking of the lane.
            self.clear_bit(lane, slot.load(Ordering::Relaxed));
            slot.store(0, Ordering::Relaxed);
        }
        // ORDER: AcqRel, K3: a waker that is late with its CAS fails.
        let old = spot.word.load(Ordering::Relaxed);
        spot.word.swap((old >> 2).wrapping_add(1) << 2, Ordering::AcqRel);
    }

    /// Whether somebody is recorded as asleep in `lane`: for audits and tests.
    pub fn is_parked(&self, lane: usize) -> bool {
        // ORDER: Acquire, K2.
        self.spots.spot(lane).is_some_and(|spot| spot.word.load(Ordering::Acquire) & STATE != 0)
    }

    /// Whether somebody is recorded as asleep in `lane`, and no waker has chosen it: each later wake of its words finds it. For
    /// tests.
    pub fn is_unwoken(&self, lane: usize) -> bool {
        // ORDER: Acquire, K2.
        let word = self.spots.spot(lane).map_or(0, |spot| spot.word.load(Ordering::Acquire));
        word & STATE == PARKED
    }

    fn clear_bit(&self, lane: usize, name: u64) {
        if name != 0 {
            let (bits, bit) = self.bit(lane, name);
            // ORDER: Relaxed. A hint, the lane's own.
            bits.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn bit(&self, lane: usize, name: u64) -> (&'a AtomicU64, u64) {
        let bucket = &self.buckets[self.hash(name)];
        (&bucket.bits[lane / 64 % bucket.bits.len()], 1 << (lane % 64))
    }

    fn hash(&self, name: u64) -> usize {
        // Fibonacci hashing; words are 4 bytes apart at least.
        ((name >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % self.buckets.len()
    }
}

#[cfg(all(test, not(offspring_loom)))]
mod tests {
    use super::*;

    impl Spots for &[Spot] {
        fn spot(&self, lane: usize) -> Option<&Spot> {
            self.get(lane)
        }

        fn lanes(&self) -> usize {
            self.len()
        }
    }

    /// 100 lanes, 2 buckets, and who was rung.
    struct Yard {
        spots: [Spot; 100],
        buckets: [Bucket; 2],
    }

    impl Yard {
        fn new() -> Self {
            Self {
                spots: core::array::from_fn(|_| Spot::default()),
                buckets: core::array::from_fn(|_| Bucket::default()),
            }
        }

        fn lot(&self) -> Lot<'_, &[Spot]> {
            Lot::new(&self.spots, &self.buckets)
        }

        fn wake(&self, name: u64, most: u32, from: usize) -> (u32, [bool; 100]) {
            let mut bells = Bells::new(&[], &[]);
            let woken = self.lot().wake(name, most, from, &mut bells);
            (woken, bells.rung)
        }
    }

    /// Who is gone, who is deaf, and who was rung.
    struct Bells<'a> {
        gone: &'a [usize],
        deaf: &'a [usize],
        rung: [bool; 100],
    }

    impl<'a> Bells<'a> {
        fn new(gone: &'a [usize], deaf: &'a [usize]) -> Self {
            Self { gone, deaf, rung: [false; 100] }
        }
    }

    impl Bell for Bells<'_> {
        fn is_gone(&mut self, lane: usize) -> bool {
            assert!(!self.rung.contains(&true) || !self.gone.contains(&lane), "rung too early");
            self.gone.contains(&lane)
        }

        fn ring(&mut self, lane: usize) -> bool {
            self.rung[lane] = true;
            !self.deaf.contains(&lane)
        }
    }

    fn lanes(rung: &[bool; 100]) -> impl Iterator<Item = usize> + '_ {
        (0..100).filter(|lane| rung[*lane])
    }

    const A: Names = [64, 0, 0, 0];
    const AB: Names = [64, 0, 128, 0];

    #[test]
    fn wake_of_one_chooses_one_sleeper_of_that_word_from_the_given_lane_on() {
        let yard = Yard::new();
        let parked = [3, 70, 99].map(|lane| yard.lot().park(lane, &A).unwrap());
        let other = yard.lot().park(5, &[256, 0, 0, 0]).unwrap();
        for (from, chosen) in [(4, 70), (71, 99), (100, 3)] {
            let (woken, rung) = yard.wake(64, 1, from);
            assert_eq!((woken, lanes(&rung).next(), lanes(&rung).count()), (1, Some(chosen), 1));
        }
        assert_eq!(yard.wake(64, 1, 0).0, 0);
        for parked in parked {
            assert!(yard.lot().is_parked(parked.lane) && !yard.lot().is_unwoken(parked.lane));
            assert!(yard.lot().unpark(parked));
        }
        assert!(
            yard.lot().is_unwoken(5) && !yard.lot().is_unwoken(6) && !yard.lot().is_unwoken(100)
        );
        assert!(!yard.lot().unpark(other));
        assert!(!yard.lot().is_unwoken(5));
    }

    #[test]
    fn sleeper_is_found_by_each_of_its_words_and_chosen_once() {
        let yard = Yard::new();
        let parked = yard.lot().park(9, &AB).unwrap();
        assert_eq!(yard.wake(128, u32::MAX, 0).0, 1);
        let (woken, rung) = yard.wake(64, 1, 0);
        assert_eq!((woken, lanes(&rung).count()), (0, 0));
        // A wake of all rings it again: whoever chose it may have died before it rang.
        let (woken, rung) = yard.wake(64, u32::MAX, 0);
        assert_eq!((woken, lanes(&rung).next()), (0, Some(9)));
        assert!(yard.lot().unpark(parked));
    }

    #[test]
    fn sleeper_of_other_words_is_not_found_by_the_old_ones() {
        let yard = Yard::new();
        for names in [AB, A, [0, 512, 0, 0]] {
            let parked = yard.lot().park(7, &names).unwrap();
            for name in [64, 128, 512] {
                let (woken, _) = yard.wake(name, u32::MAX, 0);
                assert!(woken == 0 || names.contains(&name), "{names:?} by {name}");
            }
            assert!(yard.lot().unpark(parked));
        }
        yard.lot().take_over(7);
        let set = |bucket: &Bucket| bucket.bits.iter().any(|b| b.load(Ordering::Relaxed) != 0);
        assert!(!yard.buckets.iter().any(set), "the next thread inherits no bit");
    }

    #[test]
    fn wake_goes_on_to_the_next_if_nobody_hears_the_ring() {
        let yard = Yard::new();
        let parked = [1, 2].map(|lane| yard.lot().park(lane, &A).unwrap());
        let mut bells = Bells::new(&[], &[1]);
        assert_eq!(yard.lot().wake(64, 1, 0, &mut bells), 1);
        assert!(bells.rung[1] && bells.rung[2]);
        for parked in parked {
            assert!(yard.lot().unpark(parked));
        }
    }

    #[test]
    fn wake_passes_over_the_gone_and_ends_their_sleep() {
        let yard = Yard::new();
        let [_gone, living] = [1, 2].map(|lane| yard.lot().park(lane, &A).unwrap());
        let mut bells = Bells::new(&[1], &[]);
        assert_eq!(yard.lot().wake(64, 1, 0, &mut bells), 1);
        assert!(!bells.rung[1] && bells.rung[2] && !yard.lot().is_parked(1));
        assert!(yard.lot().unpark(living));
    }

    #[test]
    fn notice_ends_the_sleeps_of_the_gone_before_it_rings_the_living() {
        let yard = Yard::new();
        let lot = yard.lot();
        let _dead = lot.park(1, &A).unwrap();
        let chosen = lot.park(2, &A).unwrap();
        assert_eq!(yard.wake(64, 1, 2).0, 1);
        let living = lot.park(3, &AB).unwrap();
        let mut bells = Bells::new(&[1], &[]);
        assert_eq!(lot.notice(&mut bells), 2);
        assert!(lanes(&bells.rung).eq([2, 3]));
        assert!(!lot.is_parked(1));
        // Nothing is swallowed by the dead any more.
        assert_eq!(yard.wake(64, 1, 0).1.iter().position(|rung| *rung), Some(3));
        assert!(lot.unpark(chosen) && lot.unpark(living));
    }

    #[test]
    fn damaged_spots_and_bits_break_nothing() {
        let yard = Yard::new();
        for spot in &yard.spots {
            spot.word.store(u64::MAX, Ordering::Relaxed);
            spot.names[1].store(u64::MAX, Ordering::Relaxed);
        }
        for bucket in &yard.buckets {
            for bits in &bucket.bits {
                bits.store(u64::MAX, Ordering::Relaxed);
            }
        }
        assert_eq!(yard.wake(64, u32::MAX, usize::MAX).0, 0);
        yard.lot().notice(&mut Bells::new(&[], &[]));
        let parked = yard.lot().park(4, &A).unwrap();
        assert_eq!(yard.wake(64, 1, 5).0, 1);
        assert!(yard.lot().unpark(parked));
        assert!(yard.lot().park(100, &A).is_none());
    }
}

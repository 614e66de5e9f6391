//! A lane's 64 bytes: whose it is, whether that process lives, and where its thread sleeps.
//!
//! Windows marks no word when a thread or process is gone; a process's handle is signalled. So the *life word* here is written
//! by processes: the holder says that it holds it and who it is, and whoever finds by the handle that this process is gone
//! marks it. Sleepers who watch a life word wait for the handle in its place.
//!
//! The life word is `sequence 30 | state 2`; the sequence rises with each holding, and with the lane names its event.
//!
//! | from → to | by | when |
//! |---|---|---|
//! | FREE s, MARKED s → HELD s+n | the lane's taker | its spot is taken over, its event made, id and identity written |
//! | HELD s → FREE s | the holder | its thread is done with the arena |
//! | HELD s → MARKED s | anyone | the system says that the process of this id and identity is gone |
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | D1 | holder: store of HELD (Release) | load of the word (Acquire) | id and identity |
//! | D2 | finder: CAS to MARKED (Release), after the handle was signalled | load of the word (Acquire) | all that the process did |

use crate::error::Result;
use crate::process;
use offspring_core::family::{Life, Tables};
use offspring_core::parking::{Spot, Spots};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering, fence};
use offspring_core::wait::Watch;

const STATE: u32 = 3;
const HELD: u32 = 1;
const MARKED: u32 = 2;

/// What lies in a lane's life area. All zero = never used.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Place {
    life: AtomicU32,
    /// The holder's process id.
    pid: AtomicU32,
    /// The holder's creation time.
    identity: AtomicU64,
    /// Where its thread sleeps.
    pub spot: Spot,
}

const _: () = assert!(size_of::<Place>() == 64);

/// Who holds a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The life word, as it was.
    pub word: u32,
    /// The process's id.
    pub pid: u32,
    /// The process's creation time.
    pub identity: u64,
}

impl Holder {
    /// How often the lane had been held.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.word >> 2
    }

    /// Whether it is a thread of the calling process.
    #[must_use]
    pub fn is_self(&self) -> bool {
        self.pid == std::process::id() && self.identity == process::identity_of_self()
    }
}

impl Place {
    /// The life word.
    #[must_use]
    pub fn word(&self) -> &AtomicU32 {
        &self.life
    }

    /// Who holds it, by its word; `None` if nobody does, or its process was found gone.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        loop {
            // ORDER: Acquire, D1.
            let word = self.life.load(Ordering::Acquire);
            if word & STATE != HELD {
                return None;
            }
            // ORDER: Relaxed. D1 carries them; the fence and the second look say that they belong to this word.
            let pid = self.pid.load(Ordering::Relaxed);
            let identity = self.identity.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if self.life.load(Ordering::Relaxed) == word {
                return Some(Holder { word, pid, identity });
            }
        }
    }

    /// What it says, after asking `is_gone` about its holder.
    #[must_use]
    pub fn life(&self, is_gone: impl FnOnce(&Holder) -> bool) -> Life {
        let Some(holder) = self.holder() else {
            // ORDER: Acquire, D2.
            let marked = self.life.load(Ordering::Acquire) & STATE == MARKED;
            return if marked { Life::Marked } else { Life::Free };
        };
        if holder.is_self() || !is_gone(&holder) {
            return Life::Held;
        }
        self.mark(&holder);
        Life::Marked
    }

    /// Says that the process of `holder` is gone. Nothing if somebody else said so, or the place is another's.
    pub fn mark(&self, holder: &Holder) {
        let marked = holder.word & !STATE | MARKED;
        // ORDER: Release, D2.
        let _ =
            self.life.compare_exchange(holder.word, marked, Ordering::Release, Ordering::Relaxed);
    }

    /// Its life word to sleep on, if somebody holds it.
    #[must_use]
    pub fn watch(&self) -> Option<Watch<'_>> {
        self.holder().map(|holder| Watch { word: &self.life, seen: holder.word })
    }

    /// Holds it for the calling thread, whose lane it is, once `prepare` has done what belongs to a sequence number; the next
    /// numbers are tried if that one does not do.
    ///
    /// # Errors
    ///
    /// As `prepare`'s last.
    pub fn hold(&self, mut prepare: impl FnMut(u32) -> Result<()>) -> Result<()> {
        const TRIES: u32 = 16;
        // ORDER: Relaxed. The lane is the caller's, and nobody else writes a word that is not HELD.
        let last = self.life.load(Ordering::Relaxed) >> 2;
        let mut tried = 0;
        let sequence = loop {
            tried += 1;
            let sequence = last.wrapping_add(tried) & (u32::MAX >> 2);
            match prepare(sequence) {
                Ok(()) => break sequence,
                Err(error) if tried == TRIES => return Err(error),
                Err(_) => {}
            }
        };
        // ORDER: Relaxed; D1 carries them.
        self.pid.store(std::process::id(), Ordering::Relaxed);
        self.identity.store(process::identity_of_self(), Ordering::Relaxed);
        // ORDER: Release, D1.
        self.life.store(sequence << 2 | HELD, Ordering::Release);
        Ok(())
    }

    /// Gives it back; nothing if the calling process does not hold it.
    pub fn release(&self) {
        if let Some(holder) = self.holder().filter(Holder::is_self) {
            // ORDER: Release, as D2: the next taker sees what this thread did.
            self.life.store(holder.word & !STATE, Ordering::Release);
        }
    }
}

/// The registry's number for a process: Windows counts its ids in fours, and the registry has 22 bits. 0 for one that does not
/// fit: then only its places tell of its end.
#[must_use]
pub fn number(pid: u32) -> u32 {
    let number = pid / 4;
    if number < 1 << 22 { number } else { 0 }
}

/// The id of the process with that number; `None` if the number does not tell.
#[must_use]
pub fn pid(number: u32) -> Option<u32> {
    if number == 0 { None } else { number.checked_mul(4) }
}

/// The place of `lane`.
#[must_use]
pub fn place<'a>(tables: &Tables<'a>, lane: usize) -> Option<&'a Place> {
    let area = tables.lanes.get(lane)?.life.pointer();
    // SAFETY: a life area is 64 bytes of shared memory aligned to 64, all of it atomics in this crate's eyes, and mapped
    // as long as the tables are.
    Some(unsafe { &*area.cast::<Place>() })
}

/// Which lane's life word `word` is, if it is one.
#[must_use]
pub fn lane_of(tables: &Tables<'_>, word: &AtomicU32) -> Option<usize> {
    let first = tables.lanes.as_ptr().addr();
    let entry = size_of::<offspring_core::family::LaneEntry>();
    let lane = std::ptr::from_ref(word).addr().checked_sub(first)? / entry;
    place(tables, lane).filter(|place| std::ptr::eq(place.word(), word)).map(|_| lane)
}

/// The spots of a family's lanes.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a>(pub Tables<'a>);

impl Spots for Places<'_> {
    fn spot(&self, lane: usize) -> Option<&Spot> {
        place(&self.0, lane).map(|place| &place.spot)
    }

    fn lanes(&self) -> usize {
        // ORDER: Acquire, with the taker's raise. A peer may have written nonsense: never beyond the table.
        let high = self.0.head.lane_high.load(Ordering::Acquire) as usize;
        high.min(self.0.lanes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsError;

    #[test]
    fn a_place_is_held_released_and_held_again_under_another_number() {
        let place = Place::default();
        assert_eq!(place.life(|_| panic!("nobody to ask about")), Life::Free);
        place.hold(|_| Ok(())).unwrap();
        let first = place.holder().unwrap();
        assert!(first.is_self());
        assert_eq!(place.life(|_| true), Life::Held, "the calling process lives");
        assert_eq!(place.watch().unwrap().seen, first.word);
        place.release();
        assert_eq!((place.holder(), place.life(|_| true)), (None, Life::Free));
        place.hold(|_| Ok(())).unwrap();
        assert_ne!(place.holder().unwrap().sequence(), first.sequence());
    }

    #[test]
    fn number_that_cannot_be_prepared_is_passed_over() {
        let place = Place::default();
        let busy = || OsError::new("make", "an event", 183);
        place.hold(|sequence| if sequence < 4 { Err(busy()) } else { Ok(()) }).unwrap();
        assert_eq!(place.holder().unwrap().sequence(), 4);
        let other = Place::default();
        assert_eq!(other.hold(|_| Err(busy())), Err(busy()));
        assert_eq!(other.holder(), None);
    }

    #[test]
    fn mark_of_the_gone_does_not_hit_the_next_holder() {
        let place = Place::default();
        place.hold(|_| Ok(())).unwrap();
        // As another process's.
        place.identity.store(process::identity_of_self() + 1, Ordering::Relaxed);
        let old = place.holder().unwrap();
        assert_eq!(place.life(|_| false), Life::Held);
        assert_eq!(place.life(|holder| *holder == old), Life::Marked);
        place.hold(|_| Ok(())).unwrap();
        place.mark(&old);
        assert_eq!(place.life(|_| true), Life::Held);
    }
}

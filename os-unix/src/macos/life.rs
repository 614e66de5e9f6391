//! A lane's 64 bytes: whose it is, whether that process lives, and where its thread sleeps. macOS; type-checked, not run.
//!
//! macOS has no robust mutexes: nobody marks a word when a thread or process is gone. So the *life word* is written by
//! processes: the holder says that it holds it and who it is, and whoever finds that this process is gone marks it.
//!
//! The life word is `sequence 30 | state 2`; the sequence rises with each holding.
//!
//! | from → to | by | when |
//! |---|---|---|
//! | FREE s, MARKED s → HELD s+1 | the lane's taker | its spot is taken over, id and identity written |
//! | HELD s → FREE s | the holder | its thread is done with the arena |
//! | HELD s → MARKED s | anyone | the system says that the process of this id and identity is gone |
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | D1 | holder: store of HELD (Release) | load of the word (Acquire) | id and identity |
//! | D2 | finder: CAS to MARKED (Release), after the system said that the process is gone | load of the word (Acquire) | all that the process did |

use crate::pidfd;
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
    /// The holder's start.
    identity: AtomicU64,
    /// Where its thread sleeps.
    pub spot: Spot,
    /// What its thread sleeps on: raised by who rings.
    pub bell: AtomicU32,
}

const _: () = assert!(size_of::<Place>() == 64);

/// Who holds a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The life word, as it was.
    pub word: u32,
    /// The process's id.
    pub pid: u32,
    /// The process's start.
    pub identity: u64,
}

impl Holder {
    /// Whether it is a thread of the calling process.
    #[must_use]
    pub fn is_self(&self) -> bool {
        self.pid == std::process::id()
    }

    /// Whether the system says that its process is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        !self.is_self() && pidfd::is_gone(self.pid, self.identity) == Some(true)
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

    /// What it says, after asking the system about its holder.
    #[must_use]
    pub fn life(&self) -> Life {
        let Some(holder) = self.holder() else {
            // ORDER: Acquire, D2.
            let marked = self.life.load(Ordering::Acquire) & STATE == MARKED;
            return if marked { Life::Marked } else { Life::Free };
        };
        if !holder.is_gone() {
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

    /// Holds it for the calling thread, whose lane it is.
    pub fn hold(&self, identity: u64) {
        // ORDER: Relaxed. The lane is the caller's, and nobody else writes a word that is not HELD.
        let sequence = (self.life.load(Ordering::Relaxed) >> 2).wrapping_add(1);
        // ORDER: Relaxed; D1 carries them.
        self.pid.store(std::process::id(), Ordering::Relaxed);
        self.identity.store(identity, Ordering::Relaxed);
        // ORDER: Release, D1.
        self.life.store(sequence << 2 | HELD, Ordering::Release);
    }

    /// Gives it back; nothing if the calling process does not hold it.
    pub fn release(&self) {
        if let Some(holder) = self.holder().filter(Holder::is_self) {
            // ORDER: Release, as D2: the next taker sees what this thread did.
            self.life.store(holder.word & !STATE, Ordering::Release);
        }
    }
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

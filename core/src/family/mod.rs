//! The family: who takes part in an arena, who of them is dead, and which pages are in use.
//!
//! | module | holds |
//! |---|---|
//! | [`layout`] | what lies where |
//! | [`word`] | the packed words |
//! | [`registry`] | processes: joining, leaving, suspecting and declaring dead |
//! | [`lane`] | threads: taking and giving back the life words that prove a death |
//! | [`lock`] | the recoverable lock |
//! | [`region`] | ranges of pages: making, joining, leaving |
//! | [`collect`] | giving back what nobody can reach any more |
//!
//! # Orderings
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | F1 | a thread: CAS of its lane to taken, `fence(SeqCst)`, load of its process's word | a suspecter: CAS of the process's word to SUSPECT, `fence(SeqCst)`, scan of the lanes | one of the two sees the other |
//! | F2 | declarer: CAS to DEAD (AcqRel) after it saw the life words marked (Acquire) | `is_dead`: load of the word (Acquire) | all that the dead process did |
//! | F3 | joiner: identity, then `identified` (Release) | whoever asks the system about the process (Acquire) | the identity |
//! | F4 | whoever freed a lane, a slot or a region: store or CAS (Release) | the next taker: CAS (Acquire) | all that was done with it |
//! | F5 | lock: release of the word (Release) | taking it (Acquire) | the region table |
//! | F6 | declarer: raise of the epoch, `fence(SeqCst)`, load of the lock | holder: release of the lock, `fence(SeqCst)`, load of the epoch | one of the two collects |
//! | F7 | region: store of LIVE (Release) | lookup: load of the word (Acquire) | offset, length, kind and the head |

pub mod collect;
pub mod lane;
pub mod layout;
pub mod lock;
pub mod region;
pub mod registry;
#[cfg(all(test, not(offspring_loom)))]
mod tests;
pub mod word;

pub use layout::{FamilyHead, LaneEntry, ProcessEntry, RegionEntry, RegionHead, Tables, flags};
pub use region::{AllocateError, Region, RegionError, RegionSpec};
pub use registry::Registry;
pub use word::RegionRef;

use crate::prim::AtomicU64;
use crate::wait::{Wait, Watch};

/// What a lane's life word says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// A living thread holds it.
    Held,
    /// The thread that held it ended without giving it back: its process is gone or going.
    Marked,
    /// Nobody holds it.
    Free,
}

/// Why no pages could be committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory {
    /// How many bytes were asked for.
    pub asked: u64,
}

impl core::fmt::Display for NoMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "no memory for {} bytes of shared pages: ask for less, or free some", self.asked)
    }
}

impl core::error::Error for NoMemory {}

/// What the family's protocols need from the platform.
///
/// # Safety
///
/// Implementors promise, besides [`Wait`]:
/// - B1 `life` says [`Life::Marked`] only when the thread that held the life word executes no instruction any more, and
///   the kernel copies nothing on its behalf; all it did happens before (Acquire);
/// - B2 `process_is_gone` says `Some(true)` only when the process with that pid and identity is gone as a whole;
/// - B3 `release` leaves the pages readable, as zeros, and `commit` makes them writable without a fault;
/// - B4 the references of `region_head` and `words` stay valid as long as `self` is borrowed;
/// - B5 `trace` names every region that a committed message of `region` names, or says `false`.
pub unsafe trait Backend: Wait {
    /// What the life word of `lane` says; a lane beyond the table is [`Life::Free`].
    fn life(&self, lane: usize) -> Life;

    /// The life word of `lane` to sleep on, if it is held; the kernel wakes one sleeper when its thread is gone.
    fn life_watch(&self, lane: usize) -> Option<Watch<'_>>;

    /// Makes the life word of `lane` anew and holds it for the calling thread; `false` if the platform refuses.
    ///
    /// # Safety
    ///
    /// The caller has taken the lane: nobody holds the life word, and nobody else makes it.
    unsafe fn hold_life(&self, lane: usize) -> bool;

    /// Gives back the life word of `lane` and wakes all who sleep on it.
    ///
    /// # Safety
    ///
    /// The calling thread holds it.
    unsafe fn release_life(&self, lane: usize);

    /// In which space of process numbers the calling process is: a pid means nothing in another one.
    fn process_space(&self) -> u64;

    /// Whether the process `pid` of this space with `identity` (0: any) is gone; `None` if the platform cannot say.
    fn process_is_gone(&self, pid: u32, identity: u64) -> Option<bool>;

    /// Sleeps until the process `pid` with `identity` (0: any) is gone, or a backstop's length has passed.
    fn await_gone(&self, pid: u32, identity: u64);

    /// Commits pages; never a fault or the OOM killer later.
    ///
    /// # Errors
    ///
    /// There is not that much memory; nothing stays committed.
    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory>;

    /// Gives pages back; idempotent.
    fn release(&self, offset: u64, len: u64);

    /// The head of the region at `offset`.
    ///
    /// # Safety
    ///
    /// `offset` is a multiple of 64, and 64 bytes from there lie in the arena's heap.
    unsafe fn region_head(&self, offset: u64) -> &RegionHead;

    /// `count` words at `offset`.
    ///
    /// # Safety
    ///
    /// `offset` is a multiple of 8, and the words lie in the arena's heap.
    unsafe fn words(&self, offset: u64, count: usize) -> &[AtomicU64];

    /// Tells `found` every region that a message in `region` names; `false` if this process does not know how.
    ///
    /// Runs under the family lock: must not allocate, join, leave or free regions, fork, or block.
    fn trace(&self, region: &Region<'_>, found: &mut dyn FnMut(RegionRef)) -> bool;

    /// The time after which a sleeper looks again by itself, in nanoseconds.
    fn backstop(&self) -> u64;
}

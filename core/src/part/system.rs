//! What a platform offers, so that a process can take part in a family on it.

use super::{Family, Object, Traces};
use crate::family::{Life, RegionRef, Tables};
use crate::prim::AtomicU32;
use crate::wait::{Deadline, Watch, Woken};
use core::fmt::Debug;
use core::ptr::NonNull;
use std::prelude::rust_2024::*;

/// How to find the references in one kind of object.
///
/// Tells `found` every region that a committed message in the object names. Runs under the family lock, in whichever process
/// collects, while others use the object: reads only, copies out, and must not make, join, leave or free objects,
/// fork, or block. What it names by mistake is kept a while longer; what it misses is freed.
pub type Trace<S> = fn(&Family<S>, &Object, found: &mut dyn FnMut(RegionRef));

/// One platform: an arena mapped in this process, and what the system does for the processes that share it.
///
/// A value is one arena; the functions without `self` are about the calling process or thread.
///
/// # Safety
///
/// Implementors promise:
/// - S1 `base` to `base + len` is one shared mapping, aligned to `page`, a power of two from 4 KiB up to the granule in which
///   regions are placed; it stays where it is while the value lives; the
///   tables (all below `HEAP_AT`) can be written once `create` or `attach` has returned;
/// - S2 `commit` and `commit_more` make pages writable without a fault; after `release` they are readable in a process that
///   still looks, and zero once they are committed again;
/// - S3 `wait` and `wake` keep W1 to W4 and W6 of [`Wait`](crate::wait::Wait) for words of the arena, `light_barrier` and
///   `heavy_barrier` W5 among all processes of the arena that use the same mode;
/// - S4 `life` says [`Life::Marked`] only when the thread that held the life word executes no instruction any more, and
///   the kernel copies nothing on its behalf; all it did happens before;
/// - S5 `is_gone` says `Some(true)` only when the process with that number and identity is gone as a whole;
/// - S6 `generation` never changes within a process, and differs from that of every ancestor that this process is a
///   forked copy of;
/// - S7 `number` gives different processes that live at the same time different numbers below 2^22, or 0 to those for which
///   it has none, and `is_gone` says `None` of 0;
/// - S8 `attach` of what `file` lent leads to the same pages as `base` does: what is written through one is read through all;
/// - S9 `commit` and `commit_more` of what is not in the arena, or what the system could not honour, are errors, and the arena is
///   as good as before;
/// - S10 `identity` tells a process from every other that had or will have its number: `is_gone` says `Some(true)` of a
///   number with an identity that its present process does not have;
/// - S11 `life` says [`Life::Marked`] of a life word that was held by a thread of a process that the system has reported gone;
/// - S12 `life` says [`Life::Held`] from `hold_life` to `release_life`, then [`Life::Free`], and the word can be held again;
/// - S13 `now` never goes back, and is one clock for all processes of the arena;
/// - S14 `await_gone` returns once the process is gone, and while it is not, no sooner than after a good part of a backstop;
/// - S15 `random` gives numbers that differ between calls and processes, but for one chance in 2^64.
///
/// [`in_process`](super::in_process) keeps them where nobody dies alone: then nothing is ever said to be gone or marked.
/// `cargo verify conformance` holds every platform to each of them.
#[allow(clippy::len_without_is_empty)] // an arena is never empty
pub unsafe trait System: Sized + Send + Sync + 'static {
    /// What the system says when it refuses something.
    type Error: std::error::Error + Clone + PartialEq + Eq + Debug + Send + Sync + 'static;

    /// What a process is handed to get at the arena: a descriptor, a handle.
    type File;

    /// The same, lent.
    type FileRef<'a>;

    /// How many words one wait can watch, at least 2.
    const MOST_WATCHES: usize;

    /// The length of an arena if nobody asks for another, in bytes.
    const ARENA_LEN: u64;

    /// Makes an arena of about `len` bytes, with the barrier that suits this system; with plain fences if `fences` says so.
    ///
    /// # Errors
    ///
    /// The system refuses.
    fn create(len: u64, fences: bool) -> Result<Self, Self::Error>;

    /// Maps the arena that another process made. Until [`use_barrier`](Self::use_barrier) its barriers are fences.
    ///
    /// # Errors
    ///
    /// It is no arena, or the system refuses.
    fn attach(file: Self::File) -> Result<Self, Self::Error>;

    /// What to hand to another process.
    fn file(&self) -> Self::FileRef<'_>;

    /// Whether the barrier's light side is free (`true`), or both sides are full fences.
    fn is_asymmetric(&self) -> bool;

    /// Uses the barrier that the family uses.
    ///
    /// # Errors
    ///
    /// This process cannot.
    fn use_barrier(&mut self, asymmetric: bool) -> Result<(), Self::Error>;

    /// Where the mapping begins in this process.
    fn base(&self) -> NonNull<u8>;

    /// Length of the arena in bytes.
    fn len(&self) -> u64;

    /// Bytes in a page: what offsets and lengths are multiples of.
    fn page(&self) -> u64;

    /// Commits a range that the caller owns alone; after an error none of it may be used.
    ///
    /// # Errors
    ///
    /// No memory.
    fn commit(&self, offset: u64, len: u64) -> Result<(), Self::Error>;

    /// Commits a range in which others may use pages already: what was committed stays on failure.
    ///
    /// # Errors
    ///
    /// No memory.
    fn commit_more(&self, offset: u64, len: u64) -> Result<(), Self::Error>;

    /// Gives pages back; idempotent.
    ///
    /// # Errors
    ///
    /// Nothing was given back.
    fn release(&self, offset: u64, len: u64) -> Result<(), Self::Error>;

    /// How many bytes of the arena have pages.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    fn resident_bytes(&self) -> Result<u64, Self::Error>;

    /// Sleeps while every word holds what was seen, until `until` at the latest. `lane` is the calling thread's.
    fn wait(
        &self,
        tables: &Tables<'_>,
        lane: Option<usize>,
        watches: &[Watch<'_>],
        until: Option<Deadline>,
    ) -> Woken;

    /// Wakes at most `most` sleepers on `word`; says how many it woke.
    fn wake(&self, tables: &Tables<'_>, word: &AtomicU32, most: u32) -> u32;

    /// Whether the thread that has `lane` sleeps in [`wait`](Self::wait), or is about to and will hear every later wake, and
    /// nobody has woken it; `None` where only the system knows. For tests.
    fn is_asleep(&self, tables: &Tables<'_>, lane: usize) -> Option<bool> {
        let _ = (tables, lane);
        None
    }

    /// Now, by the clock that deadlines are points of: the same in every process.
    fn now() -> Deadline;

    /// Whether the calling thread may run on one processor only.
    fn is_alone() -> bool;

    /// The publisher's side of the barrier.
    fn light_barrier(&self);

    /// The sleeper's side of the barrier.
    fn heavy_barrier(&self);

    /// How long a sleeper trusts notices before it looks by itself, in nanoseconds.
    fn backstop() -> u64;

    /// What the life word of `lane` says; a lane beyond the table is [`Life::Free`].
    fn life(&self, tables: &Tables<'_>, lane: usize) -> Life;

    /// The life word of `lane` to sleep on, if it is held.
    fn life_watch<'a>(&'a self, tables: &Tables<'a>, lane: usize) -> Option<Watch<'a>>;

    /// Makes the life word of `lane` anew and holds it for the calling thread; `false` if the platform refuses.
    ///
    /// # Safety
    ///
    /// The caller has taken the lane: nobody holds the life word, and nobody else makes it. The value lives as long as
    /// the process.
    unsafe fn hold_life(&self, tables: &Tables<'_>, lane: usize) -> bool;

    /// Gives back the life word of `lane` and ends the waits for it that would not end otherwise.
    ///
    /// # Safety
    ///
    /// The calling thread holds it.
    unsafe fn release_life(&self, tables: &Tables<'_>, lane: usize);

    /// The registry's number for the process that the system calls `pid`.
    fn number(pid: u32) -> u32;

    /// What tells the calling process from an earlier or later one with its number; 0 if the system has no such name.
    fn identity() -> u64;

    /// In which space of process numbers the calling process is; 0 if there is one only, or the system does not tell.
    fn space() -> u64;

    /// Whether the process `number` with `identity` (0: any) is gone; `None` if the system cannot say.
    fn is_gone(&self, number: u32, identity: u64) -> Option<bool>;

    /// Sleeps until the process `number` with `identity` (0: any) is gone, or a backstop's length has passed.
    fn await_gone(&self, number: u32, identity: u64);

    /// A number that tells this process from those that it is a forked copy of. One load. Never zero.
    fn generation() -> u32;

    /// Whether the calling thread's own end is the end of its process, so that it keeps its lane: other threads may still be
    /// at work when its destructors run, or its lane is the proof of the process's death.
    fn ends_with_process() -> bool;

    /// A random number.
    ///
    /// # Errors
    ///
    /// The system has none.
    fn random() -> Result<u64, Self::Error>;

    /// The error for a life word that nobody holds and that cannot be held.
    fn life_refused() -> Self::Error;

    /// The error for `range`, of which not all lies in its object.
    fn out_of_range(range: String) -> Self::Error;

    /// This platform's table of traces: one static.
    fn traces() -> &'static Traces<Self>;
}

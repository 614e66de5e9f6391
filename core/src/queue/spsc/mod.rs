//! A ring of bytes from one producer to one consumer.
//!
//! Two counts of bytes, each written by one side alone: what lies between `read` and `written` are whole records. Each side keeps
//! its own count, and the last value that it saw of the other's, in private memory: it looks at the other's line only when
//! the ring seems full, or empty. There is nothing to repair after a death, whatever the instruction:
//!
//! | # | step | how | killed before it | killed after it |
//! |---|---|---|---|---|
//! | T1 | producer writes records behind `written` | bytes | nothing was put | nothing was put |
//! | T2 | `written` grows: **commit of a put**, or of a batch | store | nothing was put | all of it was put |
//! | T3 | consumer copies records from `read` on | bytes | nothing was taken | nothing was taken |
//! | T4 | `read` grows: **commit of a get**, or of a batch | store | the items are there for a successor | they shared its fate |
//!
//! That each side is one participant at most is what the *role words* are for: each names the process that has the role, and a
//! number that no two owners share.
//!
//! | # | from → to | by | when |
//! |---|---|---|---|
//! | R1 | HELD(p, s) → HELD(q, s+1) | q | it was given exactly the word HELD(p, s): a handle that p sent |
//! | R2 | HELD(p, s) → HELD(p, s+1) | p | it goes on with a handle that it had sent: what travels is void |
//! | R3 | HELD(p, s) → LEFT(s+1) | p | it is done: the producer's side ends the stream |
//! | R4 | HELD(dead, s), SENT(p, s), LEFT(s) → HELD(q, s+1) | the other side, q | a successor is wanted; what travels is void |
//! | R5 | HELD(p, s) → SENT(p, s) | p | it sent the handle, and has let go of its own; R1 takes this word as well |
//!
//! Each is a CAS of the exact word. Whoever sent a handle does nothing with the ring before it did R2; so of all who think that they
//! have the role only the one whose word stands there acts, and a successor begins where the words say.
//!
//! # Orderings
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | T-publish | `written` store (Release) | consumer's load of it (Acquire) | the records |
//! | T-recycle | `read` store (Release) | producer's load of it (Acquire) | the consumer is done with the bytes |
//! | T-hand-over | R2, R3 (AcqRel) | R4 (AcqRel) | the counts; of a handle that was sent, the message carries them, of the dead, `Liveness` L1 |
//! | T-end | R3 of the producer (Release) | consumer's load of its role (Acquire) | the last `written` |
//!
//! # Not promised
//!
//! The number in a role word has 14 bits: a handle that travels while its role changes hands 16384 times, and comes to the same
//! process, would be taken for a new one.

mod mapped;
mod role;
mod transport;

#[cfg(all(test, not(offspring_loom)))]
mod tests;

pub use mapped::MappedBytes;
pub use role::{Held, Peer, Share, Side};
pub use transport::{Reader, Writer};

use super::storage::Padded;
use crate::prim::{AtomicU64, Ordering};
use crate::wait::{EventCount, Family};

/// What stands once a ring. Zeroed memory is a new ring, whose roles nobody has.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Head {
    calm: Calm,
    written: Padded<AtomicU64>,
    read: Padded<AtomicU64>,
}

/// The rarely written words.
#[derive(Debug, Default)]
#[repr(C, align(128))]
struct Calm {
    producer: AtomicU64,
    consumer: AtomicU64,
    readers: EventCount,
    writers: EventCount,
}

#[cfg(not(offspring_loom))]
const _: () = assert!(size_of::<Head>() == 384);

/// Where a ring lies.
///
/// # Safety
///
/// Implementors promise: T1 `head` always gives the same words, shared by both sides; T2 `size` is a power of two and never changes;
/// T3 the bytes at different offsets below `size` do not overlap each other or the words.
pub unsafe trait Bytes {
    /// The words.
    fn head(&self) -> &Head;

    /// Bytes of the ring.
    fn size(&self) -> u64;

    /// Copies `bytes` to offset `at`.
    ///
    /// # Safety
    ///
    /// `at + bytes.len()` is at most `size`, and nobody else reads or writes there.
    unsafe fn write(&self, at: u64, bytes: &[u8]);

    /// Copies `len` bytes from offset `at` to `out`.
    ///
    /// # Safety
    ///
    /// `at + len` is at most `size`, nobody else writes there, and `out` is valid for writes of `len` bytes.
    unsafe fn read(&self, at: u64, out: *mut u8, len: usize);
}

/// One participant's access to a ring.
///
/// All operations return at once; waiting is [`crate::block_on`]'s, on [`readers`](Self::readers) and [`writers`](Self::writers),
/// with the process that has the other role as the one to watch.
#[derive(Debug)]
pub struct Spsc<'a, S, F> {
    storage: &'a S,
    family: &'a F,
}

impl<S, F> Clone for Spsc<'_, S, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, F> Copy for Spsc<'_, S, F> {}

impl<'a, S: Bytes, F: Family> Spsc<'a, S, F> {
    /// The ring in `storage`.
    #[inline(always)]
    pub fn new(storage: &'a S, family: &'a F) -> Self {
        Self { storage, family }
    }

    /// The family.
    pub fn family(&self) -> &'a F {
        self.family
    }

    /// Where the consumer sleeps.
    pub fn readers(&self) -> &'a EventCount {
        &self.storage.head().calm.readers
    }

    /// Where the producer sleeps.
    pub fn writers(&self) -> &'a EventCount {
        &self.storage.head().calm.writers
    }

    /// Bytes that are in the ring: a snapshot, never more than its size.
    pub fn bytes_in(&self) -> u64 {
        let head = self.storage.head();
        // ORDER: Relaxed, both. A snapshot.
        let read = head.read.0.load(Ordering::Relaxed);
        let written = head.written.0.load(Ordering::Relaxed);
        if (written.wrapping_sub(read) as i64) < 0 { 0 } else { written - read }
            .min(self.storage.size())
    }
}

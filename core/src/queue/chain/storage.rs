//! Where a chain's words and rings are: the trait, the words, and a ring as its chain's part.

use super::super::error::NoMemory;
use super::super::layout::Geometry;
use super::super::storage::{BlockHead, Head, Padded, SlotHead, Storage};
use super::word::{Link, RingState, RingWord};
use crate::member::MemberTable;
use crate::points::{Point, hit};
use crate::prim::{AtomicU32, AtomicU64, Ordering};
use crate::wait::EventCount;

/// What stands once a chain. Zeroed memory is a chain without a ring; see [`Chain::start`](super::Chain::start).
#[derive(Debug, Default)]
#[repr(C)]
pub struct ChainHead {
    pub(super) calm: ChainCalm,
    /// Where writers begin.
    pub(super) tail: Padded<AtomicU64>,
    /// Where readers begin.
    pub(super) head: Padded<AtomicU64>,
    /// Who sweeps before it is a member.
    pub(super) guests: [Guest; GUESTS],
}

/// Guests at once; one more waits until one of them is done.
const GUESTS: usize = 8;

/// A guest's seat: the one ring that a process looks at which is no member.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Guest {
    /// The process, or 0.
    pub(super) who: AtomicU64,
    /// The ring, or 0.
    pub(super) ring: AtomicU32,
}

/// The rarely written words.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(super) struct ChainCalm {
    /// As in a ring, for all of them.
    pub(super) pend: AtomicU64,
    pub(super) scanned: AtomicU64,
    pub(super) closed: AtomicU32,
    pub(super) swept: AtomicU32,
    pub(super) readers: EventCount,
    pub(super) writers: EventCount,
    pub(super) rooms: EventCount,
    /// The largest index that a ring ever had.
    pub(super) high: AtomicU32,
}

/// What is known about one ring; it stays when the ring goes.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct RingControl {
    pub(super) word: AtomicU64,
    /// The successor. Not zero: the ring is ended.
    pub(super) next: AtomicU64,
    /// Whose successor it was made to be; written while OWNED.
    pub(super) before: AtomicU64,
    /// The region that it lies in; written while OWNED.
    pub(super) region: AtomicU64,
    /// Bytes of memory that it has, or is about to have; only grows while the ring is there.
    pub(super) bytes: AtomicU64,
}

impl RingControl {
    #[inline(always)]
    pub(super) fn word(&self) -> RingWord {
        // ORDER: Acquire, C2 with OFFERED, C4 with RETIRED and FREE.
        RingWord(self.word.load(Ordering::Acquire))
    }

    #[inline(always)]
    pub(super) fn next(&self) -> Link {
        // ORDER: Acquire, C2.
        Link(self.next.load(Ordering::Acquire))
    }

    /// Exchanges the exact word.
    pub(super) fn swap(&self, from: RingWord, to: RingWord) -> bool {
        // ORDER: AcqRel: C2 where the new word is OFFERED or LIVE, C4 where it is RETIRED, DYING or FREE.
        self.word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The region's name, valid while the ring is there.
    #[must_use]
    pub fn region(&self) -> u64 {
        // ORDER: Acquire, C2: written before the ring was offered.
        self.region.load(Ordering::Acquire)
    }
}

/// Says that its owner looks at a ring, which is not given back meanwhile.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Pin {
    pub(super) word: AtomicU64,
}

#[cfg(not(offspring_loom))]
const _: () = {
    assert!(size_of::<ChainHead>() == 512);
    assert!(size_of::<RingControl>() == 64);
    assert!(size_of::<Pin>() == 64);
};

/// Why there is no new ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MakeError {
    /// No memory.
    NoMemory(NoMemory),
    /// No place for it: others must go first.
    NoRoom,
}

/// Where a chain lies, and what makes and frees its rings.
///
/// # Safety
///
/// Implementors promise: R1 `head`, `control`, `pin` and `members` always give the same words for the same arguments, shared
/// by all participants; R2 `ring` gives the memory that the control's region names, zero at first, and `None` if that cannot be
/// (it is called under a pin, or where nobody frees rings); R3 the geometry of a size never changes.
pub unsafe trait ChainStorage {
    /// A ring of it.
    type Ring<'s>: Storage
    where
        Self: 's;

    /// The chain's own words.
    fn head(&self) -> &ChainHead;

    /// How many rings there can be at once, at least 2, at most 65534.
    fn rings(&self) -> u16;

    /// The words of ring `index`, from 1 to `rings()` (else a panic: callers check first).
    fn control(&self, index: u16) -> &RingControl;

    /// How many pins there are, at least one.
    fn pins(&self) -> u16;

    /// Pin `seat`, below `pins()`.
    fn pin(&self, seat: u16) -> &Pin;

    /// Who takes part.
    fn members(&self) -> MemberTable<'_>;

    /// The ring that `control(index)` describes with `word`.
    fn ring(&self, index: u16, word: RingWord) -> Option<Self::Ring<'_>>;

    /// Where the holder of a ticket for `block` of that ring sleeps. The ring stays as long as the ticket is open.
    fn bell(&self, index: u16, word: RingWord, block: u32) -> Option<&EventCount>;

    /// Sizes of rings, the smallest first, as geometries.
    fn sizes(&self) -> u8;

    /// The geometry of a ring of `size`, below `sizes()`.
    fn geometry(&self, size: u8) -> &Geometry;

    /// How many bytes all rings together may take; 0: as many as there are.
    fn most_bytes(&self) -> u64;

    /// Makes the memory of a ring of `size`, zeroed, and calls `link` with its name before anybody could take it for abandoned.
    ///
    /// # Errors
    ///
    /// See [`MakeError`]; nothing is left of it then.
    fn make(&self, size: u8, link: &mut dyn FnMut(u64)) -> Result<(), MakeError>;

    /// Gives the memory of the ring in `region` back; nothing if it is gone already.
    fn free(&self, region: u64);
}

/// A ring as a part of its chain: it sleeps, counts and ends where the chain says.
#[derive(Debug)]
pub struct InChain<'s, C, R> {
    pub(super) chain: &'s C,
    pub(super) head: &'s ChainHead,
    pub(super) control: &'s RingControl,
    pub(super) ring: R,
}

/// Bytes of memory that a ring of this geometry has, with so many blocks of each class.
pub(super) fn bytes_with(geometry: &Geometry, mut blocks: impl FnMut(usize) -> u32) -> u64 {
    let mut bytes = geometry.committed_at_first();
    for class in 0..geometry.classes().len() {
        bytes += geometry.ranges(class, 0, blocks(class)).iter().map(|(_, len)| len).sum::<u64>();
    }
    bytes
}

/// Bytes of memory that all rings of `chain` have, and how many rings there are.
pub(super) fn in_use<C: ChainStorage>(chain: &C) -> (u64, u32) {
    let (mut bytes, mut rings) = (0_u64, 0);
    for index in 1..=high(chain) {
        let control = chain.control(index);
        if control.word().state() != RingState::Free {
            // ORDER: Relaxed. A figure of its own.
            bytes = bytes.saturating_add(control.bytes.load(Ordering::Relaxed));
            rings += 1;
        }
    }
    (bytes, rings)
}

/// The largest index that a ring may have now.
pub(super) fn high<C: ChainStorage>(chain: &C) -> u16 {
    // ORDER: Acquire, with the `fetch_max` of who claims an index.
    let high = chain.head().calm.high.load(Ordering::Acquire);
    high.min(u32::from(chain.rings())) as u16
}

// SAFETY: Q1, Q2, Q3: all of it is the ring's, but for the words that the chain has for all its rings.
unsafe impl<C: ChainStorage, R: Storage> Storage for InChain<'_, C, R> {
    const PART: bool = true;

    #[inline(always)]
    fn readers(&self) -> &EventCount {
        &self.head.calm.readers
    }

    #[inline(always)]
    fn writers(&self) -> &EventCount {
        &self.head.calm.writers
    }

    #[inline(always)]
    fn rooms(&self) -> &EventCount {
        &self.head.calm.rooms
    }

    #[inline(always)]
    fn is_ended(&self) -> bool {
        self.control.next() != Link::NONE
    }

    #[inline(always)]
    fn is_closing(&self) -> bool {
        // ORDER: Acquire, Q4.
        self.head.calm.closed.load(Ordering::Acquire) != 0
    }

    fn given_back(&self) {
        // ORDER: Release, Q3: behind the ring's own count.
        self.head.calm.pend.fetch_add(1, Ordering::AcqRel);
        hit(Point::ChainGivenBack);
    }

    fn may_commit(&self, class: usize, from: u32, to: u32) -> bool {
        let most = self.chain.most_bytes();
        if most == 0 {
            return true;
        }
        let (bytes, rings) = in_use(self.chain);
        let more: u64 = self.geometry().ranges(class, from, to).iter().map(|(_, len)| len).sum();
        // One message of each size always fits, or a put could wait for ever.
        bytes.saturating_add(more) <= most || rings == 1 && from < 3
    }

    #[inline(always)]
    fn geometry(&self) -> &Geometry {
        self.ring.geometry()
    }

    #[inline(always)]
    fn head(&self) -> &Head {
        self.ring.head()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> &SlotHead {
        self.ring.slot(index)
    }

    #[inline(always)]
    fn block(&self, block: u32) -> &BlockHead {
        self.ring.block(block)
    }

    #[inline(always)]
    fn members(&self) -> MemberTable<'_> {
        self.ring.members()
    }

    type Inline<'i>
        = R::Inline<'i>
    where
        Self: 'i;

    #[inline(always)]
    fn slot_and_bytes(&self, index: u32) -> (&SlotHead, R::Inline<'_>) {
        self.ring.slot_and_bytes(index)
    }

    #[inline(always)]
    unsafe fn write_block(&self, block: u32, bytes: &[u8]) {
        // SAFETY: the caller's.
        unsafe { self.ring.write_block(block, bytes) }
    }

    #[inline(always)]
    unsafe fn read_block(&self, block: u32, out: *mut u8, len: usize) {
        // SAFETY: the caller's.
        unsafe { self.ring.read_block(block, out, len) }
    }

    fn commit(&self, class: usize, from: u32, to: u32) -> Result<(), NoMemory> {
        let committed = &self.head().calm.committed;
        // ORDER: Relaxed. An estimate from above, kept by the maximum; whoever commits the rest counts it.
        let blocks = |c: usize| {
            let ready =
                committed[c].load(Ordering::Relaxed).min(self.geometry().classes()[c].count);
            if c == class { ready.max(to) } else { ready }
        };
        self.control.bytes.fetch_max(bytes_with(self.geometry(), blocks), Ordering::Relaxed);
        self.ring.commit(class, from, to)
    }
}

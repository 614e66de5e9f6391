//! The packed words: the stamp that every operation leaves, and a member's entry in the ledger.

use core::fmt;

/// The most permits that a semaphore can have free: the stamp has 20 bits for them.
pub const MOST_PERMITS: u32 = (1 << 20) - 1;

const MEMBER_BITS: u32 = 13;
const SEQUENCE_BITS: u32 = 30;
const SEQUENCE_MASK: u32 = (1 << SEQUENCE_BITS) - 1;

/// `free 20 | member 13 | sequence 30 | kind 1`, from the top: how many permits are free, and who did the last operation.
///
/// | kind | what recording it does to the member's entry |
/// |---|---|
/// | 0 transfer | `held` changes by as much as `free` did, the other way |
/// | 1 reclaim | `held` becomes 0 |
///
/// Member 0 is nobody: it puts permits in that nobody held, and its entry holds none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    /// The next operation of `member`, whose entry is now `entry`.
    pub(super) const fn next(free: u32, member: u16, entry: Entry, reclaim: bool) -> Self {
        debug_assert!(free <= MOST_PERMITS && (member as u32) < 1 << MEMBER_BITS);
        let sequence = entry.sequence().wrapping_add(1) & SEQUENCE_MASK;
        Self(
            (free as u64) << (MEMBER_BITS + SEQUENCE_BITS + 1)
                | (member as u64) << (SEQUENCE_BITS + 1)
                | (sequence as u64) << 1
                | reclaim as u64,
        )
    }

    /// A new semaphore, with no operation yet: nobody's last, number 0, is in nobody's zero entry.
    pub(super) const fn start(free: u32) -> Self {
        Self((free as u64) << (MEMBER_BITS + SEQUENCE_BITS + 1))
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn free(self) -> u32 {
        (self.0 >> (MEMBER_BITS + SEQUENCE_BITS + 1)) as u32
    }

    pub(super) const fn member(self) -> u16 {
        (self.0 >> (SEQUENCE_BITS + 1)) as u16 & ((1 << MEMBER_BITS) - 1)
    }

    const fn sequence(self) -> u32 {
        (self.0 >> 1) as u32 & SEQUENCE_MASK
    }

    const fn is_reclaim(self) -> bool {
        self.0 & 1 != 0
    }

    /// What the member's entry becomes by this operation, which followed one that had left `free_before` permits free;
    /// `None` if `entry` has it already.
    pub(super) const fn record(self, free_before: u32, entry: Entry) -> Option<Entry> {
        let next = entry.sequence().wrapping_add(1);
        if next & SEQUENCE_MASK != self.sequence() {
            return None;
        }
        let held = if self.is_reclaim() || self.member() == 0 {
            0
        } else {
            // Never saturates unless a peer wrote nonsense.
            (entry.held() + free_before).saturating_sub(self.free())
        };
        Some(Entry::new(held, next))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamp")
            .field("free", &self.free())
            .field("member", &self.member())
            .field("sequence", &self.sequence())
            .field("reclaim", &self.is_reclaim())
            .finish()
    }
}

/// `held 32 | sequence 32`: what a member holds, and the number of its last operation in here.
///
/// The number outlives the member: the next process with this index goes on counting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u64);

impl Entry {
    pub(super) const fn new(held: u32, sequence: u32) -> Self {
        Self((held as u64) << 32 | sequence as u64)
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// At most [`MOST_PERMITS`], whatever a peer wrote.
    pub(super) const fn held(self) -> u32 {
        let held = (self.0 >> 32) as u32;
        if held > MOST_PERMITS { MOST_PERMITS } else { held }
    }

    pub(super) const fn sequence(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("held", &self.held())
            .field("sequence", &self.sequence())
            .finish()
    }
}

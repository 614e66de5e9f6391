//! The packed words of the tables and what their bits mean.

use crate::prim::{AtomicU64, Ordering};
use crate::process::ProcessRef;

/// State of a process entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ProcessState {
    /// Nobody; the generation is that of the last process.
    Free = 0,
    /// A process is coming in.
    Joining = 1,
    /// A process is in.
    Alive = 2,
    /// Somebody saw the process's lanes marked and is looking again.
    Suspect = 3,
    /// Gone for good; the epoch may not be raised yet.
    Dead = 4,
}

/// A value of a process entry's word: `state 3 | seq 7 | pid 22 | generation 32` from the top.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProcessBits(pub u64);

impl ProcessBits {
    /// Packs the fields; `pid` must be below 2^22.
    #[must_use]
    pub const fn new(state: ProcessState, seq: u8, pid: u32, generation: u32) -> Self {
        Self(
            (state as u64) << 61
                | (seq as u64 & 0x7f) << 54
                | (pid as u64 & 0x3f_ffff) << 32
                | generation as u64,
        )
    }

    /// The state; nonsense reads as dead.
    #[must_use]
    pub const fn state(self) -> ProcessState {
        match self.0 >> 61 {
            0 => ProcessState::Free,
            1 => ProcessState::Joining,
            2 => ProcessState::Alive,
            3 => ProcessState::Suspect,
            _ => ProcessState::Dead,
        }
    }

    /// Counts the suspicions, so that a late suspecter cannot finish an old one.
    #[must_use]
    pub const fn seq(self) -> u8 {
        (self.0 >> 54) as u8 & 0x7f
    }

    /// The process's id.
    #[must_use]
    pub const fn pid(self) -> u32 {
        (self.0 >> 32) as u32 & 0x3f_ffff
    }

    /// The slot's generation.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }

    /// The same process in another state.
    #[must_use]
    pub const fn with(self, state: ProcessState) -> Self {
        Self::new(state, self.seq(), self.pid(), self.generation())
    }

    /// The same process under a new suspicion.
    #[must_use]
    pub const fn suspected(self) -> Self {
        Self::new(ProcessState::Suspect, self.seq().wrapping_add(1), self.pid(), self.generation())
    }
}

impl core::fmt::Debug for ProcessBits {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{:?} seq {} pid {} generation {}",
            self.state(),
            self.seq(),
            self.pid(),
            self.generation()
        )
    }
}

/// State of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneState {
    /// Nobody's.
    Free,
    /// A thread took it and is making its life word.
    Taken,
    /// The life word says whether the thread lives.
    Published,
}

/// A value of a lane's word: the owner's bits below 48; bit 62 taken, bit 63 published, bit 61 late. 0 is free.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LaneBits(pub u64);

const LATE: u64 = 1 << 61;
const TAKEN: u64 = 1 << 62;
const PUBLISHED: u64 = 1 << 63;

impl LaneBits {
    /// Nobody's.
    pub const FREE: Self = Self(0);

    /// A lane of `owner` that is not published yet.
    #[must_use]
    pub const fn taken(owner: ProcessRef) -> Self {
        Self(TAKEN | owner.bits())
    }

    /// A published lane of `owner`; `late` if its thread cannot give it back by itself.
    #[must_use]
    pub const fn published(owner: ProcessRef, late: bool) -> Self {
        Self(PUBLISHED | owner.bits() | if late { LATE } else { 0 })
    }

    /// The state; nonsense reads as taken by nobody, which may be taken over.
    #[must_use]
    pub const fn state(self) -> LaneState {
        if self.0 == 0 {
            LaneState::Free
        } else if self.0 & PUBLISHED != 0 {
            LaneState::Published
        } else {
            LaneState::Taken
        }
    }

    /// Whether the thread took the lane while it was ending, so that the kernel's mark proves nothing about others.
    #[must_use]
    pub const fn is_late(self) -> bool {
        self.0 & LATE != 0
    }

    /// Whose lane it is.
    #[must_use]
    pub const fn owner(self) -> ProcessRef {
        ProcessRef::from_bits(self.0)
    }
}

impl core::fmt::Debug for LaneBits {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} of {:?}", self.state(), self.owner())?;
        if self.is_late() { f.write_str(" late") } else { Ok(()) }
    }
}

/// State of a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RegionState {
    /// No pages.
    Free = 0,
    /// The lock's holder is making it.
    Placing = 1,
    /// In use.
    Live = 2,
    /// The lock's holder is giving its pages back.
    Dying = 3,
}

/// A value of a region entry's word: `state 3 | generation 32` from the top.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RegionBits(pub u64);

impl RegionBits {
    /// Packs the fields.
    #[must_use]
    pub const fn new(state: RegionState, generation: u32) -> Self {
        Self((state as u64) << 61 | generation as u64)
    }

    /// The state; nonsense reads as dying, which a repair gives back.
    #[must_use]
    pub const fn state(self) -> RegionState {
        match self.0 >> 61 {
            0 => RegionState::Free,
            1 => RegionState::Placing,
            2 => RegionState::Live,
            _ => RegionState::Dying,
        }
    }

    /// The entry's generation.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }

    /// The same region in another state.
    #[must_use]
    pub const fn with(self, state: RegionState) -> Self {
        Self::new(state, self.generation())
    }
}

impl core::fmt::Debug for RegionBits {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} generation {}", self.state(), self.generation())
    }
}

/// One region of the arena: index and generation, never re-used. Zero is none.
///
/// Bits 0..16 hold the index in the region table, bits 16..48 the generation, which is never zero for a region.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct RegionRef(u64);

impl RegionRef {
    /// No region.
    pub const NONE: Self = Self(0);

    /// The region at `index`, in that entry's generation `generation`.
    #[must_use]
    pub const fn new(index: u16, generation: u32) -> Self {
        Self(index as u64 | (generation as u64) << 16)
    }

    /// From a shared word or a message; bits beyond the 48 are dropped.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & 0xffff_ffff_ffff)
    }

    /// For a shared word or a message.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The index in the region table.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.0 as u16
    }

    /// The entry's generation.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// Whether this names no region.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.generation() == 0
    }
}

macro_rules! word {
    ($(#[$doc:meta])* $word:ident of $bits:ident) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $word(AtomicU64);

        impl $word {
            /// Reads the word.
            #[inline]
            pub fn load(&self, order: Ordering) -> $bits {
                $bits(self.0.load(order))
            }

            /// Writes the word.
            #[inline]
            pub fn store(&self, bits: $bits, order: Ordering) {
                self.0.store(bits.0, order);
            }

            /// Changes the word from exactly `from` to `to`; says whether it did. A failure reads nothing.
            #[inline]
            pub fn change(&self, from: $bits, to: $bits, order: Ordering) -> bool {
                self.0.compare_exchange(from.0, to.0, order, Ordering::Relaxed).is_ok()
            }
        }
    };
}

word! {
    /// The word of a process entry.
    ProcessWord of ProcessBits
}
word! {
    /// The word of a lane.
    LaneWord of LaneBits
}
word! {
    /// The word of a region entry.
    RegionWord of RegionBits
}

#[cfg(all(test, not(offspring_loom)))]
mod tests {
    use super::*;

    #[test]
    fn process_bits_keep_every_field() {
        let bits = ProcessBits::new(ProcessState::Suspect, 127, (1 << 22) - 1, u32::MAX);
        assert_eq!(
            (bits.state(), bits.seq(), bits.pid(), bits.generation()),
            (ProcessState::Suspect, 127, (1 << 22) - 1, u32::MAX)
        );
        assert_eq!(bits.suspected().seq(), 0);
        assert_eq!(bits.with(ProcessState::Dead).pid(), bits.pid());
    }

    #[test]
    fn lane_bits_keep_every_field() {
        let owner = ProcessRef::new(u16::MAX, u32::MAX);
        let late = LaneBits::published(owner, true);
        assert_eq!(
            (late.owner(), late.state(), late.is_late()),
            (owner, LaneState::Published, true)
        );
        let taken = LaneBits::taken(owner);
        assert_eq!(
            (taken.owner(), taken.state(), taken.is_late()),
            (owner, LaneState::Taken, false)
        );
        assert_eq!(LaneBits::FREE.state(), LaneState::Free);
    }

    #[test]
    fn region_bits_keep_every_field() {
        let bits = RegionBits::new(RegionState::Live, 7);
        assert_eq!((bits.state(), bits.generation()), (RegionState::Live, 7));
        assert_eq!(bits.with(RegionState::Dying), RegionBits::new(RegionState::Dying, 7));
        assert_eq!(RegionBits(u64::MAX).state(), RegionState::Dying);
    }

    #[test]
    fn region_ref_survives_its_bits() {
        let region = RegionRef::new(u16::MAX, 9);
        assert_eq!(RegionRef::from_bits(region.bits() | 1 << 63), region);
        assert!(RegionRef::NONE.is_none() && !region.is_none());
    }
}

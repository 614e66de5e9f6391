//! The packed words of a chain: links to rings, the state of a ring, pins.

use core::fmt;

const OWNER_MASK: u64 = 0x1fff;

/// Where a ring follows: `generation 32 | index 16`. Zero: nothing yet; all ones: nothing ever, the chain is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) u64);

impl Link {
    pub(super) const NONE: Self = Self(0);
    pub(super) const END: Self = Self(u64::MAX);

    pub(super) const fn new(index: u16, generation: u32) -> Self {
        Self((generation as u64) << 16 | index as u64)
    }

    pub(super) const fn index(self) -> u16 {
        self.0 as u16
    }

    pub(super) const fn generation(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("none"),
            Self::END => f.write_str("the end"),
            _ => write!(f, "ring {} of generation {}", self.index(), self.generation()),
        }
    }
}

/// What a ring is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RingState {
    /// Nobody's.
    Free = 0,
    /// The owner makes it; nobody else looks at it.
    Owned = 1,
    /// The owner offers it as a successor; perhaps it is one already.
    Offered = 2,
    /// In the chain.
    Live = 3,
    /// Head and tail have left it, or it never was in the chain; what was leased out of it may still come back.
    Retired = 4,
    /// Nothing is in it and nothing comes; the owner gives its memory back if nobody looks at it any more.
    Dying = 5,
    /// Not a state: the region is corrupt.
    Bad = 7,
}

/// A ring's word: `generation 32 | size 8 | owner 13 | state 3`; the generation grows with each OWNED.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RingWord(pub(super) u64);

impl RingWord {
    /// What the ring is.
    #[must_use]
    pub const fn state(self) -> RingState {
        match self.0 & 7 {
            0 => RingState::Free,
            1 => RingState::Owned,
            2 => RingState::Offered,
            3 => RingState::Live,
            4 => RingState::Retired,
            5 => RingState::Dying,
            _ => RingState::Bad,
        }
    }

    pub(super) const fn owner(self) -> u16 {
        (self.0 >> 3 & OWNER_MASK) as u16
    }

    /// Which of the sizes that rings of this chain have.
    #[must_use]
    pub const fn size(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Which ring at this index.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// This ring in another state, with an owner or (0) without.
    pub(super) const fn to(self, state: RingState, owner: u16) -> Self {
        Self(self.0 & !0xffff | (owner as u64 & OWNER_MASK) << 3 | state as u64)
    }

    /// A FREE word, claimed by `owner` for a ring of this size, in the next generation.
    pub(super) const fn claimed(self, owner: u16, size: u8) -> Self {
        let generation = self.generation().wrapping_add(1) as u64;
        Self(generation << 32 | (size as u64) << 16).to(RingState::Owned, owner)
    }

    /// Whether the ring may be looked at under a pin.
    pub(super) const fn is_there(self) -> bool {
        matches!(self.state(), RingState::Offered | RingState::Live | RingState::Retired)
    }
}

impl fmt::Debug for RingWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(generation {}, size {}", self.state(), self.generation(), self.size())?;
        if self.owner() != 0 {
            write!(f, ", owner {}", self.owner())?;
        }
        f.write_str(")")
    }
}

/// A pin's word: `turn 32 | ring 16 | owner 13`; the turn grows with each claim, so that no word recurs; owner 0 is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PinWord(pub(super) u64);

impl PinWord {
    pub(super) const fn owner(self) -> u16 {
        (self.0 & OWNER_MASK) as u16
    }

    pub(super) const fn ring(self) -> u16 {
        (self.0 >> 16) as u16
    }

    pub(super) const fn claimed(self, owner: u16, ring: u16) -> Self {
        let turn = (self.0 >> 32).wrapping_add(1) << 32;
        Self(turn | (ring as u64) << 16 | owner as u64 & OWNER_MASK)
    }

    /// The same claim, on another ring.
    pub(super) const fn on(self, ring: u16) -> Self {
        Self(self.0 & !(0xffff << 16) | (ring as u64) << 16)
    }

    pub(super) const fn freed(self) -> Self {
        Self(self.0 >> 32 << 32)
    }
}

#[cfg(all(test, not(offspring_loom)))]
mod tests {
    use super::*;

    #[test]
    fn ring_word_keeps_its_fields_apart() {
        let w = RingWord(0).claimed(8191, 255);
        assert_eq!(
            (w.state(), w.owner(), w.size(), w.generation()),
            (RingState::Owned, 8191, 255, 1)
        );
        let live = w.to(RingState::Live, 0);
        assert_eq!(
            (live.state(), live.owner(), live.size(), live.generation()),
            (RingState::Live, 0, 255, 1)
        );
        assert_eq!(live.to(RingState::Free, 0).claimed(1, 0).generation(), 2);
    }

    #[test]
    fn links_name_ring_and_generation() {
        let link = Link::new(511, u32::MAX);
        assert_eq!((link.index(), link.generation()), (511, u32::MAX));
        assert!(link != Link::END && link != Link::NONE);
    }

    #[test]
    fn no_pin_word_recurs() {
        let first = PinWord(0).claimed(7, 3);
        assert_eq!((first.owner(), first.ring()), (7, 3));
        assert_eq!(first.on(4).ring(), 4);
        let again = first.freed().claimed(7, 3);
        assert_eq!((again.owner(), again.ring()), (7, 3));
        assert_ne!(again, first);
    }
}

//! The packed words of the queue: positions, slot words, block words.

use core::fmt;

/// Bits of a position, and of every slot index.
pub(crate) const INDEX_BITS: u32 = 24;
/// The most slots a ring can have: 2^24 less one, so that an index always fits.
pub const MOST_SLOTS: u32 = (1 << INDEX_BITS) - 1;
/// The most blocks a queue can have, replies included: 2^28 less two, the largest number is "none".
pub const MOST_BLOCKS: u32 = (1 << 28) - 2;
/// No block.
pub(crate) const NO_BLOCK: u32 = (1 << 28) - 1;

const OWNER_MASK: u64 = 0x1fff;
const LAP_MASK: u64 = (1 << 39) - 1;

/// Where in the endless sequence of puts: `lap 39 | index 24`. Grows by one with each put, skipping the
/// indices beyond the capacity, so the capacity need not be a power of two and no division is needed.
///
/// Laps wrap, so positions have an order only among those in use at one time; hence no `Ord`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position(pub(crate) u64);

impl Position {
    /// What a hint word says; `None` if it cannot be a position of a ring of this capacity.
    #[inline(always)]
    pub(crate) fn checked(bits: u64, capacity: u32) -> Option<Self> {
        let p = Self(bits & ((1 << 63) - 1));
        (p.index() < capacity).then_some(p)
    }

    #[inline(always)]
    pub(crate) const fn at(lap: u64, index: u32) -> Self {
        Self((lap & LAP_MASK) << INDEX_BITS | index as u64)
    }

    #[inline(always)]
    pub(crate) const fn index(self) -> u32 {
        self.0 as u32 & ((1 << INDEX_BITS) - 1)
    }

    #[inline(always)]
    pub(crate) const fn lap(self) -> u64 {
        self.0 >> INDEX_BITS
    }

    #[inline(always)]
    pub(crate) const fn next(self, capacity: u32) -> Self {
        if self.index() + 1 == capacity { Self::at(self.lap() + 1, 0) } else { Self(self.0 + 1) }
    }

    /// Whether `other` comes after this one. Bit 63 of a hint word says nothing.
    #[inline(always)]
    pub(crate) const fn is_before(self, other: Self) -> bool {
        (other.0.wrapping_sub(self.0) << 1) as i64 > 0
    }

    /// What a QUEUED block remembers of it: the index and four bits of the lap. Exact enough, because a
    /// block of an earlier lap of the same slot is never still QUEUED once the slot has moved on.
    #[inline(always)]
    pub(crate) const fn low(self) -> u32 {
        self.0 as u32 & 0x0fff_ffff
    }
}

/// What a slot is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SlotState {
    /// Free for the producer of this lap.
    Empty = 0,
    /// The owner writes an item.
    Writing = 1,
    /// An item is there for anyone.
    Full = 2,
    /// The owner takes the item.
    Reading = 3,
    /// Nothing comes here or after: the close mark.
    Closed = 4,
    /// Not a state: the region is corrupt.
    Bad = 7,
}

/// A slot's word: `lap 39 | generation 8 | block 1 | owner 13 | state 3`.
///
/// `generation` grows each time an item lying in the slot is given back, so that no READING word recurs;
/// `block` says that the item lies in the block that the slot names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SlotWord(pub(crate) u64);

impl SlotWord {
    #[inline(always)]
    pub(crate) const fn new(
        lap: u64,
        generation: u8,
        block: bool,
        owner: u16,
        state: SlotState,
    ) -> Self {
        Self(
            (lap & LAP_MASK) << 25
                | (generation as u64) << 17
                | (block as u64) << 16
                | (owner as u64 & OWNER_MASK) << 3
                | state as u64,
        )
    }

    #[inline(always)]
    pub(crate) const fn empty(lap: u64) -> Self {
        Self::new(lap, 0, false, 0, SlotState::Empty)
    }

    #[inline(always)]
    pub(crate) const fn lap(self) -> u64 {
        self.0 >> 25
    }

    /// Whether the slot is still in a lap before `p`'s.
    #[inline(always)]
    pub(crate) const fn is_before(self, p: Position) -> bool {
        (p.lap().wrapping_sub(self.lap()) << 25) as i64 > 0
    }

    /// Whether the slot is in a lap after `p`'s already.
    #[inline(always)]
    pub(crate) const fn is_after(self, p: Position) -> bool {
        (self.lap().wrapping_sub(p.lap()) << 25) as i64 > 0
    }

    #[inline(always)]
    pub(crate) const fn generation(self) -> u8 {
        (self.0 >> 17) as u8
    }

    #[inline(always)]
    pub(crate) const fn is_block(self) -> bool {
        self.0 & 1 << 16 != 0
    }

    #[inline(always)]
    pub(crate) const fn owner(self) -> u16 {
        (self.0 >> 3 & OWNER_MASK) as u16
    }

    #[inline(always)]
    pub(crate) const fn state(self) -> SlotState {
        match self.0 & 7 {
            0 => SlotState::Empty,
            1 => SlotState::Writing,
            2 => SlotState::Full,
            3 => SlotState::Reading,
            4 => SlotState::Closed,
            _ => SlotState::Bad,
        }
    }

    /// This word, EMPTY or FULL, claimed by `me`: EMPTY becomes WRITING, FULL becomes READING.
    #[inline(always)]
    pub(crate) const fn claimed(self, me: u16) -> Self {
        debug_assert!(matches!(self.state(), SlotState::Empty | SlotState::Full));
        Self(self.0 & !(OWNER_MASK << 3) | (me as u64 & OWNER_MASK) << 3 | 1)
    }
}

impl fmt::Debug for SlotWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(lap {}", self.state(), self.lap())?;
        if self.owner() != 0 {
            write!(f, ", owner {}", self.owner())?;
        }
        if self.is_block() {
            f.write_str(", block")?;
        }
        if self.generation() != 0 {
            write!(f, ", given back {} times", self.generation())?;
        }
        f.write_str(")")
    }
}

/// What a block is doing; `aux` of its word says with whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum BlockState {
    /// Nobody's.
    Free = 0,
    /// `aux` = the member that fills it.
    Owned = 1,
    /// `aux` = low bits of the position of the slot that names it.
    Queued = 2,
    /// `aux` = the member that holds it on trial.
    Leased = 3,
    /// Given back, for anyone.
    Returned = 4,
    /// A result; `aux` = the request's block.
    Reply = 5,
    /// A request that has its answer; `aux` = the result's block, or none.
    Replied = 6,
    /// Given back as often as the limit allows: only `dead_letters` takes it.
    Dead = 7,
}

/// A block's word: `generation 24 | aux 28 | deliveries 8 | ticket 1 | state 3`.
///
/// `generation` grows whenever the block becomes Free, Returned or Dead; `deliveries` saturates and
/// identifies nothing; `ticket` is set while a living requester waits for the outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlockWord(pub(crate) u64);

impl BlockWord {
    #[inline(always)]
    pub(crate) const fn state(self) -> BlockState {
        match self.0 & 7 {
            0 => BlockState::Free,
            1 => BlockState::Owned,
            2 => BlockState::Queued,
            3 => BlockState::Leased,
            4 => BlockState::Returned,
            5 => BlockState::Reply,
            6 => BlockState::Replied,
            _ => BlockState::Dead,
        }
    }

    #[inline(always)]
    pub(crate) const fn ticket(self) -> bool {
        self.0 & 8 != 0
    }

    #[inline(always)]
    pub(crate) const fn deliveries(self) -> u8 {
        (self.0 >> 4) as u8
    }

    #[inline(always)]
    pub(crate) const fn aux(self) -> u32 {
        (self.0 >> 12) as u32 & 0x0fff_ffff
    }

    /// `aux` as a member index: nobody if it is too large to be one.
    #[inline(always)]
    pub(crate) const fn member(self) -> u16 {
        if self.aux() <= OWNER_MASK as u32 { self.aux() as u16 } else { 0 }
    }

    #[inline(always)]
    pub(crate) const fn is(self, state: BlockState, aux: u32) -> bool {
        self.0 & 7 == state as u64 && self.aux() == aux
    }

    /// Another state and aux; ticket, deliveries and generation stay.
    #[inline(always)]
    pub(crate) const fn to(self, state: BlockState, aux: u32) -> Self {
        Self(self.0 & !(7 | 0x0fff_ffff << 12) | state as u64 | (aux as u64 & 0x0fff_ffff) << 12)
    }

    #[inline(always)]
    pub(crate) const fn with_ticket(self, ticket: bool) -> Self {
        Self(self.0 & !8 | (ticket as u64) << 3)
    }

    /// Free, in the next generation, without a trace of what it was.
    #[inline(always)]
    pub(crate) const fn freed(self) -> Self {
        Self(self.next_generation())
    }

    /// Given back once more: Returned, or Dead where that was the last time allowed (0 = no limit).
    #[inline(always)]
    pub(crate) const fn given_back(self, most_deliveries: u8) -> Self {
        let deliveries = self.deliveries().saturating_add(1);
        let state = if most_deliveries != 0 && deliveries >= most_deliveries {
            BlockState::Dead
        } else {
            BlockState::Returned
        };
        Self(self.next_generation() | (deliveries as u64) << 4 | self.0 & 8 | state as u64)
    }

    const fn next_generation(self) -> u64 {
        (self.0 >> 40).wrapping_add(1) << 40
    }
}

impl fmt::Debug for BlockWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(aux {}, generation {}", self.state(), self.aux(), self.0 >> 40)?;
        if self.deliveries() != 0 {
            write!(f, ", deliveries {}", self.deliveries())?;
        }
        if self.ticket() {
            f.write_str(", ticket")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_word_keeps_its_fields_apart() {
        let w = SlotWord::new(LAP_MASK, 255, true, 8191, SlotState::Reading);
        assert_eq!((w.lap(), w.generation(), w.is_block()), (LAP_MASK, 255, true));
        assert_eq!((w.owner(), w.state()), (8191, SlotState::Reading));
        assert_eq!(SlotWord::empty(0).0, 0, "zeroed memory is an empty ring");
    }

    #[test]
    fn order_of_laps_survives_their_wrap() {
        let last = Position::at(LAP_MASK, 2);
        let next = last.next(3);
        assert_eq!(next, Position::at(0, 0));
        assert!(last.is_before(next) && !next.is_before(last));
        let (old, new) = (SlotWord::empty(LAP_MASK), SlotWord::empty(LAP_MASK + 1));
        assert!(old.is_before(next) && !old.is_after(next) && !old.is_before(last));
        assert!(new.is_after(last) && !new.is_before(last) && !new.is_after(next));
    }

    #[test]
    fn block_word_changes_generation_when_freed_and_when_given_back() {
        let w = BlockWord(0).to(BlockState::Leased, 77).with_ticket(true);
        let back = w.given_back(0);
        assert_eq!(
            (back.state(), back.deliveries(), back.ticket()),
            (BlockState::Returned, 1, true)
        );
        assert_ne!(back.0 >> 40, w.0 >> 40);
        assert_eq!(w.freed().state(), BlockState::Free);
        assert!(!w.freed().ticket());
        assert_eq!(w.given_back(1).state(), BlockState::Dead);
        let worn = BlockWord(0xff << 4).given_back(0);
        assert_eq!((worn.deliveries(), worn.state()), (255, BlockState::Returned));
    }

    #[test]
    fn positions_skip_the_indices_beyond_the_capacity() {
        let p = Position::at(3, 4);
        assert_eq!(p.next(5), Position::at(4, 0));
        assert!(p.is_before(p.next(5)) && !p.next(5).is_before(p) && !p.is_before(p));
        assert_eq!(Position::checked(Position::at(1, 5).0, 5), None);
    }
}

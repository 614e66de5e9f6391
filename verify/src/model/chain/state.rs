//! What there is: rings, threads, and the mistakes that can be planted.

pub(super) const RINGS: usize = 3;
pub(super) const SLOTS: usize = 2;
pub(super) const THREADS: usize = 3;
pub(super) const ITEMS: usize = 4;
pub(super) const NONE: u8 = 0xff;
pub(super) const MOST_SPARED: u8 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum In {
    Empty,
    Writing,
    Full,
    Reading,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Slot {
    pub(super) is: In,
    pub(super) lap: u8,
    pub(super) owner: u8,
    pub(super) item: u8,
}

pub(super) const EMPTY: Slot = Slot { is: In::Empty, lap: 0, owner: 0, item: NONE };

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Block {
    Free,
    Leased(u8, u8),
    Returned(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Is {
    Free,
    Owned(u8),
    Offered(u8),
    Live,
    Retired,
    Dying(u8),
}

/// A ring's word. `spare` is what a spared ring's word differs by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Word {
    pub(super) is: Is,
    pub(super) generation: u8,
    pub(super) spare: u8,
}

impl Word {
    pub(super) fn to(self, is: Is) -> Self {
        Self { is, ..self }
    }

    pub(super) fn is_there(self) -> bool {
        matches!(self.is, Is::Offered(_) | Is::Live | Is::Retired)
    }
}

pub(super) const NO_WORD: Word = Word { is: Is::Free, generation: 0, spare: 0 };

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Ring {
    pub(super) word: Word,
    pub(super) next: Link,
    pub(super) before: Link,
    /// One bit for each generation whose memory is there.
    pub(super) memory: u8,
    pub(super) slot: [Slot; SLOTS],
    pub(super) block: Block,
}

/// A ring by index and generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Link {
    pub(super) index: u8,
    pub(super) generation: u8,
}

pub(super) const NOWHERE: Link = Link { index: NONE, generation: 0 };

/// Where a thread stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum At {
    Idle,
    Done,
    Dead,
    // Entering at the head or the tail.
    Pin,
    Recheck,
    // A producer.
    Next,
    Follow,
    Claim,
    Fill,
    Grow,
    Reset,
    Make,
    Offer,
    Link,
    Promote,
    MoveTail,
    Lost,
    // A reader.
    Look,
    Still,
    Take,
    Mark,
    SlotsClear,
    RetirePromote,
    RetireTail,
    RetireWord,
    RetireHead,
    PassPin,
    PassCheck,
    Copy,
    LeaseBlock,
    LeaseSlot,
    Hold,
    EndPin,
    EndBlock,
    EndCount,
    ScanPin,
    ScanCheck,
    ScanTake,
    ScanEnd,
    // Leaving.
    UnpinSecond,
    LeftSecond,
    UnpinFirst,
    LeftFirst,
    // Giving a ring back.
    FreeWord,
    FreeHead,
    FreeTail,
    FreePin,
    FreeAgain,
    FreeBlock,
    FreeDying,
    FreeUnpin,
    FreeScan,
    FreeSpare,
    FreeScanAgain,
    FreeFree,
    FreeMemory,
    FreeBack,
    FreeBackLook,
    // Repair.
    SweepControl,
    SweepMemory,
    SweepPin,
    SweepCheck,
    SweepWords,
    SweepCount,
    SweepUnpin,
    SweepFree,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Thread {
    pub(super) at: At,
    /// Where it goes on when it has tried to free a ring.
    pub(super) then: At,
    /// Ring indices: head or tail, the one behind it, the one that is tried or swept.
    pub(super) pins: [u8; 3],
    /// The end that it entered at, and where it is.
    pub(super) head: Link,
    pub(super) x: Link,
    pub(super) new: Link,
    pub(super) slot: u8,
    pub(super) seen: Slot,
    /// The head ring's slots that it passed (what is not WRITING was not passed), if it is behind it.
    pub(super) trail: [Slot; SLOTS],
    /// The ring that it tries to free, and its word.
    pub(super) free: u8,
    pub(super) word: Word,
    pub(super) j: u8,
    pub(super) i: u8,
    pub(super) e: u8,
    pub(super) item: u8,
    pub(super) did: u8,
    pub(super) back: bool,
}

pub(super) const FRESH: Thread = Thread {
    at: At::Idle,
    then: At::Idle,
    pins: [NONE; 3],
    head: NOWHERE,
    x: NOWHERE,
    new: NOWHERE,
    slot: 0,
    seen: EMPTY,
    trail: [EMPTY; SLOTS],
    free: NONE,
    word: NO_WORD,
    j: 0,
    i: 0,
    e: 0,
    item: NONE,
    did: 0,
    back: false,
};

/// What became of an item.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Item {
    NotPut,
    There,
    InHand,
    Gone,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub(super) ring: [Ring; RINGS],
    pub(super) head: Link,
    pub(super) tail: Link,
    pub(super) item: [Item; ITEMS],
    pub(super) pend: u8,
    pub(super) scanned: u8,
    pub(super) swept: u8,
    pub(super) dead: u8,
    pub(super) thread: [Thread; THREADS],
    pub(super) crashes: u8,
    pub(super) returns: u8,
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoRecheck,
    NoPin,
    NoOffer,
    OfferedAlwaysFreed,
    LinkByStore,
    HeadPassesUsedSlots,
    HeadPassesWithoutMark,
    NextNotReset,
    PassWithoutRecheck,
    RetireAfterHead,
    DeadPinsCount,
    NoDying,
    BlocksNotLookedAt,
    SparedUnchanged,
    PassWithoutGuard,
    LeaveDoesNotFree,
    SweepTakesPendFirst,
}

//! Named places where a test may kill: before every atomic step of every protocol.
//!
//! Without the feature `points` (and outside loom) [`hit`] is empty and vanishes. With it, a test installs a
//! hook which is called with the point's number and may end the process there, or unwind out of the
//! operation (`std::panic::resume_unwind`) so that the model's thread dies at that step.

#[cfg(any(feature = "points", offspring_loom))]
use crate::prim::Ordering;

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A place in a protocol; see the variants' own names. `NAMES[point as usize]` is its printed name.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        #[allow(missing_docs)]
        pub enum Point { $($(#[$doc])* $name,)* }

        impl Point {
            /// Every point, in order of number.
            pub const ALL: &'static [Point] = &[$(Point::$name,)*];
            /// The printed name of each point, by number.
            pub const NAMES: &'static [&'static str] = &[$($text,)*];

            /// The printed name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }
    };
}

points! {
    // Pool: a worker.
    PoolLeased = "pool.leased",
    PoolBegun = "pool.begun",
    PoolClaimed = "pool.claimed",
    PoolTaskBegun = "pool.task-begun",
    PoolTaskDone = "pool.task-done",
    PoolRan = "pool.ran",
    PoolReplied = "pool.replied",
    // Queue: put.
    PutBeforeClaim = "put.before-claim",
    PutClaimed = "put.claimed",
    PutWritten = "put.written",
    PutBlockNamed = "put.block-named",
    PutBlockQueued = "put.block-queued",
    PutCommitted = "put.committed",
    PutHinted = "put.hinted",
    // Queue: blocks.
    BlockClaimed = "block.claimed",
    BlockWritten = "block.written",
    // Queue: loans.
    LoanTaken = "loan.taken",
    LoanSized = "loan.sized",
    LoanReturned = "loan.returned",
    // Queue: get and lease.
    GetBeforeClaim = "get.before-claim",
    GetClaimed = "get.claimed",
    GetCopied = "get.copied",
    GetBlockTaken = "get.block-taken",
    GetCommitted = "get.committed",
    GetHinted = "get.hinted",
    LeaseCopied = "lease.copied",
    LeaseNamed = "lease.named",
    LeaseQueued = "lease.queued",
    LeaseMoved = "lease.moved",
    LeaseHeld = "lease.held",
    LeaseSlotEmptied = "lease.slot-emptied",
    ReturnedTaken = "lease.returned-taken",
    // Queue: the end of a lease.
    CommitBefore = "commit.before",
    CommitDone = "commit.done",
    ReturnDone = "return.done",
    ReturnCounted = "return.counted",
    ReplyWritten = "reply.written",
    ReplyMarked = "reply.marked",
    ReplyDone = "reply.done",
    ReplyRefused = "reply.refused",
    TicketTaken = "ticket.taken",
    TicketResultFreed = "ticket.result-freed",
    TicketCleared = "ticket.cleared",
    // Queue: the sweep.
    SweepBegun = "sweep.begun",
    SweepSlotBlock = "sweep.slot-block",
    SweepSlotDone = "sweep.slot-done",
    SweepReverted = "sweep.reverted",
    SweepBlockDone = "sweep.block-done",
    SweepResultFreed = "sweep.result-freed",
    SweepCounted = "sweep.counted",
    SweepMemberFreed = "sweep.member-freed",
    // Queue: close.
    CloseFlagged = "close.flagged",
    CloseMarked = "close.marked",
    // Queue: a chain of rings.
    ChainPinned = "chain.pinned",
    ChainUnpinned = "chain.unpinned",
    ChainRingClaimed = "chain.ring-claimed",
    ChainRingMade = "chain.ring-made",
    ChainRingOffered = "chain.ring-offered",
    ChainLinked = "chain.linked",
    ChainLost = "chain.lost",
    ChainPromoted = "chain.promoted",
    ChainTailMoved = "chain.tail-moved",
    ChainRetired = "chain.retired",
    ChainHeadMoved = "chain.head-moved",
    ChainDying = "chain.dying",
    ChainSpared = "chain.spared",
    ChainRingFree = "chain.ring-free",
    ChainGivenBack = "chain.given-back",
    ChainFlagged = "chain.flagged",
    ChainEnded = "chain.ended",
    ChainSwept = "chain.swept",
    ChainGuestCame = "chain.guest-came",
    ChainGuestLeft = "chain.guest-left",
    // Queue: from one to one.
    SpscWritten = "spsc.written",
    SpscPublished = "spsc.published",
    SpscCopied = "spsc.copied",
    SpscTaken = "spsc.taken",
    SpscClaimed = "spsc.claimed",
    SpscLeft = "spsc.left",
    // Waiting.
    NotifyCounted = "notify.counted",
    NotifyWoken = "notify.woken",
    NotifyCleared = "notify.cleared",
    WaitArmed = "wait.armed",
    WaitBefore = "wait.before",
    WaitAfter = "wait.after",
    // Parking, where the system has no futex.
    ParkRecorded = "park.recorded",
    ParkParked = "park.parked",
    ParkUnparked = "park.unparked",
    ParkChosen = "park.chosen",
    ParkRung = "park.rung",
    ParkCleared = "park.cleared",
    DeathCounted = "death.counted",
    DeathWoken = "death.woken",
    // Family: lock.
    LockTaken = "lock.taken",
    LockTakenOver = "lock.taken-over",
    LockBeforeFree = "lock.before-free",
    LockFreed = "lock.freed",
    // Family: processes and lanes.
    JoinSlotClaimed = "join.slot-claimed",
    JoinIdentified = "join.identified",
    JoinLaneTaken = "join.lane-taken",
    JoinLanePublished = "join.lane-published",
    JoinAlive = "join.alive",
    LeaveBefore = "leave.before",
    LeaveMarked = "leave.marked",
    LaneFreed = "lane.freed",
    SuspectMarked = "suspect.marked",
    SuspectScanned = "suspect.scanned",
    SuspectResolved = "suspect.resolved",
    // Family: regions and their members.
    RegionClaimed = "region.claimed",
    RegionPlaced = "region.placed",
    RegionCommitted = "region.committed",
    RegionInitialised = "region.initialised",
    RegionLive = "region.live",
    RegionDying = "region.dying",
    RegionReleased = "region.released",
    RegionFree = "region.free",
    MemberJoined = "member.joined",
    MemberLeft = "member.left",
    // Semaphore.
    SemStamped = "sem.stamped",
    SemRecorded = "sem.recorded",
    SemSettled = "sem.settled",
    SemHelped = "sem.helped",
    SemForgot = "sem.forgot",
    SemReclaimed = "sem.reclaimed",
    SemMemberFreed = "sem.member-freed",
    SemSwept = "sem.swept",
    // Process start and end.
    StartRecorded = "start.recorded",
    StartForked = "start.forked",
    StartSent = "start.sent",
    // A fork server.
    ServeAsked = "serve.asked",
    ServeForked = "serve.forked",
    ServeAnswered = "serve.answered",
    ServeReaped = "serve.reaped",
    ServeTold = "serve.told",
    // The child.
    ChildJoined = "child.joined",
    ChildRead = "child.read",
    ChildRan = "child.ran",
    ChildResultWritten = "child.result-written",
    ChildCommitted = "child.committed",
}

#[cfg(any(feature = "points", offspring_loom))]
mod hook {
    #![allow(clippy::disallowed_types)] // the hook is test equipment, not part of what loom explores
    use core::sync::atomic::AtomicPtr;
    pub(super) static HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
}

/// Says that the caller stands at `point`.
#[inline(always)]
pub fn hit(point: Point) {
    #[cfg(any(feature = "points", offspring_loom))]
    {
        // ORDER: Relaxed. The hook is installed before the participants start.
        let hook = hook::HOOK.load(Ordering::Relaxed);
        if !hook.is_null() {
            // SAFETY: only `set_hook` stores here, and it stores a `fn(Point)`.
            let hook: fn(Point) = unsafe { core::mem::transmute(hook) };
            hook(point);
        }
    }
    #[cfg(not(any(feature = "points", offspring_loom)))]
    let _ = point;
}

/// Installs the hook that [`hit`] calls, for the whole process; `None` takes it away.
#[cfg(any(feature = "points", offspring_loom))]
pub fn set_hook(hook: Option<fn(Point)>) {
    let hook = hook.map_or(core::ptr::null_mut(), |f| f as *mut ());
    hook::HOOK.store(hook, Ordering::Relaxed);
}

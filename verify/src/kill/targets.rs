//! Which points are to be died at, what leads a process to each of them, and which death makes another point possible.

use super::system;
use offspring_core::points::Point;

/// What a victim does with its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Script {
    /// A little of everything.
    All,
    /// Puts, and a few gets.
    Put,
    /// Puts of what does not fit a slot.
    Large,
    /// Gets.
    Get,
    /// Leases, ended in every way.
    Lease,
    /// Leases that are replied to.
    Reply,
    /// Requests, and the waiting for their answers.
    Ticket,
    /// Looks for the dead, and repairs.
    Sweep,
    /// Closes the queue.
    Close,
    /// Sleeps: for items, for room, for permits.
    Wait,
    /// Makes, joins and leaves regions.
    Region,
    /// Comes, does a little, goes.
    Leave,
    /// Takes, gives back, forgets and posts permits.
    Semaphore,
    /// The survivor that takes.
    Taker,
    /// The survivor that puts.
    Putter,
    /// Gives back what it leased while the taker sleeps, and waits until the taker has it.
    Quiet,
}

impl Script {
    const EACH: [Self; 16] = [
        Self::All,
        Self::Put,
        Self::Large,
        Self::Get,
        Self::Lease,
        Self::Reply,
        Self::Ticket,
        Self::Sweep,
        Self::Close,
        Self::Wait,
        Self::Region,
        Self::Leave,
        Self::Semaphore,
        Self::Taker,
        Self::Putter,
        Self::Quiet,
    ];

    /// The script with this number.
    pub fn numbered(number: u32) -> Self {
        Self::EACH.get(number as usize).copied().unwrap_or(Self::All)
    }
}

/// A point, and how to get there.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub point: Point,
    pub script: Script,
    /// The visit to die at is one of the first so many.
    pub visits: u32,
    /// Deaths of others that open the way.
    pub causes: &'static [(Point, Script)],
    /// Where it stops for a while on its way, so that others can do their part.
    pub stop: Option<Point>,
}

/// How to get to `point`; `None` if it belongs to another object than queue, waiting, family and semaphore.
pub fn target(point: Point) -> Option<Target> {
    use Point as P;
    let name = point.name();
    let group = name.split('.').next().unwrap_or(name);
    let (script, visits) = match group {
        "put" => (Script::Put, 24),
        "block" => (Script::Large, 12),
        "get" => (Script::Get, 24),
        "lease" | "commit" | "return" => (Script::Lease, 12),
        "returned" => (Script::Lease, 4),
        "reply" => (Script::Reply, 4),
        "ticket" => (Script::Ticket, 3),
        "sweep" => (Script::Sweep, 2),
        "close" => (Script::Close, 1),
        "notify" | "wait" => (Script::Wait, 4),
        "death" | "suspect" => (Script::Sweep, 2),
        "lock" | "region" | "member" => (Script::Region, 4),
        "join" => (Script::Leave, 1),
        "leave" | "lane" => (Script::Leave, 1),
        "sem" => (Script::Semaphore, 8),
        "chain" => (Script::Put, 8),
        // Where the system has futexes nobody parks.
        "park" if system::PARKS => (Script::Wait, 4),
        _ => return None,
    };
    const PUT: Script = Script::Put;
    const LARGE: Script = Script::Large;
    const GET: Script = Script::Get;
    const LEASE: Script = Script::Lease;
    const TICKET: Script = Script::Ticket;
    let (script, visits, causes): (_, _, &[(Point, Script)]) = match point {
        P::PutBlockNamed | P::PutBlockQueued => (LARGE, 12, &[]),
        P::GetBlockTaken => (script, 8, &[]),
        P::ReplyRefused => (script, 1, &[(P::WaitBefore, TICKET), (P::WaitArmed, TICKET)]),
        P::SweepSlotBlock => (
            script,
            1,
            &[(P::PutBlockQueued, LARGE), (P::LeaseQueued, LEASE), (P::LeaseMoved, LEASE)],
        ),
        P::SweepSlotDone => {
            (script, 1, &[(P::PutClaimed, PUT), (P::PutWritten, PUT), (P::GetBlockTaken, GET)])
        }
        P::SweepReverted => (script, 1, &[(P::GetClaimed, GET), (P::GetCopied, GET)]),
        P::SweepBlockDone => (
            script,
            1,
            &[(P::LeaseCopied, LEASE), (P::BlockWritten, LARGE), (P::CommitBefore, LEASE)],
        ),
        P::SweepResultFreed => (script, 1, &[(P::TicketTaken, TICKET)]),
        P::SweepCounted => (script, 1, &[(P::LeaseCopied, LEASE), (P::GetClaimed, GET)]),
        P::LockTakenOver => (
            script,
            1,
            &[
                (P::LockTaken, Script::Region),
                (P::RegionPlaced, Script::Region),
                (P::RegionDying, Script::Region),
            ],
        ),
        P::SemHelped => {
            (script, 1, &[(P::SemStamped, Script::Semaphore), (P::SemRecorded, Script::Semaphore)])
        }
        P::SemReclaimed => {
            (script, 1, &[(P::SemSettled, Script::Semaphore), (P::SemRecorded, Script::Semaphore)])
        }
        P::SemMemberFreed | P::SemSwept => (script, 2, &[]),
        // Passed by whoever tells a death.
        P::ParkCleared => (Script::Sweep, 2, &[]),
        P::MemberJoined => (Script::Region, 3, &[]),
        P::ChainPinned | P::ChainUnpinned => (GET, 24, &[]),
        P::ChainLost => (script, 1, &[(P::ChainRingOffered, PUT)]),
        P::ChainRetired | P::ChainHeadMoved | P::ChainDying | P::ChainRingFree => (GET, 3, &[]),
        P::ChainSpared => (GET, 1, &[(P::ChainPinned, GET)]),
        P::ChainGivenBack => (LEASE, 4, &[]),
        P::ChainFlagged | P::ChainEnded => (Script::Close, 1, &[]),
        // Those of a round's beginning; see `harness`.
        P::ChainGuestCame | P::ChainGuestLeft => (Script::Leave, 1, &[]),
        P::ChainSwept => (Script::Sweep, 1, &[(P::ChainRingOffered, PUT), (P::ChainDying, GET)]),
        _ => (script, visits, &[]),
    };
    let stop = match point {
        P::ReplyRefused => Some(P::ReplyMarked),
        // Others link theirs meanwhile.
        P::ChainLost => Some(P::ChainRingOffered),
        _ => None,
    };
    Some(Target { point, script, visits, causes, stop })
}

/// All points that are to be died at.
pub fn targets() -> Vec<Target> {
    Point::ALL.iter().filter_map(|point| target(*point)).collect()
}

/// Whether the point is reached only when a round ends.
pub fn is_closing(point: Point) -> bool {
    use Point as P;
    matches!(point, P::CloseFlagged | P::CloseMarked | P::ChainFlagged | P::ChainEnded)
}

/// Whether the point is passed in a round whose queue is a chain of rings, or is not.
pub fn is_here(point: Point, chained: bool) -> bool {
    match point {
        // A chain is never full, and its flag is another word.
        Point::CloseFlagged => !chained,
        _ => chained || !point.name().starts_with("chain."),
    }
}

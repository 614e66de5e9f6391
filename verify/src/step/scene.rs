//! What is stepped through: an operation, from a state of the queue, perhaps with one dead in it and one asleep on it.

use super::world::{CAPACITY, Item};
use offspring_core::points::Point;
use std::fmt;

/// A public operation, by the process that is to be killed in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Puts an item or a request; a `BlockPut` waits until there is room.
    Put,
    BlockPut,
    /// Takes one for good; a `BlockGet` waits until there is one.
    Get,
    BlockGet,
    /// Takes one on trial, and holds it.
    Lease,
    /// Ends a lease that it has.
    Commit,
    GiveBack,
    Reply,
    /// Takes an item that was given back too often.
    DeadLetter,
    /// Has a request under way: takes the answer that is there; waits for it; gives up, with the request in the queue or
    /// answered.
    TakeAnswer,
    WaitAnswer,
    DropTicket,
    DropAnswered,
    Close,
    /// Looks for the dead, and repairs.
    Recover,
    /// Becomes a process of the family; leaves it.
    Enter,
    Leave,
    /// Becomes a member of the queue; ceases to be one.
    Join,
    Part,
    /// Makes a region; frees it.
    Make,
    Free,
}

impl Op {
    pub const ALL: [Self; 21] = [
        Self::Put,
        Self::BlockPut,
        Self::Get,
        Self::BlockGet,
        Self::Lease,
        Self::Commit,
        Self::GiveBack,
        Self::Reply,
        Self::DeadLetter,
        Self::TakeAnswer,
        Self::WaitAnswer,
        Self::DropTicket,
        Self::DropAnswered,
        Self::Close,
        Self::Recover,
        Self::Enter,
        Self::Leave,
        Self::Join,
        Self::Part,
        Self::Make,
        Self::Free,
    ];

    /// Whether it is about the family rather than about the queue's items.
    pub fn is_family(self) -> bool {
        matches!(
            self,
            Self::Enter | Self::Leave | Self::Join | Self::Part | Self::Make | Self::Free
        )
    }

    /// Whether it puts an item of its own, which then is there or not.
    pub fn puts(self) -> bool {
        matches!(self, Self::Put | Self::BlockPut)
    }

    /// Whether it may take one item away for good.
    pub fn takes(self) -> bool {
        matches!(self, Self::Get | Self::BlockGet | Self::Commit | Self::Reply)
    }

    /// Whether it is about a request of its own.
    pub fn asks(self) -> bool {
        matches!(self, Self::TakeAnswer | Self::WaitAnswer | Self::DropTicket | Self::DropAnswered)
    }

    /// Whether it needs an item that it holds on trial.
    pub fn holds(self) -> bool {
        matches!(self, Self::Commit | Self::GiveBack | Self::Reply)
    }
}

/// One who died before: in this operation, at this point or at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dead(pub Op, pub Option<Point>);

/// All that a peer may have left. None of these committed anything.
const DEAD: [Dead; 8] = [
    Dead(Op::Put, Some(Point::PutClaimed)),
    Dead(Op::Put, Some(Point::PutBlockQueued)),
    Dead(Op::Get, Some(Point::GetClaimed)),
    Dead(Op::Get, Some(Point::GetBlockTaken)),
    Dead(Op::Lease, Some(Point::LeaseMoved)),
    Dead(Op::Lease, None),
    Dead(Op::GiveBack, Some(Point::ReturnDone)),
    Dead(Op::Reply, Some(Point::ReplyMarked)),
];

/// One who sleeps on the queue meanwhile, and whom nobody may forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sleeper {
    /// Waits for an item.
    Reader,
    /// Waits for room.
    Writer,
    /// Waits for the answer to a request.
    Requester,
}

/// The whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scene {
    pub op: Op,
    /// How the items travel, the operation's own too.
    pub item: Item,
    /// How many are there.
    pub filled: u8,
    /// Whether the ring has been through before.
    pub wrapped: bool,
    /// Whether the queue was closed just before.
    pub closed: bool,
    /// Whether an item is delivered once only.
    pub limit: bool,
    pub dead: Option<Dead>,
    pub sleeper: Option<Sleeper>,
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} of {CAPACITY} {:?}", self.op, self.filled, self.item)?;
        for (is, what) in
            [(self.wrapped, "wrapped"), (self.closed, "closing"), (self.limit, "limit")]
        {
            if is {
                write!(f, ", {what}")?;
            }
        }
        if let Some(Dead(op, point)) = self.dead {
            let point = point.map_or("the end", Point::name);
            write!(f, ", one dead in {op:?} at {point}")?;
        }
        if let Some(sleeper) = self.sleeper {
            write!(f, ", a {sleeper:?} asleep")?;
        }
        Ok(())
    }
}

/// Every operation from every state that it has.
pub fn all() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for op in Op::ALL {
        for item in [Item::Inline, Item::Block, Item::Request] {
            for filled in 0..=CAPACITY {
                for wrapped in [false, true] {
                    for closed in [false, true] {
                        for limit in [false, true] {
                            let deads = [None].into_iter().chain(DEAD.map(Some));
                            let scene = |dead, sleeper| Scene {
                                op,
                                item,
                                filled,
                                wrapped,
                                closed,
                                limit,
                                dead,
                                sleeper,
                            };
                            scenes.extend(deads.map(|dead| scene(dead, None)));
                            let sleepers = [Sleeper::Reader, Sleeper::Writer, Sleeper::Requester];
                            scenes.extend(sleepers.map(|sleeper| scene(None, Some(sleeper))));
                        }
                    }
                }
            }
        }
    }
    scenes.retain(Scene::makes_sense);
    scenes
}

impl Scene {
    fn makes_sense(&self) -> bool {
        let Self { op, item, filled, wrapped, closed, limit, dead, sleeper } = *self;
        let plain = !wrapped && !closed && !limit;
        if op.is_family() {
            let dead = dead.is_none_or(|dead| dead == Dead(Op::Lease, None));
            return plain && item == Item::Inline && filled == 1 && dead && sleeper.is_none();
        }
        let has_item = sleeper == Some(Sleeper::Requester) || filled > 0;
        let state = match op {
            Op::BlockPut => filled == CAPACITY && !closed,
            Op::BlockGet => filled == 0 && !closed,
            Op::Commit | Op::GiveBack => has_item,
            Op::Reply => has_item && item == Item::Request,
            Op::DeadLetter => limit && filled > 0,
            Op::TakeAnswer | Op::WaitAnswer | Op::DropTicket | Op::DropAnswered => {
                item == Item::Request && filled < CAPACITY
            }
            Op::Close => !closed,
            _ => true,
        };
        // A limit sends all to blocks, and matters to what is delivered again.
        let again =
            matches!(op, Op::Lease | Op::Commit | Op::GiveBack | Op::DeadLetter | Op::Recover);
        let limited = !limit || item == Item::Block && again && !wrapped && filled > 0;
        let dies = dead.is_none_or(|dead| self.can_have(dead));
        let sleeps = sleeper.is_none_or(|sleeper| !limit && self.can_have_asleep(sleeper));
        state && limited && dies && sleeps
    }

    /// Whether a peer could die so here.
    fn can_have(&self, Dead(op, point): Dead) -> bool {
        let held = u8::from(self.op.holds() || self.op == Op::DeadLetter);
        let mine = u8::from(self.op.asks());
        let items = self.filled - held.min(self.filled) + mine;
        let block_point = matches!(
            point,
            Some(Point::PutBlockQueued | Point::GetBlockTaken | Point::ReplyMarked)
        );
        let inline_point = matches!(point, Some(Point::LeaseMoved));
        // What it takes must not be what the operation waits for.
        let takes = !op.puts();
        !(self.closed && self.wrapped)
            && (if takes { items > 0 && mine == 0 } else { items < CAPACITY })
            && !(block_point && self.item == Item::Inline)
            && !(inline_point && (self.item != Item::Inline || self.limit))
            && (op != Op::Reply || self.item == Item::Request)
            && !(self.limit && takes)
    }

    /// Whether somebody would fall asleep here, whom the operation concerns.
    fn can_have_asleep(&self, sleeper: Sleeper) -> bool {
        if self.wrapped {
            return false;
        }
        match sleeper {
            Sleeper::Reader => match self.op {
                Op::Put | Op::Close => self.filled == 0 && !self.closed,
                Op::GiveBack | Op::Commit | Op::Reply => self.filled == 1,
                _ => false,
            },
            Sleeper::Writer => {
                self.filled == CAPACITY
                    && !self.closed
                    && matches!(self.op, Op::Get | Op::Lease | Op::Close)
            }
            Sleeper::Requester => {
                self.filled == 0
                    && self.item == Item::Request
                    && matches!(self.op, Op::Reply | Op::Commit | Op::GiveBack | Op::Get)
            }
        }
    }
}

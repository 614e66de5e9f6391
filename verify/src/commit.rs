//! Which of the queue's points lie behind which commit: what must have become of an operation whose participant died there.

use offspring_core::points::Point;

/// Whether something was committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Committed {
    /// It must have been.
    Yes,
    /// It must not have been.
    No,
    /// The point alone does not tell.
    Unknown,
}

/// Whether the put, or request, of a participant that died at `point` in it was committed.
#[must_use]
pub fn put(point: Point) -> Committed {
    match point {
        Point::PutCommitted | Point::PutHinted => Committed::Yes,
        Point::NotifyCounted | Point::NotifyWoken | Point::NotifyCleared => Committed::Unknown,
        _ => Committed::No,
    }
}

/// Whether a participant that died at `point`, with an item copied out, had it for good; `on_trial`: it was on lease.
#[must_use]
pub fn take(point: Point, on_trial: bool) -> Committed {
    match point {
        Point::GetCommitted | Point::GetHinted if !on_trial => Committed::Yes,
        Point::CommitDone | Point::ReplyDone => Committed::Yes,
        Point::NotifyCounted | Point::NotifyWoken | Point::NotifyCleared => Committed::Unknown,
        _ => Committed::No,
    }
}

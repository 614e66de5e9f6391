//! What a pool is doing, for anybody in the family who wants to know.

use super::board::{Board, Counter, State};
use serde::{Deserialize, Serialize};

/// A snapshot of a pool; see [`Pool::stats`](super::Pool::stats).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks given to the pool so far.
    pub submitted: u64,
    /// Tasks that gave a value.
    pub succeeded: u64,
    /// Tasks that ended with an error, lost ones among them.
    pub failed: u64,
    /// Times that a worker ended in the middle of a task.
    pub lost: u64,
    /// Times that such a task was tried again.
    pub retried: u64,
    /// Workers started so far.
    pub started: u64,
    /// Chunks that wait in the pool's process.
    pub backlog: u64,
    /// Chunks that were sent to the workers.
    pub under_way: u64,
    /// The workers that live.
    pub workers: Vec<WorkerStats>,
}

/// One worker; see [`Stats`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its number.
    pub pid: u32,
    /// Whether it runs tasks just now.
    pub busy: bool,
    /// Tasks that it has done.
    pub done: u64,
}

impl Stats {
    pub(super) fn of(board: &Board) -> Self {
        let count = |counter| board.count(counter);
        let slots = (0..board.slots_used()).map(|slot| board.slot(slot));
        let workers = slots.filter(|slot| slot.pid() != 0 && slot.state() != State::Gone);
        let workers = workers.map(|slot| WorkerStats {
            pid: slot.pid(),
            busy: matches!(slot.state(), State::Busy | State::Doomed),
            done: slot.tasks_done(),
        });
        Self {
            submitted: count(Counter::Submitted),
            succeeded: count(Counter::Succeeded),
            failed: count(Counter::Failed),
            lost: count(Counter::Lost),
            retried: count(Counter::Retried),
            started: count(Counter::Started),
            backlog: count(Counter::Backlog),
            under_way: count(Counter::UnderWay),
            workers: workers.collect(),
        }
    }
}

/// A handle on a pool's figures, which travels to other processes of the family.
///
/// ```
/// use offspring::{Pool, Process, pool::Watch};
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let pool = Pool::builder().workers(1).build()?;
///     pool.map(|n: u8| n, 0..10)?;
///     let seen = Process::spawn(|watch: Watch| watch.stats(), pool.watch())?.join()?;
///     assert_eq!((seen.submitted, seen.succeeded), (10, 10));
///     Ok(())
/// }
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Watch {
    board: Board,
}

impl Watch {
    pub(super) fn new(board: Board) -> Self {
        Self { board }
    }

    /// What the pool is doing just now. After its end, the last figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.board)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stats().fmt(f)
    }
}

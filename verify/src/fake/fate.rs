//! How a participant ends: it lives, or it dies at its k-th point.
//!
//! A death is a panic without a message that unwinds to the top of the participant's thread. The place is chosen outside
//! the model, one exploration a place, so that the choice adds no branches to what loom explores.

use offspring_core::points::{Point, set_hook};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Where one thread dies, and whether it ever got there; clones share the answer.
#[derive(Clone, Debug)]
pub struct Fate {
    /// The point, counted from 0; `usize::MAX`: none.
    at: usize,
    reached: Arc<AtomicBool>,
    /// The largest number of points that one run has passed.
    most_points: Arc<AtomicUsize>,
    /// The point's number in [`Point::ALL`], plus one, once a run died; else 0. Each [`afresh`](Self::afresh) has its own.
    died_at: Arc<AtomicUsize>,
    /// How often the last run passed each of the [`counted`] points; each [`afresh`](Self::afresh) has its own.
    commits: Arc<[AtomicUsize; 4]>,
}

/// Which of the counted commits a point lies behind.
fn counted(point: Point) -> Option<usize> {
    match point {
        Point::PutCommitted => Some(0),
        Point::GetCommitted => Some(1),
        Point::SpscPublished => Some(2),
        Point::SpscTaken => Some(3),
        _ => None,
    }
}

impl Fate {
    /// Does not die.
    #[must_use]
    pub fn lives() -> Self {
        Self::dies_at(usize::MAX)
    }

    /// Dies when it stands at its point number `at`, counted from 0, before whatever follows that point.
    #[must_use]
    pub fn dies_at(at: usize) -> Self {
        Self {
            at,
            reached: Arc::default(),
            most_points: Arc::default(),
            died_at: Arc::default(),
            commits: Arc::default(),
        }
    }

    /// Whether any run died.
    #[must_use]
    pub fn reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// The same fate for one more run: nobody died of it yet, but all share whether it was ever reached.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self { died_at: Arc::default(), commits: Arc::default(), ..self.clone() }
    }

    /// At which point the last run died, if any did since [`afresh`](Self::afresh).
    #[must_use]
    pub fn died_at(&self) -> Option<Point> {
        Point::ALL.get(self.died_at.load(Ordering::Relaxed).checked_sub(1)?).copied()
    }

    /// How often the run passed `point`, if it lies behind a commit of a queue or ring; 0 for others.
    #[must_use]
    pub fn commits(&self, point: Point) -> usize {
        counted(point).map_or(0, |which| self.commits[which].load(Ordering::Relaxed))
    }

    /// Whether this is a death at all.
    #[must_use]
    pub fn is_death(&self) -> bool {
        self.at != usize::MAX
    }

    /// The most points that a run passed.
    #[must_use]
    pub fn most_points(&self) -> usize {
        self.most_points.load(Ordering::Relaxed)
    }
}

/// The participant died.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crashed;

/// What the running thread still has before it.
struct Run {
    fate: Fate,
    passed: usize,
    dying: bool,
    /// Outside loom: every point that it passed.
    trail: Vec<Point>,
}

#[cfg(offspring_loom)]
loom::thread_local! {
    static RUN: RefCell<Option<Run>> = RefCell::new(None);
}
#[cfg(not(offspring_loom))]
thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

thread_local! {
    static TRAIL: RefCell<Vec<Point>> = const { RefCell::new(Vec::new()) };
}

/// Every point that this thread's last run passed, the one where it died included; always empty under loom.
#[must_use]
pub fn trail() -> Vec<Point> {
    TRAIL.with_borrow(Clone::clone)
}

/// How often each point was passed, by number, in all runs of this program.
static PASSED: [AtomicU64; Point::ALL.len()] = [const { AtomicU64::new(0) }; Point::ALL.len()];
/// How many participants died at each point.
static DIED: [AtomicU64; Point::ALL.len()] = [const { AtomicU64::new(0) }; Point::ALL.len()];

/// How often `point` was passed and how many participants died there, since the program began.
#[must_use]
pub fn tally(point: Point) -> (u64, u64) {
    let count = |table: &[AtomicU64]| table[point as usize].load(Ordering::Relaxed);
    (count(&PASSED), count(&DIED))
}

/// Whether the running thread is on its way out, dead: what is dropped now must not touch shared words.
#[must_use]
pub fn dying() -> bool {
    RUN.with(|run| run.borrow().as_ref().is_some_and(|run| run.dying))
}

/// Runs `body` in this thread under `fate`.
pub(super) fn under<R>(fate: &Fate, body: impl FnOnce() -> R) -> Result<R, Crashed> {
    set_hook(Some(at_point));
    RUN.with(|run| {
        *run.borrow_mut() =
            Some(Run { fate: fate.clone(), passed: 0, dying: false, trail: Vec::new() })
    });
    let result = catch_unwind(AssertUnwindSafe(body));
    RUN.with(|run| {
        if let Some(run) = run.borrow_mut().take() {
            run.fate.most_points.fetch_max(run.passed, Ordering::Relaxed);
            TRAIL.set(run.trail);
        }
    });
    result.map_err(|panic| match panic.downcast::<Crashed>() {
        Ok(_) => Crashed,
        Err(other) => resume_unwind(other),
    })
}

/// The hook: counts, and dies where it is written. A thread outside [`under`] passes.
fn at_point(point: Point) {
    let dies = RUN.with(|run| {
        let mut run = run.borrow_mut();
        let run = run.as_mut().filter(|run| !run.dying)?;
        let here = run.passed;
        run.passed += 1;
        if !cfg!(offspring_loom) {
            run.trail.push(point);
        }
        PASSED[point as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(which) = counted(point) {
            run.fate.commits[which].fetch_add(1, Ordering::Relaxed);
        }
        run.dying = here == run.fate.at;
        run.dying.then(|| run.fate.clone())
    });
    if let Some(fate) = dies {
        fate.reached.store(true, Ordering::Relaxed);
        fate.died_at.store(point as usize + 1, Ordering::Relaxed);
        DIED[point as usize].fetch_add(1, Ordering::Relaxed);
        resume_unwind(Box::new(Crashed));
    }
}

//! The processes that this one started and has not reaped yet, whether or not anybody still has a handle on them.

use super::record::Record;
use super::{ExitStatus, family_of};
use crate::sys::{self, Child, Lifeline, LifelineEnd};
use offspring_core::prim::{AtomicBool, Ordering};
use offspring_core::wait::Deadline;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

/// A process that this one started: what its handles and the table share.
pub(super) struct Started {
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) record: Record,
    process: Child,
    /// Of the process that started it.
    generation: u32,
    /// Both ends of the lifeline until the child was reaped or let go. The child shares the open file that the second
    /// leads to.
    lifeline: Mutex<Option<(Lifeline, LifelineEnd)>>,
    /// It does not end with this process.
    detached: AtomicBool,
    reaped: Once,
}

static CHILDREN: Mutex<Vec<Arc<Started>>> = Mutex::new(Vec::new());

fn children() -> MutexGuard<'static, Vec<Arc<Started>>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters a process that was just started.
pub(super) fn enter(
    name: String,
    daemon: bool,
    record: Record,
    process: Child,
    lifeline: (Lifeline, LifelineEnd),
) -> Arc<Started> {
    let started = Arc::new(Started {
        name,
        daemon,
        record,
        process,
        generation: sys::generation(),
        lifeline: Mutex::new(Some(lifeline)),
        detached: AtomicBool::new(false),
        reaped: Once::new(),
    });
    children().push(Arc::clone(&started));
    started
}

/// The children of this process itself that are not reaped. A fork of it sees those of its parent in the table, too.
pub(super) fn all() -> Vec<Arc<Started>> {
    children().iter().filter(|child| child.is_ours()).cloned().collect()
}

/// Reaps all that have ended.
pub(super) fn reap() {
    for child in all() {
        let _ = child.try_wait();
    }
}

impl Started {
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Blocks until one of `all` has ended, and gives its place; it is reaped. `None` if there are none.
    pub(super) fn wait_any(all: &[Arc<Self>]) -> Option<usize> {
        let processes: Vec<&Child> = all.iter().map(|child| &child.process).collect();
        let place = sys::status::wait_any(&processes)?;
        all[place].settle();
        Some(place)
    }

    /// The process itself: to poll for its end, to ask what it does.
    pub(super) fn process(&self) -> &sys::Peer {
        self.process.pidfd()
    }

    /// Blocks until it has ended.
    pub(super) fn wait(&self) -> ExitStatus {
        let status = sys::status::wait(&self.process);
        self.settle();
        ExitStatus(status)
    }

    pub(super) fn wait_deadline(&self, until: Deadline) -> Option<ExitStatus> {
        let status = sys::status::wait_deadline(&self.process, until)?;
        self.settle();
        Some(ExitStatus(status))
    }

    pub(super) fn try_wait(&self) -> Option<ExitStatus> {
        let status = sys::status::try_wait(&self.process)?;
        self.settle();
        Some(ExitStatus(status))
    }

    /// It has ended and is reaped: takes back what it held, and lets go of what it was kept by. Once, and only in the process
    /// that started it.
    fn settle(&self) {
        if !self.is_ours() {
            return;
        }
        self.reaped.call_once(|| {
            if let Some(family) = family_of() {
                family.note_gone(self.pid(), self.record.child());
            }
            self.cut();
            let this: *const Self = self;
            let mut children = children();
            let place = children.iter().position(|child| std::ptr::eq(Arc::as_ptr(child), this));
            let gone = place.map(|place| children.swap_remove(place));
            drop(children);
            drop(gone);
        });
    }

    /// Whether this is the process that started it, and no fork of that.
    pub(super) fn is_ours(&self) -> bool {
        self.generation == sys::generation()
    }

    fn cut(&self) {
        drop(self.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub(super) fn send_signal(&self, signal: i32) -> Result<(), sys::OsError> {
        if self.try_wait().is_some() {
            return Ok(());
        }
        match self.process.pidfd().send_signal(signal) {
            // It ended in between.
            Err(error) if error.is_not_found() => Ok(()),
            sent => sent,
        }
    }

    pub(super) fn is_detached(&self) -> bool {
        // ORDER: Relaxed. A flag of its own; a child that is detached while this process ends may be either.
        self.detached.load(Ordering::Relaxed)
    }

    /// Lets it live on when this process ends. Blocks until it has begun: before, its arguments are here.
    pub(super) fn detach(&self) -> Result<(), sys::OsError> {
        self.record.await_child(|| self.try_wait().is_some());
        let lifeline = self.lifeline.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, end)) = &*lifeline {
            end.release()?;
        }
        // ORDER: Relaxed, as above.
        self.detached.store(true, Ordering::Relaxed);
        drop(lifeline);
        self.cut();
        Ok(())
    }
}

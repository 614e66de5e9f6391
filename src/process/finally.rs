//! Finalisers: what this process does when it ends normally, or before if somebody wants it.

use crate::{init, sys};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Entry {
    /// Of the process that registered it.
    generation: u32,
    priority: i32,
    number: u64,
    call: Box<dyn FnOnce() + Send>,
}

struct Table {
    entries: Vec<Entry>,
    next: u64,
}

static TABLE: Mutex<Table> = Mutex::new(Table { entries: Vec::new(), next: 0 });

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One that was registered; [`at_exit`] gives it. Dropping it changes nothing.
pub struct Finalizer {
    number: u64,
}

/// Has `call` called once, in the thread that ends this process, when it ends normally. Not when it is killed or aborts, and
/// not in a fork of it.
///
/// Those of a priority from 0 on run before its children are terminated or waited for, the others after. The highest
/// priority runs first; of the same priority the one that was registered last. A panic in one is told, and the others run.
///
/// ```
/// use offspring::process;
///
/// let finalizer = process::at_exit(10, || println!("tidied up"));
/// assert!(finalizer.run());
/// assert!(!finalizer.run(), "once");
/// ```
#[doc(alias = "Finalize")]
#[doc(alias = "atexit")]
pub fn at_exit(priority: i32, call: impl FnOnce() + Send + 'static) -> Finalizer {
    let mut table = table();
    let number = table.next;
    table.next += 1;
    let generation = sys::generation();
    table.entries.push(Entry { generation, priority, number, call: Box::new(call) });
    drop(table);
    init::began();
    Finalizer { number }
}

impl Finalizer {
    /// Calls it now, and not at the end; false if it was called or cancelled.
    pub fn run(&self) -> bool {
        let Some(entry) = self.take() else { return false };
        (entry.call)();
        true
    }

    /// Forgets it; false if it was called or cancelled.
    pub fn cancel(&self) -> bool {
        self.take().is_some()
    }

    /// Whether it is still to be called.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        table().entries.iter().any(|entry| self.is(entry))
    }

    fn is(&self, entry: &Entry) -> bool {
        entry.number == self.number && entry.generation == sys::generation()
    }

    fn take(&self) -> Option<Entry> {
        let mut table = table();
        let place = table.entries.iter().position(|entry| self.is(entry))?;
        Some(table.entries.remove(place))
    }
}

impl fmt::Debug for Finalizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finalizer").field("pending", &self.is_pending()).finish()
    }
}

/// Calls those of this process whose priority is among `which`, each once, those too that are registered meanwhile.
pub(super) fn run(which: impl Fn(i32) -> bool) {
    let generation = sys::generation();
    loop {
        let mut table = table();
        let ours = table.entries.iter().enumerate();
        let ours = ours.filter(|(_, e)| e.generation == generation && which(e.priority));
        let Some((place, _)) = ours.max_by_key(|(_, entry)| (entry.priority, entry.number)) else {
            return;
        };
        let entry = table.entries.remove(place);
        drop(table);
        // The hook has told of a panic.
        let _ = catch_unwind(AssertUnwindSafe(entry.call));
    }
}

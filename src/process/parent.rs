//! The process that started this one.

use super::current::Me;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What tells one process from all others, now and later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pid: u32,
    /// Of the incarnation that has the number.
    number: u64,
    name: String,
}

impl Identity {
    /// The calling process's.
    ///
    /// Errors: the system tells no process from another.
    pub(super) fn of_self(name: String) -> Result<Self, sys::OsError> {
        /// Pid and number, of the process of that generation: each start asks.
        static KNOWN: Mutex<Option<(u32, u32, u64)>> = Mutex::new(None);
        let generation = sys::generation();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, pid, number) = match known.filter(|(of, ..)| *of == generation) {
            Some(known) => known,
            None => *known.insert((generation, std::process::id(), sys::identity_of_self()?)),
        };
        Ok(Self { pid, number, name })
    }
}

/// The process that started this one, to ask about and to wait for; [`parent`] gives it.
#[derive(Clone)]
pub struct Parent {
    me: Arc<Me>,
    /// `None` once it is gone.
    process: Option<Arc<sys::Peer>>,
}

/// The process that started this one; `None` in one that nobody of the family started.
///
/// A child ends with its parent, so that only one that was [detached](super::Process::detach) sees it end.
///
/// ```
/// use offspring::{Process, process};
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     assert!(process::parent().is_none());
///     let child = Process::spawn(|()| process::parent().map(|parent| parent.pid()), ())?;
///     assert_eq!(child.join()?, Some(std::process::id()));
///     Ok(())
/// }
/// ```
#[doc(alias = "parent_process")]
#[doc(alias = "getppid")]
#[must_use]
pub fn parent() -> Option<Parent> {
    let me = Me::get();
    let identity = me.told.parent.as_ref()?;
    let process = sys::Peer::open(identity.pid).ok();
    let process = process.filter(|process| process.identity() == identity.number).map(Arc::new);
    Some(Parent { me, process })
}

impl Parent {
    fn identity(&self) -> Option<&Identity> {
        self.me.told.parent.as_ref()
    }

    /// Its number. Another process may have it by now, if this one is gone.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.identity().map_or(0, |identity| identity.pid)
    }

    /// Its name, as it was when it started this process.
    #[must_use]
    pub fn name(&self) -> &str {
        self.identity().map_or("", |identity| &identity.name)
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.is_gone())
    }

    /// Waits until it has ended. How it ended is not for its children to know.
    #[doc(alias = "join")]
    pub fn wait(&self) {
        if let Some(process) = &self.process {
            while !process.wait_gone(None) {}
        }
    }

    /// Waits until it has ended, for `timeout` at most; false if it still lives.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let process = self.process.as_ref();
        process.is_none_or(|process| process.wait_gone(Some(sys::now().after(nanos))))
    }

    /// Waits until it has ended, until `deadline` at most; false if it still lives.
    #[must_use]
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.wait_timeout(deadline.saturating_duration_since(Instant::now()))
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").field("pid", &self.pid()).field("name", &self.name()).finish()
    }
}

//! A child whose value nobody asks for: what `active_children` lists, and what `Process` builds on.

use super::children::{self, Started};
use super::{ExitStatus, Process};
use crate::error::{Error, Kind, Result, Subject};
use crate::sys::{self, BorrowedFile};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a process does at the moment, as the system tells it.
pub use crate::sys::state::State;

/// What becomes ready to be read when a process has ended, for `poll` and its like: a descriptor (Unix) or a handle
/// (Windows), borrowed.
pub type Sentinel<'a> = BorrowedFile<'a>;

/// A child, without its value: to wait for it and to end it. Any number of copies, in any thread.
///
/// [`active_children`] and [`Process::handle`] give it. Of use in the process that started the child, and in no other.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Started>);

/// The children of this process that have not ended, whether or not anybody has their [`Process`]. Those that have ended
/// are reaped.
///
/// ```
/// use offspring::{Process, process};
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let child = Process::builder("waits").spawn(|()| std::thread::park(), ())?;
///     let children = process::active_children();
///     assert_eq!(children.len(), 1);
///     assert_eq!(children[0].name(), "waits");
///     children[0].kill()?;
///     child.wait();
///     assert!(process::active_children().is_empty());
///     Ok(())
/// }
/// ```
#[must_use]
pub fn active_children() -> Vec<Handle> {
    children::all().into_iter().filter(|child| child.try_wait().is_none()).map(Handle).collect()
}

/// Waits until one of `children` has ended, and gives its place; `None` if there are none. Blocks without using a processor.
///
/// ```
/// use offspring::{Process, process};
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let children = [Process::spawn(|()| std::thread::park(), ())?, Process::spawn(|()| (), ())?];
///     let handles = children.each_ref().map(Process::handle);
///     assert_eq!(process::wait_any(&handles), Some(1));
///     handles[0].kill()
/// }
/// ```
#[doc(alias = "multiprocessing.connection.wait")]
#[must_use]
pub fn wait_any(children: &[Handle]) -> Option<usize> {
    let started: Vec<_> = children.iter().map(|child| Arc::clone(&child.0)).collect();
    Started::wait_any(&started)
}

impl Handle {
    /// As [`Process::wait`].
    pub fn wait(&self) -> ExitStatus {
        self.0.wait()
    }

    /// As [`Process::try_wait`].
    #[must_use]
    pub fn try_wait(&self) -> Option<ExitStatus> {
        self.0.try_wait()
    }

    /// As [`Process::wait_timeout`].
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitStatus> {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        self.0.wait_deadline(sys::now().after(nanos))
    }

    /// As [`Process::wait_deadline`].
    #[must_use]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<ExitStatus> {
        self.wait_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// As [`Process::is_alive`].
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.try_wait().is_none()
    }

    /// As [`Process::pid`].
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// As [`Process::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// As [`Process::is_daemon`].
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// As [`Process::state`].
    #[must_use]
    pub fn state(&self) -> Option<State> {
        sys::state::of(self.0.process())
    }

    /// As [`Process::sentinel`].
    ///
    /// # Errors
    ///
    /// [`is_unsupported`](Error::is_unsupported).
    pub fn sentinel(&self) -> Result<Sentinel<'_>> {
        self.0.process().fd().ok_or_else(|| super::no_sentinel(self.pid()))
    }

    /// As [`Process::terminate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn terminate(&self) -> Result<()> {
        self.signal(sys::signal::TERMINATE)
    }

    /// As [`Process::kill`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn kill(&self) -> Result<()> {
        self.signal(sys::signal::KILL)
    }

    /// As [`Process::shutdown`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn shutdown(&self, grace: Duration) -> Result<ExitStatus> {
        self.terminate()?;
        if let Some(status) = self.wait_timeout(grace) {
            return Ok(status);
        }
        self.kill()?;
        Ok(self.wait())
    }

    fn signal(&self, signal: i32) -> Result<()> {
        self.0
            .send_signal(signal)
            .map_err(|error| Error::caused(Kind::Os, Subject::Process(self.pid()), "end it", error))
    }
}

impl<R> From<Process<R>> for Handle {
    fn from(process: Process<R>) -> Self {
        process.handle()
    }
}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Handle {}

// As for `Process`.
impl UnwindSafe for Handle {}
impl RefUnwindSafe for Handle {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("pid", &self.pid())
            .field("name", &self.name())
            .field("daemon", &self.is_daemon())
            .finish()
    }
}

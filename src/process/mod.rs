//! Processes: functions that run in another process, and what becomes of them.
//!
//! A child is this program again, started from its own executable; [`init`](crate::init()) in its `main` finds out that it
//! is a child and runs the function. Arguments and value are [`serde`] values and go through shared memory.
//!
//! What ends when:
//!
//! | this process | its children |
//! |---|---|
//! | ends normally | daemons are terminated, others waited for |
//! | is killed, or aborts | are killed by the kernel |
//!
//! except those that were [detached](Process::detach). A [`Process`] that is dropped changes nothing.
//!
//! A child exits with 0 when its function returned, 101 when that panicked (or aborts, with `panic = "abort"`), 1 when its
//! arguments could not be read or its value could not be written, 125 when it could not even begin.
//!
//! # Source
//!
//! The rules are those of Python's `multiprocessing.Process`, except that a killed parent leaves no orphans.

mod builder;
mod child;
mod children;
mod context;
mod current;
mod entry;
mod exit;
mod finally;
mod forked;
mod handle;
mod join;
mod named;
mod panic;
mod parent;
mod record;
mod scope;
mod server;
mod setup;
mod start;
mod status;
mod stdio;
mod task;

pub use crate::value::Passed;
pub use builder::Builder;
pub use context::{
    Context, StartMethod, replace_context, set_context, set_executable, set_start_method,
    start_method, start_method_if_set,
};
pub use current::{Current, current};
pub use finally::{Finalizer, at_exit};
pub use handle::{Handle, Sentinel, State, active_children, wait_any};
pub use join::JoinError;
pub use named::register;
pub use panic::Panic;
pub use parent::{Parent, parent};
pub use scope::{Scope, Scoped, scope};
pub use status::ExitStatus;
pub use stdio::Stdio;
pub use task::Run;

pub(crate) use exit::{end, register as register_end};
pub(crate) use panic::caught;
pub(crate) use record::register_kinds;

use crate::error::{Error, Kind, Result, Subject};
use crate::sys::{self, Family};
use crate::value;
use children::Started;
use join::Why;
use record::Outcome;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The exit code of a child that could not begin: what its function was, it never learned.
const NEVER_BEGAN: i32 = 125;

/// A function that runs, or ran, in another process, and gives an `R`.
///
/// # Blocking and crash
///
/// The child is this process's, however many threads use the handle. Dropping the handle does not end the child, which
/// is still waited for (or terminated, if a daemon) when this process ends, and reaped. If this process is killed,
/// so is the child.
///
/// # Examples
///
/// ```
/// use offspring::Process;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let child = Process::spawn(fibonacci, 20)?;
///     assert_ne!(child.pid(), std::process::id());
///     assert_eq!(child.join()?, 6765);
///     Ok(())
/// }
///
/// fn fibonacci(n: u32) -> u64 {
///     if n < 2 { n as u64 } else { fibonacci(n - 1) + fibonacci(n - 2) }
/// }
/// ```
#[doc(alias = "multiprocessing.Process")]
pub struct Process<R> {
    started: Arc<Started>,
    _value: PhantomData<fn() -> R>,
}

impl Process<()> {
    /// A process to be, with a name, which is for people: it need not be unique. `""` gives the name that
    /// [`spawn`](Self::spawn) gives.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder { name: Some(name.into()).filter(|name| !name.is_empty()), ..Builder::default() }
    }
}

impl<R> Process<R> {
    fn new(started: Arc<Started>) -> Self {
        Self { started, _value: PhantomData }
    }

    /// Starts a process that calls `function` with `arguments`.
    ///
    /// The function is any `fn` of this program, or a closure without captures. Arguments and value are serialised, of any
    /// size; queues among them lead to the same queue there, and files go along as arguments. Its name is `Process-1`,
    /// `Process-2`, and in a child `Process-2:1`; it is a daemon if this process is one (but a daemon may not
    /// start any).
    ///
    /// # Blocking and crash
    ///
    /// Blocks until the program runs, about a millisecond; not for its `main`. If this process is killed meanwhile, the child
    /// ends, and nothing is left of either.
    ///
    /// # Errors
    ///
    /// [`is_not_initialised`](Error::is_not_initialised): neither `init` nor `test_entry!` is there for the child to
    /// begin. [`is_encode`](Error::is_encode): the arguments cannot be serialised. No memory; a limit on processes or
    /// open files; a function of a library that is loaded as a file of its own; a daemon as parent.
    ///
    /// # Examples
    ///
    /// What a closure would capture does not exist in the other process, so it goes as an argument:
    ///
    /// ```compile_fail,E0308
    /// let n = 3;
    /// let child = offspring::Process::spawn(|m: u32| n + m, 4);
    /// ```
    #[doc(alias = "start")]
    pub fn spawn<A>(function: fn(A) -> R, arguments: A) -> Result<Self>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Builder::default().spawn(function, arguments)
    }

    /// Starts a process that runs `task`, whose fields travel there.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn run<T>(task: T) -> Result<Self>
    where
        T: Run<Output = R>,
    {
        Builder::default().run(task)
    }

    /// Waits until the process has ended, and gives what its function returned.
    ///
    /// The value counts from when it was committed, whatever became of the process after.
    ///
    /// # Errors
    ///
    /// It panicked, exited or was killed before; its arguments or its value could not travel. See [`JoinError`].
    pub fn join(self) -> Result<R, JoinError>
    where
        R: DeserializeOwned,
    {
        let status = self.wait();
        let started = &self.started;
        let failed = |why| JoinError::new(started.pid(), &started.name, status, why);
        match started.record.read_result() {
            Outcome::Value(bytes, carries) => {
                if carries {
                    value::adopt(&bytes);
                }
                let value = value::decode(&bytes, carries, Vec::new());
                if started.is_ours() {
                    started.record.drop_result();
                }
                value.map_err(|error| failed(Why::Unreadable(error)))
            }
            outcome => Err(failed(Why::of(started, &outcome, status).unwrap_or(Why::Ended))),
        }
    }

    /// As [`join`](Self::join) if the process has ended; otherwise the handle comes back.
    ///
    /// # Errors
    ///
    /// The outer one: it has not ended. The inner one: as [`join`](Self::join).
    pub fn try_join(self) -> Result<Result<R, JoinError>, Self>
    where
        R: DeserializeOwned,
    {
        if self.is_alive() { Err(self) } else { Ok(self.join()) }
    }

    /// As [`join`](Self::join), but waits for `timeout` at most; then the handle comes back.
    ///
    /// ```
    /// use offspring::Process;
    /// use std::time::Duration;
    ///
    /// # #[allow(clippy::needless_doctest_main)]
    /// fn main() -> offspring::Result<()> {
    ///     let _main = offspring::init();
    ///     let child = Process::spawn(|()| std::thread::park(), ())?;
    ///     let child = child.join_timeout(Duration::from_millis(10)).unwrap_err();
    ///     child.kill()?;
    ///     assert!(child.join().unwrap_err().is_killed());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_join`](Self::try_join).
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<R, JoinError>, Self>
    where
        R: DeserializeOwned,
    {
        if self.wait_timeout(timeout).is_none() { Err(self) } else { Ok(self.join()) }
    }

    /// As [`join`](Self::join), but waits until `deadline` at most; then the handle comes back.
    ///
    /// # Errors
    ///
    /// As [`try_join`](Self::try_join).
    pub fn join_deadline(self, deadline: Instant) -> Result<Result<R, JoinError>, Self>
    where
        R: DeserializeOwned,
    {
        if self.wait_deadline(deadline).is_none() { Err(self) } else { Ok(self.join()) }
    }

    /// Waits until the process has ended; says how. Any number of times, from any thread.
    pub fn wait(&self) -> ExitStatus {
        self.started.wait()
    }

    /// How the process ended; `None` while it has not.
    #[doc(alias = "exitcode")]
    #[must_use]
    pub fn try_wait(&self) -> Option<ExitStatus> {
        self.started.try_wait()
    }

    /// As [`wait`](Self::wait), for `timeout` at most; then `None`.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitStatus> {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        self.started.wait_deadline(sys::now().after(nanos))
    }

    /// As [`wait`](Self::wait), until `deadline` at most; then `None`.
    #[must_use]
    pub fn wait_deadline(&self, deadline: Instant) -> Option<ExitStatus> {
        self.wait_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.try_wait().is_none()
    }

    /// Its number. Another process may have it once this one has ended and was reaped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.started.pid()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.started.name
    }

    /// Whether it is terminated, rather than waited for, when this process ends.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.started.daemon
    }

    /// Asks it to end (SIGTERM), which it may handle or ignore. Nothing happens if it has ended.
    ///
    /// # Errors
    ///
    /// What the system says: not permitted.
    pub fn terminate(&self) -> Result<()> {
        self.handle().terminate()
    }

    /// Ends it at once, at whichever instruction it is. Nothing happens if it has ended.
    ///
    /// # Blocking and crash
    ///
    /// Does not wait for its end. Whatever it held of queues and other shared objects comes back to the survivors.
    ///
    /// # Errors
    ///
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> Result<()> {
        self.handle().kill()
    }

    /// Asks it to end, and kills it if it still lives after `grace`. Blocks until it has ended; says how.
    ///
    /// ```
    /// use offspring::Process;
    /// use std::time::Duration;
    ///
    /// # #[allow(clippy::needless_doctest_main)]
    /// fn main() -> offspring::Result<()> {
    ///     let _main = offspring::init();
    ///     let child = Process::spawn(|()| std::thread::park(), ())?;
    ///     assert!(!child.shutdown(Duration::from_secs(5))?.success());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`terminate`](Self::terminate).
    pub fn shutdown(&self, grace: Duration) -> Result<ExitStatus> {
        self.handle().shutdown(grace)
    }

    /// What it does at the moment; `None` once it has ended and was reaped, or where the system does not tell.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        sys::state::of(self.started.process())
    }

    /// What becomes ready to be read when it has ended: for `poll`, `epoll` and event loops. Nothing is to be read from it.
    ///
    /// # Errors
    ///
    /// [`is_unsupported`](Error::is_unsupported): the system gives none (Linux before 5.3, or a filter).
    #[doc(alias = "pidfd")]
    pub fn sentinel(&self) -> Result<Sentinel<'_>> {
        self.started.process().fd().ok_or_else(|| no_sentinel(self.pid()))
    }

    /// To wait for it and to end it, without its value; as many as needed.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.started))
    }

    /// Lets it live on when this process ends, however that may be; it is not waited for then.
    ///
    /// While this process lives it is still the one that reaps the child. Its value is lost.
    ///
    /// # Blocking and crash
    ///
    /// Blocks until the child has begun, some milliseconds after its start. Before this has returned the child ends with
    /// this process.
    ///
    /// # Errors
    ///
    /// None on a system that works.
    pub fn detach(self) -> Result<()> {
        self.started.detach().map_err(|error| {
            Error::caused(Kind::Os, Subject::Process(self.pid()), "detach it", error)
        })
    }
}

// What a panic can interrupt here is done in single steps, or once and for all (`Once`, the family's protocols).
impl<R> UnwindSafe for Process<R> {}
impl<R> RefUnwindSafe for Process<R> {}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid())
            .field("name", &self.name())
            .field("daemon", &self.is_daemon())
            .finish()
    }
}

fn no_sentinel(pid: u32) -> Error {
    let text =
        "give something to poll for its end: this system refuses it (Linux 5.3 has it); use `wait`";
    Error::new(Kind::Unsupported, Subject::Process(pid), text)
}

/// If this process was started as a child: does its work and ends.
pub(crate) fn become_child() {
    if let Some(end) = entry::take_marker() {
        child::run(end)
    }
}

/// The family, if there is one already or one can be had.
fn family_of() -> Option<&'static Family> {
    crate::family::family().ok()
}

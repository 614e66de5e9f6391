//! Processes that cannot outlive a scope, and are cancelled together when one of them fails.

use super::children::Started;
use super::join::JoinError;
use super::{Builder, Handle, Process};
use crate::error::{Error, Kind, Result, Subject};
use crate::sys;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a cancelled process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// Starts processes that end before [`scope`] returns.
pub struct Scope(Mutex<Members>);

struct Members {
    /// Those of which nobody has seen the end.
    alive: Vec<Arc<Started>>,
    /// Why the first that failed did.
    failure: Option<JoinError>,
    /// No more are started.
    cancelled: bool,
}

/// A process of a scope. Without [`join`](Self::join) its value is lost; the scope waits for its end all the same.
pub struct Scoped<'scope, R> {
    process: Process<R>,
    scope: &'scope Scope,
}

/// Calls `body`, which may start processes in the scope, and waits for all of them.
///
/// When one fails (it panics, is killed, exits or cannot give its value) the others are cancelled: asked to end, and two
/// seconds later killed. So they are when `body` fails or panics.
///
/// # Blocking and crash
///
/// No thread watches the processes. A failure is noticed wherever this process has to do with the scope: in [`Scoped::join`],
/// whichever process it asks for, in [`Scope::spawn`], in [`Scope::check`], and at the end of the scope. While `body` does
/// something else, nothing is cancelled; a body that works on for long calls `check` now and then.
///
/// # Errors
///
/// That of the first process that failed; else what `body` says.
///
/// # Examples
///
/// ```
/// use offspring::process;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let sum = process::scope(|s| {
///         let halves = [s.spawn(sum, (0, 50))?, s.spawn(sum, (50, 101))?];
///         halves.into_iter().map(|half| half.join()).sum::<offspring::Result<u64>>()
///     })?;
///     assert_eq!(sum, 5050);
///
///     let failed = process::scope(|s| {
///         s.spawn(|()| std::thread::park(), ())?;
///         s.spawn(|n: u32| assert_eq!(n, 1, "one fails"), 2)?;
///         Ok(())
///     });
///     assert!(failed.unwrap_err().is_panic());
///     Ok(())
/// }
///
/// fn sum((from, to): (u64, u64)) -> u64 {
///     (from..to).sum()
/// }
/// ```
pub fn scope<T>(body: impl FnOnce(&Scope) -> Result<T>) -> Result<T> {
    let members = Members { alive: Vec::new(), failure: None, cancelled: false };
    let scope = Scope(Mutex::new(members));
    let result = match catch_unwind(AssertUnwindSafe(|| body(&scope))) {
        Ok(result) => result,
        Err(panic) => {
            scope.cancel();
            resume_unwind(panic)
        }
    };
    if result.is_err() {
        scope.cancel();
    }
    scope.wait_for(None);
    match scope.members().failure.take() {
        Some(failure) => Err(failure.into()),
        None => result,
    }
}

impl Scope {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process in the scope; as [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// As there; also when the scope was cancelled.
    pub fn spawn<A, R>(&self, function: fn(A) -> R, arguments: A) -> Result<Scoped<'_, R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.spawn_with(&Builder::default(), function, arguments)
    }

    /// Starts a process in the scope, with options; as [`Builder::spawn`].
    ///
    /// # Errors
    ///
    /// As there; also when the scope was cancelled.
    pub fn spawn_with<A, R>(
        &self,
        builder: &Builder,
        function: fn(A) -> R,
        arguments: A,
    ) -> Result<Scoped<'_, R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.look("start a process in a scope")?;
        let process = builder.spawn(function, arguments)?;
        let mut members = self.members();
        members.alive.push(Arc::clone(&process.started));
        let late = members.cancelled;
        drop(members);
        if late {
            // Another thread's wait has cancelled the scope meanwhile.
            self.cancel();
        }
        Ok(Scoped { process, scope: self })
    }

    /// Looks whether one of the processes has failed by now; the others are cancelled then. For a body that does something else
    /// than wait for them: an error ends it by `?`.
    ///
    /// # Blocking and crash
    ///
    /// Does not wait, but for those that it cancels.
    ///
    /// # Errors
    ///
    /// [`is_participant_lost`](Error::is_participant_lost): the scope was cancelled, now or before. [`scope`] itself says which
    /// process failed first, and why.
    ///
    /// ```
    /// use offspring::process;
    ///
    /// # #[allow(clippy::needless_doctest_main)]
    /// fn main() -> offspring::Result<()> {
    ///     let _main = offspring::init();
    ///     let failed = process::scope::<()>(|s| {
    ///         s.spawn(|n: u32| assert_eq!(n, 1, "one fails"), 2)?;
    ///         loop {
    ///             s.check()?;
    ///             // A part of what this process does itself.
    ///             std::thread::yield_now();
    ///         }
    ///     });
    ///     assert!(failed.unwrap_err().is_panic());
    ///     Ok(())
    /// }
    /// ```
    pub fn check(&self) -> Result<()> {
        self.look("go on in a scope")
    }

    fn look(&self, what: &str) -> Result<()> {
        let alive = self.members().alive.clone();
        alive.iter().filter(|one| one.try_wait().is_some()).for_each(|one| self.note(one));
        if self.is_cancelled() {
            let text = format!("{what}: one of its processes failed, and all were cancelled");
            return Err(Error::new(Kind::ParticipantLost, Subject::None, text));
        }
        Ok(())
    }

    /// Whether a failure was noticed, or [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.members().cancelled
    }

    /// Ends all processes of the scope: asks them to, and kills those that still live two seconds later. Blocks until they
    /// have ended.
    pub fn cancel(&self) {
        let mut members = self.members();
        members.cancelled = true;
        let all = std::mem::take(&mut members.alive);
        drop(members);
        let handles: Vec<Handle> = all.into_iter().map(Handle).collect();
        for handle in &handles {
            let _ = handle.terminate();
        }
        let until = sys::now().after(GRACE.as_nanos() as u64);
        for handle in &handles {
            if handle.0.wait_deadline(until).is_none() {
                let _ = handle.kill();
                handle.wait();
            }
        }
    }

    /// Waits until `target` has ended, or all have. Cancels the others when one fails.
    fn wait_for(&self, target: Option<&Arc<Started>>) {
        loop {
            let alive = self.members().alive.clone();
            let is_over = |target: &Arc<Started>| !alive.iter().any(|one| Arc::ptr_eq(one, target));
            if alive.is_empty() || target.is_some_and(is_over) {
                return;
            }
            let Some(place) = Started::wait_any(&alive) else { return };
            self.note(&alive[place]);
        }
    }

    /// One has ended; the others are cancelled if it failed.
    fn note(&self, ended: &Arc<Started>) {
        let fault = JoinError::of(ended);
        let mut members = self.members();
        members.alive.retain(|one| !Arc::ptr_eq(one, ended));
        let Some(fault) = fault.filter(|_| !members.cancelled) else { return };
        members.failure = Some(fault);
        members.cancelled = true;
        drop(members);
        self.cancel();
    }
}

impl<R> Scoped<'_, R> {
    /// Waits until it has ended, and gives what its function returned. If another one of the scope fails before, this one
    /// is cancelled.
    ///
    /// # Errors
    ///
    /// As [`Process::join`].
    pub fn join(self) -> Result<R>
    where
        R: DeserializeOwned,
    {
        self.scope.wait_for(Some(&self.process.started));
        Ok(self.process.join()?)
    }

    /// To end it, and to ask about it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.process.handle()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.members();
        f.debug_struct("Scope")
            .field("alive", &members.alive.len())
            .field("cancelled", &members.cancelled)
            .finish()
    }
}

impl<R> fmt::Debug for Scoped<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)
    }
}

//! A process to be, with a name and options.

use super::context::Context;
use super::setup::Changes;
use super::stdio::Stdio;
use super::{Process, Run, start};
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::path::PathBuf;

/// A process to be; [`Process::builder`] makes one.
///
/// ```
/// use offspring::Process;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let child = Process::builder("adder").spawn(|(a, b): (u8, u8)| a + b, (2, 3))?;
///     assert_eq!(child.name(), "adder");
///     assert_eq!(child.join()?, 5);
///     Ok(())
/// }
/// ```
///
/// # What a child inherits
///
/// | | by `spawn` and `fork` | by `forkserver` |
/// |---|---|---|
/// | environment, working directory, umask, limits | as they are here, unless changed below | as they were when the server was started |
/// | standard streams | as they are here, unless redirected below | the same |
/// | signal mask | that of the thread that starts it | that of the thread that started the server |
/// | signals that are handled here | back at their default (`fork`: handled) | back at their default |
/// | signals that are ignored here | ignored, but for SIGPIPE | the same |
/// | session and process group, so the terminal; on Windows the console | the same | the same |
/// | other files | none but those in its arguments (`fork`: all) | none but those in its arguments |
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is started before `spawn`"]
pub struct Builder {
    pub(super) name: Option<String>,
    pub(super) daemon: Option<bool>,
    pub(super) from_daemon: bool,
    pub(super) context: Option<Context>,
    pub(super) directory: Option<PathBuf>,
    pub(super) umask: Option<u32>,
    pub(super) clear: bool,
    pub(super) changes: Changes,
    pub(super) streams: [Stdio; 3],
}

impl Builder {
    /// Whether it is terminated, rather than waited for, when this process ends. Without this it is what this process is.
    ///
    /// Unlike a Unix daemon it does not outlive its parent. A daemon may not start processes, unless it says
    /// [`from_daemon`](Self::from_daemon).
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// Lets this process start it though it is a daemon itself. Its child ends with it when it is terminated.
    pub fn from_daemon(mut self, allowed: bool) -> Self {
        self.from_daemon = allowed;
        self
    }

    /// How it is made; without this, by the program's [default](Context::current).
    pub fn context(mut self, context: &Context) -> Self {
        self.context = Some(context.clone());
        self
    }

    /// Where it works. A directory that cannot be entered is told by `join`.
    #[doc(alias = "cwd")]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The permissions that files which it makes do *not* have. Without meaning on Windows.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.changes.push((name.into(), Some(value.into())));
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.changes.push((name.into(), None));
        self
    }

    /// Empties its environment, but for what is set after this.
    pub fn env_clear(mut self) -> Self {
        self.clear = true;
        self.changes.clear();
        self
    }

    /// Its standard input.
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.streams[0] = from.into();
        self
    }

    /// Its standard output.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.streams[1] = to.into();
        self
    }

    /// Its standard error.
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.streams[2] = to.into();
        self
    }

    /// Starts it; as [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]; also [`is_invalid`](crate::Error::is_invalid) for a name of more than 1024 bytes, or a
    /// variable that the system does not take; [`is_too_large`](crate::Error::is_too_large) for a directory or, with a
    /// fork server, an environment of thousands of bytes; [`is_many_threads`](crate::Error::is_many_threads) for a
    /// `fork` that is refused.
    pub fn spawn<A, R>(&self, function: fn(A) -> R, arguments: A) -> Result<Process<R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        start::start(self, function, arguments).map(Process::new)
    }

    /// Starts a process that runs `task`; as [`Process::run`].
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn run<T: Run>(&self, task: T) -> Result<Process<T::Output>> {
        self.spawn(T::run, task)
    }

    /// Starts a process that calls the function that was [registered](super::register) there as `function`: also in
    /// [another program](Context::executable). Both programs must agree on what the arguments and the value are.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn). That nothing has that name there, or that the arguments cannot be read, says `join`.
    pub fn spawn_named<A, R>(&self, function: &str, arguments: A) -> Result<Process<R>>
    where
        A: Serialize,
        R: DeserializeOwned,
    {
        start::start_named(self, function, arguments).map(Process::new)
    }
}

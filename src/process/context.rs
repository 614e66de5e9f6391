//! How children are made: start methods, the default among them, and contexts that carry one.
//!
//! | | [`Spawn`](StartMethod::Spawn) | [`Forkserver`](StartMethod::Forkserver) | [`Fork`](StartMethod::Fork) |
//! |---|---|---|---|
//! | is | this program, executed again | a copy of a small server | a copy of this process |
//! | begins in | `main`, up to `init` | `init` of the server | the call that starts it |
//! | needs | `init` or `test_entry!` | the same | a process of one thread |
//! | has | no memory of its parent's | what the server's initialiser made | all memory, as it was |
//! | has open | its own files alone | its own files alone | all that its parent has |
//! | environment, directory | its parent's | the server's, as when that started | its parent's |
//!
//! Whatever the method: arguments and value travel as values; queues and all other objects work in any of them, made in
//! whichever; the child ends with its parent, and is its child in every respect but one: the system says of a server's
//! fork that the server is its parent.
//!
//! # The fork server
//!
//! Each process that uses the method has its own server, which it starts at the first need, or ahead of time
//! ([`Context::start_server`]); one for each initialiser and program. The server is this program again; within `init` it
//! takes part in the family, runs the initialiser, and then waits: for a request, which brings the new child's end of
//! its lifeline and its files, and for the end of one of its forks, of which it tells. It has one thread, and that
//! survives Ctrl-C. A fork of it reads its start message from its lifeline, as every child does. The parent writes that
//! once it knows the fork; so if the server is killed at whichever instruction, either the child was told and lives on, or
//! nobody began, the lifeline closes, and another server is asked. How the forks of a killed server ended is known
//! only where the kernel keeps it (Linux 6.15); that they ended, and their values, are known in any case.
//!
//! A server that is stopped (SIGSTOP) is not dead: a start waits for it, as long as that takes. Nothing else does: its forks are joined,
//! with their status, and the end of this process kills it two seconds after it was told to end.

use super::server;
use super::{Builder, Process};
use crate::error::{Error, Kind, Result, Subject};
use crate::sys;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a child is made. See the [module](super).
///
/// ```
/// use offspring::process::StartMethod;
///
/// assert_eq!(StartMethod::supported()[0], StartMethod::Spawn);
/// assert_eq!("fork".parse::<StartMethod>()?, StartMethod::Fork);
/// assert!("bogus".parse::<StartMethod>().unwrap_err().is_unsupported());
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StartMethod {
    /// This program is executed again. Everywhere, and the default.
    Spawn,
    /// A server of one thread forks. Quicker than `Spawn`; on Unix.
    Forkserver,
    /// This process forks. Refused while it has more than one thread; on Unix.
    Fork,
}

impl StartMethod {
    /// Those that this system has, the default first.
    #[doc(alias = "get_all_start_methods")]
    #[must_use]
    pub fn supported() -> &'static [Self] {
        match sys::FORKS {
            true => &[Self::Spawn, Self::Forkserver, Self::Fork],
            false => &[Self::Spawn],
        }
    }

    /// Python's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Forkserver => "forkserver",
            Self::Fork => "fork",
        }
    }

    fn check(self) -> Result<()> {
        if Self::supported().contains(&self) {
            return Ok(());
        }
        let text =
            format!("start processes by `{self}`: this system does not have it; use `spawn`");
        Err(Error::new(Kind::Unsupported, Subject::None, text))
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StartMethod {
    type Err = Error;

    /// Errors: [`is_unsupported`](Error::is_unsupported): no start method has that name.
    fn from_str(name: &str) -> Result<Self> {
        let all = [Self::Spawn, Self::Forkserver, Self::Fork];
        all.into_iter().find(|method| method.name() == name).ok_or_else(|| {
            let text = format!(
                "find the start method `{name}`: there are `spawn`, `forkserver` and `fork`"
            );
            Error::new(Kind::Unsupported, Subject::None, text)
        })
    }
}

/// A start method with all that belongs to it: a value, to be handed to whoever starts processes.
///
/// A library takes one (or [`Context::current`]) rather than to change the program's default.
///
/// # Examples
///
/// ```
/// use offspring::process::{Context, StartMethod};
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let context = Context::new(StartMethod::Forkserver)?;
///     let child = context.spawn(|(a, b): (u8, u8)| a + b, (2, 3))?;
///     assert_eq!(child.join()?, 5);
///     assert_eq!(context.builder("named").spawn(|()| 7, ())?.join()?, 7);
///     Ok(())
/// }
/// ```
#[doc(alias = "get_context")]
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) method: StartMethod,
    /// The program to execute; this one without it.
    pub(super) executable: Option<Arc<Path>>,
    /// What a server runs before it serves.
    pub(super) warm: Option<fn()>,
    /// `fork` with several threads, too.
    pub(super) despite_threads: bool,
}

impl Context {
    /// With that method.
    ///
    /// # Errors
    ///
    /// [`is_unsupported`](Error::is_unsupported): this system does not have it.
    pub fn new(method: StartMethod) -> Result<Self> {
        method.check()?;
        Ok(Self { method, executable: None, warm: None, despite_threads: false })
    }

    /// The program's default, which cannot be set any more from here on.
    #[must_use]
    pub fn current() -> Self {
        default().get_or_insert_with(Self::usual).clone()
    }

    fn usual() -> Self {
        Self { method: StartMethod::Spawn, executable: None, warm: None, despite_threads: false }
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> StartMethod {
        self.method
    }

    /// Has `program` executed in place of this one: a copy of this image, for `Process::spawn`; or another program that
    /// uses this library, in which functions were [registered](super::register) by name.
    ///
    /// Wherever this program's own file cannot be executed, as in a host that embeds it.
    #[doc(alias = "set_executable")]
    #[must_use = "gives the changed context"]
    pub fn executable(mut self, program: impl Into<PathBuf>) -> Self {
        self.executable = Some(program.into().into());
        self
    }

    /// Has the fork server call `initialiser` once before it serves: what that makes, its forks have from the
    /// beginning. Means nothing to the other methods.
    ///
    /// It must leave no threads and no processes behind.
    ///
    /// ```
    /// use offspring::process::{Context, StartMethod};
    /// use std::sync::OnceLock;
    ///
    /// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// # #[allow(clippy::needless_doctest_main)]
    /// fn main() -> offspring::Result<()> {
    ///     let _main = offspring::init();
    ///     let context = Context::new(StartMethod::Forkserver)?.warmed_by(|| {
    ///         TABLE.set((0..1000).map(|n| n * n).collect()).unwrap();
    ///     });
    ///     let child = context.spawn(|n: usize| TABLE.get().unwrap()[n], 9)?;
    ///     assert_eq!(child.join()?, 81);
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "set_forkserver_preload")]
    #[must_use = "gives the changed context"]
    pub fn warmed_by(mut self, initialiser: fn()) -> Self {
        self.warm = Some(initialiser);
        self
    }

    /// Starts the fork server now, if it does not run: the first child need not wait for it. Blocks until it serves. Does
    /// nothing for the other methods.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]; what the initialiser panicked with, or left behind.
    pub fn start_server(&self) -> Result<()> {
        match self.method {
            StartMethod::Forkserver => server::ahead(self),
            _ => Ok(()),
        }
    }

    /// Ends the fork server, if it runs, and waits until it has ended; the next need starts another. Does nothing for
    /// the other methods.
    ///
    /// Those of its forks that live go on; how they end is known then only as far as the system keeps it.
    ///
    /// # Errors
    ///
    /// The initialiser is no function of this program.
    pub fn end_server(&self) -> Result<()> {
        match self.method {
            StartMethod::Forkserver => server::end_one(self),
            _ => Ok(()),
        }
    }

    /// As [`Process::builder`], with this context.
    pub fn builder(&self, name: impl Into<String>) -> Builder {
        Process::builder(name).context(self)
    }

    /// As [`Process::spawn`], with this context.
    ///
    /// # Errors
    ///
    /// As [`Builder::spawn`].
    pub fn spawn<A, R>(&self, function: fn(A) -> R, arguments: A) -> Result<Process<R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.builder("").spawn(function, arguments)
    }
}

static DEFAULT: Mutex<Option<Context>> = Mutex::new(None);

fn default() -> MutexGuard<'static, Option<Context>> {
    DEFAULT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What its parent's default is, is a child's, unless its program has set one.
pub(super) fn inherit(method: Option<StartMethod>) {
    if let Some(method) = method {
        default().get_or_insert_with(|| Context { method, ..Context::usual() });
    }
}

/// Sets the program's default start method: once, before any process was started.
///
/// # Errors
///
/// [`is_already_set`](Error::is_already_set): it was set, or used. [`is_unsupported`](Error::is_unsupported).
pub fn set_start_method(method: StartMethod) -> Result<()> {
    set_context(Context::new(method)?)
}

/// Sets the program's default context: once, before any process was started.
///
/// # Errors
///
/// [`is_already_set`](Error::is_already_set): it was set, or used.
pub fn set_context(context: Context) -> Result<()> {
    let mut default = default();
    if let Some(set) = &*default {
        let text = format!(
            "set the start method `{}`: it is `{}` already; set it once, before the first use, or replace it",
            context.method, set.method
        );
        return Err(Error::new(Kind::AlreadySet, Subject::None, text));
    }
    *default = Some(context);
    Ok(())
}

/// Sets the program's default context, whatever it was; for programs that know who else starts processes. Gives the old
/// one.
#[doc(alias = "force")]
pub fn replace_context(context: Context) -> Option<Context> {
    default().replace(context)
}

/// The program's default start method, which cannot be set any more from here on.
#[doc(alias = "get_start_method")]
#[must_use]
pub fn start_method() -> StartMethod {
    Context::current().method
}

/// The program's default start method, if it was set or used.
#[doc(alias = "allow_none")]
#[must_use]
pub fn start_method_if_set() -> Option<StartMethod> {
    default().as_ref().map(|context| context.method)
}

/// Has children of this program execute `program`, whatever the start method; see [`Context::executable`].
///
/// ```
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let _main = offspring::init();
///     offspring::process::set_executable(std::env::current_exe()?);
///     assert_eq!(offspring::Process::spawn(|n: u8| n + 1, 1)?.join()?, 2);
/// #   Ok(())
/// }
/// ```
pub fn set_executable(program: impl Into<PathBuf>) {
    let mut default = default();
    let context = default.get_or_insert_with(Context::usual);
    context.executable = Some(program.into().into());
}

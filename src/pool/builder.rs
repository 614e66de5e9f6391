//! Options of a pool.

use super::board::{Board, PLACES, SLOTS};
use super::call::Pool;
use super::chunk::single;
use super::function::Entry;
use super::hub::Hub;
use super::wire::Values;
use crate::error::{Error, Kind, Result, Subject};
use crate::queue::Queue;
use crate::sys;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// What a pool was told when it was made.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) workers: usize,
    pub(super) initialiser: Option<(Entry, Values)>,
    pub(super) max_tasks: Option<u32>,
    pub(super) memory_limit: Option<u64>,
    pub(super) deadline: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) retry: u32,
    pub(super) restart_limit: u32,
    pub(super) warm: bool,
    pub(super) heeds_interrupts: bool,
}

/// Options of a [`Pool`]; see [`Pool::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    config: Config,
    /// What was wrong with the initialiser.
    error: Option<Error>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.config.name)
            .field("workers", &self.config.workers)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new() -> Self {
        let config = Config {
            name: "pool-worker".to_owned(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            initialiser: None,
            max_tasks: None,
            memory_limit: None,
            deadline: None,
            grace: Duration::from_millis(100),
            retry: 0,
            restart_limit: 5,
            warm: false,
            heeds_interrupts: false,
        };
        Self { config, error: None }
    }

    /// How many processes work, 1 to 256. Without this, as many as this machine runs at once.
    #[doc(alias = "processes")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.config.workers = workers;
        self
    }

    /// What the workers' names begin with. Without this, `pool-worker`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// A function that each worker calls first of all, with its own copy of `argument`.
    ///
    /// [`build`](Self::build) then waits until every worker is ready, and a panic in the function is its error. In a worker that
    /// is started later it counts as a failed start.
    pub fn initialiser<A>(mut self, function: fn(A), argument: A) -> Self
    where
        A: Serialize + DeserializeOwned,
    {
        let made = Entry::of(function).and_then(|entry| Ok((entry, single(&argument)?)));
        match made {
            Ok(made) => self.config.initialiser = Some(made),
            Err(error) => self.error = Some(error),
        }
        self
    }

    /// A worker ends after so many tasks, at least 1, and another takes its place. Without this it lives as long as the pool.
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_child(mut self, tasks: u32) -> Self {
        self.config.max_tasks = Some(tasks);
        self
    }

    /// A worker ends after the chunk that leaves it with more resident memory than this, in bytes, and another takes its place. No
    /// task is lost by that. Without this there is no limit.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.config.memory_limit = Some(bytes);
        self
    }

    /// How long a task may run. After that it is [`TaskError::Deadline`](super::TaskError::Deadline) for whoever waits, at once;
    /// the task can find out by [`is_cancelled`](super::is_cancelled), and after the [grace](Self::grace) its worker is killed
    /// and replaced. It is not tried again. Counted from the task's own beginning, not from when it was given to the pool.
    pub fn task_deadline(mut self, deadline: Duration) -> Self {
        self.config.deadline = Some(deadline);
        self
    }

    /// How long a task that is over its deadline, or cancelled, may take to return. Without this, 100 ms.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// How often a task is tried again whose worker ended. Without this it is not: a task is run once at most. With it, what the task
    /// does elsewhere may happen more than once; its result counts once.
    pub fn retry(mut self, times: u32) -> Self {
        self.config.retry = times;
        self
    }

    /// After so many workers in a row that ended before they were ready, at least 1, no more are started; without this, 5. Between
    /// two of them the pool waits, from 10 ms on twice as long each time, 2 s at most.
    pub fn restart_limit(mut self, starts: u32) -> Self {
        self.config.restart_limit = starts.max(1);
        self
    }

    /// Whether [`build`](Self::build) waits until every worker is ready. It does so anyway if there is an initialiser.
    pub fn warm(mut self, warm: bool) -> Self {
        self.config.warm = warm;
        self
    }

    /// Ctrl-C ends this pool in two steps: the first press [interrupts](Pool::interrupt) it, so that what runs is finished and nothing
    /// else begins; the second [terminates](Pool::terminate) it. Then the program goes on, and should end: what waits for the pool is
    /// told [`Interrupted`](super::TaskError::Interrupted) or [`Terminated`](super::TaskError::Terminated).
    ///
    /// For all such pools of this process at once. A press when each of them is over has the effect that it had before. Without this,
    /// Ctrl-C ends this process, as it does every other, and the workers with it. (Workers themselves never heed it.)
    ///
    /// [`build`](Self::build) sets the process's handler for interrupts then, and starts a thread that acts on them; both stay.
    pub fn heed_interrupts(mut self, heed: bool) -> Self {
        self.config.heeds_interrupts = heed;
        self
    }

    /// Makes the pool and starts its workers.
    ///
    /// # Blocking and crash
    ///
    /// About a millisecond a worker; with [`warm`](Self::warm) or an initialiser until all are ready. If it fails, no process
    /// is left behind. If this process is killed, at whatever instruction, so are the workers.
    ///
    /// # Errors
    ///
    /// A number out of range; the initialiser panicked ([`is_panic`](Error::is_panic)) or its argument cannot travel; a
    /// worker ended before it was ready; those of [`Process::spawn`](crate::Process::spawn); no memory.
    pub fn build(self) -> Result<Pool> {
        let Self { config, error } = self;
        if let Some(error) = error {
            return Err(error);
        }
        let bad = |text: String| Err(Error::new(Kind::Options, Subject::None, text));
        check_workers(config.workers)?;
        if config.max_tasks == Some(0) {
            return bad("make a pool: a worker does 1 task at least".into());
        }
        if config.heeds_interrupts {
            sys::signal::on_interrupt(super::hub::interrupted).map_err(|error| {
                Error::caused(Kind::Os, Subject::None, "heed interrupts in a pool", error)
            })?;
        }
        let board = Board::create()?;
        // One delivery: what a dead worker held comes to the parent, which alone decides what to do about it.
        let queue = Queue::builder()
            .capacity(PLACES + SLOTS)
            .class_bytes(256 << 20)
            .replies(true)
            .max_deliveries(1)
            .build()?;
        let (workers, ready) = (config.workers, config.warm || config.initialiser.is_some());
        let first = config.initialiser.as_ref().map(|(entry, _)| *entry);
        let hub = Hub::new(board, queue, config);
        if let Some(first) = first {
            hub.function(first)?;
        }
        // Dropped on an error, it ends those that were started.
        let mut pool = Pool::new(hub);
        for _ in 0..workers {
            pool.hub().start_worker()?;
        }
        if ready {
            pool.hub().await_ready()?;
        }
        pool.start_thread()?;
        Ok(pool)
    }

    /// Makes a pool, lends it to `body`, and finishes: what was given to the pool is done before this returns. If `body` panics
    /// or returns an error, the pool is terminated instead.
    ///
    /// ```
    /// use offspring::Pool;
    ///
    /// # #[allow(clippy::needless_doctest_main)]
    /// fn main() -> offspring::Result<()> {
    ///     let _main = offspring::init();
    ///     let lengths = Pool::builder().workers(2).scope(|pool| {
    ///         Ok(pool.map(|word: String| word.len(), ["to", "be"].map(String::from))?)
    ///     })?;
    ///     assert_eq!(lengths, [2, 2]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build) and of `body`.
    pub fn scope<R>(self, body: impl FnOnce(&Pool) -> Result<R>) -> Result<R> {
        let mut pool = self.build()?;
        let done = body(&pool)?;
        pool.close();
        pool.join()?;
        Ok(done)
    }
}

/// Errors: none, or more than there is room for while as many end.
pub(super) fn check_workers(workers: usize) -> Result<()> {
    if (1..=SLOTS / 2).contains(&workers) {
        return Ok(());
    }
    let text =
        format!("give a pool {workers} workers: it has 1 at least and {} at most", SLOTS / 2);
    Err(Error::new(Kind::Options, Subject::None, text))
}

//! The pool's handle and its verbs.

use super::board::Counter;
use super::builder::{Builder, check_workers};
use super::chunk::{Chunk, Filling, To, single};
use super::error::TaskError;
use super::function::Entry;
use super::gather::Gather;
use super::hub::{Hub, Phase};
use super::imap::Imap;
use super::stats::{Stats, Watch};
use super::supervisor;
use super::task::Task;
use super::wire::Job;
use crate::error::{Error, Kind, Result, Subject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Worker processes that call functions with arguments.
///
/// Functions are plain `fn`s (or closures without captures) of this program, named at each call; arguments and results travel by
/// serde, and may hold queues and other handles.
///
/// # Blocking and crash
///
/// A worker that is killed, at whatever instruction, costs the task that it runs an error (or a [retry](Builder::retry)), and is
/// replaced. A task is run *once at most*; with `retry` once at least, and its result counts once. If this process is killed, the
/// workers end with it, busy or idle. The pool belongs to the process that made it; a worker may make pools of its own.
///
/// Dropping a pool [terminates](Self::terminate) it. To finish what was given to it, [`close`](Self::close) and
/// [`join`](Self::join), or use [`Builder::scope`].
///
/// # Examples
///
/// ```
/// use offspring::Pool;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let pool = Pool::builder().workers(2).build()?;
///     assert_eq!(pool.map(square, 0..5)?, [0, 1, 4, 9, 16]);
///     assert!(pool.apply(half, 7).unwrap_err().panic().is_some());
///     let task = pool.submit(square, 12)?;
///     assert_eq!(task.get()?, 144);
///     Ok(())
/// }
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// fn half(n: u64) -> u64 {
///     assert!(n % 2 == 0, "{n} is odd");
///     n / 2
/// }
/// ```
#[doc(alias = "multiprocessing.Pool")]
#[doc(alias = "ProcessPoolExecutor")]
#[must_use = "dropping a pool terminates it"]
pub struct Pool {
    hub: Arc<Hub>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish()
    }
}

impl Pool {
    /// A pool to be.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A pool with `workers` processes and default options.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new_with(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, thread: None }
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(super) fn start_thread(&mut self) -> Result<()> {
        let hub = self.hub.clone();
        let thread = std::thread::Builder::new().name("pool".into());
        let started = thread.spawn(move || supervisor::run(&hub)).map_err(|error| {
            Error::caused(Kind::Os, Subject::None, "start a pool's thread", error)
        })?;
        self.thread = Some(started);
        Ok(())
    }

    /// Calls `function(argument)` in a worker, and waits for its value.
    ///
    /// # Errors
    ///
    /// See [`TaskError`]; [`Broken`](TaskError::Broken) if it could not be given to the pool.
    pub fn apply<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<R, TaskError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.submit(function, argument).map_err(|e| TaskError::Broken(Arc::new(e)))?.get()
    }

    /// Gives the pool a task, and returns at once.
    ///
    /// Tasks wait in this process's memory until there is room in the queue to the workers; short ones travel several at a time.
    ///
    /// # Errors
    ///
    /// The argument cannot be serialised; the pool was closed, terminated, or gave up; the function is not in the main program;
    /// the pool belongs to the process that forked this one.
    #[doc(alias = "apply_async")]
    #[doc(alias = "schedule")]
    pub fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<Task<R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let function = self.hub.function(Entry::of(function)?)?;
        let gather = Gather::new(Some(1));
        let to = To::Tasks(vec![gather.clone()]);
        self.hub.send(Chunk::new(function, single(&argument)?, to))?;
        Ok(Task::new(self.hub.clone(), gather, Gather::read_one))
    }

    /// Calls the function with each argument; the values in the same order.
    ///
    /// Arguments are taken from the iterator as workers get to them, many short ones at a time. All are run, also if one fails.
    /// `starmap` is this for functions of two arguments.
    ///
    /// # Errors
    ///
    /// The first, in the order of the arguments, that a task ended with; see [`TaskError`]. To have each by itself, use
    /// [`imap`](Self::imap).
    pub fn map<A, R>(
        &self,
        function: fn(A) -> R,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, TaskError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.imap(function, arguments).all()
    }

    /// As [`map`](Self::map), with functions of two arguments.
    ///
    /// ```
    /// # #[allow(clippy::needless_doctest_main)]
    /// fn main() -> offspring::Result<()> {
    ///     let _main = offspring::init();
    ///     let pool = offspring::Pool::builder().workers(2).build()?;
    ///     assert_eq!(pool.starmap(u32::pow, [(2, 10), (3, 4)])?, [1024, 81]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn starmap<A, B, R>(
        &self,
        function: fn(A, B) -> R,
        arguments: impl IntoIterator<Item = (A, B)>,
    ) -> Result<Vec<R>, TaskError>
    where
        A: Serialize + DeserializeOwned,
        B: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Imap::new(&self.hub, Entry::of_two(function), arguments.into_iter(), true).all()
    }

    /// Gives the pool a task for each argument, and returns at once. The arguments are all taken now.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    #[doc(alias = "map_async")]
    pub fn submit_map<A, R>(
        &self,
        function: fn(A) -> R,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Task<Vec<R>>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.submit_all(Entry::of(function)?, arguments.into_iter())
    }

    /// As [`submit_map`](Self::submit_map), with functions of two arguments.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    #[doc(alias = "starmap_async")]
    pub fn submit_starmap<A, B, R>(
        &self,
        function: fn(A, B) -> R,
        arguments: impl IntoIterator<Item = (A, B)>,
    ) -> Result<Task<Vec<R>>>
    where
        A: Serialize + DeserializeOwned,
        B: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.submit_all(Entry::of_two(function)?, arguments.into_iter())
    }

    fn submit_all<A: Serialize, R: DeserializeOwned>(
        &self,
        entry: Entry,
        arguments: impl Iterator<Item = A>,
    ) -> Result<Task<Vec<R>>> {
        let function = self.hub.function(entry)?;
        let gather = Gather::new(None);
        // Nothing is sent if one of them cannot be.
        let (mut chunks, mut filling, mut count) = (Vec::new(), Filling::default(), 0);
        let chunk = |values: super::wire::Values, count: &mut u64| {
            let first = *count;
            *count += values.len() as u64;
            Chunk::new(function, values, To::One(gather.clone(), first))
        };
        // As Python does without being told: a quarter of a worker's share each.
        let most = match arguments.size_hint() {
            (least, Some(most)) if least == most => {
                most.div_ceil(4 * self.hub.config.workers).clamp(1, super::chunk::MOST_TASKS)
            }
            _ => self.hub.size_of(function),
        };
        for argument in arguments {
            let alone = filling.add(&argument)?;
            if alone.is_some() || filling.is_full(most) {
                chunks.extend(filling.take().map(|values| chunk(values, &mut count)));
            }
            chunks.extend(alone.map(|values| chunk(values, &mut count)));
        }
        chunks.extend(filling.take().map(|values| chunk(values, &mut count)));
        gather.set_total(count);
        for chunk in chunks {
            self.hub.send(chunk)?;
        }
        Ok(Task::new(self.hub.clone(), gather, Gather::read_all))
    }

    /// Calls the function with each argument; an iterator over what became of each, in the order of the arguments.
    ///
    /// Lazy: arguments are taken from their iterator, and tasks begin, only while `next` is called; some are under way ahead of
    /// what was asked for, enough to keep the workers busy. Dropping the iterator cancels what is under way.
    #[doc(alias = "buffersize")]
    pub fn imap<A, R, I>(&self, function: fn(A) -> R, arguments: I) -> Imap<'_, I::IntoIter, R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        Imap::new(&self.hub, Entry::of(function), arguments.into_iter(), true)
    }

    /// As [`imap`](Self::imap), in the order in which the tasks end.
    #[doc(alias = "as_completed")]
    pub fn imap_unordered<A, R, I>(
        &self,
        function: fn(A) -> R,
        arguments: I,
    ) -> Imap<'_, I::IntoIter, R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        Imap::new(&self.hub, Entry::of(function), arguments.into_iter(), false)
    }

    /// Takes no more tasks; workers end once those that were given are done. Any number of times; does not wait.
    pub fn close(&self) {
        self.hub.go_on_to(Phase::Closed);
    }

    /// Gives up what has not begun: those tasks are [`TaskError::Interrupted`], and nothing more is taken. What runs is finished, then
    /// the workers end. Any number of times; does not wait. [`Builder::heed_interrupts`] does this at Ctrl-C.
    pub fn interrupt(&self) {
        self.hub.interrupt();
    }

    /// Ends the workers at once, whatever they are at. Tasks that have not ended are [`TaskError::Terminated`]. Any number of
    /// times; does not wait for the processes' end, which [`join`](Self::join) does.
    pub fn terminate(&self) {
        self.hub.go_on_to(Phase::Terminated);
    }

    /// Waits until the tasks are done and the workers have ended. Any number of times, after [`close`](Self::close) or
    /// [`terminate`](Self::terminate).
    ///
    /// # Errors
    ///
    /// The pool is open still.
    pub fn join(&mut self) -> Result<()> {
        if self.hub.lock().phase == Phase::Open {
            let text = "wait for a pool's end: it is running; close or terminate it first";
            return Err(Error::new(Kind::Options, Subject::None, text));
        }
        let hub = &self.hub;
        if self.thread.is_some() {
            hub.wait(None, || hub.lock().workers.is_empty().then_some(()));
        }
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, the hook has said so.
            let _ = thread.join();
        }
        Ok(())
    }

    /// Changes how many processes work, 1 to 256. More are started at once, by the pool's thread; to be fewer, as many end after
    /// what they are at.
    ///
    /// # Errors
    ///
    /// The number is out of range; the pool is closed.
    pub fn resize(&self, workers: usize) -> Result<()> {
        check_workers(workers)?;
        let mut state = self.hub.lock();
        state.accepts()?;
        for _ in workers..state.target {
            let ticket = self.hub.queue.try_request(Job::Leave)?;
            state.leaving.push(ticket);
        }
        state.target = workers;
        drop(state);
        self.hub.ring_thread();
        Ok(())
    }

    /// What the pool is doing just now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.hub.board)
    }

    /// A handle by which another process of the family can look at [`stats`](Self::stats).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(self.hub.board.clone())
    }

    /// Chunks that wait in this process.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.hub.board.count(Counter::Backlog) as usize
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.hub.is_ours() {
            return;
        }
        self.terminate();
        match self.thread {
            Some(_) => drop(self.join()),
            // It was never finished: its workers are killed, and seen to here.
            None => {
                let mut state = self.hub.lock();
                state.workers.iter_mut().for_each(|worker| drop(worker.ended()));
                state.workers.clear();
            }
        }
    }
}

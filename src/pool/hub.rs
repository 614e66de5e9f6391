//! The parent's side: what waits to be sent, what is under way, who works.
//!
//! Everybody who waits calls [`Hub::pump`] whenever something may have happened: it takes the replies that are there, hands them
//! on, and sends what there is room for. It holds the lock shortly and runs no code of the user.

use super::board::{Board, Counter, PLACES};
use super::builder::Config;
use super::callback::Callbacks;
use super::chunk::{Chunk, Measured, To};
use super::crew::Worker;
use super::error::TaskError;
use super::function::{Entry, MOST_FUNCTIONS};
use super::gather::{Callback, Gather, Got};
use super::wire::{Failure, Job, Part, Reply};
use crate::error::{Error, Kind, Result, Subject};
use crate::queue::{Queue, Ticket};
use crate::sys;
use offspring_core::block_on::block_on;
use offspring_core::wait::{Adaptive, Deadline, Wait};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

/// A pool, shared by its handle, its tasks and its thread.
pub(super) struct Hub {
    pub(super) board: Board,
    pub(super) queue: Queue<Job, Reply>,
    pub(super) config: Config,
    pub(super) callbacks: Callbacks,
    spin: Adaptive,
    /// Of the process that made the pool.
    generation: u32,
    state: Mutex<State>,
}

/// How far the pool's end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    Open,
    /// No new tasks.
    Closed,
    Terminated,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// What has not begun is given up.
    pub(super) interrupted: bool,
    /// Why no more workers are started, if so.
    pub(super) degraded: Option<String>,
    pub(super) backlog: VecDeque<Chunk>,
    pub(super) flights: Vec<Flight>,
    /// Whose worker ended, in that slot, before the thread that started it came back with its handle.
    pub(super) lost: Vec<(Flight, u32)>,
    free_places: Vec<u32>,
    pub(super) workers: Vec<Worker>,
    /// How many workers there are to be.
    pub(super) target: usize,
    /// Messages under way that tell a worker to leave.
    pub(super) leaving: Vec<Ticket<Reply>>,
    pub(super) functions: Vec<Entry>,
    known: HashMap<Entry, u32>,
    measured: Vec<Measured>,
    next_id: u64,
    /// Callers that wait, and so pump.
    waiters: u32,
    /// Gathers whose callbacks are to be run when they are over.
    listened: Vec<Arc<Gather>>,
    pub(super) starting: super::crew::Starting,
}

/// The pools of this process.
static POOLS: Mutex<Vec<Weak<Hub>>> = Mutex::new(Vec::new());

/// This process ends: so do its pools that nobody finished.
pub(crate) fn end() {
    let pools = std::mem::take(&mut *POOLS.lock().unwrap_or_else(PoisonError::into_inner));
    pools.iter().filter_map(Weak::upgrade).for_each(|hub| hub.go_on_to(Phase::Terminated));
}

/// Ctrl-C: the pools that heed it give up what waits; those that did so before, what runs. False if none of them has anything to
/// give up.
pub(super) fn interrupted() -> bool {
    let pools: Vec<_> = {
        let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).filter(|hub| hub.config.heeds_interrupts).collect()
    };
    pools.iter().fold(false, |heeded, hub| {
        let finished = !hub.is_ours() || hub.lock().is_finished();
        if !finished && !hub.interrupt() {
            hub.go_on_to(Phase::Terminated);
        }
        heeded || !finished
    })
}

/// A chunk that was sent.
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) place: u32,
    ticket: Ticket<Reply>,
    pub(super) chunk: Chunk,
    /// A task that was told to be over while it still ran, and when its worker is to be killed.
    pub(super) over: Option<(u32, Deadline)>,
    /// Others stood idle: how many of its tasks had begun then, and when that was.
    pub(super) seen: Option<(u32, Deadline)>,
}

impl Hub {
    pub(super) fn new(board: Board, queue: Queue<Job, Reply>, config: Config) -> Arc<Self> {
        let state = State {
            phase: Phase::Open,
            interrupted: false,
            degraded: None,
            backlog: VecDeque::new(),
            flights: Vec::new(),
            lost: Vec::new(),
            free_places: (0..PLACES as u32).rev().collect(),
            workers: Vec::new(),
            target: config.workers,
            leaving: Vec::new(),
            functions: Vec::new(),
            known: HashMap::new(),
            measured: Vec::new(),
            next_id: 1,
            waiters: 0,
            listened: Vec::new(),
            starting: super::crew::Starting::default(),
        };
        let generation = sys::generation();
        let (callbacks, spin) = (Callbacks::default(), Adaptive::new());
        let state = Mutex::new(state);
        let hub = Arc::new(Self { board, queue, config, callbacks, spin, generation, state });
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&hub));
        hub
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the process that made it, and no fork of that.
    pub(super) fn is_ours(&self) -> bool {
        self.generation == sys::generation()
    }

    fn check_ours(&self) -> Result<()> {
        match self.is_ours() {
            true => Ok(()),
            false => Err(Error::plain(Kind::Forked, Subject::None)),
        }
    }

    /// The index of a function, which every worker was told.
    pub(super) fn function(&self, entry: Entry) -> Result<u32> {
        self.check_ours()?;
        let mut state = self.lock();
        if let Some(known) = state.known.get(&entry) {
            return Ok(*known);
        }
        if state.functions.len() == MOST_FUNCTIONS {
            let text = format!("call a function in a pool: it knows {MOST_FUNCTIONS} already");
            return Err(Error::new(Kind::Options, Subject::None, text));
        }
        let index = state.functions.len() as u32;
        state.functions.push(entry);
        state.measured.push(Measured::default());
        state.known.insert(entry, index);
        for worker in &mut state.workers {
            worker.tell(entry);
        }
        Ok(index)
    }

    /// How many tasks of a function should travel together now.
    pub(super) fn size_of(&self, function: u32) -> usize {
        let size = self.lock().measured[function as usize].size();
        self.config.max_tasks.map_or(size, |most| size.min(most.max(1) as usize))
    }

    /// How many chunks should be under way: enough that no worker waits for the parent.
    pub(super) fn depth(&self, target: usize) -> usize {
        (target * 2 + 2).min(PLACES)
    }

    /// Takes a chunk. Single tasks may travel with those before them.
    ///
    /// Errors: closed, terminated, degraded; in a forked child.
    pub(super) fn send(&self, chunk: Chunk) -> Result<()> {
        self.check_ours()?;
        let mut state = self.lock();
        state.accepts()?;
        self.board.add_count(Counter::Submitted, chunk.len() as u64);
        // Only behind a backlog that keeps every worker busy: else the others would stand idle meanwhile.
        let most = match state.backlog.len() > state.target {
            true => state.measured[chunk.function as usize].size(),
            false => 0,
        };
        match state.backlog.back_mut() {
            Some(last) if last.takes(&chunk, most) => last.append(chunk),
            _ => state.backlog.push_back(chunk),
        }
        state.feed(self);
        let wake = state.waiters == 0 && state.needs_pump();
        drop(state);
        if wake {
            self.board.chores().notify_all(self.board.family());
        }
        Ok(())
    }

    /// Its callbacks are to be run.
    pub(super) fn listen(&self, gather: &Arc<Gather>) {
        let mut state = self.lock();
        if !state.listened.iter().any(|known| Arc::ptr_eq(known, gather)) {
            state.listened.push(gather.clone());
        }
        drop(state);
        self.ring_thread();
    }

    /// Does what there is to do; true if something was handed on.
    pub(super) fn pump(&self) -> bool {
        self.pump_and_plan().0
    }

    /// As [`pump`](Self::pump); also says when to do so again though nothing happens.
    pub(super) fn pump_and_plan(&self) -> (bool, Option<Deadline>) {
        if !self.is_ours() {
            return (false, None);
        }
        let mut state = self.lock();
        let handed_on = state.collect(self);
        // While results come, nobody waits for a worker that is at something long.
        let again = if handed_on { None } else { state.share(self) };
        state.feed(self);
        state.close_if_done(self);
        let others = state.waiters > 1;
        let (callbacks, takers) =
            if state.listened.is_empty() { Default::default() } else { state.over_now() };
        drop(state);
        takers.into_iter().for_each(Waker::wake);
        for (gather, callback) in callbacks {
            self.callbacks.run(&self.board, gather, callback);
        }
        if handed_on {
            if others {
                self.board.done().notify_all(self.board.family());
            }
            if self.board.wants_room() {
                self.board.want_room(false);
                self.board.room().notify_all(self.board.family());
            }
        }
        (handed_on, again)
    }

    /// Blocks until `look` gives something, pumping meanwhile.
    pub(super) fn wait<R>(
        &self,
        until: Option<Deadline>,
        mut look: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        if let Some(found) = look() {
            return Some(found);
        }
        let _waiter = Waiter::new(self);
        let family = self.board.family();
        // What the wait is for, or a look that is due earlier than planned.
        enum Woken<R> {
            Found(R),
            Early(Deadline),
        }
        let mut planned = until;
        loop {
            let attempt = || {
                let (_, again) = self.pump_and_plan();
                let early = || again.filter(|again| planned.is_none_or(|planned| *again < planned));
                look().map(Woken::Found).or_else(|| early().map(Woken::Early))
            };
            let members = || self.board.processes();
            let bell = self.board.done();
            match block_on(family, bell, members, &self.spin, planned, attempt) {
                Some(Woken::Found(found)) => return Some(found),
                Some(Woken::Early(again)) => planned = Some(again),
                None if until.is_some_and(|until| family.now() >= until) => return None,
                None => planned = until,
            }
        }
    }

    /// Goes on towards the end.
    pub(super) fn go_on_to(&self, phase: Phase) {
        if !self.is_ours() {
            return;
        }
        let mut state = self.lock();
        if state.phase >= phase {
            return;
        }
        state.phase = phase;
        if phase == Phase::Terminated {
            self.queue.close();
            state.workers.iter().for_each(Worker::kill);
            self.end_all(&mut state, &TaskError::Terminated);
        }
        drop(state);
        self.ring_thread();
    }

    /// What has not begun never will, what runs goes on, and nothing more is taken. False if that was said before, or all is over.
    pub(super) fn interrupt(&self) -> bool {
        if !self.is_ours() {
            return false;
        }
        let mut state = self.lock();
        if state.interrupted || state.is_finished() {
            return false;
        }
        state.interrupted = true;
        state.phase = state.phase.max(Phase::Closed);
        state.give_up_waiting(self);
        drop(state);
        self.pump();
        self.ring_thread();
        true
    }

    /// The pool's thread has something to do. It sleeps on one of two bells.
    pub(super) fn ring_thread(&self) {
        self.board.chores().notify_all(self.board.family());
        self.board.done().notify_all(self.board.family());
    }

    pub(super) fn deadline(&self, timeout: std::time::Duration) -> Deadline {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        self.board.family().now().after(nanos)
    }

    /// Everything that has not ended ends so.
    pub(super) fn end_all(&self, state: &mut State, error: &TaskError) {
        let flights = std::mem::take(&mut state.flights);
        let chunks = std::mem::take(&mut state.backlog);
        for flight in &flights {
            state.free_places.push(flight.place);
        }
        let lost = std::mem::take(&mut state.lost);
        let sent = flights.iter().chain(lost.iter().map(|(flight, _)| flight));
        for chunk in sent.map(|flight| &flight.chunk).chain(&chunks) {
            match &chunk.to {
                To::One(gather, _) => {
                    gather.end(error.clone());
                }
                To::Tasks(tasks) => {
                    for task in tasks {
                        task.end(error.clone());
                    }
                }
            }
        }
    }
}

/// One caller that waits.
struct Waiter<'a>(&'a Hub);

impl<'a> Waiter<'a> {
    fn new(hub: &'a Hub) -> Self {
        hub.lock().waiters += 1;
        Self(hub)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.waiters -= 1;
        let wake = state.waiters == 0 && state.needs_pump();
        drop(state);
        if wake {
            // The pool's thread takes over.
            self.0.board.chores().notify_all(self.0.board.family());
        }
    }
}

impl State {
    pub(super) fn accepts(&self) -> Result<()> {
        let refuse = |kind, text: String| Err(Error::new(kind, Subject::None, text));
        match (&self.degraded, self.phase) {
            (_, Phase::Closed | Phase::Terminated) => {
                refuse(Kind::Closed, "give a pool a task: it was closed or terminated".into())
            }
            (Some(why), _) if self.workers.is_empty() => refuse(
                Kind::Degraded,
                format!("give a pool a task: it gave up starting workers: {why}"),
            ),
            _ => Ok(()),
        }
    }

    /// Whether somebody must pump though no caller waits.
    pub(super) fn needs_pump(&self) -> bool {
        !self.backlog.is_empty()
            || !self.listened.is_empty()
            || !self.leaving.is_empty()
            || self.phase == Phase::Closed
    }

    /// Whether the pool's thread is the one to pump.
    pub(super) fn thread_pumps(&self) -> bool {
        self.waiters == 0 && self.needs_pump()
    }

    /// Nobody works any more, and nobody will.
    fn is_finished(&self) -> bool {
        self.phase == Phase::Terminated || self.phase == Phase::Closed && self.workers.is_empty()
    }

    /// Nothing is left to do.
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.lost.is_empty() && self.backlog.is_empty()
    }

    /// Whether that chunk is still to be dealt with.
    pub(super) fn is_under_way(&self, id: u64) -> bool {
        let lost = self.lost.iter().map(|(flight, _)| flight);
        id != 0 && self.flights.iter().chain(lost).any(|flight| flight.id == id)
    }

    /// Takes the replies that are there.
    fn collect(&mut self, hub: &Hub) -> bool {
        let mut handed_on = false;
        for (flight, slot) in std::mem::take(&mut self.lost) {
            handed_on |= self.take_loss_of(hub, flight, slot);
        }
        let (mut index, mut died) = (0, false);
        while index < self.flights.len() {
            let error = match self.flights[index].ticket.try_wait() {
                Err(error) if error.is_empty() => {
                    index += 1;
                    continue;
                }
                Ok(reply) => {
                    let flight = self.land(index);
                    self.take_reply(hub, flight, reply);
                    handed_on = true;
                    continue;
                }
                Err(error) => error,
            };
            let flight = self.land(index);
            if error.is_dead_lettered() {
                died = true;
                self.take_loss(hub, flight);
            } else {
                let error = TaskError::Broken(Arc::new(error));
                self.fail(hub, &flight.chunk, 0, flight.chunk.len(), flight.over, &error);
            }
            handed_on = true;
        }
        if died {
            self.drop_dead_letters(hub);
        }
        self.leaving.retain_mut(|ticket| matches!(ticket.try_wait(), Err(e) if e.is_empty()));
        handed_on
    }

    /// A flight is over, however.
    pub(super) fn land(&mut self, index: usize) -> Flight {
        let flight = self.flights.swap_remove(index);
        self.free_places.push(flight.place);
        flight
    }

    fn take_reply(&mut self, hub: &Hub, flight: Flight, reply: Reply) {
        let chunk = &flight.chunk;
        let mut done = 0;
        for part in reply.parts {
            // What another process says is checked.
            if done + part.len() > chunk.len() || part.len() == 0 {
                break;
            }
            let count = part.len();
            let got = match part {
                Part::Values(values) => Got::Values(values),
                Part::Failed(failure) => Got::Failed(failed(failure)),
            };
            hand_on(hub, &flight, done, got);
            done += count;
        }
        if done > 0 {
            self.measured[chunk.function as usize].learn(done, reply.nanos);
        }
        if done < chunk.len() {
            // The worker was to leave, or had no room for more results, or was stopped.
            self.requeue(hub, chunk.part(done, chunk.len() - done));
        }
    }

    /// These tasks did not begin: they are first now.
    pub(super) fn requeue(&mut self, hub: &Hub, chunk: Chunk) {
        match chunk.wanted() {
            Some(chunk) if self.interrupted => {
                self.fail(hub, &chunk, 0, chunk.len(), None, &TaskError::Interrupted);
            }
            Some(chunk) => self.backlog.push_front(chunk),
            None => {}
        }
    }

    pub(super) fn fail(
        &mut self,
        hub: &Hub,
        chunk: &Chunk,
        first: usize,
        count: usize,
        over: Option<(u32, Deadline)>,
        error: &TaskError,
    ) {
        for index in first..first + count {
            if over.is_none_or(|(over, _)| over as usize != index) {
                hub.board.add_count(Counter::Failed, 1);
                chunk.deliver(index, Got::Failed(error.clone()));
            }
        }
    }

    /// Sends what there is room for.
    pub(super) fn feed(&mut self, hub: &Hub) {
        let depth = hub.depth(self.target);
        while self.flights.len() < depth
            && self.phase != Phase::Terminated
            && let Some(chunk) = self.backlog.pop_front()
        {
            let Some(chunk) = chunk.wanted() else { continue };
            let Some(place) = self.free_places.pop() else {
                self.backlog.push_front(chunk);
                break;
            };
            let id = self.next_id;
            hub.board.offer(place, id);
            let values = chunk.values.clone();
            let job = Job::Chunk { id, place, function: chunk.function, values };
            match hub.queue.try_request(job) {
                Ok(ticket) => {
                    self.next_id += 1;
                    self.flights.push(Flight { id, place, ticket, chunk, over: None, seen: None });
                }
                Err(refused) => {
                    self.free_places.push(place);
                    if refused.error().is_full() {
                        self.backlog.push_front(chunk);
                        break;
                    }
                    let error = TaskError::Broken(Arc::new(refused.into()));
                    self.fail(hub, &chunk, 0, chunk.len(), None, &error);
                }
            }
        }
        hub.board.set_count(Counter::Backlog, self.backlog.len() as u64);
        hub.board.set_count(Counter::UnderWay, self.flights.len() as u64);
    }

    /// After `close`: once nothing is left, the workers are told to leave.
    fn close_if_done(&mut self, hub: &Hub) {
        if self.phase == Phase::Closed && self.is_idle() {
            hub.queue.close();
        }
    }

    /// The callbacks of what is over, and who takes results that are there.
    fn over_now(&mut self) -> (Vec<(Arc<Gather>, Callback)>, Vec<Waker>) {
        let (mut found, mut takers) = (Vec::new(), Vec::new());
        self.listened.retain(|gather| {
            if let Some(taker) = gather.taker() {
                takers.push(taker);
                return false;
            }
            if !gather.is_over() {
                return true;
            }
            found.extend(gather.tell().into_iter().map(|callback| (gather.clone(), callback)));
            false
        });
        (found, takers)
    }
}

/// Hands on what became of the flight's tasks from `first` on, but for one that was told to be over before.
pub(super) fn hand_on(hub: &Hub, flight: &Flight, first: usize, got: Got) {
    let (chunk, count) = (&flight.chunk, got.len());
    let counter = match &got {
        Got::Values(_) => Counter::Succeeded,
        Got::Failed(_) => Counter::Failed,
    };
    match (flight.over, got) {
        (Some((over, _)), got) if (first..first + count).contains(&(over as usize)) => {
            let Got::Values(values) = got else { return };
            let over = over as usize - first;
            hub.board.add_count(counter, count as u64 - 1);
            if over > 0 {
                chunk.deliver(first, Got::Values(values.part(0, over)));
            }
            if over + 1 < count {
                let rest = values.part(over + 1, count - over - 1);
                chunk.deliver(first + over + 1, Got::Values(rest));
            }
        }
        (_, got) => {
            hub.board.add_count(counter, count as u64);
            chunk.deliver(first, got);
        }
    }
}

pub(super) fn failed(failure: Failure) -> TaskError {
    match failure {
        Failure::Panicked(panic) => TaskError::Panicked(Box::new(panic)),
        Failure::Refused(why) => TaskError::Refused(why),
    }
}

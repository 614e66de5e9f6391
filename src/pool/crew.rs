//! The workers as the parent knows them: started, ended, replaced.

use super::board::{Counter, SLOTS, State as SlotState};
use super::error::TaskError;
use super::function::Entry;
use super::hub::{Hub, Phase, State};
use super::wire::Failure;
use super::worker::{End, Start, work};
use crate::error::{Error, Kind, Result, Subject};
use crate::process::{ExitStatus, Panic, Passed, Process};
use offspring_core::process::Liveness;
use offspring_core::wait::{Deadline, Wait};
use std::io::PipeWriter;

/// The pause after the first failed start, and the longest, in nanoseconds.
const PAUSE: (u64, u64) = (10_000_000, 2_000_000_000);

/// One worker process.
pub(super) struct Worker {
    pub(super) slot: u32,
    pid: u32,
    /// Until it has ended.
    process: Option<Process<End>>,
    ended: Option<Ended>,
    functions: PipeWriter,
}

struct Ended {
    how: ExitStatus,
    panic: Option<Box<Panic>>,
    /// Why it ended before it was ready to work, if it said so.
    why: Option<String>,
}

/// Starts that failed.
#[derive(Default)]
pub(super) struct Starting {
    in_a_row: u32,
    not_before: Option<Deadline>,
}

impl Worker {
    /// Tells it a function. One that is ending needs none.
    pub(super) fn tell(&mut self, entry: Entry) {
        let _ = entry.tell(&mut self.functions);
    }

    /// Whether it is known how to wait for it: it is being started otherwise.
    pub(super) fn is_born(&self) -> bool {
        self.process.is_some() || self.ended.is_some()
    }

    pub(super) fn kill(&self) {
        if let Some(process) = &self.process {
            // It has ended, or will.
            let _ = process.kill();
        }
    }

    /// Waits for its end, which is known to be at hand, and says how it was.
    pub(super) fn ended(&mut self) -> (u32, ExitStatus, Option<Box<Panic>>) {
        let pid = self.pid;
        let ended = self.end();
        (pid, ended.how, ended.panic.clone())
    }

    fn end(&mut self) -> &Ended {
        let (process, pid) = (&mut self.process, self.pid);
        self.ended.get_or_insert_with(|| {
            let Some(process) = process.take() else {
                return Ended { how: ExitStatus::UNKNOWN, panic: None, why: None };
            };
            let how = process.wait();
            match process.join() {
                Ok(End::NotInitialised(failure)) => {
                    let why = match failure {
                        Failure::Panicked(panic) => format!("its initialiser failed: it {panic}"),
                        Failure::Refused(why) => format!("its initialiser failed: {why}"),
                    };
                    Ended { how, panic: None, why: Some(why) }
                }
                Ok(End::Broken(why)) => Ended { how, panic: None, why: Some(why) },
                Ok(End::Done) => Ended { how, panic: None, why: None },
                Err(error) => {
                    let panic = error.panic().cloned().map(Box::new);
                    let why = Some(format!("process {pid}: {error}"));
                    Ended { how, panic, why }
                }
            }
        })
    }
}

impl Hub {
    /// Starts one worker. Only one thread does so at a time: who builds the pool, then the pool's thread.
    ///
    /// Errors: those of `Process::spawn`; no memory; too many workers.
    pub(super) fn start_worker(&self) -> Result<()> {
        let slot = {
            let state = self.lock();
            let used = |slot: &u32| state.workers.iter().any(|worker| worker.slot == *slot);
            (0..SLOTS as u32).find(|slot| !used(slot)).ok_or_else(|| {
                let text = format!("start a worker: a pool has at most {SLOTS}");
                Error::new(Kind::Options, Subject::None, text)
            })?
        };
        self.board.slot(slot).prepare()?;
        let used = u64::from(slot + 1).max(self.board.count(Counter::Slots));
        self.board.set_count(Counter::Slots, used);
        let (reader, writer) = std::io::pipe().map_err(|error| {
            Error::caused(Kind::Os, Subject::None, "make a worker's pipe", error)
        })?;
        let config = &self.config;
        let start = Start {
            board: self.board.clone(),
            queue: self.queue.clone(),
            slot,
            functions: Passed(reader),
            initialiser: config.initialiser.as_ref().map(|(_, argument)| argument.clone()),
            max_tasks: config.max_tasks,
            memory_limit: config.memory_limit,
            timed: config.deadline.is_some(),
        };
        let number = self.board.count(Counter::Started) + 1;
        let name = format!("{}-{number}", config.name);
        {
            // It is among the workers before it lives, so that it is told every function before the first message that names
            // it.
            let mut state = self.lock();
            let mut worker = Worker { slot, pid: 0, process: None, ended: None, functions: writer };
            state.functions.iter().for_each(|entry| worker.tell(*entry));
            state.workers.push(worker);
        }
        let started = Process::builder(name).daemon(false).spawn(work, start);
        let mut state = self.lock();
        let terminated = state.phase == Phase::Terminated;
        let place = state.workers.iter().position(|worker| worker.slot == slot);
        let born = match (started, place) {
            (Ok(process), Some(place)) => {
                self.board.add_count(Counter::Started, 1);
                let worker = &mut state.workers[place];
                worker.pid = process.pid();
                worker.process = Some(process);
                if terminated {
                    worker.kill();
                }
                Ok(())
            }
            (Err(error), place) => {
                place.map(|place| state.workers.swap_remove(place));
                self.board.slot(slot).clear();
                Err(error)
            }
            (Ok(_), None) => Ok(()),
        };
        let lost = !state.lost.is_empty();
        drop(state);
        if lost {
            self.pump();
            self.board.done().notify_all(self.board.family());
        }
        born
    }

    /// Waits until every worker is ready to work.
    ///
    /// Errors: one of them ended before.
    pub(super) fn await_ready(&self) -> Result<()> {
        let look = || {
            let mut state = self.lock();
            let board = &self.board;
            for worker in &mut state.workers {
                if worker.ended.is_some() || is_gone(self, worker) {
                    if board.slot(worker.slot).state() == SlotState::Starting {
                        let ended = worker.end();
                        let how = ended.why.clone().unwrap_or_else(|| ended.how.to_string());
                        let text =
                            format!("make a pool: a worker ended before it was ready: {how}");
                        let kind = match how.contains("initialiser failed") {
                            true => Kind::Panicked,
                            false => Kind::ParticipantLost,
                        };
                        return Some(Err(Error::new(kind, Subject::None, text)));
                    }
                    continue;
                }
                if board.slot(worker.slot).state() == SlotState::Starting {
                    return None;
                }
            }
            Some(Ok(()))
        };
        self.wait(None, look).unwrap_or(Ok(()))
    }

    /// Sees to the workers that ended, and starts others; says when to look again.
    pub(super) fn tend_crew(&self) -> Option<Deadline> {
        let mut state = self.lock();
        state.reap(self);
        let now = self.board.family().now();
        let missing = state.missing();
        if missing == 0 || state.degraded.is_some() {
            state.end_if_hopeless(self);
            return None;
        }
        if let Some(not_before) = state.starting.not_before
            && now < not_before
        {
            return Some(not_before);
        }
        drop(state);
        match self.start_worker() {
            // The next one, if more are missing, the next time round.
            Ok(()) if missing > 1 => Some(now),
            Ok(()) => None,
            Err(error) => {
                let mut state = self.lock();
                state.start_failed(self, now, &format!("{error:?}"));
                state.end_if_hopeless(self);
                state.starting.not_before
            }
        }
    }
}

/// Whether the worker has ended, or is about to without doing anything more.
fn is_gone(hub: &Hub, worker: &Worker) -> bool {
    if !worker.is_born() {
        return false;
    }
    let process = hub.board.slot(worker.slot).process();
    // The kernel tells of a process that is in the family; of one that is not there yet its parent must ask.
    let dead = !process.is_none() && hub.board.family().is_dead(process);
    dead || process.is_none() && worker.process.as_ref().is_some_and(|p| p.try_wait().is_some())
}

impl State {
    /// How many workers are to be started now.
    fn missing(&self) -> usize {
        let wanted = match self.phase {
            Phase::Open => self.target,
            Phase::Closed if self.is_idle() => 0,
            Phase::Closed => self.target.min(self.flights.len() + self.backlog.len()),
            Phase::Terminated => 0,
        };
        (wanted + self.leaving.len()).saturating_sub(self.workers.len())
    }

    /// Takes away the workers that have ended and whose chunk is dealt with.
    fn reap(&mut self, hub: &Hub) {
        let mut index = 0;
        let mut removed = false;
        while index < self.workers.len() {
            let worker = &mut self.workers[index];
            // Of one that was killed before it was in the family, nothing but this wait for its end tells.
            let killed = self.phase == Phase::Terminated && worker.is_born();
            if worker.ended.is_none() && !killed && !is_gone(hub, worker) {
                index += 1;
                continue;
            }
            worker.end();
            let slot = hub.board.slot(worker.slot);
            let at = slot.chunk();
            if self.is_under_way(at) {
                // Its chunk's ticket tells, as soon as somebody pumps.
                index += 1;
                continue;
            }
            let never_ready = slot.state() == SlotState::Starting;
            let worker = self.workers.swap_remove(index);
            slot.clear();
            removed = true;
            if !never_ready {
                self.starting = Starting::default();
            } else if self.phase < Phase::Terminated
                && let Some(ended) = worker.ended
            {
                let why = ended.why.unwrap_or_else(|| ended.how.to_string());
                self.start_failed(hub, hub.board.family().now(), &why);
            }
        }
        if removed {
            hub.board.done().notify_all(hub.board.family());
        }
    }

    fn start_failed(&mut self, hub: &Hub, now: Deadline, why: &str) {
        let starting = &mut self.starting;
        starting.in_a_row += 1;
        let (first, longest) = PAUSE;
        let pause = first.saturating_mul(1 << starting.in_a_row.min(20)) / 2;
        starting.not_before = Some(now.after(pause.min(longest)));
        if starting.in_a_row >= hub.config.restart_limit {
            let times = starting.in_a_row;
            self.degraded = Some(format!("{times} in a row ended before they could work: {why}"));
        }
    }

    /// If no worker lives and none will be started, nothing that waits will be done.
    fn end_if_hopeless(&mut self, hub: &Hub) {
        if let Some(why) = &self.degraded
            && self.workers.is_empty()
        {
            let error = TaskError::Degraded(why.clone());
            hub.end_all(self, &error);
            hub.board.done().notify_all(hub.board.family());
        }
    }
}

impl State {
    /// Whether a worker has ended whose chunk nobody has dealt with.
    pub(super) fn workers_wait_for_pump(&self, hub: &Hub) -> bool {
        self.workers.iter().filter(|worker| worker.ended.is_some()).any(|worker| {
            let at = hub.board.slot(worker.slot).chunk();
            self.is_under_way(at)
        })
    }
}

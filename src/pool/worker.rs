//! A worker's life: it takes chunks on lease, calls their functions, replies.
//!
//! The order of its writes on the board is in the [pool's](super) table.

use super::board::{Board, Slot, State};
use super::function::{Function, Functions, Output};
use super::wire::{Blob, Carrying, Failure, Job, Part, Reply, Values};
use crate::process::Passed;
use crate::queue::{Lease, Queue};
use crate::sys;
use offspring_core::block_on::block_on;
use offspring_core::points::{Point, hit};
use offspring_core::wait::{Adaptive, Wait};
use serde::{Deserialize, Serialize};
use std::io::PipeReader;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// What a worker is told when it is started.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) board: Board,
    pub(super) queue: Queue<Job, Reply>,
    pub(super) slot: u32,
    pub(super) functions: Passed<PipeReader>,
    /// The argument of the initialiser, which is the first function.
    pub(super) initialiser: Option<Values>,
    /// It ends after so many tasks.
    pub(super) max_tasks: Option<u32>,
    /// It ends after the task that leaves it with more resident bytes than this.
    pub(super) memory_limit: Option<u64>,
    /// Whether to note when tasks begin.
    pub(super) timed: bool,
}

/// Why a worker ended of its own accord.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum End {
    /// Nothing is left to do, or it was to leave.
    Done,
    /// Its initialiser failed.
    NotInitialised(Failure),
    /// Its queue failed it.
    Broken(String),
}

/// What a task can ask.
static HERE: OnceLock<(Board, u32)> = OnceLock::new();

/// In a worker: whether the task that runs was cancelled, or ran over its deadline. It has the pool's
/// [grace](super::Builder::grace) to clean up and return; then its worker is killed. False outside of pools.
///
/// Costs a few loads, so that a loop can ask each time round.
#[must_use]
pub fn is_cancelled() -> bool {
    HERE.get().is_some_and(|(board, slot)| board.slot(*slot).is_asked())
}

/// What runs in a worker process.
pub(super) fn work(start: Start) -> End {
    // The terminal tells every process of the group; what a worker is to do then, its pool says.
    sys::signal::ignore_interrupt();
    let Start { board, queue, slot, functions, initialiser, max_tasks, memory_limit, timed } =
        start;
    let here = HERE.get_or_init(|| (board.clone(), slot));
    let slot = here.0.slot(here.1);
    slot.introduce(board.family().me());
    let mut functions = Functions::new(functions.0);
    if let Some(argument) = initialiser {
        let refused = |why: &str| Failure::Refused(why.to_owned());
        let ran = functions.get(0).map_err(refused).and_then(|function| {
            let value = argument.get(0).ok_or_else(|| refused("its argument is damaged"))?;
            function.call(value)
        });
        if let Err(failure) = ran {
            return End::NotInitialised(failure);
        }
    }
    let left = max_tasks.unwrap_or(u32::MAX);
    let mut worker = Worker { board: &board, queue, slot, functions, left, memory_limit, timed };
    slot.set_state(State::Idle);
    board.done().notify_all(board.family());
    let end = worker.serve();
    slot.set_state(State::Leaving);
    end
}

struct Worker<'a> {
    board: &'a Board,
    queue: Queue<Job, Reply>,
    slot: Slot<'a>,
    functions: Functions,
    /// How many tasks more.
    left: u32,
    memory_limit: Option<u64>,
    timed: bool,
}

impl Worker<'_> {
    fn serve(&mut self) -> End {
        loop {
            let lease = match self.queue.lease() {
                Ok(lease) => lease,
                Err(error) if error.is_closed() => return End::Done,
                // The message is no such thing: it was given back, and its sender learns so.
                Err(error) if error.is_decode() => continue,
                Err(error) => return End::Broken(format!("{error:?}")),
            };
            hit(Point::PoolLeased);
            let (id, place, function, values) = match &*lease {
                Job::Leave => {
                    self.slot.set_state(State::Leaving);
                    let _ = lease.reply(Reply::default());
                    return End::Done;
                }
                Job::Chunk { id, place, function, values } => {
                    (*id, *place, *function, values.clone())
                }
            };
            self.slot.set_state(State::Busy);
            self.slot.begin(id, values.len() as u32);
            hit(Point::PoolBegun);
            let claimed = self.board.claim(place, id);
            hit(Point::PoolClaimed);
            match claimed {
                true => {
                    let reply = self.run(function, &values);
                    hit(Point::PoolRan);
                    self.reply(lease, reply);
                }
                false => drop(lease.commit()),
            }
            hit(Point::PoolReplied);
            self.slot.end();
            let goes_on = self.slot.change_state(State::Busy, State::Idle);
            self.board.done().notify_all(self.board.family());
            if !goes_on || self.left == 0 || self.is_too_large() {
                return End::Done;
            }
        }
    }

    fn is_too_large(&self) -> bool {
        self.memory_limit
            .is_some_and(|limit| sys::memory::resident().is_some_and(|resident| resident > limit))
    }

    /// Runs the tasks of a chunk, or as many of its first ones as are wanted and their results have room.
    fn run(&mut self, function: u32, values: &Values) -> Reply {
        let begun = Instant::now();
        let mut reply = Reply::default();
        let function = match self.functions.get(function) {
            Ok(function) => function,
            Err(why) => {
                let refused = || Part::Failed(Failure::Refused(why.to_owned()));
                reply.parts = (0..values.len()).map(|_| refused()).collect();
                return reply;
            }
        };
        let mut parts = Parts::default();
        for index in 0..values.len() {
            if self.left == 0 {
                break;
            }
            if self.timed {
                self.slot.set_since(self.board.family().now().0);
            }
            if !self.slot.begin_task() {
                break;
            }
            hit(Point::PoolTaskBegun);
            self.left -= 1;
            let alone = index + 1 == values.len();
            let goes_on = self.one(function, values, index, alone, &mut parts);
            hit(Point::PoolTaskDone);
            self.slot.add_done(1);
            if !goes_on {
                break;
            }
        }
        reply.parts = parts.finish();
        reply.nanos = begun.elapsed().as_nanos() as u64;
        reply
    }

    /// Runs one task; false if its result must be sent before another begins, as it is not on the board.
    fn one(
        &self,
        function: Function,
        values: &Values,
        index: usize,
        last: bool,
        parts: &mut Parts,
    ) -> bool {
        let ran = match values.get(index) {
            Some(value) => function.call(value),
            None => Err(Failure::Refused("its argument is damaged".to_owned())),
        };
        match ran {
            Ok(Output::Carrying(value)) => {
                parts.carrying(value);
                false
            }
            Ok(Output::Plain(encoded)) => {
                let bytes = encoded.bytes.as_slice();
                parts.value(bytes);
                last || self.slot.put_result(false, bytes)
            }
            Err(failure) => {
                let bytes = postcard::to_stdvec(&failure).unwrap_or_default();
                parts.failed(failure);
                last || self.slot.put_result(true, &bytes)
            }
        }
    }

    /// Replies; if that is not possible, says why instead of the results.
    fn reply(&self, lease: Lease<Job, Reply>, reply: Reply) {
        let (mut lease, mut answer) = (Some(lease), Some(reply));
        let mut said = false;
        let mut attempt = || {
            let (held, given) = (lease.take()?, answer.take()?);
            let tasks: usize = given.parts.iter().map(Part::len).sum();
            match held.reply(given) {
                Ok(_) => Some(()),
                // Others' replies are in the way, and the parent takes them.
                Err(refused) if refused.error.is_full() => {
                    (lease, answer) = (Some(refused.lease), Some(refused.answer));
                    None
                }
                Err(refused) if !said => {
                    said = true;
                    let why = format!("its result cannot be sent: {:?}", refused.error);
                    let part = || Part::Failed(Failure::Refused(why.clone()));
                    let nanos = refused.answer.nanos;
                    let again = Reply { nanos, parts: (0..tasks).map(|_| part()).collect() };
                    // If not even this goes, the chunk comes back, and the parent says so.
                    refused
                        .lease
                        .reply(again)
                        .ok()
                        .or(Some(crate::queue::Replied::RequesterGone))
                        .map(|_| ())
                }
                Err(_) => Some(()),
            }
        };
        if attempt().is_some() {
            return;
        }
        let (family, spin) = (self.board.family(), Adaptive::new());
        self.board.want_room(true);
        self.board.chores().notify_all(family);
        self.board.done().notify_all(family);
        let members = std::iter::empty;
        while block_on(family, self.board.room(), members, &spin, None, &mut attempt).is_none() {}
    }
}

/// Results in a row, as a reply lists them.
#[derive(Default)]
struct Parts {
    done: Vec<Part>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Parts {
    fn value(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    fn carrying(&mut self, value: Carrying) {
        self.flush();
        self.done.push(Part::Values(Values::Carrying(value)));
    }

    fn failed(&mut self, failure: Failure) {
        self.flush();
        self.done.push(Part::Failed(failure));
    }

    fn flush(&mut self) {
        if !self.ends.is_empty() {
            let ends = std::mem::take(&mut self.ends);
            let bytes = Blob(Arc::new(std::mem::take(&mut self.bytes)));
            self.done.push(Part::Values(Values::Plain { ends, bytes }));
        }
    }

    fn finish(mut self) -> Vec<Part> {
        self.flush();
        self.done
    }
}

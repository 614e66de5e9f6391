//! The board of a pool: what a worker shows of its chunk, what the parent makes of a death, of a cancel, of a task that does not heed it.
//!
//! Follows the facade's `pool::worker`, `pool::loss` and `pool::hub`. Chunks are requests of a queue that delivers once: here a
//! message is waiting, leased, answered, or a dead letter. The parent does one thing at a time (it holds the pool's lock), but each of its
//! looks at a worker's words is a step of its own.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const WORKERS: usize = 2;
const TASKS: usize = 3;
/// Messages in all, those that are sent again among them.
const MESSAGES: usize = 8;
/// The task that may be cancelled; it has one before and, in the larger case, one behind it in its chunk.
const CANCELLED: usize = 1;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    Waiting,
    Taken,
    Withdrawn,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Queued {
    None,
    Waiting,
    Leased(u8),
    /// Leased by one who is dead: by its name, which the next one in its slot does not have.
    Left,
    /// With so many results.
    Replied(u8),
    Dead,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Message {
    queued: Queued,
    place: Place,
    /// Its tasks, a bit each.
    tasks: u8,
    /// The first of them, which the parent awaits of it: the others were given to somebody else.
    awaited: u8,
    /// The parent waits for its answer.
    flies: bool,
    /// The index of the task that was told to be over.
    over: Option<u8>,
}

const NO_MESSAGE: Message = Message {
    queued: Queued::None,
    place: Place::Waiting,
    tasks: 0,
    awaited: 0,
    flies: false,
    over: None,
};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Shown {
    Idle,
    Busy,
    Doomed,
}

/// One worker's words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Slot {
    /// The message it is at, from 1.
    chunk: u8,
    begun: u8,
    stop: u8,
    outbox: u8,
    shown: Shown,
}

const FRESH: Slot = Slot { chunk: 0, begun: 0, stop: 0, outbox: 0, shown: Shown::Idle };

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    Idle,
    Busy,
    Empty,
    Progress,
    Show,
    Claim,
    Begin,
    Run,
    Count,
    Put,
    Reply,
    End,
    Rest,
    /// It ended, by itself or otherwise.
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Worker {
    at: At,
    /// The message it has, from 1.
    has: u8,
    /// Results so far.
    done: u8,
}

const IDLE: Worker = Worker { at: At::Idle, has: 0, done: 0 };

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Outcome {
    None,
    Value,
    Lost,
    Cancelled,
}

/// What the parent is at; messages and workers by number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Parent {
    Free,
    Withdraw(u8),
    Find(u8),
    Stop(u8, u8),
    Look(u8, u8),
    // A task that is over does not end.
    StopNext(u8, u8),
    Doom(u8, u8),
    Again(u8, u8),
    Kill(u8, u8),
    // Tasks behind a long one go to somebody else; the third is how many are left.
    Share(u8, u8, u8),
    Part(u8, u8, u8),
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    messages: [Message; MESSAGES],
    slots: [Slot; WORKERS],
    workers: [Worker; WORKERS],
    parent: Parent,
    outcomes: [Outcome; TASKS],
    /// Tasks that began, a bit each; and that ended.
    ran: u8,
    ended: u8,
    /// The cancelled one was told never to begin.
    never: bool,
    cancels: u8,
    shares: u8,
    crashes: u8,
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    NoLookAgain,
    NoStop,
    CountedLate,
    ShownLate,
    OutboxLeft,
    SlotUsedEarly,
    EndBeforeReply,
    RestForgotten,
    BegunSentAgain,
    IdleByStore,
    NoClaim,
    SharedUnstopped,
    SharedUnseen,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// The tasks of each message at the beginning.
    pub messages: &'static [u8],
    pub workers: usize,
    pub crashes: u8,
    pub cancels: u8,
    pub shares: u8,
    pub mutant: Option<Mutant>,
}

type Try = Result<State, &'static str>;

const PARENT: usize = WORKERS;

/// The task with index `index` in a chunk.
fn task_at(tasks: u8, index: u8) -> usize {
    let bits = (0..TASKS).filter(|t| tasks & 1 << t != 0);
    bits.into_iter().nth(index.into()).unwrap_or(TASKS)
}

fn index_of(tasks: u8, task: usize) -> u8 {
    (tasks & ((1 << task) - 1)).count_ones() as u8
}

impl Board {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn end(s: &mut State, task: usize, outcome: Outcome) -> Result<(), &'static str> {
        let place = &mut s.outcomes[task];
        match *place {
            Outcome::Cancelled => Ok(()),
            Outcome::None => {
                if outcome == Outcome::Value && s.ended & 1 << task == 0 {
                    return Err("a value of a task that did not end");
                }
                if outcome == Outcome::Lost && s.ran & 1 << task == 0 {
                    return Err("a task that never began is told as lost");
                }
                *place = outcome;
                Ok(())
            }
            _ => Err("a task has two outcomes"),
        }
    }

    /// Sends tasks again, but for those that nobody waits for.
    fn requeue(s: &mut State, tasks: u8) -> Result<(), &'static str> {
        let wanted = (0..TASKS).filter(|t| s.outcomes[*t] != Outcome::Cancelled);
        let tasks = tasks & wanted.fold(0, |bits, t| bits | 1 << t);
        if tasks == 0 {
            return Ok(());
        }
        let free = s.messages.iter_mut().find(|m| m.queued == Queued::None);
        let message = free.ok_or("the model has too few messages")?;
        *message =
            Message { queued: Queued::Waiting, tasks, awaited: tasks, flies: true, ..NO_MESSAGE };
        Ok(())
    }

    fn worker(&self, s: &State, w: usize, out: &mut Steps<State>) {
        let me = s.workers[w];
        let mut n = *s;
        let (slot, m) = (s.slots[w], usize::from(me.has).saturating_sub(1));
        match me.at {
            At::Dead => {}
            At::Idle => {
                let Some(m) = s.messages.iter().position(|m| m.queued == Queued::Waiting) else {
                    return;
                };
                n.messages[m].queued = Queued::Leased(w as u8);
                n.workers[w] = Worker { at: At::Busy, has: m as u8 + 1, done: 0 };
                out.step(w, "leases a chunk", n);
            }
            At::Busy => {
                n.slots[w].shown = Shown::Busy;
                n.workers[w].at = At::Empty;
                out.step(w, "is busy", n);
            }
            At::Empty => {
                if !self.has(OutboxLeft) {
                    n.slots[w].outbox = 0;
                }
                n.workers[w].at = At::Progress;
                out.step(w, "empties its outbox", n);
            }
            At::Progress => {
                let count = s.messages[m].tasks.count_ones() as u8;
                (n.slots[w].begun, n.slots[w].stop) = (0, count);
                n.workers[w].at = if self.has(ShownLate) { At::Claim } else { At::Show };
                out.step(w, "sets its progress", n);
            }
            At::Show => {
                n.slots[w].chunk = me.has;
                n.workers[w].at = if self.has(ShownLate) { At::Run } else { At::Claim };
                out.step(w, "shows the chunk", n);
            }
            At::Claim => {
                let waits = s.messages[m].place == Place::Waiting;
                if waits || self.has(NoClaim) {
                    n.messages[m].place = Place::Taken;
                    n.workers[w].at = At::Begin;
                } else {
                    n.messages[m].queued = Queued::Done;
                    n.workers[w].at = At::End;
                }
                out.step(w, "CAS of the place", n);
            }
            At::Begin => {
                if slot.begun >= slot.stop {
                    n.workers[w].at = At::Reply;
                    return out.step(w, "finds no task to begin", n);
                }
                if !self.has(CountedLate) {
                    n.slots[w].begun += 1;
                }
                n.workers[w].at =
                    if self.has(ShownLate) && slot.begun == 0 { At::Show } else { At::Run };
                let then = self.begins(n, task_at(s.messages[m].tasks, me.done));
                out.either(w, "CAS of the progress: a task begins", then);
            }
            At::Run => {
                n.ended |= 1 << task_at(s.messages[m].tasks, me.done);
                n.workers[w].done += 1;
                n.workers[w].at = if self.has(CountedLate) { At::Count } else { At::Put };
                out.step(w, "the task ends", n);
            }
            At::Count => {
                n.slots[w].begun += 1;
                n.workers[w].at = At::Put;
                out.step(w, "counts the task", n);
            }
            At::Put => {
                // The last one's result goes with the reply.
                if u32::from(me.done) < s.messages[m].tasks.count_ones() {
                    n.slots[w].outbox += 1;
                    n.workers[w].at = At::Begin;
                } else {
                    n.workers[w].at = At::Reply;
                }
                out.step(w, "commits the result", n);
            }
            At::Reply => {
                n.messages[m].queued = Queued::Replied(me.done);
                if !s.messages[m].flies {
                    n.messages[m].queued = Queued::Done;
                }
                n.workers[w].at = if self.has(EndBeforeReply) { At::Rest } else { At::End };
                if self.has(EndBeforeReply) && slot.chunk != 0 {
                    n.messages[m].queued = s.messages[m].queued;
                    n.workers[w].at = At::End;
                }
                out.step(w, "replies", n);
            }
            At::End => {
                n.slots[w].chunk = 0;
                let replies =
                    self.has(EndBeforeReply) && s.messages[m].queued == Queued::Leased(w as u8);
                n.workers[w].at = if replies { At::Reply } else { At::Rest };
                out.step(w, "shows no chunk", n);
            }
            At::Rest => {
                if slot.shown == Shown::Busy || self.has(IdleByStore) {
                    n.slots[w].shown = Shown::Idle;
                    n.workers[w] = IDLE;
                } else {
                    n.workers[w] = Worker { at: At::Dead, ..IDLE };
                }
                out.step(w, "CAS to idle", n);
            }
        }
    }

    fn begins(&self, mut n: State, task: usize) -> Try {
        if n.ran & 1 << task != 0 {
            return Err("a task runs twice");
        }
        if task == CANCELLED && n.never {
            return Err("a task begins that was told not to");
        }
        n.ran |= 1 << task;
        Ok(n)
    }

    /// What the parent may do next when it is at nothing.
    fn free(&self, s: &State, out: &mut Steps<State>) {
        for (m, message) in s.messages.iter().enumerate() {
            match message.queued {
                Queued::Replied(count) if message.flies => {
                    out.either(PARENT, "takes a reply", Self::take_reply(*s, m, count));
                }
                Queued::Dead if message.flies => self.take_loss(s, m, out),
                Queued::Left => {
                    let mut n = *s;
                    n.messages[m].queued = if message.flies { Queued::Dead } else { Queued::Done };
                    out.step(PARENT, "a dead one's chunk becomes a dead letter", n);
                }
                _ => {}
            }
            if s.shares > 0
                && message.flies
                && let Some(w) = Self::worker_at(s, m)
                && (1..message.awaited.count_ones()).contains(&s.slots[w].begun.into())
            {
                let mut n = *s;
                n.shares -= 1;
                let next = if self.has(SharedUnstopped) { Parent::Part } else { Parent::Share };
                n.parent = next(m as u8, w as u8, s.slots[w].begun);
                out.luck(PARENT, "sees a chunk go on for long", n);
            }
            if message.flies
                && let Some(over) = message.over
                && let Some(w) = Self::worker_at(s, m)
                && s.slots[w].begun == over + 1
                && s.slots[w].outbox <= over
                && s.workers[w].at != At::Dead
            {
                let mut n = *s;
                let next = if self.has(NoStop) { Parent::Doom } else { Parent::StopNext };
                n.parent = next(m as u8, w as u8);
                out.step(PARENT, "a task that is over goes on", n);
            }
        }
        for w in 0..self.workers {
            let under_way =
                s.slots[w].chunk != 0 && s.messages[usize::from(s.slots[w].chunk) - 1].flies;
            if s.workers[w].at == At::Dead && (!under_way || self.has(SlotUsedEarly)) {
                let mut n = *s;
                (n.slots[w], n.workers[w]) = (FRESH, IDLE);
                out.step(PARENT, "starts another worker", n);
            }
        }
        if s.cancels > 0 && s.outcomes[CANCELLED] == Outcome::None {
            let mut n = *s;
            n.cancels -= 1;
            n.outcomes[CANCELLED] = Outcome::Cancelled;
            let with = |m: &Message| m.flies && m.awaited & 1 << CANCELLED != 0;
            if let Some(m) = s.messages.iter().position(with) {
                n.parent = Parent::Withdraw(m as u8);
            }
            out.luck(PARENT, "cancels a task", n);
        }
    }

    fn dies(s: &mut State, w: usize) {
        for message in s.messages.iter_mut().filter(|m| m.queued == Queued::Leased(w as u8)) {
            message.queued = Queued::Left;
        }
        s.workers[w] = Worker { at: At::Dead, ..IDLE };
    }

    fn worker_at(s: &State, m: usize) -> Option<usize> {
        s.slots.iter().position(|slot| usize::from(slot.chunk) == m + 1)
    }

    fn take_reply(mut n: State, m: usize, count: u8) -> Try {
        let Message { awaited: tasks, over, .. } = n.messages[m];
        (n.messages[m].queued, n.messages[m].flies) = (Queued::Done, false);
        let count = count.min(tasks.count_ones() as u8);
        for index in (0..count).filter(|index| over != Some(*index)) {
            Self::end(&mut n, task_at(tasks, index), Outcome::Value)?;
        }
        let rest = (count..tasks.count_ones() as u8).map(|i| 1 << task_at(tasks, i));
        let rest = rest.fold(0, |bits, bit: u8| bits | bit);
        Self::requeue(&mut n, rest)?;
        Ok(n)
    }

    fn take_loss(&self, s: &State, m: usize, out: &mut Steps<State>) {
        let Message { awaited: tasks, over, .. } = s.messages[m];
        let mut n = *s;
        (n.messages[m].queued, n.messages[m].flies) = (Queued::Done, false);
        let Some(w) = Self::worker_at(s, m) else {
            let then = Self::requeue(&mut n, tasks).map(|()| n);
            return out.either(PARENT, "takes a dead letter that nobody had begun", then);
        };
        if s.workers[w].at != At::Dead {
            return;
        }
        let all = tasks.count_ones() as u8;
        let (known, begun) = (s.slots[w].outbox.min(all), s.slots[w].begun.min(all));
        n.slots[w].chunk = 0;
        let mut judge = || -> Try {
            for index in (0..known).filter(|index| over != Some(*index)) {
                Self::end(&mut n, task_at(tasks, index), Outcome::Value)?;
            }
            let from = if self.has(BegunSentAgain) { known } else { begun.max(known) };
            let rest = (from..tasks.count_ones() as u8).map(|i| 1 << task_at(tasks, i));
            let rest = rest.fold(0, |bits, bit: u8| bits | bit);
            if !self.has(RestForgotten) {
                Self::requeue(&mut n, rest)?;
            }
            if begun > known && over != Some(known) && !self.has(BegunSentAgain) {
                Self::end(&mut n, task_at(tasks, known), Outcome::Lost)?;
            }
            Ok(n)
        };
        let then = judge();
        out.either(PARENT, "takes a dead letter, and what its worker left", then);
    }

    fn parent(&self, s: &State, out: &mut Steps<State>) {
        let mut n = *s;
        n.parent = Parent::Free;
        let place_in = |m: u8| index_of(s.messages[usize::from(m)].tasks, CANCELLED);
        match s.parent {
            Parent::Free => self.free(s, out),
            Parent::Withdraw(m) => {
                let message = &mut n.messages[usize::from(m)];
                if message.place != Place::Waiting {
                    n.parent = Parent::Find(m);
                    return out.step(PARENT, "withdraws: it was taken", n);
                }
                (message.place, message.flies) = (Place::Withdrawn, false);
                let tasks = message.awaited;
                n.never = true;
                let then = Self::requeue(&mut n, tasks).map(|()| n);
                out.either(PARENT, "withdraws the chunk", then);
            }
            Parent::Find(m) => {
                if let Some(w) = Self::worker_at(s, usize::from(m)) {
                    n.parent = Parent::Stop(m, w as u8);
                }
                out.step(PARENT, "looks for the worker", n);
            }
            Parent::Stop(m, w) => {
                let (place, slot) = (place_in(m), &mut n.slots[usize::from(w)]);
                if slot.begun <= place {
                    slot.stop = slot.stop.min(place);
                    n.never |= slot.chunk == m + 1;
                } else {
                    n.parent = Parent::Look(m, w);
                }
                out.step(PARENT, "stops before the cancelled task", n);
            }
            Parent::Look(m, w) => {
                let place = place_in(m);
                if s.slots[usize::from(w)].begun == place + 1 {
                    n.messages[usize::from(m)].over = Some(place);
                }
                out.step(PARENT, "looks whether it runs", n);
            }
            Parent::StopNext(m, w) => {
                let over = s.messages[usize::from(m)].over.unwrap_or_default();
                let slot = &mut n.slots[usize::from(w)];
                if slot.begun <= over + 1 {
                    slot.stop = slot.stop.min(over + 1);
                    n.parent = Parent::Doom(m, w);
                }
                out.step(PARENT, "stops behind the task", n);
            }
            Parent::Doom(m, w) => {
                let slot = &mut n.slots[usize::from(w)];
                if slot.shown != Shown::Idle {
                    slot.shown = Shown::Doomed;
                    n.parent = if self.has(NoLookAgain) {
                        Parent::Kill(m, w)
                    } else {
                        Parent::Again(m, w)
                    };
                }
                out.step(PARENT, "CAS from busy to doomed", n);
            }
            Parent::Again(m, w) => {
                let over = s.messages[usize::from(m)].over.unwrap_or_default();
                let slot = s.slots[usize::from(w)];
                if slot.chunk == m + 1 && slot.begun == over + 1 {
                    n.parent = Parent::Kill(m, w);
                }
                out.step(PARENT, "looks again what the worker is at", n);
            }
            Parent::Share(m, w, kept) => {
                let slot = &mut n.slots[usize::from(w)];
                if slot.begun <= kept {
                    slot.stop = slot.stop.min(kept);
                    n.parent = Parent::Part(m, w, kept);
                }
                out.step(PARENT, "stops behind what has begun", n);
            }
            Parent::Part(m, w, kept) => {
                let awaited = s.messages[usize::from(m)].awaited;
                let mut then = Ok(n);
                if s.slots[usize::from(w)].chunk == m + 1 || self.has(SharedUnseen) {
                    let first = (0..kept).map(|i| 1 << task_at(awaited, i));
                    let first = first.fold(0, |bits, bit: u8| bits | bit);
                    n.messages[usize::from(m)].awaited = first;
                    then = Self::requeue(&mut n, awaited & !first).map(|()| n);
                }
                out.either(PARENT, "sends again what is behind it", then);
            }
            Parent::Kill(m, w) => {
                let worker = s.workers[usize::from(w)];
                let runs = matches!(worker.at, At::Run | At::Count).then(|| {
                    let tasks = s.messages[usize::from(worker.has) - 1].tasks;
                    task_at(tasks, worker.done)
                });
                let meant = s.messages[usize::from(m)];
                if worker.at == At::Run && runs != meant.over.map(|over| task_at(meant.tasks, over))
                {
                    return out.wrong(PARENT, "kills", "the kill meets another task");
                }
                Self::dies(&mut n, w.into());
                out.step(PARENT, "kills the worker", n);
            }
        }
    }
}

impl Protocol for Board {
    type State = State;

    fn start(&self) -> State {
        let mut messages = [NO_MESSAGE; MESSAGES];
        for (message, tasks) in messages.iter_mut().zip(self.messages) {
            let (queued, tasks, awaited) = (Queued::Waiting, *tasks, *tasks);
            *message = Message { queued, tasks, awaited, flies: true, ..NO_MESSAGE };
        }
        let mut workers = [Worker { at: At::Dead, ..IDLE }; WORKERS];
        workers[..self.workers].fill(IDLE);
        State {
            messages,
            slots: [FRESH; WORKERS],
            workers,
            parent: Parent::Free,
            outcomes: [Outcome::None; TASKS],
            ran: 0,
            ended: 0,
            never: false,
            cancels: self.cancels,
            shares: self.shares,
            crashes: self.crashes,
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        self.parent(s, out);
        for w in 0..self.workers {
            self.worker(s, w, out);
            if s.crashes > 0 && s.workers[w].at != At::Dead {
                let mut n = *s;
                n.crashes -= 1;
                Self::dies(&mut n, w);
                out.luck(w, "dies", n);
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        s.parent == Parent::Free
            && s.outcomes.iter().all(|outcome| *outcome != Outcome::None)
            && !s.messages.iter().any(|message| message.flies)
    }

    fn name(&self, who: usize) -> String {
        if who == PARENT { "parent".to_owned() } else { format!("worker {who}") }
    }
}

const NAME: &str = "pool";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let base = Board {
        messages: &[0b011, 0b100],
        workers: 1,
        crashes: 1,
        cancels: 0,
        shares: 0,
        mutant: None,
    };
    let cancel = Board { messages: &[0b111], cancels: 1, crashes: 0, ..base };
    let next = Board { messages: &[0b011, 0b100], cancels: 1, crashes: 0, ..base };
    let two = Board { workers: 2, ..base };
    let share = Board { shares: 1, workers: 2, crashes: 0, ..base };
    let sound = |config, board| Case::sound(NAME, config, board);
    let mut cases = vec![
        sound("chunks of 2 and 1, 1 worker, 2 deaths", Board { crashes: 2, ..base }),
        sound("chunk of 3, 1 worker, a cancel, 1 death", Board { crashes: 1, ..cancel }),
        sound("chunks of 2 and 1, 1 worker, a cancel, 1 death", Board { crashes: 1, ..next }),
        sound("chunks of 2 and 1, 2 workers, 1 death", two),
        sound("chunks of 2 and 1, 2 workers, shared, 1 death", Board { crashes: 1, ..share }),
    ];
    let list: &[(&'static str, Mutant, Expect, Board)] = &[
        ("killed without another look at what it is at", NoLookAgain, Unsafe, next),
        ("doomed without a stop behind the task", NoStop, Unsafe, cancel),
        ("idle by plain store", IdleByStore, Unsafe, next),
        ("a task is counted when it has ended", CountedLate, Unsafe, base),
        ("the chunk is shown behind its first task", ShownLate, Unsafe, base),
        (
            "the last chunk's results are left",
            OutboxLeft,
            Unsafe,
            Board { messages: &[0b011, 0b100], ..base },
        ),
        ("a slot is used again before its chunk is dealt with", SlotUsedEarly, Unsafe, base),
        ("the chunk is taken down before the reply", EndBeforeReply, Unsafe, base),
        (
            "what had not begun is forgotten",
            RestForgotten,
            Stuck,
            Board { messages: &[0b111], ..base },
        ),
        ("what had begun is sent again", BegunSentAgain, Unsafe, base),
        ("the place is not asked", NoClaim, Unsafe, cancel),
        ("shared without a stop", SharedUnstopped, Unsafe, share),
        ("shared without a look which chunk was stopped", SharedUnseen, Unsafe, share),
    ];
    cases.extend(list.iter().map(|&(name, mutant, expect, board)| {
        let config = "small, for this mutant";
        Case::mutant(NAME, config, name, expect, Board { mutant: Some(mutant), ..board })
    }));
    if !quick {
        cases.extend([
            sound(
                "chunk of 3, 2 workers, shared twice, a cancel, 1 death",
                Board { messages: &[0b111], shares: 2, cancels: 1, crashes: 1, ..two },
            ),
            sound("chunks of 2 and 1, 2 workers, a cancel, 1 death", Board { cancels: 1, ..two }),
            sound(
                "chunks of 2 and 1, 2 workers, a cancel, 2 deaths",
                Board { cancels: 1, crashes: 2, ..two },
            ),
            sound(
                "chunk of 3, 2 workers, a cancel, 2 deaths",
                Board { messages: &[0b111], cancels: 1, crashes: 2, ..two },
            ),
        ]);
    }
    cases
}

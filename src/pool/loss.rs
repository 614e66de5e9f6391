//! Chunks whose worker ended, tasks that are over before their end: what becomes of each task.

use super::board::{Counter, State as SlotState};
use super::chunk::To;
use super::error::TaskError;
use super::gather::{Gather, Got};
use super::hub::{Flight, Hub, State, failed, hand_on};
use super::wire::{Blob, Failure, Job, Values};
use offspring_core::wait::{Deadline, Wait};
use std::sync::Arc;

/// A chunk that no worker could even begin with goes round so often.
const MOST_RETURNS: u32 = 5;

impl State {
    /// The letters whose tickets were read are done with.
    pub(super) fn drop_dead_letters(&self, hub: &Hub) {
        let mut unread = Vec::new();
        // Each is on lease until it is known what it is. Those that were not read yet go back, and their tickets tell.
        for letter in hub.queue.dead_letters() {
            match letter {
                Ok(letter) => match &*letter {
                    Job::Chunk { id, .. } if self.flights.iter().any(|flight| flight.id == *id) => {
                        unread.push(letter);
                    }
                    _ => drop(letter.commit()),
                },
                Err(_) => break,
            }
        }
    }

    /// The flight's chunk came back as a dead letter: the worker that had it ended.
    pub(super) fn take_loss(&mut self, hub: &Hub, flight: Flight) {
        let board = hub.board.clone();
        let slot = (0..board.slots_used()).find(|slot| board.slot(*slot).chunk() == flight.id);
        match slot {
            Some(slot) => {
                self.take_loss_of(hub, flight, slot);
            }
            None => self.never_begun(hub, flight),
        }
    }

    /// The worker in slot `number` ended while it had the flight's chunk. False if it is to be asked again.
    pub(super) fn take_loss_of(&mut self, hub: &Hub, flight: Flight, number: u32) -> bool {
        let slot = hub.board.slot(number);
        let (pid, how, panic) = match self.workers.iter_mut().find(|worker| worker.slot == number) {
            Some(worker) if worker.is_born() => worker.ended(),
            Some(_) => {
                self.lost.push((flight, number));
                return false;
            }
            None => {
                self.never_begun(hub, flight);
                return true;
            }
        };
        let chunk = &flight.chunk;
        let results = slot.results();
        let known = results.len().min(chunk.len());
        for (index, (is_failure, bytes)) in results.into_iter().take(known).enumerate() {
            let got = match is_failure {
                true => Got::Failed(failed(postcard::from_bytes(&bytes).unwrap_or_else(|_| {
                    Failure::Refused("why it failed is not readable".to_owned())
                }))),
                false => {
                    let ends = vec![bytes.len() as u32];
                    Got::Values(Values::Plain { ends, bytes: Blob(Arc::new(bytes)) })
                }
            };
            hand_on(hub, &flight, index, got);
        }
        let begun = (slot.progress().begun as usize).min(chunk.len());
        slot.end();
        let rest = begun.max(known);
        if rest < chunk.len() {
            self.requeue(hub, chunk.part(rest, chunk.len() - rest));
        }
        let was_over = flight.over.is_some_and(|(over, _)| over as usize == known);
        if begun <= known || was_over {
            return true;
        }
        hub.board.add_count(Counter::Lost, 1);
        let attempts = chunk.attempts + 1;
        if attempts <= hub.config.retry && !self.interrupted {
            hub.board.add_count(Counter::Retried, 1);
            let mut again = chunk.part(known, 1);
            again.attempts = attempts;
            self.requeue(hub, again);
            return true;
        }
        let error = TaskError::WorkerLost { pid, how, panic, attempts };
        self.fail(hub, chunk, known, 1, None, &error);
        true
    }

    fn never_begun(&mut self, hub: &Hub, flight: Flight) {
        let mut chunk = flight.chunk;
        chunk.returned += 1;
        if chunk.returned <= MOST_RETURNS {
            return self.requeue(hub, chunk);
        }
        let why = format!("{MOST_RETURNS} workers could not even read its message");
        let (count, error) = (chunk.len(), TaskError::Refused(why));
        self.fail(hub, &chunk, 0, count, flight.over, &error);
    }

    /// Ends the tasks that ran for too long, kills the workers whose tasks did not heed that; says when to look again.
    pub(super) fn keep_deadlines(&mut self, hub: &Hub) -> (Option<Deadline>, bool) {
        let now = hub.board.family().now();
        let (mut next, mut ended): (Option<Deadline>, bool) = (None, false);
        let mut at = |when: Deadline| next = Some(next.map_or(when, |next| next.min(when)));
        let limit = hub.config.deadline;
        for flight in &mut self.flights {
            if limit.is_none() && flight.over.is_none() {
                continue;
            }
            let slots = 0..hub.board.slots_used();
            let number = slots.into_iter().find(|slot| hub.board.slot(*slot).chunk() == flight.id);
            let nanos = limit.map_or(u64::MAX, |limit| limit.as_nanos() as u64);
            let Some(number) = number else {
                // What begins from now on is not due before then.
                at(now.after(nanos));
                continue;
            };
            let slot = hub.board.slot(number);
            if let Some((over, kill_at)) = flight.over {
                if slot.progress().begun != over + 1 || slot.result_count() > over {
                    // It ended after all; its worker goes on with the next one.
                } else if now < kill_at {
                    at(kill_at);
                } else if slot.stop_before(over + 1)
                    && (slot.state() == SlotState::Doomed
                        || slot.change_state(SlotState::Busy, SlotState::Doomed))
                    // What is doomed begins no other chunk. It may have begun one before, though: that ends as usual, and its worker.
                    && slot.chunk() == flight.id
                    && slot.progress().begun == over + 1
                    && let Some(worker) = self.workers.iter().find(|w| w.slot == number)
                {
                    worker.kill();
                }
                continue;
            }
            let begun = slot.progress().begun;
            let due = Deadline(slot.since()).after(nanos);
            if begun == 0 {
                at(now.after(nanos));
            } else if now < due {
                at(due);
            } else if let Some(after) = limit
                && slot.chunk() == flight.id
                && slot.progress().begun == begun
                && slot.result_count() < begun
            {
                let error = TaskError::Deadline { after };
                hub.board.add_count(Counter::Failed, 1);
                flight.chunk.deliver(begun as usize - 1, Got::Failed(error));
                slot.ask(flight.id, begun);
                let kill_at = now.after(hub.config.grace.as_nanos() as u64);
                flight.over = Some((begun - 1, kill_at));
                at(kill_at);
                ended = true;
            }
        }
        (next, ended)
    }

    /// What waits for `gather`, which is cancelled, shall not begin, and end if it runs.
    pub(super) fn give_up(&mut self, hub: &Hub, gather: &Arc<Gather>) {
        let mut index = 0;
        while index < self.flights.len() {
            let flight = &mut self.flights[index];
            let place = match &flight.chunk.to {
                To::One(one, _) => Arc::ptr_eq(one, gather).then_some(None),
                To::Tasks(tasks) => {
                    tasks.iter().position(|task| Arc::ptr_eq(task, gather)).map(Some)
                }
            };
            let Some(place) = place else {
                index += 1;
                continue;
            };
            if hub.board.withdraw(flight.place, flight.id) {
                let flight = self.land(index);
                self.requeue(hub, flight.chunk);
                continue;
            }
            index += 1;
            let slots = 0..hub.board.slots_used();
            let found = slots.into_iter().find(|slot| hub.board.slot(*slot).chunk() == flight.id);
            let Some(slot) = found.map(|number| hub.board.slot(number)) else { continue };
            let begun = slot.progress().begun;
            let first = place.map_or(begun, |place| place as u32);
            if slot.stop_before(first) && place.is_some() {
                continue;
            }
            let runs = slot.progress().begun;
            let mine = place.is_none_or(|place| place as u32 + 1 == runs);
            if mine && runs > 0 && flight.over.is_none() {
                slot.ask(flight.id, runs);
                let kill_at = hub.board.family().now().after(hub.config.grace.as_nanos() as u64);
                flight.over = Some((runs - 1, kill_at));
            }
        }
        // What is in the backlog is left out when its turn comes.
    }

    /// The pool was interrupted: nothing begins any more.
    pub(super) fn give_up_waiting(&mut self, hub: &Hub) {
        for chunk in std::mem::take(&mut self.backlog) {
            self.requeue(hub, chunk);
        }
        let mut index = 0;
        while index < self.flights.len() {
            let (place, id) = (self.flights[index].place, self.flights[index].id);
            if hub.board.withdraw(place, id) {
                let flight = self.land(index);
                self.requeue(hub, flight.chunk);
                continue;
            }
            let slots = 0..hub.board.slots_used();
            let found = slots.into_iter().find(|slot| hub.board.slot(*slot).chunk() == id);
            if let Some(slot) = found.map(|number| hub.board.slot(number)) {
                // Another one may begin between the look and the stop, but each only once.
                let tries = 0..=self.flights[index].chunk.len();
                tries.into_iter().any(|_| slot.stop_before(slot.progress().begun));
            }
            index += 1;
        }
    }
}

//! Idle workers get tasks that wait behind a long one in another's chunk.

use super::board::State as SlotState;
use super::hub::{Hub, Phase, State};
use offspring_core::wait::{Deadline, Wait};

/// How long a chunk may go on while others stand idle before it is shared, in nanoseconds: four times what a chunk is made to take.
const PATIENCE: u64 = 2_000_000;

impl State {
    /// Takes tasks that have not begun out of the chunks that were being worked at for too long while others stand idle; says when to
    /// look again.
    pub(super) fn share(&mut self, hub: &Hub) -> Option<Deadline> {
        let board = &hub.board;
        let shareable = self.backlog.is_empty()
            && self.phase < Phase::Terminated
            && !self.interrupted
            && self.flights.iter().any(|flight| flight.chunk.len() > 1);
        if !shareable {
            return None;
        }
        let slots = || (0..board.slots_used()).map(|slot| board.slot(slot));
        let idle = slots().filter(|slot| slot.state() == SlotState::Idle).count();
        let waiting = self.flights.iter().filter(|flight| board.is_waiting(flight.place)).count();
        if idle <= waiting {
            return None;
        }
        let now = board.family().now();
        let later = now.after(PATIENCE);
        let mut next: Option<Deadline> = None;
        let mut index = 0;
        while index < self.flights.len() {
            let flight = &mut self.flights[index];
            index += 1;
            let all = flight.chunk.len() as u32;
            if all == 1 {
                continue;
            }
            // One that nobody has begun is about to be, and that wakes nobody.
            let mut look_at = later;
            let slot = slots().find(|slot| slot.chunk() == flight.id);
            let begun = slot.map_or(0, |slot| slot.progress().begun);
            if begun >= all {
                continue;
            }
            if let Some(slot) = slot
                && begun > 0
            {
                let (before, since) = *flight.seen.get_or_insert((begun, now));
                look_at = since.after(PATIENCE);
                if now >= look_at {
                    (flight.seen, look_at) = (None, later);
                    let kept = if begun == before { begun } else { begun + (all - begun) / 2 };
                    // The chunk is asked behind the stop: it was this one that was stopped.
                    if kept < all && slot.stop_before(kept) && slot.chunk() == flight.id {
                        let (kept, all) = (kept as usize, all as usize);
                        let rest = flight.chunk.part(kept, all - kept);
                        flight.chunk = flight.chunk.part(0, kept);
                        self.requeue(hub, rest);
                    }
                }
            }
            next = Some(next.map_or(look_at, |next| next.min(look_at)));
        }
        next
    }
}

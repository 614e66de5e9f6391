//! The pool's thread: replaces workers, keeps deadlines, and pumps while no caller does.

use super::hub::{Hub, Phase};
use offspring_core::block_on::block_on;
use offspring_core::wait::{Adaptive, Deadline};
use std::sync::Arc;

/// What the thread sleeps for.
#[derive(Clone, Copy)]
struct Plan {
    until: Option<Deadline>,
    /// It must take replies, as no caller does.
    pumps: bool,
    over: bool,
}

impl Plan {
    /// Whether who sleeps for `plan` must wake for this one. What is due later is looked at when `plan` is over.
    fn is_news_to(self, plan: Self) -> bool {
        let earlier = match (self.until, plan.until) {
            (Some(next), Some(planned)) => next < planned,
            (Some(_), None) => true,
            (None, _) => false,
        };
        earlier || self.pumps != plan.pumps || self.over
    }
}

/// Until the pool is closed or terminated, and no worker is left.
pub(super) fn run(hub: &Arc<Hub>) {
    let spin = Adaptive::new();
    let mut plan = tend(hub);
    while !plan.over {
        let family = hub.board.family();
        let bell = if plan.pumps { hub.board.done() } else { hub.board.chores() };
        let look = || {
            let next = tend(hub);
            next.is_news_to(plan).then_some(next)
        };
        let members = || hub.board.processes();
        let next = block_on(family, bell, members, &spin, plan.until, look);
        plan = next.unwrap_or_else(|| tend(hub));
    }
    hub.board.done().notify_all(hub.board.family());
}

/// Does what is due.
fn tend(hub: &Hub) -> Plan {
    let pumps = hub.lock().thread_pumps();
    let mut again = None;
    if pumps || hub.board.wants_room() {
        again = hub.pump_and_plan().1;
    }
    let mut until = hub.tend_crew();
    let mut state = hub.lock();
    let (due, ended) = state.keep_deadlines(hub);
    // A death that was noticed meanwhile is dealt with by whoever pumps; if nobody else does, it is this thread.
    let stuck = state.workers_wait_for_pump(hub);
    let over = state.phase != Phase::Open && state.workers.is_empty();
    let pumps = state.thread_pumps();
    drop(state);
    if ended || stuck {
        hub.pump();
        hub.board.done().notify_all(hub.board.family());
    }
    if stuck {
        // Its slot is free now.
        until = hub.tend_crew().or(until);
    }
    let until = [until, due, again].into_iter().flatten().min();
    Plan { until, pumps, over }
}

//! The judgement of a round that is over: items, permits, waits, and what is left in the queue.

use super::Harness;
use crate::kill::board::{MOST_LIVES, WAITS, delicate, wait};
use crate::kill::ledger::{self, Ledger};
use crate::kill::objects::{PERMITS, Party};
use crate::kill::payload;
use crate::kill::system::PACE;
use offspring_core::family::RegionRef;
use offspring_core::prim::Ordering;
use offspring_core::queue::{Buffer, GetError, Mode};
use std::fmt::Write as _;

impl Harness {
    /// All processes are gone: the rest of the queue, the items, the permits, the regions.
    pub(super) fn finish(&mut self, party: Party) {
        let board = self.board();
        for (pid, process) in std::mem::take(&mut self.untold) {
            self.family.note_gone(pid, process);
        }
        let me = Ledger { board, me: (MOST_LIVES - 1) as u16 };
        let mut rest = Rest(Vec::new());
        match party.queue.try_take(Mode::Get, true, &mut rest) {
            Err(GetError::Closed) => {}
            other => board.complain(format_args!(
                "the queue should be closed and empty, but: {other:?}, {} bytes",
                rest.0.len()
            )),
        }
        while let Some(token) = party.queue.try_take_dead(&mut rest) {
            board.complain(format_args!(
                "a dead letter was left behind: {:?}",
                payload::read(&rest.0)
            ));
            party.queue.commit(token);
        }
        let in_use = party.queue.in_use();
        if in_use.slots + in_use.blocks != 0 {
            board.complain(format_args!("the queue is empty, but {in_use:?}"));
        }
        let sums = ledger::judge(me);
        self.tally.sums.add(&sums);
        self.judge_permits(party);
        let before = board.complaints();
        if before != 0 {
            eprintln!("{:#?}", party.queue.dump());
        }
        let region = |word: u64| RegionRef::from_bits(word);
        self.family.leave_object(region(board.semaphore.load(Ordering::Relaxed)));
        self.family.leave_object(region(board.queue.load(Ordering::Relaxed)));
    }

    /// The round's longest wait: a lost notice shows as a wait that only the backstop ended. Time for which the machine ran
    /// nobody, this process neither, is not a wait.
    pub(super) fn judge_stall(&mut self) {
        let board = self.board();
        for (what, [since, until]) in board.stalls.iter().enumerate() {
            let (since, until) = (since.load(Ordering::Relaxed), until.load(Ordering::Relaxed));
            let overlap =
                |(from, to): &(u64, u64)| to.min(&until).saturating_sub(*from.max(&since));
            let held_up: u64 = self.held_up.iter().map(overlap).sum();
            let stall = until.saturating_sub(since).saturating_sub(held_up);
            if stall > PACE.stall && what != wait::PERMITS {
                let story = self.tell_stall(since, until, what);
                board.complain(format_args!("only the backstop ended a wait: {story}"));
            }
            self.tally.stalls[what] = self.tally.stalls[what].max(stall);
        }
        let longest = self.held_up.drain(..).map(|(from, to)| to - from).max();
        self.tally.longest_held_up = self.tally.longest_held_up.max(longest.unwrap_or(0));
    }

    fn tell_stall(&self, since: u64, until: u64, what: usize) -> String {
        let what = WAITS.get(what).copied().unwrap_or("?");
        let mut text = format!(
            "a survivor waited {} us for {what}; killed about then:",
            (until - since) / 1000
        );
        for life in self.board().lives() {
            if let Some(at) = life.doomed()
                && at + 5_000_000 > since
                && at < until
            {
                let after = (at as i64 - since as i64) / 1000;
                let _ = write!(text, "\n    {after} us: {life}");
            }
        }
        text
    }

    fn judge_permits(&self, party: Party) {
        let board = self.board();
        party.semaphore.sweep();
        let forgotten = i64::from(board.forgotten.load(Ordering::Relaxed));
        let posted = i64::from(board.posted.load(Ordering::Relaxed));
        let want = i64::from(PERMITS) - forgotten + posted;
        let free = i64::from(party.semaphore.value());
        // Killed from outside between forgetting or posting and its entry: one permit may be either way.
        let doubt = board.lives().iter().filter(|life| {
            let exact = life.died_at().is_some() && life.threads.load(Ordering::Relaxed) == 0;
            life.delicate.load(Ordering::Relaxed) != delicate::NO && !exact
        });
        let doubt = doubt.count() as i64;
        if (free - want).abs() > doubt {
            board.complain(format_args!(
                "{free} permits are free at the end, {want} should be ({doubt} in doubt)"
            ));
        }
    }
}

/// Takes what should not be there.
struct Rest(Vec<u8>);

// SAFETY: `room` makes the vector as long as asked.
unsafe impl Buffer for Rest {
    fn room(&mut self, len: usize) -> *mut u8 {
        self.0 = vec![0; len];
        self.0.as_mut_ptr()
    }

    fn filled(&mut self, _: usize, _: bool) {}
}

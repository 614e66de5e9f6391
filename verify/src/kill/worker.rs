//! What one process of the family can do with the round's objects: each operation told to the ledger before and after.

use super::board::{Board, LEAVES, Life, count, delicate, now, wait};
use super::dice::Dice;
use super::hook::{self, Doing};
use super::inbox::{Inbox, Reply, is_whole, note_recovery};
use super::ledger::{Event, How, Ledger, hold};
use super::objects::{self, MOST_PERMITS, Party, kind};
use super::payload::{self, LEAST, Name};
use super::system::{Object, ObjectError};
use super::targets::Script;
use offspring_core::block_on::block;
use offspring_core::family::RegionRef;
use offspring_core::prim::Ordering;
use offspring_core::queue::{
    Answer, GetError, LeaseToken, Message, Mode, PutError, Taken, TicketToken, handles_len,
};
use offspring_core::wait::{Adaptive, EventCount};

/// The queue is closed and nothing is left in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

/// An item on trial.
#[derive(Debug)]
pub struct Held {
    token: LeaseToken,
    item: u32,
}

/// How a lease ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    Commit,
    Back,
    Reply,
}

/// Which sizes messages have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Any,
    NoneInline,
}

/// One thread of one process.
pub struct Worker {
    pub board: &'static Board,
    pub me: u16,
    pub party: Party,
    pub dice: Dice,
    ledger: Ledger,
    inbox: Inbox,
    out: Vec<u8>,
    spin: Adaptive,
}

impl Worker {
    pub fn new(board: &'static Board, me: u16, party: Party, dice: Dice) -> Self {
        let ledger = Ledger { board, me };
        let inbox = Inbox::new(ledger, party.family);
        Self { board, me, party, dice, ledger, inbox, out: Vec::new(), spin: Adaptive::new() }
    }

    pub fn life(&self) -> &'static Life {
        self.board.life(self.me)
    }

    /// Blocks until `attempt` gives something, and notes since when it did not.
    fn wait<R>(&self, on: &EventCount, what: usize, mut attempt: impl FnMut() -> Option<R>) -> R {
        let (queue, family, life) = (self.party.queue, self.party.family, self.life());
        let done = block(
            family,
            on,
            || queue.others(),
            &self.spin,
            || {
                let done = attempt();
                if done.is_none() && life.blocked_since.load(Ordering::Relaxed) == 0 {
                    life.blocked_since.store(now(), Ordering::Relaxed);
                }
                done
            },
        );
        self.ended_wait(what);
        done
    }

    fn ended_wait(&self, what: usize) {
        let since = self.life().blocked_since.swap(0, Ordering::Relaxed);
        let script = Script::numbered(self.life().script.load(Ordering::Relaxed));
        if since != 0 && matches!(script, Script::Taker | Script::Putter) {
            self.board.waited(since, what);
        }
    }

    fn length(&mut self, size: Size) -> usize {
        let large = self.board.most_message.load(Ordering::Relaxed) > 64 << 10;
        let dice = self.dice.below(100);
        let (from, to) = match dice {
            0..=49 if size == Size::Any => (LEAST as u32, 48),
            0..=69 => (60, 250),
            70..=89 => (1000, 1048),
            90..=97 => (10_000, 10_240),
            _ if large => (300_000, 307_200),
            _ => (4_000, 4_096),
        };
        (from + self.dice.below(to - from + 1)) as usize
    }

    /// Puts one item; `blocking` waits for a slot and for room. Whether it was put.
    pub fn put(&mut self, size: Size, blocking: bool) -> Result<bool, Closed> {
        let Some((item, _)) = self.compose(size) else { return self.no_items(false) };
        let leaf = self.enclose();
        let (queue, carries) = (self.party.queue, leaf.is_some());
        let message = Message { bytes: &self.out, carries };
        hook::putting(Some(item));
        let attempt = || queue.try_put(message);
        let done = if blocking { self.wait_for_room(attempt) } else { attempt() };
        hook::putting(None);
        self.ledger.put_returned(item, done.is_ok());
        if let Some(leaf) = leaf {
            // We stayed a member until the put was committed.
            self.party.family.leave_object(leaf);
        }
        self.put_done(item, done).map(|done| done.is_some())
    }

    /// Puts several items at once, as many as there is room for.
    pub fn put_batch(&mut self) -> Result<(), Closed> {
        let (mut items, mut messages) = (Vec::new(), Vec::new());
        for _ in 0..2 + self.dice.below(4) {
            let Some((item, _)) = self.compose(Size::Any) else { break };
            items.push(item);
            messages.push(std::mem::take(&mut self.out));
        }
        if items.is_empty() {
            return self.no_items(());
        }
        let views: Vec<_> =
            messages.iter().map(|bytes| Message { bytes, carries: false }).collect();
        hook::putting_batch(&items);
        let done = self.party.queue.try_put_many(&views);
        hook::putting_batch(&[]);
        let put = done.map_or_else(|(put, _)| put, |()| items.len());
        for (i, item) in items.iter().enumerate() {
            self.ledger.put_returned(*item, i < put);
        }
        match done {
            Ok(()) => Ok(()),
            Err((_, why)) => {
                self.put_done::<()>(items[put.min(items.len() - 1)], Err(why)).map(|_| ())
            }
        }
    }

    /// Gets several items at once for good, as many as there are.
    pub fn get_batch(&mut self) -> Result<(), Closed> {
        hook::doing(Doing::Get, None);
        let most = 2 + self.dice.below(4) as usize;
        let mut inboxes: Vec<_> =
            (0..most).map(|_| Inbox::new(self.ledger, self.party.family)).collect();
        let done = self.party.queue.try_take_many(true, &mut inboxes);
        let taken = *done.as_ref().unwrap_or_else(|(taken, _)| taken);
        for inbox in &mut inboxes[..taken] {
            if let Some(item) = inbox.item {
                self.ledger.done(item);
            }
            inbox.drop_leaf();
        }
        hook::doing(Doing::Other, None);
        match done {
            Ok(_) | Err((_, GetError::Empty | GetError::Leased { .. } | GetError::NoRoom)) => {
                Ok(())
            }
            Err((_, GetError::Closed)) => Err(self.was_closed()),
            Err((_, why)) => {
                self.board.complain(format_args!("a batch failed: {why}; {}", self.life()));
                Ok(())
            }
        }
    }

    /// The queue is closed and empty, which is so for good.
    fn was_closed(&self) -> Closed {
        let closed_at = &self.board.closed_at;
        let _ = closed_at.compare_exchange(0, now(), Ordering::AcqRel, Ordering::Relaxed);
        Closed
    }

    /// Now and then makes a region and lets the message name it.
    fn enclose(&mut self) -> Option<RegionRef> {
        if self.board.carrying.load(Ordering::Relaxed) == 0 || !self.dice.percent(5) {
            return None;
        }
        let leaf = self.make_leaf(4096)?;
        leaf.mark_travelled();
        self.party.object.mark_carries();
        let head = handles_len(1);
        let len = self.out.len();
        self.out.resize(len + head, 0);
        self.out.copy_within(..len, head);
        self.out[..2].copy_from_slice(&1_u16.to_le_bytes());
        self.out[2..head].copy_from_slice(&leaf.region.bits().to_le_bytes());
        Some(leaf.region)
    }

    /// Puts one item that asks for an answer.
    pub fn request(
        &mut self,
        size: Size,
        blocking: bool,
    ) -> Result<Option<(TicketToken, u32)>, Closed> {
        let Some((item, _)) = self.compose(size) else { return self.no_items(None) };
        let (queue, message) = (self.party.queue, Message { bytes: &self.out, carries: false });
        hook::putting(Some(item));
        let attempt = || queue.try_request(message);
        let done = if blocking { self.wait_for_room(attempt) } else { attempt() };
        hook::putting(None);
        self.ledger.put_returned(item, done.is_ok());
        self.put_done(item, done).map(|ticket| ticket.map(|ticket| (ticket, item)))
    }

    fn compose(&mut self, size: Size) -> Option<(u32, Name)> {
        hook::doing(Doing::Other, None);
        let len = self.length(size);
        let (item, name) = self.ledger.mean(len)?;
        self.out.resize(len, 0);
        payload::write(&mut self.out, name);
        Some((item, name))
    }

    /// The round has no more items.
    fn no_items<T>(&self, nothing: T) -> Result<T, Closed> {
        if self.party.queue.is_closed() { Err(Closed) } else { Ok(nothing) }
    }

    fn put_done<T>(&self, item: u32, done: Result<T, PutError>) -> Result<Option<T>, Closed> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(PutError::Closed) => Err(Closed),
            Err(PutError::Full | PutError::NoRoom) => Ok(None),
            Err(error) => {
                self.ledger.complain(item, &format!("a put failed: {error}"));
                Ok(None)
            }
        }
    }

    fn wait_for_room<T>(&self, attempt: impl Fn() -> Result<T, PutError>) -> Result<T, PutError> {
        let queue = self.party.queue;
        loop {
            let full = |done: &Result<T, PutError>| matches!(done, Err(PutError::Full));
            let done = self
                .wait(queue.writers(), wait::SLOTS, || Some(attempt()).filter(|done| !full(done)));
            if !matches!(done, Err(PutError::NoRoom)) {
                return done;
            }
            let no_room = |done: &Result<T, PutError>| matches!(done, Err(PutError::NoRoom));
            let done = self.wait(queue.rooms(), wait::BLOCKS, || {
                Some(attempt()).filter(|done| !no_room(done))
            });
            if !full(&done) {
                return done;
            }
        }
    }

    fn take(&mut self, mode: Mode, blocking: bool) -> Result<Option<(Taken, u32)>, Closed> {
        let queue = self.party.queue;
        let (doing, how) = match mode {
            Mode::Get => (Doing::Get, How::Get),
            Mode::Lease => (Doing::Other, How::Lease),
        };
        hook::doing(doing, None);
        let mut inbox =
            std::mem::replace(&mut self.inbox, Inbox::new(self.ledger, self.party.family));
        (inbox.how, inbox.item) = (how, None);
        let done = loop {
            let mut attempt = || match queue.try_take(mode, true, &mut inbox) {
                Err(GetError::Empty | GetError::Leased { .. }) if blocking => None,
                done => Some(done),
            };
            let done = if blocking {
                self.wait(queue.readers(), wait::ITEMS, &mut attempt)
            } else {
                attempt().unwrap_or(Err(GetError::Empty))
            };
            if !blocking || !matches!(done, Err(GetError::NoRoom)) {
                break done;
            }
            let mut attempt = || match queue.try_take(mode, true, &mut inbox) {
                Err(GetError::NoRoom) => None,
                done => Some(done),
            };
            let done = self.wait(queue.rooms(), wait::BLOCKS, &mut attempt);
            if !matches!(done, Err(GetError::Empty | GetError::Leased { .. })) {
                break done;
            }
        };
        let item = inbox.item;
        inbox.drop_leaf();
        self.inbox = inbox;
        match (done, item) {
            (Ok(taken), Some(item)) => Ok(Some((taken, item))),
            (Ok(Taken::Lease(token)), None) => {
                // Torn, and complained about: let it go.
                queue.commit(token);
                Ok(None)
            }
            (Ok(Taken::Item), None) => Ok(None),
            (Err(GetError::Closed), _) => Err(self.was_closed()),
            (Err(GetError::Empty | GetError::Leased { .. } | GetError::NoRoom), _) => Ok(None),
            (Err(error), _) => {
                self.board.complain(format_args!("a take failed: {error}; {}", self.life()));
                Ok(None)
            }
        }
    }

    /// Gets one item for good. Whether there was one.
    pub fn get(&mut self, blocking: bool) -> Result<bool, Closed> {
        let taken = self.take(Mode::Get, blocking)?;
        if let Some((_, item)) = taken {
            self.ledger.done(item);
        }
        hook::doing(Doing::Other, None);
        Ok(taken.is_some())
    }

    /// Leases one item.
    pub fn lease(&mut self, blocking: bool) -> Result<Option<Held>, Closed> {
        let Some((Taken::Lease(token), item)) = self.take(Mode::Lease, blocking)? else {
            return Ok(None);
        };
        if self.ledger.deliveries(item) > 1 && token.deliveries() == 0 {
            self.ledger.complain(item, "an item came again and did not say so");
        }
        Ok(Some(Held { token, item }))
    }

    /// Ends a lease.
    pub fn end(&mut self, held: Held, finish: Finish) {
        let queue = self.party.queue;
        let Held { token, item } = held;
        match finish {
            Finish::Back => {
                self.ledger.turn(item, &[hold::LEASED], hold::GIVEN, Event::Given);
                queue.give_back(token);
            }
            Finish::Commit => {
                self.ledger.turn(item, &[hold::LEASED], hold::ENDING, Event::Ending);
                self.commit(token, item);
            }
            Finish::Reply => {
                self.ledger.turn(item, &[hold::LEASED], hold::ENDING, Event::Ending);
                let len = self.length(Size::Any);
                self.out.resize(len, 0);
                let round = self.board.round.load(Ordering::Relaxed);
                payload::write(&mut self.out, Name { reply: true, round, life: self.me, item });
                hook::doing(Doing::End, Some(item));
                let reply = queue.try_reply(token, Message { bytes: &self.out, carries: false });
                match reply {
                    Ok(_) => self.ledger.done(item),
                    Err((token, _)) => self.commit(token, item),
                }
            }
        }
        hook::doing(Doing::Other, None);
    }

    fn commit(&self, token: LeaseToken, item: u32) {
        hook::doing(Doing::End, Some(item));
        self.party.queue.commit(token);
        self.ledger.done(item);
    }

    /// Takes one item that was given back too often. Whether there was one.
    pub fn dead_letter(&mut self) -> bool {
        hook::doing(Doing::Other, None);
        self.inbox.how = How::DeadLetter;
        self.inbox.item = None;
        let Some(token) = self.party.queue.try_take_dead(&mut self.inbox) else { return false };
        self.inbox.drop_leaf();
        let Some(item) = self.inbox.item else {
            self.party.queue.commit(token);
            return true;
        };
        count(&self.board.counts.dead_letters);
        self.end(Held { token, item }, Finish::Commit);
        true
    }

    /// Waits for the answer to a request, and checks it.
    pub fn answer(&mut self, ticket: TicketToken, item: u32) {
        let queue = self.party.queue;
        hook::doing(Doing::Other, None);
        let Some(bell) = queue.bell(&ticket) else {
            self.ledger.complain(item, "an open ticket names no block");
            return;
        };
        let mut reply = Reply(Vec::new());
        let mut waiting = Some(ticket);
        let answer = self.wait(bell, wait::ANSWER, || {
            let ticket = waiting.take()?;
            match queue.take_answer(ticket, &mut reply) {
                Ok((_, Some(ticket))) => {
                    waiting = Some(ticket);
                    None
                }
                Ok((answer, None)) => Some(Ok(answer)),
                Err(corrupt) => Some(Err(corrupt)),
            }
        });
        let (state, life) = self.holder(item);
        let ended = matches!(state, hold::ENDING | hold::DONE | hold::GETTING);
        let wrong = match answer {
            Err(corrupt) => Some(corrupt.to_string()),
            Ok(Answer::Reply) => match payload::read(&reply.0) {
                Err(torn) => Some(torn),
                Ok(name) if !name.reply || name.item != item => {
                    Some(format!("the answer to another request came: {name:?}"))
                }
                Ok(name) if !ended || name.life != life => {
                    Some(format!("an answer came from one who did not have the item: {name:?}"))
                }
                Ok(_) => {
                    count(&self.board.counts.replies);
                    None
                }
            },
            Ok(Answer::Committed) if !ended => Some("told of a commit that was not".to_owned()),
            Ok(Answer::Dead) if self.board.most_deliveries.load(Ordering::Relaxed) == 0 => {
                Some("told that the item is a dead letter where there are none".to_owned())
            }
            Ok(_) => None,
        };
        match wrong {
            Some(wrong) => self.ledger.complain(item, &wrong),
            None => self.ledger.mention(item, Event::Answered),
        }
    }

    fn holder(&self, item: u32) -> (u8, u16) {
        let word = self.board.item(item).map_or(0, |item| item.hold.load(Ordering::Acquire));
        (word as u8, (word >> 8) as u16)
    }

    /// Takes `permits` permits, waiting for them, and lets `meanwhile` run before it gives them back.
    pub fn permits(&mut self, permits: u32, blocking: bool) {
        hook::doing(Doing::Other, None);
        let semaphore = self.party.semaphore;
        let life = self.life();
        let what = if permits == 1 { wait::PERMIT } else { wait::PERMITS };
        if semaphore.try_acquire(permits).is_err() {
            if !blocking {
                return;
            }
            life.waits_for.store(what as u32, Ordering::Relaxed);
            life.blocked_since.store(now(), Ordering::Relaxed);
            if let Err(error) = semaphore.acquire(permits) {
                self.board.complain(format_args!("an acquisition failed: {error}; {life}"));
                return;
            }
        }
        count(&self.board.counts.permits);
        let last = self.board.permit.swap(1 << 16 | u64::from(self.me), Ordering::AcqRel);
        if last >> 16 != 0 && permits == MOST_PERMITS {
            note_recovery(self.ledger, last as u16);
        }
        self.ended_wait(what);
        for _ in 0..self.dice.below(64) {
            std::hint::spin_loop();
        }
        self.board.permit.store(0, Ordering::Release);
        if let Err(error) = semaphore.release(permits) {
            self.board.complain(format_args!("a release failed: {error}; {life}"));
        }
    }

    /// Takes a permit, forgets it and posts it again.
    pub fn forget(&mut self) {
        hook::doing(Doing::Other, None);
        let semaphore = self.party.semaphore;
        // Where other threads run on when one of them raises the kill, nobody could say whether it was forgotten.
        if self.life().threads.load(Ordering::Relaxed) != 0 || semaphore.try_acquire(1).is_err() {
            return;
        }
        self.life().delicate.store(delicate::BEFORE, Ordering::Release);
        if let Err(error) = semaphore.forget(1) {
            self.board.complain(format_args!("a permit that we hold was not forgotten: {error}"));
            return;
        }
        hook::doing(Doing::Post, None);
        if let Err(error) = semaphore.post(1) {
            self.board.complain(format_args!("a permit was not posted: {error}"));
        }
        hook::doing(Doing::Other, None);
        self.life().delicate.store(delicate::NO, Ordering::Release);
    }

    /// Makes a region, shows it, joins another's, leaves both.
    pub fn regions(&mut self) {
        hook::doing(Doing::Other, None);
        let family = self.party.family;
        let leaves = &self.board.leaves;
        let len = 4096 << self.dice.below(5);
        let Some(made) = self.make_leaf(len) else { return };
        let shown = &leaves[self.dice.below(LEAVES as u32) as usize];
        // ORDER: Release, with the Acquire below: the words are written.
        shown.store(made.region.bits(), Ordering::Release);
        let other = leaves[self.dice.below(LEAVES as u32) as usize].load(Ordering::Acquire);
        if other != 0 {
            self.visit(RegionRef::from_bits(other));
        }
        self.check_leaf(made.region, made.pointer);
        family.leave_object(made.region);
    }

    fn make_leaf(&self, len: u64) -> Option<Object> {
        let made = match self.party.family.allocate(&objects::leaf_spec(len), |_| {}) {
            Ok(made) => made,
            Err(error) => {
                self.board.complain(format_args!("a region was not made: {error}"));
                return None;
            }
        };
        count(&self.board.counts.regions);
        for (i, word) in (0_u64..).zip(objects::leaf_words(made.pointer)) {
            if word.swap(made.region.bits().wrapping_add(i), Ordering::Relaxed) != 0 {
                self.board.complain(format_args!("a new region was not empty; {}", self.life()));
                break;
            }
        }
        Some(made)
    }

    fn visit(&self, region: RegionRef) {
        let family = self.party.family;
        match family.join_object(region, kind::LEAF, 0) {
            Ok(object) => {
                count(&self.board.counts.regions);
                self.check_leaf(region, object.pointer);
                family.leave_object(region);
            }
            // Gone, or full of members.
            Err(ObjectError::Region(_)) => {}
            Err(error) => self.board.complain(format_args!("a region was not joined: {error}")),
        }
    }

    fn check_leaf(&self, region: RegionRef, base: *const u8) {
        if !is_whole(region, base) {
            self.board.complain(format_args!("a region in use was given back; {}", self.life()));
        }
    }
}

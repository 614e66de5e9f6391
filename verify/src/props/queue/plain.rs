//! One thread plays all processes in turn; after each operation the queue must be what plain lists say.
//!
//! A death leaves at most one thing open, and the point where it came closes that (`crate::commit`): so what the
//! lists hold is always exact. Only *when* survivors see what the dead held is not said, until one of them swept.

use super::Extent;
use super::cases::{Act, MOST_MESSAGE, Op, case};
use super::shared::{Q, Shared};
use crate::commit::{self, Committed};
use crate::fake::{Fate, reference, trail};
use offspring_core::points::Point;
use offspring_core::queue::{
    Answer, Buffer, GetError, InUse, LeaseToken, LoanToken, Message, Mode, PutError, Replied,
    ReplyError, Taken, TicketToken,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;
use std::collections::{BTreeMap, VecDeque};

/// How many processes one case can have, dead ones and the auditor included.
const PROCESSES: usize = 16;
/// How many can be members at once, the auditor included.
const MEMBERS: usize = 4;
const AUDITOR: usize = 1;

type Checked<T = ()> = Result<T, TestCaseError>;

/// One item: what it says and how often it came back.
#[derive(Clone, Debug)]
struct Item {
    id: u32,
    len: usize,
    /// Where in the ring, as long as it occupies a slot.
    slot: Option<usize>,
    in_block: bool,
    back: u32,
}

fn content(id: u32, len: usize) -> Vec<u8> {
    id.to_le_bytes().into_iter().cycle().take(len).collect()
}

fn id_of(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(u32::MAX, |id| u32::from_le_bytes(*id))
}

#[derive(Debug)]
struct Held {
    number: usize,
    token: LeaseToken,
    item: Item,
}

/// A block that a process fills.
#[derive(Debug)]
struct Loan {
    number: usize,
    token: LoanToken,
    id: u32,
}

#[derive(Debug)]
struct Ticket {
    number: usize,
    token: TicketToken,
    id: u32,
}

/// What the queue must be.
#[derive(Default)]
struct Plain {
    /// The living, by number and index; not the auditor.
    living: Vec<(usize, u16)>,
    joined: usize,
    ids: u32,
    ring: VecDeque<Item>,
    /// Positions claimed so far, and who is in each slot.
    tail: usize,
    slots: Vec<bool>,
    returned: Vec<Item>,
    held: Vec<Held>,
    loans: Vec<Loan>,
    dead_letters: Vec<Item>,
    tickets: Vec<Ticket>,
    /// How requests ended: with a reply, or without.
    ended: BTreeMap<u32, Option<Vec<u8>>>,
    /// Requests whose requester died before the last sweep.
    orphans: Vec<u32>,
    closed: bool,
    /// Somebody died since the last sweep.
    unswept: bool,
}

/// Where a message goes, and whether it came.
#[derive(Default)]
struct Copied {
    bytes: Vec<u8>,
    filled: bool,
}

// SAFETY: `room` makes the vector as long as asked, and nothing moves it before the next call.
unsafe impl Buffer for Copied {
    fn room(&mut self, len: usize) -> *mut u8 {
        self.bytes.clear();
        self.bytes.resize(len, 0);
        self.bytes.as_mut_ptr()
    }

    fn filled(&mut self, _: usize, _: bool) {
        self.filled = true;
    }
}

/// One running case.
struct Run<'a> {
    shared: &'a Shared,
    limit: u32,
    plain: Plain,
}

fn message(bytes: &[u8]) -> Message<'_> {
    Message { bytes, carries: false }
}

pub(super) fn check(extent: &Extent) -> Result<u32, String> {
    super::try_all(extent, &case(), |case| {
        let shared = Shared::new(case.options, MEMBERS, PROCESSES, case.start);
        let slots = vec![false; case.options.capacity as usize];
        let plain = Plain { slots, joined: AUDITOR, ..Plain::default() };
        let limit = u32::from(case.options.most_deliveries);
        let mut run = Run { shared: &shared, limit, plain };
        for act in &case.acts {
            run.join();
            if run.plain.living.is_empty() {
                break;
            }
            run.act(act)?;
            run.compare()?;
        }
        run.audit()
    })
}

impl Run<'_> {
    /// Newcomers take what indices are free.
    fn join(&mut self) {
        while self.plain.joined < PROCESSES
            && let Some(index) = self.shared.members().join(reference(self.plain.joined + 1))
        {
            self.plain.joined += 1;
            self.plain.living.push((self.plain.joined, index));
        }
    }

    /// Runs `body` as process `number`; `Err` is the point at which it died.
    fn play<R>(
        &self,
        (number, index): (usize, u16),
        dies: Option<usize>,
        body: impl FnOnce(&Q<'_>) -> R,
    ) -> Result<R, Point> {
        let fate = dies.map_or_else(Fate::lives, Fate::dies_at);
        let process = self.shared.world.process(number);
        process
            .run(&fate, |family| body(&self.shared.queue(family, index)))
            .ok_or_else(|| fate.died_at().expect("it died"))
    }

    fn auditor<R>(&self, body: impl FnOnce(&Q<'_>) -> R) -> R {
        body(&self.shared.queue(&self.shared.world.process(AUDITOR), AUDITOR as u16))
    }

    fn act(&mut self, act: &Act) -> Checked {
        let at = act.who.index(self.plain.living.len());
        let who = self.plain.living[at];
        let died = match &act.op {
            Op::Put(len) => self.put(who, act.dies, *len, false)?,
            Op::Request(len) => self.put(who, act.dies, *len, true)?,
            Op::PutMany(lens) => self.put_many(who, act.dies, lens)?,
            Op::Get => self.take(who, act.dies, Mode::Get)?,
            Op::GetMany(most) => self.get_many(who, act.dies, *most)?,
            Op::Lease => self.take(who, act.dies, Mode::Lease)?,
            Op::Loan(len) => self.loan(who, act.dies, *len)?,
            Op::Publish(which, len) => self.publish(who, act.dies, which, *len)?,
            Op::ReturnLoan(which) => self.return_loan(who, act.dies, which),
            Op::Commit(which) => self.commit(who, act.dies, which),
            Op::GiveBack(which) => self.give_back(who, act.dies, which),
            Op::Wear(which, times) => self.wear(who, which, *times)?,
            Op::Reply(which, len) => self.reply(who, act.dies, which, *len)?,
            Op::Answer(which) => self.answer(who, act.dies, which)?,
            Op::DropTicket(which) => self.drop_ticket(who, act.dies, which),
            Op::TakeDead => self.take_dead(who)?,
            Op::Sweep => self.sweep(who, act.dies),
            Op::Close => self.close(who, act.dies)?,
            Op::Die => {
                self.shared.world.kill(who.0);
                true
            }
        };
        if died {
            self.plain.living.swap_remove(at);
            self.bury(who.0);
        }
        Ok(())
    }

    /// What a dead process held goes back; what it waited for is nobody's.
    fn bury(&mut self, number: usize) {
        let plain = &mut self.plain;
        plain.unswept = true;
        let mut i = 0;
        while i < plain.held.len() {
            if plain.held[i].number == number {
                let held = plain.held.swap_remove(i);
                plain.give_back(held.item, self.limit);
            } else {
                i += 1;
            }
        }
        let gone = plain.tickets.iter().filter(|ticket| ticket.number == number);
        plain.orphans.extend(gone.map(|ticket| ticket.id));
        plain.tickets.retain(|ticket| ticket.number != number);
        // What was written in them is nobody's.
        plain.loans.retain(|loan| loan.number != number);
    }

    fn put(
        &mut self,
        who: (usize, u16),
        dies: Option<usize>,
        len: usize,
        request: bool,
    ) -> Checked<bool> {
        let id = self.plain.ids;
        self.plain.ids += 1;
        let bytes = content(id, len);
        let in_use = self.auditor(|q| q.in_use()).blocks;
        let slot = self.plain.tail % self.plain.slots.len();
        let inline = !request && len <= self.shared.geometry.inline() && self.limit == 0;
        let item = Item { id, len, slot: Some(slot), in_block: !inline, back: 0 };
        let put = self.play(who, dies, |q| {
            if request {
                q.try_request(message(&bytes)).map(Some)
            } else {
                q.try_put(message(&bytes)).map(|()| None)
            }
        });
        let plain = &mut self.plain;
        let geometry = &self.shared.geometry;
        let put = match put {
            Ok(put) => put,
            Err(point) => {
                let claimed = put_claimed(point);
                match commit::put(point) {
                    Committed::Yes => {
                        plain.enters(item);
                        plain.orphans.extend(request.then_some(id));
                    }
                    Committed::No => plain.tail += usize::from(claimed),
                    Committed::Unknown => prop_assert!(false, "{:?}: nobody sleeps here", point),
                }
                return Ok(true);
            }
        };
        match put {
            Ok(token) => {
                prop_assert!(!plain.closed && !plain.slots[slot], "slot {} was taken", slot);
                plain.enters(item);
                plain.tickets.extend(token.map(|token| Ticket { number: who.0, token, id }));
            }
            Err(PutError::NoReplies) => {
                prop_assert!(request && !geometry.options().replies);
            }
            Err(why) => self.refused(why, len, inline, in_use)?,
        }
        Ok(false)
    }

    fn loan(&mut self, who: (usize, u16), dies: Option<usize>, len: usize) -> Checked<bool> {
        let id = self.plain.ids;
        self.plain.ids += 1;
        let in_use = self.auditor(|q| q.in_use()).blocks;
        let Ok(lent) = self.play(who, dies, |q| q.try_loan(len)) else { return Ok(true) };
        match lent {
            Ok(token) => {
                prop_assert!(!self.plain.closed && token.len() == len);
                let bytes = content(id, len);
                let to = self.auditor(|q| q.loan_address(&token)).expect("it has an address");
                // SAFETY: the loan is of `len` bytes, and no process is at work now.
                unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), len) };
                self.plain.loans.push(Loan { number: who.0, token, id });
            }
            Err(why) => self.refused(why, len, false, in_use)?,
        }
        Ok(false)
    }

    /// One of the loans of `number`.
    fn choose_loan(&mut self, number: usize, which: &Index) -> Option<Loan> {
        let loans = &mut self.plain.loans;
        let mine: Vec<_> = (0..loans.len()).filter(|&i| loans[i].number == number).collect();
        (!mine.is_empty()).then(|| loans.swap_remove(mine[which.index(mine.len())]))
    }

    fn publish(
        &mut self,
        who: (usize, u16),
        dies: Option<usize>,
        which: &Index,
        len: usize,
    ) -> Checked<bool> {
        let Some(Loan { number, mut token, id }) = self.choose_loan(who.0, which) else {
            return Ok(false);
        };
        token.truncate(len);
        let len = token.len();
        let slot = self.plain.tail % self.plain.slots.len();
        let item = Item { id, len, slot: Some(slot), in_block: true, back: 0 };
        match self.play(who, dies, |q| q.try_publish(token)) {
            Ok(Ok(())) => {
                prop_assert!(!self.plain.closed && !self.plain.slots[slot], "slot {} taken", slot);
                self.plain.enters(item);
            }
            Ok(Err((token, why))) => {
                prop_assert!(matches!(why, PutError::Closed | PutError::Full), "{:?}", why);
                self.refused(why, len, false, 0)?;
                self.plain.loans.push(Loan { number, token, id });
            }
            Err(point) => {
                match commit::put(point) {
                    Committed::Yes => self.plain.enters(item),
                    Committed::No => self.plain.tail += usize::from(put_claimed(point)),
                    Committed::Unknown => prop_assert!(false, "{:?}: nobody sleeps here", point),
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn return_loan(&mut self, who: (usize, u16), dies: Option<usize>, which: &Index) -> bool {
        let Some(Loan { token, .. }) = self.choose_loan(who.0, which) else { return false };
        self.play(who, dies, |q| q.return_loan(token)).is_err()
    }

    /// Whether a message of `len` bytes, next in turn, had to be refused so.
    fn refused(&self, why: PutError, len: usize, inline: bool, in_use: usize) -> Checked {
        let (plain, geometry) = (&self.plain, &self.shared.geometry);
        let slot = plain.tail % plain.slots.len();
        match why {
            PutError::Closed => prop_assert!(plain.closed),
            PutError::TooLarge { .. } => prop_assert!(len > MOST_MESSAGE && !plain.closed),
            PutError::NoRoom => {
                // All blocks of the class, and of the next, less the one kept for leases.
                let least = match (geometry.class_for(len), geometry.inline()) {
                    (Some(0), 1..) => 5,
                    (Some(0 | 1), _) => 6,
                    _ => 3,
                };
                prop_assert!(!inline && in_use >= least, "no room, {} blocks in use", in_use);
            }
            PutError::Full => {
                prop_assert!(plain.slots[slot] && !plain.closed, "slot {} was free", slot);
            }
            why => prop_assert!(false, "{:?}", why),
        }
        Ok(())
    }

    /// The next item to be put, of that length, and whether it lies in its slot.
    fn next_item(&mut self, len: usize) -> (Item, bool) {
        let id = self.plain.ids;
        self.plain.ids += 1;
        let inline = len <= self.shared.geometry.inline() && self.limit == 0;
        (Item { id, len, slot: None, in_block: !inline, back: 0 }, inline)
    }

    fn put_many(
        &mut self,
        who: (usize, u16),
        dies: Option<usize>,
        lens: &[usize],
    ) -> Checked<bool> {
        let items: Vec<_> = lens.iter().map(|len| self.next_item(*len)).collect();
        let bytes: Vec<_> = items.iter().map(|(item, _)| content(item.id, item.len)).collect();
        let messages: Vec<_> = bytes.iter().map(|bytes| message(bytes)).collect();
        let done = self.play(who, dies, |q| q.try_put_many(&messages));
        let (put, claimed, why) = match done {
            Ok(Ok(())) => (items.len(), items.len(), None),
            Ok(Err((put, why))) => (put, put, Some(why)),
            Err(_) => {
                // What was claimed and not committed is void.
                let trail = trail();
                let passed = |point| trail.iter().filter(|passed| **passed == point).count();
                (passed(Point::PutCommitted), passed(Point::PutClaimed), None)
            }
        };
        for (mut item, _) in items[..put].iter().cloned() {
            let slot = self.plain.tail % self.plain.slots.len();
            prop_assert!(!self.plain.closed && !self.plain.slots[slot], "slot {} was taken", slot);
            item.slot = Some(slot);
            self.plain.enters(item);
        }
        self.plain.tail += claimed - put;
        if let Some(why) = why {
            let in_use = self.auditor(|q| q.in_use()).blocks;
            self.refused(why, items[put].0.len, items[put].1, in_use)?;
        }
        Ok(done.is_err())
    }

    fn get_many(&mut self, who: (usize, u16), dies: Option<usize>, most: usize) -> Checked<bool> {
        // A death must leave no doubt about which items it hit.
        let clear = self.limit == 0 && self.plain.returned.is_empty() && !self.plain.unswept;
        let in_slots = self.plain.ring.front().is_none_or(|item| !item.in_block);
        let dies = dies.filter(|_| clear && in_slots);
        let mut copied: Vec<_> = (0..most).map(|_| Copied::default()).collect();
        let done = self.play(who, dies, |q| q.try_take_many(true, &mut copied));
        let Ok(done) = done else {
            let trail = trail();
            let passed = |point| trail.iter().filter(|passed| **passed == point).count();
            let (taken, claimed) = (passed(Point::GetCommitted), passed(Point::GetClaimed));
            for copied in &copied[..taken] {
                let item = self.plain.leaves(&copied.bytes)?;
                self.plain.ends(item.id, None);
            }
            for _ in taken..claimed {
                let item = self.plain.ring.pop_front().expect("it was claimed");
                self.plain.give_back(item, self.limit);
            }
            return Ok(true);
        };
        match done {
            Ok(taken) => {
                prop_assert!((1..=most).contains(&taken), "{} of {}", taken, most);
                for copied in &copied[..taken] {
                    let item = self.plain.leaves(&copied.bytes)?;
                    self.plain.ends(item.id, None);
                }
            }
            Err((taken, why)) => {
                prop_assert_eq!(taken, 0);
                self.nothing(who, Mode::Get, why)?;
            }
        }
        Ok(false)
    }

    fn take(&mut self, who: (usize, u16), dies: Option<usize>, mode: Mode) -> Checked<bool> {
        // A death must leave no doubt about which item it hit.
        let clear = self.limit == 0 && self.plain.returned.len() < 2 && !self.plain.unswept;
        let dies = dies.filter(|_| clear);
        let mut copied = Copied::default();
        let taken = self.play(who, dies, |q| q.try_take(mode, true, &mut copied));
        let plain = &mut self.plain;
        let taken = match taken {
            Ok(taken) => taken,
            Err(point) => {
                let on_trial = mode == Mode::Lease;
                if copied.filled && commit::take(point, on_trial) == Committed::Yes {
                    let item = plain.leaves(&copied.bytes)?;
                    plain.ends(item.id, None);
                } else if copied.filled || claimed(point) {
                    plain.comes_back(self.limit, moved(point));
                }
                return Ok(true);
            }
        };
        match taken {
            Ok(Taken::Item) => {
                prop_assert_eq!(mode, Mode::Get);
                let item = plain.leaves(&copied.bytes)?;
                plain.ends(item.id, None);
            }
            Ok(Taken::Lease(token)) => {
                prop_assert_eq!(mode, Mode::Lease);
                let item = plain.leaves(&copied.bytes)?;
                prop_assert_eq!(u32::from(token.deliveries()), item.back.min(255), "{:?}", item);
                plain.held.push(Held { number: who.0, token, item });
            }
            Err(why) => self.nothing(who, mode, why)?,
        }
        Ok(false)
    }

    /// Whether there had to be nothing, for that reason.
    fn nothing(&self, who: (usize, u16), mode: Mode, why: GetError) -> Checked {
        let plain = &self.plain;
        let mine = plain.held.iter().filter(|held| held.number == who.0).count() as u32;
        let others = plain.held.iter().any(|held| held.number != who.0);
        let nothing = plain.ring.is_empty() && plain.returned.is_empty();
        match why {
            GetError::Empty => prop_assert!(nothing && !plain.closed, "not empty"),
            GetError::Closed => {
                prop_assert!(nothing && plain.closed && plain.held.is_empty(), "not at the end");
            }
            GetError::Leased { mine: m, others: o } => {
                prop_assert!(nothing && plain.closed, "not at the end");
                prop_assert_eq!((m, o), (mine, others));
                prop_assert!(mine > 0 || others);
            }
            GetError::NoRoom => {
                let in_use = self.auditor(|q| q.in_use()).blocks;
                prop_assert!(mode == Mode::Lease && in_use >= 6, "{} blocks in use", in_use);
            }
            why => prop_assert!(false, "{:?}", why),
        }
        Ok(())
    }

    /// One of the leases of `number`.
    fn choose(&mut self, number: usize, which: &Index) -> Option<Held> {
        let mine: Vec<_> =
            (0..self.plain.held.len()).filter(|&i| self.plain.held[i].number == number).collect();
        (!mine.is_empty()).then(|| self.plain.held.swap_remove(mine[which.index(mine.len())]))
    }

    fn commit(&mut self, who: (usize, u16), dies: Option<usize>, which: &Index) -> bool {
        let Some(Held { token, item, .. }) = self.choose(who.0, which) else { return false };
        let done = self.play(who, dies, |q| q.commit(token));
        match done {
            Err(point) if commit::take(point, true) != Committed::Yes => {
                self.plain.give_back(item, self.limit);
            }
            _ => self.plain.ends(item.id, None),
        }
        done.is_err()
    }

    fn give_back(&mut self, who: (usize, u16), dies: Option<usize>, which: &Index) -> bool {
        let Some(Held { token, item, .. }) = self.choose(who.0, which) else { return false };
        let died = self.play(who, dies, |q| q.give_back(token)).is_err();
        self.plain.give_back(item, self.limit);
        died
    }

    fn wear(&mut self, who: (usize, u16), which: &Index, times: u16) -> Checked<bool> {
        if self.limit != 0 || self.plain.unswept || !self.plain.returned.is_empty() {
            return Ok(false);
        }
        let Some(Held { number, token, mut item }) = self.choose(who.0, which) else {
            return Ok(false);
        };
        let mut token = Some(token);
        for _ in 0..times {
            let mut copied = Copied::default();
            let taken = self
                .play(who, None, |q| {
                    q.give_back(token.take().expect("taken again each time"));
                    q.try_take(Mode::Lease, true, &mut copied)
                })
                .expect("lives");
            item.back += 1;
            prop_assert_eq!(&copied.bytes, &content(item.id, item.len));
            match taken {
                Ok(Taken::Lease(again)) => token = Some(again),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let token = token.expect("taken again each time");
        prop_assert_eq!(u32::from(token.deliveries()), item.back.min(255));
        self.plain.held.push(Held { number, token, item });
        Ok(false)
    }

    fn reply(
        &mut self,
        who: (usize, u16),
        dies: Option<usize>,
        which: &Index,
        len: usize,
    ) -> Checked<bool> {
        let Some(Held { number, token, item }) = self.choose(who.0, which) else {
            return Ok(false);
        };
        let reply = content(!item.id, len);
        let in_use = self.auditor(|q| q.in_use()).blocks;
        let replied = self.play(who, dies, |q| q.try_reply(token, message(&reply)));
        let plain = &mut self.plain;
        let waits = plain.tickets.iter().any(|ticket| ticket.id == item.id);
        let orphan = plain.orphans.contains(&item.id);
        match replied {
            Err(Point::ReplyDone) => plain.ends(item.id, Some(reply)),
            Err(Point::CommitDone) => plain.ends(item.id, None),
            Err(_) => plain.give_back(item, self.limit),
            Ok(Ok(Replied::Delivered)) => {
                prop_assert!(waits || orphan, "nobody waits for a reply");
                prop_assert!(len <= MOST_MESSAGE);
                plain.ends(item.id, Some(reply));
                return Ok(false);
            }
            Ok(Ok(Replied::RequesterGone)) => {
                prop_assert!(!waits, "somebody waits for the reply");
                plain.ends(item.id, None);
                return Ok(false);
            }
            Ok(Err((token, why))) => {
                match why {
                    ReplyError::TooLarge { .. } => prop_assert!(len > MOST_MESSAGE),
                    ReplyError::NoRoom => prop_assert!(in_use >= 3, "{} blocks in use", in_use),
                    why => prop_assert!(false, "{:?}", why),
                }
                prop_assert!(waits || orphan, "a reply that nobody wants needs no room");
                plain.held.push(Held { number, token, item });
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One of the tickets of `number`.
    fn choose_ticket(&mut self, number: usize, which: &Index) -> Option<Ticket> {
        let tickets = &mut self.plain.tickets;
        let mine: Vec<_> = (0..tickets.len()).filter(|&i| tickets[i].number == number).collect();
        (!mine.is_empty()).then(|| tickets.swap_remove(mine[which.index(mine.len())]))
    }

    fn answer(&mut self, who: (usize, u16), dies: Option<usize>, which: &Index) -> Checked<bool> {
        let Some(Ticket { number, token, id }) = self.choose_ticket(who.0, which) else {
            return Ok(false);
        };
        let mut copied = Copied::default();
        let answer = self.play(who, dies, |q| q.take_answer(token, &mut copied));
        let plain = &mut self.plain;
        let dead = plain.dead_letters.iter().any(|item| item.id == id);
        match answer {
            Err(_) => {
                plain.orphans.push(id);
                return Ok(true);
            }
            Ok(Ok((Answer::Pending, Some(token)))) => {
                prop_assert!(!plain.ended.contains_key(&id), "request {} has ended", id);
                prop_assert!(!dead || plain.unswept, "request {} is a dead letter", id);
                plain.tickets.push(Ticket { number, token, id });
            }
            Ok(Ok((Answer::Reply, None))) => {
                prop_assert_eq!(plain.ended.get(&id), Some(&Some(copied.bytes)));
            }
            Ok(Ok((Answer::Committed, None))) => {
                prop_assert_eq!(plain.ended.get(&id), Some(&None));
            }
            Ok(Ok((Answer::Dead, None))) => prop_assert!(dead),
            Ok(other) => prop_assert!(false, "{:?}", other),
        }
        Ok(false)
    }

    fn drop_ticket(&mut self, who: (usize, u16), dies: Option<usize>, which: &Index) -> bool {
        let Some(Ticket { token, id, .. }) = self.choose_ticket(who.0, which) else { return false };
        let died = self.play(who, dies, |q| q.drop_ticket(token)).is_err();
        // Whether it was cleared before the death does not matter: no living one waits.
        self.plain.orphans.extend(died.then_some(id));
        died
    }

    fn take_dead(&mut self, who: (usize, u16)) -> Checked<bool> {
        let mut copied = Copied::default();
        let taken = self.play(who, None, |q| q.try_take_dead(&mut copied)).expect("lives");
        let plain = &mut self.plain;
        let Some(token) = taken else {
            prop_assert!(plain.dead_letters.is_empty() || plain.unswept, "a dead letter is there");
            return Ok(false);
        };
        let id = id_of(&copied.bytes);
        let at = plain.dead_letters.iter().position(|item| item.id == id);
        prop_assert!(at.is_some(), "{} is no dead letter", id);
        let item = plain.dead_letters.swap_remove(at.expect("just seen"));
        prop_assert_eq!(&copied.bytes, &content(item.id, item.len));
        prop_assert_eq!(u32::from(token.deliveries()), item.back.min(255));
        plain.held.push(Held { number: who.0, token, item });
        Ok(false)
    }

    fn sweep(&mut self, who: (usize, u16), dies: Option<usize>) -> bool {
        let died = self.play(who, dies, |q| q.recover()).is_err();
        if !died {
            self.plain.unswept = false;
            self.plain.orphans.clear();
        }
        died
    }

    fn close(&mut self, who: (usize, u16), dies: Option<usize>) -> Checked<bool> {
        let closed = self.play(who, dies, |q| q.close());
        let before = std::mem::replace(&mut self.plain.closed, true);
        prop_assert!(closed.is_err() || closed == Ok(!before), "who closed it");
        Ok(closed.is_err())
    }

    fn compare(&self) -> Checked {
        let plain = &self.plain;
        if plain.unswept {
            return Ok(());
        }
        let (len, empty, full, closed) =
            self.auditor(|q| (q.len(), q.is_empty(), q.is_full(), q.is_closed()));
        prop_assert_eq!(len, plain.ring.len() + plain.returned.len(), "the length");
        prop_assert_eq!(empty, len == 0);
        prop_assert_eq!(closed, plain.closed);
        if !closed {
            prop_assert_eq!(full, plain.slots[plain.tail % plain.slots.len()], "fullness");
        }
        Ok(())
    }

    /// Everybody else dies; the auditor finds all that must be there, and leaves a queue as good as new.
    fn audit(&mut self) -> Checked {
        while let Some((number, _)) = self.plain.living.pop() {
            self.shared.world.kill(number);
            self.bury(number);
        }
        let who = (AUDITOR, AUDITOR as u16);
        self.sweep(who, None);
        self.compare()?;
        while !(self.plain.ring.is_empty() && self.plain.returned.is_empty()) {
            let before = self.plain.ring.len() + self.plain.returned.len();
            self.take(who, None, Mode::Get)?;
            let after = self.plain.ring.len() + self.plain.returned.len();
            prop_assert!(after < before, "an item that is there was not got");
        }
        self.take(who, None, Mode::Get)?;
        while !self.plain.dead_letters.is_empty() {
            self.take_dead(who)?;
            let held = self.plain.held.pop().expect("just taken");
            self.auditor(|q| q.commit(held.token));
        }
        let (left, dump) = self.auditor(|q| (q.in_use(), format!("{:?}", q.dump())));
        prop_assert_eq!(left, InUse::default(), "{}", dump);
        prop_assert_eq!(self.shared.members().iter().count(), 1, "the dead left their indices");
        // Where each takes a block, there may be fewer blocks than slots.
        let enough = self.plain.slots.len() <= 4 || self.next_item(4).1;
        if !self.plain.closed && enough {
            for _ in 0..self.plain.slots.len() {
                self.put(who, None, 4, false)?;
            }
            prop_assert!(self.auditor(|q| q.is_full()), "as many puts as slots");
        }
        prop_assert!(self.shared.is_contained());
        Ok(())
    }
}

/// Whether a putter that died at `point` had its slot already, and nothing in it.
fn put_claimed(point: Point) -> bool {
    matches!(
        point,
        Point::PutClaimed | Point::PutWritten | Point::PutBlockNamed | Point::PutBlockQueued
    )
}

/// Whether a taker that died at `point` held an item already.
fn claimed(point: Point) -> bool {
    matches!(
        point,
        Point::GetClaimed
            | Point::GetBlockTaken
            | Point::GetCommitted
            | Point::GetHinted
            | Point::LeaseSlotEmptied
            | Point::ReturnedTaken
    )
}

/// Whether an item that a lessee died with, having copied it from its slot, lies in a block.
fn moved(point: Point) -> bool {
    matches!(
        point,
        Point::LeaseMoved
            | Point::LeaseHeld
            | Point::GetCommitted
            | Point::GetHinted
            | Point::LeaseSlotEmptied
    )
}

impl Plain {
    fn enters(&mut self, item: Item) {
        let slot = self.tail % self.slots.len();
        self.slots[slot] = true;
        self.tail += 1;
        self.ring.push_back(item);
    }

    /// An item of these bytes was delivered: it was the first that had to be.
    fn leaves(&mut self, bytes: &[u8]) -> Checked<Item> {
        let id = id_of(bytes);
        let mut found = self
            .returned
            .iter()
            .position(|item| item.id == id)
            .map(|i| self.returned.swap_remove(i));
        if found.is_none() {
            let front = self.ring.front().map(|item| item.id);
            prop_assert_eq!(front, Some(id), "not the first of {:?}", self.ring);
            prop_assert!(self.returned.is_empty() || self.unswept, "{:?} came back", self.returned);
            found = self.ring.pop_front();
        }
        let mut item = found.expect("just found");
        prop_assert_eq!(bytes, &content(item.id, item.len)[..], "the bytes of {:?}", item);
        if let Some(slot) = item.slot.take() {
            self.slots[slot] = false;
        }
        item.in_block = true;
        Ok(item)
    }

    /// The item that a taker died with comes back, counted: it was the one given back, or else the first in the ring.
    fn comes_back(&mut self, limit: u32, moved: bool) {
        let item = self.returned.pop().or_else(|| self.ring.pop_front());
        let mut item = item.expect("something was claimed");
        if let Some(slot) = item.slot
            && (item.in_block || moved)
        {
            self.slots[slot] = false;
            item.slot = None;
        }
        self.give_back(item, limit);
    }

    fn give_back(&mut self, mut item: Item, limit: u32) {
        item.back += 1;
        if limit != 0 && item.back >= limit {
            self.dead_letters.push(item);
        } else {
            self.returned.push(item);
        }
    }

    fn ends(&mut self, id: u32, reply: Option<Vec<u8>>) {
        self.ended.insert(id, reply);
    }
}

//! What happened to each item: written down before it happens, judged at every delivery and at the end of a round.
//!
//! | put | means |
//! |---|---|
//! | MEANT by p | p is in a put: a death before the commit leaves nothing, one behind it an item |
//! | PUBLISHED by p | the commit is behind p: it must be delivered |
//! | PUT by p | the put returned: it must be delivered |
//! | REFUSED by p | the put returned an error: it must never be delivered |
//!
//! | hold | means |
//! |---|---|
//! | FREE | nobody saw it |
//! | GETTING by p | p has its bytes and is about to commit; who dies here lost or left it, by the point it died at |
//! | LEASED by p | it comes back when p dies |
//! | ENDING by p | p is about to commit its lease, or to reply |
//! | GIVEN by p | p is about to give it back |
//! | DONE by p | it must never be delivered again |
//!
//! A living holder goes on by CAS of the exact word, so an item that is taken from a living process shows at the latest
//! when that process wants to go on with it.

use super::board::{Board, Item, Life, MOST_EVENTS, count, now};
use super::payload::{self, Name};
use offspring_core::prim::Ordering;
use std::fmt::Write as _;

/// States of [`Item::put`].
pub mod put {
    pub const MEANT: u8 = 1;
    pub const PUBLISHED: u8 = 2;
    pub const PUT: u8 = 3;
    pub const REFUSED: u8 = 4;
}

/// States of [`Item::hold`].
pub mod hold {
    pub const FREE: u8 = 0;
    pub const GETTING: u8 = 1;
    pub const LEASED: u8 = 2;
    pub const ENDING: u8 = 3;
    pub const GIVEN: u8 = 4;
    pub const DONE: u8 = 5;
}

const EVENTS: [&str; 13] = [
    "?",
    "put begun",
    "published",
    "put returned",
    "put refused",
    "got",
    "leased",
    "ending begun",
    "giving back",
    "done",
    "dead letter taken",
    "answered",
    "taken from the dead",
];

/// An entry of [`EVENTS`].
#[derive(Clone, Copy)]
#[repr(u16)]
pub enum Event {
    Meant = 1,
    Published,
    Put,
    Refused,
    Got,
    Leased,
    Ending,
    Given,
    Done,
    DeadLetter,
    Answered,
    FromDead,
}

/// A state and whose it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Word(u64);

impl Word {
    pub fn new(state: u8, life: u16, deliveries: u16) -> Self {
        Self(u64::from(state) | u64::from(life) << 8 | u64::from(deliveries) << 24)
    }
    pub fn state(self) -> u8 {
        self.0 as u8
    }
    pub fn life(self) -> u16 {
        (self.0 >> 8) as u16
    }
    pub fn deliveries(self) -> u16 {
        (self.0 >> 24) as u16
    }
}

/// How an item is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Get,
    Lease,
    DeadLetter,
}

/// One process's hand on the ledger.
#[derive(Clone, Copy)]
pub struct Ledger {
    pub board: &'static Board,
    pub me: u16,
}

impl Ledger {
    fn life(&self) -> &'static Life {
        self.board.life(self.me)
    }

    fn note(&self, item: &Item, event: Event) {
        let place = item.noted.fetch_add(1, Ordering::Relaxed) as usize % MOST_EVENTS;
        let bits = (now() / 1000) << 32 | u64::from(self.me) << 16 | event as u64;
        item.events[place].store(bits, Ordering::Relaxed);
    }

    /// A new item of `len` bytes, which is about to be put.
    pub fn mean(&self, len: usize) -> Option<(u32, Name)> {
        let number = self.board.new_item()?;
        let item = self.board.item(number)?;
        item.len.store(len as u32, Ordering::Relaxed);
        item.put.store(Word::new(put::MEANT, self.me, 0).0, Ordering::Release);
        self.note(item, Event::Meant);
        let round = self.board.round.load(Ordering::Relaxed);
        Some((number, Name { reply: false, round, life: self.me, item: number }))
    }

    /// The commit of its put is behind us.
    pub fn published(&self, number: u32) {
        let Some(item) = self.board.item(number) else { return };
        let meant = Word::new(put::MEANT, self.me, 0).0;
        let published = Word::new(put::PUBLISHED, self.me, 0).0;
        let first =
            item.put.compare_exchange(meant, published, Ordering::AcqRel, Ordering::Relaxed);
        if first.is_ok() {
            self.note(item, Event::Published);
        }
    }

    /// The put returned.
    pub fn put_returned(&self, number: u32, done: bool) {
        let Some(item) = self.board.item(number) else { return };
        let state = if done { put::PUT } else { put::REFUSED };
        let before = Word(item.put.swap(Word::new(state, self.me, 0).0, Ordering::AcqRel));
        self.note(item, if done { Event::Put } else { Event::Refused });
        if done != (before.state() == put::PUBLISHED) {
            self.complain(number, "a put returned other than it was committed");
        }
    }

    /// A message came: which item, and who had it last, if it had not ended. Called before it is taken for good.
    pub fn received(&self, bytes: &[u8], how: How) -> Option<(u32, Option<u16>)> {
        let name = match payload::read(bytes) {
            Ok(name) => name,
            Err(torn) => {
                self.board.complain(format_args!("{torn}, received by {}", self.life()));
                return None;
            }
        };
        let board = self.board;
        if name.reply || name.round != board.round.load(Ordering::Relaxed) & 0x7f_ffff {
            board.complain(format_args!("an item came that is none of this round: {name:?}"));
            return None;
        }
        let Some(item) = board.item(name.item) else {
            board.complain(format_args!("an item came that was never made: {name:?}"));
            return None;
        };
        count(&board.counts.deliveries);
        board.counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let putter = Word(item.put.load(Ordering::Acquire));
        if putter.state() == put::REFUSED || putter.life() != name.life {
            self.complain(name.item, "an item came whose put was refused");
        }
        if item.len.load(Ordering::Relaxed) as usize != bytes.len() {
            self.complain(name.item, "an item came with another length");
        }
        let closed_at = board.closed_at.load(Ordering::Acquire);
        if how != How::DeadLetter && closed_at != 0 && closed_at < now() {
            self.complain(name.item, "an item came after somebody was told that nothing comes");
        }
        let mut seen = item.hold.load(Ordering::Acquire);
        loop {
            let before = Word(seen);
            let mut from = None;
            match before.state() {
                hold::FREE | hold::GIVEN => {}
                hold::DONE => self.complain(name.item, "an item came that was done with"),
                _ => {
                    from = Some(before.life());
                    let holder = board.life(before.life());
                    if holder.doomed().is_none_or(|at| at > now()) {
                        self.complain(name.item, "an item came while a living process had it");
                    }
                }
            }
            let deliveries = before.deliveries().saturating_add(1);
            let limit = board.most_deliveries.load(Ordering::Relaxed) as u16;
            if limit != 0 && how != How::DeadLetter && deliveries > limit {
                self.complain(name.item, "an item came more often than the limit allows");
            }
            let state = if how == How::Get { hold::GETTING } else { hold::LEASED };
            let mine = Word::new(state, self.me, deliveries);
            match item.hold.compare_exchange(seen, mine.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if before.state() != hold::FREE {
                        count(&board.counts.redeliveries);
                    }
                    if from.is_some() {
                        self.note(item, Event::FromDead);
                    }
                    self.note(
                        item,
                        match how {
                            How::Get => Event::Got,
                            How::Lease => Event::Leased,
                            How::DeadLetter => Event::DeadLetter,
                        },
                    );
                    return Some((name.item, from));
                }
                Err(other) => seen = other,
            }
        }
    }

    /// How often the item came until now.
    pub fn deliveries(&self, number: u32) -> u16 {
        let item = self.board.item(number);
        item.map_or(0, |item| Word(item.hold.load(Ordering::Acquire)).deliveries())
    }

    /// Goes from one of the states `from` to `to`; the item must be ours.
    pub fn turn(&self, number: u32, from: &[u8], to: u8, event: Event) {
        let Some(item) = self.board.item(number) else { return };
        let seen = item.hold.load(Ordering::Acquire);
        let before = Word(seen);
        if before.state() == to && before.life() == self.me {
            return;
        }
        let next = Word::new(to, self.me, before.deliveries()).0;
        let ours = before.life() == self.me && from.contains(&before.state());
        let turned = ours
            && item.hold.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if turned {
            self.note(item, event);
        } else {
            self.complain(number, "an item was taken from a living process");
        }
    }

    /// The item's end is committed.
    pub fn done(&self, number: u32) {
        self.turn(number, &[hold::GETTING, hold::ENDING], hold::DONE, Event::Done);
    }

    /// Something else happened to it.
    pub fn mention(&self, number: u32, event: Event) {
        if let Some(item) = self.board.item(number) {
            self.note(item, event);
        }
    }

    /// Writes a violation down, with the item's history.
    pub fn complain(&self, number: u32, what: &str) {
        let story = story(self.board, number);
        self.board.complain(format_args!(
            "{what}; seen by life {}: {}\n{story}",
            self.me,
            self.life()
        ));
    }
}

/// An item's history.
pub fn story(board: &Board, number: u32) -> String {
    let Some(item) = board.item(number) else { return String::new() };
    let mut text = format!("    item {number}, {} bytes:", item.len.load(Ordering::Relaxed));
    let noted = item.noted.load(Ordering::Relaxed) as usize;
    let mut lives = Vec::new();
    for i in noted.saturating_sub(MOST_EVENTS)..noted {
        let bits = item.events[i % MOST_EVENTS].load(Ordering::Relaxed);
        let what = EVENTS.get(bits as u16 as usize).copied().unwrap_or("?");
        let life = (bits >> 16) as u16;
        // Microseconds, of which the low digits tell the order.
        let _ = write!(text, " {}us life {life} {what};", (bits >> 32) % 10_000_000);
        if !lives.contains(&life) {
            lives.push(life);
        }
    }
    for life in lives {
        let _ = write!(text, "\n    life {life}: {}", board.life(life));
    }
    text
}

/// What became of a round's items.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sums {
    /// Items whose put was begun.
    pub meant: u64,
    /// Items whose put was committed, for all we know.
    pub put: u64,
    /// Of these, puts whose process died before they returned.
    pub published: u64,
    /// Items done with.
    pub done: u64,
    /// Gets that a kill from outside cut off between commit and entry: done with, or it would have come again.
    pub in_doubt: u64,
    /// Puts that a kill from outside cut off at the commit, and that were delivered.
    pub late: u64,
}

impl Sums {
    /// Adds another round's.
    pub fn add(&mut self, other: &Self) {
        self.meant += other.meant;
        self.put += other.put;
        self.published += other.published;
        self.done += other.done;
        self.in_doubt += other.in_doubt;
        self.late += other.late;
    }
}

/// Whether what stands in the ledger is exact: the hook wrote down every commit before it killed. Elsewhere, and where
/// other threads ran on, the commit may have come just before its entry.
fn exact(life: &Life) -> bool {
    life.died_at().is_some() && life.threads.load(Ordering::Relaxed) == 0
}

/// Judges every item of a round that is over: all its processes are gone, the queue is closed and empty.
pub fn judge(ledger: Ledger) -> Sums {
    let board = ledger.board;
    let mut sums = Sums::default();
    for (number, item) in (0..).zip(board.items()) {
        let put_word = Word(item.put.load(Ordering::Acquire));
        let held = Word(item.hold.load(Ordering::Acquire));
        let putter = board.life(put_word.life());
        let delivered = held.state() != hold::FREE;
        match put_word.state() {
            0 => continue,
            put::PUT => sums.put += 1,
            put::PUBLISHED => {
                sums.put += 1;
                sums.published += 1;
            }
            put::MEANT if delivered => {
                if exact(putter) {
                    ledger.complain(number, "an item came whose put was never committed");
                }
                sums.put += 1;
                sums.late += 1;
            }
            _ => {}
        }
        sums.meant += 1;
        let must = matches!(put_word.state(), put::PUT | put::PUBLISHED);
        let holder = board.life(held.life());
        match held.state() {
            hold::FREE if must => ledger.complain(number, "LOST: an item was put and never came"),
            hold::FREE => {}
            hold::DONE => sums.done += 1,
            hold::GETTING | hold::ENDING if holder.doomed().is_some() && !exact(holder) => {
                sums.in_doubt += 1;
            }
            _ => ledger.complain(number, "LOST: an item did not come back from its last holder"),
        }
    }
    sums
}

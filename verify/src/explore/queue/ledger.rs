//! Who put what, who holds what, and what therefore must, may or must not have been delivered.
//!
//! Kept beside the model in memory that loom does not see, so that it orders nothing.

use crate::commit::{self, Committed};
use crate::fake::Fate;
use offspring_core::points::Point;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

/// An item: its producer's number, whether it is too large for a slot, and which of the producer's it is, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Item(u8);

const LARGE: u8 = 8;

impl Item {
    /// The `nth` item of `producer`, which lies in its slot.
    pub(super) const fn small(producer: u8, nth: u8) -> Self {
        Self(producer << 4 | nth)
    }

    /// The `nth` item of `producer`, which lies in a block.
    pub(super) const fn large(producer: u8, nth: u8) -> Self {
        Self(producer << 4 | LARGE | nth)
    }

    const fn producer(self) -> u8 {
        self.0 >> 4
    }

    const fn nth(self) -> u8 {
        self.0 & 7
    }

    /// Every byte says which item it is.
    pub(super) fn bytes(self) -> Vec<u8> {
        vec![self.0; if self.0 & LARGE == 0 { 2 } else { 20 }]
    }

    /// The item of these bytes, which must be one whole message.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let item = Self(*bytes.first().expect("no message is empty"));
        assert_eq!(bytes, item.bytes(), "a torn message");
        item
    }
}

/// What became of a put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Put {
    Begun,
    Done,
    Refused,
}

/// What became of an item that was copied out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Take {
    /// With its taker; true on trial.
    Held(bool),
    Kept,
    Back,
}

#[derive(Debug, Default)]
struct Book {
    puts: Vec<(usize, Item, Put)>,
    takes: Vec<(usize, Item, Take)>,
    takers: BTreeSet<usize>,
    /// Those of them that take several at once.
    batchers: BTreeSet<usize>,
    /// How many takes there were when everybody else had ended.
    drained_from: Option<usize>,
}

/// The account of one execution.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By process number less one; those beyond do not die.
    fates: Vec<Fate>,
    book: Mutex<Book>,
}

impl Ledger {
    pub(super) fn new(fates: &[Fate]) -> Self {
        Self { fates: fates.iter().map(Fate::afresh).collect(), book: Mutex::default() }
    }

    /// How process `who` ends.
    pub(super) fn fate(&self, who: usize) -> Fate {
        self.fates.get(who - 1).map_or_else(Fate::lives, Clone::clone)
    }

    fn died_at(&self, who: usize) -> Option<Point> {
        self.fates.get(who - 1)?.died_at()
    }

    pub(super) fn died(&self, who: usize) -> bool {
        self.died_at(who).is_some()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        match self.book.lock() {
            Ok(book) => book,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    pub(super) fn puts(&self, who: usize, item: Item) {
        self.book().puts.push((who, item, Put::Begun));
    }

    /// The same put as before, if there was one.
    pub(super) fn puts_again(&self, who: usize, item: Item) {
        if !self.book().puts.contains(&(who, item, Put::Begun)) {
            self.puts(who, item);
        }
    }

    pub(super) fn put_ended(&self, item: Item, how: Put) {
        let mut book = self.book();
        let put = book.puts.iter_mut().find(|put| put.1 == item).expect("begun");
        put.2 = how;
    }

    pub(super) fn takes(&self, who: usize) {
        self.book().takers.insert(who);
    }

    /// `who` takes several at once: each is its own by a commit of its own, before the next is claimed.
    pub(super) fn takes_many(&self, who: usize) {
        self.takes(who);
        self.book().batchers.insert(who);
    }

    /// The item is copied out: it is with nobody else who lives, and nobody took it for good.
    pub(super) fn holds(&self, who: usize, item: Item, on_trial: bool) {
        let mut book = self.book();
        for (other, taken, how) in &book.takes {
            let elsewhere = match how {
                Take::Held(_) => !self.died(*other),
                Take::Kept => true,
                Take::Back => false,
            };
            assert!(*taken != item || !elsewhere, "{item:?} is delivered to {who} and to {other}");
        }
        assert!(book.puts.iter().any(|put| put.1 == item), "{item:?} was never put");
        book.takes.push((who, item, Take::Held(on_trial)));
    }

    fn ends(&self, who: usize, item: Item, how: Take) {
        let mut book = self.book();
        let take = book.takes.iter_mut().rev().find(|take| take.0 == who && take.1 == item);
        take.expect("held").2 = how;
    }

    pub(super) fn keeps(&self, who: usize, item: Item) {
        self.ends(who, item, Take::Kept);
    }

    /// Said before the lease is given back.
    pub(super) fn gives_back(&self, who: usize, item: Item) {
        self.ends(who, item, Take::Back);
    }

    /// All others ended; what is taken from here on was left.
    pub(super) fn drains(&self) {
        let mut book = self.book();
        book.drained_from = Some(book.takes.len());
    }

    /// Everything was drained: nothing committed is lost, nothing is delivered that was not committed, the order holds.
    pub(super) fn settle(&self) {
        let book = self.book();
        for (i, &(who, item, how)) in book.puts.iter().enumerate() {
            let begun = |put: &&(usize, Item, Put)| put.0 == who && put.2 != Put::Refused;
            let put = match (how, self.died_at(who)) {
                (Put::Done, _) => Committed::Yes,
                (Put::Refused, _) => Committed::No,
                (Put::Begun, Some(_)) if self.in_batches(&book.puts, who) => {
                    let before = book.puts[..i].iter().filter(begun).count();
                    let commits = self.fates[who - 1].commits(Point::PutCommitted);
                    if before < commits { Committed::Yes } else { Committed::No }
                }
                (Put::Begun, Some(point)) => commit::put(point),
                (Put::Begun, None) => panic!("a put of the living {who} never ended"),
            };
            let mut kept = 0;
            let mut gone = Committed::No;
            for (i, &(taker, taken, how)) in book.takes.iter().enumerate() {
                if taken != item {
                    continue;
                }
                let by_taker = |take: &&(usize, Item, Take)| take.0 == taker;
                match how {
                    Take::Kept => kept += 1,
                    Take::Back => {}
                    Take::Held(false) if book.batchers.contains(&taker) => {
                        // A batch: those whose slots were emptied are gone, in order.
                        let before = book.takes[..i].iter().filter(by_taker).count();
                        if before < self.fates[taker - 1].commits(Point::GetCommitted) {
                            gone = Committed::Yes;
                        }
                    }
                    Take::Held(on_trial) => {
                        let point = self.died_at(taker).expect("the living end what they take");
                        match commit::take(point, on_trial) {
                            Committed::No => {}
                            more => gone = more,
                        }
                    }
                }
            }
            let taken = book.takes.iter().any(|take| take.1 == item);
            assert!(put != Committed::No || !taken, "{item:?} was delivered without a put");
            match (put, gone) {
                (Committed::Yes, Committed::No) => assert_eq!(kept, 1, "{item:?} is lost"),
                (_, Committed::Yes) => assert_eq!(kept, 0, "{item:?} was delivered again"),
                _ => assert!(kept <= 1, "{item:?} was delivered {kept} times"),
            }
        }
        self.check_order(&book);
    }

    /// Whether `who` died with more than one put begun.
    fn in_batches(&self, puts: &[(usize, Item, Put)], who: usize) -> bool {
        puts.iter().filter(|put| put.0 == who && put.2 == Put::Begun).count() > 1
    }

    /// The items of each producer reach each consumer in their order, and what is drained at the end is later than all that was
    /// taken before. What was given back, or claimed by one who died, may come late: one item for each such death.
    fn check_order(&self, book: &Book) {
        let drained_from = book.drained_from.unwrap_or(book.takes.len());
        let came_back = |item| {
            book.takes
                .iter()
                .any(|&(who, taken, how)| taken == item && (how == Take::Back || self.died(who)))
        };
        let mut late = BTreeSet::new();
        for (i, &(who, item, _)) in book.takes.iter().enumerate() {
            let overtaken = book.takes[..i].iter().any(|&(earlier, other, _)| {
                (earlier == who || i >= drained_from)
                    && other.producer() == item.producer()
                    && other.nth() > item.nth()
            });
            if overtaken && !came_back(item) {
                late.insert(item);
            }
        }
        let dead = book.takers.iter().filter(|taker| self.died(**taker)).count();
        assert!(late.len() <= dead, "{late:?} came after later ones: {:?}", book.takes);
    }
}

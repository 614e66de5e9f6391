//! The queue: nothing committed is lost, torn or delivered twice, and the survivors' sweep leaves nothing behind.
//!
//! Each scenario ends alike: the main thread, a participant that lives, waits for all others, drains the queue and
//! settles the account ([`ledger`]): every put that was committed is with exactly one taker, unless a taker died with it
//! after *its* commit; what a victim had not committed by the point of its death is as if it never was; all slots and
//! blocks are free again, and so is the index of the dead.

pub(super) mod leases;
mod ledger;
pub(super) mod replies;
pub(super) mod spsc;
mod storage;
pub(super) mod transport;
pub(super) mod waiting;

use crate::fake::{Fate, Process, World, reference};
use ledger::{Item, Ledger, Put};
use loom::thread::{self, JoinHandle};
use offspring_core::queue::{
    Answer, Buffer, GetError, InUse, LeaseToken, Message, Mode, Options, PutError, Queue, Replied,
    Storage, Taken, TicketToken,
};
use std::sync::Arc;
use storage::Heap;

/// A queue, who uses it, and the account.
#[derive(Debug)]
struct Ring {
    heap: Heap,
    world: Arc<World>,
    members: usize,
    ledger: Ledger,
}

/// The smallest ring that has slots for two bytes or a few more, and blocks for more.
fn slots(capacity: u32) -> Options {
    Options { capacity, inline: 4, most_message: 32, class_bytes: 1, ..Options::default() }
}

impl Ring {
    /// Processes 1 to `members` are members with the same indices; the first of them have these fates.
    fn new(options: Options, members: usize, fates: &[Fate]) -> Arc<Self> {
        let ring = Self {
            heap: Heap::new(options, members),
            world: World::new(members),
            members,
            ledger: Ledger::new(fates),
        };
        for number in 1..=members {
            assert_eq!(ring.heap.members().join(reference(number)), Some(number as u16));
        }
        Arc::new(ring)
    }

    /// Process `number`, to be run by this thread and never to die.
    fn seat<'a>(&'a self, process: &'a Process) -> Seat<'a> {
        let me = process.number() as u16;
        let queue = Queue::new(&self.heap, process, me);
        Seat { ring: self, family: process, me: process.number(), queue }
    }

    /// A thread that is process `number`.
    fn start<R: 'static>(
        self: &Arc<Self>,
        number: usize,
        body: impl FnOnce(&Seat<'_>) -> R + 'static,
    ) -> JoinHandle<Option<R>> {
        let ring = self.clone();
        thread::spawn(move || ring.play(number, body))
    }

    /// Process `number` lives its whole life here.
    fn play<R>(&self, number: usize, body: impl FnOnce(&Seat<'_>) -> R) -> Option<R> {
        let process = self.world.process(number);
        process.run(&self.ledger.fate(number), |family| body(&self.seat(family)))
    }
}

/// Waits for all, who may have died.
fn join<R>(threads: impl IntoIterator<Item = JoinHandle<Option<R>>>) -> Vec<Option<R>> {
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}

/// One participant: the queue's operations, with their bookkeeping.
#[derive(Debug)]
struct Seat<'a> {
    ring: &'a Ring,
    family: &'a Process,
    me: usize,
    queue: Queue<'a, Heap, Process>,
}

/// Receives one message.
struct Copied<'a> {
    ledger: &'a Ledger,
    who: usize,
    on_trial: bool,
    bytes: Vec<u8>,
}

// SAFETY: `room` makes the vector as long as asked, and nothing moves it before the next call.
unsafe impl Buffer for Copied<'_> {
    fn room(&mut self, len: usize) -> *mut u8 {
        self.bytes.clear();
        self.bytes.resize(len, 0);
        self.bytes.as_mut_ptr()
    }

    fn filled(&mut self, _: usize, _: bool) {
        self.ledger.holds(self.who, Item::of(&self.bytes), self.on_trial);
    }
}

/// Receives a reply, which is no item of the account.
#[derive(Default)]
struct Plain(Vec<u8>);

// SAFETY: as above.
unsafe impl Buffer for Plain {
    fn room(&mut self, len: usize) -> *mut u8 {
        self.0.clear();
        self.0.resize(len, 0);
        self.0.as_mut_ptr()
    }

    fn filled(&mut self, _: usize, _: bool) {}
}

/// An item on trial.
#[derive(Debug)]
struct Lease {
    token: LeaseToken,
    item: Item,
}

fn message(bytes: &[u8]) -> Message<'_> {
    Message { bytes, carries: false }
}

impl Seat<'_> {
    fn put(&self, item: Item) -> Result<(), PutError> {
        self.ring.ledger.puts(self.me, item);
        let put = self.queue.try_put(message(&item.bytes()));
        self.ring.ledger.put_ended(item, if put.is_ok() { Put::Done } else { Put::Refused });
        put
    }

    /// A put that is tried again and again until it succeeds.
    fn put_again(&self, item: Item) -> Result<(), PutError> {
        self.ring.ledger.puts_again(self.me, item);
        self.queue.try_put(message(&item.bytes()))?;
        self.ring.ledger.put_ended(item, Put::Done);
        Ok(())
    }

    /// Puts a batch: how many of it.
    fn put_many(&self, items: &[Item]) -> Result<(), (usize, PutError)> {
        items.iter().for_each(|item| self.ring.ledger.puts(self.me, *item));
        let bytes: Vec<_> = items.iter().map(|item| item.bytes()).collect();
        let messages: Vec<_> = bytes.iter().map(|bytes| message(bytes)).collect();
        let done = self.queue.try_put_many(&messages);
        let put = done.as_ref().map_or_else(|(put, _)| *put, |()| items.len());
        for (i, item) in items.iter().enumerate() {
            let how = if i < put { Put::Done } else { Put::Refused };
            self.ring.ledger.put_ended(*item, how);
        }
        done
    }

    /// Takes a batch of up to `most` for good.
    fn get_many(&self, most: usize) -> Result<Vec<Item>, (usize, GetError)> {
        let ledger = &self.ring.ledger;
        let copied = || Copied { ledger, who: self.me, on_trial: false, bytes: Vec::new() };
        let mut buffers: Vec<_> = (0..most).map(|_| copied()).collect();
        ledger.takes_many(self.me);
        let taken = self.queue.try_take_many(true, &mut buffers)?;
        let items: Vec<_> = buffers[..taken].iter().map(|taken| Item::of(&taken.bytes)).collect();
        items.iter().for_each(|item| ledger.keeps(self.me, *item));
        Ok(items)
    }

    fn request(&self, item: Item) -> Result<TicketToken, PutError> {
        self.ring.ledger.puts(self.me, item);
        let put = self.queue.try_request(message(&item.bytes()));
        self.ring.ledger.put_ended(item, if put.is_ok() { Put::Done } else { Put::Refused });
        put
    }

    fn take(&self, mode: Mode, thorough: bool) -> Result<(Taken, Item), GetError> {
        let ledger = &self.ring.ledger;
        let on_trial = mode == Mode::Lease;
        let mut copied = Copied { ledger, who: self.me, on_trial, bytes: Vec::new() };
        ledger.takes(self.me);
        let taken = self.queue.try_take(mode, thorough, &mut copied)?;
        Ok((taken, Item::of(&copied.bytes)))
    }

    /// Takes an item for good, after a look for unnoticed deaths if nothing is there at first.
    fn get(&self) -> Result<Item, GetError> {
        self.get_after_look(true)
    }

    fn get_after_look(&self, thorough: bool) -> Result<Item, GetError> {
        let (taken, item) = self.take(Mode::Get, thorough)?;
        assert!(matches!(taken, Taken::Item));
        self.ring.ledger.keeps(self.me, item);
        Ok(item)
    }

    fn lease(&self) -> Result<Lease, GetError> {
        match self.take(Mode::Lease, true)? {
            (Taken::Lease(token), item) => Ok(Lease { token, item }),
            (Taken::Item, _) => panic!("a lease was asked for"),
        }
    }

    fn commit(&self, lease: Lease) {
        self.queue.commit(lease.token);
        self.ring.ledger.keeps(self.me, lease.item);
    }

    fn give_back(&self, lease: Lease) {
        self.ring.ledger.gives_back(self.me, lease.item);
        self.queue.give_back(lease.token);
    }

    fn reply(&self, lease: Lease, bytes: &[u8]) -> Replied {
        match self.queue.try_reply(lease.token, message(bytes)) {
            Ok(replied) => {
                self.ring.ledger.keeps(self.me, lease.item);
                replied
            }
            Err((_, why)) => panic!("no room for a reply: {why}"),
        }
    }

    /// Looks for the answer; the ticket comes back while there is none.
    fn answer(&self, ticket: TicketToken) -> Result<(Answer, Vec<u8>), TicketToken> {
        let mut reply = Plain::default();
        match self.queue.take_answer(ticket, &mut reply).expect("nobody writes wild here") {
            (Answer::Pending, Some(ticket)) => Err(ticket),
            (answer, None) => Ok((answer, reply.0)),
            (answer, Some(_)) => panic!("{answer:?} leaves a ticket"),
        }
    }

    /// Takes one of the dead letters on trial.
    fn take_dead(&self) -> Option<Lease> {
        let ledger = &self.ring.ledger;
        let mut copied = Copied { ledger, who: self.me, on_trial: true, bytes: Vec::new() };
        let token = self.queue.try_take_dead(&mut copied)?;
        Some(Lease { token, item: Item::of(&copied.bytes) })
    }

    /// All others ended: drains the queue, and nothing is left, neither in it nor of the dead.
    fn settle(&self) {
        self.ring.ledger.drains();
        let why = loop {
            if let Err(why) = self.get() {
                break why;
            }
        };
        let expected = if self.queue.is_closed() { GetError::Closed } else { GetError::Empty };
        assert_eq!(why, expected, "everybody else has ended");
        assert_eq!(self.queue.in_use().slots, 0, "{why} was said too early");
        // Who said Closed need not have looked for the dead.
        self.queue.recover();
        assert_eq!(self.get().err(), Some(expected), "{why} was said too early");
        let left = self.queue.in_use();
        assert_eq!(left, InUse::default(), "all was drained: {:?}", self.queue.dump());
        for (index, process) in self.ring.heap.members().iter() {
            let number = usize::from(process.slot()) + 1;
            assert!(!self.ring.ledger.died(number), "dead member {index} still has its index");
        }
        self.ring.ledger.settle();
    }
}

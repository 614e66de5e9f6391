//! The unbounded queue: a chain of bounded rings.
//!
//! Each ring is a whole bounded queue in memory of its own. A full ring gets a successor by one CAS; that successor word
//! is the ring's closed flag. The words *about* a ring ([`RingControl`]) stay for good, only its memory comes and goes.
//!
//! | # | what | where |
//! |---|---|---|
//! | C1 | entering a ring, leaving it | `pin.rs` |
//! | C2 | writer: x.next set → tail x → next, again. Ring full → C3 | here |
//! | C3 | a successor: FREE → OWNED → OFFERED, the link, LIVE | `link.rs` |
//! | C4 | next ≠ none plays the part of the closed flag: who finds the next position EMPTY sets the mark | the ring, [`InChain`] |
//! | C5 | reader at the mark, or stopped by what others hold: may pass. Head still what it was? No mark is needed to pass | `take.rs` |
//! | C6 | retire: the head moves | `link.rs` |
//! | C7 | free: the memory goes | `link.rs` |
//! | C8 | close: the flag, then the last ring's next: none → END | here |
//! | C9 | Closed: the mark seen in the last ring; then all slots of all rings, then all blocks of all rings | `take.rs` |
//! | G | who finds every member index taken by the dead sweeps before it is a member | `guest.rs` |
//! | CS | OWNED(dead) → FREE. OFFERED(dead): linked → LIVE, else → RETIRED. DYING(dead) → RETIRED. Pins of the dead free. Each ring's own sweep. **Then** the dead's indices | `sweep.rs` |
//!
//! The order of a queue stays: a put that sees a successor goes there, and a reader that passes a ring notes what it passed;
//! an item behind is claimed only while all of that is as it was.
//!
//! # Orderings
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | C1 enter | pin store, light barrier, load of head, tail or word | word → DYING, heavy barrier, load of the pins | one of the two sees the other |
//! | C2 link | OFFERED store, the link's CAS (Release) | load of next, or of the word (Acquire) | the ring is made |
//! | C3 end | CAS of head or tail (Release) | its load (Acquire) | the same |
//! | C4 gone | RETIRED, DYING, FREE (Release) | load or CAS of the word (Acquire) | nothing of the ring is used any more |
//!
//! # Not promised
//!
//! A *stopped* process that holds a slot keeps that ring and, since the head cannot move, the rings behind it, until it goes
//! on; others pass it. Ring generations and pin turns have 32 bits and wrap, as in the queue's own words.

mod dump;
mod guest;
#[cfg(any(feature = "points", offspring_loom))]
mod in_use;
mod link;
mod pin;
mod storage;
mod sweep;
mod take;
mod word;

pub use storage::{ChainHead, ChainStorage, InChain, MakeError, Pin, RingControl};
pub use word::{RingState, RingWord};

use super::error::ReplyError;
use super::lease::{LeaseToken, Replied};
use super::ticket::{Answer, TicketToken};
use super::{Buffer, Corrupt, Message, PutError, Queue, Storage};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::process::ProcessRef;
use crate::wait::{EventCount, Family};
use link::Grown;
use pin::{NoEntry, Pins, Place};
use word::Link;

/// A ring of a chain, as a queue sees it.
type PartOf<'a, S> = InChain<'a, S, <S as ChainStorage>::Ring<'a>>;

/// Turns after which a loop that others can send round again can only be on overwritten words: each turn of it means that
/// somebody linked, moved or retired a ring.
const MOST_TURNS: u32 = 1 << 20;

/// One participant's access to a chain; the counterpart of [`Queue`].
///
/// All operations return at once; waiting is [`crate::block_on`]'s, on [`readers`](Self::readers) and so on. Nothing
/// allocates, but for [`ChainStorage::make`].
#[derive(Debug)]
pub struct Chain<'a, S, F> {
    storage: &'a S,
    family: &'a F,
    me: u16,
    seat: u16,
}

impl<S, F> Clone for Chain<'_, S, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, F> Copy for Chain<'_, S, F> {}

impl<'a, S: ChainStorage, F: Family> Chain<'a, S, F> {
    /// The chain in `storage`, for its member `me`. `seat` is where this thread begins to look for a free pin: threads that begin
    /// at different ones do not get in each other's way.
    ///
    /// `me` as for [`Queue::new`]; with 0, only [`sweep_as_guest`](Self::sweep_as_guest), [`trace`](Self::trace) and what only looks
    /// at the chain's own words may be called.
    #[inline(always)]
    pub fn new(storage: &'a S, family: &'a F, me: u16, seat: u16) -> Self {
        Self { storage, family, me, seat }
    }

    /// Gives a new chain its first ring; once, before anybody else can reach it.
    ///
    /// # Errors
    ///
    /// `NoMemory`, or `NoRoom` if there is no place for a ring.
    pub fn start(&self) -> Result<(), PutError> {
        self.make_first()
    }

    /// The family.
    #[inline(always)]
    pub fn family(&self) -> &'a F {
        self.family
    }

    /// The other members, as [`Queue::others`].
    pub fn others(&self) -> impl Iterator<Item = ProcessRef> + use<'a, S, F> {
        let (members, me) = (self.storage.members(), self.me);
        let behind = members.iter().filter(move |(index, _)| *index > me);
        let before = members.iter().take_while(move |(index, _)| *index < me);
        behind.chain(before).map(|(_, process)| process)
    }

    /// Where readers sleep.
    pub fn readers(&self) -> &'a EventCount {
        &self.storage.head().calm.readers
    }

    /// Where those sleep that found no block (`NoRoom`).
    pub fn rooms(&self) -> &'a EventCount {
        &self.storage.head().calm.rooms
    }

    /// Where writers sleep that found no slot and may have no new ring (`Full`).
    pub fn writers(&self) -> &'a EventCount {
        &self.storage.head().calm.writers
    }

    fn dead(&self, member: u16) -> bool {
        member != self.me && {
            let process = self.storage.members().get(member);
            !process.is_none() && self.family.is_dead(process)
        }
    }

    /// The ring at `at` as a part; the caller keeps it, or nobody frees rings.
    #[inline(always)]
    fn part(&self, at: Place) -> Option<PartOf<'a, S>> {
        let ring = self.storage.ring(at.index, at.word)?;
        let (head, control) = (self.storage.head(), self.storage.control(at.index));
        Some(InChain { chain: self.storage, head, control, ring })
    }

    /// Does something in the ring at `at`, which the caller keeps. `None`: its words are nonsense.
    #[inline(always)]
    fn on<T>(
        &self,
        at: Place,
        act: impl for<'q> FnOnce(Queue<'q, PartOf<'a, S>, F>) -> T,
    ) -> Option<T> {
        let part = self.part(at)?;
        Some(act(Queue::new(&part, self.family, self.me)))
    }

    /// As [`on`](Self::on), in ring `index`, which something of the caller's keeps: a lease or a ticket.
    fn on_kept<T>(
        &self,
        index: u16,
        act: impl for<'q> FnOnce(Queue<'q, PartOf<'a, S>, F>) -> T,
    ) -> Option<T> {
        if !(1..=self.storage.rings()).contains(&index) {
            return None;
        }
        let mut pins = Pins::default();
        // The last use of a block may be the last of the ring: the pin is for what comes after it. Who finds none waits for one:
        // pins are held for one operation each.
        let at = loop {
            match self.enter_any(index, &mut pins) {
                Ok(at) => break at?,
                Err(NoEntry::Corrupt) => return None,
                Err(NoEntry::NoPin) => {
                    self.sweep_if_due();
                    crate::prim::spin();
                }
            }
        };
        let done = self.on(at, act);
        self.unpin_all(&mut pins);
        done
    }

    /// Calls `each` with every ring that is there, under a pin, until it says no. False if a pin could not be had.
    fn each_ring(
        &self,
        mut each: impl for<'q> FnMut(Place, Queue<'q, PartOf<'a, S>, F>) -> bool,
    ) -> bool {
        for index in 1..=storage::high(self.storage) {
            let mut pins = Pins::default();
            match self.enter_any(index, &mut pins) {
                Ok(None) => continue,
                Err(_) => return false,
                Ok(Some(at)) => {
                    let go_on = self.on(at, |queue| each(at, queue)).unwrap_or(true);
                    self.unpin_all(&mut pins);
                    if !go_on {
                        return true;
                    }
                }
            }
        }
        true
    }

    /// Puts `message`; see [`Queue::try_put`]. A full ring gets a successor.
    ///
    /// # Errors
    ///
    /// See [`PutError`]; `Full` and `NoRoom` only at the limit of [`ChainStorage::most_bytes`] or of rings.
    #[inline]
    pub fn try_put(&self, message: Message<'_>) -> Result<(), PutError> {
        self.put_with(|queue| queue.try_put(message)).map(|_| ())
    }

    /// Puts `messages` in their order; see [`Queue::try_put_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_put_many(&self, messages: &[Message<'_>]) -> Result<(), (usize, PutError)> {
        let mut put = 0;
        while put < messages.len() {
            // The ring's refusal goes to the one message that it is about, so that the chain grows for it.
            let some =
                |queue: Queue<'_, PartOf<'a, S>, F>| match queue.try_put_many(&messages[put..]) {
                    Ok(()) => Ok(messages.len() - put),
                    Err((0, why)) => Err(why),
                    Err((some, _)) => Ok(some),
                };
            match self.put_with(some) {
                Ok((_, some)) => put += some,
                Err(why) => return Err((put, why)),
            }
        }
        Ok(())
    }

    /// Puts `message` as a request; see [`Queue::try_request`].
    ///
    /// # Errors
    ///
    /// As [`try_put`](Self::try_put); `NoReplies` if the chain was not made for it.
    pub fn try_request(&self, message: Message<'_>) -> Result<TicketToken, PutError> {
        let (ring, ticket) = self.put_with(|queue| queue.try_request(message))?;
        Ok(TicketToken { ring, ..ticket })
    }

    #[inline]
    fn put_with<T>(
        &self,
        put: impl for<'q> Fn(Queue<'q, PartOf<'a, S>, F>) -> Result<T, PutError>,
    ) -> Result<(u16, T), PutError> {
        self.sweep_if_due();
        let mut pins = Pins::default();
        let done = self.put_at_tail(&mut pins, put);
        self.unpin_all(&mut pins);
        done
    }

    /// C2.
    #[inline]
    fn put_at_tail<T>(
        &self,
        pins: &mut Pins,
        put: impl for<'q> Fn(Queue<'q, PartOf<'a, S>, F>) -> Result<T, PutError>,
    ) -> Result<(u16, T), PutError> {
        for _ in 0..MOST_TURNS {
            if self.is_closed() {
                return Err(PutError::Closed);
            }
            let x = self.enter(&self.storage.head().tail.0, pins)?;
            let control = self.storage.control(x.index);
            match control.next() {
                Link::NONE => {}
                Link::END => return Err(PutError::Closed),
                next if self.is_ring(next) => {
                    self.move_tail(x, next);
                    continue;
                }
                _ => return Err(PutError::Corrupt),
            }
            match self.on(x, &put) {
                Some(Ok(done)) => return Ok((x.index, done)),
                // The ring was ended just now.
                Some(Err(PutError::Closed)) if control.next() != Link::NONE => {}
                Some(Err(PutError::Closed)) | None => return Err(PutError::Corrupt),
                Some(Err(why @ (PutError::Full | PutError::NoRoom))) => match self.grow(x, None) {
                    Grown::Linked => {}
                    Grown::Refused => return Err(why),
                    Grown::Failed(why) => return Err(why),
                },
                Some(Err(why)) => return Err(why),
            }
        }
        Err(PutError::Corrupt)
    }

    /// Closes the chain; see [`Queue::close`].
    pub fn close(&self) -> bool {
        // ORDER: AcqRel, Q4. A put that did not see it may still commit; the end of the last ring decides.
        let first = self.storage.head().calm.closed.swap(1, Ordering::AcqRel) == 0;
        hit(Point::ChainFlagged);
        let mut pins = Pins::default();
        for _ in 0..MOST_TURNS {
            let Ok(x) = self.enter(&self.storage.head().tail.0, &mut pins) else { break };
            match self.storage.control(x.index).next() {
                Link::END => break,
                Link::NONE => self.end(x),
                next if self.is_ring(next) => self.move_tail(x, next),
                _ => break,
            }
        }
        self.unpin_all(&mut pins);
        self.readers().notify_all(self.family);
        self.writers().notify_all(self.family);
        self.rooms().notify_all(self.family);
        first
    }

    /// C8: `x`, pinned, was the last ring, and the flag was seen.
    fn end(&self, x: Place) {
        let next = &self.storage.control(x.index).next;
        // ORDER: AcqRel, Q4. A failure: a late putter linked one more ring, or somebody ended this one.
        let ended =
            next.compare_exchange(Link::NONE.0, Link::END.0, Ordering::AcqRel, Ordering::Relaxed);
        if ended.is_ok() {
            hit(Point::ChainEnded);
        }
    }

    /// Whether the chain was closed; items may still be in it.
    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        // ORDER: Acquire, Q4.
        self.storage.head().calm.closed.load(Ordering::Acquire) != 0
    }

    /// A snapshot of how many items are there; as [`Queue::len`].
    pub fn len(&self) -> usize {
        let mut items = 0_usize;
        self.each_ring(|_, queue| {
            items += queue.len();
            true
        });
        items
    }

    /// Whether a `get` would have found nothing just now.
    pub fn is_empty(&self) -> bool {
        let mut empty = true;
        self.each_ring(|_, queue| {
            empty = queue.is_empty();
            empty
        });
        empty
    }

    /// Whether a `put` would have found no slot just now, and could not have had a new ring.
    pub fn is_full(&self) -> bool {
        let (bytes, rings) = storage::in_use(self.storage);
        let least = storage::bytes_with(self.storage.geometry(0), |_| 0);
        let most = self.storage.most_bytes();
        let limit = most != 0 && bytes.saturating_add(least) > most
            || rings >= u32::from(self.storage.rings());
        limit && self.at_end(&self.storage.head().tail.0, |queue| queue.is_full())
    }

    /// A guess whether an item is there for the next `get`.
    pub fn is_next_ready(&self) -> bool {
        self.at_end(&self.storage.head().head.0, |queue| queue.is_next_ready())
    }

    fn at_end(
        &self,
        end: &crate::prim::AtomicU64,
        ask: impl for<'q> FnOnce(Queue<'q, PartOf<'a, S>, F>) -> bool,
    ) -> bool {
        let mut pins = Pins::default();
        let answer = match self.enter(end, &mut pins) {
            Ok(at) => self.on(at, ask) == Some(true),
            Err(_) => false,
        };
        self.unpin_all(&mut pins);
        answer
    }

    /// Rings that have memory, and bytes of memory that they have; the chain's own words not counted. Exact while nobody acts.
    pub fn rings_and_bytes(&self) -> (u32, u64) {
        let (bytes, rings) = storage::in_use(self.storage);
        (rings, bytes)
    }

    /// Ends the lease: the item is done with. See [`Queue::commit`].
    pub fn commit(&self, lease: LeaseToken) {
        self.on_kept(lease.ring, |queue| queue.commit(lease));
    }

    /// Ends the lease by giving the item back. See [`Queue::give_back`].
    pub fn give_back(&self, lease: LeaseToken) {
        self.on_kept(lease.ring, |queue| queue.give_back(lease));
    }

    /// Ends the lease with a reply. See [`Queue::try_reply`].
    ///
    /// # Errors
    ///
    /// See [`ReplyError`]; the lease is kept and comes back with the error.
    pub fn try_reply(
        &self,
        lease: LeaseToken,
        message: Message<'_>,
    ) -> Result<Replied, (LeaseToken, ReplyError)> {
        let LeaseToken { ring, block, deliveries } = lease;
        let done = self.on_kept(ring, |queue| queue.try_reply(lease, message));
        done.unwrap_or(Err((LeaseToken { ring, block, deliveries }, ReplyError::Corrupt)))
    }

    /// Takes one of the items that were given back as often as the limit allows, on lease.
    pub fn try_take_dead<B: Buffer>(&self, buffer: &mut B) -> Option<LeaseToken> {
        let mut taken = None;
        self.each_ring(|at, queue| {
            taken = queue.try_take_dead(buffer).map(|lease| LeaseToken { ring: at.index, ..lease });
            taken.is_none()
        });
        taken
    }

    /// Where the holder of `ticket` sleeps. `None`: the chain's memory was overwritten.
    pub fn bell(&self, ticket: &TicketToken) -> Option<&'a EventCount> {
        if !(1..=self.storage.rings()).contains(&ticket.ring) {
            return None;
        }
        let word = self.storage.control(ticket.ring).word();
        self.storage.bell(ticket.ring, word, ticket.block)
    }

    /// Looks for the answer and takes it. See [`Queue::take_answer`].
    ///
    /// # Errors
    ///
    /// `Corrupt`: the request's block holds what no participant writes.
    pub fn take_answer<B: Buffer>(
        &self,
        ticket: TicketToken,
        buffer: &mut B,
    ) -> Result<(Answer, Option<TicketToken>), Corrupt> {
        self.on_kept(ticket.ring, |queue| queue.take_answer(ticket, buffer)).unwrap_or(Err(Corrupt))
    }

    /// Gives up waiting. See [`Queue::drop_ticket`].
    pub fn drop_ticket(&self, ticket: TicketToken) {
        self.on_kept(ticket.ring, |queue| queue.drop_ticket(ticket));
    }

    /// Calls `found` with the name of every ring's region, and with every region reference that a committed message names;
    /// see [`Queue::trace`]. The caller sees to it that no ring is made or freed meanwhile.
    pub fn trace(&self, found: &mut dyn FnMut(u64)) {
        for index in 1..=storage::high(self.storage) {
            let control = self.storage.control(index);
            let word = control.word();
            if matches!(word.state(), RingState::Free | RingState::Bad) {
                continue;
            }
            found(control.region());
            if word.state() != RingState::Owned
                && let Some(ring) = self.part(Place { index, word })
            {
                Queue::new(&ring, self.family, self.me).trace(found);
            }
        }
    }
}

impl From<NoEntry> for PutError {
    fn from(why: NoEntry) -> Self {
        match why {
            NoEntry::NoPin => Self::NoRoom,
            NoEntry::Corrupt => Self::Corrupt,
        }
    }
}

#[cfg(all(test, not(offspring_loom)))]
mod tests;

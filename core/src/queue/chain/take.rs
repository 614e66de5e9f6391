//! Taking from a chain: what was given back in any ring, else the first item from the head on, passing what others hold.

use super::super::close::Slots;
use super::super::take::Trail;
use super::link::Grown;
use super::pin::{MOST_PINS, NoEntry, Pins, Place};
use super::storage::ChainStorage;
use super::word::{Link, RingState};
use super::{Chain, MOST_TURNS};
use crate::prim::{Ordering, spin};
use crate::queue::{Buffer, GetError, LeaseToken, Mode, Taken};
use crate::wait::Family;

/// Rings that a walk passes in which it found something that must stay as it is: besides their pins there are the head's and
/// the current ring's.
const MOST_BEHIND: usize = MOST_PINS - 2;

/// What was passed in one ring.
struct Behind {
    at: Place,
    trail: Trail,
}

/// What a turn of the walk came to.
enum Turn {
    Done(Result<(u16, Taken), GetError>),
    Again,
}

impl<S: ChainStorage, F: Family> Chain<'_, S, F> {
    /// Takes an item and copies its message into `buffer`; see [`Queue::try_take`](super::Queue::try_take).
    ///
    /// # Errors
    ///
    /// See [`GetError`].
    #[inline]
    pub fn try_take<B: Buffer>(
        &self,
        mode: Mode,
        thorough: bool,
        buffer: &mut B,
    ) -> Result<Taken, GetError> {
        self.sweep_if_due();
        let mut pins = Pins::default();
        let done = self.take(mode, thorough, buffer, &mut pins);
        self.unpin_all(&mut pins);
        Ok(match done? {
            (_, Taken::Item) => Taken::Item,
            (ring, Taken::Lease(lease)) => Taken::Lease(LeaseToken { ring, ..lease }),
        })
    }

    /// Takes up to `buffers.len()` items for good; see [`Queue::try_take_many`](super::Queue::try_take_many). A batch is of one ring.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_take_many<B: Buffer>(
        &self,
        thorough: bool,
        buffers: &mut [B],
    ) -> Result<usize, (usize, GetError)> {
        self.sweep_if_due();
        if !self.given_back_waiting() {
            let mut pins = Pins::default();
            let many = match self.enter(&self.storage.head().head.0, &mut pins) {
                Ok(head) => self.on(head, |queue| queue.try_take_many(false, buffers)),
                Err(_) => None,
            };
            self.unpin_all(&mut pins);
            match many {
                Some(Err((0, _))) | None => {}
                Some(done) => return done,
            }
        }
        match buffers.first_mut() {
            Some(first) => {
                self.try_take(Mode::Get, thorough, first).map(|_| 1).map_err(|why| (0, why))
            }
            None => Ok(0),
        }
    }

    #[inline]
    fn take<B: Buffer>(
        &self,
        mode: Mode,
        mut thorough: bool,
        buffer: &mut B,
        pins: &mut Pins,
    ) -> Result<(u16, Taken), GetError> {
        for _ in 0..MOST_TURNS {
            if self.given_back_waiting() {
                self.unpin_all(pins);
                if let Some(found) = self.find_given_back(mode, buffer)? {
                    return Ok(found);
                }
            }
            while pins.is_several() {
                self.unpin(pins);
            }
            let head = self.enter(&self.storage.head().head.0, pins)?;
            match self.on(head, |queue| queue.try_take(mode, false, buffer)) {
                Some(Ok(taken)) => return Ok((head.index, taken)),
                Some(Err(GetError::Empty | GetError::Closed)) => {}
                Some(Err(why)) => return Err(why),
                None => return Err(GetError::Corrupt),
            }
            match self.walk(head, mode, &mut thorough, buffer, pins) {
                Turn::Done(done) => return done,
                Turn::Again => {}
            }
        }
        Err(GetError::Corrupt)
    }

    /// C5: from the head on. In each ring, the ring's own walk; what it passed must be unchanged when an item behind is claimed.
    #[cold]
    #[inline(never)]
    fn walk<B: Buffer>(
        &self,
        head: Place,
        mode: Mode,
        thorough: &mut bool,
        buffer: &mut B,
        pins: &mut Pins,
    ) -> Turn {
        const NONE: Option<Behind> = None;
        let mut behind = [NONE; MOST_BEHIND];
        let mut passed = 0;
        let mut x = head;
        loop {
            let mut trail = Trail::new();
            let still = || {
                behind[..passed].iter().flatten().all(|behind| {
                    self.on(behind.at, |queue| queue.is_still(&behind.trail)) == Some(true)
                })
            };
            let why =
                match self.on(x, |queue| queue.try_take_behind(mode, buffer, &mut trail, &still)) {
                    Some(Ok(taken)) => return Turn::Done(Ok((x.index, taken))),
                    Some(Err(why @ (GetError::Empty | GetError::Closed))) => why,
                    Some(Err(why)) => return Turn::Done(Err(why)),
                    None => return Turn::Done(Err(GetError::Corrupt)),
                };
            if !still() {
                return Turn::Again;
            }
            let marked = why == GetError::Closed;
            let next = self.storage.control(x.index).next();
            match next {
                Link::NONE if marked => return Turn::Done(Err(GetError::Corrupt)),
                Link::NONE if self.is_closed() => {
                    self.end(x);
                    return Turn::Again;
                }
                Link::NONE => return self.nothing(head, x, thorough),
                Link::END if marked => return self.behind_last_mark(thorough),
                Link::END => return self.or_repair(thorough, GetError::Empty),
                next if !self.is_ring(next) => return Turn::Done(Err(GetError::Corrupt)),
                _ if trail.is_over() => return self.or_repair(thorough, GetError::Empty),
                next => {
                    if marked && x == head {
                        match self.on(x, |queue| queue.slots_behind_mark()) {
                            Some(Slots::Clear) => {
                                self.retire(x, next);
                                return Turn::Again;
                            }
                            Some(Slots::Changed) => return Turn::Again,
                            Some(Slots::Held) => {}
                            Some(Slots::Corrupt) | None => {
                                return Turn::Done(Err(GetError::Corrupt));
                            }
                        }
                    }
                    if !trail.is_empty() {
                        let Some(place) = behind.get_mut(passed) else {
                            return self.or_repair(thorough, GetError::Empty);
                        };
                        *place = Some(Behind { at: x, trail });
                        passed += 1;
                    } else if x != head {
                        self.unpin(pins);
                    }
                    if let Err(why) = self.pin(pins, next.index()) {
                        return Turn::Done(Err(why.into()));
                    }
                    // ORDER: Acquire, C1: behind the pin's barrier. While the head is where it was, nothing behind it was retired.
                    let at_head = Link(self.storage.head().head.0.load(Ordering::Acquire));
                    let word = self.storage.control(next.index()).word();
                    if at_head != head.link()
                        || word.generation() != next.generation()
                        || !word.is_there()
                    {
                        return Turn::Again;
                    }
                    x = Place { index: next.index(), word };
                }
            }
        }
    }

    /// The last ring, open, has nothing to take.
    fn nothing(&self, head: Place, x: Place, thorough: &mut bool) -> Turn {
        if self.due(thorough) {
            return Turn::Again;
        }
        // What was needed once only is not kept for ever.
        if x == head
            && self.is_large(x.word.size())
            && matches!(self.grow(x, Some(0)), Grown::Linked)
        {
            return Turn::Again;
        }
        Turn::Done(Err(GetError::Empty))
    }

    fn or_repair(&self, thorough: &mut bool, why: GetError) -> Turn {
        if self.due(thorough) { Turn::Again } else { Turn::Done(Err(why)) }
    }

    fn due(&self, thorough: &mut bool) -> bool {
        if core::mem::take(thorough) { self.recover() } else { self.sweep_if_due() }
    }

    /// C9: the mark was seen in the last ring.
    fn behind_last_mark(&self, thorough: &mut bool) -> Turn {
        let (mut mine, mut others) = (0, false);
        let (mut changed, mut corrupt) = (false, false);
        let slots = self.each_ring(|at, queue| {
            if at.word.state() == RingState::Retired {
                return true;
            }
            match queue.slots_behind_mark() {
                Slots::Clear => {}
                Slots::Held => others = true,
                Slots::Changed => changed = true,
                Slots::Corrupt => corrupt = true,
            }
            !changed && !corrupt
        });
        if corrupt {
            return Turn::Done(Err(GetError::Corrupt));
        }
        // Slots of all first: an item moves only from slot to block.
        let blocks = slots
            && !changed
            && self.each_ring(|_, queue| {
                changed = queue.blocks_behind_mark(&mut mine, &mut others);
                !changed
            });
        if !blocks || changed {
            // Somebody else is at it, or what we saw is old.
            spin();
            return Turn::Again;
        }
        if mine > 0 || others {
            self.or_repair(thorough, GetError::Leased { mine, others })
        } else {
            Turn::Done(Err(GetError::Closed))
        }
    }

    #[inline(always)]
    fn given_back_waiting(&self) -> bool {
        let calm = &self.storage.head().calm;
        // ORDER: Acquire, Q3. `scanned` Relaxed: an old value only costs a scan.
        calm.pend.load(Ordering::Acquire) != calm.scanned.load(Ordering::Relaxed)
    }

    /// Looks in every ring for what was given back.
    #[cold]
    fn find_given_back<B: Buffer>(
        &self,
        mode: Mode,
        buffer: &mut B,
    ) -> Result<Option<(u16, Taken)>, GetError> {
        let calm = &self.storage.head().calm;
        // ORDER: Acquire, Q3: what was given back before this count is visible to the scan.
        let seen = calm.pend.load(Ordering::Acquire);
        let (mut found, mut failed) = (None, None);
        let whole = self.each_ring(|at, queue| {
            match queue.try_take_given_back(mode, buffer) {
                Ok(Some(taken)) => found = Some((at.index, taken)),
                Ok(None) => {}
                Err(why) => failed = Some(why),
            }
            found.is_none()
        });
        match (found, failed) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(why)) => Err(why),
            (None, None) => {
                if whole {
                    // ORDER: Release: monotone; a late scanner never takes back what a later one said.
                    calm.scanned.fetch_max(seen, Ordering::AcqRel);
                }
                Ok(None)
            }
        }
    }
}

impl From<NoEntry> for GetError {
    fn from(why: NoEntry) -> Self {
        match why {
            NoEntry::NoPin => Self::NoRoom,
            NoEntry::Corrupt => Self::Corrupt,
        }
    }
}

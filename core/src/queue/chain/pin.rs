//! Pins: whoever looks at a ring says so first, and a ring that somebody looks at is not given back.
//!
//! | # | what | how |
//! |---|---|---|
//! | C1 | enter: x = head (reader) or tail (writer); pin on x; barrier; head / tail still x? else again | store, light barrier, load |
//! | C1a | enter any ring, for a scan: pin; barrier; its word still says that it is there? else it is not | likewise |
//! | C1b | leave: the pin free; barrier; is the ring RETIRED? then C7 is tried | likewise |
//!
//! A pin names a member, so a dead process's pins do not count, and the sweep frees them before the member's index. Any free
//! pin will do: a seat is taken by CAS, held for one operation only, and its word never recurs. Who is no member yet has no pins;
//! see `guest.rs`.

use super::Chain;
use super::storage::ChainStorage;
use super::word::{Link, PinWord, RingState, RingWord};
use crate::points::{Point, hit};
use crate::prim::{AtomicU64, Ordering};
use crate::wait::Family;

/// A ring that a pin keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) index: u16,
    pub(super) word: RingWord,
}

impl Place {
    pub(super) fn link(self) -> Link {
        Link::new(self.index, self.word.generation())
    }
}

/// Why no ring was entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoEntry {
    /// Every pin is taken.
    NoPin,
    Corrupt,
}

/// The most pins that one operation holds.
pub(super) const MOST_PINS: usize = 6;

/// The pins of one operation: seats, and the rings that they keep.
#[derive(Default)]
pub(super) struct Pins {
    held: [(u16, u16); MOST_PINS],
    count: usize,
}

impl Pins {
    pub(super) fn is_several(&self) -> bool {
        self.count > 1
    }

    fn is_full(&self) -> bool {
        self.count == MOST_PINS
    }
}

impl<S: ChainStorage, F: Family> Chain<'_, S, F> {
    /// Takes one more pin, on ring `index`.
    pub(super) fn pin(&self, pins: &mut Pins, index: u16) -> Result<(), NoEntry> {
        let count = self.storage.pins();
        debug_assert!(self.me != 0, "a pin of nobody keeps nothing: guests have seats");
        debug_assert!(!pins.is_full() && (1..=self.storage.rings()).contains(&index));
        for turn in 0..count {
            let seat = (self.seat % count + turn) % count;
            let word = &self.storage.pin(seat).word;
            // ORDER: Relaxed. A guess for the CAS.
            let free = PinWord(word.load(Ordering::Relaxed));
            if free.owner() != 0 {
                continue;
            }
            let mine = free.claimed(self.me, index);
            // ORDER: AcqRel, C1: behind what the last owner did, before what follows the barrier.
            let taken =
                word.compare_exchange(free.0, mine.0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            if taken {
                pins.held[pins.count] = (seat, index);
                pins.count += 1;
                hit(Point::ChainPinned);
                self.family.light_barrier();
                return Ok(());
            }
        }
        Err(NoEntry::NoPin)
    }

    /// Lets the last pin keep another ring instead.
    fn pin_instead(&self, pins: &mut Pins, index: u16) {
        let (seat, left) = pins.held[pins.count - 1];
        let word = &self.storage.pin(seat).word;
        // ORDER: Relaxed, then Release, C1. Plain: the pin is ours. What we did in the ring before comes before we leave it.
        let mine = PinWord(word.load(Ordering::Relaxed));
        word.store(mine.on(index).0, Ordering::Release);
        pins.held[pins.count - 1].1 = index;
        hit(Point::ChainPinned);
        self.family.light_barrier();
        self.left(left);
    }

    /// Gives the last pin back.
    pub(super) fn unpin(&self, pins: &mut Pins) {
        pins.count -= 1;
        let (seat, index) = pins.held[pins.count];
        self.release(seat);
        self.family.light_barrier();
        self.left(index);
    }

    /// Gives all of them back.
    pub(super) fn unpin_all(&self, pins: &mut Pins) {
        while pins.count > 0 {
            self.unpin(pins);
        }
    }

    fn release(&self, seat: u16) {
        let word = &self.storage.pin(seat).word;
        // ORDER: Relaxed, then Release, C1. Plain: the pin is ours.
        let mine = PinWord(word.load(Ordering::Relaxed));
        word.store(mine.freed().0, Ordering::Release);
        hit(Point::ChainUnpinned);
    }

    /// C1b: ring `index` was left.
    #[inline(always)]
    fn left(&self, index: u16) {
        if self.storage.control(index).word().state() == RingState::Retired {
            self.try_free(index);
        }
    }

    /// Gives the last pin back and says nothing: the caller tries to free the ring itself.
    pub(super) fn unpin_silently(&self, pins: &mut Pins) {
        pins.count -= 1;
        self.release(pins.held[pins.count].0);
    }

    /// C1: the ring where `end` (head or tail) is, under the first pin.
    #[inline(always)]
    pub(super) fn enter(&self, end: &AtomicU64, pins: &mut Pins) -> Result<Place, NoEntry> {
        loop {
            // ORDER: Acquire, C3 with the CAS that moved it.
            let link = Link(end.load(Ordering::Acquire));
            if !self.is_ring(link) {
                return Err(NoEntry::Corrupt);
            }
            match pins.count {
                0 => self.pin(pins, link.index())?,
                _ => self.pin_instead(pins, link.index()),
            }
            // ORDER: Acquire, C1: behind the barrier.
            if Link(end.load(Ordering::Acquire)) == link {
                let word = self.storage.control(link.index()).word();
                let sound = word.is_there() && word.generation() == link.generation();
                return if sound {
                    Ok(Place { index: link.index(), word })
                } else {
                    Err(NoEntry::Corrupt)
                };
            }
        }
    }

    /// C1a: ring `index`, if it is there, under one more pin.
    pub(super) fn enter_any(&self, index: u16, pins: &mut Pins) -> Result<Option<Place>, NoEntry> {
        let control = self.storage.control(index);
        if !control.word().is_there() {
            return Ok(None);
        }
        self.pin(pins, index)?;
        let word = control.word();
        if word.is_there() {
            return Ok(Some(Place { index, word }));
        }
        self.unpin(pins);
        Ok(None)
    }

    /// Whether a link can be one to a ring.
    pub(super) fn is_ring(&self, link: Link) -> bool {
        link != Link::END && (1..=self.storage.rings()).contains(&link.index())
    }

    /// Whether anybody alive looks at ring `index`. The caller changed the ring's word before.
    pub(super) fn is_pinned(&self, index: u16) -> bool {
        self.family.heavy_barrier();
        (0..self.storage.pins()).any(|seat| {
            // ORDER: Acquire, C1: whoever left the ring did so behind its last access.
            let pin = PinWord(self.storage.pin(seat).word.load(Ordering::Acquire));
            pin.owner() != 0 && pin.ring() == index && !self.dead(pin.owner())
        }) || self.is_visited(index)
    }

    /// Frees the pins of the dead.
    pub(super) fn sweep_pins(&self) {
        for seat in 0..self.storage.pins() {
            let word = &self.storage.pin(seat).word;
            // ORDER: Relaxed. Nothing is read through it; the CAS tests it again.
            let pin = PinWord(word.load(Ordering::Relaxed));
            if pin.owner() != 0 && self.dead(pin.owner()) {
                // ORDER: AcqRel, C1: the dead one's accesses come before those of whoever takes the pin. A failure: swept by another.
                let _ = word.compare_exchange(
                    pin.0,
                    pin.freed().0,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
            }
        }
    }
}

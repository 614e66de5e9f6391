//! Rings come and go: making a successor, moving the ends, giving a ring back.
//!
//! | # | what | how |
//! |---|---|---|
//! | C3 | FREE → OWNED(me), g+1; make it; OWNED(me) → OFFERED(me); **x.next: none → it**; won: → LIVE; lost: → RETIRED | CAS, but for OWNED → OFFERED |
//! | C6 | retire x, which is the head, ended, its mark seen, **then** no slot in use: its successor → LIVE; tail x → next; x LIVE → RETIRED; **then** head x → next | CAS each, by any number of helpers |
//! | C7 | free x, RETIRED, not head, not tail, no block in use: → DYING(me); **then** no living pin on it: → FREE, its memory back; else → RETIRED, another word than before | CAS |
//!
//! The offer comes before the link: of a dead owner's OFFERED ring `x.next` says whether it is in the chain. DYING comes
//! before the last look at the pins: whoever pins the ring after that look sees that it is not there.

use super::pin::{Pins, Place};
use super::storage::{ChainStorage, MakeError, bytes_with, in_use};
use super::word::{Link, RingState};
use super::{Chain, PutError, Storage};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::wait::Family;

/// What came of the wish for a successor.
pub(super) enum Grown {
    /// There is one, or the chain was ended: look again.
    Linked,
    /// There may be no more rings now: others must go first.
    Refused,
    /// No memory, or nonsense.
    Failed(PutError),
}

impl<S: ChainStorage, F: Family> Chain<'_, S, F> {
    /// C3: a successor for `x`, which we have pinned; of `size`, or as large as the chain is long.
    #[cold]
    pub(super) fn grow(&self, x: Place, size: Option<u8>) -> Grown {
        let largest = self.storage.sizes() - 1;
        let (bytes, rings) = in_use(self.storage);
        let mut size = size.unwrap_or(rings.saturating_sub(1).min(u32::from(largest)) as u8);
        let most = self.storage.most_bytes();
        while most != 0 && bytes.saturating_add(self.bytes_of(size)) > most {
            match size.checked_sub(1) {
                Some(smaller) => size = smaller,
                None => return Grown::Refused,
            }
        }
        let new = match self.make_ring(size) {
            Ok(new) => new,
            Err(grown) => return grown,
        };
        let control = self.storage.control(new.index);
        // ORDER: Relaxed. Published by OFFERED, C2.
        control.before.store(x.link().0, Ordering::Relaxed);
        let offered = new.word.to(RingState::Offered, self.me);
        // ORDER: Release, C2. A plain store: the word is ours while OWNED names us.
        control.word.store(offered.0, Ordering::Release);
        hit(Point::ChainRingOffered);
        // ORDER: AcqRel, C2: whoever follows the link sees the ring made. From here on x is ended.
        let linked = self.storage.control(x.index).next.compare_exchange(
            Link::NONE.0,
            new.link().0,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if linked.is_ok() {
            hit(Point::ChainLinked);
            self.promote(new.link());
            self.move_tail(x, new.link());
        } else {
            control.swap(offered, new.word.to(RingState::Retired, 0));
            hit(Point::ChainLost);
            self.try_free(new.index);
        }
        Grown::Linked
    }

    /// Claims an index and makes a ring of `size`: OWNED by us.
    fn make_ring(&self, size: u8) -> Result<Place, Grown> {
        let made = (1..=self.storage.rings()).find_map(|index| {
            let control = self.storage.control(index);
            let w = control.word();
            if w.state() != RingState::Free {
                return None;
            }
            // ORDER: AcqRel: before the word, so that whoever must see the ring looks that far.
            self.storage.head().calm.high.fetch_max(u32::from(index), Ordering::AcqRel);
            let word = w.claimed(self.me, size);
            control.swap(w, word).then_some(Place { index, word })
        });
        let Some(new) = made else { return Err(Grown::Refused) };
        hit(Point::ChainRingClaimed);
        let control = self.storage.control(new.index);
        // ORDER: Relaxed. Nobody looks at an OWNED ring; published by OFFERED or LIVE, C2.
        control.next.store(Link::NONE.0, Ordering::Relaxed);
        control.region.store(0, Ordering::Relaxed);
        control.bytes.store(self.bytes_of(size), Ordering::Relaxed);
        let epoch = self.family.death_epoch();
        // ORDER: Release: a collector that sees the name finds the region made.
        let made =
            self.storage.make(size, &mut |region| control.region.store(region, Ordering::Release));
        hit(Point::ChainRingMade);
        // Who is dead by now was never here.
        let swept = |ring: &super::PartOf<'_, S>| {
            // ORDER: Relaxed. Published by OFFERED or LIVE, C2.
            ring.head().calm.swept.store(epoch, Ordering::Relaxed);
        };
        let failed = match made {
            Ok(()) => match self.part(new) {
                Some(ring) => {
                    swept(&ring);
                    return Ok(new);
                }
                None => Grown::Failed(PutError::Corrupt),
            },
            Err(MakeError::NoMemory(why)) => Grown::Failed(PutError::NoMemory(why)),
            Err(MakeError::NoRoom) => Grown::Refused,
        };
        control.swap(new.word, new.word.to(RingState::Free, 0));
        Err(failed)
    }

    /// The first ring; see [`Chain::start`].
    pub(super) fn make_first(&self) -> Result<(), PutError> {
        let first = self.make_ring(0).map_err(|grown| match grown {
            Grown::Failed(why) => why,
            _ => PutError::NoRoom,
        })?;
        let control = self.storage.control(first.index);
        control.swap(first.word, first.word.to(RingState::Live, 0));
        let head = self.storage.head();
        // ORDER: Release, C3. Nobody else is there yet.
        head.tail.0.store(first.link().0, Ordering::Release);
        head.head.0.store(first.link().0, Ordering::Release);
        Ok(())
    }

    fn bytes_of(&self, size: u8) -> u64 {
        bytes_with(self.storage.geometry(size), |_| 0)
    }

    /// Whether a ring of `size` is so large that it is not kept when it is empty.
    pub(super) fn is_large(&self, size: u8) -> bool {
        size > 0 && self.bytes_of(size) > LARGE
    }

    /// A linked ring is LIVE, whoever sees it first.
    fn promote(&self, link: Link) {
        let control = self.storage.control(link.index());
        let w = control.word();
        if w.generation() == link.generation()
            && w.state() == RingState::Offered
            && control.swap(w, w.to(RingState::Live, 0))
        {
            hit(Point::ChainPromoted);
        }
    }

    /// The tail leaves `x` for its successor.
    pub(super) fn move_tail(&self, x: Place, next: Link) {
        self.move_end(&self.storage.head().tail.0, x, next);
        hit(Point::ChainTailMoved);
    }

    fn move_end(&self, end: &crate::prim::AtomicU64, x: Place, next: Link) {
        // ORDER: AcqRel, C3. A failure: somebody else did it.
        let _ = end.compare_exchange(x.link().0, next.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// C6: `x`, under a pin, was the head; its mark was seen, and then no slot in use.
    #[cold]
    pub(super) fn retire(&self, x: Place, next: Link) {
        self.promote(next);
        self.move_tail(x, next);
        let live = x.word.to(RingState::Live, 0);
        self.storage.control(x.index).swap(live, x.word.to(RingState::Retired, 0));
        hit(Point::ChainRetired);
        self.move_end(&self.storage.head().head.0, x, next);
        hit(Point::ChainHeadMoved);
    }

    /// C7, for whatever ring is at `index` now.
    #[cold]
    pub(super) fn try_free(&self, index: u16) {
        let control = self.storage.control(index);
        loop {
            let w = control.word();
            let here = Place { index, word: w };
            if w.state() != RingState::Retired || self.is_end(here.link()) {
                return;
            }
            let mut pins = Pins::default();
            if self.pin(&mut pins, index).is_err() {
                return; // whoever leaves a ring tries again, and so does each sweep
            }
            // Once the ring is RETIRED nothing gets into it any more, and an item in a block stays in its block until it ends: all
            // blocks seen free, each at its time, are free for good, but for those that a pin's owner takes and gives back.
            let unused =
                control.word() == w && self.on(here, |q| q.is_every_block_free()) == Some(true);
            let dying = w.to(RingState::Dying, self.me);
            let mine = unused && control.swap(w, dying);
            self.unpin_silently(&mut pins);
            if !mine {
                self.family.light_barrier();
                if control.word() == w {
                    return; // in use: whoever ends that use tries again
                }
                continue; // another was at it, and may have seen our pin
            }
            hit(Point::ChainDying);
            if self.is_pinned(index) {
                // Another word than before: whoever tried meanwhile, and whose pin we saw, looks again.
                control.swap(dying, w.to(RingState::Retired, w.owner().wrapping_add(1)));
                hit(Point::ChainSpared);
                if self.is_pinned(index) {
                    return; // whoever leaves it sees RETIRED and tries again
                }
                continue;
            }
            let region = control.region();
            // ORDER: Relaxed. Carried by FREE.
            control.bytes.store(0, Ordering::Relaxed);
            if control.swap(dying, w.to(RingState::Free, 0)) {
                hit(Point::ChainRingFree);
                self.storage.free(region);
                self.storage.head().calm.writers.notify_all(self.family);
                self.storage.head().calm.rooms.notify_all(self.family);
            }
            return;
        }
    }

    /// Whether head or tail are there.
    fn is_end(&self, link: Link) -> bool {
        let head = self.storage.head();
        // ORDER: Acquire, C1: before the barrier of `is_pinned`; neither comes back.
        Link(head.head.0.load(Ordering::Acquire)) == link
            || Link(head.tail.0.load(Ordering::Acquire)) == link
    }
}

/// Bytes of a ring that is left for a small one once it is empty.
const LARGE: u64 = 1 << 20;

//! Giving back the regions that no living process can reach.
//!
//! A region is kept while a living process is a member of it, or while a message in a region that is kept names it.
//! References in transit are not counted (a count would be wrong after a kill) but traced, under the family
//! lock:
//!
//! - whoever puts a reference is a member of what it names until the put is committed, and leaves under the lock;
//! - whoever takes a reference becomes a member, under the lock, before it takes the message away;
//!
//! so at the time of a collection every reachable region has a living member or stands in a committed message
//! that nobody can take away before the collection is over, unless it is a member already.

use super::Backend;
use super::layout::{MOST_REGIONS, flags};
use super::lock::Locked;
use super::word::{RegionRef, RegionState};
use crate::prim::Ordering;

// A model's threads have small stacks, and its tables few entries.
const WORDS: usize = if cfg!(offspring_loom) { 1 } else { MOST_REGIONS / 64 };

/// One bit for each region.
struct Bits {
    words: [u64; WORDS],
    /// No bit is set in this word or behind: a family has few regions, and its table many.
    end: usize,
}

impl Bits {
    const fn new() -> Self {
        Self { words: [0; WORDS], end: 0 }
    }

    /// Sets the bit; says whether it was clear. The index is one of the region table.
    fn insert(&mut self, index: u16) -> bool {
        let (word, bit) = (usize::from(index) / 64, 1 << (index % 64));
        let clear = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.end = self.end.max(word + 1);
        clear
    }

    fn contains(&self, index: u16) -> bool {
        self.words[usize::from(index) / 64] & 1 << (index % 64) != 0
    }

    /// Takes one bit out, at `from` or behind.
    fn pop(&mut self, from: &mut usize) -> Option<u16> {
        while *from < self.end {
            let word = &mut self.words[*from];
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                return Some((*from as u32 * 64 + bit) as u16);
            }
            *from += 1;
        }
        None
    }
}

impl<B: Backend + ?Sized> Locked<'_, '_, B> {
    /// Frees every LIVE region that has no living member and is not reachable from one that has.
    ///
    /// Says whether it could: not if a kept region carries references and this process does not know how to
    /// [trace](Backend::trace) its kind; then nothing is freed.
    ///
    /// # Blocking and crash
    ///
    /// Does not block. Looks at every region and every message that carries references. Dying in here leaves the
    /// collection due.
    pub fn collect(&self) -> bool {
        let registry = self.registry;
        let head = registry.tables.head;
        // ORDER: Acquire. Read before the first look at a member, so that a death after it makes a collection due.
        let epoch = head.epoch.load(Ordering::Acquire);
        let (mut kept, mut todo) = (Bits::new(), Bits::new());
        for (region, bits, _) in registry.region_entries() {
            if bits.state() != RegionState::Live {
                continue;
            }
            // A damaged head cannot be judged; its region is kept.
            let keep = registry.look_up(region).map_or(true, |r| registry.has_living_member(&r));
            if keep && kept.insert(region.index()) {
                todo.insert(region.index());
            }
        }
        let mut from = 0;
        while let Some(index) = todo.pop(&mut from) {
            let Some(region) = self.live(index) else { continue };
            let Ok(region) = registry.look_up(region) else { continue };
            // ORDER: Acquire, with `mark_carries`.
            if region.head.flags.load(Ordering::Acquire) & flags::CARRIES == 0 {
                continue;
            }
            let mut lowest = from;
            let known = registry.backend.trace(&region, &mut |named| {
                if self.live(named.index()) == Some(named) && kept.insert(named.index()) {
                    todo.insert(named.index());
                    lowest = lowest.min(usize::from(named.index()) / 64);
                }
            });
            if !known {
                return false;
            }
            from = lowest;
        }
        for (region, bits, _) in registry.region_entries() {
            if bits.state() == RegionState::Live && !kept.contains(region.index()) {
                self.free_region(region);
            }
        }
        // ORDER: Release, F6. Under the lock, so the epochs are written in order.
        head.collected.store(epoch, Ordering::Release);
        true
    }

    /// The name of the LIVE region at `index`.
    fn live(&self, index: u16) -> Option<RegionRef> {
        let entry = self.registry.tables.regions.get(usize::from(index))?;
        // ORDER: Acquire, F7.
        let bits = entry.word.load(Ordering::Acquire);
        let live = bits.state() == RegionState::Live && bits.generation() != 0;
        live.then(|| RegionRef::new(index, bits.generation()))
    }
}

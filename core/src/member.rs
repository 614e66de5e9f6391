//! The members of one object: which processes use it, by small indices that the object's words can hold.
//!
//! A member index (1..=M, 0 is nobody) stands in the owner fields of the object's words; the table turns it
//! into a [`ProcessRef`]. An entry is one word: 0 is free, everything else the bits of the process.
//!
//! | from → to | by | when |
//! |---|---|---|
//! | 0 → p | the joiner p | before any word of the object names this index |
//! | p → 0 | p itself | when no word of the object names this index any more |
//! | p → 0 | a sweeper | p is dead, and the sweep that began after the death repaired every word that names it |
//!
//! An index is never handed from one process to another without the 0 between, and a sweeper frees the *exact*
//! process that it swept for, so that a late sweeper cannot free a newcomer's entry.
//!
//! # Orderings
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | M1 | join: high-water `fetch_max` (Release), then the entry's CAS (Release) | `get`, `iter` (Acquire) | a member that a scan must see is below the high water |
//! | M2 | leave, free: CAS to 0 (Release) | join: CAS from 0 (Acquire) | all that was done under the old meaning of the index |

use crate::points::{Point, hit};
use crate::prim::{AtomicU32, AtomicU64, Ordering};
use crate::process::ProcessRef;

/// The largest member index: owner fields have 13 bits.
pub const MOST_MEMBERS: usize = 8191;

/// A view of an object's member table; `Copy`, since it only borrows the shared words.
///
/// # Blocking and crash
///
/// Nothing here blocks. A process that dies in `join` is a member or is not; both are swept like any death.
#[derive(Clone, Copy, Debug)]
pub struct MemberTable<'a> {
    entries: &'a [AtomicU64],
    high_water: &'a AtomicU32,
}

impl<'a> MemberTable<'a> {
    /// The table over `entries`; `high_water` is the largest index that was ever joined (at first 0).
    ///
    /// Entries beyond [`MOST_MEMBERS`] are not used.
    #[must_use]
    pub fn new(entries: &'a [AtomicU64], high_water: &'a AtomicU32) -> Self {
        let most = entries.len().min(MOST_MEMBERS);
        Self { entries: &entries[..most], high_water }
    }

    /// The entries, for whoever makes the table anew from where they lie.
    #[must_use]
    pub fn entries(&self) -> &'a [AtomicU64] {
        self.entries
    }

    /// The high-water mark, likewise.
    #[must_use]
    pub fn high_water(&self) -> &'a AtomicU32 {
        self.high_water
    }

    /// How many processes can be members at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Makes `me` a member and returns its index; `None` if all indices are taken.
    ///
    /// Always takes an index of its own: a process that may already be a member asks [`find`](Self::find) first.
    /// Indices of dead members come free by sweeping, so the caller of a full table sweeps and tries again.
    #[must_use]
    pub fn join(&self, me: ProcessRef) -> Option<u16> {
        if me.is_none() {
            return None;
        }
        for (i, entry) in self.entries.iter().enumerate() {
            // ORDER: Relaxed. A guess for the CAS.
            if entry.load(Ordering::Relaxed) != 0 {
                continue;
            }
            let index = (i + 1) as u16; // at most MOST_MEMBERS
            // ORDER: Release, M1 with `iter`: whoever sees the entry sees a high water that covers it.
            self.high_water.fetch_max(u32::from(index), Ordering::Release);
            // ORDER: AcqRel, M2 with the CAS that freed the entry, and M1.
            let taken =
                entry.compare_exchange(0, me.bits(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
            if taken {
                hit(Point::MemberJoined);
                return Some(index);
            }
        }
        None
    }

    /// The process that has `index`; [`ProcessRef::NONE`] if it is free, 0, or beyond the table.
    #[inline]
    #[must_use]
    pub fn get(&self, index: u16) -> ProcessRef {
        match self.entry(index) {
            // ORDER: Acquire, M1.
            Some(entry) => name_in(entry.load(Ordering::Acquire)),
            None => ProcessRef::NONE,
        }
    }

    /// The first index that `process` has, if it is a member.
    #[must_use]
    pub fn find(&self, process: ProcessRef) -> Option<u16> {
        self.iter().find(|(_, member)| *member == process).map(|(index, _)| index)
    }

    /// Gives `index` back; the caller, `me`, promises that no word of the object names it. Says whether it was `me`'s.
    pub fn leave(&self, index: u16, me: ProcessRef) -> bool {
        let left = self.free_if(index, me);
        if left {
            hit(Point::MemberLeft);
        }
        left
    }

    /// Frees `index` if it still belongs to `exact`, whose words were all swept. Says whether this call did it.
    pub fn free_if(&self, index: u16, exact: ProcessRef) -> bool {
        if exact.is_none() {
            return false;
        }
        self.entry(index).is_some_and(|entry| {
            // ORDER: Release, M2 with the next joiner's CAS; Relaxed on failure, nothing is read through it.
            entry.compare_exchange(exact.bits(), 0, Ordering::Release, Ordering::Relaxed).is_ok()
        })
    }

    /// The members and their indices, each read when the iteration gets there.
    pub fn iter(&self) -> impl Iterator<Item = (u16, ProcessRef)> + use<'a> {
        let entries = self.entries;
        // ORDER: Acquire, M1. A peer may have written nonsense: never beyond the table.
        let most = (self.high_water.load(Ordering::Acquire) as usize).min(entries.len());
        entries[..most].iter().enumerate().filter_map(|(i, entry)| {
            // ORDER: Acquire, M1.
            let process = name_in(entry.load(Ordering::Acquire));
            (!process.is_none()).then_some(((i + 1) as u16, process))
        })
    }

    fn entry(&self, index: u16) -> Option<&'a AtomicU64> {
        self.entries.get(usize::from(index).checked_sub(1)?)
    }
}

/// The process that an entry names. Bits beyond a name's are a peer's nonsense and name nobody: such an entry could not be
/// freed by its name, and whoever sweeps would meet it again for ever.
fn name_in(bits: u64) -> ProcessRef {
    let process = ProcessRef::from_bits(bits);
    if process.bits() == bits { process } else { ProcessRef::NONE }
}

#[cfg(all(test, not(offspring_loom)))]
mod tests {
    use super::*;

    const A: ProcessRef = ProcessRef::new(1, 1);
    const B: ProcessRef = ProcessRef::new(2, 7);

    fn with_table(most: usize, check: impl FnOnce(MemberTable<'_>, &AtomicU32)) {
        let entries = [const { AtomicU64::new(0) }; 8];
        let high_water = AtomicU32::new(0);
        check(MemberTable::new(&entries[..most], &high_water), &high_water);
    }

    #[test]
    fn members_get_the_lowest_free_indices() {
        with_table(3, |table, _| {
            assert_eq!(table.join(A), Some(1));
            assert_eq!(table.join(B), Some(2));
            assert!(table.leave(1, A));
            assert_eq!(table.join(B), Some(1));
            assert_eq!(table.get(1), B);
        });
    }

    #[test]
    fn full_table_refuses_a_member() {
        with_table(2, |table, _| {
            assert!(table.join(A).is_some() && table.join(A).is_some());
            assert_eq!(table.join(B), None);
        });
    }

    #[test]
    fn late_sweeper_frees_only_whom_it_swept_for() {
        with_table(2, |table, _| {
            let index = table.join(A).unwrap();
            assert!(!table.free_if(index, B));
            assert!(table.free_if(index, A));
            assert_eq!(table.join(B), Some(index));
            assert!(!table.free_if(index, A));
            assert_eq!(table.get(index), B);
        });
    }

    #[test]
    fn indices_from_a_peer_are_checked() {
        with_table(2, |table, high_water| {
            assert_eq!(table.get(0), ProcessRef::NONE);
            assert_eq!(table.get(3), ProcessRef::NONE);
            assert!(!table.leave(9, A));
            high_water.store(u32::MAX, Ordering::Relaxed);
            assert_eq!(table.iter().count(), 0);
        });
    }

    #[test]
    fn entry_that_is_no_name_is_nobodys() {
        let entries = [AtomicU64::new(A.bits() | 1 << 63), AtomicU64::new(B.bits())];
        let high_water = AtomicU32::new(2);
        let table = MemberTable::new(&entries, &high_water);
        assert_eq!((table.get(1), table.get(2)), (ProcessRef::NONE, B));
        assert!(table.iter().eq([(2, B)]));
    }

    #[test]
    fn nobody_is_no_member() {
        with_table(2, |table, _| {
            assert_eq!(table.join(ProcessRef::NONE), None);
            assert!(!table.free_if(1, ProcessRef::NONE));
            assert_eq!(table.find(A), None);
        });
    }
}

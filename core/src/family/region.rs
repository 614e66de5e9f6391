//! Regions: ranges of the arena's pages, made, joined, left and freed under the family lock.
//!
//! | from → to | by | when |
//! |---|---|---|
//! | FREE g → PLACING g+1 | the lock's holder | offset and length are written |
//! | PLACING → LIVE | the lock's holder | pages committed, head written, object made, its maker a member |
//! | LIVE → DYING | the lock's holder | no living member, and unreachable |
//! | PLACING, DYING → FREE | the lock's holder, or the next one if it died | pages given back |
//!
//! The table is the only truth: there is no free list that could be torn. A dead holder leaves at most one entry in
//! PLACING or DYING, which whoever takes the lock over completes to FREE.

use super::layout::{GRANULE, HEAP_AT, REGION_MAGIC, RegionHead, flags};
use super::lock::Locked;
use super::registry::Registry;
use super::word::{RegionBits, RegionRef, RegionState};
use super::{Backend, NoMemory, RegionEntry};
use crate::member::MemberTable;
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::process::{Liveness, ProcessRef};

/// What a new region shall be.
#[derive(Clone, Copy, Debug)]
pub struct RegionSpec {
    /// What kind of object.
    pub kind: u32,
    /// The version of that kind's layout.
    pub version: u32,
    /// Hash of the user's type, 0 if none.
    pub type_hash: u64,
    /// Length in bytes, the [`RegionHead`] included; rounded up to whole granules.
    pub len: u64,
    /// Where the member table (8 bytes an entry) begins, in bytes from the region's start: a multiple of 8 behind the
    /// head.
    pub members_offset: u64,
    /// Entries of the member table; 0 for a region that lives only by being reachable.
    pub members_count: u32,
    /// First value of the flags, see [`flags`].
    pub flags: u32,
    /// How many bytes from the start get memory at once, at least the head and the members; the object's own protocol
    /// commits the rest as it needs it. All of it is given back with the region.
    pub committed: u64,
}

/// Why there is no new region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocateError {
    /// The spec contradicts itself: the member table does not fit.
    BadSpec,
    /// All entries of the region table are in use.
    TableFull,
    /// No gap of that length in the arena.
    NoRoom {
        /// How many bytes were asked for.
        asked: u64,
    },
    /// The system has no memory.
    NoMemory(NoMemory),
    /// The maker withdrew the region while linking it.
    Withdrawn,
}

impl core::fmt::Display for AllocateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::BadSpec => f.write_str("the member table does not fit into the region"),
            Self::TableFull => {
                f.write_str("the family's region table is full: drop shared objects first")
            }
            Self::NoRoom { asked } => {
                write!(f, "no gap of {asked} bytes in the arena: drop shared objects first")
            }
            Self::NoMemory(no_memory) => no_memory.fmt(f),
            Self::Withdrawn => f.write_str("the region was withdrawn by its maker"),
        }
    }
}

impl core::error::Error for AllocateError {}

/// Why a reference leads to no object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionError {
    /// The object is gone, or never was.
    Gone,
    /// An object of another kind.
    WrongKind {
        /// The kind found.
        found: u32,
    },
    /// An object of the same kind for another type.
    WrongType,
    /// The region's own head contradicts the table: some process wrote wild.
    Corrupt,
    /// The member table is full of processes; dead ones come free when the object is swept.
    MembersFull,
}

impl core::fmt::Display for RegionError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Gone => f.write_str("the shared object is gone: its last user dropped it"),
            Self::WrongKind { found } => {
                write!(f, "the shared object is of another kind ({found}): check what was sent")
            }
            Self::WrongType => {
                f.write_str("the shared object was made for another type: check what was sent")
            }
            Self::Corrupt => {
                f.write_str("the shared object's head is damaged: some process wrote wild")
            }
            Self::MembersFull => {
                f.write_str("too many processes use the shared object: make it for more")
            }
        }
    }
}

impl core::error::Error for RegionError {}

/// A region that was looked up and checked: where it lies and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    /// Its name.
    pub region: RegionRef,
    /// What kind of object.
    pub kind: u32,
    /// Hash of the user's type.
    pub type_hash: u64,
    /// Offset in the arena, in bytes; checked: a multiple of the granule, in the heap.
    pub offset: u64,
    /// Length in bytes; checked: whole granules, at least one, within the arena.
    pub len: u64,
    /// Its head.
    pub head: &'a RegionHead,
    /// Its members.
    pub members: MemberTable<'a>,
}

impl Region<'_> {
    /// Says that a reference to this region is about to be committed in a message. Before the commit.
    pub fn mark_travelled(&self) {
        // ORDER: Release, with the Acquire in `leave_region`; usually set already, then nothing is written.
        if self.head.flags.load(Ordering::Relaxed) & flags::TRAVELLED == 0 {
            self.head.flags.fetch_or(flags::TRAVELLED, Ordering::Release);
        }
    }

    /// Says that a message in this region is about to name other regions. Before the commit.
    pub fn mark_carries(&self) {
        // ORDER: Release, with the Acquire in `collect`.
        if self.head.flags.load(Ordering::Relaxed) & flags::CARRIES == 0 {
            self.head.flags.fetch_or(flags::CARRIES, Ordering::Release);
        }
    }
}

impl<'a, B: Backend + ?Sized> Registry<'a, B> {
    /// Looks a region up. Needs no lock; the answer stays true while the caller is a member, or holds the lock.
    ///
    /// # Errors
    ///
    /// Never [`RegionError::MembersFull`].
    pub fn region(
        &self,
        region: RegionRef,
        kind: u32,
        type_hash: u64,
    ) -> Result<Region<'a>, RegionError> {
        let found = self.look_up(region)?;
        if found.kind != kind {
            return Err(RegionError::WrongKind { found: found.kind });
        }
        if found.type_hash != type_hash {
            return Err(RegionError::WrongType);
        }
        Ok(found)
    }

    /// Looks a region of any kind up.
    ///
    /// # Errors
    ///
    /// [`RegionError::Gone`] or [`RegionError::Corrupt`].
    pub fn look_up(&self, region: RegionRef) -> Result<Region<'a>, RegionError> {
        let entry = self.tables.regions.get(usize::from(region.index()));
        let entry = entry.ok_or(RegionError::Gone)?;
        let live = RegionBits::new(RegionState::Live, region.generation());
        // ORDER: Acquire, F7.
        if region.is_none() || entry.word.load(Ordering::Acquire) != live {
            return Err(RegionError::Gone);
        }
        let (offset, len) = self.range_of(entry).ok_or(RegionError::Corrupt)?;
        // ORDER: Relaxed, carried by the word (F7); constant while it is LIVE.
        let kind = entry.kind.load(Ordering::Relaxed);
        let type_hash = entry.type_hash.load(Ordering::Relaxed);
        // SAFETY: `range_of` checked that the range is granules of the heap, so the head lies in it, aligned.
        let head = unsafe { self.backend.region_head(offset) };
        // ORDER: Relaxed, carried by the word (F7).
        let magic = head.magic.load(Ordering::Relaxed);
        let head_kind = head.kind.load(Ordering::Relaxed);
        let head_len = head.len.load(Ordering::Relaxed);
        let at = head.members_offset.load(Ordering::Relaxed);
        let count = head.members_count.load(Ordering::Relaxed);
        // ORDER: Acquire, so that it comes after the loads above: all of them are of this generation.
        if entry.word.load(Ordering::Acquire) != live {
            return Err(RegionError::Gone);
        }
        let sound = magic == REGION_MAGIC && head_kind == kind && head_len == len;
        if !sound || !members_fit(at, count, len) {
            return Err(RegionError::Corrupt);
        }
        // SAFETY: `members_fit`: a multiple of 8 from a granule's start, ending within the region.
        let entries = unsafe { self.backend.words(offset + at, count as usize) };
        let members = MemberTable::new(entries, &head.members_high);
        Ok(Region { region, kind, type_hash, offset, len, head, members })
    }

    /// How many regions are not FREE.
    pub fn regions_in_use(&self) -> usize {
        self.region_entries().filter(|(_, bits, _)| bits.state() != RegionState::Free).count()
    }

    /// Offset and length of an entry, if they make sense.
    fn range_of(&self, entry: &RegionEntry) -> Option<(u64, u64)> {
        // ORDER: Relaxed. Carried by the entry's word (F7), or by the lock (F5).
        let offset = entry.offset.load(Ordering::Relaxed);
        let len = entry.len.load(Ordering::Relaxed);
        let end = offset.checked_add(len)?;
        let sound = offset >= HEAP_AT
            && offset.is_multiple_of(GRANULE)
            && len >= GRANULE
            && len.is_multiple_of(GRANULE)
            && end <= self.tables.arena_len;
        sound.then_some((offset, len))
    }

    pub(super) fn region_entries(
        &self,
    ) -> impl Iterator<Item = (RegionRef, RegionBits, &'a RegionEntry)> + use<'a, B> {
        let regions = self.tables.regions;
        // ORDER: Acquire, with the `fetch_max` in `allocate`. Never beyond the table.
        let high = self.tables.head.region_high.load(Ordering::Acquire) as usize;
        regions[..high.min(regions.len())].iter().enumerate().map(|(index, entry)| {
            // ORDER: Acquire, F7.
            let bits = entry.word.load(Ordering::Acquire);
            (RegionRef::new(index as u16, bits.generation()), bits, entry)
        })
    }

    pub(super) fn has_living_member(&self, region: &Region<'_>) -> bool {
        region.members.iter().any(|(_, member)| !self.is_dead(member))
    }
}

fn members_fit(at: u64, count: u32, len: u64) -> bool {
    let end = at.checked_add(u64::from(count) * 8);
    at.is_multiple_of(8)
        && at >= size_of::<RegionHead>() as u64
        && end.is_some_and(|end| end <= len)
}

impl<'a, B: Backend + ?Sized> Locked<'_, 'a, B> {
    /// Makes a region; gives its name and the caller's member index (0 if the spec has no members).
    ///
    /// `init` is called with the region's offset once its pages are committed (all zeros but for the head) and makes the
    /// object; nobody else sees the region yet. Then the caller is made a member, the region LIVE, and `link` called,
    /// still under the lock: it may write the name where others find it, and says whether the region shall stay.
    ///
    /// # Blocking and crash
    ///
    /// Committing pages may take as long as the system takes to find them. Dying before LIVE gives all back by the next
    /// holder's repair; after, by the collection that follows the death, unless `link` has linked it.
    ///
    /// # Errors
    ///
    /// See [`AllocateError`]; nothing is left of it then.
    pub fn allocate(
        &self,
        spec: &RegionSpec,
        init: impl FnOnce(u64),
        link: impl FnOnce(RegionRef) -> bool,
    ) -> Result<(RegionRef, u16), AllocateError> {
        let len = spec.len.max(1).checked_next_multiple_of(GRANULE);
        let len = len.filter(|len| members_fit(spec.members_offset, spec.members_count, *len));
        let len = len.ok_or(AllocateError::BadSpec)?;
        let (region, entry) = self.vacancy().ok_or(AllocateError::TableFull)?;
        let offset = self.gap(len).ok_or(AllocateError::NoRoom { asked: len })?;

        // ORDER: Relaxed. The entry is FREE and ours by the lock; carried by the word (F7).
        entry.offset.store(offset, Ordering::Relaxed);
        entry.len.store(len, Ordering::Relaxed);
        entry.kind.store(spec.kind, Ordering::Relaxed);
        entry.type_hash.store(spec.type_hash, Ordering::Relaxed);
        hit(Point::RegionClaimed);
        let placing = RegionBits::new(RegionState::Placing, region.generation());
        // ORDER: Release, F5: whoever takes the lock over sees the range with the state.
        entry.word.store(placing, Ordering::Release);
        hit(Point::RegionPlaced);
        let unplaced = Unplaced { locked: self, region, entry };
        let members_end = spec.members_offset + u64::from(spec.members_count) * 8; // `members_fit`
        let first = spec.committed.max(members_end).checked_next_multiple_of(GRANULE);
        let first = first.map_or(len, |first| first.min(len));
        self.registry.backend.commit(offset, first).map_err(AllocateError::NoMemory)?;
        hit(Point::RegionCommitted);
        let index = self.write_head(spec, offset, len, init);
        hit(Point::RegionInitialised);
        // ORDER: Release, F7.
        entry.word.store(placing.with(RegionState::Live), Ordering::Release);
        hit(Point::RegionLive);
        if !link(region) {
            return Err(AllocateError::Withdrawn);
        }
        core::mem::forget(unplaced);
        Ok((region, index))
    }

    fn write_head(&self, spec: &RegionSpec, offset: u64, len: u64, init: impl FnOnce(u64)) -> u16 {
        // SAFETY: `gap` gave a range of whole granules in the heap.
        let head = unsafe { self.registry.backend.region_head(offset) };
        // ORDER: Relaxed. Carried by LIVE (F7).
        head.magic.store(REGION_MAGIC, Ordering::Relaxed);
        head.kind.store(spec.kind, Ordering::Relaxed);
        head.version.store(spec.version, Ordering::Relaxed);
        head.flags.store(spec.flags, Ordering::Relaxed);
        head.len.store(len, Ordering::Relaxed);
        head.members_offset.store(spec.members_offset, Ordering::Relaxed);
        head.members_count.store(spec.members_count, Ordering::Relaxed);
        init(offset);
        let (at, count) = (offset + spec.members_offset, spec.members_count as usize);
        // SAFETY: `members_fit` was checked for this length.
        let entries = unsafe { self.registry.backend.words(at, count) };
        MemberTable::new(entries, &head.members_high).join(self.registry.me).unwrap_or(0)
    }

    /// Makes this process a member of `region` and gives its index.
    ///
    /// # Errors
    ///
    /// See [`RegionError`]. After [`RegionError::MembersFull`] sweep the object and try again.
    pub fn join(
        &self,
        region: RegionRef,
        kind: u32,
        type_hash: u64,
    ) -> Result<(Region<'a>, u16), RegionError> {
        let found = self.registry.region(region, kind, type_hash)?;
        // ORDER: Relaxed. Constant since the region was made.
        let ownerless = found.head.flags.load(Ordering::Relaxed) & flags::OWNERLESS != 0;
        let index = match found.members.join(self.registry.me) {
            Some(index) => index,
            None => {
                if ownerless {
                    for (index, member) in found.members.iter() {
                        if self.registry.is_dead(member) {
                            found.members.free_if(index, member);
                        }
                    }
                }
                found.members.join(self.registry.me).ok_or(RegionError::MembersFull)?
            }
        };
        if !ownerless {
            self.tell_of_newcomer();
        }
        Ok((found, index))
    }

    /// Lets everybody who sleeps look again whom it must watch: the caller became a member, and may soon owe something.
    ///
    /// A sleeper watches those whom it found when it fell asleep. If only the newcomer has what it waits for, and is
    /// killed, nobody else might ever look. One that dies before this was told has touched nothing yet.
    fn tell_of_newcomer(&self) {
        let word = &self.registry.tables.head.newcomers;
        // ORDER: Release, with the Acquire of a sleeper that then looks at the members: it sees this one.
        word.fetch_add(1, Ordering::Release);
        self.registry.backend.wake(word, u32::MAX);
    }

    /// Ends this process's membership under `index`, and gives the region back if nobody can reach it any more.
    ///
    /// No word of the object names the index, the caller promises. A region whose reference never travelled goes with its
    /// last living member; for any other the whole family is looked through.
    pub fn leave(&self, region: RegionRef, index: u16) {
        let Ok(found) = self.registry.look_up(region) else { return };
        if !found.members.leave(index, self.registry.me) || self.registry.has_living_member(&found)
        {
            return;
        }
        // ORDER: Acquire, with `mark_travelled` and `mark_carries`.
        let flags = found.head.flags.load(Ordering::Acquire);
        if flags & flags::TRAVELLED == 0 {
            self.free_region(region);
        }
        if flags & (flags::TRAVELLED | flags::CARRIES) != 0 {
            self.collect();
        }
    }

    /// Gives the pages of a LIVE region back; `false` if it is gone already.
    ///
    /// The caller promises that nobody uses it: no member, no reference, or a memberless part of an object whose protocol
    /// says that it is unlinked and nobody looks at it.
    pub fn free_region(&self, region: RegionRef) -> bool {
        let Some(entry) = self.registry.tables.regions.get(usize::from(region.index())) else {
            return false;
        };
        // ORDER: Acquire, F5.
        let live = entry.word.load(Ordering::Acquire);
        if live != RegionBits::new(RegionState::Live, region.generation()) {
            return false;
        }
        // ORDER: Release, F5.
        entry.word.store(live.with(RegionState::Dying), Ordering::Release);
        hit(Point::RegionDying);
        self.finish(region, entry);
        true
    }

    /// Completes every half-done step of a holder that died.
    pub(super) fn repair(&self) {
        for (region, bits, entry) in self.registry.region_entries() {
            if matches!(bits.state(), RegionState::Placing | RegionState::Dying) {
                self.finish(region, entry);
            }
        }
        // ORDER: Relaxed. Under the lock.
        self.registry.tables.head.free_from.store(HEAP_AT, Ordering::Relaxed);
    }

    /// From PLACING or DYING to FREE.
    fn finish(&self, region: RegionRef, entry: &RegionEntry) {
        if let Some((offset, len)) = self.registry.range_of(entry) {
            self.registry.backend.release(offset, len);
            let free_from = &self.registry.tables.head.free_from;
            // ORDER: Relaxed. Under the lock; before the entry is FREE, so that the mark is never too high.
            if offset < free_from.load(Ordering::Relaxed) {
                free_from.store(offset, Ordering::Relaxed);
            }
        }
        hit(Point::RegionReleased);
        // ORDER: Release, F4.
        entry
            .word
            .store(RegionBits::new(RegionState::Free, region.generation()), Ordering::Release);
        hit(Point::RegionFree);
    }

    /// A FREE entry under its next name.
    fn vacancy(&self) -> Option<(RegionRef, &'a RegionEntry)> {
        let regions = self.registry.tables.regions;
        let (index, entry) = regions.iter().enumerate().find(|(_, entry)| {
            // ORDER: Acquire, F4.
            entry.word.load(Ordering::Acquire).state() == RegionState::Free
        })?;
        // ORDER: Release: before PLACING, so that a repair looks at this entry.
        self.registry.tables.head.region_high.fetch_max(index as u32 + 1, Ordering::Release);
        // ORDER: Relaxed. Read with Acquire above; ours by the lock.
        let generation = entry.word.load(Ordering::Relaxed).generation();
        // 0 is no generation: after the last comes 1.
        Some((RegionRef::new(index as u16, generation.checked_add(1).unwrap_or(1)), entry))
    }

    /// The lowest gap of `len` bytes: low, so that page tables and the file's index stay small.
    fn gap(&self, len: u64) -> Option<u64> {
        let arena_len = self.registry.tables.arena_len;
        let free_from = &self.registry.tables.head.free_from;
        // ORDER: Relaxed. Under the lock.
        let first = free_from.load(Ordering::Relaxed).max(HEAP_AT);
        let first = first.checked_next_multiple_of(GRANULE)?;
        let mut candidate = first;
        // Entries are mostly in order of offset, so one pass walks over whole runs of neighbours. If they are not, a few
        // passes find no gap, and the end of everything will do.
        let mut passes = 0;
        loop {
            let (mut moved, mut top) = (false, candidate);
            for (_, bits, entry) in self.registry.region_entries() {
                if bits.state() == RegionState::Free {
                    continue;
                }
                let Some((offset, used)) = self.registry.range_of(entry) else { continue };
                top = top.max(offset + used);
                if offset < candidate.checked_add(len)? && candidate < offset + used {
                    candidate = offset + used;
                    moved = true;
                }
            }
            if candidate.checked_add(len)? > arena_len {
                return None;
            }
            if !moved {
                break;
            }
            passes += 1;
            if passes == MOST_PASSES && top.checked_add(len)? <= arena_len {
                candidate = top;
                break;
            }
        }
        if candidate == first {
            // ORDER: Relaxed. Under the lock.
            free_from.store(candidate + len, Ordering::Relaxed);
        }
        Some(candidate)
    }
}

/// Passes over the region table before a new region goes to the end of everything.
const MOST_PASSES: u32 = 32;

/// Takes a region back whose making did not come to its end, by an error or an unwinding `init`.
struct Unplaced<'l, 'r, 'a, B: Backend + ?Sized> {
    locked: &'l Locked<'r, 'a, B>,
    region: RegionRef,
    entry: &'a RegionEntry,
}

impl<B: Backend + ?Sized> Drop for Unplaced<'_, '_, '_, B> {
    fn drop(&mut self) {
        let dying = RegionBits::new(RegionState::Dying, self.region.generation());
        // ORDER: Release, F5.
        self.entry.word.store(dying, Ordering::Release);
        self.locked.finish(self.region, self.entry);
    }
}

/// Whom a report counts as a member.
impl Region<'_> {
    /// Whether `process` is a member.
    #[must_use]
    pub fn has_member(&self, process: ProcessRef) -> bool {
        self.members.find(process).is_some()
    }
}

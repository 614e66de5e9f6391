//! Where a round's unbounded queue has its parts: the chain's words in the queue's region, each ring in a region of its own.

use super::{QUEUE_AT, kind};
use crate::kill::system::{Family, Object};
use offspring_core::family::{RegionRef, RegionSpec};
use offspring_core::member::MemberTable;
use offspring_core::queue::{
    ChainHead, ChainStorage, Commit, Geometry, MakeError, Mapped, NoMemory, Options, Pin,
    RingControl, RingWord,
};
use offspring_core::wait::EventCount;
use std::ptr::NonNull;

/// Rings at once.
const RINGS: u16 = 60;
/// Few, so that the dead's are missed.
const PINS: u16 = 24;
/// How often a ring may be twice as large as the one before.
const SIZES: u32 = 5;
const PINS_AT: u64 = 512;
const CONTROLS_AT: u64 = PINS_AT + 64 * PINS as u64;
/// Where a ring begins in its region.
const RING_AT: u64 = 4096;

const _: () = assert!(size_of::<ChainHead>() as u64 <= PINS_AT);

/// The rings of one queue.
pub struct Rings {
    family: Family,
    object: Object,
    geometries: Vec<Geometry>,
    most_bytes: u64,
}

impl Rings {
    /// Bytes of the chain's own words.
    pub const LEN: u64 = CONTROLS_AT + 64 * RINGS as u64;

    /// The chain in `object`; `options` are those of its smallest ring.
    pub fn new(family: Family, object: Object, options: Options, most_bytes: u64) -> Self {
        let sized =
            |size: u32| Geometry::new(Options { capacity: options.capacity << size, ..options });
        let geometries = (0..SIZES).map_while(|size| sized(size).ok()).collect();
        Self { family, object, geometries, most_bytes }
    }

    fn at(&self, offset: u64) -> *mut u8 {
        assert!(offset < Self::LEN, "numbers of rings and pins are checked by the protocol");
        self.object.pointer.wrapping_add((QUEUE_AT + offset) as usize)
    }

    fn look(&self, region: RegionRef, geometry: &Geometry) -> Option<Object> {
        let object = self.family.look(region, kind::RING, 0).ok()?;
        (object.len >= RING_AT + geometry.len()).then_some(object)
    }
}

/// Gives a ring memory as its blocks need it.
pub struct RingPages<'s> {
    rings: &'s Rings,
    region: RegionRef,
    geometry: &'s Geometry,
}

impl Commit for RingPages<'_> {
    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory> {
        let none = NoMemory { asked: len, available: 0 };
        let object = self.rings.look(self.region, self.geometry).ok_or(none)?;
        self.rings.family.commit_more(&object, RING_AT + offset, len).map_err(|_| none)
    }
}

// SAFETY: R1: places in a region that is mapped for the process's life; the members are the region's. R2: the region table
// says where, and whether it is a ring of that size. R3: made once from the board's options, which stay for the round.
unsafe impl ChainStorage for Rings {
    type Ring<'s> = Mapped<RingPages<'s>, &'s Geometry>;

    fn head(&self) -> &ChainHead {
        // SAFETY: inside the region, page-aligned; atomics, for which every bit pattern is valid.
        unsafe { &*self.at(0).cast() }
    }

    fn rings(&self) -> u16 {
        RINGS
    }

    fn control(&self, index: u16) -> &RingControl {
        assert!((1..=RINGS).contains(&index), "ring numbers are checked by the protocol");
        // SAFETY: inside the region (checked), 64-aligned; atomics.
        unsafe { &*self.at(CONTROLS_AT + 64 * u64::from(index - 1)).cast() }
    }

    fn pins(&self) -> u16 {
        PINS
    }

    fn pin(&self, seat: u16) -> &Pin {
        assert!(seat < PINS, "seats are checked by the protocol");
        // SAFETY: inside the region (checked), 64-aligned; atomics.
        unsafe { &*self.at(PINS_AT + 64 * u64::from(seat)).cast() }
    }

    fn members(&self) -> MemberTable<'_> {
        self.object.members()
    }

    fn ring(&self, index: u16, word: RingWord) -> Option<Mapped<RingPages<'_>, &Geometry>> {
        let geometry = self.geometries.get(usize::from(word.size()))?;
        let region = RegionRef::from_bits(self.control(index).region());
        let object = self.look(region, geometry)?;
        let base = NonNull::new(object.pointer.wrapping_add(RING_AT as usize))?;
        let members = self.object.members();
        let (entries, high_water) = (members.entries().into(), members.high_water().into());
        let pages = RingPages { rings: self, region, geometry };
        // SAFETY: `look` checked that the region is a ring with room for this geometry; it was made with memory for the first bytes,
        // zeroed, and the arena stays mapped. The members lie in another region.
        Some(unsafe { Mapped::new(base, entries, high_water, geometry, pages) })
    }

    fn bell(&self, index: u16, word: RingWord, block: u32) -> Option<&EventCount> {
        let bell = self.ring(index, word)?.bell(block)?;
        // SAFETY: in the arena, which is mapped for the process's life; atomic.
        Some(unsafe { bell.as_ref() })
    }

    fn sizes(&self) -> u8 {
        self.geometries.len() as u8
    }

    fn geometry(&self, size: u8) -> &Geometry {
        &self.geometries[usize::from(size)]
    }

    fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    fn make(&self, size: u8, link: &mut dyn FnMut(u64)) -> Result<(), MakeError> {
        let geometry = self.geometry(size);
        let committed = RING_AT + geometry.committed_at_first();
        let spec = RegionSpec {
            kind: kind::RING,
            version: 1,
            type_hash: 0,
            len: RING_AT + geometry.len(),
            members_offset: 64,
            members_count: 0,
            flags: 0,
            committed,
        };
        let link = |region: RegionRef| {
            link(region.bits());
            true
        };
        let made = self.family.allocate_part(&spec, |_| {}, link);
        let none = NoMemory { asked: committed, available: 0 };
        made.map(|_| ()).map_err(|_| MakeError::NoMemory(none))
    }

    fn free(&self, region: u64) {
        self.family.free_part(RegionRef::from_bits(region));
    }
}

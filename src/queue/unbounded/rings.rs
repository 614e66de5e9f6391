//! Where an unbounded queue has its parts: the chain's words behind the members, each ring in a region of its own.
//!
//! ```text
//! the queue's region, from QUEUE_AT:  ChainHead 512 | pins 64 x PINS | ring controls 64 x RINGS
//! a ring's region:                    RegionHead 64 | ... page: core's ring
//! ```
#![allow(unsafe_code)] // makes references into the arena

use crate::queue::place::{COMMIT_FAILED, QUEUE_AT};
use crate::sys::{Family, Object, ObjectError, RegionRef, RegionSpec};
use offspring_core::member::MemberTable;
use offspring_core::prim::{AtomicPtr, AtomicU64, Ordering};
use offspring_core::queue::{
    ChainHead, ChainStorage, Commit, Geometry, MakeError, Mapped, NoMemory, Options, Pin,
    RingControl, RingWord,
};
use offspring_core::wait::EventCount;
use std::ptr::NonNull;

/// What kind of object a ring is, in the region table.
const RING_KIND: u32 = 30;
const RING_VERSION: u32 = 1;
/// As in a queue's own region.
const RING_AT: u64 = QUEUE_AT;
/// Rings of one queue at once; each may be twice as large as the one before, so these hold what memory holds.
const RINGS: u16 = 504;
/// Threads that can be inside an operation of one queue at once; one more tries again.
const PINS: u16 = 256;
const PINS_AT: u64 = 512;
const CONTROLS_AT: u64 = PINS_AT + 64 * PINS as u64;
/// The largest ring: slots, and bytes of slots.
const MOST_SLOTS: u32 = 1 << 20;
const MOST_SLOT_BYTES: u64 = 64 << 20;

const _: () = assert!(size_of::<ChainHead>() as u64 <= PINS_AT);

/// What makes a queue unbounded.
#[derive(Clone, Copy, Debug)]
pub(in crate::queue) struct Chained {
    /// Bytes that all rings may take together; 0: as many as there are.
    pub(in crate::queue) most_bytes: u64,
}

/// Where a ring lies in this process, once somebody looked; it is valid while the control names the same region.
#[derive(Default)]
struct Known {
    region: AtomicU64,
    base: AtomicPtr<u8>,
}

/// An unbounded queue's rings.
pub(in crate::queue) struct Rings {
    family: Family,
    object: Object,
    geometries: Vec<Geometry>,
    most_bytes: u64,
    known: Vec<Known>,
}

impl Rings {
    /// Bytes of the chain's own words.
    pub(in crate::queue) const LEN: u64 = CONTROLS_AT + 64 * RINGS as u64;

    /// The chain in `object`, which is `QUEUE_AT + LEN` long; `geometry` is that of its smallest ring.
    pub(in crate::queue) fn new(
        family: Family,
        object: Object,
        geometry: Geometry,
        chained: Chained,
    ) -> Self {
        let options = *geometry.options();
        let larger = (1..).map_while(|size| {
            let capacity = options.capacity.checked_shl(size)?;
            let fits = capacity >> size == options.capacity && capacity <= MOST_SLOTS;
            let geometry = Geometry::new(Options { capacity, ..options }).ok().filter(|_| fits)?;
            (geometry.committed_at_first() <= MOST_SLOT_BYTES).then_some(geometry)
        });
        Self {
            family,
            object,
            geometries: [geometry].into_iter().chain(larger).collect(),
            most_bytes: chained.most_bytes,
            known: (0..RINGS).map(|_| Known::default()).collect(),
        }
    }

    fn at(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset < Self::LEN);
        self.object.pointer.wrapping_add((QUEUE_AT + offset) as usize)
    }

    /// The region of a ring, if it is one of this geometry.
    fn look(&self, region: RegionRef, geometry: &Geometry) -> Option<Object> {
        let object = self.family.look(region, RING_KIND, self.object.type_hash).ok()?;
        (object.version() == RING_VERSION && object.len >= RING_AT + geometry.len())
            .then_some(object)
    }
}

/// Commits pages of a ring's region.
pub(in crate::queue) struct RingPages<'s> {
    rings: &'s Rings,
    region: RegionRef,
    geometry: &'s Geometry,
}

impl Commit for RingPages<'_> {
    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory> {
        let none = NoMemory { asked: len, available: 0 };
        let object = self.rings.look(self.region, self.geometry).ok_or(none)?;
        self.rings.family.commit_more(&object, RING_AT + offset, len).map_err(|error| {
            COMMIT_FAILED.set(Some(error));
            none
        })
    }
}

// SAFETY: R1: places in a region that is mapped for the process's life; the members are the region's. R2: the region table
// says where, and whether it is a ring of that size. R3: made once from the settings, which never change.
unsafe impl ChainStorage for Rings {
    type Ring<'s> = Mapped<RingPages<'s>, &'s Geometry>;

    #[inline(always)]
    fn head(&self) -> &ChainHead {
        // SAFETY: inside the region, page-aligned; atomics, for which every bit pattern is valid.
        unsafe { &*self.at(0).cast() }
    }

    fn rings(&self) -> u16 {
        RINGS
    }

    #[inline(always)]
    fn control(&self, index: u16) -> &RingControl {
        assert!((1..=RINGS).contains(&index), "ring numbers are checked by the protocol");
        // SAFETY: inside the region (checked), 64-aligned; atomics.
        unsafe { &*self.at(CONTROLS_AT + 64 * u64::from(index - 1)).cast() }
    }

    fn pins(&self) -> u16 {
        PINS
    }

    #[inline(always)]
    fn pin(&self, seat: u16) -> &Pin {
        assert!(seat < PINS, "seats are checked by the protocol");
        // SAFETY: inside the region (checked), 64-aligned; atomics.
        unsafe { &*self.at(PINS_AT + 64 * u64::from(seat)).cast() }
    }

    #[inline(always)]
    fn members(&self) -> MemberTable<'_> {
        self.object.members()
    }

    #[inline(always)]
    fn ring(&self, index: u16, word: RingWord) -> Option<Mapped<RingPages<'_>, &Geometry>> {
        let name = self.control(index).region();
        let geometry = self.geometries.get(usize::from(word.size()))?;
        let region = RegionRef::from_bits(name);
        let known = &self.known[usize::from(index) - 1];
        // ORDER: Acquire, with the Release below. Whoever may look at a ring keeps it, so only one name can be current.
        let base = if known.region.load(Ordering::Acquire) == name && name != 0 {
            known.base.load(Ordering::Relaxed)
        } else {
            let object = self.look(region, geometry)?;
            let base = object.pointer.wrapping_add(RING_AT as usize);
            known.base.store(base, Ordering::Relaxed);
            known.region.store(name, Ordering::Release);
            base
        };
        let members = self.object.members();
        let pages = RingPages { rings: self, region, geometry };
        // SAFETY: `look` checked that the region is a ring with room for this geometry; it was made with memory for the first bytes,
        // zeroed, and the arena stays mapped. The members lie in another region.
        Some(unsafe {
            Mapped::new(
                NonNull::new_unchecked(base),
                members.entries().into(),
                members.high_water().into(),
                geometry,
                pages,
            )
        })
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
            kind: RING_KIND,
            version: RING_VERSION,
            type_hash: self.object.type_hash,
            len: RING_AT + geometry.len(),
            members_offset: 64,
            members_count: 0,
            flags: 0,
            committed,
        };
        let made = self.family.allocate_part(
            &spec,
            |_| {},
            |region| {
                link(region.bits());
                true
            },
        );
        made.map(|_| ()).map_err(|error| {
            if let ObjectError::NoMemory(error) = error {
                COMMIT_FAILED.set(Some(error));
            }
            MakeError::NoMemory(NoMemory { asked: committed, available: 0 })
        })
    }

    fn free(&self, region: u64) {
        self.family.free_part(RegionRef::from_bits(region));
    }
}

//! Where a ring's region has its parts, and how a process gets at them.
//!
//! ```text
//! RegionHead 64 | settings 64 | member table 8 x MEMBERS | ... page: core's ring
//! ```
#![allow(unsafe_code)] // the one place that makes references into the arena for these rings

use crate::error::{Error, Kind, Result, Subject};
use crate::family::family;
use crate::queue::object_error;
use crate::sys::{Family, Object, ObjectError, RegionRef, RegionSpec};
use offspring_core::family::RegionError;
use offspring_core::prim::{AtomicU64, Ordering};
use offspring_core::process::Liveness;
use offspring_core::queue::spsc::{MappedBytes, Spsc};
use offspring_core::wait::Adaptive;
use std::ptr::NonNull;

/// What kind of object such a ring is, in the region table.
const KIND: u32 = 40;
const VERSION: u32 = 1;
/// Processes that can have a handle at once: two have roles, others may be on their way out.
const MEMBERS: u32 = 64;
const SETTINGS_AT: u64 = 64;
const MEMBERS_AT: u64 = 128;
/// A page on every platform so far (16 KiB on some arm64 kernels).
const RING_AT: u64 = 16 << 10;

/// The size in bytes as the ring's maker wrote it, for those who attach.
#[repr(C)]
struct Settings {
    size: AtomicU64,
}

pub(super) type Ring<'a> = Spsc<'a, MappedBytes, Family>;

/// One handle's view of a ring. Holds one of this process's handles on the object.
pub(super) struct Attached {
    ring: MappedBytes,
    pub(super) family: Family,
    pub(super) region: RegionRef,
    pub(super) spin: Adaptive,
    pub(super) spin_full: Adaptive,
}

impl Attached {
    /// A new ring of `size` bytes, a power of two.
    pub(super) fn create(size: u64, type_hash: u64) -> Result<Self> {
        let Some(len) = MappedBytes::len(size) else {
            let text = format!("make a ring of {size} bytes: 64 to 2^40 are possible");
            return Err(Error::new(Kind::Options, Subject::None, text));
        };
        let spec = RegionSpec {
            kind: KIND,
            version: VERSION,
            type_hash,
            len: RING_AT + len,
            members_offset: MEMBERS_AT,
            members_count: MEMBERS,
            flags: 0,
            committed: RING_AT + len,
        };
        let family = *family()?;
        let object = family
            .allocate(&spec, |base| {
                // SAFETY: `base` begins a new region of `spec.len` bytes, zeroed and mapped; the settings are atomics inside.
                let settings = unsafe { &*base.add(SETTINGS_AT as usize).cast::<Settings>() };
                // ORDER: Relaxed. The region is published by its entry's word after this.
                settings.size.store(size, Ordering::Relaxed);
            })
            .map_err(|error| object_error(error, "make a ring", Subject::None))?;
        Ok(Self::over(family, &object, size))
    }

    /// Another handle on the ring in `region`.
    pub(super) fn join(region: RegionRef, type_hash: u64) -> Result<Self> {
        let family = *family()?;
        let subject = Subject::Queue(region.bits());
        let object = match family.join_object(region, KIND, type_hash) {
            Err(ObjectError::Region(RegionError::MembersFull)) => {
                Self::forget_the_dead(family, region, type_hash);
                family.join_object(region, KIND, type_hash)
            }
            other => other,
        };
        let object = object.map_err(|error| object_error(error, "use the ring", subject))?;
        match Self::check(&object) {
            Some(size) => Ok(Self::over(family, &object, size)),
            None => {
                family.leave_object(region);
                Err(Error::plain(Kind::Corrupt, subject))
            }
        }
    }

    /// Frees the indices of dead members: no word of a ring names one.
    fn forget_the_dead(family: Family, region: RegionRef, type_hash: u64) {
        let Ok(object) = family.look(region, KIND, type_hash) else { return };
        let members = object.members();
        for (index, process) in members.iter() {
            if family.is_dead(process) {
                members.free_if(index, process);
            }
        }
    }

    /// The size of a region that says it is a ring; `None` if it does not fit.
    fn check(object: &Object) -> Option<u64> {
        if object.version() != VERSION || object.len < RING_AT {
            return None;
        }
        // SAFETY: the object is mapped for good and longer than the settings; atomics.
        let settings = unsafe { &*object.pointer.add(SETTINGS_AT as usize).cast::<Settings>() };
        // ORDER: Relaxed. Constant since the region was published; checked here.
        let size = settings.size.load(Ordering::Relaxed);
        (RING_AT + MappedBytes::len(size)? <= object.len).then_some(size)
    }

    fn over(family: Family, object: &Object, size: u64) -> Self {
        // SAFETY: the region is mapped as long as the process lives, and as long as `RING_AT` and `MappedBytes::len(size)`, made
        // so or checked in `check`; all of it was committed and zero; only core's protocol writes behind RING_AT.
        let ring = unsafe {
            let base = NonNull::new_unchecked(object.pointer.add(RING_AT as usize));
            MappedBytes::new(base, size)
        };
        Self {
            ring,
            family,
            region: object.region,
            spin: Adaptive::new(),
            spin_full: Adaptive::patient(),
        }
    }

    #[inline(always)]
    pub(super) fn ring(&self) -> Ring<'_> {
        Spsc::new(&self.ring, &self.family)
    }

    pub(super) fn subject(&self) -> Subject {
        Subject::Queue(self.region.bits())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.family.leave_object(self.region);
    }
}

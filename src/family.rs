//! The family that this process is in: one for its whole life, made by the first need or joined by a child's start.

use crate::error::{Error, Kind, Result, Subject};
use crate::sys::{self, Family, FamilyError, OwnedFile};
use offspring_core::process::ProcessRef;
use std::sync::{Mutex, OnceLock, PoisonError};

static FAMILY: OnceLock<Family> = OnceLock::new();

/// The family; the first call in a process that nobody started founds one.
///
/// Errors: `NoMemory`, `Os`. Nothing is kept of a failure: the next call tries again.
#[inline]
pub(crate) fn family() -> Result<&'static Family> {
    match FAMILY.get() {
        Some(family) => Ok(family),
        None => found(),
    }
}

#[cold]
fn found() -> Result<&'static Family> {
    static FOUNDING: Mutex<()> = Mutex::new(());
    let _one = FOUNDING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(family) = FAMILY.get() {
        return Ok(family);
    }
    register_kinds();
    let family = Family::create(&sys::Options::default())
        .map_err(|error| refused("found a family of processes", error))?;
    Ok(FAMILY.get_or_init(|| family))
}

/// Takes part in the family whose arena a child was handed by `parent`.
pub(crate) fn join(arena: OwnedFile, parent: ProcessRef) -> Result<&'static Family> {
    register_kinds();
    let family = Family::join(arena, parent)
        .map_err(|error| refused("join the family of the parent process", error))?;
    Ok(FAMILY.get_or_init(|| family))
}

/// What the family has in use, once the dead are seen to: for tests.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InUse {
    /// Regions that exist.
    pub regions: usize,
    /// Slots of processes that are not free.
    pub processes: usize,
    /// Lanes of threads that are not free.
    pub lanes: usize,
}

/// See [`InUse`].
#[doc(hidden)]
pub fn in_use() -> Result<InUse> {
    let family = family()?;
    // Nobody is told of a grandchild's death; one who has nothing shared has no survivor that would ask.
    family.patrol();
    family.collect();
    let (processes, lanes) = family.slots_and_lanes_in_use();
    Ok(InUse { regions: family.regions_in_use(), processes, lanes })
}

/// The calling thread's place in the family, by which [`is_asleep`] knows it: for tests.
#[doc(hidden)]
#[must_use]
pub fn place() -> Option<u32> {
    let family = family().ok()?;
    family.enter().ok()?;
    family.lane().and_then(|lane| u32::try_from(lane).ok())
}

/// Whether the thread at a place sleeps in the library, and nobody has woken it; `None` where only the system knows: for tests.
#[doc(hidden)]
#[must_use]
pub fn is_asleep(place: u32) -> Option<bool> {
    family().ok()?.is_asleep(place as usize)
}

/// Says how to find the references in each kind of object, before there is any.
fn register_kinds() {
    crate::process::register_kinds();
    sys::set_trace(crate::queue::KIND, crate::queue::trace);
}

fn refused(text: &str, error: FamilyError) -> Error {
    let kind = match &error {
        FamilyError::Os(os) if os.is_out_of_memory() => Kind::NoMemory,
        _ => Kind::Os,
    };
    Error::caused(kind, Subject::None, text, error)
}

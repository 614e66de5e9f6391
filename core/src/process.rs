//! Who takes part: the name of a process in shared words, and whether it still lives.
//!
//! The unit of death is the process. A word that is half-way through something, or that holds something,
//! names a *member* of its object; the object's member table turns that index into a [`ProcessRef`], and
//! a [`Liveness`] says whether that process is gone for good.

/// One incarnation of one process in the family's registry: slot and generation, never re-used.
///
/// Zero is nobody. Bits 0..16 hold the registry's slot, bits 16..48 the generation of that slot, which is
/// never zero for somebody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ProcessRef(u64);

impl ProcessRef {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// The process in `slot`, in that slot's generation `generation`.
    #[must_use]
    pub const fn new(slot: u16, generation: u32) -> Self {
        Self(slot as u64 | (generation as u64) << 16)
    }

    /// What a shared word holds.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & 0xffff_ffff_ffff)
    }

    /// What a shared word holds.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The registry's slot.
    #[must_use]
    pub const fn slot(self) -> u16 {
        self.0 as u16
    }

    /// The slot's generation.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// Whether this is nobody.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Whether a process is dead: gone for good, with no instruction of it and no copy by the kernel on its
/// behalf still to come.
///
/// # Safety
///
/// Implementors promise: L1 once `is_dead(p)` returned true, nothing that `p` did can happen after, and all
/// that it did happens before the return; L2 it stays true for that `p`; L3 it is true at some time after
/// `p` died (a stopped process is not dead).
pub unsafe trait Liveness {
    /// Whether `process` is gone. Nobody is dead.
    fn is_dead(&self, process: ProcessRef) -> bool;

    /// How many deaths were noticed so far; an object that was swept at this count has nothing to repair.
    fn death_epoch(&self) -> u32;
}

/// For objects inside one process: participants are threads, and none is killed alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverDies;

// SAFETY: L1, L2: never true. L3: the participants die only together with whoever would ask.
unsafe impl Liveness for NeverDies {
    #[inline(always)]
    fn is_dead(&self, _: ProcessRef) -> bool {
        false
    }

    #[inline(always)]
    fn death_epoch(&self) -> u32 {
        0
    }
}

// SAFETY: forwards to an implementor.
unsafe impl<L: Liveness + ?Sized> Liveness for &L {
    #[inline(always)]
    fn is_dead(&self, process: ProcessRef) -> bool {
        (**self).is_dead(process)
    }

    #[inline(always)]
    fn death_epoch(&self) -> u32 {
        (**self).death_epoch()
    }
}

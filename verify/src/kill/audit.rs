//! What a round leaves behind: nothing. The figures of a family, of the arena's file and of this process, before and after.

use super::system::{self, Family};

/// What is in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audit {
    /// Processes of the family that live.
    pub processes: usize,
    /// Process slots and lanes that are not free.
    pub slots_and_lanes: (usize, usize),
    /// Regions.
    pub regions: usize,
    /// Bytes of the arena behind its tables that have pages.
    pub heap_bytes: u64,
    /// This process's descriptors.
    pub descriptors: usize,
    /// This process's children, zombies among them.
    pub children: usize,
    /// Names in /dev/shm.
    pub names: usize,
}

impl Audit {
    /// The figures now.
    pub fn take(family: &Family) -> Self {
        Self {
            processes: family.processes_alive(),
            slots_and_lanes: family.slots_and_lanes_in_use(),
            regions: family.regions_in_use(),
            heap_bytes: system::heap_bytes(family),
            descriptors: system::open_files(),
            children: system::children(),
            names: system::names(),
        }
    }

    /// What differs from `base`.
    pub fn leftovers(&self, base: &Self) -> Option<String> {
        (self != base).then(|| format!("left over: {self:?}\n    at first:  {base:?}"))
    }
}

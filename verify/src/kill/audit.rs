//! What a round leaves behind: nothing. The figures of a family, of the arena's file and of this process, before and after.

use offspring_core::family::layout::HEAP_AT;
use offspring_os_unix::family::Family;
use std::fs;
use std::os::fd::AsRawFd;

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
        let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
        Self {
            processes: family.processes_alive(),
            slots_and_lanes: family.slots_and_lanes_in_use(),
            regions: family.regions_in_use(),
            heap_bytes: heap_bytes(family),
            descriptors: entries("/proc/self/fd"),
            children: children(),
            names: entries("/dev/shm"),
        }
    }

    /// What differs from `base`.
    pub fn leftovers(&self, base: &Self) -> Option<String> {
        (self != base).then(|| format!("left over: {self:?}\n    at first:  {base:?}"))
    }
}

/// Bytes of the arena's heap that have pages, hole by hole: pages are given back, so they are not data.
fn heap_bytes(family: &Family) -> u64 {
    let fd = family.arena_fd().as_raw_fd();
    let (mut at, mut sum) = (HEAP_AT as libc::off_t, 0);
    loop {
        // SAFETY: takes integers; nothing reads or writes this descriptor at its position.
        let (data, hole) = unsafe {
            let data = libc::lseek(fd, at, libc::SEEK_DATA);
            if data < 0 {
                return sum; // no data behind `at`
            }
            (data, libc::lseek(fd, data, libc::SEEK_HOLE))
        };
        if hole <= data {
            return sum;
        }
        sum += (hole - data) as u64;
        at = hole;
    }
}

fn children() -> usize {
    let list = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    list.split_whitespace().count()
}

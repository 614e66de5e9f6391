//! Which cores the participants stand on.

use crate::Result;
use std::io;

/// The two cores that a measurement uses, of those that this process may use.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// Where the producer, the pinger, or whoever is alone stands.
    pub first: usize,
    /// Where the consumer or the ponger stands.
    pub second: usize,
}

impl Cores {
    /// The first two cores that this process may run on.
    pub fn find() -> Result<Self> {
        // SAFETY: a `cpu_set_t` is an array of integers: all zeroes is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is ours and of the size given; 0 names the calling thread.
        if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
            return Err(
                format!("ask which cores may be used: {}", io::Error::last_os_error()).into()
            );
        }
        // SAFETY: every index is below `CPU_SETSIZE`, the number of bits in the set.
        let mut allowed =
            (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) });
        match (allowed.next(), allowed.next()) {
            (Some(first), Some(second)) => Ok(Self { first, second }),
            _ => Err("two cores are needed: producer and consumer stand on different ones; \
                      give this process a second one (taskset, cpuset)"
                .into()),
        }
    }

    /// Where producer and consumer number `pair` stand: every second pair the other way round.
    pub fn crossed(self, pair: u64) -> (usize, usize) {
        if pair.is_multiple_of(2) { (self.first, self.second) } else { (self.second, self.first) }
    }
}

/// Keeps the calling thread on `core` from now on.
pub fn pin(core: usize) -> Result<()> {
    // SAFETY: as in `Cores::find`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `CPU_SET` is bounds-checked by its array index.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the set is ours and of the size given; 0 names the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } != 0 {
        return Err(
            format!("keep this thread on core {core}: {}", io::Error::last_os_error()).into()
        );
    }
    Ok(())
}

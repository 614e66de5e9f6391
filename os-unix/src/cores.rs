//! On how many processors the calling thread may run.

use std::cell::Cell;

thread_local! {
    /// The last answer, and for how many more questions it holds.
    static KNOWN: Cell<(bool, u8)> = const { Cell::new((false, 0)) };
}

/// Whether the calling thread may run on one processor only, so that nothing it waits for can happen while it spins (unless it
/// was pinned there and the others elsewhere). Asked of the system once in 64 calls: the answer changes rarely.
#[must_use]
pub fn is_alone() -> bool {
    KNOWN
        .try_with(|known| {
            let (alone, left) = known.get();
            if left > 0 {
                known.set((alone, left - 1));
                return alone;
            }
            let alone = processors() == Some(1);
            known.set((alone, 63));
            alone
        })
        // A thread at its end does not wait long.
        .unwrap_or(false)
}

/// How many processors the calling thread may run on; `None` if the system does not tell.
#[cfg(target_os = "linux")]
fn processors() -> Option<i32> {
    // SAFETY: a set of bits, for which zeros are a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the given size, which is the set's; 0 is the calling thread.
    let got = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    // SAFETY: reads the set.
    (got == 0).then(|| unsafe { libc::CPU_COUNT(&set) })
}

#[cfg(not(target_os = "linux"))]
fn processors() -> Option<i32> {
    std::thread::available_parallelism().ok().and_then(|n| i32::try_from(n.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn thread_pinned_to_one_processor_is_alone() {
        std::thread::spawn(|| {
            // SAFETY: as in `processors`; `CPU_SET` stays inside the set.
            let pinned = unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(libc::sched_getcpu() as usize, &mut set);
                libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
            };
            assert_eq!(pinned, 0);
            assert!(is_alone());
        })
        .join()
        .unwrap();
    }
}

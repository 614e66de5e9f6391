//! A barrier that costs the publisher nothing and the sleeper a system call (`membarrier`), or plain fences.
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | B1 | store, `light()`, load | store, `heavy()`, load | at least one of the loads sees the other side's store |
//!
//! Asymmetric: `heavy` interrupts every processor that runs a registered process, and each of them executes
//! a full fence at some instruction; `light` only keeps the compiler from moving the two accesses past each
//! other. Fences: both are a full fence. All participants must use the same mode, so a family's root decides.

use crate::error::{OsError, Result};
use offspring_core::prim::{Ordering, compiler_fence, fence};

const QUERY: libc::c_int = 0;
const GLOBAL_EXPEDITED: libc::c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: libc::c_int = 1 << 2;

fn membarrier(command: libc::c_int) -> std::result::Result<libc::c_int, i32> {
    // SAFETY: `membarrier` takes two integers (and a processor number that no command here uses) and touches
    // no memory of ours.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    if done < 0 { Err(crate::error::errno()) } else { Ok(done as libc::c_int) }
}

/// Whether this system offers the asymmetric barrier to this process.
#[must_use]
pub fn available() -> bool {
    let needed = GLOBAL_EXPEDITED | REGISTER_GLOBAL_EXPEDITED;
    membarrier(QUERY).is_ok_and(|offered| offered & needed == needed)
}

/// Makes this process one that `heavy` of any other process reaches. Inherited by fork, cleared by exec.
///
/// # Errors
///
/// The kernel has no `membarrier` (before 4.16), or a seccomp filter refuses it.
pub fn register() -> Result<()> {
    match membarrier(REGISTER_GLOBAL_EXPEDITED) {
        Ok(_) => Ok(()),
        Err(code) => Err(OsError::new("register for", "the expedited memory barrier", code)
            .with_advice("allow the system call membarrier, or let the family use fences")),
    }
}

/// The two sides of the barrier, in the mode that the whole family uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Barrier {
    asymmetric: bool,
}

impl Barrier {
    /// Both sides are full fences.
    #[must_use]
    pub const fn fences() -> Self {
        Self { asymmetric: false }
    }

    /// The light side is free; registers this process.
    ///
    /// # Errors
    ///
    /// As [`register`]. A process that cannot register must not take part in a family of this mode.
    pub fn asymmetric() -> Result<Self> {
        register()?;
        Ok(Self { asymmetric: true })
    }

    /// Whether the light side is free.
    #[must_use]
    pub const fn is_asymmetric(self) -> bool {
        self.asymmetric
    }

    /// The publisher's side.
    #[inline(always)]
    pub fn light(self) {
        if self.asymmetric {
            // ORDER: B1 with `heavy`, whose interrupt supplies the fence on this processor.
            compiler_fence(Ordering::SeqCst);
        } else {
            // ORDER: SeqCst, B1 with the fence in `heavy`.
            fence(Ordering::SeqCst);
        }
    }

    /// The sleeper's side. Where asymmetric, 0.3 µs while no other processor runs a registered process, and 2 to 4 µs else.
    ///
    /// A program that takes `membarrier` away from itself by a seccomp filter after it registered cannot
    /// keep the promise any more; it is ended with a message rather than lose wake-ups in silence.
    pub fn heavy(self) {
        // ORDER: SeqCst, B1 with `light`.
        fence(Ordering::SeqCst);
        if self.asymmetric
            && let Err(code) = membarrier(GLOBAL_EXPEDITED)
        {
            eprintln!(
                "offspring: {}",
                OsError::new("run", "the expedited memory barrier", code)
                    .with_advice("a filter installed after the start must allow membarrier")
            );
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offspring_core::prim::AtomicU32;

    /// Store, barrier, load on two threads: both loads must never miss the other's store.
    fn never_both_miss(barrier: Barrier) {
        const ROUNDS: u32 = 20_000;
        let (x, y) = (AtomicU32::new(0), AtomicU32::new(0));
        let saw = [AtomicU32::new(0), AtomicU32::new(0)];
        let gate = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let (x, y, saw, gate) = (&x, &y, &saw, &gate);
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    gate.wait();
                    x.store(round, Ordering::Relaxed);
                    barrier.light();
                    saw[0].store(y.load(Ordering::Relaxed), Ordering::Relaxed);
                    gate.wait();
                }
            });
            for round in 1..=ROUNDS {
                gate.wait();
                y.store(round, Ordering::Relaxed);
                barrier.heavy();
                saw[1].store(x.load(Ordering::Relaxed), Ordering::Relaxed);
                gate.wait();
                let saw = [saw[0].load(Ordering::Relaxed), saw[1].load(Ordering::Relaxed)];
                assert!(saw.contains(&round), "round {round}: saw {saw:?}");
            }
        });
    }

    #[test]
    fn fences_let_one_side_see_the_other() {
        never_both_miss(Barrier::fences());
    }

    #[test]
    fn asymmetric_barrier_lets_one_side_see_the_other() {
        if available() {
            never_both_miss(Barrier::asymmetric().unwrap());
        }
    }
}

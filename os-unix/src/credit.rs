//! Small commits without a look at the system's memory, for a moment after a look that found plenty.
//!
//! A look reads a dozen files, which costs more than the page that it is for. So a look that finds [`ample`] room gives
//! this process [`CREDIT`] bytes to be used within [`MOMENT`].
//!
//! Why that is no promise of memory that is not there by then:
//!
//! - Pages must be made zero before anybody has them, [`FASTEST`] at most on each processor. So in one moment all processors
//!   together cannot use up what `ample` wants besides the credit of all [`FAMILY`] processes that a family can have.
//! - Each look counts what credit was used before it, so that credits do not add up over time.
//! - Whoever commits after a look leaves a reserve of 4 MiB, which is the whole credit of sixteen processes.
//!
//! What may happen all the same is what may happen between a look and its commit: that a control group's limit is lowered, or
//! the process moved to another group, or huge pages are set aside, by the machine's administrator, in that very moment. Several
//! families that all found plenty have their credit each. And a process that is stopped between the two commits late.

use crate::futex;
use offspring_core::prim::{AtomicU64, Ordering};
use std::sync::OnceLock;

/// Bytes in one moment: those of some ten starts of processes.
const CREDIT: u64 = 256 << 10;
/// The most for one commit.
const MOST: u64 = CREDIT / 2;
/// Nanoseconds.
const MOMENT: u64 = 100_000_000;
/// Processes of a family that there can be.
const FAMILY: u64 = 4096;
/// Bytes that one processor makes zero in one moment: 20 GiB a second, about twice what processors do.
const FASTEST: u64 = 2 << 30;

/// Room from which on there is credit.
fn ample() -> u64 {
    static AMPLE: OnceLock<u64> = OnceLock::new();
    *AMPLE.get_or_init(|| {
        // Not those that this process may use: others use the others.
        // SAFETY: takes an integer.
        let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
        ample_on(u64::try_from(processors).unwrap_or(u64::MAX).max(1))
    })
}

fn ample_on(processors: u64) -> u64 {
    (FAMILY * CREDIT).saturating_add(processors.saturating_mul(FASTEST))
}

/// Of one process. A fork begins with what is left of its parent's.
///
/// One word, so that a thread that was kept from telling what it found cannot put an old credit beside a new time:
/// `when it is over, in 2^20 nanoseconds 44 | bytes left 20`.
pub(crate) struct Credit(AtomicU64);

const LEFT_BITS: u32 = 20;
const LEFT: u64 = (1 << LEFT_BITS) - 1;
const TICK_BITS: u32 = 20;

const _: () = assert!(CREDIT <= LEFT);

impl Credit {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A look that began at `begun` found so much room.
    pub(crate) fn found(&self, room: u64, begun: u64) {
        let left = if room >= ample() { CREDIT } else { 0 };
        let until = begun.saturating_add(MOMENT) >> TICK_BITS;
        // A look that began later knows better.
        self.change(|old| (old >> LEFT_BITS <= until).then_some(until << LEFT_BITS | left));
    }

    /// Whether `len` bytes may be committed without a look at the time `now`.
    pub(crate) fn draw(&self, len: u64, now: u64) -> bool {
        self.change(|old| {
            let holds = now >> TICK_BITS < old >> LEFT_BITS && len <= MOST && len <= old & LEFT;
            holds.then(|| old - len)
        })
    }

    /// Whether there was something to change.
    fn change(&self, new: impl Fn(u64) -> Option<u64>) -> bool {
        // ORDER: Relaxed throughout: a number of its own, through which nothing is read.
        let order = Ordering::Relaxed;
        let mut old = self.0.load(order);
        while let Some(new) = new(old) {
            match self.0.compare_exchange(old, new, order, order) {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }
}

/// The time by which credit is counted.
pub(crate) fn now() -> u64 {
    futex::now().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_given_by_plenty_and_used_up() {
        let (credit, now) = (Credit::new(), 7);
        assert!(!credit.draw(1, now), "nobody looked");
        credit.found(ample() - 1, now);
        assert!(!credit.draw(1, now), "not plenty");
        credit.found(ample(), now);
        assert!(!credit.draw(MOST + 1, now), "too much at once");
        assert!((0..2).all(|_| credit.draw(MOST, now)));
        assert!(!credit.draw(1, now), "used up");
        credit.found(ample(), now);
        assert!(credit.draw(1, now));
        credit.found(0, now);
        assert!(!credit.draw(1, now), "a later look takes it back");
    }

    #[test]
    fn look_that_is_told_late_changes_nothing() {
        let (credit, later) = (Credit::new(), 2 * MOMENT);
        credit.found(0, later);
        credit.found(ample(), 0);
        assert!(!credit.draw(1, later));
    }

    #[test]
    fn credit_is_over_a_moment_after_its_look_began() {
        let credit = Credit::new();
        credit.found(ample(), 1000);
        assert!(credit.draw(1, 1000 + MOMENT - (2 << TICK_BITS)));
        assert!(!credit.draw(1, 1000 + MOMENT));
    }

    #[test]
    fn plenty_is_more_than_all_processors_use_up_in_a_moment() {
        for processors in [1, 2, 64, 1024] {
            assert_eq!(ample_on(processors) - processors * FASTEST, FAMILY * CREDIT);
        }
        assert_eq!(ample_on(u64::MAX), u64::MAX);
    }
}

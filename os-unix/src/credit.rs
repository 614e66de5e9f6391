//! Small commits without a look at the system's memory, for a moment after a look that found plenty.
//!
//! A look reads a dozen files, which costs more than the page that it is for. So a look that finds [`AMPLE`] room gives
//! this process [`CREDIT`] bytes to be used within [`MOMENT`]: if all 4096 processes of a family did so at once, it would still fit.
//! What others use up in that moment is what they could as well use between a look and its commit; the reserve that every
//! commit leaves is there for it.

use crate::futex;
use offspring_core::prim::{AtomicU64, Ordering};

/// Bytes in one moment.
pub(crate) const CREDIT: u64 = 1 << 20;
/// Room from which on there is credit: 4096 times as much.
pub(crate) const AMPLE: u64 = 4096 * CREDIT + (1 << 30);
/// The most for one commit.
const MOST: u64 = CREDIT / 8;
/// Nanoseconds.
const MOMENT: u64 = 1_000_000_000;

/// Of one process.
pub(crate) struct Credit {
    left: AtomicU64,
    /// When it is over.
    until: AtomicU64,
}

impl Credit {
    pub(crate) const fn new() -> Self {
        Self { left: AtomicU64::new(0), until: AtomicU64::new(0) }
    }

    /// A look found so much room.
    pub(crate) fn found(&self, room: u64) {
        let left = if room >= AMPLE { CREDIT } else { 0 };
        // ORDER: Relaxed throughout this file: numbers of their own, through which nothing is read. Two threads that look at
        // once give the credit twice at worst.
        self.until.store(futex::now().0.saturating_add(MOMENT), Ordering::Relaxed);
        self.left.store(left, Ordering::Relaxed);
    }

    /// Whether `len` bytes may be committed without a look.
    pub(crate) fn draw(&self, len: u64) -> bool {
        if len > MOST || futex::now().0 >= self.until.load(Ordering::Relaxed) {
            return false;
        }
        let mut left = self.left.load(Ordering::Relaxed);
        while left >= len {
            let order = Ordering::Relaxed;
            match self.left.compare_exchange(left, left - len, order, order) {
                Ok(_) => return true,
                Err(now) => left = now,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_given_by_plenty_and_used_up() {
        let credit = Credit::new();
        assert!(!credit.draw(1), "nobody looked");
        credit.found(AMPLE - 1);
        assert!(!credit.draw(1), "not plenty");
        credit.found(AMPLE);
        assert!(!credit.draw(MOST + 1), "too much at once");
        assert!((0..8).all(|_| credit.draw(MOST)));
        assert!(!credit.draw(1), "used up");
        credit.found(AMPLE);
        assert!(credit.draw(1));
        credit.found(0);
        assert!(!credit.draw(1), "a later look takes it back");
    }
}

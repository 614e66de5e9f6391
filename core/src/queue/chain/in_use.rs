//! What is not free in a chain, for tests.

use super::{Chain, ChainStorage};
use crate::queue::InUse;
use crate::wait::Family;

impl<S: ChainStorage, F: Family> Chain<'_, S, F> {
    /// Counts what is not free in all rings, as [`Queue::in_use`](crate::queue::Queue::in_use): exact while nobody acts.
    pub fn in_use(&self) -> InUse {
        let mut all = InUse::default();
        self.each_ring(|_, queue| {
            let one = queue.in_use();
            all.slots += one.slots;
            all.blocks += one.blocks;
            true
        });
        all
    }
}

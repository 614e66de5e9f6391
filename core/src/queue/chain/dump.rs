//! A chain as text, for whoever looks for a mistake.

use super::storage::{self, ChainStorage};
use super::word::Link;
use super::{Chain, Place, RingState};
use crate::prim::Ordering;
use crate::wait::Family;
use core::fmt;

/// Shows head, tail, every ring that is there with its queue, and the pins in use; see [`Chain::dump`].
pub struct Dump<'q, 'a, S, F>(&'q Chain<'a, S, F>);

impl<'a, S: ChainStorage, F: Family> Chain<'a, S, F> {
    /// All words, by `Debug`: each read by itself, so that they need not fit together while others act. Rings are read without a
    /// pin: for when nobody frees them.
    pub fn dump(&self) -> Dump<'_, 'a, S, F> {
        Dump(self)
    }
}

impl<S: ChainStorage, F: Family> fmt::Debug for Dump<'_, '_, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (chain, storage) = (self.0, self.0.storage);
        let head = storage.head();
        // ORDER: Relaxed, all of these: each is a figure of its own.
        let link = |word: &crate::prim::AtomicU64| Link(word.load(Ordering::Relaxed));
        let mut map = f.debug_map();
        map.entry(&"closed", &head.calm.closed.load(Ordering::Relaxed));
        map.entry(&"given back", &head.calm.pend.load(Ordering::Relaxed));
        map.entry(&"scanned", &head.calm.scanned.load(Ordering::Relaxed));
        map.entry(&"swept", &head.calm.swept.load(Ordering::Relaxed));
        map.entry(&"head", &link(&head.head.0)).entry(&"tail", &link(&head.tail.0));
        for index in 1..=storage::high(storage) {
            let control = storage.control(index);
            let word = control.word();
            if word.state() == RingState::Free {
                continue;
            }
            let about = (word, link(&control.next), link(&control.before), control.region());
            map.entry(&index, &about);
            if let Some(ring) = chain.part(Place { index, word }) {
                map.entry(&"its queue", &super::Queue::new(&ring, chain.family, chain.me).dump());
            }
        }
        for seat in 0..storage.pins() {
            let word = storage.pin(seat).word.load(Ordering::Relaxed);
            if word as u32 != 0 {
                map.entry(&("pin", seat), &format_args!("{word:#x}"));
            }
        }
        map.finish()
    }
}

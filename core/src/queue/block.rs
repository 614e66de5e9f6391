//! Blocks: taking one, giving one back.
//!
//! | # | from → to | by | how |
//! |---|---|---|---|
//! | B1 | FREE g → OWNED(me) g | anyone | CAS |
//! | B2 | OWNED(me), LEASED(me) without ticket → FREE g+1 | the owner | store |
//!
//! The heads are the truth; the free hint only says where to look first.

use super::error::NoMemory;
use super::word::BlockState;
use super::{PutError, Queue, Storage};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::wait::Family;

/// Blocks that are used in turn, not the last freed one first.
const LARGE: u64 = 1 << 18;

/// What a block is taken for.
///
/// The first block of the class that inline items are leased into is kept for leases: else large messages behind a small one
/// could take every block, and the small one, first in the queue, could never be leased.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Put,
    Lease,
}

/// Why no block was taken.
pub(super) enum NoBlock {
    NoRoom,
    NoMemory(NoMemory),
}

impl From<NoBlock> for PutError {
    fn from(why: NoBlock) -> Self {
        match why {
            NoBlock::NoRoom => Self::NoRoom,
            NoBlock::NoMemory(why) => Self::NoMemory(why),
        }
    }
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// Takes a free block of `class`, or of the next larger one if it has none left.
    pub(super) fn take_block(&self, class: usize, wanted: Use) -> Result<u32, NoBlock> {
        let classes = self.storage.geometry().classes();
        match self.take_of_class(class, wanted) {
            Err(NoBlock::NoRoom) if class + 1 < classes.len() => {
                self.take_of_class(class + 1, wanted)
            }
            other => other,
        }
    }

    fn take_of_class(&self, class: usize, wanted: Use) -> Result<u32, NoBlock> {
        let calm = &self.storage.head().calm;
        let geometry = self.storage.geometry();
        let c = &geometry.classes()[class];
        let each = geometry.each();
        let kept = wanted == Use::Put
            && geometry.inline() > 0
            && Some(class) == geometry.class_for(geometry.inline());
        let first = u32::from(kept);
        loop {
            // ORDER: Acquire, with the `fetch_max` below: what was committed has memory.
            let ready = calm.committed[class].load(Ordering::Acquire).min(c.count);
            // ORDER: Relaxed. A hint, checked.
            let from = calm.free_hint[class].load(Ordering::Relaxed);
            let from = if (first..ready).contains(&from) { from } else { first };
            for i in (from..ready).chain(first..from.min(ready)) {
                let block = c.first + i * each;
                let w = self.block_word(block);
                if w.state() == BlockState::Free
                    && self.swap_block(block, w, w.to(BlockState::Owned, u32::from(self.me)))
                {
                    // ORDER: Relaxed. A hint.
                    calm.free_hint[class].store(i + 1, Ordering::Relaxed);
                    hit(Point::BlockClaimed);
                    return Ok(block);
                }
            }
            if ready == c.count {
                return Err(NoBlock::NoRoom);
            }
            // Twice as many, at least a page's worth: committing is a system call.
            let least = (4096 / c.size).max(1) as u32;
            let more = (ready * 2).max(ready + least).min(c.count);
            // What is large grows one by one: its memory is not taken before it is needed.
            let more = if c.size >= 1 << 20 { ready + 1 } else { more };
            if !self.storage.may_commit(class, ready, more) {
                return Err(NoBlock::NoRoom);
            }
            self.storage.commit(class, ready, more).map_err(NoBlock::NoMemory)?;
            // ORDER: Release, with the load above, and with scanners: whoever sees a block in use sees a count that covers it.
            calm.committed[class].fetch_max(more, Ordering::AcqRel);
        }
    }

    /// Takes the block set aside for the reply to `request`.
    pub(super) fn take_pair(&self, request: u32) -> Option<u32> {
        let pair = request + 1;
        // A slot that was overwritten can name the last block of all, which is a pair itself.
        if !self.known(pair) {
            return None;
        }
        loop {
            let w = self.block_word(pair);
            match w.state() {
                BlockState::Free => {
                    if self.swap_block(pair, w, w.to(BlockState::Owned, u32::from(self.me))) {
                        hit(Point::BlockClaimed);
                        return Some(pair);
                    }
                }
                // A replier of an earlier delivery died with it.
                BlockState::Owned | BlockState::Reply => {
                    if !self.sweep_block(pair, w) {
                        return None;
                    }
                }
                _ => return None,
            }
        }
    }

    /// Gives back a block that only we can change: OWNED by us, or LEASED to us with no ticket.
    pub(super) fn free_block(&self, block: u32) {
        let w = self.block_word(block);
        // ORDER: Release, Q2. A plain store: the word names us.
        self.storage.block(block).word.store(w.freed().0, Ordering::Release);
        self.freed(block);
    }

    /// A block became free: says where, and wakes all that wait for room, since they may want different sizes.
    pub(super) fn freed(&self, block: u32) {
        let geometry = self.storage.geometry();
        if let Some(class) = geometry.class_of(block) {
            let i = (block - geometry.classes()[class].first) / geometry.each();
            // What is small is used again while it is in the caches; what is large lies in those of who read it last, and would
            // have to be taken from there: the others come first.
            if geometry.classes()[class].size < LARGE {
                // ORDER: Relaxed. A hint.
                self.storage.head().calm.free_hint[class].store(i, Ordering::Relaxed);
            }
        }
        self.rooms().notify_all(self.family);
    }

    /// Calls `f` with the number of every block that may be in use, until it says no.
    pub(super) fn each_block(&self, mut f: impl FnMut(u32) -> bool) {
        let geometry = self.storage.geometry();
        for (class, c) in geometry.classes().iter().enumerate() {
            // ORDER: Acquire, with the `fetch_max` in `take_of_class`.
            let committed = &self.storage.head().calm.committed[class];
            let ready = committed.load(Ordering::Acquire).min(c.count);
            for block in c.first..c.first + ready * geometry.each() {
                if !f(block) {
                    return;
                }
            }
        }
    }

    /// Whether no block is in use, each seen when its turn comes.
    pub(super) fn is_every_block_free(&self) -> bool {
        let mut free = true;
        self.each_block(|block| {
            free = self.block_word(block).state() == BlockState::Free;
            free
        });
        free
    }

    /// Whether the head of `block` may be looked at: its memory is committed.
    pub(super) fn known(&self, block: u32) -> bool {
        let geometry = self.storage.geometry();
        geometry.class_of(block).is_some_and(|class| {
            // ORDER: Acquire, as above.
            let ready = self.storage.head().calm.committed[class].load(Ordering::Acquire);
            block - geometry.classes()[class].first
                < ready.min(geometry.classes()[class].count) * geometry.each()
        })
    }

    /// The length of the message in `block`, as its class allows, and whether it carries handles.
    pub(super) fn block_len(&self, block: u32) -> Option<(usize, bool)> {
        // ORDER: Relaxed. Published with the block's word (Q1, Q5), which the caller read.
        let raw = self.storage.block(block).len.load(Ordering::Relaxed);
        let len = raw & !super::BLOCK_CARRIES;
        let class = &self.storage.geometry().classes()[self.storage.geometry().class_of(block)?];
        (len <= class.size).then_some((len as usize, raw & super::BLOCK_CARRIES != 0))
    }
}

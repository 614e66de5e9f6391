//! Where messages arrive: the ledger is told, and the region that a message names is joined, before the item is taken.

use super::board::{count, now};
use super::hook;
use super::ledger::{How, Ledger};
use super::objects::{self, kind};
use super::system::Family;
use offspring_core::family::RegionRef;
use offspring_core::prim::Ordering;
use offspring_core::queue::{Buffer, split_handles};

/// Where messages are copied to, and what the ledger says of them.
pub struct Inbox {
    bytes: Vec<u8>,
    ledger: Ledger,
    pub how: How,
    pub item: Option<u32>,
    family: &'static Family,
    /// The region that the message names; we have a handle on it.
    leaf: Option<RegionRef>,
}

// SAFETY: `room` makes the vector long enough, and nothing shortens it.
unsafe impl Buffer for Inbox {
    fn room(&mut self, len: usize) -> *mut u8 {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self.bytes.as_mut_ptr()
    }

    fn filled(&mut self, len: usize, carries: bool) {
        self.item = None;
        let message = &self.bytes[..len];
        let (leaf, message) = if carries {
            match split_handles(message) {
                Some((mut list, rest)) => (list.next().map(RegionRef::from_bits), rest),
                None => (None, message),
            }
        } else {
            (None, message)
        };
        let Some((item, from)) = self.ledger.received(message, self.how) else { return };
        if let Some(leaf) = leaf {
            self.receive_leaf(item, leaf);
        }
        self.item = Some(item);
        if self.how == How::Get {
            hook::received(item);
        }
        if let Some(dead) = from {
            note_recovery(self.ledger, dead);
        }
    }
}

impl Inbox {
    pub fn new(ledger: Ledger, family: &'static Family) -> Self {
        Self { bytes: Vec::new(), ledger, how: How::Get, item: None, family, leaf: None }
    }

    /// A message names a region: whoever takes it joins the region first, while the message still holds it.
    fn receive_leaf(&mut self, item: u32, leaf: RegionRef) {
        match self.family.join_object(leaf, kind::LEAF, 0) {
            Ok(object) => {
                count(&self.ledger.board.counts.carried);
                if !is_whole(leaf, object.pointer) {
                    self.ledger.complain(item, "the region that a message names is another's");
                }
                self.leaf = Some(leaf);
            }
            Err(error) => {
                let what = format!("the region that a message names was not joined: {error}");
                self.ledger.complain(item, &what);
            }
        }
    }

    /// Lets the region of the last message go.
    pub fn drop_leaf(&mut self) {
        if let Some(leaf) = self.leaf.take() {
            self.family.leave_object(leaf);
        }
    }
}

/// Whether a leaf holds what its maker wrote.
pub fn is_whole(region: RegionRef, base: *const u8) -> bool {
    (0_u64..)
        .zip(objects::leaf_words(base))
        .all(|(i, word)| word.load(Ordering::Relaxed) == region.bits().wrapping_add(i))
}

/// The caller goes on with what `dead` had: if it waited for that when `dead` was killed, this is how long.
pub fn note_recovery(ledger: Ledger, dead: u16) {
    let since = ledger.board.life(ledger.me).blocked_since.load(Ordering::Relaxed);
    if let Some(killed) = ledger.board.life(dead).doomed()
        && since != 0
        && since <= killed
    {
        ledger.board.sample(now().saturating_sub(killed));
    }
}

/// Where an answer is copied to.
pub struct Reply(pub Vec<u8>);

// SAFETY: as for `Inbox`.
unsafe impl Buffer for Reply {
    fn room(&mut self, len: usize) -> *mut u8 {
        self.0 = vec![0; len];
        self.0.as_mut_ptr()
    }

    fn filled(&mut self, _: usize, _: bool) {}
}

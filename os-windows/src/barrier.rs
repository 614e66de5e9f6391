//! The barrier between a publisher and a sleeper: a full fence on both sides.
//!
//! Windows has an asymmetric one, `FlushProcessWriteBuffers`, but it reaches the processors of the calling process alone, and
//! the two sides of this barrier are usually in different processes. So there is one mode here, and a family that asks for
//! the other one is refused.
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | B1 | store, `light()`, load | store, `heavy()`, load | at least one of the loads sees the other side's store |

use offspring_core::prim::{Ordering, fence};

/// The publisher's side.
#[inline(always)]
pub fn light() {
    // ORDER: SeqCst, B1 with the fence in `heavy`.
    fence(Ordering::SeqCst);
}

/// The sleeper's side.
#[inline]
pub fn heavy() {
    // ORDER: SeqCst, B1 with the fence in `light`.
    fence(Ordering::SeqCst);
}

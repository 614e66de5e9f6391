//! The barrier: full fences on both sides. macOS has no `membarrier`. Type-checked, not run.

use offspring_core::prim::{Ordering, fence};

/// The publisher's side.
#[inline(always)]
pub fn light() {
    // ORDER: SeqCst, with the fence in `heavy`.
    fence(Ordering::SeqCst);
}

/// The sleeper's side.
pub fn heavy() {
    // ORDER: SeqCst, with the fence in `light`.
    fence(Ordering::SeqCst);
}

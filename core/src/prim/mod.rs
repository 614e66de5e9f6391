//! Atomics, cells and spinning, from `core` or from loom.
//!
//! All of offspring's shared words go through these names, so that the code that runs in production is the
//! code that loom explores (`--cfg offspring_loom`). Nothing else in the workspace may name
//! `core::sync::atomic` or `core::cell`; `clippy.toml` enforces it.

#[cfg(offspring_loom)]
mod model;
#[cfg(not(offspring_loom))]
mod real;

#[cfg(offspring_loom)]
pub use model::*;
#[cfg(not(offspring_loom))]
pub use real::*;

//! Shared-memory primitives that survive the death of any participant, as algorithms over words.
#![cfg_attr(not(offspring_loom), no_std)]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("offspring-core needs 64-bit atomics: its words carry an owner, a lap and a state in one");

pub mod block_on;
pub mod family;
pub mod member;
pub mod points;
pub mod prim;
pub mod process;
pub mod queue;
pub mod semaphore;
pub mod wait;

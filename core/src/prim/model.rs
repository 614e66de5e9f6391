//! loom's atomics, in place of the machine's.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // the one place that may name them

pub use loom::cell::UnsafeCell;
pub use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// No compiler reorders what loom explores.
pub fn compiler_fence(_: Ordering) {}

/// Lets another thread of the model run.
pub fn spin() {
    loom::thread::yield_now();
}

//! The machine's own atomics, as types of this crate's: so that naming any other is a clippy error.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // the one place that may name them

use core::fmt;
use core::sync::atomic as machine;

pub use core::sync::atomic::Ordering;

/// Tells the processor that this is a spin loop.
#[inline(always)]
pub fn spin() {
    core::hint::spin_loop();
}

/// A fence between this thread's accesses, as [`core::sync::atomic::fence`].
#[inline(always)]
pub fn fence(order: Ordering) {
    machine::fence(order);
}

/// A fence for the compiler alone, as [`core::sync::atomic::compiler_fence`].
#[inline(always)]
pub fn compiler_fence(order: Ordering) {
    machine::compiler_fence(order);
}

/// The operations that every atomic has.
macro_rules! atomic {
    ($(#[$doc:meta])* $name:ident$(<$t:ident>)?, $value:ty) => {
        $(#[$doc])*
        #[repr(transparent)]
        pub struct $name$(<$t>)?(machine::$name$(<$t>)?);

        impl$(<$t>)? $name$(<$t>)? {
            /// An atomic with this value.
            #[inline(always)]
            pub const fn new(value: $value) -> Self {
                Self(machine::$name::new(value))
            }

            /// As in `core`.
            #[inline(always)]
            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }

            /// As in `core`.
            #[inline(always)]
            pub fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, order);
            }

            /// As in `core`.
            #[inline(always)]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.swap(value, order)
            }

            /// As in `core`.
            #[inline(always)]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, success, failure)
            }

            /// As in `core`.
            #[inline(always)]
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange_weak(current, new, success, failure)
            }

            /// Where the value lies, for system calls on it.
            #[inline(always)]
            pub const fn as_ptr(&self) -> *mut $value {
                self.0.as_ptr()
            }
        }

        impl$(<$t>)? fmt::Debug for $name$(<$t>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl$(<$t>)? Default for $name$(<$t>)? {
            fn default() -> Self {
                Self(machine::$name::default())
            }
        }
    };
}

/// The operations that integers have besides.
macro_rules! integer {
    ($name:ident, $value:ty: $($operation:ident)*) => {
        impl $name {
            $(
                /// As in `core`.
                #[inline(always)]
                pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                    self.0.$operation(value, order)
                }
            )*
        }
    };
}

atomic!(
    /// A `bool` that threads and processes share.
    AtomicBool, bool
);
atomic!(
    /// A `u32` that threads and processes share.
    AtomicU32, u32
);
atomic!(
    /// A `u64` that threads and processes share.
    AtomicU64, u64
);
atomic!(
    /// A `usize` that threads share.
    AtomicUsize, usize
);
atomic!(
    /// A pointer that threads share.
    AtomicPtr<T>, *mut T
);
integer!(AtomicBool, bool: fetch_and fetch_or);
integer!(AtomicU32, u32: fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min);
integer!(AtomicU64, u64: fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min);
integer!(AtomicUsize, usize: fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min);

/// Bytes that a protocol hands from one participant to another; the closure form is loom's.
#[derive(Debug)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Runs `f` with a pointer for reading.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Runs `f` with a pointer for writing.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

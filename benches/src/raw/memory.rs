//! A few words that several processes share.

use crate::Result;
use std::ffi::CString;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// A type that may lie in memory which other processes write.
///
/// # Safety
///
/// Zero bytes are a valid value, any other bytes are too, and every field is an atomic.
pub unsafe trait Words {}

/// A `T` in an anonymous file, mapped shared: forked children see it, others can [`open`](Self::open) it.
#[derive(Debug)]
pub struct Shared<T> {
    place: NonNull<T>,
    file: OwnedFd,
    marker: PhantomData<T>,
}

// SAFETY: a `Words` is atomics only, which any thread may use; the mapping belongs to the process.
unsafe impl<T: Words> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Words> Sync for Shared<T> {}

impl<T: Words> Shared<T> {
    /// A new one, all zero.
    pub fn new() -> Result<Self> {
        // SAFETY: the name is a string that ends with zero.
        let file = unsafe { libc::memfd_create(c"offspring-benches".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return Err(format!("make shared memory: {}", io::Error::last_os_error()).into());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        // SAFETY: the descriptor is open for writing.
        if unsafe { libc::ftruncate(file.as_raw_fd(), size_of::<T>() as libc::off_t) } != 0 {
            return Err(format!("size shared memory: {}", io::Error::last_os_error()).into());
        }
        Self::map(file)
    }

    /// The one whose [`path`](Self::path) another process told.
    pub fn open(path: &str) -> Result<Self> {
        let name = CString::new(path)?;
        // SAFETY: the name is a string that ends with zero.
        let file = unsafe { libc::open(name.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        if file < 0 {
            return Err(format!("open {path}: {}", io::Error::last_os_error()).into());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Self::map(unsafe { OwnedFd::from_raw_fd(file) })
    }

    /// Where another process of this user finds it while this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn map(file: OwnedFd) -> Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses touches nothing that exists.
        let place = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<T>(),
                access,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if place == libc::MAP_FAILED {
            return Err(format!("map shared memory: {}", io::Error::last_os_error()).into());
        }
        let place = NonNull::new(place.cast()).ok_or("map shared memory: at address zero")?;
        Ok(Self { place, file, marker: PhantomData })
    }
}

impl<T: Words> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping is page-aligned, as large as a `T`, and lives until `drop`; `Words` says that
        // its bytes are a valid `T` whatever others write, and that all access is atomic.
        unsafe { self.place.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and of this size; no reference outlives `self`.
        unsafe { libc::munmap(self.place.as_ptr().cast(), size_of::<T>()) };
    }
}

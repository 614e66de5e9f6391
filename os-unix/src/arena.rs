//! One anonymous, sealed, sparse file of shared pages, mapped whole; ranges are committed and given back.
use crate::error::{OsError, Result};
use memmap2::MmapRaw;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// The file and its mapping in this process.
#[derive(Debug)]
pub struct Arena {
    _map: MmapRaw,
    _file: OwnedFd,
}

/// The length to ask for: 4 TiB.
pub const DEFAULT_LEN: u64 = 4 << 40;

impl Arena {
    /// Creates.
    pub fn create(_len: u64) -> Result<Self> {
        todo!()
    }
    /// Maps one that another process created.
    pub fn from_fd(_fd: OwnedFd) -> Result<Self> {
        todo!()
    }
    /// Start of the mapping.
    pub fn base(&self) -> NonNull<u8> {
        todo!()
    }
    /// Bytes.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// The file.
    pub fn fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
    /// Commits whole pages. The caller owns the range alone; after an error none of it is committed.
    pub fn commit(&self, _offset: u64, _len: u64) -> Result<(), OsError> {
        todo!()
    }
    /// Gives whole pages back; they read zero afterwards.
    pub fn release(&self, _offset: u64, _len: u64) -> Result<(), OsError> {
        todo!()
    }
    /// Bytes committed in the whole file.
    pub fn resident_bytes(&self) -> Result<u64> {
        todo!()
    }
}

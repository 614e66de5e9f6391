//! A word that the kernel marks when a thread is gone.
use crate::error::{OsError, Result};
use offspring_core::prim::AtomicU32;
use offspring_core::wait::Watch;

/// Room for a robust mutex, in shared memory; all zero = never used.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct LifeCell([AtomicU32; 16]);

/// The caller's thread holds the cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Nobody did, or its holder released it.
    Fresh,
    /// The last holder ended without releasing it.
    Inherited,
}

/// Why the cell cannot be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    /// A living thread holds it.
    Held,
    /// What lies in the cell is no life cell (never initialised, or overwritten).
    Broken,
}

/// Whether life words work here.
pub fn available() -> Result<()> {
    todo!()
}

/// Makes the cell usable. Idempotent; any number of processes at once; also while it is held.
pub fn init(_cell: &LifeCell) -> Result<()> {
    todo!()
}

/// Takes the cell for the calling thread, without blocking.
///
/// # Safety
/// The cell stays mapped at this address until it is released or the thread is gone.
pub unsafe fn try_hold(_cell: &LifeCell) -> Result<Held, Busy> {
    todo!()
}

/// Gives back a cell that the calling thread holds.
pub fn release(_cell: &LifeCell) -> Result<(), OsError> {
    todo!()
}

/// The life word.
pub fn word(cell: &LifeCell) -> &AtomicU32 {
    &cell.0[0]
}

/// Whether the holder is gone without having released it.
pub fn is_marked(_cell: &LifeCell) -> bool {
    todo!()
}

/// Whether a thread that was not seen to end holds it.
pub fn is_held(_cell: &LifeCell) -> bool {
    todo!()
}

/// What to sleep on; `None` when nobody holds it or its holder is gone.
pub fn watch(_cell: &LifeCell) -> Option<Watch<'_>> {
    todo!()
}

//! One event a lane: what its thread sleeps on, and any process rings.
//!
//! An auto-reset event has no memory but one bit: a ring that comes too late ends the next sleep early, and nothing adds up.
//! It is named after the family, the lane and the lane's holding, and vanishes with its last handle.

use crate::error::{OsError, Result};
use std::collections::HashMap;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, SetLastError};
use windows_sys::Win32::System::Threading::{
    CreateEventW, EVENT_MODIFY_STATE, OpenEventW, SetEvent,
};

/// The events that this process has handles on, by lane.
#[derive(Debug, Default)]
pub struct Events {
    lanes: RwLock<HashMap<usize, Event>>,
}

#[derive(Debug)]
struct Event {
    sequence: u32,
    handle: Arc<OwnedHandle>,
    /// It is that of a thread of this process.
    own: bool,
}

impl Events {
    /// Makes the event of a lane's holding, for a thread of this process.
    ///
    /// # Errors
    ///
    /// Something of that name is there already: another number must be taken. Or no handle is left.
    pub fn make(&self, family: u64, lane: usize, sequence: u32) -> Result<()> {
        let name = name(family, lane, sequence);
        let object = || format!("the event of lane {lane}");
        // SAFETY: the call sets the last error only when something is there already, or when it fails.
        unsafe { SetLastError(0) };
        // SAFETY: no security attributes; the name is terminated. Auto-reset, not set.
        let handle = unsafe { CreateEventW(ptr::null(), 0, 0, name.as_ptr()) };
        let error = OsError::last("make", object());
        if handle.is_null() {
            return Err(error);
        }
        // SAFETY: the call made this handle, and nobody else knows it.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        if error.code() as u32 == ERROR_ALREADY_EXISTS {
            return Err(error);
        }
        let event = Event { sequence, handle: Arc::new(handle), own: true };
        self.write().insert(lane, event);
        Ok(())
    }

    /// The event of a thread of this process.
    #[must_use]
    pub fn own(&self, lane: usize) -> Option<Arc<OwnedHandle>> {
        self.read().get(&lane).filter(|event| event.own).map(|event| event.handle.clone())
    }

    /// Closes the handle on a lane's event.
    pub fn forget(&self, lane: usize) {
        let forgotten = self.write().remove(&lane);
        drop(forgotten);
    }

    /// Sets the event of a lane's holding, opening it at the first time; `false` if it is not there any more.
    pub fn ring(&self, family: u64, lane: usize, sequence: u32) -> bool {
        if let Some(event) = self.read().get(&lane)
            && event.sequence == sequence
        {
            return set(&event.handle);
        }
        let name = name(family, lane, sequence);
        // SAFETY: the name is terminated.
        let handle = unsafe { OpenEventW(EVENT_MODIFY_STATE, 0, name.as_ptr()) };
        if handle.is_null() {
            return false;
        }
        // SAFETY: the call made this handle, and nobody else knows it.
        let handle = Arc::new(unsafe { OwnedHandle::from_raw_handle(handle) });
        let rung = set(&handle);
        let mut lanes = self.write();
        // One that a thread of this process made meanwhile stays.
        if !lanes.get(&lane).is_some_and(|event| event.own) {
            lanes.insert(lane, Event { sequence, handle, own: false });
        }
        rung
    }

    /// Sets the events of all threads of this process.
    pub fn ring_own(&self) {
        for event in self.read().values().filter(|event| event.own) {
            set(&event.handle);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<usize, Event>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<usize, Event>> {
        self.lanes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(event: &OwnedHandle) -> bool {
    // SAFETY: our own handle, which may set the event.
    unsafe { SetEvent(event.as_raw_handle()) != 0 }
}

fn name(family: u64, lane: usize, sequence: u32) -> Vec<u16> {
    let name = format!("Local\\offspring-{family:016x}-{lane}-{sequence}\0");
    name.encode_utf16().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows_sys::Win32::Foundation::{WAIT_OBJECT_0, WAIT_TIMEOUT};
    use windows_sys::Win32::System::Threading::WaitForSingleObject;

    fn is_set(events: &Events, lane: usize) -> bool {
        let event = events.own(lane).unwrap();
        // SAFETY: our own handle.
        let told = unsafe { WaitForSingleObject(event.as_raw_handle(), 0) };
        assert!(matches!(told, WAIT_OBJECT_0 | WAIT_TIMEOUT));
        told == WAIT_OBJECT_0
    }

    fn family() -> u64 {
        u64::from(std::process::id()) << 32 | u64::from(line!())
    }

    #[test]
    fn event_is_rung_by_name_and_forgets_the_ring() {
        let (ours, theirs) = (Events::default(), Events::default());
        ours.make(family(), 3, 1).unwrap();
        assert!(!is_set(&ours, 3));
        for _ in 0..3 {
            assert!(theirs.ring(family(), 3, 1));
            assert!(is_set(&ours, 3) && !is_set(&ours, 3));
        }
        assert!(theirs.own(3).is_none());
        theirs.ring_own();
        assert!(!is_set(&ours, 3));
        ours.ring_own();
        assert!(is_set(&ours, 3));
    }

    #[test]
    fn event_that_is_gone_is_not_rung() {
        let (ours, theirs) = (Events::default(), Events::default());
        ours.make(family() + 1, 3, 1).unwrap();
        assert!(!theirs.ring(family() + 1, 3, 2) && !theirs.ring(family() + 1, 4, 1));
        ours.forget(3);
        assert!(!theirs.ring(family() + 1, 3, 1));
    }

    #[test]
    fn name_that_is_taken_is_refused() {
        let (ours, theirs) = (Events::default(), Events::default());
        ours.make(family() + 2, 3, 1).unwrap();
        assert!(theirs.make(family() + 2, 3, 1).is_err());
        theirs.make(family() + 2, 3, 2).unwrap();
    }
}

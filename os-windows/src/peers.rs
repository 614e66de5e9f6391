//! The other processes that this one knows by their handles: opened once, asked and slept on often.
//!
//! A sleep takes 63 handles besides the sleeper's own event. Peers beyond that are watched by the system's thread pool
//! (`RegisterWaitForSingleObject`, one of its threads for 63 handles), once for the whole process and from the first time that
//! somebody needs it: the pool says that the peer is gone, and rings all sleepers of this process.

use crate::event::Events;
use crate::process::Process;
use offspring_core::prim::{AtomicU32, Ordering};
use std::collections::HashMap;
use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD,
    WT_EXECUTEONLYONCE,
};

/// Another process, alive when it was opened.
#[derive(Debug)]
pub struct Peer {
    // Dropped first: ends the pool's wait before the handle is closed.
    watched: OnceLock<Option<PoolWait>>,
    process: Process,
}

/// What is known of the process with some id and identity.
#[derive(Debug)]
pub enum Known {
    /// It was alive when this process first looked.
    Peer(Arc<Peer>),
    /// It is gone.
    Gone,
    /// The system does not let this process know.
    Unknown,
}

/// The peers of this process.
#[derive(Debug, Default)]
pub struct Peers {
    known: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<(u32, u64), Arc<Peer>>,
    /// With so many it is time to forget the gone: others may have told their deaths, and nobody here asks any more.
    tidy_at: usize,
}

impl Peers {
    /// The process with that id and identity (0: any).
    pub fn get(&self, pid: u32, identity: u64) -> Known {
        let name = (pid, identity);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = known.by_name.get(&name) {
            return Known::Peer(peer.clone());
        }
        drop(known);
        let process = match Process::open(pid) {
            Ok(process) if identity == 0 || process.identity() == identity => process,
            Ok(_) => return Known::Gone,
            Err(error) if error.is_not_found() => return Known::Gone,
            Err(_) => return Known::Unknown,
        };
        if process.is_gone() {
            return Known::Gone;
        }
        let peer = Arc::new(Peer { watched: OnceLock::new(), process });
        if identity != 0 {
            self.remember(name, peer.clone());
        }
        Known::Peer(peer)
    }

    fn remember(&self, name: (u32, u64), peer: Arc<Peer>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut forgotten = Vec::new();
        if known.by_name.len() >= known.tidy_at.max(64) {
            let gone = |_: &(u32, u64), peer: &mut Arc<Peer>| peer.process.is_gone();
            forgotten.extend(known.by_name.extract_if(gone));
            known.tidy_at = 2 * known.by_name.len();
        }
        known.by_name.insert(name, peer);
        drop(known);
        drop(forgotten);
    }

    /// Whether the process with that id and identity (0: any) is gone; `None` if the system does not tell. One that is
    /// gone is forgotten.
    pub fn is_gone(&self, pid: u32, identity: u64) -> Option<bool> {
        match self.get(pid, identity) {
            Known::Gone => Some(true),
            Known::Unknown => None,
            Known::Peer(peer) => {
                let gone = peer.process.is_gone();
                if gone {
                    let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                    let forgotten = known.by_name.remove(&(pid, identity));
                    drop(known);
                    drop(forgotten);
                }
                Some(gone)
            }
        }
    }
}

impl Peer {
    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Has the pool watch it; says whether it does. From then on its end rings all sleepers of this process.
    pub fn watch_by_pool(&self, events: &Arc<Events>) -> bool {
        let register = || PoolWait::register(self.process.handle(), events.clone());
        self.watched.get_or_init(register).is_some()
    }

    /// Whether the pool has seen it end.
    #[must_use]
    pub fn was_seen_gone(&self) -> bool {
        let pool = self.watched.get().and_then(Option::as_ref);
        // ORDER: Acquire, with the Release in `seen_gone`.
        pool.is_some_and(|pool| pool.told().gone.load(Ordering::Acquire) != 0)
    }
}

/// What the pool's callback works with.
struct Told {
    gone: AtomicU32,
    events: Arc<Events>,
}

/// A wait of the system's thread pool for one process.
struct PoolWait {
    wait: HANDLE,
    /// A box: freed when the pool is done with it.
    told: *mut Told,
}

// SAFETY: the wait belongs to the process, not to a thread; `Told` is an atomic and an `Arc` of what all threads share.
unsafe impl Send for PoolWait {}
// SAFETY: as above.
unsafe impl Sync for PoolWait {}

impl std::fmt::Debug for PoolWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PoolWait")
    }
}

impl PoolWait {
    fn register(process: BorrowedHandle<'_>, events: Arc<Events>) -> Option<Self> {
        let told = Box::into_raw(Box::new(Told { gone: AtomicU32::new(0), events }));
        let mut wait: HANDLE = std::ptr::null_mut();
        // SAFETY: `wait` is writable; the process's handle stays open longer than the wait (order of `Peer`'s fields);
        // `told` is freed after the wait has ended.
        let done = unsafe {
            RegisterWaitForSingleObject(
                &mut wait,
                process.as_raw_handle(),
                Some(seen_gone),
                told.cast_const().cast(),
                INFINITE,
                WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD,
            )
        };
        if done == 0 {
            // SAFETY: the box from above, which nobody else has.
            drop(unsafe { Box::from_raw(told) });
            return None;
        }
        Some(Self { wait, told })
    }

    fn told(&self) -> &Told {
        // SAFETY: freed by `Drop` alone.
        unsafe { &*self.told }
    }
}

impl Drop for PoolWait {
    fn drop(&mut self) {
        // SAFETY: our own wait. INVALID_HANDLE_VALUE: returns when the callback is not running and will not run. No callback
        // ever drops a `Peer`, so this is not inside one.
        let ended = unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) } != 0;
        if ended {
            // SAFETY: the box from `register`; the pool is done with it.
            drop(unsafe { Box::from_raw(self.told) });
        }
    }
}

unsafe extern "system" fn seen_gone(told: *mut c_void, _timed_out: bool) {
    // SAFETY: the box that `register` handed over, freed only after this has returned.
    let told = unsafe { &*told.cast::<Told>() };
    // ORDER: Release, with the Acquire in `was_seen_gone`. Before the ring: who is rung looks.
    told.gone.store(1, Ordering::Release);
    told.events.ring_own();
}

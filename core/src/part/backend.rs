//! What the family's protocols need, from what the platform offers: [`Backend`] over a [`System`].

use super::{Inner, System, threads};
use crate::family::layout::{HEAP_AT, RegionHead};
use crate::family::{Backend, Life, NoMemory, Region, RegionRef, Registry};
use crate::prim::{AtomicU32, AtomicU64, Ordering};
use crate::process::ProcessRef;
use crate::wait::{Deadline, Family as _, Wait, Watch, Woken};

impl<S: System> Inner<S> {
    /// Where `offset` lies in this process.
    pub(super) fn pointer(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset < self.system.len());
        self.system.base().as_ptr().wrapping_add(offset as usize)
    }

    pub(super) fn life_watch_of(&'static self, process: ProcessRef) -> Option<Watch<'static>> {
        // The registry borrows for its own life; the words live as long as the arena.
        let registry = self.registry();
        let watch = registry.life_watch(process)?;
        // SAFETY: a life word lies in the arena, which this process never unmaps.
        Some(Watch { word: unsafe { &*core::ptr::from_ref(watch.word) }, seen: watch.seen })
    }

    /// Asks the system about everybody, if that was not done for a backstop's length: some sleeper saw its time run out,
    /// and a notice may have been lost.
    fn patrol(&self) {
        let now = S::now().0;
        // ORDER: Relaxed. Only spares work.
        let last = self.patrolled.load(Ordering::Relaxed);
        if now.saturating_sub(last) < S::backstop()
            || self
                .patrolled
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        if threads::is_in(self) {
            // ORDER: Relaxed. Written before this thread's lane was taken.
            let me = ProcessRef::from_bits(self.newest().me.load(Ordering::Relaxed));
            Registry::new(self.tables, self, me).patrol();
        }
    }
}

// SAFETY: W1 to W5: S3, in the mode of the whole family.
unsafe impl<S: System> Wait for Inner<S> {
    const MOST_WATCHES: usize = S::MOST_WATCHES;

    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        let woken = self.system.wait(&self.tables, threads::lane(self), watches, until);
        if woken == Woken::TimedOut {
            self.patrol();
        }
        woken
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        self.system.wake(&self.tables, word, most)
    }

    fn now(&self) -> Deadline {
        S::now()
    }

    #[inline(always)]
    fn light_barrier(&self) {
        self.system.light_barrier();
    }

    fn heavy_barrier(&self) {
        self.system.heavy_barrier();
    }

    fn is_alone(&self) -> bool {
        S::is_alone()
    }
}

// SAFETY: B1: S4. B2: S5. B3: S2. B4: `Inner` is leaked, and its mapping with it (S1). B5: `objects::trace`.
unsafe impl<S: System> Backend for Inner<S> {
    #[inline]
    fn life(&self, lane: usize) -> Life {
        self.system.life(&self.tables, lane)
    }

    fn life_watch(&self, lane: usize) -> Option<Watch<'_>> {
        self.system.life_watch(&self.tables, lane)
    }

    unsafe fn hold_life(&self, lane: usize) -> bool {
        // SAFETY: the caller's promise; every `Inner` is leaked.
        unsafe { self.system.hold_life(&self.tables, lane) }
    }

    unsafe fn release_life(&self, lane: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.system.release_life(&self.tables, lane) };
    }

    fn process_space(&self) -> u64 {
        self.newest().space
    }

    fn process_is_gone(&self, pid: u32, identity: u64) -> Option<bool> {
        self.system.is_gone(pid, identity)
    }

    fn await_gone(&self, pid: u32, identity: u64) {
        self.system.await_gone(pid, identity);
    }

    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory> {
        self.system.commit(offset, len).map_err(|error| {
            super::objects::commit_failed(error);
            NoMemory { asked: len }
        })
    }

    fn release(&self, offset: u64, len: u64) {
        if self.system.release(offset, len).is_err() {
            // Nothing but a filter that forbids it gets here, and what was committed is there to be written.
            // SAFETY: core checked that the range lies in the heap; it belongs to the caller, who holds the family lock.
            unsafe { self.pointer(offset).write_bytes(0, len as usize) };
        }
    }

    unsafe fn region_head(&self, offset: u64) -> &RegionHead {
        debug_assert!(offset >= HEAP_AT && offset.is_multiple_of(64));
        // SAFETY: the caller's promise; the head is all atomics, and the arena stays mapped.
        unsafe { &*self.pointer(offset).cast() }
    }

    unsafe fn words(&self, offset: u64, count: usize) -> &[AtomicU64] {
        debug_assert!(offset >= HEAP_AT && offset.is_multiple_of(8));
        // SAFETY: the caller's promise; the arena stays mapped.
        unsafe { core::slice::from_raw_parts(self.pointer(offset).cast(), count) }
    }

    fn trace(&self, region: &Region<'_>, found: &mut dyn FnMut(RegionRef)) -> bool {
        super::objects::trace(self, region, found)
    }

    fn backstop(&self) -> u64 {
        S::backstop()
    }
}

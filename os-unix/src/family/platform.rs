//! What core's family protocols need of this system: [`Backend`] over the arena, life cells and pidfds.

use super::{Inner, threads};
use crate::futex;
use crate::life::{self, LifeCell};
use crate::pidfd::{self, PidFd};
use offspring_core::family::layout::{HEAP_AT, RegionHead};
use offspring_core::family::{Backend, Life, NoMemory, Region, RegionRef, Registry};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::process::ProcessRef;
use offspring_core::wait::{Deadline, Family as _, Wait, Watch, Woken};

/// How long a sleeper trusts notices, in nanoseconds: where life words work, and elsewhere.
const BACKSTOP: u64 = 1_000_000_000;
const BACKSTOP_WITHOUT_LIFE: u64 = 100_000_000;

pub(super) fn backstop() -> u64 {
    if life::available().is_ok() { BACKSTOP } else { BACKSTOP_WITHOUT_LIFE }
}

impl Inner {
    fn cell(&self, lane: usize) -> Option<&LifeCell> {
        let area = self.tables.lanes.get(lane)?.life.pointer();
        // SAFETY: a life area is 64 bytes of shared memory aligned to 64, all of it atomics in this crate's eyes, and
        // stays mapped for ever.
        Some(unsafe { &*area.cast::<LifeCell>() })
    }

    /// Where `offset` lies in this process.
    pub(super) fn pointer(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset < self.arena.len());
        self.arena.base().as_ptr().wrapping_add(offset as usize)
    }

    pub(super) fn life_watch_of(&'static self, process: ProcessRef) -> Option<Watch<'static>> {
        // The registry borrows for its own life; the words live as long as the arena.
        let registry = self.registry();
        let watch = registry.life_watch(process)?;
        // SAFETY: a life word lies in the arena, which this process never unmaps.
        Some(Watch { word: unsafe { &*std::ptr::from_ref(watch.word) }, seen: watch.seen })
    }

    /// Asks the system about everybody, if that was not done for a backstop's length: some sleeper saw its time run out,
    /// and a notice may have been lost.
    fn patrol(&self) {
        let now = futex::now().0;
        // ORDER: Relaxed. Only spares work.
        let last = self.patrolled.load(Ordering::Relaxed);
        if now.saturating_sub(last) < backstop()
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

// SAFETY: W1 to W4: the futex module, whose words are never process-private. W5: the barrier, in the mode of the whole
// family.
unsafe impl Wait for Inner {
    const MOST_WATCHES: usize = futex::MOST_WATCHES;

    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        let woken = futex::wait(watches, until);
        if woken == Woken::TimedOut {
            self.patrol();
        }
        woken
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        futex::wake(word, most)
    }

    fn now(&self) -> Deadline {
        futex::now()
    }

    #[inline(always)]
    fn light_barrier(&self) {
        self.barrier.light();
    }

    fn heavy_barrier(&self) {
        self.barrier.heavy();
    }

    fn is_alone(&self) -> bool {
        crate::cores::is_alone()
    }
}

// SAFETY: B1: the life module's D1. B2: pidfds name a process for good, and are ready when its last thread is gone. B3:
// the arena punches holes and commits by `fallocate`. B4: the arena is never unmapped. B5: `objects::trace`.
unsafe impl Backend for Inner {
    #[inline]
    fn life(&self, lane: usize) -> Life {
        let Some(cell) = self.cell(lane) else { return Life::Free };
        // ORDER: Acquire, the life module's D1. One load, so that the two answers are of one time.
        let word = life::word(cell).load(Ordering::Acquire);
        if word & libc::FUTEX_OWNER_DIED != 0 {
            Life::Marked
        } else if word & libc::FUTEX_TID_MASK != 0 {
            Life::Held
        } else {
            Life::Free
        }
    }

    fn life_watch(&self, lane: usize) -> Option<Watch<'_>> {
        life::watch(self.cell(lane)?)
    }

    unsafe fn hold_life(&self, lane: usize) -> bool {
        if life::available().is_err() {
            // Deaths are found by pidfd alone.
            return true;
        }
        let Some(cell) = self.cell(lane) else { return false };
        // SAFETY: the arena stays mapped as long as the process lives.
        life::init(cell).is_ok() && unsafe { life::try_hold(cell) }.is_ok()
    }

    unsafe fn release_life(&self, lane: usize) {
        if let Some(cell) = self.cell(lane)
            && life::release(cell).is_ok()
        {
            // They slept for the death of a thread that will not die here any more.
            futex::wake(life::word(cell), u32::MAX);
        }
    }

    fn process_space(&self) -> u64 {
        self.newest().space
    }

    fn process_is_gone(&self, pid: u32, identity: u64) -> Option<bool> {
        if identity != 0 {
            return pidfd::is_gone(pid, identity);
        }
        match PidFd::open(pid) {
            Ok(process) => Some(process.is_gone()),
            Err(error) => error.is_not_found().then_some(true),
        }
    }

    fn await_gone(&self, pid: u32, identity: u64) {
        if let Ok(process) = PidFd::open(pid)
            && (identity == 0 || process.identity() == identity)
        {
            // The caller looks again either way.
            let _ = process.wait_gone(Some(futex::now().after(backstop())));
        }
    }

    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory> {
        self.arena.commit(offset, len).map_err(|error| {
            super::objects::commit_failed(error);
            NoMemory { asked: len }
        })
    }

    fn release(&self, offset: u64, len: u64) {
        if self.arena.release(offset, len).is_err() {
            // Nothing but a filter that forbids `fallocate` gets here, and what was committed is there to be written.
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
        unsafe { std::slice::from_raw_parts(self.pointer(offset).cast(), count) }
    }

    fn trace(&self, region: &Region<'_>, found: &mut dyn FnMut(RegionRef)) -> bool {
        super::objects::trace(self, region, found)
    }

    fn backstop(&self) -> u64 {
        backstop()
    }
}

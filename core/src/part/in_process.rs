//! A platform of threads: the arena is this process's own memory, and nobody dies alone.
//!
//! Each [`Family`](super::Family) that is founded or joined here is a part of its own, with a name and with lanes, as a process's
//! is; its threads sleep and wake each other through the same words. What it is not: a part cannot be killed. As
//! with [`NeverDies`](crate::process::NeverDies) none is ever declared dead; one goes by leaving, and one whose threads all ended
//! without that stays. All of them end with the process.
//!
//! A forked child has a copy of the memory to itself: it can reach nobody through it.
//!
//! ```
//! use offspring_core::part::in_process::InProcess;
//! use offspring_core::part::{Family, Options};
//! use offspring_core::process::{Liveness, ProcessRef};
//! use std::sync::Arc;
//!
//! let family = Family::<InProcess>::create(&Options { arena_len: 16 << 20, fences: false })?;
//! let arena = Arc::clone(family.arena_fd());
//! let other = std::thread::spawn(move || {
//!     let part = Family::<InProcess>::join(arena, ProcessRef::NONE).unwrap();
//!     let name = part.me();
//!     part.leave();
//!     name
//! });
//! let other = other.join().unwrap();
//! assert!(family.is_dead(other), "it left");
//! assert!(!family.is_dead(family.me()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{System, Traces, sleepers};
use crate::family::layout::{GRANULE, HEAP_AT};
use crate::family::{Life, Tables};
use crate::prim::{AtomicU32, Ordering, fence};
use crate::wait::{Deadline, Watch, Woken};
use core::fmt;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::prelude::rust_2024::*;
use std::sync::{Arc, Mutex};
use std::{format, thread};

/// How arenas are aligned (S1), in bytes.
const ALIGN: usize = 64 << 10;
/// How long a sleeper trusts notices, in nanoseconds. There is nothing that it could miss.
const BACKSTOP: u64 = 1_000_000_000;
/// What a life word says while a thread holds it.
const HELD: u32 = 1;

static TRACES: Traces<InProcess> = Traces::new();

/// Why this platform refused something: what was attempted, on what, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// The memory of an arena, and who sleeps on its words. Goes with the last part that uses it.
pub struct Memory {
    allocated: NonNull<u8>,
    layout: Layout,
    base: NonNull<u8>,
    len: u64,
    /// Granules that are committed, by number.
    committed: Mutex<BTreeSet<u64>>,
    sleepers: sleepers::Sleepers,
}

// SAFETY: the memory is reached through atomics, or by who owns a range alone (`System`'s callers); the rest is shared by locks.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory {{ len: {} }}", self.len)
    }
}

impl Memory {
    fn new(len: u64) -> Result<Self, Refused> {
        let refused = || {
            let advice = "ask for a shorter arena";
            Refused(format!("allocate an arena of {len} bytes: not so much memory; {advice}"))
        };
        let len = len.checked_next_multiple_of(ALIGN as u64).ok_or_else(refused)?;
        let room = usize::try_from(len).ok().and_then(|len| len.checked_add(ALIGN));
        // Aligned by hand: an allocator that is asked for aligned zeros writes them, all of them.
        let layout = room.and_then(|room| Layout::from_size_align(room, 16).ok());
        let layout = layout.ok_or_else(refused)?;
        // SAFETY: the size is not 0.
        let allocated = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        let to_aligned = allocated.addr().get().next_multiple_of(ALIGN) - allocated.addr().get();
        // SAFETY: less than `ALIGN` bytes on, and there are that many more than `len`.
        let base = unsafe { allocated.add(to_aligned) };
        let committed = Mutex::default();
        Ok(Self { allocated, layout, base, len, committed, sleepers: Default::default() })
    }

    /// The granules of a range, if it lies in the arena and is whole granules.
    fn granules(
        &self,
        what: &str,
        offset: u64,
        len: u64,
    ) -> Result<core::ops::Range<u64>, Refused> {
        match offset.checked_add(len) {
            Some(end)
                if end <= self.len
                    && offset.is_multiple_of(GRANULE)
                    && len.is_multiple_of(GRANULE) =>
            {
                Ok(offset / GRANULE..end / GRANULE)
            }
            _ => Err(Refused(format!(
                "{what} {len} bytes at {offset} of an arena of {} bytes: not whole pages of it; \
                 ask for multiples of {GRANULE} inside",
                self.len
            ))),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; whoever used it has gone.
        unsafe { dealloc(self.allocated.as_ptr(), self.layout) };
    }
}

/// An arena in this process's own memory.
#[derive(Clone, Debug)]
pub struct InProcess {
    memory: Arc<Memory>,
}

fn life_word<'a>(tables: &Tables<'a>, lane: usize) -> Option<&'a AtomicU32> {
    let area = tables.lanes.get(lane)?.life.pointer();
    // SAFETY: a life area is 64 bytes aligned to 64, of which this platform uses the first word, always as this atomic; it is
    // there as long as the tables are.
    Some(unsafe { &*area.cast::<AtomicU32>() })
}

// SAFETY: S1: one allocation, aligned by hand, of zeros that can be written. S2: it stays; `release` writes zeros. S3: the
// `sleepers` module; both barriers are full fences. S4, S5: neither is ever said. S6: a child has another process id than the
// parent it was forked from. S7: nobody has a number. S8: attaching shares the memory. S9 to S15: see each function.
unsafe impl System for InProcess {
    type Error = Refused;
    type File = Arc<Memory>;
    type FileRef<'a> = &'a Arc<Memory>;

    const MOST_WATCHES: usize = 128;
    const ARENA_LEN: u64 = 256 << 20;

    fn create(len: u64, _: bool) -> Result<Self, Refused> {
        let memory = Arc::new(Memory::new(len)?);
        memory.granules("commit", 0, HEAP_AT).inspect(|all| {
            super::locked(&memory.committed).extend(all.clone());
        })?;
        Ok(Self { memory })
    }

    fn attach(file: Arc<Memory>) -> Result<Self, Refused> {
        Ok(Self { memory: file })
    }

    fn file(&self) -> &Arc<Memory> {
        &self.memory
    }

    fn is_asymmetric(&self) -> bool {
        false
    }

    fn use_barrier(&mut self, asymmetric: bool) -> Result<(), Refused> {
        if asymmetric {
            let why = "threads of one process use fences; join a family that was founded here";
            return Err(Refused(format!("use the asymmetric barrier between processes: {why}")));
        }
        Ok(())
    }

    #[inline]
    fn base(&self) -> NonNull<u8> {
        self.memory.base
    }

    #[inline]
    fn len(&self) -> u64 {
        self.memory.len
    }

    fn page(&self) -> u64 {
        GRANULE
    }

    /// The memory is the allocator's, all of it since the arena was made: what it promised then holds here.
    fn commit(&self, offset: u64, len: u64) -> Result<(), Refused> {
        self.commit_more(offset, len)
    }

    fn commit_more(&self, offset: u64, len: u64) -> Result<(), Refused> {
        let granules = self.memory.granules("commit", offset, len)?;
        super::locked(&self.memory.committed).extend(granules);
        Ok(())
    }

    fn release(&self, offset: u64, len: u64) -> Result<(), Refused> {
        for granule in self.memory.granules("release", offset, len)? {
            if super::locked(&self.memory.committed).remove(&granule) {
                // SAFETY: the granule lies in the arena, and belongs to the caller, who says that nobody needs it.
                unsafe {
                    let at = self.memory.base.add((granule * GRANULE) as usize);
                    at.write_bytes(0, GRANULE as usize);
                }
            }
        }
        Ok(())
    }

    fn resident_bytes(&self) -> Result<u64, Refused> {
        Ok(super::locked(&self.memory.committed).len() as u64 * GRANULE)
    }

    fn wait(
        &self,
        _: &Tables<'_>,
        _: Option<usize>,
        watches: &[Watch<'_>],
        until: Option<Deadline>,
    ) -> Woken {
        self.memory.sleepers.wait(watches, until)
    }

    fn wake(&self, _: &Tables<'_>, word: &AtomicU32, most: u32) -> u32 {
        self.memory.sleepers.wake(word, most)
    }

    fn now() -> Deadline {
        sleepers::now()
    }

    fn is_alone() -> bool {
        false
    }

    #[inline(always)]
    fn light_barrier(&self) {
        // ORDER: SeqCst, with the fence in `heavy_barrier`.
        fence(Ordering::SeqCst);
    }

    fn heavy_barrier(&self) {
        // ORDER: SeqCst, with the fence in `light_barrier`.
        fence(Ordering::SeqCst);
    }

    fn backstop() -> u64 {
        BACKSTOP
    }

    fn life(&self, tables: &Tables<'_>, lane: usize) -> Life {
        match life_word(tables, lane) {
            // ORDER: Acquire, with the Release of who gave it back.
            Some(word) if word.load(Ordering::Acquire) == HELD => Life::Held,
            _ => Life::Free,
        }
    }

    fn life_watch<'a>(&'a self, tables: &Tables<'a>, lane: usize) -> Option<Watch<'a>> {
        let word = life_word(tables, lane)?;
        // ORDER: Relaxed. The sleep compares again.
        (word.load(Ordering::Relaxed) == HELD).then_some(Watch { word, seen: HELD })
    }

    unsafe fn hold_life(&self, tables: &Tables<'_>, lane: usize) -> bool {
        let Some(word) = life_word(tables, lane) else { return false };
        // ORDER: Release, with the Acquire in `life`.
        word.store(HELD, Ordering::Release);
        true
    }

    unsafe fn release_life(&self, tables: &Tables<'_>, lane: usize) {
        if let Some(word) = life_word(tables, lane) {
            // ORDER: Release, with the Acquire in `life`.
            word.store(0, Ordering::Release);
            self.memory.sleepers.wake(word, u32::MAX);
        }
    }

    /// A part is no process of the system.
    fn number(_: u32) -> u32 {
        0
    }

    fn identity() -> u64 {
        0
    }

    fn space() -> u64 {
        0
    }

    fn is_gone(&self, _: u32, _: u64) -> Option<bool> {
        None
    }

    /// Nobody goes: a backstop's length passes.
    fn await_gone(&self, _: u32, _: u64) {
        let until = sleepers::now().after(BACKSTOP);
        while sleepers::now() < until {
            thread::sleep(core::time::Duration::from_nanos(
                until.0 - sleepers::now().0.min(until.0),
            ));
        }
    }

    fn generation() -> u32 {
        std::process::id()
    }

    fn ends_with_process() -> bool {
        false
    }

    /// From the keys that `std` draws for its hash tables.
    fn random() -> Result<u64, Refused> {
        Ok(RandomState::new().hash_one(sleepers::now().0))
    }

    fn life_refused() -> Refused {
        let advice = "the arena is damaged: some thread wrote wild";
        Refused(format!("hold a life word in the arena: there is none; {advice}"))
    }

    fn out_of_range(range: String) -> Refused {
        Refused(format!("commit {range}: it does not lie in its object; ask for less"))
    }

    fn traces() -> &'static Traces<Self> {
        &TRACES
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Family, Options};
    use super::*;
    use crate::process::{Liveness, ProcessRef};
    use crate::wait::Wait;

    #[test]
    fn parts_in_threads_have_names_of_their_own_and_wake_each_other() {
        let family = Family::<InProcess>::create(&Options { arena_len: 16 << 20, fences: false });
        let family = family.unwrap();
        let memory = Arc::clone(family.arena_fd());
        let word = &family.inner.tables.head.newcomers;
        let other = thread::spawn(move || {
            let part = Family::<InProcess>::join(memory, ProcessRef::NONE).unwrap();
            let word = &part.inner.tables.head.newcomers;
            while word.load(Ordering::Acquire) == 0 {
                part.wait(&[Watch { word, seen: 0 }], None);
            }
            let me = crate::wait::Family::me(&part);
            part.leave();
            me
        });
        word.store(1, Ordering::Release);
        family.wake(word, 1);
        let other = other.join().unwrap();
        assert_ne!(other, family.me());
        assert!(family.is_dead(other), "it left");
        assert!(!family.is_dead(family.me()));
        assert_eq!(family.processes_alive(), 1);
    }

    #[test]
    fn refusals_say_what_was_asked_for() {
        let system = InProcess::create(16 << 20, false).unwrap();
        let error = system.commit(0, 1 << 40).unwrap_err();
        assert!(error.to_string().contains("commit 1099511627776 bytes at 0"), "{error}");
        assert!(InProcess::create(u64::MAX - 5, false).is_err());
        assert!(system.release(1, GRANULE).is_err());
    }
}

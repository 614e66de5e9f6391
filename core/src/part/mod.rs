//! One process's part in a family: its name in the registry, its threads' lanes, its objects. Needs `std`, and no system
//! call: a platform is a [`System`].
//!
//! [`Family`] is a `Copy` handle on state that lives as long as the process, since the kernel's lists may point into the
//! arena. It knows which process it is in: after a fork the child registers as a process of its own at its first use.
//!
//! | file | what |
//! |---|---|
//! | `system` | what a platform offers |
//! | `backend` | what the family's protocols need, from what the platform offers |
//! | `threads` | lanes: taken at a thread's first use, given back at its end |
//! | `objects` | regions: making, joining, leaving; the audit |
//! | [`in_process`] | a platform of threads, which never die alone |
//! | `sleepers` | its sleeping and waking |

mod backend;
pub mod in_process;
mod objects;
mod sleepers;
mod system;
mod threads;

pub use objects::{Object, ObjectError, Traces};
pub use system::{System, Trace};

use crate::family::layout::{FAMILY_MAGIC, FAMILY_VERSION, GRANULE, HEAP_AT};
use crate::family::{Registry, Tables};
use crate::prim::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::process::{Liveness, ProcessRef};
use crate::wait::{Deadline, Wait, Watch, Woken};
use core::fmt;
use std::collections::HashMap;
use std::prelude::rust_2024::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

const ASYMMETRIC: u32 = 1;
const FENCES: u32 = 2;

/// How a new family shall be.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// Length of the arena in bytes: address space, not memory. 0: the platform's usual length.
    pub arena_len: u64,
    /// Use plain fences even where the system offers the asymmetric barrier: for families with members that may not
    /// register for it.
    pub fences: bool,
}

/// Why a process, or one of its threads, takes no part in a family; `E` is the platform's error.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FamilyError<E> {
    /// The operating system refused something.
    Os(E),
    /// What was handed over leads to something that is no family of this version; what is wrong with it.
    NotOurs(&'static str),
    /// This process cannot register for the barrier that the family uses.
    Barrier(E),
    /// 4096 processes live in the family already.
    TooManyProcesses,
    /// 8192 threads use the family's arena already.
    TooManyThreads,
    /// This process has left the family.
    Left,
}

impl<E: fmt::Display> fmt::Display for FamilyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(error) => error.fmt(f),
            Self::NotOurs(why) => {
                write!(f, "join a family: {why}; parent and child must run the same program")
            }
            Self::Barrier(error) => write!(
                f,
                "join a family that uses the asymmetric barrier: {error}; or start the family with fences"
            ),
            Self::TooManyProcesses => {
                f.write_str("join a family: it has 4096 processes; wait for some to end")
            }
            Self::TooManyThreads => f.write_str(
                "use a family's arena: 8192 threads use it already; let some threads end",
            ),
            Self::Left => f.write_str("use a family's arena: this process has left the family"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for FamilyError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os(error) | Self::Barrier(error) => Some(error),
            _ => None,
        }
    }
}

impl<E> From<E> for FamilyError<E> {
    fn from(error: E) -> Self {
        Self::Os(error)
    }
}

/// What a call of this module returns.
pub type Result<T, E> = core::result::Result<T, FamilyError<E>>;

/// This process's part in a family.
///
/// # Blocking and crash
///
/// Whatever this process holds is taken back when it is dead, whichever instruction it died at. A *stopped* process
/// blocks others only while it holds the family lock: within the making, joining, leaving and freeing of objects.
pub struct Family<S: System> {
    inner: &'static Inner<S>,
}

impl<S: System> Clone for Family<S> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: System> Copy for Family<S> {}

/// What all threads of this process, and of its forked children, share; never freed.
struct Inner<S> {
    system: S,
    tables: Tables<'static>,
    id: u64,
    /// The state of the present process; of another generation in a child that was just forked.
    local: AtomicPtr<Local>,
    /// When this process last asked the system about everybody.
    patrolled: AtomicU64,
}

/// One process's own state; never freed, so that a reference never dangles.
struct Local {
    generation: u32,
    parent: ProcessRef,
    /// The space of process numbers that this process is in.
    space: u64,
    /// Bits of this process's name; 0 until it is registered.
    me: AtomicU64,
    /// The parent's state, as it was at the fork.
    forked_from: Option<&'static Local>,
    /// Taken to register, to take a lane, to leave.
    state: Mutex<State>,
    /// Taken before the family lock, never while holding it.
    objects: Mutex<HashMap<u64, Joined>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    In,
    Left,
}

/// This process's membership in one object, however many handles it has.
#[derive(Clone, Copy)]
struct Joined {
    index: u16,
    handles: usize,
}

/// A panic of another thread under one of our mutexes leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: System> Family<S> {
    /// Founds a family with this process as its root.
    ///
    /// # Errors
    ///
    /// [`FamilyError::Os`]: no arena, or no life word.
    pub fn create(options: &Options) -> Result<Self, S::Error> {
        let len = if options.arena_len == 0 { S::ARENA_LEN } else { options.arena_len };
        let system = S::create(len.max(HEAP_AT + GRANULE), options.fences)?;
        // SAFETY: S1: the arena is mapped, longer than HEAP_AT, and goes into `Inner`, which is never freed.
        let tables = unsafe { Tables::at(system.base().as_ptr(), system.len()) };
        let head = tables.head;
        // ORDER: Relaxed. Carried by the magic.
        head.version.store(FAMILY_VERSION, Ordering::Relaxed);
        let mode = if system.is_asymmetric() { ASYMMETRIC } else { FENCES };
        head.barrier.store(mode, Ordering::Relaxed);
        let id = S::random()?;
        head.family_id.store(id, Ordering::Relaxed);
        head.arena_len.store(system.len(), Ordering::Relaxed);
        head.process_count.store(tables.processes.len() as u32, Ordering::Relaxed);
        head.lane_count.store(tables.lanes.len() as u32, Ordering::Relaxed);
        head.region_count.store(tables.regions.len() as u32, Ordering::Relaxed);
        head.free_from.store(HEAP_AT, Ordering::Relaxed);
        // ORDER: Release, with the Acquire in `join`.
        head.magic.store(FAMILY_MAGIC, Ordering::Release);
        let family = Self::new(system, tables, id, ProcessRef::NONE);
        family.enter()?;
        Ok(family)
    }

    /// Takes part in the family whose arena this process was handed when it was started; `parent` started it.
    ///
    /// # Errors
    ///
    /// No arena, a family of another version, a barrier that this process cannot register for, or no free slot.
    pub fn join(arena: S::File, parent: ProcessRef) -> Result<Self, S::Error> {
        let mut system = S::attach(arena)?;
        if system.len() < HEAP_AT + GRANULE {
            return Err(FamilyError::NotOurs("the arena is too short"));
        }
        // SAFETY: as in `create`.
        let tables = unsafe { Tables::at(system.base().as_ptr(), system.len()) };
        let head = tables.head;
        // ORDER: Acquire, with the Release in `create`.
        if head.magic.load(Ordering::Acquire) != FAMILY_MAGIC {
            return Err(FamilyError::NotOurs("the arena has no family's head"));
        }
        // ORDER: Relaxed. Carried by the magic, constant since.
        let counts = [&head.process_count, &head.lane_count, &head.region_count]
            .map(|count| count.load(Ordering::Relaxed) as usize);
        if head.version.load(Ordering::Relaxed) != FAMILY_VERSION
            || head.arena_len.load(Ordering::Relaxed) != system.len()
            || counts != [tables.processes.len(), tables.lanes.len(), tables.regions.len()]
        {
            return Err(FamilyError::NotOurs("the arena is of another version of this library"));
        }
        let asymmetric = match head.barrier.load(Ordering::Relaxed) {
            ASYMMETRIC => true,
            FENCES => false,
            _ => return Err(FamilyError::NotOurs("the arena names an unknown barrier")),
        };
        system.use_barrier(asymmetric).map_err(FamilyError::Barrier)?;
        let id = head.family_id.load(Ordering::Relaxed);
        let family = Self::new(system, tables, id, parent);
        family.enter()?;
        Ok(family)
    }

    fn new(system: S, tables: Tables<'static>, id: u64, parent: ProcessRef) -> Self {
        let local = Local::leak::<S>(parent, None);
        let inner = Inner {
            system,
            tables,
            id,
            local: AtomicPtr::new(core::ptr::from_ref(local).cast_mut()),
            patrolled: AtomicU64::new(0),
        };
        Self { inner: Box::leak(Box::new(inner)) }
    }

    /// In a forked child: registers it as a process of its own, and makes it a member of all objects of its parent that
    /// still exist, with as many handles. Done by itself at the first use; here the error is told.
    ///
    /// # Errors
    ///
    /// As [`enter`](Self::enter).
    pub fn after_fork_in_child(&self) -> Result<(), S::Error> {
        self.enter()
    }

    /// Makes sure that the calling thread has a lane, and its process a name: call at the start of every operation on
    /// the arena. A load and two comparisons when it has.
    ///
    /// A thread of a process that was declared dead parks for ever: the others go on without it.
    ///
    /// # Errors
    ///
    /// The process left, or there is no room for it or this thread.
    #[inline]
    pub fn enter(&self) -> Result<(), S::Error> {
        if threads::is_in(self.inner) { Ok(()) } else { threads::enter(self.inner) }
    }

    /// Leaves: all that this process still holds is given back as after a death, without waiting for its end.
    ///
    /// Its other threads must not touch the arena again. Idempotent.
    pub fn leave(&self) {
        threads::leave(self.inner);
    }

    /// The calling process's name; [`ProcessRef::NONE`] if it has left or cannot come in.
    #[inline]
    #[must_use]
    pub fn me(&self) -> ProcessRef {
        self.inner.me()
    }

    /// The family's random number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// The arena's file (a descriptor, or the section's handle), to hand to a child.
    #[must_use]
    pub fn arena_fd(&self) -> S::FileRef<'_> {
        self.inner.system.file()
    }

    /// The process that started `process`, if that is known.
    #[must_use]
    pub fn parent_of(&self, process: ProcessRef) -> ProcessRef {
        let entry = self.inner.tables.processes.get(usize::from(process.slot()));
        // ORDER: Relaxed. Information only.
        entry.map_or(ProcessRef::NONE, |e| ProcessRef::from_bits(e.parent.load(Ordering::Relaxed)))
    }

    /// The calling process, a parent, has reaped the process `pid`: takes back what it held. `process` is its name in the
    /// registry, or [`ProcessRef::NONE`] if it never told.
    pub fn note_gone(&self, pid: u32, process: ProcessRef) {
        if self.enter().is_ok() {
            self.registry().note_gone(S::number(pid), process);
        }
    }

    /// The processes that are in the family now, the calling one among them.
    #[must_use]
    pub fn processes_alive(&self) -> usize {
        self.registry().processes().count()
    }

    /// Asks the system about every process of the family, and takes back what the dead held. Whoever sleeps does this by itself
    /// when its backstop is over; what nobody sleeps for may stand until then.
    pub fn patrol(&self) {
        if self.enter().is_ok() {
            self.registry().patrol();
        }
    }

    /// Process slots and lanes that are not free, whatever their processes do: for audits.
    #[must_use]
    pub fn slots_and_lanes_in_use(&self) -> (usize, usize) {
        let registry = self.registry();
        (registry.slots_in_use(), registry.lanes_in_use())
    }

    /// The calling thread's lane, if it has one: for tests.
    #[must_use]
    pub fn lane(&self) -> Option<usize> {
        threads::lane(self.inner)
    }

    /// Whether the thread that has `lane` sleeps, and nobody has woken it; `None` where only the system knows. For tests.
    #[must_use]
    pub fn is_asleep(&self, lane: usize) -> Option<bool> {
        self.inner.system.is_asleep(&self.inner.tables, lane)
    }

    fn registry(&self) -> Registry<'static, Inner<S>> {
        self.inner.registry()
    }
}

impl<S: System> fmt::Debug for Family<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Family {{ id: {:016x} }}", self.inner.id)
    }
}

impl Local {
    fn leak<S: System>(parent: ProcessRef, forked_from: Option<&'static Self>) -> &'static Self {
        Box::leak(Box::new(Self {
            generation: S::generation(),
            parent,
            space: S::space(),
            me: AtomicU64::new(0),
            forked_from,
            state: Mutex::new(State::New),
            objects: Mutex::new(HashMap::new()),
        }))
    }
}

impl<S: System> Inner<S> {
    /// The state that was installed last: this process's, or an ancestor's in a child that has not come in yet.
    #[inline]
    fn newest(&self) -> &'static Local {
        // ORDER: Acquire, with the CAS in `threads::local`.
        // SAFETY: only leaked `Local`s are ever stored here, never null.
        unsafe { &*self.local.load(Ordering::Acquire) }
    }

    #[inline]
    fn me(&'static self) -> ProcessRef {
        if !threads::is_in(self) && threads::enter(self).is_err() {
            return ProcessRef::NONE;
        }
        // ORDER: Relaxed. Written before this thread's lane was taken.
        ProcessRef::from_bits(self.newest().me.load(Ordering::Relaxed))
    }

    /// The tables, seen by the calling thread, with or without a lane.
    #[inline]
    fn registry(&'static self) -> Registry<'static, Self> {
        match self.me() {
            ProcessRef::NONE => Registry::newcomer(self.tables, self, ProcessRef::NONE),
            me => Registry::new(self.tables, self, me),
        }
    }
}

// SAFETY: the registry's promises L1 to L3.
unsafe impl<S: System> Liveness for Family<S> {
    #[inline]
    fn is_dead(&self, process: ProcessRef) -> bool {
        self.registry().is_dead(process)
    }

    #[inline]
    fn death_epoch(&self) -> u32 {
        // ORDER: Acquire, as in the registry.
        self.inner.tables.head.epoch.load(Ordering::Acquire)
    }
}

// SAFETY: forwards to `Inner`.
unsafe impl<S: System> Wait for Family<S> {
    const MOST_WATCHES: usize = S::MOST_WATCHES;

    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        let woken = self.inner.wait(watches, until);
        if self.enter().is_ok() {
            // A process that left lets its survivors collect: those whom it woke do.
            self.registry().settle();
        }
        woken
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        self.inner.wake(word, most)
    }

    fn now(&self) -> Deadline {
        self.inner.now()
    }

    #[inline(always)]
    fn light_barrier(&self) {
        self.inner.light_barrier();
    }

    fn heavy_barrier(&self) {
        self.inner.heavy_barrier();
    }

    fn is_alone(&self) -> bool {
        self.inner.is_alone()
    }
}

// SAFETY: the registry's promises F1 to F4.
unsafe impl<S: System> crate::wait::Family for Family<S> {
    #[inline]
    fn me(&self) -> ProcessRef {
        self.inner.me()
    }

    fn epoch_word(&self) -> &AtomicU32 {
        &self.inner.tables.head.epoch
    }

    fn newcomers_word(&self) -> Option<&AtomicU32> {
        Some(&self.inner.tables.head.newcomers)
    }

    fn life_watch(&self, process: ProcessRef) -> Option<Watch<'_>> {
        self.inner.life_watch_of(process)
    }

    fn backstop(&self) -> u64 {
        S::backstop()
    }
}

//! One process's part in a family: the arena, its name in the registry, its threads' lanes, its objects.
//!
//! [`Family`] is a `Copy` handle on state that lives as long as the process, since the kernel's lists point into the
//! arena. It knows which process it is in: after a fork the child registers as a process of its own at its first use.
//!
//! | file | what |
//! |---|---|
//! | `platform` | what core's protocols need of this system |
//! | `threads` | lanes: taken at a thread's first use, given back at its end |
//! | `objects` | regions: making, joining, leaving; the audit |

mod objects;
mod platform;
mod threads;

pub use objects::{Object, ObjectError, Trace, set_trace};

use crate::arena::{self, Arena};
use crate::barrier::{self, Barrier};
use crate::error::OsError;
use crate::{generation, pidfd};
use offspring_core::family::layout::{FAMILY_MAGIC, FAMILY_VERSION, GRANULE, HEAP_AT};
use offspring_core::family::{Registry, Tables};
use offspring_core::prim::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::wait::{Deadline, Wait, Watch, Woken};
use std::collections::HashMap;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

const ASYMMETRIC: u32 = 1;
const FENCES: u32 = 2;

/// How a new family shall be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of the arena in bytes: address space, not memory.
    pub arena_len: u64,
    /// Use plain fences even where the system offers the asymmetric barrier: for families with members that may not
    /// register for it.
    pub fences: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { arena_len: arena::DEFAULT_LEN, fences: false }
    }
}

/// Why a process, or one of its threads, takes no part in a family.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FamilyError {
    /// The operating system refused something.
    Os(OsError),
    /// The descriptor leads to something that is no family of this version; what is wrong with it.
    NotOurs(&'static str),
    /// This process cannot register for the barrier that the family uses.
    Barrier(OsError),
    /// 4096 processes live in the family already.
    TooManyProcesses,
    /// 8192 threads use the family's arena already.
    TooManyThreads,
    /// This process has left the family.
    Left,
}

impl fmt::Display for FamilyError {
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

impl std::error::Error for FamilyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os(error) | Self::Barrier(error) => Some(error),
            _ => None,
        }
    }
}

impl From<OsError> for FamilyError {
    fn from(error: OsError) -> Self {
        Self::Os(error)
    }
}

/// What a call of this module returns.
pub type Result<T, E = FamilyError> = std::result::Result<T, E>;

/// This process's part in a family.
///
/// # Blocking and crash
///
/// Whatever this process holds is taken back when it is dead, whichever instruction it died at. A *stopped* process
/// blocks others only while it holds the family lock: within the making, joining, leaving and freeing of objects.
#[derive(Clone, Copy)]
pub struct Family {
    inner: &'static Inner,
}

/// What all threads of this process, and of its forked children, share; never freed.
struct Inner {
    arena: Arena,
    tables: Tables<'static>,
    barrier: Barrier,
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
    /// The pid namespace of this process, 0 if /proc does not tell.
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

impl Family {
    /// Founds a family with this process as its root.
    ///
    /// # Errors
    ///
    /// [`FamilyError::Os`]: no arena, or no life word.
    pub fn create(options: &Options) -> Result<Self> {
        let arena = Arena::create(options.arena_len.max(HEAP_AT + GRANULE))?;
        let asymmetric = !options.fences && barrier::available();
        let barrier = if asymmetric {
            Barrier::asymmetric().unwrap_or(Barrier::fences())
        } else {
            Barrier::fences()
        };
        // Its first page is written below; the tables' other pages come with their first use.
        arena.commit(0, arena.page())?;
        // SAFETY: the arena is mapped, longer than HEAP_AT, and goes into `Inner`, which is never freed.
        let tables = unsafe { Tables::at(arena.base().as_ptr(), arena.len()) };
        let head = tables.head;
        // ORDER: Relaxed. Carried by the magic.
        head.version.store(FAMILY_VERSION, Ordering::Relaxed);
        let mode = if barrier.is_asymmetric() { ASYMMETRIC } else { FENCES };
        head.barrier.store(mode, Ordering::Relaxed);
        let id = random()?;
        head.family_id.store(id, Ordering::Relaxed);
        head.arena_len.store(arena.len(), Ordering::Relaxed);
        head.process_count.store(tables.processes.len() as u32, Ordering::Relaxed);
        head.lane_count.store(tables.lanes.len() as u32, Ordering::Relaxed);
        head.region_count.store(tables.regions.len() as u32, Ordering::Relaxed);
        head.free_from.store(HEAP_AT, Ordering::Relaxed);
        // ORDER: Release, with the Acquire in `join`.
        head.magic.store(FAMILY_MAGIC, Ordering::Release);
        let family = Self::new(arena, tables, barrier, id, ProcessRef::NONE);
        family.enter()?;
        Ok(family)
    }

    /// Takes part, after exec, in the family whose arena this process was handed; `parent` started it.
    ///
    /// # Errors
    ///
    /// No arena, a family of another version, a barrier that this process cannot register for, or no free slot.
    pub fn join(arena: OwnedFd, parent: ProcessRef) -> Result<Self> {
        let arena = Arena::from_fd(arena)?;
        if arena.len() < HEAP_AT + GRANULE {
            return Err(FamilyError::NotOurs("the arena is too short"));
        }
        // SAFETY: as in `create`.
        let tables = unsafe { Tables::at(arena.base().as_ptr(), arena.len()) };
        let head = tables.head;
        // ORDER: Acquire, with the Release in `create`.
        if head.magic.load(Ordering::Acquire) != FAMILY_MAGIC {
            return Err(FamilyError::NotOurs("the arena has no family's head"));
        }
        // ORDER: Relaxed. Carried by the magic, constant since.
        let counts = [&head.process_count, &head.lane_count, &head.region_count]
            .map(|count| count.load(Ordering::Relaxed) as usize);
        if head.version.load(Ordering::Relaxed) != FAMILY_VERSION
            || head.arena_len.load(Ordering::Relaxed) != arena.len()
            || counts != [tables.processes.len(), tables.lanes.len(), tables.regions.len()]
        {
            return Err(FamilyError::NotOurs("the arena is of another version of this library"));
        }
        let barrier = match head.barrier.load(Ordering::Relaxed) {
            ASYMMETRIC => Barrier::asymmetric().map_err(FamilyError::Barrier)?,
            FENCES => Barrier::fences(),
            _ => return Err(FamilyError::NotOurs("the arena names an unknown barrier")),
        };
        let id = head.family_id.load(Ordering::Relaxed);
        let family = Self::new(arena, tables, barrier, id, parent);
        family.enter()?;
        Ok(family)
    }

    fn new(
        arena: Arena,
        tables: Tables<'static>,
        barrier: Barrier,
        id: u64,
        parent: ProcessRef,
    ) -> Self {
        let local = Local::leak(parent, None);
        let inner = Inner {
            arena,
            tables,
            barrier,
            id,
            local: AtomicPtr::new(std::ptr::from_ref(local).cast_mut()),
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
    pub fn after_fork_in_child(&self) -> Result<()> {
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
    pub fn enter(&self) -> Result<()> {
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

    /// The arena's file, to hand to a child.
    #[must_use]
    pub fn arena_fd(&self) -> BorrowedFd<'_> {
        self.inner.arena.fd()
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
            self.registry().note_gone(pid, process);
        }
    }

    /// The processes that are in the family now, the calling one among them.
    #[must_use]
    pub fn processes_alive(&self) -> usize {
        self.registry().processes().count()
    }

    /// Process slots and lanes that are not free, whatever their processes do: for audits.
    #[must_use]
    pub fn slots_and_lanes_in_use(&self) -> (usize, usize) {
        let registry = self.registry();
        (registry.slots_in_use(), registry.lanes_in_use())
    }

    fn registry(&self) -> Registry<'static, Inner> {
        self.inner.registry()
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Family {{ id: {:016x} }}", self.inner.id)
    }
}

impl Local {
    fn leak(parent: ProcessRef, forked_from: Option<&'static Self>) -> &'static Self {
        Box::leak(Box::new(Self {
            generation: generation::current(),
            parent,
            space: std::fs::metadata("/proc/self/ns/pid").map_or(0, |ns| ns.ino()),
            me: AtomicU64::new(0),
            forked_from,
            state: Mutex::new(State::New),
            objects: Mutex::new(HashMap::new()),
        }))
    }
}

impl Inner {
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
unsafe impl Liveness for Family {
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
unsafe impl Wait for Family {
    const MOST_WATCHES: usize = <Inner as Wait>::MOST_WATCHES;

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

// SAFETY: the registry's promises F1 to F3.
unsafe impl offspring_core::wait::Family for Family {
    #[inline]
    fn me(&self) -> ProcessRef {
        self.inner.me()
    }

    fn epoch_word(&self) -> &AtomicU32 {
        &self.inner.tables.head.epoch
    }

    fn life_watch(&self, process: ProcessRef) -> Option<Watch<'_>> {
        self.inner.life_watch_of(process)
    }

    fn backstop(&self) -> u64 {
        platform::backstop()
    }
}

fn random() -> Result<u64> {
    let mut bytes = [0_u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the buffer is writable for that many bytes.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) if crate::error::errno() == libc::EINTR => {}
            Err(_) => return Err(OsError::last("read", "a random number for the family").into()),
        }
    }
    Ok(u64::from_le_bytes(bytes))
}

/// The name that the system has for the calling process, 0 if it has none.
fn identity() -> u64 {
    pidfd::identity_of_self().unwrap_or(0)
}

//! One process's part in a family on Unix: [`offspring_core::part`] over the arena, life cells, futexes and pidfds.

use crate::arena::{self, Arena};
use crate::barrier::{self, Barrier};
use crate::error::OsError;
use crate::life::{self, LifeCell};
use crate::pidfd::{self, PidFd};
use crate::{futex, generation};
use offspring_core::family::{Life, Tables};
use offspring_core::part::{self, System, Traces};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Watch, Woken};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;

pub use offspring_core::part::{Object, Options};

/// This process's part in a family.
pub type Family = part::Family<Unix>;
/// Why a process, or one of its threads, takes no part in a family.
pub type FamilyError = part::FamilyError<OsError>;
/// Why there is no object.
pub type ObjectError = part::ObjectError<OsError>;
/// How to find the references in one kind of object.
pub type Trace = part::Trace<Unix>;
/// What a call of this module returns.
pub type Result<T, E = FamilyError> = std::result::Result<T, E>;

static TRACES: Traces<Unix> = Traces::new();

/// Says how to trace the objects of `kind` (below 64), before this process uses any.
///
/// # Panics
///
/// If `kind` is 64 or more.
pub fn set_trace(kind: u32, trace: Trace) {
    TRACES.set(kind, trace);
}

/// How long a sleeper trusts notices, in nanoseconds: where life words work, and elsewhere.
const BACKSTOP: u64 = 1_000_000_000;
const BACKSTOP_WITHOUT_LIFE: u64 = 100_000_000;

/// An arena of this platform, and the barrier that its family uses.
#[derive(Debug)]
pub struct Unix {
    arena: Arena,
    barrier: Barrier,
}

fn cell<'a>(tables: &Tables<'a>, lane: usize) -> Option<&'a LifeCell> {
    let area = tables.lanes.get(lane)?.life.pointer();
    // SAFETY: a life area is 64 bytes of shared memory aligned to 64, all of it atomics in this crate's eyes, and mapped
    // as long as the tables are.
    Some(unsafe { &*area.cast::<LifeCell>() })
}

// SAFETY: S1: `Arena` maps the whole file once; its pages come with their first use. S2: the arena commits by
// `fallocate` and punches holes. S3: the futex module, whose words are never process-private, and the barrier, in the mode
// that the caller says. S4: the life module's D1. S5: pidfds name a process for good, and are ready when its last
// thread is gone. S6: the generation module. S7: pids.
unsafe impl System for Unix {
    type Error = OsError;
    type File = OwnedFd;
    type FileRef<'a> = BorrowedFd<'a>;

    const MOST_WATCHES: usize = futex::MOST_WATCHES;
    const ARENA_LEN: u64 = arena::DEFAULT_LEN;

    fn create(len: u64, fences: bool) -> Result<Self, OsError> {
        let arena = Arena::create(len)?;
        let asymmetric = !fences && barrier::available();
        let barrier = if asymmetric {
            Barrier::asymmetric().unwrap_or(Barrier::fences())
        } else {
            Barrier::fences()
        };
        // The head's page is written at once; the tables' other pages come with their first use.
        arena.commit(0, arena.page())?;
        Ok(Self { arena, barrier })
    }

    fn attach(file: OwnedFd) -> Result<Self, OsError> {
        Ok(Self { arena: Arena::from_fd(file)?, barrier: Barrier::fences() })
    }

    fn file(&self) -> BorrowedFd<'_> {
        self.arena.fd()
    }

    fn is_asymmetric(&self) -> bool {
        self.barrier.is_asymmetric()
    }

    fn use_barrier(&mut self, asymmetric: bool) -> Result<(), OsError> {
        self.barrier = if asymmetric { Barrier::asymmetric()? } else { Barrier::fences() };
        Ok(())
    }

    #[inline]
    fn base(&self) -> NonNull<u8> {
        self.arena.base()
    }

    #[inline]
    fn len(&self) -> u64 {
        self.arena.len()
    }

    fn page(&self) -> u64 {
        self.arena.page()
    }

    fn commit(&self, offset: u64, len: u64) -> Result<(), OsError> {
        self.arena.commit(offset, len)
    }

    fn commit_more(&self, offset: u64, len: u64) -> Result<(), OsError> {
        self.arena.commit_more(offset, len)
    }

    fn release(&self, offset: u64, len: u64) -> Result<(), OsError> {
        self.arena.release(offset, len)
    }

    fn resident_bytes(&self) -> Result<u64, OsError> {
        self.arena.resident_bytes()
    }

    fn wait(
        &self,
        _: &Tables<'_>,
        _: Option<usize>,
        watches: &[Watch<'_>],
        until: Option<Deadline>,
    ) -> Woken {
        futex::wait(watches, until)
    }

    fn wake(&self, _: &Tables<'_>, word: &AtomicU32, most: u32) -> u32 {
        futex::wake(word, most)
    }

    fn now() -> Deadline {
        futex::now()
    }

    fn is_alone() -> bool {
        crate::cores::is_alone()
    }

    #[inline(always)]
    fn light_barrier(&self) {
        self.barrier.light();
    }

    fn heavy_barrier(&self) {
        self.barrier.heavy();
    }

    fn backstop() -> u64 {
        if life::available().is_ok() { BACKSTOP } else { BACKSTOP_WITHOUT_LIFE }
    }

    #[inline]
    fn life(&self, tables: &Tables<'_>, lane: usize) -> Life {
        let Some(cell) = cell(tables, lane) else { return Life::Free };
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

    fn life_watch<'a>(&'a self, tables: &Tables<'a>, lane: usize) -> Option<Watch<'a>> {
        life::watch(cell(tables, lane)?)
    }

    unsafe fn hold_life(&self, tables: &Tables<'_>, lane: usize) -> bool {
        if life::available().is_err() {
            // Deaths are found by pidfd alone.
            return true;
        }
        let Some(cell) = cell(tables, lane) else { return false };
        // SAFETY: the arena stays mapped as long as the process lives.
        life::init(cell).is_ok() && unsafe { life::try_hold(cell) }.is_ok()
    }

    unsafe fn release_life(&self, tables: &Tables<'_>, lane: usize) {
        if let Some(cell) = cell(tables, lane)
            && life::release(cell).is_ok()
        {
            // They slept for the death of a thread that will not die here any more.
            futex::wake(life::word(cell), u32::MAX);
        }
    }

    fn number(pid: u32) -> u32 {
        pid
    }

    fn identity() -> u64 {
        pidfd::identity_of_self().unwrap_or(0)
    }

    fn space() -> u64 {
        std::fs::metadata("/proc/self/ns/pid").map_or(0, |ns| ns.ino())
    }

    fn is_gone(&self, pid: u32, identity: u64) -> Option<bool> {
        if pid == 0 {
            return None;
        }
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
            let _ = process.wait_gone(Some(futex::now().after(Self::backstop())));
        }
    }

    #[inline]
    fn generation() -> u32 {
        generation::current()
    }

    /// The main thread: the kernel marks its lane.
    fn ends_with_process() -> bool {
        // SAFETY: takes nothing, touches nothing.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) };
        u32::try_from(thread).is_ok_and(|thread| thread == std::process::id())
    }

    fn random() -> Result<u64, OsError> {
        let mut bytes = [0_u8; 8];
        let mut filled = 0;
        while filled < bytes.len() {
            let rest = &mut bytes[filled..];
            // SAFETY: the buffer is writable for that many bytes.
            let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(got) {
                Ok(got) => filled += got,
                Err(_) if crate::error::errno() == libc::EINTR => {}
                Err(_) => return Err(OsError::last("read", "a random number for the family")),
            }
        }
        Ok(u64::from_le_bytes(bytes))
    }

    fn life_refused() -> OsError {
        OsError::new("hold", "a life word in the arena", libc::EBUSY)
            .with_advice("its memory is damaged: some process wrote wild")
    }

    fn out_of_range(range: String) -> OsError {
        OsError::new("commit", range, libc::EINVAL)
    }

    fn traces() -> &'static Traces<Self> {
        &TRACES
    }
}

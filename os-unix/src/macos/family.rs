//! One process's part in a family on macOS: [`offspring_core::part`] over the arena, parking and kqueues. Type-checked, not run.

use crate::arena::{self, Arena};
use crate::error::OsError;
use crate::park::{self, Parking};
use crate::pidfd::{self, PidFd};
use crate::{barrier, cores, futex, generation, life};
use offspring_core::family::layout::{HEAP_AT, PARKING_AT};
use offspring_core::family::{Life, Tables};
use offspring_core::parking::{BUCKETS, Bucket};
use offspring_core::part::{self, System, Traces};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Watch, Woken};
use std::os::fd::{BorrowedFd, OwnedFd};
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

/// How long a sleeper trusts notices, in nanoseconds.
const BACKSTOP: u64 = 1_000_000_000;

/// An arena of this platform.
#[derive(Debug)]
pub struct Unix {
    arena: Arena,
    /// Where the next wake of one begins to look.
    turn: AtomicU32,
}

impl Unix {
    fn parking<'a>(&'a self, tables: &Tables<'a>) -> Parking<'a> {
        let buckets = self.arena.base().as_ptr().wrapping_add(PARKING_AT).cast::<Bucket>();
        // SAFETY: the tables' pages, buckets among them, are committed since `create`; all of it atomics, mapped as long as `self`
        // lives.
        let buckets = unsafe { std::slice::from_raw_parts(buckets, BUCKETS) };
        Parking { tables: *tables, buckets }
    }
}

// SAFETY: S1: `Arena` maps the whole object once. S2: touched pages stay, `release` makes them zero. S3: the park module, core's
// parking over bells; the barrier is a full fence on both sides. S4: the life module marks a place only after the system said that
// its process is a zombie, another, or none. S5: number and start. S6: the generation module. S7: pids, below 2^17. S8 to S15: as
// the modules say; no suite has held them to it on this system yet.
unsafe impl System for Unix {
    type Error = OsError;
    type File = OwnedFd;
    type FileRef<'a> = BorrowedFd<'a>;

    const MOST_WATCHES: usize = park::MOST_WATCHES;
    const ARENA_LEN: u64 = arena::DEFAULT_LEN;

    fn create(len: u64, _fences: bool) -> Result<Self, OsError> {
        let arena = Arena::create(len)?;
        arena.commit(0, HEAP_AT)?;
        Ok(Self { arena, turn: AtomicU32::new(0) })
    }

    fn attach(file: OwnedFd) -> Result<Self, OsError> {
        Ok(Self { arena: Arena::from_fd(file)?, turn: AtomicU32::new(0) })
    }

    fn file(&self) -> BorrowedFd<'_> {
        self.arena.fd()
    }

    fn is_asymmetric(&self) -> bool {
        false
    }

    fn use_barrier(&mut self, asymmetric: bool) -> Result<(), OsError> {
        if asymmetric {
            let object = "the asymmetric barrier between processes";
            return Err(OsError::new("use", object, libc::ENOTSUP)
                .with_advice("macOS has none; a family that was founded there uses fences"));
        }
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
        tables: &Tables<'_>,
        lane: Option<usize>,
        watches: &[Watch<'_>],
        until: Option<Deadline>,
    ) -> Woken {
        self.parking(tables).wait(lane, watches, until)
    }

    fn wake(&self, tables: &Tables<'_>, word: &AtomicU32, most: u32) -> u32 {
        // ORDER: Relaxed. Only spreads the wakes.
        let from = self.turn.fetch_add(1, Ordering::Relaxed);
        self.parking(tables).wake(word, most, from as usize)
    }

    fn now() -> Deadline {
        futex::now()
    }

    fn is_alone() -> bool {
        cores::is_alone()
    }

    #[inline(always)]
    fn light_barrier(&self) {
        barrier::light();
    }

    fn heavy_barrier(&self) {
        barrier::heavy();
    }

    fn backstop() -> u64 {
        BACKSTOP
    }

    fn life(&self, tables: &Tables<'_>, lane: usize) -> Life {
        life::place(tables, lane).map_or(Life::Free, life::Place::life)
    }

    fn life_watch<'a>(&'a self, tables: &Tables<'a>, lane: usize) -> Option<Watch<'a>> {
        life::place(tables, lane)?.watch()
    }

    unsafe fn hold_life(&self, tables: &Tables<'_>, lane: usize) -> bool {
        pidfd::identity_of_self().is_ok_and(|identity| self.parking(tables).hold(lane, identity))
    }

    unsafe fn release_life(&self, tables: &Tables<'_>, lane: usize) {
        self.parking(tables).release(lane);
    }

    fn number(pid: u32) -> u32 {
        pid
    }

    fn identity() -> u64 {
        pidfd::identity_of_self().unwrap_or(0)
    }

    /// There is one.
    fn space() -> u64 {
        0
    }

    fn is_gone(&self, number: u32, identity: u64) -> Option<bool> {
        if number == 0 { None } else { pidfd::is_gone(number, identity) }
    }

    fn await_gone(&self, number: u32, identity: u64) {
        if let Ok(process) = PidFd::open(number)
            && (identity == 0 || process.identity() == identity)
        {
            // The caller looks again either way.
            let _ = process.wait_gone(Some(futex::now().after(BACKSTOP)));
        }
    }

    #[inline]
    fn generation() -> u32 {
        generation::current()
    }

    /// The main thread: its end is the process's, and its lane the proof of that.
    fn ends_with_process() -> bool {
        // SAFETY: takes nothing.
        unsafe { libc::pthread_main_np() != 0 }
    }

    fn random() -> Result<u64, OsError> {
        let mut number = 0_u64;
        // SAFETY: eight writable bytes; the call cannot fail.
        unsafe { libc::arc4random_buf((&raw mut number).cast(), 8) };
        Ok(number)
    }

    fn life_refused() -> OsError {
        OsError::new("hold", "a life word in the arena", libc::EBUSY).with_advice(
            "this process has no start time, or the arena is damaged: some process wrote wild",
        )
    }

    fn out_of_range(range: String) -> OsError {
        OsError::new("commit", range, libc::EINVAL)
    }

    fn traces() -> &'static Traces<Self> {
        &TRACES
    }
}

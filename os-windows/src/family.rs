//! One process's part in a family on Windows: [`offspring_core::part`] over the arena, parking and process handles.

use crate::arena::{self, Arena};
use crate::error::OsError;
use crate::event::Events;
use crate::life;
use crate::park::{self, Parking};
use crate::peers::{Known, Peers};
use crate::{barrier, clock, cores, process};
use offspring_core::family::layout::{HEAP_AT, PARKING_AT};
use offspring_core::family::{Life, Tables};
use offspring_core::parking::{BUCKETS, Bucket};
use offspring_core::part::{self, System, Traces};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::wait::{Deadline, Watch, Woken};
use std::os::windows::io::{BorrowedHandle, OwnedHandle};
use std::ptr::NonNull;
use std::sync::Arc;
use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, ERROR_LOCKED, ERROR_NOT_SUPPORTED};
use windows_sys::Win32::Security::Authentication::Identity::RtlGenRandom;

pub use offspring_core::part::{Object, Options};

/// This process's part in a family.
pub type Family = part::Family<Windows>;
/// Why a process, or one of its threads, takes no part in a family.
pub type FamilyError = part::FamilyError<OsError>;
/// Why there is no object.
pub type ObjectError = part::ObjectError<OsError>;
/// How to find the references in one kind of object.
pub type Trace = part::Trace<Windows>;
/// What a call of this module returns.
pub type Result<T, E = FamilyError> = std::result::Result<T, E>;

static TRACES: Traces<Windows> = Traces::new();

/// Says how to trace the objects of `kind` (below 64), before this process uses any.
///
/// # Panics
///
/// If `kind` is 64 or more.
pub fn set_trace(kind: u32, trace: Trace) {
    TRACES.set(kind, trace);
}

/// How long a sleeper trusts notices, in nanoseconds.
static BACKSTOP: AtomicU64 = AtomicU64::new(1_000_000_000);

/// From now on sleepers of this process trust notices for so many nanoseconds, instead of one second: for tests that a backstop
/// would help over a notice that was lost.
#[doc(hidden)]
pub fn set_backstop(nanos: u64) {
    // ORDER: Relaxed. A setting.
    BACKSTOP.store(nanos, Ordering::Relaxed);
}

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "system" {
    /// Whether the process is ending: all other threads are gone, and libraries are being told.
    fn RtlDllShutdownInProgress() -> u8;
}

/// An arena of this platform, and this process's handles on the family's events and processes.
#[derive(Debug)]
pub struct Windows {
    arena: Arena,
    events: Arc<Events>,
    peers: Peers,
    /// Where the next wake of one begins to look.
    turn: AtomicU32,
}

impl Windows {
    fn new(arena: Arena) -> Self {
        let turn = AtomicU32::new(0);
        Self { arena, events: Arc::default(), peers: Peers::default(), turn }
    }

    fn parking<'a>(&'a self, tables: &Tables<'a>) -> Parking<'a> {
        let buckets = self.arena.base().as_ptr().wrapping_add(PARKING_AT).cast::<Bucket>();
        Parking {
            tables: *tables,
            // SAFETY: the tables' pages, buckets among them, are committed since `create` or `attach`; all of it atomics,
            // mapped as long as `self` lives.
            buckets: unsafe { std::slice::from_raw_parts(buckets, BUCKETS) },
            // ORDER: Relaxed. Constant since the family was founded; carried by the head's magic.
            family: tables.head.family_id.load(Ordering::Relaxed),
            events: &self.events,
            peers: &self.peers,
        }
    }
}

// SAFETY: S1: `Arena` maps the whole section once, at a multiple of 64 KiB; `create` and `attach` commit the tables. S2:
// committed pages stay committed, `release` makes them zero. S3: the park module, core's parking over events; the barrier is a
// full fence on both sides. S4: the life module marks a place only after its process's handle was signalled, which is when its
// last thread is gone. S5: a handle and the creation time. S6: there is no fork. S7: ids are multiples of four;
// one that is too large has the number 0, of which nothing is told.
unsafe impl System for Windows {
    type Error = OsError;
    type File = OwnedHandle;
    type FileRef<'a> = BorrowedHandle<'a>;

    const MOST_WATCHES: usize = park::MOST_WATCHES;
    const ARENA_LEN: u64 = arena::DEFAULT_LEN;

    fn create(len: u64, _fences: bool) -> Result<Self, OsError> {
        let arena = Arena::create(len)?;
        arena.commit(0, HEAP_AT)?;
        Ok(Self::new(arena))
    }

    fn attach(file: OwnedHandle) -> Result<Self, OsError> {
        let arena = Arena::from_handle(file)?;
        // The root did it; for a section that is no family's, so that looking at its head is an error and no fault.
        arena.commit(0, HEAP_AT.min(arena.len()))?;
        Ok(Self::new(arena))
    }

    fn file(&self) -> BorrowedHandle<'_> {
        self.arena.handle()
    }

    fn is_asymmetric(&self) -> bool {
        false
    }

    fn use_barrier(&mut self, asymmetric: bool) -> Result<(), OsError> {
        if asymmetric {
            let object = "the asymmetric barrier between processes";
            return Err(OsError::new("use", object, ERROR_NOT_SUPPORTED as i32));
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

    fn is_asleep(&self, tables: &Tables<'_>, lane: usize) -> Option<bool> {
        Some(self.parking(tables).is_asleep(lane))
    }

    fn now() -> Deadline {
        clock::now()
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
        // ORDER: Relaxed. A setting.
        BACKSTOP.load(Ordering::Relaxed)
    }

    fn life(&self, tables: &Tables<'_>, lane: usize) -> Life {
        let Some(place) = life::place(tables, lane) else { return Life::Free };
        place.life(|holder| self.peers.is_gone(holder.pid, holder.identity) == Some(true))
    }

    fn life_watch<'a>(&'a self, tables: &Tables<'a>, lane: usize) -> Option<Watch<'a>> {
        life::place(tables, lane)?.watch()
    }

    unsafe fn hold_life(&self, tables: &Tables<'_>, lane: usize) -> bool {
        self.parking(tables).hold(lane)
    }

    unsafe fn release_life(&self, tables: &Tables<'_>, lane: usize) {
        self.parking(tables).release(lane);
    }

    fn number(pid: u32) -> u32 {
        life::number(pid)
    }

    fn identity() -> u64 {
        process::identity_of_self()
    }

    /// There is one.
    fn space() -> u64 {
        0
    }

    fn is_gone(&self, number: u32, identity: u64) -> Option<bool> {
        self.peers.is_gone(life::pid(number)?, identity)
    }

    fn await_gone(&self, number: u32, identity: u64) {
        if let Some(pid) = life::pid(number)
            && let Known::Peer(peer) = self.peers.get(pid, identity)
        {
            // The caller looks again either way.
            let _ = peer.process().wait_gone(Some(clock::now().after(Self::backstop())));
        }
    }

    #[inline]
    fn generation() -> u32 {
        1
    }

    /// The thread that ends the process runs its destructors when the others are gone.
    fn ends_with_process() -> bool {
        // SAFETY: takes nothing, touches nothing.
        unsafe { RtlDllShutdownInProgress() != 0 }
    }

    fn random() -> Result<u64, OsError> {
        let mut bytes = [0_u8; 8];
        // SAFETY: the buffer is writable for that many bytes.
        match unsafe { RtlGenRandom(bytes.as_mut_ptr().cast(), bytes.len() as u32) } {
            false => Err(OsError::last("read", "a random number for the family")),
            true => Ok(u64::from_le_bytes(bytes)),
        }
    }

    fn life_refused() -> OsError {
        OsError::new("hold", "a lane's event or life word", ERROR_LOCKED as i32).with_advice(
            "too many handles are open, or the arena is damaged: some process wrote wild",
        )
    }

    fn out_of_range(range: String) -> OsError {
        OsError::new("commit", range, ERROR_INVALID_PARAMETER as i32)
    }

    fn traces() -> &'static Traces<Self> {
        &TRACES
    }
}

//! A word that the kernel marks when a thread is gone: the lock word of a robust mutex held for life.
//!
//! A thread that holds a cell is on the kernel's list of robust futexes. When it ends without having released
//! the cell, by whatever means, the kernel sets `FUTEX_OWNER_DIED` in the cell's lock word, after the last
//! instruction of that thread and after any copy that the kernel made on its behalf, and wakes one sleeper.
//! exec marks it, too; a forked child does not hold what its parent holds.
//!
//! The mutex is the C library's own, so that its list and ours are one. What it must look like, and where its
//! lock word is (glibc: first, musl: second word), is found out once by looking at one that the library made.
//! Invariants:
//!
//! - N1 The words of a fresh robust mutex that are not zero are never changed by locking it (`probe` checks
//!   that), so a cell can be set up again and again, by many at once, and a death in between leaves nothing half done.
//! - N2 A cell is 64 bytes, which every C library's mutex fits in (`probe` checks that).
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | D1 | kernel: mark in the dying thread's exit | load of the word (Acquire) | all that the thread did |

use crate::error::{OsError, Result};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::Watch;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Room for a robust mutex in shared memory; all zero = never used.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct LifeCell {
    words: [AtomicU32; WORDS],
}

const WORDS: usize = 16;

const _: () = assert!(size_of::<LifeCell>() == 64 && align_of::<LifeCell>() == 64);
// N2.
const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= size_of::<LifeCell>());
const _: () = assert!(align_of::<libc::pthread_mutex_t>() <= align_of::<LifeCell>());

impl LifeCell {
    /// A cell that was never used.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: [const { AtomicU32::new(0) }; WORDS] }
    }

    fn mutex(&self) -> *mut libc::pthread_mutex_t {
        self.words.as_ptr().cast_mut().cast()
    }
}

impl Default for LifeCell {
    fn default() -> Self {
        Self::new()
    }
}

/// How the caller's thread came to hold a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Nobody held it, or its holder had released it.
    Fresh,
    /// Its last holder ended without releasing it.
    Inherited,
}

/// Why a cell cannot be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    /// A living thread holds it; perhaps the calling one.
    Held,
    /// What lies there is no cell: never set up, or overwritten.
    Broken,
}

/// Whether life words work here.
///
/// # Errors
///
/// Unsupported: this C library or kernel has no robust mutexes between processes. Deaths must then be found
/// otherwise ([`pidfd`](crate::pidfd)).
pub fn available() -> Result<()> {
    shape().map(|_| ())
}

/// Makes the cell usable.
///
/// Idempotent, by any number of processes at once, and also while the cell is held. Each step may be the last
/// of the process that takes it.
///
/// # Errors
///
/// As [`available`].
pub fn init(cell: &LifeCell) -> Result<()> {
    let shape = shape()?;
    for (word, value) in cell.words.iter().zip(shape.fresh) {
        if value != 0 {
            // ORDER: Relaxed. N1: a constant that nobody changes any more; who takes the cell has called
            // `init`, or was told of the cell by somebody who had.
            word.store(value, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Takes the cell for the calling thread, without blocking.
///
/// After [`Held::Inherited`] the cell is as good as new.
///
/// # Errors
///
/// [`Busy`].
///
/// # Safety
///
/// The cell stays mapped at this address until the calling thread has released it or is gone: the thread's list
/// of robust mutexes points to it.
pub unsafe fn try_hold(cell: &LifeCell) -> Result<Held, Busy> {
    let shape = shape().map_err(|_| Busy::Broken)?;
    let set_up = cell.words.iter().zip(shape.fresh).all(|(word, value)| {
        // ORDER: Relaxed. N1: constants.
        value == 0 || word.load(Ordering::Relaxed) == value
    });
    if !set_up {
        return Err(Busy::Broken);
    }
    // SAFETY: N2, and the cell was just seen to hold a set-up robust mutex; it stays where it is, says the
    // caller.
    match unsafe { libc::pthread_mutex_trylock(cell.mutex()) } {
        0 => Ok(Held::Fresh),
        libc::EOWNERDEAD => {
            // SAFETY: the calling thread holds the mutex, which is inconsistent.
            match unsafe { libc::pthread_mutex_consistent(cell.mutex()) } {
                0 => Ok(Held::Inherited),
                _ => Err(Busy::Broken),
            }
        }
        libc::EBUSY | libc::EDEADLK => Err(Busy::Held),
        _ => Err(Busy::Broken),
    }
}

/// Gives back a cell that the calling thread holds.
///
/// # Errors
///
/// The calling thread does not hold it (as in a forked child of the process that does).
pub fn release(cell: &LifeCell) -> Result<()> {
    if tid_in(word(cell)) != own_tid() {
        return Err(OsError::new("release", "a life cell", libc::EPERM)
            .with_advice("only the thread that holds it can"));
    }
    // SAFETY: the calling thread holds the mutex (its number is in the word, and numbers of the living are
    // unique), so it was set up and is still mapped.
    match unsafe { libc::pthread_mutex_unlock(cell.mutex()) } {
        0 => Ok(()),
        code => Err(OsError::new("release", "a life cell", code)),
    }
}

/// The life word: the holder's thread number, and the kernel's bits. For sleeping on; see [`watch`].
#[must_use]
pub fn word(cell: &LifeCell) -> &AtomicU32 {
    // Where life words do not work nobody holds a cell, and any word of it is zero.
    &cell.words[shape().map_or(0, |shape| shape.lock)]
}

/// Whether the holder is gone without having released the cell. Stays so until somebody takes it.
#[inline]
#[must_use]
pub fn is_marked(cell: &LifeCell) -> bool {
    // ORDER: Acquire, D1.
    word(cell).load(Ordering::Acquire) & libc::FUTEX_OWNER_DIED != 0
}

/// Whether a thread that is not gone holds the cell.
#[must_use]
pub fn is_held(cell: &LifeCell) -> bool {
    // ORDER: Acquire, D1.
    held(word(cell).load(Ordering::Acquire))
}

fn held(value: u32) -> bool {
    value & libc::FUTEX_OWNER_DIED == 0 && value & libc::FUTEX_TID_MASK != 0
}

/// What to sleep on to be woken when the holder is gone: one sleeper on the word is.
///
/// `None` when nobody holds the cell, or its holder is gone already.
#[must_use]
pub fn watch(cell: &LifeCell) -> Option<Watch<'_>> {
    let word = word(cell);
    // ORDER: Acquire, D1; the same in the CAS, which changes nothing that others read through.
    let mut seen = word.load(Ordering::Acquire);
    loop {
        if !held(seen) {
            return None;
        }
        if seen & libc::FUTEX_WAITERS != 0 {
            return Some(Watch { word, seen });
        }
        // The kernel wakes at a death only where somebody said that he sleeps.
        let armed = seen | libc::FUTEX_WAITERS;
        match word.compare_exchange(seen, armed, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(Watch { word, seen: armed }),
            Err(now) => seen = now,
        }
    }
}

fn own_tid() -> u32 {
    // SAFETY: takes nothing, touches nothing.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

fn tid_in(word: &AtomicU32) -> u32 {
    // ORDER: Relaxed. Compared with the caller's own number, which only the caller writes.
    word.load(Ordering::Relaxed) & libc::FUTEX_TID_MASK
}

/// What a robust mutex of this C library looks like.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// A fresh one, in words.
    fresh: [u32; WORDS],
    /// Which word is the lock word.
    lock: usize,
}

#[inline]
fn shape() -> Result<&'static Shape> {
    static SHAPE: OnceLock<Result<Shape>> = OnceLock::new();
    SHAPE.get_or_init(probe).as_ref().map_err(Clone::clone)
}

/// Makes a robust mutex with the C library, locks it, and looks.
fn probe() -> Result<Shape> {
    let failed = |what: &'static str, code| {
        OsError::new(what, "a robust mutex between processes", code)
            .with_advice("this C library or kernel has none that can be used")
    };
    let cell = Box::new(LifeCell::new());
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: `attributes` is writable, initialised by the first call, used by the next, destroyed by the last;
    // N2: the cell has room for the mutex that `pthread_mutex_init` writes.
    let code = unsafe {
        let first_failure = [
            libc::pthread_mutexattr_init(attributes),
            libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST),
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED),
            libc::pthread_mutex_init(cell.mutex(), attributes),
        ];
        libc::pthread_mutexattr_destroy(attributes);
        first_failure.into_iter().find(|code| *code != 0)
    };
    if let Some(code) = code {
        return Err(failed("make", code));
    }
    let fresh = cell.words.each_ref().map(|word| word.load(Ordering::Relaxed));
    // SAFETY: just initialised; unlocked below before the cell is dropped.
    let code = unsafe { libc::pthread_mutex_trylock(cell.mutex()) };
    if code != 0 {
        return Err(failed("lock", code));
    }
    let locked = cell.words.each_ref().map(|word| word.load(Ordering::Relaxed));
    let listed = listed_word(&cell);
    // SAFETY: this thread holds the mutex.
    let code = unsafe { libc::pthread_mutex_unlock(cell.mutex()) };
    let unlocked = cell.words.each_ref().map(|word| word.load(Ordering::Relaxed));
    // SAFETY: nobody holds it or knows of it.
    unsafe { libc::pthread_mutex_destroy(cell.mutex()) };
    if code != 0 {
        return Err(failed("unlock", code));
    }
    let tid = own_tid();
    // The lock word is the one that the kernel's list says, else the first that names this thread (glibc has
    // the number a second time, in a word that the kernel does not mark).
    let named = (0..WORDS).find(|i| locked[*i] & libc::FUTEX_TID_MASK == tid);
    let lock = match listed {
        Listed::At(i) if locked[i] & libc::FUTEX_TID_MASK == tid => Some(i),
        Listed::At(_) | Listed::Elsewhere => None,
        Listed::Untold => named,
    };
    let Some(lock) = lock else { return Err(failed("find", libc::ENOSYS)) };
    // N1, and a released cell is as fresh as a new one where it counts.
    let steady = (0..WORDS).all(|i| {
        fresh[i] == 0 && (i != lock || unlocked[i] == 0)
            || fresh[i] == locked[i] && fresh[i] == unlocked[i]
    });
    if !steady {
        return Err(failed("understand", libc::ENOSYS));
    }
    Ok(Shape { fresh, lock })
}

/// Where the kernel's list of this thread's robust futexes says that a locked cell's lock word is.
enum Listed {
    At(usize),
    /// The list's first entry is not in the cell: the kernel would not mark it.
    Elsewhere,
    /// The kernel does not show the list.
    Untold,
}

/// The kernel's `struct robust_list_head`.
#[repr(C)]
struct ListHead {
    first: *const u8,
    lock_offset: isize,
    pending: *const u8,
}

fn listed_word(cell: &LifeCell) -> Listed {
    let mut head: *const ListHead = std::ptr::null();
    let mut size = 0_usize;
    // SAFETY: both results are writable locals; 0 is the calling thread.
    let done = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut size) };
    if done != 0 || head.is_null() || size != size_of::<ListHead>() {
        return Listed::Untold;
    }
    // SAFETY: the kernel gave the head that the C library registered for this thread, which lives as long as
    // the thread; only this thread changes it, and not now.
    let ListHead { first, lock_offset, pending: _ } = unsafe { head.read_volatile() };
    // The lowest bit of an entry is a flag of priority-inheriting mutexes.
    let lock = (first.addr() & !1).wrapping_add_signed(lock_offset);
    match lock.checked_sub(cell.words.as_ptr().addr()) {
        Some(bytes) if bytes < size_of::<LifeCell>() && bytes % 4 == 0 => Listed::At(bytes / 4),
        _ => Listed::Elsewhere,
    }
}

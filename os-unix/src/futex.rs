//! Sleep on several shared words at once, wake sleepers, and the clock that deadlines are points of.
//!
//! `futex_waitv` (Linux 5.16), never process-private, with absolute deadlines. Where the kernel or a filter
//! refuses it, a plain futex wait on the *first* word, cut to [`RECHECK`]: the other words are then noticed
//! late, but always.

use crate::error::errno;
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Watch, Woken};
use std::ptr;

/// How many words one wait can sleep on; of more, only the first so many are.
pub const MOST_WATCHES: usize = 128;

/// How long a sleeper trusts the first word alone where it cannot sleep on several, in nanoseconds.
pub const RECHECK: u64 = 100_000_000;

const NANOS: u64 = 1_000_000_000;

/// The size flag of a 32-bit word that other processes may wait on, too (no private flag).
const FUTEX2_SIZE_U32: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
struct WaitEntry {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

#[repr(C)]
struct KernelTime {
    seconds: i64,
    nanos: i64,
}

/// Not known yet, there, or refused.
static WAITV: AtomicU32 = AtomicU32::new(UNKNOWN);
const UNKNOWN: u32 = 0;
const REFUSED: u32 = 1;

/// Whether [`wait`] sleeps on all of its words, as far as this process knows.
#[must_use]
pub fn sleeps_on_many() -> bool {
    // ORDER: Relaxed. A fact about the kernel; nothing is read through it.
    WAITV.load(Ordering::Relaxed) != REFUSED
}

/// Sleeps while every word holds what was seen in it, until `until` at the latest.
///
/// May end early ([`Woken::Maybe`]): callers look again. Signals do not end it.
#[must_use]
pub fn wait(watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
    match watches {
        // Nobody knows this word: sleep to the deadline.
        [] => {
            let nobody = AtomicU32::new(0);
            wait_one(&Watch { word: &nobody, seen: 0 }, until)
        }
        [one] => wait_one(one, until),
        many if sleeps_on_many() => wait_many(many, until),
        many => wait_first(many, until),
    }
}

/// Wakes at most `most` sleepers on `word`, in whatever process; says how many it woke.
pub fn wake(word: &AtomicU32, most: u32) -> u32 {
    let most = most.min(i32::MAX as u32);
    // SAFETY: FUTEX_WAKE only uses the address of `word` as a key; a live reference is a valid one.
    let woken = unsafe {
        libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAKE, most, 0, 0, 0)
    };
    // It fails for addresses alone that are no memory, and a reference is none of these.
    u32::try_from(woken).unwrap_or(0)
}

/// Now, by the monotonic clock.
#[must_use]
pub fn now() -> Deadline {
    // SAFETY: all zero is a valid `timespec`.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `time` is writable; the clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Deadline(time.tv_sec as u64 * NANOS + time.tv_nsec as u64)
}

/// Nanoseconds as the C library writes them. Any number fits: 64 bits of them are 18 thousand million seconds.
pub(crate) fn timespec(nanos: u64) -> libc::timespec {
    libc::timespec { tv_sec: (nanos / NANOS) as _, tv_nsec: (nanos % NANOS) as _ }
}

fn wait_many(watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
    let empty = WaitEntry { value: 0, address: 0, flags: 0, reserved: 0 };
    let mut entries = [empty; MOST_WATCHES];
    let count = watches.len().min(MOST_WATCHES);
    for (entry, watch) in entries.iter_mut().zip(watches) {
        *entry = WaitEntry {
            value: u64::from(watch.seen),
            address: ptr::from_ref(watch.word) as u64,
            flags: FUTEX2_SIZE_U32,
            reserved: 0,
        };
    }
    // What does not fit is noticed as where nothing but the first word can be slept on.
    let cut = if watches.len() > count { recheck(until) } else { until };
    let time = cut.map(|until| KernelTime {
        seconds: (until.0 / NANOS) as i64,
        nanos: (until.0 % NANOS) as i64,
    });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    loop {
        // SAFETY: `entries` has at least `count` entries whose addresses are of live words; `time` is null or
        // points to a local that lives until after the call. The kernel only reads them.
        let done = unsafe {
            libc::syscall(
                libc::SYS_futex_waitv,
                entries.as_ptr(),
                count,
                0,
                time,
                libc::CLOCK_MONOTONIC,
            )
        };
        if done >= 0 {
            return Woken::Maybe;
        }
        match errno() {
            libc::EINTR => {}
            libc::ETIMEDOUT => return ended_by_time(until),
            libc::ENOSYS | libc::EPERM => {
                // ORDER: Relaxed, as in `sleeps_on_many`.
                WAITV.store(REFUSED, Ordering::Relaxed);
                return wait_first(watches, until);
            }
            // EAGAIN: a word changed already. Others (no memory for the kernel's own list): look again, but
            // let some time pass.
            libc::EAGAIN => return Woken::Maybe,
            _ => return wait_first(watches, until),
        }
    }
}

/// Sleeps on the first word alone, not for long, after a look at the others.
fn wait_first(watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
    // ORDER: Acquire. Sees what was stored before the change, as a sleeper that the kernel wakes does.
    if watches.iter().any(|watch| watch.word.load(Ordering::Acquire) != watch.seen) {
        return Woken::Maybe;
    }
    match wait_one(&watches[0], recheck(until)) {
        Woken::TimedOut => ended_by_time(until),
        woken => woken,
    }
}

fn wait_one(watch: &Watch<'_>, until: Option<Deadline>) -> Woken {
    let time = until.map(|until| timespec(until.0));
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    loop {
        // SAFETY: the word is live, and `time` is null or points to a local that lives until after the call.
        // FUTEX_WAIT_BITSET with all bits is FUTEX_WAIT with an absolute, monotonic deadline.
        let done = unsafe {
            libc::syscall(
                libc::SYS_futex,
                ptr::from_ref(watch.word),
                libc::FUTEX_WAIT_BITSET,
                watch.seen,
                time,
                ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
        if done == 0 {
            return Woken::Maybe;
        }
        match errno() {
            libc::EINTR => {}
            libc::ETIMEDOUT => return Woken::TimedOut,
            _ => return Woken::Maybe,
        }
    }
}

fn recheck(until: Option<Deadline>) -> Option<Deadline> {
    let soon = now().after(RECHECK);
    Some(until.map_or(soon, |until| until.min(soon)))
}

/// A wait that ended by a time-out: by the caller's, or by the cut one?
fn ended_by_time(until: Option<Deadline>) -> Woken {
    match until {
        Some(until) if now() >= until => Woken::TimedOut,
        _ => Woken::Maybe,
    }
}

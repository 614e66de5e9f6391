//! Sleeping on one word that processes share, and the clock of the deadlines. macOS; type-checked, not run.
//!
//! macOS 14.4 has `os_sync_wait_on_address` with its shared form; before that its own C library waits by `__ulock_wait`. Both are
//! looked up once by name, since a program that names the first does not start where it is missing. Neither waits for more
//! than one word: several are the business of [`park`](crate::park).

use crate::error::errno;
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Woken};
use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

/// Now, in nanoseconds since the machine started, without the time that it slept; the same in every process.
#[must_use]
pub fn now() -> Deadline {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable. The clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_UPTIME_RAW, &mut time) };
    Deadline(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

type OsSyncWait = unsafe extern "C" fn(*mut c_void, u64, usize, u32) -> c_int;
type OsSyncWaitTimeout = unsafe extern "C" fn(*mut c_void, u64, usize, u32, u32, u64) -> c_int;
type OsSyncWake = unsafe extern "C" fn(*mut c_void, usize, u32) -> c_int;
type UlockWait = unsafe extern "C" fn(u32, *mut c_void, u64, u32) -> c_int;
type UlockWake = unsafe extern "C" fn(u32, *mut c_void, u64) -> c_int;

/// `OS_SYNC_WAIT_ON_ADDRESS_SHARED`, and `OS_SYNC_WAKE_BY_ADDRESS_SHARED`.
const SHARED: u32 = 1;
/// `OS_CLOCK_MACH_ABSOLUTE_TIME`.
const UPTIME: u32 = 32;
/// `UL_COMPARE_AND_WAIT_SHARED`.
const COMPARE_AND_WAIT_SHARED: u32 = 3;
/// `ULF_WAKE_ALL`.
const WAKE_ALL: u32 = 0x100;
/// The longest that one call waits, in nanoseconds: microseconds of it fit into 32 bits.
const LONGEST: u64 = 1_000_000_000_000;

/// What this system waits with.
#[derive(Clone, Copy)]
enum Calls {
    OsSync {
        wait: OsSyncWait,
        wait_timeout: OsSyncWaitTimeout,
        wake_all: OsSyncWake,
    },
    Ulock {
        wait: UlockWait,
        wake: UlockWake,
    },
    /// Neither: sleepers look again and again.
    Nothing,
}

fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: a terminated name; any image of this process may have it.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

fn calls() -> Calls {
    static CALLS: OnceLock<Calls> = OnceLock::new();
    *CALLS.get_or_init(|| {
        let sync = [
            c"os_sync_wait_on_address",
            c"os_sync_wait_on_address_with_timeout",
            c"os_sync_wake_by_address_all",
        ]
        .map(symbol);
        if sync.iter().all(|found| !found.is_null()) {
            // SAFETY: the functions that these names are for, with the types that <os/os_sync_wait_on_address.h> gives them.
            return unsafe {
                Calls::OsSync {
                    wait: std::mem::transmute::<*mut c_void, OsSyncWait>(sync[0]),
                    wait_timeout: std::mem::transmute::<*mut c_void, OsSyncWaitTimeout>(sync[1]),
                    wake_all: std::mem::transmute::<*mut c_void, OsSyncWake>(sync[2]),
                }
            };
        }
        let ulock = [c"__ulock_wait", c"__ulock_wake"].map(symbol);
        if ulock.iter().all(|found| !found.is_null()) {
            // SAFETY: as above, with the types that the kernel's <sys/ulock.h> gives them.
            return unsafe {
                Calls::Ulock {
                    wait: std::mem::transmute::<*mut c_void, UlockWait>(ulock[0]),
                    wake: std::mem::transmute::<*mut c_void, UlockWake>(ulock[1]),
                }
            };
        }
        Calls::Nothing
    })
}

/// Sleeps while `word` holds `seen`, until `until` at the latest.
pub fn wait(word: &AtomicU32, seen: u32, until: Option<Deadline>) -> Woken {
    // A pause, in nanoseconds, where the system has no such call.
    const PAUSE: u64 = 1_000_000;
    let address = word.as_ptr().cast::<c_void>();
    let value = u64::from(seen);
    loop {
        // ORDER: Acquire, with the Release of who changed it.
        if word.load(Ordering::Acquire) != seen {
            return Woken::Maybe;
        }
        let left = until.map(|until| until.0.saturating_sub(now().0));
        if left == Some(0) {
            return Woken::TimedOut;
        }
        let step = left.map(|left| left.min(LONGEST));
        let done = match (calls(), step) {
            (Calls::OsSync { wait, .. }, None) => {
                // SAFETY: the word is live for the call, 4 bytes aligned to 4; the kernel only compares it.
                unsafe { wait(address, value, 4, SHARED) }
            }
            (Calls::OsSync { wait_timeout, .. }, Some(step)) => {
                // SAFETY: as above.
                unsafe { wait_timeout(address, value, 4, SHARED, UPTIME, step) }
            }
            (Calls::Ulock { wait, .. }, step) => {
                // 0 is for ever.
                let micros = step.map_or(0, |step| step.div_ceil(1000).max(1) as u32);
                // SAFETY: as above.
                unsafe { wait(COMPARE_AND_WAIT_SHARED, address, value, micros) }
            }
            (Calls::Nothing, step) => {
                let pause = step.unwrap_or(PAUSE).min(PAUSE);
                std::thread::sleep(std::time::Duration::from_nanos(pause));
                return match until {
                    Some(until) if now() >= until => Woken::TimedOut,
                    _ => Woken::Maybe,
                };
            }
        };
        if done >= 0 {
            return Woken::Maybe;
        }
        match errno() {
            // The loop says whether it was the caller's deadline.
            libc::ETIMEDOUT | libc::EINTR => {}
            // A page that is just being brought in, or no memory: the caller looks again.
            _ => return Woken::Maybe,
        }
    }
}

/// Wakes all who sleep on `word`.
pub fn wake_all(word: &AtomicU32) {
    let address = word.as_ptr().cast::<c_void>();
    match calls() {
        Calls::OsSync { wake_all, .. } => {
            // SAFETY: the address is a name only; nothing is read or written there.
            unsafe { wake_all(address, 4, SHARED) };
        }
        Calls::Ulock { wake, .. } => {
            // SAFETY: as above.
            unsafe { wake(COMPARE_AND_WAIT_SHARED | WAKE_ALL, address, 0) };
        }
        Calls::Nothing => {}
    }
}

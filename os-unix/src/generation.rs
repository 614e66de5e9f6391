//! Whether this is still the process that it was: a number that changes in every forked child.
//!
//! A page with `MADV_WIPEONFORK` reads zero in a child, however it was forked; a `pthread_atfork` hook does
//! the same by hand for `fork` of the C library, for kernels that lack it (before 4.14), and for macOS, where no other fork is
//! supported.

use offspring_core::prim::{AtomicU32, Ordering};

/// At least a page of any configuration, so that wiping it wipes nothing else.
#[repr(C, align(65536))]
struct Page {
    word: AtomicU32,
    _rest: [u8; 65536 - 4],
}

/// Zero where not asked for yet in this process.
static PAGE: Page = Page { word: AtomicU32::new(0), _rest: [0; 65536 - 4] };

/// The newest number of this process or an ancestor; copied by fork like any memory.
static NEWEST: AtomicU32 = AtomicU32::new(0);

/// Whether the page and the hook are in place; both outlive fork.
static READY: AtomicU32 = AtomicU32::new(0);

/// The number of this process: the same for its whole life, another one than that of every ancestor.
///
/// One load. Never zero. May be called in a forked child at once.
#[inline]
#[must_use]
pub fn current() -> u32 {
    // ORDER: Relaxed. The number says which process this is; nothing is read through it.
    match PAGE.word.load(Ordering::Relaxed) {
        0 => assign(),
        number => number,
    }
}

#[cold]
fn assign() -> u32 {
    // ORDER: Relaxed throughout, as in `current`. Two threads that get here at once both prepare, which is
    // harmless, and the CAS lets one number win.
    if READY.load(Ordering::Relaxed) == 0 {
        prepare();
        READY.store(1, Ordering::Relaxed);
    }
    let mut number = NEWEST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    if number == 0 {
        number = NEWEST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    }
    match PAGE.word.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => number,
        Err(winner) => winner,
    }
}

fn prepare() {
    #[cfg(target_os = "linux")]
    let page = (&raw const PAGE).cast_mut().cast();
    #[cfg(target_os = "linux")]
    // SAFETY: the range is exactly PAGE, whole pages of a private anonymous mapping (.bss); the advice changes
    // nothing in this process. Where it is refused, the hook remains.
    unsafe {
        libc::madvise(page, size_of::<Page>(), libc::MADV_WIPEONFORK)
    };
    // SAFETY: the hook only stores to an atomic, which is allowed in a forked child of a process with
    // threads.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

unsafe extern "C" fn in_child() {
    // ORDER: Relaxed. The child has one thread.
    PAGE.word.store(0, Ordering::Relaxed);
}

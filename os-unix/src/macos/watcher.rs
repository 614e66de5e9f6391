//! One thread of a process that waits, for all its sleepers, for the ends of other processes. macOS; type-checked, not run.
//!
//! A thread that sleeps on a word cannot wait for a kqueue as well. So the first sleep that watches a process starts this
//! thread; it is parked in the kernel for the process's life, holds nothing of the family's, and a fork does without it and
//! starts its own. A process that ended has its place marked, and who watched it is rung.

use crate::error::Result;
use crate::life::{Holder, Place};
use crate::pidfd::{self, Queue};
use crate::{futex, generation};
use offspring_core::prim::{AtomicPtr, AtomicU32, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The watcher of this process; an ancestor's in a fork that did not need one yet.
static NEWEST: AtomicPtr<Watcher> = AtomicPtr::new(std::ptr::null_mut());

/// Threads that this crate started in this process, by the generation of the process; see [`threads`].
static THREADS: Mutex<(u32, usize)> = Mutex::new((0, 0));

struct Watcher {
    generation: u32,
    queue: Queue,
    /// Who sleeps for whom: by process id.
    sleeps: Mutex<HashMap<u32, Vec<Sleep>>>,
}

/// A sleeper's wish to be told of one process's end.
struct Sleep {
    number: u64,
    place: *const Place,
    holder: Holder,
    bell: *const AtomicU32,
}

// SAFETY: the pointers lead to atomics of an arena, which is mapped while the sleep is listed: `Told` takes it off.
unsafe impl Send for Sleep {}

/// While it lives, the end of a process marks the place and rings the bell.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pid: u32,
    number: u64,
    of: &'static Mutex<HashMap<u32, Vec<Sleep>>>,
    arena: std::marker::PhantomData<&'a Place>,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let mut sleeps = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = sleeps.get_mut(&self.pid) {
            list.retain(|sleep| sleep.number != self.number);
            if list.is_empty() {
                sleeps.remove(&self.pid);
            }
        }
    }
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sleep({})", self.number)
    }
}

/// Has `bell` rung, and `place` marked, when the process of `holder` ends; `None` if it has ended already.
///
/// # Errors
///
/// No kqueue or thread is to be had, or this process may not watch that one.
pub(crate) fn tell<'a>(
    place: &'a Place,
    holder: Holder,
    bell: &'a AtomicU32,
) -> Result<Option<Told<'a>>> {
    static NUMBERS: offspring_core::prim::AtomicU64 = offspring_core::prim::AtomicU64::new(0);
    let watcher = watcher()?;
    // ORDER: Relaxed. Only unique.
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let told =
        Told { pid: holder.pid, number, of: &watcher.sleeps, arena: std::marker::PhantomData };
    let sleep = Sleep { number, place, holder, bell };
    let mut sleeps = watcher.sleeps.lock().unwrap_or_else(PoisonError::into_inner);
    sleeps.entry(holder.pid).or_default().push(sleep);
    drop(sleeps);
    // Listed first: an end from here on finds the sleep. Watching what is watched already changes nothing.
    let lives = watcher.queue.watch(holder.pid)?;
    // Another process may have the number by now.
    let gone = !lives || pidfd::is_gone(holder.pid, holder.identity) == Some(true);
    Ok((!gone).then_some(told))
}

fn watcher() -> Result<&'static Watcher> {
    loop {
        // ORDER: Acquire, with the CAS below.
        let newest = NEWEST.load(Ordering::Acquire);
        // SAFETY: null, or one that was leaked.
        if let Some(watcher) = unsafe { newest.as_ref() }
            && watcher.generation == generation::current()
        {
            return Ok(watcher);
        }
        let queue = Queue::new()?;
        let made = Box::leak(Box::new(Watcher {
            generation: generation::current(),
            queue,
            sleeps: Mutex::default(),
        }));
        // ORDER: AcqRel, with the load above. One that another thread's is preferred to stays unused.
        let installed =
            NEWEST.compare_exchange(newest, made, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if installed {
            let made: &'static Watcher = made;
            if let Err(error) = start("process ends", move || made.run()) {
                // The next sleep tries again.
                // ORDER: Release, as above.
                NEWEST.store(std::ptr::null_mut(), Ordering::Release);
                return Err(error);
            }
        }
    }
}

impl Watcher {
    fn run(&self) {
        while let Ok(pid) = self.queue.next_end() {
            let sleeps = self.sleeps.lock().unwrap_or_else(PoisonError::into_inner);
            for sleep in sleeps.get(&pid).into_iter().flatten() {
                // SAFETY: listed, so its sleeper has not returned and its arena is mapped; the list is locked.
                let (place, bell) = unsafe { (&*sleep.place, &*sleep.bell) };
                if pidfd::is_gone(sleep.holder.pid, sleep.holder.identity) == Some(true) {
                    place.mark(&sleep.holder);
                }
                ring(bell);
            }
        }
    }
}

/// Ends the sleep on a bell, or the next one that begins from what it was.
pub(crate) fn ring(bell: &AtomicU32) {
    // ORDER: Release, with the Acquire of the sleeper: it sees what was done before.
    bell.fetch_add(1, Ordering::Release);
    futex::wake_all(bell);
}

/// Starts a thread of this crate's, which blocks every signal.
pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    count(1);
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        // SAFETY: fills a local set, and blocks it in this thread alone.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        }
        run();
        count(-1);
    });
    match thread {
        Ok(_) => Ok(()),
        Err(error) => {
            count(-1);
            let code = error.raw_os_error().unwrap_or(libc::EAGAIN);
            Err(crate::OsError::new("start", "a thread for the ends of processes", code))
        }
    }
}

fn count(by: isize) {
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    if threads.0 != generation::current() {
        *threads = (generation::current(), 0);
    }
    threads.1 = threads.1.saturating_add_signed(by);
}

/// How many threads of this process this crate started: parked in the kernel, they do not count for a fork.
pub(crate) fn threads() -> usize {
    let threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    if threads.0 == generation::current() { threads.1 } else { 0 }
}

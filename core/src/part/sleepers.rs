//! Sleeping on words inside one process: a list of sleepers under one lock, which a wake takes as well.
//!
//! A sleeper compares its words under the lock and puts itself on the list; a wake comes after its word has changed. So either
//! the sleeper sees the change, or the wake sees the sleeper. A sleeper is woken once, whichever of its words it is for, and
//! looks at all of them.

use super::locked;
use crate::prim::{AtomicU32, Ordering};
use crate::wait::{Deadline, Watch, Woken};
use std::prelude::rust_2024::*;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who sleeps in one arena.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    /// In the order in which they came.
    list: Mutex<Vec<Sleeper>>,
}

/// One sleep.
#[derive(Debug)]
struct Sleeper {
    /// Addresses of the words.
    words: Vec<usize>,
    woken: bool,
    bell: Arc<Condvar>,
}

/// Nanoseconds since this process first asked.
pub(super) fn now() -> Deadline {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let nanos = BEGAN.get_or_init(Instant::now).elapsed().as_nanos();
    // Never 0, so that no deadline of now lies before the first one.
    Deadline(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1))
}

fn address(word: &AtomicU32) -> usize {
    core::ptr::from_ref(word).addr()
}

impl Sleepers {
    /// Sleeps while every word holds what was seen, until `until` at the latest.
    pub(super) fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        let mut list = locked(&self.list);
        // ORDER: Acquire. Who changes the word takes the lock after the change: before us, and we see it here; or after us,
        // and it finds us on the list.
        if watches.iter().any(|watch| watch.word.load(Ordering::Acquire) != watch.seen) {
            return Woken::Maybe;
        }
        let bell = Arc::new(Condvar::new());
        let words = watches.iter().map(|watch| address(watch.word)).collect();
        list.push(Sleeper { words, woken: false, bell: Arc::clone(&bell) });
        loop {
            let is_it = |sleeper: &Sleeper| Arc::ptr_eq(&sleeper.bell, &bell);
            // Only this thread takes its entry off.
            let Some(place) = list.iter().position(is_it) else { return Woken::Maybe };
            let left = until.map(|until| until.0.saturating_sub(now().0));
            if list[place].woken || left == Some(0) {
                let woken = list.remove(place).woken;
                return if woken { Woken::Maybe } else { Woken::TimedOut };
            }
            list = match left {
                None => bell.wait(list).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let slept = bell.wait_timeout(list, Duration::from_nanos(left));
                    slept.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Wakes at most `most` of those who sleep on `word`, who came first first; says how many.
    pub(super) fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        let word = address(word);
        let mut woken = 0;
        for sleeper in locked(&self.list).iter_mut() {
            if woken == most {
                break;
            }
            if !sleeper.woken && sleeper.words.contains(&word) {
                sleeper.woken = true;
                sleeper.bell.notify_one();
                woken += 1;
            }
        }
        woken
    }
}

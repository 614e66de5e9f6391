//! Sleeping on words under one lock, and the clock that goes with it: loom's or `std`'s.

use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Watch, Woken};
use std::time::Duration;
#[cfg(not(offspring_loom))]
use std::time::Instant;

#[cfg(offspring_loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(offspring_loom))]
use std::sync::{Condvar, Mutex, MutexGuard};

/// How many threads may sleep at once.
const MOST_SLEEPERS: usize = if cfg!(offspring_loom) { 5 } else { 64 };

/// Who sleeps on what.
#[derive(Debug)]
pub(super) struct Futex {
    sleepers: Mutex<Sleepers>,
    /// One bell for each place in the table.
    bells: Vec<Condvar>,
}

#[derive(Debug, Default)]
struct Sleepers {
    /// By place: the addresses slept on, and whether it was woken.
    places: Vec<Option<(Vec<usize>, bool)>>,
    /// The places in the order in which their sleepers came.
    queue: Vec<usize>,
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}

impl Futex {
    pub(super) fn new() -> Self {
        Self {
            sleepers: Mutex::new(Sleepers {
                places: (0..MOST_SLEEPERS).map(|_| None).collect(),
                queue: Vec::new(),
            }),
            bells: (0..MOST_SLEEPERS).map(|_| Condvar::new()).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().expect("no thread panics under the lock of the sleepers")
    }

    pub(super) fn sleepers(&self) -> usize {
        self.lock().queue.len()
    }

    /// Sleeps while every word holds what was seen, `left` at most.
    pub(super) fn wait(&self, watches: &[Watch<'_>], left: Option<Duration>) -> Woken {
        let mut sleepers = self.lock();
        // ORDER: Relaxed. A wake that begins after the change takes the lock after us, and finds us; one that is done
        // released it before us, and we see the change.
        if watches.iter().any(|watch| watch.word.load(Ordering::Relaxed) != watch.seen) {
            return Woken::Maybe;
        }
        let place = sleepers.places.iter().position(Option::is_none).expect("a place to sleep");
        let words = watches.iter().map(|watch| address(watch.word)).collect();
        sleepers.places[place] = Some((words, false));
        sleepers.queue.push(place);
        let (mut sleepers, timed_out) = self.sleep(sleepers, place, left);
        sleepers.places[place] = None;
        sleepers.queue.retain(|other| *other != place);
        if timed_out { Woken::TimedOut } else { Woken::Maybe }
    }

    #[cfg(offspring_loom)]
    fn sleep<'a>(
        &'a self,
        mut sleepers: MutexGuard<'a, Sleepers>,
        place: usize,
        _left: Option<Duration>,
    ) -> (MutexGuard<'a, Sleepers>, bool) {
        while !sleepers.woken(place) {
            sleepers = self.bells[place].wait(sleepers).expect("not poisoned");
        }
        (sleepers, false)
    }

    #[cfg(not(offspring_loom))]
    fn sleep<'a>(
        &'a self,
        sleepers: MutexGuard<'a, Sleepers>,
        place: usize,
        left: Option<Duration>,
    ) -> (MutexGuard<'a, Sleepers>, bool) {
        let asleep = |sleepers: &mut Sleepers| !sleepers.woken(place);
        let poisoned = "not poisoned";
        match left {
            None => (self.bells[place].wait_while(sleepers, asleep).expect(poisoned), false),
            Some(left) => {
                let (sleepers, result) =
                    self.bells[place].wait_timeout_while(sleepers, left, asleep).expect(poisoned);
                (sleepers, result.timed_out())
            }
        }
    }

    /// Wakes the first `most` sleepers on `word`, and says how many. Like the kernel, it counts a sleeper that another
    /// word has already woken but that has not left yet: it is still in this word's queue.
    pub(super) fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        let mut sleepers = self.lock();
        let (word, mut woken) = (address(word), 0);
        for i in 0..sleepers.queue.len() {
            if woken == most {
                break;
            }
            let place = sleepers.queue[i];
            let Some((words, up)) = &mut sleepers.places[place] else { continue };
            // Its place in this word's queue is used up, though it stays in those of its other words.
            let Some(i) = words.iter().position(|slept_on| *slept_on == word) else { continue };
            words.swap_remove(i);
            *up = true;
            woken += 1;
            self.bells[place].notify_one();
        }
        woken
    }
}

impl Sleepers {
    fn woken(&self, place: usize) -> bool {
        self.places[place].as_ref().is_some_and(|(_, woken)| *woken)
    }
}

/// Nanoseconds since the world began.
#[derive(Debug)]
pub(super) struct Clock {
    #[cfg(not(offspring_loom))]
    begin: Instant,
}

#[cfg(not(offspring_loom))]
impl Clock {
    pub(super) fn new() -> Self {
        Self { begin: Instant::now() }
    }

    pub(super) fn now(&self) -> Deadline {
        Deadline(u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long until `until`; `None` for the end of time.
    pub(super) fn left(&self, until: Deadline) -> Option<Duration> {
        (until.0 != u64::MAX).then(|| Duration::from_nanos(until.0.saturating_sub(self.now().0)))
    }
}

/// Time stands still.
#[cfg(offspring_loom)]
impl Clock {
    pub(super) fn new() -> Self {
        Self {}
    }

    pub(super) fn now(&self) -> Deadline {
        Deadline(1)
    }

    pub(super) fn left(&self, _: Deadline) -> Option<Duration> {
        None
    }
}

//! A family inside one process: threads stand for processes, and a thread that dies at a point is a killed process.
//!
//! The same code serves loom (`--cfg offspring_loom`: loom's mutex and condition variables, every
//! interleaving) and the property tests (`std`'s, real threads, real time). What it keeps of the truth:
//!
//! - a death is what the kernel makes of it: the life word is marked after the victim's last access, and **one** of its
//!   sleepers is woken; whoever first sees the mark raises the epoch and wakes all that sleep on it (F2, F3);
//! - a sleep compares all its words under the lock that a wake takes, as a futex does;
//! - no backstop helps, and under loom time stands still, so a lost wake-up is a deadlock, which loom reports.
//!
//! What it does not: all words share one lock, so a sleep and a wake on different words are ordered here, and may not
//! be under the kernel.
//!
//! # How to use it
//!
//! ```text
//! // In a loom model, or in a test with threads; participants are numbered from 1.
//! let world = World::new(3);
//! let victim = {
//!     let world = world.clone();
//!     // Dies at its k-th point (see `offspring_core::points`), counted from 0; `Fate::lives()` never does.
//!     thread::spawn(move || world.process(1).run(&fate, |family| semaphore.acquire(family, 1)))
//! };
//! let survivor = world.process(2); // implements `Family`
//! semaphore.acquire(&survivor, 1);
//! assert!(victim.join().unwrap().is_some() || fate.reached());
//! ```
//!
//! [`Process::run`] gives `None` if the body died on the way: the stack is unwound by a silent panic, and then the process's
//! last running thread marks the life word. Values with a `Drop` that touches shared words must not be on the
//! victim's stack, or know that they are dead ([`dying`]): the dead drop nothing.
//!
//! A process with several threads: [`World::with_threads`] says how many, and `run` is called once in each; the process is
//! dead once all its threads ended and at least one of them died. Enumerate the death of each thread: "the others go on
//! to their end, then all are dead" is what a kill in the midst of them can look like at worst.

mod fate;
mod futex;

pub use fate::{Fate, dying, tally, trail};

use futex::{Clock, Futex};
use offspring_core::points::{Point, hit};
use offspring_core::prim::{AtomicU32, Ordering, fence};
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::wait::{Deadline, Family, Wait, Watch, Woken};
use std::sync::Arc;

const ALIVE: u32 = 0;
const DEAD: u32 = 1;
/// Nobody here ever joins twice.
const GENERATION: u32 = 1;

/// What the participants share: life words, epoch, and who sleeps.
#[derive(Debug)]
pub struct World {
    lives: Vec<Life>,
    epoch: AtomicU32,
    futex: Futex,
    clock: Clock,
}

#[derive(Debug)]
struct Life {
    /// [`ALIVE`], then [`DEAD`] for good.
    word: AtomicU32,
    /// Whether somebody has taken on to raise the epoch for it.
    noticed: AtomicU32,
    /// If there are several threads: how many still run, and in the upper half how many were killed.
    threads: Option<AtomicU32>,
}

const KILLED: u32 = 1 << 16;

impl World {
    /// Room for `processes` processes, all alive, of one thread each.
    #[must_use]
    pub fn new(processes: usize) -> Arc<Self> {
        Self::with_threads(&vec![1; processes])
    }

    /// One process for each number, of so many threads.
    #[must_use]
    pub fn with_threads(threads: &[u16]) -> Arc<Self> {
        let lives = threads.iter().map(|&threads| Life {
            word: AtomicU32::new(ALIVE),
            noticed: AtomicU32::new(0),
            threads: (threads > 1).then(|| AtomicU32::new(u32::from(threads))),
        });
        Arc::new(Self {
            lives: lives.collect(),
            epoch: AtomicU32::new(0),
            futex: Futex::new(),
            clock: Clock::new(),
        })
    }

    /// Lets the death epoch begin there, before anybody takes part: it wraps after 2^32 deaths.
    pub fn begin_at_epoch(&self, epoch: u32) {
        // ORDER: Relaxed. Nobody else is there yet.
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Participant `number`, from 1.
    ///
    /// # Panics
    ///
    /// If there is none of that number.
    #[must_use]
    pub fn process(self: &Arc<Self>, number: usize) -> Process {
        assert!((1..=self.lives.len()).contains(&number), "no process {number} in this world");
        Process { world: self.clone(), number }
    }

    /// Kills participant `number` from outside, as if it stood where its last operation ended.
    ///
    /// For tests in which one thread plays all processes in turn.
    pub fn kill(self: &Arc<Self>, number: usize) {
        self.process(number).mark_dead();
    }

    /// How many sleep at the moment.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.futex.sleepers()
    }

    fn slot(&self, process: ProcessRef) -> Option<usize> {
        let slot = usize::from(process.slot());
        (process.generation() == GENERATION && slot < self.lives.len()).then_some(slot)
    }

    /// F2: the first to notice raises the epoch, and wakes, before it goes on.
    fn notice(&self, slot: usize) {
        // ORDER: AcqRel: one alone gets the duty. If it dies before it has done it, its own death raises the epoch.
        let noticed = &self.lives[slot].noticed;
        if noticed.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        hit(Point::SuspectResolved);
        // ORDER: AcqRel, with the Acquire of the epoch in `block_on` and `death_epoch`.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        hit(Point::DeathCounted);
        self.futex.wake(&self.epoch, u32::MAX);
        hit(Point::DeathWoken);
    }
}

/// One participant: its view of the family.
#[derive(Clone, Debug)]
pub struct Process {
    world: Arc<World>,
    number: usize,
}

impl Process {
    /// Its number, from 1.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Runs `body` as a thread of this process, which ends as `fate` says: `None` if it died on the way.
    ///
    /// # Panics
    ///
    /// Passes on what `body` panics with.
    pub fn run<R>(&self, fate: &Fate, body: impl FnOnce(&Self) -> R) -> Option<R> {
        let result = fate::under(fate, || body(self));
        let died = result.is_err();
        let last = match &self.life().threads {
            None => died,
            Some(threads) => {
                let ends = if died { KILLED - 1 } else { u32::MAX };
                // ORDER: AcqRel: whoever ends last saw all that the others did, and the life word's mark carries it.
                let left = threads.fetch_add(ends, Ordering::AcqRel).wrapping_add(ends);
                left & (KILLED - 1) == 0 && left >= KILLED
            }
        };
        if last {
            self.mark_dead();
        }
        result.ok()
    }

    fn life(&self) -> &Life {
        &self.world.lives[self.number - 1]
    }

    fn mark_dead(&self) {
        // ORDER: Release, with the Acquire in `is_dead`: L1, all that the victim did happens before it is dead.
        self.life().word.store(DEAD, Ordering::Release);
        self.world.futex.wake(&self.life().word, 1);
    }
}

// SAFETY: L1, L2: the life word is marked once, by Release, behind the last access of the process's last thread.
// L3: `run` marks it at every end by a crash.
unsafe impl Liveness for Process {
    fn is_dead(&self, process: ProcessRef) -> bool {
        let Some(slot) = self.world.slot(process) else { return false };
        // ORDER: Acquire, L1.
        let dead = self.world.lives[slot].word.load(Ordering::Acquire) == DEAD;
        if dead {
            self.world.notice(slot);
        }
        dead
    }

    fn death_epoch(&self) -> u32 {
        // ORDER: Acquire: what is done because of the count comes after the death.
        self.world.epoch.load(Ordering::Acquire)
    }
}

// SAFETY: W1, W2: `Futex` compares and queues under the lock that `wake` takes. W3: one address space. W4: it waits
// with the deadline (time stands still under loom, where none is reached). W5: both barriers are full fences.
unsafe impl Wait for Process {
    const MOST_WATCHES: usize = 8;

    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        self.world.futex.wait(watches, until.and_then(|until| self.world.clock.left(until)))
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        self.world.futex.wake(word, most)
    }

    fn now(&self) -> Deadline {
        self.world.clock.now()
    }

    fn light_barrier(&self) {
        // ORDER: W1 of `offspring_core::wait`.
        fence(Ordering::SeqCst);
    }

    fn heavy_barrier(&self) {
        // ORDER: W1 of `offspring_core::wait`.
        fence(Ordering::SeqCst);
    }
}

// SAFETY: F1: one word. F2: `notice`. F3: `mark_dead` changes the life word and wakes one.
unsafe impl Family for Process {
    fn me(&self) -> ProcessRef {
        ProcessRef::new((self.number - 1) as u16, GENERATION)
    }

    fn epoch_word(&self) -> &AtomicU32 {
        &self.world.epoch
    }

    fn life_watch(&self, process: ProcessRef) -> Option<Watch<'_>> {
        let word = &self.world.lives[self.world.slot(process)?].word;
        // ORDER: Relaxed. The sleep compares again.
        (word.load(Ordering::Relaxed) == ALIVE).then_some(Watch { word, seen: ALIVE })
    }

    fn backstop(&self) -> u64 {
        u64::MAX // no sleeper is to be saved by looking again
    }
}

/// The reference of participant `number`, without a world.
#[must_use]
pub fn reference(number: usize) -> ProcessRef {
    ProcessRef::new((number - 1) as u16, GENERATION)
}

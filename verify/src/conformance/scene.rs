//! What examiner and participants share: a family, a board of words in its arena, and a second look at the arena.

use super::bench::Bench;
use super::fault;
use super::mate::{Mate, Orders};
use offspring_core::family::layout::HEAP_AT;
use offspring_core::family::{Life, RegionRef, RegionSpec, Tables, flags};
use offspring_core::part::{Family, Object, Options};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::wait::{Family as Waits, Wait, Watch, Woken};

const MEMBERS: u32 = 64;
const WORDS_AT: u64 = (64 + 8 * MEMBERS as u64).next_multiple_of(64);
const WORDS: usize = 64;
const BOARD: u32 = 1;
const CREW: u32 = 2;
const LOGS: u32 = 3;
const LOGS_AT: u64 = WORDS_AT;
/// Rounds that one side of the barrier's test can write down.
const LOG: u32 = 2_000_000;
/// Length of the arena in bytes.
const ARENA: u64 = 64 << 20;

/// The words of the board, each on a line of its own.
pub mod at {
    /// For tests with words of their own.
    pub const FREE: usize = 0;
    /// A rally: each side's ball.
    pub const BALLS: [usize; 2] = [16, 17];
    /// The barrier: the round that each side is in.
    pub const STORED: [usize; 2] = [20, 21];
    /// The barrier: how many sides are there; 3 when one is through.
    pub const READY: usize = 22;
}

/// One participant's view.
pub struct Scene<S: Bench> {
    /// Its part in the family.
    pub family: Family<S>,
    /// The arena mapped once more, as another process maps it.
    pub eye: S,
    board: Object,
    patience: u64,
}

fn spec(kind: u32, len: u64, flags: u32) -> RegionSpec {
    RegionSpec {
        kind,
        version: 1,
        type_hash: 7,
        len,
        members_offset: 64,
        members_count: MEMBERS,
        flags,
        committed: u64::MAX,
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl<S: Bench> Scene<S> {
    /// A new family with a board; `fences`: with plain fences.
    pub fn found(patience: u64, fences: bool) -> Result<Self, String> {
        let family = Family::<S>::create(&Options { arena_len: ARENA, fences }).map_err(said)?;
        let len = WORDS_AT + 64 * WORDS as u64;
        let board = family.allocate(&spec(BOARD, len, flags::OWNERLESS), |_| {}).map_err(said)?;
        Self::new(family, board, patience)
    }

    /// A participant's, from what it was told.
    pub fn join(file: S::File, orders: &Orders) -> Result<Self, String> {
        let parent = ProcessRef::from_bits(orders.parent);
        let family = Family::<S>::join(file, parent).map_err(said)?;
        let board = RegionRef::from_bits(orders.board);
        let board = family.join_object(board, BOARD, 7).map_err(said)?;
        Self::new(family, board, orders.patience)
    }

    fn new(family: Family<S>, board: Object, patience: u64) -> Result<Self, String> {
        let eye = S::attach(S::again(family.arena_fd())?).map_err(said)?;
        Ok(Self { family, eye, board, patience })
    }

    /// Starts a participant.
    pub fn start(&self) -> Result<Mate, String> {
        let orders = Orders {
            arena: 0,
            parent: self.family.me().bits(),
            board: self.board.region.bits(),
            patience: self.patience,
            fault: fault::planted() as u32,
        };
        S::start::<S>(self.family.arena_fd(), orders)
    }

    /// How long an answer may take, in nanoseconds.
    pub fn patience(&self) -> u64 {
        self.patience * 1_000_000_000
    }

    /// The tables, seen through the second mapping.
    pub fn tables(&self) -> Tables<'_> {
        // SAFETY: S1: the mapping is as long as said, aligned, and lives as long as `eye`; whatever reaches the tables here and
        // elsewhere does so through these types.
        unsafe { Tables::at(self.eye.base().as_ptr(), self.eye.len()) }
    }

    /// A word of the board.
    pub fn word(&self, index: usize) -> &'static AtomicU32 {
        self.word_at(self.board.pointer, index)
    }

    fn word_at(&self, board: *mut u8, index: usize) -> &'static AtomicU32 {
        assert!(index < WORDS, "the board has {WORDS} words");
        // SAFETY: within the board, whose words behind the members are only ever used as such atomics; a mapping stays for
        // the life of the process: the family's is leaked, and an `eye` is dropped at the end of its test.
        unsafe { &*board.add(WORDS_AT as usize).cast::<AtomicU32>().add(16 * index) }
    }

    /// The same word, in the second mapping.
    pub fn word_elsewhere(&self, index: usize) -> &'static AtomicU32 {
        let ours = self.family.epoch_word().as_ptr().addr();
        let apart = ours.wrapping_sub(self.tables().head.epoch.as_ptr().addr());
        self.word_at(self.board.pointer.wrapping_byte_sub(apart), index)
    }

    /// Some bytes of the heap, read one by one in the second mapping.
    pub fn bytes(&self, offset: u64, len: u64) -> Result<impl Iterator<Item = u8> + '_, String> {
        let inside =
            offset >= HEAP_AT && offset.checked_add(len).is_some_and(|end| end <= self.eye.len());
        if !inside {
            return Err(format!("{len} bytes at {offset} do not lie in the heap"));
        }
        Ok((offset..offset + len).map(|at| {
            // SAFETY: in the mapping, and by S2 readable; the tests let nobody write while others read.
            unsafe { self.eye.base().as_ptr().add(at as usize).read_volatile() }
        }))
    }

    /// What to sleep on: `w3:0` (a word and what was seen), `epoch`, `newcomers` (as they are now), `life:NAME`.
    pub fn watch(&self, spec: &str) -> Result<Watch<'_>, String> {
        let now = |word: &'static AtomicU32| Watch { word, seen: word.load(Ordering::SeqCst) };
        // SAFETY: words of the tables in the family's mapping, which is never unmapped.
        let leaked = |word: &AtomicU32| now(unsafe { &*std::ptr::from_ref(word) });
        let wrong = || format!("`{spec}` is nothing to sleep on");
        if spec == "epoch" {
            return Ok(leaked(self.family.epoch_word()));
        }
        if spec == "newcomers" {
            return self.family.newcomers_word().map(leaked).ok_or_else(wrong);
        }
        let (what, value) = spec.split_once(':').ok_or_else(wrong)?;
        if what == "life" {
            let process = value.parse().map(ProcessRef::from_bits).map_err(|_| wrong())?;
            return self
                .family
                .life_watch(process)
                .ok_or_else(|| "the participant has no life word to sleep on".to_owned());
        }
        let index: usize = what.strip_prefix('w').and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
        Ok(Watch { word: self.word(index), seen: value.parse().map_err(|_| wrong())? })
    }

    /// The lanes that the tables call a process's own.
    pub fn lanes_of(&self, process: ProcessRef) -> Vec<usize> {
        let tables = self.tables();
        let lanes = tables.lanes.iter().enumerate();
        lanes
            .filter(|(_, lane)| lane.word.load(Ordering::Acquire).owner() == process)
            .map(|(at, _)| at)
            .collect()
    }

    /// What the life words of these lanes say, through the second mapping.
    pub fn lives(&self, lanes: &[usize]) -> Vec<Life> {
        lanes.iter().map(|lane| self.eye.life(&self.tables(), *lane)).collect()
    }

    /// Lets some time pass, another length in each round, so that whoever is told to sleep is now on its way there and now asleep.
    /// Nothing is to depend on it: only what a fault is seen in does.
    pub fn linger(&self, round: usize) {
        let until = S::now().after(50_000 << (round % 9));
        while S::now() < until {
            std::thread::yield_now();
        }
    }

    /// Hits a ball to and fro: each side waits for the other's and hits its own, `rounds` times.
    pub fn rally(&self, side: usize, rounds: u32) -> Result<(), String> {
        let (mine, theirs) = (self.word(at::BALLS[side]), self.word(at::BALLS[1 - side]));
        for round in 1..=rounds {
            if side == 1 {
                self.await_value(theirs, round)?;
            }
            mine.store(round, Ordering::SeqCst);
            self.family.wake(mine, 1);
            if side == 0 {
                self.await_value(theirs, round)?;
            }
        }
        Ok(())
    }

    /// Sleeps until a word has this value.
    pub fn await_value(&self, word: &AtomicU32, value: u32) -> Result<(), String> {
        loop {
            let seen = word.load(Ordering::SeqCst);
            if seen == value {
                return Ok(());
            }
            let until = S::now().after(self.patience());
            let woken = self.family.wait(&[Watch { word, seen }], Some(until));
            if woken == Woken::TimedOut {
                let changed = word.load(Ordering::SeqCst) != seen;
                return Err(match changed {
                    true => format!(
                        "a sleeper slept on, though its word changed to {value} and was woken"
                    ),
                    false => format!("nobody brought the value {value}"),
                });
            }
        }
    }

    /// Sleeps on a process's life word and the epoch until it is dead.
    pub fn await_death(&self, process: ProcessRef) -> Result<(), String> {
        loop {
            let epoch = self.watch("epoch")?;
            if self.family.is_dead(process) {
                return Ok(());
            }
            let mut watches = vec![epoch];
            watches.extend(self.family.life_watch(process));
            self.family.wait(&watches, Some(S::now().after(S::backstop())));
        }
    }

    /// Makes what the two sides of the barrier's test write down; its name.
    pub fn make_logs(&self) -> Result<u64, String> {
        let len = LOGS_AT + 2 * 4 * u64::from(LOG);
        let made = self.family.allocate(&spec(LOGS, len, flags::OWNERLESS), |_| {});
        Ok(made.map_err(said)?.region.bits())
    }

    /// One side of the barrier's test: store, barrier, load, without pause, until its log or the other's is full. Round by round
    /// it writes down which of the other's rounds it saw.
    pub fn barrier(
        &self,
        side: usize,
        heavy: bool,
        logs: u64,
    ) -> Result<&'static [AtomicU32], String> {
        let region = RegionRef::from_bits(logs);
        let logs = self.family.join_object(region, LOGS, 7).map_err(said)?;
        let begin = logs.pointer.wrapping_add(LOGS_AT as usize).cast::<AtomicU32>();
        // SAFETY: within the object, whose bytes there are only ever used as such atomics, in a mapping that stays.
        let both = unsafe { std::slice::from_raw_parts(begin, 2 * LOG as usize) };
        let (first, second) = both.split_at(LOG as usize);
        let log = if side == 0 { first } else { second };
        let (mine, theirs) = (self.word(at::STORED[side]), self.word(at::STORED[1 - side]));
        self.word(at::READY).fetch_add(1, Ordering::SeqCst);
        while self.word(at::READY).load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        let mut round = 1;
        while round < LOG && self.word(at::READY).load(Ordering::Relaxed) == 2 {
            // ORDER: Relaxed, both. What is tested is that the barrier alone orders the two.
            mine.store(round, Ordering::Relaxed);
            if heavy {
                self.family.heavy_barrier();
            } else {
                self.family.light_barrier();
            }
            log[round as usize].store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
            round += 1;
        }
        self.word(at::READY).store(3, Ordering::SeqCst);
        log[0].store(round - 1, Ordering::SeqCst);
        Ok(both)
    }

    /// What two sides wrote down: rounds in which neither saw the other's store, and how often they were seen to take turns.
    /// Makes the words ready for the next run.
    pub fn judge_barrier(&self, both: &[AtomicU32]) -> (usize, usize) {
        let (first, second) = both.split_at(LOG as usize);
        let rounds = |log: &[AtomicU32]| log[0].load(Ordering::SeqCst) as usize;
        let saw = |log: &[AtomicU32], round: usize| log[round].load(Ordering::SeqCst) as usize;
        let (mut blind, mut turns) = (0, 0);
        for round in 1..=rounds(first) {
            // The first store of the second side that the first did not see.
            let unseen = saw(first, round) + 1;
            blind += usize::from(unseen <= rounds(second) && saw(second, unseen) < round);
            turns += usize::from(round > 1 && saw(first, round - 1) + 1 != unseen);
        }
        for index in at::STORED.into_iter().chain([at::READY]) {
            self.word(index).store(0, Ordering::SeqCst);
        }
        (blind, turns)
    }

    /// Makes an object whose members own something; its name.
    pub fn make_crew(&self) -> Result<u64, String> {
        let made = self.family.allocate(&spec(CREW, 4096, 0), |_| {}).map_err(said)?;
        Ok(made.region.bits())
    }

    /// Becomes a member of such an object.
    pub fn join_crew(&self, crew: u64) -> Result<(), String> {
        self.family.join_object(RegionRef::from_bits(crew), CREW, 7).map(|_| ()).map_err(said)
    }
}

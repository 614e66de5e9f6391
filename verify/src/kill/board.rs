//! The memory that the harness shares with its victims, apart from the family's arena: a file of its own.
//!
//! Everything is an atomic word, written by whoever does something *before* it does it, so that what stands here
//! after a kill is the truth or one step ahead of it. All zero is a board that nobody used.
//!
//! # Orderings
//!
//! Each word is told from itself alone, so most accesses are Relaxed. Stronger, in pairs:
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | K1 | every change of an item's `put` and `hold` (AcqRel) | the next holder's CAS, the judge's load (Acquire) | who did what before |
//! | K2 | `killed_at`, then `end`, before the signal (AcqRel, Release) | a receiver, the harness (Acquire) | that the death was meant |
//! | K3 | a region's words, then its name in `leaves` (Release) | whoever visits it (Acquire) | the words |
//! | K4 | `process`, `delicate`, `phase`, a complaint's length (Release) | the harness (Acquire) | what was done before |
//!
//! A kill is no ordering problem: what a process stored before it died, its survivors see once they see its death.

use super::system::{self, BorrowedFile, OwnedFile};
use offspring_core::points::Point;
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use std::fmt;
use std::io;

/// Processes of one round.
pub const MOST_LIVES: usize = 1 << 12;
/// Items of one round.
pub const MOST_ITEMS: usize = 1 << 16;
/// Latencies of one run.
pub const MOST_SAMPLES: usize = 1 << 18;
/// Violations that are kept word for word.
pub const MOST_COMPLAINTS: usize = 32;
/// Events remembered of each item.
pub const MOST_EVENTS: usize = 10;
/// Regions that victims show each other.
pub const LEAVES: usize = 8;

/// What a process waits for.
pub const WAITS: [&str; 6] =
    ["items", "slots", "blocks", "an answer", "a permit", "several permits"];

/// Numbers of [`WAITS`].
pub mod wait {
    pub const ITEMS: usize = 0;
    pub const SLOTS: usize = 1;
    pub const BLOCKS: usize = 2;
    pub const ANSWER: usize = 3;
    pub const PERMIT: usize = 4;
    /// Without fairness: others that want one may always be faster.
    pub const PERMITS: usize = 5;
}

/// What the round is doing.
pub mod phase {
    /// Victims come and go.
    pub const RUNNING: u32 = 1;
    /// The queue is being closed, or is.
    pub const CLOSING: u32 = 2;
    /// Nobody dies: no death notice makes good for a notice that the living forgot.
    pub const QUIET: u32 = 3;
}

/// How a process ended; 0: not yet, or by itself.
pub mod end {
    /// Killed from outside, at any instruction.
    pub const OUTSIDE: u32 = 1;
    /// Killed at the point with number `end - AT`.
    pub const AT: u32 = 2;
}

/// A permit on its way.
pub mod delicate {
    /// None.
    pub const NO: u32 = 0;
    /// It is about to be forgotten.
    pub const BEFORE: u32 = 1;
    /// It is forgotten.
    pub const FORGOTTEN: u32 = 2;
    /// It is posted again.
    pub const POSTED: u32 = 3;
}

/// Words that hold a bit for each point.
pub const POINT_WORDS: usize = 4;

/// One process of a round.
#[derive(Debug)]
#[repr(C)]
pub struct Life {
    /// Its number for the system.
    pub pid: AtomicU32,
    /// What it does; see `targets::Script`.
    pub script: AtomicU32,
    /// The point it shall die at, plus 1, and at which visit.
    pub point: AtomicU32,
    /// See `point`.
    pub visit: AtomicU32,
    /// Points, by bit, at which it shall die at once.
    pub rare: [AtomicU64; POINT_WORDS],
    /// The point it shall stop at, plus 1, on its way.
    pub stop: AtomicU32,
    /// See [`end`].
    pub end: AtomicU32,
    /// The last point it came to, plus 1.
    pub last: AtomicU32,
    /// Whether it is made of several threads.
    pub threads: AtomicU32,
    /// Between forgetting a permit and having posted it again; see [`delicate`].
    pub delicate: AtomicU32,
    /// Its name in the registry, once it knows.
    pub process: AtomicU64,
    /// When it was doomed: just before the signal.
    pub killed_at: AtomicU64,
    /// What it waits for, or waited for last: see [`WAITS`].
    pub waits_for: AtomicU32,
    /// Since when it waits, 0 if it does not.
    pub blocked_since: AtomicU64,
    /// The seed of its dice.
    pub seed: AtomicU64,
}

/// One item of a round.
#[derive(Debug)]
#[repr(C)]
pub struct Item {
    /// `state 8 | life 16`; see `ledger`.
    pub put: AtomicU64,
    /// `state 8 | life 16 | deliveries 16`; see `ledger`.
    pub hold: AtomicU64,
    /// How many events were noted.
    pub noted: AtomicU32,
    /// Bytes of the message.
    pub len: AtomicU32,
    /// The last events: `microseconds 32 | life 16 | what 16`.
    pub events: [AtomicU64; MOST_EVENTS],
}

/// One violation, as text.
#[repr(C)]
struct Complaint {
    len: AtomicU32,
    bytes: [AtomicU64; 64],
}

/// The whole board.
#[repr(C)]
pub struct Board {
    /// The number of the round.
    pub round: AtomicU32,
    /// See [`phase`].
    pub phase: AtomicU32,
    /// The round's queue, and its options.
    pub queue: AtomicU64,
    /// The round's semaphore.
    pub semaphore: AtomicU64,
    /// Slots of the queue.
    pub capacity: AtomicU32,
    /// Whether the queue is a chain of rings: no slot is ever missing.
    pub chained: AtomicU32,
    /// Bytes that all rings of a chain may take; 0: as many as there are.
    pub most_bytes: AtomicU32,
    /// Bytes of a message that lie in a slot.
    pub inline: AtomicU32,
    /// Bytes of the largest message.
    pub most_message: AtomicU32,
    /// Deliveries before an item goes to the dead letters.
    pub most_deliveries: AtomicU32,
    /// Whether messages may name regions.
    pub carrying: AtomicU32,
    /// When somebody was first told that the queue is closed and empty.
    pub closed_at: AtomicU64,
    /// Permits that were forgotten, and posted again.
    pub forgotten: AtomicU32,
    /// See `forgotten`.
    pub posted: AtomicU32,
    /// Who last got the semaphore's permits, and whether it still has them: `held 1 | life 16`.
    pub permit: AtomicU64,
    /// The longest wait of a survivor in this round for each of [`WAITS`]: since when and until when.
    pub stalls: [[AtomicU64; 2]; WAITS.len()],
    /// Regions that victims show each other.
    pub leaves: [AtomicU64; LEAVES],
    /// Counts over the whole run.
    pub counts: Counts,
    lives_used: AtomicU32,
    items_used: AtomicU32,
    complaints_used: AtomicU32,
    complaints: [Complaint; MOST_COMPLAINTS],
    samples_used: AtomicU32,
    /// Latencies in nanoseconds.
    samples: [AtomicU32; MOST_SAMPLES],
    lives: [Life; MOST_LIVES],
    items: [Item; MOST_ITEMS],
}

/// What is counted over the whole run.
#[derive(Debug)]
#[repr(C)]
pub struct Counts {
    /// Items received, each time.
    pub deliveries: AtomicU64,
    /// Items received that somebody had before.
    pub redeliveries: AtomicU64,
    /// Bytes of all messages checked.
    pub bytes: AtomicU64,
    /// Replies received.
    pub replies: AtomicU64,
    /// Items found with the dead letters.
    pub dead_letters: AtomicU64,
    /// Leases moved to another thread.
    pub moved: AtomicU64,
    /// Semaphore permits taken.
    pub permits: AtomicU64,
    /// Regions made, and joined.
    pub regions: AtomicU64,
    /// Regions received in messages.
    pub carried: AtomicU64,
}

/// Adds to a count.
pub fn count(word: &AtomicU64) {
    // ORDER: Relaxed. A figure for the report, read when nobody counts any more.
    word.fetch_add(1, Ordering::Relaxed);
}

/// Nanoseconds on the clock that all processes share.
pub fn now() -> u64 {
    system::now().0
}

/// The board's own file, and where it is mapped for the process's life.
pub struct Mapping {
    /// To hand to a child that executes the program again.
    pub file: OwnedFile,
    /// What it holds.
    pub board: &'static Board,
}

impl Board {
    /// A new one.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn create() -> io::Result<Mapping> {
        let (file, base) = system::make_memory(size_of::<Self>())?;
        Ok(Self::at(file, base))
    }

    /// The one that the parent made.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(file: OwnedFile) -> io::Result<Mapping> {
        let base = system::map_memory(&file, size_of::<Self>())?;
        Ok(Self::at(file, base))
    }

    fn at(file: OwnedFile, base: *mut u8) -> Mapping {
        // SAFETY: the file is that long (only `create` makes one, and nobody cuts it), page-aligned, never unmapped, and all
        // of `Self` is atomics, for which every bit pattern is valid.
        Mapping { file, board: unsafe { &*base.cast() } }
    }

    /// A life that nobody had in this round.
    pub fn new_life(&self) -> Option<u16> {
        // ORDER: Relaxed. Only the harness takes lives.
        let life = self.lives_used.fetch_add(1, Ordering::Relaxed) as usize;
        (life < MOST_LIVES).then_some(life as u16)
    }

    /// The life with this number.
    pub fn life(&self, life: u16) -> &Life {
        &self.lives[usize::from(life) % MOST_LIVES]
    }

    /// The lives of this round.
    pub fn lives(&self) -> &[Life] {
        let used = self.lives_used.load(Ordering::Relaxed) as usize;
        &self.lives[..used.min(MOST_LIVES)]
    }

    /// An item that nobody had in this round; `None` when there are no more.
    pub fn new_item(&self) -> Option<u32> {
        if self.items_used.load(Ordering::Relaxed) as usize >= MOST_ITEMS {
            return None;
        }
        // ORDER: Relaxed. Each number is given once, whatever the order.
        let item = self.items_used.fetch_add(1, Ordering::Relaxed);
        ((item as usize) < MOST_ITEMS).then_some(item)
    }

    /// The item with this number.
    pub fn item(&self, item: u32) -> Option<&Item> {
        self.items().get(item as usize)
    }

    /// The items of this round.
    pub fn items(&self) -> &[Item] {
        let used = self.items_used.load(Ordering::Relaxed) as usize;
        &self.items[..used.min(MOST_ITEMS)]
    }

    /// Whether most numbers of items were given.
    pub fn is_nearly_full(&self) -> bool {
        self.items().len() > MOST_ITEMS * 7 / 8 || self.lives().len() > MOST_LIVES * 7 / 8
    }

    /// Forgets the round. The harness is alone.
    pub fn wipe(&self) {
        for life in self.lives() {
            let words = [
                &life.pid,
                &life.script,
                &life.point,
                &life.visit,
                &life.stop,
                &life.end,
                &life.last,
                &life.threads,
                &life.delicate,
                &life.waits_for,
            ];
            words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            let words = [&life.process, &life.killed_at, &life.blocked_since, &life.seed];
            words.into_iter().chain(&life.rare).for_each(|word| word.store(0, Ordering::Relaxed));
        }
        for item in self.items() {
            item.put.store(0, Ordering::Relaxed);
            item.hold.store(0, Ordering::Relaxed);
            item.noted.store(0, Ordering::Relaxed);
        }
        self.leaves.iter().for_each(|leaf| leaf.store(0, Ordering::Relaxed));
        let words =
            [&self.lives_used, &self.items_used, &self.forgotten, &self.posted, &self.phase];
        words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.stalls
            .iter()
            .flatten()
            .chain([&self.closed_at, &self.permit])
            .for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// A survivor went on after a wait.
    pub fn waited(&self, since: u64, what: usize) {
        let until = now();
        let [from, to] = &self.stalls[what % WAITS.len()];
        // ORDER: Relaxed. Two survivors may write over each other: one of the two long waits is kept.
        let longest = to.load(Ordering::Relaxed).saturating_sub(from.load(Ordering::Relaxed));
        if until.saturating_sub(since) > longest {
            from.store(since, Ordering::Relaxed);
            to.store(until, Ordering::Relaxed);
        }
    }

    /// Writes a violation down.
    pub fn complain(&self, what: fmt::Arguments<'_>) {
        // ORDER: Relaxed. Read when nobody writes any more.
        let number = self.complaints_used.fetch_add(1, Ordering::Relaxed) as usize;
        let Some(complaint) = self.complaints.get(number) else { return };
        let text = format!("round {}: {what}", self.round.load(Ordering::Relaxed));
        let bytes = &text.as_bytes()[..text.len().min(complaint.bytes.len() * 8)];
        for (word, chunk) in complaint.bytes.iter().zip(bytes.chunks(8)) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(eight), Ordering::Relaxed);
        }
        complaint.len.store(bytes.len() as u32, Ordering::Release);
    }

    /// How many violations were found.
    pub fn complaints(&self) -> u32 {
        self.complaints_used.load(Ordering::Relaxed)
    }

    /// What was written down from violation number `from` on.
    pub fn complaints_since(&self, from: u32) -> Vec<String> {
        let text = |complaint: &Complaint| {
            let len = complaint.len.load(Ordering::Acquire) as usize;
            let bytes: Vec<u8> = complaint
                .bytes
                .iter()
                .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
                .take(len)
                .collect();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let upto = (self.complaints() as usize).min(MOST_COMPLAINTS);
        self.complaints[(from as usize).min(upto)..upto].iter().map(text).collect()
    }

    /// Notes how long it took from a kill to the progress of one who was blocked by it.
    pub fn sample(&self, nanos: u64) {
        let number = self.samples_used.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(sample) = self.samples.get(number) {
            sample.store(u32::try_from(nanos).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    /// All latencies, in nanoseconds, sorted.
    pub fn samples(&self) -> Vec<u32> {
        let used = (self.samples_used.load(Ordering::Relaxed) as usize).min(MOST_SAMPLES);
        let mut all: Vec<u32> =
            self.samples[..used].iter().map(|sample| sample.load(Ordering::Relaxed)).collect();
        all.sort_unstable();
        all
    }
}

impl Life {
    /// Says that the process gets SIGKILL now; the first word stands.
    pub fn doom(&self, end: u32) {
        let first =
            self.killed_at.compare_exchange(0, now(), Ordering::AcqRel, Ordering::Acquire).is_ok();
        if first {
            self.end.store(end, Ordering::Release);
        }
    }

    /// When it was doomed, if it was.
    pub fn doomed(&self) -> Option<u64> {
        match self.killed_at.load(Ordering::Acquire) {
            0 => None,
            at => Some(at),
        }
    }

    /// The named point at which it died.
    pub fn died_at(&self) -> Option<Point> {
        let end = self.end.load(Ordering::Acquire);
        Point::ALL.get(end.checked_sub(end::AT)? as usize).copied()
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |number: u32| {
            let point = number.checked_sub(1).and_then(|i| Point::NAMES.get(i as usize));
            point.copied().unwrap_or("none")
        };
        write!(f, "pid {}", self.pid.load(Ordering::Relaxed))?;
        match (self.died_at(), self.doomed()) {
            (Some(point), _) => write!(f, ", killed at {}", point.name())?,
            (None, Some(_)) => {
                write!(f, ", killed after {}", named(self.last.load(Ordering::Relaxed)))?;
            }
            (None, None) => {
                write!(f, ", not killed, last at {}", named(self.last.load(Ordering::Relaxed)))?;
                if self.blocked_since.load(Ordering::Relaxed) != 0 {
                    let what = self.waits_for.load(Ordering::Relaxed) as usize;
                    write!(f, ", waits for {}", WAITS.get(what).copied().unwrap_or("?"))?;
                }
            }
        }
        Ok(())
    }
}

impl Mapping {
    /// To hand on.
    pub fn file(&self) -> BorrowedFile<'_> {
        system::borrow(&self.file)
    }
}

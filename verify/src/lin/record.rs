//! The processes' logs, in memory that all share: what began, what it gave, when it ended.

use super::check::Stamp;
use offspring_core::prim::{AtomicU64, Ordering};
use std::ptr::NonNull;

/// Processes of one round, the harness among them.
pub const PROCESSES: usize = 24;
/// Operations that each can note.
const ENTRIES: usize = 4000;
/// Words of an entry.
const WORDS: usize = 5;
/// Words before the logs: the count of stamps, and whether the round is over.
const FRONT: usize = 16;
const ALL: usize = FRONT + PROCESSES * (1 + ENTRIES * WORDS);

/// Kinds of operations.
pub mod kind {
    pub const PUT: u64 = 1;
    pub const TAKE: u64 = 2;
}

/// All of them.
pub struct Logs(NonNull<[AtomicU64]>);

/// One process's.
#[derive(Clone, Copy)]
pub struct Log<'a>(&'a [AtomicU64]);

/// One operation: `kind, begin, value, end, kept`. Zeros say that it did not come so far.
pub struct Entry([AtomicU64; WORDS]);

impl Logs {
    pub fn new() -> Result<Self, String> {
        // SAFETY: new anonymous pages, nowhere in particular.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                ALL * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let well = (at != libc::MAP_FAILED).then_some(at.cast::<AtomicU64>());
        let at = well.and_then(NonNull::new);
        let at = at.ok_or_else(|| format!("map the logs: {}", std::io::Error::last_os_error()))?;
        Ok(Self(NonNull::slice_from_raw_parts(at, ALL)))
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for the process's life, zeroed, page-aligned, used as atomics alone.
        unsafe { self.0.as_ref() }
    }

    /// The next stamp. An addition is a full barrier on the processors this runs on, so that an operation lies between its two
    /// stamps, and it is one order for all.
    pub fn stamp(&self) -> Stamp {
        self.words()[0].fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn end(&self) {
        self.words()[8].store(1, Ordering::Release);
    }

    pub fn is_over(&self) -> bool {
        self.words()[8].load(Ordering::Acquire) != 0
    }

    /// The log of process `i`.
    pub fn log(&self, i: usize) -> Log<'_> {
        let len = 1 + ENTRIES * WORDS;
        Log(&self.words()[FRONT + i * len..][..len])
    }

    /// Before a round.
    pub fn wipe(&self) {
        self.words()[..FRONT].iter().for_each(|word| word.store(0, Ordering::Relaxed));
        for i in 0..PROCESSES {
            let log = self.log(i);
            let used = 1 + log.len() * WORDS;
            log.0[..used].iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }
}

impl<'a> Log<'a> {
    /// How many operations began.
    pub fn len(self) -> usize {
        (self.0[0].load(Ordering::Acquire) as usize).min(ENTRIES)
    }

    pub fn entry(self, i: usize) -> &'a Entry {
        let words = self.0[1 + i * WORDS..].first_chunk::<WORDS>();
        let words = words.expect("an entry below `ENTRIES`");
        // SAFETY: `Entry` is a wrapper of exactly these words, with their layout.
        unsafe { &*std::ptr::from_ref(words).cast::<Entry>() }
    }

    /// A new entry, if there is room.
    pub fn next(self) -> Option<&'a Entry> {
        let i = self.0[0].load(Ordering::Relaxed) as usize;
        (i < ENTRIES).then(|| {
            self.0[0].store(i as u64 + 1, Ordering::Release);
            self.entry(i)
        })
    }
}

impl Entry {
    /// Before the operation; `value` is what it puts.
    pub fn begin(&self, kind: u64, value: u64, stamp: Stamp) {
        self.0[2].store(value, Ordering::Relaxed);
        self.0[1].store(stamp, Ordering::Relaxed);
        self.0[0].store(kind, Ordering::Release);
    }

    /// It took this.
    pub fn got(&self, value: u64) {
        self.0[2].store(value, Ordering::Release);
    }

    /// And has it for good.
    pub fn keep(&self, late: bool) {
        self.0[4].store(if late { 2 } else { 1 }, Ordering::Release);
    }

    /// It has ended.
    pub fn end(&self, stamp: Stamp) {
        self.0[3].store(stamp, Ordering::Release);
    }

    /// It certainly had no effect.
    pub fn never(&self) {
        self.0[0].store(0, Ordering::Release);
    }

    /// `kind, begin, value, end, kept`.
    pub fn read(&self) -> [u64; WORDS] {
        std::array::from_fn(|i| self.0[i].load(Ordering::Acquire))
    }
}

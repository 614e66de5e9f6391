//! The page that all participants of one measurement share: they start together, and each leaves its times there.

use crate::Result;
use crate::message::Message;
use crate::raw::memory::{Shared, Words};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use std::io;
use std::ops::Range;

/// Seats on a stage: as many participants as a measurement can have.
pub const SEATS: usize = 8;

/// One participant's line of the page.
#[derive(Debug)]
#[repr(C, align(64))]
struct Record {
    began: AtomicU64,
    ended: AtomicU64,
    received: AtomicU64,
    sum: AtomicU64,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Page {
    participants: AtomicU32,
    arrived: AtomicU32,
    records: [Record; SEATS],
}

// SAFETY: all fields are atomics, valid when zero.
unsafe impl Words for Page {}

/// Where the participants of one measurement meet.
#[derive(Debug)]
pub struct Stage(Shared<Page>);

/// What one run of a measurement gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// From the first that began to the last that ended, in nanoseconds.
    pub nanos: u64,
    /// How many messages all participants received.
    pub received: u64,
    /// The sum of their numbers.
    pub sum: u64,
}

impl Stage {
    /// A stage for this many participants, none of which has arrived.
    pub fn new(participants: usize) -> Result<Self> {
        assert!((1..=SEATS).contains(&participants), "a stage has {SEATS} seats");
        let page = Shared::<Page>::new()?;
        // ORDER: Relaxed. Participants are started afterwards, by fork, exec or thread start.
        page.participants.store(participants as u32, Ordering::Relaxed);
        Ok(Self(page))
    }

    /// The stage of another process that told its [`path`](Self::path).
    pub fn open(path: &str) -> Result<Self> {
        Ok(Self(Shared::open(path)?))
    }

    /// Where another process of this user finds this stage while this process lives.
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// One participant's place.
    pub fn seat(&self, index: usize) -> Seat<'_> {
        Seat { page: &self.0, record: &self.0.records[index] }
    }

    /// What happened. Call after every participant has ended.
    pub fn outcome(&self) -> Outcome {
        // ORDER: Relaxed, here and below. The caller has joined the participants.
        let participants = self.0.participants.load(Ordering::Relaxed) as usize;
        let records = &self.0.records[..participants.min(SEATS)];
        let of = |word: fn(&Record) -> &AtomicU64| {
            records.iter().map(move |record| word(record).load(Ordering::Relaxed))
        };
        let began = of(|record| &record.began).min().unwrap_or(0);
        let ended = of(|record| &record.ended).max().unwrap_or(0);
        Outcome {
            nanos: ended.saturating_sub(began),
            received: of(|record| &record.received).sum(),
            sum: of(|record| &record.sum).fold(0, u64::wrapping_add),
        }
    }

    /// The time it took, provided that every message from 0 to `count - 1` arrived.
    pub fn nanos_for(&self, count: u64) -> Result<u64> {
        let outcome = self.outcome();
        let sum = (0..count).fold(0, u64::wrapping_add);
        if (outcome.received, outcome.sum) != (count, sum) {
            return Err(format!(
                "{count} messages were sent, {} arrived, and the sum of their numbers is {} instead of {sum}",
                outcome.received, outcome.sum
            )
            .into());
        }
        Ok(outcome.nanos)
    }
}

/// One participant's place on a stage.
#[derive(Clone, Copy, Debug)]
pub struct Seat<'a> {
    page: &'a Page,
    record: &'a Record,
}

impl Seat<'_> {
    /// Waits until every participant is here, and notes the time.
    pub fn start(&self) {
        // ORDER: AcqRel with the load below: what was set up before the start is seen after it.
        self.page.arrived.fetch_add(1, Ordering::AcqRel);
        // ORDER: Relaxed. Written before any participant was started.
        let participants = self.page.participants.load(Ordering::Relaxed);
        // ORDER: Acquire, with the `fetch_add` above.
        while self.page.arrived.load(Ordering::Acquire) < participants {
            std::thread::yield_now();
        }
        // ORDER: Relaxed. Read after this participant was joined.
        self.record.began.store(now(), Ordering::Relaxed);
    }

    /// Notes the time of the end, and what was received.
    pub fn finish(&self, received: u64, sum: u64) {
        // ORDER: Relaxed, all three. Read after this participant was joined.
        self.record.ended.store(now(), Ordering::Relaxed);
        self.record.received.store(received, Ordering::Relaxed);
        self.record.sum.store(sum, Ordering::Relaxed);
    }

    /// Takes part as a producer of the messages with these numbers.
    pub fn produce<M: Message>(
        &self,
        numbers: Range<u64>,
        mut put: impl FnMut(M) -> Result<()>,
    ) -> Result<()> {
        self.start();
        for number in numbers {
            put(M::numbered(number))?;
        }
        self.finish(0, 0);
        Ok(())
    }

    /// Takes part as a consumer of this many messages.
    pub fn consume<M: Message>(
        &self,
        count: u64,
        mut get: impl FnMut() -> Result<M>,
    ) -> Result<()> {
        self.start();
        let mut sum = 0u64;
        for _ in 0..count {
            sum = sum.wrapping_add(get()?.number());
        }
        self.finish(count, sum);
        Ok(())
    }
}

/// The monotonic clock, which all processes of the machine share, in nanoseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours; the monotonic clock exists on every system that this runs on.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) } != 0;
    assert!(!failed, "read the monotonic clock: {}", io::Error::last_os_error());
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How a taker waits whose queue has no waiting of its own: 1, 2, 4 … 64 pauses, then the core is offered to others.
#[inline(always)]
pub fn until<R>(attempt: impl FnMut() -> Option<R>) -> R {
    retry(0, attempt)
}

/// How a putter waits that found a bounded queue full: 64 pauses at once.
///
/// A full queue holds microseconds of work, so waiting longer costs nothing; asking at once means fighting the taker for
/// the line of the very slot that it is about to free, at several times the cost for both.
#[inline(always)]
pub fn until_room<R>(attempt: impl FnMut() -> Option<R>) -> R {
    retry(LONGEST, attempt)
}

/// The longest spin is 2^6 pauses.
const LONGEST: u32 = 6;
/// Longest spins before the core is offered to others.
const LONG_SPINS: u32 = 3;

#[inline(always)]
fn retry<R>(mut step: u32, mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        if step < LONGEST + LONG_SPINS {
            for _ in 0..1 << step.min(LONGEST) {
                std::hint::spin_loop();
            }
            step += 1;
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Line, Word};

    fn consumed(numbers: &[u64]) -> Stage {
        let stage = Stage::new(1).unwrap();
        let mut numbers = numbers.iter();
        let count = numbers.len() as u64;
        let get = || Ok(Word::numbered(*numbers.next().unwrap()));
        stage.seat(0).consume(count, get).unwrap();
        stage
    }

    #[test]
    fn a_lost_or_doubled_message_is_an_error() {
        assert!(consumed(&[0, 1, 2]).nanos_for(3).is_ok());
        assert!(consumed(&[0, 1]).nanos_for(3).is_err());
        assert!(consumed(&[0, 1, 1]).nanos_for(3).is_err());
    }

    #[test]
    fn a_stage_opened_by_its_path_is_the_same_stage() {
        let stage = Stage::new(2).unwrap();
        let other = Stage::open(&stage.path()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| other.seat(1).consume(1, || Ok(Line::numbered(0))).unwrap());
            stage.seat(0).produce(0..1, |_: Line| Ok(())).unwrap();
        });
        assert_eq!(stage.outcome(), other.outcome());
        assert!(stage.nanos_for(1).is_ok());
    }
}

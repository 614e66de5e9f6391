//! Back ends that break a promise, to see that the suite names it: one that works, with one mistake planted.

use super::bench::{Bench, Native};
use super::mate::{Mate, Orders};
use offspring_core::family::layout::HEAP_AT;
use offspring_core::family::{Life, Tables};
use offspring_core::part::{System, Traces};
use offspring_core::prim::{AtomicU32, Ordering, compiler_fence};
use offspring_core::wait::{Deadline, Watch, Woken};
use std::fmt::Debug;
use std::ptr::NonNull;

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Fault {
    /// None.
    Whole,
    TablesAreCutShort,
    PagesKeepTheirBytes,
    LosesWakes,
    LosesEveryHundredthWake,
    WakesOneForAll,
    WatchesTheFirstWordOnly,
    SaysLateWhenWoken,
    NeverLate,
    LateAtOnce,
    NoBarrier,
    MapsAnotherArena,
    CommitsWhatIsNotThere,
    MarksTheLiving,
    SaysGoneOfTheLiving,
    ForgetsIdentity,
    SaysLivingOfTheGone,
    KeepsGivenBackLives,
    ClockOfItsOwn,
    AwaitsNobody,
    SameRandom,
    SameGeneration,
    SameNumber,
    IgnoresLifeWords,
    IgnoresTheEpoch,
    IgnoresNewcomers,
}

/// A planted fault.
#[derive(Debug)]
pub struct Planted {
    /// The mistake.
    pub fault: Fault,
    /// It, in few words.
    pub says: &'static str,
    /// The promise that it breaks.
    pub breaks: &'static str,
    /// Whether it breaks it where nobody can be killed, too.
    pub in_threads: bool,
}

const fn planted_in(
    fault: Fault,
    breaks: &'static str,
    in_threads: bool,
    says: &'static str,
) -> Planted {
    Planted { fault, says, breaks, in_threads }
}

/// Which mistakes are planted.
pub const PLANTED: &[Planted] = &[
    planted_in(Fault::TablesAreCutShort, "S1", true, "an arena shorter than asked for"),
    planted_in(Fault::PagesKeepTheirBytes, "S2", true, "released pages keep their bytes"),
    planted_in(Fault::LosesWakes, "S3", true, "no wake arrives"),
    planted_in(Fault::MarksTheLiving, "S4", true, "held life words are said to be marked"),
    planted_in(Fault::SaysGoneOfTheLiving, "S5", true, "everybody is said to be gone"),
    planted_in(Fault::SameGeneration, "S6", cfg!(unix), "a fork has its parent's generation"),
    planted_in(Fault::SameNumber, "S7", false, "two processes have one number"),
    planted_in(Fault::MapsAnotherArena, "S8", true, "attaching makes an arena of its own"),
    planted_in(Fault::CommitsWhatIsNotThere, "S9", true, "every commit succeeds"),
    planted_in(Fault::ForgetsIdentity, "S10", false, "a number alone tells who it is"),
    planted_in(Fault::SaysLivingOfTheGone, "S11", false, "the dead are said to live"),
    planted_in(Fault::KeepsGivenBackLives, "S12", true, "life words are not given back"),
    planted_in(Fault::ClockOfItsOwn, "S13", true, "each participant has a clock of its own"),
    planted_in(Fault::AwaitsNobody, "S14", true, "waiting for an end returns at once"),
    planted_in(Fault::SameRandom, "S15", true, "the random number is always the same"),
    planted_in(Fault::LosesEveryHundredthWake, "W1", true, "one wake in a hundred is lost"),
    planted_in(
        Fault::WatchesTheFirstWordOnly,
        "W1",
        true,
        "of several words only the first is slept on",
    ),
    planted_in(Fault::WakesOneForAll, "W1", true, "a wake of all wakes one"),
    planted_in(Fault::SaysLateWhenWoken, "W2", true, "who is woken is told that its time is over"),
    planted_in(Fault::LosesWakes, "W3", true, "no wake arrives at another address"),
    planted_in(Fault::NeverLate, "W4", true, "deadlines are forgotten"),
    planted_in(Fault::LateAtOnce, "W4", true, "time is over before the deadline"),
    planted_in(Fault::NoBarrier, "W5", true, "the barrier is none"),
    planted_in(Fault::LosesWakes, "W6", true, "wakes of one arrive nowhere"),
    planted_in(Fault::MarksTheLiving, "L1", true, "the living are called dead"),
    planted_in(Fault::MarksTheLiving, "L2", false, "who takes a dead one's place is dead at once"),
    planted_in(Fault::SaysLivingOfTheGone, "L3", false, "no death is ever found"),
    planted_in(Fault::IgnoresTheEpoch, "F2", true, "the epoch is not slept on"),
    planted_in(Fault::IgnoresLifeWords, "F3", true, "life words are not slept on"),
    planted_in(Fault::IgnoresNewcomers, "F4", true, "the count of newcomers is not slept on"),
];

static FAULT: AtomicU32 = AtomicU32::new(0);
static WAKES: AtomicU32 = AtomicU32::new(0);

/// Plants a mistake in this process.
pub fn plant(number: u32) {
    FAULT.store(number, Ordering::SeqCst);
}

/// Which mistake this process has.
pub fn planted() -> Fault {
    let number = FAULT.load(Ordering::SeqCst);
    let known = PLANTED.iter().map(|planted| planted.fault);
    known.into_iter().find(|fault| *fault as u32 == number).unwrap_or(Fault::Whole)
}

/// Whether it is this one. Fast: a barrier that is none must not take the time of one.
#[inline(always)]
fn is(fault: Fault) -> bool {
    // ORDER: Relaxed. Planted before anything else is done.
    FAULT.load(Ordering::Relaxed) == fault as u32
}

/// A back end with the mistake that is planted in this process.
#[derive(Debug)]
pub struct Broken<S>(S);

impl<S: Native> Broken<S> {
    fn ignores(&self, tables: &Tables<'_>, watch: &Watch<'_>, at: usize) -> bool {
        let word = std::ptr::from_ref(watch.word);
        match planted() {
            Fault::WatchesTheFirstWordOnly => at > 0,
            Fault::IgnoresLifeWords => tables.lanes.as_ptr_range().contains(&word.cast()),
            Fault::IgnoresTheEpoch => std::ptr::eq(word, &*tables.head.epoch),
            Fault::IgnoresNewcomers => std::ptr::eq(word, &*tables.head.newcomers),
            _ => false,
        }
    }
}

/// What nobody changes.
static STILL: AtomicU32 = AtomicU32::new(0);

// SAFETY: as `S`, but for the promise that is broken on purpose. What memory safety rests on stays: the mapping is `S`'s, and
// whoever uses this one looks at raw memory by volatile reads in ranges that are checked.
unsafe impl<S: Native + Debug> System for Broken<S> {
    type Error = S::Error;
    type File = S::File;
    type FileRef<'a> = S::FileRef<'a>;

    const MOST_WATCHES: usize = S::MOST_WATCHES;
    const ARENA_LEN: u64 = S::ARENA_LEN;

    fn create(len: u64, fences: bool) -> Result<Self, S::Error> {
        let len = if is(Fault::TablesAreCutShort) { HEAP_AT + (1 << 20) } else { len };
        S::create(len, fences).map(Self)
    }

    fn attach(file: S::File) -> Result<Self, S::Error> {
        let attached = S::attach(file)?;
        if is(Fault::MapsAnotherArena) {
            Self::create(attached.len(), true)
        } else {
            Ok(Self(attached))
        }
    }

    fn file(&self) -> S::FileRef<'_> {
        self.0.file()
    }

    fn is_asymmetric(&self) -> bool {
        self.0.is_asymmetric()
    }

    fn use_barrier(&mut self, asymmetric: bool) -> Result<(), S::Error> {
        self.0.use_barrier(asymmetric)
    }

    fn base(&self) -> NonNull<u8> {
        self.0.base()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn page(&self) -> u64 {
        self.0.page()
    }

    fn commit(&self, offset: u64, len: u64) -> Result<(), S::Error> {
        match self.0.commit(offset, len) {
            Err(_) if is(Fault::CommitsWhatIsNotThere) => Ok(()),
            done => done,
        }
    }

    fn commit_more(&self, offset: u64, len: u64) -> Result<(), S::Error> {
        match self.0.commit_more(offset, len) {
            Err(_) if is(Fault::CommitsWhatIsNotThere) => Ok(()),
            done => done,
        }
    }

    fn release(&self, offset: u64, len: u64) -> Result<(), S::Error> {
        if is(Fault::PagesKeepTheirBytes) { Ok(()) } else { self.0.release(offset, len) }
    }

    fn resident_bytes(&self) -> Result<u64, S::Error> {
        self.0.resident_bytes()
    }

    fn wait(
        &self,
        tables: &Tables<'_>,
        lane: Option<usize>,
        watches: &[Watch<'_>],
        until: Option<Deadline>,
    ) -> Woken {
        let slept_on: Vec<Watch<'_>> = watches
            .iter()
            .enumerate()
            .map(|(at, watch)| match self.ignores(tables, watch, at) {
                true => Watch { word: &STILL, seen: 0 },
                false => *watch,
            })
            .collect();
        match planted() {
            Fault::LateAtOnce => Woken::TimedOut,
            // The back ends look at foreign words now and then: what they find is no news here.
            Fault::WatchesTheFirstWordOnly
            | Fault::IgnoresLifeWords
            | Fault::IgnoresTheEpoch
            | Fault::IgnoresNewcomers => {
                let own: Vec<Watch<'_>> = slept_on
                    .iter()
                    .filter(|watch| !std::ptr::eq(watch.word, &STILL))
                    .copied()
                    .collect();
                let unchanged =
                    || own.iter().all(|watch| watch.word.load(Ordering::SeqCst) == watch.seen);
                loop {
                    let woken = self.0.wait(tables, lane, &slept_on, until);
                    if woken == Woken::TimedOut || !unchanged() {
                        return woken;
                    }
                }
            }
            Fault::SaysLateWhenWoken => {
                self.0.wait(tables, lane, watches, until);
                Woken::TimedOut
            }
            Fault::NeverLate => self.0.wait(tables, lane, watches, None),
            _ => self.0.wait(tables, lane, watches, until),
        }
    }

    fn wake(&self, tables: &Tables<'_>, word: &AtomicU32, most: u32) -> u32 {
        // ORDER: Relaxed. A count.
        let number = WAKES.fetch_add(1, Ordering::Relaxed);
        match planted() {
            Fault::LosesWakes => 0,
            Fault::LosesEveryHundredthWake if number % 100 == 99 => 0,
            Fault::WakesOneForAll => self.0.wake(tables, word, most.min(1)),
            _ => self.0.wake(tables, word, most),
        }
    }

    fn now() -> Deadline {
        let now = S::now();
        match planted() {
            // A forked or started process has another number, and a thread another address of this.
            Fault::ClockOfItsOwn => {
                thread_local!(static SKEW: u8 = const { 0 });
                let skew = SKEW.with(|skew| std::ptr::from_ref(skew).addr() as u64 / 64 % 1024);
                now.after((skew + u64::from(std::process::id() % 4096)) * 1_000_000_000)
            }
            _ => now,
        }
    }

    fn is_alone() -> bool {
        S::is_alone()
    }

    fn light_barrier(&self) {
        if is(Fault::NoBarrier) { compiler_fence(Ordering::SeqCst) } else { self.0.light_barrier() }
    }

    fn heavy_barrier(&self) {
        if is(Fault::NoBarrier) { compiler_fence(Ordering::SeqCst) } else { self.0.heavy_barrier() }
    }

    fn backstop() -> u64 {
        S::backstop()
    }

    fn life(&self, tables: &Tables<'_>, lane: usize) -> Life {
        match (planted(), self.0.life(tables, lane)) {
            (Fault::MarksTheLiving, Life::Held) => Life::Marked,
            (Fault::SaysLivingOfTheGone, Life::Marked) => Life::Held,
            (_, life) => life,
        }
    }

    fn life_watch<'a>(&'a self, tables: &Tables<'a>, lane: usize) -> Option<Watch<'a>> {
        self.0.life_watch(tables, lane)
    }

    unsafe fn hold_life(&self, tables: &Tables<'_>, lane: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.0.hold_life(tables, lane) }
    }

    unsafe fn release_life(&self, tables: &Tables<'_>, lane: usize) {
        if !is(Fault::KeepsGivenBackLives) {
            // SAFETY: the caller's promise.
            unsafe { self.0.release_life(tables, lane) }
        }
    }

    fn number(pid: u32) -> u32 {
        if is(Fault::SameNumber) { 4711 } else { S::number(pid) }
    }

    fn identity() -> u64 {
        S::identity()
    }

    fn space() -> u64 {
        S::space()
    }

    fn is_gone(&self, number: u32, identity: u64) -> Option<bool> {
        match planted() {
            Fault::SaysGoneOfTheLiving => Some(true),
            Fault::SaysLivingOfTheGone => Some(false),
            Fault::ForgetsIdentity => self.0.is_gone(number, 0),
            _ => self.0.is_gone(number, identity),
        }
    }

    fn await_gone(&self, number: u32, identity: u64) {
        if !is(Fault::AwaitsNobody) {
            self.0.await_gone(number, identity);
        }
    }

    fn generation() -> u32 {
        if is(Fault::SameGeneration) { 7 } else { S::generation() }
    }

    fn ends_with_process() -> bool {
        S::ends_with_process()
    }

    fn random() -> Result<u64, S::Error> {
        if is(Fault::SameRandom) { Ok(7) } else { S::random() }
    }

    fn life_refused() -> S::Error {
        S::life_refused()
    }

    fn out_of_range(range: String) -> S::Error {
        S::out_of_range(range)
    }

    fn traces() -> &'static Traces<Self> {
        S::broken_traces()
    }
}

impl<S: Native + Debug> Bench for Broken<S> {
    const NAME: &'static str = S::NAME;
    const DIES: bool = S::DIES;

    fn again(file: S::FileRef<'_>) -> Result<S::File, String> {
        S::again(file)
    }

    fn start<T: Bench<File = S::File>>(
        file: S::FileRef<'_>,
        orders: Orders,
    ) -> Result<Mate, String> {
        S::start::<T>(file, orders)
    }

    fn hopeless() -> Option<(u64, u64)> {
        S::hopeless()
    }
}

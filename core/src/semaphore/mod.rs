//! A counting semaphore that gives back exactly what the dead held.
//!
//! One word, the *stamp*, says how many permits are free and who did the last operation, under which number. Beside it
//! lies a *ledger*: for each member what it holds, and the number of its last operation that is in there. Nobody
//! overwrites a stamp before its operation is in the ledger, so at most one operation is not, and the stamp says
//! whose. Whatever instruction a process dies at, its entry says what it held.
//!
//! How many permits an operation moved is not in the stamp: it is the difference to the stamp before it, which the word
//! `settled` keeps.
//!
//! # The words and their transitions
//!
//! Between operations `stamp == settled`. An operation of member `m`, by any thread of it:
//!
//! | # | step | who else may do it | a death after it |
//! |---|---|---|---|
//! | 1 | settle: bring the operation before to its end (steps 4 and 5) | everyone | nothing happened |
//! | 2 | read the own entry `(held, k)` | | nothing happened |
//! | 3 | CAS `stamp`: s → (free ± n, m, k + 1): **the operation is done** | | the next operation of anybody settles it |
//! | 4 | CAS entry of m: (held, k) → (held ∓ n, k + 1) | everyone | as above, from step 5 |
//! | 5 | CAS `settled`: s → stamp | everyone | nothing is left to do but to wake |
//! | 6 | wake who waits for permits | | the death notice wakes all |
//!
//! Two threads of one process share an entry and both read `(held, k)`. Their operations have different stamps before them,
//! or one of their CASes on `stamp` fails: whoever is second reads the entry again behind the first one's record.
//!
//! A dead member D is *reclaimed* like this: settle; read D's entry, `(h, k)`; make sure that D's index still is D's; CAS `stamp`:
//! s → (free + h, D, k + 1, reclaim), as if D released all. Any number of processes may do it at once and each may die: the
//! second one's CAS fails, and after settling it sees that D holds nothing. A newcomer that got D's index has stamped
//! since, or holds nothing.
//!
//! # Orderings
//!
//! | pair | one side | other side | carries |
//! |---|---|---|---|
//! | S1 | every CAS of `stamp` (Release) | every load and CAS of it (Acquire) | what was done before a release happens before what follows an acquire; entries and member table as of that stamp |
//! | S2 | CAS of `settled` (Release) | load of it (Acquire) | a stamp is settled only after its entry was written |
//! | S3 | CAS of an entry (Release) | load of it (Acquire) | the stamp that the entry records: who finds that a dead member holds nothing sees those permits free |
//! | W1 | `offspring_core::wait` | | a release and a sleeper that arms |
//!
//! # Wrap-around
//!
//! A stamp recurs after 2^30 operations of one member at the earliest (a minute and a half of nothing else at ten million a
//! second); a thread would have to be stopped for exactly such a number between step 1 and step 3.
//!
//! # Source
//!
//! The ledger is that of recoverable and detectable objects (Attiya, Ben-Baruch, Hendler: *Nesting-Safe Recoverable
//! Linearizability*, PODC 2018; Friedman et al.: *A Persistent Lock-Free Queue*, PPoPP 2018), for processes that
//! never come back. `settled` is ours: with it one operation moves any number of permits.

mod error;
#[cfg(all(test, not(offspring_loom)))]
mod tests;
mod word;

pub use error::{AcquireError, AttachError, ReleaseError};
pub use word::MOST_PERMITS;

use crate::block_on::block_on;
use crate::member::MemberTable;
use crate::points::{Point, hit};
use crate::prim::{AtomicU32, AtomicU64, Ordering};
use crate::process::{Liveness, ProcessRef};
use crate::wait::{Adaptive, Deadline, EventCount, Family, Wait};
use word::{Entry, Stamp};

/// The shared words of one semaphore, besides its ledger and its member table. All zero is a semaphore with no permits
/// and no limit.
///
/// ```text
/// 0  stamp    u64   free 20 | member 13 | sequence 30 | kind 1
/// 8  settled  u64   the last stamp that is in the ledger
/// 16 singles  u32   event count of those who wait for one permit
/// 20 groups   u32   event count of those who wait for more at once
/// 24 swept    u32   the death epoch up to which the dead were reclaimed
/// 28 limit    u32   the most permits that may be free; 0: MOST_PERMITS
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct SemaphoreHead {
    stamp: AtomicU64,
    settled: AtomicU64,
    singles: EventCount,
    groups: EventCount,
    swept: AtomicU32,
    limit: AtomicU32,
}

#[cfg(not(offspring_loom))]
const _: () = assert!(size_of::<SemaphoreHead>() == 32 && align_of::<SemaphoreHead>() == 8);

impl SemaphoreHead {
    /// `permits` free permits; never more than `limit` of them, if given.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::TooMany`] if `permits` is more than `limit` or than [`MOST_PERMITS`].
    pub fn new(permits: u32, limit: Option<u32>) -> Result<Self, ReleaseError> {
        let most = limit.unwrap_or(MOST_PERMITS).min(MOST_PERMITS);
        if permits > most || most == 0 {
            return Err(ReleaseError::TooMany { asked: permits, free: 0, most });
        }
        let start = Stamp::start(permits).bits();
        Ok(Self {
            stamp: AtomicU64::new(start),
            settled: AtomicU64::new(start),
            singles: EventCount::new(),
            groups: EventCount::new(),
            swept: AtomicU32::new(0),
            limit: AtomicU32::new(most),
        })
    }

    /// The limit. What a peer may have written there is no limit at all at worst.
    fn limit(&self) -> u32 {
        // ORDER: Relaxed. Written before the semaphore was shared.
        match self.limit.load(Ordering::Relaxed) {
            0 => MOST_PERMITS,
            limit => limit.min(MOST_PERMITS),
        }
    }
}

/// How many ledger entries a semaphore with `members` members needs.
#[must_use]
pub const fn ledger_entries(members: usize) -> usize {
    members + 1
}

/// One process's view of a semaphore. Its threads may all use it at once.
///
/// Permits belong to the *process*: one thread may acquire, another release. When a process dies, all it held is free
/// again, for the next who asks; [`forget`](Self::forget) takes permits out of that.
///
/// # Blocking and crash
///
/// Everything but `acquire` and `acquire_deadline` is lock-free: some operation always gets ahead. There is no fairness: who
/// waits for several permits may wait long if others keep taking single ones. What a death leaves behind is
/// in the module's documentation, step by step.
///
/// # Memory ordering
///
/// All that happened before a `release` or `post` happens before all that follows an acquisition of those permits; so does all
/// that a dead holder did before it died.
#[derive(Debug)]
pub struct Semaphore<'a, F> {
    head: &'a SemaphoreHead,
    ledger: &'a [AtomicU64],
    members: MemberTable<'a>,
    family: &'a F,
    /// 1..ledger.len()
    me: u16,
    /// Read once, so that it stays what was checked.
    limit: u32,
    spin: Adaptive,
}

impl<'a, F: Liveness + Wait> Semaphore<'a, F> {
    /// The view of the process that has index `me` in `members`. A new semaphore's ledger is all zero.
    ///
    /// # Errors
    ///
    /// [`AttachError`] if the ledger's size does not fit the table's ([`ledger_entries`]), or `me` is in neither.
    pub fn attach(
        head: &'a SemaphoreHead,
        ledger: &'a [AtomicU64],
        members: MemberTable<'a>,
        family: &'a F,
        me: u16,
    ) -> Result<Self, AttachError> {
        let capacity = members.capacity();
        if ledger.len() != ledger_entries(capacity) {
            return Err(AttachError::Ledger { entries: ledger.len(), members: capacity });
        }
        if me == 0 || usize::from(me) > capacity {
            return Err(AttachError::Member { index: me });
        }
        let limit = head.limit();
        Ok(Self { head, ledger, members, family, me, limit, spin: Adaptive::new() })
    }

    /// How many permits are free: a snapshot.
    #[must_use]
    pub fn value(&self) -> u32 {
        // ORDER: Acquire, S1.
        self.stamp().free()
    }

    /// How many permits the caller's process holds: a snapshot.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.entry(self.me).map_or(0, |entry| load(entry).held())
    }

    /// Takes `permits` permits if so many are free now; first frees those of the dead.
    ///
    /// # Errors
    ///
    /// [`AcquireError::NotFree`], [`AcquireError::TooMany`].
    pub fn try_acquire(&self, permits: u32) -> Result<(), AcquireError> {
        if permits > self.limit {
            return Err(AcquireError::TooMany { asked: permits, most: self.limit });
        }
        self.sweep();
        if permits == 0 {
            return Ok(());
        }
        self.operate(self.me, |free, _| {
            free.checked_sub(permits).ok_or(AcquireError::NotFree { asked: permits, free })
        })
    }

    /// Gives back `permits` permits that this process holds, and wakes who waits for them.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::NotHeld`] if the process holds fewer. [`ReleaseError::TooMany`] if so many were
    /// [posted](Self::post) meanwhile that the limit would be passed. Nothing is released then.
    pub fn release(&self, permits: u32) -> Result<(), ReleaseError> {
        self.add(self.me, permits)
    }

    /// Puts in `permits` permits that nobody held, and wakes who waits for them.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::TooMany`] if more than the limit would be free. Nothing is put in then.
    pub fn post(&self, permits: u32) -> Result<(), ReleaseError> {
        self.add(0, permits)
    }

    fn add(&self, member: u16, permits: u32) -> Result<(), ReleaseError> {
        if permits == 0 {
            return Ok(());
        }
        self.operate(member, |free, held| {
            if member != 0 && held < permits {
                return Err(ReleaseError::NotHeld { asked: permits, held });
            }
            let more = free.checked_add(permits).filter(|more| *more <= self.limit);
            more.ok_or(ReleaseError::TooMany { asked: permits, free, most: self.limit })
        })?;
        self.notify(permits);
        Ok(())
    }

    /// Lets go of `permits` permits that this process holds without freeing them: its death no longer gives them back.
    ///
    /// They can be put in again by [`post`](Self::post), by anybody.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::NotHeld`] if the process holds fewer.
    pub fn forget(&self, permits: u32) -> Result<(), ReleaseError> {
        let Some(entry) = self.entry(self.me) else {
            return Err(ReleaseError::NotHeld { asked: permits, held: 0 });
        };
        let mut now = load(entry);
        loop {
            let held = now.held();
            let Some(rest) = held.checked_sub(permits) else {
                return Err(ReleaseError::NotHeld { asked: permits, held });
            };
            // The number stays: this is no operation on the stamp, and one that is on its way records on top of it.
            match swap(entry, now, Entry::new(rest, now.sequence())) {
                Ok(()) => {
                    hit(Point::SemForgot);
                    return Ok(());
                }
                Err(other) => now = other,
            }
        }
    }

    /// Frees what dead members held, if a death was noticed since it was last done; says how many permits.
    ///
    /// Every acquisition does this. A dead member's index is free again after.
    pub fn sweep(&self) -> u32 {
        let epoch = self.family.death_epoch();
        // ORDER: Acquire, with the store below: swept means that those permits are free in what we read next.
        if self.head.swept.load(Ordering::Acquire) == epoch {
            return 0;
        }
        self.sweep_up_to(epoch)
    }

    #[cold]
    fn sweep_up_to(&self, epoch: u32) -> u32 {
        let mut freed = 0;
        for (index, member) in self.members.iter() {
            if self.family.is_dead(member) {
                freed += self.reclaim(index, member);
                self.members.free_if(index, member);
                hit(Point::SemMemberFreed);
            }
        }
        // ORDER: Release, with the load in `sweep`. A late sweeper may set an older epoch: then it is swept once more.
        self.head.swept.store(epoch, Ordering::Release);
        hit(Point::SemSwept);
        freed
    }

    /// Gives back all that this process holds, and its index; says how many permits. The view is not to be used after.
    pub fn leave(&self, me: ProcessRef) -> u32 {
        let freed = self.reclaim(self.me, me);
        self.members.leave(self.me, me);
        freed
    }

    /// Frees what `exact` holds, if `index` still is its index. It must be dead, or the caller.
    fn reclaim(&self, index: u16, exact: ProcessRef) -> u32 {
        let Some(entry) = self.entry(index) else { return 0 };
        loop {
            let settled = self.settle();
            let now = load(entry);
            let held = now.held();
            // Asked after `settled` was read: should the index be another's by now and that one hold something, then
            // either we see it here (S1 carries the table), or its stamp comes after and our CAS fails.
            if held == 0 || self.members.get(index) != exact {
                return 0;
            }
            // More than the limit only if permits were posted in place of these.
            let free = (settled.free() + held).min(self.limit);
            if self.stamp_over(settled, Stamp::next(free, index, now, true)) {
                hit(Point::SemReclaimed);
                self.notify(held);
                return held;
            }
        }
    }

    /// Steps 1 to 5 for `member`, which is the caller's or 0: `change` gets free and held permits, and gives how many are
    /// free after, or refuses.
    #[inline]
    fn operate<E>(
        &self,
        member: u16,
        change: impl Fn(u32, u32) -> Result<u32, E>,
    ) -> Result<(), E> {
        loop {
            let settled = self.settle();
            // `attach` checked that the entry exists.
            let now = self.entry(member).map_or(Entry::new(0, 0), load);
            let free = change(settled.free(), now.held())?;
            if self.stamp_over(settled, Stamp::next(free, member, now, false)) {
                return Ok(());
            }
        }
    }

    /// Step 3, and the rest if that succeeds. `before` was settled.
    #[inline]
    fn stamp_over(&self, before: Stamp, next: Stamp) -> bool {
        // ORDER: AcqRel, S1. Relaxed on failure: the caller begins again.
        let (from, to) = (before.bits(), next.bits());
        let stamp = &self.head.stamp;
        if stamp.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return false;
        }
        hit(Point::SemStamped);
        self.record(before, next);
        true
    }

    /// Step 1: returns a stamp that was the current one and is in the ledger.
    #[inline]
    fn settle(&self) -> Stamp {
        loop {
            let stamp = self.stamp();
            // ORDER: Acquire, S2: the entry of a settled stamp is seen. S1 made sure that this is not older than the
            // stamp before `stamp`.
            let settled = Stamp::from_bits(self.head.settled.load(Ordering::Acquire));
            if settled == stamp {
                return stamp;
            }
            // Is `settled` the stamp before, or already one behind? The first only if `stamp` still stands.
            if self.stamp() == stamp {
                self.record(settled, stamp);
                hit(Point::SemHelped);
            }
        }
    }

    /// Steps 4 and 5: the operation `stamp`, which came over `before`, is recorded, by us or by another.
    fn record(&self, before: Stamp, stamp: Stamp) {
        // A member beyond the ledger is nonsense of a peer's, and has nothing to record.
        if let Some(entry) = self.entry(stamp.member()) {
            let mut now = load(entry);
            // Goes round only if its owner forgot permits meanwhile.
            while let Some(next) = stamp.record(before.free(), now) {
                match swap(entry, now, next) {
                    Ok(()) => {
                        hit(Point::SemRecorded);
                        break;
                    }
                    Err(other) => now = other,
                }
            }
        }
        // ORDER: Release, S2. A failure means that another did it; nothing is read through it.
        let (from, to) = (before.bits(), stamp.bits());
        let settled = &self.head.settled;
        if settled.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok() {
            hit(Point::SemSettled);
        }
    }

    /// Step 6: as many single sleepers as can be served, and all that want several, since we do not know how many.
    fn notify(&self, permits: u32) {
        if permits == 1 {
            self.head.singles.notify_one(self.family);
        } else {
            self.head.singles.notify_all(self.family);
        }
        self.head.groups.notify_all(self.family);
    }

    fn stamp(&self) -> Stamp {
        // ORDER: Acquire, S1.
        Stamp::from_bits(self.head.stamp.load(Ordering::Acquire))
    }

    fn entry(&self, member: u16) -> Option<&'a AtomicU64> {
        self.ledger.get(usize::from(member))
    }
}

impl<F: Family> Semaphore<'_, F> {
    /// Takes `permits` permits, and sleeps until so many are free at once.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TooMany`].
    pub fn acquire(&self, permits: u32) -> Result<(), AcquireError> {
        self.acquire_until(permits, None)
    }

    /// Takes `permits` permits, and sleeps until so many are free at once or `until` has passed.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TimedOut`], [`AcquireError::TooMany`].
    pub fn acquire_deadline(&self, permits: u32, until: Deadline) -> Result<(), AcquireError> {
        self.acquire_until(permits, Some(until))
    }

    fn acquire_until(&self, permits: u32, until: Option<Deadline>) -> Result<(), AcquireError> {
        let count = if permits == 1 { &self.head.singles } else { &self.head.groups };
        let attempt = || match self.try_acquire(permits) {
            Err(AcquireError::NotFree { .. }) => None,
            done => Some(done),
        };
        block_on(self.family, count, || self.others(), &self.spin, until, attempt)
            .unwrap_or(Err(AcquireError::TimedOut { asked: permits }))
    }

    /// The members, from behind the caller's index around to before it.
    fn others(&self) -> impl Iterator<Item = ProcessRef> {
        let members = self.members;
        let me = self.me;
        let behind = members.iter().filter(move |(index, _)| *index > me);
        behind.chain(members.iter().filter(move |(index, _)| *index < me)).map(|(_, member)| member)
    }
}

fn load(entry: &AtomicU64) -> Entry {
    // ORDER: Acquire, S3.
    Entry::from_bits(entry.load(Ordering::Acquire))
}

/// Puts `to` in place of `from`; what stands there, if it is another.
fn swap(entry: &AtomicU64, from: Entry, to: Entry) -> Result<(), Entry> {
    // ORDER: AcqRel, S3; Acquire on failure, since the caller goes on with what stands there.
    entry
        .compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Acquire)
        .map(|_| ())
        .map_err(Entry::from_bits)
}

//! What one thread can see; deaths half-way and concurrency are verified in `verify/`.

extern crate std;

use super::*;
use crate::wait::{Watch, Woken};
use std::vec::Vec;

/// A family in which the processes of `dead` are dead, and nobody ever sleeps.
#[derive(Debug, Default)]
struct Still {
    dead: std::sync::Mutex<Vec<ProcessRef>>,
}

impl Still {
    fn kill(&self, process: ProcessRef) {
        self.dead.lock().unwrap().push(process);
    }
}

// SAFETY: what is dead stays so, and does nothing: the tests' one thread acts for the living only.
unsafe impl Liveness for Still {
    fn is_dead(&self, process: ProcessRef) -> bool {
        self.dead.lock().unwrap().contains(&process)
    }

    fn death_epoch(&self) -> u32 {
        self.dead.lock().unwrap().len() as u32
    }
}

// SAFETY: W1, W4, W5 speak of sleepers, and there are none.
unsafe impl Wait for Still {
    fn wait(&self, _: &[Watch<'_>], _: Option<Deadline>) -> Woken {
        Woken::Maybe
    }

    fn wake(&self, _: &AtomicU32, _: u32) -> u32 {
        0
    }

    fn now(&self) -> Deadline {
        Deadline(0)
    }

    fn light_barrier(&self) {}

    fn heavy_barrier(&self) {}
}

const A: ProcessRef = ProcessRef::new(1, 1);
const B: ProcessRef = ProcessRef::new(2, 1);
const C: ProcessRef = ProcessRef::new(3, 1);

struct Words {
    head: SemaphoreHead,
    ledger: Vec<AtomicU64>,
    entries: Vec<AtomicU64>,
    high_water: AtomicU32,
    family: Still,
}

impl Words {
    fn new(permits: u32, limit: Option<u32>) -> Self {
        Self {
            head: SemaphoreHead::new(permits, limit).unwrap(),
            ledger: (0..3).map(|_| AtomicU64::new(0)).collect(),
            entries: (0..2).map(|_| AtomicU64::new(0)).collect(),
            high_water: AtomicU32::new(0),
            family: Still::default(),
        }
    }

    fn members(&self) -> MemberTable<'_> {
        MemberTable::new(&self.entries, &self.high_water)
    }

    fn join(&self, process: ProcessRef) -> Semaphore<'_, Still> {
        let index = self.members().join(process).unwrap();
        Semaphore::attach(&self.head, &self.ledger, self.members(), &self.family, index).unwrap()
    }
}

#[test]
fn stamp_keeps_each_field_apart() {
    let entry = Entry::new(5, u32::MAX);
    let stamp = Stamp::next(MOST_PERMITS, 8191, entry, true);
    assert_eq!((stamp.free(), stamp.member()), (MOST_PERMITS, 8191));
    assert_eq!(stamp.record(0, entry), Some(Entry::new(0, 0)));
    assert_eq!(stamp.record(0, Entry::new(5, 0)), None);
    let zero = Stamp::next(0, 0, Entry::new(0, u32::MAX), false);
    assert_eq!(zero.bits(), 0);
    let moved = Stamp::next(3, 1, Entry::new(2, 6), false);
    assert_eq!(moved.record(7, Entry::new(2, 6)), Some(Entry::new(6, 7)));
}

#[test]
fn permits_go_out_and_come_back() {
    let words = Words::new(5, None);
    let a = words.join(A);
    assert_eq!(a.try_acquire(3), Ok(()));
    assert_eq!(a.try_acquire(3), Err(AcquireError::NotFree { asked: 3, free: 2 }));
    assert_eq!((a.value(), a.held()), (2, 3));
    assert_eq!(a.release(2), Ok(()));
    assert_eq!(a.release(2), Err(ReleaseError::NotHeld { asked: 2, held: 1 }));
    assert_eq!((a.value(), a.held()), (4, 1));
}

#[test]
fn bounded_semaphore_refuses_one_too_many_and_changes_nothing() {
    let words = Words::new(2, Some(2));
    let (a, b) = (words.join(A), words.join(B));
    assert_eq!(b.post(1), Err(ReleaseError::TooMany { asked: 1, free: 2, most: 2 }));
    assert_eq!(a.try_acquire(3), Err(AcquireError::TooMany { asked: 3, most: 2 }));
    a.try_acquire(2).unwrap();
    b.post(2).unwrap();
    assert_eq!(a.release(1), Err(ReleaseError::TooMany { asked: 1, free: 2, most: 2 }));
    assert_eq!((a.value(), a.held()), (2, 2));
    assert!(SemaphoreHead::new(3, Some(2)).is_err());
}

#[test]
fn permits_of_the_dead_are_free_again_once() {
    let words = Words::new(4, None);
    let (a, b) = (words.join(A), words.join(B));
    a.try_acquire(3).unwrap();
    b.try_acquire(1).unwrap();
    words.family.kill(A);
    assert_eq!(b.try_acquire(3), Ok(()));
    assert_eq!((b.value(), b.held(), b.sweep()), (0, 4, 0));
    assert_eq!(words.members().find(A), None);
}

#[test]
fn late_reclaim_leaves_the_newcomer_its_permits() {
    let words = Words::new(4, None);
    let a = words.join(A);
    a.try_acquire(3).unwrap();
    words.family.kill(A);
    let b = words.join(B);
    assert_eq!(b.sweep(), 3);
    let c = words.join(C);
    assert_eq!(c.me, a.me);
    c.try_acquire(2).unwrap();
    // A second sweeper that found A in the table before it was freed.
    assert_eq!(b.reclaim(a.me, A), 0);
    assert_eq!((c.held(), c.value()), (2, 2));
}

#[test]
fn forgotten_permits_do_not_come_back() {
    let words = Words::new(4, None);
    let (a, b) = (words.join(A), words.join(B));
    a.try_acquire(3).unwrap();
    assert_eq!(a.forget(4), Err(ReleaseError::NotHeld { asked: 4, held: 3 }));
    assert_eq!(a.forget(2), Ok(()));
    words.family.kill(A);
    assert_eq!(b.sweep(), 1);
    assert_eq!(b.value(), 2);
    b.post(2).unwrap();
    assert_eq!((b.value(), b.held()), (4, 0));
}

#[test]
fn leaving_gives_back_permits_and_index() {
    let words = Words::new(4, None);
    let (a, b) = (words.join(A), words.join(B));
    a.try_acquire(3).unwrap();
    assert_eq!(a.leave(A), 3);
    assert_eq!((b.value(), words.members().find(A)), (4, None));
}

#[test]
fn reclaim_over_a_limit_is_cut() {
    let words = Words::new(3, Some(3));
    let (a, b) = (words.join(A), words.join(B));
    a.try_acquire(2).unwrap();
    b.post(1).unwrap();
    words.family.kill(A);
    assert_eq!((b.sweep(), b.value()), (2, 3));
    assert_eq!(words.ledger[usize::from(a.me)].load(Ordering::Relaxed) >> 32, 0);
}

#[test]
fn words_that_do_not_fit_are_refused() {
    let words = Words::new(1, None);
    let attach = |ledger, me| {
        Semaphore::attach(&words.head, ledger, words.members(), &words.family, me).err()
    };
    assert_eq!(attach(&words.ledger[1..], 1), Some(AttachError::Ledger { entries: 2, members: 2 }));
    assert_eq!(attach(&words.ledger, 0), Some(AttachError::Member { index: 0 }));
    assert_eq!(attach(&words.ledger, 3), Some(AttachError::Member { index: 3 }));
}

#[test]
fn nonsense_of_a_peer_neither_panics_nor_hangs() {
    let pieces = [0, 1, u64::MAX, 1 << 63, 0x8000_0001_ffff_ffff, 0xdead_beef_0bad_cafe];
    for stamp in pieces {
        for settled in pieces {
            for entry in pieces {
                let words = Words::new(4, None);
                words.head.stamp.store(stamp, Ordering::Relaxed);
                words.head.settled.store(settled, Ordering::Relaxed);
                words.head.limit.store(entry as u32, Ordering::Relaxed);
                words.ledger[1].store(entry, Ordering::Relaxed);
                let (a, b) = (words.join(A), words.join(B));
                let _ = (a.try_acquire(3), a.release(2), a.forget(1), b.post(1));
                words.family.kill(A);
                let _ = (b.sweep(), b.try_acquire(1), b.release(1));
            }
        }
    }
}

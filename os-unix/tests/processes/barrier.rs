//! The asymmetric barrier between processes, and what happens without it.

use crate::support::{child, join, shared};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_os_unix::barrier::{self, Barrier};
use offspring_os_unix::{deny, status};

crate::cases![
    one_of_two_processes_sees_the_other,
    refused_barrier_is_told_and_fences_work,
    barrier_taken_away_later_ends_the_process,
];

/// Lines that the publisher writes just before its store, so that the store waits in the processor's buffer behind them.
const AHEAD: usize = 48;

/// Store, barrier, load in two processes, again and again: not both may miss the other's store.
fn never_both_miss(light: Barrier, heavy: Barrier) {
    let rounds = 30_000;
    let words = shared();
    let line = |i: usize| &words[i * 16];
    let [x, y, saw_x, saw_y, at_x, at_y] = [0, 1, 2, 3, 4, 5].map(line);
    let ahead = || (8..8 + AHEAD).map(line);
    // Both leave this at once: spinning, and giving up the processor only where there is but one.
    let meet = |mine: &AtomicU32, other: &AtomicU32, value: u32| {
        mine.store(value, Ordering::Release);
        let mut turns = 0_u32;
        while other.load(Ordering::Acquire) < value {
            turns += 1;
            if turns.is_multiple_of(4096) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    };
    let check = |round: u32| {
        let saw = [saw_x, saw_y].map(|saw| saw.load(Ordering::Relaxed));
        assert!(saw.contains(&round), "round {round}: both missed the other's store: {saw:?}");
    };
    let publisher = child(|| {
        for round in 1..=rounds {
            meet(at_x, at_y, 2 * round - 1);
            ahead().for_each(|word| word.store(round, Ordering::Relaxed));
            x.store(round, Ordering::Relaxed);
            light.light();
            saw_x.store(y.load(Ordering::Relaxed), Ordering::Relaxed);
            meet(at_x, at_y, 2 * round);
            check(round);
        }
    });
    for round in 1..=rounds {
        // They are in this processor's cache then, and the other has to fetch them.
        ahead().for_each(|word| word.store(0, Ordering::Relaxed));
        meet(at_y, at_x, 2 * round - 1);
        // At another time in each round.
        (0..round % 12).for_each(|_| std::hint::spin_loop());
        y.store(round, Ordering::Relaxed);
        heavy.heavy();
        saw_y.store(x.load(Ordering::Relaxed), Ordering::Relaxed);
        meet(at_y, at_x, 2 * round);
        check(round);
    }
    join(&publisher);
}

fn one_of_two_processes_sees_the_other() {
    never_both_miss(Barrier::fences(), Barrier::fences());
    if barrier::available() {
        // Registered before the fork, which inherits it.
        let barrier = Barrier::asymmetric().unwrap();
        never_both_miss(barrier, barrier);
    } else {
        println!("    skipped: no membarrier here");
    }
}

fn refused_barrier_is_told_and_fences_work() {
    for code in [libc::EPERM, libc::ENOSYS] {
        join(&child(|| {
            deny::deny(&[libc::SYS_membarrier], code).unwrap();
            assert!(!barrier::available());
            let error = Barrier::asymmetric().unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains("membarrier"), "{error}");
            let barrier = Barrier::fences();
            barrier.light();
            barrier.heavy();
        }));
    }
}

fn barrier_taken_away_later_ends_the_process() {
    if !barrier::available() {
        println!("    skipped: no membarrier here");
        return;
    }
    let ended = child(|| {
        // SAFETY: `none` is readable; no core file of a wanted abort.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
        }
        let barrier = Barrier::asymmetric().unwrap();
        deny::deny(&[libc::SYS_membarrier], libc::EPERM).unwrap();
        barrier.heavy();
    });
    let status = status::wait(&ended);
    assert!(matches!(status, status::ExitStatus::Signal { signal: libc::SIGABRT, .. }), "{status}");
}

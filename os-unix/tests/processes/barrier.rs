//! The asymmetric barrier between processes, and what happens without it.

use crate::support::{child, count, join, shared, until};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_os_unix::barrier::{self, Barrier};
use offspring_os_unix::{deny, status};

crate::cases![
    one_of_two_processes_sees_the_other,
    refused_barrier_is_told_and_fences_work,
    barrier_taken_away_later_ends_the_process,
];

/// Store, barrier, load in two processes, again and again: not both may miss the other's store.
fn never_both_miss(light: Barrier, heavy: Barrier) {
    const ROUNDS: u32 = 20_000;
    let words = shared();
    let [x, y, saw_x, saw_y, turn] = [0, 16, 32, 48, 64].map(|i| &words[i]);
    // Spins before it sleeps: a round takes less time than going to sleep.
    let meet = |value: u32| {
        count(turn);
        let met = || turn.load(Ordering::Acquire) >= value;
        if !(0..20_000).any(|_| {
            met() || {
                std::hint::spin_loop();
                false
            }
        }) {
            until(turn, value);
        }
    };
    let side = |mine: &AtomicU32, other: &AtomicU32, saw: &AtomicU32, pass: &dyn Fn()| {
        for round in 1..=ROUNDS {
            meet(4 * round - 2);
            mine.store(round, Ordering::Relaxed);
            pass();
            saw.store(other.load(Ordering::Relaxed), Ordering::Relaxed);
            meet(4 * round);
            let saw = [saw_x, saw_y].map(|saw| saw.load(Ordering::Relaxed));
            assert!(
                saw.iter().any(|saw| *saw >= round),
                "round {round}: both missed the other's store: {saw:?}"
            );
        }
    };
    let publisher = child(|| side(x, y, saw_x, &|| light.light()));
    side(y, x, saw_y, &|| heavy.heavy());
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

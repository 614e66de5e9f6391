//! Sleeping where `futex_waitv` is refused, and work that makes no system call.

use crate::support::{after_millis, child, count, join, shared, until, until_asleep};
use offspring_core::prim::Ordering;
use offspring_core::wait::{Watch, Woken};
use offspring_os_unix::barrier::Barrier;
use offspring_os_unix::life::{self, LifeCell};
use offspring_os_unix::{deny, futex, generation};

crate::cases![
    first_word_is_noticed_at_once_without_futex_waitv,
    other_words_are_noticed_soon_without_futex_waitv,
    changed_word_is_seen_before_sleeping_without_futex_waitv,
    deadline_holds_without_futex_waitv,
    looking_makes_no_system_call,
    forbidden_call_kills,
];

fn without_futex_waitv(case: impl Fn()) {
    for code in [libc::ENOSYS, libc::EPERM] {
        join(&child(|| {
            deny::deny(&[libc::SYS_futex_waitv], code).unwrap();
            case();
        }));
    }
}

fn first_word_is_noticed_at_once_without_futex_waitv() {
    without_futex_waitv(|| {
        const ROUNDS: u32 = 200;
        let words = shared();
        let other = child(|| {
            for round in 1..=ROUNDS {
                until(&words[0], round);
                count(&words[16]);
            }
        });
        let begin = futex::now();
        for round in 1..=ROUNDS {
            count(&words[0]);
            while words[16].load(Ordering::Acquire) < round {
                let watch = |i: usize, seen| Watch { word: &words[i], seen };
                let _ = futex::wait(&[watch(16, round - 1), watch(32, 0)], None);
            }
        }
        assert!(!futex::sleeps_on_many());
        // Were it noticed by looking again, each round would take 100 ms.
        assert!(futex::now() < begin.after(u64::from(ROUNDS) * futex::RECHECK / 2));
        join(&other);
    });
}

fn other_words_are_noticed_soon_without_futex_waitv() {
    without_futex_waitv(|| {
        let words = shared();
        let sleeper = child(|| {
            count(&words[0]);
            crate::futex::until_any(&[&words[16], &words[32], &words[48]]);
            assert!(!futex::sleeps_on_many());
        });
        until(&words[0], 1);
        until_asleep(&sleeper);
        count(&words[48]);
        join(&sleeper);
    });
}

fn changed_word_is_seen_before_sleeping_without_futex_waitv() {
    without_futex_waitv(|| {
        const TIMES: u64 = 20;
        let words = shared();
        words[32].store(1, Ordering::Release);
        let begin = futex::now();
        for _ in 0..TIMES {
            let watches = [16, 32].map(|i| Watch { word: &words[i], seen: 0 });
            assert_eq!(futex::wait(&watches, None), Woken::Maybe);
        }
        // Each sleep would take 100 ms.
        assert!(futex::now() < begin.after(TIMES * futex::RECHECK / 2));
    });
}

fn deadline_holds_without_futex_waitv() {
    without_futex_waitv(|| {
        let words = shared();
        let watches = [16, 32].map(|i| Watch { word: &words[i], seen: 0 });
        let deadline = after_millis(30);
        assert_eq!(futex::wait(&watches, Some(deadline)), Woken::TimedOut);
        assert!(futex::now() >= deadline);
        assert!(!futex::sleeps_on_many());
        // A later one is not taken for reached when the wait was cut.
        let deadline = after_millis(250);
        while futex::wait(&watches, Some(deadline)) == Woken::Maybe {}
        assert!(futex::now() >= deadline);
    });
}

fn looking_makes_no_system_call() {
    let cell: &'static LifeCell = Box::leak(Box::new(LifeCell::new()));
    life::init(cell).unwrap();
    let _ = generation::current();
    let barrier = Barrier::asymmetric().unwrap_or(Barrier::fences());
    deny::kill_on_any_syscall_except(&[libc::SYS_exit_group]).unwrap();
    for _ in 0..1000 {
        assert!(!life::is_marked(cell) && life::watch(cell).is_none());
        assert_ne!(generation::current(), 0);
        barrier.light();
    }
}

fn forbidden_call_kills() {
    let child = child(|| {
        deny::kill_on_any_syscall_except(&[libc::SYS_exit_group]).unwrap();
        // SAFETY: takes nothing.
        unsafe { libc::syscall(libc::SYS_getppid) };
    });
    let status = offspring_os_unix::status::wait(&child);
    assert!(
        matches!(
            status,
            offspring_os_unix::status::ExitStatus::Signal { signal: libc::SIGSYS, .. }
        ),
        "{status}"
    );
}

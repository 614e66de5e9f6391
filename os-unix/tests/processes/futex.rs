//! Sleeping and waking across processes, deadlines and signals.

use crate::support::{after_millis, child, count, join, set, shared, until, until_asleep};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::{Deadline, Watch, Woken};
use offspring_os_unix::arena::Arena;
use offspring_os_unix::futex;

crate::cases![
    wake_ends_a_wait_in_another_process_at_another_address,
    change_of_any_word_ends_a_wait,
    wait_on_a_changed_word_does_not_sleep,
    deadline_ends_a_wait,
    more_words_than_fit_are_all_noticed,
    signals_do_not_end_a_wait,
    wake_counts_whom_it_woke,
];

/// Sleeps until one of `words` is not zero.
pub fn until_any(words: &[&AtomicU32]) {
    let watches: Vec<_> = words.iter().map(|word| Watch { word, seen: 0 }).collect();
    while words.iter().all(|word| word.load(Ordering::Acquire) == 0) {
        let _ = futex::wait(&watches, None);
    }
}

fn wake_ends_a_wait_in_another_process_at_another_address() {
    let arena = Arena::create(65536).unwrap();
    arena.commit(0, 65536).unwrap();
    let words = |arena: &Arena| {
        let words = arena.base().cast::<[AtomicU32; 64]>();
        // SAFETY: zeroed, aligned, long enough, and leaked by the caller.
        unsafe { &*words.as_ptr() }
    };
    let here = words(&arena);
    let sleeper = child(|| {
        let fd = arena.fd().try_clone_to_owned().unwrap();
        let arena = Box::leak(Box::new(Arena::from_fd(fd).unwrap()));
        let there = words(arena);
        assert_ne!(here.as_ptr(), there.as_ptr());
        for round in 1..=1000 {
            until(&there[0], round);
            set(&there[16], round);
        }
    });
    let begin = futex::now();
    for round in 1..=1000 {
        set(&here[0], round);
        until(&here[16], round);
    }
    let nanos = futex::now().0 - begin.0;
    println!("    round trip: {:.1} µs", nanos as f64 / 1e6);
    join(&sleeper);
}

fn change_of_any_word_ends_a_wait() {
    let words = shared();
    for which in 0..3 {
        let [ready, rest @ ..] = &words[which * 64..which * 64 + 49] else { unreachable!() };
        let sleeper = child(|| {
            count(ready);
            until_any(&[&rest[0], &rest[16], &rest[32]]);
        });
        until(ready, 1);
        until_asleep(&sleeper);
        set(&rest[which * 16], 1);
        join(&sleeper);
    }
}

fn wait_on_a_changed_word_does_not_sleep() {
    let words = [AtomicU32::new(1), AtomicU32::new(2)];
    let watch = |i: usize, seen| Watch { word: &words[i], seen };
    // No deadline: only the watchdog would end it.
    assert_eq!(futex::wait(&[watch(0, 0)], None), Woken::Maybe);
    assert_eq!(futex::wait(&[watch(0, 1), watch(1, 0)], None), Woken::Maybe);
}

fn deadline_ends_a_wait() {
    let words = [AtomicU32::new(0), AtomicU32::new(0)];
    let watches = words.each_ref().map(|word| Watch { word, seen: 0 });
    for watches in [&watches[..0], &watches[..1], &watches[..]] {
        let deadline = after_millis(30);
        assert_eq!(futex::wait(watches, Some(deadline)), Woken::TimedOut);
        assert!(futex::now() >= deadline);
        assert_eq!(futex::wait(watches, Some(Deadline(0))), Woken::TimedOut);
    }
    // The end of time is a valid deadline.
    words[0].store(1, Ordering::Relaxed);
    assert_eq!(futex::wait(&watches, Some(Deadline(u64::MAX))), Woken::Maybe);
}

fn more_words_than_fit_are_all_noticed() {
    let words = shared();
    let (ready, rest) = words.split_at(1);
    let rest: Vec<_> = rest[..300].iter().collect();
    for last in [futex::MOST_WATCHES, 300] {
        ready[0].store(0, Ordering::Release);
        let sleeper = child(|| {
            count(&ready[0]);
            until_any(&rest[..last]);
        });
        until(&ready[0], 1);
        until_asleep(&sleeper);
        set(rest[last - 1], 1);
        join(&sleeper);
        rest[last - 1].store(0, Ordering::Release);
    }
}

fn signals_do_not_end_a_wait() {
    extern "C" fn handler(_: libc::c_int) {}
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
    let words = shared();
    let me = std::process::id() as i32;
    let sender = child(|| {
        until(&words[0], 1);
        while words[16].load(Ordering::Acquire) == 0 {
            // SAFETY: takes integers.
            unsafe { libc::kill(me, libc::SIGUSR1) };
        }
    });
    set(&words[0], 1);
    let watch = |i: usize| Watch { word: &words[i], seen: 0 };
    for watches in [&[watch(32)][..], &[watch(32), watch(48)]] {
        let deadline = after_millis(50);
        assert_eq!(futex::wait(watches, Some(deadline)), Woken::TimedOut);
        assert!(futex::now() >= deadline);
    }
    set(&words[16], 1);
    join(&sender);
}

fn wake_counts_whom_it_woke() {
    let words = shared();
    let (ready, gate) = (&words[0], &words[16]);
    assert_eq!(futex::wake(gate, u32::MAX), 0);
    let sleepers: Vec<_> = (0..3)
        .map(|_| {
            child(|| {
                count(ready);
                until(gate, 1);
            })
        })
        .collect();
    until(ready, 3);
    sleepers.iter().for_each(until_asleep);
    gate.store(1, Ordering::Release);
    assert_eq!(futex::wake(gate, 1), 1);
    assert_eq!(futex::wake(gate, u32::MAX), 2);
    assert_eq!(futex::wake(gate, u32::MAX), 0);
    sleepers.iter().for_each(join);
}

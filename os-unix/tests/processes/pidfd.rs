//! Naming processes for good: by pidfd, and where those are refused.

use crate::support::{KILLED, after_millis, child, count, join, kill, shared, stand, until};
use offspring_core::prim::Ordering;
use offspring_os_unix::pidfd::{self, PidFd};
use offspring_os_unix::{deny, futex, status};

crate::cases![
    killed_process_is_gone_before_and_after_it_is_reaped,
    deadline_ends_the_wait_for_a_living_process,
    each_process_has_an_identity_of_its_own,
    reused_number_is_another_process,
    process_lives_until_its_last_thread_ends,
    identity_noted_in_one_way_is_understood_in_the_other,
];

/// Runs a case with pidfds and, in a child, with `pidfd_open` refused.
fn in_both_ways(case: impl Fn()) {
    join(&child(&case));
    for code in [libc::ENOSYS, libc::EPERM] {
        join(&child(|| {
            deny::deny(&[libc::SYS_pidfd_open], code).unwrap();
            assert!(PidFd::open(std::process::id()).unwrap().fd().is_none());
            case();
        }));
    }
}

fn killed_process_is_gone_before_and_after_it_is_reaped() {
    in_both_ways(|| {
        let victim = child(|| stand());
        let process = PidFd::open(victim.pid()).unwrap();
        let identity = process.identity();
        assert!(!process.is_gone());
        assert_eq!(pidfd::is_gone(victim.pid(), identity), Some(false));
        process.send_signal(libc::SIGKILL).unwrap();
        assert!(process.wait_gone(Some(after_millis(20_000))));
        // Not reaped yet.
        assert!(process.is_gone());
        assert_eq!(pidfd::is_gone(victim.pid(), identity), Some(true));
        assert_eq!(status::wait(&victim), KILLED);
        assert!(process.is_gone() && process.wait_gone(None));
        assert_eq!(pidfd::is_gone(victim.pid(), identity), Some(true));
        assert!(process.send_signal(libc::SIGKILL).unwrap_err().is_not_found());
        assert!(PidFd::open(victim.pid()).unwrap_err().is_not_found());
    });
}

fn deadline_ends_the_wait_for_a_living_process() {
    in_both_ways(|| {
        let process = child(|| stand());
        let deadline = after_millis(30);
        assert!(!process.pidfd().wait_gone(Some(deadline)));
        assert!(futex::now() >= deadline);
        kill(&process);
        assert!(process.pidfd().wait_gone(None));
    });
}

fn each_process_has_an_identity_of_its_own() {
    in_both_ways(|| {
        let words = shared();
        let mine = pidfd::identity_of_self().unwrap();
        let other = child(|| {
            let own = pidfd::identity_of_self().unwrap();
            words[1].store(own as u32, Ordering::Relaxed);
            words[2].store((own >> 32) as u32, Ordering::Relaxed);
            count(&words[0]);
            stand();
        });
        until(&words[0], 1);
        let [low, high] = [1, 2].map(|i| u64::from(words[i].load(Ordering::Relaxed)));
        let own = high << 32 | low;
        assert_eq!(other.pidfd().identity(), own, "both sides name it alike");
        assert_eq!(pidfd::identity_of_self().unwrap(), mine);
        if own & 1 == 1 {
            // By time two may have started in one tick; their numbers differ then.
            assert_ne!(own, mine);
        }
        kill(&other);
        status::wait(&other);
    });
}

fn reused_number_is_another_process() {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    in_both_ways(|| {
        let first = child(|| ());
        let process = PidFd::open(first.pid()).unwrap();
        join(&first);
        // Time is told in ticks of 10 ms.
        let _ = futex::wait(&[], Some(after_millis(25)));
        // Others on this machine may be given the number instead.
        for _ in 0..1000 {
            if std::fs::write(LAST, (first.pid() - 1).to_string()).is_err() {
                println!("    skipped: {LAST} is not writable");
                return;
            }
            let second = child(|| stand());
            if second.pid() == first.pid() {
                assert_eq!(pidfd::is_gone(first.pid(), process.identity()), Some(true));
                assert!(process.is_gone());
                assert!(process.send_signal(libc::SIGKILL).unwrap_err().is_not_found());
                assert_eq!(pidfd::is_gone(second.pid(), second.pidfd().identity()), Some(false));
                kill(&second);
                assert_eq!(status::wait(&second), KILLED);
                return;
            }
            kill(&second);
            status::wait(&second);
        }
        panic!("number {} was never given again", first.pid());
    });
}

fn process_lives_until_its_last_thread_ends() {
    in_both_ways(|| {
        let words = shared();
        let process = child(|| {
            std::thread::spawn(|| {
                count(&words[0]);
                until(&words[1], 1);
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) };
            });
            // SAFETY: ends this thread alone, the first of its process.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
        until(&words[0], 1);
        let stat = format!("/proc/{}/stat", process.pid());
        // Until the first thread is a zombie; /proc alone tells of a single thread.
        while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        assert!(!process.pidfd().is_gone());
        let identity = process.pidfd().identity();
        assert_eq!(pidfd::is_gone(process.pid(), identity), Some(false));
        count(&words[1]);
        assert!(process.pidfd().wait_gone(None));
        join(&process);
    });
}

fn identity_noted_in_one_way_is_understood_in_the_other() {
    let process = child(|| stand());
    let identity = process.pidfd().identity();
    join(&child(|| {
        deny::deny(&[libc::SYS_pidfd_open], libc::EPERM).unwrap();
        let by_time = PidFd::open(process.pid()).unwrap().identity();
        let told = pidfd::is_gone(process.pid(), identity);
        // An inode says nothing without a pidfd; a time does.
        assert_eq!(told, if by_time == identity { Some(false) } else { None });
        assert_eq!(pidfd::is_gone(process.pid(), by_time), Some(false));
        kill(&process);
        while pidfd::is_gone(process.pid(), identity) != Some(true) {
            std::thread::yield_now();
        }
    }));
    assert_eq!(status::wait(&process), KILLED);
}

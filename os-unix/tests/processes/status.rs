//! How children end, for any number of askers, whoever reaps them.

use crate::again::MARK;
use crate::support::{KILLED, after_millis, child, join, kill, shared, stand, until};
use offspring_os_unix::deny;
use offspring_os_unix::futex;
use offspring_os_unix::status::{self, ExitStatus};

crate::cases![
    exit_codes_and_signals_are_told,
    many_threads_wait_for_one_child,
    child_reaped_by_another_does_not_hang,
    ignored_child_signal_does_not_hang,
    deadline_ends_a_wait,
    statuses_are_told_where_waiting_by_pidfd_is_refused,
    statuses_are_told_where_pidfds_are_refused,
];

fn exit_codes_and_signals_are_told() {
    for code in [0, 1, 42, 255] {
        // SAFETY: ends the child.
        let child = child(|| unsafe { libc::_exit(code) });
        assert_eq!(status::wait(&child), ExitStatus::Code(code));
        assert_eq!(status::wait(&child), ExitStatus::Code(code), "told again");
        assert_eq!(status::try_wait(&child), Some(ExitStatus::Code(code)));
    }
    let victim = child(|| stand());
    assert_eq!(status::try_wait(&victim), None);
    kill(&victim);
    assert_eq!(status::wait(&victim), KILLED);
    assert_eq!(
        status::wait(&child(|| std::panic::resume_unwind(Box::new(())))),
        ExitStatus::Code(101)
    );
}

fn many_threads_wait_for_one_child() {
    for _ in 0..20 {
        let words = shared();
        let victim = child(|| {
            until(&words[0], 1);
            // SAFETY: ends the child.
            unsafe { libc::_exit(9) };
        });
        std::thread::scope(|scope| {
            let askers: Vec<_> = (0..8).map(|_| scope.spawn(|| status::wait(&victim))).collect();
            crate::support::count(&words[0]);
            for asker in askers {
                assert_eq!(asker.join().unwrap(), ExitStatus::Code(9));
            }
        });
    }
}

/// What is told of a child that something else reaped: nothing, or what it was.
fn told_of_reaped() -> ExitStatus {
    // SAFETY: ends the child.
    let victim = child(|| unsafe { libc::_exit(5) });
    // SAFETY: as a careless library would.
    let reaped = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
    assert_eq!(reaped, victim.pid() as i32);
    let status = status::wait(&victim);
    assert_eq!(status::try_wait(&victim), Some(status));
    status
}

fn child_reaped_by_another_does_not_hang() {
    let status = told_of_reaped();
    assert!(matches!(status, ExitStatus::Code(5) | ExitStatus::Unknown), "{status}");
    println!("    the kernel tells: {status}");
    deny::deny(&[libc::SYS_ioctl], libc::ENOTTY).unwrap();
    assert_eq!(told_of_reaped(), ExitStatus::Unknown);
    deny::deny(&[libc::SYS_pidfd_open], libc::ENOSYS).unwrap();
    assert_eq!(told_of_reaped(), ExitStatus::Unknown);
}

fn ignored_child_signal_does_not_hang() {
    // SAFETY: takes integers.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let ended = child(|| ());
    let status = status::wait(&ended);
    assert!(matches!(status, ExitStatus::Code(0) | ExitStatus::Unknown), "{status}");
    deny::deny(&[libc::SYS_ioctl, libc::SYS_pidfd_open], libc::ENOSYS).unwrap();
    assert_eq!(status::wait(&child(|| ())), ExitStatus::Unknown);
    let words = shared();
    let ended = child(|| until(&words[0], 1));
    crate::support::count(&words[0]);
    assert_eq!(status::wait(&ended), ExitStatus::Unknown);
}

fn deadline_ends_a_wait() {
    let victim = child(|| stand());
    let deadline = after_millis(30);
    assert_eq!(status::wait_deadline(&victim, deadline), None);
    assert!(futex::now() >= deadline);
    kill(&victim);
    assert_eq!(status::wait_deadline(&victim, after_millis(20_000)), Some(KILLED));
}

fn statuses_are_told_where_waiting_by_pidfd_is_refused() {
    // P_PIDFD is 3, P_PID is 1.
    deny::deny_flag(libc::SYS_waitid, 0, 2, libc::EINVAL).unwrap();
    exit_codes_and_signals_are_told();
    many_threads_wait_for_one_child();
    deadline_ends_a_wait();
}

fn statuses_are_told_where_pidfds_are_refused() {
    deny::deny(&[libc::SYS_pidfd_open], libc::ENOSYS).unwrap();
    exit_codes_and_signals_are_told();
    many_threads_wait_for_one_child();
    deadline_ends_a_wait();
    // A program that was started by name, too.
    deny::deny_flag(libc::SYS_clone, 0, libc::CLONE_PIDFD as u32, libc::EINVAL).unwrap();
    let start = offspring_os_unix::start::Start {
        argv: vec![c"processes".into(), MARK.into(), c"exit".into(), c"0".into()],
        ..Default::default()
    };
    join(&start.spawn().unwrap());
}

//! Starting programs: descriptors, signals, errors.

use crate::again::MARK;
use crate::support::{KILLED, child, join, kill, middle_and_p99, stand};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_os_unix::start::{self, Start, Stdio};
use offspring_os_unix::status::{self, ExitStatus};
use offspring_os_unix::{deny, futex};
use std::ffi::{CStr, CString};
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

crate::cases![
    child_gets_exactly_the_descriptors_it_was_given,
    child_gets_exactly_these_where_close_range_is_refused,
    child_gets_exactly_these_where_directories_are_refused_too,
    child_starts_with_default_handlers_and_the_callers_mask,
    handlers_never_run_in_the_borrowed_memory,
    broken_pipes_end_the_child_and_ignored_signals_stay_ignored,
    child_gets_exactly_the_environment_it_was_given,
    failed_exec_is_an_error_and_leaves_no_child,
    many_threads_start_children_at_once,
    child_is_named_where_the_kernel_gives_no_pidfd_at_clone,
    child_is_started_where_pidfds_are_refused,
    forked_child_is_told_apart,
    threads_are_counted,
];

/// This program again.
pub fn again(arguments: &[&CStr]) -> Start<'static> {
    let argv = [c"processes", MARK].iter().chain(arguments).map(|text| CString::from(*text));
    Start { argv: argv.collect(), ..Start::default() }
}

/// A copy of `fd` with the number `number`, close-on-exec; what had the number is closed.
fn at(number: i32, fd: impl AsFd) -> OwnedFd {
    // SAFETY: takes integers; the cases use numbers that nothing else has.
    unsafe {
        assert_eq!(libc::dup3(fd.as_fd().as_raw_fd(), number, libc::O_CLOEXEC), number);
        OwnedFd::from_raw_fd(number)
    }
}

fn identity(fd: impl AsFd) -> String {
    // SAFETY: all zero is a valid `stat`, and it is writable.
    let status = unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        assert_eq!(libc::fstat(fd.as_fd().as_raw_fd(), &mut status), 0);
        status
    };
    format!("{}:{}", status.st_dev, status.st_ino)
}

/// Starts `start` with a pipe as its descriptor 3; what it wrote there.
fn report(start: Start<'_>) -> String {
    let (mut from, to) = std::io::pipe().unwrap();
    let mut start: Start<'_> = start;
    start.fds.insert(0, to.as_fd());
    let child = start.spawn().unwrap();
    drop(start);
    drop(to);
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    join(&child);
    text
}

fn lines<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).collect()
}

fn child_gets_exactly_the_descriptors_it_was_given() {
    let files: Vec<_> = (0..4).map(|_| std::io::pipe().unwrap()).collect();
    // Numbers that overlap with those to be given, in an order that a naive copy would spoil, and many others.
    let six = at(6, &files[0].0);
    let four = at(4, &files[1].0);
    let five = at(5, &files[2].0);
    let _leaked: Vec<_> = (60..200).map(|number| at(number, &files[3].1)).collect();
    // exec would close none of them by itself, but those that are to be passed.
    for number in 7..200 {
        // SAFETY: takes integers; fails where there is no such descriptor.
        unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    }
    let out = &files[3].0;
    for round in 0..4 {
        let mut start = again(&[c"report"]);
        start.stdio = [Stdio::Null, Stdio::Inherit, Stdio::Fd(four.as_fd())];
        let mut given: Vec<BorrowedFd<'_>> =
            vec![six.as_fd(), four.as_fd(), five.as_fd(), six.as_fd(), out.as_fd()];
        given.rotate_left(round);
        start.fds = given.clone();
        let text = report(start);
        let null = std::fs::File::open("/dev/null").unwrap();
        let got = lines(&text, "fd");
        assert_eq!(got.len(), 4 + given.len(), "{got:?}");
        let expect = |number: usize, fd: BorrowedFd<'_>| {
            assert!(
                got.contains(&format!("{number} {}", identity(fd)).as_str()),
                "{number} {got:?}"
            );
        };
        expect(0, null.as_fd());
        expect(1, std::io::stdout().as_fd());
        expect(2, four.as_fd());
        given.iter().enumerate().for_each(|(i, fd)| expect(4 + i, *fd));
    }
    // These numbers were taken from whatever the runner had there.
    std::mem::forget([six, four, five]);
}

fn child_gets_exactly_these_where_close_range_is_refused() {
    deny::deny(&[libc::SYS_close_range], libc::ENOSYS).unwrap();
    child_gets_exactly_the_descriptors_it_was_given();
}

fn child_gets_exactly_these_where_directories_are_refused_too() {
    deny::deny(&[libc::SYS_close_range, libc::SYS_getdents64], libc::EPERM).unwrap();
    child_gets_exactly_the_descriptors_it_was_given();
}

fn child_starts_with_default_handlers_and_the_callers_mask() {
    extern "C" fn handler(_: libc::c_int) {}
    // SAFETY: the handler does nothing; the set is local.
    unsafe {
        libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t);
        libc::signal(libc::SIGUSR2, libc::SIG_IGN);
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut blocked, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, std::ptr::null_mut());
    }
    let text = report(again(&[c"report"]));
    let expected = [
        format!("{} {} 0", libc::SIGUSR1, libc::SIG_DFL),
        format!("{} {} 0", libc::SIGUSR2, libc::SIG_IGN),
        format!("{} {} 1", libc::SIGTERM, libc::SIG_DFL),
    ];
    assert_eq!(lines(&text, "signal"), expected);
    // SAFETY: the sets are local.
    let still_blocked = unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
        (libc::sigismember(&mask, libc::SIGTERM), libc::sigismember(&mask, libc::SIGINT))
    };
    assert_eq!(still_blocked, (1, 0), "the caller's own mask is as before");
}

/// The process that the handler below belongs to, and whether it ever ran in another.
static OWNER: AtomicU32 = AtomicU32::new(0);
static STRAYED: AtomicU32 = AtomicU32::new(0);

/// A storm of signals to this process and its children: until it executes its program, a child has this process's
/// memory, and must not run its handlers in there.
fn handlers_never_run_in_the_borrowed_memory() {
    extern "C" fn handler(_: libc::c_int) {
        if std::process::id() != OWNER.load(Ordering::Relaxed) {
            STRAYED.store(1, Ordering::Relaxed);
        }
    }
    OWNER.store(std::process::id(), Ordering::Relaxed);
    // SAFETY: the handler only asks for the pid and stores to atomics; a group of this process alone.
    unsafe {
        assert_eq!(libc::setpgid(0, 0), 0);
        libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t);
    }
    let end = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while end.load(Ordering::Acquire) == 0 {
                // SAFETY: takes integers: to this process's group.
                unsafe { libc::kill(0, libc::SIGUSR1) };
            }
        });
        for _ in 0..200 {
            let child = again(&[c"exit", c"0"]).spawn().unwrap();
            // The default action of the signal ends it.
            let status = status::wait(&child);
            let by_signal = ExitStatus::Signal { signal: libc::SIGUSR1, core_dumped: false };
            assert!(status == by_signal || status.is_success(), "{status}");
        }
        end.store(1, Ordering::Release);
    });
    assert_eq!(STRAYED.load(Ordering::Relaxed), 0, "a handler ran in a child");
}

fn broken_pipes_end_the_child_and_ignored_signals_stay_ignored() {
    // SAFETY: takes integers. Rust's start ignores SIGPIPE, in this process and in whatever it would start.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    let sleep = Start {
        exe: Some(c"/bin/sleep".into()),
        argv: vec![c"sleep".into(), c"100".into()],
        ..Start::default()
    };
    let child = sleep.spawn().unwrap();
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    let bit = |signal: i32| 1_u64 << (signal - 1);
    assert_eq!(ignored & (bit(libc::SIGPIPE) | bit(libc::SIGUSR2)), bit(libc::SIGUSR2));
    kill(&child);
    assert_eq!(status::wait(&child), KILLED);
}

fn child_gets_exactly_the_environment_it_was_given() {
    let mut start = again(&[c"report"]);
    start.env = vec![c"A=1".into(), c"B=x y".into()];
    assert_eq!(lines(&report(start), "env"), ["A=1", "B=x y"]);
    assert!(lines(&report(again(&[c"report"])), "env").is_empty());
}

fn failed_exec_is_an_error_and_leaves_no_child() {
    let start = |exe: &CStr| Start { exe: Some(exe.into()), ..again(&[]) };
    let error = start(c"/no/such/program").spawn().unwrap_err();
    assert_eq!(error.code(), libc::ENOENT);
    assert!(error.to_string().starts_with("execute /no/such/program: "), "{error}");
    let error = start(c"/proc/self/stat").spawn().unwrap_err();
    assert!(error.is_denied(), "{error}");
    // Descriptors that cannot be passed are told apart.
    let limit = libc::rlimit { rlim_cur: 8, rlim_max: 8 };
    // SAFETY: `limit` is readable.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let mut many = again(&[]);
    let out = std::io::stdout();
    many.fds = vec![out.as_fd(); 20];
    let error = many.spawn().unwrap_err();
    assert!(error.is_invalid() || error.is_limit(), "{error}");
    assert!(error.to_string().starts_with("pass descriptors to "), "{error}");
    // SAFETY: asks for any child.
    let any = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    assert_eq!(any, -1, "a child was left behind");
}

fn many_threads_start_children_at_once() {
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut times = Vec::new();
                for i in 0..10 {
                    let code = thread * 10 + i;
                    let text = CString::new(code.to_string()).unwrap();
                    let begin = futex::now();
                    let child = again(&[c"exit", &text]).spawn().unwrap();
                    assert_eq!(status::wait(&child), ExitStatus::Code(code));
                    times.push(futex::now().0 - begin.0);
                }
                times
            })
        })
        .collect();
    let times = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    println!("    start to end of this program: {}", middle_and_p99(times));
}

fn start_and_kill(pidfd: bool) {
    let child = again(&[c"stand"]).spawn().unwrap();
    assert_eq!(child.pidfd().fd().is_some(), pidfd);
    assert_eq!(status::try_wait(&child), None);
    kill(&child);
    assert_eq!(status::wait(&child), KILLED);
    join(&again(&[c"exit", c"0"]).spawn().unwrap());
}

fn child_is_named_where_the_kernel_gives_no_pidfd_at_clone() {
    for code in [libc::EINVAL, libc::EPERM] {
        join(&child(|| {
            deny::deny_flag(libc::SYS_clone, 0, libc::CLONE_PIDFD as u32, code).unwrap();
            start_and_kill(true);
        }));
    }
}

fn child_is_started_where_pidfds_are_refused() {
    deny::deny_flag(libc::SYS_clone, 0, libc::CLONE_PIDFD as u32, libc::EINVAL).unwrap();
    deny::deny(&[libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal], libc::ENOSYS).unwrap();
    start_and_kill(false);
}

fn forked_child_is_told_apart() {
    // SAFETY: this process has one thread.
    match unsafe { start::fork() }.unwrap() {
        start::Fork::Parent(child) => {
            assert_eq!(status::wait(&child), ExitStatus::Code(7));
        }
        // SAFETY: ends the child.
        start::Fork::InChild => unsafe { libc::_exit(7) },
    }
    let stopped = child(|| stand());
    kill(&stopped);
    assert_eq!(status::wait(&stopped), KILLED);
}

fn threads_are_counted() {
    assert_eq!(start::thread_count().unwrap(), 1);
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    assert_eq!(start::thread_count().unwrap(), 2);
    drop(end);
    let _ = thread.join();
}

//! What a process knows of itself and of its family, and what can be done to a child, under libtest.

#[cfg(unix)]
use offspring::process::State;
use offspring::process::{self, Handle, Run, Stdio};
use offspring::{Process, Queue};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::time::{Duration, Instant};

mod common;

use common::{SIGKILL, SIGTERM, until_gone, watchdog};

offspring::test_entry!();

/// Ends this program if its tests hang; its children go with it.
fn watched() {
    watchdog(120);
}

fn park(_: ()) {
    loop {
        std::thread::park();
    }
}

/// Says that it is there, and stays.
fn say_and_park(queue: Queue<u32>) {
    queue.put(std::process::id()).unwrap();
    park(());
}

fn parked() -> Process<()> {
    watched();
    let queue = Queue::bounded(1).unwrap();
    let child = Process::spawn(say_and_park, queue.clone()).unwrap();
    assert_eq!(queue.get().unwrap(), child.pid());
    child
}

fn lists(child: &Handle) -> bool {
    process::active_children().contains(child)
}

#[test]
fn current_process_is_the_root() {
    let current = process::current();
    assert_eq!((current.pid(), current.is_daemon()), (std::process::id(), false));
    assert_eq!((current.name().as_str(), current.path()), ("Main", &[][..]));
    assert!(process::parent().is_none());
}

#[test]
fn current_process_can_take_another_name() {
    let rename = |()| {
        process::current().set_name("other");
        let child = Process::spawn(|()| process::parent().unwrap().name().to_owned(), ()).unwrap();
        (process::current().name(), child.join().unwrap())
    };
    let child = Process::builder("one").spawn(rename, ()).unwrap();
    assert_eq!(child.name(), "one");
    assert_eq!(child.join().unwrap(), ("other".to_owned(), "other".to_owned()));
}

#[test]
fn child_sees_its_parent() {
    let see = |()| {
        let parent = process::parent().unwrap();
        (parent.pid(), parent.name().to_owned(), parent.is_alive())
    };
    let seen = Process::spawn(see, ()).unwrap().join().unwrap();
    assert_eq!(seen, (std::process::id(), "Main".to_owned(), true));
}

#[cfg(unix)] // Windows tells nobody its parent
#[test]
fn parent_is_the_one_that_the_system_knows() {
    let see = |()| (process::parent().unwrap().pid(), std::os::unix::process::parent_id());
    let (told, known) = Process::spawn(see, ()).unwrap().join().unwrap();
    assert_eq!((told, known), (std::process::id(), told));
}

#[test]
fn detached_grandchild_sees_its_parent_die() {
    watched();
    let queue = Queue::<String>::bounded(4).unwrap();
    let parent = |queue: Queue<String>| {
        let child = |queue: Queue<String>| {
            let parent = process::parent().unwrap();
            assert!(!parent.wait_timeout(Duration::ZERO));
            queue.put(format!("alive: {}", parent.is_alive())).unwrap();
            parent.wait();
            queue.put(format!("alive: {}", parent.is_alive())).unwrap();
            assert!(process::parent().is_some_and(|parent| !parent.is_alive()));
            assert!(parent.wait_deadline(Instant::now()));
            queue.put("done".into()).unwrap();
        };
        Process::spawn(child, queue.clone()).unwrap().detach().unwrap();
        queue.put("detached".into()).unwrap();
        park(());
    };
    let child = Process::spawn(parent, queue.clone()).unwrap();
    let mut said = [queue.get().unwrap(), queue.get().unwrap()];
    said.sort();
    assert_eq!(said, ["alive: true", "detached"]);
    child.terminate().unwrap();
    child.wait();
    assert_eq!(queue.get().unwrap(), "alive: false");
    assert_eq!(queue.get().unwrap(), "done");
}

#[test]
fn process_goes_from_started_to_ended() {
    let child = parked();
    let handle = child.handle();
    assert!(child.is_alive() && child.try_wait().is_none() && lists(&handle));
    assert!(!child.is_daemon());
    child.kill().unwrap();
    let status = child.wait();
    assert_eq!((status.exitcode(), child.try_wait()), (Some(-SIGKILL), Some(status)));
    assert!(!child.is_alive() && !lists(&handle));
    // Any number of times, and to no effect on one that has ended.
    assert_eq!((child.wait(), child.wait()), (status, status));
    child.terminate().unwrap();
    child.kill().unwrap();
    assert_eq!(handle.wait(), status);
}

#[test]
fn waiting_with_no_time_returns_at_once() {
    let child = parked();
    assert!(child.wait_timeout(Duration::ZERO).is_none());
    assert!(child.wait_deadline(Instant::now() - Duration::from_secs(1)).is_none());
    let child = child.join_timeout(Duration::ZERO).unwrap_err();
    child.terminate().unwrap();
    assert_eq!(child.wait().exitcode(), Some(-SIGTERM));
}

#[test]
fn active_children_are_those_that_live() {
    let handle = parked().handle();
    assert!(lists(&handle), "without a handle of its own, too");
    handle.kill().unwrap();
    until_gone(handle.pid());
    assert!(!lists(&handle));
    assert_eq!(handle.state(), None);
}

#[cfg(unix)] // nobody is reaped on Windows
#[test]
fn active_children_are_those_that_live_and_the_others_are_reaped() {
    // In a process of its own: here, other tests start processes, which reaps all that have ended.
    let alone = |()| {
        let child = parked();
        let (pid, handle) = (child.pid(), child.handle());
        drop(child);
        handle.kill().unwrap();
        // SAFETY: all zero is a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is writable; the child stays unreaped.
        unsafe { libc::waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT) };
        assert_eq!(handle.state(), Some(State::Zombie));
        assert!(!lists(&handle));
        assert_eq!(handle.state(), None, "reaped");
    };
    Process::spawn(alone, ()).unwrap().join().unwrap();
}

#[test]
fn tree_of_processes_knows_its_places() {
    fn grow((depth, places): (u32, Queue<Vec<u32>>)) {
        places.put(process::current().path()[1..].to_vec()).unwrap();
        if depth > 0 {
            for _ in 0..2 {
                Process::spawn(grow, (depth - 1, places.clone())).unwrap().join().unwrap();
            }
        }
    }
    let places = Queue::bounded(16).unwrap();
    Process::spawn(grow, (2, places.clone())).unwrap().join().unwrap();
    places.close();
    let expected: [&[u32]; 7] = [&[], &[1], &[1, 1], &[1, 2], &[2], &[2, 1], &[2, 2]];
    assert_eq!(places.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn sentinel_is_ready_once_the_process_has_ended() {
    let child = parked();
    let sentinel = child.sentinel().unwrap();
    assert!(!common::is_ready(sentinel, Some(0)));
    child.kill().unwrap();
    assert!(common::is_ready(sentinel, None));
    child.wait();
    assert!(common::is_ready(child.handle().sentinel().unwrap(), Some(0)), "after it was reaped");
}

#[test]
fn shutdown_asks_first() {
    let child = parked();
    assert_eq!(child.shutdown(Duration::from_secs(60)).unwrap().signal(), Some(SIGTERM));
    assert_eq!(child.shutdown(Duration::ZERO).unwrap().signal(), Some(SIGTERM), "again");
}

#[cfg(unix)] // Windows asks nobody: to terminate is to kill
fn ignore_terminate(queue: Queue<u32>) {
    // SAFETY: takes integers.
    unsafe { libc::signal(SIGTERM, libc::SIG_IGN) };
    say_and_park(queue);
}

#[cfg(unix)]
#[test]
fn shutdown_asks_first_and_then_kills() {
    let queue = Queue::bounded(1).unwrap();
    let stubborn = Process::spawn(ignore_terminate, queue.clone()).unwrap();
    queue.get().unwrap();
    let status = stubborn.shutdown(Duration::from_millis(20)).unwrap();
    assert_eq!(status.signal(), Some(SIGKILL));
}

#[cfg(unix)] // signals that stop a process and let it go on
fn spin(queue: Queue<u32>) {
    queue.put(0).unwrap();
    loop {
        std::hint::spin_loop();
    }
}

#[cfg(unix)]
#[test]
fn state_of_a_process_is_told() {
    use common::until;
    let queue = Queue::bounded(1).unwrap();
    let child = Process::spawn(spin, queue.clone()).unwrap();
    queue.get().unwrap();
    let signal = |signal| {
        // SAFETY: takes integers; the child is not reaped, so that the number is its own.
        unsafe { libc::kill(child.pid() as i32, signal) }
    };
    // Under libtest the first thread waits for the one that works.
    assert!(matches!(child.state(), Some(State::Running | State::Sleeping)));
    signal(libc::SIGSTOP);
    until("it is stopped", || child.state() == Some(State::Stopped));
    assert!(child.is_alive(), "a stopped process has not ended");
    signal(libc::SIGCONT);
    until("it goes on", || matches!(child.state(), Some(State::Running | State::Sleeping)));
    child.kill().unwrap();
    child.wait();
    assert_eq!(child.state(), None);
    let sleeping = parked();
    until("it sleeps", || sleeping.state() == Some(State::Sleeping));
    sleeping.kill().unwrap();
}

#[derive(Serialize, Deserialize)]
struct Upper {
    lines: Queue<String>,
    answers: Queue<String>,
}

impl Run for Upper {
    type Output = usize;

    fn run(self) -> usize {
        self.lines.iter().map(|line| self.answers.put(line.to_uppercase()).unwrap()).count()
    }
}

#[test]
fn task_with_queues_of_its_own_answers_until_it_is_told_to_stop() {
    let (lines, answers) = (Queue::bounded(1).unwrap(), Queue::bounded(1).unwrap());
    let child = Process::run(Upper { lines: lines.clone(), answers: answers.clone() }).unwrap();
    for (line, answer) in [("hello", "HELLO"), ("world", "WORLD")] {
        lines.put(line.to_owned()).unwrap();
        assert_eq!(answers.get().unwrap(), answer);
    }
    lines.close();
    assert_eq!(child.join().unwrap(), 2);
}

#[test]
fn panic_in_a_child_is_written_with_its_name() {
    let (read, write) = std::io::pipe().unwrap();
    let fail = |n: u32| panic!("failed with {n}");
    let child: Process<()> = Process::builder("failing").stderr(write).spawn(fail, 3).unwrap();
    assert!(child.join().unwrap_err().is_panic());
    let text = std::io::read_to_string(read).unwrap();
    let place = text.find("Process failing:").expect(&text);
    let message = text.find("failed with 3").expect(&text);
    assert!(place < message && text.contains("tests/processes.rs"), "{text}");
}

#[test]
fn exit_codes_are_as_given() {
    // Unix keeps eight bits of it.
    let long = if cfg!(windows) { 256 } else { 0 };
    for (given, told) in [(0, 0), (1, 1), (8, 8), (255, 255), (256, long)] {
        let child: Process<()> = Process::spawn(|code| std::process::exit(code), given).unwrap();
        assert_eq!(child.wait().exitcode(), Some(told));
    }
}

#[test]
fn child_with_closed_streams_ends_well() {
    let close = |()| {
        common::close_streams();
        print!("into nothing");
    };
    let child = Process::spawn(close, ()).unwrap();
    assert_eq!(child.wait().code(), Some(0));
    child.join().unwrap();
    let write = |()| {
        print!("more than nothing");
        let _ = std::io::Write::flush(&mut std::io::stdout());
    };
    let (read, write_end) = std::io::pipe().unwrap();
    drop(read);
    let child = Process::builder("").stdout(write_end).spawn(write, ()).unwrap();
    assert_eq!(child.wait().code(), Some(0));
}

#[test]
fn broken_streams_of_the_parent_break_no_child() {
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let child = Process::builder("").stdout(write).stdin(Stdio::null()).stderr(Stdio::null());
    assert_eq!(child.spawn(|n: u32| n, 4).unwrap().join().unwrap(), 4);
}

#[test]
fn what_is_in_the_streams_is_written_at_the_end() {
    let (mut read, write) = std::io::pipe().unwrap();
    // No end of line, so that it waits in the buffer.
    let child = Process::builder("").stdout(write).spawn(|()| print!("last words"), ());
    child.unwrap().join().unwrap();
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "last words");
}

#[test]
fn many_processes_run_at_once_and_all_end_well() {
    let children: Vec<_> = (0..25_u32).map(|n| Process::spawn(|n: u32| n, n).unwrap()).collect();
    for (n, child) in children.into_iter().enumerate() {
        assert_eq!(child.join().unwrap(), n as u32);
    }
    let children: Vec<_> = (0..25).map(|_| Process::spawn(park, ()).unwrap()).collect();
    children.iter().for_each(|child| child.terminate().unwrap());
    assert!(children.iter().all(|child| child.wait().exitcode() == Some(-SIGTERM)));
}

#[cfg(unix)] // signals
#[test]
fn join_goes_on_after_a_signal() {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: all zero is a valid `sigaction`; the handler does nothing, and is never taken away.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()), 0);
    }
    let queue = Queue::<u32>::bounded(1).unwrap();
    let child = Process::spawn(|queue: Queue<u32>| queue.get().unwrap(), queue.clone()).unwrap();
    // SAFETY: takes nothing.
    let waiter = unsafe { libc::pthread_self() } as usize;
    let signaller = std::thread::spawn(move || {
        for _ in 0..50 {
            // SAFETY: the thread waits for this one's work, and so lives.
            unsafe { libc::pthread_kill(waiter as libc::pthread_t, libc::SIGUSR2) };
            std::thread::sleep(Duration::from_millis(1));
        }
        queue.put(11).unwrap();
    });
    assert_eq!(child.join().unwrap(), 11);
    signaller.join().unwrap();
}

#[test]
fn daemon_may_have_children_that_end_with_it() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let start = |queue: Queue<u32>| {
        assert!(Process::spawn(park, ()).unwrap_err().is_invalid());
        let child = Process::builder("").from_daemon(true).spawn(say_and_park, queue).unwrap();
        assert!(child.is_daemon(), "as its parent is");
        park(());
    };
    let daemon = Process::builder("").daemon(true).spawn(start, queue.clone()).unwrap();
    let pid = queue.get().unwrap();
    daemon.terminate().unwrap();
    daemon.wait();
    until_gone(pid);
}

#[test]
fn exiting_process_ends_its_threads_and_a_thread_ends_nobody() {
    let exit = |queue: Queue<u32>| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            queue.put(1).unwrap();
            tell.send(()).unwrap();
            park(());
        });
        // Else the process may end before that thread came to its put.
        told.recv().unwrap();
        std::thread::spawn(|| 5).join().unwrap()
    };
    let queue = Queue::bounded(1).unwrap();
    let child = Process::spawn(exit, queue.clone()).unwrap();
    assert_eq!(queue.get().unwrap(), 1);
    assert_eq!(child.join().unwrap(), 5);
}

#[cfg(unix)] // limits, masks, groups
#[test]
fn limits_mask_and_group_are_inherited() {
    fn limit() -> (u64, u64) {
        let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is writable.
        unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &mut limit) };
        (limit.rlim_cur, limit.rlim_max)
    }
    fn blocked() -> bool {
        // SAFETY: all zero is a valid `sigset_t`; the call only fills it in.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
            libc::sigismember(&mask, libc::SIGUSR1) == 1
        }
    }
    fn ignored(signal: i32) -> bool {
        // SAFETY: all zero is a valid `sigaction`; the call only fills it in.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action);
            action.sa_sigaction == libc::SIG_IGN
        }
    }
    fn seen(_: ()) -> ((u64, u64), bool, bool, bool, i32, i32) {
        // SAFETY: take integers.
        let (group, session) = unsafe { (libc::getpgid(0), libc::getsid(0)) };
        (limit(), blocked(), ignored(libc::SIGWINCH), ignored(libc::SIGHUP), group, session)
    }
    let see = |()| {
        // SAFETY: as above; in a process of its own, so that nobody else is concerned.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut mask, libc::SIGUSR1);
            libc::pthread_sigmask(libc::SIG_BLOCK, &mask, std::ptr::null_mut());
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            let lower = libc::rlimit64 { rlim_cur: 777, rlim_max: limit().1 };
            libc::setrlimit64(libc::RLIMIT_NOFILE, &lower);
        }
        (seen(()), Process::spawn(seen, ()).unwrap().join().unwrap())
    };
    let (here, there) = Process::spawn(see, ()).unwrap().join().unwrap();
    assert_eq!(here, there);
    assert_eq!((here.0.0, here.1, here.2, here.3), (777, true, false, true));
}

#[test]
fn scope_gives_values_and_leaves_nobody() {
    let mut handles = Vec::new();
    let sum = process::scope(|s| {
        let children = [s.spawn(|n: u64| n, 3)?, s.spawn(|n: u64| n * n, 4)?];
        s.spawn(|()| (), ())?;
        handles.extend(children.iter().map(|child| child.handle()));
        children.into_iter().map(|child| child.join()).sum::<offspring::Result<u64>>()
    });
    assert_eq!(sum.unwrap(), 19);
    assert!(handles.iter().all(|child| !child.is_alive()));
}

#[test]
fn scope_cancels_all_when_one_fails() {
    let mut handles = Vec::new();
    let error = process::scope(|s| {
        for _ in 0..3 {
            handles.push(s.spawn(park, ())?.handle());
        }
        let waits_for_ever = s.spawn(park, ())?;
        fn fail(_: ()) {
            panic!("the first")
        }
        s.spawn(fail, ())?;
        let cancelled = waits_for_ever.join().unwrap_err();
        assert!(cancelled.is_participant_lost(), "{cancelled}");
        assert!(s.is_cancelled() && s.spawn(park, ()).is_err());
        Ok(())
    });
    let error = error.unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("the first"), "{error}");
    assert!(handles.iter().all(|child| child.wait().signal() == Some(SIGTERM)));
}

#[test]
fn scope_notices_a_failure_whenever_its_body_asks() {
    let asks: [fn(&process::Scope) -> offspring::Result<()>; 2] =
        [process::Scope::check, |s| s.spawn(park, ()).map(drop)];
    for ask in asks {
        let mut parked = None;
        let error = process::scope(|s| {
            let handle = parked.insert(s.spawn(park, ())?.handle());
            s.check()?;
            let fails = s.spawn::<(), ()>(|()| std::process::exit(3), ())?.handle();
            fails.wait();
            assert!(!s.is_cancelled() && handle.is_alive(), "nobody asked");
            let cancelled = ask(s).unwrap_err();
            assert!(cancelled.is_participant_lost() && s.is_cancelled(), "{cancelled}");
            assert_eq!(handle.try_wait().and_then(|status| status.signal()), Some(SIGTERM));
            Ok(())
        });
        assert!(error.unwrap_err().to_string().contains("code 3"));
    }
}

#[test]
fn scope_cancels_all_when_its_body_fails_or_panics() {
    let mut handles = Vec::new();
    let result = process::scope(|s| {
        handles.push(s.spawn(park, ())?.handle());
        Process::builder("x".repeat(2000)).spawn(park, ()).map(drop)
    });
    assert!(result.unwrap_err().is_invalid());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        process::scope(|s| -> offspring::Result<()> {
            handles.push(s.spawn(park, ())?.handle());
            panic!("by itself")
        })
    }));
    assert!(panicked.is_err());
    assert!(handles.len() == 2 && handles.iter().all(|child| !child.is_alive()));
}

#[test]
fn finalisers_run_by_priority_and_the_last_registered_first() {
    let (mut read, write) = std::io::pipe().unwrap();
    let register = |()| {
        let say = |text: &'static str| move || print!("{text} ");
        process::at_exit(-1, say("late"));
        process::at_exit(0, say("d01"));
        process::at_exit(0, say("d02"));
        process::at_exit(0, say("d03"));
        process::at_exit(10, say("d10"));
        process::at_exit(5, || panic!("one of them fails"));
        let now = process::at_exit(99, say("a"));
        assert!(now.is_pending() && now.run() && !now.run() && !now.is_pending());
        let never = process::at_exit(99, say("never"));
        assert!(never.cancel() && !never.cancel());
        process::at_exit(1, || {
            process::at_exit(-5, || println!("last"));
        });
        // Between the two halves the children are waited for.
        let child = Process::spawn(|()| print!("child "), ()).unwrap();
        child.wait();
    };
    let child = Process::builder("").stdout(write).stderr(Stdio::null()).spawn(register, ());
    child.unwrap().join().unwrap();
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "child a d10 d03 d02 d01 late last\n");
}

#[test]
fn finalisers_of_the_first_half_run_before_the_children_are_waited_for() {
    let (mut read, write) = std::io::pipe().unwrap();
    let work = |queue: Queue<u32>| {
        let closing = queue.clone();
        // Without this the child would never end.
        process::at_exit(0, move || closing.put(1).unwrap());
        process::at_exit(-1, || print!("parent"));
        let wait = |queue: Queue<u32>| {
            queue.get().unwrap();
            print!("child ");
        };
        drop(Process::spawn(wait, queue).unwrap());
    };
    let queue = Queue::bounded(1).unwrap();
    let child = Process::builder("").stdout(write).spawn(work, queue).unwrap();
    child.join().unwrap();
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "child parent");
}

#[test]
fn finalisers_of_many_threads_run_once_each() {
    let race = |()| {
        let (count, counted) = std::sync::mpsc::channel();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let count = count.clone();
                std::thread::spawn(move || {
                    let register = |n: i32| {
                        let count = count.clone();
                        process::at_exit(n, move || count.send(n).unwrap())
                    };
                    let all: Vec<_> = (0..50).map(register).collect();
                    all.iter().filter(|one| one.run()).count()
                })
            })
            .collect();
        let ran: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        drop(count);
        (ran, counted.iter().count())
    };
    assert_eq!(Process::spawn(race, ()).unwrap().join().unwrap(), (200, 200));
}

#[cfg(unix)] // fork
#[test]
fn forkserver_serves_under_a_test_harness() {
    let context = process::Context::new(process::StartMethod::Forkserver).unwrap();
    let children: Vec<_> = (0..8_u32).map(|n| context.spawn(|n: u32| n + 1, n).unwrap()).collect();
    for (n, child) in (1..).zip(children) {
        assert_eq!(child.join().unwrap(), n);
    }
    let refused = Process::builder("")
        .context(&process::Context::new(process::StartMethod::Fork).unwrap())
        .spawn(|()| (), ());
    assert!(refused.unwrap_err().is_many_threads(), "a test harness has threads");
}

#[test]
fn sleeping_child_shows_in_a_list_and_handles_compare() {
    let child = parked();
    assert_eq!(child.handle(), child.handle());
    assert_ne!(child.handle(), parked_and_killed());
    assert_eq!(child.handle().name(), child.name());
    let handle = Handle::from(child);
    assert!(!handle.is_daemon());
    handle.kill().unwrap();
}

fn parked_and_killed() -> Handle {
    let child = parked().handle();
    child.shutdown(Duration::ZERO).unwrap();
    child
}

//! What a process that was started gives back, under libtest.

use offspring::{Process, Queue};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

offspring::test_entry!();

fn double(n: u32) -> u32 {
    2 * n
}

#[test]
fn child_returns_its_value() {
    let child = Process::spawn(double, 21).unwrap();
    assert_ne!(child.pid(), std::process::id());
    assert_eq!(child.join().unwrap(), 42);
    let child = Process::spawn(double, 4).unwrap();
    assert_eq!(child.join_timeout(Duration::from_secs(60)).unwrap().unwrap(), 8);
    let child = Process::spawn(double, 5).unwrap();
    child.wait();
    assert_eq!(child.try_join().unwrap().unwrap(), 10);
}

#[test]
fn closure_without_captures_is_a_function() {
    assert_eq!(
        Process::spawn(|(a, b): (String, u8)| format!("{a}{b}"), ("x".into(), 7))
            .unwrap()
            .join()
            .unwrap(),
        "x7"
    );
}

#[test]
fn large_arguments_and_values_arrive_whole() {
    for len in [0, 1, 1900, 1920, 1921, 5000, 3 << 20] {
        let bytes: Vec<u8> = (0..len).map(|i: usize| (i * 31 % 251) as u8).collect();
        let child = Process::spawn(reversed, bytes.clone()).unwrap();
        let mut back = child.join().unwrap();
        back.reverse();
        assert!(back == bytes, "{len} bytes");
    }
}

fn reversed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

#[test]
fn panic_comes_back_with_message_and_place() {
    let error = Process::spawn(halve, 7).unwrap().join().unwrap_err();
    assert!(error.is_panic() && !error.is_exit() && !error.is_killed() && !error.is_refused());
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "7 is odd");
    assert!(panic.location().unwrap().starts_with("tests/process.rs:"), "{panic}");
    assert_eq!(error.status().code(), Some(101));
    assert!(error.to_string().contains("7 is odd"), "{error}");
    assert!(offspring::Error::from(error).is_panic());
}

fn halve(n: u32) -> u32 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n / 2
}

#[test]
fn caught_panic_changes_nothing() {
    let child = Process::spawn(
        |()| {
            let caught = std::panic::catch_unwind(|| panic!("caught"));
            caught.is_err()
        },
        (),
    );
    assert!(child.unwrap().join().unwrap());
    let exit = Process::spawn(
        |()| {
            let _ = std::panic::catch_unwind(|| panic!("caught"));
            std::process::abort()
        },
        (),
    );
    let exit: Process<()> = exit.unwrap();
    let error = exit.join().unwrap_err();
    assert!(error.is_killed() && !error.is_panic(), "{error}");
    assert_eq!(error.status().signal_name(), Some("SIGABRT"));
}

#[test]
fn unwinding_without_panic_is_told_as_such() {
    let child: Process<()> = Process::spawn(
        |()| {
            let _ = std::panic::catch_unwind(|| panic!("an earlier one"));
            std::panic::resume_unwind(Box::new("by hand".to_owned()))
        },
        (),
    )
    .unwrap();
    let error = child.join().unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "by hand");
    assert_eq!(error.panic().unwrap().location(), None);
}

#[test]
fn panic_in_a_destructor_while_unwinding_is_a_panic() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("second");
        }
    }
    let child: Process<()> = Process::spawn(
        |()| {
            let _bomb = Bomb;
            panic!("first")
        },
        (),
    )
    .unwrap();
    let error = child.join().unwrap_err();
    assert_eq!(error.status().signal_name(), Some("SIGABRT"));
    assert!(error.is_panic(), "{error}");
    let message = error.panic().unwrap().message();
    assert!(message.starts_with("second; then "), "{message}");
}

#[test]
fn backtrace_comes_along_where_it_is_asked_for() {
    let child: Process<()> = Process::spawn(
        |()| {
            // SAFETY: this thread is the only one of the child that looks at the environment.
            unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "1") };
            panic!("with a backtrace")
        },
        (),
    )
    .unwrap();
    let error = child.join().unwrap_err();
    let backtrace = error.panic().unwrap().backtrace().unwrap();
    assert!(backtrace.contains("backtrace_comes_along"), "{backtrace}");
    assert!(error.panic().unwrap().thread().is_some());
}

#[test]
fn exit_code_and_signal_are_told_apart() {
    let child: Process<()> = Process::spawn(|code| std::process::exit(code), 3).unwrap();
    assert_eq!(child.wait().code(), Some(3));
    assert_eq!(child.try_wait().unwrap().exitcode(), Some(3));
    let error = child.join().unwrap_err();
    assert!(error.is_exit() && !error.is_killed() && !error.is_panic(), "{error}");
    assert!(offspring::Error::from(error).is_participant_lost());

    for (ask, signal) in [(Process::kill as fn(&Process<()>) -> _, 9), (Process::terminate, 15)] {
        let child = Process::spawn(sleep_for_ever, ()).unwrap();
        assert!(child.is_alive());
        assert_eq!(child.wait_timeout(Duration::from_millis(1)), None);
        let child = child.try_join().unwrap_err();
        let child = child.join_timeout(Duration::ZERO).unwrap_err();
        let child = child.join_deadline(Instant::now()).unwrap_err();
        ask(&child).unwrap();
        assert_eq!(child.wait().exitcode(), Some(-signal));
        ask(&child).expect("one that has ended is not asked");
        assert!(!child.is_alive());
        let error = child.join().unwrap_err();
        assert!(error.is_killed() && !error.is_exit(), "{error}");
        assert_eq!(error.status().signal(), Some(signal));
    }
}

fn sleep_for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

#[test]
fn any_number_of_threads_wait_for_one_child() {
    let child = Process::spawn(sleep_for_ever, ()).unwrap();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| child.wait())).collect();
        child.kill().unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().signal(), Some(9));
        }
    });
}

#[test]
fn queue_travels_to_a_child_and_back() {
    let queue = Queue::<u32>::bounded(16).unwrap();
    let child = Process::spawn(count_up, (queue.clone(), 10)).unwrap();
    let sum: u32 = (0..10).map(|_| queue.get().unwrap()).sum();
    assert_eq!(sum, 45);
    let back = child.join().unwrap();
    queue.put(99).unwrap();
    assert_eq!(back.get().unwrap(), 99);
}

fn count_up((queue, most): (Queue<u32>, u32)) -> Queue<u32> {
    (0..most).for_each(|n| queue.put(n).unwrap());
    queue
}

#[test]
fn only_the_arguments_keep_a_queue_until_the_child_has_it() {
    let queue = Queue::<String>::bounded(4).unwrap();
    queue.put("kept".into()).unwrap();
    // The parent's last handle goes into the arguments.
    let child = Process::spawn(|queue: Queue<String>| queue.get().unwrap(), queue).unwrap();
    assert_eq!(child.join().unwrap(), "kept");
}

#[test]
fn queue_made_by_a_child_outlives_it_in_its_value() {
    let child = Process::spawn(
        |text: String| {
            let queue = Queue::bounded(4).unwrap();
            queue.put(text).unwrap();
            (queue, vec![0_u8; 100_000])
        },
        "made there".to_owned(),
    )
    .unwrap();
    child.wait();
    let (queue, _) = child.join().unwrap();
    assert_eq!(queue.get().unwrap(), "made there");
}

#[derive(Serialize)]
struct OneWay(u8);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let n = u8::deserialize(from)?;
        if n == 13 { Err(serde::de::Error::custom("thirteen cannot be read")) } else { Ok(Self(n)) }
    }
}

#[test]
fn arguments_that_cannot_be_read_say_so_to_join() {
    let error = Process::spawn(|n: OneWay| n.0, OneWay(13)).unwrap().join().unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(error.to_string().contains("arguments"), "{error}");
    assert!(error.to_string().contains("OneWay"), "{error}");
    assert_eq!(error.status().code(), Some(1));
}

#[test]
fn value_that_cannot_be_read_says_so_to_join() {
    let error =
        Process::spawn(OneWay as fn(u8) -> OneWay, 13).unwrap().join().map(drop).unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert_eq!(error.status().code(), Some(0), "the child did its part");
}

struct Silent;

impl Serialize for Silent {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("silent"))
    }
}

impl<'de> Deserialize<'de> for Silent {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[test]
fn what_cannot_be_serialised_is_refused_on_either_side() {
    let error = Process::spawn(|_: Silent| (), Silent).unwrap_err();
    assert!(error.is_encode(), "{error}");
    let error = Process::spawn(|()| Silent, ()).unwrap().join().map(drop).unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(error.to_string().contains("return its value"), "{error}");
}

#[test]
fn names_and_daemons_are_as_asked() {
    let child = Process::builder("worker").daemon(true).spawn(sleep_for_ever, ()).unwrap();
    assert_eq!(child.name(), "worker");
    assert!(child.is_daemon());
    child.kill().unwrap();
    let child = Process::spawn(double, 1).unwrap();
    assert!(child.name().starts_with("Process-"), "{}", child.name());
    assert!(!child.is_daemon());
    assert!(Process::builder("n".repeat(2000)).spawn(double, 1).is_err());
}

#[test]
fn daemon_starts_no_processes() {
    let child = Process::builder("daemon").daemon(true).spawn(start_one, ()).unwrap();
    let said = child.join().unwrap();
    assert!(said.contains("daemon"), "{said}");
}

fn start_one(_: ()) -> String {
    match Process::spawn(double, 4) {
        Ok(child) => child.join().unwrap().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn children_have_children() {
    assert_eq!(Process::spawn(start_one, ()).unwrap().join().unwrap(), "8");
}

#[cfg(unix)] // os-windows looks at the handles of a child of its own
#[test]
fn child_gets_no_descriptors_but_its_own() {
    use std::os::fd::AsRawFd;
    let open = std::fs::File::open("/dev/null").unwrap();
    let others: Vec<_> = (0..5).map(|_| Process::spawn(sleep_for_ever, ()).unwrap()).collect();
    let listed = Process::spawn(descriptors, ()).unwrap().join().unwrap();
    assert!(open.as_raw_fd() > 2);
    // The pipe and the arena, the standard output's copy is closed; one is the listing's own.
    let expected = ["0", "1", "2", "3", "4"];
    assert_eq!(listed.iter().filter(|n| !expected.contains(&n.as_str())).count(), 1, "{listed:?}");
    others.iter().for_each(|other| other.kill().unwrap());
}

#[cfg(unix)]
fn descriptors(_: ()) -> Vec<String> {
    let list = std::fs::read_dir("/proc/self/fd").unwrap();
    list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn marker_is_not_handed_on() {
    let seen = Process::spawn(
        |()| {
            let mut list = std::process::Command::new(if cfg!(windows) { "cmd" } else { "env" });
            let list = if cfg!(windows) { list.args(["/c", "set"]) } else { &mut list };
            let out = list.output().unwrap();
            String::from_utf8_lossy(&out.stdout).into_owned()
        },
        (),
    );
    let seen = seen.unwrap().join().unwrap();
    assert!(seen.to_uppercase().contains("PATH="), "{seen}");
    assert!(!seen.contains("OFFSPRING"), "{seen}");
}

#[test]
fn detached_child_gives_its_handle_up() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let child =
        Process::spawn(|queue: Queue<u32>| queue.put(std::process::id()).unwrap(), queue.clone());
    let child = child.unwrap();
    let pid = child.pid();
    child.detach().unwrap();
    assert_eq!(queue.get().unwrap(), pid);
}

#[cfg(unix)] // os-windows looks at a library of its own
#[test]
fn function_of_a_library_is_refused_by_name() {
    let foreign = libc::getpid as unsafe extern "C" fn() -> i32 as *const ();
    if offspring_os_unix::image::Image::main().code_offset(foreign.addr()).is_some() {
        return; // linked statically: it is a function of this program
    }
    // SAFETY: it is refused, and never called.
    let function = unsafe { std::mem::transmute::<*const (), fn(()) -> i32>(foreign) };
    let error = Process::spawn(function, ()).unwrap_err().to_string();
    assert!(error.contains("getpid") && error.contains("libc"), "{error}");
}

#[cfg(unix)] // nobody is reaped on Windows
#[test]
fn child_whose_handle_was_dropped_is_reaped_by_the_next_start() {
    let child = Process::spawn(double, 1).unwrap();
    let process = offspring_os_unix::pidfd::PidFd::open(child.pid()).unwrap();
    drop(child);
    assert!(process.wait_gone(None));
    Process::spawn(double, 2).unwrap().join().unwrap();
    // Nobody is left to be signalled, not even a zombie.
    assert!(process.send_signal(0).unwrap_err().is_not_found());
}

#[test]
fn many_threads_start_and_join_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let children: Vec<_> =
                    (0..8).map(|n| Process::spawn(double, thread * 100 + n).unwrap()).collect();
                for (n, child) in (0..).zip(children) {
                    assert_eq!(child.join().unwrap(), 2 * (thread * 100 + n));
                }
            });
        }
    });
}

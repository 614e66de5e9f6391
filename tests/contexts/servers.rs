//! What a fork server does, and what becomes of it.

use super::unix::files;
use super::{common, context};
use offspring::process::{Context, Passed, StartMethod};
use offspring::{Process, Queue};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_os_unix::pidfd::PidFd;
use std::fs::File;
use std::sync::OnceLock;

fn server() -> Context {
    context(StartMethod::Forkserver)
}

fn system_parent_of_a_child(context: &Context) -> u32 {
    let ask = |()| std::os::unix::process::parent_id();
    context.spawn(ask, ()).unwrap().join().unwrap()
}

pub fn system_parent() {
    let first = system_parent_of_a_child(&server());
    assert_ne!(first, std::process::id());
    assert_eq!(system_parent_of_a_child(&server()), first, "one server for all");
}

fn send(pid: u32, signal: i32) {
    PidFd::open(pid).unwrap().send_signal(signal).unwrap();
}

pub fn survives_interrupt() {
    let pid = system_parent_of_a_child(&server());
    send(pid, libc::SIGINT);
    assert_eq!(system_parent_of_a_child(&server()), pid);
}

pub fn interrupt_ends_forks() {
    let child = server().spawn(|()| std::thread::park(), ()).unwrap();
    send(child.pid(), libc::SIGINT);
    assert_eq!(child.wait().signal(), Some(libc::SIGINT));
}

pub fn is_started_again() {
    let pid = system_parent_of_a_child(&server());
    let process = PidFd::open(pid).unwrap();
    send(pid, libc::SIGKILL);
    assert!(process.wait_gone(None));
    let again = system_parent_of_a_child(&server());
    assert_ne!(again, pid);
    assert_eq!(system_parent_of_a_child(&server()), again);
}

pub fn child_goes_on() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let child = server().spawn(|queue: Queue<u32>| queue.get().unwrap() + 1, queue.clone());
    let child = child.unwrap();
    let pid = system_parent_of_a_child(&server());
    let process = PidFd::open(pid).unwrap();
    send(pid, libc::SIGKILL);
    assert!(process.wait_gone(None));
    assert!(child.is_alive());
    queue.put(6).unwrap();
    let status = child.wait();
    // As far as the system tells: it keeps the code, or nothing is known.
    assert!(matches!(status.code(), Some(0) | None) && status.signal().is_none(), "{status}");
    assert_eq!(child.join().unwrap(), 7);
}

pub fn many_threads() {
    server().start_server().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            scope.spawn(move || {
                for n in 0..10 {
                    let child: Process<()> = server()
                        .spawn(|code: i32| std::process::exit(code), (10 * thread + n) as i32)
                        .unwrap();
                    assert_eq!(child.wait().code(), Some((10 * thread + n) as i32));
                }
            });
        }
    });
    // A thread that was joined may take a moment to vanish from the system's list.
    common::until("the threads are gone", || offspring_os_unix::start::thread_count() == Ok(1));
}

pub fn many_files() {
    let count = |files: Vec<Passed<File>>| files.iter().filter(|f| f.metadata().is_ok()).count();
    for many in [1, 249, 250, 300] {
        assert_eq!(server().spawn(count, files(many)).unwrap().join().unwrap(), many);
    }
}

static WARMTH: AtomicU32 = AtomicU32::new(0);
static WARMED_BY: OnceLock<u32> = OnceLock::new();

pub fn warmed_once() {
    let warm = server().warmed_by(|| {
        WARMTH.fetch_add(1, Ordering::Relaxed);
        WARMED_BY.set(std::process::id()).unwrap();
    });
    warm.start_server().unwrap();
    for _ in 0..3 {
        let see = |()| {
            let by = WARMED_BY.get().copied();
            (
                WARMTH.fetch_add(1, Ordering::Relaxed),
                by == Some(std::os::unix::process::parent_id()),
            )
        };
        assert_eq!(warm.spawn(see, ()).unwrap().join().unwrap(), (1, true));
    }
    assert_eq!(WARMTH.load(Ordering::Relaxed), 0, "not here");
    warm.end_server().unwrap();
}

pub fn initialiser_fails() {
    let told = |context: Context, text: &str| {
        let error = context.start_server().unwrap_err();
        assert!(format!("{error:?}").contains(text), "{error:?}");
        assert!(context.spawn(|()| (), ()).is_err());
    };
    told(server().warmed_by(|| panic!("cold")), "cold");
    told(server().warmed_by(|| drop(std::thread::spawn(std::thread::park))), "threads");
    told(server().warmed_by(leave_a_process), "left a process behind");
    told(server().warmed_by(|| std::process::exit(3)), "exited with code 3");
}

fn leave_a_process() {
    let child = context(StartMethod::Spawn).spawn(|()| std::thread::park(), ()).unwrap();
    // The server ends without serving, and waits for its children: this one would stay.
    child.terminate().unwrap();
}

fn server_of_a_child((end, queue): (bool, Queue<u32>)) {
    queue.put(system_parent_of_a_child(&server())).unwrap();
    if !end {
        std::thread::park();
    }
}

pub fn ends_with_its_client() {
    let queue = Queue::bounded(1).unwrap();
    let fresh = context(StartMethod::Spawn);
    let client = fresh.spawn(server_of_a_child, (true, queue.clone())).unwrap();
    let pid = queue.get().unwrap();
    client.join().unwrap();
    assert!(PidFd::open(pid).is_err(), "it was waited for");
}

pub fn ends_with_its_killed_client() {
    let queue = Queue::bounded(1).unwrap();
    let fresh = context(StartMethod::Spawn);
    let client = fresh.spawn(server_of_a_child, (false, queue.clone())).unwrap();
    let server = PidFd::open(queue.get().unwrap()).unwrap();
    assert!(!server.is_gone());
    common::kill(&client);
    assert!(server.wait_gone(None));
}

static SHARED: OnceLock<Queue<u32>> = OnceLock::new();

pub fn shared_by_forks() {
    // Whose server it is counts as a process of the family; so this is one that ends.
    let client = |()| {
        let warm = server().warmed_by(|| SHARED.set(Queue::bounded(9).unwrap()).unwrap());
        for n in 0..3 {
            let put = |n: u32| SHARED.get().unwrap().put(n).unwrap();
            warm.spawn(put, n).unwrap().join().unwrap();
        }
        let get = |()| (0..3).map(|_| SHARED.get().unwrap().get().unwrap()).collect::<Vec<_>>();
        warm.spawn(get, ()).unwrap().join().unwrap()
    };
    assert_eq!(context(StartMethod::Spawn).spawn(client, ()).unwrap().join().unwrap(), [0, 1, 2]);
}

fn refuse_pidfds() {
    offspring_os_unix::deny::deny(&[libc::SYS_pidfd_open], libc::EPERM).unwrap();
}

pub fn without_pidfds() {
    let denied = server().warmed_by(refuse_pidfds);
    assert_eq!(denied.spawn(|n: u32| n + 1, 2).unwrap().join().unwrap(), 3);
    let child = denied.spawn(|()| std::thread::park(), ()).unwrap();
    assert!(child.is_alive());
    common::kill(&child);
    let child: Process<()> = denied.spawn(|code| std::process::exit(code), 4).unwrap();
    assert_eq!(child.wait().code(), Some(4));
    denied.end_server().unwrap();
}

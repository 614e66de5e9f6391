//! Children made in each way: by execution, by a fork server, by a fork of this process, which has one thread.

#[path = "../common/mod.rs"]
mod common;
#[path = "servers.rs"]
mod servers;

use offspring::process::{Context, Passed, StartMethod};
use offspring::{Process, Queue, process};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_os_unix::image::Image;
use offspring_os_unix::pidfd::PidFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The usual one first.
pub const ALL: [StartMethod; 3] = [StartMethod::Spawn, StartMethod::Forkserver, StartMethod::Fork];

/// Each case, and then the end of the server that it may have started.
macro_rules! cases {
    ($(($name:literal, $case:path),)*) => {
        [$(($name, || {
            $case();
            context(StartMethod::Forkserver).end_server().unwrap();
        }),)*]
    };
}

pub fn main() {
    process::register("double", |n: u32| 2 * n);
    // A shell starts what runs in its background with this one ignored, and children inherit that.
    // SAFETY: gives a signal its default action; nothing else runs yet.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let _main = offspring::init();
    common::watchdog(240);
    if let Ok(part) = std::env::var(PART) {
        return run_part(&part);
    }
    // What a first use makes for good is not counted.
    let _kept = Queue::<u8>::bounded(1).unwrap();
    common::run(&cases![
        ("each_method_gives_values_panics_codes_and_signals", each_method_tells_all),
        ("each_context_reports_its_method_and_children_know_it", each_context_reports_its_method),
        ("queue_of_any_context_works_in_any_other", queue_works_in_all),
        ("child_hands_its_arguments_on_to_a_grandchild", arguments_are_handed_on),
        ("arguments_and_environment_of_the_program_reach_grandchildren", program_reaches_all),
        ("each_method_keeps_memory_apart", memory_is_apart),
        ("each_child_has_the_name_and_place_it_was_given", names_and_places),
        ("each_method_makes_children_that_end_with_their_parent", children_end_with_their_parent),
        ("each_method_sets_directory_environment_umask_and_streams", setup_is_applied),
        ("directory_that_cannot_be_entered_is_told_by_join", bad_directory_is_told),
        ("fork_sees_memory_as_it_was", fork_sees_memory),
        ("fork_refuses_while_there_are_threads", fork_refuses_threads),
        ("fork_despite_threads_works", fork_despite_threads_works),
        ("fork_inherits_all_descriptors", fork_inherits_descriptors),
        ("children_made_by_execution_or_server_have_no_other_descriptors", descriptors_are_apart),
        ("default_method_is_set_once", default_is_set_once),
        ("default_method_is_fixed_by_asking", default_is_fixed_by_asking),
        ("child_has_its_parents_default_method", default_is_inherited),
        ("methods_are_found_by_name", methods_by_name),
        ("copy_of_this_program_is_executed", copy_is_executed),
        ("another_program_runs_registered_functions_alone", another_program),
        ("executable_that_is_not_there_is_told", missing_executable),
        ("forkserver_is_the_parent_the_system_knows", servers::system_parent),
        ("forkserver_survives_an_interrupt", servers::survives_interrupt),
        ("interrupt_ends_the_forks_of_a_forkserver", servers::interrupt_ends_forks),
        ("forkserver_that_is_killed_is_started_again", servers::is_started_again),
        ("child_of_a_killed_forkserver_goes_on_and_is_joined", servers::child_goes_on),
        ("many_threads_use_one_forkserver", servers::many_threads),
        ("forkserver_passes_more_files_than_one_packet_takes", servers::many_files),
        ("forkserver_is_warmed_once", servers::warmed_once),
        ("forkserver_whose_initialiser_fails_says_why", servers::initialiser_fails),
        ("forkserver_ends_with_the_process_that_started_it", servers::ends_with_its_client),
        ("forkserver_ends_when_its_client_is_killed", servers::ends_with_its_killed_client),
        ("queue_made_by_an_initialiser_is_shared_by_all_forks", servers::shared_by_forks),
    ]);
}

/// With nothing but the method.
pub fn context(method: StartMethod) -> Context {
    Context::new(method).unwrap()
}

fn each_method_tells_all() {
    for context in ALL.map(context) {
        let child = context.spawn(|n: u32| 2 * n, 21).unwrap();
        assert_eq!(child.wait().code(), Some(0));
        assert_eq!(child.join().unwrap(), 42);
        let long = context.spawn(|len: usize| "x".repeat(len), 100_000).unwrap();
        assert_eq!(long.join().unwrap().len(), 100_000);
        let child: Process<()> = context.spawn(|n: u32| panic!("no {n}"), 5).unwrap();
        let error = child.join().unwrap_err();
        assert_eq!(error.panic().unwrap().message(), "no 5");
        assert_eq!(error.status().code(), Some(101));
        let child: Process<()> = context.spawn(|code| std::process::exit(code), 9).unwrap();
        let error = child.join().unwrap_err();
        assert!(error.is_exit() && error.status().exitcode() == Some(9), "{error}");
        let child = context.spawn(|()| std::thread::park(), ()).unwrap();
        assert!(child.is_alive() && child.try_wait().is_none());
        child.terminate().unwrap();
        assert_eq!(child.wait().exitcode(), Some(-libc::SIGTERM));
        assert!(child.join().unwrap_err().is_killed());
    }
}

fn each_context_reports_its_method() {
    assert_eq!(StartMethod::supported(), ALL);
    for method in ALL {
        let context = context(method);
        assert_eq!(context.method(), method);
        let child = context.spawn(|()| process::current().method(), ()).unwrap();
        assert_eq!(child.join().unwrap(), method);
    }
}

fn queue_works_in_all() {
    let queue = Queue::<(u32, StartMethod)>::bounded(4).unwrap();
    let children = ALL.map(|method| {
        let put = |(queue, method): (Queue<_>, _)| {
            for n in 0..50 {
                queue.put((n, method)).unwrap();
            }
        };
        context(method).spawn(put, (queue.clone(), method)).unwrap()
    });
    let mut next = [0; 3];
    for _ in 0..150 {
        let (n, method) = queue.get().unwrap();
        let next = &mut next[ALL.iter().position(|one| *one == method).unwrap()];
        assert_eq!(n, *next);
        *next += 1;
    }
    children.into_iter().for_each(|child| child.join().unwrap());
}

fn arguments_are_handed_on() {
    fn hand_on((queue, methods): (Queue<u32>, Vec<StartMethod>)) {
        match methods.split_first() {
            None => queue.put(std::process::id()).unwrap(),
            Some((first, rest)) => {
                let child = context(*first).spawn(hand_on, (queue, rest.to_vec()));
                child.unwrap().join().unwrap();
            }
        }
    }
    let queue = Queue::bounded(1).unwrap();
    for first in ALL {
        for second in ALL {
            hand_on((queue.clone(), vec![first, second]));
            assert_ne!(queue.get().unwrap(), std::process::id());
        }
    }
}

fn program_reaches_all() {
    fn see(depth: u32) -> (Vec<String>, Option<String>) {
        if depth == 0 {
            return (std::env::args().collect(), std::env::var("OFFSPRING_TEST_HANDED").ok());
        }
        let child = context(StartMethod::Spawn).builder("").env("OFFSPRING_TEST_HANDED", "yes");
        child.spawn(see, depth - 1).unwrap().join().unwrap()
    }
    let seen = context(StartMethod::Spawn).spawn(see, 2).unwrap().join().unwrap();
    assert_eq!(seen, (std::env::args().collect(), Some("yes".to_owned())));
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn memory_is_apart() {
    for context in ALL.map(context) {
        let mut list = vec!["parent".to_owned()];
        COUNT.store(5, Ordering::Relaxed);
        let change = |mut list: Vec<String>| {
            list.push("child".to_owned());
            COUNT.fetch_add(1, Ordering::Relaxed);
            list.len()
        };
        assert_eq!(context.spawn(change, list.clone()).unwrap().join().unwrap(), 2);
        list.push("more".to_owned());
        assert_eq!((list.len(), COUNT.load(Ordering::Relaxed)), (2, 5));
    }
}

fn names_and_places() {
    for context in ALL.map(context) {
        let say = |()| {
            let current = process::current();
            let parent = process::parent().unwrap();
            assert!(parent.is_alive());
            let own = Process::spawn(|()| process::current().name(), ()).unwrap();
            (current.name(), current.pid(), current.is_daemon(), parent.pid(), own.join().unwrap())
        };
        let child = context.builder("").daemon(false).spawn(say, ()).unwrap();
        let name = child.name().to_owned();
        let pid = child.pid();
        let parent = std::process::id();
        assert!(name.starts_with("Process-"));
        assert_eq!(child.join().unwrap(), (name.clone(), pid, false, parent, format!("{name}:1")));
        let child = context.builder("named").daemon(true);
        let say = |()| (process::current().name(), process::current().is_daemon());
        assert_eq!(child.spawn(say, ()).unwrap().join().unwrap(), ("named".to_owned(), true));
    }
}

fn children_end_with_their_parent() {
    for method in ALL {
        let pids = Queue::<u32>::bounded(2).unwrap();
        let parent = |(method, pids): (StartMethod, Queue<u32>)| {
            let child = |pids: Queue<u32>| {
                pids.put(std::process::id()).unwrap();
                std::thread::park();
            };
            context(method).spawn(child, pids).unwrap().wait();
        };
        let spawn = context(StartMethod::Spawn);
        let child = spawn.spawn(parent, (method, pids.clone())).unwrap();
        let grandchild = PidFd::open(pids.get().unwrap()).unwrap();
        assert!(!grandchild.is_gone());
        common::kill(&child);
        assert!(grandchild.wait_gone(None), "{method}");
    }
}

fn setup_is_applied() {
    let directory = std::env::temp_dir().canonicalize().unwrap();
    for context in ALL.map(context) {
        let (read, write) = std::io::pipe().unwrap();
        let say = |()| {
            let mask = offspring_os_unix::setup::set_umask(0);
            println!("written");
            let mut input = String::new();
            std::io::stdin().read_line(&mut input).unwrap();
            (
                std::env::current_dir().unwrap(),
                std::env::var("OFFSPRING_TEST_SET").ok(),
                std::env::var_os("PATH").is_some(),
                mask,
                input,
            )
        };
        let child = context
            .builder("")
            .directory(&directory)
            .env("OFFSPRING_TEST_SET", "a=b")
            .env_remove("PATH")
            .umask(0o27)
            .stdin(process::Stdio::null())
            .stdout(write)
            .spawn(say, ())
            .unwrap();
        let seen = child.join().unwrap();
        let expected = (directory.clone(), Some("a=b".to_owned()), false, 0o27, String::new());
        assert_eq!(seen, expected, "{}", context.method());
        assert_eq!(std::io::read_to_string(read).unwrap(), "written\n");
        // The rest is as here; the builder alone says what is not.
        let child = context.builder("").env_clear().env("ONLY", "1");
        let all = |()| std::env::vars().collect::<Vec<_>>();
        let seen = child.spawn(all, ()).unwrap().join().unwrap();
        assert_eq!(seen, [("ONLY".to_owned(), "1".to_owned())]);
    }
    assert_eq!(std::env::var("OFFSPRING_TEST_SET").ok(), None);
    let spawn = context(StartMethod::Spawn);
    let refused = spawn.builder("").env("a=b", "c").spawn(|()| (), ()).unwrap_err();
    assert!(refused.is_invalid(), "{refused}");
}

fn bad_directory_is_told() {
    for context in ALL.map(context) {
        let child = context.builder("").directory("/nowhere/at/all").spawn(|()| (), ()).unwrap();
        let error = child.join().unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}

fn fork_sees_memory() {
    COUNT.store(77, Ordering::Relaxed);
    let see = |()| COUNT.load(Ordering::Relaxed);
    assert_eq!(context(StartMethod::Fork).spawn(see, ()).unwrap().join().unwrap(), 77);
    assert_eq!(context(StartMethod::Spawn).spawn(see, ()).unwrap().join().unwrap(), 0);
}

fn beside_a_thread<T>(body: impl FnOnce() -> T) -> T {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        ready.send(()).unwrap();
        let _ = is_over.recv();
    });
    is_ready.recv().unwrap();
    let value = body();
    drop(over);
    thread.join().unwrap();
    value
}

fn fork_refuses_threads() {
    let fork = context(StartMethod::Fork);
    let refused = beside_a_thread(|| fork.spawn(|()| (), ())).unwrap_err();
    assert!(refused.is_many_threads(), "{refused}");
    // A thread that was joined may take a moment to vanish from the system's list.
    common::until("the thread is gone", || fork.spawn(|()| (), ()).is_ok_and(|c| c.join().is_ok()));
}

fn fork_despite_threads_works() {
    // SAFETY: the other thread waits in a channel, and holds nothing that the child needs.
    let fork = unsafe { Context::fork_despite_threads() }.unwrap();
    let child = beside_a_thread(|| fork.spawn(|n: u32| n + 1, 4)).unwrap();
    assert_eq!(child.join().unwrap(), 5);
    common::until("the thread is gone", || offspring_os_unix::start::thread_count() == Ok(1));
}

/// The inodes of all that is open here.
fn open_inodes(_: ()) -> Vec<u64> {
    (0..1024).filter_map(offspring_os_unix::inherited::inode).collect()
}

fn fork_inherits_descriptors() {
    let (read, _write) = std::io::pipe().unwrap();
    let inode = offspring_os_unix::inherited::inode(std::os::fd::AsRawFd::as_raw_fd(&read));
    let fork = context(StartMethod::Fork);
    assert!(fork.spawn(open_inodes, ()).unwrap().join().unwrap().contains(&inode.unwrap()));
}

fn descriptors_are_apart() {
    let (read, _write) = std::io::pipe().unwrap();
    let inode = offspring_os_unix::inherited::inode(std::os::fd::AsRawFd::as_raw_fd(&read));
    for context in [StartMethod::Spawn, StartMethod::Forkserver].map(context) {
        let siblings: Vec<Vec<u64>> = (0..5)
            .map(|_| {
                let park = |()| std::thread::park();
                let sibling = context.spawn(park, ()).unwrap();
                let seen = context.spawn(open_inodes, ()).unwrap().join().unwrap();
                sibling.kill().unwrap();
                seen
            })
            .collect();
        assert!(siblings.iter().all(|seen| !seen.contains(&inode.unwrap())));
        let counts: Vec<usize> = siblings.iter().map(Vec::len).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        // The standard streams, the lifeline, the arena.
        assert!(counts[0] <= 5, "{counts:?}");
    }
    common::until("the siblings are gone", || process::active_children().is_empty());
}

/// The environment variable that names the part which a program of its own runs, where no default was set or used.
const PART: &str = "OFFSPRING_TEST_PART";

#[track_caller]
fn apart(part: &str) {
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    assert!(program.env(PART, part).status().unwrap().success(), "{part}");
}

fn run_part(part: &str) {
    match part {
        "set" => {
            assert_eq!(process::start_method_if_set(), None);
            process::set_start_method(StartMethod::Forkserver).unwrap();
            assert_eq!(process::start_method_if_set(), Some(StartMethod::Forkserver));
            let again = process::set_start_method(StartMethod::Spawn).unwrap_err();
            assert!(again.is_already_set(), "{again}");
            assert_eq!(process::start_method(), StartMethod::Forkserver);
            let child = Process::spawn(|()| process::current().method(), ()).unwrap();
            assert_eq!(child.join().unwrap(), StartMethod::Forkserver);
            for method in ALL {
                process::replace_context(context(method));
                assert_eq!(process::start_method(), method);
                let child = Process::spawn(|()| process::current().method(), ()).unwrap();
                assert_eq!(child.join().unwrap(), method);
            }
        }
        "ask" => {
            assert_eq!(process::start_method_if_set(), None);
            assert_eq!(process::start_method(), StartMethod::Spawn);
            assert!(process::set_start_method(StartMethod::Fork).unwrap_err().is_already_set());
        }
        "use" => {
            Process::spawn(|()| (), ()).unwrap().join().unwrap();
            assert!(process::set_start_method(StartMethod::Fork).unwrap_err().is_already_set());
        }
        "inherit" => {
            let ask = |()| process::start_method_if_set();
            let before = context(StartMethod::Spawn).spawn(ask, ()).unwrap();
            assert_eq!(before.join().unwrap(), None);
            process::set_start_method(StartMethod::Forkserver).unwrap();
            for method in ALL {
                let child = context(method).spawn(ask, ()).unwrap();
                assert_eq!(child.join().unwrap(), Some(StartMethod::Forkserver));
            }
        }
        "executable" => {
            process::set_executable(std::env::current_exe().unwrap());
            assert_eq!(Process::spawn(|n: u32| n, 3).unwrap().join().unwrap(), 3);
        }
        unknown => panic!("no part {unknown}"),
    }
}

fn default_is_set_once() {
    apart("set");
}

fn default_is_fixed_by_asking() {
    apart("ask");
    apart("use");
}

fn default_is_inherited() {
    apart("inherit");
}

fn methods_by_name() {
    for method in ALL {
        assert_eq!(method.to_string().parse::<StartMethod>().unwrap(), method);
    }
    let error = "bogus".parse::<StartMethod>().unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("bogus"), "{error}");
}

/// A copy of this program; another one in the library's eyes, if its build id is `changed`.
struct Copy(PathBuf);

impl Copy {
    fn new(changed: bool) -> Self {
        let mut bytes = std::fs::read("/proc/self/exe").unwrap();
        if changed {
            let id = Image::main().identity();
            let places: Vec<usize> = (0..bytes.len() - id.len())
                .filter(|at| bytes[*at] == id[0] && bytes[*at..].starts_with(id))
                .collect();
            assert!(!places.is_empty(), "the build id is in the file");
            places.into_iter().for_each(|at| bytes[at] ^= 0xff);
        }
        let path = std::env::temp_dir().join(format!("offspring-copy-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn copy_is_executed() {
    let copy = Copy::new(false);
    let name = |()| std::env::current_exe().unwrap();
    let context = context(StartMethod::Spawn).executable(&copy.0);
    assert_eq!(context.spawn(name, ()).unwrap().join().unwrap(), copy.0);
    apart("executable");
}

fn another_program() {
    let copy = Copy::new(true);
    let context = context(StartMethod::Spawn).executable(&copy.0);
    let error = context.spawn(|n: u32| 2 * n, 4).unwrap().join().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("another program"), "{error}");
    let child = context.builder("").spawn_named::<_, u32>("double", 4_u32).unwrap();
    assert_eq!(child.join().unwrap(), 8);
    let child = context.builder("").spawn_named::<_, u32>("no such", 4_u32).unwrap();
    let error = child.join().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("no such"), "{error}");
}

fn missing_executable() {
    let context = context(StartMethod::Spawn).executable("/nowhere/at/all");
    let error = context.spawn(|()| (), ()).unwrap_err();
    assert!(format!("{error:?}").contains("/nowhere/at/all"), "{error:?}");
}

/// Files to pass.
pub fn files(count: usize) -> Vec<Passed<std::fs::File>> {
    (0..count).map(|_| Passed(std::fs::File::open("/dev/null").unwrap())).collect()
}

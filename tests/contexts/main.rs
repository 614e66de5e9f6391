//! Children made in each way that there is: by execution, and on Unix by a fork server, or a fork of this process, which has
//! one thread.

#[path = "../common/mod.rs"]
mod common;
#[cfg(unix)]
mod servers;
#[cfg(unix)]
mod unix;

use offspring::process::{Context, StartMethod};
use offspring::{Process, Queue, process};
use offspring_core::prim::{AtomicU32, Ordering};
use std::path::PathBuf;

/// The usual one first.
pub const ALL: fn() -> &'static [StartMethod] = StartMethod::supported;

/// Each with nothing but the method.
pub fn all() -> impl Iterator<Item = Context> {
    ALL().iter().copied().map(context)
}

/// One that is not the usual one, where there is one.
fn other() -> StartMethod {
    ALL().get(1).copied().unwrap_or(StartMethod::Spawn)
}

const CASES: &[(&str, fn())] = &[
    ("each_method_gives_values_panics_codes_and_signals", each_method_tells_all),
    ("each_context_reports_its_method_and_children_know_it", each_context_reports_its_method),
    ("queue_of_any_context_works_in_any_other", queue_works_in_all),
    ("child_hands_its_arguments_on_to_a_grandchild", arguments_are_handed_on),
    ("arguments_and_environment_of_the_program_reach_grandchildren", program_reaches_all),
    ("each_method_keeps_memory_apart", memory_is_apart),
    ("each_child_has_the_name_and_place_it_was_given", names_and_places),
    ("each_method_makes_children_that_end_with_their_parent", children_end_with_their_parent),
    ("directory_that_cannot_be_entered_is_told_by_join", bad_directory_is_told),
    ("default_method_is_set_once", default_is_set_once),
    ("default_method_is_fixed_by_asking", default_is_fixed_by_asking),
    ("child_has_its_parents_default_method", default_is_inherited),
    ("methods_are_found_by_name", methods_by_name),
    ("copy_of_this_program_is_executed", copy_is_executed),
    ("executable_that_is_not_there_is_told", missing_executable),
];

fn main() {
    process::register("double", |n: u32| 2 * n);
    #[cfg(unix)]
    // A shell starts what runs in its background with this one ignored, and children inherit that.
    // SAFETY: gives a signal its default action; nothing else runs yet.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
    }
    let _main = offspring::init();
    common::watchdog(240);
    if let Ok(part) = std::env::var(PART) {
        return run_part(&part);
    }
    // What a first use makes for good is not counted.
    let _kept = Queue::<u8>::bounded(1).unwrap();
    #[cfg(unix)]
    let cases = [CASES, unix::CASES].concat();
    #[cfg(not(unix))]
    let cases = CASES.to_vec();
    common::run_with(&cases, || {
        // That it may have started.
        if ALL().contains(&StartMethod::Forkserver) {
            context(StartMethod::Forkserver).end_server().unwrap();
        }
    });
}

/// With nothing but the method.
pub fn context(method: StartMethod) -> Context {
    Context::new(method).unwrap()
}

fn each_method_tells_all() {
    for context in all() {
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
        assert_eq!(child.wait().exitcode(), Some(-common::SIGTERM));
        assert!(child.join().unwrap_err().is_killed());
    }
}

fn each_context_reports_its_method() {
    assert_eq!(ALL()[0], StartMethod::Spawn);
    for method in ALL().iter().copied() {
        let context = context(method);
        assert_eq!(context.method(), method);
        let child = context.spawn(|()| process::current().method(), ()).unwrap();
        assert_eq!(child.join().unwrap(), method);
    }
}

fn queue_works_in_all() {
    let queue = Queue::<(u32, StartMethod)>::bounded(4).unwrap();
    let children = ALL().iter().map(|method| {
        let method = *method;
        let put = |(queue, method): (Queue<_>, _)| {
            for n in 0..50 {
                queue.put((n, method)).unwrap();
            }
        };
        context(method).spawn(put, (queue.clone(), method)).unwrap()
    });
    let children: Vec<_> = children.collect();
    let mut next = [0; 3];
    for _ in 0..50 * ALL().len() {
        let (n, method) = queue.get().unwrap();
        let next = &mut next[ALL().iter().position(|one| *one == method).unwrap()];
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
    for first in ALL().iter().copied() {
        for second in ALL().iter().copied() {
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
    for context in all() {
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
    for context in all() {
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
    for method in ALL().iter().copied() {
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
        let grandchild = pids.get().unwrap();
        assert!(!common::has_ended(grandchild), "{method}");
        common::kill(&child);
        common::until_gone(grandchild);
    }
}

fn bad_directory_is_told() {
    for context in all() {
        let child = context.builder("").directory("/nowhere/at/all").spawn(|()| (), ()).unwrap();
        let error = child.join().unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("/nowhere/at/all"), "{error}");
    }
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
            process::set_start_method(other()).unwrap();
            assert_eq!(process::start_method_if_set(), Some(other()));
            let again = process::set_start_method(StartMethod::Spawn).unwrap_err();
            assert!(again.is_already_set(), "{again}");
            assert_eq!(process::start_method(), other());
            let child = Process::spawn(|()| process::current().method(), ()).unwrap();
            assert_eq!(child.join().unwrap(), other());
            for method in ALL().iter().copied() {
                process::replace_context(context(method));
                assert_eq!(process::start_method(), method);
                let child = Process::spawn(|()| process::current().method(), ()).unwrap();
                assert_eq!(child.join().unwrap(), method);
            }
        }
        "ask" => {
            assert_eq!(process::start_method_if_set(), None);
            assert_eq!(process::start_method(), StartMethod::Spawn);
            assert!(process::set_start_method(StartMethod::Spawn).unwrap_err().is_already_set());
        }
        "use" => {
            Process::spawn(|()| (), ()).unwrap().join().unwrap();
            assert!(process::set_start_method(StartMethod::Spawn).unwrap_err().is_already_set());
        }
        "inherit" => {
            let ask = |()| process::start_method_if_set();
            let before = context(StartMethod::Spawn).spawn(ask, ()).unwrap();
            assert_eq!(before.join().unwrap(), None);
            process::set_start_method(other()).unwrap();
            for method in ALL().iter().copied() {
                let child = context(method).spawn(ask, ()).unwrap();
                assert_eq!(child.join().unwrap(), Some(other()));
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
    for method in ALL() {
        assert_eq!(method.to_string().parse::<StartMethod>().unwrap(), *method);
    }
    let error = "bogus".parse::<StartMethod>().unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("bogus"), "{error}");
}

/// A copy of this program.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let name = format!("offspring-copy-{}{}", std::process::id(), std::env::consts::EXE_SUFFIX);
        let path = std::env::temp_dir().join(name);
        std::fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        Self(path)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn copy_is_executed() {
    let copy = Copy::new();
    let name = |()| std::env::current_exe().unwrap();
    let context = context(StartMethod::Spawn).executable(&copy.0);
    assert_eq!(context.spawn(name, ()).unwrap().join().unwrap(), copy.0);
    apart("executable");
}

fn missing_executable() {
    let context = context(StartMethod::Spawn).executable("/nowhere/at/all");
    let error = context.spawn(|()| (), ()).unwrap_err();
    assert!(format!("{error:?}").contains("/nowhere/at/all"), "{error:?}");
}

//! Children made by a fork server, and by a fork of this process, which has one thread; and what Unix says of all of them.

use super::{COUNT, Copy, all, common, context, servers};
use offspring::process;
use offspring::process::{Context, Passed, StartMethod};
use offspring_core::prim::Ordering;
use offspring_os_unix::image::Image;

pub const CASES: &[(&str, fn())] = &[
    ("each_method_sets_directory_environment_umask_and_streams", setup_is_applied),
    ("fork_sees_memory_as_it_was", fork_sees_memory),
    ("fork_refuses_while_there_are_threads", fork_refuses_threads),
    ("fork_despite_threads_works", fork_despite_threads_works),
    ("fork_inherits_all_descriptors", fork_inherits_descriptors),
    ("children_made_by_execution_or_server_have_no_other_descriptors", descriptors_are_apart),
    ("another_program_runs_registered_functions_alone", another_program),
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
    ("forkserver_without_pidfds_serves_all_the_same", servers::without_pidfds),
];

fn setup_is_applied() {
    let directory = std::env::temp_dir().canonicalize().unwrap();
    for context in all() {
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

/// A copy of this program that is another one in the library's eyes: its build id is changed.
fn another() -> Copy {
    let copy = Copy::new();
    let mut bytes = std::fs::read(&copy.0).unwrap();
    let id = Image::main().identity();
    let places: Vec<usize> = (0..bytes.len() - id.len())
        .filter(|at| bytes[*at] == id[0] && bytes[*at..].starts_with(id))
        .collect();
    assert!(!places.is_empty(), "the build id is in the file");
    places.into_iter().for_each(|at| bytes[at] ^= 0xff);
    std::fs::write(&copy.0, bytes).unwrap();
    copy
}

fn another_program() {
    let copy = another();
    let context = context(StartMethod::Spawn).executable(&copy.0);
    let error = context.spawn(|n: u32| 2 * n, 4).unwrap().join().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("another program"), "{error}");
    let child = context.builder("").spawn_named::<_, u32>("double", 4_u32).unwrap();
    assert_eq!(child.join().unwrap(), 8);
    let child = context.builder("").spawn_named::<_, u32>("no such", 4_u32).unwrap();
    let error = child.join().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("no such"), "{error}");
}

/// Files to pass.
pub fn files(count: usize) -> Vec<Passed<std::fs::File>> {
    (0..count).map(|_| Passed(std::fs::File::open("/dev/null").unwrap())).collect()
}

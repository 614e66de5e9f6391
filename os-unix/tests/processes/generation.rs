//! The number that tells a forked child from its parent.

use crate::support::{child, join, shared};
use offspring_core::prim::Ordering;
use offspring_os_unix::{deny, generation};

crate::cases![
    number_is_the_same_in_all_threads,
    number_changes_in_every_forked_child,
    number_changes_in_a_child_that_no_library_forked,
    number_changes_where_pages_cannot_be_wiped,
];

fn number_is_the_same_in_all_threads() {
    let number = generation::current();
    let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(generation::current)).collect();
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), number));
    assert_ne!(number, 0);
}

fn number_changes_in_every_forked_child() {
    let first = generation::current();
    join(&child(|| {
        let second = generation::current();
        assert_ne!(second, first);
        join(&child(|| {
            let third = generation::current();
            assert!(third != second && third != first);
        }));
        assert_eq!(generation::current(), second);
    }));
    assert_eq!(generation::current(), first);
}

fn number_changes_in_a_child_that_no_library_forked() {
    let number = generation::current();
    let childs = number_in_bare_fork();
    assert!(childs != 0 && childs != number, "{childs} {number}");
}

/// What a child that was forked behind the C library's back says.
fn number_in_bare_fork() -> u32 {
    let words = shared();
    // SAFETY: a plain fork by the system call; the child makes calls of the kernel only.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if pid == 0 {
        words[0].store(generation::current(), Ordering::Release);
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: waits for that child.
    assert_eq!(unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), 0) } as i64, pid);
    words[0].load(Ordering::Acquire)
}

fn number_changes_where_pages_cannot_be_wiped() {
    // No ancestor of this case's process has asked for a number, so this is where the page is prepared.
    deny::deny_flag(libc::SYS_madvise, 2, 2, libc::EINVAL).unwrap();
    let number = generation::current();
    assert_eq!(number_in_bare_fork(), number, "the page was wiped all the same");
    join(&child(|| assert_ne!(generation::current(), number)));
}

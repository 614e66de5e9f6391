//! The start message, and children that end with their parent.

use crate::start::again;
use crate::support::{KILLED, after_millis, child, count, join, kill, middle_and_p99, set, shared};
use crate::support::{stand, until};
use offspring_core::prim::Ordering;
use offspring_os_unix::lifeline::{Lifeline, LifelineEnd, MOST_MESSAGE};
use offspring_os_unix::pidfd::PidFd;
use offspring_os_unix::{futex, status};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

crate::cases![
    message_of_any_length_arrives,
    started_program_reads_its_message_and_ends_with_its_parent,
    killed_parent_ends_its_child,
    parent_gone_before_arming_ends_the_child,
    ended_thread_of_the_parent_does_not_end_the_child,
    forked_sibling_does_not_keep_the_child,
    disarmed_child_stays,
    dropped_lifeline_ends_the_child,
    ended_child_is_an_error_and_no_signal,
    ended_parent_is_an_error,
    child_that_does_not_read_is_a_time_out,
    what_is_no_lifeline_is_refused,
    lifeline_is_of_no_use_in_a_forked_child,
];

/// Makes the case's process the one that its grandchildren are given to when their parent ends.
fn adopt_grandchildren() {
    // SAFETY: takes integers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
}

/// The status of an adopted process, by `waitpid`.
fn reap(pid: u32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is writable.
    assert_eq!(unsafe { libc::waitpid(pid as i32, &mut status, 0) }, pid as i32);
    status
}

fn message_of_any_length_arrives() {
    for length in [0, 1, 4096, 70_000, MOST_MESSAGE] {
        let message: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        let (line, end) = Lifeline::pair().unwrap();
        assert_eq!(line.inode().unwrap(), end.inode().unwrap());
        let reader = child(|| {
            assert!(end.read_message(MOST_MESSAGE).unwrap() == message);
            let _armed = end.arm().unwrap();
        });
        line.send_message(&message, None).unwrap();
        join(&reader);
    }
    let (line, _end) = Lifeline::pair().unwrap();
    let error = line.send_message(&vec![0; MOST_MESSAGE + 1], None).unwrap_err();
    assert!(error.is_invalid(), "{error}");
}

fn started_program_reads_its_message_and_ends_with_its_parent() {
    adopt_grandchildren();
    let words = shared();
    let parent = child(|| {
        let (line, end) = Lifeline::pair().unwrap();
        let (mut from, to) = std::io::pipe().unwrap();
        let mut start = again(&[c"lifeline"]);
        start.fds = vec![end.fd(), to.as_fd()];
        let child = start.spawn().unwrap();
        drop(start);
        drop((to, end));
        line.send_message(b"how do you do", None).unwrap();
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        assert_eq!(text, "how do you do");
        assert_eq!(status::try_wait(&child), None);
        set(&words[0], child.pid());
        stand();
    });
    until(&words[0], 1);
    let grandchild = words[0].load(Ordering::Acquire);
    kill(&parent);
    assert_eq!(status::wait(&parent), KILLED);
    assert_eq!(reap(grandchild), libc::SIGKILL);
}

/// A parent with one armed child; both pids.
fn parent_and_child(
    words: &'static [offspring_core::prim::AtomicU32],
    in_parent: impl FnOnce(Lifeline),
) -> (offspring_os_unix::start::Child, PidFd) {
    let parent = child(|| {
        let (line, end) = Lifeline::pair().unwrap();
        let _child = child(|| {
            let _armed = end.arm().unwrap();
            set(&words[0], std::process::id());
            stand();
        });
        in_parent(line);
    });
    until(&words[0], 1);
    let grandchild = PidFd::open(words[0].load(Ordering::Acquire)).unwrap();
    (parent, grandchild)
}

fn killed_parent_ends_its_child() {
    adopt_grandchildren();
    let mut times = Vec::new();
    for _ in 0..30 {
        let (parent, grandchild) = parent_and_child(shared(), |_line| stand());
        assert!(!grandchild.is_gone());
        let begin = futex::now();
        kill(&parent);
        assert!(grandchild.wait_gone(Some(after_millis(20_000))));
        times.push(futex::now().0 - begin.0);
        // The grandchild is this process's once its parent is gone.
        assert_eq!(status::wait(&parent), KILLED);
        assert_eq!(reap(grandchild.pid()), libc::SIGKILL);
    }
    println!("    parent killed to child gone: {}", middle_and_p99(times));
}

fn parent_gone_before_arming_ends_the_child() {
    let words = shared();
    let parent_of = |end: &LifelineEnd| {
        let end = LifelineEnd::from_fd(end.fd().try_clone_to_owned().unwrap()).unwrap();
        child(|| {
            until(&words[0], 1);
            let _armed = end.arm();
            set(&words[1], 1);
        })
    };
    let (line, end) = Lifeline::pair().unwrap();
    let orphan = parent_of(&end);
    drop(line);
    set(&words[0], 1);
    assert_eq!(status::wait(&orphan), KILLED);
    assert_eq!(words[1].load(Ordering::Acquire), 0, "it went on after arming");
}

fn ended_thread_of_the_parent_does_not_end_the_child() {
    let words = shared();
    let (line, child) = std::thread::spawn(|| {
        let (line, end) = Lifeline::pair().unwrap();
        let child = child(|| {
            let _armed = end.arm().unwrap();
            set(&words[0], 1);
            until(&words[1], 1);
        });
        until(&words[0], 1);
        (line, child)
    })
    .join()
    .unwrap();
    // What ends with a thread ends before `join` returns; the child must still answer.
    set(&words[1], 1);
    join(&child);
    drop(line);
}

fn forked_sibling_does_not_keep_the_child() {
    adopt_grandchildren();
    let words = shared();
    let (parent, grandchild) = parent_and_child(words, |_line| {
        let _sibling = child(|| {
            set(&words[16], std::process::id());
            stand();
        });
        stand();
    });
    until(&words[16], 1);
    let sibling = PidFd::open(words[16].load(Ordering::Acquire)).unwrap();
    kill(&parent);
    assert!(grandchild.wait_gone(Some(after_millis(20_000))), "the sibling keeps it");
    assert!(!sibling.is_gone());
    sibling.send_signal(libc::SIGKILL).unwrap();
}

fn disarmed_child_stays() {
    let words = shared();
    let (line, end) = Lifeline::pair().unwrap();
    let child = child(|| {
        end.arm().unwrap().disarm().unwrap();
        count(&words[0]);
        until(&words[1], 1);
    });
    until(&words[0], 1);
    drop(line);
    count(&words[1]);
    join(&child);
}

fn dropped_lifeline_ends_the_child() {
    let words = shared();
    let (line, end) = Lifeline::pair().unwrap();
    let child = child(|| {
        let _armed = end.arm().unwrap();
        count(&words[0]);
        stand();
    });
    until(&words[0], 1);
    assert_eq!(status::try_wait(&child), None);
    drop(line);
    assert_eq!(status::wait(&child), KILLED);
}

fn ended_child_is_an_error_and_no_signal() {
    // As a program that is not Rust's would have it.
    // SAFETY: takes integers.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let (line, end) = Lifeline::pair().unwrap();
    let ended = child(|| ());
    join(&ended);
    drop(end);
    let error = line.send_message(b"hello", None).unwrap_err();
    assert!(error.is_peer_gone(), "{error}");
    assert!(error.to_string().ends_with("the child has ended"), "{error}");
}

fn ended_parent_is_an_error() {
    for sent in [&b""[..], b"ofsp", b"ofsp\x05\0\0\0abc"] {
        let (end, mut pipe) = std::io::pipe().unwrap();
        pipe.write_all(sent).unwrap();
        drop(pipe);
        let end = LifelineEnd::from_fd(OwnedFd::from(end)).unwrap();
        let error = end.read_message(100).unwrap_err();
        assert!(error.is_peer_gone(), "{sent:?}: {error}");
    }
}

fn child_that_does_not_read_is_a_time_out() {
    let (line, _end) = Lifeline::pair().unwrap();
    let deadline = after_millis(30);
    let error = line.send_message(&[0; 1 << 20], Some(deadline)).unwrap_err();
    assert!(error.is_timeout() && futex::now() >= deadline, "{error}");
}

fn what_is_no_lifeline_is_refused() {
    let take = |fd: OwnedFd| LifelineEnd::from_fd(fd);
    let (read, mut write) = std::io::pipe().unwrap();
    assert!(take(write.try_clone().unwrap().into()).unwrap_err().is_invalid());
    assert!(take(std::fs::File::open("/dev/null").unwrap().into()).unwrap_err().is_invalid());
    write.write_all(b"GET / HTTP/1.1").unwrap();
    let end = take(read.into()).unwrap();
    assert!(end.read_message(100).unwrap_err().is_invalid());
    // What is left of it may not follow a start message.
    assert!(end.arm().unwrap_err().is_invalid());
    let (line, end) = Lifeline::pair().unwrap();
    line.send_message(&[0; 101], None).unwrap();
    let error = end.read_message(100).unwrap_err();
    assert!(error.to_string().contains("it has 101 bytes, and 100 are allowed"), "{error}");
}

fn lifeline_is_of_no_use_in_a_forked_child() {
    let (line, end) = Lifeline::pair().unwrap();
    join(&child(|| {
        let error = line.send_message(b"no", None).unwrap_err();
        assert!(error.is_invalid(), "{error}");
        // The number is free here; a descriptor that gets it is not closed with the lifeline's copy.
        let files: Vec<_> = (0..8).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // SAFETY: the parent's `line` is a copy here that nothing uses any more.
        drop(unsafe { std::ptr::read(&line) });
        assert!(files.iter().all(|file| file.metadata().is_ok()));
    }));
    line.send_message(b"yes", None).unwrap();
    assert_eq!(end.read_message(100).unwrap(), b"yes");
}

//! The start message, and the end of a child whose parent is gone.

use super::{Case, Played, play, start};
use offspring_os_windows::clock::now;
use offspring_os_windows::lifeline::{Lifeline, LifelineEnd, MOST_MESSAGE};
use offspring_os_windows::{signal, status};
use std::io::{PipeReader, Read};
use std::os::windows::io::{AsHandle, OwnedHandle};

pub const CASES: &[Case] = &[
    ("message_of_any_length_arrives", message_of_any_length_arrives),
    ("child_that_does_not_read_is_a_time_out", child_that_does_not_read_is_a_time_out),
    ("child_that_ended_is_gone", child_that_ended_is_gone),
    ("both_ends_have_one_number_of_their_own", both_ends_have_one_number_of_their_own),
    ("what_is_no_lifeline_is_refused", what_is_no_lifeline_is_refused),
    ("message_too_long_is_refused_on_either_side", message_too_long_is_refused_on_either_side),
    ("unread_bytes_are_refused_when_armed", unread_bytes_are_refused_when_armed),
    ("parent_that_let_go_is_noticed_before_the_message", parent_that_let_go_is_noticed),
    ("child_ends_when_its_parents_end_is_dropped", child_ends_when_its_parents_end_is_dropped),
    ("released_child_lives_on", released_child_lives_on),
    ("tree_ends_with_its_root", tree_ends_with_its_root),
    ("released_branch_survives_the_root", released_branch_survives_the_root),
];

fn message_of_any_length_arrives() {
    for length in [0, 1, 4096, 70_000, 1 << 20] {
        let message: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let (mut read, write) = std::io::pipe().unwrap();
        let played = play("message", &[], vec![write.as_handle()]);
        drop(write);
        played.lifeline.send_message(&message, Some(now().after(60_000_000_000))).unwrap();
        let mut told = Vec::new();
        read.read_to_end(&mut told).unwrap();
        assert!(told == message, "{length} bytes, {} back", told.len());
        assert!(status::wait(&played.child).is_success());
    }
}

fn child_that_does_not_read_is_a_time_out() {
    let (lifeline, _end) = Lifeline::pair().unwrap();
    let error = lifeline.send_message(&vec![0; 4 << 20], Some(now().after(20_000_000)));
    assert!(error.unwrap_err().is_timeout());
}

fn child_that_ended_is_gone() {
    let (lifeline, end) = Lifeline::pair().unwrap();
    let child = start("code", &["0".into()], vec![end.fd()], &lifeline);
    drop(end);
    status::wait(&child);
    let error = lifeline.send_message(&[1; 100], None).unwrap_err();
    assert!(error.is_peer_gone(), "{error}");
}

fn both_ends_have_one_number_of_their_own() {
    let (one, end_of_one) = Lifeline::pair().unwrap();
    let (other, _end) = Lifeline::pair().unwrap();
    assert_eq!(one.inode().unwrap(), end_of_one.inode().unwrap());
    assert_ne!(one.inode().unwrap(), other.inode().unwrap());
    let copy = LifelineEnd::from_fd(copy_of(&end_of_one)).unwrap();
    assert_eq!(copy.inode().unwrap(), one.inode().unwrap());
}

fn copy_of(end: &LifelineEnd) -> OwnedHandle {
    end.fd().try_clone_to_owned().unwrap()
}

fn what_is_no_lifeline_is_refused() {
    let (read, write) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut &write, &[7; 64]).unwrap();
    assert!(LifelineEnd::from_fd(read.into()).unwrap_err().is_invalid());
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    assert!(LifelineEnd::from_fd(file.into()).unwrap_err().is_invalid());
}

fn message_too_long_is_refused_on_either_side() {
    let (lifeline, end) = Lifeline::pair().unwrap();
    assert!(lifeline.send_message(&vec![0; MOST_MESSAGE + 1], None).unwrap_err().is_invalid());
    lifeline.send_message(&[1; 100], None).unwrap();
    assert!(end.read_message(99).unwrap_err().is_invalid());
}

fn unread_bytes_are_refused_when_armed() {
    let (lifeline, end) = Lifeline::pair().unwrap();
    lifeline.send_message(&[1; 100], None).unwrap();
    assert!(end.arm().unwrap_err().is_invalid());
}

fn parent_that_let_go_is_noticed() {
    let (lifeline, end) = Lifeline::pair().unwrap();
    assert!(!end.is_parent_gone());
    lifeline.send_message(&[1; 100], None).unwrap();
    drop(lifeline);
    assert!(end.is_parent_gone());
    assert_eq!(end.read_message(100).unwrap(), [1; 100]);
    assert!(end.is_parent_gone());
    assert!(end.read_message(100).unwrap_err().is_peer_gone());
}

/// A child in a role that says when it has begun, after which it never ends by itself; what it holds stays open
/// as long as it lives.
fn begun(role: &str, more: &[&str]) -> (Played, PipeReader) {
    let (mut read, write) = std::io::pipe().unwrap();
    let more: Vec<_> = more.iter().map(Into::into).collect();
    let played = play(role, &more, vec![write.as_handle()]);
    drop(write);
    played.lifeline.send_message(&[], None).unwrap();
    read.read_exact(&mut [0]).unwrap();
    (played, read)
}

/// Blocks until all that held the writing end have ended.
fn until_closed(mut read: PipeReader) {
    assert_eq!(read.read(&mut [0]).unwrap(), 0);
}

fn child_ends_when_its_parents_end_is_dropped() {
    let (played, read) = begun("armed", &[]);
    assert_eq!(status::try_wait(&played.child), None);
    drop(played.lifeline);
    status::wait(&played.child);
    until_closed(read);
}

fn released_child_lives_on() {
    let (played, read) = begun("armed", &[]);
    played.end.release().unwrap();
    drop(played.lifeline);
    assert_eq!(status::wait_deadline(&played.child, now().after(100_000_000)), None);
    played.child.pidfd().send_signal(signal::KILL).unwrap();
    until_closed(read);
}

fn tree_ends_with_its_root() {
    // Three generations below this process; the last one has begun.
    let (played, read) = begun("ancestor", &["ancestor", "armed"]);
    played.child.pidfd().send_signal(signal::KILL).unwrap();
    until_closed(read);
}

fn released_branch_survives_the_root() {
    let (played, mut read) = begun("ancestor", &["armed", "release"]);
    played.child.pidfd().send_signal(signal::KILL).unwrap();
    status::wait(&played.child);
    // The pipe stays open: the grandchild lives. It is told by a thread, so that this one can stop waiting.
    let (sender, closed) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let got = read.read(&mut [0]).unwrap();
        sender.send(got).unwrap();
    });
    assert!(closed.recv_timeout(std::time::Duration::from_millis(200)).is_err());
    // Its parent's number leads to it.
    end_children_of(played.child.pid());
    assert_eq!(closed.recv().unwrap(), 0);
    reader.join().unwrap();
}

/// Ends all processes that `parent` started.
fn end_children_of(parent: u32) {
    use windows_sys::Win32::System::Diagnostics::ToolHelp as help;
    use windows_sys::Win32::System::Threading as thread;
    // SAFETY: the snapshot is closed at the end; entries are writable, and say their size; a process that was just listed
    // is opened, ended and closed.
    unsafe {
        let list = help::CreateToolhelp32Snapshot(help::TH32CS_SNAPPROCESS, 0);
        let mut entry = help::PROCESSENTRY32W {
            dwSize: size_of::<help::PROCESSENTRY32W>() as u32,
            ..Default::default()
        };
        let mut more = help::Process32FirstW(list, &mut entry);
        while more != 0 {
            if entry.th32ParentProcessID == parent {
                let process =
                    thread::OpenProcess(thread::PROCESS_TERMINATE, 0, entry.th32ProcessID);
                thread::TerminateProcess(process, 1);
                windows_sys::Win32::Foundation::CloseHandle(process);
            }
            more = help::Process32NextW(list, &mut entry);
        }
        windows_sys::Win32::Foundation::CloseHandle(list);
    }
}

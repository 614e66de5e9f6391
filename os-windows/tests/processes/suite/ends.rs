//! How processes end, and how that is told.

use super::{Case, play};
use offspring_os_windows::clock::now;
use offspring_os_windows::signal;
use offspring_os_windows::start::Child;
use offspring_os_windows::status::{self, ExitStatus};
use std::io::Read;
use std::os::windows::io::AsHandle;

pub const CASES: &[Case] = &[
    ("exit_code_is_told", exit_code_is_told),
    ("terminated_and_killed_are_told_apart", terminated_and_killed_are_told_apart),
    ("abort_and_faults_are_named", abort_and_faults_are_named),
    ("all_askers_are_told", all_askers_are_told),
    ("deadline_passes_while_a_child_lives", deadline_passes_while_a_child_lives),
    ("first_of_any_number_to_end_is_found", first_of_any_number_to_end_is_found),
    ("ended_child_cannot_be_ended_again", ended_child_cannot_be_ended_again),
    ("function_for_the_end_runs_once_at_every_normal_end", function_for_the_end_runs_once),
];

fn exit_code_is_told() {
    for code in [0, 1, 7, 255, 70_000, -2] {
        let played = play("code", &[code.to_string().into()], Vec::new());
        assert_eq!(status::wait(&played.child), ExitStatus::Code(code));
    }
}

/// A child that lives until it is ended.
fn endless() -> super::Played {
    let (mut read, write) = std::io::pipe().unwrap();
    let played = play("armed", &[], vec![write.as_handle()]);
    drop(write);
    played.lifeline.send_message(&[], None).unwrap();
    read.read_exact(&mut [0]).unwrap();
    played
}

fn terminated_and_killed_are_told_apart() {
    for signal in [signal::TERMINATE, signal::KILL] {
        let played = endless();
        played.child.pidfd().send_signal(signal).unwrap();
        let status = status::wait(&played.child);
        assert_eq!(status, ExitStatus::Signal { signal, core_dumped: false });
    }
}

fn abort_and_faults_are_named() {
    let status = |role| status::wait(&play(role, &[], Vec::new()).child);
    assert_eq!(status("abort").signal(), Some(signal::ABORT), "{}", status("abort"));
    assert_eq!(status("fault"), ExitStatus::Exception { code: 0xc000_0005 });
}

fn all_askers_are_told() {
    let played = play("code", &["9".into()], Vec::new());
    let child: &Child = &played.child;
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4).map(|_| scope.spawn(|| status::wait(child))).collect();
        for asker in askers {
            assert_eq!(asker.join().unwrap(), ExitStatus::Code(9));
        }
    });
    assert_eq!(status::try_wait(child), Some(ExitStatus::Code(9)));
}

fn deadline_passes_while_a_child_lives() {
    let played = endless();
    assert_eq!(status::try_wait(&played.child), None);
    let until = now().after(20_000_000);
    assert_eq!(status::wait_deadline(&played.child, until), None);
    assert!(now() >= until);
}

fn first_of_any_number_to_end_is_found() {
    assert_eq!(status::wait_any(&[]), None);
    // More than the system waits for at once.
    for count in [1, 70] {
        let all: Vec<_> = (0..count).map(|_| endless()).collect();
        let children: Vec<&Child> = all.iter().map(|played| &played.child).collect();
        let chosen = count - 1;
        assert_eq!(status::wait_any_deadline(&children, Some(now().after(20_000_000))), None);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| status::wait_any(&children));
            children[chosen].pidfd().send_signal(signal::KILL).unwrap();
            assert_eq!(waiter.join().unwrap(), Some(chosen));
        });
        assert_eq!(status::wait_any(&children), Some(chosen), "it has ended already");
    }
}

fn ended_child_cannot_be_ended_again() {
    let played = play("code", &["0".into()], Vec::new());
    assert!(played.child.pidfd().send_signal(1).unwrap_err().is_invalid());
    status::wait(&played.child);
    assert!(played.child.pidfd().send_signal(signal::KILL).unwrap_err().is_not_found());
}

fn function_for_the_end_runs_once() {
    let other = if is_wine() { "" } else { "ended " };
    let ends = [
        ("return", "ended "),
        ("exit", "ended "),
        ("exit in another thread", other),
        ("abort", ""),
    ];
    for (how, expected) in ends {
        let (mut read, write) = std::io::pipe().unwrap();
        let played = play("ends", &[how.into()], vec![write.as_handle()]);
        drop(write);
        let mut told = String::new();
        read.read_to_string(&mut told).unwrap();
        assert_eq!(told, expected, "{how}");
        drop(played);
    }
}

/// Wine calls no callback of the program at its end, see `at_exit`.
fn is_wine() -> bool {
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
    let name: Vec<u16> = "ntdll.dll".encode_utf16().chain([0]).collect();
    // SAFETY: both names are terminated, and the library is in every process.
    unsafe { GetProcAddress(GetModuleHandleW(name.as_ptr()), c"wine_get_version".as_ptr().cast()) }
        .is_some()
}

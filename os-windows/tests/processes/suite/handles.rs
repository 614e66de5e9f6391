//! Arguments, environment and handles of a child.

use super::{Case, play};
use offspring_os_windows::image::Image;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::windows::io::{AsHandle, AsRawHandle};
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

pub const CASES: &[Case] = &[
    ("arguments_and_environment_arrive_as_they_are", arguments_and_environment_arrive_as_they_are),
    ("child_gets_the_handles_named_and_no_other", child_gets_the_handles_named_and_no_other),
    ("standard_output_can_be_replaced", standard_output_can_be_replaced),
    ("start_keeps_no_handle", start_keeps_no_handle),
];

fn arguments_and_environment_arrive_as_they_are() {
    let texts = [
        "",
        " ",
        "a b",
        r#"a"b"#,
        r#"\"#,
        r#"a\\"b\"#,
        "\u{fc}\u{1f600}",
        "\t",
        "*",
        "%PATH%",
        "'",
    ];
    let more: Vec<OsString> = texts.iter().map(OsString::from).collect();
    let (mut read, write) = std::io::pipe().unwrap();
    let played = play("tell", &more, vec![write.as_handle()]);
    drop(write);
    let mut told = String::new();
    read.read_to_string(&mut told).unwrap();
    assert!(offspring_os_windows::status::wait(&played.child).is_success());
    let mut expected: Vec<String> = more.iter().map(|text| format!("{text:?}")).collect();
    expected.push(format!("{:?}", OsString::from("value with = and \u{fc}")));
    expected.push(format!("{:?}", Image::main().identity()));
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

fn child_gets_the_handles_named_and_no_other() {
    let (input, mut to_child) = std::io::pipe().unwrap();
    let (mut from_child, output) = std::io::pipe().unwrap();
    // One that a child would get if it got all that can be inherited.
    let (_other, inheritable) = std::io::pipe().unwrap();
    let number = inheritable.as_raw_handle();
    // SAFETY: an open handle.
    let done = unsafe { SetHandleInformation(number, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) };
    assert_ne!(done, 0);
    let number = OsString::from((number as usize).to_string());
    let played = play("inherit", &[number], vec![input.as_handle(), output.as_handle()]);
    drop((input, output));
    to_child.write_all(b"through").unwrap();
    drop(to_child);
    let mut told = String::new();
    from_child.read_to_string(&mut told).unwrap();
    assert_eq!(told.trim(), "through false false");
    assert!(offspring_os_windows::status::wait(&played.child).is_success());
}

fn standard_output_can_be_replaced() {
    let (mut read, write) = std::io::pipe().unwrap();
    let played = play("print", &[], vec![write.as_handle()]);
    drop(write);
    let mut told = String::new();
    read.read_to_string(&mut told).unwrap();
    assert_eq!(told.trim(), "to the new output");
    drop(played);
}

fn start_keeps_no_handle() {
    let round = || {
        let played = play("code", &["0".into()], Vec::new());
        assert!(offspring_os_windows::status::wait(&played.child).is_success());
    };
    round();
    let before = open_handles();
    for _ in 0..8 {
        round();
    }
    assert!(open_handles() <= before, "{before} before, {} after", open_handles());
}

fn open_handles() -> u32 {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};
    let mut count = 0;
    // SAFETY: a pseudo-handle, and a writable answer.
    assert_ne!(unsafe { GetProcessHandleCount(GetCurrentProcess(), &mut count) }, 0);
    count
}

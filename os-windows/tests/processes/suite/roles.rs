//! What this program does when a test has started it.

use super::play;
use offspring_os_windows::lifeline::LifelineEnd;
use offspring_os_windows::{at_exit, image::Image, inherited};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::process::exit;

/// Plays the role that the first argument names; false if it names none. When it returns, so shall `main`.
pub fn play_if_asked() -> bool {
    let role = std::env::args().nth(1).unwrap_or_default();
    match &*role {
        "code" => exit(std::env::args().nth(2).unwrap().parse().unwrap()),
        "abort" => std::process::abort(),
        "fault" => {
            // SAFETY: none; this is a program that crashes.
            unsafe { std::ptr::null_mut::<u32>().write_volatile(1) }
        }
        "tell" => {
            let mut out = writer(4);
            for argument in inherited::arguments().iter().skip(2) {
                writeln!(out, "{argument:?}").unwrap();
            }
            writeln!(out, "{:?}", std::env::var_os("OFFSPRING_TEST").unwrap()).unwrap();
            writeln!(out, "{:?}", Image::main().identity()).unwrap();
            exit(0);
        }
        "inherit" => {
            let other = std::env::args().nth(2).unwrap().parse::<usize>().unwrap();
            let mut text = String::new();
            reader(4).read_to_string(&mut text).unwrap();
            let mut out = writer(5);
            writeln!(out, "{text} {} {}", is_open(other), try_take(6)).unwrap();
            exit(0);
        }
        "print" => {
            inherited::become_stdout(take(4)).unwrap();
            println!("to the new output");
            exit(0);
        }
        "message" => {
            let end = end();
            writer(4).write_all(&end.read_message(1 << 20).unwrap()).unwrap();
            drop(end.arm().unwrap());
            exit(0);
        }
        "armed" => {
            let end = end();
            end.read_message(0).unwrap();
            let armed = end.arm().unwrap();
            let ready = writer(4);
            (&ready).write_all(b"1").unwrap();
            let _all = (armed, ready);
            park();
        }
        // Two more generations, of whom the last tells that it is there.
        "ancestor" => {
            let end = end();
            end.read_message(0).unwrap();
            let _armed = end.arm().unwrap();
            let out = take(4);
            let next = std::env::args().nth(2).unwrap();
            let child = play(&next, &["armed".into()], vec![out.as_handle()]);
            child.lifeline.send_message(&[], None).unwrap();
            if std::env::args().nth(3).as_deref() == Some("release") {
                child.end.release().unwrap();
            }
            let _all = (child, out);
            park();
        }
        // The end rules, at each kind of end.
        "ends" => {
            let out = take(4);
            NOTE.set(writer_of(&out)).unwrap();
            at_exit::at_exit(note).unwrap();
            match &*std::env::args().nth(2).unwrap() {
                "return" => {}
                "exit" => exit(7),
                "exit in another thread" => {
                    std::thread::spawn(|| exit(7));
                    park();
                }
                "abort" => std::process::abort(),
                other => panic!("{other}"),
            }
        }
        _ => return false,
    }
    true
}

static NOTE: std::sync::OnceLock<PipeWriter> = std::sync::OnceLock::new();

extern "C" fn note() {
    let mut out = NOTE.get().unwrap();
    out.write_all(b"ended ").unwrap();
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

fn take(number: i32) -> OwnedHandle {
    // SAFETY: each number is taken once.
    unsafe { inherited::take(number) }.unwrap()
}

fn end() -> LifelineEnd {
    assert!(inherited::inode(3).is_some());
    let end = LifelineEnd::from_fd(take(3)).unwrap();
    assert!(!end.is_parent_gone());
    end
}

fn reader(number: i32) -> PipeReader {
    take(number).into()
}

fn writer(number: i32) -> PipeWriter {
    take(number).into()
}

fn writer_of(handle: &OwnedHandle) -> PipeWriter {
    handle.try_clone().unwrap().into()
}

fn is_open(handle: usize) -> bool {
    let mut flags = 0;
    // SAFETY: any number may be asked about.
    unsafe {
        windows_sys::Win32::Foundation::GetHandleInformation(handle as *mut _, &mut flags) != 0
    }
}

fn try_take(number: i32) -> bool {
    // SAFETY: nobody else owns it.
    unsafe { inherited::take(number) }.is_ok()
}

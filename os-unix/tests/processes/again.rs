//! What this program does when a case starts it again, by the first argument.

use crate::support;
use offspring_os_unix::lifeline::LifelineEnd;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{FromRawFd, OwnedFd};

/// The mark of a program that a case started.
pub const MARK: &std::ffi::CStr = c"--again";

pub fn run_if_asked() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != MARK.to_str().ok() {
        return;
    }
    // SAFETY: takes integers.
    unsafe { libc::alarm(60) };
    match arguments.next().as_deref() {
        Some("exit") => {
            let code = arguments.next().and_then(|code| code.parse().ok()).unwrap();
            std::process::exit(code);
        }
        Some("stand") => support::stand(),
        Some("report") => report(),
        Some("lifeline") => echo_lifeline(),
        other => panic!("unknown: {other:?}"),
    }
}

/// Writes to descriptor 3 what this process was given: descriptors, signals, environment.
fn report() {
    let mut text = String::new();
    for fd in 0..1024 {
        // SAFETY: all zero is a valid `stat`, and it is writable.
        let status = unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            (libc::fstat(fd, &mut status) == 0).then_some(status)
        };
        if let Some(status) = status {
            writeln!(text, "fd {fd} {}:{}", status.st_dev, status.st_ino).unwrap();
        }
    }
    // SAFETY: the locals are writable; all zero is valid for both.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
        for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGTERM] {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action);
            let blocked = libc::sigismember(&mask, signal);
            writeln!(text, "signal {signal} {} {blocked}", action.sa_sigaction).unwrap();
        }
    }
    for (name, value) in std::env::vars() {
        writeln!(text, "env {name}={value}").unwrap();
    }
    // SAFETY: the case passed it, and nothing else here uses it.
    let mut out = unsafe { std::fs::File::from_raw_fd(3) };
    out.write_all(text.as_bytes()).unwrap();
    std::process::exit(0);
}

/// Reads a message from the lifeline at 3, arms it, and writes the message to 4.
fn echo_lifeline() {
    // SAFETY: the case passed both, and nothing else here uses them.
    let (end, mut out) = unsafe { (OwnedFd::from_raw_fd(3), std::fs::File::from_raw_fd(4)) };
    let end = LifelineEnd::from_fd(end).unwrap();
    let message = end.read_message(1 << 20).unwrap();
    let _armed = end.arm().unwrap();
    out.write_all(&message).unwrap();
    drop(out);
    support::stand();
}

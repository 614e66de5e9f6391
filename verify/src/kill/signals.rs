//! The harness's own signals: to its children, and from them.

/// Sends a signal to a child that was not reaped.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: takes integers; the child was not reaped, so the number is its own.
    unsafe { libc::kill(pid, signal) };
}

fn child_signal() -> libc::sigset_t {
    // SAFETY: all zero is an initialised set; the calls take pointers to it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        set
    }
}

/// So that the signal stays pending for [`sleep_for_child`].
pub fn block_child_signal() {
    let set = child_signal();
    // SAFETY: `set` is initialised.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}

/// Sleeps until a child has news, or so many nanoseconds.
pub fn sleep_for_child(nanos: u64) {
    let set = child_signal();
    let time = libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as _,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: all three are initialised or null.
    unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &time) };
}

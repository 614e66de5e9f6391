//! System calls refused to the calling thread, for the tests of every fallback.
//!
//! seccomp filters: they add up, hold for whatever the thread starts, and cannot be taken away again. So a test
//! installs them in a child process or in a thread of its own.

use crate::error::{OsError, Result};

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARGUMENTS: u32 = 16;

fn statement(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// Goes on with the next instruction where it holds, else skips one.
fn unless_skip(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 1, k }
}

fn refusal(errno: i32) -> libc::sock_filter {
    statement(RETURN, libc::SECCOMP_RET_ERRNO | (errno as u32 & libc::SECCOMP_RET_DATA))
}

/// From now on each of `calls` fails with `errno` in this thread and in all that it starts.
///
/// # Errors
///
/// The kernel has no seccomp filters.
pub fn deny(calls: &[libc::c_long], errno: i32) -> Result<()> {
    let mut program = vec![statement(LOAD, NUMBER)];
    for call in calls {
        program.extend([unless_skip(JUMP_EQUAL, *call as u32), refusal(errno)]);
    }
    program.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    install(&program)
}

/// As [`deny`] for one call, only where its argument number `argument` has one of the bits of `mask`.
///
/// # Errors
///
/// As [`deny`].
pub fn deny_flag(call: libc::c_long, argument: u8, mask: u32, errno: i32) -> Result<()> {
    let low_half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let offset = ARGUMENTS + 8 * u32::from(argument) + low_half;
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    install(&[
        statement(LOAD, NUMBER),
        libc::sock_filter { code: JUMP_EQUAL, jt: 1, jf: 0, k: call as u32 },
        allow,
        statement(LOAD, offset),
        unless_skip(JUMP_BITS, mask),
        refusal(errno),
        allow,
    ])
}

/// From now on any system call of this thread but `allowed` kills the process (with SIGSYS).
///
/// Time read from the vDSO is no system call.
///
/// # Errors
///
/// As [`deny`].
pub fn kill_on_any_syscall_except(allowed: &[libc::c_long]) -> Result<()> {
    let mut program = vec![statement(LOAD, NUMBER)];
    for call in allowed {
        let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
        program.extend([unless_skip(JUMP_EQUAL, *call as u32), allow]);
    }
    program.push(statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS));
    install(&program)
}

fn install(program: &[libc::sock_filter]) -> Result<()> {
    let failed = || OsError::last("install", "a seccomp filter");
    let program = libc::sock_fprog {
        len: u16::try_from(program.len())
            .map_err(|_| OsError::new("install", "a seccomp filter", libc::E2BIG))?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: takes integers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(failed());
    }
    // SAFETY: `program` and what it points to live until after the call; the kernel copies and checks them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            std::ptr::from_ref(&program),
        )
    };
    if done == 0 { Ok(()) } else { Err(failed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::errno;

    /// Filters hold for a thread, so that each test runs in one of its own.
    fn in_thread(test: impl FnOnce() + Send) {
        std::thread::scope(|scope| scope.spawn(test).join().unwrap());
    }

    fn parent() -> i64 {
        // SAFETY: takes nothing.
        unsafe { libc::syscall(libc::SYS_getppid) }
    }

    #[test]
    fn denied_calls_fail_and_others_do_not() {
        in_thread(|| {
            deny(&[libc::SYS_getuid, libc::SYS_getppid], libc::EDOM).unwrap();
            assert_eq!((parent(), errno()), (-1, libc::EDOM));
            // SAFETY: takes nothing.
            assert!(unsafe { libc::syscall(libc::SYS_getpid) } > 0);
        });
        assert!(parent() > 0, "other threads are not concerned");
    }

    #[test]
    fn flag_is_denied_where_it_is_set() {
        in_thread(|| {
            deny_flag(libc::SYS_fcntl, 1, 2, libc::EDOM).unwrap();
            // SAFETY: both commands take no further argument.
            let get = |command| unsafe { libc::fcntl(1, command) };
            assert!(get(libc::F_GETFD) >= 0);
            assert_eq!((get(libc::F_GETFL), errno()), (-1, libc::EDOM));
            assert!(parent() > 0);
        });
    }
}

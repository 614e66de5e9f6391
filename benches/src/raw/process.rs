//! Processes by the C library alone: `posix_spawn` of this executable, and a fork server of a few lines.

use crate::Result;
use crate::cores::Cores;
use std::ffi::CString;
use std::io;
use std::ptr;
use std::time::Instant;

/// The variable that has this executable end before anything else.
pub const NOTHING: &str = "OFFSPRING_BENCH_NOTHING";

fn ended(pid: libc::pid_t) -> Result<()> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    if unsafe { libc::waitpid(pid, &mut status, 0) } != pid || status != 0 {
        return Err(format!("a child that does nothing ended with status {status}").into());
    }
    Ok(())
}

/// Nanoseconds for `count` times `posix_spawn` and `waitpid` of this executable, which ends at the beginning of `main`.
pub fn posix_spawn(count: u64, _: Cores) -> Result<u64> {
    let environment = std::env::vars().map(|(name, value)| format!("{name}={value}"));
    let environment: Vec<CString> = environment
        .chain([format!("{NOTHING}=1")])
        .map(CString::new)
        .collect::<std::result::Result<_, _>>()?;
    let envp: Vec<_> = environment
        .iter()
        .map(|entry| entry.as_ptr().cast_mut())
        .chain([ptr::null_mut()])
        .collect();
    let argv = [c"offspring-benches".as_ptr().cast_mut(), ptr::null_mut()];
    let begin = Instant::now();
    for _ in 0..count {
        let mut pid = 0;
        // SAFETY: path, arguments and environment are terminated strings that outlive the call.
        let code = unsafe {
            libc::posix_spawn(
                &mut pid,
                c"/proc/self/exe".as_ptr(),
                ptr::null(),
                ptr::null(),
                argv.as_ptr(),
                envp.as_ptr(),
            )
        };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code).into());
        }
        ended(pid)?;
    }
    Ok(u64::try_from(begin.elapsed().as_nanos())?)
}

/// One byte asks for a fork; four bytes are the status of its end.
fn serve(socket: i32) -> ! {
    let mut byte = 0_u8;
    // SAFETY: reads and writes locals of the sizes given; this process has one thread, so its forks may do anything.
    unsafe {
        while libc::read(socket, (&raw mut byte).cast(), 1) == 1 {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(0);
            }
            let mut status: i32 = -1;
            libc::waitpid(pid, &mut status, 0);
            if libc::write(socket, (&raw const status).cast(), 4) != 4 {
                break;
            }
        }
        libc::_exit(0)
    }
}

/// Nanoseconds for `count` forks of a bare server, each asked for and waited for.
pub fn forkserver(count: u64, _: Cores) -> Result<u64> {
    let mut fds = [-1; 2];
    // SAFETY: room for two descriptors; the server's side is this process's copy of what it is now.
    let pid = unsafe {
        if libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            0,
            fds.as_mut_ptr(),
        ) != 0
        {
            return Err(io::Error::last_os_error().into());
        }
        libc::fork()
    };
    match pid {
        -1 => return Err(io::Error::last_os_error().into()),
        0 => {
            // SAFETY: takes an integer.
            unsafe { libc::close(fds[0]) };
            serve(fds[1])
        }
        _ => {}
    }
    let begin = Instant::now();
    let mut served = Ok(());
    for _ in 0..count {
        let mut status: i32 = -1;
        // SAFETY: reads and writes locals of the sizes given.
        let done = unsafe {
            libc::write(fds[0], c"f".as_ptr().cast(), 1) == 1
                && libc::read(fds[0], (&raw mut status).cast(), 4) == 4
        };
        if !done || status != 0 {
            served = Err("the bare fork server failed");
            break;
        }
    }
    let nanos = u64::try_from(begin.elapsed().as_nanos())?;
    // SAFETY: take integers; both were made above.
    unsafe {
        libc::close(fds[0]);
        libc::close(fds[1]);
    }
    ended(pid)?;
    served?;
    Ok(nanos)
}

//! System calls refused to the calling thread.
use crate::error::Result;

/// From now on each of `calls` fails with `errno` in this thread and in all that it starts.
pub fn deny(_calls: &[libc::c_long], _errno: i32) -> Result<()> {
    todo!()
}

/// As [`deny`] for one call, only where its argument number `argument` has one of the bits of `mask`.
pub fn deny_flag(_call: libc::c_long, _argument: u8, _mask: u32, _errno: i32) -> Result<()> {
    todo!()
}

/// From now on any call but `allowed` kills this process.
pub fn kill_on_any_syscall_except(_allowed: &[libc::c_long]) -> Result<()> {
    todo!()
}

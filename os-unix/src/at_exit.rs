//! What this process does when it ends by `exit` or by returning from `main`; not when it is killed.

use crate::error::{OsError, Result, errno};

/// Has `last` called at the end: after everything that is registered later, and before the C library's own end.
///
/// It runs in the thread that ends the process, whose thread-local variables may be gone, while other threads
/// go on; a panic in it aborts. A forked child has it registered, too. It is not called after `exec`, `_exit` or a signal.
///
/// # Errors
///
/// Out of memory.
pub fn at_exit(last: extern "C" fn()) -> Result<()> {
    // SAFETY: a function without captures, valid for the process's life.
    match unsafe { libc::atexit(last) } {
        0 => Ok(()),
        _ => Err(OsError::new("register", "a function for the end of this process", errno())),
    }
}

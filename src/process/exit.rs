//! What happens when a process ends normally: finalisers, then its children, then the other finalisers.
//!
//! "Normally" is the end of the guard that `init` returns, `std::process::exit`, and the return from `main`. When a
//! process is killed or aborts, the kernel ends its children by their lifelines, daemons or not.

use super::{children, finally, server};
use crate::sys;
use std::io::Write as _;
use std::sync::Once;
use std::time::Duration;

/// How long a daemon may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// Applies the rules, in the order of Python's: finalisers of a priority from 0 on run; daemons are asked to end (SIGTERM),
/// everybody else is waited for, however long that takes; a daemon that still lives two seconds later is killed; the other
/// finalisers run. At last its fork servers end.
///
/// Pools that were never finished are terminated. Any number of times; detached children are left alone.
pub(crate) fn end() {
    crate::pool::end();
    finally::run(|priority| priority >= 0);
    loop {
        let all = children::all();
        let (daemons, others): (Vec<_>, Vec<_>) =
            all.into_iter().filter(|child| !child.is_detached()).partition(|child| child.daemon);
        if daemons.is_empty() && others.is_empty() {
            break;
        }
        for daemon in &daemons {
            // It has ended, or the kernel will end it with this process.
            let _ = daemon.send_signal(sys::signal::TERMINATE);
        }
        for child in &others {
            child.wait();
        }
        let until = sys::now().after(GRACE.as_nanos() as u64);
        for daemon in &daemons {
            if daemon.wait_deadline(until).is_none() {
                let _ = daemon.send_signal(sys::signal::KILL);
                daemon.wait();
            }
        }
        // Somebody may have started another one meanwhile.
    }
    finally::run(|_| true);
    server::end_all();
}

/// Applies the rules when this process ends, also by `std::process::exit`. A failure to register leaves the guard.
pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        let _ = sys::at_exit::at_exit(last);
    });
}

/// Ends a child, whose work is done, by `std::process::exit`. Where the system ends all other threads before it tells anybody of the
/// end, the rules are applied before (a pool's end is its thread's work), and nothing is left for those callbacks: a lock that
/// one of those threads had would be waited for for ever.
pub(super) fn exit(code: i32) -> ! {
    if sys::EXIT_ENDS_THREADS_FIRST {
        last();
        // What `std::process::exit` does. Nobody can be told that a stream is closed.
        let _ = std::io::stdout().flush();
        sys::exit_at_once(code)
    }
    std::process::exit(code)
}

extern "C" fn last() {
    // A panic must not leave a C function; it was printed, and this process ends anyway.
    let _ = std::panic::catch_unwind(end);
}

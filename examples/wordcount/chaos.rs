//! Who kills the workers.

use offspring::{Pool, process};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Kills workers of the pool at random moments until the other end of `stopped` is gone; says how many.
///
/// The pool starts others by itself. Those that have not begun to work are spared: five in a row that end so early would make the
/// pool give up starting them.
pub(crate) fn kill_workers(pool: &Pool, stopped: &Receiver<()>) -> offspring::Result<u64> {
    let mut random = Random(u64::from(std::process::id()) << 32 | 0x9e37_79b9);
    let mut killed = 0;
    // The moment is random, not a wait for something: 0 to 30 ms.
    while stopped.recv_timeout(Duration::from_micros(random.below(30_000)))
        == Err(RecvTimeoutError::Timeout)
    {
        let mut workers = pool.stats().workers;
        workers.retain(|worker| worker.busy || worker.done > 0);
        if workers.is_empty() {
            continue;
        }
        let victim = workers.swap_remove(random.below(workers.len() as u64) as usize).pid;
        if let Some(child) = process::active_children().iter().find(|child| child.pid() == victim) {
            child.kill()?;
            killed += 1;
        }
    }
    Ok(killed)
}

/// xorshift: only the moments of the kills hang on it.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

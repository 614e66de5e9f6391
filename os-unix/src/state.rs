//! What a process does at the moment.

use crate::pidfd::{self, PidFd};

/// What a process does, as the system tells it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum State {
    /// It runs, or waits for a processor (`R`).
    Running,
    /// It waits for something, and a signal would wake it (`S`); a kernel thread's idling counts as that.
    Sleeping,
    /// It waits for a device, and no signal wakes it (`D`).
    DiskSleep,
    /// A signal stopped it, until another lets it go on (`T`).
    Stopped,
    /// A debugger stopped it (`t`).
    Traced,
    /// It has ended, and was not reaped yet (`Z`).
    Zombie,
}

/// What `process` does; `None` once it is gone, or where the system does not tell.
///
/// For a process of several threads: what its first thread does.
#[must_use]
pub fn of(process: &PidFd) -> Option<State> {
    let stat = pidfd::stat(process.pid())?;
    // Whoever has its number while it is not reaped is the process itself; after, another one may.
    if process.is_gone() && !stat.ended {
        return None;
    }
    match stat.letter {
        'R' => Some(State::Running),
        'S' | 'I' => Some(State::Sleeping),
        'D' => Some(State::DiskSleep),
        'T' => Some(State::Stopped),
        't' => Some(State::Traced),
        'Z' => Some(State::Zombie),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_has_a_state() {
        let me = PidFd::open(std::process::id()).unwrap();
        assert!(matches!(of(&me), Some(State::Running | State::Sleeping)));
    }
}

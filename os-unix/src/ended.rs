//! How a process ended, and how that is said.

use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// Its number.
        signal: i32,
        /// Whether a core file was written.
        core_dumped: bool,
    },
    /// It ended, and the system does not tell how: something else in this process reaped it.
    Unknown,
}

impl ExitStatus {
    /// Whether it exited with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// The number of the signal that ended it.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Signal { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// From what `waitpid` would give.
    pub(crate) fn from_wait_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Self::Code(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            let core_dumped = libc::WCOREDUMP(status);
            Self::Signal { signal: libc::WTERMSIG(status), core_dumped }
        } else {
            Self::Unknown
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal { signal, core_dumped } => {
                match signal_name(signal) {
                    Some(name) => write!(f, "killed by {name}")?,
                    None => write!(f, "killed by signal {signal}")?,
                }
                if core_dumped { write!(f, " (core dumped)") } else { Ok(()) }
            }
            Self::Unknown => write!(f, "ended, and how is not known"),
        }
    }
}

/// The usual name of a signal that can end a process.
#[must_use]
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_reads_like_a_sentence() {
        assert_eq!(ExitStatus::Code(3).to_string(), "exited with code 3");
        let killed = ExitStatus::Signal { signal: libc::SIGKILL, core_dumped: false };
        assert_eq!(killed.to_string(), "killed by SIGKILL");
        let aborted = ExitStatus::from_wait_status(libc::SIGABRT | 0x80);
        assert_eq!(aborted.to_string(), "killed by SIGABRT (core dumped)");
        assert_eq!(ExitStatus::from_wait_status(7 << 8), ExitStatus::Code(7));
    }
}

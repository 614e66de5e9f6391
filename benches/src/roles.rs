//! Who takes part in a measurement: threads of this process, or forked processes.

use crate::Result;
use crate::cores::pin;
use crate::stage::{Seat, Stage};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

type Work<'a> = Box<dyn FnOnce(Seat<'_>) -> Result<()> + Send + 'a>;

/// What one participant does, and where.
pub struct Role<'a> {
    core: usize,
    work: Work<'a>,
}

impl<'a> Role<'a> {
    /// A participant that does `work` on `core`.
    pub fn new(core: usize, work: impl FnOnce(Seat<'_>) -> Result<()> + Send + 'a) -> Self {
        Self { core, work: Box::new(work) }
    }

    fn play(self, seat: Seat<'_>) -> Result<()> {
        pin(self.core)?;
        (self.work)(seat)
    }
}

/// Each role in a thread of its own; role `i` has seat `i`.
pub fn in_threads(stage: &Stage, roles: Vec<Role<'_>>) -> Result<()> {
    std::thread::scope(|scope| {
        let start = |(index, role): (usize, Role<'_>)| role.play(stage.seat(index));
        let threads: Vec<_> =
            roles.into_iter().enumerate().map(|role| scope.spawn(move || start(role))).collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread of the measurement panicked")??;
        }
        Ok(())
    })
}

/// How long a measurement may take before its processes are ended: far above the longest one.
const PATIENCE_MILLIS: i32 = 120_000;

/// Each role in a forked process of its own; role `i` has seat `i`. One that fails ends all.
///
/// The caller must have a single thread, as every caller of `fork` that means to run ordinary code afterwards.
pub fn in_processes(stage: &Stage, roles: Vec<Role<'_>>) -> Result<()> {
    let mut children = Vec::new();
    for (index, role) in roles.into_iter().enumerate() {
        children.push(Child::fork(|| role.play(stage.seat(index)))?);
    }
    while !children.is_empty() {
        let mut polls: Vec<_> = children
            .iter()
            .map(|child| libc::pollfd {
                fd: child.ended.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        // SAFETY: the array is ours and of the length given.
        let ready =
            unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, PATIENCE_MILLIS) };
        match ready {
            0 => return Err("a measurement hangs: no participant ended within two minutes".into()),
            -1 if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted => {
                return Err(format!("wait for processes: {}", io::Error::last_os_error()).into());
            }
            _ => {}
        }
        for index in (0..polls.len()).rev().filter(|&index| polls[index].revents != 0) {
            // Whoever is still in `children` when this fails is killed by its drop.
            children.remove(index).reap()?;
        }
    }
    Ok(())
}

/// A forked process; dropped unreaped, it is killed.
struct Child {
    pid: libc::pid_t,
    ended: OwnedFd,
    reaped: bool,
}

impl Child {
    fn fork(work: impl FnOnce() -> Result<()>) -> Result<Self> {
        // SAFETY: this process has one thread (contract of `in_processes`), so the child may run any code.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(format!("fork: {}", io::Error::last_os_error()).into());
        }
        if pid == 0 {
            // SAFETY: asks the kernel to end this process with its parent; reads no memory.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let code = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => 0,
                Ok(Err(error)) => {
                    eprintln!("a participant of the measurement: {error}");
                    1
                }
                Err(_) => 101,
            };
            // SAFETY: ends this process without the parent's exit handlers.
            unsafe { libc::_exit(code) };
        }
        // SAFETY: a plain system call on the pid of our own child, which is not reaped yet.
        let ended = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if ended < 0 {
            let error = io::Error::last_os_error();
            // SAFETY: the child is ours and not reaped.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // SAFETY: as above; no status is asked for.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            return Err(format!("watch process {pid}: {error}").into());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let ended = unsafe { OwnedFd::from_raw_fd(ended as i32) };
        Ok(Self { pid, ended, reaped: false })
    }

    fn wait(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: the child is ours and not reaped; the place for its status is ours.
        unsafe { libc::waitpid(self.pid, &mut status, 0) };
        self.reaped = true;
        status
    }

    fn reap(mut self) -> Result<()> {
        match self.wait() {
            0 => Ok(()),
            status if libc::WIFSIGNALED(status) => {
                Err(format!("a participant was ended by signal {}", libc::WTERMSIG(status)).into())
            }
            status => {
                Err(format!("a participant failed, exit code {}", libc::WEXITSTATUS(status)).into())
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // SAFETY: the child is ours and not reaped, so the pid is still its.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            self.wait();
        }
    }
}

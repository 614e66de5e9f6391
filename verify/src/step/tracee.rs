//! A child process under this one's control: single steps, a breakpoint in hardware, and the kill.

use offspring_os_unix::pidfd::PidFd;
use std::fs;
use std::ptr;

/// A child that is to be killed at a chosen instruction, or to run to its end.
#[derive(Debug)]
pub struct Tracee {
    pid: i32,
    reaped: bool,
}

/// Why a tracee does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A trap: a step, a breakpoint or a [`mark`]; the next instruction is at this address.
    Trap(usize),
    /// It is asleep in the kernel, in a futex call.
    Asleep,
    /// It is gone, with this wait status.
    Gone(i32),
}

/// Stops the calling process if it is traced (kills it if it is not): the begin and the end of what is stepped through.
#[inline(never)]
pub fn mark() {
    // SAFETY: a trap that the tracer catches; touches no memory and no registers.
    unsafe { core::arch::asm!("int3", options(nomem, nostack)) };
}

/// The type of a request: the C libraries differ.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// Where the kernel keeps a tracee's registers.
#[cfg(target_arch = "x86_64")]
mod place {
    use std::mem::offset_of;

    pub const IP: usize = offset_of!(libc::user, regs.rip);
    pub const CALL: usize = offset_of!(libc::user, regs.rax);
    pub const BREAKPOINTS: usize = offset_of!(libc::user, u_debugreg);
}

/// The stage refuses other processors before anything is traced; the kernel refuses these places.
#[cfg(not(target_arch = "x86_64"))]
mod place {
    pub const IP: usize = usize::MAX;
    pub const CALL: usize = usize::MAX;
    pub const BREAKPOINTS: usize = usize::MAX;
}

impl Tracee {
    /// Forks a child that runs `body`, which ends by itself or never returns.
    ///
    /// The caller has one thread.
    pub fn fork(body: impl FnOnce()) -> Result<Self, String> {
        // SAFETY: this process has one thread, so the child may do whatever it could.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: plain calls; the child shall not outlive this process.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                body();
                // SAFETY: ends this process without the parent's exit handlers.
                unsafe { libc::_exit(0) }
            }
            -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
            pid => Ok(Self { pid, reaped: false }),
        }
    }

    /// In the child: lets the parent trace it.
    pub fn trace_me() {
        // SAFETY: asks for this process to be traced by its parent; no pointers.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, ptr::null_mut::<u8>(), ptr::null_mut::<u8>())
        };
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    fn request(&self, request: Request, address: usize, data: usize) -> libc::c_long {
        // SAFETY: the requests used here take numbers, not pointers of this process; `pid` is our stopped child.
        unsafe { libc::ptrace(request, self.pid, address, data) }
    }

    /// Waits until it stops or is gone.
    pub fn wait(&mut self) -> Stop {
        let mut status = 0;
        // SAFETY: `status` is writable.
        unsafe { libc::waitpid(self.pid, &mut status, 0) };
        self.stopped(status)
    }

    fn stopped(&mut self, status: i32) -> Stop {
        if libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTRAP {
            Stop::Trap(self.ip())
        } else if libc::WIFSTOPPED(status) {
            // No other signal is sent to it but by a fault, which shall end it.
            self.request(libc::PTRACE_CONT, 0, libc::WSTOPSIG(status) as usize);
            self.wait()
        } else {
            self.reaped = true;
            Stop::Gone(status)
        }
    }

    /// Waits until it stops, is gone, or sleeps in the kernel.
    ///
    /// The kernel tells nobody when a process falls asleep, so this looks, and lets others run in between.
    pub fn wait_or_asleep(&mut self) -> Stop {
        if self.reaped {
            return Stop::Gone(0);
        }
        loop {
            let mut status = 0;
            // SAFETY: `status` is writable.
            if unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } == self.pid {
                return self.stopped(status);
            }
            if self.is_asleep() {
                return Stop::Asleep;
            }
            // SAFETY: no arguments.
            unsafe { libc::sched_yield() };
        }
    }

    /// Whether it sleeps in a futex call.
    pub fn is_asleep(&self) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        if !state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")) {
            return false;
        }
        let call = fs::read_to_string(format!("/proc/{}/syscall", self.pid)).unwrap_or_default();
        let number = call.split(' ').next().and_then(|number| number.parse::<i64>().ok());
        number.is_some_and(is_futex)
    }

    /// The address of its next instruction.
    pub fn ip(&self) -> usize {
        self.request(libc::PTRACE_PEEKUSER, place::IP, 0) as usize
    }

    /// The register in which a system call's number stands.
    pub fn call_number(&self) -> i64 {
        self.request(libc::PTRACE_PEEKUSER, place::CALL, 0)
    }

    /// Lets it execute one instruction.
    pub fn step(&self) {
        self.request(libc::PTRACE_SINGLESTEP, 0, 0);
    }

    /// Lets it run.
    pub fn run(&self) {
        self.request(libc::PTRACE_CONT, 0, 0);
    }

    /// From now on it stops before it executes the instruction at `address`.
    pub fn stop_at(&self, address: usize) -> Result<(), String> {
        let registers = place::BREAKPOINTS;
        let set = |register: usize, value: usize| {
            self.request(libc::PTRACE_POKEUSER, registers + register * size_of::<u64>(), value) == 0
        };
        // Register 0 holds the address; bit 0 of register 7 turns it on, for execution.
        if set(0, address) && set(7, 1) {
            Ok(())
        } else {
            Err(format!("set a breakpoint in hardware: {}", std::io::Error::last_os_error()))
        }
    }

    /// Kills it, whatever it does, and takes the news.
    pub fn kill(&mut self) {
        if self.reaped {
            return;
        }
        let mut status = 0;
        // SAFETY: integers, and a status to write to; the child was not reaped, so the number is its own.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            while libc::waitpid(self.pid, &mut status, 0) == self.pid && libc::WIFSTOPPED(status) {}
        }
        self.reaped = true;
    }

    /// Waits for an untraced child's end, if that did not come before. It has so many seconds.
    pub fn join_unless_gone(&mut self, seconds: u64) -> Result<(), String> {
        if self.reaped {
            return Ok(());
        }
        let now = offspring_os_unix::futex::now();
        let pidfd = PidFd::open(self.pid as u32).map_err(|error| error.to_string())?;
        if !pidfd.wait_gone(Some(now.after(seconds * 1_000_000_000))) {
            return Err(format!("it still sleeps after {seconds} s"));
        }
        match self.wait() {
            Stop::Gone(status) if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => {
                Ok(())
            }
            other => Err(format!("it ended with {other:?}")),
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether this is the number of a system call that sleeps on a futex.
pub fn is_futex(number: i64) -> bool {
    number == libc::SYS_futex || number == libc::SYS_futex_waitv
}

/// What stands at an address of code. Parent and child share it: the child was forked.
pub fn code_at<const N: usize>(address: usize) -> [u8; N] {
    // SAFETY: the address was a child's instruction pointer, so it is mapped code there, and here since the child was
    // forked and maps no code of its own. `N` is at most 2, and an instruction that is the last byte of its mapping is not
    // followed by unmapped memory: the linker pads pages.
    unsafe { ptr::read_unaligned(ptr::with_exposed_provenance::<[u8; N]>(address)) }
}

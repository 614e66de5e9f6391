//! A fork server: one process of one thread that forks itself on request, and tells how its forks ended.
//!
//! Two socket pairs of whole packets join it to the one process that it works for, its *client*.
//!
//! | socket | from | packet |
//! |---|---|---|
//! | requests | server | once, when it can serve: empty, or why it cannot |
//! | requests | client | `descriptors that follow and come along`, until none follow; the last packet asks for a fork |
//! | requests | server | `serial, pid`, the pidfd beside it; or `serial, -errno` |
//! | reports | server | `serial, kind, number`: how that fork ended |
//!
//! The forks are children of the server, so that it alone is told how they end; that they end, the client's pidfd says.
//! What the fork is to do comes to it another way (its lifeline), after the client knows it: a server that dies
//! between the two leaves nobody who does it twice. When a client is gone its server ends: both sockets close.
//!
//! F1 In the server no other thread runs: none exists, or it waits for this one and holds nothing. So a fork of it may
//! do what any process may.

use crate::error::{OsError, Result, errno};
use crate::futex;
use crate::pidfd::PidFd;
use crate::start::{Child, Fork, fork};
use crate::status::ExitStatus;
use offspring_core::points::{Point, hit};
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::wait::Deadline;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The kernel passes 253 at most with one packet.
const MOST_BESIDE: usize = 250;
/// The longest text of a server that cannot serve.
const MOST_TEXT: usize = 4096;
/// Bytes of control data for `MOST_BESIDE` descriptors, in words so that it is aligned.
const CONTROL_WORDS: usize = 2 + MOST_BESIDE.div_ceil(2) + 1;

/// The client's side of one server.
#[derive(Debug)]
pub struct Client {
    requests: Mutex<OwnedFd>,
    reports: Arc<Reports>,
}

/// The server's side.
#[derive(Debug)]
pub struct Server {
    requests: OwnedFd,
    reports: OwnedFd,
}

/// A new client, and the two descriptors that its server is to be given: for requests, for reports.
///
/// # Errors
///
/// A limit: no descriptors are left.
pub fn pair() -> Result<(Client, [OwnedFd; 2])> {
    let (requests, server_requests) = sockets()?;
    let (reports, server_reports) = sockets()?;
    let reports = Arc::new(Reports {
        socket: reports,
        told: Mutex::new(Told { statuses: HashMap::new(), over: false, reading: false }),
        changed: Condvar::new(),
    });
    Ok((Client { requests: Mutex::new(requests), reports }, [server_requests, server_reports]))
}

fn sockets() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } != 0 {
        return Err(OsError::last("make", "a pair of sockets for the fork server"));
    }
    // SAFETY: the call made both, and nobody else knows them.
    let [one, other] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((one, other))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone() -> OsError {
    OsError::new("ask", "the fork server", libc::EPIPE).with_advice("it has ended")
}

impl Client {
    /// Waits until the server can serve.
    ///
    /// # Errors
    ///
    /// The outer one: the peer is gone. The inner one: why the server cannot serve.
    pub fn await_ready(&self) -> Result<std::result::Result<(), String>> {
        let socket = locked(&self.requests);
        let mut text = [0; MOST_TEXT];
        match receive(&socket, &mut text, 0)? {
            // A packet may be empty, so its end is told by the first byte that is always there.
            (0, _) => Err(gone()),
            (1, _) => Ok(Ok(())),
            (len, _) => Ok(Err(String::from_utf8_lossy(&text[1..len]).into_owned())),
        }
    }

    /// A fork of the server, which gets `fds`. Blocks until there is one; one request at a time.
    ///
    /// # Errors
    ///
    /// The peer is gone: the server ended, and if it made the fork, that must be told to end. A limit on processes
    /// or memory.
    pub fn fork(&self, fds: &[BorrowedFd<'_>]) -> Result<Child> {
        let socket = locked(&self.requests);
        let mut rest = fds;
        loop {
            let (now, later) = rest.split_at(rest.len().min(MOST_BESIDE));
            rest = later;
            let head = [now.len() as u32, u32::from(!rest.is_empty())];
            send(&socket, &words(&head), now, 0).map_err(|code| match code {
                libc::EPIPE | libc::ECONNRESET => gone(),
                code => OsError::new("ask", "the fork server", code),
            })?;
            if rest.is_empty() {
                break;
            }
        }
        let mut reply = [0; 12];
        let (len, mut beside) = receive(&socket, &mut reply, 1)?;
        if len != reply.len() {
            return Err(gone());
        }
        let [a, b, pid] = numbers(&reply);
        let serial = u64::from(a) | u64::from(b) << 32;
        let pid = pid as i32;
        if pid <= 0 {
            return Err(OsError::new("fork", "the fork server", -pid));
        }
        let process = match beside.pop() {
            Some(fd) => PidFd::from_fd(pid as u32, fd),
            None => match PidFd::open(pid as u32) {
                Ok(process) => process,
                Err(error) if error.is_not_found() => PidFd::reaped(pid as u32),
                Err(error) => return Err(error),
            },
        };
        Ok(Child::reported(process, Reported { reports: Arc::clone(&self.reports), serial }))
    }

    /// Lets the server know that no request follows: it ends once it has answered what came before.
    pub fn finish(&self) {
        let socket = locked(&self.requests);
        // SAFETY: takes integers.
        unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) };
    }
}

/// One fork among those that a server reports on.
#[derive(Debug)]
pub(crate) struct Reported {
    reports: Arc<Reports>,
    serial: u64,
}

/// What a server told of the ends of its forks.
#[derive(Debug)]
struct Reports {
    socket: OwnedFd,
    told: Mutex<Told>,
    /// Something was told, or the one who reads stopped.
    changed: Condvar,
}

#[derive(Debug)]
struct Told {
    statuses: HashMap<u64, ExitStatus>,
    /// The server is gone: nothing more will be told.
    over: bool,
    /// A thread waits at the socket; the others wait for it.
    reading: bool,
}

impl Reported {
    /// How it ended, once it is told; `Unknown` if it will not be told any more. `None` while that may come.
    pub(crate) fn look(&self) -> Option<ExitStatus> {
        let mut told = locked(&self.reports.told);
        if !told.reading {
            self.reports.drain(&mut told);
        }
        // It stays there: another thread may wait for the same.
        let status = told.statuses.get(&self.serial).copied();
        status.or_else(|| told.over.then_some(ExitStatus::Unknown))
    }

    /// Waits until [`look`](Self::look) has an answer, or `until` has passed; the answer stays to be looked at.
    pub(crate) fn wait(&self, until: Option<Deadline>) {
        let reports = &*self.reports;
        let mut told = locked(&reports.told);
        loop {
            if !told.reading {
                reports.drain(&mut told);
            }
            if told.over || told.statuses.contains_key(&self.serial) {
                return;
            }
            let left = until.map(|until| until.0.saturating_sub(futex::now().0));
            if left == Some(0) {
                return;
            }
            if told.reading {
                told = match left {
                    Some(left) => {
                        let left = std::time::Duration::from_nanos(left);
                        let waited = reports.changed.wait_timeout(told, left);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => reports.changed.wait(told).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            }
            told.reading = true;
            drop(told);
            wait_readable(&reports.socket, until);
            told = locked(&reports.told);
            told.reading = false;
            reports.drain(&mut told);
            reports.changed.notify_all();
        }
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        locked(&self.reports.told).statuses.remove(&self.serial);
    }
}

impl Reports {
    /// Takes all that was told so far.
    fn drain(&self, told: &mut Told) {
        let mut packet = [0; 16];
        while !told.over {
            // SAFETY: `packet` is writable for its length.
            let got = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    packet.as_mut_ptr().cast(),
                    packet.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            match got {
                16 => {
                    let [a, b, kind, number] = numbers(&packet);
                    let serial = u64::from(a) | u64::from(b) << 32;
                    told.statuses.insert(serial, status(kind, number as i32));
                }
                -1 if errno() == libc::EINTR => {}
                -1 if errno() == libc::EAGAIN => return,
                // The server is gone, or says what it never would.
                _ => told.over = true,
            }
        }
    }
}

/// A status as two numbers, and back.
fn status(kind: u32, number: i32) -> ExitStatus {
    match kind {
        0 => ExitStatus::Code(number & 0xff),
        1 | 2 => ExitStatus::Signal { signal: number & 0x7f, core_dumped: kind == 2 },
        _ => ExitStatus::Unknown,
    }
}

fn kind_and_number(status: ExitStatus) -> [u32; 2] {
    match status {
        ExitStatus::Code(code) => [0, code as u32],
        ExitStatus::Signal { signal, core_dumped } => [1 + u32::from(core_dumped), signal as u32],
        ExitStatus::Unknown => [3, 0],
    }
}

/// What [`Server::serve`] came back for.
#[derive(Debug)]
pub enum Served {
    /// This is a fork, with what it was given.
    InFork(Vec<OwnedFd>),
    /// Nobody asks any more.
    Over,
}

impl Server {
    /// With what [`pair`] made.
    #[must_use]
    pub fn new(requests: OwnedFd, reports: OwnedFd) -> Self {
        Self { requests, reports }
    }

    /// Says why this server will not serve.
    pub fn refuse(self, why: &str) {
        let mut text = vec![0];
        text.extend(why.bytes().take(MOST_TEXT - 2));
        // At least two bytes are a refusal.
        text.push(b'\n');
        let _ = send(&self.requests, &text, &[], 0);
    }

    /// Says that this server can serve, and serves until its client is gone, or asks for no more. Survives SIGINT, which
    /// its forks do not.
    ///
    /// # Errors
    ///
    /// What the system says; the client is told by the sockets' closing.
    ///
    /// # Safety
    ///
    /// F1.
    pub unsafe fn serve(self) -> Result<Served> {
        let signals = Signals::take()?;
        let failed = |code| OsError::new("serve", "as a fork server", code);
        send(&self.requests, &[0], &[], 0).map_err(failed)?;
        let mut forks = Forks { pids: HashMap::new(), backlog: VecDeque::new(), serial: 0 };
        let (mut given, mut spoiled) = (Vec::new(), false);
        loop {
            let out = if forks.backlog.is_empty() { 0 } else { libc::POLLOUT };
            let mut entries = [
                entry(&self.requests, libc::POLLIN),
                entry(&signals.fd, libc::POLLIN),
                entry(&self.reports, out),
            ];
            // SAFETY: three entries, writable.
            if unsafe { libc::poll(entries.as_mut_ptr(), 3, -1) } < 0 {
                match errno() {
                    libc::EINTR => continue,
                    code => return Err(failed(code)),
                }
            }
            if entries[1].revents != 0 {
                signals.forget_all();
                forks.reap();
            }
            if !forks.tell(&self.reports) {
                return Ok(Served::Over);
            }
            if entries[0].revents == 0 {
                continue;
            }
            let mut head = [0; 8];
            let (len, beside) = receive(&self.requests, &mut head, MOST_BESIDE)?;
            if len == 0 && beside.is_empty() {
                // Those who live are told of no more.
                return Ok(Served::Over);
            }
            let [count, more] = numbers(&head);
            // More descriptors than this process may have are cut off.
            spoiled |= len != head.len() || count as usize != beside.len();
            given.extend(beside);
            if more != 0 {
                continue;
            }
            hit(Point::ServeAsked);
            let forked = if spoiled {
                Err(OsError::new("take", "descriptors", libc::EMFILE))
            } else {
                // SAFETY: F1.
                unsafe { fork() }
            };
            match forked {
                Ok(Fork::InChild) => {
                    signals.restore();
                    return Ok(Served::InFork(given));
                }
                Ok(Fork::Parent(child)) => {
                    hit(Point::ServeForked);
                    forks.pids.insert(child.pid(), forks.serial);
                    self.reply(&forks, child.pid() as i32, child.pidfd().fd())?;
                }
                Err(error) => self.reply(&forks, -error.code().max(1), None)?,
            }
            hit(Point::ServeAnswered);
            given.clear();
            spoiled = false;
            forks.serial += 1;
        }
    }

    fn reply(&self, forks: &Forks, pid: i32, pidfd: Option<BorrowedFd<'_>>) -> Result<()> {
        let words = words(&[forks.serial as u32, (forks.serial >> 32) as u32, pid as u32]);
        send(&self.requests, &words, pidfd.as_slice(), 0)
            .map_err(|code| OsError::new("answer", "a fork server's client", code))
    }
}

/// The forks that live, and what is still to be told.
struct Forks {
    pids: HashMap<u32, u64>,
    backlog: VecDeque<[u8; 16]>,
    /// Of the next request.
    serial: u64,
}

impl Forks {
    /// Reaps whoever has ended.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: `status` is writable.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            if pid < 0 && errno() == libc::EINTR {
                continue;
            }
            if pid <= 0 {
                return;
            }
            hit(Point::ServeReaped);
            let Some(serial) = self.pids.remove(&(pid as u32)) else { continue };
            let [kind, number] = kind_and_number(ExitStatus::from_wait_status(status));
            let packet = words(&[serial as u32, (serial >> 32) as u32, kind, number]);
            self.backlog.extend(<[u8; 16]>::try_from(packet));
        }
    }

    /// Tells as much as the socket takes; false when nobody is there to be told.
    fn tell(&mut self, reports: &OwnedFd) -> bool {
        while let Some(packet) = self.backlog.front() {
            match send(reports, packet, &[], libc::MSG_DONTWAIT) {
                Ok(()) => {
                    hit(Point::ServeTold);
                    self.backlog.pop_front();
                }
                Err(libc::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

/// SIGCHLD as something to read, and SIGINT ignored; both as they were again in a fork.
///
/// By a handler, not by `signalfd`: the thread that waits for this one need not block the signal, and would swallow it.
struct Signals {
    fd: OwnedFd,
    mask: libc::sigset_t,
    child: libc::sigaction,
    interrupt: libc::sigaction,
}

/// The descriptor to which the handler of SIGCHLD tells; none where nobody listens.
static NOTICE: AtomicU32 = AtomicU32::new(u32::MAX);

extern "C" fn notice(_: libc::c_int) {
    // ORDER: Relaxed. A number; the descriptor was open before it was stored.
    let fd = NOTICE.load(Ordering::Relaxed) as RawFd;
    let one = 1_u64;
    // SAFETY: `write` may be called in a handler, and reads a local; whoever was interrupted finds its errno again.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(fd, (&raw const one).cast(), size_of::<u64>());
        *errno = before;
    }
}

impl Signals {
    fn take() -> Result<Self> {
        let failed = || OsError::last("take", "the signals of a fork server");
        // SAFETY: takes integers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(failed());
        }
        // SAFETY: the call made this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // ORDER: Relaxed, as in `notice`.
        NOTICE.store(fd.as_raw_fd() as u32, Ordering::Relaxed);
        let child = set_action(libc::SIGCHLD, notice as *const () as usize).ok_or_else(failed)?;
        let interrupt = set_action(libc::SIGINT, libc::SIG_IGN).ok_or_else(failed)?;
        // Whoever started this process may have blocked it.
        // SAFETY: all zero is a valid `sigset_t`, and both are locals.
        let mask = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGCHLD);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, &mut mask);
            // Ignored and blocked: one that is meant for a fork waits until that has restored both.
            libc::sigdelset(&mut set, libc::SIGCHLD);
            libc::sigaddset(&mut set, libc::SIGINT);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
            mask
        };
        Ok(Self { fd, mask, child, interrupt })
    }

    fn forget_all(&self) {
        let mut count = 0_u64;
        // SAFETY: `count` is writable for the size given. One read empties it.
        unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }

    fn restore(self) {
        // SAFETY: all three were filled in by `take`.
        unsafe {
            libc::sigaction(libc::SIGINT, &self.interrupt, ptr::null_mut());
            libc::sigaction(libc::SIGCHLD, &self.child, ptr::null_mut());
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, ptr::null_mut());
        }
        // ORDER: Relaxed, as in `notice`.
        NOTICE.store(u32::MAX, Ordering::Relaxed);
    }
}

/// Sets what `signal` does; gives what it did.
fn set_action(signal: i32, handler: libc::sighandler_t) -> Option<libc::sigaction> {
    // SAFETY: all zero is a valid `sigaction`; both are locals, and the handler is one for signals or a constant.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        (libc::sigaction(signal, &action, &mut before) == 0).then_some(before)
    }
}

fn entry(fd: &OwnedFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

fn wait_readable(fd: &OwnedFd, until: Option<Deadline>) {
    let mut entry = entry(fd, libc::POLLIN);
    let time = until.map(|until| futex::timespec(until.0.saturating_sub(futex::now().0)));
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: one entry, writable; `time` is null or a local that lives until after the call; no mask. Whatever it
    // says, the caller looks.
    unsafe { libc::ppoll(&mut entry, 1, time, ptr::null()) };
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn numbers<const N: usize>(bytes: &[u8]) -> [u32; N] {
    std::array::from_fn(|i| {
        let word = bytes.get(4 * i..).and_then(<[u8]>::first_chunk::<4>);
        word.map_or(0, |word| u32::from_ne_bytes(*word))
    })
}

/// Sends one packet, with descriptors.
fn send(
    socket: &OwnedFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: i32,
) -> std::result::Result<(), i32> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut data = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let len = size_of_val(numbers.as_slice());
        // SAFETY: `control` has room for a header and `MOST_BESIDE` numbers, and callers pass no more; the header lies at
        // its beginning, which is aligned.
        unsafe {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(len as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(len as u32) as _;
            ptr::copy_nonoverlapping(numbers.as_ptr().cast(), libc::CMSG_DATA(header), len);
        }
    }
    loop {
        // SAFETY: `message` names locals that live until after the call.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL | flags) };
        if sent >= 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            code => return Err(code),
        }
    }
}

/// Receives one packet, with at most `beside` descriptors; of length 0 when the other side is gone.
fn receive(socket: &OwnedFd, bytes: &mut [u8], beside: usize) -> Result<(usize, Vec<OwnedFd>)> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut data = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: computes a size.
    let space = unsafe { libc::CMSG_SPACE((beside.min(MOST_BESIDE) * size_of::<RawFd>()) as u32) };
    message.msg_controllen = space as _;
    let got = loop {
        // SAFETY: `message` names locals that live until after the call, each with its length.
        let got =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(got) {
            Ok(got) => break got,
            Err(_) => match errno() {
                libc::EINTR => {}
                libc::ECONNRESET => break 0,
                code => return Err(OsError::new("read", "a fork server's socket", code)),
            },
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel filled in the control data and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    while !header.is_null() {
        // SAFETY: not null, so within the control data, as the kernel wrote it.
        unsafe {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let len = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
                for i in 0..len / size_of::<RawFd>() {
                    // The kernel made this descriptor for us alone.
                    fds.push(OwnedFd::from_raw_fd(numbers.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    Ok((got, fds))
}

impl AsFd for Client {
    /// Closed or readable when the server is gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reports.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_travel_as_numbers() {
        for one in [
            ExitStatus::Code(0),
            ExitStatus::Code(255),
            ExitStatus::Signal { signal: 9, core_dumped: false },
            ExitStatus::Signal { signal: 6, core_dumped: true },
            ExitStatus::Unknown,
        ] {
            let [kind, number] = kind_and_number(one);
            assert_eq!(status(kind, number as i32), one);
        }
    }

    #[test]
    fn descriptors_come_along_with_a_packet() {
        let (one, other) = sockets().unwrap();
        let many: Vec<_> = (0..MOST_BESIDE).map(|_| one.as_fd()).collect();
        send(&one, b"12345678", &many, 0).unwrap();
        let mut bytes = [0; 8];
        let (len, beside) = receive(&other, &mut bytes, MOST_BESIDE).unwrap();
        assert_eq!((len, beside.len(), &bytes), (8, MOST_BESIDE, b"12345678"));
        drop(one);
        drop(beside);
        assert_eq!(receive(&other, &mut bytes, MOST_BESIDE).unwrap().0, 0);
    }

    #[test]
    fn client_of_a_server_that_is_gone_is_told() {
        let (client, server) = pair().unwrap();
        drop(server);
        assert!(client.fork(&[]).unwrap_err().is_peer_gone());
        let one = Reported { reports: Arc::clone(&client.reports), serial: 3 };
        one.wait(None);
        assert_eq!(one.look(), Some(ExitStatus::Unknown));
    }

    #[test]
    fn report_that_another_thread_read_is_found() {
        let (client, [_requests, reports]) = pair().unwrap();
        let ask = |serial| Reported { reports: Arc::clone(&client.reports), serial };
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4)
                .map(|serial| {
                    let one = ask(serial);
                    scope.spawn(move || {
                        one.wait(None);
                        one.look()
                    })
                })
                .collect();
            for serial in [2, 0, 3, 1] {
                send(&reports, &words(&[serial, 0, 0, serial]), &[], 0).unwrap();
            }
            for (code, waiter) in waiters.into_iter().enumerate() {
                assert_eq!(waiter.join().unwrap(), Some(ExitStatus::Code(code as i32)));
            }
        });
    }
}

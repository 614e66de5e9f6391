//! A fork server: one process of one thread that forks itself on request, and tells how its forks ended.
//!
//! Two socket pairs of whole packets join it to the one process that it works for, its *client*.
//!
//! | socket | from | packet |
//! |---|---|---|
//! | requests | server | once, when it can serve: empty, or why it cannot |
//! | requests | client | `descriptors beside it, first 1, last 2`, as many as are needed; the last packet asks for a fork |
//! | requests | server | `serial, pid, identity`, the pidfd beside it if it has one; or `serial, -errno, 0` |
//! | reports | server | `serial, kind, number`: how that fork ended |
//!
//! The forks are children of the server, so that it alone is told how they end; that they end, the client's pidfd says.
//! What the fork is to do comes to it another way (its lifeline), after the client knows it: a server that dies
//! between the two leaves nobody who does it twice. When a client is gone its server ends: both sockets close.
//!
//! F1 In the server no other thread runs: none exists, or it waits for this one and holds nothing. So a fork of it may
//! do what any process may.

mod packet;
mod reports;
mod signals;

pub(crate) use reports::Reported;

use crate::error::{OsError, Result, errno};
use crate::pidfd::{self, PidFd};
use crate::start::{Child, Fork, fork, reap};
use crate::status;
use offspring_core::points::{Point, hit};
use packet::{MOST_BESIDE, numbers, receive, send, sockets, words};
use reports::{Reports, kind_and_number};
use signals::Signals;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of the packets of a request: the first begins it anew, the last asks for the fork.
const FIRST: u32 = 1;
const LAST: u32 = 2;
/// The longest text of a server that cannot serve.
const MOST_TEXT: usize = 4096;
/// The client's side of one server.
#[derive(Debug)]
pub struct Client {
    requests: OwnedFd,
    /// Held by the thread that has a request under way, however long the server takes; so [`finish`](Self::finish) must do
    /// without it.
    asking: Mutex<()>,
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
    let client =
        Client { requests, asking: Mutex::new(()), reports: Arc::new(Reports::new(reports)) };
    Ok((client, [server_requests, server_reports]))
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
        let _one = locked(&self.asking);
        let mut text = [0; MOST_TEXT];
        match receive(&self.requests, &mut text, 0)? {
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
        let _one = locked(&self.asking);
        let (mut rest, mut place) = (fds, FIRST);
        loop {
            let (now, later) = rest.split_at(rest.len().min(MOST_BESIDE));
            rest = later;
            let head = [now.len() as u32, place | if rest.is_empty() { LAST } else { 0 }];
            place = 0;
            send(&self.requests, &words(&head), now, 0).map_err(|code| match code {
                libc::EPIPE | libc::ECONNRESET => gone(),
                code => OsError::new("ask", "the fork server", code),
            })?;
            if rest.is_empty() {
                break;
            }
        }
        let mut reply = [0; 20];
        let (len, mut beside) = receive(&self.requests, &mut reply, 1)?;
        if len != reply.len() {
            return Err(gone());
        }
        let [a, b, pid, c, d] = numbers(&reply);
        let (serial, identity) = (long(a, b), long(c, d));
        if pid as i32 <= 0 {
            return Err(OsError::new("fork", "the fork server", (pid as i32).wrapping_neg()));
        }
        // Dropped if there is no name for it: what is told of it then is not kept.
        let reported = self.reports.of(serial);
        let process = match beside.pop() {
            Some(fd) => PidFd::from_fd(pid, fd),
            None => named(pid, identity)?,
        };
        Ok(Child::reported(process, reported))
    }

    /// Lets the server know that no request follows: it ends once it has answered what came before. Does not wait, neither for
    /// the server nor for a thread that waits for it.
    pub fn finish(&self) {
        // SAFETY: takes integers.
        unsafe { libc::shutdown(self.requests.as_raw_fd(), libc::SHUT_WR) };
    }

    #[cfg(test)]
    fn reports(&self) -> &Arc<Reports> {
        &self.reports
    }
}

/// A fork whose server had no descriptor to give: the process `pid`, if that is the one that the server meant.
fn named(pid: u32, identity: u64) -> Result<PidFd> {
    match PidFd::open(pid) {
        // It had the number before it was opened and has it now, so it had it in between.
        Ok(process) if pidfd::is_gone(pid, identity) != Some(true) => Ok(process),
        Ok(_) => Ok(PidFd::reaped(pid)),
        Err(error) if error.is_not_found() => Ok(PidFd::reaped(pid)),
        Err(error) => Err(error),
    }
}

fn long(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
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
        let mut forks = Forks { pids: HashMap::new(), serial: 0, waiting: false };
        let (mut given, mut spoiled) = (Vec::new(), false);
        loop {
            let out = if forks.waiting { libc::POLLOUT } else { 0 };
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
            }
            let look = entries[1].revents != 0 || entries[2].revents != 0;
            if look && !forks.tell(&self.reports) {
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
            let [count, place] = numbers(&head);
            if place & FIRST != 0 {
                // What came before belongs to a request that its client could not finish.
                given.clear();
                spoiled = false;
            }
            // More descriptors than this process may have are cut off.
            spoiled |= len != head.len() || count as usize != beside.len();
            given.extend(beside);
            if place & LAST == 0 {
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
                    let process = child.pidfd();
                    self.reply(forks.serial, child.pid(), process.identity(), process.fd())?;
                }
                Err(error) => {
                    let code = error.code().max(1).wrapping_neg();
                    self.reply(forks.serial, code as u32, 0, None)?;
                }
            }
            hit(Point::ServeAnswered);
            given.clear();
            spoiled = false;
            forks.serial += 1;
        }
    }

    fn reply(
        &self,
        serial: u64,
        pid: u32,
        identity: u64,
        pidfd: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let ([a, b], [c, d]) = (halves(serial), halves(identity));
        send(&self.requests, &words(&[a, b, pid, c, d]), pidfd.as_slice(), 0)
            .map_err(|code| OsError::new("answer", "a fork server's client", code))
    }
}

/// The forks whose end was not told yet.
struct Forks {
    pids: HashMap<u32, u64>,
    /// Of the next request.
    serial: u64,
    /// One has ended, and the socket had no room for that.
    waiting: bool,
}

impl Forks {
    /// Tells of those that have ended, as much as the socket takes, and reaps whom it told of: a fork that nobody was told of lies
    /// there for its parent to look at, if this process is stopped. False when nobody is there to be told.
    fn tell(&mut self, reports: &OwnedFd) -> bool {
        loop {
            let Some((pid, status)) = status::first_ended() else {
                self.waiting = false;
                return true;
            };
            if let Some(serial) = self.pids.get(&pid) {
                let ([a, b], [kind, number]) = (halves(*serial), kind_and_number(status));
                let packet = words(&[a, b, kind, number]);
                match send(reports, &packet, &[], libc::MSG_DONTWAIT) {
                    Ok(()) => {}
                    Err(libc::EAGAIN) => {
                        self.waiting = true;
                        return true;
                    }
                    Err(_) => return false,
                }
                hit(Point::ServeTold);
                self.pids.remove(&pid);
            }
            reap(pid);
            hit(Point::ServeReaped);
        }
    }
}

fn entry(fd: &OwnedFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
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
    use crate::status::ExitStatus;

    #[test]
    fn client_of_a_server_that_is_gone_is_told() {
        let (client, server) = pair().unwrap();
        drop(server);
        assert!(client.fork(&[]).unwrap_err().is_peer_gone());
        let one = client.reports.of(3);
        one.wait(None);
        assert_eq!(one.look(), Some(ExitStatus::Unknown));
    }

    #[test]
    fn report_that_another_thread_read_is_found() {
        let (client, [_requests, reports]) = pair().unwrap();
        let ask = |serial| client.reports.of(serial);
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

    #[test]
    fn another_process_with_the_number_is_not_taken_for_the_fork() {
        let (client, [server, _reports]) = pair().unwrap();
        let me = std::process::id();
        let own = pidfd::identity_of_self().unwrap();
        for (identity, is_me) in [(own, true), (own ^ 2, false)] {
            let [c, d] = halves(identity);
            send(&server, &words(&[0, 0, me, c, d]), &[], 0).unwrap();
            let child = client.fork(&[]).unwrap();
            assert_eq!(child.pidfd().send_signal(0).is_ok(), is_me);
        }
    }
}

//! Fork servers: forks are named and their ends told, with pidfds and without, also while the server is stopped.

use crate::support::{KILLED, after_millis, child, join, kill, stand};
use offspring_os_unix::forkserver::{self, Client, Served, Server};
use offspring_os_unix::start::Child;
use offspring_os_unix::state::{self, State};
use offspring_os_unix::status::{self, ExitStatus};
use offspring_os_unix::{deny, pidfd};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

crate::cases![
    ends_of_forks_are_told,
    ends_are_told_without_pidfds,
    more_ends_than_the_socket_takes_are_told,
    request_that_could_not_be_finished_leaves_nothing_to_the_next,
    end_of_a_fork_of_a_stopped_server_is_read_from_the_fork,
    forks_of_a_killed_server_are_waited_for,
    server_ends_when_nobody_asks_any_more,
];

/// A server, which refuses itself pidfds if it is to do without.
fn server(with_pidfds: bool) -> (Client, Child) {
    let (client, [requests, reports]) = forkserver::pair().unwrap();
    let mut sides = Some((client, requests, reports));
    let process = child(|| {
        let (client, requests, reports) = sides.take().unwrap();
        drop(client);
        if !with_pidfds {
            deny::deny(&[libc::SYS_pidfd_open], libc::EPERM).unwrap();
        }
        // SAFETY: F1: this process has one thread.
        match unsafe { Server::new(requests, reports).serve() }.unwrap() {
            Served::Over => {}
            Served::InFork(files) => live(files),
        }
    });
    let (client, ..) = sides.take().unwrap();
    client.await_ready().unwrap().unwrap();
    (client, process)
}

/// A fork's life: exits with the code that comes, or stays if none does.
fn live(mut files: Vec<OwnedFd>) -> ! {
    let mut code = [0];
    let mut orders = PipeReader::from(files.remove(0));
    match orders.read_exact(&mut code) {
        // SAFETY: ends the process without running what the parent registered.
        Ok(()) => unsafe { libc::_exit(code[0].into()) },
        Err(_) => stand(),
    }
}

fn fork(client: &Client) -> (Child, PipeWriter) {
    let (orders, tell) = pipe().unwrap();
    let fds: [BorrowedFd<'_>; 1] = [orders.as_fd()];
    (client.fork(&fds).unwrap(), tell)
}

fn exits_with(client: &Client, code: u8) -> Child {
    let (fork, mut tell) = fork(client);
    tell.write_all(&[code]).unwrap();
    fork
}

fn all_is_told(client: &Client) {
    assert_eq!(status::wait(&exits_with(client, 7)), ExitStatus::Code(7));
    let (lives, _tell) = fork(client);
    assert_eq!(status::try_wait(&lives), None);
    assert_eq!(status::wait_deadline(&lives, after_millis(20)), None);
    assert!(!lives.pidfd().is_gone());
    let other = exits_with(client, 3);
    assert_eq!(status::wait_any(&[&lives, &other]), Some(1));
    assert_eq!(status::try_wait(&other), Some(ExitStatus::Code(3)));
    kill(&lives);
    assert!(lives.pidfd().wait_gone(None));
    assert_eq!(status::wait(&lives), KILLED);
    assert!(lives.pidfd().is_gone());
}

fn ends_of_forks_are_told() {
    let (client, process) = server(true);
    all_is_told(&client);
    drop(client);
    join(&process);
}

fn ends_are_told_without_pidfds() {
    for client_too in [false, true] {
        join(&child(|| {
            if client_too {
                deny::deny(&[libc::SYS_pidfd_open], libc::EPERM).unwrap();
            }
            let (client, process) = server(false);
            let (lives, _tell) = fork(&client);
            // The server had none to give.
            assert_eq!(lives.pidfd().fd().is_none(), client_too);
            let identity = lives.pidfd().identity();
            assert_eq!(pidfd::is_gone(lives.pid(), identity), Some(false));
            kill(&lives);
            assert_eq!(status::wait(&lives), KILLED);
            all_is_told(&client);
            client.finish();
            join(&process);
        }));
    }
}

fn more_ends_than_the_socket_takes_are_told() {
    let (client, process) = server(true);
    let forks: Vec<Child> = (0..600_u32).map(|n| exits_with(&client, n as u8)).collect();
    // Nobody reads what is told meanwhile.
    assert!(forks.iter().all(|fork| fork.pidfd().wait_gone(None)));
    for (n, fork) in forks.iter().enumerate() {
        assert_eq!(status::wait(fork), ExitStatus::Code(n as i32 & 0xff));
    }
    drop(client);
    join(&process);
}

fn request_that_could_not_be_finished_leaves_nothing_to_the_next() {
    let (client, process) = server(true);
    let (orders, _tell) = pipe().unwrap();
    // SAFETY: the number is no descriptor's, and nothing but the kernel, which says so, is given it.
    let nothing = unsafe { BorrowedFd::borrow_raw(i32::MAX) };
    let mut fds = vec![orders.as_fd(); 250];
    fds.push(nothing);
    // The first packet has gone by then.
    assert_eq!(client.fork(&fds).unwrap_err().code(), libc::EBADF);
    all_is_told(&client);
    drop(client);
    join(&process);
}

fn stop(process: &Child) {
    process.pidfd().send_signal(libc::SIGSTOP).unwrap();
    while state::of(process.pidfd()) != Some(State::Stopped) {
        std::thread::yield_now();
    }
}

fn end_of_a_fork_of_a_stopped_server_is_read_from_the_fork() {
    let (client, process) = server(true);
    let ((zero, mut first), (five, mut second)) = (fork(&client), fork(&client));
    let (killed, _tell) = fork(&client);
    stop(&process);
    assert_eq!(status::try_wait(&zero), None);
    first.write_all(&[0]).unwrap();
    second.write_all(&[5]).unwrap();
    kill(&killed);
    assert_eq!(status::wait(&killed), KILLED);
    assert_eq!(status::wait_any(&[&five]), Some(0));
    assert_eq!(status::try_wait(&five), Some(ExitStatus::Code(5)));
    assert_eq!(status::wait_deadline(&zero, after_millis(20_000)), Some(ExitStatus::Code(0)));
    drop((zero, five, killed));
    process.pidfd().send_signal(libc::SIGCONT).unwrap();
    all_is_told(&client);
    client.finish();
    join(&process);
}

fn forks_of_a_killed_server_are_waited_for() {
    let (client, process) = server(true);
    let (lives, mut tell) = fork(&client);
    kill(&process);
    assert_eq!(status::wait(&process), KILLED);
    assert_eq!(status::wait_deadline(&lives, after_millis(20)), None);
    assert!(client.fork(&[]).unwrap_err().is_peer_gone());
    tell.write_all(&[9]).unwrap();
    // The kernel may keep it.
    assert!(matches!(status::wait(&lives), ExitStatus::Code(9) | ExitStatus::Unknown));
}

fn server_ends_when_nobody_asks_any_more() {
    let (client, process) = server(true);
    let (lives, _tell) = fork(&client);
    client.finish();
    join(&process);
    assert!(client.fork(&[]).unwrap_err().is_peer_gone());
    assert!(!lives.pidfd().is_gone());
    kill(&lives);
    assert!(lives.pidfd().wait_gone(None));
}

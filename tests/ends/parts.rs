//! The programs that the cases start.

#[cfg(unix)]
use offspring::process::{Context, StartMethod};
use offspring::{Process, Queue};
#[cfg(unix)]
use offspring_os_unix::pidfd::PidFd;
#[cfg(unix)]
use offspring_os_unix::start::{Fork, fork};
#[cfg(unix)]
use offspring_os_unix::state::{self, State};
#[cfg(unix)]
use offspring_os_unix::{at_exit, status};
use std::process::Command;
#[cfg(unix)]
use std::sync::mpsc;

/// The environment variable that says which part to run; children inherit it.
pub const PART: &str = "OFFSPRING_TEST_PART";

pub fn run(part: &str) {
    match part {
        "no init" => return no_init(),
        "init in the parent alone" => return init_in_the_parent_alone(),
        "hello" => return println!("hello"),
        "program before init" => println!("{}", hello()),
        _ => {}
    }
    // Falls after the guard.
    let mut last = Last(None);
    let _main = offspring::init();
    match part {
        "return" => start_waiting(),
        "exit" => {
            start_waiting();
            std::process::exit(7);
        }
        "panic" => {
            start_waiting();
            panic!("main panics");
        }
        "daemon" => last.0 = Some(daemon(ready)),
        #[cfg(unix)]
        "stubborn daemon" => last.0 = Some(daemon(ignore_term)),
        "grandchild" => println!("value: {}", child(have_child).join().unwrap()),
        "tree" => {
            let _daemon = Process::builder("daemon").daemon(true).spawn(daemon_ready, ()).unwrap();
            child(ready_with_child).wait();
        }
        "abort" => {
            let queue = Queue::bounded(1).unwrap();
            let _child = Process::spawn(ready, queue.clone()).unwrap();
            queue.get().unwrap();
            std::process::abort();
        }
        #[cfg(unix)]
        "fork beside a child" => fork_beside_a_child(),
        #[cfg(unix)]
        "fork" => fork_with_handles(),
        "detach" => {
            detach();
            println!("main ends");
        }
        "detach and stay" => {
            detach();
            println!("detached");
            park();
        }
        "program of a child" | "program before init" => {
            let say = if part == "program of a child" { say_hello } else { end };
            child(say).join().unwrap();
        }
        "echo" => println!("{}", line()),
        #[cfg(unix)]
        "ignore SIGCHLD" => ignore_children(),
        #[cfg(unix)]
        "exit handler" => child(register_exit_handler).join().unwrap(),
        #[cfg(unix)]
        "ask a stopped server" => {
            stop(server_pid());
            beside_a_thread_that(libc::SYS_recvmsg, || drop(server().spawn(|()| (), ())));
            println!("main ends");
        }
        #[cfg(unix)]
        "await a stopped server" => {
            let warm = server().warmed_by(stop_here);
            beside_a_thread_that(libc::SYS_recvmsg, move || drop(warm.start_server()));
            println!("main ends");
        }
        #[cfg(unix)]
        "child of a stopped server" => {
            let queue = Queue::bounded(1).unwrap();
            let child = server().spawn(|queue: Queue<()>| queue.put(()).unwrap(), queue.clone());
            let process = PidFd::open(child.unwrap().pid()).unwrap();
            stop(server_pid());
            queue.get().unwrap();
            assert!(process.wait_gone(None));
            println!("main ends");
        }
        _ => panic!("no such part: {part}"),
    }
}

struct Last(Option<Process<()>>);

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(daemon) = &self.0 {
            println!("daemon: {}", daemon.try_wait().expect("it has ended"));
        }
    }
}

fn child<R: serde::Serialize + serde::de::DeserializeOwned>(function: fn(()) -> R) -> Process<R> {
    Process::spawn(function, ()).unwrap()
}

fn line() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

fn start_waiting() {
    let queue = Queue::bounded(1).unwrap();
    Process::spawn(wait_for_input, queue.clone()).unwrap();
    queue.get().unwrap();
    println!("main ends");
}

fn wait_for_input(queue: Queue<()>) {
    println!("child runs");
    queue.put(()).unwrap();
    line();
    println!("child ends");
}

fn daemon(function: fn(Queue<()>)) -> Process<()> {
    let queue = Queue::bounded(1).unwrap();
    let child = Process::builder("daemon").daemon(true).spawn(function, queue.clone()).unwrap();
    queue.get().unwrap();
    println!("main ends");
    child
}

fn ready(queue: Queue<()>) {
    if std::env::var(PART).unwrap() == "abort" {
        println!("child ready");
    }
    queue.put(()).unwrap();
    park();
}

#[cfg(unix)]
fn ignore_term(queue: Queue<()>) {
    // SAFETY: a signal that is ignored runs nothing.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    ready(queue);
}

fn have_child(_: ()) -> u8 {
    child(grandchild);
    5
}

fn grandchild(_: ()) {
    println!("grandchild runs");
    line();
    println!("grandchild ends");
}

fn ready_with_child(_: ()) {
    println!("child ready");
    child(grandchild_ready);
    park();
}

fn grandchild_ready(_: ()) {
    println!("grandchild ready");
    park();
}

fn daemon_ready(_: ()) {
    println!("daemon ready");
    park();
}

#[cfg(unix)]
fn fork_beside_a_child() {
    let queue = Queue::bounded(1).unwrap();
    let child = Process::spawn(child_ready, queue.clone()).unwrap();
    queue.get().unwrap();
    // SAFETY: this process has one thread.
    match unsafe { fork() }.unwrap() {
        Fork::Parent(_) => park(),
        Fork::InChild => {
            println!("fork ready");
            child.wait();
            println!("fork: the child is gone");
            std::process::exit(0);
        }
    }
}

#[cfg(unix)]
fn child_ready(queue: Queue<()>) {
    println!("child ready");
    queue.put(()).unwrap();
    park();
}

#[cfg(unix)]
fn fork_with_handles() {
    let queue = Queue::<String>::bounded(1).unwrap();
    Process::spawn(
        |()| {
            line();
            println!("child ends")
        },
        (),
    )
    .unwrap();
    // SAFETY: this process has one thread.
    match unsafe { fork() }.unwrap() {
        Fork::Parent(forked) => {
            println!("{}", queue.get().unwrap());
            assert!(status::wait(&forked).is_success());
            println!("the fork has ended");
        }
        Fork::InChild => {
            queue.put("from the fork".into()).unwrap();
            // Its parent's child is none of its own: it does not wait for it.
            std::process::exit(0);
        }
    }
}

fn detach() {
    let queue = Queue::bounded(1).unwrap();
    let child = Process::spawn(wait_for_input, queue.clone()).unwrap();
    child.detach().unwrap();
    queue.get().unwrap();
}

fn no_init() {
    let error = Process::spawn(|()| (), ()).unwrap_err();
    assert!(error.is_not_initialised());
    println!("{error}");
}

fn init_in_the_parent_alone() {
    if std::env::var_os("OFFSPRING_CHILD").is_some() {
        // Here a careless program would go on as its parent does, without end.
        let error = Process::spawn(|()| (), ()).unwrap_err();
        println!("refused: {error}");
        return;
    }
    let _main = offspring::init();
    println!("{}", Process::spawn(|()| (), ()).unwrap().join().unwrap_err());
}

fn hello() -> String {
    let exe = std::env::current_exe().unwrap();
    let output = Command::new(exe).env(PART, "hello").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn say_hello(_: ()) {
    println!("{}", hello());
    end(());
}

fn end(_: ()) {
    println!("child ends");
}

#[cfg(unix)]
fn register_exit_handler(_: ()) {
    extern "C" fn handler() {
        println!("exit handler");
    }
    at_exit::at_exit(handler).unwrap();
    println!("function");
}

#[cfg(unix)]
fn ignore_children() {
    // SAFETY: a signal that is ignored runs nothing.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    println!("value: {}", child(|()| 7).join().unwrap());
    let endless = child(|()| park());
    endless.kill().unwrap();
    println!("{}", endless.join().map(|()| "a value").unwrap_err());
}

#[cfg(unix)]
fn server() -> Context {
    Context::new(StartMethod::Forkserver).unwrap()
}

#[cfg(unix)]
fn server_pid() -> u32 {
    server().spawn(|()| std::os::unix::process::parent_id(), ()).unwrap().join().unwrap()
}

#[cfg(unix)]
fn stop(pid: u32) {
    let process = PidFd::open(pid).unwrap();
    process.send_signal(libc::SIGSTOP).unwrap();
    while state::of(&process) != Some(State::Stopped) {
        std::thread::yield_now();
    }
}

#[cfg(unix)]
fn stop_here() {
    // SAFETY: takes an integer.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Comes back once a thread that runs `body` sleeps in `call`.
#[cfg(unix)]
fn beside_a_thread_that(call: libc::c_long, body: impl FnOnce() + Send + 'static) {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        // SAFETY: takes nothing.
        tell.send(unsafe { libc::gettid() }).unwrap();
        body();
    });
    let thread = told.recv().unwrap();
    let call = call.to_string();
    let sleeps = || {
        let now = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).unwrap();
        now.split(' ').next() == Some(&call)
    };
    while !sleeps() {
        std::thread::yield_now();
    }
}

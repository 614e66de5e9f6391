//! What becomes of a family when one of it ends, in whichever way; and of programs that are no children.
//!
//! Each case starts this program again in one of the parts below, as a user would, and looks at what that and its
//! children write. Whoever lives holds the standard output open, so its end says that nobody is left.

mod parts;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("guard_waits_for_children", guard_waits_for_children),
    ("exit_waits_for_children", exit_waits_for_children),
    ("panic_in_main_waits_for_children", panic_in_main_waits_for_children),
    ("daemons_are_terminated_at_the_end", daemons_are_terminated_at_the_end),
    #[cfg(unix)] // to terminate is to kill on Windows
    ("stubborn_daemon_is_killed_at_the_end", stubborn_daemon_is_killed_at_the_end),
    ("returning_child_waits_for_its_children", returning_child_waits_for_its_children),
    ("killed_parent_takes_all_descendants_along", killed_parent_takes_all_descendants_along),
    ("aborting_parent_takes_its_children_along", aborting_parent_takes_its_children_along),
    #[cfg(unix)] // fork
    ("fork_of_the_parent_keeps_no_child_alive", fork_of_the_parent_keeps_no_child_alive),
    #[cfg(unix)] // fork
    ("fork_uses_inherited_handles_and_ends_alone", fork_uses_inherited_handles_and_ends_alone),
    ("detached_child_outlives_a_parent_that_ends", detached_child_outlives_a_parent_that_ends),
    ("detached_child_outlives_a_parent_that_is_killed", detached_child_outlives_a_killed_parent),
    ("program_without_init_is_refused", program_without_init_is_refused),
    ("child_that_does_not_call_init_is_told", child_that_does_not_call_init_is_told),
    ("programs_of_a_child_are_no_children", programs_of_a_child_are_no_children),
    ("programs_before_init_are_no_children", programs_before_init_are_no_children),
    ("stale_marker_is_harmless", stale_marker_is_harmless),
    #[cfg(unix)] // nobody is reaped on Windows
    ("children_that_the_system_reaps_are_joined", children_that_the_system_reaps_are_joined),
    #[cfg(unix)] // on Windows `exit` runs none
    ("exit_handlers_of_a_child_run", exit_handlers_of_a_child_run),
    #[cfg(unix)] // fork
    ("request_to_a_stopped_forkserver_holds_up_no_end", request_to_a_stopped_forkserver),
    #[cfg(unix)] // fork
    ("forkserver_that_never_serves_holds_up_no_end", forkserver_that_never_serves),
    #[cfg(unix)] // fork
    ("fork_of_a_stopped_forkserver_holds_up_no_end", fork_of_a_stopped_forkserver),
];

/// Longer than anything here takes on the slowest machine.
const WATCHDOG: Duration = Duration::from_secs(60);

fn main() {
    if let Ok(part) = std::env::var(parts::PART) {
        return parts::run(&part);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |name: &str| {
        let mut filters = arguments.iter().filter(|text| !text.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let cases: Vec<&Case> = CASES.iter().filter(|case| chosen(case.0)).collect();
    if arguments.iter().any(|text| text == "--list") {
        return cases.iter().for_each(|case| println!("{}: test", case.0));
    }
    println!("\nrunning {} tests", cases.len());
    let mut failed = 0;
    for (name, case) in cases.iter().copied() {
        let begun = Instant::now();
        let running = std::thread::spawn(case);
        while !running.is_finished() {
            assert!(begun.elapsed() < WATCHDOG, "{name} hangs");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let passed = running.join().is_ok();
        failed += usize::from(!passed);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {} passed; {failed} failed\n", cases.len() - failed);
    std::process::exit(i32::from(failed != 0) * 101);
}

/// A program that runs one part.
struct Program {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

fn program(part: &str) -> Program {
    start(Command::new(std::env::current_exe().unwrap()).env(parts::PART, part))
}

fn start(command: &mut Command) -> Program {
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let input = process.stdin.take();
    let output = BufReader::new(process.stdout.take().unwrap());
    Program { process, input, output }
}

impl Program {
    /// The next line that anyone of it writes.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// One line for whoever waits for it.
    fn go_on(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go on\n").unwrap();
    }

    /// It must not end by itself now; if it does, then at once.
    #[track_caller]
    fn expect_alive(&mut self) {
        let until = Instant::now() + Duration::from_millis(200);
        while Instant::now() < until {
            assert!(self.process.try_wait().unwrap().is_none(), "it did not wait");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until nobody of it is left; what was written meanwhile, and how it ended.
    fn end(mut self) -> (Vec<String>, ExitStatus) {
        let lines = self.output.lines().map(Result::unwrap).collect();
        drop(self.input);
        (lines, self.process.wait().unwrap())
    }
}

/// Whether a program ended in no way of its own, as far as the system tells: Windows has a code for everything.
fn is_violent(status: ExitStatus) -> bool {
    if cfg!(windows) { !status.success() } else { status.code().is_none() }
}

fn waits(part: &str, code: i32) {
    let mut program = program(part);
    program.expect("child runs");
    program.expect("main ends");
    program.expect_alive();
    program.go_on();
    let (lines, status) = program.end();
    assert_eq!(lines, ["child ends"]);
    assert_eq!(status.code(), Some(code));
}

fn guard_waits_for_children() {
    waits("return", 0);
}

fn exit_waits_for_children() {
    waits("exit", 7);
}

fn panic_in_main_waits_for_children() {
    waits("panic", 101);
}

fn daemons_are_terminated_at_the_end() {
    let (lines, status) = program("daemon").end();
    assert_eq!(lines, ["main ends", "daemon: killed by SIGTERM"]);
    assert!(status.success());
}

#[cfg(unix)]
fn stubborn_daemon_is_killed_at_the_end() {
    let (lines, status) = program("stubborn daemon").end();
    assert_eq!(lines, ["main ends", "daemon: killed by SIGKILL"]);
    assert!(status.success());
}

fn returning_child_waits_for_its_children() {
    let mut program = program("grandchild");
    program.expect("grandchild runs");
    program.expect_alive();
    program.go_on();
    let (lines, status) = program.end();
    assert_eq!(lines, ["grandchild ends", "value: 5"]);
    assert!(status.success());
}

fn killed_parent_takes_all_descendants_along() {
    let mut program = program("tree");
    let mut ready: Vec<_> = (0..3).map(|_| program.line()).collect();
    ready.sort();
    assert_eq!(ready, ["child ready", "daemon ready", "grandchild ready"]);
    program.process.kill().unwrap();
    let (lines, status) = program.end();
    assert!(lines.is_empty() && is_violent(status), "{lines:?}, {status}");
}

fn aborting_parent_takes_its_children_along() {
    let (lines, status) = program("abort").end();
    assert_eq!(lines, ["child ready"]);
    assert!(is_violent(status), "{status}");
}

#[cfg(unix)]
fn fork_of_the_parent_keeps_no_child_alive() {
    let mut program = program("fork beside a child");
    program.expect("child ready");
    program.expect("fork ready");
    program.process.kill().unwrap();
    program.process.wait().unwrap();
    // The fork waits until the child is gone; without the parent nothing else ends it.
    program.expect("fork: the child is gone");
    assert!(program.end().0.is_empty());
}

#[cfg(unix)]
fn fork_uses_inherited_handles_and_ends_alone() {
    let mut program = program("fork");
    program.expect("from the fork");
    program.expect("the fork has ended");
    program.go_on();
    let (lines, status) = program.end();
    assert_eq!(lines, ["child ends"]);
    assert!(status.success());
}

fn detached_child_outlives_a_parent_that_ends() {
    let mut program = program("detach");
    program.expect("child runs");
    program.expect("main ends");
    assert!(program.process.wait().unwrap().success());
    program.go_on();
    assert_eq!(program.end().0, ["child ends"]);
}

fn detached_child_outlives_a_killed_parent() {
    let mut program = program("detach and stay");
    program.expect("child runs");
    program.expect("detached");
    program.process.kill().unwrap();
    program.process.wait().unwrap();
    program.go_on();
    assert_eq!(program.end().0, ["child ends"]);
}

fn program_without_init_is_refused() {
    let (lines, status) = program("no init").end();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("offspring::init()") && lines[0].contains("test_entry!"),
        "{lines:?}"
    );
    assert!(status.success());
}

fn child_that_does_not_call_init_is_told() {
    let (lines, status) = program("init in the parent alone").end();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("refused: start a process"), "{lines:?}");
    assert!(lines[1].contains("exited with code 0 before it began"), "{lines:?}");
    assert!(lines[1].contains("offspring::init()"), "{lines:?}");
    assert!(status.success());
}

fn programs_of_a_child_are_no_children() {
    let (lines, status) = program("program of a child").end();
    assert_eq!(lines, ["hello", "child ends"]);
    assert!(status.success());
}

fn programs_before_init_are_no_children() {
    let (lines, status) = program("program before init").end();
    assert_eq!(lines, ["hello", "hello", "child ends"]);
    assert!(status.success());
}

fn stale_marker_is_harmless() {
    for marker in ["0:1:1", "99:1:1", "", "x", "3", "0:0:0:0", "-1:1:1"] {
        let exe = std::env::current_exe().unwrap();
        let mut command = Command::new(exe);
        command.env(parts::PART, "echo").env("OFFSPRING_CHILD", marker);
        let mut program = start(&mut command);
        program.go_on();
        let (lines, status) = program.end();
        assert_eq!(lines, ["go on"], "{marker}");
        assert!(status.success());
    }
}

#[cfg(unix)]
fn exit_handlers_of_a_child_run() {
    let (lines, status) = program("exit handler").end();
    assert_eq!(lines, ["function", "exit handler"]);
    assert!(status.success());
}

#[cfg(unix)]
fn children_that_the_system_reaps_are_joined() {
    let (lines, status) = program("ignore SIGCHLD").end();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "value: 7");
    // Whether the kernel kept how it ended depends on its version.
    let told = ["killed by SIGKILL", "how is not known"];
    assert!(told.iter().any(|text| lines[1].contains(text)), "{lines:?}");
    assert!(status.success());
}

#[cfg(unix)]
fn ends_all_the_same(part: &str) {
    let mut program = program(part);
    program.expect("main ends");
    let (lines, status) = program.end();
    assert!(lines.is_empty() && status.success(), "{lines:?} {status}");
}

#[cfg(unix)]
fn request_to_a_stopped_forkserver() {
    ends_all_the_same("ask a stopped server");
}

#[cfg(unix)]
fn forkserver_that_never_serves() {
    ends_all_the_same("await a stopped server");
}

#[cfg(unix)]
fn fork_of_a_stopped_forkserver() {
    ends_all_the_same("child of a stopped server");
}

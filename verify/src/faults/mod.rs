//! The stage `faults`: what a pool's user sees after one fault, by us and by the pools of Python, each as a real program.
//!
//! Every case is a process of its own, which prints one line: ours is this program again (`ours.rs`), the peers' a Python program
//! (`peers.py`). A case that says nothing for `PATIENCE` is told as silence, and ended. A row holds if *our* line says that
//! all is well; the peers' are for comparison, and left out where there is no `python3`, and in the quick version.

mod ours;

use crate::report::{Progress, Report, Row, Settings};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The first argument of our program for a case.
const CASE: &str = "faults-case";
/// How long a case may be silent.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long workers whose parent was killed are looked for.
const ORPHANS: Duration = Duration::from_secs(3);

const PEERS: &str = include_str!("peers.py");

/// What happens, and whether the line tells numbers of workers whose parent is to be killed then.
const CASES: [(&str, &str, bool); 7] = [
    ("killed", "a worker kills itself in a task; then the next task", false),
    ("unreadable", "a result that cannot be read back; then the next task", false),
    ("unsendable", "a result that cannot be sent; then the next task", false),
    ("initialiser", "the workers' initialiser fails", false),
    ("exit", "a task calls exit(3); then the next task", false),
    ("idle", "the parent is killed while its workers are idle", true),
    ("busy", "the parent is killed while its workers are busy", true),
];

/// Tasks whose workers end after 1 to 10 of them: in the full version, and in the quick one.
const TASKS: u64 = 100_000;
const TASKS_QUICK: u64 = 2_000;
/// How long those may take: a process is started for every three of them or so.
const MOST_MANY: Duration = Duration::from_secs(900);
const MANY: &str = "many";

/// Runs every case.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    let wants = |name: &str| settings.only.as_deref().is_none_or(|only| name.contains(only));
    for (name, what, orphans) in CASES.into_iter().filter(|(name, ..)| wants(name)) {
        progress.say(what);
        let begin = Instant::now();
        let us = || {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([CASE, name]);
            Ok(command)
        };
        if settings.quick {
            let ours = see(us, orphans, PATIENCE);
            let extent = ours.to_string().replace("good: ", "");
            let verdict = ours.verdict();
            report.rows.push(Row { name: what.to_owned(), extent, took: begin.elapsed(), verdict });
            continue;
        }
        let python = |pool: &'static str| {
            move || {
                let mut command = Command::new("python3");
                command.args(["-c", PEERS, pool, name]);
                Ok(command)
            }
        };
        let (ours, pool, futures) = std::thread::scope(|scope| {
            let ours = scope.spawn(|| see(us, orphans, PATIENCE));
            let pool = scope.spawn(|| see(python("pool"), orphans, PATIENCE));
            let futures = scope.spawn(|| see(python("futures"), orphans, PATIENCE));
            let get = |seen: std::thread::ScopedJoinHandle<'_, Seen>| {
                seen.join().unwrap_or(Seen::Missing("it could not be looked at".into()))
            };
            (get(ours), get(pool), get(futures))
        });
        let verdict = ours.verdict();
        let extent = format!("{ours} | CPython Pool: {pool} | concurrent.futures: {futures}");
        let extent = extent.replace("good: ", "");
        report.rows.push(Row { name: what.to_owned(), extent, took: begin.elapsed(), verdict });
    }
    if wants(MANY) {
        let tasks = if settings.quick { TASKS_QUICK } else { TASKS };
        let what = format!("{tasks} tasks, by workers that end after 1 to 10 of them");
        progress.say(what.clone());
        let begin = Instant::now();
        let us = || {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([CASE, MANY, &tasks.to_string()]);
            Ok(command)
        };
        let ours = see(us, false, MOST_MANY);
        let extent = ours.to_string().replace("good: ", "");
        let verdict = ours.verdict();
        report.rows.push(Row { name: what, extent, took: begin.elapsed(), verdict });
    }
    report
}

/// What came of a case.
enum Seen {
    Said(String),
    Silence(Duration),
    Missing(String),
}

impl Seen {
    /// Of ours.
    fn verdict(&self) -> Result<(), String> {
        match self {
            Self::Said(line) if line.starts_with("good: ") => Ok(()),
            other => Err(format!("  ours: {other}")),
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(line) => f.write_str(line),
            Self::Silence(patience) => write!(f, "NOTHING for {} s", patience.as_secs()),
            Self::Missing(why) => write!(f, "({why})"),
        }
    }
}

fn see(
    command: impl FnOnce() -> std::io::Result<Command>,
    orphans: bool,
    patience: Duration,
) -> Seen {
    let started = command().and_then(|mut command| {
        // A group of its own, so that whatever it leaves behind can be ended.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    });
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return Seen::Missing(error.to_string()),
    };
    let line = first_line(&mut child, patience);
    let group = child.id() as i32;
    let end = |mut child: Child| {
        let _ = child.kill();
        let _ = child.wait();
    };
    let seen = match line {
        None => Seen::Silence(patience),
        Some(line) if line.is_empty() => Seen::Missing("it ended without a word".into()),
        Some(line) if orphans => {
            let workers: Vec<u32> = line.split(' ').filter_map(|pid| pid.parse().ok()).collect();
            end(child);
            return outlived(&workers);
        }
        Some(line) => Seen::Said(line),
    };
    end(child);
    // SAFETY: takes integers. The group was made for this case; if nobody is left in it, nothing happens.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    seen
}

/// What the case prints first; `None` if nothing comes. Its workers may keep the pipe open, so one line is all that is read.
fn first_line(child: &mut Child, patience: Duration) -> Option<String> {
    let mut out = child.stdout.take()?;
    let (send, line) = channel();
    std::thread::spawn(move || {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while out.read_exact(&mut byte).is_ok() && byte != *b"\n" {
            line.push(byte[0]);
        }
        let _ = send.send(String::from_utf8_lossy(&line).into_owned());
    });
    line.recv_timeout(patience).ok()
}

/// How long these processes, whose parent was just killed, go on. Those that do are ended.
fn outlived(workers: &[u32]) -> Seen {
    if workers.is_empty() {
        return Seen::Missing("it named no workers".into());
    }
    let begin = Instant::now();
    let lives = |pid: &&u32| {
        // Nobody reaps them in some containers.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    loop {
        let left: Vec<&u32> = workers.iter().filter(lives).collect();
        if left.is_empty() {
            return Seen::Said(format!("good: gone after {:.0?}", begin.elapsed()));
        }
        if begin.elapsed() > ORPHANS {
            for pid in &left {
                // SAFETY: takes integers. They were started for this case, and lived a moment ago.
                unsafe { libc::kill(**pid as i32, libc::SIGKILL) };
            }
            return Seen::Said(format!("{} SURVIVE for {} s", left.len(), ORPHANS.as_secs()));
        }
        // Of processes that are nobody's children only looking again tells.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs one of our cases, if that is what this process was started for. Before anything else in `main`.
#[must_use]
pub fn inner_process() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != CASE {
        return None;
    }
    let _main = offspring::init();
    let case = arguments.next()?;
    println!("{}", ours::case(&case, arguments.next()));
    Some(ExitCode::SUCCESS)
}

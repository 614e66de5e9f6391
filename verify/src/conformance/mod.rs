//! The stage `conformance`: every promise of the platform seam, tested once, run against every back end that there is here.
//!
//! A back end is an implementation of `offspring_core::part::System`: the operating system's, with real processes, and the one
//! of threads. Each test is generic over it. It runs in a process of its own, the *examiner*, which starts participants and
//! tells them line by line what to do; so a test that hangs is ended, and is a violation. Then back ends that break a
//! promise are run, and the suite must name the promise.
//!
//! | file | what |
//! |---|---|
//! | `promises` | the list of promises, compared with the documentation that makes them |
//! | `bench` | a back end as the suite knows it; `unix`, `windows`: what the system does for it |
//! | `mate` | a participant: a process or thread that does as it is told |
//! | `scene` | a family, a board of words in its arena, and what participants do with them |
//! | `arena`, `waiting`, `names`, `deaths` | the tests |
//! | `fault` | back ends with one mistake planted |

mod arena;
mod bench;
mod deaths;
mod fault;
mod mate;
mod names;
mod promises;
mod scene;
#[cfg(unix)]
mod unix;
mod waiting;
#[cfg(windows)]
mod windows;

use crate::report::{Progress, Report, Row, Settings};
use bench::{Bench, Processes, system};
use fault::{Broken, PLANTED};
use mate::Orders;
use offspring_core::part::in_process::InProcess;
use promises::{PROMISES, Promise};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The first arguments of an examiner and of a participant.
const EXAM: &str = "conformance-exam";
const MATE: &str = "conformance-mate";

/// How many seconds a participant may take to answer: of a whole back end, and of a broken one.
const PATIENCE: u64 = 20;
const PATIENCE_BROKEN: u64 = 3;
/// How long a test may take, in multiples of that.
const LONGEST: u64 = 9;

/// A test: on success nothing, else what is wrong. Gets how many seconds an answer may take.
struct Test {
    name: &'static str,
    /// The promises that it is about.
    holds: &'static [&'static str],
    run: fn(u64) -> Result<(), String>,
}

fn test(
    name: &'static str,
    holds: &'static [&'static str],
    run: fn(u64) -> Result<(), String>,
) -> Test {
    Test { name, holds, run }
}

/// `Err` if something does not hold.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn tests<S: Bench>() -> Vec<Test> {
    let mut tests = arena::tests::<S>();
    tests.extend(waiting::tests::<S>());
    tests.extend(names::tests::<S>());
    tests.extend(deaths::tests::<S>());
    tests
}

/// The tests of a back end, whole or broken.
fn tests_of(backend: &str, broken: bool) -> Vec<Test> {
    match (backend, broken) {
        (<InProcess as Bench>::NAME, false) => tests::<InProcess>(),
        (<InProcess as Bench>::NAME, true) => tests::<Broken<InProcess>>(),
        (_, false) => tests::<Processes>(),
        (_, true) => tests::<Broken<Processes>>(),
    }
}

const BACKENDS: [&str; 2] = [<Processes as Bench>::NAME, <InProcess as Bench>::NAME];

/// What was found of one test.
struct Found {
    holds: &'static [&'static str],
    took: Duration,
    verdict: Result<(), String>,
    /// It came from the test itself: the examiner neither hung nor fell.
    judged: bool,
}

/// Runs every test against every back end, then the broken back ends.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    report.row("promises, tests and documentation", || {
        let wrong = uncovered();
        let extent =
            format!("{} promises, {} tests", PROMISES.len(), tests_of(BACKENDS[0], false).len());
        (extent, if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) })
    });
    let count = tests_of(BACKENDS[0], false).len();
    progress.expect(BACKENDS.len() * (count + PLANTED.len()));
    for backend in BACKENDS {
        let found: Vec<Found> = tests_of(backend, false)
            .iter()
            .filter(|test| {
                settings.wants(test.name) || test.holds.iter().any(|id| settings.wants(id))
            })
            .map(|test| {
                progress.say(format!("{backend}: {}", test.name));
                let found = examine(backend, test, 0);
                progress.step();
                found
            })
            .collect();
        report.rows.extend(PROMISES.iter().filter_map(|promise| {
            let wanted = settings.wants(promise.id) || settings.only.is_none();
            let about: Vec<&Found> =
                found.iter().filter(|found| found.holds.contains(&promise.id)).collect();
            (wanted || !about.is_empty()).then(|| row(promise, backend, &about))
        }));
    }
    for backend in BACKENDS {
        for planted in PLANTED {
            let here = backend != <InProcess as Bench>::NAME || planted.in_threads;
            let possible = planted.fault != fault::Fault::SameGeneration || cfg!(unix);
            let wanted = settings.wants(planted.breaks) || settings.wants("broken");
            progress.step();
            if !here || !possible || !wanted {
                continue;
            }
            progress.say(format!("{backend}, but {}", planted.says));
            report.rows.push(broken(backend, planted));
        }
    }
    report
}

/// One line for a promise and a back end.
fn row(promise: &Promise, backend: &str, about: &[&Found]) -> Row {
    let wrong: Vec<String> = about
        .iter()
        .filter_map(|found| found.verdict.as_ref().err().map(|error| format!("  {error}")))
        .collect();
    let verdict = match about {
        [] => Err("  no test of it ran".to_owned()),
        _ if wrong.is_empty() => Ok(()),
        _ => Err(wrong.join("\n")),
    };
    Row {
        name: format!("{:3} {backend}", promise.id),
        extent: promise.says.to_owned(),
        took: about.iter().map(|found| found.took).sum(),
        verdict,
    }
}

/// Runs the tests of the promise that a fault breaks; one of them must say so.
fn broken(backend: &str, planted: &fault::Planted) -> Row {
    let begin = Instant::now();
    let tests = tests_of(backend, true);
    let mut missed = vec!["  the promise is broken, and no test of it says so".to_owned()];
    let about = tests.iter().filter(|test| test.holds.contains(&planted.breaks));
    let caught = about.map(|test| examine(backend, test, planted.fault as u32)).any(|found| {
        missed.extend(found.verdict.as_ref().err().map(|error| format!("  {error}")));
        found.verdict.is_err() && found.judged
    });
    Row {
        name: format!("{:3} {backend}, broken", planted.breaks),
        extent: planted.says.to_owned(),
        took: begin.elapsed(),
        verdict: if caught { Ok(()) } else { Err(missed.join("\n")) },
    }
}

/// What of promises, tests and documentation does not belong together.
fn uncovered() -> Vec<String> {
    let mut wrong = promises::differences();
    for backend in BACKENDS {
        let tests = tests_of(backend, false);
        let held: Vec<&str> = tests.iter().flat_map(|test| test.holds).copied().collect();
        for promise in PROMISES {
            if !held.contains(&promise.id) {
                wrong.push(format!("  {}: no test for {backend} holds it", promise.id));
            }
        }
        for id in held {
            if !PROMISES.iter().any(|promise| promise.id == id) {
                wrong.push(format!("  {id}: tested for {backend}, and nobody promises it"));
            }
        }
        let mut names = BTreeMap::new();
        for test in &tests {
            if names.insert(test.name, ()).is_some() {
                wrong.push(format!("  {}: two tests have this name", test.name));
            }
        }
    }
    wrong
}

/// Runs a test in a process of its own.
fn examine(backend: &str, test: &Test, fault: u32) -> Found {
    let begin = Instant::now();
    let (verdict, judged) = match run_examiner(backend, test, fault) {
        Ok(verdict) => (verdict, true),
        Err(error) => (Err(error), false),
    };
    let verdict = verdict.map_err(|error| format!("{}: {error}", test.name));
    Found { holds: test.holds, took: begin.elapsed(), verdict, judged }
}

/// The test's own verdict; `Err` if its process came to none.
fn run_examiner(backend: &str, test: &Test, fault: u32) -> Result<Result<(), String>, String> {
    let failed = |error: std::io::Error| format!("start the examiner: {error}");
    let quiet = fault != 0;
    let patience = if quiet { PATIENCE_BROKEN } else { PATIENCE };
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args([EXAM, backend, test.name, &fault.to_string(), &patience.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if quiet { Stdio::null() } else { Stdio::inherit() })
        .spawn()
        .map_err(failed)?;
    let verdict = hear(&mut child, Duration::from_secs(LONGEST * patience));
    let _ = child.kill();
    let status = child.wait().map_err(failed)?;
    verdict?.ok_or_else(|| format!("the examiner ended without a verdict: {status}"))
}

/// The examiner's verdict; `None` if it ended without one.
fn hear(child: &mut Child, within: Duration) -> Result<Option<Result<(), String>>, String> {
    let Some(output) = child.stdout.take() else { return Ok(None) };
    let (say, said) = channel();
    std::thread::spawn(move || {
        // Nobody else holds the pipe: participants have pipes of their own.
        let mut line = String::new();
        let mut output = BufReader::new(output);
        let _ = output.read_line(&mut line);
        let _ = say.send(line);
        let _ = output.read_to_string(&mut String::new());
    });
    match said.recv_timeout(within) {
        Ok(line) => Ok(match line.trim_end() {
            "held" => Some(Ok(())),
            other => other.strip_prefix("violated ").map(|error| Err(error.to_owned())),
        }),
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("no end within {} s: somebody sleeps for ever", within.as_secs()))
        }
        Err(RecvTimeoutError::Disconnected) => Ok(None),
    }
}

/// If this process is an examiner or a participant: its life.
pub fn inner_process() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == EXAM => Some(exam(rest)),
        Some((first, rest)) if first == MATE => Some(participate(rest)),
        _ => None,
    }
}

fn exam(arguments: &[String]) -> ExitCode {
    let [backend, name, fault, patience] = arguments else { return ExitCode::from(2) };
    let (Ok(fault), Ok(patience)) = (fault.parse(), patience.parse()) else {
        return ExitCode::from(2);
    };
    fault::plant(fault);
    let tests = tests_of(backend, fault != 0);
    let Some(test) = tests.iter().find(|test| test.name == *name) else { return ExitCode::from(2) };
    match (test.run)(patience) {
        Ok(()) => println!("held"),
        Err(error) => println!("violated {}", error.replace('\n', " ")),
    }
    // Threads that take part may be asleep for good.
    std::process::exit(0)
}

fn participate(arguments: &[String]) -> ExitCode {
    let Some((_, numbers)) = arguments.split_first() else { return ExitCode::from(2) };
    let Some(orders) = Orders::from_arguments(numbers) else { return ExitCode::from(2) };
    fault::plant(orders.fault);
    // SAFETY: the examiner handed the arena to this process under that number; nothing has run yet that could take it.
    let arena = unsafe { system::handed(orders.arena) };
    match orders.fault {
        0 => mate::live_as_process::<Processes>(arena, &orders),
        _ => mate::live_as_process::<Broken<Processes>>(arena, &orders),
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests_of_the_suite {
    use super::*;

    #[test]
    fn every_promise_has_a_test_and_every_test_a_promise() {
        assert_eq!(uncovered(), Vec::<String>::new());
    }

    #[test]
    fn every_planted_fault_breaks_a_promise_that_is_tested() {
        for planted in PLANTED {
            assert!(PROMISES.iter().any(|promise| promise.id == planted.breaks), "{planted:?}");
        }
    }

    #[test]
    fn promise_without_a_test_that_ran_is_a_violation() {
        assert!(row(&PROMISES[0], "nowhere", &[]).verdict.is_err());
    }
}

//! The stage `parity`: each behaviour of Python's `multiprocessing` that is ours, too, and the tests that hold it.
//!
//! A table maps rows to tests by name; the stage runs the test programs that the tables name, and fails for a row
//! one of whose tests did not run, was ignored, or failed. Each part of the library keeps its rows in a file of its own
//! here, and enters it in `TABLES`.
//!
//! A row is named as in the list of behaviours: `P1` (processes), `S1` (start methods), …, and `C1` for the first of those
//! that CPython's own tests pin.

mod pool;
mod processes;

use crate::report::{Progress, Report, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// One behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Its row.
    pub row: &'static str,
    /// It, in few words.
    pub what: &'static str,
    /// What holds it.
    pub held: Held,
}

/// What holds a behaviour.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    /// These tests: `program::test`, where `doc` is the program of the documentation's examples.
    By(&'static [&'static str]),
    /// Not this part of the library: why, and which.
    Elsewhere(&'static str),
}

/// The parts' tables.
const TABLES: &[(&str, &[Behaviour])] = &[("processes", processes::ROWS), ("pool", pool::ROWS)];

/// A test's name, with its program's.
fn split(test: &str) -> Option<(&str, &str)> {
    test.split_once("::")
}

/// What became of each test of a program: the last that was said of it.
type Outcomes = BTreeMap<String, String>;

/// Reads lines such as `test name ... ok`, whatever a child wrote before it on the same line.
fn outcomes(output: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for line in output.lines() {
        let said = line.rfind("test ").and_then(|at| line[at + 5..].rsplit_once(" ... "));
        let Some((name, outcome)) = said else { continue };
        // Examples have their place and kind behind their name.
        let name = name
            .rsplit_once(" - ")
            .filter(|(_, kind)| kind.starts_with("compile"))
            .map_or(name, |(n, _)| n);
        let name = name.split(" (line").next().unwrap_or(name);
        let name = name.rsplit_once(" - ").map_or(name, |(_, name)| name).trim();
        // Several examples of one item: all of them, or none.
        let worst = outcomes.entry(name.to_owned()).or_insert_with(|| outcome.to_owned());
        if worst == "ok" {
            outcome.clone_into(worst);
        }
    }
    outcomes
}

/// Runs one test program.
fn run(program: &str) -> Result<Outcomes, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "-p", "offspring"]);
    match program {
        "doc" => command.args(["--doc", "--", "compile_fail::"]),
        program => command.args(["--test", program]),
    };
    let output = command.output().map_err(|error| format!("  run cargo test: {error}"))?;
    let found = outcomes(&String::from_utf8_lossy(&output.stdout));
    if found.is_empty() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        return Err(format!("  `{program}` ran no test:\n  {last}"));
    }
    Ok(found)
}

/// Whether a row's tests all passed; else what is wrong, a line each.
fn verdict(tests: &[&str], ran: &BTreeMap<&str, Result<Outcomes, String>>) -> Result<(), String> {
    if tests.is_empty() {
        return Err("  no test is named for it".to_owned());
    }
    let mut wrong = Vec::new();
    for test in tests {
        let said = split(test).and_then(|(program, name)| Some((ran.get(program)?, name)));
        match said {
            None => wrong.push(format!("  {test}: its program is not named as `program::test`")),
            Some((Err(error), _)) => wrong.push(error.clone()),
            Some((Ok(outcomes), name)) => match outcomes.get(name).map(String::as_str) {
                Some("ok") => {}
                Some(other) => wrong.push(format!("  {test}: {other}")),
                None => wrong.push(format!("  {test}: there is no such test, or it did not run")),
            },
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn counted(tests: usize) -> String {
    if tests == 1 { "1 test".to_owned() } else { format!("{tests} tests") }
}

/// Runs the tests that the tables name, and holds each row against them.
#[must_use]
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    let tables = TABLES.iter().filter(|(name, _)| settings.wants(name));
    let tables: Vec<_> = tables.collect();
    let programs: BTreeSet<&str> = tables
        .iter()
        .flat_map(|(_, rows)| rows.iter())
        .filter_map(|row| match row.held {
            Held::By(tests) => Some(tests),
            Held::Elsewhere(_) => None,
        })
        .flatten()
        .filter_map(|test| Some(split(test)?.0))
        .collect();
    let mut ran = BTreeMap::new();
    for program in programs {
        progress.say(format!("runs {program}"));
        ran.insert(program, run(program));
    }
    for (_, rows) in tables {
        for Behaviour { row, what, held } in *rows {
            report.row(&format!("{row} {what}"), || match held {
                Held::By(tests) => (counted(tests.len()), verdict(tests, &ran)),
                Held::Elsewhere(place) => (format!("({place})"), Ok(())),
            });
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_from_any_harness() {
        let text = "\nrunning 4 tests\ntest a ...\nsome child says test a ... ok\ntest b ... FAILED\n\
                    test c ... ignored\ntest src/x.rs - compile_fail::Twice (line 3) - compile fail ... ok\n\
                    test src/x.rs - compile_fail::Twice (line 9) - compile fail ... FAILED\n\
                    test src/x.rs - compile_fail::Once (line 12) - compile fail ... ok\n\
                    test result: ok. 1 passed";
        let found = outcomes(text);
        let get = |name: &str| found.get(name).map(String::as_str);
        assert_eq!((get("a"), get("b"), get("c")), (Some("ok"), Some("FAILED"), Some("ignored")));
        assert_eq!(get("compile_fail::Twice"), Some("FAILED"));
        assert_eq!(get("compile_fail::Once"), Some("ok"));
    }

    #[test]
    fn row_without_its_test_does_not_pass() {
        let ok = BTreeMap::from([("p", Ok(outcomes("test a ... ok\ntest b ... ignored")))]);
        assert!(verdict(&["p::a"], &ok).is_ok());
        for tests in [&["p::a", "p::b"][..], &["p::missing"], &["q::a"], &["a"], &[]] {
            assert!(verdict(tests, &ok).is_err(), "{tests:?}");
        }
        let broken = BTreeMap::from([("p", Err("  it does not build".to_owned()))]);
        assert!(verdict(&["p::a"], &broken).is_err());
    }

    #[test]
    fn no_row_is_there_twice() {
        let rows: Vec<_> = TABLES.iter().flat_map(|(_, rows)| rows.iter().map(|r| r.row)).collect();
        assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len());
    }
}

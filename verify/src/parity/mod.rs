//! The stage `parity`: each behaviour of Python's `multiprocessing` that is ours, too, and the tests that hold it.
//!
//! A table maps rows to tests by name; the stage runs the test programs that the tables name, and fails for a row
//! one of whose tests did not run, was ignored, or failed. Each part of the library keeps its rows in a file of its own
//! here, and enters it in `TABLES`.
//!
//! Each system is a column of its own, and every column comes from a run: this machine's, and with `--wine` (or where cargo is told how
//! to run Windows programs) that of the Windows build under Wine. A row that says nothing of a system names the reason.
//!
//! A row is named as in the list of behaviours: `P1` (processes), `S1` (start methods), …, and `C1` for the first of those
//! that CPython's own tests pin.

mod pool;
mod processes;
mod run;

use crate::report::{Progress, Report, Settings};
use run::{Outcomes, Place, run, split};
use std::collections::{BTreeMap, BTreeSet};

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

/// Names of tests, as `run::split` reads them.
pub type Tests = &'static [&'static str];

/// What holds a behaviour.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    /// These tests, on every system.
    By(Tests),
    /// These tests on Unix; elsewhere there is no such behaviour, for the reason given.
    UnixOnly(Tests, &'static str),
    /// The first tests on every system, the second ones on Unix besides; elsewhere that part of it does not exist, for the reason
    /// given.
    AndOnUnix(Tests, Tests, &'static str),
    /// The first tests on Unix, the second ones on Windows: what holds it there is made in another way.
    Each(Tests, Tests),
    /// These tests on Windows; elsewhere there is no such behaviour, for the reason given.
    WindowsOnly(Tests, &'static str),
    /// Not this part of the library: why, and which.
    Elsewhere(&'static str),
}

impl Held {
    /// The tests that hold it at `place`; else why there are none.
    fn at(self, place: Place) -> Result<Vec<&'static str>, &'static str> {
        match self {
            Self::By(tests) => Ok(tests.to_vec()),
            Self::UnixOnly(tests, _) if place.is_unix() => Ok(tests.to_vec()),
            Self::WindowsOnly(tests, _) if !place.is_unix() => Ok(tests.to_vec()),
            Self::AndOnUnix(tests, more, _) if place.is_unix() => Ok([tests, more].concat()),
            Self::AndOnUnix(tests, ..) => Ok(tests.to_vec()),
            Self::Each(tests, _) if place.is_unix() => Ok(tests.to_vec()),
            Self::Each(_, tests) => Ok(tests.to_vec()),
            Self::UnixOnly(_, why) | Self::WindowsOnly(_, why) | Self::Elsewhere(why) => Err(why),
        }
    }
}

/// The parts' tables.
const TABLES: &[(&str, &[Behaviour])] = &[("processes", processes::ROWS), ("pool", pool::ROWS)];

/// What came of each program.
type Ran<'a> = BTreeMap<&'a str, Result<Outcomes, String>>;

/// Whether a row's tests all passed; else what is wrong, a line each.
fn verdict(tests: &[&str], ran: &Ran<'_>) -> Result<(), String> {
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

/// What a place's column says of a row, and whether that is as it must be.
fn cell(held: Held, place: Place, ran: &Ran<'_>) -> (String, Result<(), String>) {
    match held.at(place) {
        Ok(tests) => (counted(tests.len()), verdict(&tests, ran)),
        Err(why) => (format!("({why})"), Ok(())),
    }
}

/// Runs the tests that the tables name, wherever they can run, and holds each row against them.
#[must_use]
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    let tables = TABLES.iter().filter(|(name, _)| settings.wants(name));
    let rows: Vec<&Behaviour> = tables.flat_map(|(_, rows)| rows.iter()).collect();
    let wine = settings.wine || Place::has_runner();
    let places = [Place::Here].into_iter().chain(wine.then_some(Place::Wine));
    let mut columns = Vec::new();
    for place in places {
        let tests = rows.iter().filter_map(|row| row.held.at(place).ok()).flatten();
        let programs: BTreeSet<&str> = tests.filter_map(|test| Some(split(test)?.0)).collect();
        let mut ran = Ran::new();
        for program in programs {
            progress.say(format!("runs {program} ({})", place.name()));
            ran.insert(program, run(program, place));
        }
        columns.push((place, ran));
    }
    for Behaviour { row, what, held } in rows {
        report.row(&format!("{row} {what}"), || {
            let mut wrong = Vec::new();
            let cells: Vec<_> = columns
                .iter()
                .map(|(place, ran)| {
                    let (extent, verdict) = cell(*held, *place, ran);
                    wrong.extend(verdict.err().map(|text| format!("{}:\n{text}", place.name())));
                    format!("{}: {extent:12}", place.name())
                })
                .collect();
            let verdict = if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) };
            (cells.join("  ").trim_end().to_owned(), verdict)
        });
    }
    report
}

#[cfg(test)]
mod tests {
    use super::run::outcomes;
    use super::*;

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

    #[test]
    fn what_one_system_lacks_is_held_by_the_other_and_says_why() {
        let (all, more): (Tests, Tests) = (&["p::a"], &["p::b"]);
        assert_eq!(Held::By(all).at(Place::Wine), Ok(vec!["p::a"]));
        assert_eq!(Held::UnixOnly(all, "no fork").at(Place::Wine), Err("no fork"));
        assert_eq!(Held::AndOnUnix(all, more, "").at(Place::Wine), Ok(vec!["p::a"]));
        assert_eq!(Held::WindowsOnly(all, "").at(Place::Wine), Ok(vec!["p::a"]));
        assert_eq!(Held::Each(all, more).at(Place::Wine), Ok(vec!["p::b"]));
        if cfg!(unix) {
            assert_eq!(Held::Each(all, more).at(Place::Here), Ok(vec!["p::a"]));
            assert_eq!(Held::UnixOnly(all, "").at(Place::Here), Ok(vec!["p::a"]));
            assert_eq!(Held::AndOnUnix(all, more, "").at(Place::Here), Ok(vec!["p::a", "p::b"]));
            assert_eq!(Held::WindowsOnly(all, "codes").at(Place::Here), Err("codes"));
        }
    }

    #[test]
    fn every_row_names_tests_or_a_reason() {
        for row in TABLES.iter().flat_map(|(_, rows)| rows.iter()) {
            for place in [Place::Here, Place::Wine] {
                match row.held.at(place) {
                    Ok(tests) => assert!(!tests.is_empty(), "{}", row.row),
                    Err(why) => assert!(!why.is_empty(), "{}", row.row),
                }
            }
        }
    }
}

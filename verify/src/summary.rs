//! The stage `report`: writes `verify/REPORT.md` from what the other stages found when they last ran.
//!
//! Each stage leaves its closing table beside the build's files, one row a line between tabs, with how it was called. A
//! later run with `--only` replaces the rows of the same names and keeps the rest.

use crate::report::{Progress, Report, Row, Settings};
use crate::restart;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Rows that one table of the report shows; of more, the first and the last.
const MOST_ROWS: usize = 60;

fn folder() -> PathBuf {
    restart::plain_target().join("verify")
}

/// One row as it was saved.
struct Saved {
    how: String,
    when: u64,
    row: Row,
}

/// Keeps what `stage` found, for the report.
///
/// # Errors
///
/// The file beside the build's cannot be written.
pub fn save(stage: &str, settings: &Settings, report: &Report) -> io::Result<()> {
    let part = settings.only.is_some() || settings.object.is_some();
    let mut rows = if part { load(stage) } else { Vec::new() };
    let when = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let how = called(stage, settings);
    for row in &report.rows {
        let saved = Saved { how: how.clone(), when, row: row.clone() };
        match rows.iter_mut().find(|other| other.row.name == row.name) {
            Some(old) => *old = saved,
            None => rows.push(saved),
        }
    }
    let mut text = String::new();
    for Saved { how, when, row } in rows {
        let verdict = match &row.verdict {
            Ok(()) => "ok".to_owned(),
            Err(what) => flat(what),
        };
        let took = row.took.as_secs_f64();
        let (name, extent) = (flat(&row.name), flat(&row.extent));
        let _ = writeln!(text, "{how}\t{when}\t{name}\t{extent}\t{took:.2}\t{verdict}");
    }
    fs::create_dir_all(folder())?;
    fs::write(folder().join(format!("{stage}.tsv")), text)
}

fn flat(text: &str) -> String {
    text.replace(['\t', '\n'], " ")
}

fn called(stage: &str, settings: &Settings) -> String {
    let mut how = format!("cargo verify {stage}");
    for (is, text) in [(settings.quick, " --quick"), (settings.threads, " --threads")] {
        how.push_str(if is { text } else { "" });
    }
    if let Some(seconds) = settings.seconds {
        let _ = write!(how, " --seconds {seconds}");
    }
    how
}

fn load(stage: &str) -> Vec<Saved> {
    let text = fs::read_to_string(folder().join(format!("{stage}.tsv"))).unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Saved> {
    let mut parts = line.splitn(6, '\t');
    let (how, when) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    let (name, extent) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let took = Duration::from_secs_f64(parts.next()?.parse().ok()?);
    let verdict = match parts.next()? {
        "ok" => Ok(()),
        wrong => Err(wrong.to_owned()),
    };
    Some(Saved { how, when, row: Row { name, extent, took, verdict } })
}

/// Writes the report: one table for each stage that ran. Fails if none did, or if one found something.
pub fn stage(stages: &[&'static str], _: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    let mut text = String::from(
        "# What the verification found\n\nWritten by `cargo verify report` from the last run of each stage. \
         `verify/README.md` says what each of them shows and what it does not.\n",
    );
    for stage in stages {
        progress.say(*stage);
        let rows = load(stage);
        if rows.is_empty() {
            let _ = write!(text, "\n## {stage}\n\nNot run.\n");
            continue;
        }
        let bad = rows.iter().filter(|saved| saved.row.verdict.is_err()).count();
        table(&mut text, stage, &rows);
        report.row(stage, || {
            let verdict = if bad == 0 { Ok(()) } else { Err(format!("{bad} rows are violations")) };
            (format!("{} rows", rows.len()), verdict)
        });
    }
    let path = Path::new(restart::WORKSPACE).join("verify/REPORT.md");
    report.row("verify/REPORT.md", || {
        let written = fs::write(&path, &text).map_err(|error| format!("write it: {error}"));
        (format!("{} lines", text.lines().count()), written)
    });
    report
}

fn table(text: &mut String, stage: &str, rows: &[Saved]) {
    let newest = rows.iter().map(|saved| saved.when).max().unwrap_or(0);
    let how = rows.last().map_or("", |saved| saved.how.as_str());
    let _ = write!(
        text,
        "\n## {stage}\n\n`{how}`, {}. {} checks.\n\n| what | extent | seconds | verdict |\n|---|---|---|---|\n",
        day(newest),
        rows.len()
    );
    let cut = rows.len() > MOST_ROWS;
    let shown = rows.iter().enumerate().filter(|(i, saved)| {
        !cut || *i < MOST_ROWS || *i + 1 == rows.len() || saved.row.verdict.is_err()
    });
    for (_, saved) in shown {
        let row = &saved.row;
        let verdict = match &row.verdict {
            Ok(()) => "ok".to_owned(),
            Err(what) => format!("**violation**: {}", what.chars().take(200).collect::<String>()),
        };
        let cell =
            |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let took = row.took.as_secs_f64();
        let _ = writeln!(
            text,
            "| {} | {} | {took:.1} | {} |",
            cell(&row.name),
            cell(&row.extent),
            cell(&verdict)
        );
    }
    if cut {
        let _ = write!(text, "\n{} rows are not shown, all held.\n", rows.len() - MOST_ROWS - 1);
    }
}

/// The date of a time in seconds since 1970, by the calendar's arithmetic.
fn day(seconds: u64) -> String {
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(1_735_689_599), "2024-12-31");
    }

    #[test]
    fn saved_row_is_read_again() {
        let saved = parse("cargo verify kill --quick\t7\tkills\t9 of them\t1.50\tok").unwrap();
        assert_eq!((saved.row.name.as_str(), saved.row.verdict.is_ok()), ("kills", true));
        assert!(parse("cargo verify kill\t7\tkills\t9\t1.5\tlost").unwrap().row.verdict.is_err());
    }
}

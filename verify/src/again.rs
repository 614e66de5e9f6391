//! A stage that needs a process of its own, of one thread: starts this program again, and makes rows of what that prints.
//!
//! The inner process prints lines: `say`, tab, what is going on; `row`, tab, name, tab, extent, tab, what is wrong
//! (nothing if all held; newlines are escaped). Everything else goes to the terminal as it is.

use crate::report::{Progress, Report, Row};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Starts `command` (this program, with arguments that its `main` knows) and waits for its rows. `again` says how to run the
/// same thing once more.
pub fn collect(mut command: Command, progress: &Progress, again: &str) -> Report {
    let mut report = Report::default();
    let mut begin = Instant::now();
    let mut last = String::new();
    let failure = match command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn() {
        Err(error) => Some(format!("start this program again: {error}")),
        Ok(mut child) => {
            for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines())
            {
                let Ok(line) = line else { break };
                match line.split_once('\t') {
                    Some(("say", what)) => {
                        last = what.to_owned();
                        progress.say(what);
                    }
                    Some(("row", row)) => {
                        report.rows.extend(parse(row, begin));
                        begin = Instant::now();
                    }
                    _ => println!("{line}"),
                }
            }
            match child.wait() {
                Ok(status) if status.success() => None,
                Ok(status) => Some(format!("it ended with {status}, at: {last}")),
                Err(error) => Some(format!("wait for it: {error}")),
            }
        }
    };
    if let Some(what) = failure {
        let verdict = Err(format!("{what}\n{again}"));
        let name = "the inner process".to_owned();
        report.rows.push(Row { name, extent: String::new(), took: begin.elapsed(), verdict });
    }
    report
}

/// This program, to be started again as `argument`.
///
/// # Errors
///
/// The system does not say where it is.
pub fn this_program(argument: &str) -> Result<Command, String> {
    let exe = env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let mut command = Command::new(exe);
    command.arg(argument);
    Ok(command)
}

/// In the inner process: what is going on. Written at once, so that it is the last word if this process is ended.
pub fn say(what: &str) {
    println!("say\t{}", what.replace('\n', " "));
    let _ = std::io::stdout().flush(); // nobody to be told if the other end is gone
}

/// In the inner process: a row.
pub fn row(name: &str, extent: &str, wrong: Option<&str>) {
    let wrong = wrong.unwrap_or("").replace('\t', " ").replace('\n', "\\n");
    println!("row\t{name}\t{extent}\t{wrong}");
    let _ = std::io::stdout().flush(); // as above
}

fn parse(line: &str, begin: Instant) -> Option<Row> {
    let mut parts = line.splitn(3, '\t');
    let (name, extent, wrong) = (parts.next()?, parts.next()?, parts.next()?.replace("\\n", "\n"));
    let verdict = if wrong.is_empty() { Ok(()) } else { Err(wrong) };
    Some(Row { name: name.to_owned(), extent: extent.to_owned(), took: begin.elapsed(), verdict })
}

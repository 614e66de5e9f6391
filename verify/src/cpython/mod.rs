//! The stage `cpython`: what a kill leaves of a queue, in Python's `multiprocessing` and here, side by side.
//!
//! Each scenario is a small Python program and the same steps here; both say in a word how the survivor fared. Ours must get
//! what it waits for; what Python says is printed as it is, and is no verdict.

mod ours;
mod scenarios;

use crate::again;
use crate::report::{Progress, Report, Settings};
use scenarios::{ALL, Scenario};
use std::env;
use std::process::{Command, ExitCode, Stdio};

/// The first argument of the process that plays ours.
const HARNESS: &str = "cpython-harness";

/// Runs every scenario on both.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    let version = Command::new("python3").arg("--version").output();
    let version = version.ok().filter(|output| output.status.success());
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let Some(version) = version else {
        report
            .row("python3", || (String::new(), Err("there is no python3 to compare with".into())));
        return report;
    };
    for (number, scenario) in ALL.iter().enumerate() {
        if !settings.wants(scenario.name) {
            continue;
        }
        progress.say(scenario.name);
        let theirs = python(scenario);
        report.row(scenario.name, || {
            let ours = ours(number);
            let (word, verdict) = match ours {
                Ok(word) => (word, Ok(())),
                Err(what) => ("fails".to_owned(), Err(what)),
            };
            (format!("{version}: {theirs}; offspring: {word}"), verdict)
        });
    }
    report
}

/// What the Python program prints; it ends itself if it is stuck.
fn python(scenario: &Scenario) -> String {
    let output = Command::new("python3")
        .args(["-c", scenario.python])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if text.is_empty() { "stuck, ended by its alarm".to_owned() } else { text }
        }
        Err(error) => format!("did not start: {error}"),
    }
}

fn ours(number: usize) -> Result<String, String> {
    let mut command = again::this_program(HARNESS)?;
    let output = command.arg(number.to_string()).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        Ok(said)
    } else {
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(format!("it ended with {}: {said} {errors}", output.status))
    }
}

/// What this process is, if the stage started it. Before anything else in `main`.
#[must_use]
pub fn inner_process() -> Option<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    if arguments.get(1).map(String::as_str) != Some(HARNESS) {
        return None;
    }
    let scenario = ALL.get(arguments.get(2)?.parse::<usize>().ok()?)?;
    Some(match ours::play(scenario.ours) {
        Ok(word) => {
            println!("{word}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    })
}

//! The stages `miri` and `tsan`: core's tests under an interpreter that knows undefined behaviour, and under the thread sanitizer.
//!
//! Both need parts of a nightly toolchain. Where these cannot be had the stage says so and fails: it never passes without
//! having looked.

use crate::report::{Progress, Report, Settings};
use crate::restart;
use std::path::Path;
use std::process::{Command, Output};

/// Old values that a weak memory may still show are loom's task; miri stops with an error of its own where a test looks at
/// the heads of regions, atomics of 4 bytes, as words of 8.
const MIRI_FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-disable-weak-memory-emulation";
/// The family's tables have thousands of entries, which the interpreter looks at for hours.
const MIRI_TESTS: [&str; 4] = ["queue::tests::", "member::", "semaphore::", "process::"];
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs core's tests in miri.
pub fn miri(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    if !has(&mut report, progress, &["miri", "rust-src"]) {
        return report;
    }
    progress.say("core's tests in miri");
    report.row("miri: core, with its in-process queues", || {
        let mut command = nightly("miri");
        command.args(["test", "--quiet", "-p", "offspring-core", "--lib"]);
        command.arg("--target-dir").arg(restart::plain_target().join("miri"));
        command.env("MIRIFLAGS", MIRI_FLAGS);
        if settings.only.is_none() {
            command.arg("--").args(MIRI_TESTS);
        }
        tests(&mut command, settings)
    });
    report
}

/// Runs core's tests with the thread sanitizer, the standard library built with it.
pub fn tsan(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    if !has(&mut report, progress, &["rust-src"]) {
        return report;
    }
    let row = |report: &mut Report, name: &str, package: &str, filter: &[&str]| {
        report.row(name, || {
            let mut command = nightly("test");
            command.args(["--quiet", "-Zbuild-std", "--target", TARGET, "-p", package, "--lib"]);
            command.arg("--target-dir").arg(restart::plain_target().join("tsan"));
            command.args(filter);
            command.env("RUSTFLAGS", "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer");
            command.env("TSAN_OPTIONS", "halt_on_error=1");
            tests(&mut command, settings)
        });
    };
    progress.say("core's tests with the thread sanitizer");
    row(&mut report, "tsan: core", "offspring-core", &[]);
    report
}

fn nightly(verb: &str) -> Command {
    // Through rustup: the cargo that runs this is of another toolchain.
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", verb]).current_dir(Path::new(restart::WORKSPACE));
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
        command.env_remove(name);
    }
    command
}

/// Whether the nightly toolchain has these parts, after an attempt to get them.
fn has(report: &mut Report, progress: &Progress, components: &[&str]) -> bool {
    progress.say(format!("getting {}", components.join(", ")));
    let mut there = false;
    report.row(&format!("nightly with {}", components.join(", ")), || {
        let mut command = Command::new("rustup");
        command.args(["+nightly", "component", "add"]).args(components);
        match command.output() {
            Ok(output) if output.status.success() => {
                there = true;
                ("is there".to_owned(), Ok(()))
            }
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                (String::new(), Err(format!("not to be had, so nothing was looked at:\n{why}")))
            }
            Err(error) => {
                (String::new(), Err(format!("no rustup, so nothing was looked at: {error}")))
            }
        }
    });
    there
}

/// Runs tests: how many passed, or the end of what they said.
fn tests(command: &mut Command, settings: &Settings) -> (String, Result<(), String>) {
    if let Some(only) = &settings.only {
        command.arg(only);
    }
    match command.output() {
        Ok(output) => summary(&output),
        Err(error) => (String::new(), Err(format!("start cargo: {error}"))),
    }
}

fn summary(output: &Output) -> (String, Result<(), String>) {
    let text = String::from_utf8_lossy(&output.stdout);
    let passed: u64 = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    let extent = format!("{passed} tests");
    if output.status.success() && passed > 0 {
        return (extent, Ok(()));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().chain(errors.lines()).collect();
    let end = lines[lines.len().saturating_sub(60)..].join("\n");
    (extent, Err(if output.status.success() { "no test ran".to_owned() } else { end }))
}

//! The stage `mutants`: plants one mistake at a time in a copy of the sources, and expects loom to find it.
//!
//! A model that never fails shows nothing. Each [`Mutant`] takes one step or ordering out of a protocol; the model that
//! is there for that step must fail. A mutant whose text is no longer in the sources is a failure, too: it must be written
//! anew for what stands there now.

mod list;

use crate::report::{Progress, Report, Settings};
use crate::restart;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

/// One mistake.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// What is wrong then, in words.
    pub what: &'static str,
    /// The source file, from the workspace's root.
    pub file: &'static str,
    /// What stands there, exactly once.
    pub from: &'static str,
    /// What stands there in the mutant.
    pub to: &'static str,
    /// A part of the names of the models that must find it.
    pub caught_by: &'static str,
}

/// What the copy leaves out.
const NOT_COPIED: [&str; 2] = ["target", ".git"];

/// Builds and explores every mutant that is asked for.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    let mutants: Vec<_> = list::ALL.iter().filter(|mutant| settings.wants(mutant.what)).collect();
    progress.expect(mutants.len());
    let target = restart::target();
    let copy = target.join("mutants");
    let fresh = || {
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        copy_tree(Path::new(restart::WORKSPACE), &copy)
    };
    if let Err(error) = fresh() {
        report.row("copy of the sources", || {
            (String::new(), Err(format!("copy the workspace to {}: {error}", copy.display())))
        });
        return report;
    }
    let until = settings.until();
    for mutant in mutants {
        if until.is_some_and(|until| until <= std::time::Instant::now()) {
            break;
        }
        progress.say(mutant.what);
        report.row(mutant.what, || match planted(mutant, &copy) {
            Ok(extent) => (extent, Ok(())),
            Err(what) => (mutant.file.to_owned(), Err(what)),
        });
        progress.step();
    }
    report
}

/// Plants `mutant` in the copy, explores, and takes it out again.
fn planted(mutant: &Mutant, copy: &Path) -> Result<String, String> {
    let file = copy.join(mutant.file);
    let said = |error: io::Error| format!("plant the mutant in {}: {error}", mutant.file);
    let source = fs::read_to_string(&file).map_err(said)?;
    let found = source.matches(mutant.from).count();
    if found != 1 {
        return Err(format!("its text stands {found} times in {}: write it anew", mutant.file));
    }
    fs::write(&file, source.replace(mutant.from, mutant.to)).map_err(said)?;
    let result = caught(mutant, copy);
    fs::write(&file, source).map_err(said)?;
    result
}

fn caught(mutant: &Mutant, copy: &Path) -> Result<String, String> {
    let cargo = |verb: &str, more: &[&str]| {
        let mut command = restart::explorer(verb, copy);
        run(command.args(more))
    };
    let built = cargo("build", &[])?;
    if !built.status.success() {
        return Err(format!("it does not build:\n{}", last_lines(&built.stderr)));
    }
    let explored = cargo("run", &["--", "loom", "--quick", "--only", mutant.caught_by])?;
    let table = String::from_utf8_lossy(&explored.stdout);
    if table.contains("nothing ran") {
        return Err(format!("no model has {:?} in its name", mutant.caught_by));
    }
    if explored.status.success() {
        return Err(format!("not caught:\n{}", last_lines(&explored.stdout)));
    }
    let by = table.lines().find(|line| line.ends_with("VIOLATION"));
    let by = by.and_then(|line| line.split("  ").next()).unwrap_or("an abort of the explorer");
    Ok(format!("caught by {by}"))
}

fn run(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("start cargo for the mutant: {error}"))
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if NOT_COPIED.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &to.join(name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

//! The stage `mutants`: plants mistakes in a copy of the sources, and expects some layer of the verification to find each.
//!
//! A check that never fails shows nothing. Each [`Mutant`] takes one step out of a protocol, or does it wrongly (`list`); each
//! Acquire and Release is weakened, one at a time (`orderings`, made from the sources). All of them are planted in *one* copy,
//! each behind a number that the run chooses, so that two builds are enough: one with loom's atomics, one without. A
//! mutant is tried by its layers in turn until one fails. A mutant whose text is no longer in the sources is a failure, too: it
//! must be written anew for what stands there now.
//!
//! The last row says how many were caught: at least nine of ten, those not counted that change nothing (each with the reason).

mod list;
mod orderings;

use crate::report::{Progress, Report, Settings};
use crate::restart;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// One mistake in a step.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// What is wrong then, in words.
    pub what: &'static str,
    /// The source file, from the workspace's root.
    pub file: &'static str,
    /// What stands there, exactly once.
    pub from: &'static str,
    /// What is planted there; `MUTANT` in it is true in this mutant's run alone.
    pub to: &'static str,
    /// Who must find it, the fastest first.
    pub layers: &'static [Layer],
}

/// A part of the verification that may find a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// loom's models with this in their names.
    Loom(&'static str),
    /// The properties with this in their names.
    Props(&'static str),
    /// The scenes of single stepping with this in their names.
    Step(&'static str),
    /// Kills.
    Kill,
    /// Kills of the workers of pools.
    KillPool,
    /// Recorded histories.
    Lin,
}

/// A planted mutant, of either kind.
struct Planted {
    number: usize,
    name: String,
    layers: Vec<Layer>,
    harmless: Option<&'static str>,
}

/// What the copy leaves out.
const NOT_COPIED: [&str; 2] = ["target", ".git"];
/// The program's argument says nothing about mutants; this does.
pub const NUMBER: &str = "OFFSPRING_VERIFY_MUTANT";
/// The share of those caught, in percent.
const LEAST_CAUGHT: usize = 90;
/// One layer's time for one mutant; then it has been held up by the mutant, which is a way to find it.
const PATIENCE: Duration = Duration::from_secs(240);
/// Every so-manieth is in the sample.
const EVERY: usize = 23;

/// What the copy of core gets: which mutant runs.
const SWITCH: &str = r#"//! Which mistake runs: planted by the verification.
#![allow(missing_docs, clippy::all, clippy::disallowed_types)]
use core::sync::atomic::{AtomicUsize, Ordering};

static NUMBER: AtomicUsize = AtomicUsize::new(usize::MAX);

pub fn set(number: usize) {
    NUMBER.store(number, Ordering::Relaxed);
}

#[inline(always)]
pub fn is(number: usize) -> bool {
    NUMBER.load(Ordering::Relaxed) == number
}

#[inline(always)]
pub fn order(weaker: &[(usize, Ordering)], usual: Ordering) -> Ordering {
    let number = NUMBER.load(Ordering::Relaxed);
    let mut order = usual;
    for (mutant, left) in weaker {
        if *mutant == number {
            order = *left;
        }
    }
    order
}
"#;

/// Builds the two programs and tries every mutant that is asked for.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    let copy = restart::plain_target().join("mutants/sources");
    progress.say("planting and building");
    let (mut planted, programs) = match prepare(&copy) {
        Ok(done) => done,
        Err(what) => {
            report.row("the copy with all mutants", || (String::new(), Err(what)));
            return report;
        }
    };
    planted.retain(|mutant| settings.wants(&mutant.name));
    let all = planted.len();
    if settings.quick && settings.only.is_none() {
        planted = planted.into_iter().skip(1).step_by(EVERY).collect();
    }
    progress.expect(planted.len());
    // Without a mistake nothing may be found, or the rest shows nothing.
    report.row("no mutant", || {
        let layers = [Layer::Loom("queue: a put is whole"), Layer::Step("Put, 0 of 2 Inline")];
        match try_layers(usize::MAX, &layers, &programs) {
            Ok(None) => ("is not caught".to_owned(), Ok(())),
            Ok(Some(by)) => (by, Err("a violation without any mutant".to_owned())),
            Err(what) => (String::new(), Err(what)),
        }
    });
    let until = settings.until();
    let (mut caught, mut harmless, mut missed) = (0, 0, 0);
    for mutant in &planted {
        if until.is_some_and(|until| until <= Instant::now()) {
            break;
        }
        progress.say(mutant.name.clone());
        report.row(&mutant.name, || match try_layers(mutant.number, &mutant.layers, &programs) {
            Ok(Some(by)) => {
                caught += 1;
                (format!("caught by {by}"), Ok(()))
            }
            Ok(None) => match mutant.harmless {
                Some(why) => {
                    harmless += 1;
                    (format!("changes nothing: {why}"), Ok(()))
                }
                None => {
                    missed += 1;
                    ("NOT caught".to_owned(), Ok(()))
                }
            },
            Err(what) => (String::new(), Err(what)),
        });
        progress.step();
    }
    report.row("all mutants", || {
        let counted = caught + missed;
        let percent = (caught * 100_usize).checked_div(counted).unwrap_or(0);
        let extent = format!(
            "{caught} of {counted} caught ({percent} %), {harmless} change nothing; {} of {all} tried",
            counted + harmless
        );
        let verdict = if percent >= LEAST_CAUGHT {
            Ok(())
        } else {
            Err(format!("{percent} % caught, {LEAST_CAUGHT} wanted"))
        };
        (extent, verdict)
    });
    report
}

/// The two programs with all mutants in them.
struct Programs {
    loom: PathBuf,
    plain: PathBuf,
}

/// Copies the sources, plants, and builds.
fn prepare(copy: &Path) -> Result<(Vec<Planted>, Programs), String> {
    let said = |what: &str, error: io::Error| format!("{what}: {error}");
    if copy.exists() {
        fs::remove_dir_all(copy).map_err(|error| said("take the old copy away", error))?;
    }
    copy_tree(Path::new(restart::WORKSPACE), copy)
        .map_err(|error| said("copy the workspace", error))?;
    let mut planted = Vec::new();
    let change = |file: &str, with: &mut dyn FnMut(String) -> Result<String, String>| {
        let path = copy.join(file);
        let source = fs::read_to_string(&path).map_err(|error| said(file, error))?;
        fs::write(&path, with(source)?).map_err(|error| said(file, error))
    };
    for (number, mutant) in list::ALL.iter().enumerate() {
        change(mutant.file, &mut |source| {
            let found = source.matches(mutant.from).count();
            if found != 1 {
                let what = mutant.what;
                return Err(format!(
                    "`{what}`: its text stands {found} times in {}: write it anew",
                    mutant.file
                ));
            }
            let core = if mutant.file.starts_with("core/") { "crate" } else { "offspring_core" };
            let to = mutant.to.replace("MUTANT", &format!("{core}::mutant::is({number})"));
            Ok(source.replace(mutant.from, &to))
        })?;
        planted.push(Planted {
            number,
            name: mutant.what.to_owned(),
            layers: mutant.layers.to_vec(),
            harmless: None,
        });
    }
    for (file, layers) in orderings::FILES {
        change(file, &mut |source| {
            let (source, weakenings) = orderings::plant(file, layers, &source, planted.len());
            for one in weakenings {
                planted.push(Planted {
                    number: planted.len(),
                    name: one.name,
                    layers: one.layers.to_vec(),
                    harmless: one.harmless,
                });
            }
            Ok(source)
        })?;
    }
    change("core/src/lib.rs", &mut |source| Ok(source + "\n#[doc(hidden)]\npub mod mutant;\n"))?;
    fs::write(copy.join("core/src/mutant.rs"), SWITCH).map_err(|error| said("mutant.rs", error))?;
    change("verify/src/main.rs", &mut |source| {
        let begin = "fn main() -> ExitCode {\n";
        let number = format!(
            "{begin}    if let Some(number) = std::env::var({NUMBER:?}).ok().and_then(|text| text.parse().ok()) {{\n        \
             offspring_core::mutant::set(number);\n    }}\n"
        );
        if source.matches(begin).count() == 1 {
            Ok(source.replace(begin, &number))
        } else {
            Err("main.rs begins its `main` in another way".to_owned())
        }
    })?;
    let programs = Programs { loom: copy.join("loom-program"), plain: copy.join("plain-program") };
    let [loom, plain] =
        ["loom", "plain"].map(|which| restart::plain_target().join("mutants").join(which));
    let made = |target: &Path| target.join("ci/offspring-verify");
    build(&mut restart::explorer("build", copy, &loom), &made(&loom), &programs.loom)?;
    build(&mut restart::plain("build", copy, &plain), &made(&plain), &programs.plain)?;
    Ok((planted, programs))
}

/// Builds, and keeps the program where the next build does not replace it.
fn build(command: &mut Command, made: &Path, kept: &Path) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("the mutants do not build:\n{}", last_lines(&output.stderr, 40)));
    }
    fs::copy(made, kept).map(|_| ()).map_err(|error| format!("keep {}: {error}", made.display()))
}

/// Tries the layers in turn: who found something.
fn try_layers(
    number: usize,
    layers: &[Layer],
    programs: &Programs,
) -> Result<Option<String>, String> {
    for layer in layers {
        let (program, arguments): (_, Vec<&str>) = match layer {
            Layer::Loom(only) => {
                (&programs.loom, vec!["loom", "--quick", "--seconds", "60", "--only", only])
            }
            Layer::Props(only) => (&programs.plain, vec!["props", "--quick", "--only", only]),
            Layer::Step(only) => (&programs.plain, vec!["step", "--seconds", "40", "--only", only]),
            Layer::Kill => (&programs.plain, vec!["kill", "--quick", "--seconds", "20"]),
            Layer::KillPool => {
                (&programs.plain, vec!["kill", "--quick", "--object", "pool", "--seconds", "10"])
            }
            Layer::Lin => (&programs.plain, vec!["lin", "--seconds", "10"]),
        };
        let mut command = Command::new(program);
        command.args(&arguments).env(NUMBER, number.to_string()).stdin(Stdio::null());
        if let Some(by) = finds(&mut command)? {
            return Ok(Some(format!("{}: {by}", arguments[0])));
        }
    }
    Ok(None)
}

/// Runs one layer: what it found, if anything.
fn finds(command: &mut Command) -> Result<Option<String>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("run a layer: {error}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error))?;
    // Read beside the wait, so that a full pipe holds nobody up. It ends when the layer does.
    let mut out = child.stdout.take().ok_or("a layer without output")?;
    let (done, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = out.read_to_string(&mut text); // what came so far, if it is no text
        let _ = done.send(text); // nobody listens after a standstill
    });
    let Ok(table) = told.recv_timeout(PATIENCE) else {
        child.kill().and_then(|()| child.wait()).map_err(|error| failed(&error))?;
        return Ok(Some("a standstill".to_owned()));
    };
    let status = child.wait().map_err(|error| failed(&error))?;
    if status.success() {
        return Ok(None);
    }
    if table.contains("nothing ran") || table.contains("0 of 0 states") {
        return Err(format!("the layer did nothing: {command:?}"));
    }
    let by = table.lines().find(|line| line.ends_with("VIOLATION"));
    let by = by.and_then(|line| line.split("  ").next()).map(str::to_owned);
    Ok(Some(by.unwrap_or_else(|| "an abort".to_owned())))
}

fn last_lines(output: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
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

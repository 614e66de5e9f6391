//! Counts the words of every text file below a path, in worker processes; with `--kill`, while these are being killed.
//!
//! ```text
//! cargo run --release --example wordcount [PATH] [--workers N] [--kill] [--check]
//! ```
//!
//! The files are tasks of a pool. A worker that is killed in the middle of one costs nothing but time: the pool starts another, and gives
//! the file to the next (`retry`); its counts count once. `--kill` kills workers at random moments, going round the files
//! until 20 died *at work*; `--check` counts again in this process alone and compares.

mod chaos;
mod count;
mod files;

use chaos::kill_workers;
use count::{Counts, count_file};
use indicatif::{ProgressBar, ProgressStyle};
use offspring::Pool;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Workers that must have died at work before `--kill` is content.
const DEATHS_WANTED: u64 = 20;

/// Runs in the workers. `None`: not a text file, or not readable.
fn count(file: PathBuf) -> Option<Counts> {
    count_file(&file)
}

struct Arguments {
    path: Option<PathBuf>,
    workers: usize,
    kill: bool,
    check: bool,
}

fn arguments() -> Result<Arguments, String> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut found = Arguments { path: None, workers: cores.max(2), kill: false, check: false };
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--kill" => found.kill = true,
            "--check" => found.check = true,
            "--workers" => {
                let number = rest.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                found.workers = number.ok_or("--workers wants a number, 1 or more")?;
            }
            flag if flag.starts_with('-') => {
                return Err(format!(
                    "unknown flag {flag}; there are --workers N, --kill and --check"
                ));
            }
            path if found.path.is_none() => found.path = Some(path.into()),
            more => return Err(format!("one path is enough, and {more} is a second one")),
        }
    }
    Ok(found)
}

fn main() -> ExitCode {
    let _main = offspring::init();
    match arguments().map_err(Into::into).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the rounds brought.
#[derive(Default)]
struct Outcome {
    counts: Counts,
    text_files: u64,
    /// Workers that died in the middle of a file.
    deaths: u64,
    rounds: u64,
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let files = match &arguments.path {
        Some(path) => files::below(path)?,
        None => files::by_default()?,
    };
    if files.is_empty() {
        return Err("there is no file to count in; name another path".into());
    }
    // However often a file costs its worker, it is tried again: it is not the file's fault.
    let mut pool = Pool::builder().workers(arguments.workers).retry(u32::MAX).build()?;

    let begun = Instant::now();
    let (outcome, kills) = std::thread::scope(|scope| {
        let (stop, stopped) = channel();
        let shared = &pool;
        let killer = arguments.kill.then(|| scope.spawn(move || kill_workers(shared, &stopped)));
        let outcome = rounds(shared, &files, arguments.kill);
        drop(stop);
        let kills = killer.map_or(Ok(0), |killer| killer.join().expect("it does not panic"));
        Ok::<_, Box<dyn Error>>((outcome?, kills?))
    })?;
    let took = begun.elapsed();
    pool.close();
    pool.join()?;
    table(&outcome, kills, files.len(), arguments.workers, took);
    if arguments.check {
        check(&files, &outcome)?;
        if arguments.kill && outcome.deaths < DEATHS_WANTED {
            return Err(format!("only {} workers died at work", outcome.deaths).into());
        }
    }
    Ok(())
}

/// Round after round, until enough workers died, if they are to.
fn rounds(pool: &Pool, files: &[PathBuf], kill: bool) -> Result<Outcome, Box<dyn Error>> {
    let mut outcome = Outcome::default();
    loop {
        let round = one_round(pool, files, &outcome)?;
        if outcome.rounds > 0 && round.counts != outcome.counts {
            let number = outcome.rounds + 1;
            return Err(format!("round {number} counted something else than the first").into());
        }
        outcome = Outcome { rounds: outcome.rounds + 1, ..round };
        if !kill || outcome.deaths >= DEATHS_WANTED {
            return Ok(outcome);
        }
    }
}

/// Every file once, in any order.
fn one_round(
    pool: &Pool,
    files: &[PathBuf],
    before: &Outcome,
) -> Result<Outcome, offspring::pool::TaskError> {
    let bar = bar(files.len(), before);
    let mut outcome = Outcome::default();
    for counts in pool.imap_unordered(count, files.iter().cloned()) {
        if let Some(counts) = counts? {
            outcome.text_files += 1;
            outcome.counts.add(counts);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    outcome.deaths = pool.stats().lost;
    Ok(outcome)
}

fn bar(files: usize, before: &Outcome) -> ProgressBar {
    let style = "{prefix} {bar:40} {pos}/{len} files, {per_sec}, {eta} left";
    let bar = ProgressBar::new(files as u64);
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(match before.rounds {
        0 => "counting".to_owned(),
        n => {
            format!("round {}, {} of {DEATHS_WANTED} died at work", n + 1, before.deaths)
        }
    });
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn table(outcome: &Outcome, kills: u64, files: usize, workers: usize, took: Duration) {
    println!("{:>12}  word", "times");
    for (word, times) in outcome.counts.top(10) {
        println!("{times:>12}  {word}");
    }
    println!();
    let words = outcome.counts.total();
    println!("{:>12}  words, {} different", words, outcome.counts.different());
    println!(
        "{:>12}  text files of {files}, {} round(s), {workers} workers",
        outcome.text_files, outcome.rounds
    );
    let rate = words as f64 * outcome.rounds as f64 / took.as_secs_f64() / 1e6;
    println!("{:>12.2}  seconds, {rate:.1} million words a second", took.as_secs_f64());
    println!("{kills:>12}  workers killed");
    println!("{:>12}  files begun again: workers that died at work", outcome.deaths);
}

/// Counts again, in this process alone.
fn check(files: &[PathBuf], outcome: &Outcome) -> Result<(), String> {
    let mut alone = Counts::default();
    files.iter().filter_map(|file| count_file(file)).for_each(|counts| alone.add(counts));
    if alone == outcome.counts {
        println!("{:>12}  with one process: exactly the same", "checked");
        return Ok(());
    }
    let wrong = alone.different_from(&outcome.counts);
    Err(format!("the workers counted otherwise than one process does: {wrong}"))
}

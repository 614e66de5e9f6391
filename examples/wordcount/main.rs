//! Counts the words of every text file below a path, in worker processes; with `--kill`, while these are being killed.
//!
//! ```text
//! cargo run --release --example wordcount [PATH] [--workers N] [--kill] [--check]
//! ```
//!
//! The paths go through a queue; a worker takes one on lease, counts, and replies. A worker that is killed in between
//! loses nothing: its file goes to another, marked. `--kill` kills workers at random moments and starts others, going round the
//! files until 20 died *holding a lease*; `--check` counts again in this process alone and compares.

mod chaos;
mod count;
mod files;

use chaos::Team;
use count::{Counts, count_file};
use indicatif::{ProgressBar, ProgressStyle};
use offspring::queue::Ticket;
use offspring::{Process, Queue};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Workers that must have died with a lease before `--kill` is content.
const DEATHS_WANTED: u64 = 20;
/// Requests under way at once.
const IN_FLIGHT: usize = 64;

/// What a worker says about one file.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    /// `None`: not a text file, or not readable.
    counts: Option<Counts>,
    /// How often the file was handed out before: each time its worker died with the lease.
    deliveries: u32,
}

pub(crate) type Jobs = Queue<PathBuf, Answer>;

/// Runs in the worker processes.
fn work(jobs: Jobs) -> u64 {
    let mut done = 0;
    while let Ok(job) = jobs.lease() {
        let answer = Answer { counts: count_file(&job), deliveries: job.deliveries() };
        match job.reply(answer) {
            Ok(_) => done += 1,
            Err(refused) => eprintln!("a reply was not taken: {refused}"),
        }
    }
    done
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
    redeliveries: u64,
    rounds: u64,
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let files = match &arguments.path {
        Some(path) => files::below(path)?,
        None => files::by_default()?,
    };
    if files.is_empty() {
        return Err("there is no file to count in; name another path".into());
    }
    let jobs: Jobs = Queue::builder().capacity(IN_FLIGHT).replies(true).build()?;
    let team = Team::start(&jobs, arguments.workers)?;
    let killer = arguments.kill.then(|| team.start_killing());

    let begun = Instant::now();
    let mut outcome = Outcome::default();
    loop {
        let round = one_round(&jobs, &files, &outcome)?;
        if outcome.rounds > 0 && round.counts != outcome.counts {
            return Err(format!(
                "round {} counted something else than the first",
                outcome.rounds + 1
            )
            .into());
        }
        outcome.redeliveries += round.redeliveries;
        outcome.rounds += 1;
        outcome.counts = round.counts;
        outcome.text_files = round.text_files;
        if !arguments.kill || outcome.redeliveries >= DEATHS_WANTED {
            break;
        }
    }
    let took = begun.elapsed();
    if let Some(killer) = killer {
        killer.stop()?;
    }
    jobs.close();
    let kills = team.finish()?;
    table(&outcome, kills, files.len(), arguments.workers, took);
    if arguments.check {
        check(&files, &outcome)?;
        if arguments.kill && outcome.redeliveries < DEATHS_WANTED {
            return Err(
                format!("only {} workers died holding a lease", outcome.redeliveries).into()
            );
        }
    }
    Ok(())
}

/// Every file once: requests go out, answers come in, in order.
fn one_round(jobs: &Jobs, files: &[PathBuf], before: &Outcome) -> offspring::Result<Outcome> {
    let bar = bar(files.len(), before);
    let mut outcome = Outcome::default();
    let mut waiting: VecDeque<Ticket<Answer>> = VecDeque::new();
    let mut take = |ticket: Option<Ticket<Answer>>| -> offspring::Result<()> {
        if let Some(mut ticket) = ticket {
            let answer = ticket.wait()?;
            outcome.redeliveries += u64::from(answer.deliveries);
            if let Some(counts) = answer.counts {
                outcome.text_files += 1;
                outcome.counts.add(counts);
            }
            bar.inc(1);
        }
        Ok(())
    };
    for file in files {
        waiting.push_back(jobs.request(file.clone())?);
        if waiting.len() == IN_FLIGHT {
            take(waiting.pop_front())?;
        }
    }
    while !waiting.is_empty() {
        take(waiting.pop_front())?;
    }
    bar.finish_and_clear();
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
            format!("round {}, {} of {DEATHS_WANTED} died with a lease", n + 1, before.redeliveries)
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
    println!("{:>12}  re-deliveries: workers that died holding a lease", outcome.redeliveries);
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

/// Starts one worker.
fn start_worker(jobs: &Jobs, number: u64) -> offspring::Result<Process<u64>> {
    Process::builder(format!("worker-{number}")).daemon(true).spawn(work, jobs.clone())
}

//! A pool whose tasks panic, crash, hang, exit and grow: each costs itself, and the program says how it ended.
//!
//! ```text
//! cargo run --release --example flaky [TASKS]
//! ```
//!
//! Tasks have a deadline and are tried twice more if their worker ends. What fails for good goes to a list of dead letters, which is
//! printed at the end with the reason of each.

use offspring::pool::TaskError;
use offspring::{Pool, Queue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// What a task is to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
enum Mood {
    Fine,
    Panics,
    Crashes,
    /// Only until somebody has tried before.
    CrashesOnce,
    Exits,
    Hangs,
}

impl Mood {
    fn of(n: u64) -> Self {
        match n % 12 {
            3 => Self::Panics,
            5 => Self::Crashes,
            7 => Self::CrashesOnce,
            9 => Self::Exits,
            11 => Self::Hangs,
            _ => Self::Fine,
        }
    }
}

/// `tried` holds a note for each task that was tried before.
fn task((n, mood, tried): (u64, Mood, Queue<u64>)) -> u64 {
    match mood {
        Mood::Fine => {}
        Mood::Panics => panic!("task {n} does not feel like it"),
        Mood::Crashes => std::process::abort(),
        Mood::CrashesOnce if tried.try_get().is_err() => {
            let noted = tried.put(n);
            assert!(noted.is_ok(), "the queue is open");
            std::process::abort();
        }
        Mood::CrashesOnce => {}
        Mood::Exits => std::process::exit(7),
        Mood::Hangs => loop {
            std::thread::park();
        },
    }
    n * n
}

fn main() -> ExitCode {
    let _main = offspring::init();
    let tasks = std::env::args().nth(1).map_or(Ok(48), |text| text.parse());
    let done = tasks.map_err(Into::into).and_then(run);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flaky: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(tasks: u64) -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder()
        .workers(4)
        .task_deadline(Duration::from_millis(300))
        .grace(Duration::from_millis(20))
        .retry(2)
        .build()?;
    let given: Vec<_> = (0..tasks)
        .map(|n| {
            let tried = Queue::bounded(4)?;
            Ok((n, pool.submit(task, (n, Mood::of(n), tried))?))
        })
        .collect::<offspring::Result<_>>()?;
    let mut ended: BTreeMap<Mood, (u64, u64)> = BTreeMap::new();
    let mut dead_letters: Vec<(u64, TaskError)> = Vec::new();
    for (n, task) in given {
        let counts = ended.entry(Mood::of(n)).or_default();
        match task.get() {
            Ok(value) => {
                assert_eq!(value, n * n, "a value is right or is not there");
                counts.0 += 1;
            }
            Err(error) => {
                counts.1 += 1;
                dead_letters.push((n, error));
            }
        }
    }
    println!("{:12} {:>6} {:>6}", "", "fine", "failed");
    for (mood, (fine, failed)) in &ended {
        println!("{:12} {fine:>6} {failed:>6}", format!("{mood:?}"));
    }
    println!("\ndead letters:");
    for (n, error) in &dead_letters {
        println!("{n:>6}  {error}");
    }
    let stats = pool.stats();
    println!(
        "\n{} tasks, {} workers started, {} ended in a task, {} tried again",
        stats.submitted, stats.started, stats.lost, stats.retried
    );
    let failed = |mood: &Mood| ended.get(mood).map_or(0, |counts| counts.1);
    if failed(&Mood::Fine) + failed(&Mood::CrashesOnce) > 0 {
        return Err("a task failed that should not have".into());
    }
    Ok(())
}

//! Our side of each fault. The line begins with `good: ` if the user sees what the documentation says, and goes on.

use offspring::pool::TaskError;
use offspring::{Pool, Result};
use std::collections::HashMap;
use std::time::{Duration, Instant};

pub fn case(name: &str, tasks: Option<String>) -> String {
    let said = match name {
        "killed" => killed(),
        "unreadable" => unreadable(),
        "unsendable" => unsendable(),
        "initialiser" => Ok(initialiser()),
        "exit" => exit(),
        "idle" => parent(false),
        "busy" => parent(true),
        super::MANY => many(tasks.and_then(|text| text.parse().ok()).unwrap_or_default()),
        other => Ok(format!("there is no case {other}")),
    };
    said.unwrap_or_else(|error| format!("failed: {error:?}"))
}

fn pool() -> Result<Pool> {
    Pool::builder().workers(2).build()
}

/// Judges the first task's error, then tries a second task.
fn and_next(
    pool: &Pool,
    begun: Instant,
    ended: std::result::Result<u64, TaskError>,
    expected: fn(&TaskError) -> bool,
) -> String {
    let took = begun.elapsed();
    let next = pool.apply(|n: u64| n + 1, 1);
    match (ended, next) {
        (Err(error), Ok(2)) if expected(&error) => {
            format!("good: \"{error}\" after {took:.1?}; next: ok")
        }
        other => format!("unexpected: {other:?}"),
    }
}

fn killed() -> Result<String> {
    let (pool, begun) = (pool()?, Instant::now());
    let ended = pool.apply(
        |_: u64| -> u64 {
            // SAFETY: takes integers; this process ends.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            0
        },
        0,
    );
    Ok(and_next(
        &pool,
        begun,
        ended,
        |error| matches!(error, TaskError::WorkerLost { how, .. } if how.signal() == Some(libc::SIGKILL)),
    ))
}

fn exit() -> Result<String> {
    let (pool, begun) = (pool()?, Instant::now());
    let ended = pool.apply(|_: u64| -> u64 { std::process::exit(3) }, 0);
    Ok(and_next(
        &pool,
        begun,
        ended,
        |error| matches!(error, TaskError::WorkerLost { how, .. } if how.code() == Some(3)),
    ))
}

/// Bytes that are no text: of a type that says it is.
fn unreadable() -> Result<String> {
    struct NoText;
    impl serde::Serialize for NoText {
        fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
            to.serialize_str("no number")
        }
    }
    impl<'de> serde::Deserialize<'de> for NoText {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
            Err(serde::de::Error::custom("it cannot be rebuilt"))
        }
    }
    let (pool, begun) = (pool()?, Instant::now());
    let ended = pool.apply(|_: u64| NoText, 0).map(|_| 0);
    Ok(and_next(&pool, begun, ended, |error| matches!(error, TaskError::Unreadable(_))))
}

fn unsendable() -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Stays;
    impl serde::Serialize for Stays {
        fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it stays where it is"))
        }
    }
    let (pool, begun) = (pool()?, Instant::now());
    let ended = pool.apply(|_: u64| Stays, 0).map(|_| 0);
    Ok(and_next(&pool, begun, ended, |error| matches!(error, TaskError::Refused(_))))
}

fn initialiser() -> String {
    let begun = Instant::now();
    match Pool::builder().workers(2).initialiser(|_: u8| panic!("no"), 0).build() {
        Err(error) if error.is_panic() => {
            format!("good: \"{error}\" after {:.1?}", begun.elapsed())
        }
        other => format!("unexpected: {other:?}"),
    }
}

/// Tells the workers' numbers, and waits to be killed.
fn parent(busy: bool) -> Result<String> {
    let pool = Pool::builder().workers(2).warm(true).build()?;
    let sleep = |_: u64| std::thread::sleep(Duration::from_secs(30));
    let tasks = (0..2).filter(|_| busy).map(|n| pool.submit(sleep, n));
    let _tasks = tasks.collect::<Result<Vec<_>>>()?;
    while busy && pool.stats().workers.iter().filter(|worker| worker.busy).count() < 2 {
        std::thread::yield_now();
    }
    let workers = pool.stats().workers;
    println!("{}", workers.iter().map(|w| w.pid.to_string()).collect::<Vec<_>>().join(" "));
    loop {
        std::thread::park();
    }
}

/// As many tasks, a tenth of them by workers that end after 1 task, a tenth after 2, and so on.
fn many(tasks: u64) -> Result<String> {
    let begun = Instant::now();
    let (mut right, mut workers) = (0, 0);
    for most in 1..=10 {
        let pool = Pool::builder().workers(4).max_tasks_per_child(most).build()?;
        let share = 0..tasks / 10;
        let work = |n: u64| (n + 1, offspring::process::current().name());
        let mut did: HashMap<String, u32> = HashMap::new();
        for (n, result) in share.clone().zip(pool.imap(work, share)) {
            let (next, worker) = result?;
            right += u64::from(next == n + 1);
            *did.entry(worker).or_default() += 1;
        }
        if let Some((worker, did)) = did.iter().find(|(_, did)| **did > most) {
            return Ok(format!("{worker} did {did} tasks, {most} at most"));
        }
        workers += did.len();
    }
    Ok(match right == tasks / 10 * 10 {
        true => format!("good: all right, {workers} workers, {:.1?}", begun.elapsed()),
        false => format!("{right} right"),
    })
}

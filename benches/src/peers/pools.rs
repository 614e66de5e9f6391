//! Other pools: procspawn's, Python's, and the threads of `threadpool` in this process.

use crate::Result;
use crate::cores::Cores;
use crate::ours::pool::{WORKERS, task};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Instant;
use threadpool::ThreadPool;

fn check(sum: u64, count: u64) -> Result<()> {
    let expected = count * (count + 1) / 2;
    (sum == expected).then_some(()).ok_or_else(|| "results are lost or doubled".into())
}

fn procspawn_pool() -> Result<&'static procspawn::Pool> {
    static POOL: OnceLock<procspawn::Pool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let pool = procspawn::Pool::new(WORKERS)?;
    Ok(POOL.get_or_init(|| pool))
}

/// procspawn: each task is waited for before the next.
pub fn procspawn_one_after_the_other(count: u64, _: Cores) -> Result<u64> {
    let pool = procspawn_pool()?;
    let (begin, mut sum) = (Instant::now(), 0);
    for n in 0..count {
        sum += procspawn::spawn!(in pool, (n) || task(n)).join()?;
    }
    let took = begin.elapsed().as_nanos() as u64;
    check(sum, count)?;
    Ok(took)
}

/// `threadpool`: each result comes through a channel.
pub fn threads(count: u64, _: Cores) -> Result<u64> {
    static POOL: OnceLock<std::sync::Mutex<ThreadPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| std::sync::Mutex::new(ThreadPool::new(WORKERS)));
    let pool = pool.lock().map_err(|_| "a measurement panicked")?;
    let begin = Instant::now();
    let (send, results) = channel();
    for n in 0..count {
        let send = send.clone();
        pool.execute(move || {
            // Somebody takes it: the loop below.
            let _ = send.send(task(n));
        });
    }
    drop(send);
    let sum = results.iter().sum();
    let took = begin.elapsed().as_nanos() as u64;
    check(sum, count)?;
    Ok(took)
}

const PROGRAM: &str = include_str!("pool.py");

fn python(how: &str, count: u64) -> Result<u64> {
    let output = Command::new("python3")
        .args(["-c", PROGRAM, how, &count.to_string(), &WORKERS.to_string()])
        .output()
        .map_err(|error| format!("run python3: {error}; install Python 3 to compare with it"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("python3 ended with {}: {}", output.status, said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Python's `Pool.apply`.
pub fn python_one_after_the_other(count: u64, _: Cores) -> Result<u64> {
    python("apply", count)
}

/// Python's `Pool.apply_async`.
pub fn python_one_by_one(count: u64, _: Cores) -> Result<u64> {
    python("apply_async", count)
}

/// Python's `Pool.map`.
pub fn python_map(count: u64, _: Cores) -> Result<u64> {
    python("map", count)
}

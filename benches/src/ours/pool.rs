//! offspring's pool: two workers that are there already, and a task that does next to nothing.

use crate::Result;
use crate::cores::Cores;
use offspring::Pool;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

/// Workers of every pool here, the peers' too.
pub const WORKERS: usize = 2;

/// What every pool here runs.
pub fn task(n: u64) -> u64 {
    black_box(n) + 1
}

fn pool() -> Result<&'static Pool> {
    static POOL: OnceLock<Pool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let pool = Pool::builder().workers(WORKERS).warm(true).build()?;
    Ok(POOL.get_or_init(|| pool))
}

fn check(sum: u64, count: u64) -> Result<()> {
    // 1 + 2 + … + count.
    let expected = count * (count + 1) / 2;
    (sum == expected).then_some(()).ok_or_else(|| "results are lost or doubled".into())
}

/// Each task is waited for before the next.
pub fn one_after_the_other(count: u64, _: Cores) -> Result<u64> {
    let pool = pool()?;
    let (begin, mut sum) = (Instant::now(), 0);
    for n in 0..count {
        sum += pool.apply(task, n)?;
    }
    let took = begin.elapsed().as_nanos() as u64;
    check(sum, count)?;
    Ok(took)
}

/// Each task is given by itself; then all are waited for.
pub fn one_by_one(count: u64, _: Cores) -> Result<u64> {
    let pool = pool()?;
    let (begin, mut sum) = (Instant::now(), 0);
    let tasks = (0..count).map(|n| pool.submit(task, n)).collect::<offspring::Result<Vec<_>>>()?;
    for given in &tasks {
        sum += given.get()?;
    }
    let took = begin.elapsed().as_nanos() as u64;
    check(sum, count)?;
    Ok(took)
}

/// All tasks in one call.
pub fn map(count: u64, _: Cores) -> Result<u64> {
    let pool = pool()?;
    let begin = Instant::now();
    let results = pool.map(task, 0..count)?;
    let took = begin.elapsed().as_nanos() as u64;
    check(results.iter().sum(), count)?;
    Ok(took)
}

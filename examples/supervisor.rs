//! A supervisor: it starts workers, and starts again whichever dies, until all work is done.
//!
//! ```text
//! cargo run --example supervisor [JOBS]
//! ```
//!
//! Each worker takes jobs on lease, and some jobs kill the worker that does them for the first time. The lease
//! of a dead worker goes back into the queue, so that no job is lost; the supervisor sleeps until one of its workers has
//! ended, sees how, and starts another in its place.

use offspring::{Process, Queue, process};
use std::collections::BTreeSet;

const WORKERS: usize = 3;

/// Does jobs until there are no more.
fn work((jobs, done): (Queue<u32>, Queue<u32>)) -> u32 {
    let mut count = 0;
    while let Ok(lease) = jobs.lease() {
        // A job that hurts: the first who does it dies of it.
        if *lease % 7 == 3 && lease.deliveries() == 0 {
            std::process::abort();
        }
        let job = *lease;
        done.put(job).expect("the supervisor reads");
        lease.commit();
        count += 1;
    }
    count
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = offspring::init();
    let count: u32 = std::env::args().nth(1).map_or(Ok(40), |text| text.parse())?;
    let (jobs, done) = (Queue::bounded(64)?, Queue::bounded(64)?);
    let feeder = Process::builder("feeder").spawn(feed, (jobs.clone(), count))?;
    let collector = Process::builder("collector").spawn(collect, (done.clone(), count))?;

    let start = |number: usize| {
        Process::builder(format!("worker {number}")).spawn(work, (jobs.clone(), done.clone()))
    };
    let mut workers = (0..WORKERS).map(start).collect::<offspring::Result<Vec<_>>>()?;
    let (mut started, mut deaths) = (WORKERS, 0);
    while !workers.is_empty() {
        let handles: Vec<_> = workers.iter().map(Process::handle).collect();
        let Some(place) = process::wait_any(&handles) else { break };
        let worker = workers.swap_remove(place);
        let name = worker.name().to_owned();
        match worker.join() {
            Ok(count) => println!("{name} did {count} jobs, and none are left"),
            Err(error) => {
                deaths += 1;
                println!("{name}: {}; another takes its place", error.status());
                workers.push(start(started)?);
                started += 1;
            }
        }
    }
    feeder.join()?;
    let seen = collector.join()?;
    println!("{} jobs done in spite of {deaths} deaths", seen.len());
    assert_eq!(seen, (0..count).collect());
    assert_eq!(deaths, (0..count).filter(|job| job % 7 == 3).count());
    Ok(())
}

fn feed((jobs, count): (Queue<u32>, u32)) {
    (0..count).for_each(|job| jobs.put(job).expect("the workers read"));
    jobs.close();
}

/// A job may be done twice, if its worker dies behind it: it counts once.
fn collect((done, count): (Queue<u32>, u32)) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    while seen.len() < count as usize {
        seen.insert(done.get().expect("workers write"));
    }
    seen
}

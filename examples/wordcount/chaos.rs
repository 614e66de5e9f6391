//! The workers, and who kills them.

use crate::{Jobs, start_worker};
use offspring::Process;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const CALM: &str = "nobody panics while holding it";

/// The workers that should be running.
#[derive(Clone)]
pub(crate) struct Team {
    jobs: Jobs,
    workers: Arc<Mutex<Vec<Process<u64>>>>,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Default)]
struct Tally {
    started: u64,
    killed: u64,
}

/// A thread that kills workers at random moments.
pub(crate) struct Killer {
    stop: Sender<()>,
    thread: JoinHandle<offspring::Result<()>>,
}

impl Team {
    pub(crate) fn start(jobs: &Jobs, workers: usize) -> offspring::Result<Self> {
        let team = Self { jobs: jobs.clone(), workers: Arc::default(), tally: Arc::default() };
        for _ in 0..workers {
            let worker = team.worker()?;
            team.workers.lock().expect(CALM).push(worker);
        }
        Ok(team)
    }

    fn worker(&self) -> offspring::Result<Process<u64>> {
        let mut tally = self.tally.lock().expect(CALM);
        tally.started += 1;
        start_worker(&self.jobs, tally.started)
    }

    pub(crate) fn start_killing(&self) -> Killer {
        let (team, (stop, stopped)) = (self.clone(), channel());
        let thread = std::thread::spawn(move || {
            let mut random = Random(u64::from(std::process::id()) << 32 | 0x9e37_79b9);
            // The moment is random, not a wait for something: 0 to 30 ms.
            loop {
                let pause = Duration::from_micros(random.below(30_000));
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => team.kill_one(&mut random)?,
                    _ => return Ok(()),
                }
            }
        });
        Killer { stop, thread }
    }

    /// Kills a worker and puts another in its place.
    fn kill_one(&self, random: &mut Random) -> offspring::Result<()> {
        let fresh = self.worker()?;
        let mut workers = self.workers.lock().expect(CALM);
        let place = random.below(workers.len() as u64) as usize;
        let victim = std::mem::replace(&mut workers[place], fresh);
        drop(workers);
        victim.kill()?;
        self.tally.lock().expect(CALM).killed += 1;
        victim.wait();
        Ok(())
    }

    /// Waits for the workers of a closed queue; says how many were killed before.
    pub(crate) fn finish(self) -> Result<u64, Box<dyn std::error::Error>> {
        let workers = std::mem::take(&mut *self.workers.lock().expect(CALM));
        for worker in workers {
            worker.join()?;
        }
        let killed = self.tally.lock().expect(CALM).killed;
        Ok(killed)
    }
}

impl Killer {
    pub(crate) fn stop(self) -> offspring::Result<()> {
        drop(self.stop);
        self.thread.join().expect("the killer does not panic")
    }
}

/// xorshift: only the moments of the kills hang on it.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

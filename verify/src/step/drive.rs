//! Drives one tracee: finds the points of its operation by single steps, or lets it run to one of them and kills it there.

use super::tracee::{Stop, Tracee, code_at, is_futex};
use std::collections::HashMap;

/// A place between two instructions of an operation after which others can see something new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// The next instruction, and the how-manieth time it is reached.
    pub address: usize,
    pub visit: u32,
    /// Single steps beyond that: inside one repeated instruction.
    pub steps: u32,
    /// Behind the sleep.
    pub slept: bool,
    /// Not an instruction: asleep in the kernel.
    pub asleep: bool,
}

/// What a pass of single steps found.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    pub instructions: u64,
    pub points: Vec<Point>,
}

/// What is to become of a tracee that stands at its begin mark.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// Killed at once.
    AtOnce,
    /// Killed there.
    At(Point),
    /// Stepped to its end mark, and killed there; the points are wanted.
    Discover,
}

/// Memory that is looked at after every step.
pub struct Watched {
    ranges: Vec<(*const u8, usize)>,
    seen: Vec<Vec<u8>>,
}

impl Watched {
    pub fn new(ranges: Vec<(*const u8, usize)>) -> Self {
        let seen = ranges.iter().map(|range| bytes(range).to_vec()).collect();
        Self { ranges, seen }
    }

    /// Whether anything changed since the last look.
    fn changed(&mut self) -> bool {
        let mut changed = false;
        for (range, seen) in self.ranges.iter().zip(&mut self.seen) {
            let now = bytes(range);
            if now != seen {
                seen.copy_from_slice(now);
                changed = true;
            }
        }
        changed
    }
}

fn bytes(&(at, len): &(*const u8, usize)) -> &'static [u8] {
    // SAFETY: a range of the arena, which has memory there and is never unmapped; whoever could write to it is stopped, asleep
    // or dead while it is looked at.
    unsafe { std::slice::from_raw_parts(at, len) }
}

/// Waits for the begin mark; gives its address. An error if the preparation went another way.
pub fn begin(tracee: &mut Tracee) -> Result<usize, String> {
    match tracee.wait() {
        Stop::Trap(address) => Ok(address - 1),
        other => Err(format!("the preparation ended with {other:?}")),
    }
}

/// Does with `tracee`, which stands behind the mark at `mark`, as `plan` says; it is dead then. `wake` is called when it is
/// asleep, and must wake it.
pub fn follow(
    tracee: &mut Tracee,
    mark: usize,
    plan: Plan,
    watched: impl FnOnce() -> Watched,
    wake: &mut dyn FnMut() -> Result<(), String>,
) -> Result<Trail, String> {
    let trail = match plan {
        Plan::AtOnce => Ok(Trail::default()),
        Plan::At(point) => run_to(tracee, mark, point, wake).map(|()| Trail::default()),
        Plan::Discover => discover(tracee, mark, watched(), wake),
    };
    tracee.kill();
    trail
}

fn run_to(
    tracee: &mut Tracee,
    mark: usize,
    point: Point,
    wake: &mut dyn FnMut() -> Result<(), String>,
) -> Result<(), String> {
    if !point.asleep {
        tracee.stop_at(point.address)?;
    }
    let mut visits = 0;
    tracee.run();
    loop {
        match tracee.wait_or_asleep() {
            Stop::Asleep if point.asleep => return Ok(()),
            Stop::Asleep if point.slept => {
                wake()?;
                // It is awake, or about to be; what it does now ends in a trap.
                match tracee.wait() {
                    Stop::Trap(address) if address == point.address => visits += 1,
                    other => return Err(format!("it went another way: {other:?}")),
                }
            }
            Stop::Trap(address) if address == point.address && !point.asleep => visits += 1,
            Stop::Trap(address) if address == mark + 1 => {
                return Err("it went another way, to the end".to_owned());
            }
            other => return Err(format!("it went another way: {other:?}")),
        }
        if visits == point.visit {
            for _ in 0..point.steps {
                tracee.step();
                tracee.wait();
            }
            return Ok(());
        }
        tracee.run();
    }
}

fn discover(
    tracee: &mut Tracee,
    mark: usize,
    mut watched: Watched,
    wake: &mut dyn FnMut() -> Result<(), String>,
) -> Result<Trail, String> {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let mut trail = Trail::default();
    let mut visits: HashMap<usize, u32> = HashMap::new();
    let (mut slept, mut repeats) = (false, 0_u32);
    let mut at = tracee.ip();
    while at != mark {
        let is_call = code_at::<2>(at) == SYSCALL;
        let may_sleep = is_call && is_futex(tracee.call_number());
        tracee.step();
        let mut stop = if may_sleep { tracee.wait_or_asleep() } else { tracee.wait() };
        if stop == Stop::Asleep {
            let point = Point { address: at, visit: 0, steps: 0, slept, asleep: true };
            trail.points.push(point);
            watched.changed();
            wake()?;
            slept = true;
            stop = tracee.wait();
        }
        let Stop::Trap(next) = stop else { return Err(format!("it ended in a step: {stop:?}")) };
        trail.instructions += 1;
        let changed = watched.changed();
        if next == at {
            // A repeated instruction in the midst: its own address is visited once.
            repeats += 1;
            if changed && repeats == 2 {
                let visit = visits.get(&at).copied().unwrap_or(0);
                trail.points.push(Point { address: at, visit, steps: 2, slept, asleep: false });
            }
            continue;
        }
        repeats = 0;
        let visit = visits.entry(next).or_default();
        *visit += 1;
        if changed || is_call {
            let point = Point { address: next, visit: *visit, steps: 0, slept, asleep: false };
            trail.points.push(point);
        }
        at = next;
    }
    Ok(trail)
}

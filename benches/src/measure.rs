//! Ours, theirs, ours, theirs …: the rounds, and what is told of them.

use crate::Result;
use crate::cores::Cores;
use crate::table::{Peer, Row, Run, Unit};
use serde::{Deserialize, Serialize};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds, each of one measurement of ours and one of theirs.
    pub rounds: usize,
    /// How long one measurement takes, about, in nanoseconds.
    pub nanos: u64,
}

/// The middle and both ends of several figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Self { median, min: sorted[0], max: sorted[sorted.len() - 1] }
    }
}

/// What the rounds of one row against one peer gave.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// Our figures.
    pub ours: Spread,
    /// The peer's.
    pub theirs: Spread,
    /// Ours over theirs, taken within each round.
    pub ratio: Spread,
}

/// One side of a comparison, with as many operations as fill the time of a measurement.
struct Side {
    run: Run,
    count: u64,
    cores: Cores,
}

/// Operations of the first, shortest look at how long one takes.
const FIRST: u64 = 1_000;

impl Side {
    /// Finds out how many operations fill the time. This is the warm-up, too.
    fn calibrate(run: Run, cores: Cores, effort: Effort) -> Result<Self> {
        let mut count = FIRST;
        loop {
            let nanos = run(count, cores)?.max(1);
            let wanted = count as f64 * effort.nanos as f64 / nanos as f64;
            if nanos >= effort.nanos / 4 {
                return Ok(Self { run, count: (wanted as u64).max(FIRST), cores });
            }
            // A short measurement says little about a long one: grow in steps.
            count = (wanted as u64).clamp(2 * count, 32 * count);
        }
    }

    fn figure(&self, unit: Unit) -> Result<f64> {
        Ok(unit.figure(self.count, (self.run)(self.count, self.cores)?))
    }
}

/// Compares `ours` with `theirs` in interleaved rounds; calls `tick` after each.
pub fn compare(
    unit: Unit,
    (ours, theirs): (Run, Run),
    cores: Cores,
    effort: Effort,
    mut tick: impl FnMut(),
) -> Result<Comparison> {
    let our_side = Side::calibrate(ours, cores, effort)?;
    let their_side = Side::calibrate(theirs, cores, effort)?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let (our, their) = (our_side.figure(unit)?, their_side.figure(unit)?);
        ours.push(our);
        theirs.push(their);
        ratios.push(our / their);
        tick();
    }
    Ok(Comparison {
        ours: Spread::of(&ours),
        theirs: Spread::of(&theirs),
        ratio: Spread::of(&ratios),
    })
}

/// Compares us with one peer of a row.
pub fn versus(
    row: &Row,
    peer: &Peer,
    cores: Cores,
    effort: Effort,
    tick: impl FnMut(),
) -> Result<Comparison> {
    compare(row.unit, (row.ours, peer.run), cores, effort, tick)
}

/// Compares a peer with itself: how far apart two figures are when nothing differs.
pub fn noise(
    row: &Row,
    peer: &Peer,
    cores: Cores,
    effort: Effort,
    tick: impl FnMut(),
) -> Result<Comparison> {
    compare(row.unit, (peer.run, peer.run), cores, effort, tick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(&[3.0, 1.0, 9.0]).median, 3.0);
    }

    #[test]
    fn each_ratio_is_of_two_figures_of_the_same_round() {
        // Seven nanoseconds an operation against two.
        let (ours, theirs): (Run, Run) = (|count, _| Ok(7 * count), |count, _| Ok(2 * count));
        let cores = Cores { first: 0, second: 0 };
        let effort = Effort { rounds: 3, nanos: 1_000_000 };
        let mut ticks = 0;
        let told = compare(Unit::Nanos, (ours, theirs), cores, effort, || ticks += 1).unwrap();
        assert_eq!((told.ours.median, told.theirs.median, told.ratio.median), (7.0, 2.0, 3.5));
        assert_eq!(ticks, 3);
        let told = compare(Unit::Rate, (ours, theirs), cores, effort, || ()).unwrap();
        assert!((told.ratio.max - 2.0 / 7.0).abs() < 1e-9);
    }

    #[test]
    fn a_failed_measurement_fails_the_comparison() {
        let (ours, theirs): (Run, Run) = (|count, _| Ok(count), |_, _| Err("broken".into()));
        let cores = Cores { first: 0, second: 0 };
        let effort = Effort { rounds: 1, nanos: 1_000 };
        assert!(compare(Unit::Rate, (ours, theirs), cores, effort, || ()).is_err());
    }
}

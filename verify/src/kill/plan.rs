//! Luck with a purpose: what the next victim does, and where it is to die.

use super::board::POINT_WORDS;
use super::dice::Dice;
use super::system;
use super::targets::{Script, Target, is_closing, is_here, target, targets};
use offspring_core::points::Point;

/// How many points count as rare.
const RARE: usize = 12;
/// How many are started together with one whose way their deaths open.
const COMPANY: usize = 3;

/// What a process is to do, and where it is to end.
#[derive(Clone, Copy)]
pub struct Plan {
    pub script: Script,
    pub point: Option<(Point, u32)>,
    /// Also to die at once wherever few died.
    pub rare: bool,
    pub stop: Option<Point>,
}

impl Plan {
    /// Until it leaves by itself, or is killed from outside.
    pub const fn only(script: Script) -> Self {
        Self { script, point: None, rare: false, stop: None }
    }
}

/// Chooses plans by how many died where.
pub struct Planner {
    dice: Dice,
    targets: Vec<Target>,
    chained: bool,
    /// Whom the last one needs to come to its point.
    company: Vec<Plan>,
}

impl Planner {
    /// Over all points that there are here.
    pub fn new(dice: Dice) -> Self {
        Self { dice, targets: targets(), chained: false, company: Vec::new() }
    }

    /// From now on the queue is a chain of rings, or is not.
    pub fn next_round(&mut self, chained: bool) {
        self.chained = chained;
    }

    fn is_open(&self, point: Point) -> bool {
        !is_closing(point) && is_here(point, self.chained)
    }

    /// The points to be died at.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Half of the victims die at the points that had the fewest deaths, others where that opens the way to such a point,
    /// anywhere, or from outside. `at` counts the deaths by number of the point.
    pub fn plan(&mut self, at: &[u64]) -> Plan {
        if let Some(plan) = self.company.pop() {
            return plan;
        }
        let luck = self.dice.below(100);
        if luck < 6 {
            return Plan::only(Script::All);
        }
        let chosen = if luck < 55 { self.rare(at) } else { self.any() };
        let (point, script) = match self.dice.pick(chosen.causes) {
            Some(cause) if self.dice.percent(50) => cause,
            _ => (chosen.point, chosen.script),
        };
        let visits = target(point).map_or(1, |target| target.visits);
        let visit = 1 + self.dice.below(visits);
        let stop = if point == chosen.point { chosen.stop } else { None };
        if point == chosen.point && !system::MANY {
            self.invite(chosen);
        }
        let stop = stop.or_else(|| self.dice.percent(8).then(|| self.any().point));
        Plan { script, point: Some((point, visit)), rare: self.dice.percent(70), stop }
    }

    /// Where few are killed in a second, somebody meets those whose deaths open its way only if they are started together.
    fn invite(&mut self, target: Target) {
        for _ in 0..COMPANY {
            if let Some((point, script)) = self.dice.pick(target.causes) {
                let visit = 1 + self.dice.below(3);
                self.company.push(Plan { point: Some((point, visit)), ..Plan::only(script) });
            }
        }
    }

    fn any(&mut self) -> Target {
        loop {
            if let Some(target) = self.dice.pick(&self.targets)
                && self.is_open(target.point)
            {
                return target;
            }
        }
    }

    fn rare(&mut self, at: &[u64]) -> Target {
        let mut open: Vec<Target> =
            self.targets.iter().filter(|target| self.is_open(target.point)).copied().collect();
        open.sort_by_key(|target| at[target.point as usize]);
        open.truncate(RARE);
        self.dice.pick(&open).unwrap_or_else(|| self.targets[0])
    }

    /// The points with the fewest deaths, by bit, as far as they are rarer than most.
    pub fn rarest(&self, at: &[u64]) -> [u64; POINT_WORDS] {
        let mut all: Vec<(u64, Point)> =
            self.targets.iter().map(|target| (at[target.point as usize], target.point)).collect();
        all.sort_by_key(|(kills, _)| *kills);
        let middle = all[all.len() / 2].0;
        let mut bits = [0; POINT_WORDS];
        for (kills, point) in &all[..RARE] {
            if *kills < middle * 2 / 3 {
                let bit = *point as usize;
                bits[bit / 64] |= 1 << (bit % 64);
            }
        }
        bits
    }
}

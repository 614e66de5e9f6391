//! What was counted while processes were killed, and the rows that tell of it.

use super::super::print_row;
use super::{Death, Orders, Seen, Who, named};
use offspring_core::points::Point;
use std::fmt::Write as _;
use std::time::Duration;

/// What was counted.
#[derive(Default)]
pub(in crate::kill) struct Tally {
    pub(super) at: Vec<u64>,
    /// Kills of parents, children, grandchildren, fork servers.
    of: [u64; Who::ALL.len()],
    outside: u64,
    unkilled: u64,
    pub(super) cases: u64,
    /// Deaths that nobody was told of, which the backstop found.
    pub(super) patrols: u64,
    /// From a kill until its process's end was told.
    told: Vec<Duration>,
    complaints: u64,
    text: String,
}

/// Complaints that are told whole.
const MOST_TOLD: u64 = 20;

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { at: vec![0; Point::ALL.len()], ..Self::default() }
    }

    /// How often such a one was killed.
    pub(super) fn of(&self, who: Who) -> u64 {
        self.of[who as usize]
    }

    /// What was seen of a child that was to be killed.
    pub(super) fn enter(&mut self, who: Who, death: Option<Death>, seen: Seen) {
        self.count(who, death, seen.killed);
        self.told.extend(seen.told);
        for what in seen.wrong {
            self.complain(format_args!("{}: {what}", who.name()));
        }
    }

    pub(in crate::kill) fn count(&mut self, who: Who, death: Option<Death>, killed: bool) {
        self.of[who as usize] += u64::from(killed && death.is_some());
        match death {
            Some(Death::At(point, _)) if killed => self.at[point as usize] += 1,
            Some(Death::After(_)) if killed => self.outside += 1,
            _ => self.unkilled += 1,
        }
    }

    pub(super) fn kills(&self) -> u64 {
        self.outside + self.at.iter().sum::<u64>()
    }

    pub(in crate::kill) fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.complaints += 1;
        if self.complaints <= MOST_TOLD {
            let _ = writeln!(self.text, "{what}");
        }
    }

    pub(super) fn tell(mut self, orders: &Orders, took: Duration) {
        for point in named() {
            let kills = self.at[point as usize];
            let few = (kills < orders.least)
                .then(|| format!("only {kills} kills, {} wanted", orders.least));
            print_row(
                &format!("killed at {}", point.name()),
                &format!("{kills:7} kills"),
                few.as_deref(),
            );
        }
        for who in Who::here() {
            let kills = self.of(who);
            let few = (kills < orders.each)
                .then(|| format!("only {kills} kills, {} wanted", orders.each));
            print_row(
                &format!("killed: {}", who.name()),
                &format!("{kills:7} kills"),
                few.as_deref(),
            );
        }
        let points = self.at.iter().filter(|kills| **kills != 0).count();
        let wrong = (self.complaints != 0).then(|| {
            format!("{} violations, seed {}:\n{}", self.complaints, orders.seed, self.text)
        });
        print_row(
            "processes",
            &format!(
                "{} killed at {points} points, {} from outside, {} ended by themselves, {:.0} a second",
                self.kills() - self.outside,
                self.outside,
                self.unkilled,
                self.cases as f64 / took.as_secs_f64()
            ),
            wrong.as_deref(),
        );
        self.told.sort();
        let at = |percent: usize| {
            self.told.get(self.told.len() * percent / 100).copied().unwrap_or_default()
        };
        print_row(
            "  end told",
            &format!("p50 {:.1?}, p99 {:.1?} after the kill", at(50), at(99)),
            None,
        );
        print_row(
            "  leftovers",
            &format!(
                "orphans, regions, pages, slots, lanes, descriptors: after every death; {} found by the backstop",
                self.patrols
            ),
            None,
        );
    }
}

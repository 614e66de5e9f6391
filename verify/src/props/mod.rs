//! The stage `props`: the real code against plain models, on random operations, deaths and schedules.

mod chain;
mod queue;
mod semaphore;
mod waiting;

use crate::report::{Progress, Report, Settings};
use std::time::{Duration, Instant};

/// One property. It gets how many cases to try and when to stop, and says how many it tried, or what is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// A statement: what must hold.
    pub name: &'static str,
    /// Cases in the quick version; the full one tries ten times as many.
    pub cases: u32,
    /// Checks it.
    pub check: fn(&Extent) -> Result<u32, String>,
}

/// How much of a property to check.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// At most so many cases.
    pub cases: u32,
    /// No new case after this.
    pub until: Option<Instant>,
}

impl Extent {
    /// Whether the time is over.
    #[must_use]
    pub fn over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

/// All properties, by module.
const PROPERTIES: &[&[Property]] =
    &[waiting::PROPERTIES, semaphore::PROPERTIES, queue::PROPERTIES, chain::PROPERTIES];

/// Checks all properties that are asked for.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let properties: Vec<_> =
        PROPERTIES.iter().copied().flatten().filter(|p| settings.wants(p.name)).collect();
    progress.expect(properties.len());
    let until = settings.until();
    let mut report = Report::default();
    for (i, property) in properties.iter().enumerate() {
        progress.say(property.name);
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let share = |until| left(until) / (properties.len() - i) as u32;
        let extent = Extent {
            // With a time given, the time alone decides.
            cases: match until {
                Some(_) => u32::MAX,
                None => property.cases * if settings.quick { 1 } else { 10 },
            },
            until: until.map(|until| Instant::now() + share(until).max(Duration::from_millis(100))),
        };
        report.row(property.name, || match (property.check)(&extent) {
            Ok(0) => ("0 cases".to_owned(), Err("no case was tried".to_owned())),
            Ok(cases) => (format!("{cases:7} cases"), Ok(())),
            Err(what) => (String::new(), Err(what)),
        });
        progress.step();
    }
    report
}

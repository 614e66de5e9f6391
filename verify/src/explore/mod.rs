//! The stage `loom`: the real code under every interleaving that loom finds, a death at every point.
//!
//! A [`Model`] is a closed scenario of at most five threads over a [`fake`](crate::fake) family. Its victims' deaths are
//! chosen out here: one exploration without a death, then one for each point that the victim passes (and for each pair,
//! with two victims), so that the choice adds no branches. The enumeration ends when no execution reaches the point.
//!
//! With a time given, a model is explored with one preemption first, then two, and so on: what was cut short then is the
//! deepest round, and every death was met with fewer preemptions.
//!
//! A violation prints the model's name and where its victims died; run it alone with `cargy verify loom --only NAME`.

mod family;
mod parking;
mod queue;
mod semaphore;
mod waiting;

use crate::fake::Fate;
use crate::report::{Progress, Report, Settings};
use std::any::Any;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// A statement: what must hold.
    pub name: &'static str,
    /// How many participants may die; `body` gets as many fates.
    pub victims: usize,
    /// One execution; panics if what must hold does not.
    pub body: fn(&[Fate]),
}

/// All scenarios, by module.
const MODELS: &[&[Model]] = &[
    family::MODELS,
    waiting::MODELS,
    parking::MODELS,
    semaphore::MODELS,
    queue::transport::MODELS,
    queue::leases::MODELS,
    queue::replies::MODELS,
    queue::waiting::MODELS,
    queue::spsc::MODELS,
];

/// What is being explored, for whoever reads a panic.
static CURRENT: Mutex<String> = Mutex::new(String::new());

/// Explores all models that are asked for.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let inherited = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        eprintln!(
            "\nin the loom model {}:",
            CURRENT.lock().map_or_else(|_| String::new(), |at| at.clone())
        );
        inherited(info);
    }));
    let models: Vec<_> =
        MODELS.iter().copied().flatten().filter(|model| settings.wants(model.name)).collect();
    progress.expect(models.len());
    let until = settings.until();
    let bound = settings.bound.unwrap_or(if settings.quick { 2 } else { 3 });
    let mut report = Report::default();
    for (i, model) in models.iter().enumerate() {
        // Each model may use an equal share of what is left.
        let share = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Instant::now() + left / (models.len() - i) as u32
        });
        report.row(model.name, || {
            let first = if share.is_some() { 1 } else { bound };
            let mut explorer = Explorer {
                model,
                bound: first,
                until: share,
                progress,
                runs: 0,
                executions: 0,
                cut: false,
            };
            let verdict = explorer.deepen(bound);
            (explorer.extent(), verdict)
        });
        progress.step();
    }
    report
}

struct Explorer<'a> {
    model: &'a Model,
    bound: usize,
    until: Option<Instant>,
    progress: &'a Progress,
    runs: u64,
    executions: u64,
    cut: bool,
}

impl Explorer<'_> {
    fn extent(&self) -> String {
        let cut = match self.bound - usize::from(self.cut) {
            _ if !self.cut => String::new(),
            0 => " cut short".to_owned(),
            whole => format!(" cut short, {whole} whole"),
        };
        format!(
            "{:4} explorations {:9} executions, bound {}{cut}",
            self.runs, self.executions, self.bound
        )
    }

    /// Explores every death with so many preemptions, and then one more each time up to `bound`.
    fn deepen(&mut self, bound: usize) -> Result<(), String> {
        loop {
            self.every_death(&[])?;
            if self.cut || self.bound >= bound {
                return Ok(());
            }
            self.bound += 1;
        }
    }

    /// Explores with the first victims dying at `deaths`, then with each further victim dying at every point it passes.
    /// Says whether the last of `deaths` happened in any execution.
    fn every_death(&mut self, deaths: &[usize]) -> Result<bool, String> {
        let victims = self.model.victims;
        let mut all = deaths.to_vec();
        all.resize(victims, usize::MAX);
        let fates = self.explore(&all)?;
        if deaths.last().is_some_and(|_| !fates[deaths.len() - 1].reached()) {
            return Ok(false);
        }
        for victim in deaths.len()..victims {
            for at in 0.. {
                all.truncate(deaths.len());
                all.resize(victim, usize::MAX);
                all.push(at);
                if self.over() {
                    self.cut = true;
                    return Ok(true);
                }
                if !self.every_death(&all)? {
                    break;
                }
            }
        }
        Ok(true)
    }

    fn over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn explore(&mut self, deaths: &[usize]) -> Result<Vec<Fate>, String> {
        let fates: Vec<_> = deaths.iter().map(|&at| Fate::dies_at(at)).collect();
        let places: Vec<_> = deaths
            .iter()
            .map(|&at| if at == usize::MAX { "never".to_owned() } else { at.to_string() })
            .collect();
        let what = format!("{} (deaths at points: {})", self.model.name, places.join(", "));
        self.progress.say(what.clone());
        if let Ok(mut current) = CURRENT.lock() {
            current.clone_from(&what);
        }
        let executions = Arc::new(AtomicU64::new(0));
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(self.bound);
        builder.max_branches = 20_000;
        builder.checkpoint_interval = 1_000; // how often it looks at the time
        builder.max_duration = self.until.map(|until| {
            until.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
        });
        let result = catch_unwind(AssertUnwindSafe(|| {
            let (body, fates, executions) = (self.model.body, fates.clone(), executions.clone());
            builder.check(move || {
                executions.fetch_add(1, Ordering::Relaxed);
                body(&fates);
            });
        }));
        self.runs += 1;
        self.executions += executions.load(Ordering::Relaxed);
        self.cut |= self.over();
        match result {
            Ok(()) => Ok(fates),
            Err(panic) => Err(format!("{what}: {}", message(panic.as_ref()))),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

//! What every stage takes and gives: its settings, a progress bar, and rows for the closing table.

use indicatif::{ProgressBar, ProgressStyle};
use std::fmt;
use std::time::{Duration, Instant};

/// How thoroughly a stage is to run.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The small version, for every change.
    pub quick: bool,
    /// About how long it may take, in seconds; a stage that is cut short says so in its rows.
    pub seconds: Option<u64>,
    /// Only what has this in its name.
    pub only: Option<String>,
    /// loom: the preemptions explored, in place of the stage's own choice.
    pub bound: Option<usize>,
    /// kill: some victims are made of several threads.
    pub threads: bool,
    /// kill: only what is killed while it uses this object.
    pub object: Option<String>,
    /// kill: how often each of parent, child, grandchild and fork server is to be killed, in place of the stage's own number.
    pub kills: Option<u64>,
    /// parity: the Windows build is tried under Wine, too.
    pub wine: bool,
    /// kill: the seed of a run to be run again.
    pub seed: Option<u64>,
}

impl Settings {
    /// When the time is over.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds))
    }

    /// Whether `name` is asked for.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }
}

/// One line of the closing table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was checked.
    pub name: String,
    /// How much of it: states, executions, cases.
    pub extent: String,
    /// How long it took.
    pub took: Duration,
    /// `Err` is a violation, in one line or more.
    pub verdict: Result<(), String>,
}

/// What a stage found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order in which they ran.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether everything held. A stage that checked nothing has not passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.verdict.is_ok())
    }

    /// Runs `check` and keeps what came of it: how much was checked, or what is wrong.
    pub fn row(&mut self, name: &str, check: impl FnOnce() -> (String, Result<(), String>)) {
        let begin = Instant::now();
        let (extent, verdict) = check();
        self.rows.push(Row { name: name.to_owned(), extent, took: begin.elapsed(), verdict });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |cell: fn(&Row) -> &str| self.rows.iter().map(|row| cell(row).len()).max().unwrap_or(0);
        let (names, extents) = (width(|row| &row.name), width(|row| &row.extent));
        for row in &self.rows {
            let verdict = if row.verdict.is_ok() { "ok" } else { "VIOLATION" };
            let took = row.took.as_secs_f64();
            writeln!(f, "{:names$}  {:extents$}  {took:7.2} s  {verdict}", row.name, row.extent)?;
        }
        for (row, what) in
            self.rows.iter().filter_map(|row| Some((row, row.verdict.as_ref().err()?)))
        {
            writeln!(f, "\n{}:\n{what}", row.name)?;
        }
        match self.rows.iter().filter(|row| row.verdict.is_err()).count() {
            _ if self.rows.is_empty() => writeln!(f, "nothing ran: failed"),
            0 => writeln!(f, "{} checks, all held", self.rows.len()),
            bad => writeln!(f, "{bad} of {} checks violated", self.rows.len()),
        }
    }
}

/// The bar on the terminal (none if it is not one).
#[derive(Clone, Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for `stage`.
    #[must_use]
    pub fn new(stage: &str) -> Self {
        let bar = ProgressBar::new(0).with_prefix(stage.to_owned());
        bar.set_style(
            ProgressStyle::with_template("{prefix} [{bar:24}] {pos}/{len} {elapsed} {wide_msg}")
                .expect("the template is right")
                .progress_chars("=> "),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// There will be so many checks.
    pub fn expect(&self, checks: usize) {
        self.0.set_length(checks as u64);
    }

    /// What is going on.
    pub fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// One check is done.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

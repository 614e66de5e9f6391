//! What was measured, as lines: for the eye, and as JSON under `benches/results`.

use crate::Result;
use crate::measure::{Comparison, Spread};
use crate::table::{Peer, Row, Unit};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// One row against one peer, with where and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The row's name.
    pub row: String,
    /// The peer's name.
    pub peer: String,
    /// `ns` or `M/s`.
    pub unit: String,
    /// Our figures.
    pub ours: Spread,
    /// Theirs.
    pub theirs: Spread,
    /// Ours over theirs, round by round.
    pub ratio: Spread,
    /// The ratio to reach.
    pub target: f64,
    /// Whether the median ratio reaches it.
    pub met: bool,
    /// How many rounds.
    pub rounds: usize,
    /// Processor and number of cores.
    pub machine: String,
    /// Seconds since 1970.
    pub when: u64,
}

impl Record {
    /// What one comparison gave.
    pub fn new(row: &Row, peer: &Peer, told: Comparison, rounds: usize) -> Self {
        Self {
            row: row.name.into(),
            peer: peer.name.into(),
            unit: row.unit.name().into(),
            ours: told.ours,
            theirs: told.theirs,
            ratio: told.ratio,
            target: peer.target,
            met: row.unit.meets(told.ratio.median, peer.target),
            rounds,
            machine: machine(),
            when: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        }
    }

    /// Whether less is better.
    pub fn less_is_better(&self) -> bool {
        self.unit == Unit::Nanos.name()
    }

    /// The line for the eye.
    pub fn line(&self) -> String {
        let unit = if self.less_is_better() { Unit::Nanos } else { Unit::Rate };
        let target = unit.target(self.target);
        let told = told(&self.row, &self.peer, &self.unit, [self.ours, self.theirs, self.ratio]);
        format!("{told} | {target:>7} | {}", if self.met { "yes" } else { "NO" })
    }
}

/// The names of the columns of [`Record::line`].
pub const HEADING: &str = "NAME               | ours (min..max)                    | peer                   | theirs (min..max)                  | ratio (min..max)       | target  | met?";

/// A row without a target.
pub fn told(row: &str, peer: &str, unit: &str, [ours, theirs, ratio]: [Spread; 3]) -> String {
    let figure = |spread: Spread| {
        let Spread { median, min, max } = spread;
        format!("{} {unit} ({}..{})", short(median), short(min), short(max))
    };
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{row:<18} | {:<34} | peer={peer:<17} | {:<34} | ",
        figure(ours),
        figure(theirs)
    );
    let Spread { median, min, max } = ratio;
    let ratio = format!("{}x ({}..{})", short(median), short(min), short(max));
    let _ = write!(line, "{ratio:<22}");
    line
}

/// A figure with three digits that mean something.
pub fn short(figure: f64) -> String {
    match figure {
        f if f >= 99.95 => format!("{f:.0}"),
        f if f >= 9.995 => format!("{f:.1}"),
        f if f >= 0.995 => format!("{f:.2}"),
        f => format!("{f:.3}"),
    }
}

/// The processor's name and how many cores this process may use.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}

/// A place in the package.
pub fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

const LAST: &str = "results/last.jsonl";

/// Writes this run beside the earlier ones; a full one takes the place of its rows in the last figures.
pub fn save(records: &[Record], full: bool) -> Result<PathBuf> {
    let when = records.first().map_or(0, |record| record.when);
    let path = place(&format!("results/{when}.jsonl"));
    fs::create_dir_all(place("results"))?;
    fs::write(&path, lines(records)?)?;
    if full {
        let merged = merge(last().unwrap_or_default(), records);
        fs::write(place(LAST), lines(&merged)?)?;
    }
    Ok(path)
}

/// The last full figures of every row.
pub fn last() -> Result<Vec<Record>> {
    let path = place(LAST);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("read {}: {error}; `run` makes it", path.display()))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn lines(records: &[Record]) -> Result<String> {
    let mut text = String::new();
    for record in records {
        text.push_str(&serde_json::to_string(record)?);
        text.push('\n');
    }
    Ok(text)
}

/// The old figures with the new ones in the places of theirs, in the table's order.
fn merge(old: Vec<Record>, new: &[Record]) -> Vec<Record> {
    let same = |a: &Record, b: &Record| a.row == b.row && a.peer == b.peer;
    let mut all: Vec<_> =
        old.into_iter().filter(|old| !new.iter().any(|new| same(old, new))).collect();
    all.extend_from_slice(new);
    let order = |record: &Record| {
        let row = crate::table::ROWS.iter().position(|row| row.name == record.row)?;
        let peers = crate::table::ROWS[row].peers;
        Some((row, peers.iter().position(|peer| peer.name == record.peer)?))
    };
    all.retain(|record| order(record).is_some());
    all.sort_by_key(order);
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::table::ROWS;

    pub(crate) fn record(row: usize, ratio: f64) -> Record {
        let spread = |median| Spread { median, min: median / 2.0, max: median * 2.0 };
        let told = Comparison { ours: spread(10.0), theirs: spread(20.0), ratio: spread(ratio) };
        Record::new(&ROWS[row], &ROWS[row].peers[0], told, 7)
    }

    #[test]
    fn a_new_figure_takes_the_place_of_the_old_one() {
        let old = vec![record(0, 1.0), record(2, 3.0)];
        let merged = merge(old, &[record(2, 4.0), record(1, 2.0)]);
        let told: Vec<_> = merged.iter().map(|record| record.ratio.median).collect();
        assert_eq!(told, [1.0, 2.0, 4.0]);
    }

    #[test]
    fn a_record_survives_its_json() {
        let record = record(0, 1.25);
        let text = lines(std::slice::from_ref(&record)).unwrap();
        let back: Record = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(back.line(), record.line());
        assert!(record.line().ends_with("<= 1.2x | NO"));
    }

    #[test]
    fn figures_keep_three_digits() {
        let told = [0.1234, 1.234, 12.34, 123.4, 9.999, 99.99].map(short);
        assert_eq!(told, ["0.123", "1.23", "12.3", "123", "10.0", "100"]);
    }
}

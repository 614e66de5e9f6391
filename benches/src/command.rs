//! What the person at the terminal asks for.

use crate::Result;
use crate::cores::Cores;
use crate::measure::{self, Effort};
use crate::results::{self, Record};
use crate::table::{self, Peer, Row};
use crate::{figures, plot};
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;

const HELP: &str = "\
cargo peers list                 the questions, the peers, the targets
cargo peers run [ROW …]          compares; a question's name (r1) means all its rows, none means everything
cargo peers noise [ROW …]        compares each peer with itself: what a difference means on this machine now
cargo peers once ROW COUNT       our side alone (or the --peer's), this many operations: for a profiler
cargo peers plot                 draws the last figures, and refreshes benches/README.md
  --rounds N                     instead of 9; at least 7
  --quick                        7 short rounds; the figures are not kept as the last ones
  --peer NAME                    only this peer";

/// The least number of rounds whose median means something.
const FEWEST_ROUNDS: usize = 7;

struct Options {
    rows: Vec<String>,
    peer: Option<String>,
    rounds: usize,
    quick: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { rows: Vec::new(), peer: None, rounds: 9, quick: false };
        let mut rounds = None;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--rounds" => {
                    let number = arguments.next().and_then(|number| number.parse::<usize>().ok());
                    let number = number.filter(|&number| number >= FEWEST_ROUNDS);
                    rounds = Some(number.ok_or("--rounds wants a number, at least 7")?);
                }
                "--peer" => {
                    options.peer = Some(arguments.next().ok_or("--peer wants a name")?);
                }
                option if option.starts_with('-') => {
                    return Err(format!("there is no option {option}\n{HELP}").into());
                }
                _ => options.rows.push(argument),
            }
        }
        options.rounds =
            rounds.unwrap_or(if options.quick { FEWEST_ROUNDS } else { options.rounds });
        Ok(options)
    }

    fn effort(&self) -> Effort {
        Effort { rounds: self.rounds, nanos: if self.quick { 40_000_000 } else { 200_000_000 } }
    }

    /// The comparisons asked for.
    fn pairs(&self) -> Result<Vec<(&'static Row, &'static Peer)>> {
        let wanted = |peer: &Peer| {
            self.peer.as_ref().is_none_or(|name| peer.name.eq_ignore_ascii_case(name))
        };
        let pairs: Vec<_> = table::select(&self.rows)?
            .into_iter()
            .flat_map(|row| row.peers.iter().map(move |peer| (row, peer)))
            .filter(|(_, peer)| wanted(peer))
            .collect();
        if pairs.is_empty() {
            return Err("none of these rows has that peer: `list` names them".into());
        }
        Ok(pairs)
    }
}

/// Does what the arguments say.
pub fn run(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let verb = arguments.next();
    let done = match verb.as_deref() {
        Some("list") => list(arguments),
        Some("run") => compare(arguments),
        Some("noise") => noise(arguments),
        Some("once") => once(arguments),
        Some("plot") => plot::draw().and_then(|()| figures::refresh()),
        _ => Err(HELP.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn list(arguments: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::read(arguments)?;
    for row in table::select(&options.rows)? {
        println!("{:<18} {} ({})", row.name, row.question, row.unit.name());
        for peer in row.peers {
            println!("{:<18}   {:<18} {}", "", peer.name, row.unit.target(peer.target));
        }
    }
    Ok(())
}

/// A bar that stays on the terminal only while something is measured.
fn bar(pairs: usize, rounds: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rounds, {eta} to go: {msg}")?;
    Ok(ProgressBar::new((pairs * rounds) as u64).with_style(style))
}

fn compare(arguments: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::read(arguments)?;
    let (pairs, cores, effort) = (options.pairs()?, Cores::find()?, options.effort());
    let bar = bar(pairs.len(), effort.rounds)?;
    bar.suspend(|| println!("{}", results::HEADING));
    let (mut records, mut failed) = (Vec::new(), 0);
    for (row, peer) in pairs {
        bar.set_message(format!("{} and {}", row.name, peer.name));
        match measure::versus(row, peer, cores, effort, || bar.inc(1)) {
            Ok(told) => {
                let record = Record::new(row, peer, told, effort.rounds);
                bar.suspend(|| println!("{}", record.line()));
                records.push(record);
            }
            Err(error) => {
                failed += 1;
                bar.suspend(|| eprintln!("{} with {}: {}", row.name, peer.name, chain(&*error)));
            }
        }
    }
    bar.finish_and_clear();
    if !records.is_empty() {
        let path = results::save(&records, !options.quick)?;
        eprintln!("saved in {}", path.display());
    }
    if failed > 0 {
        return Err(format!("{failed} comparisons could not be made").into());
    }
    Ok(())
}

fn noise(arguments: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::read(arguments)?;
    let (pairs, cores, effort) = (options.pairs()?, Cores::find()?, options.effort());
    let bar = bar(pairs.len(), effort.rounds)?;
    for (row, peer) in pairs {
        bar.set_message(format!("{}: {} and itself", row.name, peer.name));
        let told = measure::noise(row, peer, cores, effort, || bar.inc(1))
            .map_err(|error| format!("{} with {}: {}", row.name, peer.name, chain(&*error)))?;
        let spreads = [told.ours, told.theirs, told.ratio];
        let line = results::told(row.name, peer.name, row.unit.name(), spreads);
        bar.suspend(|| println!("{line}"));
    }
    bar.finish_and_clear();
    Ok(())
}

fn once(arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut options = Options::read(arguments)?;
    let count = options.rows.pop().and_then(|count| count.parse::<u64>().ok());
    let count = count.ok_or("once wants a row and, last, how many operations")?;
    let (row, peer) = options.pairs()?[0];
    let run = if options.peer.is_some() { peer.run } else { row.ours };
    let nanos = run(count, Cores::find()?)?;
    let figure = results::short(row.unit.figure(count, nanos));
    println!("{}: {figure} {}, {count} operations in {nanos} ns", row.name, row.unit.name());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Options> {
        Options::read(arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn fewer_than_seven_rounds_are_refused() {
        assert!(read(&["--rounds", "6"]).is_err());
        assert_eq!(read(&["--rounds", "7", "r1"]).unwrap().rounds, 7);
        assert_eq!(read(&["--quick", "--rounds", "11"]).unwrap().rounds, 11);
    }

    #[test]
    fn an_unknown_option_or_peer_is_refused() {
        assert!(read(&["--fast"]).is_err());
        assert!(read(&["r1", "--peer", "Python"]).unwrap().pairs().is_err());
        assert_eq!(read(&["r3", "--peer", "python"]).unwrap().pairs().unwrap().len(), 2);
    }
}

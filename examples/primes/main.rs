//! Counts the primes below a number, in worker processes, with a bar.
//!
//! ```text
//! cargo run --release --example primes [BELOW] [--workers N]
//! ```
//!
//! The range is cut into pieces, a map over which the pool spreads: the pieces at the end of the range take longer, and the pool
//! measures that. What comes back is summed up in the order of the pieces.

use indicatif::ProgressBar;
use offspring::Pool;
use std::process::ExitCode;
use std::time::Instant;

/// Numbers in a piece.
const PIECE: u64 = 10_000;

/// How many primes a piece has, and the largest.
fn count((from, to): (u64, u64)) -> (u64, Option<u64>) {
    let primes = (from..to).filter(|n| is_prime(*n));
    primes.fold((0, None), |(count, _), prime| (count + 1, Some(prime)))
}

fn is_prime(n: u64) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

fn main() -> ExitCode {
    let _main = offspring::init();
    match arguments().map_err(Into::into).and_then(|(below, workers)| run(below, workers)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("primes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<(u64, usize), String> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let (mut below, mut workers) = (5_000_000, cores);
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        if argument == "--workers" {
            let number = rest.next().and_then(|number| number.parse().ok());
            workers = number.ok_or("--workers wants a number")?;
        } else {
            let wrong = |_| format!("{argument} is no number; there is --workers N besides");
            below = argument.parse().map_err(wrong)?;
        }
    }
    Ok((below, workers))
}

fn run(below: u64, workers: usize) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let pool = Pool::builder().workers(workers).build()?;
    let pieces = (0..below).step_by(PIECE as usize).map(|from| (from, below.min(from + PIECE)));
    let bar = ProgressBar::new(below.div_ceil(PIECE));
    let (mut primes, mut largest) = (0, None);
    for piece in pool.imap(count, pieces) {
        let (count, last) = piece?;
        primes += count;
        largest = last.or(largest);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let took = begun.elapsed().as_secs_f64();
    println!("{primes} primes below {below}, the largest {}", largest.unwrap_or(0));
    println!("{took:.2} s with {workers} workers");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_counted() {
        assert_eq!(count((0, 100)), (25, Some(97)));
        assert_eq!(count((90, 97)), (0, None));
    }
}

//! Explicit-state models of the protocols, each with its mutants.
//!
//! A model restates one protocol as a machine (see [`checker::Protocol`]) for a few processes that may die in any
//! state. A *mutant* is the same model with one planted mistake: the checker must find it, else the model would not
//! notice that mistake in the protocol either.
//!
//! | model | follows | simplified |
//! |---|---|---|
//! | ring | `core::queue`: slots, hints, redelivery in place, leases of inline items, sweep | a death is seen at once |
//! | leases | `core::queue`: block leases, tickets, replies, sweep, an index used again | finding a slot and its CAS are one step |
//! | close | `core::queue`: the close mark, with sleeping and waking | repairs are one step a word |
//! | chain | `core::queue::Chain`: successors, head and tail, pins, giving rings back, leases of rings that were left | finding a slot and its CAS are one step; a repair is one step a ring |
//! | guests | `Chain::sweep_as_guest`: who sweeps before it is a member, and the ring that it looks at | one ring, one seat |
//! | event count | `EventCount`, `block_on` | no store buffers |
//! | barrier | light and heavy barrier of `EventCount` | nobody dies |
//! | registry | `core::family`: lanes, suspicion, declaration | few suspicions of one process |
//! | lock | the recoverable lock on `block_on` | what it guards is one bit |
//! | parking | `core::parking`: sleepers, wakers, notices; handles signalled late | looks at the lanes one a step, no buckets |
//! | spsc | `core::queue::spsc`: counts, roles, handles that travel, successors | a record is one step, nobody sleeps |
//! | semaphore | `core::semaphore` | no sleeping, no `forget` |
//! | fork server | `os-unix`'s `forkserver`, the facade's `process::server` | one system call a step; one client |
//! | pool | the facade's `pool`: chunks, the board, losses, cancels, dooming | the queue delivers once, a death is seen at once |
//!
//! All but the barrier model and that of guests are sequentially consistent: orderings are loom's matter. Not covered: generations that wrap,
//! several size classes of blocks, dead letters, a death noticed before the epoch is raised together with the queue,
//! regions and their collection, a process that waits for a block that it leases itself.

mod barrier;
mod chain;
pub mod checker;
mod close;
mod events;
mod forkserver;
mod guest;
mod leases;
mod lock;
mod parking;
mod pool;
mod registry;
mod ring;
mod semaphore;
mod spsc;

use checker::{Limits, Outcome, Protocol, Verdict};
use std::time::{Duration, Instant};

/// What a case must turn out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// The protocol itself: nothing wrong may be found.
    Holds,
    /// A mutant: a step that must not be.
    Unsafe,
    /// A mutant: a state from which the survivors cannot finish.
    Stuck,
    /// A planted change that does no harm, for the reason given.
    Harmless(&'static str),
}

type Search = Box<dyn Fn(Limits, &mut dyn FnMut(u64)) -> Outcome>;

/// One model in one configuration, with at most one planted mistake.
pub struct Case {
    /// The model.
    pub name: &'static str,
    /// Who takes part and what may happen.
    pub config: &'static str,
    /// The planted mistake.
    pub mutant: Option<&'static str>,
    /// What must come out.
    pub expect: Expect,
    search: Search,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}), mutant {:?}", self.name, self.config, self.mutant)
    }
}

impl Case {
    /// The protocol as it is.
    pub fn sound(
        name: &'static str,
        config: &'static str,
        protocol: impl Protocol + 'static,
    ) -> Self {
        Self { name, config, mutant: None, expect: Expect::Holds, search: search(protocol) }
    }

    /// The protocol with a planted mistake.
    pub fn mutant(
        name: &'static str,
        config: &'static str,
        mutant: &'static str,
        expect: Expect,
        protocol: impl Protocol + 'static,
    ) -> Self {
        Self { name, config, mutant: Some(mutant), expect, search: search(protocol) }
    }

    /// Searches it.
    pub fn run(&self, limits: Limits, progress: &mut dyn FnMut(&str, u64)) -> ModelReport {
        let begin = Instant::now();
        let limits = Limits { early: self.expect == Expect::Stuck, ..limits };
        let Outcome { states, edges, verdict } =
            (self.search)(limits, &mut |states| progress(self.name, states));
        ModelReport {
            name: self.name,
            config: self.config,
            mutant: self.mutant,
            expect: self.expect,
            states,
            edges,
            seconds: begin.elapsed().as_secs_f64(),
            verdict,
        }
    }
}

fn search(protocol: impl Protocol + 'static) -> Search {
    Box::new(move |limits, progress| checker::check(&protocol, limits, progress))
}

/// What came of one case.
#[derive(Clone, Debug)]
pub struct ModelReport {
    /// The model.
    pub name: &'static str,
    /// Who takes part and what may happen.
    pub config: &'static str,
    /// The planted mistake, if any.
    pub mutant: Option<&'static str>,
    /// What had to come out.
    pub expect: Expect,
    /// States seen.
    pub states: usize,
    /// Steps seen.
    pub edges: usize,
    /// How long it took.
    pub seconds: f64,
    /// What came out.
    pub verdict: Verdict,
}

impl ModelReport {
    /// Whether what came out is what had to. A search of the protocol itself that reached its limit and found
    /// nothing passes (the table says that it was stopped); one of a mutant does not.
    #[must_use]
    pub fn passed(&self) -> bool {
        match self.expect {
            Expect::Holds => matches!(self.verdict, Verdict::Holds | Verdict::Stopped),
            Expect::Harmless(_) => matches!(self.verdict, Verdict::Holds),
            Expect::Unsafe => matches!(self.verdict, Verdict::Unsafe { .. }),
            Expect::Stuck => matches!(self.verdict, Verdict::Stuck { .. }),
        }
    }

    /// The verdict in a few words, for a table.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.verdict {
            Verdict::Holds => match self.expect {
                Expect::Harmless(reason) => format!("not caught, harmless: {reason}"),
                _ => "holds".to_owned(),
            },
            Verdict::Stopped => "nothing found, not exhaustive".to_owned(),
            Verdict::Unsafe { why, trace } => format!("unsafe after {} steps: {why}", trace.len()),
            Verdict::Stuck { states, trace } => {
                format!("stuck after {} steps ({states} states)", trace.len())
            }
        }
    }

    /// The shortest way to what is wrong, one step a line: `thread: what it does`.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        match &self.verdict {
            Verdict::Unsafe { trace, .. } | Verdict::Stuck { trace, .. } => trace,
            Verdict::Holds | Verdict::Stopped => &[],
        }
    }
}

/// A model's cases: the small ones first; the large ones too unless `quick`.
type Cases = fn(quick: bool) -> Vec<Case>;

const MODELS: &[Cases] = &[
    ring::cases,
    leases::cases,
    close::cases,
    chain::cases,
    guest::cases,
    events::cases,
    barrier::cases,
    registry::cases,
    lock::cases,
    parking::cases,
    semaphore::cases,
    spsc::cases,
    forkserver::cases,
    pool::cases,
];

/// Every case: the small ones and all mutants, then, unless `quick`, the large ones.
#[must_use]
pub fn all(quick: bool) -> Vec<Case> {
    let mut cases: Vec<Case> = MODELS.iter().flat_map(|cases| cases(true)).collect();
    if !quick {
        let large = |model: &Cases| model(false).into_iter().skip(model(true).len());
        cases.extend(MODELS.iter().flat_map(large));
    }
    cases
}

/// The most memory that one search takes.
const MOST_BYTES: usize = 3 << 30;

/// Searches every case and reports each; see [`run_only`].
pub fn run(
    quick: bool,
    seconds: Option<u64>,
    progress: &mut dyn FnMut(&str, u64),
) -> Vec<ModelReport> {
    run_only(quick, seconds, None, progress)
}

/// Searches every case whose model's name holds `only`, and reports each.
///
/// `seconds` bounds the large cases together: one that would pass it is cut short, and says so. The small ones and the
/// mutants always run to their end. `progress` is told the model's name and the states seen so far.
pub fn run_only(
    quick: bool,
    seconds: Option<u64>,
    only: Option<&str>,
    progress: &mut dyn FnMut(&str, u64),
) -> Vec<ModelReport> {
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let small = all(true).len();
    let run = |(i, case): (usize, Case)| {
        let until = until.filter(|_| i >= small);
        let named = only.is_none_or(|only| case.name.contains(only));
        named.then(|| case.run(Limits { bytes: MOST_BYTES, until, early: false }, progress))
    };
    all(quick).into_iter().enumerate().filter_map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_models_hold_and_their_mutants_are_found() {
        for only in ["barrier", "lock"] {
            let reports = run_only(true, None, Some(only), &mut |_, _| ());
            assert!(!reports.is_empty());
            for report in reports {
                assert!(report.passed(), "{report:#?}");
            }
        }
    }

    #[test]
    fn a_search_out_of_memory_says_that_it_is_not_exhaustive() {
        let cases = all(true);
        let limits = Limits { bytes: 1 << 20, until: None, early: false };
        let report = cases[0].run(limits, &mut |_, _| ());
        assert_eq!(report.verdict, Verdict::Stopped);
        assert!(report.summary().contains("not exhaustive"));
    }
}

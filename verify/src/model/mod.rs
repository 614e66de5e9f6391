//! Explicit-state models of the protocols, each with its mutants.
//!
//! A model restates one protocol as a machine (see [`checker::Protocol`]) for a few processes that may die in any
//! state. A *mutant* is the same model with one planted mistake: the checker must find it, else the model would not
//! notice that mistake in the protocol either.

mod barrier;
pub mod checker;
mod close;
mod events;
mod leases;
mod lock;
mod registry;
mod ring;
mod semaphore;

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

/// Every case: small ones for `quick`, else also the large ones.
#[must_use]
pub fn all(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(ring::cases(quick));
    cases.extend(leases::cases(quick));
    cases.extend(close::cases(quick));
    cases.extend(barrier::cases(quick));
    cases.extend(lock::cases(quick));
    cases.extend(semaphore::cases(quick));
    cases.extend(registry::cases(quick));
    cases.extend(events::cases(quick));
    cases
}

/// The most states one search keeps: about 3 GB.
const MOST_STATES: usize = 16 << 20;

/// Searches every case and reports each. `seconds` bounds the whole run: a case that would pass it is cut short.
/// `progress` is told the model's name and the states seen so far.
pub fn run(
    quick: bool,
    seconds: Option<u64>,
    progress: &mut dyn FnMut(&str, u64),
) -> Vec<ModelReport> {
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let limits = Limits { states: MOST_STATES, until, early: false };
    all(quick).iter().map(|case| case.run(limits, progress)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "for finding configurations"]
    fn survey() {
        let only = std::env::var("MODEL").unwrap_or_default();
        for case in all(std::env::var("FULL").is_err()) {
            if !format!("{case:?}").contains(&only) {
                continue;
            }
            let limits = Limits {
                early: false,
                states: MOST_STATES,
                until: Some(Instant::now() + Duration::from_secs(120)),
            };
            let r = case.run(limits, &mut |_, _| ());
            let ok = if r.passed() { "ok  " } else { "FAIL" };
            println!(
                "{ok} {:6.1}s {:9} {:9} {:?} -> {}",
                r.seconds,
                r.states,
                r.edges,
                case,
                r.summary()
            );
            if !r.passed() {
                println!("   {}", r.trace().join("\n   "));
            }
        }
    }
}

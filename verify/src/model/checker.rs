//! The engine: every interleaving of a protocol's steps, breadth first.
//!
//! Two questions are asked of a protocol. *Safety*: no step, from any reachable state, does what it must not.
//! *Progress*: from every reachable state the survivors can still finish. What nobody may count on (a death, a
//! spurious wake-up, a newcomer) is an edge of the forward search and no edge of the backward one: a state that is
//! repaired only by a further death is stuck.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::time::Instant;

/// A protocol, as a machine whose every step is one access to shared memory.
pub trait Protocol {
    /// Everything there is: shared words and each thread's registers. Equal states are merged, so what no longer
    /// matters should be zeroed.
    type State: Copy + Eq + Hash;

    /// Where it begins.
    fn start(&self) -> Self::State;

    /// All steps possible in `state`.
    fn steps(&self, state: &Self::State, out: &mut Steps<Self::State>);

    /// Whether there is nothing left to do: the goal of the progress check.
    fn finished(&self, state: &Self::State) -> bool;

    /// What a trace calls `who`.
    fn name(&self, who: usize) -> String {
        who.to_string()
    }
}

/// One step: who does what, and what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Step<S> {
    who: u8,
    what: &'static str,
    /// Nobody may count on it.
    luck: bool,
    then: Result<S, &'static str>,
}

/// Collects the steps of one state.
#[derive(Debug)]
pub struct Steps<S> {
    found: Vec<Step<S>>,
}

impl<S> Steps<S> {
    /// `who` can do `what`, and the survivors may count on it.
    #[inline]
    pub fn step(&mut self, who: usize, what: &'static str, then: S) {
        self.push(who, what, false, Ok(then));
    }

    /// This can happen to `who`, but nobody may count on it.
    #[inline]
    pub fn luck(&mut self, who: usize, what: &'static str, then: S) {
        self.push(who, what, true, Ok(then));
    }

    /// `who` does `what`, which is wrong.
    #[inline]
    pub fn wrong(&mut self, who: usize, what: &'static str, why: &'static str) {
        self.push(who, what, false, Err(why));
    }

    /// A step that is right only if `then` is.
    #[inline]
    pub fn either(&mut self, who: usize, what: &'static str, then: Result<S, &'static str>) {
        self.push(who, what, false, then);
    }

    fn push(&mut self, who: usize, what: &'static str, luck: bool, then: Result<S, &'static str>) {
        self.found.push(Step { who: who as u8, what, luck, then });
    }
}

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// About how much memory the search may take.
    pub bytes: usize,
    /// No longer than this.
    pub until: Option<Instant>,
    /// Look for stuck states each time the number of states has doubled, not only at the end: dearer when there are
    /// none, much cheaper when there are.
    pub early: bool,
}

/// What the search says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every reachable state was seen; all is well.
    Holds,
    /// A limit was reached; nothing wrong in what was seen.
    Stopped,
    /// A step did what it must not; the shortest way there, in words.
    Unsafe {
        /// What was wrong.
        why: String,
        /// One line a step.
        trace: Vec<String>,
    },
    /// The survivors cannot finish; the shortest way there, in words.
    Stuck {
        /// How many states are like that.
        states: usize,
        /// One line a step.
        trace: Vec<String>,
    },
}

/// A verdict and what it cost.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// States seen.
    pub states: usize,
    /// Steps seen.
    pub edges: usize,
    /// What the search says.
    pub verdict: Verdict,
}

/// Multiply and rotate; the states are short and not chosen by an adversary.
#[derive(Default)]
struct Mix(u64);

impl Mix {
    #[inline]
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        if !rest.is_empty() {
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.add(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn finish(&self) -> u64 {
        (self.0 ^ self.0 >> 32).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 16
    }
}

const CHUNK: usize = 1 << 14;
const NOTHING: u32 = u32::MAX;

/// The states seen, numbered in the order of discovery.
struct Seen<S> {
    chunks: Vec<Vec<S>>,
    len: usize,
    /// Open addressing; at most half full.
    table: Vec<u32>,
}

impl<S: Copy + Eq + Hash> Seen<S> {
    fn new() -> Self {
        Self { chunks: Vec::new(), len: 0, table: vec![NOTHING; 1 << 12] }
    }

    fn get(&self, at: usize) -> &S {
        &self.chunks[at / CHUNK][at % CHUNK]
    }

    fn place(&self, state: &S) -> usize {
        BuildHasherDefault::<Mix>::default().hash_one(state) as usize & (self.table.len() - 1)
    }

    /// The number of `state`, and whether it is new.
    fn add(&mut self, state: &S) -> (usize, bool) {
        let mask = self.table.len() - 1;
        let mut place = self.place(state);
        while self.table[place] != NOTHING {
            let at = self.table[place] as usize;
            if self.get(at) == state {
                return (at, false);
            }
            place = (place + 1) & mask;
        }
        let at = self.len;
        self.table[place] = at as u32;
        if at.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[at / CHUNK].push(*state);
        self.len += 1;
        if self.len * 2 > self.table.len() {
            self.grow();
        }
        (at, true)
    }

    fn grow(&mut self) {
        let size = self.table.len() * 2;
        self.table.clear();
        self.table.resize(size, NOTHING);
        for at in 0..self.len {
            let mut place = self.place(self.get(at));
            while self.table[place] != NOTHING {
                place = (place + 1) & (size - 1);
            }
            self.table[place] = at as u32;
        }
    }
}

/// Searches all of `protocol`. `progress` is told the number of states now and then.
pub fn check<P: Protocol>(protocol: &P, limits: Limits, progress: &mut dyn FnMut(u64)) -> Outcome {
    let mut seen = Seen::new();
    let mut parents = vec![0_u32];
    // The steps that may be counted on, as one list of targets cut by `ends`.
    let mut targets: Vec<u32> = Vec::new();
    let mut ends: Vec<usize> = Vec::new();
    let mut edges = 0;
    let mut steps = Steps { found: Vec::new() };
    seen.add(&protocol.start());
    let mut at = 0;
    let mut stopped = false;
    // A state, its place in the table, and about four steps there and back.
    let most = limits.bytes / (size_of::<P::State>() + 48);
    let mut look = if limits.early { 1 << 13 } else { usize::MAX };
    while at < seen.len {
        if at == look {
            if let Some(verdict) = stuck(protocol, &seen, &parents, &targets, &ends) {
                return Outcome { states: seen.len, edges, verdict };
            }
            look *= 2;
        }
        if at.is_multiple_of(1 << 14) {
            progress(seen.len as u64);
            let late = limits.until.is_some_and(|until| Instant::now() >= until);
            if late || seen.len >= most {
                stopped = true;
                break;
            }
        }
        let state = *seen.get(at);
        protocol.steps(&state, &mut steps);
        for step in steps.found.drain(..) {
            edges += 1;
            match step.then {
                Ok(next) => {
                    let (to, new) = seen.add(&next);
                    if new {
                        parents.push(at as u32);
                    }
                    if !step.luck && to != at {
                        targets.push(to as u32);
                    }
                }
                Err(why) => {
                    let mut trace = words(protocol, &seen, &parents, at);
                    trace.push(line(protocol, step.who, step.what));
                    let verdict = Verdict::Unsafe { why: why.to_owned(), trace };
                    return Outcome { states: seen.len, edges, verdict };
                }
            }
        }
        ends.push(targets.len());
        at += 1;
    }
    let otherwise = if stopped { Verdict::Stopped } else { Verdict::Holds };
    let verdict = stuck(protocol, &seen, &parents, &targets, &ends).unwrap_or(otherwise);
    Outcome { states: seen.len, edges, verdict }
}

/// Whether some states that were expanded cannot reach a finished (or unexpanded) one.
fn stuck<P: Protocol>(
    protocol: &P,
    seen: &Seen<P::State>,
    parents: &[u32],
    targets: &[u32],
    ends: &[usize],
) -> Option<Verdict> {
    let expanded = ends.len();
    let finished = |at| at >= expanded || protocol.finished(seen.get(at));
    let mut good: Vec<bool> = (0..seen.len).map(finished).collect();
    // The steps turned round: for each state where it is reached from, cut by `cuts`.
    let mut cuts = vec![0_u32; seen.len + 1];
    for &to in targets {
        cuts[to as usize + 1] += 1;
    }
    for at in 0..seen.len {
        cuts[at + 1] += cuts[at];
    }
    let mut next = cuts.clone();
    let mut sources = vec![0_u32; targets.len()];
    let mut begin = 0;
    for (from, &end) in ends.iter().enumerate() {
        for &to in &targets[begin..end] {
            let place = &mut next[to as usize];
            sources[*place as usize] = from as u32;
            *place += 1;
        }
        begin = end;
    }
    drop(next);
    let mut todo: Vec<u32> = (0..seen.len as u32).filter(|&at| good[at as usize]).collect();
    while let Some(at) = todo.pop() {
        let (begin, end) = (cuts[at as usize], cuts[at as usize + 1]);
        for &from in &sources[begin as usize..end as usize] {
            if !good[from as usize] {
                good[from as usize] = true;
                todo.push(from);
            }
        }
    }
    let states = good.iter().filter(|good| !**good).count();
    let first = good.iter().position(|good| !good)?;
    Some(Verdict::Stuck { states, trace: words(protocol, seen, parents, first) })
}

fn line<P: Protocol>(protocol: &P, who: u8, what: &str) -> String {
    format!("{}: {what}", protocol.name(usize::from(who)))
}

/// The shortest way to state `at`.
fn words<P: Protocol>(
    protocol: &P,
    seen: &Seen<P::State>,
    parents: &[u32],
    at: usize,
) -> Vec<String> {
    let mut path = vec![at];
    while *path.last().unwrap_or(&0) != 0 {
        path.push(parents[path[path.len() - 1]] as usize);
    }
    path.reverse();
    let mut steps = Steps { found: Vec::new() };
    let mut lines = Vec::new();
    for pair in path.windows(2) {
        steps.found.clear();
        protocol.steps(seen.get(pair[0]), &mut steps);
        let to = seen.get(pair[1]);
        let step = steps.found.iter().find(|step| step.then.as_ref() == Ok(to));
        lines.push(step.map_or_else(|| "?".to_owned(), |step| line(protocol, step.who, step.what)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two threads add one to a word by load and store; `atomic` makes it one step.
    struct Counter {
        atomic: bool,
        may_die: bool,
    }

    impl Protocol for Counter {
        // word, then for each thread 0 = start, 1 = done, 2.. = loaded value + 2, 255 = dead
        type State = [u8; 3];

        fn start(&self) -> [u8; 3] {
            [0; 3]
        }

        fn steps(&self, s: &[u8; 3], out: &mut Steps<[u8; 3]>) {
            for who in 0..2 {
                let mut n = *s;
                match s[who + 1] {
                    0 if self.atomic => {
                        n[0] += 1;
                        n[who + 1] = 1;
                        out.step(who, "add", n);
                    }
                    0 => {
                        n[who + 1] = s[0] + 2;
                        out.step(who, "load", n);
                    }
                    1 | 255 => continue,
                    loaded => {
                        n[0] = loaded - 1;
                        n[who + 1] = 1;
                        out.step(who, "store", n);
                    }
                }
                if self.may_die {
                    n = *s;
                    n[who + 1] = 255;
                    out.luck(who, "dies", n);
                }
            }
        }

        fn finished(&self, s: &[u8; 3]) -> bool {
            s[0] == 2
        }
    }

    fn verdict(atomic: bool, may_die: bool) -> Verdict {
        let limits = Limits { bytes: 1 << 20, until: None, early: false };
        check(&Counter { atomic, may_die }, limits, &mut |_| ()).verdict
    }

    #[test]
    fn atomic_counter_holds() {
        assert_eq!(verdict(true, false), Verdict::Holds);
    }

    #[test]
    fn lost_update_is_found_with_its_shortest_trace() {
        let Verdict::Stuck { trace, .. } = verdict(false, false) else { panic!("not found") };
        assert_eq!(trace.len(), 2, "{trace:?}");
    }

    #[test]
    fn a_death_is_no_way_to_finish_and_is_searched() {
        assert!(matches!(verdict(true, true), Verdict::Stuck { .. }));
    }
}

//! Whether a recorded history could be that of a sequential queue: what is put once is taken once, in order, and "empty" is
//! said only of an empty queue.
//!
//! Every value is put once, so four kinds of wrong are all there are (a history without them has a linearisation):
//!
//! | wrong | found as |
//! |---|---|
//! | from nowhere | taken, and never put, or put only after the take had ended |
//! | twice | taken by two |
//! | out of order | `a` was put before `b`'s put began, `b`'s take ended, and only then `a`'s begins, or never |
//! | not empty | an "empty" during all of which some value was certainly there, in a chain from one value to the next |
//!
//! # Deaths
//!
//! A killed put may have happened or not. A killed take may have taken one value: for good, and the value is gone with it; or
//! on trial, and the value comes late, to another. So a value that is never taken, or that comes marked as given back, must
//! have a killed take of its own that can have had it; that one's time is then the time of its taking.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Stamps are of one count that all processes raise.
pub type Stamp = u64;

/// An operation that did not end.
pub const NEVER: Stamp = u64::MAX;

/// What an operation was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Put this value.
    Put(u64),
    /// Took this value; `late` if it had been given back before.
    Took { value: u64, late: bool },
    /// Took this value on trial, and was killed before it said that it kept it.
    Held(u64),
    /// Found nothing.
    Empty,
    /// Was killed in a take, at some time between its begin and its end.
    KilledTake,
}

/// One operation: it happened, if it did, between its stamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    pub what: What,
    pub begin: Stamp,
    /// [`NEVER`] for a killed put.
    pub end: Stamp,
}

/// Why a history is none of a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    FromNowhere(u64),
    Twice(u64),
    /// The first should have been taken before the second.
    OutOfOrder(u64, u64),
    NotEmpty(Event),
    /// Never taken, or late, and nobody died that can have had it.
    Unexplained(u64),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromNowhere(value) => write!(f, "{value:#x} was taken before it was put"),
            Self::Twice(value) => write!(f, "{value:#x} was taken twice"),
            Self::OutOfOrder(a, b) => write!(f, "{a:#x} was put before {b:#x}, and taken after it"),
            Self::NotEmpty(event) => write!(f, "there was always something during {event:?}"),
            Self::Unexplained(value) => {
                write!(f, "{value:#x} was lost, or came late, and nobody died who had it")
            }
        }
    }
}

/// The time of one value.
#[derive(Clone, Copy)]
struct Life {
    value: u64,
    put: (Stamp, Stamp),
    /// When it was taken; none if never.
    take: Option<(Stamp, Stamp)>,
}

/// Checks a whole history, in any order of its events. `drained`: at its end everything was taken out, so that what was
/// put (and returned) and never taken is lost.
pub fn check(events: &[Event], drained: bool) -> Result<(), Wrong> {
    let mut puts: HashMap<u64, (Stamp, Stamp)> = HashMap::new();
    let mut takes: BTreeMap<u64, (Stamp, Stamp, bool)> = BTreeMap::new();
    let mut held: HashMap<u64, Vec<(Stamp, Stamp)>> = HashMap::new();
    let (mut killed, mut empties) = (Vec::new(), Vec::new());
    for event in events {
        let time = (event.begin, event.end);
        match event.what {
            What::Put(value) => {
                puts.insert(value, time);
            }
            What::Took { value, late } => {
                if takes.insert(value, (time.0, time.1, late)).is_some() {
                    return Err(Wrong::Twice(value));
                }
            }
            What::Held(value) => held.entry(value).or_default().push(time),
            What::Empty => empties.push(*event),
            What::KilledTake => killed.push(time),
        }
    }
    let taken = takes.iter().map(|(value, take)| (value, take.1));
    let in_hand = held.iter().flat_map(|(value, times)| times.iter().map(move |t| (value, t.1)));
    for (value, end) in taken.chain(in_hand) {
        let put = puts.get(value).ok_or(Wrong::FromNowhere(*value))?;
        if end < put.0 {
            return Err(Wrong::FromNowhere(*value));
        }
    }

    let mut lives = Vec::new();
    let mut needy = Vec::new();
    for (value, put) in &puts {
        let (value, put) = (*value, *put);
        let life = |take| Life { value, put, take };
        // Whoever held it is the one that explains it, first of all.
        let holder = held.get(&value).and_then(|times| times.iter().min().copied());
        match (takes.get(&value), holder) {
            // Given back by a death it is marked; without the mark there were two of it.
            (Some((_, _, false)), Some(_)) => return Err(Wrong::Twice(value)),
            (_, Some(holder)) => lives.push(life(Some(holder))),
            (Some((begin, end, false)), None) => lives.push(life(Some((*begin, *end)))),
            (Some((_, end, true)), None) => needy.push((life(None), *end)),
            (None, None) if put.1 == NEVER => {} // it never happened
            (None, None) if drained => needy.push((life(None), NEVER)),
            (None, None) => lives.push(life(None)),
        }
    }
    order(&lives)?;
    lives.extend(explain(&needy, &killed, &lives)?);
    empty(&empties, &lives)
}

/// No value is overtaken by one put later.
fn order(lives: &[Life]) -> Result<(), Wrong> {
    let mut by_put: Vec<&Life> = lives.iter().collect();
    by_put.sort_unstable_by_key(|life| life.put.1);
    // Of all whose put ended up to there: the one whose take begins last.
    let mut latest: Vec<(Stamp, &Life)> = Vec::with_capacity(by_put.len());
    for life in &by_put {
        let begin = life.take.map_or(NEVER, |take| take.0);
        let most = match latest.last() {
            Some((most, who)) if *most >= begin => (*most, *who),
            _ => (begin, *life),
        };
        latest.push(most);
    }
    for b in lives {
        let Some((_, taken)) = b.take else { continue };
        let before = by_put.partition_point(|a| a.put.1 < b.put.0);
        if let Some((begin, a)) = before.checked_sub(1).map(|last| latest[last])
            && begin > taken
        {
            return Err(Wrong::OutOfOrder(a.value, b.value));
        }
    }
    Ok(())
}

/// Gives each value that was lost or late a killed take of its own.
fn explain(
    needy: &[(Life, Stamp)],
    killed: &[(Stamp, Stamp)],
    lives: &[Life],
) -> Result<Vec<Life>, Wrong> {
    let can = |(life, came): &(Life, Stamp), take: (Stamp, Stamp)| {
        // It was put before that one died, and that one had begun before it came again.
        let possible = life.put.0 < take.1 && take.0 < *came;
        // Taken then, it overtakes nobody, and nobody overtakes it.
        possible
            && lives.iter().all(|other| {
                let overtaken =
                    life.put.1 < other.put.0 && other.take.is_some_and(|taken| taken.1 < take.0);
                let overtakes =
                    other.put.1 < life.put.0 && other.take.is_none_or(|taken| take.1 < taken.0);
                !overtaken && !overtakes
            })
    };
    // Augmenting paths; there are few of both.
    let edges: Vec<Vec<usize>> = needy
        .iter()
        .map(|one| (0..killed.len()).filter(|k| can(one, killed[*k])).collect())
        .collect();
    let mut of: Vec<Option<usize>> = vec![None; killed.len()];
    for (i, (life, _)) in needy.iter().enumerate() {
        let mut tried = vec![false; killed.len()];
        if !assign(i, &edges, &mut of, &mut tried) {
            return Err(Wrong::Unexplained(life.value));
        }
    }
    let explained = of.iter().enumerate().filter_map(|(k, i)| {
        let (life, _) = needy[(*i)?];
        Some(Life { take: Some(killed[k]), ..life })
    });
    Ok(explained.collect())
}

fn assign(i: usize, edges: &[Vec<usize>], of: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for k in &edges[i] {
        if std::mem::replace(&mut tried[*k], true) {
            continue;
        }
        if of[*k].is_none_or(|other| assign(other, edges, of, tried)) {
            of[*k] = Some(i);
            return true;
        }
    }
    false
}

/// Each "empty" has a moment at which no value was certainly there.
fn empty(empties: &[Event], lives: &[Life]) -> Result<(), Wrong> {
    // From the end of the put to the begin of the take, both excluded.
    let mut there: Vec<(Stamp, Stamp)> = lives
        .iter()
        .map(|life| (life.put.1, life.take.map_or(NEVER, |take| take.0)))
        .filter(|(from, to)| from < to)
        .collect();
    there.sort_unstable();
    // Joined where one begins before the other ends.
    let mut joined: Vec<(Stamp, Stamp)> = Vec::new();
    for (from, to) in there {
        match joined.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    for event in empties {
        let i = joined.partition_point(|(from, _)| *from < event.begin);
        if let Some((_, to)) = i.checked_sub(1).map(|i| joined[i])
            && to > event.end
        {
            return Err(Wrong::NotEmpty(*event));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

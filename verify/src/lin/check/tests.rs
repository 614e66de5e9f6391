//! The checker against histories that are wrong in one way each, and against all linearisations of small ones.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn put(value: u64, begin: Stamp, end: Stamp) -> Event {
    Event { what: What::Put(value), begin, end }
}

fn took(value: u64, begin: Stamp, end: Stamp) -> Event {
    Event { what: What::Took { value, late: false }, begin, end }
}

fn late(value: u64, begin: Stamp, end: Stamp) -> Event {
    Event { what: What::Took { value, late: true }, begin, end }
}

fn nothing(begin: Stamp, end: Stamp) -> Event {
    Event { what: What::Empty, begin, end }
}

fn killed(begin: Stamp, end: Stamp) -> Event {
    Event { what: What::KilledTake, begin, end }
}

#[test]
fn right_history_is_right() {
    let history =
        [nothing(0, 1), put(1, 2, 5), put(2, 3, 4), took(2, 6, 9), took(1, 7, 8), nothing(10, 11)];
    assert_eq!(check(&history, true), Ok(()));
}

#[test]
fn overtaking_is_found() {
    let history = [put(1, 0, 1), put(2, 2, 3), took(2, 4, 5), took(1, 6, 7)];
    assert_eq!(check(&history, true), Err(Wrong::OutOfOrder(1, 2)));
}

#[test]
fn overtaking_one_that_stays_is_found() {
    let history = [put(1, 0, 1), put(2, 2, 3), took(2, 4, 5)];
    assert_eq!(check(&history, false), Err(Wrong::OutOfOrder(1, 2)));
}

#[test]
fn doubled_value_is_found() {
    let history = [put(1, 0, 1), took(1, 2, 3), took(1, 4, 5)];
    assert_eq!(check(&history, true), Err(Wrong::Twice(1)));
}

#[test]
fn lost_value_is_found() {
    let history = [put(1, 0, 1), nothing(2, 3)];
    assert!(check(&history, true).is_err());
    assert_eq!(check(&[put(1, 0, 1)], true), Err(Wrong::Unexplained(1)));
}

#[test]
fn value_from_nowhere_is_found() {
    assert_eq!(check(&[took(1, 0, 1)], true), Err(Wrong::FromNowhere(1)));
}

#[test]
fn take_before_its_put_is_found() {
    let history = [took(1, 0, 1), put(1, 2, 3)];
    assert_eq!(check(&history, true), Err(Wrong::FromNowhere(1)));
}

#[test]
fn empty_beside_a_value_is_found() {
    let history = [put(1, 0, 1), nothing(2, 3), took(1, 4, 5)];
    assert_eq!(check(&history, true), Err(Wrong::NotEmpty(nothing(2, 3))));
}

#[test]
fn empty_beside_a_chain_of_values_is_found() {
    let history = [
        put(1, 0, 1),
        nothing(2, 9),
        put(2, 3, 4),
        took(1, 5, 6),
        put(3, 6, 7),
        took(2, 8, 10),
        took(3, 11, 12),
    ];
    assert!(matches!(check(&history, true), Err(Wrong::NotEmpty(_))));
}

#[test]
fn killed_take_explains_one_lost_value() {
    let history = [put(1, 0, 1), killed(2, 5), put(2, 6, 7), took(2, 8, 9)];
    assert_eq!(check(&history, true), Ok(()));
    let two = [put(1, 0, 1), put(2, 2, 3), killed(4, 5)];
    assert!(matches!(check(&two, true), Err(Wrong::Unexplained(_))));
}

#[test]
fn killed_take_explains_no_value_put_after_it() {
    let history = [killed(0, 1), put(1, 2, 3)];
    assert_eq!(check(&history, true), Err(Wrong::Unexplained(1)));
}

#[test]
fn late_value_needs_a_death() {
    let history = [put(1, 0, 1), put(2, 2, 3), took(2, 6, 7), late(1, 8, 9)];
    assert_eq!(check(&history, true), Err(Wrong::Unexplained(1)));
    let with = [history.as_slice(), &[killed(4, 5)]].concat();
    assert_eq!(check(&with, true), Ok(()));
}

#[test]
fn death_after_the_overtaking_does_not_excuse_it() {
    let history = [put(1, 0, 1), put(2, 2, 3), took(2, 4, 5), killed(6, 7), late(1, 8, 9)];
    assert_eq!(check(&history, true), Err(Wrong::Unexplained(1)));
}

#[test]
fn killed_put_may_have_happened_or_not() {
    assert_eq!(check(&[put(1, 0, NEVER)], true), Ok(()));
    assert_eq!(check(&[put(1, 0, NEVER), took(1, 2, 3)], true), Ok(()));
}

#[test]
fn value_held_by_one_who_died_comes_again_or_is_gone() {
    let held = Event { what: What::Held(1), begin: 2, end: 3 };
    assert_eq!(check(&[put(1, 0, 1), held, late(1, 5, 6)], true), Ok(()));
    assert_eq!(check(&[put(1, 0, 1), held], true), Ok(()));
}

#[test]
fn value_held_by_one_who_died_comes_again_with_a_mark() {
    let held = Event { what: What::Held(1), begin: 2, end: 3 };
    assert_eq!(check(&[put(1, 0, 1), held, took(1, 5, 6)], true), Err(Wrong::Twice(1)));
}

/// Whether some order of the operations, each between its stamps, is a run of a queue.
fn has_linearisation(left: &[Event], queue: &VecDeque<u64>) -> bool {
    // An operation may come next if none of the others ended before it began.
    left.is_empty()
        || left.iter().enumerate().any(|(i, event)| {
            if left.iter().any(|other| other.end < event.begin) {
                return false;
            }
            let mut queue = queue.clone();
            let possible = match event.what {
                What::Put(value) => {
                    queue.push_back(value);
                    true
                }
                What::Took { value, .. } => queue.pop_front() == Some(value),
                What::Empty => queue.is_empty(),
                What::Held(_) | What::KilledTake => false,
            };
            let rest: Vec<Event> =
                left.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, e)| *e).collect();
            possible && has_linearisation(&rest, &queue)
        })
}

/// Up to seven operations with stamps all different, values put once, whatever is taken.
fn history() -> impl Strategy<Value = Vec<Event>> {
    let kinds = prop::collection::vec((0..3u8, 0..4u64), 1..7);
    kinds.prop_flat_map(|kinds| {
        let stamps: Vec<Stamp> = (0..kinds.len() as u64 * 2).collect();
        Just(stamps).prop_shuffle().prop_map(move |stamps| {
            let mut next = 0;
            let events = kinds.iter().zip(stamps.chunks(2)).map(|((kind, value), pair)| {
                let (begin, end) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
                match kind {
                    0 => {
                        next += 1;
                        put(next - 1, begin, end)
                    }
                    1 => took(*value, begin, end),
                    _ => nothing(begin, end),
                }
            });
            events.collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn checker_agrees_with_the_search_of_all_orders(history in history()) {
        let found = check(&history, false);
        let linear = has_linearisation(&history, &VecDeque::new());
        prop_assert_eq!(found.is_ok(), linear, "{:?}: {:?}", history, found);
    }
}

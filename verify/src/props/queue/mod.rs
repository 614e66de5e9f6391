//! The queue against plain lists, with deaths at any point and counters near their wrap; and against wild bytes.

mod cases;
mod plain;
mod shared;
mod wild;

use super::{Extent, Property};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::Cell;
use std::fmt::Debug;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        name: "queue: as plain lists, with deaths at any point",
        cases: 3_000,
        check: plain::check,
    },
    Property { name: "queue: wild bytes give values or errors", cases: 400, check: wild::check },
];

/// Tries cases of `strategy` until there were enough or the time is over.
pub(super) fn try_all<S: Strategy>(
    extent: &Extent,
    strategy: &S,
    run: impl Fn(&S::Value) -> Result<(), TestCaseError>,
) -> Result<u32, String>
where
    S::Value: Debug,
{
    let tried = Cell::new(0);
    // In portions, so that the time is looked at.
    while tried.get() < extent.cases && !(extent.over() && tried.get() > 0) {
        let config = Config {
            cases: (extent.cases - tried.get()).min(100),
            failure_persistence: None,
            ..Config::default()
        };
        let result = TestRunner::new(config).run(strategy, |case| {
            tried.set(tried.get() + 1);
            run(&case)
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, case)) => {
                return Err(format!("{why}\nsmallest case: {case:#?}"));
            }
            Err(TestError::Abort(why)) => return Err(format!("given up: {why}")),
        }
    }
    Ok(tried.get())
}

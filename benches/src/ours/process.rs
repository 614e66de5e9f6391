//! Processes that do nothing: started and joined one after another.

use crate::Result;
use crate::cores::Cores;
use offspring::process::{Context, StartMethod};
use std::time::Instant;

fn nothing(_: ()) {}

fn one_by_one(context: &Context, count: u64) -> Result<u64> {
    // What a first use makes for good is not measured.
    context.spawn(nothing, ())?.join()?;
    let begin = Instant::now();
    for _ in 0..count {
        context.spawn(nothing, ())?.join()?;
    }
    Ok(u64::try_from(begin.elapsed().as_nanos())?)
}

/// Nanoseconds for `count` children by execution.
pub fn spawn(count: u64, _: Cores) -> Result<u64> {
    one_by_one(&Context::new(StartMethod::Spawn)?, count)
}

/// Nanoseconds for `count` children by the fork server.
pub fn forkserver(count: u64, _: Cores) -> Result<u64> {
    one_by_one(&Context::new(StartMethod::Forkserver)?, count)
}

//! Ping-pong over two shared words, spinning: the machine's own round trip between two cores.

use super::memory::{Shared, Words};
use crate::Result;
use crate::cores::Cores;
use crate::roles::{Role, in_processes};
use crate::stage::Stage;
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering, spin};

/// Each word on lines of its own; two lines, since processors fetch them in pairs.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Word(pub(super) AtomicU32);

/// The same for a count.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Line64(pub(super) AtomicU64);

#[derive(Debug)]
#[repr(C)]
pub(super) struct Pair {
    pub(super) ping: Word,
    pub(super) pong: Word,
}

// SAFETY: two atomics, valid when zero.
unsafe impl Words for Pair {}

fn see(word: &AtomicU32, turn: u32) {
    // ORDER: Acquire, with the Release of the other side: as a message would need it.
    while word.load(Ordering::Acquire) != turn {
        spin();
    }
}

/// Nanoseconds for `trips` round trips between two processes on two cores.
pub fn ping_pong(trips: u64, cores: Cores) -> Result<u64> {
    let trips = u32::try_from(trips)?;
    let (stage, pair) = (Stage::new(2)?, Shared::<Pair>::new()?);
    let ping = Role::new(cores.first, |seat| {
        seat.start();
        for turn in 1..=trips {
            // ORDER: Release, with the Acquire in `see`.
            pair.ping.0.store(turn, Ordering::Release);
            see(&pair.pong.0, turn);
        }
        seat.finish(0, 0);
        Ok(())
    });
    let pong = Role::new(cores.second, |seat| {
        seat.start();
        for turn in 1..=trips {
            see(&pair.ping.0, turn);
            // ORDER: Release, with the Acquire in `see`.
            pair.pong.0.store(turn, Ordering::Release);
        }
        seat.finish(0, 0);
        Ok(())
    });
    in_processes(&stage, vec![ping, pong])?;
    Ok(stage.outcome().nanos)
}

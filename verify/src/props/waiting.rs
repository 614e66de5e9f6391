//! Event count and blocking loop with real threads and real time.

use super::{Extent, Property};
use crate::fake::{Fate, World, reference};
use offspring_core::block_on::block_on;
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::process::Liveness;
use offspring_core::wait::{Adaptive, EventCount, Wait};
use std::thread;

pub(super) const PROPERTIES: &[Property] = &[
    Property { name: "waiting: the time runs out, and not before", cases: 20, check: times_out },
    Property { name: "waiting: takers with deadlines lose no item", cases: 200, check: takers },
    Property { name: "waiting: all sleepers learn of a death", cases: 200, check: death },
];

const MILLI: u64 = 1_000_000;

fn times_out(extent: &Extent) -> Result<u32, String> {
    let world = World::new(2);
    let (me, count, spin) = (world.process(1), EventCount::new(), Adaptive::new());
    let others = || [reference(1), reference(2)].into_iter();
    for case in 0..extent.cases {
        if extent.over() {
            return Ok(case);
        }
        let until = me.now().after(u64::from(case % 7) * MILLI);
        let mut looks = 0;
        let got = block_on(&me, &count, others, &spin, Some(until), || {
            looks += 1;
            None::<()>
        });
        if got.is_some() || me.now() < until || looks == 0 {
            return Err(format!(
                "case {case}: {got:?} after {looks} looks, before the time was over"
            ));
        }
    }
    Ok(extent.cases)
}

/// Takers that give up now and then, givers that give one at a time: in the end all was taken.
fn takers(extent: &Extent) -> Result<u32, String> {
    const TAKERS: u32 = 3;
    const EACH: u32 = 50;
    for case in 0..extent.cases {
        if extent.over() {
            return Ok(case);
        }
        let world = World::new(TAKERS as usize + 1);
        let (items, count, spin) = (AtomicU32::new(0), EventCount::new(), Adaptive::new());
        let (world, items, count, spin) = (&world, &items, &count, &spin);
        let missed = thread::scope(|scope| {
            let takers: Vec<_> = (0..TAKERS)
                .map(|i| {
                    let me = world.process(i as usize + 2);
                    scope.spawn(move || {
                        let (mut taken, mut in_vain) = (0, 0);
                        while taken < EACH && in_vain < 2 {
                            // Some deadlines have passed before they begin; a second is far too long to wait.
                            let nanos = if taken % 3 == i {
                                1000 * u64::from(case % 64)
                            } else {
                                2000 * MILLI
                            };
                            let got = block_on(
                                &me,
                                count,
                                || (1..=TAKERS as usize + 1).map(reference),
                                spin,
                                Some(me.now().after(nanos)),
                                || {
                                    let mut left = items.load(Ordering::Acquire);
                                    while let Some(fewer) = left.checked_sub(1) {
                                        match items.compare_exchange(
                                            left,
                                            fewer,
                                            Ordering::AcqRel,
                                            Ordering::Acquire,
                                        ) {
                                            Ok(_) => return Some(()),
                                            Err(now) => left = now,
                                        }
                                    }
                                    None
                                },
                            );
                            match got {
                                Some(_) => taken += 1,
                                None if nanos >= 2000 * MILLI => in_vain += 1,
                                None => {}
                            }
                        }
                        EACH - taken
                    })
                })
                .collect();
            let giver = world.process(1);
            for _ in 0..TAKERS * EACH {
                items.fetch_add(1, Ordering::Release);
                count.notify_one(&giver);
            }
            takers.into_iter().map(|taker| taker.join().unwrap_or(EACH)).sum::<u32>()
        });
        if missed != 0 {
            let left = items.load(Ordering::Relaxed);
            return Err(format!(
                "case {case}: {missed} items never reached a taker, {left} are left"
            ));
        }
    }
    Ok(extent.cases)
}

/// One dies; all that wait for something of it learn so, without a backstop.
fn death(extent: &Extent) -> Result<u32, String> {
    const SLEEPERS: usize = 4;
    for case in 0..extent.cases {
        if extent.over() {
            return Ok(case);
        }
        let world = World::new(SLEEPERS + 1);
        let (count, spin) = (EventCount::new(), Adaptive::new());
        let (world, count, spin) = (&world, &count, &spin);
        let uninformed = thread::scope(|scope| {
            let sleepers: Vec<_> = (0..SLEEPERS)
                .map(|i| {
                    let me = world.process(i + 2);
                    scope.spawn(move || {
                        let until = Some(me.now().after(5000 * MILLI));
                        let members = || (1..=SLEEPERS + 1).map(reference);
                        block_on(&me, count, members, spin, until, || {
                            me.is_dead(reference(1)).then_some(())
                        })
                    })
                })
                .collect();
            scope.spawn(|| {
                // Dies in the midst of a notice, or before it, with more or fewer asleep.
                while world.sleepers() < case as usize % (SLEEPERS + 1) {
                    thread::yield_now();
                }
                world.process(1).run(&Fate::dies_at(0), |me| {
                    count.notify_one(me);
                    count.arm(me);
                })
            });
            sleepers
                .into_iter()
                .map(|s| s.join())
                .filter(|got| !matches!(got, Ok(Some(()))))
                .count()
        });
        if uninformed != 0 {
            return Err(format!(
                "case {case}: {uninformed} of {SLEEPERS} sleepers never learnt of the death"
            ));
        }
    }
    Ok(extent.cases)
}

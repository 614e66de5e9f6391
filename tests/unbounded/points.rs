//! A child killed at every named point of the chain while it makes the queue grow and shrink, and the others go on.

use crate::begin;
use crate::common::{SIGKILL, kill_self};
use offspring::{Process, Queue};
use offspring_core::points::{self, Point};
use offspring_core::prim::{AtomicU32, Ordering};

static POINT: AtomicU32 = AtomicU32::new(u32::MAX);
static VISITS: AtomicU32 = AtomicU32::new(0);

type Args = (Queue<(u32, u32)>, Queue<u32>, u32, u32);

/// Puts bursts and takes most of them again; is killed at its `visit`th time at `point`.
fn burst((queue, told, point, visit): Args) {
    POINT.store(point, Ordering::Relaxed);
    VISITS.store(visit, Ordering::Relaxed);
    points::set_hook(Some(|point| {
        if point as u32 == POINT.load(Ordering::Relaxed)
            && VISITS.fetch_sub(1, Ordering::Relaxed) == 1
        {
            kill_self();
        }
    }));
    let mut n = 0;
    for _ in 0..6 {
        for _ in 0..20 {
            queue.put((1, n)).unwrap();
            n += 1;
        }
        for _ in 0..18 {
            let lease = queue.lease().unwrap();
            let (_, item) = *lease;
            // The one before is committed by now.
            told.put(item).unwrap();
            lease.commit();
        }
    }
}

#[test]
fn kill_at_every_point_of_the_chain_loses_nothing_and_leaves_nothing() {
    let _audit = begin();
    let chain: Vec<_> =
        Point::ALL.iter().filter(|point| point.name().starts_with("chain.")).collect();
    let mut died = Vec::new();
    for point in chain.iter().flat_map(|point| [1, 2, 5, 17, 60].map(|visit| (**point, visit))) {
        let (point, visit) = point;
        let queue = Queue::builder().unbounded().capacity(2).build().unwrap();
        let told = Queue::<u32>::unbounded().unwrap();
        let child =
            Process::spawn(burst, (queue.clone(), told.clone(), point as u32, visit)).unwrap();
        let killed = child.wait().signal() == Some(SIGKILL);
        if killed {
            died.push(point);
        }
        // Everything from the first that is not told of up to the last that was put is there, in its order but for the one that
        // was on lease.
        let mut taken = Vec::new();
        while let Ok(lease) = told.try_lease() {
            taken.push(lease.commit());
        }
        let mut left = Vec::new();
        while let Ok((_, n)) = queue.try_get() {
            left.push(n);
        }
        let mut all = taken.clone();
        all.extend(&left);
        all.sort_unstable();
        let mut once = all.clone();
        once.dedup();
        let twice = all.len() - once.len();
        assert!(once.iter().copied().eq(0..once.len() as u32), "{point:?} {visit}: {all:?}");
        assert!(twice <= usize::from(killed), "{point:?} {visit}: {all:?}");
        assert!(killed || once.len() == 120, "{point:?} {visit}");
        // And it still grows and shrinks.
        for n in 0..30 {
            queue.put((2, n)).unwrap();
        }
        queue.close();
        assert!((0..30).all(|n| queue.get().unwrap() == (2, n)), "{point:?} {visit}");
        assert!(queue.get().unwrap_err().is_closed(), "{point:?} {visit}");
    }
    died.dedup();
    let needed = [
        Point::ChainPinned,
        Point::ChainUnpinned,
        Point::ChainRingClaimed,
        Point::ChainRingMade,
        Point::ChainRingOffered,
        Point::ChainLinked,
        Point::ChainPromoted,
        Point::ChainTailMoved,
        Point::ChainRetired,
        Point::ChainHeadMoved,
        Point::ChainDying,
        Point::ChainRingFree,
    ];
    assert!(needed.iter().all(|point| died.contains(point)), "{died:?}");
}

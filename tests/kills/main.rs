//! Parent and child killed at every named point of a process's start and end: the other side is told what happened, and
//! nothing is left of either.
//!
//! This program is the root of a family, with one thread; the ones that are killed are its children. They
//! kill themselves by the hook of the points.

#[path = "../common/mod.rs"]
mod common;

use common::SIGKILL;
use offspring::{Process, Queue};
use offspring_core::points::{self, Point};
use offspring_core::prim::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The environment variable that names the point at which a child dies.
const KILL_AT: &str = "OFFSPRING_TEST_KILL_AT";

/// Longer than a death takes to be noticed.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    if std::env::var_os("OFFSPRING_CHILD").is_some()
        && let Ok(number) = std::env::var(KILL_AT)
    {
        die_at(number.parse().unwrap());
    }
    let _main = offspring::init();
    common::watchdog(300);
    // What a first use makes for good is not counted.
    let keep = Queue::<u8>::bounded(1).unwrap();
    child_case(None);
    let before = settled();
    let mut hit = Vec::new();
    for point in Point::ALL {
        if child_case(Some(*point)) {
            hit.push(*point);
        }
        expect_nothing_left(&before, *point, "child");
    }
    let needed = [
        Point::ChildJoined,
        Point::ChildRead,
        Point::ChildRan,
        Point::ChildResultWritten,
        Point::ChildCommitted,
        Point::JoinAlive,
        Point::RegionLive,
    ];
    assert!(needed.iter().all(|point| hit.contains(point)), "{hit:?}");
    println!("children killed at {} points: each told, nothing left", hit.len());

    let mut hit = Vec::new();
    for point in Point::ALL {
        if parent_case(*point) {
            hit.push(*point);
        }
        expect_nothing_left(&before, *point, "parent");
    }
    let needed = [Point::StartRecorded, Point::StartSent, Point::StartForked];
    assert!(needed.iter().all(|point| hit.contains(point)), "{hit:?}");
    println!("parents killed at {} points: each told, nothing left", hit.len());
    drop(keep);
}

static POINT: AtomicU32 = AtomicU32::new(u32::MAX);

/// This process kills itself at the point with that number.
fn die_at(point: u32) {
    POINT.store(point, Ordering::Relaxed);
    points::set_hook(Some(|point| {
        if point as u32 == POINT.load(Ordering::Relaxed) {
            common::kill_self();
        }
    }));
}

/// A child with arguments and a value too long for its record, both with a handle, dies at `point`; whether it got there.
fn child_case(point: Option<Point>) -> bool {
    let queue = Queue::<u8>::bounded(1).unwrap();
    let number = point.map(|point| (point as u32).to_string());
    // SAFETY: this process has one thread.
    unsafe {
        match number {
            Some(number) => std::env::set_var(KILL_AT, number),
            None => std::env::remove_var(KILL_AT),
        }
    }
    let child = Process::spawn(grow, (queue, vec![7; 5000])).unwrap();
    // SAFETY: as above.
    unsafe { std::env::remove_var(KILL_AT) };
    let status = child.wait();
    let killed = status.signal() == Some(SIGKILL);
    assert!(killed || status.success(), "{point:?}: {status}");
    match child.join() {
        Ok((queue, bytes)) => {
            assert!(bytes.len() == 10_000 && bytes.iter().all(|byte| *byte == 7), "{point:?}");
            assert_eq!(queue.try_get().unwrap(), 5, "{point:?}");
            assert_ne!(point, Some(Point::ChildResultWritten), "it was not committed");
        }
        Err(error) => {
            assert!(killed && error.is_killed(), "{point:?}: {error}");
            assert_ne!(point, Some(Point::ChildCommitted), "{error}");
            let text = error.to_string();
            assert!(text.contains("SIGKILL"), "{text}");
            if point == Some(Point::ChildJoined) {
                assert!(text.contains("before it began"), "{text}");
            }
        }
    }
    killed
}

type Load = (Queue<u8>, Vec<u8>);

fn grow((queue, mut bytes): Load) -> Load {
    queue.put(5).unwrap();
    bytes.extend_from_within(..);
    (queue, bytes)
}

/// A child dies at `point` while it starts a child of its own; whether it got there.
fn parent_case(point: Point) -> bool {
    let queue = Queue::<u8>::bounded(1).unwrap();
    let child = Process::spawn(start_one, (point as u32, queue.clone())).unwrap();
    match child.join() {
        Ok(()) => false,
        Err(error) => {
            assert!(error.is_killed(), "{point:?}: {error}");
            assert_eq!(error.status().signal(), Some(SIGKILL), "{point:?}");
            true
        }
    }
}

fn start_one((point, queue): (u32, Queue<u8>)) {
    die_at(point);
    // It waits until it is killed: by its parent's death, or by its parent.
    let child = Process::spawn(wait_for_ever, (queue, vec![0; 5000])).unwrap();
    child.kill().unwrap();
    child.wait();
}

fn wait_for_ever((queue, _): Load) {
    let _ = queue.get();
}

/// What is in use once all who died are seen to: of the family, and how many descriptors here.
type InUse = (offspring::__InUse, usize);

fn settled() -> InUse {
    (offspring::__in_use().unwrap(), common::descriptors())
}

#[track_caller]
fn expect_nothing_left(before: &InUse, point: Point, who: &str) {
    let begun = Instant::now();
    loop {
        let now = settled();
        if now == *before {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{who} at {point:?}: {now:?} of {before:?}");
        // A grandchild whose parent was killed ends by itself; nothing tells its grandparent.
        std::thread::sleep(Duration::from_millis(1));
    }
}

//! Processes and threads that come, leave, stop and die, one at a time.

use crate::kit::*;
use offspring_core::points::Point;
use offspring_core::prim::{AtomicU32, Ordering};
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::wait::{Family as _, Wait, Watch};
use offspring_os_unix::family::{Family, ObjectError};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read, Write};

pub fn forked_child_is_a_process_of_its_own() {
    let family = family();
    let hall = family.allocate(&box_spec(), |_| {}).unwrap();
    let me = family.me();
    let told = Shared::new();
    let pid = fork(|| {
        // No word about the fork: the first use finds out.
        let mine = leaf(&family, 0);
        assert_ne!(family.me(), me);
        assert_eq!(family.parent_of(family.me()), me);
        assert_eq!(family.processes_alive(), 2);
        // A member of what its parent was a member of, under an index of its own.
        assert_eq!(hall.members().find(me), Some(hall.index));
        let index = family.member_index(hall.region).unwrap();
        assert_ne!(index, hall.index);
        assert_eq!(hall.members().get(index), family.me());
        assert!(put(&hall, &mine));
        told.word(0).store(family.me().bits(), Ordering::Relaxed);
    });
    assert_eq!(reap(pid), 0);
    let child = ProcessRef::from_bits(told.word(0).load(Ordering::Relaxed));
    assert!(family.is_dead(child) && !family.is_dead(me));
    let found = take(&family, &hall).unwrap();
    family.leave_object(found.region);
    assert_eq!(family.regions_in_use(), 1);
}

pub fn clean_thread_end_is_no_death() {
    let family = family();
    let epoch = family.death_epoch();
    for _ in 0..20 {
        std::thread::spawn(move || {
            family.enter().unwrap();
            assert_eq!(family.slots_and_lanes_in_use().1, 2);
        })
        .join()
        .unwrap();
        assert_eq!(family.slots_and_lanes_in_use(), (1, 1));
    }
    assert_eq!(family.death_epoch(), epoch);
}

thread_local! {
    static LAST: RefCell<Option<Touch>> = const { RefCell::new(None) };
}

/// Uses the arena when it is dropped.
struct Touch(Family);

impl Drop for Touch {
    fn drop(&mut self) {
        self.0.enter().unwrap();
    }
}

pub fn thread_past_its_destructors_proves_no_death() {
    let family = family();
    let pid = fork(|| {
        let me = family.me();
        // The process's only lanes are of threads that ended: the first one's went back, the second's came after.
        std::thread::spawn(move || {
            // Destroyed after the list of lanes, since it is made before it.
            LAST.with_borrow_mut(|last| *last = Some(Touch(family)));
            family.enter().unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(family.me(), me);
        // SAFETY: takes integers.
        unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
    });
    assert!(await_stop(pid));
    // Main's lane, the kernel's mark on the late one, and ours.
    assert_eq!(family.slots_and_lanes_in_use().1, 3);
    assert_eq!(family.processes_alive(), 2);
    kill(pid, libc::SIGKILL);
    reap(pid);
    assert_eq!(family.processes_alive(), 1);
    assert_eq!(family.slots_and_lanes_in_use(), (1, 1));
}

/// A child that has come in and stands still; its name.
fn standing_child(family: &Family, told: &Shared) -> (i32, ProcessRef) {
    told.word(0).store(0, Ordering::Relaxed);
    let pid = fork(|| {
        told.word(0).store(family.me().bits(), Ordering::Relaxed);
        // SAFETY: takes integers.
        unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
    });
    assert!(await_stop(pid));
    (pid, ProcessRef::from_bits(told.word(0).load(Ordering::Relaxed)))
}

pub fn killed_process_is_dead_at_once() {
    let family = family();
    let told = Shared::new();
    for _ in 0..50 {
        let epoch = family.death_epoch();
        let (pid, child) = standing_child(&family, &told);
        assert!(!family.is_dead(child));
        assert!(family.life_watch(child).is_some());
        kill(pid, libc::SIGKILL);
        // A zombie still: neither reaped nor told of.
        await_end(pid);
        assert!(family.is_dead(child));
        assert_ne!(family.death_epoch(), epoch);
        assert_eq!(reap(pid), KILLED);
        assert_eq!(family.slots_and_lanes_in_use(), (1, 1));
    }
}

pub fn stopped_process_is_not_dead() {
    let family = family();
    let told = Shared::new();
    let (pid, child) = standing_child(&family, &told);
    // Long enough for a patrol: a sleep to the backstop.
    let word = AtomicU32::new(0);
    let until = family.now().after(family.backstop() + 1);
    let _ = family.wait(&[Watch { word: &word, seen: 0 }], Some(until));
    assert!(!family.is_dead(child));
    assert_eq!(family.processes_alive(), 2);
    kill(pid, libc::SIGKILL);
    assert_eq!(reap(pid), KILLED);
    assert!(family.is_dead(child));
}

pub fn pid_of_another_namespace_proves_no_death() {
    let family = family();
    // SAFETY: takes an integer; from now on this process's children are in a namespace of their own.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        println!("  not run: no right to make a pid namespace");
        return;
    }
    let (mut told, tell) = std::io::pipe().unwrap();
    let parent = (std::process::id(), family.me());
    let pid = fork(|| {
        let mut tell = tell;
        assert_eq!(std::process::id(), 1);
        family.after_fork_in_child().unwrap();
        // The parent's number is nobody's here.
        family.note_gone(parent.0, ProcessRef::NONE);
        assert!(!family.is_dead(parent.1));
        tell.write_all(&family.me().bits().to_le_bytes()).unwrap();
        loop {
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        }
    });
    let mut bits = [0; 8];
    told.read_exact(&mut bits).unwrap();
    let child = ProcessRef::from_bits(u64::from_le_bytes(bits));
    // Number 1 here is another process.
    family.note_gone(1, ProcessRef::NONE);
    assert!(!family.is_dead(child));
    kill(pid, libc::SIGKILL);
    await_end(pid);
    assert!(family.is_dead(child));
    reap(pid);
}

/// Sleeps as every waiter does, but without a backstop: the watchdog ends a lost notice.
fn sleep_until_dead(family: &Family, child: ProcessRef) {
    while !family.is_dead(child) {
        let epoch = family.death_epoch();
        let word = AtomicU32::new(0);
        let mut watches =
            vec![Watch { word: &word, seen: 0 }, Watch { word: family.epoch_word(), seen: epoch }];
        watches.extend(family.life_watch(child));
        if watches.len() == 3 {
            let _ = family.wait(&watches, None);
        }
    }
}

pub fn sleeper_learns_of_a_death() {
    let family = family();
    let told = Shared::new();
    for _ in 0..50 {
        let (pid, child) = standing_child(&family, &told);
        // The kill is still on its way when the sleep begins.
        kill(pid, libc::SIGKILL);
        sleep_until_dead(&family, child);
        reap(pid);
    }
}

pub fn sleeper_learns_of_a_death_amid_the_taking_of_a_lane() {
    let family = family();
    let told = Shared::new();
    for _ in 0..50 {
        let (mut begun, begin) = std::io::pipe().unwrap();
        told.word(0).store(0, Ordering::Relaxed);
        let pid = fork(|| {
            let mut begin = begin;
            told.word(0).store(family.me().bits(), Ordering::Relaxed);
            begin.write_all(&[1]).unwrap();
            strike_at(Point::JoinLaneTaken, 1, libc::SIGKILL);
            let _ = std::thread::spawn(move || family.enter()).join();
        });
        begun.read_exact(&mut [0]).unwrap();
        // One lane that the kernel marks, and one that nobody ever will: at last the system tells.
        sleep_until_dead(&family, ProcessRef::from_bits(told.word(0).load(Ordering::Relaxed)));
        assert_eq!(reap(pid), KILLED);
        assert_eq!(family.slots_and_lanes_in_use(), (1, 1));
    }
}

pub fn left_process_is_dead_and_its_objects_go() {
    let family = family();
    let told = Shared::new();
    let base = audit(&family);
    let pid = fork(|| {
        leaf(&family, 1 << 20);
        told.word(0).store(family.me().bits(), Ordering::Relaxed);
        family.leave();
        family.leave();
        assert!(family.enter().is_err());
        assert_eq!(family.me(), ProcessRef::NONE);
        // SAFETY: takes integers.
        unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
    });
    assert!(await_stop(pid));
    assert!(family.is_dead(ProcessRef::from_bits(told.word(0).load(Ordering::Relaxed))));
    assert_eq!(family.slots_and_lanes_in_use(), base.slots_and_lanes);
    family.collect();
    assert_eq!(family.regions_in_use(), base.regions);
    kill(pid, libc::SIGKILL);
    reap(pid);
}

pub fn object_named_by_a_message_stays() {
    let family = family();
    let hall = family.allocate(&box_spec(), |_| {}).unwrap();
    let pid = fork(|| {
        // A box in a slot of the box, and a leaf in that: kept by two steps.
        let inner = family.allocate(&box_spec(), |_| {}).unwrap();
        let mine = leaf(&family, 0);
        assert!(put(&inner, &mine));
        assert!(put(&hall, &inner));
        let stray = leaf(&family, 0);
        stray.mark_travelled();
    });
    assert_eq!(reap(pid), 0);
    family.note_gone(pid as u32, ProcessRef::NONE);
    assert_eq!(family.regions_in_use(), 3);
    let bits = slots(&hall)[0].swap(0, Ordering::Relaxed);
    assert_ne!(bits, 0);
    family.collect();
    assert_eq!(family.regions_in_use(), 1);
}

pub fn last_handle_gives_the_pages_back() {
    let family = family();
    let warm = leaf(&family, 0);
    family.leave_object(warm.region);
    let base = audit(&family);
    let object = leaf(&family, 3 << 20);
    let grown = audit(&family);
    assert_eq!(grown.bytes, base.bytes + object.len);
    let again = family.join_object(object.region, LEAF, 0).unwrap();
    assert_eq!(again.index, object.index);
    family.leave_object(object.region);
    check_leaf(&again);
    family.leave_object(object.region);
    assert_eq!(audit(&family), base);
    let error = family.join_object(object.region, LEAF, 0).unwrap_err();
    assert!(matches!(error, ObjectError::Region(_)), "{error}");
}

pub fn exhausted_memory_is_an_error() {
    let family = family();
    let warm = leaf(&family, 0);
    family.leave_object(warm.region);
    let base = audit(&family);
    let error = family.allocate(&leaf_spec(1 << 41), |_| {}).unwrap_err();
    assert!(matches!(error, ObjectError::NoMemory(_)), "{error}");
    assert_eq!(audit(&family), base);
    let error = family.allocate(&leaf_spec(1 << 60), |_| {}).unwrap_err();
    assert!(matches!(error, ObjectError::Allocate(_)), "{error}");
    assert_eq!(audit(&family), base);
}

/// All that a process does with a family, once: comes in, finds another one dead, makes, names, takes and frees objects,
/// uses them from a second thread, and leaves.
fn whole_life(family: &Family, victim: ProcessRef, hall: offspring_core::family::RegionRef) {
    family.after_fork_in_child().unwrap();
    let _ = family.is_dead(victim);
    let hall = family.join_object(hall, BOX, 7).unwrap();
    let first = leaf(family, 1 << 16);
    let part = family.allocate_part(&part_spec(), |_| {}, |_| true).unwrap();
    assert!(family.free_part(part.region));
    assert!(put(&hall, &first));
    family.leave_object(first.region);
    let other = *family;
    std::thread::spawn(move || other.enter().unwrap()).join().unwrap();
    let taken = take(family, &hall).unwrap();
    family.leave_object(taken.region);
    family.collect();
    family.leave_object(hall.region);
    family.leave();
}

/// Every point that `whole_life` must come by.
const POINTS: &[Point] = &[
    Point::LockTaken,
    Point::LockTakenOver,
    Point::LockBeforeFree,
    Point::LockFreed,
    Point::JoinSlotClaimed,
    Point::JoinIdentified,
    Point::JoinLaneTaken,
    Point::JoinLanePublished,
    Point::JoinAlive,
    Point::LeaveBefore,
    Point::LeaveMarked,
    Point::LaneFreed,
    Point::SuspectMarked,
    Point::SuspectScanned,
    Point::SuspectResolved,
    Point::DeathCounted,
    Point::DeathWoken,
    Point::RegionClaimed,
    Point::RegionPlaced,
    Point::RegionCommitted,
    Point::RegionInitialised,
    Point::RegionLive,
    Point::RegionDying,
    Point::RegionReleased,
    Point::RegionFree,
    Point::MemberJoined,
    Point::MemberLeft,
];

/// A process that was killed while it held the lock, half-way through making an object, and that nobody has noticed yet.
fn unnoticed_dead(family: &Family, told: &Shared) -> ProcessRef {
    told.word(0).store(0, Ordering::Relaxed);
    let pid = fork(|| {
        told.word(0).store(family.me().bits(), Ordering::Relaxed);
        let _ = family.allocate(&leaf_spec(1 << 16), |_| {
            // SAFETY: takes integers.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        });
    });
    assert_eq!(reap(pid), KILLED);
    ProcessRef::from_bits(told.word(0).load(Ordering::Relaxed))
}

/// Checks that the family is as it was, but for what this process still holds.
fn assert_nothing_left(
    family: &Family,
    base: Audit,
    hall: &offspring_os_unix::family::Object,
    at: &str,
) {
    // What a committed message names stays, rightly: take it out.
    while let Some(found) = take(family, hall) {
        family.leave_object(found.region);
    }
    assert_eq!(audit(family), base, "after a death at {at}");
}

pub fn kill_at_every_point_leaks_nothing() {
    let family = family();
    let told = Shared::new();
    let hall = family.allocate(&box_spec(), |_| {}).unwrap();
    // Once through, so that the tables' pages are there.
    let victim = unnoticed_dead(&family, &told);
    assert_eq!(reap(fork(|| whole_life(&family, victim, hall.region))), 0);
    family.collect();
    let base = audit(&family);
    assert_eq!((base.processes, base.slots_and_lanes, base.regions), (1, (1, 1), 1));

    let mut struck = BTreeSet::new();
    let mut kills = 0;
    for point in POINTS {
        for nth in 1.. {
            let victim = unnoticed_dead(&family, &told);
            told.word(0).store(0, Ordering::Relaxed);
            let pid = fork(|| {
                strike_at(*point, nth, libc::SIGKILL);
                family.after_fork_in_child().unwrap();
                told.word(0).store(family.me().bits(), Ordering::Relaxed);
                whole_life(&family, victim, hall.region);
            });
            await_end(pid);
            let at = format!("{} ({nth})", point.name());
            let child = ProcessRef::from_bits(told.word(0).load(Ordering::Relaxed));
            if !child.is_none() {
                // Found dead by what it left alone, and the epoch has told before anybody can act on it.
                assert!(family.is_dead(child), "{at}");
                assert!(family.is_dead(victim), "{at}");
            }
            let end = reap(pid);
            family.note_gone(pid as u32, ProcessRef::NONE);
            assert!(family.is_dead(victim), "{at}");
            assert_nothing_left(&family, base, &hall, &at);
            if end == 0 {
                break;
            }
            assert_eq!(end, KILLED, "{at}");
            struck.insert(point.name());
            kills += 1;
        }
    }
    let missed: Vec<_> =
        POINTS.iter().map(|point| point.name()).filter(|name| !struck.contains(name)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
    println!("  {kills} kills at {} points", struck.len());
}

pub fn death_between_mark_and_notice_is_told() {
    let family = family();
    let told = Shared::new();
    // It says that it is dead and dies before it tells: no life word will lead anybody to that, only a look at its name.
    for point in [Point::LeaveMarked, Point::DeathCounted] {
        let pid = fork(|| {
            strike_at(point, 1, libc::SIGKILL);
            told.word(0).store(family.me().bits(), Ordering::Relaxed);
            family.leave();
        });
        await_end(pid);
        let leaver = ProcessRef::from_bits(told.word(0).load(Ordering::Relaxed));
        let before = family.death_epoch();
        assert!(!leaver.is_none() && family.is_dead(leaver));
        assert_ne!(family.death_epoch(), before, "{}", point.name());
        assert_eq!(reap(pid), KILLED);
        family.note_gone(pid as u32, leaver);
        assert_eq!(family.slots_and_lanes_in_use(), (1, 1));
    }
}

pub fn stop_outside_the_lock_blocks_nobody() {
    let family = family();
    let told = Shared::new();
    let hall = family.allocate(&box_spec(), |_| {}).unwrap();
    let under_lock = [
        Point::LockTaken,
        Point::LockTakenOver,
        Point::LockBeforeFree,
        Point::RegionClaimed,
        Point::RegionPlaced,
        Point::RegionCommitted,
        Point::RegionInitialised,
        Point::RegionLive,
        Point::RegionDying,
        Point::RegionReleased,
        Point::RegionFree,
        Point::MemberJoined,
        Point::MemberLeft,
    ];
    let mut stops = 0;
    for point in POINTS.iter().filter(|point| !under_lock.contains(point)) {
        let (standing, asleep) = standing_child(&family, &told);
        kill(standing, libc::SIGKILL);
        reap(standing);
        let pid = fork(|| {
            strike_at(*point, 1, libc::SIGSTOP);
            whole_life(&family, asleep, hall.region);
        });
        let stopped = await_stop(pid);
        assert!(stopped, "{} is never reached", point.name());
        stops += 1;
        // Everything goes on, the death notice included.
        assert!(family.is_dead(asleep), "{}", point.name());
        let mine = leaf(&family, 0);
        assert_eq!(reap(fork(|| whole_life(&family, asleep, hall.region))), 0);
        family.leave_object(mine.region);
        kill(pid, libc::SIGCONT);
        assert_eq!(reap(pid), 0, "{}", point.name());
    }
    println!("  {stops} stops");
}

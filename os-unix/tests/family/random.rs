//! Many processes that make, pass, take and free objects, killed at random for a while; then the audit.

use crate::kit::*;
use offspring_core::family::RegionRef;
use offspring_core::prim::Ordering;
use offspring_core::process::ProcessRef;
use offspring_os_unix::family::Family;

const PROCESSES: usize = 5;
const KILLS: usize = 3000;

/// What a worker does until it is killed.
fn work(family: &Family, hall: RegionRef, seed: u64, done: &Shared) -> ! {
    let mut dice = Dice(seed | 1);
    let hall = loop {
        // Six members at most, and dead ones among them: full only while another worker is on its way out.
        if let Ok(hall) = family.join_object(hall, BOX, 7) {
            break hall;
        }
    };
    loop {
        match dice.below(8) {
            0..3 => {
                let mine = leaf(family, 1 << dice.below(18));
                check_leaf(&mine);
                if dice.below(2) == 0 {
                    let _ = put(&hall, &mine);
                }
                check_leaf(&mine);
                family.leave_object(mine.region);
            }
            3..6 => {
                if let Some(found) = take(family, &hall) {
                    check_leaf(&found);
                    family.leave_object(found.region);
                }
            }
            6 => {
                let keep = dice.below(2) == 0;
                let part = family.allocate_part(&part_spec(), |_| {}, |_| keep);
                if let Ok(part) = part {
                    family.free_part(part.region);
                }
            }
            _ => {
                let (family, seed) = (*family, dice.below(u64::MAX >> 33));
                // Ends at any time, or is cut off.
                let thread = std::thread::spawn(move || {
                    let mine = leaf(&family, seed % 8192);
                    family.leave_object(mine.region);
                });
                thread.join().unwrap();
            }
        }
        done.word(1).fetch_add(1, Ordering::Relaxed);
    }
}

pub fn random_kills_leak_nothing() {
    let family = family();
    let done = Shared::new();
    let hall = family.allocate(&box_spec(), |_| {}).unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let start = |dice: &mut Dice| {
        let seed = dice.below(u64::MAX);
        let (hall, parent) = (hall.region, family.me());
        let _ = parent;
        fork(|| {
            // A child of a fork is a member already; one more handle, and the inherited one stays.
            work(&family, hall, seed, &done)
        })
    };
    let mut workers: Vec<i32> = (0..PROCESSES).map(|_| start(&mut dice)).collect();
    for round in 0..KILLS {
        // Let them get somewhere: the time to the next kill is random, too, and counted in what they do.
        let before = done.word(1).load(Ordering::Relaxed);
        let goal = before + dice.below(30);
        for _ in 0..dice.below(2000) {
            if done.word(1).load(Ordering::Relaxed) >= goal {
                break;
            }
            std::thread::yield_now();
        }
        let victim = dice.below(PROCESSES as u64) as usize;
        let pid = workers[victim];
        kill(pid, libc::SIGKILL);
        let end = reap(pid);
        assert_eq!(end, KILLED, "a worker failed by itself in round {round}");
        // Sometimes the parent says so, sometimes the others find out.
        if dice.below(2) == 0 {
            family.note_gone(pid as u32, ProcessRef::NONE);
        }
        workers[victim] = start(&mut dice);
    }
    for pid in &workers {
        kill(*pid, libc::SIGKILL);
    }
    for pid in &workers {
        assert_eq!(reap(*pid), KILLED);
        family.note_gone(*pid as u32, ProcessRef::NONE);
    }
    while let Some(found) = take(&family, &hall) {
        family.leave_object(found.region);
    }
    family.collect();
    let after = audit(&family);
    assert_eq!(after.processes, 1);
    assert_eq!(after.slots_and_lanes, (1, 1));
    assert_eq!(after.regions, 1);
    // What is left are the tables' pages and the hall: at most the head, a page of processes, lanes, and the region table's.
    assert!(after.bytes <= hall.len + (16 << 12), "{after:?}");
    println!("  {KILLS} kills, {} steps", done.word(1).load(Ordering::Relaxed));
}

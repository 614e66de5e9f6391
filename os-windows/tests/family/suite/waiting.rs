//! Sleeping and waking between processes while all of them live.

use super::Case;
use super::kit::{Team, at};
use offspring_core::family::RegionRef;
use offspring_core::process::Liveness;
use offspring_core::wait::{Wait, Watch, Woken};
use offspring_os_windows::family::{Family, FamilyError, Options};

pub const CASES: &[Case] = &[
    ("child_joins_by_the_section_and_leaves", child_joins_by_the_section_and_leaves),
    ("what_is_no_family_is_refused", what_is_no_family_is_refused),
    ("sleeper_is_woken_by_another_process", sleeper_is_woken_by_another_process),
    ("memory_that_a_child_commits_is_there", memory_that_a_child_commits_is_there),
    ("each_item_wakes_a_taker", each_item_wakes_a_taker),
    ("wait_ends_by_its_deadline", wait_ends_by_its_deadline),
    ("clean_thread_end_is_no_death", clean_thread_end_is_no_death),
];

fn child_joins_by_the_section_and_leaves() {
    let team = Team::found();
    let kid = team.start("stand", &[0]);
    team.until(at::CAME, 1);
    let name = team.name(0);
    assert_eq!(team.family.processes_alive(), 2);
    assert_eq!(team.family.parent_of(name), team.family.me());
    assert!(!team.family.is_dead(name));
    team.add(at::GO, 1);
    assert_eq!(kid.join(), 0);
    assert!(team.family.is_dead(name));
    assert_eq!(team.family.slots_and_lanes_in_use(), (1, 1));
}

fn what_is_no_family_is_refused() {
    let arena = offspring_os_windows::arena::Arena::create(64 << 20).unwrap();
    let section = arena.handle().try_clone_to_owned().unwrap();
    let none = offspring_core::process::ProcessRef::NONE;
    let error = Family::join(section, none).unwrap_err();
    assert_eq!(error, FamilyError::NotOurs("the arena has no family's head"));
    let short = offspring_os_windows::arena::Arena::create(1 << 20).unwrap();
    let section = short.handle().try_clone_to_owned().unwrap();
    let error = Family::join(section, none).unwrap_err();
    assert_eq!(error, FamilyError::NotOurs("the arena is too short"));
}

fn sleeper_is_woken_by_another_process() {
    const ROUNDS: u32 = 1000;
    let team = Team::found();
    let kid = team.start("answer", &[u64::from(ROUNDS)]);
    for round in 0..ROUNDS {
        team.add(at::TURN, 1);
        team.until(at::TURN, 2 * round + 2);
    }
    assert_eq!(kid.join(), 0);
}

fn memory_that_a_child_commits_is_there() {
    let team = Team::found();
    let kid = team.start("make", &[]);
    team.until(at::CAME, 1);
    let made = RegionRef::new(team.get(at::MADE) as u16, team.get(at::MADE + 1));
    let object = team.family.join_object(made, 2, 8).unwrap();
    // SAFETY: within the object, of which all is committed; the child has written and waits.
    assert_eq!(unsafe { object.pointer.add((1 << 20) - 1).read_volatile() }, 7);
    team.add(at::GO, 1);
    assert_eq!(kid.join(), 0);
    assert_eq!(team.family.regions_in_use(), 2);
    team.family.leave_object(made);
    assert_eq!(team.family.regions_in_use(), 1);
    // The next object gets the same pages, and they are zero.
    let resident = team.family.resident_bytes().unwrap();
    let kid = team.start("make", &[]);
    team.until(at::CAME, 2);
    assert_eq!(team.family.resident_bytes().unwrap(), resident);
    let made = RegionRef::new(team.get(at::MADE) as u16, team.get(at::MADE + 1));
    let object = team.family.join_object(made, 2, 8).unwrap();
    assert_eq!(kid.join(), 0);
    // SAFETY: as above.
    assert_eq!(unsafe { object.pointer.add((1 << 20) - 1).read_volatile() }, 7);
    // SAFETY: as above.
    assert_eq!(unsafe { object.pointer.add((1 << 20) - 2).read_volatile() }, 0);
}

fn each_item_wakes_a_taker() {
    const TAKERS: u32 = 4;
    const EACH: u32 = 300;
    let team = Team::found();
    let kids: Vec<_> = (0..u64::from(TAKERS))
        .map(|number| team.start("take", &[u64::from(EACH), number]))
        .collect();
    for _ in 0..TAKERS * EACH {
        team.put();
    }
    team.until(at::TAKEN, TAKERS * EACH);
    for kid in kids {
        assert_eq!(kid.join(), 0);
    }
    assert_eq!(team.get(at::ITEMS), 0);
}

fn wait_ends_by_its_deadline() {
    let family = Family::create(&Options::default()).unwrap();
    let team = Team::found();
    let word = team.word(at::ITEMS);
    let watch = Watch { word, seen: 0 };
    for millis in [0, 1, 30] {
        let begin = family.now();
        let until = begin.after(millis * 1_000_000);
        while team.family.wait(&[watch], Some(until)) == Woken::Maybe {}
        assert!(family.now() >= until);
    }
    // A word that changed is not slept on.
    let old = Watch { word, seen: 1 };
    assert_eq!(team.family.wait(&[old], None), Woken::Maybe);
}

fn clean_thread_end_is_no_death() {
    let team = Team::found();
    let epoch = team.family.death_epoch();
    let mut kid = team.start("threads", &[]);
    team.until(at::CAME, 1);
    // The child's main thread and ours, and the one that was past its destructors, if std destroyed the list of lanes first
    // and for good: then nobody could give its lane back.
    let (processes, lanes) = team.family.slots_and_lanes_in_use();
    assert!(processes == 2 && (lanes == 2 || lanes == 3), "{lanes}");
    assert_eq!((team.family.death_epoch(), team.family.processes_alive()), (epoch, 2));
    kid.kill();
    assert_ne!(kid.join(), 0);
    assert_eq!(team.family.slots_and_lanes_in_use(), (1, 1));
}

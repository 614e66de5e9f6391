//! Many processes at once.

use super::Case;
use super::kit::{Team, at};
use offspring_core::prim::Ordering;
use offspring_core::process::Liveness;
use offspring_core::wait::{Family as _, Wait, Watch};

pub const CASES: &[Case] = &[
    (
        "more_than_63_processes_are_waited_for_at_once",
        more_than_63_processes_are_waited_for_at_once,
    ),
    ("two_hundred_children_come_and_go", two_hundred_children_come_and_go),
];

fn more_than_63_processes_are_waited_for_at_once() {
    const CROWD: usize = 70;
    let team = Team::found();
    let mut kids: Vec<_> =
        (0..CROWD).map(|number| Some(team.start("stand", &[number as u64]))).collect();
    team.until(at::CAME, CROWD as u32);
    let lives: Vec<_> = (0..CROWD).map(|n| team.family.life_watch(team.name(n)).unwrap()).collect();
    let lives_still = |life: &&Watch<'_>| life.word.load(Ordering::SeqCst) == life.seen;
    // One after the other, while all are watched: the first ones by the sleeper itself, the last ones by the pool.
    for victim in [CROWD - 1, 0, 40, CROWD - 2, CROWD - 3] {
        let of_epoch = Watch { word: team.family.epoch_word(), seen: team.family.death_epoch() };
        let living = lives.iter().filter(lives_still).copied();
        let watches: Vec<_> = [of_epoch].into_iter().chain(living).collect();
        assert!(watches.len() > 64);
        let mut kid = kids[victim].take().unwrap();
        kid.kill();
        while lives_still(&&lives[victim]) {
            let _ = team.family.wait(&watches, None);
        }
        assert!(team.family.is_dead(team.name(victim)));
        assert_ne!(kid.join(), 0);
    }
    team.add(at::GO, 1);
    for kid in kids.into_iter().flatten() {
        assert_eq!(kid.join(), 0);
    }
    assert_eq!(team.family.slots_and_lanes_in_use(), (1, 1));
}

fn two_hundred_children_come_and_go() {
    const CHILDREN: u32 = 200;
    const AT_ONCE: usize = 20;
    let team = Team::found();
    let mut kids = std::collections::VecDeque::new();
    for _ in 0..CHILDREN {
        if kids.len() == AT_ONCE {
            let kid: super::kit::Kid = kids.pop_front().unwrap();
            assert_eq!(kid.join(), 0);
        }
        kids.push_back(team.start("come and go", &[]));
    }
    for kid in kids {
        assert_eq!(kid.join(), 0);
    }
    assert_eq!(team.get(at::CAME), CHILDREN);
    assert_eq!(team.family.slots_and_lanes_in_use(), (1, 1));
    assert_eq!(team.family.regions_in_use(), 1);
}

//! Members that are terminated while they wait or wake.

use super::Case;
use super::kit::{KILLED, Kid, Team, at};
use offspring_core::points::Point;
use offspring_core::prim::Ordering;
use offspring_core::process::Liveness;
use offspring_core::wait::{Family as _, Wait, Watch};

pub const CASES: &[Case] = &[
    ("sleeper_learns_of_a_termination", sleeper_learns_of_a_termination),
    ("terminated_process_is_dead_at_once", terminated_process_is_dead_at_once),
    ("killed_sleeper_swallows_no_wake", killed_sleeper_swallows_no_wake),
    ("sleeper_killed_at_each_step_swallows_no_wake", sleeper_killed_at_each_step_swallows_no_wake),
    (
        "waker_killed_at_each_step_leaves_nobody_asleep",
        waker_killed_at_each_step_leaves_nobody_asleep,
    ),
];

fn sleeper_learns_of_a_termination() {
    let team = Team::found();
    for round in 1..=10 {
        let mut kid = team.start("stand", &[0]);
        team.until(at::CAME, round);
        let name = team.name(0);
        let epoch = team.family.death_epoch();
        let life = team.family.life_watch(name).unwrap();
        let of_epoch = Watch { word: team.family.epoch_word(), seen: epoch };
        let nothing = Watch { word: team.word(at::GO), seen: 0 };
        kid.kill();
        while life.word.load(Ordering::SeqCst) == life.seen {
            let _ = team.family.wait(&[nothing, of_epoch, life], None);
        }
        assert!(team.family.is_dead(name));
        assert_ne!(team.family.death_epoch(), epoch);
        assert_ne!(kid.join(), 0);
        assert_eq!(team.family.slots_and_lanes_in_use(), (1, 1));
    }
}

fn terminated_process_is_dead_at_once() {
    let team = Team::found();
    let mut kid = team.start("stand", &[0]);
    team.until(at::CAME, 1);
    let name = team.name(0);
    kid.kill();
    let peer = offspring_os_windows::process::Process::open(kid.pid()).unwrap();
    assert!(peer.wait_gone(None));
    // Nobody told of it.
    assert!(team.family.is_dead(name));
    assert_eq!(team.family.processes_alive(), 1);
    assert_ne!(kid.join(), 0);
}

/// Looks until the child of that number has parked more than `times` times: it cannot notify from inside.
fn parked(team: &Team, number: usize, times: u32) {
    while team.get(at::PARKED + number) <= times {
        std::thread::yield_now();
    }
}

/// A child that takes `many` items, parked for the first.
fn parked_taker(team: &Team, many: u32, number: usize) -> Kid {
    let kid = team.start("take", &[u64::from(many), number as u64]);
    parked(team, number, 0);
    kid
}

fn killed_sleeper_swallows_no_wake() {
    const ROUNDS: u32 = 30;
    let team = Team::found();
    let living = parked_taker(&team, ROUNDS, 0);
    for round in 0..ROUNDS {
        team.word(at::PARKED + 1).store(0, Ordering::SeqCst);
        let mut victim = team.start("wait in vain", &[1, 0, 0]);
        parked(&team, 1, 0);
        if round % 2 == 0 {
            // Nobody is told of the death: the living one slept before the victim came, and watches it not.
            victim.kill();
            let peer = offspring_os_windows::process::Process::open(victim.pid()).unwrap();
            assert!(peer.wait_gone(None));
        } else {
            // Both sleep again, and the living one watches the victim; the death and the wake race.
            let sleeps = [0, 1].map(|number| team.get(at::PARKED + number));
            team.event(at::FULL).notify_all(&team.family);
            parked(&team, 0, sleeps[0]);
            parked(&team, 1, sleeps[1]);
            victim.kill();
        }
        // Whomever this chooses.
        team.put();
        team.until(at::TAKEN, round + 1);
        assert_ne!(victim.join(), 0);
    }
    assert_eq!(living.join(), 0);
}

fn sleeper_killed_at_each_step_swallows_no_wake() {
    let points = [
        Point::WaitArmed,
        Point::WaitBefore,
        Point::ParkRecorded,
        Point::ParkParked,
        Point::ParkUnparked,
        Point::WaitAfter,
    ];
    for point in points {
        const ITEMS: u32 = 6;
        let team = Team::found();
        let living = parked_taker(&team, ITEMS, 0);
        let victim = team.start("wait in vain", &[1, point as u64, 1]);
        if !matches!(point, Point::ParkUnparked | Point::WaitAfter) {
            assert_eq!(victim.join(), KILLED, "{point:?}");
        }
        // A wake may choose the victim, which then dies of it.
        for item in 1..=ITEMS {
            team.put();
            team.until(at::TAKEN, item);
        }
        assert_eq!(living.join(), 0, "{point:?}");
    }
}

fn waker_killed_at_each_step_leaves_nobody_asleep() {
    for point in [Point::NotifyCounted, Point::ParkChosen, Point::ParkRung, Point::NotifyWoken] {
        let team = Team::found();
        let takers = [0, 1].map(|number| parked_taker(&team, 1, number));
        let waker = team.start("put", &[2, point as u64, 1]);
        assert_eq!(waker.join(), KILLED, "{point:?}");
        // One item is there, and perhaps nobody was told.
        team.until(at::TAKEN, 1);
        team.put();
        team.until(at::TAKEN, 2);
        for taker in takers {
            assert_eq!(taker.join(), 0);
        }
        assert_eq!(team.family.slots_and_lanes_in_use(), (1, 1), "{point:?}");
    }
}

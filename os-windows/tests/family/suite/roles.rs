//! What the children of the tests do.

use super::kit::{Team, at, die_at};
use offspring_core::points::{Point, set_hook};
use offspring_core::prim::{AtomicU32, Ordering};
use std::sync::OnceLock;

/// Plays the role that this process was started for, if it was.
pub fn play_if_asked() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, role, given @ ..] = &arguments[..] else { return false };
    if flag != "--role" {
        return false;
    }
    let given: Vec<u64> = given.iter().map(|number| number.parse().unwrap()).collect();
    let team = Team::join(&given);
    let more = &given[3..];
    match role.as_str() {
        "answer" => answer(&team, more[0]),
        "make" => make(&team),
        "take" => take(&team, more),
        "put" => put(&team, more),
        "wait in vain" => wait_in_vain(&team, more),
        "stand" => {
            team.sign(more[0] as usize);
            stand(&team);
        }
        "come and go" => team.add(at::CAME, 1),
        "threads" => {
            team.sign(0);
            threads(&team);
        }
        _ => panic!("no role {role}"),
    }
    true
}

/// Takes every second turn of `rounds`.
fn answer(team: &Team, rounds: u64) {
    for round in 0..rounds as u32 {
        team.until(at::TURN, 2 * round + 1);
        team.add(at::TURN, 1);
    }
}

/// Makes an object and writes to its last page.
fn make(team: &Team) {
    let spec = offspring_core::family::RegionSpec {
        kind: 2,
        version: 1,
        type_hash: 8,
        len: 1 << 20,
        members_offset: 64,
        members_count: 4,
        flags: 0,
        committed: u64::MAX,
    };
    let made = team.family.allocate(&spec, |_| {}).unwrap();
    // SAFETY: within the object, of which all is committed; nobody else has it.
    unsafe { made.pointer.add((1 << 20) - 1).write_volatile(7) };
    team.word(at::MADE).store(u32::from(made.region.index()), Ordering::SeqCst);
    team.word(at::MADE + 1).store(made.region.generation(), Ordering::SeqCst);
    team.add(at::CAME, 1);
    team.until(at::GO, 1);
}

static PARKED: OnceLock<&'static AtomicU32> = OnceLock::new();

/// From now on the child of that number counts its sleeps on the board: for a parent who looks there and does not sleep.
fn count_sleeps(team: &Team, number: u64) {
    PARKED.get_or_init(|| team.word(at::PARKED + number as usize));
    set_hook(Some(|point| {
        if point == Point::ParkParked
            && let Some(parked) = PARKED.get()
        {
            parked.fetch_add(1, Ordering::SeqCst);
        }
    }));
}

/// Takes items: how many, and the number on the board.
fn take(team: &Team, more: &[u64]) {
    let [many, number] = *more else { panic!("take what?") };
    count_sleeps(team, number);
    for _ in 0..many {
        team.take();
    }
}

/// Sleeps where the takers sleep, and takes nothing: the number on the board, and where to die: a point, and at which visit
/// (0: never).
fn wait_in_vain(team: &Team, more: &[u64]) {
    let [number, point, nth] = *more else { panic!("wait for what?") };
    if nth > 0 {
        die_at(Point::ALL[point as usize], nth as u32);
    } else {
        count_sleeps(team, number);
    }
    team.wait_for(at::FULL, || false);
}

/// Puts items: how many, and where to die.
fn put(team: &Team, more: &[u64]) {
    let [many, point, nth] = *more else { panic!("put what?") };
    team.add(at::CAME, 1);
    if nth > 0 {
        die_at(Point::ALL[point as usize], nth as u32);
    }
    for _ in 0..many {
        team.put();
    }
}

/// Stays until it is told to go.
fn stand(team: &Team) {
    team.add(at::CAME, 1);
    team.until(at::GO, 1);
}

/// Threads that come and go, and one that uses the arena in its last destructor.
fn threads(team: &Team) {
    struct Touch(Team);
    impl Drop for Touch {
        fn drop(&mut self) {
            self.0.family.enter().unwrap();
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Touch>> = const { std::cell::RefCell::new(None) };
    }
    let team = *team;
    for _ in 0..20 {
        std::thread::spawn(move || team.family.enter().unwrap()).join().unwrap();
    }
    std::thread::spawn(move || {
        LAST.with_borrow_mut(|last| *last = Some(Touch(team)));
        team.family.enter().unwrap();
    })
    .join()
    .unwrap();
    stand(&team);
}

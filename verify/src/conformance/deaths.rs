//! Lives and deaths: S4, S11, S12, L1 to L3, F2, F3.
//!
//! Where participants cannot be killed, leaving takes the place of dying wherever the promise is about what is told of it, and
//! an end without leaving must never be called a death.

use super::bench::{Bench, system};
use super::mate::Mate;
use super::scene::{Scene, at};
use super::{Test, ensure, test};
use offspring_core::family::Life;
use offspring_core::prim::Ordering;
use offspring_core::process::{Liveness, NeverDies, ProcessRef};

pub fn tests<S: Bench>() -> Vec<Test> {
    vec![
        test("life_words_of_the_living_are_held", &["S4"], living::<S>),
        test("life_words_of_the_gone_are_marked", &["S11"], gone::<S>),
        test("life_word_is_held_given_back_and_held_again", &["S12"], given_back::<S>),
        test("nothing_of_the_dead_happens_any_more", &["L1"], silence::<S>),
        test("dead_stay_dead_and_their_successors_live", &["L2"], successors::<S>),
        test("death_is_found_by_who_sleeps_for_it", &["L3"], found::<S>),
        test("stopped_process_and_ended_thread_are_not_dead", &["L3"], not_dead::<S>),
        test("finder_of_a_death_raises_the_epoch_and_wakes_its_sleepers", &["F2"], epoch::<S>),
        test("end_of_a_process_ends_a_sleep_on_its_life_word", &["F3"], life_words::<S>),
    ]
}

/// Ends a participant in the way that tells everybody: kills it, or lets it leave.
fn end<S: Bench>(mate: &mut Mate) -> Result<(), String> {
    if S::DIES { mate.kill() } else { mate.ask::<String>("leave").map(|_| ()) }
}

fn living<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mate = scene.start()?;
    for process in [mate.name, scene.family.me()] {
        let lanes = scene.lanes_of(process);
        ensure(!lanes.is_empty(), || "a participant has no lane".into())?;
        for _ in 0..50 {
            let lives = scene.lives(&lanes);
            ensure(lives.iter().all(|life| *life == Life::Held), || {
                format!("the life words of one that lives say {lives:?}")
            })?;
        }
    }
    Ok(())
}

fn gone<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let lanes = scene.lanes_of(mate.name);
    mate.kill()?;
    let lives = scene.lives(&lanes);
    let expected = if S::DIES { Life::Marked } else { Life::Free };
    let right = !lives.is_empty() && lives.iter().all(|life| *life == expected);
    ensure(right, || {
        format!("the life words of one that has ended say {lives:?}, not {expected:?}")
    })
}

fn given_back<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let before = scene.family.slots_and_lanes_in_use();
    for _ in 0..5 {
        mate.ask::<String>("thread")?;
        let now = scene.family.slots_and_lanes_in_use();
        ensure(now == before, || {
            format!("a thread ended: slots and lanes {before:?}, now {now:?}")
        })?;
    }
    // A lane that nobody else will take: the last one.
    let tables = scene.tables();
    let lane = tables.lanes.len() - 1;
    let says = |expected: Life| {
        let life = scene.eye.life(&tables, lane);
        ensure(life == expected, || format!("a life word says {life:?}, not {expected:?}"))
    };
    for _ in 0..3 {
        says(Life::Free)?;
        // SAFETY: nobody has this lane, and the family is as long-lived as its process.
        let held = unsafe { scene.eye.hold_life(&tables, lane) };
        ensure(held, || "a life word cannot be held".into())?;
        says(Life::Held)?;
        // SAFETY: this thread holds it.
        unsafe { scene.eye.release_life(&tables, lane) };
    }
    says(Life::Free)
}

fn silence<S: Bench>(patience: u64) -> Result<(), String> {
    for _ in 0..5 {
        let scene = Scene::<S>::found(patience, false)?;
        let mut mate = scene.start()?;
        let word = scene.word(at::FREE);
        let times = if S::DIES { 0 } else { 100_000 };
        mate.tell(&format!("count {} {times}", at::FREE))?;
        mate.hear()?;
        while word.load(Ordering::SeqCst) < 1000 {
            ensure(!scene.family.is_dead(mate.name), || "one that counts is called dead".into())?;
        }
        // Nobody waits for the end here: the registry is to tell it.
        let name = mate.name;
        let killer = std::thread::spawn(move || {
            if !S::DIES {
                mate.hear()?;
            }
            end::<S>(&mut mate).map(|()| mate)
        });
        scene.await_death(name)?;
        let counted = word.load(Ordering::SeqCst);
        for _ in 0..100_000 {
            let now = word.load(Ordering::SeqCst);
            ensure(now == counted, || format!("one that is dead counted from {counted} to {now}"))?;
        }
        drop(killer.join().map_err(|_| "a thread panicked".to_owned())??);
    }
    Ok(())
}

fn successors<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut dead: Vec<ProcessRef> = Vec::new();
    for _ in 0..4 {
        let mut mate = scene.start()?;
        ensure(!scene.family.is_dead(mate.name), || "a newcomer is dead".into())?;
        ensure(!dead.contains(&mate.name), || "a newcomer has a dead one's name".into())?;
        let still = dead.iter().all(|name| scene.family.is_dead(*name));
        ensure(still, || "one that was dead is not dead any more".into())?;
        end::<S>(&mut mate)?;
        scene.await_death(mate.name)?;
        dead.push(mate.name);
    }
    ensure(dead.iter().all(|name| scene.family.is_dead(*name)), || "a dead one is not dead".into())
}

fn found<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut watchers = [scene.start()?, scene.start()?];
    let mut mate = scene.start()?;
    for watcher in &mut watchers {
        watcher.tell(&format!("await-death {}", mate.name.bits()))?;
    }
    end::<S>(&mut mate)?;
    for watcher in &watchers {
        watcher.hear().map_err(|error| format!("a death was not found: {error}"))?;
    }
    ensure(scene.family.is_dead(mate.name), || "a death was found by some only".into())
}

fn not_dead<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let lives = |why: &str, mate: &Mate| {
        for _ in 0..100 {
            scene.family.patrol();
            ensure(!scene.family.is_dead(mate.name), || format!("{why} is called dead"))?;
        }
        Ok::<(), String>(())
    };
    mate.ask::<String>("thread")?;
    lives("a process that ended one of its threads", &mate)?;
    if let Some(pid) = mate.pid()
        && system::stop(pid)
    {
        let said = lives("a stopped process", &mate);
        system::go_on(pid);
        said?;
    }
    if !S::DIES {
        mate.kill()?;
        lives("a thread that ended without leaving", &mate)?;
        let never = [mate.name, ProcessRef::NONE, scene.family.me()];
        let dead =
            never.iter().any(|name| NeverDies.is_dead(*name)) || NeverDies.death_epoch() != 0;
        ensure(!dead, || "somebody dies of those who never die".into())?;
    }
    Ok(())
}

fn epoch<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut sleepers = [scene.start()?, scene.start()?];
    let mut mate = scene.start()?;
    let before = scene.family.death_epoch();
    for sleeper in &mut sleepers {
        sleeper.sleep("epoch")?;
    }
    scene.linger(8);
    end::<S>(&mut mate)?;
    scene.await_death(mate.name)?;
    let after = scene.family.death_epoch();
    ensure(after != before, || format!("a death was found, and the epoch is still {before}"))?;
    for sleeper in &sleepers {
        sleeper.hear().map_err(|error| format!("a sleeper was not told of a death: {error}"))?;
    }
    Ok(())
}

fn life_words<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut sleeper = scene.start()?;
    let mut mate = scene.start()?;
    sleeper.sleep(&format!("life:{}", mate.name.bits()))?;
    scene.linger(8);
    mate.kill()?;
    sleeper.hear().map(|_| ()).map_err(|error| {
        format!("the end of a process did not end a sleep on its life word: {error}")
    })
}

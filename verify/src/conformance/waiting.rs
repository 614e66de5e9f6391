//! Sleeping and waking: S3, W1 to W6, F1, F4; the clock: S13.

use super::bench::Bench;
use super::scene::{Scene, at};
use super::{Test, ensure, test};
use offspring_core::prim::Ordering;
use offspring_core::process::Liveness;
use offspring_core::wait::{Family as _, Wait, Watch, Woken};

pub fn tests<S: Bench>() -> Vec<Test> {
    vec![
        test("wake_reaches_a_sleeper_in_another_participant", &["S3", "W1"], one_wake::<S>),
        test("changed_word_is_not_slept_on", &["W1"], changed_before::<S>),
        test("no_wake_is_lost_in_a_long_rally", &["S3", "W1"], rally::<S>),
        test("each_of_several_words_ends_the_wait", &["W1"], several_words::<S>),
        test("wake_of_all_ends_every_wait", &["W1"], wake_of_all::<S>),
        test("woken_sleeper_is_not_told_that_it_is_late", &["W2"], told_rightly::<S>),
        test("wake_through_another_mapping_is_a_wake", &["W3"], other_address::<S>),
        test("wait_ends_after_its_deadline_and_not_before", &["W4"], deadlines::<S>),
        test("barrier_lets_one_side_see_the_other", &["S3", "W5"], barriers::<S>),
        test("n_wakes_of_one_end_n_waits", &["W6"], wakes_of_one::<S>),
        test("clock_is_one_and_goes_on", &["S13"], one_clock::<S>),
        test("epoch_word_holds_the_epoch", &["F1"], epoch_word::<S>),
        test("new_member_wakes_who_sleeps_for_one", &["F4"], newcomers::<S>),
    ]
}

const FREE: usize = at::FREE;

fn one_wake<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mates = [scene.start()?, scene.start()?];
    let word = scene.word(FREE);
    for value in 0..30_u32 {
        // By the examiner, and by another participant.
        mates[0].sleep(&format!("w{FREE}:{value}"))?;
        scene.linger(value as usize);
        if value % 2 == 0 {
            word.store(value + 1, Ordering::SeqCst);
            scene.family.wake(word, 1);
        } else {
            mates[1].ask::<u32>(&format!("change {FREE} {} 1", value + 1))?;
        }
        mates[0].hear().map_err(|error| format!("a sleeper was not woken: {error}"))?;
    }
    Ok(())
}

fn changed_before<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    scene.word(FREE).store(1, Ordering::SeqCst);
    for watches in [format!("w{FREE}:0"), format!("w{}:0 w{FREE}:2", FREE + 1)] {
        mate.sleep(&watches)?;
        mate.hear().map_err(|error| format!("a word that had changed was slept on: {error}"))?;
    }
    Ok(())
}

fn rally<S: Bench>(patience: u64) -> Result<(), String> {
    const ROUNDS: u32 = 3000;
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    mate.tell(&format!("rally {ROUNDS}"))?;
    scene.rally(0, ROUNDS)?;
    mate.hear().map(|_| ())
}

fn several_words<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let words = S::MOST_WATCHES.min(4);
    let mut values = vec![0_u32; words];
    for round in 0..3 * words {
        let list: Vec<String> =
            (0..words).map(|at| format!("w{}:{}", FREE + at, values[at])).collect();
        mate.sleep(&list.join(" "))?;
        scene.linger(round);
        let at = round % words;
        values[at] += 1;
        scene.word(FREE + at).store(values[at], Ordering::SeqCst);
        scene.family.wake(scene.word(FREE + at), 1);
        mate.hear()
            .map_err(|error| format!("word {at} of {words} did not end the wait: {error}"))?;
    }
    Ok(())
}

fn wake_of_all<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mates = [scene.start()?, scene.start()?, scene.start()?];
    let word = scene.word(FREE);
    for value in 0..20 {
        for mate in &mut mates {
            mate.sleep(&format!("w{FREE}:{value}"))?;
        }
        scene.linger(value as usize);
        word.store(value + 1, Ordering::SeqCst);
        scene.family.wake(word, u32::MAX);
        for mate in &mates {
            mate.hear().map_err(|error| format!("a wake of all did not end all waits: {error}"))?;
        }
    }
    Ok(())
}

fn told_rightly<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let word = scene.word(FREE);
    let long = 10 * scene.patience();
    for value in 0..10 {
        mate.tell(&format!("sleep {long} w{FREE}:{value}"))?;
        mate.hear()?;
        // Nothing changed: it may go on sleeping, or look again.
        scene.family.wake(word, 1);
        word.store(value + 1, Ordering::SeqCst);
        scene.family.wake(word, 1);
        let told = mate.hear()?;
        ensure(told == "maybe", || {
            format!("a sleeper was told `{told}` long before its deadline")
        })?;
    }
    Ok(())
}

fn other_address<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    for value in 0..10 {
        mate.sleep(&format!("w{FREE}:{value}"))?;
        scene.linger(value as usize);
        let word = scene.word_elsewhere(FREE);
        word.store(value + 1, Ordering::SeqCst);
        scene.eye.wake(&scene.tables(), word, 1);
        mate.hear()
            .map_err(|error| format!("a wake at another address did not arrive: {error}"))?;
    }
    Ok(())
}

fn deadlines<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    for _ in 0..3 {
        mate.tell(&format!("sleep 50000000 w{FREE}:0"))?;
        mate.hear()?;
        mate.hear().map_err(|error| format!("a wait did not end after its deadline: {error}"))?;
    }
    let word = scene.word(FREE);
    // Deadlines from long past to some time ahead.
    for ahead in [0, 1_000, 1_000_000, 60_000_000] {
        let until = S::now().after(ahead);
        loop {
            let woken = scene.family.wait(&[Watch { word, seen: 0 }], Some(until));
            let now = S::now();
            if woken == Woken::TimedOut {
                let early = until.0.saturating_sub(now.0);
                ensure(early == 0, || format!("a wait was over {early} ns before its deadline"))?;
                break;
            }
            // It may end early; but not for ever.
            let late = now.0.saturating_sub(until.0);
            let told = late < scene.patience();
            ensure(told, || "a wait never told that its time was over".into())?;
        }
    }
    Ok(())
}

fn barriers<S: Bench>(patience: u64) -> Result<(), String> {
    // Two that never run at once show nothing: so often they must have been seen to take turns.
    const TURNS: usize = 10_000;
    let alone = std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
    for fences in [false, true] {
        let scene = Scene::<S>::found(patience, fences)?;
        let logs = scene.make_logs()?;
        let mut mate = scene.start()?;
        for heavy in [true, false] {
            let (mut turns, mut runs) = (0, 0);
            let until = S::now().after(2 * scene.patience());
            while turns < TURNS && S::now() < until {
                mate.tell(&format!("barrier {heavy} {logs}"))?;
                let both = scene.barrier(0, !heavy, logs)?;
                mate.hear()?;
                let (blind, more) = scene.judge_barrier(both);
                let mode = if fences { "fences" } else { "the barrier of this system" };
                ensure(blind == 0, || {
                    format!("{mode}: in {blind} rounds neither side saw the other")
                })?;
                (turns, runs) = (turns + more, runs + 1);
            }
            ensure(turns >= TURNS || alone, || {
                format!(
                    "in {runs} runs two participants took only {turns} turns: the machine is too busy"
                )
            })?;
        }
    }
    Ok(())
}

fn wakes_of_one<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mates = [scene.start()?, scene.start()?, scene.start()?];
    let word = scene.word(FREE);
    for value in 0..20 {
        for mate in &mut mates {
            mate.sleep(&format!("w{FREE}:{value}"))?;
        }
        scene.linger(value as usize);
        word.store(value + 1, Ordering::SeqCst);
        for _ in &mates {
            let woken = scene.family.wake(word, 1);
            ensure(woken <= 1, || format!("a wake of one says that it woke {woken}"))?;
        }
        for mate in &mates {
            mate.hear()
                .map_err(|error| format!("three wakes of one did not end three waits: {error}"))?;
        }
    }
    Ok(())
}

fn one_clock<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mates = [scene.start()?, scene.start()?];
    let mut last = S::now().0;
    for round in 0..40 {
        let read = [mates[round % 2].ask::<u64>("now")?, S::now().0];
        for now in read {
            ensure(now >= last, || format!("the clock went back from {last} to {now}"))?;
            last = now;
        }
    }
    Ok(())
}

fn epoch_word<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    for leavers in 0..3 {
        let word = scene.family.epoch_word().load(Ordering::SeqCst);
        let told = scene.family.death_epoch();
        ensure(word == told, || format!("the epoch is {told}, its word holds {word}"))?;
        ensure(told >= leavers, || format!("{leavers} participants left, the epoch is {told}"))?;
        scene.start()?.ask::<String>("leave")?;
    }
    Ok(())
}

fn newcomers<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let crew = scene.make_crew()?;
    let mut sleepers = [scene.start()?, scene.start()?];
    let mut joiner = scene.start()?;
    for sleeper in &mut sleepers {
        sleeper.sleep("newcomers")?;
    }
    scene.linger(8);
    joiner.ask::<String>(&format!("join {crew}"))?;
    for sleeper in &sleepers {
        sleeper
            .hear()
            .map_err(|error| format!("a sleeper was not told of a new member: {error}"))?;
    }
    Ok(())
}

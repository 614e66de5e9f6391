//! Who is who, and who lives: S5 to S7, S10, S14, S15.

use super::bench::{Bench, system};
use super::scene::Scene;
use super::{Test, ensure, test};

pub fn tests<S: Bench>() -> Vec<Test> {
    vec![
        test("living_are_never_gone_and_the_gone_are", &["S5"], gone::<S>),
        test("generation_is_constant_and_new_in_a_fork", &["S6"], generation::<S>),
        test("numbers_are_small_and_differ", &["S7"], numbers::<S>),
        test("number_with_another_identity_is_gone", &["S10"], identity::<S>),
        test("end_is_awaited_until_it_comes", &["S14"], awaited::<S>),
        test("random_numbers_differ", &["S15"], random::<S>),
    ]
}

fn gone<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let (number, identity) = (mate.number, mate.identity);
    for _ in 0..100 {
        for identity in [identity, 0] {
            let told = scene.eye.is_gone(number, identity);
            ensure(told != Some(true), || "a living participant is said to be gone".into())?;
            ensure(!S::DIES || told == Some(false), || {
                "the system cannot tell of a living process".into()
            })?;
        }
    }
    mate.kill()?;
    let told = scene.eye.is_gone(number, identity);
    let expected = if S::DIES { Some(true) } else { None };
    ensure(told == expected, || {
        format!("of a participant that has ended it is said: gone: {told:?}")
    })
}

fn generation<S: Bench>(patience: u64) -> Result<(), String> {
    let ours = S::generation();
    ensure(ours != 0, || "the generation is 0".into())?;
    let other =
        std::thread::spawn(S::generation).join().map_err(|_| "a thread panicked".to_owned())?;
    ensure(other == ours, || format!("one process has the generations {ours} and {other}"))?;
    if let Some(forks) = system::in_forks(S::generation) {
        let [child, grandchild] = forks?;
        let differ = child != ours && grandchild != ours && grandchild != child;
        ensure(differ, || {
            format!("generations: {ours}, in a fork {child}, in its fork {grandchild}")
        })?;
    }
    let scene = Scene::<S>::found(patience, false)?;
    let mate = scene.start()?;
    ensure(mate.generation != 0 && S::generation() == ours, || "the generation changed".into())
}

fn numbers<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mates = [scene.start()?, scene.start()?, scene.start()?];
    let mut numbers: Vec<u32> = mates.iter().map(|mate| mate.number).collect();
    numbers.push(S::number(std::process::id()));
    for (at, number) in numbers.iter().enumerate() {
        ensure(*number < 1 << 22, || format!("{number} does not fit into 22 bits"))?;
        let twice = *number != 0 && numbers[..at].contains(number);
        ensure(!twice, || format!("two processes that live have the number {number}"))?;
    }
    ensure(scene.eye.is_gone(0, 0).is_none(), || "something is said of the number 0".into())
}

fn identity<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mates = [scene.start()?, scene.start()?];
    for mate in &mates {
        if mate.number == 0 || mate.identity == 0 {
            let alone = !S::DIES;
            ensure(alone, || "processes have no identity here".into())?;
            let told = scene.eye.is_gone(mate.number, 4711);
            ensure(told.is_none(), || format!("of nobody it is said: gone: {told:?}"))?;
            continue;
        }
        let same = scene.eye.is_gone(mate.number, mate.identity);
        ensure(same == Some(false), || {
            format!("of a living one with its identity: gone: {same:?}")
        })?;
        for other in [
            mate.identity ^ 1,
            mate.identity.wrapping_add(4096),
            mates[0].identity ^ mates[1].identity,
        ] {
            let told = scene.eye.is_gone(mate.number, other);
            ensure(told == Some(true), || {
                format!("the number of a living process with another's identity: gone: {told:?}")
            })?;
        }
    }
    let differ = !S::DIES || mates[0].identity != mates[1].identity;
    ensure(differ, || "two processes have one identity".into())
}

fn awaited<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let (number, identity) = (mate.number, mate.identity);
    let begun = S::now().0;
    scene.eye.await_gone(number, identity);
    let awaited = S::now().0 - begun;
    let least = S::backstop() / 2;
    ensure(awaited >= least, || {
        format!(
            "waiting for the end of one that lives was over after {awaited} ns, not {}",
            S::backstop()
        )
    })?;
    let eye = &scene.eye;
    std::thread::scope(|threads| {
        let waiting = threads.spawn(move || eye.await_gone(number, identity));
        mate.kill()?;
        waiting.join().map_err(|_| "waiting for an end panicked".to_owned())
    })?;
    if S::DIES {
        eye.await_gone(number, identity);
        ensure(eye.is_gone(number, identity) == Some(true), || "the awaited is not gone".into())?;
    }
    Ok(())
}

fn random<S: Bench>(patience: u64) -> Result<(), String> {
    let scene = Scene::<S>::found(patience, false)?;
    let mut mate = scene.start()?;
    let mut drawn = Vec::new();
    for _ in 0..32 {
        drawn.push(S::random().map_err(|error| error.to_string())?);
        drawn.push(mate.ask("random")?);
    }
    let all = drawn.len();
    drawn.sort_unstable();
    drawn.dedup();
    ensure(drawn.len() == all, || {
        format!("{all} random numbers, {} of them different", drawn.len())
    })
}

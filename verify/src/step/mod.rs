//! The stage `step`: every public operation of the queue, killed after each instruction that others can notice.
//!
//! A pass of single steps goes through an operation and notes each instruction after which the shared memory has changed,
//! and each system call. Between two of these nobody can tell where the process stood. Then, for each of these points,
//! a new process does the same from the same state, runs to that point and is killed there; a survivor must find every
//! committed item once, all room, and nobody's words. In a second part the one who repairs is killed as well, at each
//! point of its repair.
//!
//! The harness is a process of one thread on one processor, the root of a real family with real life words.
//!
//! | file | what |
//! |---|---|
//! | `scene` | which operations from which states |
//! | `actor` | what the processes do |
//! | `tracee`, `drive` | stepping, breakpoints, kills |
//! | `world` | the queue, the messages |
//! | `run` | one run and its judgement |

mod actor;
mod drive;
mod run;
mod scene;
pub(crate) mod tracee;
pub(crate) mod world;

use crate::again;
use crate::report::{Progress, Report, Row, Settings};
use drive::{Plan, Point};
use run::{Fault, Outcome, Ran, Runner};
use scene::{Op, Scene};
use std::collections::{BTreeMap, HashSet};
use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The first argument of the harness.
const HARNESS: &str = "step-harness";
/// Of the quick form: every so-manieth scene, every so-manieth point of the one who repairs.
const EVERY_SCENE: usize = 11;
const EVERY_REPAIR: usize = 5;
/// How long one scene may stand still before the harness is ended by its alarm, in seconds.
const STILL: u32 = 120;
/// A run that went another way (a hint was different, a clock was read twice) is tried again so often.
const TRIES: u32 = 3;

/// Runs the harness, and makes its lines rows.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let failed = |what: String| Report {
        rows: vec![Row {
            name: "harness".to_owned(),
            extent: String::new(),
            took: Duration::ZERO,
            verdict: Err(what),
        }],
    };
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return failed("single steps are made for Linux on x86-64 only".to_owned());
    }
    match again::this_program(HARNESS) {
        Ok(mut command) => {
            command.arg(u8::from(settings.quick).to_string());
            command.arg(settings.seconds.unwrap_or(0).to_string());
            command.arg(settings.only.as_deref().unwrap_or(""));
            again::collect(
                command,
                progress,
                "the same run again: `cargo verify step --only SCENE`",
            )
        }
        Err(what) => failed(what),
    }
}

/// What this process is, if the stage started it. Before anything else in `main`.
#[must_use]
pub fn inner_process() -> Option<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    if arguments.get(1).map(String::as_str) != Some(HARNESS) {
        return None;
    }
    let number = |i: usize| arguments.get(i).and_then(|text| text.parse::<u64>().ok());
    let settings = Settings {
        quick: number(2)? != 0,
        seconds: number(3).filter(|seconds| *seconds != 0),
        only: arguments.get(4).filter(|only| !only.is_empty()).cloned(),
        ..Settings::default()
    };
    Some(match harness(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("step: {what}");
            ExitCode::FAILURE
        }
    })
}

/// What one operation came to, over all its scenes.
#[derive(Default)]
struct Tally {
    scenes: usize,
    impossible: usize,
    instructions: u64,
    points: usize,
    kills: u64,
    repair_kills: u64,
    /// Addresses of code behind which others saw something new.
    places: HashSet<usize>,
    diverged: u64,
    wrong: Vec<String>,
}

struct Harness {
    runner: Runner,
    quick: bool,
    until: Option<Instant>,
    tally: BTreeMap<usize, Tally>,
}

fn harness(settings: &Settings) -> Result<(), String> {
    stay_on_one_processor()?;
    let mut harness = Harness {
        runner: Runner::new()?,
        quick: settings.quick,
        until: settings.until(),
        tally: BTreeMap::new(),
    };
    let mut scenes = scene::all();
    scenes.retain(|scene| settings.wants(&scene.to_string()));
    let all = scenes.len();
    if settings.quick && settings.only.is_none() {
        // And the first of each operation.
        let mut seen = Vec::new();
        let mut number = 0;
        scenes.retain(|scene| {
            let first = !seen.contains(&scene.op);
            if first {
                seen.push(scene.op);
            }
            number += 1;
            first || number % EVERY_SCENE == 0
        });
    }
    let mut done = 0;
    for scene in &scenes {
        if harness.until.is_some_and(|until| until <= Instant::now()) {
            break;
        }
        done += 1;
        again::say(&format!("{done}/{}: {scene}", scenes.len()));
        // SAFETY: sets this process's alarm; its default action ends the process.
        unsafe { libc::alarm(STILL) };
        harness.scene(scene);
    }
    harness.tell(done, all);
    Ok(())
}

impl Harness {
    fn scene(&mut self, scene: &Scene) {
        let number = Op::ALL.iter().position(|op| *op == scene.op).unwrap_or(0);
        let name = scene.to_string();
        let mut tally = self.tally.remove(&number).unwrap_or_default();
        if tally.wrong.len() < 3
            && let Err(what) = self.explore(scene, &mut tally)
        {
            tally.wrong.push(if what.starts_with(&name) {
                what
            } else {
                format!("{name}: {what}")
            });
        }
        self.tally.insert(number, tally);
    }

    fn explore(&mut self, scene: &Scene, tally: &mut Tally) -> Result<(), String> {
        let end = match self.runner.run(scene, Plan::Discover, None) {
            Ok(ran) => ran,
            Err(Fault::Impossible(_)) => {
                tally.impossible += 1;
                return Ok(());
            }
            Err(Fault::Diverged(what)) => return Err(what),
            Err(Fault::Violation(what)) => return Err(format!("killed at its end: {what}")),
        };
        tally.scenes += 1;
        tally.instructions += end.victim.instructions;
        tally.points += end.victim.points.len();
        tally.places.extend(end.victim.points.iter().map(|point| point.address));
        judge_end(scene, &end)?;
        let mut seen = vec![("at once".to_owned(), self.once(scene, Plan::AtOnce, None, tally)?)];
        for (i, point) in end.victim.points.iter().enumerate() {
            let ran = self.once(scene, Plan::At(*point), None, tally);
            let ran = ran.map_err(|what| at(scene, i, point, &what))?;
            tally.kills += u64::from(ran.is_some());
            seen.push((format!("point {i}"), ran));
        }
        let outcomes: Vec<(String, Outcome)> =
            seen.into_iter().filter_map(|(name, ran)| Some((name, ran?.outcome))).collect();
        one_switch(&outcomes, &end.outcome)?;
        if repairs_matter(scene) {
            self.repairs(scene, &end.victim.points, tally)?;
        }
        Ok(())
    }

    /// Kills the one who repairs, at each of its points, after each kill of the operation.
    fn repairs(
        &mut self,
        scene: &Scene,
        points: &[Point],
        tally: &mut Tally,
    ) -> Result<(), String> {
        let skip = if self.quick { EVERY_REPAIR } else { 1 };
        for (i, point) in points.iter().enumerate().step_by(skip) {
            let plan = Plan::At(*point);
            let Some(whole) = self.once(scene, plan, Some(Plan::Discover), tally)? else {
                continue;
            };
            tally.instructions += whole.repairer.instructions;
            tally.places.extend(whole.repairer.points.iter().map(|point| point.address));
            for (j, second) in whole.repairer.points.iter().enumerate().step_by(skip) {
                let ran = self.once(scene, plan, Some(Plan::At(*second)), tally);
                let ran = ran.map_err(|what| {
                    at(
                        scene,
                        i,
                        point,
                        &format!("who repaired was killed at its point {j}: {what}"),
                    )
                })?;
                tally.repair_kills += u64::from(ran.is_some());
                if let Some(ran) = ran
                    && ran.outcome != whole.outcome
                {
                    let what = format!(
                        "repaired to its end {:?}, killed at point {j} of the repair {:?}",
                        whole.outcome, ran.outcome
                    );
                    return Err(at(scene, i, point, &what));
                }
            }
        }
        Ok(())
    }

    /// One run; `None` if it went another way each time.
    fn once(
        &mut self,
        scene: &Scene,
        plan: Plan,
        repair: Option<Plan>,
        tally: &mut Tally,
    ) -> Result<Option<Ran>, String> {
        for _ in 0..TRIES {
            match self.runner.run(scene, plan, repair) {
                Ok(ran) => return Ok(Some(ran)),
                Err(Fault::Violation(what)) => return Err(what),
                Err(Fault::Diverged(what) | Fault::Impossible(what)) => {
                    again::say(&format!("{scene}: {what}; again"));
                }
            }
        }
        tally.diverged += 1;
        Ok(None)
    }

    fn tell(&self, done: usize, all: usize) {
        let (mut kills, mut places) = (0, HashSet::new());
        for (number, tally) in &self.tally {
            let tried = tally.kills + tally.repair_kills + tally.diverged;
            let mut wrong = tally.wrong.join("\n");
            if wrong.is_empty() && tally.diverged * 50 > tried.max(50) {
                wrong = format!("{} of {tried} kills did not come to their point", tally.diverged);
            }
            kills += tally.kills + tally.repair_kills;
            places.extend(tally.places.iter().copied());
            again::row(
                &format!("{:?}", Op::ALL[*number]),
                &format!(
                    "{:3} states, {:7} instructions, {:5} points, {:5} kills, {:6} of who repairs",
                    tally.scenes, tally.instructions, tally.points, tally.kills, tally.repair_kills
                ),
                Some(&wrong),
            );
        }
        let impossible: usize = self.tally.values().map(|tally| tally.impossible).sum();
        let diverged: u64 = self.tally.values().map(|tally| tally.diverged).sum();
        let extent = format!(
            "{done} of {all} states ({impossible} do not come about), {kills} kills at {} places \
             of code, {diverged} not reached",
            places.len()
        );
        again::row("coverage", &extent, (kills == 0).then_some("nobody was killed"));
    }
}

/// Where the one who repairs is killed, too: each operation, from the states that differ in what there is to repair.
fn repairs_matter(scene: &Scene) -> bool {
    !scene.wrapped && scene.dead.is_none() && scene.sleeper.is_none() && scene.op != Op::Recover
        || scene.op == Op::Get && scene.dead.is_some() && scene.filled == 1 && !scene.closed
}

fn at(scene: &Scene, number: usize, point: &Point, what: &str) -> String {
    let place = offspring_os_unix::image::describe(point.address);
    format!(
        "{scene}: killed at point {number} (before {place}, visit {}, asleep: {}): {what}",
        point.visit, point.asleep
    )
}

/// At its end the operation has had the effect that it told of.
fn judge_end(scene: &Scene, ran: &Ran) -> Result<(), String> {
    let result = ran.result;
    if matches!(result, actor::code::WRONG | actor::code::TORN | 0) {
        return Err(format!("the operation gave the code {result}"));
    }
    let there = ran.outcome.items.contains(&actor::id::VICTIMS);
    if scene.op.puts() && there != actor::is_done(result) {
        return Err(format!("put gave the code {result}, and its item is there: {there}"));
    }
    let mine = ran.outcome.items.iter().filter(|number| **number != actor::id::VICTIMS).count();
    // A sleeper may have been put to use, and the root takes one to wake who waits for room.
    let all = usize::from(scene.filled) + usize::from(scene.op == Op::BlockGet);
    let taken = all.saturating_sub(mine);
    let most = usize::from(scene.op.takes() && actor::is_done(result));
    if taken > most {
        return Err(format!("{taken} items are gone at the end; code {result}"));
    }
    Ok(())
}

/// From "it never happened" to "it happened", once: no state in between.
fn one_switch(outcomes: &[(String, Outcome)], end: &Outcome) -> Result<(), String> {
    let mut switched = false;
    for pair in outcomes.windows(2) {
        let [(_, before), (name, after)] = pair else { continue };
        if before == after {
            continue;
        }
        if switched || after != end {
            return Err(format!(
                "killed at {name} it left {after:?}; before that {before:?}, at its end {end:?}"
            ));
        }
        switched = true;
    }
    let (_, last) = outcomes.last().ok_or("nothing was killed")?;
    if last == end {
        Ok(())
    } else {
        Err(format!("{last:?} at the last point, {end:?} at the end"))
    }
}

/// Steps cost a third when parent and child need not wake each other across processors.
fn stay_on_one_processor() -> Result<(), String> {
    // SAFETY: an all-zero set is a set; the calls write to it, or read it, with its size.
    let well = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let here = libc::sched_getcpu().max(0) as usize;
        libc::CPU_SET(here, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0
    };
    if well { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
}

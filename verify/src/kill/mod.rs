//! The stage `kill`: a family of real processes, killed at named points and at any instruction, with exact accounting.
//!
//! The stage starts this program again as the *harness*, a process of one thread that is the root of a family and forks
//! its victims (a tenth of them execute the program once more and get the arena handed). Each round has a queue and
//! a semaphore of its own; two *survivors*, one that takes and one that puts, see it to its end.
//!
//! | file | what |
//! |---|---|
//! | `harness` | rounds: starts, kills, reaps, closes; `harness/judge` judges them |
//! | `plan`, `targets` | where the next victim is to die; which points there are, and what leads there |
//! | `scripts` | what victims and survivors do |
//! | `worker`, `inbox` | each operation, told to the ledger before and after; arriving messages |
//! | `hook` | what happens at a named point |
//! | `ledger` | what happened to each item, and the judgement |
//! | `board` | the memory that all of them share, apart from the arena |
//! | `processes` | the other half: processes killed while they start, run and end |
//! | `pool` | pools whose workers are killed, and the owners of pools |
//! | `objects`, `payload`, `audit`, `dice` | the queue and the semaphore; messages that show tears; leftovers; luck |
//! | `system` | children, memory and figures of the operating system |
//!
//! A kill at a named point is raised by the victim itself in the hook, behind the entry in the ledger, so that what must
//! become of each item is known exactly. A kill from outside may fall between a commit and its entry: such items are
//! counted apart ("in doubt"), and may have come once more or not at all.

mod audit;
mod board;
pub(crate) mod dice;
mod forkservers;
mod harness;
mod hook;
mod inbox;
mod ledger;
mod objects;
mod payload;
mod plan;
// Its notes lie in a page that processes open by its number.
#[cfg(unix)]
mod pool;
mod processes;
mod scripts;
mod system;
mod targets;
mod worker;

use crate::report::{Progress, Report, Row, Settings};
use board::{Board, Counts, WAITS};
use harness::{Harness, Orders};
use offspring_core::prim::{AtomicU64, Ordering};
use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The first argument of the harness, of the one for processes, and of a victim that executed the program again.
const HARNESS: &str = "kill-harness";
const PROCESSES: &str = "kill-processes";
const POOL: &str = "kill-pool";
const VICTIM: &str = "kill-victim";

/// What is killed: processes as they start and end; workers of pools; those that use queue, semaphore, waiting and regions.
const OBJECTS: [&str; 3] = ["process", "pool", "queue"];

/// Kills wanted at each point: in the full version, and in the quick one. Where processes start slowly, in tens of
/// milliseconds, the quick one is content with one.
const LEAST: u64 = 50;
const LEAST_QUICK: u64 = if cfg!(windows) { 1 } else { 2 };
/// Kills wanted in all of those who use queue and semaphore, on every system.
const LEAST_IN_ALL: u64 = 500;
/// Kills wanted of parents, of children, of grandchildren and of fork servers.
const EACH: u64 = 1000;
const EACH_QUICK: u64 = 10;
/// Seconds, where none are asked for.
const SECONDS: u64 = 180;
const SECONDS_QUICK: u64 = 20;
/// The slowest recovery that one in a hundred may exceed.
const SLOWEST: Duration = Duration::from_nanos(system::PACE.slowest);

/// Runs the harnesses that are asked for.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    let seconds = settings.seconds.unwrap_or(if settings.quick { SECONDS_QUICK } else { SECONDS });
    let seed = settings.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
    });
    let wants = |object: &str| settings.object.as_deref().is_none_or(|wanted| wanted == object);
    if let Some(unknown) = &settings.object
        && !OBJECTS.contains(&unknown.as_str())
    {
        let verdict = Err(format!("no such object; there are {}", OBJECTS.join(", ")));
        let name = unknown.clone();
        report.rows.push(Row { name, extent: String::new(), took: Duration::ZERO, verdict });
        return report;
    }
    let flags = [settings.quick.into(), settings.threads.into()];
    // Deaths of processes are rarer and slower: a tenth of the time, where they share it.
    let share = if settings.object.is_some() { seconds } else { seconds / 10 };
    if wants("process") {
        let each = if settings.quick { EACH_QUICK } else { EACH };
        let each = settings.kills.unwrap_or(each);
        inner(PROCESSES, [seed, share, flags[0], each], progress, &mut report);
    }
    if cfg!(unix) && wants("pool") {
        inner(POOL, [seed, share, flags[0], flags[1]], progress, &mut report);
    }
    if wants("queue") {
        inner(HARNESS, [seed, seconds, flags[0], flags[1]], progress, &mut report);
    }
    report
}

/// Starts this program again as `what`, and makes its lines rows.
fn inner(what: &str, numbers: [u64; 4], progress: &Progress, report: &mut Report) {
    let begin = Instant::now();
    let mut rows = Vec::new();
    if let Err(error) = run_inner(what, numbers, progress, begin, &mut rows) {
        let verdict = Err(format!("{error}; again with --seed {}", numbers[0]));
        let name = what.to_owned();
        rows.push(Row { name, extent: String::new(), took: begin.elapsed(), verdict });
    }
    report.rows.append(&mut rows);
}

fn run_inner(
    what: &str,
    numbers: [u64; 4],
    progress: &Progress,
    begin: Instant,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let exe = env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let mut command = Command::new(exe);
    command.arg(what).args(numbers.map(|number| number.to_string()));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("start the harness: {error}"))?;
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let Ok(line) = line else { break };
        match line.split_once('\t') {
            Some(("say", what)) => progress.say(what),
            Some(("row", row)) => rows.extend(parse_row(row, begin)),
            _ => println!("{line}"),
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the harness ended with {status}")),
        Err(error) => Err(format!("wait for the harness: {error}")),
    }
}

/// `name, extent, verdict` between tabs; newlines and tabs of the verdict are escaped.
fn parse_row(line: &str, begin: Instant) -> Option<Row> {
    let mut parts = line.splitn(3, '\t');
    let (name, extent, verdict) = (parts.next()?, parts.next()?, parts.next()?);
    let wrong = verdict.replace("\\n", "\n");
    let verdict = if wrong.is_empty() { Ok(()) } else { Err(wrong) };
    Some(Row { name: name.to_owned(), extent: extent.to_owned(), took: begin.elapsed(), verdict })
}

fn print_row(name: &str, extent: &str, wrong: Option<&str>) {
    println!("row\t{name}\t{extent}\t{}", wrong.unwrap_or("").replace('\n', "\\n"));
}

/// What this process is, if the stage started it: the harness, or a victim. Before anything else in `main`.
#[must_use]
pub fn inner_process() -> Option<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    let number = |i: usize| arguments.get(i).and_then(|text| text.parse::<u64>().ok());
    match arguments.get(1).map(String::as_str) {
        Some(HARNESS) => {
            let (seed, seconds) = (number(2)?, number(3)?);
            let (quick, threads) = (number(4)? != 0, number(5)? != 0);
            let orders = Orders {
                seed,
                until: Instant::now() + Duration::from_secs(seconds),
                least: if quick { LEAST_QUICK } else { LEAST },
                quick,
                threads,
            };
            Some(harness(orders))
        }
        Some(PROCESSES) => {
            let until = Instant::now() + Duration::from_secs(number(3)?);
            let least = if number(4)? != 0 { LEAST_QUICK } else { LEAST };
            let (seed, each) = (number(2)?, number(5)?);
            Some(processes::harness(processes::Orders { seed, until, least, each }))
        }
        #[cfg(unix)]
        Some(POOL) => {
            let until = Instant::now() + Duration::from_secs(number(3)?);
            Some(pool::harness(pool::Orders { seed: number(2)?, until, quick: number(4)? != 0 }))
        }
        Some(VICTIM) => {
            // SAFETY: the harness handed exactly these two to this process, and nothing else knows them.
            let [arena, file] = unsafe { system::handed() }?;
            let mapping = Board::open(file).ok()?;
            scripts::executed(arena, mapping.board, number(2)? as u16)
        }
        _ => None,
    }
}

fn harness(orders: Orders) -> ExitCode {
    let mut harness = match Harness::new(orders) {
        Ok(harness) => harness,
        Err(error) => {
            eprintln!("kill: {error}");
            return ExitCode::FAILURE;
        }
    };
    let begin = Instant::now();
    if let Err(error) = harness.run(|line| println!("say\t{line}")) {
        eprintln!("kill: {error}");
        return ExitCode::FAILURE;
    }
    tell(&harness, &orders, begin.elapsed());
    ExitCode::SUCCESS
}

/// Prints the rows: points, kills, items, recovery, leftovers.
fn tell(harness: &Harness, orders: &Orders, took: Duration) {
    let (tally, board) = (&harness.tally, harness.board());
    for target in harness.targets() {
        let kills = tally.at[target.point as usize];
        let few =
            (kills < orders.least).then(|| format!("only {kills} kills, {} wanted", orders.least));
        print_row(
            &format!("killed at {}", target.point.name()),
            &format!("{kills:7} kills"),
            few.as_deref(),
        );
    }
    let kills = tally.kills();
    let a_second = kills as f64 / took.as_secs_f64();
    let few = (kills < LEAST_IN_ALL).then(|| format!("{LEAST_IN_ALL} wanted in all"));
    print_row(
        "kills",
        &format!("{kills} in all, {a_second:.0} a second, in {} rounds", tally.rounds),
        few.as_deref(),
    );
    print_row(
        "  from outside",
        &format!("{} at any instruction, {} of stopped processes", tally.outside, tally.stopped),
        None,
    );
    print_row(
        "  victims",
        &format!(
            "{} executed again, {} of several threads, {} left by themselves",
            tally.executed, tally.threaded, tally.left
        ),
        None,
    );
    let get = |word: &AtomicU64| word.load(Ordering::Relaxed);
    let Counts {
        deliveries,
        redeliveries,
        bytes,
        replies,
        dead_letters,

        moved,
        permits,
        regions,
        carried,
    } = &board.counts;
    let sums = &tally.sums;
    let complaints = board.complaints();
    let text = board.complaints_since(0).join("\n");
    let wrong = (complaints != 0)
        .then(|| format!("{complaints} violations, seed {}:\n{text}", orders.seed));
    print_row(
        "items",
        &format!(
            "{} put ({} by processes killed before put returned), {} done with",
            sums.put, sums.published, sums.done
        ),
        wrong.as_deref(),
    );
    print_row(
        "  in doubt",
        &format!("{} gets and {} puts cut off from outside", sums.in_doubt, sums.late),
        None,
    );
    print_row(
        "  deliveries",
        &format!("{} of {} MB, {} again", get(deliveries), get(bytes) >> 20, get(redeliveries)),
        None,
    );
    print_row(
        "  replies",
        &format!(
            "{}; {} dead letters; {} leases moved to another thread",
            get(replies),
            get(dead_letters),
            get(moved)
        ),
        None,
    );
    print_row(
        "permits, regions",
        &format!(
            "{} taken, {} made or joined, {} in messages",
            get(permits),
            get(regions),
            get(carried)
        ),
        None,
    );
    let samples = board.samples();
    let at = |percent: usize| {
        let nanos =
            samples.get((samples.len() * percent / 100).min(samples.len().saturating_sub(1)));
        Duration::from_nanos(nanos.copied().map_or(0, u64::from))
    };
    let slow = if samples.is_empty() {
        Some("no survivor was blocked by a victim".to_owned())
    } else {
        (at(99) > SLOWEST).then(|| format!("p99 is above {SLOWEST:?}"))
    };
    print_row(
        "recovery",
        &format!(
            "p50 {:.1?}, p99 {:.1?}, most {:.1?} of {}",
            at(50),
            at(99),
            at(100),
            samples.len()
        ),
        slow.as_deref(),
    );
    let stalls: Vec<String> = (WAITS.iter().zip(tally.stalls))
        .map(|(what, nanos)| format!("{what} {:.1?}", Duration::from_nanos(nanos)))
        .collect();
    print_row("longest waits", &stalls.join(", "), None);
    let held_up = Duration::from_nanos(tally.longest_held_up);
    print_row(
        "  of these not counted",
        &format!("the machine ran nobody for up to {held_up:.1?}"),
        None,
    );
    print_row(
        "leftovers",
        "regions, pages, slots, lanes, descriptors, children, names: after every round",
        None,
    );
}

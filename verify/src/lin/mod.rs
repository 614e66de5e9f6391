//! The stage `lin`: what real processes did to one queue, each operation with its begin and end, must be what one process
//! could have done to a sequential queue; also when some of them were killed.
//!
//! Producers put values that are all different, consumers take them (for good, or on trial with a commit), each notes
//! every operation in memory of its own that the harness reads after all have ended. The stamps come from one count that all
//! raise by an atomic addition, so that what ended before another began has the smaller stamps. In two rounds of three,
//! processes are killed at any instruction and new ones take their places.
//!
//! `check` says what is wrong with a history; its tests feed it wrong ones, and compare it with the search of all orders.

mod check;
mod record;

use crate::again;
use crate::kill::dice::Dice;
use crate::report::{Progress, Report, Row, Settings};
use crate::step::world::{Inbox, Item, Patient, Q, Ring, bytes_of, message};
use check::{Event, NEVER, What, Wrong, check};
use offspring_core::points::{Point, set_hook};
use offspring_core::prim::{AtomicU64, Ordering};
use offspring_core::process::ProcessRef;
use offspring_core::queue::{GetError, Mode, Options, PutError, Taken};
use offspring_os_unix::family::{Family, Options as FamilyOptions};
use record::{Entry, Log, Logs, PROCESSES, kind};
use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The first argument of the harness.
const HARNESS: &str = "lin-harness";
/// Seconds, where none are asked for.
const SECONDS: u64 = 120;
const SECONDS_QUICK: u64 = 15;
/// How long the processes of a round have to come to their end before that is a standstill, in seconds.
const STILL: u32 = 60;

/// Runs the harness, and makes its lines rows.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let mut report = Report::default();
    report.row("the checker finds what is wrong", self_test);
    let seconds = settings.seconds.unwrap_or(if settings.quick { SECONDS_QUICK } else { SECONDS });
    let seed = settings.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
    });
    match again::this_program(HARNESS) {
        Ok(mut command) => {
            command.args([seed.to_string(), seconds.to_string()]);
            let again = format!("with the same dice: `cargo verify lin --seed {seed}`");
            report.rows.extend(again::collect(command, progress, &again).rows);
        }
        Err(what) => report.rows.push(Row {
            name: "harness".to_owned(),
            extent: String::new(),
            took: Duration::ZERO,
            verdict: Err(what),
        }),
    }
    report
}

/// Histories that are wrong in one way each: a checker that passes one of them is worth nothing.
fn self_test() -> (String, Result<(), String>) {
    let event = |what, begin, end| Event { what, begin, end };
    let put = |value, begin| event(What::Put(value), begin, begin + 1);
    let took = |value, begin| event(What::Took { value, late: false }, begin, begin + 1);
    type Case = (&'static str, Vec<Event>, fn(&Wrong) -> bool);
    let wrong: [Case; 6] = [
        ("out of order", vec![put(1, 0), put(2, 2), took(2, 4), took(1, 6)], |wrong| {
            matches!(wrong, Wrong::OutOfOrder(1, 2))
        }),
        ("twice", vec![put(1, 0), took(1, 2), took(1, 4)], |wrong| {
            matches!(wrong, Wrong::Twice(1))
        }),
        ("lost", vec![put(1, 0)], |wrong| matches!(wrong, Wrong::Unexplained(1))),
        ("from nowhere", vec![took(1, 0)], |wrong| matches!(wrong, Wrong::FromNowhere(1))),
        ("before its put", vec![took(1, 0), put(1, 2)], |wrong| {
            matches!(wrong, Wrong::FromNowhere(1))
        }),
        ("not empty", vec![put(1, 0), event(What::Empty, 2, 3), took(1, 4)], |wrong| {
            matches!(wrong, Wrong::NotEmpty(_))
        }),
    ];
    let passed: Vec<&str> = wrong
        .iter()
        .filter(|(_, history, right)| !check(history, true).is_err_and(|wrong| right(&wrong)))
        .map(|(name, ..)| *name)
        .collect();
    let verdict = if passed.is_empty() { Ok(()) } else { Err(format!("passes: {passed:?}")) };
    (format!("{} wrong histories", wrong.len()), verdict)
}

/// What this process is, if the stage started it. Before anything else in `main`.
#[must_use]
pub fn inner_process() -> Option<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    if arguments.get(1).map(String::as_str) != Some(HARNESS) {
        return None;
    }
    let number = |i: usize| arguments.get(i).and_then(|text| text.parse::<u64>().ok());
    Some(match harness(number(2)?, Duration::from_secs(number(3)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("lin: {what}");
            ExitCode::FAILURE
        }
    })
}

/// Who does what in a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    /// Nobody is killed; consumers take for good.
    Calm,
    /// Consumers take for good, processes are killed; "empty" is not looked at, since a get does not tell what came late.
    KillGet,
    /// Consumers take on trial and commit, processes are killed.
    KillLease,
}

#[derive(Default)]
struct Tally {
    rounds: u64,
    operations: u64,
    empties: u64,
    late: u64,
    kills: u64,
    wrong: Vec<String>,
}

fn harness(seed: u64, time: Duration) -> Result<(), String> {
    let family = Family::create(&FamilyOptions::default()).map_err(|error| error.to_string())?;
    let family: &'static Family = Box::leak(Box::new(family));
    let family: &'static Patient = Box::leak(Box::new(Patient(family)));
    let logs = Logs::new()?;
    let mut dice = Dice::new(seed);
    let begin = Instant::now();
    let rounds = [Round::Calm, Round::KillGet, Round::KillLease];
    let mut tallies: [Tally; 3] = std::array::from_fn(|_| Tally::default());
    let mut number = 0;
    while begin.elapsed() < time {
        let i = number % rounds.len();
        number += 1;
        if tallies[i].wrong.len() >= 3 {
            break;
        }
        if number % 10 == 1 {
            again::say(&format!("round {number}"));
        }
        // SAFETY: sets this process's alarm; its default action ends the process, and with it the children.
        unsafe { libc::alarm(STILL) };
        round(family, &logs, rounds[i], &mut dice, &mut tallies[i])?;
    }
    for (round, tally) in rounds.iter().zip(&tallies) {
        let name = match round {
            Round::Calm => "gets, nobody dies",
            Round::KillGet => "gets, with deaths",
            Round::KillLease => "leases with commits, with deaths",
        };
        let Tally { rounds, operations, empties, late, kills, .. } = tally;
        let extent = format!(
            "{rounds:5} histories, {operations:8} operations ({empties} empty, {late} late), {kills} kills"
        );
        let wrong = tally.wrong.join("\n");
        let none = (*operations == 0).then_some("nothing was recorded");
        again::row(name, &extent, if wrong.is_empty() { none } else { Some(&wrong) });
    }
    again::row("seed", &seed.to_string(), None);
    Ok(())
}

/// A process of the round.
struct Running {
    pid: i32,
    log: usize,
    producer: bool,
}

fn round(
    family: &'static Patient,
    logs: &Logs,
    what: Round,
    dice: &mut Dice,
    tally: &mut Tally,
) -> Result<(), String> {
    let options = Options {
        capacity: [1, 2, 3, 8, 64][dice.below(5) as usize],
        inline: if dice.percent(75) { 16 } else { 0 },
        most_message: 256,
        class_bytes: 64 << 10,
        replies: false,
        most_deliveries: 0,
    };
    let ring = Ring::with(family, options)?;
    logs.wipe();
    let mode = if what == Round::KillLease { Mode::Lease } else { Mode::Get };
    let mut running: Vec<Running> = Vec::new();
    let mut next = 1; // log 0 is the harness's own
    let mut events = Vec::new();
    let mut pids = Vec::new();
    let mut points = Dice::new(dice.any());
    let mut start = |producer: bool, log: usize| -> Result<Running, String> {
        let points =
            (what != Round::Calm && points.percent(70)).then(|| u64::from(points.below(4000)));
        let mine = logs.log(log);
        // SAFETY: this process has one thread, so the child may do whatever it could.
        let pid = match unsafe { libc::fork() } {
            0 => child(&ring, logs, mine, log, producer, mode, points),
            -1 => return Err(format!("fork: {}", std::io::Error::last_os_error())),
            pid => pid,
        };
        Ok(Running { pid, log, producer })
    };
    let (producers, consumers) = (1 + dice.below(3), 1 + dice.below(3));
    for i in 0..producers + consumers {
        running.push(start(i < producers, next)?);
        next += 1;
    }
    let spans = if what == Round::Calm { 1 } else { 2 + dice.below(6) };
    for _ in 0..spans {
        // By chance, since the time is what decides which instruction a kill meets.
        thread::sleep(Duration::from_micros(u64::from(1500 + dice.below(3000))));
        if what == Round::Calm || next >= PROCESSES {
            continue;
        }
        let one = running.swap_remove(dice.below(running.len() as u32) as usize);
        // SAFETY: our own child, not reaped before.
        unsafe { libc::kill(one.pid, libc::SIGKILL) };
        tally.kills += u64::from(collect(logs, &one, &mut events));
        pids.push(one.pid);
        running.push(start(one.producer, next)?);
        next += 1;
    }
    logs.end();
    for one in &running {
        tally.kills += u64::from(collect(logs, one, &mut events));
        pids.push(one.pid);
    }
    take_all(&ring.queue(), logs, mode);
    let rest = logs.log(0);
    events.extend((0..rest.len()).filter_map(|i| event(rest.entry(i), NEVER)));
    tally.rounds += 1;
    tally.operations += events.len() as u64;
    for event in &events {
        match event.what {
            What::Empty => tally.empties += 1,
            What::Took { late: true, .. } => tally.late += 1,
            _ => {}
        }
    }
    if what == Round::KillGet {
        come_late_unmarked(&mut events);
    }
    if let Err(wrong) = check(&events, true) {
        let options = ring.geometry().options();
        tally.wrong.push(format!("{wrong}; a ring of {}, {what:?}", options.capacity));
    }
    for pid in pids {
        family.0.note_gone(pid as u32, ProcessRef::NONE);
    }
    ring.queue().recover();
    family.0.leave_object(ring.region);
    family.0.collect();
    Ok(())
}

/// A get does not tell that its item was given back by a death. Where somebody was killed in a take, any value may have come
/// late that was taken behind one put after it; the checker still wants a killed take for each. And a value in the hands of
/// the dead is found by nobody for a while, so that "empty" says nothing.
fn come_late_unmarked(events: &mut Vec<Event>) {
    if !events.iter().any(|event| event.what == What::KilledTake) {
        return;
    }
    events.retain(|event| event.what != What::Empty);
    loop {
        match check(events, true) {
            Err(Wrong::OutOfOrder(first, _)) => {
                let taken = events.iter_mut().find_map(|event| match &mut event.what {
                    What::Took { value, late } if *value == first && !*late => Some(late),
                    _ => None,
                });
                match taken {
                    Some(late) => *late = true,
                    None => return,
                }
            }
            _ => return,
        }
    }
}

/// Waits for the end of `one`, and reads its log. Says whether it was killed.
fn collect(logs: &Logs, one: &Running, events: &mut Vec<Event>) -> bool {
    let mut status = 0;
    // SAFETY: our own child, not reaped before; `status` is writable.
    unsafe { libc::waitpid(one.pid, &mut status, 0) };
    let log = logs.log(one.log);
    let end = logs.stamp();
    events.extend((0..log.len()).filter_map(|i| event(log.entry(i), end)));
    libc::WIFSIGNALED(status)
}

/// What an entry says; `gone`: when its process was seen dead.
fn event(entry: &Entry, gone: u64) -> Option<Event> {
    let [what, begin, value, end, kept] = entry.read();
    let (done, ended) = (end != 0, if end != 0 { end } else { gone });
    let (what, end) = match what {
        kind::PUT if done => (What::Put(value), end),
        kind::PUT => (What::Put(value), NEVER),
        kind::TAKE if value == 0 && done => (What::Empty, end),
        kind::TAKE if value == 0 => (What::KilledTake, ended),
        // Killed behind its last word but one, it has no end of its own.
        kind::TAKE if kept != 0 => (What::Took { value, late: kept == 2 }, ended),
        kind::TAKE => (What::Held(value), ended),
        _ => return None,
    };
    Some(Event { what, begin, end })
}

/// How many named points the process still passes before it kills itself; at random moments few kills meet an operation.
static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

fn count_down(_: Point) {
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 0 {
        // SAFETY: kills this process, which has one thread.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

fn child(
    ring: &Ring,
    logs: &Logs,
    log: Log<'_>,
    life: usize,
    producer: bool,
    mode: Mode,
    points: Option<u64>,
) -> ! {
    // SAFETY: plain calls; the child shall not outlive the harness.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::alarm(STILL);
    }
    if ring.family.0.after_fork_in_child().is_ok() {
        let q = ring.queue();
        if let Some(points) = points {
            LEFT.store(points, Ordering::Relaxed);
            set_hook(Some(count_down));
        }
        if producer {
            put_all(&q, logs, log, life as u64);
        } else {
            take_until_the_end(&q, logs, log, mode);
        }
    }
    // SAFETY: ends this child without the parent's exit handlers.
    unsafe { libc::_exit(0) }
}

/// Puts values until the round is over or the log is full.
fn put_all(q: &Q<'_>, logs: &Logs, log: Log<'_>, life: u64) {
    let mut number = 0;
    while let Some(entry) = log.next() {
        number += 1;
        let value = life << 32 | number;
        let bytes = bytes_of(value, Item::Inline);
        entry.begin(kind::PUT, value, logs.stamp());
        loop {
            match q.try_put(message(&bytes)) {
                Ok(()) => break entry.end(logs.stamp()),
                Err(PutError::Full | PutError::NoRoom) if !logs.is_over() => {
                    std::hint::spin_loop();
                    q.sweep_if_due();
                    q.recover();
                }
                Err(_) => return entry.never(),
            }
        }
        if logs.is_over() {
            return;
        }
    }
}

fn take_until_the_end(q: &Q<'_>, logs: &Logs, log: Log<'_>, mode: Mode) {
    while !logs.is_over() && take_one(q, logs, log, mode).is_some() {}
}

/// The harness's own part: takes until nothing is there.
fn take_all(q: &Q<'_>, logs: &Logs, mode: Mode) {
    while take_one(q, logs, logs.log(0), mode) == Some(true) {}
}

/// One take, in the log: whether it got something. `None`: the log is full.
fn take_one(q: &Q<'_>, logs: &Logs, log: Log<'_>, mode: Mode) -> Option<bool> {
    let mut inbox = Inbox::new();
    let entry = log.next()?;
    entry.begin(kind::TAKE, 0, logs.stamp());
    let taken = q.try_take(mode, true, &mut inbox);
    let value = inbox.id().unwrap_or(u64::MAX);
    match taken {
        Ok(Taken::Item) => {
            entry.got(value);
            entry.keep(false);
            entry.end(logs.stamp());
            Some(true)
        }
        Ok(Taken::Lease(lease)) => {
            entry.got(value);
            entry.end(logs.stamp());
            let late = lease.deliveries() != 0;
            q.commit(lease);
            entry.keep(late);
            Some(true)
        }
        Err(GetError::Empty) => {
            entry.end(logs.stamp());
            Some(false)
        }
        Err(_) => {
            entry.never();
            Some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taker_killed_before_it_noted_the_end_took_the_item_before_its_own_end() {
        let logs = Logs::new().unwrap();
        let entry = logs.log(1).next().unwrap();
        entry.begin(kind::TAKE, 0, 5);
        entry.got(7);
        entry.keep(false);
        let took = What::Took { value: 7, late: false };
        assert_eq!(event(entry, 9), Some(Event { what: took, begin: 5, end: 9 }));
        entry.end(6);
        assert_eq!(event(entry, 9), Some(Event { what: took, begin: 5, end: 6 }));
    }
}

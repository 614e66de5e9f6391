//! The stage `corrupt`: a shared region holds what no participant writes, and every operation on it must come back.
//!
//! The harness makes queues in a real family, brings them into the midst of use, and damages a copy of their bytes:
//! random bytes, flipped bits, wrong words, all zero from some place on, an older state. A child that takes part then tries
//! every public operation, with its leases and tickets from before the damage. In one kind of run another child goes on
//! writing words meanwhile, so that what was checked a moment ago is another number now. The child has no memory beside the
//! region: its neighbours in the arena are closed to it.
//!
//! An error or a value is right. Wrong are: an access outside (SIGSEGV, SIGBUS), a panic, a loop that ends only with the
//! child's alarm, a message larger than any block. What is wrong is told with the seed that repeats it.

mod damage;
mod everything;

use crate::again;
use crate::kill::dice::Dice;
use crate::report::{Progress, Report, Row, Settings};
use crate::step::world::{Page, Patient, QUEUE_AT, Ring, bytes_of, message};
use damage::{Kind, Places};
use everything::{Hands, NAMES, UNDER_WAY};
use offspring_core::prim::{AtomicU64, Ordering};
use offspring_core::process::ProcessRef;
use offspring_core::queue::Options;
use offspring_os_unix::family::{Family, Options as FamilyOptions};
use std::env;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The first argument of the harness.
const HARNESS: &str = "corrupt-harness";
/// Seconds, where none are asked for.
const SECONDS: u64 = 120;
const SECONDS_QUICK: u64 = 20;
/// Cases that one child tries.
const CASES: u64 = 40;
/// An operation takes microseconds; a child that has not come to its next case after so many seconds is in a loop.
const FOREVER: u32 = 10;
/// How often the scribbler writes while the other works through everything once.
const SCRIBBLES: u32 = 3_000;

/// Words of the page, besides [`UNDER_WAY`].
const CASE: usize = 0;
const OVER: usize = 1;

/// Runs the harness, and makes its lines rows.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    let seconds = settings.seconds.unwrap_or(if settings.quick { SECONDS_QUICK } else { SECONDS });
    let seed = settings.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
    });
    match again::this_program(HARNESS) {
        Ok(mut command) => {
            command.args([seed.to_string(), seconds.to_string()]);
            again::collect(
                command,
                progress,
                &format!("again: `cargo verify corrupt --seed {seed}`"),
            )
        }
        Err(what) => Report {
            rows: vec![Row {
                name: "harness".to_owned(),
                extent: String::new(),
                took: Duration::ZERO,
                verdict: Err(what),
            }],
        },
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
    Some(match harness(number(2)?, Duration::from_secs(number(3)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("corrupt: {what}");
            ExitCode::FAILURE
        }
    })
}

/// What came of one kind of damage.
#[derive(Clone, Default)]
struct Tally {
    cases: u64,
    wrong: Vec<String>,
}

/// How a child ended.
enum End {
    /// All cases tried.
    Well,
    /// Not: what, in which case and operation.
    Badly(String),
}

fn harness(seed: u64, time: Duration) -> Result<(), String> {
    let family = Family::create(&FamilyOptions::default()).map_err(|error| error.to_string())?;
    let family: &'static Family = Box::leak(Box::new(family));
    let family: &'static Patient = Box::leak(Box::new(Patient(family)));
    let page = Page::new()?;
    let begin = Instant::now();
    let mut dice = Dice::new(seed);
    let mut tallies: Vec<Tally> = vec![Tally::default(); Kind::ALL.len() * 2];
    let mut batch = 0_usize;
    while begin.elapsed() < time {
        let i = batch % tallies.len();
        batch += 1;
        let (kind, head_too) = (Kind::ALL[i / 2], i % 2 == 1);
        let seed = dice.any();
        if tallies[i].wrong.len() >= 3 {
            continue;
        }
        if tallies.iter().all(|tally| tally.wrong.len() >= 3) {
            break;
        }
        if batch % 20 == 1 {
            again::say(&format!("{} batches", batch));
        }
        page.wipe();
        let end = run_batch(family, &page, kind, head_too, seed)?;
        tallies[i].cases += page.word(CASE).load(Ordering::Acquire);
        if let End::Badly(what) = end {
            tallies[i].wrong.push(format!("{what}; the batch's seed is {seed:#x}"));
        }
    }
    for (i, tally) in tallies.iter().enumerate() {
        let place = if i % 2 == 1 { "queue, head and members" } else { "queue" };
        let name = format!("{:?}, {place}", Kind::ALL[i / 2]);
        let wrong = tally.wrong.join("\n");
        let none = (tally.cases == 0).then_some("nothing was tried");
        let wrong = if wrong.is_empty() { none } else { Some(wrong.as_str()) };
        again::row(&name, &format!("{:8} cases", tally.cases), wrong);
    }
    let cases: u64 = tallies.iter().map(|tally| tally.cases).sum();
    again::row("seed", &format!("{seed}: {cases} cases, each with every operation"), None);
    Ok(())
}

fn any_options(dice: &mut Dice) -> Options {
    Options {
        capacity: 1 + dice.below(4),
        inline: [0, 8, 48][dice.below(3) as usize],
        most_message: 4096,
        class_bytes: 1,
        replies: dice.percent(60),
        most_deliveries: if dice.percent(25) { 2 } else { 0 },
    }
}

/// One child, some cases on queues of the same options.
fn run_batch(
    family: &'static Patient,
    page: &Page,
    kind: Kind,
    head_too: bool,
    seed: u64,
) -> Result<End, String> {
    let mut dice = Dice::new(seed);
    let before = Ring::with(family, any_options(&mut dice))?;
    let ring = Ring::with(family, any_options(&mut dice))?;
    let after = Ring::with(family, any_options(&mut dice))?;
    let whole = bytes(&ring).to_vec();
    // Their heads and members change with every process that comes and goes.
    let theirs = |ring: &Ring| bytes(ring)[QUEUE_AT as usize..].to_vec();
    let neighbours = [theirs(&before), theirs(&after)];
    let mut victims = Vec::new();
    let (mut inside, enter) = std::io::pipe().map_err(|error| format!("make a pipe: {error}"))?;
    let worker = fork(&mut victims, || work(&ring, page, kind, head_too, dice.clone(), &enter))?;
    drop(enter);
    // The scribbler comes once the worker is a member. One who had not become one at the fork would join later as any
    // other, and leave for good: that looks at the other regions, which are closed off here, and it may.
    let _ = inside.read(&mut [0]).map_err(|error| format!("hear of the worker: {error}"))?;
    let scribbler = if kind == Kind::Scribbled {
        Some(fork(&mut victims, || scribble(&ring, page, head_too, seed))?)
    } else {
        None
    };
    let end = ended(wait(worker), page);
    page.word(OVER).store(1, Ordering::Release);
    scribbler.into_iter().for_each(|pid| {
        wait(pid);
    });
    let touched = neighbours != [theirs(&before), theirs(&after)];
    for pid in victims {
        family.0.note_gone(pid as u32, ProcessRef::NONE);
    }
    // As it was made, so that it can be given back.
    bytes_mut(&ring).copy_from_slice(&whole);
    for ring in [before, ring, after] {
        family.0.leave_object(ring.region);
    }
    if touched {
        return Ok(End::Badly("bytes of another region changed".to_owned()));
    }
    Ok(end)
}

fn fork(children: &mut Vec<i32>, body: impl FnOnce()) -> Result<i32, String> {
    // SAFETY: this process has one thread, so the child may do whatever it could.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: plain calls; the child shall not outlive this process, and ends without its exit handlers.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                body();
                libc::_exit(0)
            }
        }
        -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
        pid => {
            children.push(pid);
            Ok(pid)
        }
    }
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: our own child, not reaped before; `status` is writable.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    status
}

fn ended(status: i32, page: &Page) -> End {
    let case = page.word(CASE).load(Ordering::Acquire);
    let name = NAMES.get(page.word(UNDER_WAY).load(Ordering::Acquire) as usize).unwrap_or(&"?");
    let how = if libc::WIFEXITED(status) {
        match libc::WEXITSTATUS(status) {
            0 => return End::Well,
            101 => "it panicked".to_owned(),
            code => format!("it ended with code {code}"),
        }
    } else {
        match libc::WTERMSIG(status) {
            libc::SIGALRM => "it did not come back".to_owned(),
            libc::SIGSEGV => "an access outside the region (SIGSEGV)".to_owned(),
            libc::SIGBUS => "an access without memory (SIGBUS)".to_owned(),
            signal => format!("it ended by signal {signal}"),
        }
    };
    End::Badly(format!("{how}, in `{name}` of case {case}"))
}

/// All bytes of a region: the words of the queue and its payload.
fn bytes(ring: &Ring) -> &[u8] {
    // SAFETY: the region, which has memory all over; whoever writes to it meanwhile is the point of this test, and the copy
    // made of it is only looked at.
    unsafe { std::slice::from_raw_parts(ring.object.pointer, region_len(ring)) }
}

#[expect(clippy::mut_from_ref, reason = "the bytes are shared memory that several processes write")]
fn bytes_mut(ring: &Ring) -> &mut [u8] {
    // SAFETY: as in `bytes`; no reference into the region lives across the calls, but for atomics, which may change.
    unsafe { std::slice::from_raw_parts_mut(ring.object.pointer, region_len(ring)) }
}

fn region_len(ring: &Ring) -> usize {
    QUEUE_AT as usize + ring.geometry().len() as usize
}

/// The child that tries everything.
fn work(
    ring: &Ring,
    page: &Page,
    kind: Kind,
    head_too: bool,
    mut dice: Dice,
    mut inside: impl Write,
) {
    std::panic::set_hook(Box::new(|panic| eprintln!("corrupt: {panic}")));
    let entered = ring.family.0.after_fork_in_child();
    if entered.is_err() {
        // SAFETY: ends this child.
        unsafe { libc::_exit(9) };
    }
    close_the_rest(ring);
    if inside.write_all(&[1]).is_err() {
        // SAFETY: ends this child.
        unsafe { libc::_exit(8) };
    }
    let places = Places::new(ring.geometry(), QUEUE_AT as usize, region_len(ring), head_too);
    let whole = bytes(ring).to_vec();
    for case in 1..=CASES {
        page.word(CASE).store(case, Ordering::Release);
        // SAFETY: sets this process's alarm, whose default action ends it.
        unsafe { libc::alarm(FOREVER) };
        bytes_mut(ring).copy_from_slice(&whole);
        let mut hands = Hands::default();
        let older = in_use(ring, page, &mut hands, &mut dice);
        let mut now = bytes(ring).to_vec();
        damage::damage(kind, &mut now, &older, &places, &mut dice);
        bytes_mut(ring).copy_from_slice(&now);
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..3 {
                let (close, sleep) = (round == 1 && case % 2 == 0, round == 0 && case % 8 == 0);
                everything::try_everything(ring, page, &mut hands, close, sleep);
            }
        }));
        if tried.is_err() {
            // SAFETY: ends this child; the hook has told of the panic.
            unsafe { libc::_exit(101) };
        }
    }
}

/// Brings a new queue into use: some rounds, things in hand. The bytes at some moment on the way.
fn in_use(ring: &Ring, page: &Page, hands: &mut Hands, dice: &mut Dice) -> Vec<u8> {
    let q = ring.queue();
    let mut older = bytes(ring).to_vec();
    for _ in 0..=dice.below(2) {
        everything::try_everything(ring, page, hands, false, false);
        if dice.percent(50) {
            older = bytes(ring).to_vec();
        }
    }
    for number in 0..dice.below(3) {
        let kind = crate::step::world::BLOCK_KINDS[dice.below(2) as usize];
        let _ = q.try_put(message(&bytes_of(u64::from(number), kind))); // full: as well
    }
    older
}

/// The child that writes words while the other works.
fn scribble(ring: &Ring, page: &Page, head_too: bool, seed: u64) {
    let mut dice = Dice::new(seed ^ 0x5c21);
    let places = Places::new(ring.geometry(), QUEUE_AT as usize, region_len(ring), head_too);
    let now = bytes(ring).to_vec();
    let word_at = |at: usize| {
        // SAFETY: inside the region, 8-aligned; used as an atomic, as the others use it.
        unsafe { &*ring.object.pointer.add(at).cast::<AtomicU64>() }
    };
    while page.word(OVER).load(Ordering::Acquire) == 0 {
        for _ in 0..SCRIBBLES {
            let at = places.any(&mut dice) & !7;
            let word = damage::any_word(&now, &places, &mut dice);
            // What was there comes back soon, so that the others do not stop at the first check for ever.
            let before = word_at(at).swap(word, Ordering::Relaxed);
            std::hint::spin_loop();
            word_at(at).store(before, Ordering::Relaxed);
        }
    }
}

/// Leaves this process no memory of the arena's heap but the region's own.
fn close_the_rest(ring: &Ring) {
    let from = ring.object.pointer;
    let len = region_len(ring).next_multiple_of(4096);
    let reach = 64 << 20;
    // The heap before the region has at least the neighbour; what is farther are the tables.
    let page = 4096;
    // SAFETY: takes away access to pages of this child's own mapping, which it is not to touch.
    unsafe {
        libc::mprotect(from.sub(page).cast(), page, libc::PROT_NONE);
        libc::mprotect(from.add(len).cast(), reach, libc::PROT_NONE);
    }
}

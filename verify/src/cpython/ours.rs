//! Our side of the scenarios: real processes, killed; a survivor that says how it fared.

use crate::step::tracee::{Stop, Tracee};
use crate::step::world::{Inbox, Item, Patient, Q, Ring, bytes_of, message};
use offspring_core::block_on::block_on;
use offspring_core::points::{Point, set_hook};
use offspring_core::queue::{Answer, Mode, Taken};
use offspring_core::wait::Adaptive;
use offspring_os_unix::family::{Family, Options as FamilyOptions};

/// Which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Play {
    ReaderKilledWaiting,
    WriterKilledWriting,
    OtherWriterPuts,
    WorkerKilledHolding,
    RequestServedAgain,
}

/// A survivor that has not come to its end after so many seconds is stuck.
const STUCK: u32 = 20;

fn die(point: Point) {
    if matches!(point, Point::BlockWritten | Point::PutWritten) {
        // SAFETY: kills this process.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

/// Plays it: how the survivor fared.
pub fn play(play: Play) -> Result<String, String> {
    // SAFETY: sets this process's alarm; its default action ends the process.
    unsafe { libc::alarm(STUCK) };
    let family = Family::create(&FamilyOptions::default()).map_err(|error| error.to_string())?;
    let family: &'static Family = Box::leak(Box::new(family));
    let family: &'static Patient = Box::leak(Box::new(Patient(family)));
    let ring = Ring::make(family, false)?;
    let q = ring.queue();
    let child = |body: &dyn Fn(&Q<'_>)| {
        Tracee::fork(|| {
            if family.0.after_fork_in_child().is_ok() {
                body(&ring.queue());
            }
        })
    };
    let item = bytes_of(1, Item::Block);
    let put = || q.try_put(message(&item)).map_err(|error| error.to_string());
    match play {
        Play::ReaderKilledWaiting => {
            let mut reader = child(&|q| {
                get(q);
            })?;
            asleep(&mut reader)?;
            reader.kill();
            put()?;
            expect(get(&q), 1, "the next reader gets the item")
        }
        Play::WriterKilledWriting | Play::OtherWriterPuts => {
            let mut writer = child(&|q| {
                set_hook(Some(die));
                let _ = q.try_put(message(&bytes_of(9, Item::Block))); // it dies in here
            })?;
            match writer.wait() {
                Stop::Gone(status) if libc::WIFSIGNALED(status) => {}
                other => return Err(format!("the writer was not killed: {other:?}")),
            }
            let mut other = child(&|q| {
                let _ = q.try_put(message(&bytes_of(1, Item::Block))); // told by what arrives
            })?;
            other.join_unless_gone(u64::from(STUCK))?;
            let word = if play == Play::OtherWriterPuts {
                "the other puts"
            } else {
                "the reader goes on, and sees no part of it"
            };
            expect(get(&q), 1, word)
        }
        Play::WorkerKilledHolding => {
            put()?;
            let mut worker = child(&|q| {
                let mut inbox = Inbox::new();
                if let Ok(Taken::Lease(_lease)) = q.try_take(Mode::Lease, true, &mut inbox) {
                    // With the item in hand it waits for another, which never comes.
                    get(q);
                }
            })?;
            asleep(&mut worker)?;
            worker.kill();
            expect(get(&q), 1, "another gets the item")
        }
        Play::RequestServedAgain => {
            let ticket = q.try_request(message(&item)).map_err(|error| error.to_string())?;
            let mut worker = child(&|q| {
                let mut inbox = Inbox::new();
                let _lease = q.try_take(Mode::Lease, true, &mut inbox);
                // SAFETY: kills this process.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            })?;
            worker.wait();
            let mut inbox = Inbox::new();
            let Ok(Taken::Lease(lease)) = q.try_take(Mode::Lease, true, &mut inbox) else {
                return Err("the task did not come again".to_owned());
            };
            let answer = bytes_of(2, Item::Block);
            q.try_reply(lease, message(&answer))
                .map_err(|(_, error)| error.to_string())
                .map(|_| ())?;
            match q.take_answer(ticket, &mut inbox) {
                Ok((Answer::Reply, _)) if inbox.id()? == 2 => Ok("the result comes".to_owned()),
                other => Err(format!("the answer: {other:?}")),
            }
        }
    }
}

/// Gets an item, however long it takes.
fn get(q: &Q<'_>) -> Option<u64> {
    let mut inbox = Inbox::new();
    let spin = Adaptive::new();
    block_on(
        q.family(),
        q.readers(),
        || q.others(),
        &spin,
        None,
        || q.try_take(Mode::Get, true, &mut inbox).ok(),
    )?;
    inbox.id().ok()
}

fn asleep(child: &mut Tracee) -> Result<(), String> {
    match child.wait_or_asleep() {
        Stop::Asleep => Ok(()),
        other => Err(format!("it did not fall asleep: {other:?}")),
    }
}

fn expect(got: Option<u64>, wanted: u64, word: &str) -> Result<String, String> {
    if got == Some(wanted) { Ok(word.to_owned()) } else { Err(format!("got {got:?}")) }
}

//! The lives of the family's processes: what each does from its first instruction until it is killed, or told to go.

use super::board::{Board, count, phase};
use super::dice::Dice;
use super::hook;
use super::ledger::Ledger;
use super::objects::{self, MOST_PERMITS, Party};
use super::system::{self, Family, OwnedFile};
use super::targets::Script;
use super::worker::{Closed, Finish, Size, Worker};
use offspring_core::prim::Ordering;
use offspring_core::process::ProcessRef;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The life of a forked child; never returns.
pub fn forked(family: &'static Family, board: &'static Board, me: u16) -> ! {
    prepare(board, me);
    let done = catch_unwind(AssertUnwindSafe(|| match family.after_fork_in_child() {
        Ok(()) => live(family, board, me),
        Err(error) => {
            board.complain(format_args!("a child could not come in: {error}; {}", board.life(me)));
        }
    }));
    system::quit(if done.is_ok() { 0 } else { 101 })
}

/// The life of a child that executed the program again, with nothing but the arena and the board.
pub fn executed(arena: OwnedFile, board: &'static Board, me: u16) -> ! {
    prepare(board, me);
    let done = catch_unwind(AssertUnwindSafe(|| match Family::join(arena, ProcessRef::NONE) {
        Ok(family) => live(Box::leak(Box::new(family)), board, me),
        Err(error) => {
            board.complain(format_args!("a child could not join: {error}; {}", board.life(me)));
        }
    }));
    system::quit(if done.is_ok() { 0 } else { 101 })
}

fn prepare(board: &'static Board, me: u16) {
    // Nobody outlives the harness.
    system::end_with_parent();
    system::trust_notices();
    objects::prepare(board);
    hook::follow(Ledger { board, me });
}

fn live(family: &'static Family, board: &'static Board, me: u16) {
    let life = board.life(me);
    life.process.store(family.me().bits(), Ordering::Release);
    let party = match objects::attach(family, board) {
        Ok(party) => party,
        Err(error) => {
            board.complain(format_args!("a child got no part: {error}; {life}"));
            return;
        }
    };
    let dice = Dice::new(life.seed.load(Ordering::Relaxed));
    let mut worker = Worker::new(board, me, party, dice);
    let script = Script::numbered(life.script.load(Ordering::Relaxed));
    let ended = match script {
        Script::Taker => take_all(&mut worker),
        Script::Putter => put_always(&mut worker),
        Script::Quiet => give_back_alone(&mut worker),
        _ if life.threads.load(Ordering::Relaxed) != 0 => in_threads(&mut worker),
        script => act(&mut worker, script),
    };
    if ended == Err(Closed) && script == Script::Taker {
        // Nothing of ours stands in any word, so every object can be left by hand; the others leave them to the family.
        let region = |word: u64| offspring_core::family::RegionRef::from_bits(word);
        party.semaphore.leave(family.me());
        family.leave_object(region(board.semaphore.load(Ordering::Relaxed)));
        family.leave_object(region(board.queue.load(Ordering::Relaxed)));
    }
    family.leave();
}

/// Acts until the queue is closed, or the script is over.
fn act(worker: &mut Worker, script: Script) -> Result<(), Closed> {
    let turns = if script == Script::Leave { 4 } else { u32::MAX };
    for _ in 0..turns {
        turn(worker, script)?;
    }
    Ok(())
}

/// One step of a script.
fn turn(worker: &mut Worker, script: Script) -> Result<(), Closed> {
    let luck = worker.dice.below(100);
    let blocking = worker.dice.percent(30);
    match script {
        Script::All | Script::Leave => {
            const EACH: [Script; 9] = [
                Script::Put,
                Script::Large,
                Script::Get,
                Script::Lease,
                Script::Reply,
                Script::Ticket,
                Script::Wait,
                Script::Region,
                Script::Semaphore,
            ];
            let next = worker.dice.pick(&EACH).unwrap_or(Script::Put);
            turn(worker, next)?;
        }
        Script::Put if luck < 15 => worker.put_batch()?,
        Script::Get | Script::Put if luck > 88 => worker.get_batch()?,
        Script::Put if luck < 70 => {
            worker.put(Size::Any, blocking)?;
        }
        Script::Large if luck < 60 => {
            worker.put(Size::NoneInline, blocking)?;
        }
        Script::Put | Script::Large | Script::Get => {
            worker.get(blocking)?;
        }
        Script::Lease => {
            if let Some(held) = worker.lease(blocking)? {
                worker.end(held, if luck < 55 { Finish::Commit } else { Finish::Back });
            }
        }
        Script::Reply => {
            if let Some(held) = worker.lease(blocking)? {
                worker.end(held, if luck < 80 { Finish::Reply } else { Finish::Back });
            }
        }
        Script::Ticket => {
            if let Some((ticket, item)) = worker.request(Size::Any, blocking)? {
                if luck < 70 {
                    worker.answer(ticket, item);
                } else {
                    worker.party.queue.drop_ticket(ticket);
                }
            }
        }
        Script::Sweep => {
            worker.party.queue.recover();
            match luck {
                0..=9 => worker.put(Size::Any, false).map(|_| ())?,
                10..=19 => worker.get(false).map(|_| ())?,
                _ => {}
            }
        }
        Script::Close => {
            worker.party.queue.close();
            worker.get(true)?;
        }
        Script::Wait => match luck {
            0..=49 => worker.get(true).map(|_| ())?,
            50..=84 => worker.put(Size::Any, true).map(|_| ())?,
            _ => worker.permits(1 + u32::from(luck > 92), true),
        },
        Script::Region => worker.regions(),
        Script::Semaphore => match luck {
            0..=19 => worker.forget(),
            _ => worker.permits(1 + u32::from(luck > 70), blocking),
        },
        Script::Taker | Script::Putter | Script::Quiet => {}
    }
    if luck < 3 && worker.board.most_deliveries.load(Ordering::Relaxed) != 0 {
        worker.dead_letter();
    }
    Ok(())
}

/// The survivor that takes until nothing will ever come; only then the dead letters are all there.
fn take_all(worker: &mut Worker) -> Result<(), Closed> {
    let ended = loop {
        let luck = worker.dice.below(100);
        let step = match luck {
            0..=49 => worker.get(true).map(|_| ()),
            50..=94 => worker.lease(true).map(|held| {
                let finish = match luck {
                    50..=64 => Finish::Commit,
                    65..=84 => Finish::Reply,
                    _ => Finish::Back,
                };
                if let Some(held) = held {
                    worker.end(held, finish);
                }
            }),
            95..=97 => {
                worker.permits(if luck == 97 { MOST_PERMITS } else { 1 }, true);
                Ok(())
            }
            _ => {
                worker.dead_letter();
                Ok(())
            }
        };
        if step.is_err() {
            break step;
        }
    };
    while worker.dead_letter() {}
    ended
}

/// The survivor that puts until the queue is closed, at the pace of a program that has other things to do.
fn put_always(worker: &mut Worker) -> Result<(), Closed> {
    loop {
        if worker.board.phase.load(Ordering::Acquire) == phase::QUIET {
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        for _ in 0..4 {
            match worker.dice.below(100) {
                0..=79 => {
                    worker.put(Size::Any, true)?;
                }
                80..=94 => {
                    if let Some((ticket, item)) = worker.request(Size::Any, true)? {
                        worker.answer(ticket, item);
                    }
                }
                luck => worker.permits(if luck < 97 { MOST_PERMITS } else { 1 }, true),
            }
        }
        if worker.board.phase.load(Ordering::Relaxed) != phase::CLOSING {
            thread::sleep(Duration::from_micros(u64::from(50 + worker.dice.below(300))));
        }
    }
}

/// Alone with the taker: what is given back must wake it, since nothing else does.
fn give_back_alone(worker: &mut Worker) -> Result<(), Closed> {
    // Dead letters keep their blocks until somebody takes them. The taker only waits, and a putter may wait for their room.
    while worker.dead_letter() {}
    for _ in 0..4 {
        let Some((ticket, item)) = worker.request(Size::Any, true)? else { return Ok(()) };
        if let Some(held) = worker.lease(false)? {
            // Long enough for the taker to fall asleep; if it does not, this time shows nothing.
            thread::sleep(Duration::from_micros(300));
            worker.end(held, Finish::Back);
        }
        worker.answer(ticket, item);
    }
    Ok(())
}

/// A process of many short threads: one takes a lease, another ends it, and both are gone before the next two come.
fn in_threads(worker: &mut Worker) -> Result<(), Closed> {
    let (board, me, party) = (worker.board, worker.me, worker.party);
    loop {
        let seeds = [worker.dice.any(), worker.dice.any()];
        let (give, take) = mpsc::channel();
        let leaser = thread::spawn(move || -> Result<(), Closed> {
            let Some(mut worker) = in_thread(board, me, party, seeds[0]) else { return Ok(()) };
            worker.put(Size::Any, false)?;
            for _ in 0..1 + worker.dice.below(3) {
                if let Some(held) = worker.lease(false)? {
                    let _ = give.send(held);
                }
            }
            Ok(())
        });
        let ender = thread::spawn(move || {
            let Some(mut worker) = in_thread(board, me, party, seeds[1]) else { return };
            for held in take {
                count(&board.counts.moved);
                let finish = match worker.dice.below(3) {
                    0 => Finish::Commit,
                    1 => Finish::Reply,
                    _ => Finish::Back,
                };
                worker.end(held, finish);
            }
        });
        let turned = turn(worker, Script::All);
        // Whoever leaves the family must have no thread in it.
        let (leased, ended) = (leaser.join(), ender.join());
        if leased.is_err() || ended.is_err() {
            board.complain(format_args!("a thread panicked; {}", board.life(me)));
        }
        turned?;
        leased.unwrap_or(Ok(()))?;
    }
}

fn in_thread(board: &'static Board, me: u16, party: Party, seed: u64) -> Option<Worker> {
    match party.family.enter() {
        Ok(()) => Some(Worker::new(board, me, party, Dice::new(seed))),
        Err(error) => {
            board.complain(format_args!("a thread got no lane: {error}"));
            None
        }
    }
}

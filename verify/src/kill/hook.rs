//! What happens at a named point: the ledger is told of a commit, then the process stops or dies if that is its plan.

use super::board::{Life, POINT_WORDS, delicate, end};
use super::ledger::Ledger;
use super::system;
use offspring_core::points::{Point, set_hook};
use offspring_core::prim::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// What the calling thread is about to do, for the hook.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Nothing that the ledger must know of at a point.
    Other,
    /// A get: emptying the slot, or ending the block's lease, is its commit.
    Get,
    /// The end of a lease, by commit or reply.
    End,
    /// Posting a permit that was forgotten.
    Post,
}

thread_local! {
    static DOING: Cell<Doing> = const { Cell::new(Doing::Other) };
    static PUTTING: Cell<Option<u32>> = const { Cell::new(None) };
    static BATCH: RefCell<VecDeque<u32>> = const { RefCell::new(VecDeque::new()) };
    static HOLDING: Cell<Option<u32>> = const { Cell::new(None) };
}

/// What this thread does from now on, and with which item.
pub fn doing(what: Doing, item: Option<u32>) {
    DOING.set(what);
    HOLDING.set(item);
}

/// The item that this thread received in its present get.
pub fn received(item: u32) {
    HOLDING.set(Some(item));
}

/// The item that this thread is about to put.
pub fn putting(item: Option<u32>) {
    PUTTING.set(item);
}

/// The items that this thread is about to put together, in their order; with none, that is over.
pub fn putting_batch(items: &[u32]) {
    BATCH.with_borrow_mut(|batch| {
        batch.clear();
        batch.extend(items);
    });
}

/// Never freed: where the hook finds its ledger.
static LEDGER: AtomicPtr<Ledger> = AtomicPtr::new(std::ptr::null_mut());
/// The plan: point plus 1 and visits still to come; the point to stop at.
static POINT: AtomicU32 = AtomicU32::new(0);
static VISITS: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicU32 = AtomicU32::new(0);
/// Points, by bit, to die at at once.
static RARE: [AtomicU64; POINT_WORDS] = [const { AtomicU64::new(0) }; POINT_WORDS];

const _: () = assert!(Point::ALL.len() <= 64 * POINT_WORDS);

/// From now on this process follows the plan of its life.
pub fn follow(ledger: Ledger) {
    let life = ledger.board.life(ledger.me);
    POINT.store(life.point.load(Ordering::Relaxed), Ordering::Relaxed);
    VISITS.store(life.visit.load(Ordering::Relaxed), Ordering::Relaxed);
    STOP.store(life.stop.load(Ordering::Relaxed), Ordering::Relaxed);
    for (here, planned) in RARE.iter().zip(&life.rare) {
        here.store(planned.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    LEDGER.store(Box::into_raw(Box::new(ledger)), Ordering::Release);
    set_hook(Some(at));
}

fn at(point: Point) {
    let ledger = LEDGER.load(Ordering::Acquire);
    if ledger.is_null() {
        return; // the harness itself, before it forked
    }
    // SAFETY: `follow` stored it, leaked.
    let ledger = unsafe { &*ledger };
    let life = ledger.board.life(ledger.me);
    let number = point as u32 + 1;
    life.last.store(number, Ordering::Relaxed);
    tell(ledger, point);
    if STOP.load(Ordering::Relaxed) == number {
        let again = system::stop_self();
        STOP.store(if again { number } else { 0 }, Ordering::Relaxed);
    }
    if POINT.load(Ordering::Relaxed) == number && VISITS.fetch_sub(1, Ordering::Relaxed) == 1 {
        die(life, point);
    }
    let bit = point as usize;
    if RARE[bit / 64].load(Ordering::Relaxed) & 1 << (bit % 64) != 0 {
        die(life, point);
    }
}

/// Writes down what was just committed.
fn tell(ledger: &Ledger, point: Point) {
    match point {
        Point::PutCommitted => {
            if let Some(item) = PUTTING.get().or_else(|| BATCH.with_borrow_mut(VecDeque::pop_front))
            {
                ledger.published(item);
            }
        }
        Point::GetCommitted if DOING.get() == Doing::Get => {
            if let Some(item) = HOLDING.get() {
                ledger.done(item);
            }
        }
        Point::CommitDone | Point::ReplyDone => {
            if let (Doing::Get | Doing::End, Some(item)) = (DOING.get(), HOLDING.get()) {
                ledger.done(item);
            }
        }
        Point::SemForgot => {
            ledger.board.forgotten.fetch_add(1, Ordering::Relaxed);
            ledger.board.life(ledger.me).delicate.store(delicate::FORGOTTEN, Ordering::Release);
        }
        Point::SemStamped if DOING.get() == Doing::Post => {
            ledger.board.posted.fetch_add(1, Ordering::Relaxed);
            ledger.board.life(ledger.me).delicate.store(delicate::POSTED, Ordering::Release);
        }
        _ => {}
    }
}

fn die(life: &Life, point: Point) -> ! {
    life.doom(end::AT + point as u32);
    system::kill_self();
    // Where there are other threads the signal may take this one a moment later.
    loop {
        std::hint::spin_loop();
    }
}

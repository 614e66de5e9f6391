//! What the processes of a run do: the operation's own, the one who died before, the sleeper, the one who repairs.

use super::scene::{Dead, Op, Scene, Sleeper};
use super::tracee::{Tracee, mark};
use super::world::{
    CAPACITY, Inbox, Item, KIND, Page, Patient, Q, Ring, bytes_of, message, other_spec,
};
use offspring_core::block_on::block_on;
use offspring_core::points::{Point, set_hook};
use offspring_core::prim::{AtomicU64, Ordering};
use offspring_core::queue::{Answer, GetError, LeaseToken, Mode, PutError, Taken, TicketToken};
use offspring_core::wait::{Adaptive, EventCount};

/// Words of the page.
pub mod word {
    /// What the operation gave: one of the codes below.
    pub const RESULT: usize = 0;
    /// What the sleeper gave.
    pub const SLEPT: usize = 1;
    /// The item that the sleeper got.
    pub const SLEEPER_GOT: usize = 2;
    /// Who they were, by role: names in the family.
    pub const VICTIM: usize = 3;
    pub const REPAIRER: usize = 4;
    pub const SLEEPER: usize = 5;
    pub const DEAD: usize = 6;
}

/// Results.
pub mod code {
    pub const DONE: u64 = 1;
    pub const REFUSED: u64 = 2;
    pub const CLOSED: u64 = 3;
    pub const TORN: u64 = 4;
    pub const WRONG: u64 = 5;
}

/// The items that are nobody's in the queue at first.
pub mod id {
    pub const VICTIMS: u64 = 100;
    pub const DEADS: u64 = 50;
    pub const RESCUE: u64 = 60;
    pub const SLEEPERS: u64 = 70;
    pub const REPLY: u64 = 1000;
}

/// What an actor has in hand between its preparation and its operation.
#[derive(Default)]
struct Hands {
    lease: Option<LeaseToken>,
    ticket: Option<TicketToken>,
}

/// Takes part in the family, as a forked child.
fn enter(family: &Patient, page: &Page, role: usize) {
    if family.0.after_fork_in_child().is_err() {
        quit();
    }
    page.word(role).store(family.0.me().bits(), Ordering::Release);
}

/// Something in the preparation did not go as the scene says: ends with a code of its own.
fn quit() -> ! {
    // SAFETY: ends this child without the parent's exit handlers.
    unsafe { libc::_exit(9) }
}

/// The process that is killed in its operation.
pub fn victim(ring: &Ring, page: &Page, scene: &Scene) {
    let family = ring.family;
    if scene.op != Op::Enter {
        enter(family, page, word::VICTIM);
    }
    Tracee::trace_me();
    mark();
    let mut inbox = Inbox::new();
    let mut hands =
        if scene.op.is_family() { Hands::default() } else { prepare(ring, scene, &mut inbox) };
    let other = (scene.op == Op::Free)
        .then(|| family.0.allocate(&other_spec(), |_| {}).unwrap_or_else(|_| quit()).region);
    match scene.op {
        Op::Join => family.0.leave_object(ring.region),
        // The allocator and the lists grow now, not under the steps.
        Op::Make => {
            let made = family.0.allocate(&other_spec(), |_| {}).unwrap_or_else(|_| quit());
            family.0.leave_object(made.region);
        }
        _ => {}
    }
    mark();
    let result = match scene.op {
        Op::Enter => done(family.0.after_fork_in_child().is_ok()),
        Op::Leave => {
            family.0.leave();
            code::DONE
        }
        Op::Join => done(family.0.join_object(ring.region, KIND, 0).is_ok()),
        Op::Part => {
            family.0.leave_object(ring.region);
            code::DONE
        }
        Op::Make => done(family.0.allocate(&other_spec(), |_| {}).is_ok()),
        Op::Free => {
            other.into_iter().for_each(|region| family.0.leave_object(region));
            code::DONE
        }
        _ => act(&ring.queue(), scene.op, scene.item, id::VICTIMS, &mut hands, &mut inbox),
    };
    page.word(word::RESULT).store(result, Ordering::Release);
    mark();
    loop {
        // SAFETY: no arguments; sleeps until the kill.
        unsafe { libc::pause() };
    }
}

fn done(well: bool) -> u64 {
    if well { code::DONE } else { code::WRONG }
}

/// Gets in hand what the operation needs.
fn prepare(ring: &Ring, scene: &Scene, inbox: &mut Inbox) -> Hands {
    let q = ring.queue();
    let mut hands = Hands::default();
    if scene.op.holds() || scene.op == Op::DeadLetter {
        match q.try_take(Mode::Lease, true, inbox) {
            Ok(Taken::Lease(lease)) => hands.lease = Some(lease),
            _ => quit(),
        }
    }
    if scene.op == Op::DeadLetter {
        hands.lease.take().into_iter().for_each(|lease| q.give_back(lease));
    }
    if scene.op.asks() {
        let bytes = bytes_of(id::VICTIMS, Item::Request);
        hands.ticket = Some(q.try_request(message(&bytes)).unwrap_or_else(|_| quit()));
    }
    hands
}

fn act(q: &Q<'_>, op: Op, item: Item, number: u64, hands: &mut Hands, inbox: &mut Inbox) -> u64 {
    match op {
        Op::Put => put(q, item, number).unwrap_or_else(refused),
        Op::BlockPut => wait_for(q, q.writers(), || match put(q, item, number) {
            Err(PutError::Full) => None,
            other => Some(other.unwrap_or_else(refused)),
        }),
        Op::Get => got(q.try_take(Mode::Get, true, inbox), inbox, hands),
        Op::Lease => got(q.try_take(Mode::Lease, true, inbox), inbox, hands),
        Op::BlockGet => wait_for(q, q.readers(), || match q.try_take(Mode::Get, true, inbox) {
            Err(GetError::Empty | GetError::Leased { .. }) => None,
            other => Some(got(other, inbox, hands)),
        }),
        Op::Commit => {
            hands.lease.take().into_iter().for_each(|lease| q.commit(lease));
            code::DONE
        }
        Op::GiveBack => {
            hands.lease.take().into_iter().for_each(|lease| q.give_back(lease));
            code::DONE
        }
        Op::Reply => {
            let Some(lease) = hands.lease.take() else { return code::WRONG };
            let bytes = bytes_of(id::REPLY + number, Item::Block);
            done(q.try_reply(lease, message(&bytes)).is_ok())
        }
        Op::DeadLetter => {
            hands.lease = q.try_take_dead(inbox);
            done(hands.lease.is_some())
        }
        Op::TakeAnswer => match take_answer(q, hands, inbox) {
            Some(code) => code,
            None => code::WRONG,
        },
        Op::WaitAnswer => {
            // The bell is the block's; the ticket goes in and out of the hands meanwhile.
            let Some(ticket) = hands.ticket.take() else { return code::WRONG };
            let bell = q.bell(&ticket);
            hands.ticket = Some(ticket);
            wait_for(q, bell, || {
                q.sweep_if_due();
                take_answer(q, hands, inbox)
            })
        }
        Op::DropTicket | Op::DropAnswered => {
            hands.ticket.take().into_iter().for_each(|ticket| q.drop_ticket(ticket));
            code::DONE
        }
        Op::Close => {
            q.close();
            code::DONE
        }
        Op::Recover => {
            q.recover();
            code::DONE
        }
        Op::Enter | Op::Leave | Op::Join | Op::Part | Op::Make | Op::Free => code::WRONG,
    }
}

fn put(q: &Q<'_>, item: Item, number: u64) -> Result<u64, PutError> {
    let bytes = bytes_of(number, item);
    if item == Item::Request {
        // The ticket is given up with the process.
        let _given_up = q.try_request(message(&bytes))?;
    } else {
        q.try_put(message(&bytes))?;
    }
    Ok(code::DONE)
}

fn refused(why: PutError) -> u64 {
    match why {
        PutError::Full | PutError::NoRoom => code::REFUSED,
        PutError::Closed => code::CLOSED,
        _ => code::WRONG,
    }
}

fn got(taken: Result<Taken, GetError>, inbox: &Inbox, hands: &mut Hands) -> u64 {
    match taken {
        Ok(taken) => {
            if let Taken::Lease(lease) = taken {
                hands.lease = Some(lease);
            }
            if inbox.id().is_ok() { code::DONE } else { code::TORN }
        }
        Err(GetError::Empty | GetError::NoRoom | GetError::Leased { .. }) => code::REFUSED,
        Err(GetError::Closed) => code::CLOSED,
        Err(_) => code::WRONG,
    }
}

fn take_answer(q: &Q<'_>, hands: &mut Hands, inbox: &mut Inbox) -> Option<u64> {
    let ticket = hands.ticket.take()?;
    match q.take_answer(ticket, inbox) {
        Ok((Answer::Pending, ticket)) => {
            hands.ticket = ticket;
            None
        }
        Ok((Answer::Reply, _)) if inbox.id().is_err() => Some(code::TORN),
        Ok(_) => Some(code::DONE),
        Err(_) => Some(code::WRONG),
    }
}

/// Blocks until `attempt` gives a code, however long it takes.
fn wait_for(q: &Q<'_>, count: &EventCount, attempt: impl FnMut() -> Option<u64>) -> u64 {
    let spin = Adaptive::new();
    block_on(q.family(), count, || q.others(), &spin, None, attempt).unwrap_or(code::WRONG)
}

/// Where the process that dies before the others does so.
static DIES_AT: AtomicU64 = AtomicU64::new(u64::MAX);

fn die_there(point: Point) {
    if point as u64 == DIES_AT.load(Ordering::Relaxed) {
        // SAFETY: kills this process, which has one thread.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

/// One that dies before the operation begins. It ends by itself if it does not get there.
pub fn dead(ring: &Ring, page: &Page, scene: &Scene, Dead(op, point): Dead) {
    enter(ring.family, page, word::DEAD);
    let mut inbox = Inbox::new();
    let mut hands = prepare(ring, &Scene { op, ..*scene }, &mut inbox);
    if let Some(point) = point {
        DIES_AT.store(point as u64, Ordering::Relaxed);
        set_hook(Some(die_there));
    }
    let result = act(&ring.queue(), op, scene.item, id::DEADS, &mut hands, &mut inbox);
    if point.is_none() && result == code::DONE {
        // SAFETY: as in `die_there`.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    quit();
}

/// One that sleeps on the queue, and must get what it waits for however the operation ends.
pub fn sleeper(ring: &Ring, page: &Page, kind: Sleeper) {
    enter(ring.family, page, word::SLEEPER);
    let (mut inbox, mut hands) = (Inbox::new(), Hands::default());
    let q = ring.queue();
    let result = match kind {
        Sleeper::Reader => act(&q, Op::BlockGet, Item::Inline, 0, &mut hands, &mut inbox),
        Sleeper::Writer => {
            act(&q, Op::BlockPut, Item::Inline, id::SLEEPERS, &mut hands, &mut inbox)
        }
        Sleeper::Requester => {
            let bytes = bytes_of(id::SLEEPERS, Item::Request);
            hands.ticket = q.try_request(message(&bytes)).ok();
            act(&q, Op::WaitAnswer, Item::Request, 0, &mut hands, &mut inbox)
        }
    };
    if kind == Sleeper::Reader && result == code::DONE {
        page.word(word::SLEEPER_GOT).store(inbox.id().unwrap_or(0), Ordering::Release);
    }
    page.word(word::SLEPT).store(result, Ordering::Release);
}

/// One that repairs, and is killed in that.
pub fn repairer(ring: &Ring, page: &Page) {
    enter(ring.family, page, word::REPAIRER);
    let q = ring.queue();
    Tracee::trace_me();
    mark();
    q.recover();
    mark();
    loop {
        // SAFETY: no arguments; sleeps until the kill.
        unsafe { libc::pause() };
    }
}

/// Whether an operation that gave this must have put its item.
pub fn is_done(code: u64) -> bool {
    code == code::DONE
}

/// The most items that the queue takes.
pub const ROOM: u64 = CAPACITY as u64;

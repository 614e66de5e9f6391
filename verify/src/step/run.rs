//! One run: a fresh queue, the scene's processes, one or two kills, and the judgement.

use super::actor::{self, code, id, word};
use super::drive::{self, Plan, Trail, Watched};
use super::scene::{Op, Scene, Sleeper};
use super::tracee::{Stop, Tracee};
use super::world::{
    CAPACITY, Inbox, Item, Page, Patient, Q, Ring, arena_around, bytes_of, message,
};
use offspring_core::prim::Ordering;
use offspring_core::process::ProcessRef;
use offspring_core::queue::{
    Answer, GetError, LeaseToken, Mode, PutError, Replied, Taken, TicketToken,
};
use offspring_os_unix::family::{Family, Options};
use std::collections::BTreeMap;

/// How long a process that must end by itself may take, in seconds, before that is a standstill.
const HANG: u64 = 20;

/// The root of the family, which prepares, survives and judges.
pub struct Runner {
    family: &'static Patient,
    page: Page,
    arena: *const u8,
    base: Audit,
}

/// What is in use.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Audit {
    slots_and_lanes: (usize, usize),
    regions: usize,
    bytes: u64,
}

impl Audit {
    fn take(family: &Family) -> Self {
        Self {
            slots_and_lanes: family.slots_and_lanes_in_use(),
            regions: family.regions_in_use(),
            bytes: family.resident_bytes().unwrap_or(0),
        }
    }
}

/// What became of everything, as the survivor found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Which items of the scene were there, and the operation's own.
    pub items: Vec<u64>,
    /// Whether the queue was closed.
    pub closed: bool,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Ran {
    pub outcome: Outcome,
    /// What the operation said, if it came to its end.
    pub result: u64,
    pub victim: Trail,
    pub repairer: Trail,
}

/// Why a run gave nothing.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The scene does not come about.
    Impossible(String),
    /// Stepping did not go the same way twice.
    Diverged(String),
    /// Something is wrong.
    Violation(String),
}

/// A ticket of the survivor's, and the item it belongs to.
struct Asked(u64, TicketToken);

impl Runner {
    pub fn new() -> Result<Self, String> {
        let family = Family::create(&Options::default()).map_err(|error| error.to_string())?;
        let family: &'static Family = Box::leak(Box::new(family));
        let family: &'static Patient = Box::leak(Box::new(Patient(family)));
        let ring = Ring::make(family, false)?;
        let arena = arena_around(ring.object.pointer)?;
        family.0.leave_object(ring.region);
        let page = Page::new()?;
        let mut runner = Self { family, page, arena, base: Audit::take(family.0) };
        // The tables' pages come with their first use: one run of each kind before the figures are taken.
        for op in [Op::Make, Op::Free, Op::Enter] {
            let scene = Scene {
                op,
                item: Item::Inline,
                filled: 1,
                wrapped: false,
                closed: false,
                limit: false,
                dead: None,
                sleeper: None,
            };
            for _ in 0..2 {
                let _ = runner.run(&scene, Plan::Discover, Some(Plan::AtOnce)); // only to warm up
            }
        }
        runner.base = Audit::take(family.0);
        Ok(runner)
    }

    /// Runs `scene`: the victim as `plan` says, then one who repairs, if there is to be one.
    pub fn run(&mut self, scene: &Scene, plan: Plan, repair: Option<Plan>) -> Result<Ran, Fault> {
        self.page.wipe();
        let ring = Ring::make(self.family, scene.limit).map_err(Fault::Violation)?;
        let mut gone = Vec::new();
        let ran = self.play(&ring, scene, plan, repair, &mut gone);
        // Whatever happened, nothing may be left.
        for pid in gone {
            self.family.0.note_gone(pid as u32, ProcessRef::NONE);
        }
        ring.queue().recover();
        self.family.0.leave_object(ring.region);
        self.family.0.collect();
        let left = Audit::take(self.family.0);
        if ran.is_ok() && left != self.base {
            let text = format!("left over: {left:?}\nat first:  {:?}", self.base);
            return Err(Fault::Violation(text));
        }
        ran
    }

    fn play(
        &self,
        ring: &Ring,
        scene: &Scene,
        plan: Plan,
        repair: Option<Plan>,
        gone: &mut Vec<i32>,
    ) -> Result<Ran, Fault> {
        let (page, q) = (&self.page, ring.queue());
        let mut asked = Vec::new();
        self.fill(&q, scene, &mut asked).map_err(Fault::Impossible)?;
        let fork = |gone: &mut Vec<i32>, body: &dyn Fn()| {
            let child = Tracee::fork(body).map_err(Fault::Violation)?;
            gone.push(child.pid());
            Ok(child)
        };
        let mut requester = None;
        if scene.sleeper == Some(Sleeper::Requester) {
            requester = Some(fork(gone, &|| actor::sleeper(ring, page, Sleeper::Requester))?);
            fall_asleep(requester.as_mut())?;
        }
        let mut repairer = None;
        if repair.is_some() {
            let mut child = fork(gone, &|| actor::repairer(ring, page))?;
            let mark = drive::begin(&mut child).map_err(Fault::Impossible)?;
            repairer = Some((child, mark));
        }
        let mut victim = fork(gone, &|| actor::victim(ring, page, scene))?;
        drive::begin(&mut victim).map_err(Fault::Impossible)?;
        if requester.is_some() {
            // The newcomers woke it, so that it watches them, too.
            fall_asleep(requester.as_mut())?;
        }
        victim.run();
        let mark = drive::begin(&mut victim).map_err(Fault::Impossible)?;
        if let Some(dead) = scene.dead {
            let mut child = fork(gone, &|| actor::dead(ring, page, scene, dead))?;
            match child.wait() {
                Stop::Gone(status) if libc::WIFSIGNALED(status) => {}
                other => return Err(Fault::Impossible(format!("the first to die: {other:?}"))),
            }
        }
        if scene.closed {
            q.close();
        }
        let mut sleeper = match scene.sleeper {
            Some(kind @ (Sleeper::Reader | Sleeper::Writer)) => {
                let mut child = Some(fork(gone, &|| actor::sleeper(ring, page, kind))?);
                fall_asleep(child.as_mut())?;
                child
            }
            _ => requester,
        };
        if matches!(scene.op, Op::TakeAnswer | Op::DropAnswered) {
            answer_victim(&q).map_err(Fault::Impossible)?;
        }

        let (mut first, mut woken) = (None, false);
        let mut wake = || match scene.op {
            Op::BlockPut => {
                let mut inbox = Inbox::new();
                let Ok(Taken::Lease(lease)) = q.try_take(Mode::Lease, false, &mut inbox) else {
                    return Err("nothing to make room with".to_owned());
                };
                let number = inbox.id()?;
                first = Some(number);
                serve(&q, lease, number)
            }
            Op::BlockGet => {
                woken = true;
                q.try_put(message(&bytes_of(1, scene.item))).map_err(|error| error.to_string())
            }
            Op::WaitAnswer => answer_victim(&q),
            other => Err(format!("{other:?} fell asleep")),
        };
        let watched = || Watched::new(ring.watched(self.arena));
        let trail =
            drive::follow(&mut victim, mark, plan, watched, &mut wake).map_err(Fault::Diverged)?;
        let mut repairs = Trail::default();
        if let (Some((mut child, mark)), Some(plan)) = (repairer, repair) {
            let watched = || Watched::new(ring.watched(self.arena));
            let mut wake = || Err("one who repairs fell asleep".to_owned());
            repairs = drive::follow(&mut child, mark, plan, watched, &mut wake)
                .map_err(Fault::Diverged)?;
        }
        if scene.op == Op::BlockGet && !woken {
            // What it waits for has not been put yet: nobody has taken it.
            first = Some(1);
        }
        let outcome = self
            .judge(ring, scene, &mut sleeper, asked, first)
            .map_err(|what| Fault::Violation(format!("{what}\n{:?}", q.dump())))?;
        let result = page.word(word::RESULT).load(Ordering::Acquire);
        Ok(Ran { outcome, result, victim: trail, repairer: repairs })
    }

    /// Brings the queue into the scene's state.
    fn fill(&self, q: &Q<'_>, scene: &Scene, asked: &mut Vec<Asked>) -> Result<(), String> {
        let mut inbox = Inbox::new();
        if scene.wrapped {
            for _ in 0..=CAPACITY {
                q.try_put(message(&bytes_of(0, scene.item))).map_err(|e| e.to_string())?;
                q.try_take(Mode::Get, false, &mut inbox).map_err(|e| e.to_string())?;
            }
        }
        for number in 1..=u64::from(scene.filled) {
            let bytes = bytes_of(number, scene.item);
            if scene.item == Item::Request {
                let ticket = q.try_request(message(&bytes)).map_err(|e| e.to_string())?;
                asked.push(Asked(number, ticket));
            } else {
                q.try_put(message(&bytes)).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    /// What a survivor finds, and whether that may be.
    fn judge(
        &self,
        ring: &Ring,
        scene: &Scene,
        sleeper: &mut Option<Tracee>,
        asked: Vec<Asked>,
        first: Option<u64>,
    ) -> Result<Outcome, String> {
        let q = ring.queue();
        if let Some(child) = sleeper {
            self.see_sleeper(&q, scene, child)?;
        }
        let closed = q.is_closed();
        let mut found = self.drain(&q, scene)?;
        if let Some(child) = sleeper {
            // With the ring empty, and everything answered, it must come to its end.
            let rest = self.end_of_sleeper(&q, scene, child)?;
            found.extend(rest);
        }
        found.extend(self.sleepers_item().map(|number| (number, 1)));
        found.extend(first.map(|number| (number, 0)));
        let items = self.account(scene, &found)?;
        self.answers(&q, asked, &items)?;
        self.works(ring, &q, closed)?;
        Ok(Outcome { items, closed })
    }

    fn sleepers_item(&self) -> Option<u64> {
        let got = self.page.word(word::SLEEPER_GOT).load(Ordering::Acquire);
        (got != 0).then_some(got)
    }

    /// The sleeper after the kill: it has ended, or sleeps because there is nothing for it.
    fn see_sleeper(&self, q: &Q<'_>, scene: &Scene, child: &mut Tracee) -> Result<(), String> {
        if child.wait_or_asleep() != Stop::Asleep {
            return Ok(());
        }
        let forgotten = match scene.sleeper {
            Some(Sleeper::Reader) => !q.is_empty() || q.is_closed(),
            Some(Sleeper::Writer) => !q.is_full() || q.is_closed(),
            Some(Sleeper::Requester) => q.is_empty(),
            None => false,
        };
        if forgotten && child.is_asleep() {
            return Err(format!(
                "the {:?} sleeps on, though there is something for it",
                scene.sleeper
            ));
        }
        if scene.sleeper == Some(Sleeper::Reader) {
            let bytes = bytes_of(id::RESCUE, Item::Inline);
            match q.try_put(message(&bytes)) {
                Ok(()) | Err(PutError::Closed) => {}
                Err(error) => return Err(format!("a survivor cannot put: {error}")),
            }
        }
        Ok(())
    }

    fn end_of_sleeper(
        &self,
        q: &Q<'_>,
        scene: &Scene,
        child: &mut Tracee,
    ) -> Result<BTreeMap<u64, u8>, String> {
        if scene.sleeper == Some(Sleeper::Reader) && child.wait_or_asleep() == Stop::Asleep {
            // The drain was faster than the sleeper.
            let bytes = bytes_of(id::RESCUE, Item::Inline);
            let _ = q.try_put(message(&bytes)); // closed: then it needs none
        }
        if let Err(what) = child.join_unless_gone(HANG) {
            return Err(format!("the {:?}: {what}", scene.sleeper));
        }
        let said = self.page.word(word::SLEPT).load(Ordering::Acquire);
        if !matches!(said, code::DONE | code::CLOSED) {
            return Err(format!("the {:?} got the code {said}", scene.sleeper));
        }
        self.drain(q, scene)
    }

    /// Takes all there is: item by number, with how often each was given back.
    fn drain(&self, q: &Q<'_>, scene: &Scene) -> Result<BTreeMap<u64, u8>, String> {
        let mut found = BTreeMap::new();
        let mut inbox = Inbox::new();
        let mut before = 0;
        let limit = scene.limit;
        loop {
            let lease = match q.try_take(Mode::Lease, true, &mut inbox) {
                Ok(Taken::Lease(lease)) => lease,
                Ok(Taken::Item) => return Err("a lease gave an item for good".to_owned()),
                Err(GetError::Empty | GetError::Closed) => {
                    match limit.then(|| q.try_take_dead(&mut inbox)).flatten() {
                        Some(lease) => lease,
                        None => return Ok(found),
                    }
                }
                Err(error) => {
                    return Err(format!("a survivor cannot get: {error} ({error:?})"));
                }
            };
            let number = inbox.id()?;
            let given_back = lease.deliveries();
            if found.insert(number, given_back).is_some() {
                return Err(format!("item {number} came TWICE"));
            }
            // What nobody held comes in order.
            if given_back == 0 && number <= id::VICTIMS && number != id::SLEEPERS {
                if number < before {
                    return Err(format!("item {number} came after {before}"));
                }
                before = number;
            }
            serve(q, lease, number)?;
        }
    }

    /// Nothing lost but what the operation took, nothing there but what was put.
    fn account(&self, scene: &Scene, found: &BTreeMap<u64, u8>) -> Result<Vec<u64>, String> {
        let woken = scene.op == Op::BlockGet && found.contains_key(&1);
        let mine =
            |number: u64| (1..=u64::from(scene.filled)).contains(&number) || woken && number == 1;
        for number in found.keys() {
            let known = mine(*number)
                || *number == id::VICTIMS && (scene.op.puts() || scene.op.asks())
                || matches!(*number, id::RESCUE | id::SLEEPERS) && scene.sleeper.is_some();
            if !known {
                return Err(format!("item {number} was never put"));
            }
        }
        let lost: Vec<u64> =
            (1..=u64::from(scene.filled)).filter(|number| !found.contains_key(number)).collect();
        if lost.len() > usize::from(scene.op.takes()) {
            return Err(format!("LOST: {lost:?}"));
        }
        Ok(found.keys().copied().filter(|n| mine(*n) || *n == id::VICTIMS).collect())
    }

    /// Who asked has an answer: the survivor's, or that of the one who took the item for good.
    fn answers(&self, q: &Q<'_>, asked: Vec<Asked>, items: &[u64]) -> Result<(), String> {
        for Asked(number, ticket) in asked {
            let mut inbox = Inbox::new();
            let answer = q.take_answer(ticket, &mut inbox);
            let (answer, pending) = answer.map_err(|error| error.to_string())?;
            if pending.is_some() {
                return Err(format!("the request {number} was never answered"));
            }
            let by_survivor = items.contains(&number);
            let right = match answer {
                Answer::Reply => {
                    let from = if by_survivor { number } else { id::VICTIMS };
                    inbox.id()? == id::REPLY + from
                }
                // A get or a commit answers without a value; the sleeper's get, too.
                Answer::Committed => !by_survivor || self.sleepers_item() == Some(number),
                _ => false,
            };
            if !right {
                return Err(format!(
                    "request {number} got {answer:?} {:?}; taken by the survivor: {by_survivor}",
                    inbox.id()
                ));
            }
        }
        Ok(())
    }

    /// All room is there again, and no word names a dead one.
    fn works(&self, ring: &Ring, q: &Q<'_>, closed: bool) -> Result<(), String> {
        let mut inbox = Inbox::new();
        // Whoever never came in is known to nobody else.
        q.recover();
        let in_use = q.in_use();
        if in_use.slots != 0 || in_use.blocks != 0 {
            return Err(format!("still in use: {in_use:?}"));
        }
        let member = ring.object.members().iter().count();
        if member != 1 {
            return Err(format!("{member} members, one lives"));
        }
        for kind in [Item::Inline, Item::Block] {
            for number in 1..=actor::ROOM {
                match q.try_put(message(&bytes_of(number, kind))) {
                    Ok(()) if !closed => {}
                    Err(PutError::Closed) if closed => {}
                    other => return Err(format!("put after all: {other:?}")),
                }
            }
            for number in 1..=actor::ROOM {
                match q.try_take(Mode::Get, true, &mut inbox) {
                    Ok(_) if !closed && inbox.id()? == number => {}
                    Err(GetError::Closed) if closed => {}
                    other => return Err(format!("get after all: {other:?}")),
                }
            }
        }
        Ok(())
    }
}

/// Waits until the child sleeps.
fn fall_asleep(child: Option<&mut Tracee>) -> Result<(), Fault> {
    match child.map(Tracee::wait_or_asleep) {
        Some(Stop::Asleep) | None => Ok(()),
        Some(other) => Err(Fault::Impossible(format!("the sleeper did not sleep: {other:?}"))),
    }
}

/// Ends a lease of the survivor's: a request is answered, the rest committed.
fn serve(q: &Q<'_>, lease: LeaseToken, number: u64) -> Result<(), String> {
    let bytes = bytes_of(id::REPLY + number, Item::Block);
    match q.try_reply(lease, message(&bytes)) {
        Ok(Replied::Delivered | Replied::RequesterGone) => Ok(()),
        Err((lease, error)) => {
            q.commit(lease);
            Err(format!("reply to {number}: {error}"))
        }
    }
}

/// Serves the victim's own request, and gives back what comes before it.
fn answer_victim(q: &Q<'_>) -> Result<(), String> {
    let mut inbox = Inbox::new();
    let mut others = Vec::new();
    loop {
        match q.try_take(Mode::Lease, false, &mut inbox) {
            Ok(Taken::Lease(lease)) if inbox.id()? == id::VICTIMS => {
                others.into_iter().for_each(|lease| q.give_back(lease));
                return serve(q, lease, id::VICTIMS);
            }
            Ok(Taken::Lease(lease)) => others.push(lease),
            other => {
                others.into_iter().for_each(|lease| q.give_back(lease));
                return Err(format!("the victim's request is not there: {other:?}"));
            }
        }
    }
}

//! The root of the family: starts victims, kills them, counts, and judges every round when it is over.
//!
//! One thread, so that forking is cheap and a child's memory is what it was. It never waits for the family lock while a
//! victim may be stopped with it: all it does meanwhile is fork, reap and tell the registry.

mod judge;

use super::audit::Audit;
use super::board;
use super::board::{Board, Mapping, WAITS, delicate, end, now, phase};
use super::dice::Dice;
use super::ledger::Sums;
use super::objects::{self, Party};
use super::plan::{Plan, Planner};
use super::scripts;
use super::system::{self, Children, Family, News, Options, PACE};
use super::targets::{Script, Target, is_here};
use offspring_core::points::Point;
use offspring_core::prim::Ordering;
use offspring_core::process::ProcessRef;
use std::time::{Duration, Instant};

/// Victims at a time, besides the two survivors.
const WIDTH: usize = 6;

/// From how late on this process counts as held up, in nanoseconds.
const HELD_UP: u64 = 2_000_000;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Seed of all dice.
    pub seed: u64,
    /// When to end.
    pub until: Instant,
    /// Kills wanted at each point.
    pub least: u64,
    /// Whether to end as soon as each point has them.
    pub quick: bool,
    /// Whether every third victim is made of threads.
    pub threads: bool,
}

/// A process of the round.
struct Running {
    life: u16,
    pid: u32,
    /// When to kill it from outside.
    deadline: u64,
    /// When it stopped itself, and whether it shall go on.
    stopped: Option<(u64, bool)>,
    survivor: bool,
}

/// What the run counted.
#[derive(Default)]
pub struct Tally {
    /// By number of the point.
    pub at: Vec<u64>,
    /// From outside, at any instruction.
    pub outside: u64,
    /// Of all kills, those of a process that had stopped.
    pub stopped: u64,
    /// Of all kills, those of a process that had executed the program again.
    pub executed: u64,
    /// Of all kills, those of a process of several threads.
    pub threaded: u64,
    /// Processes that went by themselves.
    pub left: u64,
    /// Rounds.
    pub rounds: u64,
    /// The items.
    pub sums: Sums,
    /// The longest wait of a survivor for each of [`WAITS`], in nanoseconds.
    pub stalls: [u64; WAITS.len()],
    /// The longest time for which the machine did not run this process though it was ready.
    pub longest_held_up: u64,
}

impl Tally {
    /// All kills.
    pub fn kills(&self) -> u64 {
        self.outside + self.at.iter().sum::<u64>()
    }
}

/// The harness.
pub struct Harness {
    family: &'static Family,
    mapping: Mapping,
    children: Children,
    orders: Orders,
    dice: Dice,
    planner: Planner,
    pub tally: Tally,
    running: Vec<Running>,
    /// Reaped, and nobody told the registry.
    untold: Vec<(u32, ProcessRef)>,
    /// From when to when this process was ready to run, in this round, and was not run.
    held_up: Vec<(u64, u64)>,
    /// This process's part in the round.
    party: Option<Party>,
}

impl Harness {
    /// A family of this process alone.
    pub fn new(orders: Orders) -> Result<Self, String> {
        let mapping = Board::create().map_err(|error| format!("make the board: {error}"))?;
        objects::prepare(mapping.board);
        let family = Family::create(&Options::default()).map_err(|error| error.to_string())?;
        let tally = Tally { at: vec![0; Point::ALL.len()], ..Tally::default() };
        Ok(Self {
            family: Box::leak(Box::new(family)),
            mapping,
            children: Children::new(),
            orders,
            dice: Dice::new(orders.seed),
            planner: Planner::new(Dice::new(orders.seed ^ 1)),
            tally,
            running: Vec::new(),
            untold: Vec::new(),
            held_up: Vec::new(),
            party: None,
        })
    }

    /// The board.
    pub fn board(&self) -> &'static Board {
        self.mapping.board
    }

    /// The points to be died at.
    pub fn targets(&self) -> &[Target] {
        self.planner.targets()
    }

    fn kills_at(&self, point: Point) -> u64 {
        self.tally.at[point as usize]
    }

    fn satisfied(&self) -> bool {
        self.tally.kills() >= super::LEAST_IN_ALL
            && self.targets().iter().all(|target| self.kills_at(target.point) >= self.orders.least)
    }

    /// Runs rounds until the time is over, or something is violated. `say` gets a line now and then.
    pub fn run(&mut self, mut say: impl FnMut(String)) -> Result<(), String> {
        let base = Audit::take(self.family);
        loop {
            self.round()?;
            self.tally.rounds += 1;
            let board = self.board();
            if let Some(left) = Audit::take(self.family).leftovers(&base) {
                board.complain(format_args!("{left}"));
            }
            self.judge_stall();
            if board.complaints() != 0 {
                return Ok(());
            }
            let (kills, rounds) = (self.tally.kills(), self.tally.rounds);
            let rarest = self.targets().iter().min_by_key(|target| self.kills_at(target.point));
            let rarest = rarest.map_or(String::new(), |target| {
                format!("{} {}", target.point.name(), self.kills_at(target.point))
            });
            say(format!("{rounds} rounds, {kills} kills, rarest point: {rarest}"));
            let over = Instant::now() >= self.orders.until;
            if over || self.orders.quick && self.satisfied() {
                return Ok(());
            }
        }
    }

    fn round(&mut self) -> Result<(), String> {
        let board = self.board();
        board.wipe();
        board.round.store(self.tally.rounds as u32, Ordering::Relaxed);
        let capacity = self.dice.pick(&[1, 2, 3, 8, 32]).unwrap_or(1);
        board.capacity.store(capacity, Ordering::Relaxed);
        board.carrying.store(u32::from(self.dice.percent(50)), Ordering::Relaxed);
        let chained = self.wants_chain();
        board.chained.store(chained.into(), Ordering::Relaxed);
        let most_bytes = if self.dice.percent(30) { 2 << 20 } else { 0 };
        board.most_bytes.store(most_bytes, Ordering::Relaxed);
        self.planner.next_round(chained);
        let inline = if self.dice.percent(85) { 48 } else { 0 };
        board.inline.store(inline, Ordering::Relaxed);
        let most = if self.dice.percent(25) { 320 << 10 } else { 16 << 10 };
        board.most_message.store(most, Ordering::Relaxed);
        let limit = if self.dice.percent(25) { 2 + self.dice.below(4) } else { 0 };
        board.most_deliveries.store(limit, Ordering::Relaxed);
        objects::make(self.family, board)?;
        let party = objects::attach(self.family, board)?;
        self.party = Some(party);
        board.phase.store(phase::RUNNING, Ordering::Release);
        if chained && self.dice.percent(70) {
            self.guests()?;
        }
        self.survivor(Script::Taker)?;
        self.survivor(Script::Putter)?;
        let before = self.tally.kills();
        while self.tally.kills() - before < PACE.kills
            && !board.is_nearly_full()
            && board.complaints() == 0
            && Instant::now() < self.orders.until + Duration::from_secs(1)
        {
            while self.victims() < WIDTH {
                let plan = self.planner.plan(&self.tally.at);
                self.start(plan)?;
            }
            self.pause();
        }
        self.close(party)?;
        self.finish(party);
        Ok(())
    }

    /// Fills the table of members with dead ones, so that whoever comes next sweeps as a guest; a few die of that.
    fn guests(&mut self) -> Result<(), String> {
        let full = std::iter::repeat_n(Point::MemberJoined, objects::QUEUE_MEMBERS as usize - 1);
        let guests = [Point::ChainGuestCame, Point::ChainGuestCame, Point::ChainGuestLeft];
        for point in full.chain(guests) {
            // One after another: nobody lives who would sweep for them.
            self.start(Plan { point: Some((point, 1)), ..Plan::only(Script::Leave) })?;
            self.settle_until(|harness| harness.victims() == 0);
        }
        Ok(())
    }

    /// A third of the rounds have a chain; half of them where its points had the fewest deaths.
    fn wants_chain(&mut self) -> bool {
        let rarest = self.targets().iter().min_by_key(|target| self.kills_at(target.point));
        let behind = rarest.is_some_and(|target| !is_here(target.point, false));
        self.dice.percent(if behind { 50 } else { 33 })
    }

    fn victims(&self) -> usize {
        self.running.iter().filter(|one| !one.survivor).count()
    }

    /// Closes the queue, with victims at the two points of closing, and waits for all to be gone.
    fn close(&mut self, party: Party) -> Result<(), String> {
        let board = self.board();
        self.settle_until(|harness| harness.victims() == 0);
        board.phase.store(phase::QUIET, Ordering::Release);
        self.start(Plan::only(Script::Quiet))?;
        self.settle_until(|harness| harness.victims() == 0);
        // Whoever closes stands where the mark belongs before anybody else, unless it died of closing.
        let chained = board.chained.load(Ordering::Relaxed) != 0;
        let points = if chained {
            [Point::ChainFlagged, Point::ChainEnded, Point::ChainEnded]
        } else {
            [Point::CloseFlagged, Point::CloseMarked, Point::CloseMarked]
        };
        for point in points {
            let point = Some((point, 1));
            self.start(Plan { point, ..Plan::only(Script::Close) })?;
        }
        board.phase.store(phase::CLOSING, Ordering::Release);
        self.settle_until(|harness| harness.victims() == 0);
        party.queue.close();
        let begun = now();
        while !self.running.is_empty() && now() - begun < PACE.hang {
            self.pause();
        }
        for one in std::mem::take(&mut self.running) {
            let life = board.life(one.life);
            board.complain(format_args!(
                "HANG: {:?} did not come to the end of a closed queue; {life}; {} permits are free\n{:?}",
                Script::numbered(life.script.load(Ordering::Relaxed)),
                party.semaphore.value(),
                party.queue.dump(),
            ));
            self.children.kill(one.pid);
            self.children.await_end(one.pid);
            self.untold.push((one.pid, ProcessRef::NONE));
        }
        Ok(())
    }

    fn survivor(&mut self, script: Script) -> Result<(), String> {
        self.start(Plan::only(script))
    }

    fn start(&mut self, plan: Plan) -> Result<(), String> {
        let board = self.board();
        let me = board.new_life().ok_or("the round has no more lives")?;
        let life = board.life(me);
        let survivor = matches!(plan.script, Script::Taker | Script::Putter);
        let steady = survivor || plan.script == Script::Quiet;
        life.script.store(plan.script as u32, Ordering::Relaxed);
        let (point, visit) = plan.point.map_or((0, 0), |(point, visit)| (point as u32 + 1, visit));
        life.point.store(point, Ordering::Relaxed);
        life.visit.store(visit, Ordering::Relaxed);
        if plan.rare {
            let bits = self.planner.rarest(&self.tally.at);
            life.rare.iter().zip(bits).for_each(|(word, bits)| word.store(bits, Ordering::Relaxed));
        }
        life.stop.store(plan.stop.map_or(0, |point| point as u32 + 1), Ordering::Relaxed);
        life.seed.store(self.dice.any(), Ordering::Relaxed);
        let threads = self.orders.threads && !steady && self.dice.below(3) == 0;
        life.threads.store(u32::from(threads), Ordering::Relaxed);
        let execute = !steady && self.dice.below(10) == 0;
        let (family, board) = (self.family, self.board());
        let forked =
            if execute { None } else { self.children.fork(|| scripts::forked(family, board, me)) };
        let execute = forked.is_none();
        let pid = forked.unwrap_or_else(|| self.execute(me))?;
        life.pid.store(pid, Ordering::Relaxed);
        let patience = match plan.point {
            _ if survivor => u64::MAX / 2,
            _ if steady => PACE.hang,
            None => u64::from(self.dice.below(PACE.life)),
            Some(_) => PACE.patience,
        };
        let extra = if execute { PACE.start } else { 0 };
        let deadline = now() + patience + extra;
        self.running.push(Running { life: me, pid, deadline, stopped: None, survivor });
        if execute {
            self.tally.executed += 1;
        }
        if threads {
            self.tally.threaded += 1;
        }
        Ok(())
    }

    fn execute(&mut self, me: u16) -> Result<u32, String> {
        let files = vec![system::arena(self.family), self.mapping.file()];
        self.children.execute(["verify", super::VICTIM, &me.to_string()], files)
    }

    fn settle_until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.pause();
        }
    }

    /// Reaps, kills whose time has come, and sleeps until either is due.
    fn pause(&mut self) {
        while self.reap() {}
        let now = now();
        let mut next = u64::MAX;
        for i in 0..self.running.len() {
            let (pid, deadline, stopped) = {
                let one = &self.running[i];
                (one.pid, one.deadline, one.stopped)
            };
            match stopped {
                Some((since, go_on)) => {
                    let due = since + 1_500_000;
                    if due > now {
                        next = next.min(due);
                    } else if go_on {
                        self.running[i].stopped = None;
                        self.running[i].deadline = now + PACE.patience;
                        self.children.go_on(pid);
                    } else {
                        self.doom(i);
                    }
                }
                None if deadline <= now => self.doom(i),
                None => next = next.min(deadline),
            }
        }
        if self.running.is_empty() {
            return;
        }
        let nanos = next.saturating_sub(now).min(50_000_000);
        self.children.sleep(nanos);
        let (due, woken) = (now + nanos, board::now());
        if woken > due + HELD_UP {
            self.held_up.push((due, woken));
        }
    }

    /// Kills from outside: one that stopped stands at a point.
    fn doom(&mut self, i: usize) {
        let one = &mut self.running[i];
        let life = self.mapping.board.life(one.life);
        if one.stopped.is_none() && life.delicate.load(Ordering::Acquire) != delicate::NO {
            // Killed from outside between forgetting a permit and saying so, it would take the permit with it, and whoever
            // wants all of them would wait for ever. Named points kill there, and know on which side.
            one.deadline = now() + 50_000;
            return;
        }
        let last = life.last.load(Ordering::Acquire);
        let exact = one.stopped.is_some() && last != 0;
        if life.script.load(Ordering::Relaxed) == Script::Quiet as u32
            && let Some(party) = &self.party
        {
            // Nobody kills it but time: everybody lives, and nobody goes on.
            let text = format!("STANDSTILL while nobody died:\n{:?}", party.queue.dump());
            self.mapping.board.complain(format_args!("{text}"));
        }
        life.doom(if exact { end::AT + last - 1 } else { end::OUTSIDE });
        one.deadline = u64::MAX;
        if one.stopped.take().is_some() {
            self.tally.stopped += 1;
        }
        self.children.kill(one.pid);
    }

    /// Takes one child's news. False if there are none.
    fn reap(&mut self) -> bool {
        let Some((pid, news)) = self.children.news() else { return false };
        let Some(i) = self.running.iter().position(|one| one.pid == pid) else { return true };
        if news == News::Stopped {
            // One that stopped on its way to another point usually goes on.
            let go_on = self.dice.percent(70);
            self.running[i].stopped = Some((now(), go_on));
            return true;
        }
        let one = self.running.swap_remove(i);
        let board = self.board();
        let life = board.life(one.life);
        let process = ProcessRef::from_bits(life.process.load(Ordering::Acquire));
        // The survivors are to find most deaths by themselves; who never came in is known to nobody but its parent.
        if process.is_none() || self.dice.percent(20) {
            self.family.note_gone(pid, process);
        } else {
            self.untold.push((pid, process));
        }
        // Its death cannot give back a permit that it had forgotten.
        if life.delicate.load(Ordering::Acquire) == delicate::FORGOTTEN
            && let Some(party) = self.party
            && party.semaphore.post(1).is_ok()
        {
            board.posted.fetch_add(1, Ordering::Relaxed);
        }
        match news {
            News::Killed if life.doomed().is_some() => match life.died_at() {
                Some(point) => self.tally.at[point as usize] += 1,
                None => self.tally.outside += 1,
            },
            News::Ended(0) => self.tally.left += 1,
            news => board.complain(format_args!("a process ended by itself: {news:?}; {life}")),
        }
        true
    }
}

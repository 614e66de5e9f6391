//! The semaphore against plain integers, and under real threads.

use super::{Extent, Property};
use crate::fake::{Fate, Process, World, reference};
use offspring_core::member::MemberTable;
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::process::Liveness;
use offspring_core::semaphore::{
    AcquireError, ReleaseError, Semaphore, SemaphoreHead, ledger_entries,
};
use offspring_core::wait::Wait;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::Cell;
use std::sync::Arc;
use std::thread;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        name: "semaphore: as plain integers, with deaths at any point",
        cases: 2_000,
        check: integers,
    },
    Property {
        name: "semaphore: permits are exact under real threads",
        cases: 100,
        check: threads,
    },
];

/// How many processes one case can have, dead ones included.
const PROCESSES: usize = 12;
/// How many can be members at once.
const MEMBERS: usize = 3;

struct Words {
    head: SemaphoreHead,
    ledger: Vec<AtomicU64>,
    entries: Vec<AtomicU64>,
    high_water: AtomicU32,
    world: Arc<World>,
}

impl Words {
    /// `number` is where the members' operations begin to count.
    fn new(permits: u32, limit: Option<u32>, members: usize, number: u32, threads: &[u16]) -> Self {
        Self {
            head: SemaphoreHead::new(permits, limit).expect("the permits are within the limit"),
            ledger: (0..ledger_entries(members))
                .map(|index| AtomicU64::new(if index == 0 { 0 } else { u64::from(number) }))
                .collect(),
            entries: (0..members).map(|_| AtomicU64::new(0)).collect(),
            high_water: AtomicU32::new(0),
            world: World::with_threads(threads),
        }
    }

    fn members(&self) -> MemberTable<'_> {
        MemberTable::new(&self.entries, &self.high_water)
    }

    fn view<'a>(&'a self, family: &'a Process, index: u16) -> Semaphore<'a, Process> {
        Semaphore::attach(&self.head, &self.ledger, self.members(), family, index).expect("it fits")
    }
}

#[derive(Clone, Debug)]
enum Op {
    Acquire(u32),
    Release(u32),
    Post(u32),
    Forget(u32),
    Sweep,
    Leave,
}

/// One operation of member `who` (of those that live), that dies at its point number `dies`, if it has so many.
#[derive(Clone, Debug)]
struct Act {
    who: prop::sample::Index,
    op: Op,
    dies: Option<usize>,
}

fn act() -> impl Strategy<Value = Act> {
    let op = prop_oneof![
        6 => (0..5u32).prop_map(Op::Acquire),
        4 => (0..4u32).prop_map(Op::Release),
        1 => (0..3u32).prop_map(Op::Post),
        1 => (0..3u32).prop_map(Op::Forget),
        1 => Just(Op::Sweep),
        1 => Just(Op::Leave),
    ];
    let dies = prop::option::weighted(0.25, 0..9usize);
    (any::<prop::sample::Index>(), op, dies).prop_map(|(who, op, dies)| Act { who, op, dies })
}

#[derive(Clone, Debug)]
struct Case {
    permits: u32,
    limit: Option<u32>,
    number: u32,
    acts: Vec<Act>,
}

fn case() -> impl Strategy<Value = Case> {
    let limit = prop::option::of(6..9u32);
    // Both wraps of the numbers, at 30 and at 32 bits, lie within a few operations.
    let number = prop_oneof![Just(0u32), (1u32 << 30) - 8..1 << 30, u32::MAX - 8..=u32::MAX];
    let acts = prop::collection::vec(act(), 1..60);
    (0..6u32, limit, number, acts).prop_map(|(permits, limit, number, acts)| Case {
        permits,
        limit,
        number,
        acts,
    })
}

/// What the semaphore must be: the living members by number, index and what each holds.
struct Plain {
    free: u32,
    limit: u32,
    living: Vec<(usize, u16, u32)>,
    /// What dead processes held, which the next sweep frees.
    owed: u32,
    joined: usize,
}

impl Plain {
    fn sweep(&mut self) {
        self.free = (self.free + self.owed).min(self.limit);
        self.owed = 0;
    }

    /// The next process joins, if there is one and an index is free.
    fn join(&mut self, words: &Words) {
        if self.joined < PROCESSES
            && let Some(index) = words.members().join(reference(self.joined + 1))
        {
            self.joined += 1;
            self.living.push((self.joined, index, 0));
        }
    }
}

fn run(case: &Case) -> Result<(), TestCaseError> {
    let words = Words::new(case.permits, case.limit, MEMBERS, case.number, &[1; PROCESSES]);
    let limit = case.limit.unwrap_or(offspring_core::semaphore::MOST_PERMITS);
    let mut plain = Plain { free: case.permits, limit, living: Vec::new(), owed: 0, joined: 0 };
    for act in &case.acts {
        while plain.living.len() < MEMBERS {
            let before = plain.joined;
            plain.join(&words);
            if plain.joined == before {
                break;
            }
        }
        if plain.living.is_empty() {
            break;
        }
        let at = act.who.index(plain.living.len());
        let (number, index, held) = plain.living[at];
        let process = words.world.process(number);
        let fate = act.dies.map_or_else(Fate::lives, Fate::dies_at);
        let acted = process.run(&fate, |family| {
            let view = words.view(family, index);
            match act.op {
                Op::Acquire(n) => format!("{:?}", view.try_acquire(n)),
                Op::Release(n) => format!("{:?}", view.release(n)),
                Op::Post(n) => format!("{:?}", view.post(n)),
                Op::Forget(n) => format!("{:?}", view.forget(n)),
                Op::Sweep => format!("{:?}", view.sweep()),
                Op::Leave => format!("{:?}", view.leave(reference(number))),
            }
        });
        let observer = words.world.process(number);
        let Some(acted) = acted else {
            died(&words, &mut plain, at, &act.op)?;
            continue;
        };
        // What it should have said and done.
        let over = |n: u32, free: u32| (free + n > limit && n > 0).then_some((n, free));
        let says = match act.op {
            Op::Acquire(n) if n > limit => {
                format!("{:?}", Err::<(), _>(AcquireError::TooMany { asked: n, most: limit }))
            }
            Op::Acquire(n) => {
                plain.sweep();
                match plain.free.checked_sub(n) {
                    Some(free) => {
                        plain.free = free;
                        plain.living[at].2 += n;
                        "Ok(())".to_owned()
                    }
                    None => {
                        let refused = AcquireError::NotFree { asked: n, free: plain.free };
                        format!("{:?}", Err::<(), _>(refused))
                    }
                }
            }
            Op::Release(n) | Op::Forget(n) if n > held => {
                format!("{:?}", Err::<(), _>(ReleaseError::NotHeld { asked: n, held }))
            }
            Op::Forget(n) => {
                plain.living[at].2 -= n;
                "Ok(())".to_owned()
            }
            Op::Release(n) | Op::Post(n) => match over(n, plain.free) {
                Some((asked, free)) => {
                    format!(
                        "{:?}",
                        Err::<(), _>(ReleaseError::TooMany { asked, free, most: limit })
                    )
                }
                None => {
                    plain.free += n;
                    if matches!(act.op, Op::Release(_)) {
                        plain.living[at].2 -= n;
                    }
                    "Ok(())".to_owned()
                }
            },
            Op::Sweep => {
                let owed = plain.owed;
                plain.sweep();
                owed.to_string()
            }
            Op::Leave => {
                plain.free = (plain.free + held).min(limit);
                plain.living.swap_remove(at);
                held.to_string()
            }
        };
        prop_assert_eq!(&acted, &says, "{:?} of process {}", act, number);
        compare(&words, &plain, &observer)?;
    }
    Ok(())
}

fn compare(words: &Words, plain: &Plain, observer: &Process) -> Result<(), TestCaseError> {
    for (number, index, held) in &plain.living {
        prop_assert_eq!(words.view(observer, *index).held(), *held, "held by process {}", number);
    }
    let value = words.view(observer, 1).value();
    prop_assert_eq!(value, plain.free, "free, with {} owed", plain.owed);
    Ok(())
}

/// The process at `at` died in `op`: all that it held is free after the next sweep, whether the operation was done or not;
/// what it put in or forgot may or may not have been.
fn died(words: &Words, plain: &mut Plain, at: usize, op: &Op) -> Result<(), TestCaseError> {
    let (number, _, held) = plain.living.swap_remove(at);
    let owed = plain.owed + held;
    let Some(&(survivor, index, _)) = plain.living.first() else {
        // The last one: a newcomer sees what is left.
        if plain.joined == PROCESSES {
            return Ok(());
        }
        plain.joined += 1;
        let newcomer = words.world.process(plain.joined);
        return audit(words, plain, &newcomer, 1, (number, owed), op).and_then(|()| {
            let index = words.members().join(reference(plain.joined));
            prop_assert!(index.is_some(), "the dead were swept, so an index is free");
            plain.living.extend(index.map(|index| (plain.joined, index, 0)));
            Ok(())
        });
    };
    audit(words, plain, &words.world.process(survivor), index, (number, owed), op)
}

/// `observer` notices the death and sweeps; then the free permits are what they must be.
fn audit(
    words: &Words,
    plain: &mut Plain,
    observer: &Process,
    index: u16,
    (number, owed): (usize, u32),
    op: &Op,
) -> Result<(), TestCaseError> {
    prop_assert!(observer.is_dead(reference(number)));
    let view = words.view(observer, index);
    view.sweep();
    let all = plain.free + owed;
    let (least, most) = match *op {
        Op::Post(n) => (all, all + n),
        Op::Forget(n) => (all.saturating_sub(n), all),
        _ => (all, all),
    };
    let (least, most) = (least.min(plain.limit), most.min(plain.limit));
    let value = view.value();
    let either = value == least || value == most;
    prop_assert!(either, "{} free after a death in {:?}: not {} nor {}", value, op, least, most);
    plain.free = value;
    plain.owed = 0;
    compare(words, plain, observer)
}

fn integers(extent: &Extent) -> Result<u32, String> {
    let tried = Cell::new(0);
    // In portions, so that the time is looked at.
    while tried.get() < extent.cases && !(extent.over() && tried.get() > 0) {
        let config = Config {
            cases: (extent.cases - tried.get()).min(500),
            failure_persistence: None,
            ..Config::default()
        };
        let result = TestRunner::new(config).run(&case(), |case| {
            tried.set(tried.get() + 1);
            run(&case)
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, case)) => {
                return Err(format!("{why}\nsmallest case: {case:#?}"));
            }
            Err(TestError::Abort(why)) => return Err(format!("given up: {why}")),
        }
    }
    Ok(tried.get())
}

/// Two processes that die at some point, one that lives with four threads, and an auditor. Never are more permits out than
/// there are, nobody waits in vain, and in the end all are back.
fn threads(extent: &Extent) -> Result<u32, String> {
    const PERMITS: u32 = 3;
    const ROUNDS: u32 = 200;
    const PROCESS_OF: [usize; 6] = [1, 2, 3, 3, 3, 3];
    const AUDITOR: usize = 4;
    for case in 0..extent.cases {
        if extent.over() {
            return Ok(case);
        }
        let words = Words::new(PERMITS, None, AUDITOR, u32::MAX - case % 1000, &[1, 1, 4, 1]);
        for number in 1..=AUDITOR {
            let joined = words.members().join(reference(number));
            assert_eq!(joined, Some(number as u16), "nobody else is here yet");
        }
        let (out, wrong) = (AtomicU32::new(0), AtomicU32::new(0));
        let (words, out, wrong) = (&words, &out, &wrong);
        let user = |i: usize, family: &Process| {
            let view = words.view(family, PROCESS_OF[i] as u16);
            for round in 0..ROUNDS {
                let n = 1 + (round + i as u32) % 2;
                // Far longer than all of it takes; only a lost wake-up gets there.
                if view.acquire_deadline(n, family.now().after(20_000_000_000)).is_err() {
                    return 1;
                }
                // Nobody dies between these two.
                let too_many = out.fetch_add(n, Ordering::AcqRel) + n > PERMITS;
                out.fetch_sub(n, Ordering::AcqRel);
                if too_many || view.release(n).is_err() {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
            }
            0
        };
        let stuck: u32 = thread::scope(|scope| {
            let users: Vec<_> = (0..PROCESS_OF.len())
                .map(|i| {
                    let dies = PROCESS_OF[i] < 3 && case % 4 != 0;
                    let at = (case as usize * 13 + i * 101) % 1500;
                    let fate = if dies { Fate::dies_at(at) } else { Fate::lives() };
                    let process = words.world.process(PROCESS_OF[i]);
                    scope.spawn(move || process.run(&fate, |family| user(i, family)).unwrap_or(0))
                })
                .collect();
            users.into_iter().map(|user| user.join().unwrap_or(1)).sum()
        });
        let auditor = words.world.process(AUDITOR);
        for (_, member) in words.members().iter() {
            auditor.is_dead(member);
        }
        let view = words.view(&auditor, AUDITOR as u16);
        view.sweep();
        let (value, wrong) = (view.value(), wrong.load(Ordering::Relaxed));
        if stuck != 0 || wrong != 0 || value != PERMITS {
            return Err(format!(
                "case {case}: {stuck} waited in vain, {wrong} times too many were out or a release was refused, \
                 {value} of {PERMITS} are free in the end"
            ));
        }
    }
    Ok(extent.cases)
}

//! The semaphore: permits are exact and nobody waits in vain, whoever dies at whatever step.

use super::Model;
use crate::fake::{Fate, Process, World, reference};
use loom::thread::{self, JoinHandle};
use offspring_core::member::MemberTable;
use offspring_core::prim::{AtomicU32, AtomicU64, UnsafeCell};
use offspring_core::process::Liveness;
use offspring_core::semaphore::{Semaphore, SemaphoreHead, ledger_entries};
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    model("semaphore: permits are exact, though one dies", 1, exact),
    model("semaphore: three operate at once, and one dies", 1, three),
    model("semaphore: threads of one process share an entry", 2, shared_entry),
    model("semaphore: reclaimers race, and one dies", 2, reclaimers),
    model("semaphore: a newcomer keeps what it takes at a dead member's index", 1, newcomer),
    model("semaphore: holders exclude each other", 1, exclusion),
    model("semaphore: the permit of a dead holder reaches a sleeper", 1, sleeper),
    model("semaphore: who wants two is served by a release or death, and a post", 1, group),
    model(
        "semaphore: forgotten permits stay away, though forgetter and helper race",
        1,
        forgetting,
    ),
];

const fn model(name: &'static str, victims: usize, body: fn(&[Fate])) -> Model {
    Model { name, victims, body }
}

/// Everything shared. The members' numbers begin just before both of their wraps (at 30 and at 32 bits); not so nobody's,
/// since a new semaphore's stamp is nobody's number 0.
struct Words {
    head: SemaphoreHead,
    ledger: Vec<AtomicU64>,
    entries: Vec<AtomicU64>,
    high_water: AtomicU32,
    world: Arc<World>,
    /// Touched only by who holds the one permit.
    cell: UnsafeCell<u32>,
}

// SAFETY: all fields but `cell` are; that one is what the model is about, and loom watches it.
unsafe impl Sync for Words {}
// SAFETY: nothing here belongs to a thread.
unsafe impl Send for Words {}

impl Words {
    /// Process i has index i; `threads` has one number for each that is a member from the start, and for late ones.
    fn new(permits: u32, threads: &[u16], members: usize) -> Arc<Self> {
        let words = Self {
            head: SemaphoreHead::new(permits, None).expect("few permits"),
            ledger: (0..ledger_entries(members))
                .map(|index| AtomicU64::new(if index == 0 { 0 } else { u64::from(u32::MAX - 1) }))
                .collect(),
            entries: (0..members).map(|_| AtomicU64::new(0)).collect(),
            high_water: AtomicU32::new(0),
            world: World::with_threads(threads),
            cell: UnsafeCell::new(0),
        };
        for number in 1..=members.min(threads.len()) {
            assert_eq!(words.members().join(reference(number)), Some(number as u16));
        }
        Arc::new(words)
    }

    fn members(&self) -> MemberTable<'_> {
        MemberTable::new(&self.entries, &self.high_water)
    }

    fn view<'a>(&'a self, family: &'a Process, index: usize) -> Semaphore<'a, Process> {
        Semaphore::attach(&self.head, &self.ledger, self.members(), family, index as u16)
            .expect("fits")
    }

    /// A thread of process `number`.
    fn start<R: 'static>(
        self: &Arc<Self>,
        number: usize,
        fate: &Fate,
        body: impl FnOnce(&Self, &Semaphore<'_, Process>) -> R + 'static,
    ) -> JoinHandle<Option<R>> {
        let (words, fate) = (self.clone(), fate.clone());
        thread::spawn(move || {
            let process = words.world.process(number);
            process.run(&fate, |family| body(&words, &words.view(family, number)))
        })
    }

    /// After all others ended: `number` sweeps for all that are dead, then `free` permits must be there.
    fn audit(&self, number: usize, free: u32) {
        let me = self.world.process(number);
        for (_, member) in self.members().iter() {
            me.is_dead(member); // raises the epoch if nobody noticed yet
        }
        let view = self.view(&me, number);
        view.sweep();
        assert_eq!(view.value(), free, "permits were lost or made");
    }
}

fn join<R>(threads: impl IntoIterator<Item = JoinHandle<R>>) -> Vec<R> {
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}

fn once_around(view: &Semaphore<'_, Process>, permits: u32) {
    if view.try_acquire(permits).is_ok() {
        view.release(permits).expect("held");
    }
}

fn exact(fates: &[Fate]) {
    let words = Words::new(3, &[1, 1, 1], 3);
    let threads = [
        words.start(1, &fates[0], |_, view| once_around(view, 2)),
        words.start(2, &Fate::lives(), |_, view| once_around(view, 2)),
    ];
    join(threads);
    words.audit(3, 3);
}

fn three(fates: &[Fate]) {
    let words = Words::new(4, &[1, 1, 1], 3);
    let acquire = |_: &Words, view: &Semaphore<'_, Process>| view.try_acquire(1).expect("one each");
    let threads = [words.start(1, &fates[0], acquire), words.start(2, &Fate::lives(), acquire)];
    let main = words.world.process(3);
    acquire(&words, &words.view(&main, 3));
    let alive = join(threads).iter().flatten().count() as u32;
    words.audit(3, 3 - alive); // main holds one, too
}

fn shared_entry(fates: &[Fate]) {
    let words = Words::new(3, &[2, 1], 2);
    let threads = [
        words.start(1, &fates[0], |_, view| once_around(view, 2)),
        words.start(1, &fates[1], |_, view| view.try_acquire(1).expect("there are three")),
    ];
    let main = words.world.process(2);
    // Whatever the two have stamped, an operation here must record it first.
    words.view(&main, 2).post(1).expect("no limit");
    // The process is dead if either thread died; else it holds the second one's permit.
    let died = join(threads).contains(&None);
    words.audit(2, if died { 4 } else { 3 });
}

fn reclaimers(fates: &[Fate]) {
    let words = Words::new(3, &[1, 1, 1], 3);
    // The victim dies alone, so that every state it can leave is met by every race of the two others.
    let lived = words.world.process(1).run(&fates[0], |family| {
        let view = words.view(family, 1);
        view.try_acquire(2).expect("there are three");
        view.release(1).expect("it holds two");
    });
    if lived.is_some() {
        words.world.kill(1);
    }
    let main = words.world.process(3);
    main.is_dead(reference(1));
    let other = words.start(2, &fates[1], |_, view| view.sweep());
    words.view(&main, 3).try_acquire(3).expect("the sweep before it frees all");
    words.view(&main, 3).release(3).expect("held");
    join([other]);
    words.audit(3, 3);
}

fn newcomer(fates: &[Fate]) {
    let words = Words::new(3, &[1, 1, 1], 2);
    words.members().free_if(1, reference(1)); // of members 1 and 2, 1 is to be joined by process 3 first
    assert_eq!(words.members().join(reference(3)), Some(1));
    let victim = words.world.process(3);
    let lived =
        victim.run(&fates[0], |family| words.view(family, 1).try_acquire(2).expect("three"));
    if lived.is_some() {
        words.world.kill(3);
    }
    words.world.process(2).is_dead(reference(3));
    // One sweeper is slow; meanwhile the other frees the index, and process 1 joins there.
    let slow = words.start(2, &Fate::lives(), |_, view| view.sweep());
    let main = words.world.process(1);
    let helper = words.view(&main, 2);
    let mut swept = helper.sweep();
    // Either this sweep or the slow one is done by now.
    assert_eq!(words.members().join(reference(1)), Some(1));
    let view = words.view(&main, 1);
    view.try_acquire(1).expect("whoever frees an index has freed its permits before");
    swept += join([slow])[0].expect("lives");
    assert_eq!((view.held(), view.value()), (1, 2));
    view.release(1).expect("held");
    assert!(swept == 2 || lived.is_none(), "{swept} of two were freed");
    words.audit(2, 3);
}

fn exclusion(fates: &[Fate]) {
    let words = Words::new(1, &[1, 1, 1], 3);
    let count = |words: &Words, view: &Semaphore<'_, Process>| {
        view.acquire(1).expect("one is possible");
        words.cell.with_mut(|cell| {
            // SAFETY: the permit is the only one. Should it not be, loom sees two at the cell.
            unsafe { *cell += 1 }
        });
        view.release(1).expect("held");
    };
    let victim = words.start(1, &fates[0], count);
    let peer = words.start(2, &Fate::lives(), count);
    join([victim, peer]);
    let main = words.world.process(3);
    main.is_dead(reference(1));
    count(&words, &words.view(&main, 3));
    words.audit(3, 1);
}

fn sleeper(fates: &[Fate]) {
    let words = Words::new(1, &[1, 1], 2);
    let victim = words.start(1, &fates[0], |_, view| {
        view.acquire(1).expect("one is possible");
        view.release(1).expect("held");
    });
    let main = words.world.process(2);
    let view = words.view(&main, 2);
    view.acquire(1).expect("one is possible");
    view.release(1).expect("held");
    join([victim]);
    words.audit(2, 1);
}

fn group(fates: &[Fate]) {
    let words = Words::new(1, &[1, 1, 1], 3);
    let holder = words.world.process(1);
    words.view(&holder, 1).try_acquire(1).expect("there is one");
    // It comes back by release or by death.
    let victim = words.start(1, &fates[0], |_, view| view.release(1).expect("held"));
    let giver = words.start(2, &Fate::lives(), |_, view| view.post(1).expect("no limit"));
    let main = words.world.process(3);
    words.view(&main, 3).acquire(2).expect("two are possible");
    join([victim, giver]);
    words.audit(3, 0);
}

fn forgetting(fates: &[Fate]) {
    let words = Words::new(3, &[2, 1], 2);
    let process = words.world.process(1);
    words.view(&process, 1).try_acquire(1).expect("three");
    let threads = [
        words.start(1, &fates[0], |_, view| view.try_acquire(1).expect("two are left")),
        words.start(1, &Fate::lives(), |_, view| view.forget(1).expect("it holds one")),
    ];
    let main = words.world.process(2);
    // Records the first thread's operation under the second one's hand.
    words.view(&main, 2).post(1).expect("no limit");
    if !join(threads).contains(&None) {
        // It holds one.
        words.audit(2, 2);
        words.world.kill(1);
    }
    words.audit(2, 3);
}

//! The family's registry, lanes and lock: no thread goes on behind a declared death, no lane, slot or lock has two owners.
//!
//! Process A always has one thread that ended without a word, as a killed process has on its way out; what its other
//! threads do meanwhile is explored. Life words are plain words here, marked by whoever plays the kernel.

use super::Model;
use crate::fake::{Fate, World};
use loom::cell::UnsafeCell;
use loom::thread;
use offspring_core::family::lane::LaneError;
use offspring_core::family::word::{LaneBits, ProcessBits, ProcessState};
use offspring_core::family::{
    Backend, FamilyHead, LaneEntry, Life, NoMemory, ProcessEntry, Region, RegionEntry, RegionHead,
    RegionRef, Registry, Tables,
};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::wait::{Deadline, Wait, Watch, Woken};
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "family: no thread of a declared dead goes on, though the suspecter dies",
        victims: 1,
        body: |fates| late_thread(fates, 1),
    },
    Model {
        name: "family: no thread of a declared dead goes on, with two suspecters",
        victims: 0,
        body: |fates| late_thread(fates, 2),
    },
    Model {
        name: "family: two takers of the lanes of the dead get one each",
        victims: 0,
        body: lane_takers,
    },
    Model {
        name: "family: two newcomers get a slot each, while a death is told",
        victims: 1,
        body: newcomers,
    },
    Model {
        name: "family: the lock of the dead has one taker at a time",
        victims: 0,
        body: |_| lock_takers(true),
    },
    Model {
        name: "family: a death noticed under another's lock is collected after",
        victims: 0,
        body: |_| lock_takers(false),
    },
];

const PROCESSES: usize = 3;
const LANES: usize = 4;

const A: ProcessRef = ProcessRef::new(0, 1);
const B: ProcessRef = ProcessRef::new(1, 1);
const C: ProcessRef = ProcessRef::new(2, 1);

const FREE: u32 = 0;
const HELD: u32 = 1;
const MARKED: u32 = 2;

/// A machine with one family, and a cell that may be used only as the family permits.
struct Machine {
    head: FamilyHead,
    processes: Vec<ProcessEntry>,
    lanes: Vec<LaneEntry>,
    regions: Vec<RegionEntry>,
    lives: Vec<AtomicU32>,
    cell: UnsafeCell<u32>,
}

// SAFETY: all of it is loom's atomics but for the cell, whose use is what loom checks.
unsafe impl Sync for Machine {}
// SAFETY: as above.
unsafe impl Send for Machine {}

impl Machine {
    /// A, whose first thread is gone, B and C, with a lane each.
    fn new() -> Arc<Self> {
        fn table<T: Default>(entries: usize) -> Vec<T> {
            (0..entries).map(|_| T::default()).collect()
        }
        let machine = Self {
            head: FamilyHead::default(),
            processes: table(PROCESSES),
            lanes: table(LANES),
            regions: table(1),
            lives: table(LANES),
            cell: UnsafeCell::new(0),
        };
        for (i, process) in [A, B, C].into_iter().enumerate() {
            let bits = ProcessBits::new(ProcessState::Alive, 0, 10 + i as u32, 1);
            machine.processes[i].word.store(bits, Ordering::Relaxed);
            machine.processes[i].primary.store(i as u32 + 1, Ordering::Relaxed);
            machine.lanes[i].word.store(LaneBits::published(process, false), Ordering::Relaxed);
            machine.lives[i].store(if i == 0 { MARKED } else { HELD }, Ordering::Relaxed);
        }
        machine.head.process_high.store(PROCESSES as u32, Ordering::Relaxed);
        machine.head.lane_high.store(PROCESSES as u32, Ordering::Relaxed);
        Arc::new(machine)
    }

    fn tables(&self) -> Tables<'_> {
        Tables {
            head: &self.head,
            processes: &self.processes,
            lanes: &self.lanes,
            regions: &self.regions,
            arena_len: 0,
        }
    }

    /// As a thread of `me` with a lane sees it.
    fn see(&self, me: ProcessRef) -> Registry<'_, Self> {
        Registry::new(self.tables(), self, me)
    }

    /// As a thread without a lane sees it, or one that shall take no lock: a victim's stack must not hold a guard.
    fn look(&self, me: ProcessRef) -> Registry<'_, Self> {
        Registry::newcomer(self.tables(), self, me)
    }

    fn use_cell(&self) {
        // SAFETY: loom checks that nobody else uses it now.
        self.cell.with_mut(|cell| unsafe { *cell += 1 });
    }

    fn assert_told(&self, process: ProcessRef) {
        assert!(self.see(C).is_dead(process));
        let bits = self.processes[usize::from(process.slot())].word.load(Ordering::Acquire);
        let over = bits.generation() != process.generation() || bits.state() == ProcessState::Free;
        assert!(over, "the death stays half told: {bits:?}");
        assert!(self.see(C).death_epoch() > 0, "the epoch does not tell");
    }
}

// SAFETY: nobody sleeps in these models.
unsafe impl Wait for Machine {
    fn wait(&self, _: &[Watch<'_>], _: Option<Deadline>) -> Woken {
        unreachable!("nothing here waits")
    }

    fn wake(&self, _: &AtomicU32, _: u32) -> u32 {
        0
    }

    fn now(&self) -> Deadline {
        Deadline(0)
    }

    fn light_barrier(&self) {
        offspring_core::prim::fence(Ordering::SeqCst);
    }

    fn heavy_barrier(&self) {
        offspring_core::prim::fence(Ordering::SeqCst);
    }
}

// SAFETY: B1: a life word is marked by Release, behind its thread's last access. B2: the system never tells. The rest is
// about regions, of which there are none.
unsafe impl Backend for Machine {
    fn life(&self, lane: usize) -> Life {
        match self.lives[lane].load(Ordering::Acquire) {
            HELD => Life::Held,
            MARKED => Life::Marked,
            _ => Life::Free,
        }
    }

    fn life_watch(&self, _: usize) -> Option<Watch<'_>> {
        None
    }

    unsafe fn hold_life(&self, lane: usize) -> bool {
        assert_ne!(self.lives[lane].swap(HELD, Ordering::AcqRel), HELD, "a lane with two owners");
        true
    }

    unsafe fn release_life(&self, lane: usize) {
        self.lives[lane].store(FREE, Ordering::Release);
    }

    fn process_space(&self) -> u64 {
        0
    }

    fn process_is_gone(&self, _: u32, _: u64) -> Option<bool> {
        None
    }

    fn await_gone(&self, _: u32, _: u64) {}

    fn commit(&self, _: u64, len: u64) -> Result<(), NoMemory> {
        Err(NoMemory { asked: len })
    }

    fn release(&self, _: u64, _: u64) {}

    unsafe fn region_head(&self, _: u64) -> &RegionHead {
        unreachable!("there are no regions")
    }

    unsafe fn words(&self, _: u64, _: usize) -> &[AtomicU64] {
        unreachable!("there are no regions")
    }

    fn trace(&self, _: &Region<'_>, _: &mut dyn FnMut(RegionRef)) -> bool {
        true
    }

    fn backstop(&self) -> u64 {
        0
    }
}

/// A thread of A takes a lane, uses the cell and is killed, while others find out about A.
fn late_thread(fates: &[Fate], suspecters: usize) {
    let machine = Machine::new();
    let late = {
        let machine = machine.clone();
        thread::spawn(move || match machine.look(A).take_lane(false) {
            Ok(lane) => {
                machine.use_cell();
                machine.lives[lane].store(MARKED, Ordering::Release);
            }
            Err(error) => assert_eq!(error, LaneError::Dead),
        })
    };
    let looks: Vec<_> = [B, C][..suspecters]
        .iter()
        .map(|&me| {
            let (machine, world) = (machine.clone(), World::new(1));
            let fate = fates.first().cloned();
            thread::spawn(move || {
                let look = || {
                    if machine.look(me).is_dead(A) {
                        // Nothing that A did can happen after.
                        // SAFETY: loom checks that nobody writes it now.
                        machine.cell.with(|cell| unsafe { *cell });
                    }
                };
                match fate {
                    Some(fate) => drop(world.process(1).run(&fate, |_| look())),
                    None => look(),
                }
            })
        })
        .collect();
    late.join().unwrap();
    looks.into_iter().for_each(|look| look.join().unwrap());
    machine.assert_told(A);
}

/// New threads of B and C both find A's lane marked.
fn lane_takers(_: &[Fate]) {
    let machine = Machine::new();
    let takers = [B, C].map(|me| {
        let machine = machine.clone();
        thread::spawn(move || machine.look(me).take_lane(false).unwrap())
    });
    let [one, two] = takers.map(|taker| taker.join().unwrap());
    assert_ne!(one, two);
    machine.assert_told(A);
}

/// B tells of A's death, and dies; two processes come in. There are no slots but A's and the one that B may free.
fn newcomers(fates: &[Fate]) {
    let machine = Machine::new();
    let teller = {
        let (machine, world, fate) = (machine.clone(), World::new(1), fates[0].clone());
        thread::spawn(move || {
            let _ = world.process(1).run(&fate, |_| machine.look(B).is_dead(A));
            machine.lives[1].store(MARKED, Ordering::Release);
        })
    };
    let comers = [20, 21].map(|pid| {
        let machine = machine.clone();
        thread::spawn(move || machine.look(ProcessRef::NONE).claim_process(pid, 0, A))
    });
    let [one, two] = comers.map(|comer| comer.join().unwrap());
    teller.join().unwrap();
    assert!(one.is_none() || one != two, "a slot with two owners");
    machine.assert_told(A);
    assert!(machine.see(C).is_dead(B));
}

/// B and C both want the lock: that A held when it died, or that is free, with A's death not noticed yet.
fn lock_takers(held: bool) {
    let machine = Machine::new();
    if held {
        machine.head.lock.store(A.bits(), Ordering::Relaxed);
    }
    let take = |machine: &Machine, me| {
        let registry = machine.see(me);
        if let Some(locked) = registry.try_lock() {
            machine.use_cell();
            drop(locked);
        }
    };
    let other = {
        let machine = machine.clone();
        thread::spawn(move || take(&machine, C))
    };
    assert!(machine.see(B).is_dead(A));
    take(&machine, B);
    other.join().unwrap();
    machine.assert_told(A);
    assert_eq!(machine.head.lock.load(Ordering::Acquire), 0);
    let collected = machine.head.collected.load(Ordering::Acquire);
    assert_eq!(collected, machine.head.epoch.load(Ordering::Acquire), "a collection stays due");
}

//! The protocols over small tables, with a platform whose life words and processes are plain memory: interleavings are
//! made by letting something happen at the nth look at a life word.

extern crate std;

use super::layout::{GRANULE, HEAP_AT};
use super::word::{LaneBits, ProcessBits, ProcessState, RegionBits, RegionState};
use super::*;
use crate::prim::{AtomicU32, Ordering};
use crate::process::{Liveness, ProcessRef};
use crate::wait::{Deadline, Woken};
use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::vec::Vec;

const PROCESSES: usize = 4;
const LANES: usize = 6;
const REGIONS: usize = 80;
const HEAP: u64 = 96 * GRANULE;

const FREE: u32 = 0;
const HELD: u32 = 1;
const MARKED: u32 = 2;

type Event = Box<dyn FnOnce(&Machine)>;

/// A line of the arena's heap.
#[derive(Default)]
#[repr(C, align(64))]
struct Bytes64([AtomicU64; 8]);

/// A machine with one arena.
struct Machine {
    head: FamilyHead,
    processes: Vec<ProcessEntry>,
    lanes: Vec<LaneEntry>,
    regions: Vec<RegionEntry>,
    lives: Vec<AtomicU32>,
    heap: Vec<Bytes64>,
    gone: RefCell<Vec<u32>>,
    committed: RefCell<Vec<(u64, u64)>>,
    memory: Cell<u64>,
    wakes: Cell<u32>,
    looks: Cell<u32>,
    /// What happens at the nth look at a life word.
    at_look: RefCell<Option<(u32, Event)>>,
    knows_kinds: Cell<bool>,
}

impl Machine {
    fn new() -> Self {
        fn table<T: Default>(entries: usize) -> Vec<T> {
            (0..entries).map(|_| T::default()).collect()
        }
        let head = FamilyHead::default();
        head.free_from.store(HEAP_AT, Ordering::Relaxed);
        Self {
            head,
            processes: table(PROCESSES),
            lanes: table(LANES),
            regions: table(REGIONS),
            lives: table(LANES),
            heap: table((HEAP / 64) as usize),
            gone: RefCell::default(),
            committed: RefCell::default(),
            memory: Cell::new(u64::MAX),
            wakes: Cell::new(0),
            looks: Cell::new(0),
            at_look: RefCell::new(None),
            knows_kinds: Cell::new(true),
        }
    }

    fn tables(&self) -> Tables<'_> {
        Tables {
            head: &self.head,
            processes: &self.processes,
            lanes: &self.lanes,
            regions: &self.regions,
            arena_len: HEAP_AT + HEAP,
        }
    }

    fn see(&self, me: ProcessRef) -> Registry<'_, Self> {
        Registry::new(self.tables(), self, me)
    }

    /// A process with one lane.
    fn join(&self, pid: u32) -> (Registry<'_, Self>, usize) {
        let newcomer = Registry::newcomer(self.tables(), self, ProcessRef::NONE);
        let me = newcomer.claim_process(pid, u64::from(pid), ProcessRef::NONE).unwrap();
        let registry = self.see(me);
        let lane = registry.take_lane(false).unwrap();
        assert!(registry.now_alive(lane));
        (registry, lane)
    }

    fn mark(&self, lane: usize) {
        self.lives[lane].store(MARKED, Ordering::Release);
    }

    fn word(&self, process: ProcessRef) -> ProcessBits {
        self.processes[usize::from(process.slot())].word.load(Ordering::Acquire)
    }

    fn at_look(&self, nth: u32, what: impl FnOnce(&Machine) + 'static) {
        self.looks.set(0);
        *self.at_look.borrow_mut() = Some((nth, Box::new(what)));
    }

    fn committed_bytes(&self) -> u64 {
        self.committed.borrow().iter().map(|(_, len)| len).sum()
    }

    fn heap(&self) -> &[AtomicU64] {
        // SAFETY: each line is eight words and nothing else, and the vector has them in a row.
        unsafe { core::slice::from_raw_parts(self.heap.as_ptr().cast(), self.heap.len() * 8) }
    }

    fn index(offset: u64) -> usize {
        ((offset - HEAP_AT) / 8) as usize
    }
}

// SAFETY: nobody sleeps in these tests.
unsafe impl Wait for Machine {
    fn wait(&self, _: &[Watch<'_>], _: Option<Deadline>) -> Woken {
        panic!("a single thread would sleep for ever")
    }

    fn wake(&self, _: &AtomicU32, _: u32) -> u32 {
        self.wakes.set(self.wakes.get() + 1);
        0
    }

    fn now(&self) -> Deadline {
        Deadline(0)
    }

    fn light_barrier(&self) {}

    fn heavy_barrier(&self) {}
}

// SAFETY: B1, B2: the tests mark and name only what plays no further part. B3: plain memory. B4: fields of `self`. B5:
// every region's ninth word and those behind are references.
unsafe impl Backend for Machine {
    fn life(&self, lane: usize) -> Life {
        self.looks.set(self.looks.get() + 1);
        let due = self.at_look.borrow_mut().take_if(|(nth, _)| *nth == self.looks.get());
        if let Some((_, what)) = due {
            what(self);
        }
        match self.lives[lane].load(Ordering::Acquire) {
            HELD => Life::Held,
            MARKED => Life::Marked,
            _ => Life::Free,
        }
    }

    fn life_watch(&self, lane: usize) -> Option<Watch<'_>> {
        let word = &self.lives[lane];
        (word.load(Ordering::Acquire) == HELD).then_some(Watch { word, seen: HELD })
    }

    unsafe fn hold_life(&self, lane: usize) -> bool {
        assert_ne!(self.lives[lane].swap(HELD, Ordering::AcqRel), HELD, "held by another thread");
        true
    }

    unsafe fn release_life(&self, lane: usize) {
        assert_eq!(self.lives[lane].swap(FREE, Ordering::AcqRel), HELD);
    }

    fn process_space(&self) -> u64 {
        1
    }

    fn process_is_gone(&self, pid: u32, identity: u64) -> Option<bool> {
        assert!(identity == 0 || identity == u64::from(pid));
        Some(self.gone.borrow().contains(&pid))
    }

    fn await_gone(&self, _: u32, _: u64) {}

    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory> {
        if len > self.memory.get() {
            return Err(NoMemory { asked: len });
        }
        let mut committed = self.committed.borrow_mut();
        for (other, used) in committed.iter() {
            assert!(offset >= other + used || *other >= offset + len, "two regions share a page");
        }
        committed.push((offset, len));
        Ok(())
    }

    fn release(&self, offset: u64, len: u64) {
        self.committed.borrow_mut().retain(|(at, _)| !(offset..offset + len).contains(at));
        for word in &self.heap()[Self::index(offset)..Self::index(offset + len)] {
            word.store(0, Ordering::Relaxed);
        }
    }

    unsafe fn region_head(&self, offset: u64) -> &RegionHead {
        // SAFETY: the caller's promise: a whole line of the heap. The head is all atomics, and this thread is alone.
        unsafe { &*self.heap()[Self::index(offset)..].as_ptr().cast() }
    }

    unsafe fn words(&self, offset: u64, count: usize) -> &[AtomicU64] {
        &self.heap()[Self::index(offset)..][..count]
    }

    fn trace(&self, region: &Region<'_>, found: &mut dyn FnMut(RegionRef)) -> bool {
        for word in &self.heap()[Self::index(region.offset) + NAMES..][..4] {
            found(RegionRef::from_bits(word.load(Ordering::Acquire)));
        }
        self.knows_kinds.get()
    }

    fn backstop(&self) -> u64 {
        0
    }
}

/// The head and two members come before the names.
const NAMES: usize = 10;

const SPEC: RegionSpec = RegionSpec {
    kind: 3,
    version: 1,
    type_hash: 9,
    len: GRANULE,
    members_offset: 64,
    members_count: 2,
    flags: 0,
    committed: u64::MAX,
};

fn make(registry: &Registry<'_, Machine>, spec: &RegionSpec) -> (RegionRef, u16) {
    registry.lock().allocate(spec, |_| {}, |_| true).unwrap()
}

fn name(machine: &Machine, from: RegionRef, to: RegionRef) {
    let registry = Registry::newcomer(machine.tables(), machine, ProcessRef::NONE);
    let (from, to) = (registry.look_up(from).unwrap(), registry.look_up(to).unwrap());
    to.mark_travelled();
    from.mark_carries();
    let at = Machine::index(from.offset) + NAMES;
    machine.heap()[at].store(to.region.bits(), Ordering::Release);
}

#[test]
fn process_with_one_living_thread_is_alive() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    let second = a.take_lane(false).unwrap();
    machine.mark(first);
    assert!(!b.is_dead(a.me));
    machine.mark(second);
    assert!(b.is_dead(a.me));
    assert_eq!(machine.word(a.me).state(), ProcessState::Free);
    assert_eq!((b.death_epoch(), machine.wakes.get()), (1, 1));
    assert_eq!((b.slots_in_use(), b.lanes_in_use()), (1, 1));
}

#[test]
fn thread_that_comes_between_the_two_looks_saves_its_process() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    machine.mark(first);
    let me = a.me;
    // Looks: the short way, the first scan, the second scan.
    machine.at_look(3, move |machine| {
        assert_eq!(machine.word(me).state(), ProcessState::Suspect);
        machine.see(me).take_lane(false).unwrap();
    });
    assert!(!b.is_dead(me));
    assert_eq!(machine.word(me).state(), ProcessState::Alive);
    assert!(!b.is_dead(me));
    assert_eq!(b.death_epoch(), 0);
}

#[test]
fn thread_that_comes_during_the_first_look_is_seen_by_the_second() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    machine.mark(first);
    let me = a.me;
    // Behind what the first scan covers, and before the mark, so that the thread sees nothing of a suspicion.
    machine.at_look(2, move |machine| {
        assert_eq!(machine.word(me).state(), ProcessState::Alive);
        assert_eq!(machine.see(me).take_lane(false), Ok(2));
    });
    assert!(!b.is_dead(me));
    assert_eq!(machine.word(me).state(), ProcessState::Alive);
}

#[test]
fn thread_that_comes_too_late_does_not_come_in() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    machine.mark(first);
    assert!(b.is_dead(a.me));
    assert_eq!(a.take_lane(false), Err(lane::LaneError::Dead));
    assert_eq!(b.lanes_in_use(), 1);
}

#[test]
fn taken_lane_is_a_sign_of_life() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    machine.mark(first);
    machine.lanes[5].word.store(LaneBits::taken(a.me), Ordering::Release);
    machine.head.lane_high.store(6, Ordering::Release);
    assert!(!b.is_dead(a.me));
    // Only the system can tell now.
    machine.gone.borrow_mut().push(10);
    assert!(b.is_dead(a.me));
    assert_eq!(b.lanes_in_use(), 1);
}

#[test]
fn mark_on_a_late_lane_proves_no_death() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    let late = a.take_lane(true).unwrap();
    // SAFETY: taken above, given back once.
    unsafe { a.release_lane(first) };
    machine.mark(late);
    assert!(!b.is_dead(a.me));
}

#[test]
fn stale_suspecter_cannot_finish_an_old_suspicion() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    let (c, _) = machine.join(12);
    machine.mark(first);
    let (me, other) = (a.me, c.me);
    // While b looks the second time, c suspects anew and finishes; b's CAS must fail, and b agree.
    machine.at_look(3, move |machine| assert!(machine.see(other).is_dead(me)));
    assert!(b.is_dead(me));
    assert_eq!(b.death_epoch(), 1);
}

#[test]
fn slot_of_the_dead_is_used_again_under_another_name() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    machine.mark(first);
    assert!(b.is_dead(a.me));
    let (c, _) = machine.join(12);
    assert_eq!((c.me.slot(), c.me.generation()), (a.me.slot(), a.me.generation() + 1));
    assert!(b.is_dead(a.me) && !b.is_dead(c.me));
}

#[test]
fn generation_after_the_last_is_the_first() {
    let machine = Machine::new();
    machine.processes[0]
        .word
        .store(ProcessBits::new(ProcessState::Free, 0, 0, u32::MAX), Ordering::Relaxed);
    machine.regions[0].word.store(RegionBits::new(RegionState::Free, u32::MAX), Ordering::Relaxed);
    let (a, _) = machine.join(10);
    assert_eq!(a.me.generation(), 1);
    assert_eq!(make(&a, &SPEC).0.generation(), 1);
}

#[test]
fn newcomer_finishes_a_death_that_was_not_told() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    machine.mark(first);
    let bits = machine.word(a.me);
    machine.processes[0].word.store(bits.with(ProcessState::Dead), Ordering::Release);
    let (b, _) = machine.join(11);
    assert_eq!((b.me.slot(), b.death_epoch()), (0, 1));
}

#[test]
fn look_at_the_dead_tells_what_the_declarer_did_not() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let (b, _) = machine.join(11);
    let bits = machine.word(a.me);
    machine.processes[0].word.store(bits.with(ProcessState::Dead), Ordering::Release);
    assert!(b.is_dead(a.me));
    assert_eq!((b.death_epoch(), b.slots_in_use()), (1, 1));
}

#[test]
fn full_registry_refuses_and_takes_who_is_gone() {
    let machine = Machine::new();
    for pid in 10..10 + PROCESSES as u32 {
        machine.join(pid);
    }
    let newcomer = Registry::newcomer(machine.tables(), &machine, ProcessRef::NONE);
    assert_eq!(newcomer.claim_process(20, 20, ProcessRef::NONE), None);
    machine.gone.borrow_mut().push(12);
    let me = newcomer.claim_process(20, 20, ProcessRef::NONE).unwrap();
    assert_eq!((me.slot(), me.generation()), (2, 2));
}

#[test]
fn lock_of_the_dead_is_taken_over_and_its_work_undone() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    let held = a.lock();
    assert!(b.try_lock().is_none(), "held by the living");
    // Half-way through making a region.
    let entry = &machine.regions[0];
    entry.offset.store(HEAP_AT, Ordering::Relaxed);
    entry.len.store(GRANULE, Ordering::Relaxed);
    entry.word.store(RegionBits::new(RegionState::Placing, 1), Ordering::Release);
    machine.head.region_high.store(1, Ordering::Relaxed);
    machine.commit(HEAP_AT, GRANULE).unwrap();
    core::mem::forget(held);
    machine.mark(first);
    drop(b.lock());
    assert_eq!((b.regions_in_use(), machine.committed_bytes()), (0, 0));
    assert_eq!(machine.head.lock.load(Ordering::Relaxed), 0);
}

#[test]
fn death_of_the_last_member_frees_its_regions() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    let (shared, _) = make(&a, &SPEC);
    make(&a, &SPEC);
    b.lock().join(shared, 3, 9).unwrap();
    machine.mark(first);
    assert!(b.is_dead(a.me));
    assert_eq!(b.regions_in_use(), 1);
    assert!(b.look_up(shared).is_ok());
}

#[test]
fn death_noticed_under_the_lock_is_collected_when_it_is_free() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    let (c, _) = machine.join(12);
    make(&a, &SPEC);
    machine.mark(first);
    let held = b.lock();
    assert!(c.is_dead(a.me));
    assert_eq!(c.regions_in_use(), 1);
    drop(held);
    assert_eq!(c.regions_in_use(), 0);
}

#[test]
fn chain_of_names_keeps_every_link() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    // Made so that names lead to lower indices as well as to higher ones.
    let regions: Vec<_> = (0..4).map(|_| make(&a, &SPEC).0).collect();
    b.lock().join(regions[2], 3, 9).unwrap();
    name(&machine, regions[2], regions[0]);
    name(&machine, regions[0], regions[3]);
    machine.mark(first);
    assert!(b.is_dead(a.me));
    assert!(b.look_up(regions[0]).is_ok() && b.look_up(regions[3]).is_ok());
    assert_eq!(b.look_up(regions[1]).err(), Some(RegionError::Gone));
    let index = b.look_up(regions[2]).unwrap().members.find(b.me).unwrap();
    b.lock().leave(regions[2], index);
    assert_eq!((b.regions_in_use(), machine.committed_bytes()), (0, 0));
}

#[test]
fn name_that_leads_far_back_is_followed() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    let low = make(&a, &SPEC).0;
    let others: Vec<_> = (1..70).map(|_| make(&a, &SPEC).0).collect();
    let (high, last) = (others[67], others[68]);
    b.lock().join(high, 3, 9).unwrap();
    name(&machine, high, low);
    name(&machine, low, last);
    machine.mark(first);
    assert!(b.is_dead(a.me));
    assert!(b.look_up(low).is_ok() && b.look_up(last).is_ok());
    assert_eq!(b.regions_in_use(), 3);
}

#[test]
fn ring_of_names_is_no_life() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let (one, i) = make(&a, &SPEC);
    let (two, j) = make(&a, &SPEC);
    name(&machine, one, two);
    name(&machine, two, one);
    a.lock().leave(one, i);
    assert_eq!(a.regions_in_use(), 2);
    a.lock().leave(two, j);
    assert_eq!(a.regions_in_use(), 0);
}

#[test]
fn who_cannot_trace_frees_nothing() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let (keeper, _) = make(&a, &SPEC);
    let (stray, index) = make(&a, &SPEC);
    name(&machine, keeper, stray);
    machine.knows_kinds.set(false);
    a.lock().leave(stray, index);
    assert!(!a.lock().collect());
    assert!(a.look_up(stray).is_ok());
}

#[test]
fn reference_is_checked_for_kind_type_and_age() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let (region, index) = make(&a, &SPEC);
    assert_eq!(a.region(region, 4, 9).err(), Some(RegionError::WrongKind { found: 3 }));
    assert_eq!(a.region(region, 3, 8).err(), Some(RegionError::WrongType));
    assert_eq!(a.look_up(RegionRef::NONE).err(), Some(RegionError::Gone));
    assert_eq!(a.look_up(RegionRef::new(u16::MAX, 1)).err(), Some(RegionError::Gone));
    a.lock().leave(region, index);
    let (again, _) = make(&a, &SPEC);
    assert_eq!(again.index(), region.index());
    assert_eq!(a.look_up(region).err(), Some(RegionError::Gone));
}

#[test]
fn wild_head_is_reported_and_kept() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let (region, _) = make(&a, &SPEC);
    let found = a.look_up(region).unwrap();
    found.head.members_count.store(u32::MAX, Ordering::Relaxed);
    assert_eq!(a.look_up(region).err(), Some(RegionError::Corrupt));
    found.head.members_count.store(2, Ordering::Relaxed);
    found.head.members_offset.store(3, Ordering::Relaxed);
    assert_eq!(a.look_up(region).err(), Some(RegionError::Corrupt));
    machine.regions[0].offset.store(HEAP_AT - GRANULE, Ordering::Relaxed);
    assert_eq!(a.look_up(region).err(), Some(RegionError::Corrupt));
    assert!(a.lock().collect());
    assert_eq!(a.regions_in_use(), 1);
}

#[test]
fn wild_tables_break_nothing_else() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    for high in [&machine.head.process_high, &machine.head.lane_high, &machine.head.region_high] {
        high.store(u32::MAX, Ordering::Relaxed);
    }
    machine.processes[0].primary.store(u32::MAX, Ordering::Relaxed);
    machine.lanes[3].word.store(LaneBits(!0), Ordering::Relaxed);
    machine.regions[5].word.store(RegionBits(!0), Ordering::Relaxed);
    machine.head.lock.store(1 << 60, Ordering::Relaxed);
    assert!(a.is_dead(ProcessRef::from_bits(u64::MAX)));
    // Takes the nonsense over, and repairs.
    assert!(a.lock().allocate(&SPEC, |_| {}, |_| true).is_ok());
    assert_eq!(machine.regions[5].word.load(Ordering::Relaxed).state(), RegionState::Free);
    machine.head.free_from.store(u64::MAX, Ordering::Relaxed);
    assert!(a.lock().allocate(&SPEC, |_| {}, |_| true).is_err());
    machine.head.free_from.store(0, Ordering::Relaxed);
    assert!(a.lock().allocate(&SPEC, |_| {}, |_| true).is_ok());
}

#[test]
fn no_memory_leaves_nothing_behind() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    machine.memory.set(GRANULE);
    let big = RegionSpec { len: 2 * GRANULE, ..SPEC };
    let error = a.lock().allocate(&big, |_| {}, |_| true).unwrap_err();
    assert_eq!(error, AllocateError::NoMemory(NoMemory { asked: 2 * GRANULE }));
    assert_eq!((a.regions_in_use(), machine.committed_bytes()), (0, 0));
    let huge = RegionSpec { len: u64::MAX, ..SPEC };
    assert_eq!(a.lock().allocate(&huge, |_| {}, |_| true), Err(AllocateError::BadSpec));
    let wide = RegionSpec { members_count: u32::MAX, ..SPEC };
    assert_eq!(a.lock().allocate(&wide, |_| {}, |_| true), Err(AllocateError::BadSpec));
}

#[test]
fn full_table_and_full_arena_are_told_apart() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let all = RegionSpec { len: HEAP + 1, ..SPEC };
    let error = a.lock().allocate(&all, |_| {}, |_| true);
    assert_eq!(error, Err(AllocateError::NoRoom { asked: HEAP + GRANULE }));
    for _ in 0..REGIONS {
        make(&a, &SPEC);
    }
    assert_eq!(a.lock().allocate(&SPEC, |_| {}, |_| true), Err(AllocateError::TableFull));
}

#[test]
fn unwinding_maker_leaves_nothing_behind() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = a.lock().allocate(&SPEC, |_| std::panic::resume_unwind(Box::new(())), |_| true);
    }));
    assert!(unwound.is_err());
    assert_eq!((a.regions_in_use(), machine.committed_bytes()), (0, 0));
    assert!(a.try_lock().is_some());
}

#[test]
fn withdrawn_region_is_gone() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let part = RegionSpec { members_count: 0, ..SPEC };
    assert_eq!(a.lock().allocate(&part, |_| {}, |_| false), Err(AllocateError::Withdrawn));
    assert_eq!((a.regions_in_use(), machine.committed_bytes()), (0, 0));
}

#[test]
fn gaps_are_filled_from_below() {
    let machine = Machine::new();
    let (a, _) = machine.join(10);
    let spec = |granules: u64| RegionSpec { len: granules * GRANULE, ..SPEC };
    let offset = |region| a.look_up(region).unwrap().offset;
    let sizes = [2, 1, 3, 1];
    let made: Vec<_> = sizes.iter().map(|size| make(&a, &spec(*size))).collect();
    for (i, expected) in [0, 2, 3, 6].into_iter().enumerate() {
        assert_eq!(offset(made[i].0), HEAP_AT + expected * GRANULE);
    }
    a.lock().leave(made[2].0, made[2].1);
    a.lock().leave(made[0].0, made[0].1);
    let three = make(&a, &spec(3)).0;
    assert_eq!(offset(three), HEAP_AT + 3 * GRANULE);
    assert_eq!(offset(make(&a, &spec(1)).0), HEAP_AT);
    assert_eq!(offset(make(&a, &spec(2)).0), HEAP_AT + 7 * GRANULE);
    assert_eq!(offset(make(&a, &spec(1)).0), HEAP_AT + GRANULE);
}

#[test]
fn dead_members_of_an_ownerless_object_make_room() {
    let machine = Machine::new();
    let (a, first) = machine.join(10);
    let (b, _) = machine.join(11);
    let (c, _) = machine.join(12);
    let owned = make(&a, &SPEC).0;
    let ownerless = make(&a, &RegionSpec { flags: flags::OWNERLESS, ..SPEC }).0;
    for region in [owned, ownerless] {
        b.lock().join(region, 3, 9).unwrap();
    }
    machine.mark(first);
    assert!(c.lock().join(ownerless, 3, 9).is_ok());
    // Its words may still name the dead one: only a sweep can say.
    assert_eq!(c.lock().join(owned, 3, 9).err(), Some(RegionError::MembersFull));
}

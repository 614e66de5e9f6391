//! The chain of rings against a plain account of its items, with deaths at any point and rings as small as can be.
//!
//! One thread plays all processes in turn, so that after each operation it is known what must, and what may, be in the
//! queue. What a ring had is overwritten when it is given back: whoever looks at it later finds nonsense.

use super::queue::try_all;
use super::{Extent, Property};
use crate::fake::{Fate, Process, World, reference};
use offspring_core::member::MemberTable;
use offspring_core::prim::{AtomicU32, AtomicU64};
use offspring_core::queue::{
    Buffer, Chain, ChainHead, ChainStorage, Commit, Geometry, GetError, LeaseToken, MakeError,
    Mapped, Message, Mode, NoMemory, Options, Pin, PutError, RingControl, RingWord, Taken,
};
use offspring_core::wait::EventCount;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) const PROPERTIES: &[Property] = &[Property {
    name: "chain: as a plain account, with deaths at any point",
    cases: 1_500,
    check,
}];

/// Processes that one case can use up; the last one lives.
const PROCESSES: usize = 12;
/// Processes at one time.
const SEATS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Op {
    Put(bool),
    Get,
    Lease,
    Commit,
    GiveBack,
    Sweep,
    /// By one who is no member.
    Guest,
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Act {
    seat: usize,
    op: Op,
    /// At which point of the operation the process dies.
    dies: Option<u8>,
}

#[derive(Clone, Debug)]
struct Case {
    capacity: u32,
    rings: u16,
    acts: Vec<Act>,
}

fn act() -> impl Strategy<Value = Act> {
    let op = prop_oneof![
        12 => any::<bool>().prop_map(Op::Put),
        8 => Just(Op::Get),
        4 => Just(Op::Lease),
        3 => Just(Op::Commit),
        1 => Just(Op::GiveBack),
        1 => Just(Op::Sweep),
        1 => Just(Op::Guest),
    ];
    let op = prop_oneof![60 => op, 1 => Just(Op::Close)];
    let dies = prop_oneof![5 => Just(None), 1 => (0..60_u8).prop_map(Some)];
    (0..SEATS, op, dies).prop_map(|(seat, op, dies)| Act { seat, op, dies })
}

fn case() -> impl Strategy<Value = Case> {
    (1..4_u32, 2..7_u16, prop::collection::vec(act(), 1..80))
        .prop_map(|(capacity, rings, acts)| Case { capacity, rings, acts })
}

fn check(extent: &Extent) -> Result<u32, String> {
    try_all(extent, &case(), |case| Run::new(case).all(&case.acts))
}

struct Memory {
    base: NonNull<u8>,
    layout: Layout,
    freed: bool,
}

struct NoLimit;

impl Commit for NoLimit {
    fn commit(&self, _: u64, _: u64) -> Result<(), NoMemory> {
        Ok(())
    }
}

struct Rings {
    head: ChainHead,
    controls: Vec<RingControl>,
    pins: Vec<Pin>,
    members: Vec<AtomicU64>,
    high_water: AtomicU32,
    geometries: Vec<Geometry>,
    memory: Mutex<Vec<Memory>>,
}

// SAFETY: the pointers are to memory of its own, of which only atomics and raw copies are used.
unsafe impl Sync for Rings {}
// SAFETY: as above.
unsafe impl Send for Rings {}

impl Rings {
    fn new(case: &Case) -> Self {
        let geometry = |size: u32| {
            Geometry::new(Options {
                capacity: case.capacity << size,
                inline: 16,
                most_message: 200,
                class_bytes: 4096,
                replies: false,
                most_deliveries: 0,
            })
        };
        Self {
            head: ChainHead::default(),
            controls: (0..case.rings).map(|_| RingControl::default()).collect(),
            pins: (0..16).map(|_| Pin::default()).collect(),
            members: (0..PROCESSES).map(|_| AtomicU64::new(0)).collect(),
            high_water: AtomicU32::new(0),
            geometries: (0..2).filter_map(|size| geometry(size).ok()).collect(),
            memory: Mutex::new(Vec::new()),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Vec<Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> usize {
        self.memory().iter().filter(|memory| !memory.freed).count()
    }

    /// What the family's collector does after a death: memory that no ring's words name goes.
    fn collect<F: offspring_core::wait::Family>(&self, chain: &Chain<'_, Self, F>) {
        let mut named = Vec::new();
        chain.trace(&mut |name| named.push(name));
        let all = self.memory().len() as u64;
        (1..=all).filter(|name| !named.contains(name)).for_each(|name| self.free(name));
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        for memory in self.memory().iter() {
            // SAFETY: allocated with this layout in `make`.
            unsafe { dealloc(memory.base.as_ptr(), memory.layout) }
        }
    }
}

// SAFETY: R1: vectors that never change. R2: names are numbers of the list. R3: made once.
unsafe impl ChainStorage for Rings {
    type Ring<'s> = Mapped<NoLimit, &'s Geometry>;

    fn head(&self) -> &ChainHead {
        &self.head
    }

    fn rings(&self) -> u16 {
        self.controls.len() as u16
    }

    fn control(&self, index: u16) -> &RingControl {
        &self.controls[usize::from(index) - 1]
    }

    fn pins(&self) -> u16 {
        self.pins.len() as u16
    }

    fn pin(&self, seat: u16) -> &Pin {
        &self.pins[usize::from(seat)]
    }

    fn members(&self) -> MemberTable<'_> {
        MemberTable::new(&self.members, &self.high_water)
    }

    fn ring(&self, index: u16, word: RingWord) -> Option<Mapped<NoLimit, &Geometry>> {
        let at = (self.control(index).region() as usize).checked_sub(1)?;
        let base = self.memory().get(at)?.base;
        let geometry = self.geometries.get(usize::from(word.size()))?;
        let members = self.members.as_slice().into();
        // SAFETY: `make` allocated as much, zeroed, page-aligned; it stays until the case ends.
        Some(unsafe { Mapped::new(base, members, (&self.high_water).into(), geometry, NoLimit) })
    }

    fn bell(&self, _: u16, _: RingWord, _: u32) -> Option<&EventCount> {
        None
    }

    fn sizes(&self) -> u8 {
        self.geometries.len() as u8
    }

    fn geometry(&self, size: u8) -> &Geometry {
        &self.geometries[usize::from(size)]
    }

    fn most_bytes(&self) -> u64 {
        0
    }

    fn make(&self, size: u8, link: &mut dyn FnMut(u64)) -> Result<(), MakeError> {
        let len = self.geometry(size).len() as usize;
        let none = MakeError::NoMemory(NoMemory { asked: len as u64, available: 0 });
        let layout = Layout::from_size_align(len, 4096).map_err(|_| none)?;
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(none)?;
        let name = {
            let mut memory = self.memory();
            memory.push(Memory { base, layout, freed: false });
            memory.len() as u64
        };
        link(name);
        Ok(())
    }

    fn free(&self, region: u64) {
        let mut memory = self.memory();
        let at = (region as usize).checked_sub(1);
        if let Some(memory) = at.and_then(|at| memory.get_mut(at))
            && !memory.freed
        {
            memory.freed = true;
            // SAFETY: all of it is ours to write: the chain says that nobody looks at it.
            unsafe { memory.base.as_ptr().write_bytes(0xee, memory.layout.size()) }
        }
    }
}

/// The message of the operation under way; it outlives who dies in it.
#[derive(Default)]
struct Copied {
    bytes: Vec<u8>,
    filled: bool,
}

struct Sink<'a>(&'a RefCell<Copied>);

// SAFETY: `room` makes the vector as long as asked, and nobody changes it before the next call.
unsafe impl Buffer for Sink<'_> {
    fn room(&mut self, len: usize) -> *mut u8 {
        let mut copied = self.0.borrow_mut();
        copied.bytes = vec![0; len];
        copied.bytes.as_mut_ptr()
    }

    fn filled(&mut self, _: usize, _: bool) {
        self.0.borrow_mut().filled = true;
    }
}

/// What is known about an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    There,
    Leased,
    /// There once more or not at all: somebody died in the middle.
    Perhaps,
    Gone,
}

struct Run {
    world: Arc<World>,
    rings: Rings,
    /// Which process sits there, by number; `None` if there is none left.
    seats: [usize; SEATS],
    next: usize,
    items: Vec<Item>,
    leases: [Vec<(LeaseToken, usize)>; SEATS],
    /// Nobody died and nothing was leased: the order is that of a queue.
    orderly: bool,
    closed: bool,
}

type Verdict = Result<(), TestCaseError>;

impl Run {
    fn new(case: &Case) -> Self {
        let mut run = Self {
            world: World::new(PROCESSES),
            rings: Rings::new(case),
            seats: [0; SEATS],
            next: 1,
            items: Vec::new(),
            leases: [const { Vec::new() }; SEATS],
            orderly: true,
            closed: false,
        };
        for seat in 0..SEATS {
            run.sit_down(seat);
        }
        let family = run.world.process(run.seats[0]);
        let _ = run.chain(&family, 0).start();
        run
    }

    /// A new process takes the seat; the last ones live.
    fn sit_down(&mut self, seat: usize) {
        self.seats[seat] = self.next;
        self.next += 1;
    }

    fn chain<'a>(&'a self, family: &'a Process, seat: usize) -> Chain<'a, Rings, Process> {
        let members = self.rings.members();
        let me = reference(self.seats[seat]);
        let index = members.find(me).or_else(|| members.join(me)).unwrap_or(0);
        Chain::new(&self.rings, family, index, seat as u16 * 5)
    }

    fn all(mut self, acts: &[Act]) -> Verdict {
        for act in acts {
            self.act(*act)?;
        }
        self.settle()
    }

    fn message(item: usize, large: bool) -> Vec<u8> {
        let mut bytes = (item as u64).to_le_bytes().to_vec();
        bytes.resize(if large { 100 } else { 12 }, item as u8);
        bytes
    }

    fn item(&self, bytes: &[u8]) -> Result<usize, TestCaseError> {
        let number = bytes.first_chunk().map_or(usize::MAX, |b| u64::from_le_bytes(*b) as usize);
        let whole = number < self.items.len()
            && [false, true].iter().any(|large| Self::message(number, *large) == bytes);
        prop_assert!(whole, "a message that nobody put: {bytes:?}");
        Ok(number)
    }

    /// `item` came to somebody.
    fn arrived(&mut self, item: usize, now: Item) -> Verdict {
        let known = self.items[item];
        prop_assert!(matches!(known, Item::There | Item::Perhaps), "item {item} was {known:?}");
        if self.orderly {
            let first = self.items.iter().position(|known| *known == Item::There);
            prop_assert_eq!(first, Some(item), "out of order");
        }
        self.items[item] = now;
        Ok(())
    }

    fn act(&mut self, act: Act) -> Verdict {
        let seat = act.seat;
        // Enough processes must be left to settle.
        let dies = act.dies.filter(|_| self.next + 1 < PROCESSES);
        let fate = dies.map_or_else(Fate::lives, |at| Fate::dies_at(usize::from(at)));
        let process = self.world.process(self.seats[seat]);
        let copied = RefCell::new(Copied::default());
        let lived = match act.op {
            Op::Put(large) => {
                let item = self.items.len();
                self.items.push(Item::Perhaps);
                let bytes = Self::message(item, large);
                let message = Message { bytes: &bytes, carries: false };
                let put = process.run(&fate, |family| self.chain(family, seat).try_put(message));
                match put {
                    Some(Ok(())) => {
                        prop_assert!(!self.closed, "a put into a closed chain");
                        self.items[item] = Item::There;
                    }
                    Some(Err(PutError::Closed)) if self.closed => self.items[item] = Item::Gone,
                    Some(Err(PutError::Full)) => self.items[item] = Item::Gone,
                    Some(Err(why)) => return Err(TestCaseError::fail(format!("put: {why}"))),
                    None => {}
                }
                put.is_some()
            }
            Op::Get | Op::Lease => {
                let mode = if matches!(act.op, Op::Get) { Mode::Get } else { Mode::Lease };
                self.orderly &= mode == Mode::Get;
                let taken = process.run(&fate, |family| {
                    self.chain(family, seat).try_take(mode, true, &mut Sink(&copied))
                });
                let copied = copied.into_inner();
                let died = taken.is_none();
                match taken {
                    Some(Ok(taken)) => {
                        let item = self.item(&copied.bytes)?;
                        match taken {
                            Taken::Item => self.arrived(item, Item::Gone)?,
                            Taken::Lease(token) => {
                                self.arrived(item, Item::Leased)?;
                                self.leases[seat].push((token, item));
                            }
                        }
                    }
                    Some(Err(why)) => self.nothing_there(why)?,
                    None if copied.filled => {
                        let item = self.item(&copied.bytes)?;
                        if mode == Mode::Get && self.items[item] == Item::There {
                            self.items[item] = Item::Perhaps;
                        }
                    }
                    None => {}
                }
                !died
            }
            Op::Commit | Op::GiveBack => {
                let Some((token, item)) = self.leases[seat].pop() else { return Ok(()) };
                let commit = matches!(act.op, Op::Commit);
                let done = process.run(&fate, |family| {
                    let chain = self.chain(family, seat);
                    if commit { chain.commit(token) } else { chain.give_back(token) }
                });
                self.items[item] = match (commit, done) {
                    (true, Some(())) => Item::Gone,
                    (true, None) => Item::Perhaps,
                    (false, _) => Item::There,
                };
                done.is_some()
            }
            Op::Sweep => process.run(&fate, |family| self.chain(family, seat).sweep()).is_some(),
            Op::Guest => {
                // Who sits down next, unless it dies of this.
                let guest = self.next;
                let done = self.world.process(guest).run(&fate, |family| {
                    let chain = Chain::new(&self.rings, family, 0, 0);
                    chain.sweep_as_guest(reference(guest))
                });
                prop_assert!(done.unwrap_or(true), "dead guests keep no seat");
                self.next += usize::from(done.is_none());
                true
            }
            Op::Close => {
                let done = process.run(&fate, |family| self.chain(family, seat).close());
                // Who died in it may have closed it.
                let family = self.world.process(self.next);
                self.closed |= done.is_some() || self.chain(&family, seat).is_closed();
                done.is_some()
            }
        };
        if !lived {
            self.orderly = false;
            for (_, item) in std::mem::take(&mut self.leases[seat]) {
                self.items[item] = Item::There;
            }
            self.sit_down(seat);
            let family = self.world.process(self.seats[seat]);
            self.rings.collect(&self.chain(&family, seat));
        }
        Ok(())
    }

    /// Somebody was told so.
    fn nothing_there(&self, why: GetError) -> Verdict {
        let count = |what: Item| self.items.iter().filter(|item| **item == what).count();
        let told = match why {
            GetError::Empty => !self.closed,
            GetError::Closed => self.closed && count(Item::Leased) == 0,
            GetError::Leased { .. } => self.closed && count(Item::Leased) != 0,
            // One block is kept for leases; what a lessee holds may be all of them.
            GetError::NoRoom => return Ok(()),
            _ => false,
        };
        prop_assert!(told, "{why}, closed: {}, {:?}", self.closed, self.items);
        prop_assert_eq!(count(Item::There), 0, "{} was said too early", why);
        Ok(())
    }

    /// Everybody ends what they hold; a last process drains the chain, and nothing is left.
    fn settle(mut self) -> Verdict {
        for seat in 0..SEATS {
            while let Some((token, item)) = self.leases[seat].pop() {
                let family = self.world.process(self.seats[seat]);
                self.chain(&family, seat).commit(token);
                self.items[item] = Item::Gone;
            }
        }
        self.orderly = false;
        let family = self.world.process(self.seats[0]);
        loop {
            let copied = RefCell::new(Copied::default());
            let taken = self.chain(&family, 0).try_take(Mode::Get, true, &mut Sink(&copied));
            match taken {
                Ok(_) => {
                    let item = self.item(&copied.into_inner().bytes)?;
                    self.arrived(item, Item::Gone)?;
                }
                Err(why) => {
                    self.nothing_there(why)?;
                    break;
                }
            }
        }
        let chain = self.chain(&family, 0);
        chain.recover();
        let _ = chain.try_take(Mode::Get, true, &mut Sink(&RefCell::default()));
        self.rings.collect(&chain);
        prop_assert_eq!(chain.len(), 0);
        prop_assert_eq!(chain.rings_and_bytes().0, 1, "rings are left");
        prop_assert_eq!(self.rings.live(), 1, "memory is left");
        for (index, process) in self.rings.members().iter() {
            let sits = self.seats.iter().any(|number| reference(*number) == process);
            prop_assert!(sits, "dead member {index} still has its index");
        }
        Ok(())
    }
}

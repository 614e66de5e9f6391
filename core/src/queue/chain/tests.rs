//! The chain in one process, deaths included: that it grows and shrinks, keeps the order, and gives everything back.

extern crate std;

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::vec::Vec;
use std::{format, vec};

use super::word::PinWord;
use super::*;
use crate::member::MemberTable;
use crate::prim::{AtomicU32, AtomicU64};
use crate::queue::tests::{Bytes, Heap, Mortals, message as bytes, process};
use crate::queue::{Geometry, GetError, Mapped, Mode, Options, Taken};

/// One ring's memory. What was given back is overwritten, and kept, so that a late access shows.
struct Memory {
    base: NonNull<u8>,
    layout: Layout,
    freed: bool,
}

struct Rings {
    head: ChainHead,
    controls: Vec<RingControl>,
    pins: Vec<Pin>,
    members: Vec<AtomicU64>,
    high_water: AtomicU32,
    geometries: Vec<Geometry>,
    most_bytes: u64,
    memory: Mutex<Vec<Memory>>,
}

impl Rings {
    fn new(rings: u16, most_bytes: u64, options: Options) -> Self {
        let geometry = |size: u32| {
            Geometry::new(Options { capacity: options.capacity << size, ..options }).unwrap()
        };
        let it = Self {
            head: ChainHead::default(),
            controls: (0..rings).map(|_| RingControl::default()).collect(),
            pins: (0..8).map(|_| Pin::default()).collect(),
            members: (0..16).map(|_| AtomicU64::new(0)).collect(),
            high_water: AtomicU32::new(0),
            geometries: (0..3).map(geometry).collect(),
            most_bytes,
            memory: Mutex::new(Vec::new()),
        };
        for slot in 1..=8 {
            assert_eq!(it.members().join(process(slot)), Some(slot));
        }
        it
    }

    fn live(&self) -> usize {
        self.memory.lock().unwrap().iter().filter(|memory| !memory.freed).count()
    }

    /// The memory that a region's name (its number plus one) leads to.
    fn base(&self, region: u64) -> Option<NonNull<u8>> {
        let memory = self.memory.lock().unwrap();
        memory.get((region as usize).checked_sub(1)?).map(|memory| memory.base)
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        for memory in self.memory.get_mut().unwrap() {
            // SAFETY: allocated with this layout in `make`.
            unsafe { dealloc(memory.base.as_ptr(), memory.layout) }
        }
    }
}

// SAFETY: R1: vectors that never change. R2: `base`. R3: made once.
unsafe impl ChainStorage for Rings {
    type Ring<'s> = Mapped<Heap, &'s Geometry>;

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

    fn ring(&self, index: u16, word: RingWord) -> Option<Mapped<Heap, &Geometry>> {
        let base = self.base(self.control(index).region())?;
        let geometry = self.geometries.get(usize::from(word.size()))?;
        let members = self.members.as_slice().into();
        // SAFETY: `make` allocated as much, zeroed, page-aligned; it stays until the test ends.
        Some(unsafe { Mapped::new(base, members, (&self.high_water).into(), geometry, Heap) })
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
        self.most_bytes
    }

    fn make(&self, size: u8, link: &mut dyn FnMut(u64)) -> Result<(), MakeError> {
        let len = self.geometry(size).len() as usize;
        let layout = Layout::from_size_align(len, 4096).unwrap();
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        let mut memory = self.memory.lock().unwrap();
        memory.push(Memory { base, layout, freed: false });
        link(memory.len() as u64);
        Ok(())
    }

    fn free(&self, region: u64) {
        let mut memory = self.memory.lock().unwrap();
        let Some(memory) = (region as usize).checked_sub(1).and_then(|at| memory.get_mut(at))
        else {
            return;
        };
        if !memory.freed {
            memory.freed = true;
            // SAFETY: all of it is ours to write: the chain says that nobody looks at it.
            unsafe { memory.base.as_ptr().write_bytes(0xee, memory.layout.size()) }
        }
    }
}

struct World {
    family: Mortals,
    rings: Rings,
}

fn small(capacity: u32) -> Options {
    Options {
        capacity,
        inline: 16,
        most_message: 256,
        class_bytes: 4096,
        replies: true,
        most_deliveries: 0,
    }
}

fn world_with(rings: u16, most_bytes: u64, options: Options) -> World {
    let world = World { family: Mortals::new(), rings: Rings::new(rings, most_bytes, options) };
    world.member(1).start().unwrap();
    world
}

fn world(capacity: u32) -> World {
    world_with(8, 0, small(capacity))
}

impl World {
    fn member(&self, me: u16) -> Chain<'_, Rings, Mortals> {
        Chain::new(&self.rings, &self.family, me, me)
    }
}

fn put(chain: &Chain<'_, Rings, Mortals>, text: &str) -> Result<(), PutError> {
    chain.try_put(bytes(text.as_bytes()))
}

fn get(chain: &Chain<'_, Rings, Mortals>) -> Result<Vec<u8>, GetError> {
    let mut buffer = Bytes::default();
    match chain.try_take(Mode::Get, true, &mut buffer)? {
        Taken::Item => Ok(buffer.0),
        Taken::Lease(_) => panic!("not asked for"),
    }
}

fn lease(chain: &Chain<'_, Rings, Mortals>) -> Result<(LeaseToken, Vec<u8>), GetError> {
    let mut buffer = Bytes::default();
    match chain.try_take(Mode::Lease, true, &mut buffer)? {
        Taken::Lease(lease) => Ok((lease, buffer.0)),
        Taken::Item => panic!("not asked for"),
    }
}

fn text(n: usize) -> std::string::String {
    if n.is_multiple_of(3) { format!("{n:060}") } else { format!("{n}") }
}

fn fill(chain: &Chain<'_, Rings, Mortals>, n: std::ops::Range<usize>) {
    n.for_each(|n| put(chain, &text(n)).unwrap());
}

fn drain(chain: &Chain<'_, Rings, Mortals>, n: std::ops::Range<usize>) {
    for n in n {
        assert_eq!(get(chain), Ok(text(n).into_bytes()));
    }
}

#[test]
fn full_ring_gets_a_successor_and_the_order_stays() {
    let world = world(2);
    let chain = world.member(1);
    fill(&chain, 0..20);
    assert_eq!(chain.len(), 20);
    assert!(chain.rings_and_bytes().0 > 2);
    drain(&chain, 0..20);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert!(chain.is_empty());
}

#[test]
fn memory_goes_back_once_the_rings_are_empty() {
    let world = world(2);
    let chain = world.member(1);
    for turn in 0..30 {
        fill(&chain, turn..turn + 14);
        drain(&chain, turn..turn + 14);
    }
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_eq!(chain.rings_and_bytes().0, 1);
    assert_eq!(world.rings.live(), 1);
}

#[test]
fn limit_of_bytes_makes_it_full_and_a_get_makes_room() {
    let ring = Geometry::new(small(2)).unwrap().committed_at_first();
    let world = world_with(8, 2 * ring, small(2));
    let chain = world.member(1);
    let put_n = (0..).take_while(|n| put(&chain, &format!("{n}")).is_ok()).count();
    assert_eq!(put_n, 4);
    assert!(chain.is_full());
    assert_eq!(put(&chain, "x"), Err(PutError::Full));
    for n in 0..40 {
        assert_eq!(get(&chain), Ok(format!("{n}").into_bytes()));
        while put(&chain, &format!("{}", n + chain.len() + 1)).is_ok() {}
    }
    let (rings, bytes) = chain.rings_and_bytes();
    assert!(rings <= 2 && bytes <= 2 * ring, "{rings} rings, {bytes} bytes");
}

#[test]
fn all_places_for_rings_taken_make_it_full() {
    let world = world_with(3, 0, small(1));
    let chain = world.member(1);
    let put_n = (0..).take_while(|n| put(&chain, &format!("{n}")).is_ok()).count();
    assert_eq!(put_n, 1 + 1 + 2, "rings of one, one and two");
    assert_eq!(get(&chain), Ok(b"0".to_vec()));
    assert_eq!(get(&chain), Ok(b"1".to_vec()), "the first ring goes with this");
    assert_eq!(put(&chain, "more"), Ok(()));
}

#[test]
fn closed_chain_delivers_what_is_in_it_then_says_closed() {
    let world = world(2);
    let (chain, other) = (world.member(1), world.member(2));
    fill(&chain, 0..7);
    assert!(chain.close() && !other.close());
    assert_eq!(put(&other, "late"), Err(PutError::Closed));
    drain(&other, 0..7);
    assert_eq!(get(&chain), Err(GetError::Closed));
    assert_eq!(get(&other), Err(GetError::Closed));
}

#[test]
fn closed_is_not_said_while_an_item_of_any_ring_is_leased() {
    let world = world(1);
    let (chain, other) = (world.member(1), world.member(2));
    fill(&chain, 0..4);
    let (held, first) = lease(&chain).unwrap();
    assert_eq!(first, text(0).into_bytes());
    drain(&other, 1..4);
    chain.close();
    assert_eq!(get(&other), Err(GetError::Leased { mine: 0, others: true }));
    assert_eq!(get(&chain), Err(GetError::Leased { mine: 1, others: false }));
    chain.give_back(held);
    assert_eq!(get(&other), Ok(first));
    assert_eq!(get(&chain), Err(GetError::Closed));
}

#[test]
fn lease_keeps_its_ring_and_the_last_commit_gives_it_back() {
    let world = world(1);
    let (chain, other) = (world.member(1), world.member(2));
    fill(&chain, 0..6);
    let held: Vec<_> = (0..6).map(|_| lease(&other).unwrap().0).collect();
    assert_eq!(get(&chain), Err(GetError::Empty));
    let before = world.rings.live();
    assert!(before > 1, "items on lease keep their rings");
    held.into_iter().for_each(|lease| other.commit(lease));
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_eq!(world.rings.live(), 1);
}

#[test]
fn item_given_back_in_a_ring_that_was_left_is_found() {
    let world = world(1);
    let (chain, other) = (world.member(1), world.member(2));
    fill(&chain, 0..3);
    let (first, _) = lease(&other).unwrap();
    drain(&chain, 1..3);
    assert_eq!(get(&chain), Err(GetError::Empty));
    other.give_back(first);
    assert_eq!(chain.len(), 1);
    let (again, item) = lease(&chain).unwrap();
    assert_eq!((item, again.deliveries()), (text(0).into_bytes(), 1));
    chain.commit(again);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_eq!(world.rings.live(), 1);
}

#[test]
fn dead_lessee_gives_back_from_any_ring_and_its_index_comes_free() {
    let world = world(1);
    let (chain, victim) = (world.member(1), world.member(2));
    fill(&chain, 0..4);
    let held: Vec<_> = (0..3).map(|_| lease(&victim).unwrap().0).collect();
    world.family.kill(2);
    core::mem::forget(held);
    let mut back: Vec<_> = (0..4).map(|_| get(&chain).unwrap()).collect();
    back.sort();
    let mut all: Vec<_> = (0..4).map(|n| text(n).into_bytes()).collect();
    all.sort();
    assert_eq!(back, all);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert!(world.rings.members().get(2).is_none());
    assert_eq!(world.rings.live(), 1);
}

#[test]
fn pin_of_a_dead_process_does_not_keep_a_ring_and_a_living_one_does() {
    let world = world(1);
    let (chain, victim) = (world.member(1), world.member(2));
    let mut pins = Pins::default();
    let at = victim.enter(&world.rings.head.head.0, &mut pins).unwrap();
    fill(&chain, 0..3);
    drain(&chain, 0..3);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_eq!(world.rings.control(at.index).word().state(), RingState::Retired);
    world.family.kill(2);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_ne!(world.rings.control(at.index).word().state(), RingState::Retired);
    assert_eq!(world.rings.live(), 1);
}

fn guest(world: &World) -> Chain<'_, Rings, Mortals> {
    Chain::new(&world.rings, &world.family, 0, 0)
}

#[test]
fn guest_repairs_what_the_dead_left_and_frees_their_indices() {
    let world = world(1);
    let (chain, victim) = (world.member(1), world.member(2));
    fill(&chain, 0..2);
    let _held = lease(&victim).unwrap();
    let mut pins = Pins::default();
    victim.enter(&world.rings.head.head.0, &mut pins).unwrap();
    world.family.kill(2);
    assert!(guest(&world).sweep_as_guest(process(9)));
    assert!(world.rings.members().get(2).is_none());
    assert!(
        (0..world.rings.pins()).all(|seat| {
            PinWord(world.rings.pin(seat).word.load(Ordering::Relaxed)).owner() == 0
        })
    );
    let mut back = [get(&chain).unwrap(), get(&chain).unwrap()];
    back.sort();
    assert_eq!(back, [text(0).into_bytes(), text(1).into_bytes()]);
}

#[test]
fn guest_leaves_the_pins_of_others_alone() {
    let world = world(1);
    let (chain, other) = (world.member(1), world.member(2));
    fill(&chain, 0..2);
    let mut pins = Pins::default();
    other.enter(&world.rings.head.head.0, &mut pins).unwrap();
    let words = || -> Vec<u64> {
        (0..world.rings.pins())
            .map(|seat| world.rings.pin(seat).word.load(Ordering::Relaxed))
            .collect()
    };
    let before = words();
    assert!(guest(&world).sweep_as_guest(process(9)));
    assert_eq!(words(), before);
}

#[test]
fn ring_that_a_living_guest_looks_at_is_not_given_back() {
    let world = world(1);
    let chain = world.member(1);
    let seat = &world.rings.head.guests[0];
    fill(&chain, 0..3);
    // As a guest that stopped in the middle has it.
    seat.who.store(process(9).bits(), Ordering::Relaxed);
    seat.ring.store(1, Ordering::Relaxed);
    drain(&chain, 0..3);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_eq!(world.rings.control(1).word().state(), RingState::Retired);
    world.family.kill(9);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_ne!(world.rings.control(1).word().state(), RingState::Retired);
    assert_eq!(world.rings.live(), 1);
}

#[test]
fn guest_waits_for_a_seat_and_takes_that_of_a_dead_one() {
    let world = world(1);
    for seat in &world.rings.head.guests {
        seat.who.store(process(9).bits(), Ordering::Relaxed);
    }
    assert!(!guest(&world).sweep_as_guest(process(10)));
    world.family.kill(9);
    assert!(guest(&world).sweep_as_guest(process(10)));
    assert_eq!(world.rings.head.guests[0].who.load(Ordering::Relaxed), 0);
}

#[test]
fn replies_and_tickets_work_over_rings() {
    let world = world(1);
    let (chain, server) = (world.member(1), world.member(2));
    let tickets: Vec<_> =
        (0..5).map(|n| chain.try_request(bytes(format!("{n}").as_bytes())).unwrap()).collect();
    for _ in 0..5 {
        let (lease, mut item) = lease(&server).unwrap();
        item.push(b'!');
        assert!(matches!(server.try_reply(lease, bytes(&item)), Ok(Replied::Delivered)));
    }
    for (n, ticket) in tickets.into_iter().enumerate() {
        let mut reply = Bytes::default();
        assert_eq!(chain.take_answer(ticket, &mut reply), Ok((Answer::Reply, None)));
        assert_eq!(reply.0, format!("{n}!").into_bytes());
    }
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_eq!(world.rings.live(), 1, "answered requests keep no ring");
}

#[test]
fn dead_letters_of_all_rings_are_found() {
    let world = world_with(8, 0, Options { most_deliveries: 1, ..small(1) });
    let chain = world.member(1);
    fill(&chain, 0..4);
    for _ in 0..4 {
        let (lease, _) = lease(&chain).unwrap();
        chain.give_back(lease);
    }
    assert_eq!(get(&chain), Err(GetError::Empty));
    let mut letters = 0;
    let mut buffer = Bytes::default();
    while let Some(lease) = chain.try_take_dead(&mut buffer) {
        chain.commit(lease);
        letters += 1;
    }
    assert_eq!(letters, 4);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_eq!(world.rings.live(), 1);
}

#[test]
fn trace_names_the_rings_and_what_their_messages_name() {
    let world = world(1);
    let chain = world.member(1);
    for n in 0..3_u64 {
        let mut message = vec![1, 0];
        message.extend((1000 + n).to_le_bytes());
        chain.try_put(Message { bytes: &message, carries: true }).unwrap();
    }
    let mut named = Vec::new();
    chain.trace(&mut |name| named.push(name));
    assert_eq!(named.iter().filter(|name| **name >= 1000).count(), 3);
    assert_eq!(named.iter().filter(|name| (1..100).contains(*name)).count(), world.rings.live());
}

#[test]
fn ring_made_but_not_linked_by_the_dead_is_given_back() {
    let world = world(1);
    let (chain, victim) = (world.member(1), world.member(2));
    for state in [RingState::Owned, RingState::Offered, RingState::Dying] {
        let word = RingWord(0).claimed(2, 0).to(state, 2);
        let control = world.rings.control(7);
        world.rings.make(0, &mut |region| control.region.store(region, Ordering::SeqCst)).unwrap();
        world.rings.head.calm.high.fetch_max(7, Ordering::SeqCst);
        control.word.store(word.0, Ordering::SeqCst);
        assert_eq!(world.rings.live(), 2);
        let _ = world.rings.members().join(process(2));
        world.family.kill(2);
        chain.sweep();
        assert_eq!(control.word().state(), RingState::Free, "{state:?}");
        assert_eq!(world.rings.live(), 1);
    }
    let _ = victim;
}

#[test]
fn two_writers_that_race_for_a_successor_make_one() {
    let world = world(1);
    let (one, other) = (world.member(1), world.member(2));
    fill(&one, 0..1);
    let mut pins = Pins::default();
    let x = other.enter(&world.rings.head.tail.0, &mut pins).unwrap();
    fill(&one, 1..2);
    assert!(matches!(other.grow(x, None), Grown::Linked));
    other.unpin_all(&mut pins);
    assert_eq!(one.rings_and_bytes().0, 2, "the loser's ring is gone again");
    drain(&other, 0..2);
}

#[test]
fn reader_passes_a_ring_that_a_stopped_process_holds() {
    let world = world(2);
    let (chain, stopped) = (world.member(1), world.member(2));
    fill(&chain, 0..8);
    let mut pins = Pins::default();
    let x = stopped.enter(&world.rings.head.head.0, &mut pins).unwrap();
    // It stopped while it took the first item.
    let claimed = stopped.on(x, |queue| {
        let w = queue.slot_word(0);
        queue.swap_slot(0, w, w.claimed(2))
    });
    assert_eq!(claimed, Some(true));
    drain(&chain, 1..8);
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert!(world.rings.live() > 1, "its ring and those behind it stay");
    world.family.kill(2);
    assert_eq!(get(&chain), Ok(text(0).into_bytes()));
    assert_eq!(get(&chain), Err(GetError::Empty));
    assert_eq!(world.rings.live(), 1);
}

#[test]
fn overwritten_links_give_an_error_and_no_endless_loop() {
    for wild in [7_u64 << 16 | 9, 0xffff, 1 << 40, 3 << 16 | 2] {
        let world = world(1);
        let chain = world.member(1);
        fill(&chain, 0..3);
        world.rings.control(1).next.store(wild, Ordering::SeqCst);
        for _ in 0..4 {
            let _ = get(&chain);
        }
        let world = World { family: Mortals::new(), rings: Rings::new(4, 0, small(1)) };
        let chain = world.member(1);
        chain.start().unwrap();
        world.rings.head.tail.0.store(wild, Ordering::SeqCst);
        assert_eq!(put(&chain, "x"), Err(PutError::Corrupt));
        world.rings.head.head.0.store(wild, Ordering::SeqCst);
        assert_eq!(get(&chain), Err(GetError::Corrupt));
    }
}

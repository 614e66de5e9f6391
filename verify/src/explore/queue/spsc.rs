//! The ring from one producer to one consumer: both ends under every interleaving, a death at every point, and successors.

use super::super::Model;
use crate::fake::{Fate, Process, World};
use loom::thread;
use offspring_core::points::Point;
use offspring_core::prim::{AtomicU32, Ordering, UnsafeCell};
use offspring_core::queue::spsc::{Bytes, Head, Held, Peer, Side, Spsc};
use offspring_core::queue::{Buffer, GetError, PutError};
use std::sync::Arc;

pub(in crate::explore) const MODELS: &[Model] = &[
    Model { name: "spsc: a producer dies, its successor goes on", victims: 1, body: producer_dies },
    Model { name: "spsc: a consumer dies, its successor goes on", victims: 1, body: consumer_dies },
    Model { name: "spsc: the end is said behind the last item", victims: 0, body: ends },
    Model { name: "spsc: a role is one handle's at a time", victims: 1, body: roles },
];

/// Room for two records of one byte.
const SIZE: usize = 4;

/// The words are loom's; each byte lies in a cell that loom watches.
#[derive(Debug)]
struct Heap {
    head: Head,
    bytes: [UnsafeCell<u8>; SIZE],
    /// Taken before every access to the words, so that loom tries both orders of any two: it keeps only the last access to each
    /// atomic.
    turn: AtomicU32,
}

// SAFETY: the words are atomics. Whether the cells are handed over as they must be is what is explored: loom panics when two
// threads touch one without an order between them.
unsafe impl Sync for Heap {}
// SAFETY: nothing here belongs to a thread.
unsafe impl Send for Heap {}

// SAFETY: T1, T3: each byte has its own cell. T2: a constant power of two.
unsafe impl Bytes for Heap {
    fn head(&self) -> &Head {
        // ORDER: Relaxed, so that it carries nothing.
        self.turn.fetch_add(1, Ordering::Relaxed);
        &self.head
    }

    fn size(&self) -> u64 {
        SIZE as u64
    }

    unsafe fn write(&self, at: u64, bytes: &[u8]) {
        for (cell, byte) in self.bytes[at as usize..].iter().zip(bytes) {
            // SAFETY: the caller's; if the protocol erred, loom stops here.
            cell.with_mut(|to| unsafe { *to = *byte });
        }
    }

    unsafe fn read(&self, at: u64, out: *mut u8, len: usize) {
        for (i, cell) in self.bytes[at as usize..].iter().take(len).enumerate() {
            // SAFETY: as above; `out` is valid for `len` bytes by the caller's promise.
            cell.with(|from| unsafe { *out.add(i) = *from });
        }
    }
}

#[derive(Debug)]
struct Ring {
    heap: Heap,
    world: Arc<World>,
}

impl Ring {
    /// Processes 1 and 2 have the roles.
    fn new() -> (Arc<Self>, [Held; 2]) {
        let heap = Heap {
            head: Head::default(),
            bytes: std::array::from_fn(|_| UnsafeCell::new(0)),
            turn: AtomicU32::new(0),
        };
        let ring = Self { heap, world: World::new(3) };
        let (first, second) = (ring.world.process(1), ring.world.process(2));
        let held = [
            Spsc::new(&ring.heap, &first).begin(Side::Producer),
            Spsc::new(&ring.heap, &second).begin(Side::Consumer),
        ];
        (Arc::new(ring), held)
    }

    /// Process `number` lives its life here; `None` if it died.
    fn play<R>(&self, number: usize, fate: &Fate, body: impl FnOnce(At<'_>) -> R) -> Option<R> {
        let process = self.world.process(number);
        process.run(fate, |family| body(Spsc::new(&self.heap, family)))
    }
}

type At<'a> = Spsc<'a, Heap, Process>;

struct One(u8);

// SAFETY: records have one byte here, which is valid for one byte.
unsafe impl Buffer for One {
    fn room(&mut self, len: usize) -> *mut u8 {
        assert_eq!(len, 1, "every record has one byte");
        &raw mut self.0
    }

    fn filled(&mut self, _: usize, _: bool) {}
}

/// Puts as many of these as there is room for; how many.
fn put(ring: At<'_>, held: Held, bytes: &[u8]) -> (Held, usize) {
    let mut writer = ring.writer(held).expect("nobody writes wild here");
    let mut put = 0;
    for byte in bytes {
        match ring.try_put(&mut writer, &[*byte]) {
            Ok(()) => put += 1,
            Err(PutError::Full) => break,
            Err(why) => panic!("{why}"),
        }
    }
    let share = writer.held().share();
    (ring.claim(Side::Producer, share).expect("it is ours"), put)
}

/// Takes what is there, so often at most.
fn take(ring: At<'_>, held: Held, most: usize) -> Vec<u8> {
    let mut reader = ring.reader(held).expect("nobody writes wild here");
    let mut taken = Vec::new();
    for _ in 0..most {
        let mut one = One(0);
        match ring.try_take(&mut reader, &mut one) {
            Ok(()) => taken.push(one.0),
            Err(GetError::Empty | GetError::Closed) => break,
            Err(why) => panic!("{why}"),
        }
    }
    taken
}

fn producer_dies(fates: &[Fate]) {
    let (ring, [producer, consumer]) = Ring::new();
    let fate = fates[0].afresh();
    let victim = thread::spawn({
        let (ring, fate) = (ring.clone(), fate.clone());
        move || ring.play(1, &fate, |at| put(at, producer, &[1, 2]).1)
    });
    let process = ring.world.process(2);
    let at = Spsc::new(&ring.heap, &process);
    let mut reader = at.reader(consumer).expect("nobody writes wild here");
    let mut taken = Vec::new();
    let mut look = |taken: &mut Vec<u8>| {
        let mut one = One(0);
        if at.try_take(&mut reader, &mut one).is_ok() {
            taken.push(one.0);
        }
    };
    (0..2).for_each(|_| look(&mut taken));
    let put = victim.join().expect("no panic");
    (0..2).for_each(|_| look(&mut taken));
    let committed = put.unwrap_or_else(|| fate.commits(Point::SpscPublished));
    assert_eq!(taken, (1..=committed as u8).collect::<Vec<_>>());
    if put.is_none() {
        assert_eq!(at.peer(Side::Producer), Peer::Dead);
        let held = at.replace(Side::Producer).expect("it is dead");
        let mut writer = at.writer(held).expect("nobody writes wild here");
        assert_eq!(at.try_put(&mut writer, &[9]), Ok(()));
        look(&mut taken);
        assert_eq!(taken.last(), Some(&9));
    }
}

fn consumer_dies(fates: &[Fate]) {
    let (ring, [producer, consumer]) = Ring::new();
    let fate = fates[0].afresh();
    let first = ring.world.process(1);
    let at = Spsc::new(&ring.heap, &first);
    let (producer, two) = put(at, producer, &[1, 2]);
    assert_eq!(two, 2);
    let victim = thread::spawn({
        let (ring, fate) = (ring.clone(), fate.clone());
        move || ring.play(2, &fate, |at| take(at, consumer, 2))
    });
    // The ring is full until one is taken.
    let (_, more) = put(at, producer, &[3]);
    let taken = victim.join().expect("no panic");
    let gone = taken.as_ref().map_or_else(|| fate.commits(Point::SpscTaken), Vec::len);
    if let Some(taken) = &taken {
        assert_eq!(*taken, (1..=gone as u8).collect::<Vec<_>>());
        return;
    }
    let held = at.replace(Side::Consumer).expect("it is dead");
    let left = take(at, held, 3);
    assert_eq!(left, (gone as u8 + 1..=2 + more as u8).collect::<Vec<_>>());
}

fn ends(_: &[Fate]) {
    let (ring, [producer, consumer]) = Ring::new();
    let other = thread::spawn({
        let ring = ring.clone();
        move || {
            ring.play(1, &Fate::lives(), |at| {
                let (held, put) = put(at, producer, &[1]);
                assert_eq!(put, 1);
                at.leave(Side::Producer, &held);
            })
        }
    });
    let process = ring.world.process(2);
    let at = Spsc::new(&ring.heap, &process);
    let mut reader = at.reader(consumer).expect("nobody writes wild here");
    let mut taken = 0;
    for _ in 0..3 {
        match at.try_take(&mut reader, &mut One(0)) {
            Ok(()) => taken += 1,
            Err(GetError::Empty) => {}
            Err(GetError::Closed) => assert_eq!(taken, 1, "closed is said too early"),
            Err(why) => panic!("{why}"),
        }
    }
    other.join().expect("no panic");
    taken += usize::from(at.try_take(&mut reader, &mut One(0)).is_ok());
    assert_eq!((taken, at.try_take(&mut reader, &mut One(0))), (1, Err(GetError::Closed)));
}

/// A role is sent to two; one of them, or the sender, has it.
fn roles(fates: &[Fate]) {
    let (ring, [producer, consumer]) = Ring::new();
    let share = producer.share();
    let claims = |number: usize, fate: Fate| {
        let ring = ring.clone();
        thread::spawn(move || {
            ring.play(number, &fate, |at| {
                at.claim(Side::Producer, share).map(|held| put(at, held, &[number as u8]).1)
            })
        })
    };
    let others = [claims(1, Fate::lives()), claims(3, fates[0].afresh())];
    let got = others.map(|thread| thread.join().expect("no panic"));
    let owners = got.iter().filter(|got| matches!(got, Some(Some(_)))).count();
    assert!(owners <= 1, "two had the role: {got:?}");
    assert!(owners == 1 || got.contains(&None), "nobody got it: {got:?}");
    let process = ring.world.process(2);
    let taken = take(Spsc::new(&ring.heap, &process), consumer, 2);
    assert!(taken.len() <= 1, "{taken:?}");
    assert!(taken.len() == owners || got.contains(&None), "{got:?}, {taken:?}");
}

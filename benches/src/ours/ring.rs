//! The crash-tolerant ring alone: `offspring_core::queue` on the platform's own arena and barrier, without what the
//! facade adds. Participants are forked; if one dies, the harness ends the measurement.

use crate::Result;
use crate::cores::Cores;
use crate::message::Message;
use crate::peers::CAPACITY;
use crate::roles::{Role, in_processes, in_threads};
use crate::stage::{Stage, until, until_room};
use offspring_core::member::MemberTable;
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::queue::{
    self, Buffer, Commit, Geometry, GetError, Mapped, Mode, NoMemory, Options, PutError,
};
use offspring_core::wait::{Deadline, Family, Wait, Watch, Woken};
use offspring_os_unix::arena::Arena;
use offspring_os_unix::barrier::Barrier;
use offspring_os_unix::futex;
use std::ptr::NonNull;

/// Members that a measurement may have.
const MEMBERS: usize = 8;
const PAGE: u64 = 4096;

/// What stands in the page before the queue.
#[repr(C)]
struct Words {
    epoch: AtomicU32,
    high_water: AtomicU32,
    members: [AtomicU64; MEMBERS],
}

/// A family whose members live as long as the measurement.
#[derive(Debug)]
struct Company<'a> {
    me: ProcessRef,
    epoch: &'a AtomicU32,
    barrier: Barrier,
}

// SAFETY: L1, L2: never true. L3: the harness ends all participants when one dies, so nobody is left to ask.
unsafe impl Liveness for Company<'_> {
    fn is_dead(&self, _: ProcessRef) -> bool {
        false
    }

    #[inline(always)]
    fn death_epoch(&self) -> u32 {
        // ORDER: Acquire, as a family's.
        self.epoch.load(Ordering::Acquire)
    }
}

// SAFETY: W1-W4 are the platform's futex, W5 its barrier, of one mode for all.
unsafe impl Wait for Company<'_> {
    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        futex::wait(watches, until)
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        futex::wake(word, most)
    }

    fn now(&self) -> Deadline {
        futex::now()
    }

    #[inline(always)]
    fn light_barrier(&self) {
        self.barrier.light();
    }

    fn heavy_barrier(&self) {
        self.barrier.heavy();
    }
}

// SAFETY: F1: the same word. F2, F3: nobody dies alone.
unsafe impl Family for Company<'_> {
    fn me(&self) -> ProcessRef {
        self.me
    }

    fn epoch_word(&self) -> &AtomicU32 {
        self.epoch
    }

    fn life_watch(&self, _: ProcessRef) -> Option<Watch<'_>> {
        None
    }

    fn backstop(&self) -> u64 {
        1_000_000_000
    }
}

/// Commits in the arena, behind the page of words.
struct Behind<'a>(&'a Arena);

impl Commit for Behind<'_> {
    fn commit(&self, offset: u64, len: u64) -> std::result::Result<(), NoMemory> {
        self.0.commit(PAGE + offset, len).map_err(|_| NoMemory { asked: len, available: 0 })
    }
}

/// A ring in an arena of its own.
struct Ring {
    arena: Arena,
    geometry: Geometry,
    barrier: Barrier,
}

/// Where `get` copies to.
struct Room([u8; 64]);

// SAFETY: `room` gives as many bytes as asked for, or none of ours are written: the ring's inline bytes are at most 64.
unsafe impl Buffer for Room {
    #[inline(always)]
    fn room(&mut self, len: usize) -> *mut u8 {
        assert!(len <= self.0.len(), "no longer message was put");
        self.0.as_mut_ptr()
    }

    #[inline(always)]
    fn filled(&mut self, _: usize, _: bool) {}
}

impl Ring {
    fn new<M: Message>() -> Result<Self> {
        let options = Options {
            capacity: CAPACITY as u32,
            inline: size_of::<M>() as u32,
            most_message: 256,
            class_bytes: 1024,
            ..Options::default()
        };
        let geometry = Geometry::new(options)?;
        let arena = Arena::create((PAGE + geometry.len()).next_multiple_of(PAGE))?;
        arena.commit(0, (PAGE + geometry.committed_at_first()).next_multiple_of(PAGE))?;
        let ring = Self { arena, geometry, barrier: Barrier::asymmetric()? };
        let table = MemberTable::new(&ring.words().members, &ring.words().high_water);
        for index in 0..MEMBERS {
            table.join(member(index)).ok_or("an empty member table is full")?;
        }
        Ok(ring)
    }

    fn words(&self) -> &Words {
        // SAFETY: the arena's first page is committed, aligned, zero at first, and holds atomics only.
        unsafe { self.arena.base().cast().as_ref() }
    }

    /// Calls `act` with the queue as participant `index` sees it.
    fn with<R>(
        &self,
        index: usize,
        act: impl FnOnce(queue::Queue<'_, Mapped<Behind<'_>>, Company<'_>>) -> R,
    ) -> R {
        let words = self.words();
        let members = NonNull::from(words.members.as_slice());
        // SAFETY: the queue's bytes begin behind the first page, are as many as its geometry says, were zero at first and
        // stay mapped while `self` lives; the words lie in the first page.
        let storage = unsafe {
            let base = self.arena.base().add(PAGE as usize);
            Mapped::new(
                base,
                members,
                NonNull::from(&words.high_water),
                self.geometry,
                Behind(&self.arena),
            )
        };
        let family = Company { me: member(index), epoch: &words.epoch, barrier: self.barrier };
        act(queue::Queue::new(&storage, &family, index as u16 + 1))
    }
}

fn member(index: usize) -> ProcessRef {
    ProcessRef::new(index as u16, 1)
}

#[inline(always)]
fn put<M: Message>(
    queue: &queue::Queue<'_, Mapped<Behind<'_>>, Company<'_>>,
    message: M,
) -> Option<Result<()>> {
    match queue.try_put(queue::Message { bytes: message.to_bytes().as_ref(), carries: false }) {
        Ok(()) => Some(Ok(())),
        Err(PutError::Full) => None,
        Err(error) => Some(Err(format!("put: {error}").into())),
    }
}

#[inline(always)]
fn get<M: Message>(queue: &queue::Queue<'_, Mapped<Behind<'_>>, Company<'_>>) -> Option<Result<M>> {
    let mut room = Room([0; 64]);
    match queue.try_take(Mode::Get, false, &mut room) {
        Ok(_) => {
            Some(M::from_bytes(&room.0[..size_of::<M>()]).ok_or("a message lost bytes".into()))
        }
        Err(GetError::Empty) => None,
        Err(error) => Some(Err(format!("get: {error}").into())),
    }
}

/// Nanoseconds for `count` times put and get by one thread.
pub fn alone<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let (stage, ring) = (Stage::new(1)?, Ring::new::<M>()?);
    let both = Role::new(cores.first, |seat| {
        ring.with(0, |queue| {
            let mut numbers = 0..count;
            seat.consume(count, || {
                let number = numbers.next().unwrap_or(0);
                put(&queue, M::numbered(number)).ok_or("an empty queue is full")??;
                get::<M>(&queue).ok_or("a queue with a message is empty")?
            })
        })
    });
    in_threads(&stage, vec![both])?;
    stage.nanos_for(count)
}

/// Nanoseconds for `count` messages from `pairs` producing processes to as many consuming ones.
fn between<M: Message>(count: u64, cores: Cores, pairs: u64) -> Result<u64> {
    let (stage, ring) = (Stage::new(2 * pairs as usize)?, Ring::new::<M>()?);
    let ring = &ring;
    let share = count / pairs;
    let mut roles = Vec::new();
    for pair in 0..pairs {
        let (here, there) = cores.crossed(pair);
        let numbers = pair * share..(pair + 1) * share;
        let seats = (2 * pair as usize, 2 * pair as usize + 1);
        roles.push(Role::new(here, move |seat| {
            ring.with(seats.0, |queue| {
                seat.produce(numbers, |message: M| until_room(|| put(&queue, message)))
            })
        }));
        roles.push(Role::new(there, move |seat| {
            ring.with(seats.1, |queue| seat.consume(share, || until(|| get::<M>(&queue))))
        }));
    }
    in_processes(&stage, roles)?;
    stage.nanos_for(share * pairs)
}

/// One producing process, one consuming process.
pub fn one_to_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    between::<M>(count, cores, 1)
}

/// Two producing processes, two consuming processes.
pub fn two_to_two<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    between::<M>(count, cores, 2)
}

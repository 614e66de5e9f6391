//! What the processes of one run share: a small queue in a region of a family's arena, and a page to talk over.

use offspring_core::family::layout::{FamilyHead, LANES_AT, PROCESSES_AT, REGIONS_AT};
use offspring_core::family::{RegionRef, RegionSpec};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::queue::{
    Buffer, Commit, Geometry, Mapped, Message, NoMemory, Options, Queue, Storage,
};
use offspring_core::wait::{Deadline, Family as FamilyTrait, Wait, Watch, Woken};
use offspring_os_unix::family::{Family, Object};
use std::ptr::NonNull;

pub const KIND: u32 = 1;
/// Slots of the queue.
pub const CAPACITY: u8 = 2;
const HEAD: u64 = 64;
const MEMBERS: u32 = 20;
/// Where the queue begins in its region, in bytes.
pub const QUEUE_AT: u64 = 4096;
const INLINE: u32 = 16;
const BLOCK: usize = 200;
/// No sleeper is to be saved by looking again: the backstop is an hour.
const NEVER: u64 = 3_600_000_000_000;

/// The family, without the backstop that would hide a lost wake-up.
#[derive(Clone, Copy, Debug)]
pub struct Patient(pub &'static Family);

// SAFETY: all forwarded to an implementor.
unsafe impl Liveness for Patient {
    fn is_dead(&self, process: ProcessRef) -> bool {
        self.0.is_dead(process)
    }

    fn death_epoch(&self) -> u32 {
        self.0.death_epoch()
    }
}

// SAFETY: as above.
unsafe impl Wait for Patient {
    const MOST_WATCHES: usize = <Family as Wait>::MOST_WATCHES;

    fn wait(&self, watches: &[Watch<'_>], until: Option<Deadline>) -> Woken {
        self.0.wait(watches, until)
    }

    fn wake(&self, word: &AtomicU32, most: u32) -> u32 {
        self.0.wake(word, most)
    }

    fn now(&self) -> Deadline {
        self.0.now()
    }

    // The turns of a spin would be stepped through, one by one.
    fn is_alone(&self) -> bool {
        true
    }

    fn light_barrier(&self) {
        self.0.light_barrier();
    }

    fn heavy_barrier(&self) {
        self.0.heavy_barrier();
    }
}

// SAFETY: forwarded, but for the backstop, which promises nothing.
unsafe impl FamilyTrait for Patient {
    fn me(&self) -> ProcessRef {
        FamilyTrait::me(self.0)
    }

    fn epoch_word(&self) -> &AtomicU32 {
        self.0.epoch_word()
    }

    fn newcomers_word(&self) -> Option<&AtomicU32> {
        self.0.newcomers_word()
    }

    fn life_watch(&self, process: ProcessRef) -> Option<Watch<'_>> {
        self.0.life_watch(process)
    }

    fn backstop(&self) -> u64 {
        NEVER
    }
}

/// Gives the queue memory as its blocks need it.
#[derive(Clone, Copy, Debug)]
pub struct Pages(&'static Family, Object);

impl Commit for Pages {
    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory> {
        self.0
            .commit_more(&self.1, QUEUE_AT + offset, len)
            .map_err(|_| NoMemory { asked: len, available: 0 })
    }
}

pub type Stored = Mapped<Pages>;
pub type Q<'a> = Queue<'a, Stored, Patient>;

/// One run's queue.
pub struct Ring {
    pub family: &'static Patient,
    pub region: RegionRef,
    pub object: Object,
    stored: Stored,
}

impl Ring {
    /// A new queue, whose maker is its first member. `limit`: each item is delivered once, then it is a dead letter.
    pub fn make(family: &'static Patient, limit: bool) -> Result<Self, String> {
        Self::with(family, options(limit))
    }

    /// A new queue of these options.
    pub fn with(family: &'static Patient, options: Options) -> Result<Self, String> {
        let geometry = Geometry::new(options).map_err(|error| error.to_string())?;
        let object = family.0.allocate(&spec(&geometry), |_| {}).map_err(|e| e.to_string())?;
        let base = NonNull::new(object.pointer.wrapping_add(QUEUE_AT as usize))
            .ok_or("the arena is mapped at zero")?;
        let members = object.members();
        let (entries, high_water) = (members.entries().into(), members.high_water().into());
        // SAFETY: the region was just made with this layout and with memory for the queue's head and slots; regions are
        // page-aligned and begin with zeros; members and high-water mark lie before the queue; the arena stays mapped.
        let stored =
            unsafe { Mapped::new(base, entries, high_water, geometry, Pages(family.0, object)) };
        Ok(Self { family, region: object.region, object, stored })
    }

    /// The calling process's view.
    pub fn queue(&self) -> Q<'_> {
        let me = self.family.0.member_index(self.region).unwrap_or(0);
        Queue::new(&self.stored, self.family, me)
    }

    /// The ranges of shared memory in which a step of any protocol shows.
    pub fn watched(&self, arena: *const u8) -> Vec<(*const u8, usize)> {
        let base = self.object.pointer.cast_const();
        vec![
            (arena, size_of::<FamilyHead>()),
            (arena.wrapping_add(PROCESSES_AT), 16 * 64),
            (arena.wrapping_add(LANES_AT), 16 * 128),
            (arena.wrapping_add(REGIONS_AT), 8 * 64),
            (base, QUEUE_AT as usize),
            (base.wrapping_add(QUEUE_AT as usize), self.stored_len()),
        ]
    }

    fn stored_len(&self) -> usize {
        self.geometry().len() as usize
    }

    /// The queue's sizes and places.
    pub fn geometry(&self) -> &Geometry {
        self.stored.geometry()
    }
}

fn options(limit: bool) -> Options {
    Options {
        capacity: u32::from(CAPACITY),
        inline: INLINE,
        most_message: 256,
        class_bytes: 6 * 256,
        replies: true,
        most_deliveries: u8::from(limit),
    }
}

fn spec(geometry: &Geometry) -> RegionSpec {
    let len = QUEUE_AT + geometry.len();
    RegionSpec {
        kind: KIND,
        version: 1,
        type_hash: 0,
        len,
        members_offset: HEAD,
        members_count: MEMBERS,
        // All of it, so that looking at it gives no page memory.
        committed: len,
        flags: 0,
    }
}

/// What a region is that somebody makes on the way.
pub fn other_spec() -> RegionSpec {
    RegionSpec {
        kind: 2,
        version: 1,
        type_hash: 0,
        len: 8192,
        members_offset: HEAD,
        members_count: MEMBERS,
        committed: 8192,
        flags: 0,
    }
}

/// Where the arena that `inside` lies in begins: the system knows.
pub fn arena_around(inside: *const u8) -> Result<*const u8, String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let range = maps.lines().find_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let from = usize::from_str_radix(from, 16).ok()?;
        let to = usize::from_str_radix(to, 16).ok()?;
        (from..to).contains(&inside.addr()).then_some(from)
    });
    range.map(|from| inside.with_addr(from)).ok_or_else(|| "find the arena's mapping".to_owned())
}

/// How an item travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// In its slot.
    Inline,
    /// In a block.
    Block,
    /// In a block, with a reply to come.
    Request,
}

/// Those without a ticket.
pub const BLOCK_KINDS: [Item; 2] = [Item::Inline, Item::Block];

/// The bytes of item `id`: each depends on it.
pub fn bytes_of(id: u64, item: Item) -> Vec<u8> {
    let len = if item == Item::Inline { INLINE as usize } else { BLOCK };
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend((bytes.len()..len).map(|i| filler(id, i)));
    bytes
}

fn filler(id: u64, i: usize) -> u8 {
    (id as u8).wrapping_mul(31).wrapping_add(i as u8)
}

/// A message without handles.
pub fn message(bytes: &[u8]) -> Message<'_> {
    Message { bytes, carries: false }
}

/// Where messages arrive.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    len: usize,
}

// SAFETY: `room` makes the vector long enough, and nothing shortens it.
unsafe impl Buffer for Inbox {
    fn room(&mut self, len: usize) -> *mut u8 {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self.bytes.as_mut_ptr()
    }

    fn filled(&mut self, len: usize, _: bool) {
        self.len = len;
    }
}

impl Inbox {
    /// With room for any message, so that a step through `get` is not one through the allocator.
    pub fn new() -> Self {
        Self { bytes: vec![0; 512], len: 0 }
    }

    /// Which item arrived; an error if it is torn.
    pub fn id(&self) -> Result<u64, String> {
        let message = &self.bytes[..self.len];
        let torn = || format!("TORN: {message:?}");
        let (id, rest) = message.split_first_chunk::<8>().ok_or_else(torn)?;
        let id = u64::from_le_bytes(*id);
        let whole = rest.iter().enumerate().all(|(i, byte)| *byte == filler(id, i + 8));
        let len = self.len == INLINE as usize || self.len == BLOCK;
        if whole && len { Ok(id) } else { Err(torn()) }
    }
}

/// A page shared by all processes of a run, apart from the arena.
#[derive(Debug)]
pub struct Page(NonNull<[AtomicU64]>);

impl Page {
    pub fn new() -> Result<Self, String> {
        // SAFETY: new anonymous pages, nowhere in particular.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let at = NonNull::new(at.cast::<AtomicU64>()).filter(|_| at != libc::MAP_FAILED);
        let at = at.ok_or_else(|| format!("map a page: {}", std::io::Error::last_os_error()))?;
        Ok(Self(NonNull::slice_from_raw_parts(at, 512)))
    }

    /// A word of the page: zero, until somebody says something there.
    pub fn word(&self, i: usize) -> &AtomicU64 {
        // SAFETY: mapped for the process's life, page-aligned, zeroed; only ever used as atomics.
        unsafe { &self.0.as_ref()[i] }
    }

    pub fn wipe(&self) {
        (0..512).for_each(|i| self.word(i).store(0, Ordering::Relaxed));
    }
}

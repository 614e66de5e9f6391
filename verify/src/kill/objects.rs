//! The round's shared objects: a queue and a semaphore, each in a region of the family's arena.

mod queue;
mod rings;

pub use queue::{RoundQueue, Stored};
use rings::Rings;

use super::board::Board;
use super::system::{Family, Object, ObjectError, set_trace};
use offspring_core::family::{RegionError, RegionRef, RegionSpec, flags};
use offspring_core::prim::{AtomicPtr, AtomicU64, Ordering};
use offspring_core::queue::{Chain, Commit, Geometry, Mapped, NoMemory, Options, Queue};
use offspring_core::semaphore::{Semaphore, SemaphoreHead, ledger_entries};
use std::ptr::NonNull;

/// The kinds of regions.
pub mod kind {
    pub const QUEUE: u32 = 1;
    pub const SEMAPHORE: u32 = 2;
    pub const LEAF: u32 = 3;
    pub const RING: u32 = 4;
}

/// Permits of the semaphore.
pub const PERMITS: u32 = 3;
/// Permits that a survivor waits for at once: a kill from outside can make one vanish unseen while it is forgotten.
pub const MOST_PERMITS: u32 = 2;

const HEAD: u64 = 64;
/// Small, so that newcomers meet a table full of dead.
pub const QUEUE_MEMBERS: u32 = 12;
const QUEUE_AT: u64 = 4096;
const SEMAPHORE_MEMBERS: u32 = 250;
const SEMAPHORE_AT: u64 = HEAD + 8 * SEMAPHORE_MEMBERS as u64 + 48;

const _: () = assert!(HEAD + 8 * QUEUE_MEMBERS as u64 <= QUEUE_AT);
const _: () = assert!(SEMAPHORE_AT.is_multiple_of(8));

/// Gives a queue memory as its blocks need it.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    family: Family,
    object: Object,
}

impl Commit for Pages {
    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory> {
        self.family
            .commit_more(&self.object, QUEUE_AT + offset, len)
            .map_err(|_| NoMemory { asked: len, available: 0 })
    }
}

/// The options of the round's queue, as the board has them.
pub fn options(board: &Board) -> Options {
    Options {
        capacity: board.capacity.load(Ordering::Relaxed),
        inline: board.inline.load(Ordering::Relaxed),
        most_message: u64::from(board.most_message.load(Ordering::Relaxed)),
        class_bytes: 64 << 10,
        replies: true,
        most_deliveries: board.most_deliveries.load(Ordering::Relaxed) as u8,
    }
}

/// For [`trace`], which gets no board.
static BOARD: AtomicPtr<Board> = AtomicPtr::new(std::ptr::null_mut());

/// Tells the family how to trace the round's queue; before the family is founded or joined.
pub fn prepare(board: &'static Board) {
    BOARD.store(std::ptr::from_ref(board).cast_mut(), Ordering::Release);
    set_trace(kind::QUEUE, trace);
}

fn trace(family: &Family, object: &Object, found: &mut dyn FnMut(RegionRef)) {
    // SAFETY: `prepare` stored it, mapped for the process's life, before any family was there.
    let board = unsafe { &*BOARD.load(Ordering::Acquire) };
    // The options are those of the only queue there is: a round's queue is gone before the next is made.
    let found = &mut |bits| found(RegionRef::from_bits(bits));
    match storage(*family, *object, board) {
        Ok(Stored::Ring(ring)) => Queue::new(&ring, family, 0).trace(found),
        Ok(Stored::Chain(rings)) => Chain::new(&rings, family, 0, 0).trace(found),
        Err(_) => {}
    }
}

/// Makes the round's objects; the calling process is a member of both.
pub fn make(family: &Family, board: &Board) -> Result<(), String> {
    let geometry = Geometry::new(options(board)).map_err(|error| error.to_string())?;
    let chained = board.chained.load(Ordering::Relaxed) != 0;
    let spec = RegionSpec {
        kind: kind::QUEUE,
        version: 1,
        type_hash: 0,
        len: QUEUE_AT + if chained { Rings::LEN } else { geometry.len() },
        members_offset: HEAD,
        members_count: QUEUE_MEMBERS,
        committed: QUEUE_AT + if chained { Rings::LEN } else { geometry.committed_at_first() },
        // A chain's words name its rings.
        flags: if chained { flags::CARRIES } else { 0 },
    };
    let queue = family.allocate(&spec, |_| {}).map_err(|error| error.to_string())?;
    board.queue.store(queue.region.bits(), Ordering::Relaxed);
    if let Stored::Chain(rings) = storage(*family, queue, board)? {
        Chain::new(&rings, family, queue.index, 0).start().map_err(|error| error.to_string())?;
    }
    let len = SEMAPHORE_AT
        + size_of::<SemaphoreHead>() as u64
        + 8 * ledger_entries(SEMAPHORE_MEMBERS as usize) as u64;
    let spec = RegionSpec {
        kind: kind::SEMAPHORE,
        len,
        committed: len,
        members_count: SEMAPHORE_MEMBERS,
        flags: 0,
        ..spec
    };
    let start = SemaphoreHead::new(PERMITS, None).map_err(|error| error.to_string())?;
    let semaphore = family.allocate(&spec, |base| {
        // SAFETY: the region is that long, its start is page-aligned and the offset a multiple of 8; nobody else sees it yet.
        unsafe { base.add(SEMAPHORE_AT as usize).cast::<SemaphoreHead>().write(start) };
    });
    let semaphore = semaphore.map_err(|error| error.to_string())?;
    board.semaphore.store(semaphore.region.bits(), Ordering::Relaxed);
    Ok(())
}

fn storage(family: Family, object: Object, board: &Board) -> Result<Stored, String> {
    let options = options(board);
    if board.chained.load(Ordering::Relaxed) != 0 {
        let most_bytes = board.most_bytes.load(Ordering::Relaxed).into();
        return Ok(Stored::Chain(Rings::new(family, object, options, most_bytes)));
    }
    let geometry = Geometry::new(options).map_err(|error| error.to_string())?;
    let base = NonNull::new(object.pointer.wrapping_add(QUEUE_AT as usize));
    let base = base.ok_or("the arena is mapped at zero")?;
    let members = object.members();
    let (entries, high_water) = (members.entries().into(), members.high_water().into());
    let pages = Pages { family, object };
    // SAFETY: `make` made the region with this layout, with memory for the queue's head and slots; regions are page-aligned and
    // begin with zeros; members and high-water mark lie before the queue; the arena stays mapped.
    Ok(Stored::Ring(unsafe { Mapped::new(base, entries, high_water, geometry, pages) }))
}

/// A family's process, with its part in the round's objects.
#[derive(Clone, Copy)]
pub struct Party {
    pub family: &'static Family,
    pub queue: RoundQueue,
    /// The region that the queue lies in.
    pub object: Object,
    pub semaphore: &'static Semaphore<'static, Family>,
}

/// Gets the calling process's part in the round's objects: of its own after exec, inherited after a fork.
pub fn attach(family: &'static Family, board: &Board) -> Result<Party, String> {
    let region = RegionRef::from_bits(board.queue.load(Ordering::Relaxed));
    let object = family.look(region, kind::QUEUE, 0).map_err(|error| error.to_string())?;
    let stored: &'static Stored = Box::leak(Box::new(storage(*family, object, board)?));
    let mut swept = false;
    let me = join(family, region, kind::QUEUE, || {
        // Only the dead keep indices that somebody needs: sweep as one who is no member.
        RoundQueue::new(stored, family, 0, 0).sweep_as_guest(family.me());
        swept = true;
    })?;
    // Members begin to look for a pin at different ones.
    let queue = RoundQueue::new(stored, family, me, me.wrapping_mul(7));
    if swept {
        queue.sweep();
    }
    let queue_object = object;

    let region = RegionRef::from_bits(board.semaphore.load(Ordering::Relaxed));
    let object = family.look(region, kind::SEMAPHORE, 0).map_err(|error| error.to_string())?;
    let me = join(family, region, kind::SEMAPHORE, || {})?;
    let base = object.pointer.wrapping_add(SEMAPHORE_AT as usize);
    // SAFETY: as `make` made it: atomics, mapped for the process's life.
    let (head, ledger) = unsafe {
        let ledger = base.add(size_of::<SemaphoreHead>()).cast::<AtomicU64>();
        let entries = ledger_entries(SEMAPHORE_MEMBERS as usize);
        (&*base.cast::<SemaphoreHead>(), std::slice::from_raw_parts(ledger, entries))
    };
    let semaphore = Semaphore::attach(head, ledger, object.members(), family, me)
        .map_err(|error| error.to_string())?;
    Ok(Party { family, queue, object: queue_object, semaphore: Box::leak(Box::new(semaphore)) })
}

/// The caller's index in an object.
fn join(
    family: &Family,
    region: RegionRef,
    kind: u32,
    mut sweep: impl FnMut(),
) -> Result<u16, String> {
    const TRIES: u32 = 1000;
    if let Some(index) = family.member_index(region) {
        return Ok(index);
    }
    for _ in 0..TRIES {
        match family.join_object(region, kind, 0) {
            Ok(object) => return Ok(object.index),
            Err(ObjectError::Region(RegionError::MembersFull)) => sweep(),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("no member index came free".to_owned())
}

/// What a leaf shall be: a region that nothing names, without owners.
pub fn leaf_spec(len: u64) -> RegionSpec {
    RegionSpec {
        kind: kind::LEAF,
        version: 1,
        type_hash: 0,
        len: len.max(4096),
        committed: len.max(4096),
        members_offset: HEAD,
        members_count: 8,
        flags: flags::OWNERLESS,
    }
}

const LEAF_WORDS_AT: u64 = 1024;

/// Words of a leaf that its maker fills.
pub fn leaf_words(base: *const u8) -> &'static [AtomicU64] {
    // SAFETY: leaves have at least a page, whose words there are only ever used as atomics; the arena stays mapped.
    unsafe { std::slice::from_raw_parts(base.add(LEAF_WORDS_AT as usize).cast(), 64) }
}

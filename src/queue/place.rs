//! Where a queue's region has its parts, and how a process gets at them.
//!
//! ```text
//! RegionHead 64 | settings 64 | member table 8 x MEMBERS | ... page: core's queue, or the words of core's chain
//! ```
#![allow(unsafe_code)] // the one place that makes references into the arena for queues

use super::channel::Senders;
use super::unbounded::{Chained, Core, Rings, Stored};
use crate::error::{Error, Kind, Result, Subject};
use crate::family::family;
use crate::sys::{Family, Object, ObjectError, OsError, RegionRef, RegionSpec, flags};
use offspring_core::family::{AllocateError, RegionError};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::queue::{Chain, Commit, Geometry, Mapped, NoMemory, Options, Queue};
use offspring_core::wait::Adaptive;
use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

/// What kind of object a queue is, in the region table.
pub(crate) const KIND: u32 = 1;
const VERSION: u32 = 1;
/// Processes that can use one queue at once.
const MEMBERS: u32 = 1000;
const SETTINGS_AT: u64 = 64;
const MEMBERS_AT: u64 = 128;
/// A page on every platform so far (16 KiB on some arm64 kernels).
pub(super) const QUEUE_AT: u64 = 16 << 10;

/// The options of a queue as its maker wrote them, for those who attach.
#[derive(Default)]
#[repr(C)]
struct Settings {
    capacity: AtomicU32,
    inline: AtomicU32,
    most_message: AtomicU64,
    class_bytes: AtomicU64,
    replies: AtomicU32,
    most_deliveries: AtomicU32,
    /// 1: a chain of rings.
    chained: AtomicU32,
    /// The region whose members are the processes with a sender, if the queue is a channel.
    senders: AtomicU64,
    /// Of a chain: how many bytes its rings may take in all; 0: as many as there are.
    most_bytes: AtomicU64,
}

const _: () = assert!(size_of::<Settings>() <= 64);

impl Settings {
    fn write(&self, options: &Options, chained: Option<Chained>, senders: RegionRef) {
        // ORDER: Relaxed. The region is published by its entry's word after `init`.
        self.capacity.store(options.capacity, Ordering::Relaxed);
        self.inline.store(options.inline, Ordering::Relaxed);
        self.most_message.store(options.most_message, Ordering::Relaxed);
        self.class_bytes.store(options.class_bytes, Ordering::Relaxed);
        self.replies.store(u32::from(options.replies), Ordering::Relaxed);
        self.most_deliveries.store(u32::from(options.most_deliveries), Ordering::Relaxed);
        self.senders.store(senders.bits(), Ordering::Relaxed);
        self.chained.store(u32::from(chained.is_some()), Ordering::Relaxed);
        self.most_bytes.store(chained.map_or(0, |it| it.most_bytes), Ordering::Relaxed);
    }

    fn read(&self) -> Options {
        // ORDER: Relaxed. Constant since the region was published; checked by `Geometry::new`.
        Options {
            capacity: self.capacity.load(Ordering::Relaxed),
            inline: self.inline.load(Ordering::Relaxed),
            most_message: self.most_message.load(Ordering::Relaxed),
            class_bytes: self.class_bytes.load(Ordering::Relaxed),
            replies: self.replies.load(Ordering::Relaxed) != 0,
            most_deliveries: self.most_deliveries.load(Ordering::Relaxed) as u8,
        }
    }

    fn chained(&self) -> Option<Chained> {
        // ORDER: Relaxed, as above.
        let most_bytes = self.most_bytes.load(Ordering::Relaxed);
        (self.chained.load(Ordering::Relaxed) != 0).then_some(Chained { most_bytes })
    }
}

/// Commits pages of the queue's region.
pub(crate) struct Pages {
    object: Object,
    family: Family,
}

impl Commit for Pages {
    fn commit(&self, offset: u64, len: u64) -> Result<(), NoMemory> {
        self.family.commit_more(&self.object, QUEUE_AT + offset, len).map_err(|error| {
            COMMIT_FAILED.set(Some(error));
            NoMemory { asked: len, available: 0 }
        })
    }
}

thread_local! {
    /// What the system said when this thread's last commit failed: core's error has no room for it.
    pub(super) static COMMIT_FAILED: Cell<Option<OsError>> = const { Cell::new(None) };
}

/// The error for a commit that just failed on this thread.
pub(crate) fn no_memory(why: NoMemory, subject: Subject) -> Error {
    let text = "find memory for a message";
    match COMMIT_FAILED.take() {
        Some(error) => Error::caused(Kind::NoMemory, subject, text, error),
        None => Error::caused(Kind::NoMemory, subject, text, why),
    }
}

/// One handle's view of a queue. Holds one of this process's handles on the object.
pub(crate) struct Attached {
    pub(super) storage: Stored,
    pub(crate) family: Family,
    pub(crate) region: RegionRef,
    /// This process's member index, with the generation of the process that it was looked up in: a forked child has another.
    index: AtomicU64,
    pub(crate) spin: Adaptive,
    pub(crate) spin_full: Adaptive,
    /// What keeps it open, if it is a channel.
    pub(super) senders: Option<Senders>,
    /// The object itself, for flags.
    pub(super) object: Object,
}

impl Attached {
    /// A new queue in the arena.
    pub(crate) fn create(
        options: Options,
        chained: Option<Chained>,
        senders: RegionRef,
        type_hash: u64,
    ) -> Result<Self> {
        let geometry = Geometry::new(options)
            .map_err(|error| Error::caused(Kind::Options, Subject::None, "make a queue", error))?;
        let (len, first, flags) = match chained {
            None => (geometry.len(), geometry.committed_at_first(), 0),
            // Its words name its rings.
            Some(_) => (Rings::LEN, Rings::LEN, flags::CARRIES),
        };
        let spec = RegionSpec {
            kind: KIND,
            version: VERSION,
            type_hash,
            len: QUEUE_AT + len,
            members_offset: MEMBERS_AT,
            members_count: MEMBERS,
            flags,
            committed: QUEUE_AT + first,
        };
        let family = *family()?;
        let object = family
            .allocate(&spec, |base| {
                // SAFETY: `base` begins a new region of `spec.len` bytes, zeroed and mapped; the settings are atomics inside.
                let settings = unsafe { &*base.add(SETTINGS_AT as usize).cast::<Settings>() };
                settings.write(&options, chained, senders);
            })
            .map_err(|error| object_error(error, "make a queue", Subject::None))?;
        let at = Self::over(family, object, stored(family, object, geometry, chained));
        if chained.is_some() {
            at.core()?.start().map_err(|why| no_memory(why, Subject::None))?;
        }
        Ok(at)
    }

    /// Another handle on the queue in `region`.
    pub(crate) fn join(region: RegionRef, type_hash: u64) -> Result<Self> {
        let family = *family()?;
        let subject = Subject::Queue(region.bits());
        let mut swept = false;
        let object = loop {
            match family.join_object(region, KIND, type_hash) {
                Err(ObjectError::Region(RegionError::MembersFull)) if !swept => {
                    // Others that are at it are as many as there are seats, and none of them waits for anything.
                    swept = sweep(family, region, type_hash);
                    if !swept {
                        std::thread::yield_now();
                    }
                }
                other => break other,
            }
        };
        let object = object.map_err(|error| object_error(error, "use the queue", subject))?;
        match Self::check(&object) {
            Some((geometry, chained)) => {
                let at = Self::over(family, object, stored(family, object, geometry, chained));
                if swept {
                    // Gives back what was only kept because we were looking at it.
                    at.core()?.sweep();
                }
                Ok(at)
            }
            None => {
                family.leave_object(region);
                Err(Error::plain(Kind::Corrupt, subject))
            }
        }
    }

    /// The geometry of a region that says it is a queue; `None` if its settings do not fit it.
    fn check(object: &Object) -> Option<(Geometry, Option<Chained>)> {
        if object.version() != VERSION || object.len < QUEUE_AT {
            return None;
        }
        // SAFETY: the object is mapped for good and longer than the settings; atomics.
        let settings = unsafe { &*object.pointer.add(SETTINGS_AT as usize).cast::<Settings>() };
        let geometry = Geometry::new(settings.read()).ok()?;
        let chained = settings.chained();
        let len = chained.map_or(geometry.len(), |_| Rings::LEN);
        (QUEUE_AT + len <= object.len).then_some((geometry, chained))
    }

    fn over(family: Family, object: Object, storage: Stored) -> Self {
        Self {
            senders: Senders::of(senders_of(&object)),
            storage,
            family,
            region: object.region,
            index: AtomicU64::new(
                u64::from(object.index) | u64::from(crate::sys::generation()) << 32,
            ),
            spin: Adaptive::new(),
            spin_full: Adaptive::patient(),
            object,
        }
    }

    /// The queue for the calling thread: it has a lane, and the member index is this process's own.
    #[inline(always)]
    pub(crate) fn core(&self) -> Result<Core<'_>> {
        // The index alone is chosen between, not the whole view: a view that is put together in memory by three stores and
        // read back by wider loads costs a stall on every operation.
        let me = match self.index_at_once() {
            Some(me) => me,
            None => self.index_slow()?,
        };
        Ok(Core::new(self, me))
    }

    #[inline(always)]
    fn index_at_once(&self) -> Option<u16> {
        // ORDER: Relaxed. One word; the table it was looked up in orders itself.
        let known = self.index.load(Ordering::Relaxed);
        ((known >> 32) as u32 == crate::sys::generation() && self.family.enter().is_ok())
            .then_some(known as u16)
    }

    #[cold]
    #[inline(never)]
    fn index_slow(&self) -> Result<u16> {
        if self.family.enter().is_err() {
            return Err(self.not_in());
        }
        self.core_after_fork()
    }

    #[cold]
    fn not_in(&self) -> Error {
        match self.family.enter() {
            Ok(()) => Error::plain(Kind::Gone, self.subject()),
            Err(error) => Error::caused(Kind::Os, self.subject(), "take part in the family", error),
        }
    }

    #[cold]
    fn core_after_fork(&self) -> Result<u16> {
        let generation = crate::sys::generation();
        let index = self.family.member_index(self.region).ok_or_else(|| {
            Error::new(
                Kind::Gone,
                self.subject(),
                "use an inherited handle: the queue was given up before this process came to it",
            )
        })?;
        // ORDER: Relaxed, as above.
        self.index.store(u64::from(index) | u64::from(generation) << 32, Ordering::Relaxed);
        Ok(index)
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject::Queue(self.region.bits())
    }

    /// A message of this queue is about to name other regions.
    pub(crate) fn mark_carries(&self) {
        self.object.mark_carries();
    }
}

// An unwinding thread leaves a queue as a killed process does: whole, at every step.
impl UnwindSafe for Attached {}
impl RefUnwindSafe for Attached {}

impl Drop for Attached {
    fn drop(&mut self) {
        self.family.leave_object(self.region);
    }
}

/// The region that keeps a channel open; nobody for another queue. The object was made, or checked, as a queue.
fn senders_of(object: &Object) -> RegionRef {
    // SAFETY: the object is mapped for good and longer than the settings; atomics.
    let settings = unsafe { &*object.pointer.add(SETTINGS_AT as usize).cast::<Settings>() };
    // ORDER: Relaxed. Constant since the region was published.
    RegionRef::from_bits(settings.senders.load(Ordering::Relaxed))
}

/// The queue in an object that was made, or checked, for it.
fn stored(family: Family, object: Object, geometry: Geometry, chained: Option<Chained>) -> Stored {
    match chained {
        None => Stored::Ring(ring(family, object, geometry)),
        Some(chained) => Stored::Chain(Box::new(Rings::new(family, object, geometry, chained))),
    }
}

fn ring(family: Family, object: Object, geometry: Geometry) -> Mapped<Pages> {
    // SAFETY: the region is mapped as long as the process lives, and longer than `QUEUE_AT + geometry.len()` (made so, or
    // checked in `check`); its pages were zero, and only core's protocol writes behind QUEUE_AT. The member table and
    // its mark lie before it. M1's memory: `committed` of the spec.
    unsafe {
        let base = NonNull::new_unchecked(object.pointer.add(QUEUE_AT as usize));
        let members = object.members();
        Mapped::new(
            base,
            members.entries().into(),
            members.high_water().into(),
            geometry,
            Pages { object, family },
        )
    }
}

/// Frees the indices of dead members, as one who is no member. False: others are at it.
fn sweep(family: Family, region: RegionRef, type_hash: u64) -> bool {
    if let Ok(object) = family.look(region, KIND, type_hash)
        && let Some((geometry, chained)) = Attached::check(&object)
    {
        return match stored(family, object, geometry, chained) {
            Stored::Ring(ring) => {
                Queue::new(&ring, &family, 0).recover();
                true
            }
            Stored::Chain(rings) => Chain::new(&*rings, &family, 0, 0).sweep_as_guest(family.me()),
        };
    }
    true
}

/// Tells a collector which regions the messages of a queue name.
pub(crate) fn trace(family: &Family, object: &Object, found: &mut dyn FnMut(RegionRef)) {
    let Some((geometry, chained)) = Attached::check(object) else { return };
    let found = &mut |bits| found(RegionRef::from_bits(bits));
    match stored(*family, *object, geometry, chained) {
        Stored::Ring(ring) => Queue::new(&ring, family, 0).trace(found),
        // Under the family lock, so that no ring is made or freed.
        Stored::Chain(rings) => Chain::new(&*rings, family, 0, 0).trace(found),
    }
}

pub(crate) fn object_error(error: ObjectError, text: &str, subject: Subject) -> Error {
    let kind = match &error {
        ObjectError::NoMemory(_) | ObjectError::Allocate(AllocateError::NoMemory(_)) => {
            Kind::NoMemory
        }
        ObjectError::Allocate(_) => Kind::NoRoom,
        ObjectError::Region(RegionError::Gone) => Kind::Gone,
        ObjectError::Region(RegionError::WrongKind { .. } | RegionError::WrongType) => {
            Kind::WrongType
        }
        ObjectError::Region(RegionError::Corrupt) => Kind::Corrupt,
        _ => Kind::Os,
    };
    Error::caused(kind, subject, text, error)
}

//! Objects: regions of the arena that this process makes, joins and leaves.
//!
//! However many handles a process has on one object, it is one member. The count of its handles is its own affair
//! and dies with it; only the first and the last touch the family lock.

use super::{Family, FamilyError, Inner, Joined, Local, System, Trace, locked};
use crate::family::layout::RegionHead;
use crate::family::{AllocateError, Region, RegionError, RegionRef, RegionSpec, Registry, flags};
use crate::member::MemberTable;
use crate::prim::{AtomicPtr, Ordering};
use crate::process::ProcessRef;
use core::any::Any;
use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;
use std::prelude::rust_2024::*;
use std::sync::TryLockError;
use std::{format, thread_local};

/// An object that this process has a handle on.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Its name, the same in every process.
    pub region: RegionRef,
    /// Where it begins in this process: with its [`RegionHead`].
    pub pointer: *mut u8,
    /// Its length in bytes: whole granules, so it may be more than was asked for.
    pub len: u64,
    /// What kind of object.
    pub kind: u32,
    /// Hash of the user's type.
    pub type_hash: u64,
    /// This process's member index in it; 0 in an object without members, and in a [look](Family::look).
    pub index: u16,
    head: &'static RegionHead,
    members: MemberTable<'static>,
}

// SAFETY: the pointer leads into the arena, which is mapped for the process's life and shared by its threads; whoever
// reads through it needs `unsafe` and a reason of its own.
unsafe impl Send for Object {}
// SAFETY: as above.
unsafe impl Sync for Object {}

impl Object {
    /// The object's members.
    #[must_use]
    pub fn members(&self) -> MemberTable<'static> {
        self.members
    }

    /// The version of the kind's layout, as its maker wrote it.
    #[must_use]
    pub fn version(&self) -> u32 {
        // ORDER: Relaxed. Constant since it was made; found through an Acquire of the table's word.
        self.head.version.load(Ordering::Relaxed)
    }

    /// Says that a reference to this object is about to be committed in a message. Before the commit.
    pub fn mark_travelled(&self) {
        self.mark(flags::TRAVELLED);
    }

    /// Says that a message in this object is about to name other objects. Before the commit.
    pub fn mark_carries(&self) {
        self.mark(flags::CARRIES);
    }

    fn mark(&self, flag: u32) {
        // ORDER: Relaxed. Usually set already; then nothing is written.
        if self.head.flags.load(Ordering::Relaxed) & flag == 0 {
            // ORDER: Release, with the Acquire of the leaver and the collector.
            self.head.flags.fetch_or(flag, Ordering::Release);
        }
    }
}

/// Kinds that can have a [`Trace`].
const MOST_KINDS: usize = 64;

/// A platform's traces, one for each kind of object; one static for each platform.
pub struct Traces<S> {
    of_kind: [AtomicPtr<()>; MOST_KINDS],
    system: PhantomData<fn(S)>,
}

impl<S> fmt::Debug for Traces<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traces")
    }
}

impl<S> Default for Traces<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Traces<S> {
    /// No kind has one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            of_kind: [const { AtomicPtr::new(core::ptr::null_mut()) }; MOST_KINDS],
            system: PhantomData,
        }
    }
}

impl<S: System> Traces<S> {
    /// Says how to trace the objects of `kind` (below 64), before this process uses any.
    ///
    /// # Panics
    ///
    /// If `kind` is 64 or more.
    pub fn set(&self, kind: u32, trace: Trace<S>) {
        // ORDER: Release, with the Acquire in `get`.
        self.of_kind[kind as usize].store(trace as *mut (), Ordering::Release);
    }

    fn get(&self, kind: u32) -> Option<Trace<S>> {
        // ORDER: Acquire, with the Release in `set`.
        let trace = self.of_kind.get(kind as usize)?.load(Ordering::Acquire);
        if trace.is_null() {
            return None;
        }
        // SAFETY: only `set` stores here, and it stores a `Trace<S>`.
        Some(unsafe { core::mem::transmute::<*mut (), Trace<S>>(trace) })
    }
}

/// B5 of [`Backend`](crate::family::Backend).
pub(super) fn trace<S: System>(
    inner: &Inner<S>,
    region: &Region<'_>,
    found: &mut dyn FnMut(RegionRef),
) -> bool {
    let Some(trace) = S::traces().get(region.kind) else { return false };
    // SAFETY: every `Inner` is leaked (`Family::new`).
    let inner: &'static Inner<S> = unsafe { &*core::ptr::from_ref(inner) };
    let Ok(region) =
        Registry::newcomer(inner.tables, inner, ProcessRef::NONE).look_up(region.region)
    else {
        return true;
    };
    trace(&Family { inner }, &inner.object(&region, 0), found);
    true
}

/// Why there is no object; `E` is the platform's error.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ObjectError<E> {
    /// This process or thread takes no part.
    Family(FamilyError<E>),
    /// It cannot be made.
    Allocate(AllocateError),
    /// It cannot be made: the system has no memory for it.
    NoMemory(E),
    /// The reference leads to no such object.
    Region(RegionError),
}

impl<E: fmt::Display> fmt::Display for ObjectError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Family(error) => error.fmt(f),
            Self::Allocate(error) => write!(f, "make a shared object: {error}"),
            Self::NoMemory(error) => write!(f, "make a shared object: {error}"),
            Self::Region(error) => write!(f, "use a shared object: {error}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ObjectError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Family(error) => Some(error),
            Self::Allocate(error) => Some(error),
            Self::NoMemory(error) => Some(error),
            Self::Region(error) => Some(error),
        }
    }
}

impl<E> From<FamilyError<E>> for ObjectError<E> {
    fn from(error: FamilyError<E>) -> Self {
        Self::Family(error)
    }
}

impl<E> From<RegionError> for ObjectError<E> {
    fn from(error: RegionError) -> Self {
        Self::Region(error)
    }
}

thread_local! {
    /// What the system said when this thread's last commit failed: a platform's error, for which the protocols' own error
    /// has no room.
    static COMMIT_FAILED: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

pub(super) fn commit_failed<E: 'static>(error: E) {
    let _ = COMMIT_FAILED.try_with(|last| last.replace(Some(Box::new(error))));
}

fn allocate_failed<E: 'static>(error: AllocateError) -> ObjectError<E> {
    let said = match error {
        AllocateError::NoMemory(_) => COMMIT_FAILED.try_with(RefCell::take).ok().flatten(),
        _ => None,
    };
    match said.and_then(|said| said.downcast::<E>().ok()) {
        Some(said) => ObjectError::NoMemory(*said),
        None => ObjectError::Allocate(error),
    }
}

impl<S: System> Family<S> {
    /// Makes an object, of which this process is the first member and has one handle.
    ///
    /// `init` gets the region's first byte, with [`RegionSpec::len`] zeros but for the [`RegionHead`]; nobody else sees it
    /// yet. It runs under the family lock: it must not make, join or leave objects, fork, or block.
    ///
    /// # Blocking and crash
    ///
    /// Blocks while another process holds the family lock. A death anywhere in here gives all of it back.
    ///
    /// # Errors
    ///
    /// No memory, no room, or this process takes no part.
    pub fn allocate(
        &self,
        spec: &RegionSpec,
        init: impl FnOnce(*mut u8),
    ) -> Result<Object, ObjectError<S::Error>> {
        self.enter()?;
        let (inner, registry) = (self.inner, self.registry());
        let mut objects = locked(&inner.newest().objects);
        let made = registry.lock().allocate(spec, |at| init(inner.pointer(at)), |_| true);
        let (region, index) = made.map_err(allocate_failed)?;
        if index != 0 {
            objects.insert(region.bits(), Joined { index, handles: 1 });
        }
        Ok(inner.object(&registry.look_up(region)?, index))
    }

    /// Makes a part of an object: a region without members, which lives by being named. `link` gets the name, still under
    /// the lock, writes it where the object's trace finds it, and says whether it did; if not, the part is gone again.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Self::allocate); [`AllocateError::Withdrawn`] if `link` said no.
    pub fn allocate_part(
        &self,
        spec: &RegionSpec,
        init: impl FnOnce(*mut u8),
        link: impl FnOnce(RegionRef) -> bool,
    ) -> Result<Object, ObjectError<S::Error>> {
        self.enter()?;
        let (inner, registry) = (self.inner, self.registry());
        let spec = RegionSpec { members_count: 0, ..*spec };
        let lock = registry.lock();
        let made = lock.allocate(&spec, |at| init(inner.pointer(at)), link);
        let (region, _) = made.map_err(allocate_failed)?;
        Ok(inner.object(&registry.look_up(region)?, 0))
    }

    /// Gives a part's pages back; `false` if it is gone already. Its object's protocol says that nobody looks at it.
    pub fn free_part(&self, part: RegionRef) -> bool {
        self.enter().is_ok() && self.registry().lock().free_region(part)
    }

    /// Gets a handle on whatever `region` is, as [`join_object`](Self::join_object) does: for the receiver of a message, who
    /// keeps the regions that it names until its type is known.
    ///
    /// # Errors
    ///
    /// As [`join_object`](Self::join_object), but for the kind and the type.
    pub fn adopt(&self, region: RegionRef) -> Result<Object, ObjectError<S::Error>> {
        self.enter()?;
        let found = self.registry().look_up(region)?;
        self.join_object(region, found.kind, found.type_hash)
    }

    /// Says that a reference to `region` is about to be committed in a message. Nothing if it is gone.
    pub fn mark_travelled(&self, region: RegionRef) {
        if let Ok(found) = self.registry().look_up(region) {
            found.mark_travelled();
        }
    }

    /// Gives memory to `len` bytes at `offset` of a region that `object` leads to, beyond what it had at first. What others
    /// have there already stays.
    ///
    /// # Errors
    ///
    /// No memory; or the range is not inside the object.
    pub fn commit_more(&self, object: &Object, offset: u64, len: u64) -> Result<(), S::Error> {
        let inside = offset.checked_add(len).is_some_and(|end| end <= object.len);
        if !inside {
            let range = format!("{len} bytes at {offset} of an object of {}", object.len);
            return Err(S::out_of_range(range));
        }
        let base = object.pointer.addr() - self.inner.system.base().as_ptr().addr();
        let page = self.inner.system.page();
        let from = (base as u64 + offset) / page * page;
        let to = (base as u64 + offset + len).next_multiple_of(page);
        self.inner.system.commit_more(from, to - from)
    }

    /// Looks an object up without becoming a member: for one that something else keeps.
    ///
    /// # Errors
    ///
    /// Gone, another kind or type, or damaged.
    pub fn look(
        &self,
        region: RegionRef,
        kind: u32,
        type_hash: u64,
    ) -> Result<Object, ObjectError<S::Error>> {
        let registry = self.registry();
        Ok(self.inner.object(&registry.region(region, kind, type_hash)?, 0))
    }

    /// Gets a handle on an object; with the first, this process becomes a member.
    ///
    /// # Blocking and crash
    ///
    /// The first handle blocks while another process holds the family lock, a further one does not.
    ///
    /// # Errors
    ///
    /// Gone, another kind or type, damaged, or full of members ([`RegionError::MembersFull`]: sweep the object, try again).
    pub fn join_object(
        &self,
        region: RegionRef,
        kind: u32,
        type_hash: u64,
    ) -> Result<Object, ObjectError<S::Error>> {
        self.enter()?;
        let (inner, registry) = (self.inner, self.registry());
        let mut objects = locked(&inner.newest().objects);
        if let Some(joined) = objects.get_mut(&region.bits()) {
            let found = registry.region(region, kind, type_hash)?;
            joined.handles += 1;
            return Ok(inner.object(&found, joined.index));
        }
        let (found, index) = registry.lock().join(region, kind, type_hash)?;
        objects.insert(region.bits(), Joined { index, handles: 1 });
        Ok(inner.object(&found, index))
    }

    /// Gives a handle on an object back; with the last, this process ceases to be a member, and an object that nobody can
    /// reach any more is freed.
    ///
    /// Before the last: no word of the object may name this process's index. Does nothing if there is no such handle, as
    /// in a forked child that did not get one of its own.
    ///
    /// # Blocking and crash
    ///
    /// The last handle blocks while another process holds the family lock; it may trace the whole family's messages.
    pub fn leave_object(&self, region: RegionRef) {
        if self.enter().is_err() {
            return;
        }
        let mut objects = locked(&self.inner.newest().objects);
        let Some(joined) = objects.get_mut(&region.bits()) else { return };
        joined.handles -= 1;
        if joined.handles == 0 {
            let index = joined.index;
            objects.remove(&region.bits());
            self.registry().lock().leave(region, index);
        }
    }

    /// This process's member index in an object that it has a handle on. A forked child has another one than its parent.
    #[must_use]
    pub fn member_index(&self, region: RegionRef) -> Option<u16> {
        self.enter().ok()?;
        locked(&self.inner.newest().objects).get(&region.bits()).map(|joined| joined.index)
    }

    /// Frees every object that no living process can reach. Deaths see to it by themselves.
    pub fn collect(&self) {
        if self.enter().is_ok() {
            self.registry().lock().collect();
        }
    }

    /// How many regions exist.
    #[must_use]
    pub fn regions_in_use(&self) -> usize {
        self.registry().regions_in_use()
    }

    /// How many bytes of the arena have pages, tables included.
    ///
    /// # Errors
    ///
    /// None on a system that works.
    pub fn resident_bytes(&self) -> Result<u64, S::Error> {
        self.inner.system.resident_bytes()
    }
}

impl<S: System> Inner<S> {
    fn object(&'static self, found: &Region<'static>, index: u16) -> Object {
        Object {
            region: found.region,
            pointer: self.pointer(found.offset),
            len: found.len,
            kind: found.kind,
            type_hash: found.type_hash,
            index,
            head: found.head,
            members: found.members,
        }
    }
}

/// Makes a forked child a member of what its parent was a member of, with as many handles: the child's memory has them.
pub(super) fn inherit<S: System>(inner: &'static Inner<S>, local: &'static Local) {
    let Some(parent) = local.forked_from else { return };
    // Held by another thread of the parent at the time of the fork: no handle can be told for sure.
    let inherited = match parent.objects.try_lock() {
        Ok(objects) => objects,
        Err(TryLockError::Poisoned(objects)) => objects.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    let registry = inner.registry();
    let mut objects = locked(&local.objects);
    for (bits, joined) in inherited.iter() {
        let lock = registry.lock();
        let Ok(found) = registry.look_up(RegionRef::from_bits(*bits)) else { continue };
        if let Ok((_, index)) = lock.join(found.region, found.kind, found.type_hash) {
            objects.insert(*bits, Joined { index, handles: joined.handles });
        }
    }
}

//! A queue of any age in plain memory, its processes played by one thread.

use crate::fake::{Process, World, reference};
use offspring_core::member::MemberTable;
use offspring_core::prim::{AtomicU32, AtomicU64};
use offspring_core::queue::{Commit, Geometry, Mapped, NoMemory, Options, Queue, Start};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes on either side of the queue that nobody may touch.
const GUARD: usize = 4096;
const GUARD_BYTE: u8 = 0xa5;

/// All the memory is there from the start.
#[derive(Debug)]
pub(super) struct Committed;

impl Commit for Committed {
    fn commit(&self, _: u64, _: u64) -> Result<(), NoMemory> {
        Ok(())
    }
}

pub(super) type Q<'a> = Queue<'a, Mapped<Committed>, Process>;

/// The queue's memory, its members and their family. Process 1 is a member from the start: the auditor.
pub(super) struct Shared {
    begin: NonNull<u8>,
    layout: Layout,
    members: NonNull<[AtomicU64]>,
    high_water: NonNull<AtomicU32>,
    pub(super) storage: Mapped<Committed>,
    pub(super) geometry: Geometry,
    pub(super) world: Arc<World>,
}

impl Shared {
    pub(super) fn new(options: Options, members: usize, processes: usize, start: Start) -> Self {
        let geometry = Geometry::new(options).expect("a small queue");
        let len = geometry.len() as usize;
        let layout = Layout::from_size_align(len + 2 * GUARD, GUARD).expect("a small queue");
        // SAFETY: the size is not zero.
        let begin = NonNull::new(unsafe { alloc_zeroed(layout) })
            .unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: all three ranges lie inside the allocation, nobody else has it yet.
        let base = unsafe {
            begin.write_bytes(GUARD_BYTE, GUARD);
            begin.add(GUARD + len).write_bytes(GUARD_BYTE, GUARD);
            begin.add(GUARD)
        };
        let entries: Box<[_]> = (0..members).map(|_| AtomicU64::new(0)).collect();
        let members = NonNull::from(Box::leak(entries));
        let high_water = NonNull::from(Box::leak(Box::new(AtomicU32::new(0))));
        // SAFETY: `base` is page-aligned, zeroed, `geometry.len()` long and lives until the drop of `self`, as do the members,
        // which lie elsewhere.
        let storage = unsafe { Mapped::new(base, members, high_water, geometry, Committed) };
        let world = World::new(processes);
        world.begin_at_epoch(start.epoch);
        let shared = Self { begin, layout, members, high_water, storage, geometry, world };
        assert_eq!(shared.members().join(reference(1)), Some(1));
        shared.queue(&shared.world.process(1), 1).start_at(start);
        shared
    }

    pub(super) fn members(&self) -> MemberTable<'_> {
        // SAFETY: they live as long as `self`.
        unsafe { MemberTable::new(self.members.as_ref(), self.high_water.as_ref()) }
    }

    pub(super) fn queue<'a>(&'a self, family: &'a Process, index: u16) -> Q<'a> {
        Queue::new(&self.storage, family, index)
    }

    /// Writes `bytes` at `offset` of the queue's memory, as a peer that errs would; wraps at its end.
    pub(super) fn overwrite(&self, offset: usize, bytes: &[u8]) {
        let len = self.geometry.len() as usize;
        for (i, byte) in bytes.iter().enumerate() {
            // SAFETY: inside the queue's memory; its one user, this thread, is in no operation now.
            unsafe { self.begin.add(GUARD + (offset + i) % len).write(*byte) };
        }
    }

    /// The byte at `offset` of the queue's memory.
    pub(super) fn byte(&self, offset: usize) -> u8 {
        assert!(offset < self.geometry.len() as usize);
        // SAFETY: inside the queue's memory; its one user, this thread, is in no operation now.
        unsafe { self.begin.add(GUARD + offset).read() }
    }

    /// Whether nothing was written beyond the queue's memory.
    pub(super) fn is_contained(&self) -> bool {
        let after = GUARD + self.geometry.len() as usize;
        [0, after].into_iter().all(|from| {
            // SAFETY: the guards are inside the allocation, were written in `new`, and nobody writes now.
            let guard = unsafe { std::slice::from_raw_parts(self.begin.add(from).as_ptr(), GUARD) };
            guard.iter().all(|byte| *byte == GUARD_BYTE)
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, with this layout and as boxes; the storage is used no more.
        unsafe {
            dealloc(self.begin.as_ptr(), self.layout);
            drop(Box::from_raw(self.members.as_ptr()));
            drop(Box::from_raw(self.high_water.as_ptr()));
        }
    }
}

//! The pool's region: what workers show of their work while they are at it, and where everybody waits.
//!
//! ```text
//! RegionHead 64 | member table 8192 | bells and counters 256 | places 8192 | slots 512 x 128 | ... page: outboxes 512 x 64 KiB
//! ```
//!
//! The words and their order are in the [pool's](super) table. A slot's outbox has memory from when the slot is first used.
//!
//! B1 a `Board` lies in a region of kind [`KIND`], at least [`LEN`] bytes long, in an arena that stays mapped for the
//! process's life, and its outboxes are whole pages behind the words. B2 all of it is accessed as atomics, each word in one
//! size, so whatever another process writes meanwhile is at worst a wrong number: lengths and indices are checked here.
#![allow(unsafe_code)] // views of the arena

use crate::error::{Error, Kind, Result, Subject};
use crate::family::family;
use crate::queue::object_error;
use crate::sys::{Family, Object, RegionRef, RegionSpec, flags};
use crate::value::{self, HandleOnWire};
use offspring_core::family::RegionHead;
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::process::ProcessRef;
use offspring_core::wait::EventCount;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// What kind of object a board is, in the region table.
pub(super) const KIND: u32 = 40;
const VERSION: u32 = 1;

const MEMBERS: usize = 1024;
/// Workers, the ending ones among them.
pub(super) const SLOTS: usize = 512;
/// Chunks under way at once.
pub(super) const PLACES: usize = 1024;
const OUTBOX_WORDS: usize = 8192;
const OUTBOX: usize = OUTBOX_WORDS * 8;
const COUNTERS: usize = 16;

#[repr(C)]
struct Words {
    head: RegionHead,
    members: [AtomicU64; MEMBERS],
    /// Replies were given, or handed on: callers wait here.
    done: EventCount,
    /// The pool's thread has something to do.
    chores: EventCount,
    /// Replies were taken, so that their blocks are free.
    room: EventCount,
    /// Somebody waits for `room`, so replies must be taken.
    wants_room: AtomicU32,
    counters: [AtomicU64; COUNTERS],
    _rest: [AtomicU64; 14],
    places: [AtomicU64; PLACES],
    slots: [SlotWords; SLOTS],
}

/// One worker. Only it writes here, but for `stop` and `asked`.
#[repr(C, align(128))]
struct SlotWords {
    /// Its name in the family, 0 before it has one.
    process: AtomicU64,
    /// The chunk it is at; 0 for none.
    chunk: AtomicU64,
    /// `stop 32 | begun 32`.
    progress: AtomicU64,
    /// `results 32 | words 32`.
    outbox: AtomicU64,
    /// When the task that is running began; only kept if somebody asked for it.
    since: AtomicU64,
    /// The task that is asked to end: `chunk 48 | tasks begun 16`.
    asked: AtomicU64,
    /// Tasks done by this process.
    done: AtomicU64,
    pid: AtomicU32,
    state: AtomicU32,
}

const OUTBOXES_AT: usize = (size_of::<Words>()).next_multiple_of(16 << 10);
const LEN: usize = OUTBOXES_AT + SLOTS * OUTBOX;

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Words, members) == 64);
    assert!(offset_of!(Words, slots).is_multiple_of(128));
    assert!(size_of::<SlotWords>() == 128);
};

/// What a worker is at, for those who look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum State {
    Gone = 0,
    Starting = 1,
    Idle = 2,
    Busy = 3,
    /// It takes no more chunks.
    Leaving = 4,
    /// It is about to be killed, and begins nothing more.
    Doomed = 5,
}

/// What is counted; the parent writes, anybody reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counter {
    /// One more than the last slot that was ever used.
    Slots = 0,
    Submitted = 1,
    Succeeded = 2,
    Failed = 3,
    Lost = 4,
    Retried = 5,
    Started = 6,
    Backlog = 7,
    UnderWay = 8,
}

/// States of a place, in the low bits; the rest is the chunk's number.
const WAITING: u64 = 1;
const TAKEN: u64 = 2;
const WITHDRAWN: u64 = 3;

/// One of this process's handles on a pool's board.
#[derive(Clone)]
pub(super) struct Board(Arc<Handle>);

struct Handle {
    object: Object,
    family: &'static Family,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.family.leave_object(self.object.region);
    }
}

impl Board {
    pub(super) fn create() -> Result<Self> {
        let family = family()?;
        let spec = RegionSpec {
            kind: KIND,
            version: VERSION,
            type_hash: 0,
            len: LEN as u64,
            members_offset: size_of::<RegionHead>() as u64,
            members_count: MEMBERS as u32,
            flags: flags::OWNERLESS,
            committed: OUTBOXES_AT as u64,
        };
        let object = family
            .allocate(&spec, |_| {})
            .map_err(|error| object_error(error, "make a pool", Subject::None))?;
        Ok(Self(Arc::new(Handle { object, family })))
    }

    fn join(region: RegionRef) -> Result<Self> {
        let family = family()?;
        let object = family
            .join_object(region, KIND, 0)
            .map_err(|error| object_error(error, "look at a pool", Subject::None))?;
        let handle = Handle { object, family };
        if handle.object.len < LEN as u64 || handle.object.version() != VERSION {
            let text = "look at a pool: its region has another layout than this program knows";
            return Err(Error::new(Kind::Corrupt, Subject::None, text));
        }
        Ok(Self(Arc::new(handle)))
    }

    pub(super) fn family(&self) -> &'static Family {
        self.0.family
    }

    fn words(&self) -> &Words {
        // SAFETY: B1: made with that length, or checked in `join`; B2.
        unsafe { &*self.0.object.pointer.cast::<Words>() }
    }

    pub(super) fn done(&self) -> &EventCount {
        &self.words().done
    }

    pub(super) fn chores(&self) -> &EventCount {
        &self.words().chores
    }

    pub(super) fn room(&self) -> &EventCount {
        &self.words().room
    }

    /// Somebody waits for room: set by a worker, taken away by who takes replies.
    pub(super) fn want_room(&self, wants: bool) {
        // ORDER: Release, with the Acquire below: whoever sees it sees the replies that stand in the way.
        self.words().wants_room.store(u32::from(wants), Ordering::Release);
    }

    pub(super) fn wants_room(&self) -> bool {
        // ORDER: Acquire, with the Release above.
        self.words().wants_room.load(Ordering::Acquire) != 0
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        // ORDER: Relaxed. A figure.
        self.words().counters[counter as usize].load(Ordering::Relaxed)
    }

    pub(super) fn set_count(&self, counter: Counter, value: u64) {
        // ORDER: Relaxed. A figure.
        self.words().counters[counter as usize].store(value, Ordering::Relaxed);
    }

    pub(super) fn add_count(&self, counter: Counter, more: u64) {
        // ORDER: Relaxed. A figure.
        self.words().counters[counter as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// Whether no worker has begun with the chunk of `place` yet.
    pub(super) fn is_waiting(&self, place: u32) -> bool {
        // ORDER: Relaxed. A guess that the words behind it confirm.
        self.place(place).load(Ordering::Relaxed) & 3 == WAITING
    }

    /// Chunk `id` is about to be sent from `place`.
    pub(super) fn offer(&self, place: u32, id: u64) {
        // ORDER: Relaxed. The chunk's own put carries it.
        self.place(place).store(id << 2 | WAITING, Ordering::Relaxed);
    }

    /// A worker is about to begin with it; false if it was withdrawn.
    pub(super) fn claim(&self, place: u32, id: u64) -> bool {
        self.exchange(place, id << 2 | WAITING, id << 2 | TAKEN)
    }

    /// No worker shall begin with it; false if one did.
    pub(super) fn withdraw(&self, place: u32, id: u64) -> bool {
        self.exchange(place, id << 2 | WAITING, id << 2 | WITHDRAWN)
    }

    fn exchange(&self, place: u32, from: u64, to: u64) -> bool {
        // ORDER: AcqRel: who finds it TAKEN sees the slot that the worker set up before.
        self.place(place).compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn place(&self, place: u32) -> &AtomicU64 {
        &self.words().places[place as usize % PLACES]
    }

    pub(super) fn slots_used(&self) -> u32 {
        (self.count(Counter::Slots) as u32).min(SLOTS as u32)
    }

    pub(super) fn slot(&self, slot: u32) -> Slot<'_> {
        let index = slot as usize % SLOTS;
        Slot { board: self, words: &self.words().slots[index], index }
    }

    /// The processes of all workers.
    pub(super) fn processes(&self) -> impl Iterator<Item = ProcessRef> {
        let slots = self.words().slots.iter().take(self.slots_used() as usize);
        // ORDER: Acquire, with the Release in `begin`.
        slots.map(|slot| ProcessRef::from_bits(slot.process.load(Ordering::Acquire)))
    }
}

/// A board travels with the arguments of a worker, and inside a [`Watch`](super::Watch).
impl Serialize for Board {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let handle = value::note_handle(self.0.object.region).map_err(serde::ser::Error::custom)?;
        handle.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Board {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = HandleOnWire::deserialize(deserializer)?;
        value::handle_region(&handle).and_then(Self::join).map_err(value::handle_error)
    }
}

/// One worker's words.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    board: &'a Board,
    words: &'a SlotWords,
    index: usize,
}

/// How far a worker came with its chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Progress {
    pub(super) begun: u32,
    pub(super) stop: u32,
}

impl Progress {
    const fn of(bits: u64) -> Self {
        Self { begun: bits as u32, stop: (bits >> 32) as u32 }
    }

    const fn bits(self) -> u64 {
        (self.stop as u64) << 32 | self.begun as u64
    }
}

impl Slot<'_> {
    /// Parent: makes it ready for a new process. Nobody else writes here: the one before is dead and dealt with.
    pub(super) fn prepare(&self) -> Result<()> {
        let (object, family) = (&self.board.0.object, self.board.0.family);
        let at = OUTBOXES_AT + self.index * OUTBOX;
        family.commit_more(object, at as u64, OUTBOX as u64).map_err(|error| {
            Error::caused(Kind::NoMemory, Subject::None, "find memory for a worker", error)
        })?;
        let SlotWords { process, chunk, progress, outbox, since, asked, done, pid, state } =
            self.words;
        for word in [process, chunk, progress, outbox, since, asked, done] {
            // ORDER: Relaxed. The start of the process carries it.
            word.store(0, Ordering::Relaxed);
        }
        pid.store(0, Ordering::Relaxed);
        state.store(State::Starting as u32, Ordering::Relaxed);
        Ok(())
    }

    /// Parent: its process has ended and is dealt with.
    pub(super) fn clear(&self) {
        // ORDER: Relaxed, as in `prepare`.
        self.words.process.store(0, Ordering::Relaxed);
        self.words.pid.store(0, Ordering::Relaxed);
        self.words.state.store(State::Gone as u32, Ordering::Relaxed);
    }

    /// Worker: it is there.
    pub(super) fn introduce(&self, process: ProcessRef) {
        // ORDER: Relaxed. A figure.
        self.words.pid.store(std::process::id(), Ordering::Relaxed);
        // ORDER: Release, with the Acquire in `processes`.
        self.words.process.store(process.bits(), Ordering::Release);
    }

    /// Nobody before it introduced itself.
    pub(super) fn process(&self) -> ProcessRef {
        // ORDER: Acquire, with the Release in `introduce`.
        ProcessRef::from_bits(self.words.process.load(Ordering::Acquire))
    }

    pub(super) fn set_state(&self, state: State) {
        // ORDER: Release, with the Acquire below.
        self.words.state.store(state as u32, Ordering::Release);
    }

    /// Worker: from `Busy` to `Idle`; parent: from `Busy` to `Doomed`. Only one of them.
    pub(super) fn change_state(&self, from: State, to: State) -> bool {
        let (from, to) = (from as u32, to as u32);
        // ORDER: AcqRel, as above.
        self.words.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn state(&self) -> State {
        // ORDER: Acquire, with the Release above.
        match self.words.state.load(Ordering::Acquire) {
            1 => State::Starting,
            2 => State::Idle,
            3 => State::Busy,
            4 => State::Leaving,
            5 => State::Doomed,
            _ => State::Gone,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        // ORDER: Relaxed. A figure.
        self.words.pid.load(Ordering::Relaxed)
    }

    pub(super) fn tasks_done(&self) -> u64 {
        // ORDER: Relaxed. A figure.
        self.words.done.load(Ordering::Relaxed)
    }

    pub(super) fn add_done(&self, more: u64) {
        // ORDER: Relaxed. A figure with one writer.
        self.words.done.store(self.tasks_done() + more, Ordering::Relaxed);
    }

    /// Worker: it has chunk `id` of `count` tasks.
    pub(super) fn begin(&self, id: u64, count: u32) {
        // ORDER: Relaxed, carried by `chunk`.
        self.words.outbox.store(0, Ordering::Relaxed);
        // ORDER: Release, with the Acquire in `change`: a parent that changes this progress finds the chunk before taken down.
        self.words.progress.store(Progress { begun: 0, stop: count }.bits(), Ordering::Release);
        // ORDER: Release, with the Acquire in `chunk`.
        self.words.chunk.store(id, Ordering::Release);
    }

    /// Worker: its reply is given.
    pub(super) fn end(&self) {
        // ORDER: Release, as in `begin`.
        self.words.chunk.store(0, Ordering::Release);
    }

    pub(super) fn chunk(&self) -> u64 {
        // ORDER: Acquire, with the Release in `begin`.
        self.words.chunk.load(Ordering::Acquire)
    }

    pub(super) fn progress(&self) -> Progress {
        // ORDER: Acquire: of a dead process everything is there; of a living one it is a snapshot.
        Progress::of(self.words.progress.load(Ordering::Acquire))
    }

    /// Worker: may the next task begin? From here on it has.
    pub(super) fn begin_task(&self) -> bool {
        self.change(|p| (p.begun < p.stop).then_some(Progress { begun: p.begun + 1, ..p }))
    }

    /// Parent: the chunk's task `index` shall not begin, nor those behind it; false if it has begun. If the worker is at
    /// another chunk by now, that one ends early, which costs nothing but a message; [`chunk`](Self::chunk) tells, asked afterwards.
    pub(super) fn stop_before(&self, index: u32) -> bool {
        self.change(|p| (p.begun <= index).then_some(Progress { stop: p.stop.min(index), ..p }))
    }

    fn change(&self, change: impl Fn(Progress) -> Option<Progress>) -> bool {
        let word = &self.words.progress;
        // ORDER: Acquire, as in `progress`.
        let mut seen = word.load(Ordering::Acquire);
        while let Some(next) = change(Progress::of(seen)) {
            // ORDER: AcqRel. One word says both, so either the worker sees the stop or the parent the beginning.
            match word.compare_exchange(seen, next.bits(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Worker: when the running task began, on the family's clock.
    pub(super) fn set_since(&self, now: u64) {
        // ORDER: Release: behind the beginning that it belongs to.
        self.words.since.store(now, Ordering::Release);
    }

    pub(super) fn since(&self) -> u64 {
        // ORDER: Acquire, with the Release above.
        self.words.since.load(Ordering::Acquire)
    }

    /// Parent: the task that was the `begun`th to begin of chunk `id` is asked to end.
    pub(super) fn ask(&self, id: u64, begun: u32) {
        // ORDER: Relaxed. A request that is looked at now and then.
        self.words.asked.store(id << 16 | u64::from(begun), Ordering::Relaxed);
    }

    /// Worker: whether the running task is asked to end.
    pub(super) fn is_asked(&self) -> bool {
        // ORDER: Relaxed, all: the chunk is this process's own word.
        let chunk = self.words.chunk.load(Ordering::Relaxed);
        let begun = u64::from(Progress::of(self.words.progress.load(Ordering::Relaxed)).begun);
        chunk != 0 && self.words.asked.load(Ordering::Relaxed) == chunk << 16 | begun
    }

    fn outbox(&self) -> &[AtomicU64] {
        let at = OUTBOXES_AT + self.index * OUTBOX;
        let first = self.board.0.object.pointer.wrapping_add(at).cast::<AtomicU64>();
        // SAFETY: B1: `index` is less than SLOTS, so the outbox is inside the region, at a multiple of 8; B2. Its memory was
        // committed by `prepare` before there was a process for the slot, and stays as long as the region.
        unsafe { std::slice::from_raw_parts(first, OUTBOX_WORDS) }
    }

    /// Worker: commits the next result; false if there is no room for it.
    pub(super) fn put_result(&self, failed: bool, bytes: &[u8]) -> bool {
        // ORDER: Relaxed. This process's own word.
        let before = self.words.outbox.load(Ordering::Relaxed);
        let at = before as u32 as usize;
        let end = at + 1 + bytes.len().div_ceil(8);
        let Some(room) = self.outbox().get(at..end) else { return false };
        // ORDER: Relaxed, all, carried by `outbox`.
        room[0].store((bytes.len() as u64) << 1 | u64::from(failed), Ordering::Relaxed);
        for (word, bytes) in room[1..].iter().zip(bytes.chunks(8)) {
            let mut value = [0; 8];
            value[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(value), Ordering::Relaxed);
        }
        let results = (before >> 32) + 1;
        // ORDER: Release, with the Acquire in `results`.
        self.words.outbox.store(results << 32 | end as u64, Ordering::Release);
        true
    }

    /// How many results are there.
    pub(super) fn result_count(&self) -> u32 {
        // ORDER: Acquire, with the Release in `put_result`.
        (self.words.outbox.load(Ordering::Acquire) >> 32) as u32
    }

    /// Parent, of a dead worker: the results it committed, in order, and whether each is a failure.
    pub(super) fn results(&self) -> Vec<(bool, Vec<u8>)> {
        // ORDER: Acquire, with the Release in `put_result`.
        let state = self.words.outbox.load(Ordering::Acquire);
        let words = self.outbox().get(..state as u32 as usize).unwrap_or_default();
        let mut found = Vec::new();
        let mut at = 0;
        // ORDER: Relaxed, all, carried by `outbox`.
        while found.len() < (state >> 32) as usize
            && let Some(head) = words.get(at).map(|word| word.load(Ordering::Relaxed))
        {
            let len = (head >> 1) as usize;
            let Some(body) = words.get(at + 1..).filter(|rest| len.div_ceil(8) <= rest.len())
            else {
                break;
            };
            let body = &body[..len.div_ceil(8)];
            let bytes = body.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes());
            found.push((head & 1 == 1, bytes.take(len).collect()));
            at += 1 + body.len();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let board = Board::create().unwrap();
        board.slot(3).prepare().unwrap();
        board
    }

    #[test]
    fn results_of_the_dead_are_read_in_order() {
        let board = board();
        let slot = board.slot(3);
        slot.begin(7, 4);
        assert!(slot.put_result(false, b"one"));
        assert!(slot.put_result(true, b""));
        assert!(slot.put_result(false, b"exactly eight bytes and some"));
        let expected: [(bool, &[u8]); 3] =
            [(false, b"one"), (true, b""), (false, b"exactly eight bytes and some")];
        let found = slot.results();
        assert_eq!(found.len(), 3);
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((found.0, found.1.as_slice()), expected);
        }
        slot.begin(8, 4);
        assert!(slot.results().is_empty(), "they were the last chunk's");
    }

    #[test]
    fn full_outbox_takes_no_more() {
        let board = board();
        let slot = board.slot(3);
        slot.begin(7, 4);
        assert!(!slot.put_result(false, &[1; OUTBOX]));
        assert!(slot.put_result(false, &[1; OUTBOX - 8]));
        assert!(!slot.put_result(false, &[]));
        assert_eq!(slot.results(), [(false, vec![1; OUTBOX - 8])]);
    }

    #[test]
    fn wild_outbox_is_read_within_bounds() {
        let board = board();
        let slot = board.slot(3);
        let wild = [0, 1, 1 << 32 | 1, 5 << 32 | 8192, u64::MAX, u64::MAX << 32, 1 << 32 | 8193];
        for state in wild {
            for head in [0, 8 << 1, u64::MAX, 65536 << 1] {
                slot.outbox()[0].store(head, Ordering::Relaxed);
                slot.words.outbox.store(state, Ordering::Relaxed);
                let bytes: usize = slot.results().iter().map(|(_, bytes)| bytes.len()).sum();
                assert!(bytes <= OUTBOX);
            }
        }
    }

    #[test]
    fn task_begins_or_is_stopped_but_not_both() {
        let board = board();
        let slot = board.slot(3);
        slot.begin(1, 3);
        assert!(slot.begin_task());
        assert!(!slot.stop_before(0), "it has begun");
        assert!(slot.stop_before(1));
        assert!(!slot.begin_task());
        assert_eq!(slot.progress(), Progress { begun: 1, stop: 1 });
    }

    #[test]
    fn withdrawn_chunk_is_not_claimed() {
        let board = board();
        board.offer(9, 5);
        assert!(!board.claim(9, 4), "another chunk");
        assert!(board.withdraw(9, 5));
        assert!(!board.claim(9, 5));
        board.offer(9, 6);
        assert!(board.claim(9, 6));
        assert!(!board.withdraw(9, 6));
    }
}

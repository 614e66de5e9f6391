//! The record of one process that was started: its arguments, its end, its panic; a region that parent and child share.
//!
//! ```text
//! RegionHead 64 | member table 64 | words 128 | arguments 1920 | result 1920 | note 16384 (memory only when written)
//! ```
//!
//! Values that do not fit lie in *parts*, which the record names from the moment they are made, so that they go when it
//! goes. Arguments and result are each committed with one store of their parcel's state; the parent is a member
//! until it has reaped the child, the child until it ends.
//!
//! | word | from → to | by | when |
//! |---|---|---|---|
//! | `child` | 0 → its name | the child | it takes part in the family and the lifeline is armed |
//! | arguments | EMPTY → INLINE, PART | the parent | before the child is started |
//! | arguments | → EMPTY | the child | it has them, and has joined what they name |
//! | result | EMPTY → INLINE, PART | the child | the value is written |
//! | result | EMPTY → PANICKED, REFUSED | the child | the note is written |
//! | `note` | 0 → length and kind, any number of times | the child | until it has committed a result |
//!
//! R1 a `Record` lies in a region of kind [`KIND`], at least [`LEN`] bytes long, in an arena that stays mapped for the
//! process's life. R2 all of it is accessed as 64-bit atomics (32-bit ones in the head), never in two sizes, so
//! whatever another process writes meanwhile is at worst a wrong number.
#![allow(unsafe_code)] // views of the arena

use crate::error::{Error, Kind, Result, Subject};
use crate::family::family;
use crate::queue::object_error;
use crate::sys::{self, Family, Object, RegionRef, RegionSpec, flags};
use crate::value;
use offspring_core::block_on::block_on;
use offspring_core::family::RegionHead;
use offspring_core::points::{Point, hit};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::process::ProcessRef;
use offspring_core::queue::{handles_len, split_handles};
use offspring_core::wait::{Adaptive, EventCount};
use std::ptr::NonNull;

/// What kind of object a record is, in the region table.
pub(crate) const KIND: u32 = 2;
/// A value too long for the record itself.
pub(crate) const PART_KIND: u32 = 3;
const VERSION: u32 = 1;

/// Parent, child, and forks of both that use the record.
const MEMBERS: usize = 8;
const INLINE_WORDS: usize = 240;
const INLINE: usize = INLINE_WORDS * 8;
const NOTE_AT: usize = 4096;
/// The longest note, in bytes.
pub(crate) const MOST_NOTE: usize = 16384;
const LEN: usize = NOTE_AT + MOST_NOTE;
const PART_HEAD: usize = size_of::<RegionHead>();

#[repr(C)]
struct Words {
    head: RegionHead,
    members: [AtomicU64; MEMBERS],
    /// Bits of the child's name.
    child: AtomicU64,
    /// Announces `child`.
    begun: EventCount,
    _reserved: AtomicU32,
    arguments: ParcelWords,
    result: ParcelWords,
    /// `kind 32 | length 32`, 0 if there is no note.
    note: AtomicU64,
    _rest: [AtomicU64; 7],
    arguments_inline: [AtomicU64; INLINE_WORDS],
    result_inline: [AtomicU64; INLINE_WORDS],
    note_bytes: [AtomicU64; MOST_NOTE / 8],
}

#[repr(C)]
struct ParcelWords {
    /// What there is, and whether it carries handles.
    state: AtomicU64,
    /// Bytes of the value.
    len: AtomicU64,
    /// The part that was made for it; 0 if none.
    part: AtomicU64,
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Words, members) == 64);
    assert!(offset_of!(Words, arguments_inline) == 256);
    assert!(offset_of!(Words, note_bytes) == NOTE_AT);
    assert!(size_of::<Words>() == LEN);
};

/// States of a parcel, in the low bits; the next bit says that the value carries handles.
const EMPTY: u64 = 0;
const IN_RECORD: u64 = 1;
const IN_PART: u64 = 2;
const PANICKED: u64 = 3;
const REFUSED: u64 = 4;
const STATE: u64 = 0xf;
const CARRIES: u64 = 0x10;

/// What the child committed.
pub(crate) enum Outcome {
    /// Nothing.
    None,
    /// A value, its bytes and whether they carry handles.
    Value(Vec<u8>, bool),
    Panicked,
    /// The child could not run the function, or its value could not travel; the note says why.
    Refused,
}

/// What a note tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoteKind {
    /// A panic, which may have been caught.
    Panic = 1,
    /// A panic that ends the process.
    FatalPanic = 2,
    /// Why the child could not run the function, or not return its value.
    Refusal = 3,
}

/// One of this process's handles on a record.
pub(crate) struct Record {
    object: Object,
    family: &'static Family,
}

impl Record {
    /// A new one, with this process as its first member.
    pub(crate) fn create() -> Result<Self> {
        let family = family()?;
        let spec = RegionSpec {
            kind: KIND,
            version: VERSION,
            type_hash: 0,
            len: LEN as u64,
            members_offset: size_of::<RegionHead>() as u64,
            members_count: MEMBERS as u32,
            flags: flags::OWNERLESS,
            committed: NOTE_AT as u64,
        };
        let object = family
            .allocate(&spec, |_| {})
            .map_err(|error| object_error(error, "make a process's record", Subject::None))?;
        Ok(Self { object, family })
    }

    /// Another handle on the record that this process was started with.
    pub(crate) fn join(region: RegionRef) -> Result<Self> {
        let family = family()?;
        let object = family
            .join_object(region, KIND, 0)
            .map_err(|error| object_error(error, "use this process's record", Subject::None))?;
        let record = Self { object, family };
        match record.object.len >= LEN as u64 && record.object.version() == VERSION {
            true => Ok(record),
            false => Err(Error::new(
                Kind::Corrupt,
                Subject::None,
                "use this process's record: it has another layout than this program knows",
            )),
        }
    }

    pub(crate) fn region(&self) -> RegionRef {
        self.object.region
    }

    fn words(&self) -> &'static Words {
        // SAFETY: R1: made with that length, or checked in `join`; R2.
        unsafe { &*self.object.pointer.cast::<Words>() }
    }

    fn arguments(&self) -> Parcel<'_> {
        let words = self.words();
        Parcel { record: self, words: &words.arguments, inline: &words.arguments_inline }
    }

    fn result(&self) -> Parcel<'_> {
        let words = self.words();
        Parcel { record: self, words: &words.result, inline: &words.result_inline }
    }

    /// The parent puts the arguments in, before there is a child.
    pub(crate) fn put_arguments(&self, bytes: &[u8], carries: bool) -> Result<()> {
        let arguments = self.arguments();
        let state = arguments.write(bytes, carries)?;
        arguments.commit(state);
        Ok(())
    }

    /// The child reads its arguments, which stay until [`drop_arguments`](Self::drop_arguments).
    pub(crate) fn read_arguments(&self) -> Option<(Vec<u8>, bool)> {
        match self.arguments().read() {
            Outcome::Value(bytes, carries) => Some((bytes, carries)),
            _ => None,
        }
    }

    /// The child has its arguments, and has joined whatever they name.
    pub(crate) fn drop_arguments(&self) {
        self.arguments().clear();
    }

    /// The child returns a value: from here on it is its parent's.
    pub(crate) fn put_result(&self, bytes: &[u8], carries: bool) -> Result<()> {
        let result = self.result();
        let state = result.write(bytes, carries)?;
        hit(Point::ChildResultWritten);
        result.commit(state);
        hit(Point::ChildCommitted);
        Ok(())
    }

    /// The child says that it panicked; the note is written.
    pub(crate) fn put_panicked(&self) {
        self.result().commit(PANICKED);
        hit(Point::ChildCommitted);
    }

    /// The child says that it could not do what it was started for.
    pub(crate) fn put_refused(&self, why: &str) {
        let mut end = why.len().min(MOST_NOTE);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        self.write_note(NoteKind::Refusal, &why.as_bytes()[..end]);
        self.result().commit(REFUSED);
        hit(Point::ChildCommitted);
    }

    /// The parent reads what its child committed; the value stays.
    pub(crate) fn read_result(&self) -> Outcome {
        self.result().read()
    }

    /// The parent has taken the value, and joined whatever it names.
    pub(crate) fn drop_result(&self) {
        self.result().clear();
    }

    /// Writes a note over the one before; one thread of the child at a time, before it commits. Without memory for it there
    /// is none.
    pub(crate) fn write_note(&self, kind: NoteKind, bytes: &[u8]) {
        let words = self.words();
        let len = bytes.len().min(MOST_NOTE);
        // ORDER: Relaxed. Whoever reads the note has seen this process dead, or the result committed behind it.
        words.note.store(0, Ordering::Relaxed);
        if self.family.commit_more(&self.object, NOTE_AT as u64, len as u64).is_ok() {
            copy_in(&words.note_bytes, &bytes[..len]);
            // ORDER: Release, with the Acquire in `read_note`: carries the bytes.
            words.note.store((kind as u64) << 32 | len as u64, Ordering::Release);
        }
    }

    /// The last note, for the parent of a child that has ended.
    pub(crate) fn read_note(&self) -> Option<(NoteKind, Vec<u8>)> {
        let words = self.words();
        // ORDER: Acquire, with the Release in `write_note`.
        let note = words.note.load(Ordering::Acquire);
        let kind = match note >> 32 {
            1 => NoteKind::Panic,
            2 => NoteKind::FatalPanic,
            3 => NoteKind::Refusal,
            _ => return None,
        };
        let len = (note & 0xffff_ffff) as usize;
        (len <= MOST_NOTE).then(|| (kind, copy_out(&words.note_bytes, len)))
    }

    /// The child says its name.
    pub(crate) fn begin(&self) {
        let words = self.words();
        // ORDER: Release, with the Acquire in `child`: the lifeline was armed before.
        words.child.store(self.family.me().bits(), Ordering::Release);
        words.begun.notify_all(self.family);
    }

    /// The child's name in the family; nobody if it has not begun.
    pub(crate) fn child(&self) -> ProcessRef {
        // ORDER: Acquire, with the Release in `begin`.
        ProcessRef::from_bits(self.words().child.load(Ordering::Acquire))
    }

    /// Blocks until the child has begun, or `is_over` says that it never will. That is asked again after every
    /// notice, and at least each backstop: a child that never came into the family dies unnoticed there.
    pub(crate) fn await_child(&self, is_over: impl Fn() -> bool) {
        let words = self.words();
        let attempt = || (!self.child().is_none() || is_over()).then_some(());
        let spin = Adaptive::new();
        while block_on(self.family, &words.begun, std::iter::empty, &spin, None, attempt).is_none()
        {
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.family.leave_object(self.object.region);
    }
}

/// Arguments or result.
struct Parcel<'a> {
    record: &'a Record,
    words: &'static ParcelWords,
    inline: &'static [AtomicU64],
}

impl Parcel<'_> {
    /// Writes the value, and gives the state to commit.
    fn write(&self, bytes: &[u8], carries: bool) -> Result<u64> {
        if carries {
            value::mark_travelled(bytes)?;
            self.record.object.mark_carries();
        }
        let carry = if carries { CARRIES } else { 0 };
        // ORDER: Relaxed, carried by the state.
        self.words.len.store(bytes.len() as u64, Ordering::Relaxed);
        if bytes.len() <= INLINE {
            copy_in(self.inline, bytes);
            return Ok(IN_RECORD | carry);
        }
        let len = (PART_HEAD + bytes.len()) as u64;
        let spec = RegionSpec {
            kind: PART_KIND,
            version: VERSION,
            type_hash: 0,
            len,
            members_offset: PART_HEAD as u64,
            members_count: 0,
            flags: if carries { flags::CARRIES } else { 0 },
            committed: len,
        };
        // It names a part from now on.
        self.record.object.mark_carries();
        let link = |part: RegionRef| {
            // ORDER: Release, with the Acquire in `part`.
            self.words.part.store(part.bits(), Ordering::Release);
            true
        };
        let family = self.record.family;
        let part = family.allocate_part(&spec, |_| {}, link).map_err(|error| {
            let text = format!("pass a value of {} bytes between processes", bytes.len());
            object_error(error, &text, Subject::None)
        })?;
        copy_in(part_words(&part), bytes);
        Ok(IN_PART | carry)
    }

    fn commit(&self, state: u64) {
        // ORDER: Release, with the Acquire in `read`: carries the bytes, or the note.
        self.words.state.store(state, Ordering::Release);
    }

    /// A copy of the value, checked against where it lies.
    fn read(&self) -> Outcome {
        // ORDER: Acquire, with the Release in `commit`.
        let state = self.words.state.load(Ordering::Acquire);
        // ORDER: Relaxed, carried by the state.
        let len = self.words.len.load(Ordering::Relaxed);
        let carries = state & CARRIES != 0;
        match state & STATE {
            IN_RECORD if len <= INLINE as u64 => {
                Outcome::Value(copy_out(self.inline, len as usize), carries)
            }
            IN_PART => match self.part() {
                Some(part) if len <= part.len - PART_HEAD as u64 => {
                    Outcome::Value(copy_out(part_words(&part), len as usize), carries)
                }
                _ => Outcome::None,
            },
            PANICKED => Outcome::Panicked,
            REFUSED => Outcome::Refused,
            _ => Outcome::None,
        }
    }

    fn part(&self) -> Option<Object> {
        // ORDER: Acquire, with the Release in `write`.
        let part = RegionRef::from_bits(self.words.part.load(Ordering::Acquire));
        if part.is_none() {
            return None;
        }
        self.record.family.look(part, PART_KIND, 0).ok()
    }

    /// Gives the value's memory back.
    fn clear(&self) {
        // ORDER: Release: behind the reads of the value.
        self.words.state.store(EMPTY, Ordering::Release);
        // ORDER: AcqRel. The one who gets the name frees the part.
        let part = RegionRef::from_bits(self.words.part.swap(0, Ordering::AcqRel));
        if !part.is_none() {
            self.record.family.free_part(part);
        }
    }
}

/// The bytes of a part, as words.
fn part_words(part: &Object) -> &'static [AtomicU64] {
    let count = (part.len as usize).saturating_sub(PART_HEAD) / 8;
    let first = NonNull::new(part.pointer.wrapping_add(PART_HEAD).cast::<AtomicU64>());
    match first {
        // SAFETY: the object was looked up, so its `len` bytes, a multiple of 8, are in the arena (R1), and granules begin
        // at multiples of 8; R2.
        Some(first) => unsafe { std::slice::from_raw_parts(first.as_ptr(), count) },
        None => &[],
    }
}

fn copy_in(words: &[AtomicU64], bytes: &[u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks(8)) {
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        // ORDER: Relaxed, carried by the state that is stored behind it.
        word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
    }
}

fn copy_out(words: &[AtomicU64], len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
    for word in words.iter().take(len.div_ceil(8)) {
        // ORDER: Relaxed, carried by the state that was loaded before.
        bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Tells a collector what a record names: its parts, and the handles of the values in it.
fn trace_record(_: &Family, object: &Object, found: &mut dyn FnMut(RegionRef)) {
    if object.len < LEN as u64 {
        return;
    }
    // SAFETY: R1: just checked; R2.
    let words = unsafe { &*object.pointer.cast::<Words>() };
    let parcels =
        [(&words.arguments, &words.arguments_inline), (&words.result, &words.result_inline)];
    for (parcel, inline) in parcels {
        // ORDER: Acquire, with the Release in `write`.
        found(RegionRef::from_bits(parcel.part.load(Ordering::Acquire)));
        // ORDER: Acquire, with the Release in `commit`.
        if parcel.state.load(Ordering::Acquire) == IN_RECORD | CARRIES {
            trace_value(inline, found);
        }
    }
}

/// Tells a collector which handles the value in a part carries.
fn trace_part(_: &Family, part: &Object, found: &mut dyn FnMut(RegionRef)) {
    trace_value(part_words(part), found);
}

fn trace_value(words: &[AtomicU64], found: &mut dyn FnMut(RegionRef)) {
    let count = copy_out(words, 2).try_into().map_or(0, u16::from_le_bytes);
    let list = copy_out(words, handles_len(usize::from(count)));
    if let Some((handles, _)) = split_handles(&list) {
        handles.for_each(|handle| found(RegionRef::from_bits(handle)));
    }
}

pub(crate) fn register_kinds() {
    sys::set_trace(KIND, trace_record);
    sys::set_trace(PART_KIND, trace_part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(outcome: Outcome) -> Option<(Vec<u8>, bool)> {
        match outcome {
            Outcome::Value(bytes, carries) => Some((bytes, carries)),
            _ => None,
        }
    }

    #[test]
    fn values_of_any_length_come_out_as_they_went_in() {
        for len in [0, 1, 7, 8, INLINE - 1, INLINE, INLINE + 1, 70_001] {
            let record = Record::create().unwrap();
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            record.put_arguments(&bytes, false).unwrap();
            assert_eq!(record.read_arguments(), Some((bytes.clone(), false)), "{len}");
            record.drop_arguments();
            assert_eq!(record.read_arguments(), None);
            assert!(value(record.read_result()).is_none(), "arguments are no result");
            record.put_result(&bytes, false).unwrap();
            assert_eq!(value(record.read_result()), Some((bytes, false)), "{len}");
        }
    }

    #[test]
    fn words_that_make_no_sense_are_no_value() {
        let record = Record::create().unwrap();
        let words = record.words();
        let set = |state: u64, len: u64, part: u64| {
            words.result.len.store(len, Ordering::Relaxed);
            words.result.part.store(part, Ordering::Relaxed);
            words.result.state.store(state, Ordering::Relaxed);
        };
        for (state, len, part) in [
            (IN_RECORD, INLINE as u64 + 1, 0),
            (IN_RECORD, u64::MAX, 0),
            (IN_PART, 8, 0),
            (IN_PART, 8, u64::MAX),
            // A region, but no part.
            (IN_PART, 8, record.region().bits()),
            (STATE, 8, 0),
        ] {
            set(state, len, part);
            assert!(value(record.read_result()).is_none(), "{state} {len} {part}");
            trace_record(record.family, &record.object, &mut |_| {});
        }
        set(EMPTY, 0, 0);
        record.put_result(&[1; 5000], false).unwrap();
        words.result.len.store(1 << 40, Ordering::Relaxed);
        assert!(value(record.read_result()).is_none(), "longer than its part");
        for note in [7 << 32, (1 << 32) | (MOST_NOTE as u64 + 1), u64::MAX] {
            words.note.store(note, Ordering::Relaxed);
            assert!(record.read_note().is_none(), "{note:x}");
        }
    }

    #[test]
    fn trace_finds_the_handles_of_either_value() {
        let record = Record::create().unwrap();
        let handles = [RegionRef::new(5, 1), RegionRef::new(6, 2)];
        let mut bytes = vec![2, 0];
        handles.iter().for_each(|handle| bytes.extend(handle.bits().to_le_bytes()));
        record.put_arguments(&bytes, true).unwrap();
        bytes.resize(9000, 0);
        record.put_result(&bytes, true).unwrap();
        let mut found = Vec::new();
        trace_record(record.family, &record.object, &mut |region| found.push(region));
        assert_eq!(found.iter().filter(|region| handles.contains(region)).count(), 2);
        let part = record.result().part().unwrap();
        assert!(found.contains(&part.region));
        found.clear();
        trace_part(record.family, &part, &mut |region| found.push(region));
        assert_eq!(found, handles);
    }

    #[test]
    fn last_note_is_read_in_full() {
        let record = Record::create().unwrap();
        assert!(record.read_note().is_none());
        record.write_note(NoteKind::FatalPanic, &[9; MOST_NOTE]);
        assert!(record.read_note() == Some((NoteKind::FatalPanic, vec![9; MOST_NOTE])));
        record.put_refused(&"é".repeat(MOST_NOTE));
        let (kind, note) = record.read_note().unwrap();
        assert_eq!((kind, note.len()), (NoteKind::Refusal, MOST_NOTE));
        assert!(matches!(record.read_result(), Outcome::Refused));
    }
}

//! How values travel: serde's data model as bytes ([`wire`]), plus the handles and files that a value holds.
//!
//! A handle (a queue, …) serialises as its place in a list of region references which the message begins with, so that
//! whoever decides what is still needed can read the list without knowing the type. The list is collected beside the serialiser,
//! in a context of the calling thread that exists only while [`encode`] runs: so a handle given to any other serialiser is
//! refused. (A wrapper around the serialiser would have to repeat the sixty methods of serde's data model to learn the same.)
//!
//! The receiver joins the listed regions *before* it takes the message ([`adopt`]), deserialises, and gives the joins back:
//! the handles inside the value have made their own by then.

mod bytes;
mod file;
pub(crate) mod plain;
mod wire;

pub(crate) use bytes::Bytes;
pub use file::Passed;
pub use plain::Plain;
pub(crate) use wire::VERSION as WIRE_VERSION;

use crate::error::{Error, Kind, Result, Subject};
use crate::family::family;
use crate::sys::{OwnedFile, RegionRef};
use offspring_core::queue::{MOST_HANDLES, split_handles};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use wire::WireError;

/// Which way a value goes: files can go along only at a process's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Nowhere,
    Queue,
    Spawn,
}

/// A value as bytes.
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    /// The bytes begin with a list of handles.
    pub(crate) carries: bool,
    /// Files that go along, by number.
    pub(crate) files: Vec<OwnedFile>,
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::Nowhere) };
    /// Set when one of the lists below is not empty, so that the usual message does not look at them.
    static NOTED: Cell<bool> = const { Cell::new(false) };
    static HANDLES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static FILES: RefCell<Vec<Option<OwnedFile>>> = const { RefCell::new(Vec::new()) };
    /// Handles that `adopt` joined for the message that this thread is taking.
    static ADOPTED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The handles and files met so far.
type Lists = (Vec<u64>, Vec<Option<OwnedFile>>);

/// Puts the context back, also when the user's `Serialize` unwinds.
struct Context {
    place: Place,
    noted: bool,
}

impl Context {
    #[inline(always)]
    fn enter(place: Place) -> Self {
        Self { place: PLACE.replace(place), noted: NOTED.replace(false) }
    }
}

impl Drop for Context {
    #[inline(always)]
    fn drop(&mut self) {
        PLACE.set(self.place);
        NOTED.set(self.noted);
    }
}

/// Serialises `value`, collecting its handles and files.
///
/// Errors: `Encode`, when the value's own `Serialize` fails, when it holds a file and the place is no process's start, or
/// more handles than a message can list.
pub(crate) fn encode<T: Serialize>(value: &T, place: Place) -> Result<Encoded> {
    let mut bytes = Bytes::new();
    let files = encode_into(value, place, &mut bytes)?;
    Ok(Encoded { carries: bytes.carries, bytes, files })
}

/// As [`encode`], to `bytes`, which are empty; gives the files.
#[inline(always)]
pub(crate) fn encode_into<T: Serialize>(
    value: &T,
    place: Place,
    bytes: &mut Bytes,
) -> Result<Vec<OwnedFile>> {
    // A value that serialises another message in its own `Serialize` has its lists put aside.
    let outer = NOTED.get().then(|| (HANDLES.take(), FILES.take()));
    let context = Context::enter(place);
    let result = wire::encode(value, bytes);
    let noted = NOTED.get();
    drop(context);
    if !noted && outer.is_none() && result.is_ok() {
        return Ok(Vec::new());
    }
    finish_encode::<T>(result, noted, outer, bytes)
}

#[cold]
fn finish_encode<T: ?Sized>(
    result: std::result::Result<(), WireError>,
    noted: bool,
    outer: Option<Lists>,
    bytes: &mut Bytes,
) -> Result<Vec<OwnedFile>> {
    let lists = noted.then(|| (HANDLES.take(), FILES.take()));
    if let Some((handles, files)) = outer {
        HANDLES.set(handles);
        FILES.set(files);
    }
    result.map_err(|error| encode_failed::<T>(error))?;
    let Some((handles, files)) = lists else { return Ok(Vec::new()) };
    if handles.len() > MOST_HANDLES {
        let (name, held) = (std::any::type_name::<T>(), handles.len());
        let text =
            format!("serialise {name}: it holds {held} handles, a message at most {MOST_HANDLES}");
        return Err(Error::new(Kind::Encode, Subject::None, text));
    }
    if !handles.is_empty() {
        let mut front = (handles.len() as u16).to_le_bytes().to_vec();
        handles.iter().for_each(|handle| front.extend_from_slice(&handle.to_le_bytes()));
        bytes.prepend(&front);
        bytes.carries = true;
    }
    Ok(files.into_iter().flatten().collect())
}

#[cold]
fn encode_failed<T: ?Sized>(error: WireError) -> Error {
    let name = std::any::type_name::<T>();
    match REFUSED.take() {
        Some(why) => Error::new(Kind::Encode, Subject::None, format!("serialise {name}: {why}")),
        None => Error::caused(Kind::Encode, Subject::None, format!("serialise {name}"), error),
    }
}

thread_local! {
    /// Why a handle or file refused, without what serde and the value's own code put around it.
    static REFUSED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Deserialises what [`encode`] made. Gives the adopted joins back afterwards.
///
/// Errors: `Decode`; `WrongType`, `WrongFamily`, `Gone` for a handle inside.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    carries: bool,
    files: Vec<OwnedFile>,
) -> Result<T> {
    if !carries && files.is_empty() {
        return wire::decode(bytes).map_err(|error| decode_failed::<T>(error));
    }
    decode_with_handles(bytes, carries, files)
}

#[cold]
fn decode_with_handles<T: DeserializeOwned>(
    bytes: &[u8],
    carries: bool,
    files: Vec<OwnedFile>,
) -> Result<T> {
    let adopted = Adopted(ADOPTED.take());
    let (handles, rest): (Vec<u64>, &[u8]) = if carries {
        let (handles, rest) = split_handles(bytes).ok_or_else(|| {
            Error::new(
                Kind::Decode,
                Subject::None,
                "read a message: its list of handles is cut off",
            )
        })?;
        (handles.collect(), rest)
    } else {
        (Vec::new(), bytes)
    };
    let outer = (HANDLES.replace(handles), FILES.replace(files.into_iter().map(Some).collect()));
    let context = Context::enter(Place::Spawn);
    let result = wire::decode(rest);
    drop(context);
    HANDLES.set(outer.0);
    FILES.set(outer.1);
    drop(adopted);
    result.map_err(|error| decode_failed::<T>(error))
}

#[cold]
fn decode_failed<T>(error: WireError) -> Error {
    let name = std::any::type_name::<T>();
    match HANDLE_ERROR.take() {
        Some((kind, text)) => Error::new(kind, Subject::None, format!("read a {name}: {text}")),
        None => Error::caused(Kind::Decode, Subject::None, format!("read a {name}"), error),
    }
}

thread_local! {
    /// Why a handle inside a message is none of ours.
    static HANDLE_ERROR: Cell<Option<(Kind, String)>> = const { Cell::new(None) };
}

/// Joins taken for a message, given back on drop.
struct Adopted(Vec<u64>);

impl Drop for Adopted {
    fn drop(&mut self) {
        if let Ok(family) = family() {
            self.0.iter().for_each(|bits| family.leave_object(RegionRef::from_bits(*bits)));
        }
    }
}

/// Joins every region that `message` lists, before the message is taken; [`decode`] gives the joins back. A region that is
/// gone or damaged is left out: deserialising its handle says so.
pub(crate) fn adopt(message: &[u8]) {
    let (Some((handles, _)), Ok(family)) = (split_handles(message), family()) else { return };
    // A message that was copied but not taken in the end (another was faster) left its joins here.
    drop(Adopted(ADOPTED.take()));
    let joined = handles.filter(|bits| family.adopt(RegionRef::from_bits(*bits)).is_ok()).collect();
    ADOPTED.set(joined);
}

/// What a handle looks like inside a message.
#[derive(Serialize, Deserialize)]
pub(crate) struct HandleOnWire {
    /// Place in the list.
    index: u16,
    family: u64,
}

/// A handle is being serialised: lists it. An error unless [`encode`] is at work on this thread.
pub(crate) fn note_handle(region: RegionRef) -> Result<HandleOnWire, &'static str> {
    let refuse = |why| {
        REFUSED.set(Some(why));
        why
    };
    if PLACE.get() == Place::Nowhere {
        return Err(refuse(
            "a handle travels only through this crate's queues and spawn arguments",
        ));
    }
    let family = family().map_err(|_| refuse("this process has no family"))?;
    NOTED.set(true);
    HANDLES.with_borrow_mut(|handles| {
        let known = handles.iter().position(|h| *h == region.bits());
        let index = known.unwrap_or_else(|| {
            handles.push(region.bits());
            handles.len() - 1
        });
        let index = u16::try_from(index).map_err(|_| refuse("it holds too many handles"))?;
        Ok(HandleOnWire { index, family: family.id() })
    })
}

/// The region that a handle in the message being deserialised means. An error unless [`decode`] is at work on this thread.
pub(crate) fn handle_region(handle: &HandleOnWire) -> Result<RegionRef, Error> {
    if PLACE.get() == Place::Nowhere {
        return Err(Error::new(
            Kind::Decode,
            Subject::None,
            "a handle comes only out of this crate's own messages",
        ));
    }
    if family()?.id() != handle.family {
        return Err(Error::plain(Kind::WrongFamily, Subject::None));
    }
    let bits = HANDLES.with_borrow(|handles| handles.get(usize::from(handle.index)).copied());
    bits.map(RegionRef::from_bits).ok_or_else(|| {
        Error::new(Kind::Decode, Subject::None, "a handle that the message does not list")
    })
}

/// Keeps the reason of a handle's refusal for [`decode`]'s error, and makes a serde error of it.
pub(crate) fn handle_error<E: serde::de::Error>(error: Error) -> E {
    // With its causes: the reader of the message has this text alone.
    let text = format!("{error:?}");
    HANDLE_ERROR.set(Some((error.kind(), text.clone())));
    E::custom(text)
}

/// A file is being serialised: keeps a duplicate for the child and gives its number.
pub(crate) fn note_file(file: OwnedFile) -> Result<u32, &'static str> {
    if PLACE.get() != Place::Spawn {
        let why = "a file or socket travels only in spawn arguments, not through a queue";
        REFUSED.set(Some(why));
        return Err(why);
    }
    NOTED.set(true);
    FILES.with_borrow_mut(|files| {
        files.push(Some(file));
        Ok(files.len() as u32 - 1)
    })
}

/// The file of that number in the message being deserialised; each comes out once.
pub(crate) fn take_file(number: u32) -> Result<OwnedFile, Error> {
    FILES.with_borrow_mut(|files| files.get_mut(number as usize).and_then(Option::take)).ok_or_else(
        || Error::new(Kind::Decode, Subject::None, "a file that the message does not bring"),
    )
}

/// Before a message that lists handles is committed: each object is told that a reference to it travels.
pub(crate) fn mark_travelled(message: &[u8]) -> Result<()> {
    let family = family()?;
    if let Some((handles, _)) = split_handles(message) {
        handles.for_each(|bits| family.mark_travelled(RegionRef::from_bits(bits)));
    }
    Ok(())
}

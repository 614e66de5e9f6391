//! A child's life: from its start message to its exit.
//!
//! | step | what a parent sees if the child ends here |
//! |---|---|
//! | read the start message, arm the lifeline | "ended before it began" |
//! | take part in the family, open the record, say so | the same |
//! | read the arguments and join what they name | how it ended |
//! | run the function | how it ended, or its panic |
//! | write the value, commit it with one store | how it ended; from the store on: the value |
//! | the end rules, `exit` | the value |
//!
//! It does not say that it leaves the family: other threads may still be at work in the arena, and must not act for
//! a process that was declared dead. The kernel marks their life words, and the parent reaps.

use super::current::Current;
use super::entry::{self, Entry};
use super::record::Record;
use super::{NEVER_BEGAN, panic};
use crate::error::{Error, Kind, Result, Subject};
use crate::sys::image::Image;
use crate::sys::{self, LifelineEnd, OwnedFile, RegionRef};
use crate::value::{self, Place};
use crate::{family, init};
use offspring_core::points::{Point, hit};
use offspring_core::process::ProcessRef;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Raised with every change of the message or of the record.
pub(super) const VERSION: u32 = 1;

/// The longest start message: a pipe takes so much at once, whatever its user's limits.
pub(super) const MOST_MESSAGE: usize = 4096;

/// What a child has open besides the standard streams: its end of the lifeline, the arena, what the arguments bring, and
/// at last the standard output if something else stands in its place.
pub(super) const PIPE: i32 = 3;
const ARENA: i32 = 4;
const FILES: i32 = 5;

/// Exit codes of a child whose function panicked (std's own), and of one that could not call it or return its value.
const PANICKED: i32 = 101;
const REFUSED: i32 = 1;

/// What a parent tells the child that it starts.
#[derive(Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) version: u32,
    /// Of the image that the entry is in.
    pub(super) image: Vec<u8>,
    pub(super) record: u64,
    pub(super) parent: u64,
    pub(super) entry: Entry,
    pub(super) current: Current,
    /// How many files the arguments bring.
    pub(super) files: u32,
    /// The standard output comes as one more file.
    pub(super) stdout: bool,
}

/// What a runner works with.
pub(super) struct Child {
    record: &'static Record,
    files: Vec<OwnedFile>,
}

#[cfg(test)]
impl Child {
    /// One that has nothing to do.
    pub(super) fn idle() -> Self {
        let record = Box::leak(Box::new(Record::create().unwrap()));
        Self { record, files: Vec::new() }
    }
}

/// Does what this process was started for.
pub(super) fn run(end: LifelineEnd) -> ! {
    match begin(end) {
        Ok((entry, child)) => {
            let record = child.record;
            // SAFETY: `begin` compared the images.
            #[allow(unsafe_code)]
            let ran = unsafe { entry.run(child) };
            let code = ran.unwrap_or_else(|why| refuse(record, why));
            std::process::exit(code)
        }
        Err(error) => {
            eprintln!("offspring: a child process cannot begin: {error:?}");
            std::process::exit(NEVER_BEGAN)
        }
    }
}

fn os(text: &str, error: sys::OsError) -> Error {
    Error::caused(Kind::Os, Subject::None, text.to_owned(), error)
}

fn begin(end: LifelineEnd) -> Result<(Entry, Child)> {
    let bytes =
        end.read_message(MOST_MESSAGE).map_err(|error| os("take the start message", error))?;
    let unreadable = || {
        let text = "read the start message: parent and child must be the same program";
        Error::new(Kind::Decode, Subject::None, text)
    };
    let (version, _) = postcard::take_from_bytes::<u32>(&bytes).map_err(|_| unreadable())?;
    if version != VERSION {
        return Err(unreadable());
    }
    let message: Message = postcard::from_bytes(&bytes).map_err(|_| unreadable())?;
    // Armed as long as this process lives; nothing is left to let it go with.
    let _armed = end.arm().map_err(|error| os("tie this process to its parent", error))?;
    let take =
        |number| entry::take_file(number).map_err(|error| os("take what the parent passed", error));
    let arena = take(ARENA)?;
    let count = i32::try_from(message.files).map_err(|_| unreadable())?;
    let files = (0..count).map(|number| take(FILES + number)).collect::<Result<Vec<_>>>()?;
    if message.stdout {
        sys::inherited::become_stdout(take(FILES + count)?)
            .map_err(|error| os("take the parent's standard output", error))?;
    }
    message.current.set();
    init::began();
    family::join(arena, ProcessRef::from_bits(message.parent))?;
    hit(Point::ChildJoined);
    let record: &'static Record =
        Box::leak(Box::new(Record::join(RegionRef::from_bits(message.record))?));
    record.begin();
    if message.image != Image::main().identity() {
        let why = "it was started as another program than its parent: a function can only be run by the same one";
        std::process::exit(refuse(record, why));
    }
    panic::note_in(record);
    Ok((message.entry, Child { record, files }))
}

/// Tells the parent why there is no value; gives the exit code.
fn refuse(record: &Record, why: &str) -> i32 {
    panic::close();
    record.put_refused(why);
    REFUSED
}

/// Calls the function with the arguments in the record, and commits what comes of it; gives the exit code.
pub(super) fn call<A: DeserializeOwned, R: Serialize>(function: fn(A) -> R, child: Child) -> i32 {
    let Child { record, files } = child;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let arguments = arguments::<A>(record, files)?;
        hit(Point::ChildRead);
        let value = function(arguments);
        hit(Point::ChildRan);
        let result = value::encode(&value, Place::Queue)
            .and_then(|encoded| record.put_result(encoded.bytes.as_slice(), encoded.carries));
        result.map_err(|error| Refusal { text: "return its value", error })
    }));
    match ran {
        Ok(Ok(())) => 0,
        Ok(Err(Refusal { text, error })) => {
            refuse(record, &format!("it could not {text}: {error:?}"))
        }
        Err(payload) => {
            panic::close_with(&*payload);
            record.put_panicked();
            PANICKED
        }
    }
}

struct Refusal {
    text: &'static str,
    error: Error,
}

fn arguments<A: DeserializeOwned>(record: &Record, files: Vec<OwnedFile>) -> Result<A, Refusal> {
    let refused = |error| Refusal { text: "read its arguments", error };
    let damaged = || Error::plain(Kind::Corrupt, Subject::None);
    let (bytes, carries) = record.read_arguments().ok_or_else(|| refused(damaged()))?;
    if carries {
        value::adopt(&bytes);
    }
    let arguments = value::decode(&bytes, carries, files).map_err(refused)?;
    record.drop_arguments();
    Ok(arguments)
}

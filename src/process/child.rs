//! A child's life: from its start message to its exit.
//!
//! | step | what a parent sees if the child ends here |
//! |---|---|
//! | read the start message, arm the lifeline | "ended before it began" |
//! | take part in the family, open the record, say so | the same |
//! | change what it inherited, as it was told | how it ended |
//! | read the arguments and join what they name | how it ended |
//! | run the function | how it ended, or its panic |
//! | write the value, commit it with one store | how it ended; from the store on: the value |
//! | the end rules, `exit` | the value |
//!
//! It does not say that it leaves the family: other threads may still be at work in the arena, and must not act for
//! a process that was declared dead. The kernel marks their life words, and the parent reaps.
//!
//! Three ways lead here: a program that was executed, with a marker (`run`); a fork of a server, with the end of its
//! lifeline (`run_served`); a fork of the parent itself, with all that the parent knows (`run_forked`).

use super::context::{self, StartMethod};
use super::current::{Me, Told};
use super::entry::{self, Entry, Plain};
use super::record::Record;
use super::setup::Setup;
use super::{NEVER_BEGAN, exit, named, panic, server};
use crate::error::{Error, Kind, Result, Subject};
use crate::sys::image::Image;
use crate::sys::{self, Armed, LifelineEnd, OwnedFile, RegionRef};
use crate::value::{self, Place};
use crate::{family, init};
use offspring_core::points::{Point, hit};
use offspring_core::process::ProcessRef;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Raised with every change of the message or of the record.
pub(super) const VERSION: u32 = 2;

/// The longest start message of an executed child: a pipe takes so much at once, whatever its user's limits.
pub(super) const MOST_MESSAGE: usize = 4096;
/// The longest of a served one, which reads while its parent writes.
pub(super) const MOST_SERVED: usize = 1 << 20;

/// What a child has open besides the standard streams: its end of the lifeline, the arena, what the arguments bring, and
/// at last the standard streams that are not in place yet.
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
    pub(super) work: Work,
    pub(super) birth: Birth,
    /// How many files the arguments bring.
    pub(super) files: u32,
}

/// What a child is to do.
#[derive(Serialize, Deserialize)]
pub(super) enum Work {
    /// Call a function of this image.
    Call(Entry),
    /// Call a function that this program registered.
    Named(String),
    /// Be a fork server.
    Serve {
        warm: Option<Plain>,
        /// Threads that it may have: itself, and one that waits for it.
        threads: u32,
    },
}

/// Who a child is, and how it is to be.
#[derive(Serialize, Deserialize)]
pub(super) struct Birth {
    /// 0 for a server, which has none.
    pub(super) record: u64,
    pub(super) parent: u64,
    pub(super) told: Told,
    pub(super) setup: Setup,
    /// The parent's default start method, if it has one.
    pub(super) default: Option<StartMethod>,
    /// The standard streams that come as files, one bit each.
    pub(super) streams: u8,
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

/// What an executed process finds that it is.
enum Begun {
    /// What there is to do, whether its image is its parent's, and with what.
    Child(Work, bool, Child),
    Server(server::Orders),
}

/// Does what this process was executed for.
pub(super) fn run(end: LifelineEnd) -> ! {
    match begin(end) {
        Ok(Begun::Child(work, image, child)) => work_off(work, image, child),
        Ok(Begun::Server(orders)) => server::serve(orders),
        Err(error) => never(&error),
    }
}

/// Does what this fork of a server was made for.
pub(super) fn run_served(end: LifelineEnd, files: Vec<OwnedFile>) -> ! {
    let message = match read(&end, MOST_SERVED) {
        Ok(message) => message,
        // Its parent never learned of it, as the server died, and has another one begin in its place.
        Err(_) if end.is_parent_gone() => std::process::exit(NEVER_BEGAN),
        Err(error) => never(&error),
    };
    match begin_served(message, end, files) {
        Ok((work, image, child)) => work_off(work, image, child),
        Err(error) => never(&error),
    }
}

/// Does what this fork of its parent was made for; nothing of the parent's that is under way in this thread is gone on
/// with, whatever happens.
pub(super) fn run_forked<A, R>(
    end: LifelineEnd,
    birth: Birth,
    streams: Vec<OwnedFile>,
    files: Vec<OwnedFile>,
    function: fn(A) -> R,
) -> !
where
    A: DeserializeOwned,
    R: Serialize,
{
    let ran = catch_unwind(AssertUnwindSafe(|| -> Result<i32> {
        let _armed = arm(end)?;
        family::family()?
            .after_fork_in_child()
            .map_err(|error| Error::caused(Kind::Os, Subject::None, "take part", error))?;
        let record = enrol(birth, streams)?;
        Ok(match record {
            Ok(record) => call(function, Child { record, files }),
            Err(code) => code,
        })
    }));
    match ran {
        Ok(Ok(code)) => std::process::exit(code),
        Ok(Err(error)) => never(&error),
        // The hook has told.
        Err(_) => std::process::exit(PANICKED),
    }
}

fn never(error: &Error) -> ! {
    eprintln!("offspring: a child process cannot begin: {error:?}");
    std::process::exit(NEVER_BEGAN)
}

fn work_off(work: Work, image: bool, child: Child) -> ! {
    let record = child.record;
    let ran = match work {
        Work::Call(_) if !image => Err(
            "it was started as another program than its parent: a function can only be run by the same one"
                .to_owned(),
        ),
        // SAFETY: E1: the images were compared.
        #[allow(unsafe_code)]
        Work::Call(entry) => unsafe { entry.run(child) }.map_err(str::to_owned),
        Work::Named(name) => match named::find(&name) {
            Some(runner) => Ok(runner(child)),
            None => Err(format!(
                "no function is registered as `{name}`; its program must call `offspring::process::register` before \
                 `offspring::init()`"
            )),
        },
        Work::Serve { .. } => Err("a fork server makes no fork servers".to_owned()),
    };
    exit::exit(ran.unwrap_or_else(|why| refuse(record, &why)))
}

fn os(text: &str, error: sys::OsError) -> Error {
    Error::caused(Kind::Os, Subject::None, text.to_owned(), error)
}

fn unreadable() -> Error {
    let text = "read the start message: parent and child must use the same version of this library";
    Error::new(Kind::Decode, Subject::None, text)
}

fn read(end: &LifelineEnd, most: usize) -> Result<Message> {
    let bytes = end.read_message(most).map_err(|error| os("take the start message", error))?;
    let (version, _) = postcard::take_from_bytes::<u32>(&bytes).map_err(|_| unreadable())?;
    if version != VERSION {
        return Err(unreadable());
    }
    postcard::from_bytes(&bytes).map_err(|_| unreadable())
}

/// Armed as long as this process lives.
fn arm(end: LifelineEnd) -> Result<Armed> {
    end.arm().map_err(|error| os("tie this process to its parent", error))
}

fn begin(end: LifelineEnd) -> Result<Begun> {
    let message = read(&end, MOST_MESSAGE)?;
    let lifeline = arm(end)?;
    let take =
        |number| entry::take_file(number).map_err(|error| os("take what the parent passed", error));
    let arena = take(ARENA)?;
    let streams = message.birth.streams.count_ones();
    let count = message.files.checked_add(streams).and_then(|count| i32::try_from(count).ok());
    let count = count.ok_or_else(unreadable)?;
    let files = (0..count).map(|number| take(FILES + number)).collect::<Result<Vec<_>>>()?;
    family::join(arena, ProcessRef::from_bits(message.birth.parent))?;
    if let Work::Serve { warm, threads } = message.work {
        let (files, streams) = parted(files, message.files)?;
        Me::set(message.birth.told);
        init::began();
        place(message.birth.streams, &streams)
            .map_err(|error| os("take the parent's streams", error))?;
        let image = message.image == Image::main().identity();
        return Ok(Begun::Server(server::Orders { warm, image, threads, files, lifeline }));
    }
    let (work, image, child) = enter(message, files)?;
    Ok(Begun::Child(work, image, child))
}

/// What the arguments bring, and the streams behind it.
fn parted(mut files: Vec<OwnedFile>, count: u32) -> Result<(Vec<OwnedFile>, Vec<OwnedFile>)> {
    if count as usize > files.len() {
        return Err(unreadable());
    }
    let streams = files.split_off(count as usize);
    Ok((files, streams))
}

/// Puts the standard streams in place that came as files.
fn place(which: u8, files: &[OwnedFile]) -> Result<(), sys::OsError> {
    let numbers = (0..3).filter(|number| which & (1 << number) != 0);
    numbers.zip(files).try_for_each(|(number, file)| sys::setup::become_stream(number, file))
}

fn begin_served(
    message: Message,
    end: LifelineEnd,
    files: Vec<OwnedFile>,
) -> Result<(Work, bool, Child)> {
    let _armed = arm(end)?;
    family::family()?
        .after_fork_in_child()
        .map_err(|error| Error::caused(Kind::Os, Subject::None, "take part", error))?;
    enter(message, files)
}

fn enter(message: Message, files: Vec<OwnedFile>) -> Result<(Work, bool, Child)> {
    let image = message.image == Image::main().identity();
    let (files, streams) = parted(files, message.files)?;
    match enrol(message.birth, streams)? {
        Ok(record) => Ok((message.work, image, Child { record, files })),
        Err(code) => std::process::exit(code),
    }
}

/// This process becomes the one that it was told to be; its record, or the exit code.
fn enrol(birth: Birth, streams: Vec<OwnedFile>) -> Result<Result<&'static Record, i32>> {
    Me::set(birth.told);
    context::inherit(birth.default);
    init::began();
    hit(Point::ChildJoined);
    let record: &'static Record =
        Box::leak(Box::new(Record::join(RegionRef::from_bits(birth.record))?));
    record.begin();
    let set = place(birth.streams, &streams)
        .map_err(|error| format!("it could not {error}"))
        .and_then(|()| birth.setup.apply());
    if let Err(why) = set {
        return Ok(Err(refuse(record, &why)));
    }
    panic::note_in(record);
    Ok(Ok(record))
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

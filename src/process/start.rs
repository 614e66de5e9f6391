//! The parent's side of a start: the record, the message, the program.
//!
//! The message goes into the pipe before there is a child, which finds all that it needs from its first instruction
//! on. If the parent is killed anywhere in here, the pipe's end closes with it and the child ends; the record goes with
//! its members.

use super::builder::Builder;
use super::child::{Birth, MOST_MESSAGE, Message, PIPE, VERSION, Work};
use super::children::{self, Started};
use super::context::{self, Context, StartMethod};
use super::current::Me;
use super::entry::{self, Entry};
use super::parent::Identity;
use super::record::Record;
use super::setup::{self, Changes, Setup};
use super::stdio::Source;
use super::{forked, server};
use crate::error::{Error, Kind, Result, Subject};
use crate::family::family;
use crate::init::{self, How};
use crate::sys::image::Image;
use crate::sys::{self, Lifeline, LifelineEnd, OwnedFile, Start, Stdio};
use crate::value::{self, Place};
use offspring_core::points::{Point, hit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The longest name, in bytes.
const MOST_NAME: usize = 1024;

/// A child that can be made in any way.
pub(super) struct Prepared {
    pub(super) birth: Birth,
    pub(super) record: Record,
    /// What the arguments bring.
    pub(super) files: Vec<OwnedFile>,
    /// The standard streams that are not the parent's, for those who put them in place themselves.
    pub(super) streams: Vec<OwnedFile>,
}

pub(super) fn start<A, R>(
    builder: &Builder,
    function: fn(A) -> R,
    arguments: A,
) -> Result<Arc<Started>>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    let context = builder.context.clone().unwrap_or_else(Context::current);
    match context.method {
        StartMethod::Fork => {
            let prepared = prepare(builder, &context, arguments)?;
            forked::launch(&context, prepared, function)
        }
        StartMethod::Forkserver => {
            how(&context)?;
            let entry = Entry::of(function)?;
            let prepared = prepare(builder, &context, arguments)?;
            server::launch(&context, prepared, Work::Call(entry))
        }
        StartMethod::Spawn => {
            how(&context)?;
            let entry = Entry::of(function)?;
            let prepared = prepare(builder, &context, arguments)?;
            spawn(builder, &context, prepared, Work::Call(entry))
        }
    }
}

pub(super) fn start_named<A: Serialize>(
    builder: &Builder,
    function: &str,
    arguments: A,
) -> Result<Arc<Started>> {
    let context = builder.context.clone().unwrap_or_else(Context::current);
    let work = Work::Named(function.to_owned());
    match context.method {
        StartMethod::Fork => {
            let text = format!(
                "start the function `{function}` by `fork`: names are for programs that are executed; use `spawn`"
            );
            Err(Error::new(Kind::Options, Subject::None, text))
        }
        StartMethod::Forkserver => {
            how(&context)?;
            let prepared = prepare(builder, &context, arguments)?;
            server::launch(&context, prepared, work)
        }
        StartMethod::Spawn => {
            how(&context)?;
            let prepared = prepare(builder, &context, arguments)?;
            spawn(builder, &context, prepared, work)
        }
    }
}

/// How a child gets to its function. Another program calls `init`, whatever this one does.
pub(super) fn how(context: &Context) -> Result<&'static How> {
    match init::how() {
        Err(_) if context.executable.is_some() => Ok(&How::Main),
        how => how,
    }
}

/// Makes the record and puts the arguments in.
fn prepare<A: Serialize>(builder: &Builder, context: &Context, arguments: A) -> Result<Prepared> {
    let me = Me::get();
    check(builder, &me)?;
    children::reap();
    let encoded = value::encode(&arguments, Place::Spawn)?;
    let record = Record::create()?;
    record.put_arguments(encoded.bytes.as_slice(), encoded.carries)?;
    // From here on the record holds what they name.
    drop(arguments);
    hit(Point::StartRecorded);
    let executed = context.method == StartMethod::Spawn;
    let mut birth = birth(&me, builder.name.clone(), builder.daemon, context.method)?;
    birth.record = record.region().bits();
    birth.setup = Setup {
        directory: builder.directory.clone(),
        umask: builder.umask,
        clear: builder.clear && !executed,
        changes: if executed { Changes::new() } else { builder.changes.clone() },
    };
    let mut streams = Vec::new();
    if !executed {
        for (number, stream) in builder.streams.iter().enumerate() {
            let stream = match &stream.0 {
                Source::Inherit => continue,
                Source::Null => sys::setup::null().map_err(os)?,
                Source::File(file) => file.try_clone().map_err(|error| {
                    Error::caused(Kind::Os, Subject::None, "pass a standard stream", error)
                })?,
            };
            streams.push(stream);
            birth.streams |= 1 << number;
        }
    }
    Ok(Prepared { birth, record, files: encoded.files, streams })
}

fn os(error: sys::OsError) -> Error {
    Error::caused(Kind::Os, Subject::None, "start a process", error)
}

fn check(builder: &Builder, me: &Me) -> Result<()> {
    let refused = |text: String| Err(Error::new(Kind::Options, Subject::None, text));
    if me.told.daemon && !builder.from_daemon {
        return refused(format!(
            "start a process from `{}`: it is a daemon, which may have no children, as it ends without waiting for them; \
             `Builder::from_daemon` lets it have some that end with it",
            me.name()
        ));
    }
    if let Some(name) = builder.name.as_ref().filter(|name| name.len() > MOST_NAME) {
        return refused(format!(
            "name a process: {} bytes are too many, at most {MOST_NAME} go",
            name.len()
        ));
    }
    for (name, value) in &builder.changes {
        if !setup::is_name(name) || value.as_ref().is_some_and(|value| !setup::is_value(value)) {
            return refused(format!(
                "set {} in a child's environment: a name is not empty and holds no `=`, and nothing holds a zero byte",
                name.display()
            ));
        }
    }
    Ok(())
}

/// Who the next child is.
fn birth(
    me: &Me,
    name: Option<String>,
    daemon: Option<bool>,
    method: StartMethod,
) -> Result<Birth> {
    let parent = Identity::of_self(me.name()).map_err(os)?;
    Ok(Birth {
        record: 0,
        parent: family()?.me().bits(),
        told: me.child(name, daemon, method, Some(parent)),
        setup: Setup::default(),
        default: context::start_method_if_set(),
        streams: 0,
    })
}

pub(super) fn encoded(message: &Message) -> Result<Vec<u8>> {
    postcard::to_stdvec(message)
        .map_err(|error| Error::caused(Kind::Encode, Subject::None, "write a start message", error))
}

fn spawn(
    builder: &Builder,
    context: &Context,
    prepared: Prepared,
    work: Work,
) -> Result<Arc<Started>> {
    let Prepared { birth, record, files, streams: _ } = prepared;
    let (name, daemon) = (birth.told.name.clone(), birth.told.daemon);
    let streams = [0, 1, 2].map(|number| &builder.streams[number].0);
    let environment = (!builder.clear, builder.changes.clone());
    let (process, lifeline) =
        execute(how(context)?, context, work, birth, &files, streams, environment)?;
    Ok(children::enter(name, daemon, record, process, lifeline))
}

/// Executes a fork server.
pub(super) fn execute_server(
    how: &How,
    context: &Context,
    work: Work,
    files: [OwnedFile; 2],
) -> Result<(sys::Child, (Lifeline, LifelineEnd))> {
    let me = Me::get();
    let parent = Identity::of_self(me.name()).map_err(os)?;
    let mut told = me.told.clone();
    told.name = format!("Forkserver of {}", me.name());
    told.parent = Some(parent);
    told.method = StartMethod::Forkserver;
    let birth = Birth {
        record: 0,
        parent: family()?.me().bits(),
        told,
        setup: Setup::default(),
        default: context::start_method_if_set(),
        streams: 0,
    };
    execute(how, context, work, birth, &files, [&Source::Inherit; 3], (true, Changes::new()))
}

fn execute(
    how: &How,
    context: &Context,
    work: Work,
    mut birth: Birth,
    files: &[OwnedFile],
    streams: [&Source; 3],
    (inherit, mut changes): (bool, Changes),
) -> Result<(sys::Child, (Lifeline, LifelineEnd))> {
    let name = birth.told.name.clone();
    let failed =
        |error| Error::caused(Kind::Os, Subject::None, format!("start process `{name}`"), error);
    let stdout = std::io::stdout();
    let mut stdio = streams.map(|stream| match stream {
        Source::Inherit => Stdio::Inherit,
        Source::Null => Stdio::Null,
        Source::File(file) => Stdio::Fd(sys::borrow(&**file)),
    });
    // What the harness prints is not the child's.
    let aside = match (how, streams[1]) {
        (How::Main, _) | (How::Test(_), Source::Null) => None,
        (How::Test(_), Source::Inherit) => Some(sys::borrow(&stdout)),
        (How::Test(_), Source::File(file)) => Some(sys::borrow(&**file)),
    };
    if aside.is_some() {
        stdio[1] = Stdio::Null;
        birth.streams = 1 << 1;
    }
    let message = Message {
        version: VERSION,
        image: Image::main().identity().to_vec(),
        work,
        birth,
        files: files.len() as u32,
    };
    let bytes = encoded(&message)?;
    if bytes.len() > MOST_MESSAGE {
        let text =
            "start a process: too deep in a tree of processes, or its directory's name is too long";
        return Err(Error::new(Kind::TooLarge, Subject::None, text));
    }
    let (lifeline, end) = Lifeline::pair().map_err(failed)?;
    // The pipe is empty and takes it at once.
    lifeline.send_message(&bytes, Some(sys::now())).map_err(failed)?;
    hit(Point::StartSent);
    let (marker, value) = entry::marker(PIPE, &end).map_err(failed)?;
    let mut fds = vec![end.fd(), family()?.arena_fd()];
    fds.extend(files.iter().map(sys::borrow));
    fds.extend(aside);
    let argv = match how {
        How::Main => sys::inherited::arguments(),
        How::Test(path) => test_arguments(path),
    };
    changes.push((marker.into(), Some(value.into())));
    let env = sys::inherited::environment_changed(inherit, &changes);
    let exe = context.executable.as_ref().map(|path| path.to_path_buf().into_os_string());
    let exe = exe.and_then(sys::inherited::terminated);
    let start = Start { exe, argv, env, stdio, ..Start::tied(&lifeline, fds) };
    let process = start.spawn().map_err(failed)?;
    hit(Point::StartForked);
    init::began();
    Ok((process, (lifeline, end)))
}

/// What makes libtest run exactly one test, and print nothing that it caught.
fn test_arguments(path: &str) -> Vec<sys::Text> {
    let program = sys::inherited::arguments().into_iter().take(1);
    let options = [path, "--exact", "--nocapture", "--quiet", "--test-threads=1"];
    program
        .chain(options.into_iter().filter_map(|text| sys::inherited::terminated(text.into())))
        .collect()
}

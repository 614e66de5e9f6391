//! The parent's side of a start: the record, the message, the program.
//!
//! The message goes into the pipe before there is a child, which finds all that it needs from its first instruction
//! on. If the parent is killed anywhere in here, the pipe's end closes with it and the child ends; the record goes with
//! its members.

use super::child::{MOST_MESSAGE, Message, PIPE, VERSION};
use super::children::{self, Started};
use super::current::Current;
use super::entry::{self, Entry};
use super::record::Record;
use crate::error::{Error, Kind, Result, Subject};
use crate::family::family;
use crate::init::{self, How};
use crate::sys::image::Image;
use crate::sys::{self, AsFd, Lifeline, Start, Stdio};
use crate::value::{self, Place};
use offspring_core::points::{Point, hit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::CString;
use std::sync::Arc;

/// The longest name, in bytes.
const MOST_NAME: usize = 1024;

pub(super) fn start<A, R>(
    name: Option<String>,
    daemon: Option<bool>,
    function: fn(A) -> R,
    arguments: A,
) -> Result<Arc<Started>>
where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    let how = init::how()?;
    let parent = Current::get();
    if parent.daemon {
        let text = format!(
            "start a process from `{}`: it is a daemon, which may have no children, as it ends without waiting for them",
            parent.name
        );
        return Err(Error::new(Kind::Options, Subject::None, text));
    }
    if let Some(name) = name.as_ref().filter(|name| name.len() > MOST_NAME) {
        let text =
            format!("name a process: {} bytes are too many, at most {MOST_NAME} go", name.len());
        return Err(Error::new(Kind::Options, Subject::None, text));
    }
    children::reap();
    let entry = Entry::of(function)?;
    let encoded = value::encode(&arguments, Place::Spawn)?;
    let record = Record::create()?;
    record.put_arguments(encoded.bytes.as_slice(), encoded.carries)?;
    // From here on the record holds what they name.
    drop(arguments);
    hit(Point::StartRecorded);
    let current = parent.child(name, daemon);
    launch(how, current, entry, record, &encoded.files)
}

fn launch(
    how: &How,
    current: Current,
    entry: Entry,
    record: Record,
    files: &[sys::OwnedFile],
) -> Result<Arc<Started>> {
    let failed = |error| {
        Error::caused(Kind::Os, Subject::None, format!("start process `{}`", current.name), error)
    };
    let family = family()?;
    let message = Message {
        version: VERSION,
        image: Image::main().identity().to_vec(),
        record: record.region().bits(),
        parent: family.me().bits(),
        entry,
        current: current.clone(),
        files: files.len() as u32,
        stdout: matches!(how, How::Test(_)),
    };
    let bytes = postcard::to_stdvec(&message).map_err(|error| {
        Error::caused(Kind::Encode, Subject::None, "write a start message", error)
    })?;
    if bytes.len() > MOST_MESSAGE {
        let text = "start a process: too deep in a tree of processes";
        return Err(Error::new(Kind::TooLarge, Subject::None, text));
    }
    let (lifeline, end) = Lifeline::pair().map_err(failed)?;
    // The pipe is empty and takes it at once.
    lifeline.send_message(&bytes, Some(sys::now())).map_err(failed)?;
    hit(Point::StartSent);
    let (marker, value) = entry::marker(PIPE, &end).map_err(failed)?;
    let stdout = std::io::stdout();
    let mut fds = vec![end.fd(), family.arena_fd()];
    fds.extend(files.iter().map(AsFd::as_fd));
    let (argv, stdio) = match how {
        How::Main => (sys::inherited::arguments(), [Stdio::Inherit; 3]),
        How::Test(path) => {
            // What the harness prints is not the child's.
            fds.push(stdout.as_fd());
            (test_arguments(path), [Stdio::Inherit, Stdio::Null, Stdio::Inherit])
        }
    };
    let env = sys::inherited::environment_with(marker, &value);
    let start = Start { exe: None, argv, env, stdio, fds };
    let process = start.spawn().map_err(failed)?;
    hit(Point::StartForked);
    init::began();
    Ok(children::enter(current.name, current.daemon, record, process, (lifeline, end)))
}

/// What makes libtest run exactly one test, and print nothing that it caught.
fn test_arguments(path: &str) -> Vec<CString> {
    let program = sys::inherited::arguments().into_iter().take(1);
    let options = [path, "--exact", "--nocapture", "--quiet", "--test-threads=1"];
    program
        .chain(options.into_iter().filter_map(|text| sys::inherited::terminated(text.into())))
        .collect()
}

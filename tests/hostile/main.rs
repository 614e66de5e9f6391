//! What comes in wrong: sizes that cannot be, handles of others, memory that somebody overwrote. Each gives an error or a
//! value; nothing hangs, and nobody is killed.

#[path = "../common/mod.rs"]
mod common;
mod damage;

use common::{Memory, arena};
use offspring::process::Passed;
use offspring::{Process, Queue};
use offspring_core::family::layout::RegionHead;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs::File;
use std::mem::offset_of;
use std::process::Command;

/// Makes this program say which family it is, and end.
const FOREIGN: &str = "OFFSPRING_TEST_FOREIGN";

fn main() {
    let _main = offspring::init();
    if std::env::var_os(FOREIGN).is_some() {
        let queue = Queue::<u32>::bounded(1).unwrap();
        return println!("{} {}", arena::family_id(), queue.capacity());
    }
    common::watchdog(240);
    common::run(&[
        ("sizes_beyond_the_possible_are_refused", sizes_beyond_the_possible_are_refused),
        ("message_that_never_fits_comes_back_from_every_form", message_that_never_fits),
        ("closed_queue_gives_requests_back", closed_queue_gives_requests_back),
        ("file_in_a_queue_is_refused_and_comes_back", file_in_a_queue_is_refused),
        ("handle_of_another_family_is_refused", handle_of_another_family_is_refused),
        ("handle_of_another_type_is_refused_in_a_child", handle_of_another_type_is_refused),
        ("handle_of_another_version_is_refused", handle_of_another_version_is_refused),
        ("overwritten_queue_gives_errors_or_values", damage::overwritten_queue),
        ("queue_overwritten_under_sleepers_keeps_nobody", damage::overwritten_under_sleepers),
    ]);
}

fn sizes_beyond_the_possible_are_refused() {
    let build = Queue::<u32, u32>::builder;
    for builder in [
        build().capacity(0),
        build().capacity(usize::MAX),
        build().capacity(1 << 24),
        build().max_message(usize::MAX),
        build().inline_bytes(4081),
        build().inline_bytes(usize::MAX),
        build().class_bytes(usize::MAX),
        build().max_deliveries(256),
        build().max_deliveries(u32::MAX),
    ] {
        let text = format!("{builder:?}");
        let error = builder.build().expect_err(&text);
        assert!(format!("{error:?}").starts_with("make a queue"), "{text}: {error:?}");
    }
    // The largest that are possible cost address space, not memory. (Windows: of an arena of 64 GiB.)
    let largest = if cfg!(windows) { 4 << 30 } else { 256 << 30 };
    let builder = Queue::<Vec<u8>, u32>::builder().max_message(largest).replies(true);
    let queue = builder.build().unwrap();
    queue.put(vec![3; 100_000]).unwrap();
    assert_eq!(queue.get().unwrap(), vec![3; 100_000]);
}

fn message_that_never_fits() {
    let queue: Queue<Vec<u8>, Vec<u8>> =
        Queue::builder().capacity(2).max_message(1000).replies(true).build().unwrap();
    let most = (0..2000).rev().find(|len| queue.try_put(vec![1; *len]).is_ok()).unwrap();
    assert!(most >= 900, "{most} bytes are the most that fit");
    assert_eq!(queue.get().unwrap(), vec![1; most]);
    let long = || vec![7_u8; 5000];
    let soon = std::time::Instant::now();
    for refused in [
        queue.put(long()).unwrap_err(),
        queue.try_put(long()).unwrap_err(),
        queue.put_deadline(long(), soon).unwrap_err(),
        queue.request(long()).unwrap_err(),
        queue.try_request(long()).unwrap_err(),
    ] {
        assert!(refused.error().is_too_large(), "{refused}");
        assert_eq!(refused.into_inner(), long());
    }
    let mut ticket = queue.request(vec![1]).unwrap();
    let refused = queue.lease().unwrap().reply(long()).unwrap_err();
    assert!(refused.error.is_too_large() && refused.answer == long(), "{}", refused.error);
    assert!(refused.lease.reply(vec![2]).unwrap().is_delivered());
    assert_eq!(ticket.wait().unwrap(), [2]);
}

fn closed_queue_gives_requests_back() {
    let queue: Queue<String, String> = Queue::builder().replies(true).build().unwrap();
    let mut ticket = queue.request("before".into()).unwrap();
    queue.close();
    let refused = queue.request("after".into()).unwrap_err();
    assert!(refused.error().is_closed());
    assert_eq!(refused.into_inner(), "after");
    assert!(queue.lease().unwrap().reply("still".into()).unwrap().is_delivered());
    assert_eq!(ticket.wait().unwrap(), "still");
    assert!(queue.get().unwrap_err().is_closed());
}

fn file_in_a_queue_is_refused() {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let len = file.metadata().unwrap().len();
    let queue = Queue::<(u32, Vec<Passed<File>>)>::bounded(1).unwrap();
    let refused = queue.put((5, vec![Passed(file)])).unwrap_err();
    assert!(refused.error().is_encode(), "{refused}");
    assert!(refused.to_string().contains("spawn arguments"), "{refused}");
    let (number, files) = refused.into_inner();
    assert_eq!((number, files[0].metadata().unwrap().len()), (5, len));
    assert!(queue.is_empty());
    // The same value goes where files go.
    let read: fn((u32, Vec<Passed<File>>)) -> u64 = |(_, files)| files[0].metadata().unwrap().len();
    assert_eq!(Process::spawn(read, (number, files)).unwrap().join().unwrap(), len);
}

/// Writes a true handle and beside it one of its own making, and is read as two handles.
#[derive(Debug)]
struct Forged {
    handle: Queue<u32>,
    /// As a handle is written: its place in the message's list, and the family.
    written: (u16, u64),
}

impl Serialize for Forged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.handle, self.written).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Forged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (handle, other) = <(Queue<u32>, Queue<u32>)>::deserialize(deserializer)?;
        assert!(handle == other, "a handle leads to what its message lists, nowhere else");
        Ok(Self { handle, written: (0, 0) })
    }
}

fn handle_of_another_family_is_refused() {
    let output = Command::new(std::env::current_exe().unwrap()).env(FOREIGN, "1").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let foreign: u64 = said.split(' ').next().unwrap().parse().unwrap();
    assert_ne!(foreign, arena::family_id());

    let handle = Queue::<u32>::bounded(1).unwrap();
    let forged = |written| Forged { handle: handle.clone(), written };
    let post = Queue::<Forged>::bounded(1).unwrap();
    post.put(forged((0, arena::family_id()))).unwrap();
    assert!(post.get().unwrap().handle == handle, "what is forged well is a handle");

    post.put(forged((0, foreign))).unwrap();
    let error = post.lease().unwrap_err();
    assert!(error.is_wrong_family(), "{error}");
    assert_eq!(post.len(), 1, "what cannot be read is given back");
    assert!(post.get().unwrap_err().is_wrong_family());

    post.put(forged((1, arena::family_id()))).unwrap();
    let error = post.get().unwrap_err();
    assert!(error.is_decode() && error.to_string().contains("does not list"), "{error}");

    let error = Process::spawn(|_: Forged| (), forged((0, foreign))).unwrap().join().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("another family"), "{error}");
}

/// Goes as a queue of bytes and comes as one of text.
struct Liar(Queue<u8>);

impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Liar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Queue::<String>::deserialize(deserializer)?;
        unreachable!("it is no queue of text")
    }
}

fn handle_of_another_type_is_refused() {
    let queue = Queue::bounded(1).unwrap();
    let error = Process::spawn(|_: Liar| (), Liar(queue)).unwrap().join().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("another type"), "{error}");
}

fn handle_of_another_version_is_refused() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let (at, _) = arena::region(&queue);
    let at = at + offset_of!(RegionHead, version) as u64;
    let mut version = [0; 4];
    let memory = Memory::open();
    memory.read(at, &mut version);
    memory.write(at, &99_u32.to_ne_bytes());
    let take: fn(Queue<u32>) -> u32 = |queue| queue.get().unwrap();
    let error = Process::spawn(take, queue.clone()).unwrap().join().unwrap_err();
    assert!(error.is_refused(), "{error}");
    memory.write(at, &version);
    queue.put(6).unwrap();
    assert_eq!(Process::spawn(take, queue).unwrap().join().unwrap(), 6);
}

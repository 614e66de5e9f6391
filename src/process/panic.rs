//! A child's panic, noted for its parent by the panic hook, before it is decided whether the stack unwinds.
//!
//! So it is known with `panic = "abort"`, too, and from whichever thread it came. A panic that is caught leaves a note
//! that nobody asks for; one that ends the process (or the function) leaves the last note.

use super::current::Me;
use super::record::{MOST_NOTE, NoteKind, Record};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// A panic in another process.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    message: String,
    location: Option<String>,
    thread: Option<String>,
    backtrace: Option<String>,
}

/// The longest message kept, in bytes.
const MOST_MESSAGE: usize = 4096;
/// The longest backtrace kept: with the rest it fits a note.
const MOST_BACKTRACE: usize = MOST_NOTE - MOST_MESSAGE - 2048;
const MOST_NAME: usize = 512;

impl Panic {
    /// What it said, the first 4096 bytes of it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it happened, as `file:line:column`. `None` for an unwinding that no `panic!` began.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The name of the thread it happened in.
    #[must_use]
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// The stack at that time, its first 10240 bytes; only if `RUST_BACKTRACE` asked the child for it.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }

    /// What a note of a panic holds.
    pub(super) fn from_note(bytes: &[u8]) -> Self {
        postcard::from_bytes(bytes).unwrap_or_else(|_| Self::saying("(its message is damaged)"))
    }

    /// For want of a note.
    pub(super) fn saying(message: &str) -> Self {
        let message = message.to_owned();
        Self { message, location: None, thread: None, backtrace: None }
    }

    fn of(info: &PanicHookInfo<'_>) -> Self {
        let backtrace = Backtrace::capture();
        let captured = backtrace.status() == BacktraceStatus::Captured;
        let thread = std::thread::current();
        Self {
            message: cut(info.payload_as_str().unwrap_or(UNPRINTABLE).to_owned(), MOST_MESSAGE),
            location: info.location().map(|at| cut(at.to_string(), MOST_NAME)),
            thread: thread.name().map(|name| cut(name.to_owned(), MOST_NAME)),
            backtrace: captured.then(|| cut(backtrace.to_string(), MOST_BACKTRACE)),
        }
    }
}

/// What std says of a payload that is no text.
const UNPRINTABLE: &str = "Box<dyn Any>";

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "panicked at {location}: {}", self.message),
            None => write!(f, "panicked: {}", self.message),
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match &self.backtrace {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// What the hook knows.
struct Notes {
    /// Of this process; nobody's in one that is no child.
    record: Option<&'static Record>,
    /// The last panic that was noted.
    last: Option<Panic>,
    /// A result was, or is about to be, committed: the note is the parent's.
    closed: bool,
}

static NOTES: Mutex<Notes> = Mutex::new(Notes { record: None, last: None, closed: false });

fn notes() -> MutexGuard<'static, Notes> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on every panic of this process is noted in `record`, and then goes to the hook that is there. A fork of a
/// child has the hook already.
pub(super) fn note_in(record: &'static Record) {
    static HOOKED: Once = Once::new();
    *notes() = Notes { record: Some(record), last: None, closed: false };
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            note(Panic::of(info));
            // Whose it is; a standard error that is closed swallows it.
            let me = Me::get();
            let _ = writeln!(std::io::stderr(), "Process {}:", me.name());
            before(info);
        }));
    });
}

/// What std says when it is about to end the process, since the stack must not unwind further.
const CANNOT_UNWIND: [&str; 2] =
    ["panic in a function that cannot unwind", "panic in a destructor during cleanup"];

fn note(mut panic: Panic) {
    let mut notes = notes();
    let Some(record) = notes.record.filter(|_| !notes.closed) else { return };
    let mut kind = if cfg!(panic = "abort") { NoteKind::FatalPanic } else { NoteKind::Panic };
    if CANNOT_UNWIND.contains(&panic.message.as_str()) {
        kind = NoteKind::FatalPanic;
        if let Some(first) = notes.last.take() {
            let message = format!("{}; then {}", first.message, panic.message);
            panic = Panic { message: cut(message, MOST_MESSAGE), ..first };
        }
    }
    if let Ok(bytes) = postcard::to_stdvec(&panic) {
        record.write_note(kind, &bytes);
    }
    notes.last = Some(panic);
}

/// The function's panic was caught with this payload: notes it unless the hook has, and closes.
pub(super) fn close_with(payload: &(dyn Any + Send)) {
    let message = message_of(payload);
    let mut notes = notes();
    let noted = notes.last.as_ref().is_some_and(|last| last.message == message);
    if let Some(record) = notes.record.filter(|_| !noted && !notes.closed) {
        let bytes = postcard::to_stdvec(&Panic::saying(&message)).unwrap_or_default();
        record.write_note(NoteKind::Panic, &bytes);
    }
    notes.closed = true;
}

/// The panic that was just caught with this payload, as the hook noted it.
pub(crate) fn caught(payload: &(dyn Any + Send)) -> Panic {
    let message = message_of(payload);
    let notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    let noted = notes.last.as_ref().filter(|last| last.message == message);
    noted.cloned().unwrap_or_else(|| Panic::saying(&message))
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    cut(text.unwrap_or(UNPRINTABLE).to_owned(), MOST_MESSAGE)
}

/// No panic is noted any more.
pub(super) fn close() {
    notes().closed = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_panic_fits_a_note() {
        let panic = Panic {
            message: "m".repeat(MOST_MESSAGE),
            location: Some("l".repeat(MOST_NAME)),
            thread: Some("t".repeat(MOST_NAME)),
            backtrace: Some("b".repeat(MOST_BACKTRACE)),
        };
        let bytes = postcard::to_stdvec(&panic).unwrap();
        assert!(bytes.len() <= MOST_NOTE, "{}", bytes.len());
        assert_eq!(Panic::from_note(&bytes), panic);
        assert!(Panic::from_note(&bytes[..9]).message().contains("damaged"));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("aé".to_owned(), 2), "a");
        assert_eq!(cut("aé".to_owned(), 3), "aé");
    }
}

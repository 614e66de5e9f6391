//! Options of a queue.

use super::Queue;
use super::unbounded::Chained;
use crate::error::{Error, Kind, Result, Subject};
use offspring_core::queue::{Geometry, MOST_SLOTS, Options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

/// Slots of the smallest ring of an unbounded queue.
const FIRST_RING: usize = 256;

/// Options of a [`Queue`]; see [`Queue::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<T, R = ()> {
    options: Options,
    capacity: usize,
    max_deliveries: u32,
    chained: Option<Chained>,
    makes: PhantomData<fn(T) -> (T, R)>,
}

impl<T, R> fmt::Debug for Builder<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish()
    }
}

impl<T: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned> Builder<T, R> {
    pub(super) fn new() -> Self {
        // What a plain T takes at most: numbers their own width, and a little for the length of bytes or the number of a
        // variant. Longer values (strings, vectors) go to a block.
        let inline = (size_of::<T>() + 2).clamp(16, 240) as u32;
        let options = Options { inline, ..Options::default() };
        Self {
            options,
            capacity: options.capacity as usize,
            max_deliveries: 0,
            chained: None,
            makes: PhantomData,
        }
    }

    /// How many items it holds, 1 to 16 777 215. Without this, 1024.
    #[doc(alias = "maxsize")]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Bytes of the largest message it must take, up to 256 GiB. Without this, 256 MiB. Costs address space, and memory only as
    /// messages need it.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.options.most_message = bytes as u64;
        self
    }

    /// Bytes of a message that lie in the ring itself, up to 4080; larger ones take a block. Without this, what a plain `T` needs.
    pub fn inline_bytes(mut self, bytes: usize) -> Self {
        self.options.inline = u32::try_from(bytes).unwrap_or(u32::MAX);
        self
    }

    /// Bytes that messages of one size class (each four times as large as the one before) may take in all, before `put`
    /// waits for room. Without this, 64 MiB; three messages always fit.
    pub fn class_bytes(mut self, bytes: usize) -> Self {
        self.options.class_bytes = bytes as u64;
        self
    }

    /// Whether [`request`](Queue::request) works: each block gets a second one set aside for its reply.
    pub fn replies(mut self, replies: bool) -> Self {
        self.options.replies = replies;
        self
    }

    /// How often an item may be given back, 1 to 255, before it goes to [`dead_letters`](Queue::dead_letters). Without this, no
    /// limit.
    pub fn max_deliveries(mut self, most: u32) -> Self {
        self.max_deliveries = most;
        self
    }

    /// Lets it grow: when its ring is full, another one follows, each as large as the chain is long, and a ring that is empty goes.
    /// [`capacity`](Self::capacity) is that of the smallest ring, 256 without it; [`class_bytes`](Self::class_bytes) counts for each.
    ///
    /// `put` waits for nothing then, but at [`max_bytes`](Self::max_bytes); where the system has no memory left it says so. A
    /// *stopped* process that holds an item in a ring keeps that ring and those behind it; others pass it.
    pub fn unbounded(mut self) -> Self {
        if self.chained.is_none() {
            self.capacity = FIRST_RING;
            self.chained = Some(Chained { most_bytes: 0 });
        }
        self
    }

    /// Bytes of memory that an [unbounded](Self::unbounded) queue (which this makes it) may take, at least about 64 KiB; beyond,
    /// `put` waits as in a bounded one. One message of each size always fits; puts at the same time may exceed it by what each
    /// takes.
    pub fn max_bytes(self, bytes: usize) -> Self {
        let mut it = self.unbounded();
        // 0 would be no limit.
        it.chained = Some(Chained { most_bytes: (bytes as u64).max(1) });
        it
    }

    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// The options contradict each other (a capacity of 0, sizes out of range); no memory; no room in the arena; or
    /// this process cannot found a family.
    pub fn build(self) -> Result<Queue<T, R>> {
        let (options, chained) = self.check()?;
        Queue::create(options, chained)
    }

    /// The options, if they do not contradict each other.
    pub(super) fn check(self) -> Result<(Options, Option<Chained>)> {
        let mut options = self.options;
        let bad = |text: String| Err(Error::new(Kind::Options, Subject::None, text));
        options.capacity = match u32::try_from(self.capacity) {
            Ok(capacity) if capacity <= MOST_SLOTS => capacity,
            _ => {
                let asked = self.capacity;
                return bad(format!(
                    "make a queue: a capacity of {asked} is more than the possible {MOST_SLOTS}"
                ));
            }
        };
        options.most_deliveries = match u8::try_from(self.max_deliveries) {
            Ok(most) => most,
            Err(_) => return bad("make a queue: `max_deliveries` is 255 at most".into()),
        };
        if let Some(Chained { most_bytes }) = self.chained
            && most_bytes != 0
            && let Ok(ring) = Geometry::new(options)
            && ring.committed_at_first() > most_bytes
        {
            let least = ring.committed_at_first();
            return bad(format!(
                "make a queue: `max_bytes` of {most_bytes} is less than the {least} that its smallest ring takes"
            ));
        }
        Ok((options, self.chained))
    }
}

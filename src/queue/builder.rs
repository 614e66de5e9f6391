//! Options of a queue.

use super::Queue;
use crate::error::{Error, Kind, Result, Subject};
use offspring_core::queue::{MOST_SLOTS, Options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

/// Options of a [`Queue`]; see [`Queue::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<T, R = ()> {
    options: Options,
    capacity: usize,
    max_deliveries: u32,
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
        Self { options, capacity: options.capacity as usize, max_deliveries: 0, makes: PhantomData }
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

    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// The options contradict each other (a capacity of 0, sizes out of range); no memory; no room in the arena; or
    /// this process cannot found a family.
    pub fn build(self) -> Result<Queue<T, R>> {
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
        Queue::create(options)
    }
}

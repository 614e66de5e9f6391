//! Queues of plain data: messages are runs of values as they lie in memory, not serialised, and can be written and read where
//! they lie.

use super::doorbell::{At, Waitable, Watched};
use super::loan::{InPlace, Loan};
use super::unbounded::{Core, Ring};
use super::{Queue, Until};
use crate::error::{Error, Kind, Result, Subject};
use crate::value::plain::{Appended, Passing, Plain, check};
use offspring_core::queue::{MOST_SLOTS, Message, Mode, Options, Taken};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// What a queue of plain data carries, as its type hash names it.
pub(in crate::queue) struct Raw<T>(PhantomData<fn(T) -> T>);

/// A queue whose messages are runs of [`Plain`] values: for large or many numbers, frames, samples, bytes.
///
/// The sibling of [`Queue`] for data that needs no serialising. A message is a `[T]` of any length, an empty one as well. Three
/// ways to write and read it, from simple to fast:
///
/// | | copies | what is used |
/// |---|---|---|
/// | [`put`](Self::put), [`get`](Self::get) | one in, one out | for short messages; several values in one message are one claim, one commit |
/// | [`loan`](Self::loan), [`publish`](Loan::publish) | none in | the block of shared memory itself is filled |
/// | [`lease`](Self::lease) | none out | the message is read where it lies, and given back if its reader dies |
///
/// It is a handle, as a [`Queue`] is: cloning it is cheap, and it travels the same ways.
///
/// # Shape and units
///
/// The capacity is in messages. Short messages lie in the ring itself ([`PlainBuilder::inline_bytes`]), others in blocks of 256
/// bytes to [`max_message`](PlainBuilder::max_message), which are also what is lent and leased. `T` has a size, and an
/// alignment of 256 at most.
///
/// # Blocking and crash
///
/// As for [`Queue`]: no system call unless somebody waits; a message is there for every process when `put` or `publish`
/// returns, with one store, and a process killed before that store left nothing; a lease comes back, counted, when its process
/// dies. A loan is no message yet: if its process dies, the block is free again and what was written is nobody's.
/// [`put`](Self::put) blocks while the queue is full, [`loan`](Self::loan) while all blocks of the size are in use.
///
/// # What another process can do
///
/// Every process of the family can write to this memory. One that keeps to this library never writes into a block that another
/// has. One that goes wild may, at any time; so safe methods copy, and what they give is always some value of `T`, torn
/// perhaps, never undefined. Reading and writing without a copy is `unsafe` ([`InPlace::as_slice`], [`Loan::as_mut_slice`]):
/// there the caller vouches for the other processes.
///
/// # Examples
///
/// ```
/// use offspring::queue::PlainQueue;
///
/// let frames = PlainQueue::<u16>::bounded(4)?;
/// let mut frame = frames.loan(640 * 480)?;
/// frame.fill_parts(|from, pixels| {
///     pixels.iter_mut().enumerate().for_each(|(i, pixel)| *pixel = (from + i) as u16);
/// });
/// frame.publish()?;
///
/// let frame = frames.lease()?;
/// let mut sum = 0;
/// frame.parts(|_, pixels| sum += pixels.iter().map(|p| u64::from(*p)).sum::<u64>());
/// assert_eq!(sum, (0..640 * 480).map(|i: u32| u64::from(i as u16)).sum());
/// frame.commit();
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "multiprocessing.shared_memory")]
pub struct PlainQueue<T> {
    inner: Queue<Raw<T>>,
}

impl<T> Clone for PlainQueue<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<T> fmt::Debug for PlainQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain")?;
        fmt::Debug::fmt(&self.inner, f)
    }
}

/// Handles on the same queue are equal.
impl<T> PartialEq for PlainQueue<T> {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl<T> Eq for PlainQueue<T> {}

/// Only through this crate's queues and spawn arguments: any other serialiser is refused.
impl<T> Serialize for PlainQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for PlainQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Queue::deserialize(deserializer).map(|inner| Self { inner })
    }
}

impl<T> Watched for PlainQueue<T> {
    fn at(&self) -> At<'_> {
        self.inner.at()
    }
}

impl<T> Waitable for PlainQueue<T> {}

/// Options of a [`PlainQueue`]; see [`PlainQueue::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PlainBuilder<T> {
    capacity: usize,
    options: Options,
    makes: PhantomData<fn(T) -> T>,
}

impl<T: Plain> PlainBuilder<T> {
    /// How many messages it holds, 1 to 16 777 215. Without this, 1024.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages;
        self
    }

    /// Bytes of the largest message, up to 256 GiB. Without this, 256 MiB. Costs address space, and memory only as
    /// messages need it.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.options.most_message = bytes as u64;
        self
    }

    /// Bytes of a message that lie in the ring itself, up to 4080; longer ones take a block. Without this, one `T`, and 48 at least
    /// (a `T` beyond 240 bytes goes to a block).
    ///
    /// What is lent always lies in a block, and what is leased is moved to one.
    pub fn inline_bytes(mut self, bytes: usize) -> Self {
        self.options.inline = u32::try_from(bytes).unwrap_or(u32::MAX);
        self
    }

    /// Bytes that messages of one size class (each four times as large as the one before) may take in all, before `put` and
    /// `loan` wait for room. Without this, 64 MiB; three messages always fit.
    pub fn class_bytes(mut self, bytes: usize) -> Self {
        self.options.class_bytes = bytes as u64;
        self
    }

    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// The options contradict each other (a capacity of 0, sizes out of range); no memory; no room in the arena; or this process
    /// cannot found a family.
    pub fn build(self) -> Result<PlainQueue<T>> {
        let Ok(capacity) = u32::try_from(self.capacity) else {
            let asked = self.capacity;
            let text = format!(
                "make a queue: a capacity of {asked} is more than the possible {MOST_SLOTS}"
            );
            return Err(Error::new(Kind::Options, Subject::None, text));
        };
        let inner = Queue::create(Options { capacity, ..self.options }, None)?;
        Ok(PlainQueue { inner })
    }
}

impl<T: Plain> PlainQueue<T> {
    /// A new queue for `capacity` messages, with default options.
    ///
    /// # Errors
    ///
    /// As [`PlainBuilder::build`].
    pub fn bounded(capacity: usize) -> Result<Self> {
        Self::builder().capacity(capacity).build()
    }

    /// A new queue with options.
    ///
    /// ```
    /// use offspring::queue::PlainQueue;
    ///
    /// let bytes = PlainQueue::<u8>::builder().capacity(8).max_message(1 << 20).build()?;
    /// bytes.put(b"as they are")?;
    /// assert_eq!(bytes.get()?, b"as they are");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn builder() -> PlainBuilder<T> {
        check::<T>();
        let least = Options::default();
        // What is much longer than a line or two is better copied to a block than past everybody in the ring.
        let inline = if size_of::<T>() > 240 { 0 } else { size_of::<T>() as u32 };
        let options = Options { inline: inline.max(least.inline), ..least };
        PlainBuilder { capacity: least.capacity as usize, options, makes: PhantomData }
    }

    /// How many messages it holds at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// A snapshot of how many messages a `get` could take; see [`Queue::len`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether a `get` would have found nothing just now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Whether a `put` would have found no slot just now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    /// Closes the queue for all; see [`Queue::close`]. A loan can be published no more.
    pub fn close(&self) -> bool {
        self.inner.close()
    }

    /// Whether it was closed; messages may still be in it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Puts a copy of `values` as one message, waiting while the queue is full.
    ///
    /// All of them are put with one store, or none: for many small values put several at once.
    ///
    /// # Errors
    ///
    /// Closed; the message could never fit; no memory; the queue's memory was overwritten.
    pub fn put(&self, values: &[T]) -> Result<()> {
        self.put_until(values, |_| Until::Ever)
    }

    /// Puts a copy of `values` if there is room now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`put`](Self::put).
    pub fn try_put(&self, values: &[T]) -> Result<()> {
        self.put_until(values, |_| Until::Never)
    }

    /// Puts a copy of `values`, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put`](Self::put).
    pub fn put_timeout(&self, values: &[T], timeout: Duration) -> Result<()> {
        self.put_until(values, |core| Until::timeout(core, timeout))
    }

    /// Puts a copy of `values`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put`](Self::put).
    pub fn put_deadline(&self, values: &[T], deadline: Instant) -> Result<()> {
        self.put_until(values, |core| Until::deadline(core, deadline))
    }

    #[inline]
    fn put_until(&self, values: &[T], until: impl FnOnce(&Core<'_>) -> Until) -> Result<()> {
        let core = self.inner.at.core()?;
        let ring = ring(&self.inner, &core)?;
        let message = Message { bytes: bytemuck::cast_slice(values), carries: false };
        match ring.try_put(message) {
            Ok(()) => Ok(()),
            Err(why) => self.inner.put_slow(&core, why, until(&core), || ring.try_put(message)),
        }
    }

    /// Takes the next message for good, waiting while the queue is empty.
    ///
    /// # Errors
    ///
    /// Closed, and nothing is left; what is left is leased by the calling thread itself; the message is no whole number of `T`s
    /// (its queue's memory was overwritten; it is gone).
    pub fn get(&self) -> Result<Vec<T>> {
        self.get_new(|_| Until::Ever)
    }

    /// Takes the next message for good, if one is there.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`get`](Self::get).
    pub fn try_get(&self) -> Result<Vec<T>> {
        self.get_new(|_| Until::Never)
    }

    /// Takes the next message for good, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<T>> {
        self.get_new(|core| Until::timeout(core, timeout))
    }

    /// Takes the next message for good, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get`](Self::get).
    pub fn get_deadline(&self, deadline: Instant) -> Result<Vec<T>> {
        self.get_new(|core| Until::deadline(core, deadline))
    }

    fn get_new(&self, until: impl FnOnce(&Core<'_>) -> Until) -> Result<Vec<T>> {
        let mut into = Vec::new();
        self.get_until(&mut into, until).map(|_| into)
    }

    /// Takes the next message for good and appends its values to `into`, waiting while the queue is empty. How many they are.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get); `into` holds what it held then.
    pub fn get_into(&self, into: &mut Vec<T>) -> Result<usize> {
        self.get_until(into, |_| Until::Ever)
    }

    /// Appends the values of the next message to `into`, if one is there.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`get_into`](Self::get_into).
    pub fn try_get_into(&self, into: &mut Vec<T>) -> Result<usize> {
        self.get_until(into, |_| Until::Never)
    }

    /// Appends the values of the next message to `into`, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get_into`](Self::get_into).
    pub fn get_into_timeout(&self, into: &mut Vec<T>, timeout: Duration) -> Result<usize> {
        self.get_until(into, |core| Until::timeout(core, timeout))
    }

    /// Appends the values of the next message to `into`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get_into`](Self::get_into).
    pub fn get_into_deadline(&self, into: &mut Vec<T>, deadline: Instant) -> Result<usize> {
        self.get_until(into, |core| Until::deadline(core, deadline))
    }

    #[inline]
    fn get_until(
        &self,
        into: &mut Vec<T>,
        until: impl FnOnce(&Core<'_>) -> Until,
    ) -> Result<usize> {
        let core = self.inner.at.core()?;
        let mut buffer = Appended::to(into);
        self.inner.take(&core, Mode::Get, until, &mut buffer)?;
        buffer.end().map_err(|len| not_whole::<T>(&self.inner, len))
    }

    /// Takes the next message on trial, to be read where it lies, waiting while the queue is empty.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); and no memory for a block that a short message is moved to. A message that is no whole number of `T`s
    /// is given back, counted.
    pub fn lease(&self) -> Result<InPlace<T>> {
        self.lease_until(|_| Until::Ever)
    }

    /// Takes the next message on trial, if one is there.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`lease`](Self::lease).
    pub fn try_lease(&self) -> Result<InPlace<T>> {
        self.lease_until(|_| Until::Never)
    }

    /// Takes the next message on trial, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`lease`](Self::lease).
    pub fn lease_timeout(&self, timeout: Duration) -> Result<InPlace<T>> {
        self.lease_until(|core| Until::timeout(core, timeout))
    }

    /// Takes the next message on trial, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`lease`](Self::lease).
    pub fn lease_deadline(&self, deadline: Instant) -> Result<InPlace<T>> {
        self.lease_until(|core| Until::deadline(core, deadline))
    }

    fn lease_until(&self, until: impl FnOnce(&Core<'_>) -> Until) -> Result<InPlace<T>> {
        let core = self.inner.at.core()?;
        match self.inner.take(&core, Mode::Lease, until, &mut Passing::new())? {
            Taken::Lease(token) => InPlace::over(&self.inner, &core, token),
            Taken::Item => Err(Error::plain(Kind::Corrupt, self.inner.subject())),
        }
    }

    /// A block for a message of `len` values, to be written where it lies, waiting while all blocks of that size are in use.
    ///
    /// It holds whatever lay there before: zeros at first, later the values of messages that were. Write all of it, or
    /// [`truncate`](Loan::truncate) it.
    ///
    /// # Errors
    ///
    /// Closed; the message could never fit; no memory; the queue's memory was overwritten.
    pub fn loan(&self, len: usize) -> Result<Loan<T>> {
        self.loan_until(len, |_| Until::Ever)
    }

    /// A block for a message of `len` values, if one is free now.
    ///
    /// # Errors
    ///
    /// No room, and those of [`loan`](Self::loan).
    pub fn try_loan(&self, len: usize) -> Result<Loan<T>> {
        self.loan_until(len, |_| Until::Never)
    }

    /// A block for a message of `len` values, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`loan`](Self::loan).
    pub fn loan_timeout(&self, len: usize, timeout: Duration) -> Result<Loan<T>> {
        self.loan_until(len, |core| Until::timeout(core, timeout))
    }

    /// A block for a message of `len` values, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`loan`](Self::loan).
    pub fn loan_deadline(&self, len: usize, deadline: Instant) -> Result<Loan<T>> {
        self.loan_until(len, |core| Until::deadline(core, deadline))
    }

    fn loan_until(&self, len: usize, until: impl FnOnce(&Core<'_>) -> Until) -> Result<Loan<T>> {
        let core = self.inner.at.core()?;
        let ring = ring(&self.inner, &core)?;
        // What no `usize` can say is too large for any queue.
        let bytes = len.saturating_mul(size_of::<T>());
        let token = match ring.try_loan(bytes) {
            Ok(token) => token,
            Err(why) => self.inner.put_slow(&core, why, until(&core), || ring.try_loan(bytes))?,
        };
        Loan::over(&self.inner, &core, token)
    }

    /// Takes messages, waiting for each, until the queue is closed and empty, or one cannot be taken.
    pub fn iter(&self) -> impl Iterator<Item = Vec<T>> + '_ {
        std::iter::from_fn(|| self.get().ok())
    }
}

/// The ring that such a queue always is; settings that say otherwise were overwritten.
pub(super) fn ring<'a, T>(queue: &Queue<Raw<T>>, core: &Core<'a>) -> Result<Ring<'a>> {
    core.ring().ok_or_else(|| Error::plain(Kind::Corrupt, queue.subject()))
}

/// The error for a message of `len` bytes that is no run of `T`s.
#[cold]
pub(super) fn not_whole<T>(queue: &Queue<Raw<T>>, len: usize) -> Error {
    let (name, size) = (std::any::type_name::<T>(), size_of::<T>());
    let text = format!("read a message of {len} bytes as values of {name}, {size} bytes each");
    Error::new(Kind::Decode, queue.subject(), text)
}

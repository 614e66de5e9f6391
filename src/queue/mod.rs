//! The queue: many producers, many consumers, in any processes of the family; bounded or growing; proof against a kill at any
//! moment.
//!
//! What a death costs, exactly:
//!
//! - a `put` that returned `Ok` is delivered, whoever dies; a process killed inside `put` has put its value or not;
//! - a `get` hands the value over for good: if the taker is killed afterwards, the value shared its fate; killed inside
//!   `get`, either that, or the value goes to another;
//! - a [`Lease`] hands it over on trial: drop, panic and death give it back, counted, until it is committed.
//!
//! A *stopped* process is not dead: it keeps what it holds, and others pass it; a bounded ring stands still once it has
//! wrapped to a slot that a stopped process is just using, an unbounded one grows.

mod batch;
mod builder;
mod channel;
mod doorbell;
mod handle;
mod iter;
mod lease;
mod loan;
mod place;
mod plain;
mod spsc;
mod ticket;
mod unbounded;
mod waiting;

pub use builder::Builder;
pub use channel::{Receiver, Sender, channel};
pub use doorbell::{Waitable, wait};
pub use iter::Iter;
pub use lease::{DeadLetters, Lease, Replied, ReplyRefused};
pub use loan::{InPlace, Loan, PublishRefused};
pub use plain::{PlainBuilder, PlainQueue};
pub use spsc::{
    Consumer, Incoming, PlainConsumer, PlainProducer, Producer, Stopped, spsc, spsc_of_bytes,
    spsc_of_plain,
};
pub use ticket::Ticket;

pub(crate) use place::{KIND, object_error, trace};

use crate::error::{Error, Kind, Refused, Result, Subject};
use crate::sys::RegionRef;
use crate::value::{self, Bytes, Place};
use offspring_core::queue::{Message, Mode, Options, Taken};
use offspring_core::wait::{Deadline, Wait};
use place::Attached;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};
use unbounded::{Chained, Core};

/// A queue that any process of the family can put into and get from: bounded, or [growing as it needs](Builder::unbounded).
///
/// A handle: cloning it is cheap, and it travels: as an argument of [`Process::spawn`](crate::Process::spawn), inside any
/// serialisable value, through other queues, and by `fork`. The queue lives as long as a living process has a handle or a
/// message on its way names it.
///
/// `R` is what a consumer can [reply](Lease::reply) with; see [`request`](Self::request).
///
/// # Shape and units
///
/// The capacity is in items, at least 1, and need not be a power of two. A value is serialised (serde; numbers take their own
/// width, a `Vec<u8>` is copied as it is); its size counts in those bytes. Small values lie in the ring itself, larger ones in blocks of 256 bytes to 256 MiB (see
/// [`Builder::max_message`]); memory is taken as it is needed, checked first, and kept until the queue goes.
///
/// # Blocking and crash
///
/// No system call unless a caller must wait, or somebody waits. [`put`](Self::put) blocks while the queue is full,
/// [`get`](Self::get) and [`lease`](Self::lease) while it is empty; each comes in four forms (`try_`, plain, `_timeout`,
/// `_deadline`). Deaths are noticed at once, by the kernel's word, and repaired by whoever comes next. See
/// the [module](self) for what a kill costs.
///
/// # Order
///
/// First in, first out, for each producer and, while nobody dies, for all. What a dead or a giving-back consumer held comes late.
///
/// # Memory ordering
///
/// What happened before a `put` happens before the end of the `get` or `lease` that takes its value.
///
/// # Thread safety
///
/// | type | `Send` | `Sync` | `UnwindSafe` |
/// |---|---|---|---|
/// | `Queue<T, R>` | always | always | always |
/// | [`Lease<T, R>`](Lease) | if `T` is | if `T` is | if `T` is |
/// | [`Ticket<R>`](Ticket) | always | always | always |
///
/// # Examples
///
/// ```
/// use offspring::Queue;
///
/// let queue = Queue::<String>::bounded(16)?;
/// queue.put("to be or not to be".into())?;
/// queue.close();
/// let words: usize = queue.iter().map(|line| line.split(' ').count()).sum();
/// assert_eq!(words, 6);
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "multiprocessing.Queue")]
pub struct Queue<T, R = ()> {
    at: Arc<Attached>,
    carries: PhantomData<fn(T) -> (T, R)>,
}

impl<T, R> Clone for Queue<T, R> {
    fn clone(&self) -> Self {
        Self { at: self.at.clone(), carries: PhantomData }
    }
}

impl<T, R> fmt::Debug for Queue<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Queue");
        out.field("region", &(self.at.region.bits() & 0xffff_ffff));
        if let Ok(core) = self.at.core() {
            out.field("len", &core.len())
                .field("capacity", &core.capacity())
                .field("closed", &core.is_closed());
        }
        out.finish()
    }
}

/// Handles on the same queue are equal.
impl<T, R> PartialEq for Queue<T, R> {
    fn eq(&self, other: &Self) -> bool {
        self.at.region == other.at.region
    }
}

impl<T, R> Eq for Queue<T, R> {}

/// Until when a caller waits.
#[derive(Clone, Copy)]
enum Until {
    Never,
    Ever,
    At(Deadline),
}

impl Until {
    fn timeout(core: &Core<'_>, timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self::At(core.family().now().after(nanos))
    }

    fn deadline(core: &Core<'_>, deadline: Instant) -> Self {
        Self::timeout(core, deadline.saturating_duration_since(Instant::now()))
    }

    fn after(timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self::At(crate::sys::now().after(nanos))
    }

    fn instant(deadline: Instant) -> Self {
        Self::after(deadline.saturating_duration_since(Instant::now()))
    }

    fn nanos(self) -> Option<Deadline> {
        match self {
            Self::At(deadline) => Some(deadline),
            Self::Never | Self::Ever => None,
        }
    }
}

impl<T, R> Queue<T, R> {
    /// The hash by which a handle knows the type it was made for.
    fn type_hash() -> u64 {
        let names =
            [env!("CARGO_PKG_VERSION"), std::any::type_name::<T>(), std::any::type_name::<R>()];
        // FNV-1a; the names are short and no adversary is concerned. What the bytes of a message mean belongs to the type.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ value::WIRE_VERSION;
        for byte in names.iter().flat_map(|name| name.bytes().chain([0])) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        hash
    }

    fn over(at: Attached) -> Self {
        Self { at: Arc::new(at), carries: PhantomData }
    }

    fn create(options: Options, chained: Option<Chained>) -> Result<Self> {
        Attached::create(options, chained, RegionRef::NONE, Self::type_hash()).map(Self::over)
    }

    fn subject(&self) -> Subject {
        self.at.subject()
    }

    fn error(&self, kind: Kind) -> Error {
        Error::plain(kind, self.subject())
    }

    /// How many items it holds at once; `usize::MAX` if it is [unbounded](Builder::unbounded).
    pub fn capacity(&self) -> usize {
        self.at.core().map_or(0, |core| core.capacity())
    }

    /// A snapshot of how many items a `get` could take: exact while nobody acts. Leased ones do not count. Costs time in proportion.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.at.core().map_or(0, |core| core.len())
    }

    /// Whether a `get` would have found nothing just now.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.at.core().map_or(true, |core| core.is_empty())
    }

    /// Whether a `put` would have found no slot just now.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.at.core().is_ok_and(|core| core.is_full())
    }

    /// Closes the queue for all: every later `put` is refused, what is in it is still delivered, and once nothing can come any more
    /// every `get` says closed. True if this call closed it. Never blocks, cannot be undone.
    pub fn close(&self) -> bool {
        self.at.core().is_ok_and(|core| core.close())
    }

    /// Whether it was closed; items may still be in it.
    pub fn is_closed(&self) -> bool {
        self.at.core().is_ok_and(|core| core.is_closed())
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// A new queue for `capacity` items, with default options and without replies.
    ///
    /// # Errors
    ///
    /// `capacity` is 0 or more than 16 777 215; no memory; or this process cannot found a family.
    pub fn bounded(capacity: usize) -> Result<Self> {
        Self::builder().capacity(capacity).build()
    }

    /// A new queue that grows as it needs, with default options and without replies; see [`Builder::unbounded`].
    ///
    /// ```
    /// use offspring::Queue;
    ///
    /// let queue = Queue::<u32>::unbounded()?;
    /// for n in 0..10_000 {
    ///     queue.try_put(n)?; // never full
    /// }
    /// assert_eq!(queue.len(), 10_000);
    /// assert!((0..10_000).all(|n| queue.get().unwrap() == n));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// No memory; or this process cannot found a family.
    pub fn unbounded() -> Result<Self> {
        Self::builder().unbounded().build()
    }
}

impl<T: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned> Queue<T, R> {
    /// A new queue with options.
    ///
    /// ```
    /// use offspring::Queue;
    ///
    /// let queue: Queue<Vec<u8>> = Queue::builder().capacity(64).max_deliveries(5).build()?;
    /// assert_eq!(queue.capacity(), 64);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn builder() -> Builder<T, R> {
        Builder::new()
    }

    /// Puts `value`, waiting while the queue is full.
    ///
    /// When it returns `Ok`, every process sees the item: nothing is buffered on the way.
    ///
    /// # Errors
    ///
    /// Each gives the value back: closed; the message could never fit; no memory; the value cannot be serialised, or holds a
    /// file; the queue's memory was overwritten.
    #[inline]
    pub fn put(&self, value: T) -> Result<(), Refused<T>> {
        self.put_until(value, |_| Until::Ever)
    }

    /// Puts `value` if there is room now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    #[inline]
    pub fn try_put(&self, value: T) -> Result<(), Refused<T>> {
        self.put_until(value, |_| Until::Never)
    }

    /// Puts `value`, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put`](Self::put).
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), Refused<T>> {
        self.put_until(value, |core| Until::timeout(core, timeout))
    }

    /// Puts `value`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put`](Self::put).
    pub fn put_deadline(&self, value: T, deadline: Instant) -> Result<(), Refused<T>> {
        self.put_until(value, |core| Until::deadline(core, deadline))
    }

    #[inline]
    fn put_until(
        &self,
        value: T,
        until: impl FnOnce(&Core<'_>) -> Until,
    ) -> Result<(), Refused<T>> {
        match self.put_ref(&value, until) {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(value, error)),
        }
    }

    #[inline]
    fn put_ref(&self, value: &T, until: impl FnOnce(&Core<'_>) -> Until) -> Result<()> {
        let core = self.at.core()?;
        let mut bytes = Bytes::new();
        value::encode_into(value, Place::Queue, &mut bytes)?;
        if bytes.carries {
            self.before_handles(&bytes)?;
        }
        let message = Message { bytes: bytes.as_slice(), carries: bytes.carries };
        match core.try_put(message) {
            Ok(()) => Ok(()),
            Err(why) => self.put_slow(&core, why, until(&core), || core.try_put(message)),
        }
    }

    /// Puts `value` as a request, waiting while the queue is full: whoever leases it can reply, and the ticket gets the reply.
    ///
    /// A block is set aside for the reply, so replying never waits for room that other requests hold.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put); and if the queue was not built with [`Builder::replies`].
    ///
    /// ```
    /// use offspring::Queue;
    ///
    /// let queue: Queue<u32, String> = Queue::builder().replies(true).build()?;
    /// let mut ticket = queue.request(6)?;
    /// let lease = queue.lease()?;
    /// let text = format!("{} times seven", *lease);
    /// assert!(lease.reply(text)?.is_delivered());
    /// assert_eq!(ticket.wait()?, "6 times seven");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn request(&self, value: T) -> Result<Ticket<R>, Refused<T>> {
        self.request_until(value, |_| Until::Ever)
    }

    /// Puts a request if there is room now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`request`](Self::request).
    pub fn try_request(&self, value: T) -> Result<Ticket<R>, Refused<T>> {
        self.request_until(value, |_| Until::Never)
    }

    /// Puts a request, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`request`](Self::request).
    pub fn request_timeout(&self, value: T, timeout: Duration) -> Result<Ticket<R>, Refused<T>> {
        self.request_until(value, |core| Until::timeout(core, timeout))
    }

    /// Puts a request, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`request`](Self::request).
    pub fn request_deadline(&self, value: T, deadline: Instant) -> Result<Ticket<R>, Refused<T>> {
        self.request_until(value, |core| Until::deadline(core, deadline))
    }

    fn request_until(
        &self,
        value: T,
        until: impl FnOnce(&Core<'_>) -> Until,
    ) -> Result<Ticket<R>, Refused<T>> {
        let ask = || {
            let core = self.at.core()?;
            let mut bytes = Bytes::new();
            value::encode_into(&value, Place::Queue, &mut bytes)?;
            if bytes.carries {
                self.before_handles(&bytes)?;
            }
            let message = Message { bytes: bytes.as_slice(), carries: bytes.carries };
            let token = match core.try_request(message) {
                Ok(token) => token,
                Err(why) => {
                    self.put_slow(&core, why, until(&core), || core.try_request(message))?
                }
            };
            Ok(Ticket::new(self.at.clone(), token))
        };
        ask().map_err(|error| Refused::new(value, error))
    }

    /// Before a message that names other objects is committed: both sides say so, for the collector.
    #[cold]
    fn before_handles(&self, bytes: &Bytes) -> Result<()> {
        self.at.mark_carries();
        value::mark_travelled(bytes.as_slice())
    }

    /// Takes the next item for good, waiting while the queue is empty.
    ///
    /// # Errors
    ///
    /// Closed, and nothing is left; what is left is leased by the calling thread itself; the message is no `T`; the queue's
    /// memory was overwritten.
    #[inline]
    pub fn get(&self) -> Result<T> {
        self.get_until(|_| Until::Ever)
    }

    /// Takes the next item for good, if one is there.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    #[inline]
    pub fn try_get(&self) -> Result<T> {
        self.get_until(|_| Until::Never)
    }

    /// Takes the next item for good, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_until(|core| Until::timeout(core, timeout))
    }

    /// Takes the next item for good, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get`](Self::get).
    pub fn get_deadline(&self, deadline: Instant) -> Result<T> {
        self.get_until(|core| Until::deadline(core, deadline))
    }

    #[inline]
    fn get_until(&self, until: impl FnOnce(&Core<'_>) -> Until) -> Result<T> {
        let core = self.at.core()?;
        let mut bytes = Bytes::new();
        bytes.adopt = Some(value::adopt);
        self.take(&core, Mode::Get, until, &mut bytes)?;
        value::decode(bytes.as_slice(), bytes.carries, Vec::new())
    }

    /// Takes the next item on trial, waiting while the queue is empty.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); and no memory for a block to hold the item. A message that is no `T` is given back, counted.
    ///
    /// ```
    /// use offspring::Queue;
    ///
    /// let queue = Queue::<u32>::bounded(4)?;
    /// queue.put(1)?;
    /// drop(queue.lease()?); // given back
    /// let lease = queue.lease()?;
    /// assert_eq!((*lease, lease.deliveries()), (1, 1));
    /// assert_eq!(lease.commit(), 1);
    /// assert!(queue.is_empty());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn lease(&self) -> Result<Lease<T, R>> {
        self.lease_until(|_| Until::Ever)
    }

    /// Takes the next item on trial, if one is there.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`lease`](Self::lease).
    pub fn try_lease(&self) -> Result<Lease<T, R>> {
        self.lease_until(|_| Until::Never)
    }

    /// Takes the next item on trial, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`lease`](Self::lease).
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<T, R>> {
        self.lease_until(|core| Until::timeout(core, timeout))
    }

    /// Takes the next item on trial, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`lease`](Self::lease).
    pub fn lease_deadline(&self, deadline: Instant) -> Result<Lease<T, R>> {
        self.lease_until(|core| Until::deadline(core, deadline))
    }

    fn lease_until(&self, until: impl FnOnce(&Core<'_>) -> Until) -> Result<Lease<T, R>> {
        let core = self.at.core()?;
        let mut bytes = Bytes::new();
        bytes.adopt = Some(value::adopt);
        match self.take(&core, Mode::Lease, until, &mut bytes)? {
            Taken::Lease(token) => Lease::read(&self.at, &core, token, &bytes),
            Taken::Item => Err(self.error(Kind::Corrupt)),
        }
    }

    /// The items given back as often as [`Builder::max_deliveries`] allows, each on lease. Never waits.
    ///
    /// Dropping such a lease puts the item back among the dead letters, `commit` ends it. Until somebody takes them they keep
    /// their blocks: a queue whose blocks of a size hold dead letters only has no room for another message of that size.
    pub fn dead_letters(&self) -> DeadLetters<'_, T, R> {
        DeadLetters { queue: self }
    }

    /// Takes items, waiting for each, until the queue is closed and empty.
    ///
    /// An item that cannot be read ends the iteration; [`Iter::error`] tells.
    pub fn iter(&self) -> Iter<'_, T, R> {
        Iter { queue: self, error: None }
    }
}

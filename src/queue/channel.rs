//! Channels: a queue that ends by itself when nobody is left who could send.
//!
//! What keeps a channel open is a region of its own whose members are the processes that have a sender, and which messages
//! that carry a sender name. It goes as every region goes: with its last living member, once no message on its way names it.
//! Whoever drops the last sender closes the queue; after a death, whoever waits for an item sees that the region is gone.

use super::place::Attached;
use super::unbounded::Chained;
use super::{Builder, Iter, Lease, Queue};
use crate::error::{Error, Kind, Refused, Result, Subject};
use crate::family::family;
use crate::sys::{Family, ObjectError, RegionRef, RegionSpec, flags};
use crate::value::{self, HandleOnWire};
use offspring_core::prim::{AtomicU32, AtomicU64, Ordering};
use offspring_core::queue::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What kind of object a set of senders is, in the region table.
const SENDERS_KIND: u32 = 31;
const SENDERS_VERSION: u32 = 1;
/// Processes that can have a sender of one channel at once.
const SENDERS: u32 = 1000;
const MEMBERS_AT: u64 = 64;

/// What keeps a channel open, as its receivers see it.
pub(super) struct Senders {
    region: RegionRef,
    /// The death epoch up to which this handle saw to it that what the dead alone kept is gone, and (bit 32) whether it ever did.
    collected: AtomicU64,
    /// Whether the channel was seen to be over: it stays so.
    gone: AtomicU32,
}

impl Senders {
    /// `None` for nobody: the queue is no channel.
    pub(super) fn of(region: RegionRef) -> Option<Self> {
        let it = Self { region, collected: AtomicU64::new(0), gone: AtomicU32::new(0) };
        (!region.is_none()).then_some(it)
    }

    /// Whether no living process has a sender, and no message carries one.
    pub(super) fn are_gone(&self, family: &Family) -> bool {
        use offspring_core::process::Liveness;
        // ORDER: Relaxed, here and below. Each word is a note of this handle's own; the region table orders itself.
        if self.gone.load(Ordering::Relaxed) != 0 {
            return true;
        }
        let lives = match family.look(self.region, SENDERS_KIND, 0) {
            Err(_) => false,
            Ok(object) => {
                let alive = object.members().iter().any(|(_, process)| !family.is_dead(process));
                alive || self.is_on_its_way(family)
            }
        };
        if !lives {
            self.gone.store(1, Ordering::Relaxed);
        }
        !lives
    }

    /// No living process has a sender: whether a message carries one. Who drops one lets the family look; after a death somebody
    /// will, but a receiver must know before it sleeps again.
    #[cold]
    fn is_on_its_way(&self, family: &Family) -> bool {
        use offspring_core::process::Liveness;
        let epoch = 1 << 32 | u64::from(family.death_epoch());
        if self.collected.load(Ordering::Relaxed) != epoch {
            family.collect();
            self.collected.store(epoch, Ordering::Relaxed);
        }
        family.look(self.region, SENDERS_KIND, 0).is_ok()
    }
}

/// One process's part in keeping a channel open: one for all clones of a sender.
struct Token {
    at: Arc<Attached>,
    region: RegionRef,
}

impl Drop for Token {
    fn drop(&mut self) {
        let family = self.at.family;
        family.leave_object(self.region);
        // Killed before this, the death says it.
        if family.look(self.region, SENDERS_KIND, 0).is_err()
            && let Ok(core) = self.at.core()
        {
            core.close();
        }
    }
}

/// A new channel without a bound: senders put, receivers get, and once nobody is left who could send, receivers are told.
///
/// "Nobody" counts all processes: the channel ends when the last [`Sender`] is dropped *or its process died*; a sender
/// inside a message or an argument on its way counts as held (one in the argument of a child that was killed before it began, until
/// its [`Process`](crate::Process) is joined or dropped). What was sent before is received first.
///
/// ```
/// use offspring::queue::channel;
///
/// let (sender, receiver) = channel::<u32>()?;
/// sender.put(1)?;
/// drop(sender);
/// assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
/// # Ok::<(), offspring::Error>(())
/// ```
///
/// # Errors
///
/// No memory; or this process cannot found a family.
#[doc(alias = "mpsc")]
pub fn channel<T: Serialize + DeserializeOwned>() -> Result<(Sender<T>, Receiver<T>)> {
    Queue::<T>::builder().unbounded().channel()
}

/// Makes the region that keeps a channel open, with this process in it.
fn make_senders() -> Result<RegionRef> {
    let spec = RegionSpec {
        kind: SENDERS_KIND,
        version: SENDERS_VERSION,
        type_hash: 0,
        len: MEMBERS_AT + 8 * u64::from(SENDERS),
        members_offset: MEMBERS_AT,
        members_count: SENDERS,
        flags: flags::OWNERLESS,
        committed: 0,
    };
    let made = family()?.allocate(&spec, |_| {});
    let error = |error| super::place::object_error(error, "make a channel", Subject::None);
    made.map(|object| object.region).map_err(error)
}

impl<T: Serialize + DeserializeOwned> Builder<T> {
    /// Makes a channel over a queue with these options, bounded or not; see [`channel`].
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn channel(self) -> Result<(Sender<T>, Receiver<T>)> {
        let (options, chained) = self.check()?;
        open(options, chained)
    }
}

fn open<T>(options: Options, chained: Option<Chained>) -> Result<(Sender<T>, Receiver<T>)> {
    let region = make_senders()?;
    match Attached::create(options, chained, region, Queue::<T>::type_hash()) {
        Ok(at) => {
            let queue = Queue::over(at);
            let token = Arc::new(Token { at: queue.at.clone(), region });
            Ok((Sender { token, queue: queue.clone() }, Receiver { queue }))
        }
        Err(error) => {
            family()?.leave_object(region);
            Err(error)
        }
    }
}

/// The end of a [`channel`] that values go into. Clones are cheap, and it travels as a [`Queue`] does; the channel is open as
/// long as any of them is left.
///
/// A process that inherited one by `fork` has it once it used the family.
pub struct Sender<T> {
    // First, so that it goes while the queue is there.
    token: Arc<Token>,
    queue: Queue<T>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { token: self.token.clone(), queue: self.queue.clone() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.queue).finish()
    }
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// Sends `value`; waits while a bounded channel is full. As [`Queue::put`].
    ///
    /// # Errors
    ///
    /// As [`Queue::put`].
    #[doc(alias = "send")]
    pub fn put(&self, value: T) -> Result<(), Refused<T>> {
        self.queue.put(value)
    }

    /// Sends `value` if there is room now. As [`Queue::try_put`].
    ///
    /// # Errors
    ///
    /// As [`Queue::try_put`].
    pub fn try_put(&self, value: T) -> Result<(), Refused<T>> {
        self.queue.try_put(value)
    }

    /// Sends `value`, waiting for `timeout` at most. As [`Queue::put_timeout`].
    ///
    /// # Errors
    ///
    /// As [`Queue::put_timeout`].
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), Refused<T>> {
        self.queue.put_timeout(value, timeout)
    }

    /// Sends `value`, waiting until `deadline` at most. As [`Queue::put_deadline`].
    ///
    /// # Errors
    ///
    /// As [`Queue::put_deadline`].
    pub fn put_deadline(&self, value: T, deadline: Instant) -> Result<(), Refused<T>> {
        self.queue.put_deadline(value, deadline)
    }

    /// Sends `values` in their order. As [`Queue::put_many`].
    ///
    /// # Errors
    ///
    /// As [`Queue::put_many`].
    pub fn put_many(&self, values: Vec<T>) -> Result<(), Refused<Vec<T>>> {
        self.queue.put_many(values)
    }
}

impl<T> Receiver<T> {
    pub(super) fn attached(&self) -> &Attached {
        &self.queue.at
    }
}

/// The end of a [`channel`] that values come out of. Clones share what comes: each value goes to one of them.
pub struct Receiver<T> {
    queue: Queue<T>,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.queue).finish()
    }
}

impl<T: Serialize + DeserializeOwned> Receiver<T> {
    /// Receives the next value for good, waiting for it. As [`Queue::get`].
    ///
    /// # Errors
    ///
    /// Closed: nobody is left who could send, and all was received. And those of [`Queue::get`].
    #[doc(alias = "recv")]
    pub fn get(&self) -> Result<T> {
        self.queue.get()
    }

    /// Receives the next value for good, if one is there. As [`Queue::try_get`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); empty.
    pub fn try_get(&self) -> Result<T> {
        self.queue.try_get()
    }

    /// Receives the next value for good, waiting for `timeout` at most. As [`Queue::get_timeout`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); time-out.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.queue.get_timeout(timeout)
    }

    /// Receives the next value for good, waiting until `deadline` at most. As [`Queue::get_deadline`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); time-out.
    pub fn get_deadline(&self, deadline: Instant) -> Result<T> {
        self.queue.get_deadline(deadline)
    }

    /// Receives the next value on trial, waiting for it. As [`Queue::lease`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and those of [`Queue::lease`].
    pub fn lease(&self) -> Result<Lease<T>> {
        self.queue.lease()
    }

    /// Receives up to `most` values for good. As [`Queue::get_many`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and those of [`Queue::get_many`].
    pub fn get_many(&self, into: &mut Vec<T>, most: usize) -> Result<usize> {
        self.queue.get_many(into, most)
    }

    /// How many values are there. As [`Queue::len`].
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none is there. As [`Queue::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Receives values until the channel ends. As [`Queue::iter`].
    pub fn iter(&self) -> Iter<'_, T> {
        self.queue.iter()
    }
}

impl<'a, T: Serialize + DeserializeOwned> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Only through this crate's queues and spawn arguments: any other serialiser is refused.
impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let token = value::note_handle(self.token.region).map_err(serde::ser::Error::custom)?;
        (&self.queue, token).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (queue, token) = <(Queue<T>, HandleOnWire)>::deserialize(deserializer)?;
        let join = || {
            let region = value::handle_region(&token)?;
            let subject = queue.subject();
            let joined = family()?.join_object(region, SENDERS_KIND, 0);
            joined.map_err(|error: ObjectError| {
                super::place::object_error(error, "use a channel's sender", subject)
            })?;
            let token = Arc::new(Token { at: queue.at.clone(), region });
            // Another channel's would keep the wrong one open.
            match &queue.at.senders {
                Some(senders) if senders.region == region => Ok(token),
                _ => Err(Error::plain(Kind::Decode, subject)),
            }
        };
        let token = join().map_err(value::handle_error)?;
        Ok(Self { token, queue })
    }
}

/// Only through this crate's queues and spawn arguments: any other serialiser is refused.
impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.queue.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Queue::deserialize(deserializer).map(|queue| Self { queue })
    }
}

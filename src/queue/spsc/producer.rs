//! The end that puts.

use super::Consumer;
use super::end::{End, Half};
use super::place::Ring;
use crate::error::{Error, Kind, Refused, Result};
use crate::queue::Until;
use crate::value::{self, Bytes, Place};
use offspring_core::queue::spsc::{Held, Side, Writer};
use offspring_core::queue::{Corrupt, PutError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::{Duration, Instant};

/// Values of a batch that are put with one store.
const PART: usize = 32;

/// The end of a ring that puts; see [`spsc`](super::spsc). Dropping it ends the stream.
pub struct Producer<T> {
    pub(super) end: End<T, Writer>,
}

impl Half for Writer {
    const SIDE: Side = Side::Producer;

    fn begin(ring: Ring<'_>, held: Held) -> Result<Self, Corrupt> {
        ring.writer(held)
    }

    fn held(&self) -> &Held {
        Writer::held(self)
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("bytes", &self.end.at.ring().bytes_in()).finish()
    }
}

/// Only through this crate's queues and spawn arguments: any other serialiser is refused.
impl<T> Serialize for Producer<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Producer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(deserializer).map(|end| Self { end })
    }
}

impl<T: Serialize + DeserializeOwned> Producer<T> {
    /// Puts `value`, waiting for room. When it returns `Ok`, the consumer sees it, whoever has that end.
    ///
    /// # Errors
    ///
    /// Each gives the value back: the consumer was dropped (closed), or its process died and the ring is full; the value could
    /// never fit, cannot be serialised, or holds a handle or file; this end was sent away or belongs to the process that forked
    /// this one; the ring's memory was overwritten.
    #[inline]
    pub fn put(&mut self, value: T) -> Result<(), Refused<T>> {
        self.put_until(value, || Until::Ever)
    }

    /// Puts `value` if there is room now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`put`](Self::put).
    #[inline]
    pub fn try_put(&mut self, value: T) -> Result<(), Refused<T>> {
        self.put_until(value, || Until::Never)
    }

    /// Puts `value`, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put`](Self::put).
    pub fn put_timeout(&mut self, value: T, timeout: Duration) -> Result<(), Refused<T>> {
        self.put_until(value, || Until::after(timeout))
    }

    /// Puts `value`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put`](Self::put).
    pub fn put_deadline(&mut self, value: T, deadline: Instant) -> Result<(), Refused<T>> {
        self.put_until(value, || Until::instant(deadline))
    }

    #[inline]
    fn put_until(&mut self, value: T, until: impl FnOnce() -> Until) -> Result<(), Refused<T>> {
        match self.put_ref(&value, until) {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(value, error)),
        }
    }

    #[inline]
    fn put_ref(&mut self, value: &T, until: impl FnOnce() -> Until) -> Result<()> {
        self.end.ready()?;
        let mut bytes = Bytes::new();
        self.encode(value, &mut bytes)?;
        match self.end.at.ring().try_put(&mut self.end.half, bytes.as_slice()) {
            Ok(()) => Ok(()),
            Err(PutError::Full) => self.put_slow(bytes.as_slice(), until()),
            Err(why) => Err(self.refused(why)),
        }
    }

    #[inline(always)]
    fn encode(&self, value: &T, bytes: &mut Bytes) -> Result<()> {
        value::encode_into(value, Place::Queue, bytes)?;
        if bytes.carries { Err(self.carries()) } else { Ok(()) }
    }

    #[cold]
    fn carries(&self) -> Error {
        let text =
            "put a value that holds a handle: those travel through a `Queue`, not through a ring";
        Error::new(Kind::Encode, self.end.at.subject(), text)
    }

    #[cold]
    fn put_slow(&mut self, bytes: &[u8], until: Until) -> Result<()> {
        let put = self.end.wait(
            |at| &at.spin_full,
            until,
            |ring, writer| match ring.try_put(writer, bytes) {
                Err(PutError::Full) => None,
                done => Some(Ok(done)),
            },
        )?;
        put.map_err(|why| self.refused(why))
    }

    #[cold]
    fn refused(&self, why: PutError) -> Error {
        let subject = self.end.at.subject();
        match why {
            PutError::Closed => {
                Error::new(Kind::Closed, subject, "put: the ring's consumer was dropped")
            }
            PutError::TooLarge { len, most } => {
                let text = format!(
                    "put a message of {len} bytes: this ring takes at most {most}; make it with `spsc_of_bytes`"
                );
                Error::new(Kind::TooLarge, subject, text)
            }
            _ => Error::plain(Kind::Corrupt, subject),
        }
    }

    /// Puts `values` in their order, waiting for room. As many as there is room for, up to 32, are put with one store: all of these
    /// or none.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put). What was put before is put; the rest comes back.
    pub fn put_many(&mut self, values: Vec<T>) -> Result<(), Refused<Vec<T>>> {
        self.put_many_until(values, Until::Ever)
    }

    /// Puts as many of `values` as there is room for now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`put_many`](Self::put_many); with what was not put.
    pub fn try_put_many(&mut self, values: Vec<T>) -> Result<(), Refused<Vec<T>>> {
        self.put_many_until(values, Until::Never)
    }

    /// Puts `values`, waiting for `timeout` at most in all.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put_many`](Self::put_many); with what was not put.
    pub fn put_many_timeout(
        &mut self,
        values: Vec<T>,
        timeout: Duration,
    ) -> Result<(), Refused<Vec<T>>> {
        self.put_many_until(values, Until::after(timeout))
    }

    /// Puts `values`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put_many`](Self::put_many); with what was not put.
    pub fn put_many_deadline(
        &mut self,
        values: Vec<T>,
        deadline: Instant,
    ) -> Result<(), Refused<Vec<T>>> {
        self.put_many_until(values, Until::instant(deadline))
    }

    fn put_many_until(&mut self, mut values: Vec<T>, until: Until) -> Result<(), Refused<Vec<T>>> {
        let mut put = 0;
        match self.put_slice(&values, &mut put, until) {
            Ok(()) => Ok(()),
            Err(error) => {
                values.drain(..put);
                Err(Refused::new(values, error))
            }
        }
    }

    /// Counts in `done` what was put.
    fn put_slice(&mut self, values: &[T], done: &mut usize, until: Until) -> Result<()> {
        self.end.ready()?;
        for part in values.chunks(PART) {
            let mut bytes = [const { Bytes::new() }; PART];
            let mut count = 0;
            let mut encoded = Ok(());
            for (value, bytes) in part.iter().zip(&mut bytes) {
                encoded = self.encode(value, bytes);
                if encoded.is_err() {
                    break;
                }
                count += 1;
            }
            let mut messages = &bytes[..count];
            while let Err((put, why)) = self.put_part(messages) {
                *done += put;
                messages = &messages[put..];
                match why {
                    PutError::Full => self.put_slow(messages[0].as_slice(), until)?,
                    why => return Err(self.refused(why)),
                }
                *done += 1;
                messages = &messages[1..];
            }
            *done += messages.len();
            encoded?;
        }
        Ok(())
    }

    fn put_part(&mut self, messages: &[Bytes]) -> Result<(), (usize, PutError)> {
        let ring = self.end.at.ring();
        ring.try_put_many(&mut self.end.half, messages.iter().map(Bytes::as_slice))
    }

    /// A new consumer, for one whose process died, which was dropped, or which travels (and is void then): it goes on where that one took for good last.
    ///
    /// # Errors
    ///
    /// The consumer's process lives; this end is no longer this process's.
    pub fn replace_consumer(&mut self) -> Result<Consumer<T>> {
        self.end.ready()?;
        Ok(Consumer { end: End::succeed(&self.end.at)? })
    }
}

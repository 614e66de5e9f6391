//! The end that takes.

use super::Producer;
use super::end::{End, Half};
use super::place::Ring;
use crate::error::{Error, Kind, Result};
use crate::queue::Until;
use crate::value::{self, Bytes};
use offspring_core::queue::spsc::{Held, Reader, Side};
use offspring_core::queue::{Corrupt, GetError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::{Duration, Instant};

/// Messages of a batch that are taken with one store.
const PART: usize = 32;

/// The end of a ring that takes; see [`spsc`](super::spsc). Dropping it makes every later `put` say closed.
pub struct Consumer<T> {
    pub(super) end: End<T, Reader>,
}

impl Half for Reader {
    const SIDE: Side = Side::Consumer;

    fn begin(ring: Ring<'_>, held: Held) -> Result<Self, Corrupt> {
        ring.reader(held)
    }

    fn held(&self) -> &Held {
        Reader::held(self)
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("bytes", &self.end.at.ring().bytes_in()).finish()
    }
}

/// Only through this crate's queues and spawn arguments: any other serialiser is refused.
impl<T> Serialize for Consumer<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.end.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Consumer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        End::deserialize(deserializer).map(|end| Self { end })
    }
}

impl<T: Serialize + DeserializeOwned> Consumer<T> {
    /// Takes the next value for good, waiting for it.
    ///
    /// Killed before it is taken, with one store, this process leaves it for a successor; afterwards it shared the process's fate.
    ///
    /// # Errors
    ///
    /// The producer was dropped and nothing is left (closed), or its process died and nothing is left; the message is no `T` (it
    /// is gone); this end was sent away or belongs to the process that forked this one; the ring's memory was overwritten.
    #[inline]
    pub fn get(&mut self) -> Result<T> {
        self.get_until(|| Until::Ever)
    }

    /// Takes the next value for good, if one is there.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`get`](Self::get).
    #[inline]
    pub fn try_get(&mut self) -> Result<T> {
        self.get_until(|| Until::Never)
    }

    /// Takes the next value for good, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<T> {
        self.get_until(|| Until::after(timeout))
    }

    /// Takes the next value for good, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get`](Self::get).
    pub fn get_deadline(&mut self, deadline: Instant) -> Result<T> {
        self.get_until(|| Until::instant(deadline))
    }

    #[inline]
    fn get_until(&mut self, until: impl FnOnce() -> Until) -> Result<T> {
        self.end.ready()?;
        let mut bytes = Bytes::new();
        match self.end.at.ring().try_take(&mut self.end.half, &mut bytes) {
            Ok(()) => {}
            Err(GetError::Empty) => self.take_slow(until(), &mut bytes)?,
            Err(why) => return Err(self.nothing(why)),
        }
        value::decode(bytes.as_slice(), false, Vec::new())
    }

    #[cold]
    fn take_slow(&mut self, until: Until, bytes: &mut Bytes) -> Result<()> {
        let taken = self.end.wait(
            |at| &at.spin,
            until,
            |ring, reader| match ring.try_take(reader, bytes) {
                Err(GetError::Empty) => None,
                done => Some(Ok(done)),
            },
        )?;
        if taken.is_ok() {
            self.end.at.spin.found(self.end.at.ring().bytes_in() > 0);
        }
        taken.map_err(|why| self.nothing(why))
    }

    #[cold]
    fn nothing(&self, why: GetError) -> Error {
        match why {
            GetError::Closed => self.end.error(Kind::Closed),
            _ => self.end.error(Kind::Corrupt),
        }
    }

    /// Takes up to `most` values for good and appends them to `into`, waiting until there is one at least. How many.
    ///
    /// Up to 32 at a time are taken with one store: killed before it, this process leaves all of these for a successor;
    /// afterwards they shared its fate.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get). A message that is no `T` is gone, and the first such error is told; the others were appended all
    /// the same: look at the length of `into`.
    pub fn get_many(&mut self, into: &mut Vec<T>, most: usize) -> Result<usize> {
        self.get_many_until(into, most, || Until::Ever)
    }

    /// Takes up to `most` values that are there now.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`get_many`](Self::get_many).
    pub fn try_get_many(&mut self, into: &mut Vec<T>, most: usize) -> Result<usize> {
        self.get_many_until(into, most, || Until::Never)
    }

    /// Takes up to `most` values, waiting for the first one for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get_many`](Self::get_many).
    pub fn get_many_timeout(
        &mut self,
        into: &mut Vec<T>,
        most: usize,
        timeout: Duration,
    ) -> Result<usize> {
        self.get_many_until(into, most, || Until::after(timeout))
    }

    /// Takes up to `most` values, waiting for the first one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get_many`](Self::get_many).
    pub fn get_many_deadline(
        &mut self,
        into: &mut Vec<T>,
        most: usize,
        deadline: Instant,
    ) -> Result<usize> {
        self.get_many_until(into, most, || Until::instant(deadline))
    }

    fn get_many_until(
        &mut self,
        into: &mut Vec<T>,
        most: usize,
        until: impl FnOnce() -> Until,
    ) -> Result<usize> {
        self.end.ready()?;
        let mut until = Some(until);
        let mut buffers = [const { Bytes::new() }; PART];
        let mut got = 0;
        let mut done = Ok(());
        while got < most && done.is_ok() {
            let wanted = (most - got).min(PART);
            let ring = self.end.at.ring();
            let count = match ring.try_take_many(&mut self.end.half, &mut buffers[..wanted]) {
                Ok(count) => count,
                // What stopped it is told when something is wanted again.
                Err(_) if got > 0 => break,
                Err(GetError::Empty) => {
                    let Some(until) = until.take() else { break };
                    self.take_slow(until(), &mut buffers[0])?;
                    1
                }
                Err(why) => return Err(self.nothing(why)),
            };
            got += count;
            for bytes in &buffers[..count] {
                match value::decode(bytes.as_slice(), false, Vec::new()) {
                    Ok(value) => into.push(value),
                    Err(error) => done = done.and(Err(error)),
                }
            }
        }
        done.map(|()| got)
    }

    /// Takes values, waiting for each, until the stream ends.
    ///
    /// An error ends the iteration as well; [`Incoming::error`] tells.
    pub fn iter(&mut self) -> Incoming<'_, T> {
        Incoming { consumer: self, error: None }
    }

    /// A new producer, for one whose process died, which was dropped, or which travels (and is void then): it goes on where that one committed last.
    ///
    /// # Errors
    ///
    /// The producer's process lives; this end is no longer this process's.
    pub fn replace_producer(&mut self) -> Result<Producer<T>> {
        self.end.ready()?;
        Ok(Producer { end: End::succeed(&self.end.at)? })
    }
}

/// Values as they come; see [`Consumer::iter`].
#[derive(Debug)]
pub struct Incoming<'a, T> {
    consumer: &'a mut Consumer<T>,
    error: Option<Error>,
}

impl<T> Incoming<'_, T> {
    /// What ended the iteration, if it was not the end of the stream.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

impl<T: Serialize + DeserializeOwned> Iterator for Incoming<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        match self.consumer.get() {
            Ok(value) => Some(value),
            Err(error) => {
                if !error.is_closed() {
                    self.error = Some(error);
                }
                None
            }
        }
    }
}

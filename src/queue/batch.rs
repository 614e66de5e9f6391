//! Several values in one call.

use super::unbounded::Core;
use super::{Queue, Until};
use crate::error::{Error, Kind, Refused, Result};
use crate::value::{self, Bytes, Place};
use offspring_core::queue::{GetError, Message, Mode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

/// Values that are serialised, or taken, before the first of them is put, or read: what lies on the stack meanwhile.
const PART: usize = 16;

/// Batches: the same items as one by one, with one call for several.
impl<T: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned> Queue<T, R> {
    /// Puts `values` in their order, waiting while the queue is full.
    ///
    /// Each value is an item like any other: it is committed by itself, so a process that is killed in here has put some of
    /// them, the first ones. Those of other producers may come between them.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put). What was put before is put; the rest, beginning with the value that the error is about, comes
    /// back.
    ///
    /// ```
    /// use offspring::Queue;
    ///
    /// let queue = Queue::<u64>::bounded(1000)?;
    /// queue.put_many((0..500).collect())?;
    /// let mut numbers = Vec::new();
    /// while numbers.len() < 500 {
    ///     queue.get_many(&mut numbers, 64)?;
    /// }
    /// assert_eq!(numbers.iter().sum::<u64>(), 499 * 500 / 2);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn put_many(&self, values: Vec<T>) -> Result<(), Refused<Vec<T>>> {
        self.put_many_until(values, |_| Until::Ever)
    }

    /// Puts as many of `values` as there is room for now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`put_many`](Self::put_many); with what was not put.
    pub fn try_put_many(&self, values: Vec<T>) -> Result<(), Refused<Vec<T>>> {
        self.put_many_until(values, |_| Until::Never)
    }

    /// Puts `values`, waiting for `timeout` at most in all.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put_many`](Self::put_many); with what was not put.
    pub fn put_many_timeout(
        &self,
        values: Vec<T>,
        timeout: Duration,
    ) -> Result<(), Refused<Vec<T>>> {
        self.put_many_until(values, |core| Until::timeout(core, timeout))
    }

    /// Puts `values`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put_many`](Self::put_many); with what was not put.
    pub fn put_many_deadline(
        &self,
        values: Vec<T>,
        deadline: Instant,
    ) -> Result<(), Refused<Vec<T>>> {
        self.put_many_until(values, |core| Until::deadline(core, deadline))
    }

    fn put_many_until(
        &self,
        mut values: Vec<T>,
        until: impl FnOnce(&Core<'_>) -> Until,
    ) -> Result<(), Refused<Vec<T>>> {
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
    fn put_slice(
        &self,
        values: &[T],
        done: &mut usize,
        until: impl FnOnce(&Core<'_>) -> Until,
    ) -> Result<()> {
        let core = self.at.core()?;
        let until = until(&core);
        if core.ring().is_some() {
            return self.put_each(&core, values, done, until);
        }
        for part in values.chunks(PART) {
            let mut bytes = [const { Bytes::new() }; PART];
            let mut count = 0;
            let mut encoded = Ok(());
            for (value, bytes) in part.iter().zip(&mut bytes) {
                encoded = value::encode_into(value, Place::Queue, bytes)
                    .and_then(|_| if bytes.carries { self.before_handles(bytes) } else { Ok(()) });
                if encoded.is_err() {
                    break;
                }
                count += 1;
            }
            let messages: [Message<'_>; PART] = std::array::from_fn(|i| Message {
                bytes: bytes[i].as_slice(),
                carries: bytes[i].carries,
            });
            self.put_messages(&core, &messages[..count], done, until)?;
            encoded?;
        }
        Ok(())
    }

    /// Into a ring, where it pays to put each as soon as it is serialised: several put in one burst meet the taker in the same
    /// lines, slot for slot.
    fn put_each(
        &self,
        core: &Core<'_>,
        values: &[T],
        done: &mut usize,
        until: Until,
    ) -> Result<()> {
        for value in values {
            let mut bytes = Bytes::new();
            value::encode_into(value, Place::Queue, &mut bytes)?;
            if bytes.carries {
                self.before_handles(&bytes)?;
            }
            let message = Message { bytes: bytes.as_slice(), carries: bytes.carries };
            if let Err(why) = core.try_put(message) {
                self.put_slow(core, why, until, || core.try_put(message))?;
            }
            *done += 1;
        }
        Ok(())
    }

    fn put_messages(
        &self,
        core: &Core<'_>,
        mut messages: &[Message<'_>],
        done: &mut usize,
        until: Until,
    ) -> Result<()> {
        while let Err((put, why)) = core.try_put_many(messages) {
            *done += put;
            messages = &messages[put..];
            // Whoever waits for room takes all of it that there is.
            let some = || match core.try_put_many(messages) {
                Ok(()) => Ok(messages.len()),
                Err((0, why)) => Err(why),
                Err((put, _)) => Ok(put),
            };
            let put = self.put_slow(core, why, until, some)?;
            *done += put;
            messages = &messages[put..];
            if messages.is_empty() {
                return Ok(());
            }
        }
        *done += messages.len();
        Ok(())
    }

    /// Takes up to `most` items for good and appends them to `into`, waiting until there is one at least. How many.
    ///
    /// Takes what is there and does not wait for more. Each item is taken by itself, with one store: if this process is killed
    /// in here, those it had taken shared its fate, up to `most` of them, and the others are still there for somebody else. To
    /// lose none, [`lease`](Self::lease) them.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get). An item that is no `T` is gone, and the first such error is told; the others were appended
    /// all the same: look at the length of `into`.
    pub fn get_many(&self, into: &mut Vec<T>, most: usize) -> Result<usize> {
        self.get_many_until(into, most, |_| Until::Ever)
    }

    /// Takes up to `most` items that are there now.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`get_many`](Self::get_many).
    pub fn try_get_many(&self, into: &mut Vec<T>, most: usize) -> Result<usize> {
        self.get_many_until(into, most, |_| Until::Never)
    }

    /// Takes up to `most` items, waiting for the first one for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get_many`](Self::get_many).
    pub fn get_many_timeout(
        &self,
        into: &mut Vec<T>,
        most: usize,
        timeout: Duration,
    ) -> Result<usize> {
        self.get_many_until(into, most, |core| Until::timeout(core, timeout))
    }

    /// Takes up to `most` items, waiting for the first one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get_many`](Self::get_many).
    pub fn get_many_deadline(
        &self,
        into: &mut Vec<T>,
        most: usize,
        deadline: Instant,
    ) -> Result<usize> {
        self.get_many_until(into, most, |core| Until::deadline(core, deadline))
    }

    fn get_many_until(
        &self,
        into: &mut Vec<T>,
        most: usize,
        until: impl FnOnce(&Core<'_>) -> Until,
    ) -> Result<usize> {
        let core = self.at.core()?;
        if core.ring().is_some() {
            return self.get_each(&core, into, most, until);
        }
        let mut until = Some(until);
        let mut buffers = [const { Bytes::new() }; PART];
        buffers.iter_mut().for_each(|bytes| bytes.adopt = Some(value::adopt));
        let mut got = 0;
        while got < most {
            let wanted = (most - got).min(PART);
            let (count, waited) = match core.try_take_many(false, &mut buffers[..wanted]) {
                Ok(count) => (count, false),
                Err((0, why)) => match until.take() {
                    // Nothing was there at first.
                    Some(until) if got == 0 => {
                        let until = until(&core);
                        self.take_slow(&core, Mode::Get, why, until, &mut buffers[0])?;
                        (1, true)
                    }
                    _ => break,
                },
                Err((count, GetError::Corrupt)) => {
                    self.read_all(into, &buffers[..count])?;
                    return Err(Error::plain(Kind::Corrupt, self.subject()));
                }
                Err((count, _)) => (count, false),
            };
            got += count;
            self.read_all(into, &buffers[..count])?;
            if count < wanted && !waited {
                break;
            }
        }
        Ok(got)
    }

    /// From a ring, one after another, as [`put_each`](Self::put_each).
    fn get_each(
        &self,
        core: &Core<'_>,
        into: &mut Vec<T>,
        most: usize,
        until: impl FnOnce(&Core<'_>) -> Until,
    ) -> Result<usize> {
        let mut until = Some(until);
        let (mut got, mut done) = (0, Ok(()));
        while got < most {
            let mut bytes = Bytes::new();
            bytes.adopt = Some(value::adopt);
            match (core.try_take(Mode::Get, false, &mut bytes), until.take()) {
                (Ok(_), _) => {}
                (Err(why), Some(until)) => {
                    self.take_slow(core, Mode::Get, why, until(core), &mut bytes)?;
                }
                // What stopped it is told when something is wanted again.
                (Err(_), None) => break,
            }
            got += 1;
            match value::decode(bytes.as_slice(), bytes.carries, Vec::new()) {
                Ok(value) => into.push(value),
                Err(error) => done = done.and(Err(error)),
            }
        }
        done.map(|()| got)
    }

    /// Appends the values of messages that were taken: all that can be read; the first error.
    fn read_all(&self, into: &mut Vec<T>, messages: &[Bytes]) -> Result<()> {
        let mut done = Ok(());
        // One that carries handles is the last. It comes first here, since the joins that were made for it must still be there.
        let (last, others) = match messages {
            [others @ .., last] if last.carries => {
                (Some(value::decode(last.as_slice(), true, Vec::new())), others)
            }
            others => (None, others),
        };
        let others = others.iter().map(|bytes| value::decode(bytes.as_slice(), false, Vec::new()));
        for value in others.chain(last) {
            match value {
                Ok(value) => into.push(value),
                Err(error) => done = done.and(Err(error)),
            }
        }
        done
    }
}

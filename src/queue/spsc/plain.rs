//! A ring of plain values, not serialised: single ones, or whole slices with one copy and one store.

use super::SMALLEST;
use super::end::End;
use super::place::Attached;
use crate::error::{Error, Kind, Result, Subject};
use crate::queue::plain::Raw;
use crate::queue::{Queue, Until};
use crate::value::plain::{Plain, check};
use offspring_core::queue::spsc::{Reader, Side, Writer};
use offspring_core::queue::{GetError, PutError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A ring of [`Plain`] values from one [`PlainProducer`] to one [`PlainConsumer`], each of which may go to another process; for
/// `capacity` values at least.
///
/// The fastest way from one process to another for numbers and records: values are copied into the ring as they are, a slice with
/// one copy, and published with one store. Everything else is as for [`spsc`](super::spsc), the successors of the dead included.
///
/// # Shape and units
///
/// The ring is a stream of values, without messages: what was put in one slice may be taken in pieces. It takes
/// `capacity * size_of::<T>()` bytes, rounded up to a power of two, 4096 at least.
///
/// # Errors
///
/// `capacity` is 0 or too large; no memory; or this process cannot found a family.
///
/// # Examples
///
/// ```
/// use offspring::queue::spsc_of_plain;
///
/// let (mut producer, mut consumer) = spsc_of_plain::<f64>(1024)?;
/// producer.put(0.5)?;
/// producer.put_slice(&[1.0, 2.0, 3.0])?;
/// let mut some = [0.0; 8];
/// assert_eq!(consumer.get_slice(&mut some)?, 4);
/// assert_eq!(some[..4], [0.5, 1.0, 2.0, 3.0]);
/// # Ok::<(), offspring::Error>(())
/// ```
pub fn spsc_of_plain<T: Plain>(capacity: usize) -> Result<(PlainProducer<T>, PlainConsumer<T>)> {
    check::<T>();
    if capacity == 0 {
        let text = "make a ring for no values: ask for 1 at least";
        return Err(Error::new(Kind::Options, Subject::None, text));
    }
    let bytes = capacity.saturating_mul(size_of::<T>()).max(SMALLEST);
    let size = bytes.checked_next_power_of_two().map_or(u64::MAX, |size| size as u64);
    let at = Arc::new(Attached::create(size, Queue::<Raw<T>>::type_hash())?);
    let ring = at.ring();
    let (producer, consumer) = (ring.begin(Side::Producer), ring.begin(Side::Consumer));
    Ok((
        PlainProducer { end: End::over(at.clone(), producer)? },
        PlainConsumer { end: End::over(at.clone(), consumer)? },
    ))
}

/// Why not all of a slice was put: how many values were, the first ones, and the reason. `?` turns it into the [`Error`] alone.
#[derive(Debug)]
pub struct Stopped {
    /// How many values were put.
    pub put: usize,
    /// Why no more.
    pub error: Error,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values were put; then: {}", self.put, self.error)
    }
}

impl std::error::Error for Stopped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        stopped.error
    }
}

/// The end of a ring of plain values that puts; see [`spsc_of_plain`]. Dropping it ends the stream.
pub struct PlainProducer<T> {
    end: End<Raw<T>, Writer>,
}

/// The end of a ring of plain values that takes; see [`spsc_of_plain`]. Dropping it makes every later `put` say closed.
pub struct PlainConsumer<T> {
    end: End<Raw<T>, Reader>,
}

macro_rules! end {
    ($end:ident) => {
        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let bytes = self.end.at.ring().bytes_in();
                f.debug_struct(stringify!($end)).field("bytes", &bytes).finish()
            }
        }

        /// Only through this crate's queues and spawn arguments: any other serialiser is refused.
        impl<T> Serialize for $end<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.end.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $end<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                End::deserialize(deserializer).map(|end| Self { end })
            }
        }
    };
}

end!(PlainProducer);
end!(PlainConsumer);

impl<T: Plain> PlainProducer<T> {
    /// Puts `value`, waiting for room. When it returns `Ok`, the consumer sees it, whoever has that end.
    ///
    /// # Errors
    ///
    /// The consumer was dropped (closed), or its process died and the ring is full; this end was sent away or belongs to the
    /// process that forked this one; the ring's memory was overwritten.
    #[inline]
    pub fn put(&mut self, value: T) -> Result<()> {
        self.put_until(&[value], || Until::Ever).map_err(Error::from)
    }

    /// Puts `value` if there is room now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`put`](Self::put).
    #[inline]
    pub fn try_put(&mut self, value: T) -> Result<()> {
        self.put_until(&[value], || Until::Never).map_err(Error::from)
    }

    /// Puts `value`, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put`](Self::put).
    pub fn put_timeout(&mut self, value: T, timeout: Duration) -> Result<()> {
        self.put_until(&[value], || Until::after(timeout)).map_err(Error::from)
    }

    /// Puts `value`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put`](Self::put).
    pub fn put_deadline(&mut self, value: T, deadline: Instant) -> Result<()> {
        self.put_until(&[value], || Until::instant(deadline)).map_err(Error::from)
    }

    /// Puts `values` in their order, waiting for room. As many as there is room for are put with one store: all of these or none.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put), with how many were put before.
    #[inline]
    pub fn put_slice(&mut self, values: &[T]) -> Result<(), Stopped> {
        self.put_until(values, || Until::Ever)
    }

    /// Puts as many of `values` as there is room for now.
    ///
    /// # Errors
    ///
    /// Full, and those of [`put_slice`](Self::put_slice).
    #[inline]
    pub fn try_put_slice(&mut self, values: &[T]) -> Result<(), Stopped> {
        self.put_until(values, || Until::Never)
    }

    /// Puts `values`, waiting for `timeout` at most in all.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put_slice`](Self::put_slice).
    pub fn put_slice_timeout(&mut self, values: &[T], timeout: Duration) -> Result<(), Stopped> {
        self.put_until(values, || Until::after(timeout))
    }

    /// Puts `values`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`put_slice`](Self::put_slice).
    pub fn put_slice_deadline(&mut self, values: &[T], deadline: Instant) -> Result<(), Stopped> {
        self.put_until(values, || Until::instant(deadline))
    }

    #[inline]
    fn put_until(&mut self, values: &[T], until: impl FnOnce() -> Until) -> Result<(), Stopped> {
        self.end.ready().map_err(|error| Stopped { put: 0, error })?;
        let bytes = bytemuck::cast_slice(values);
        let put = self.end.at.ring().try_put_units(&mut self.end.half, bytes, size_of::<T>());
        match put {
            Ok(put) if put == bytes.len() => Ok(()),
            first => self.put_rest(bytes, first, until()),
        }
    }

    /// Goes on after a first attempt that did not put all.
    #[cold]
    fn put_rest(
        &mut self,
        bytes: &[u8],
        first: Result<usize, PutError>,
        until: Until,
    ) -> Result<(), Stopped> {
        let (unit, mut put, mut last) = (size_of::<T>(), 0, first);
        let error = loop {
            match last {
                Ok(more) => put += more,
                Err(PutError::Full) => {}
                Err(why) => break self.refused(why),
            }
            let rest = &bytes[put..];
            if rest.is_empty() {
                return Ok(());
            }
            let waited = self.end.wait(
                |at| &at.spin_full,
                until,
                |ring, writer| match ring.try_put_units(writer, rest, unit) {
                    Err(PutError::Full) => None,
                    done => Some(Ok(done)),
                },
            );
            match waited {
                Ok(done) => last = done,
                Err(error) => break error,
            }
        };
        Err(Stopped { put: put / unit, error })
    }

    #[cold]
    fn refused(&self, why: PutError) -> Error {
        let subject = self.end.at.subject();
        match why {
            PutError::Closed => {
                Error::new(Kind::Closed, subject, "put: the ring's consumer was dropped")
            }
            _ => Error::plain(Kind::Corrupt, subject),
        }
    }

    /// A new consumer, for one whose process died, which was dropped, or which travels; see
    /// [`Producer::replace_consumer`](super::Producer::replace_consumer).
    ///
    /// # Errors
    ///
    /// The consumer's process lives; this end is no longer this process's.
    pub fn replace_consumer(&mut self) -> Result<PlainConsumer<T>> {
        self.end.ready()?;
        Ok(PlainConsumer { end: End::succeed(&self.end.at)? })
    }
}

impl<T: Plain> PlainConsumer<T> {
    /// Takes the next value for good, waiting for it.
    ///
    /// # Errors
    ///
    /// The producer was dropped and nothing is left (closed), or its process died and nothing is left; this end was sent away or
    /// belongs to the process that forked this one; the ring's memory was overwritten.
    #[inline]
    pub fn get(&mut self) -> Result<T> {
        self.get_one(|| Until::Ever)
    }

    /// Takes the next value for good, if one is there.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`get`](Self::get).
    #[inline]
    pub fn try_get(&mut self) -> Result<T> {
        self.get_one(|| Until::Never)
    }

    /// Takes the next value for good, waiting for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<T> {
        self.get_one(|| Until::after(timeout))
    }

    /// Takes the next value for good, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get`](Self::get).
    pub fn get_deadline(&mut self, deadline: Instant) -> Result<T> {
        self.get_one(|| Until::instant(deadline))
    }

    #[inline]
    fn get_one(&mut self, until: impl FnOnce() -> Until) -> Result<T> {
        let mut value = [T::zeroed()];
        self.get_until(&mut value, until)?;
        Ok(value[0])
    }

    /// Takes values for good, as many as `out` has room for of those that it knows to be there, with one store, waiting until there
    /// is one at least. How many; they are in the first places of `out`. It looks for more only once it has taken all that it
    /// knew of.
    ///
    /// Killed before the store, this process leaves all of these for a successor; afterwards they shared its fate.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get); nothing was taken then.
    #[inline]
    pub fn get_slice(&mut self, out: &mut [T]) -> Result<usize> {
        self.get_until(out, || Until::Ever)
    }

    /// Takes values that are there now.
    ///
    /// # Errors
    ///
    /// Empty, and those of [`get_slice`](Self::get_slice).
    #[inline]
    pub fn try_get_slice(&mut self, out: &mut [T]) -> Result<usize> {
        self.get_until(out, || Until::Never)
    }

    /// Takes values, waiting for the first one for `timeout` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get_slice`](Self::get_slice).
    pub fn get_slice_timeout(&mut self, out: &mut [T], timeout: Duration) -> Result<usize> {
        self.get_until(out, || Until::after(timeout))
    }

    /// Takes values, waiting for the first one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// Time-out, and those of [`get_slice`](Self::get_slice).
    pub fn get_slice_deadline(&mut self, out: &mut [T], deadline: Instant) -> Result<usize> {
        self.get_until(out, || Until::instant(deadline))
    }

    #[inline]
    fn get_until(&mut self, out: &mut [T], until: impl FnOnce() -> Until) -> Result<usize> {
        self.end.ready()?;
        let bytes = bytemuck::cast_slice_mut(out);
        let taken = self.end.at.ring().try_take_units(&mut self.end.half, bytes, size_of::<T>());
        let len = match taken {
            Ok(len) => len,
            Err(GetError::Empty) => self.take_slow(bytes, until())?,
            Err(why) => return Err(self.nothing(why)),
        };
        Ok(len / size_of::<T>())
    }

    #[cold]
    fn take_slow(&mut self, out: &mut [u8], until: Until) -> Result<usize> {
        let taken = self.end.wait(
            |at| &at.spin,
            until,
            |ring, reader| match ring.try_take_units(reader, out, size_of::<T>()) {
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

    /// A new producer, for one whose process died, which was dropped, or which travels; see
    /// [`Consumer::replace_producer`](super::Consumer::replace_producer).
    ///
    /// # Errors
    ///
    /// The producer's process lives; this end is no longer this process's.
    pub fn replace_producer(&mut self) -> Result<PlainProducer<T>> {
        self.end.ready()?;
        Ok(PlainProducer { end: End::succeed(&self.end.at)? })
    }
}

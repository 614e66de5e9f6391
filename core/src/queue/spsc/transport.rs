//! Putting and taking records; the steps are in the parent module.
//!
//! A record is a length and that many bytes: one byte up to 253; else 254, then eight. Or, in a ring of units, bytes alone: all
//! records are of one length, which both sides know.

use super::{Bytes, Held, Side, Spsc};
use crate::points::{Point, hit};
use crate::prim::Ordering;
use crate::queue::{Buffer, Corrupt, GetError, PutError};
use crate::wait::Family;

const MOST_SHORT: usize = 253;
const LONG: u8 = 254;
const LONG_HEAD: usize = 9;

fn head_len(len: usize) -> u64 {
    if len <= MOST_SHORT { 1 } else { LONG_HEAD as u64 }
}

/// The producer's private half: its role, its count, and the consumer's as it was last seen.
#[derive(Debug)]
pub struct Writer {
    held: Held,
    written: u64,
    read: u64,
}

/// The consumer's private half.
#[derive(Debug)]
pub struct Reader {
    held: Held,
    read: u64,
    written: u64,
}

impl Writer {
    /// Its role.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }
}

impl Reader {
    /// Its role.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }
}

impl<S: Bytes, F: Family> Spsc<'_, S, F> {
    /// Both counts: read, written.
    fn counts(&self) -> Result<(u64, u64), Corrupt> {
        let head = self.storage.head();
        // ORDER: Acquire, T-recycle and T-publish; the caller's own count was ordered by its claim of the role.
        let read = head.read.0.load(Ordering::Acquire);
        let written = head.written.0.load(Ordering::Acquire);
        self.check(read, written).map(|()| (read, written))
    }

    /// Another process wrote one of them: what lies between must fit.
    #[inline(always)]
    fn check(&self, read: u64, written: u64) -> Result<(), Corrupt> {
        if written.wrapping_sub(read) <= self.storage.size() { Ok(()) } else { Err(Corrupt) }
    }

    /// The producer whose role was just taken.
    ///
    /// # Errors
    ///
    /// The ring's words were overwritten.
    pub fn writer(&self, held: Held) -> Result<Writer, Corrupt> {
        let (read, written) = self.counts()?;
        Ok(Writer { held, written, read })
    }

    /// The consumer whose role was just taken.
    ///
    /// # Errors
    ///
    /// The ring's words were overwritten.
    pub fn reader(&self, held: Held) -> Result<Reader, Corrupt> {
        let (read, written) = self.counts()?;
        Ok(Reader { held, read, written })
    }

    /// Puts `message`, if there is room for it now: committed with one store.
    ///
    /// # Errors
    ///
    /// `Full` may end by waiting; `Closed`: the consumer left; `TooLarge`; `Corrupt`. Nothing was put.
    #[inline(always)]
    pub fn try_put(&self, writer: &mut Writer, message: &[u8]) -> Result<(), PutError> {
        let end = self.append(writer, writer.written, message)?;
        self.publish(writer, end);
        Ok(())
    }

    /// Puts as many of `messages` as there is room for now, all of these with one store.
    ///
    /// # Errors
    ///
    /// How many were put (the first ones), and why no more, as for [`try_put`](Self::try_put).
    pub fn try_put_many<'m>(
        &self,
        writer: &mut Writer,
        messages: impl IntoIterator<Item = &'m [u8]>,
    ) -> Result<(), (usize, PutError)> {
        let (mut end, mut count, mut done) = (writer.written, 0, Ok(()));
        for message in messages {
            match self.append(writer, end, message) {
                Ok(next) => end = next,
                Err(why) => {
                    done = Err((count, why));
                    break;
                }
            }
            count += 1;
        }
        if count > 0 {
            self.publish(writer, end);
        }
        done
    }

    /// Puts as many whole units of `unit` bytes from `bytes` as there is room for now, all of these with one store: how many
    /// bytes, one unit at least (0 if there is none in `bytes`). No lengths are written: a ring of units is read by
    /// [`try_take_units`](Self::try_take_units) alone.
    ///
    /// # Errors
    ///
    /// As for [`try_put`](Self::try_put); `Full` if there is no room for one unit.
    #[inline(always)]
    pub fn try_put_units(
        &self,
        writer: &mut Writer,
        bytes: &[u8],
        unit: usize,
    ) -> Result<usize, PutError> {
        if self.has_left(Side::Consumer) {
            return Err(PutError::Closed);
        }
        let size = self.storage.size();
        let at = writer.written;
        let mut room = size - at.wrapping_sub(writer.read);
        if room < bytes.len() as u64 {
            match self.look_for_room(writer, at, at.wrapping_add(unit as u64), unit) {
                Ok(()) => room = size - at.wrapping_sub(writer.read),
                Err(_) if bytes.len() < unit => return Ok(0),
                Err(why) => return Err(why),
            }
        }
        let len = room.min(bytes.len() as u64) as usize / unit * unit;
        if len > 0 {
            self.write(at, &bytes[..len]);
            self.publish(writer, at.wrapping_add(len as u64));
        }
        Ok(len)
    }

    /// T1: writes a record at `at`, where nothing is published yet. Where the next one begins.
    #[inline(always)]
    fn append(&self, writer: &mut Writer, at: u64, message: &[u8]) -> Result<u64, PutError> {
        if self.has_left(Side::Consumer) {
            return Err(PutError::Closed);
        }
        let (head, size) = (head_len(message.len()), self.storage.size());
        let end = at.wrapping_add(head + message.len() as u64);
        if end.wrapping_sub(writer.read) > size {
            self.look_for_room(writer, at, end, message.len())?;
        }
        if message.len() <= MOST_SHORT {
            self.write(at, &[message.len() as u8]);
        } else {
            let mut long = [LONG; LONG_HEAD];
            long[1..].copy_from_slice(&(message.len() as u64).to_le_bytes());
            self.write(at, &long);
        }
        self.write(at.wrapping_add(head), message);
        Ok(end)
    }

    #[cold]
    fn look_for_room(
        &self,
        writer: &mut Writer,
        at: u64,
        end: u64,
        len: usize,
    ) -> Result<(), PutError> {
        let size = self.storage.size();
        if end.wrapping_sub(at) > size {
            let most = size as usize - if size as usize <= MOST_SHORT { 1 } else { LONG_HEAD };
            return Err(PutError::TooLarge { len, most });
        }
        // ORDER: Acquire, T-recycle: the consumer is done with the bytes before it.
        let read = self.storage.head().read.0.load(Ordering::Acquire);
        self.check(read, writer.written).map_err(|_| PutError::Corrupt)?;
        writer.read = read;
        if end.wrapping_sub(read) > size { Err(PutError::Full) } else { Ok(()) }
    }

    /// T2: the commit.
    #[inline(always)]
    fn publish(&self, writer: &mut Writer, end: u64) {
        hit(Point::SpscWritten);
        // ORDER: Release, T-publish. A plain store: nobody else has the role.
        self.storage.head().written.0.store(end, Ordering::Release);
        writer.written = end;
        hit(Point::SpscPublished);
        self.readers().notify_one(self.family);
    }

    /// Writes `bytes` at position `at`, round the ring's end if need be. There is room.
    #[inline(always)]
    fn write(&self, at: u64, bytes: &[u8]) {
        let size = self.storage.size();
        let offset = at & (size - 1);
        let first = (size - offset).min(bytes.len() as u64) as usize;
        // SAFETY: `offset + first <= size`. The producer alone writes behind `written`, which is ours while we have its role, and
        // `append` checked that the consumer has left these bytes.
        unsafe { self.storage.write(offset, &bytes[..first]) };
        if first < bytes.len() {
            // SAFETY: as above; less than `size` in all.
            unsafe { self.storage.write(0, &bytes[first..]) };
        }
    }

    /// Takes the next message for good, if one is there: committed with one store, after `buffer` got it.
    ///
    /// # Errors
    ///
    /// `Empty` may end by waiting; `Closed`: the producer left, and nothing is left of it; `Corrupt`.
    #[inline(always)]
    pub fn try_take<B: Buffer>(&self, reader: &mut Reader, buffer: &mut B) -> Result<(), GetError> {
        self.look_for_more(reader)?;
        let end = self.copy_out(reader, reader.read, buffer)?;
        self.consume(reader, end);
        Ok(())
    }

    /// Takes up to `buffers.len()` messages that are there, all with one store: how many, one at least.
    ///
    /// # Errors
    ///
    /// As for [`try_take`](Self::try_take); nothing was taken then.
    pub fn try_take_many<B: Buffer>(
        &self,
        reader: &mut Reader,
        buffers: &mut [B],
    ) -> Result<usize, GetError> {
        if buffers.is_empty() {
            return Ok(0);
        }
        self.look_for_more(reader)?;
        let (mut end, mut count) = (reader.read, 0);
        for buffer in buffers {
            if end == reader.written {
                break;
            }
            end = self.copy_out(reader, end, buffer)?;
            count += 1;
        }
        self.consume(reader, end);
        Ok(count)
    }

    /// Takes whole units of `unit` bytes, as many as `out` has room for of those that were there when it looked last (it looks
    /// again once it has taken all of these), all of these with one store: how many bytes, one unit at least (0 if `out` has no
    /// room for one).
    ///
    /// # Errors
    ///
    /// As for [`try_take`](Self::try_take); nothing was taken then.
    #[inline(always)]
    pub fn try_take_units(
        &self,
        reader: &mut Reader,
        out: &mut [u8],
        unit: usize,
    ) -> Result<usize, GetError> {
        if out.len() < unit {
            return Ok(0);
        }
        self.look_for_more(reader)?;
        let there = reader.written.wrapping_sub(reader.read);
        let len = there.min(out.len() as u64) as usize / unit * unit;
        if len == 0 {
            return Err(GetError::Corrupt);
        }
        // SAFETY: `out` is longer; so many bytes are there.
        unsafe { self.read(reader.read, out.as_mut_ptr(), len) };
        hit(Point::SpscCopied);
        self.consume(reader, reader.read.wrapping_add(len as u64));
        Ok(len)
    }

    /// Looks at the producer's count if all that was seen of it is taken.
    #[inline(always)]
    fn look_for_more(&self, reader: &mut Reader) -> Result<(), GetError> {
        if reader.read != reader.written {
            return Ok(());
        }
        // Asked first: what the producer put before it left is seen then.
        let ended = self.has_left(Side::Producer);
        // ORDER: Acquire, T-publish.
        let written = self.storage.head().written.0.load(Ordering::Acquire);
        self.check(reader.read, written).map_err(|_| GetError::Corrupt)?;
        reader.written = written;
        match (reader.read == written, ended) {
            (false, _) => Ok(()),
            (true, true) => Err(GetError::Closed),
            (true, false) => Err(GetError::Empty),
        }
    }

    /// T3: copies the record at `at`, which is before `written`. Where the next one begins.
    #[inline(always)]
    fn copy_out<B: Buffer>(
        &self,
        reader: &Reader,
        at: u64,
        buffer: &mut B,
    ) -> Result<u64, GetError> {
        let there = reader.written.wrapping_sub(at);
        let mut short = 0_u8;
        // SAFETY: a byte is valid for one byte; one record at least is there.
        unsafe { self.read(at, &mut short, 1) };
        let (head, len) = if short < LONG {
            (1, u64::from(short))
        } else {
            if short > LONG || there < LONG_HEAD as u64 {
                return Err(GetError::Corrupt);
            }
            let mut long = [0; 8];
            // SAFETY: eight bytes are valid for eight bytes; so many are there.
            unsafe { self.read(at.wrapping_add(1), long.as_mut_ptr(), long.len()) };
            (LONG_HEAD as u64, u64::from_le_bytes(long))
        };
        if len > there - head {
            return Err(GetError::Corrupt);
        }
        let room = buffer.room(len as usize);
        // SAFETY: `room` is valid for `len` bytes by `Buffer`'s promise; so many are there.
        unsafe { self.read(at.wrapping_add(head), room, len as usize) };
        buffer.filled(len as usize, false);
        hit(Point::SpscCopied);
        Ok(at.wrapping_add(head + len))
    }

    /// Copies `len` bytes from position `at`, round the ring's end if need be.
    ///
    /// # Safety
    ///
    /// `out` is valid for writes of `len` bytes, which are at most as many as lie between `at` and `written`.
    #[inline(always)]
    unsafe fn read(&self, at: u64, out: *mut u8, len: usize) {
        let size = self.storage.size();
        let offset = at & (size - 1);
        let first = (size - offset).min(len as u64) as usize;
        // SAFETY: `offset + first <= size`; `out` by the caller's promise. The producer writes nothing between `read`, which is
        // ours while we have the consumer's role, and `written`.
        unsafe { self.storage.read(offset, out, first) };
        if first < len {
            // SAFETY: as above; less than `size` in all, which `check` saw to.
            unsafe { self.storage.read(0, out.add(first), len - first) };
        }
    }

    /// T4: the commit.
    #[inline(always)]
    fn consume(&self, reader: &mut Reader, end: u64) {
        // ORDER: Release, T-recycle. A plain store: nobody else has the role.
        self.storage.head().read.0.store(end, Ordering::Release);
        reader.read = end;
        hit(Point::SpscTaken);
        self.writers().notify_one(self.family);
    }
}

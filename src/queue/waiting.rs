//! What a put and a take do after a first refusal: repair, wait, and say why in the end.

use super::unbounded::Core;
use super::{Queue, Until, lease, place};
use crate::error::{Error, Kind, Result};
use offspring_core::block_on::block_on;
use offspring_core::queue::{Buffer, GetError, Mode, PutError, Taken};

impl<T, R> Queue<T, R> {
    /// After a first refusal: repairs what a death may have left, then waits if waiting helps and is asked for.
    #[cold]
    pub(super) fn put_slow<P>(
        &self,
        core: &Core<'_>,
        why: PutError,
        until: Until,
        mut put: impl FnMut() -> Result<P, PutError>,
    ) -> Result<P> {
        let waits = |why: &PutError| matches!(why, PutError::Full | PutError::NoRoom);
        if waits(&why) && matches!(until, Until::Never) {
            if core.recover() {
                return put().map_err(|why| self.put_error(why));
            }
            return Err(self.put_error(why));
        }
        let mut last = Err(why);
        loop {
            let for_slot = match &last {
                Err(PutError::Full) => true,
                Err(PutError::NoRoom) => false,
                _ => return last.map_err(|why| self.put_error(why)),
            };
            let count = if for_slot { core.writers() } else { core.rooms() };
            let attempt = || {
                let first = put();
                let tried = match first {
                    Err(why) if waits(&why) && core.sweep_if_due() => put(),
                    other => other,
                };
                match tried {
                    Err(PutError::Full) if for_slot => None,
                    Err(PutError::NoRoom) if !for_slot => None,
                    done => Some(done),
                }
            };
            let done = block_on(
                core.family(),
                count,
                || core.others(),
                &self.at.spin_full,
                until.nanos(),
                attempt,
            );
            last = done.ok_or_else(|| self.error(Kind::Timeout))?;
            if for_slot && last.is_err() {
                // The wake was for a slot, and this caller does not use it: another shall.
                core.writers().notify_one(core.family());
            }
        }
    }

    #[cold]
    pub(super) fn put_error(&self, why: PutError) -> Error {
        match why {
            PutError::Full => self.error(Kind::Full),
            PutError::NoRoom => self.error(Kind::NoRoom),
            PutError::Closed => {
                Error::new(Kind::Closed, self.subject(), "put: the queue was closed")
            }
            PutError::TooLarge { len, most } => {
                let text = format!(
                    "put a message of {len} bytes: this queue takes at most {most}; build it with a larger `max_message`"
                );
                Error::new(Kind::TooLarge, self.subject(), text)
            }
            PutError::NoMemory(why) => place::no_memory(why, self.subject()),
            PutError::NoReplies => Error::new(
                Kind::Options,
                self.subject(),
                "request: build the queue with `replies(true)`",
            ),
            _ => self.error(Kind::Corrupt),
        }
    }

    #[inline]
    pub(super) fn take<B: Buffer>(
        &self,
        core: &Core<'_>,
        mode: Mode,
        until: impl FnOnce(&Core<'_>) -> Until,
        bytes: &mut B,
    ) -> Result<Taken> {
        match core.try_take(mode, false, bytes) {
            Ok(taken) => Ok(taken),
            Err(why) => self.take_slow(core, mode, why, until(core), bytes),
        }
    }

    #[cold]
    pub(super) fn take_slow<B: Buffer>(
        &self,
        core: &Core<'_>,
        mode: Mode,
        why: GetError,
        until: Until,
        bytes: &mut B,
    ) -> Result<Taken> {
        if matches!(until, Until::Never) {
            // The first look was a quick one; before "empty" is said, the dead are looked for.
            return core.try_take(mode, true, bytes).map_err(|why| self.get_error(why));
        }
        let mut last = Err(why);
        loop {
            let for_room = match &last {
                Err(GetError::Empty) => false,
                Err(GetError::Leased { mine, others }) => {
                    if !others && lease::held_by_this_thread(self.at.region) >= i64::from(*mine) {
                        return Err(self.error(Kind::OwnLease));
                    }
                    false
                }
                Err(GetError::NoRoom) => true,
                _ => return last.map_err(|why| self.get_error(why)),
            };
            let count = if for_room { core.rooms() } else { core.readers() };
            let attempt = || match core.try_take(mode, false, bytes) {
                Err(GetError::Empty | GetError::Leased { .. }) if !for_room => None,
                Err(GetError::NoRoom) if for_room && !core.sweep_if_due() => None,
                done => Some(done),
            };
            let done = block_on(
                core.family(),
                count,
                || core.others(),
                &self.at.spin,
                until.nanos(),
                attempt,
            );
            last = done.ok_or_else(|| self.error(Kind::Timeout))?;
            if last.is_ok() {
                self.at.spin.found(core.is_next_ready());
            }
            if !for_room && last.is_err() {
                // The wake was for an item, and this caller does not take it: another shall.
                core.readers().notify_one(core.family());
            }
        }
    }

    #[cold]
    pub(super) fn get_error(&self, why: GetError) -> Error {
        match why {
            GetError::Empty | GetError::Leased { .. } => self.error(Kind::Empty),
            GetError::Closed => self.error(Kind::Closed),
            GetError::NoRoom => self.error(Kind::NoRoom),
            GetError::NoMemory(why) => place::no_memory(why, self.subject()),
            _ => self.error(Kind::Corrupt),
        }
    }
}

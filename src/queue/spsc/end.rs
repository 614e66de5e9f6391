//! What both ends of a ring have in common: who may use one, how it travels, how it waits.

use super::place::{Attached, Ring};
use crate::error::{Error, Kind, Result};
use crate::queue::{Queue, Until};
use crate::value::{self, HandleOnWire};
use offspring_core::block_on::block_on;
use offspring_core::queue::Corrupt;
use offspring_core::queue::spsc::{Held, Peer, Share, Side};
use offspring_core::wait::Adaptive;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

/// The private half that core keeps for a side.
pub(super) trait Half: Sized {
    const SIDE: Side;
    fn begin(ring: Ring<'_>, held: Held) -> Result<Self, Corrupt>;
    fn held(&self) -> &Held;
}

/// One end of a ring.
pub(super) struct End<T, H: Half> {
    pub(super) at: Arc<Attached>,
    pub(super) half: H,
    /// The process that claimed it; another number means a forked child.
    generation: u32,
    /// A copy travels: before it is used here again, that one is made void.
    sent: Cell<bool>,
    carries: PhantomData<fn(T) -> T>,
}

impl<T, H: Half> End<T, H> {
    pub(super) fn over(at: Arc<Attached>, held: Held) -> Result<Self> {
        let half = H::begin(at.ring(), held)
            .map_err(|why| Error::caused(Kind::Corrupt, at.subject(), "use the ring", why))?;
        let generation = crate::sys::generation();
        Ok(Self { at, half, generation, sent: Cell::new(false), carries: PhantomData })
    }

    /// Takes the role over from a process that died with it, or gave it up.
    pub(super) fn succeed(at: &Arc<Attached>) -> Result<Self> {
        let held = at.ring().replace(H::SIDE).ok_or_else(|| {
            let text = "take over an end of a ring: the process that has it lives";
            Error::new(Kind::Options, at.subject(), text)
        })?;
        Self::over(at.clone(), held)
    }

    pub(super) fn error(&self, kind: Kind) -> Error {
        Error::plain(kind, self.at.subject())
    }

    /// Makes sure that this process, this thread and this handle may act.
    #[inline(always)]
    pub(super) fn ready(&mut self) -> Result<()> {
        if self.generation == crate::sys::generation()
            && self.at.family.enter().is_ok()
            && !self.sent.get()
        {
            return Ok(());
        }
        self.ready_slow()
    }

    #[cold]
    #[inline(never)]
    fn ready_slow(&mut self) -> Result<()> {
        if self.generation != crate::sys::generation() {
            return Err(self.error(Kind::Forked));
        }
        self.at.family.enter().map_err(|error| {
            Error::caused(Kind::Os, self.at.subject(), "take part in the family", error)
        })?;
        if self.sent.get() {
            let share = self.half.held().share();
            let held = self.at.ring().claim(H::SIDE, share).ok_or_else(|| {
                let text = "use an end of a ring: it was sent to another process, which has it now";
                Error::new(Kind::Gone, self.at.subject(), text)
            })?;
            self.half = H::begin(self.at.ring(), held)
                .map_err(|why| Error::caused(Kind::Corrupt, self.at.subject(), "use", why))?;
            self.sent.set(false);
        }
        Ok(())
    }

    /// Whether the process with the other end died.
    fn is_lost(&self) -> bool {
        self.at.ring().peer(H::SIDE.other()) == Peer::Dead
    }

    #[cold]
    pub(super) fn lost(&self) -> Error {
        let (who, what) = match H::SIDE {
            Side::Producer => ("consumer", "replace_consumer"),
            Side::Consumer => ("producer", "replace_producer"),
        };
        let text = format!("the process of the ring's {who} died; `{what}` makes a new one");
        Error::new(Kind::ParticipantLost, self.at.subject(), text)
    }

    /// Waits until `attempt` gives something; the other end's death, with nothing more from it, is an error.
    pub(super) fn wait<R>(
        &mut self,
        spin: impl Fn(&Attached) -> &Adaptive,
        until: Until,
        mut attempt: impl FnMut(Ring<'_>, &mut H) -> Option<Result<R>>,
    ) -> Result<R> {
        let at = self.at.clone();
        let ring = at.ring();
        let other = H::SIDE.other();
        let mut epoch = None;
        let mut once = |end: &mut Self| {
            // The question first, then the look: what the dead committed last is seen.
            let now = offspring_core::process::Liveness::death_epoch(&at.family);
            let lost = epoch.replace(now) != Some(now) && end.is_lost();
            attempt(ring, &mut end.half).or_else(|| lost.then(|| Err(end.lost())))
        };
        if matches!(until, Until::Never) {
            let kind = if H::SIDE == Side::Producer { Kind::Full } else { Kind::Empty };
            return once(self).unwrap_or_else(|| Err(self.error(kind)));
        }
        let count = match H::SIDE {
            Side::Producer => ring.writers(),
            Side::Consumer => ring.readers(),
        };
        let members = || ring.holder(other).into_iter();
        block_on(&at.family, count, members, spin(&at), until.nanos(), || once(self))
            .unwrap_or_else(|| Err(self.error(Kind::Timeout)))
    }

    pub(super) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        if self.generation != crate::sys::generation() {
            return Err(S::Error::custom(self.error(Kind::Forked)));
        }
        let handle = value::note_handle(self.at.region).map_err(S::Error::custom)?;
        self.sent.set(true);
        (handle, self.half.held().share().bits()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let (handle, share) = <(HandleOnWire, u64)>::deserialize(deserializer)?;
        let take = || {
            let region = value::handle_region(&handle)?;
            let at = Arc::new(Attached::join(region, Queue::<T>::type_hash())?);
            let held = at.ring().claim(H::SIDE, Share::from_bits(share)).ok_or_else(|| {
                let text =
                    "receive an end of a ring: its sender went on with it, or died and was replaced";
                Error::new(Kind::Gone, at.subject(), text)
            })?;
            Self::over(at, held)
        };
        take().map_err(value::handle_error)
    }
}

impl<T, H: Half> Drop for End<T, H> {
    fn drop(&mut self) {
        if self.generation == crate::sys::generation() && self.at.family.enter().is_ok() {
            if self.sent.get() {
                self.at.ring().part_with(H::SIDE, self.half.held());
            } else {
                self.at.ring().leave(H::SIDE, self.half.held());
            }
        }
    }
}

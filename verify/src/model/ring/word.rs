//! The two kinds of words.

/// A slot's word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Slot(pub(super) u16);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum In {
    Empty,
    Writing,
    Full,
    Reading,
}

impl Slot {
    pub(super) fn new(lap: u8, state: In, owner: u8, block: bool, g: u8) -> Self {
        assert!(lap < 32 && g < 16 && owner < 8);
        let (lap, g) = (u16::from(lap), u16::from(g));
        Self(lap << 11 | g << 7 | u16::from(block) << 6 | u16::from(owner) << 3 | state as u16)
    }

    pub(super) fn empty(lap: u8) -> Self {
        Self::new(lap, In::Empty, 0, false, 0)
    }

    pub(super) fn lap(self) -> u8 {
        (self.0 >> 11) as u8
    }

    pub(super) fn g(self) -> u8 {
        (self.0 >> 7 & 15) as u8
    }

    pub(super) fn block(self) -> bool {
        self.0 >> 6 & 1 != 0
    }

    pub(super) fn owner(self) -> u8 {
        (self.0 >> 3 & 7) as u8
    }

    pub(super) fn state(self) -> In {
        [In::Empty, In::Writing, In::Full, In::Reading][usize::from(self.0 & 3)]
    }
}

/// A block's word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Block(pub(super) u16);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Is {
    Free,
    Owned,
    Queued,
    Leased,
    Returned,
}

impl Block {
    pub(super) fn new(is: Is, aux: u8, generation: u8) -> Self {
        assert!(aux < 32 && generation < 64);
        Self(u16::from(generation) << 8 | u16::from(aux) << 3 | is as u16)
    }

    pub(super) fn is(self) -> Is {
        [Is::Free, Is::Owned, Is::Queued, Is::Leased, Is::Returned][usize::from(self.0 & 7)]
    }

    pub(super) fn aux(self) -> u8 {
        (self.0 >> 3 & 31) as u8
    }

    pub(super) fn generation(self) -> u8 {
        (self.0 >> 8) as u8
    }

    pub(super) fn queued_at(self, p: u8) -> bool {
        self.is() == Is::Queued && self.aux() == p
    }

    /// Member `me` holds it in `is`.
    pub(super) fn held(self, is: Is, me: u8) -> bool {
        self.is() == is && self.aux() == me
    }

    pub(super) fn to(self, is: Is, aux: u8) -> Self {
        Self::new(is, aux, self.generation())
    }

    pub(super) fn freed(self) -> Self {
        Self::new(Is::Free, 0, self.generation() + 1)
    }

    pub(super) fn returned(self) -> Self {
        Self::new(Is::Returned, 0, self.generation() + 1)
    }
}

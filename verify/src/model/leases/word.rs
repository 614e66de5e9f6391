//! The two kinds of words.

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) enum In {
    #[default]
    Empty,
    Writing,
    Full,
    Reading,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Slot {
    pub(super) lap: u8,
    pub(super) owner: u8,
    pub(super) state: In,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Is {
    Free,
    Owned,
    Queued,
    Leased,
    Returned,
    /// Holds the result of request `aux`.
    Reply,
    /// Was answered by block `aux`, or by none.
    Replied,
}

/// `aux` of a request answered without a value.
pub(super) const NO_RESULT: u8 = 31;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Block(pub(super) u16);

impl Block {
    pub(super) fn new(is: Is, aux: u8, ticket: bool, generation: u8) -> Self {
        assert!(aux < 32 && generation < 128);
        Self(u16::from(generation) << 9 | u16::from(aux) << 4 | u16::from(ticket) << 3 | is as u16)
    }

    pub(super) fn is(self) -> Is {
        [Is::Free, Is::Owned, Is::Queued, Is::Leased, Is::Returned, Is::Reply, Is::Replied]
            [usize::from(self.0 & 7)]
    }

    pub(super) fn ticket(self) -> bool {
        self.0 & 8 != 0
    }

    pub(super) fn aux(self) -> u8 {
        (self.0 >> 4 & 31) as u8
    }

    pub(super) fn generation(self) -> u8 {
        (self.0 >> 9) as u8
    }

    pub(super) fn held(self, is: Is, aux: u8) -> bool {
        self.is() == is && self.aux() == aux
    }

    pub(super) fn to(self, is: Is, aux: u8) -> Self {
        Self::new(is, aux, self.ticket(), self.generation())
    }

    pub(super) fn with_ticket(self, ticket: bool) -> Self {
        Self::new(self.is(), self.aux(), ticket, self.generation())
    }

    pub(super) fn freed(self) -> Self {
        Self::new(Is::Free, 0, false, self.generation() + 1)
    }
}

//! Loans: a block is filled where it lies and becomes an item as it is; and an item on lease is read where it lies.
//!
//! | # | from → to | by | how |
//! |---|---|---|---|
//! | N1 | FREE → OWNED(me) | who borrows | B1 |
//! | N2 | OWNED(me) → QUEUED(p), then the slot FULL = **commit** | who publishes | L1, then 2: the second half of any put of a block |
//! | N3 | OWNED(me) → FREE | who gives it back | B2 |
//!
//! A loan is the first half of a put of a block, ended later: no word has a state that a put does not have. So a death with a
//! loan in hand is S3, at any step up to the CAS that claims the slot, and S1 from there to the store that publishes.
//! A loan is no item: it does not keep `get` from saying Closed, and cannot be published after the close.

use core::ptr::NonNull;

use super::block::Use;
use super::lease::LeaseToken;
use super::word::BlockState;
use super::{PutError, Queue, Storage};
use crate::points::{Point, hit};
use crate::wait::Family;

/// A block to be filled. It must be ended: by [`Queue::try_publish`] or [`Queue::return_loan`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a loan that is not ended keeps its block until the process dies"]
pub struct LoanToken {
    block: u32,
    len: usize,
}

impl LoanToken {
    /// Bytes of the message that it becomes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it becomes an empty message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the block.
    #[must_use]
    pub fn block(&self) -> u32 {
        self.block
    }

    /// Makes the message shorter; a greater `len` changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl<S: Storage, F: Family> Queue<'_, S, F> {
    /// A block for a message of `len` bytes, to be filled by the caller. It holds whatever lay there before.
    ///
    /// # Errors
    ///
    /// `Closed`, `TooLarge`, `NoMemory`; `NoRoom` may end by waiting, on [`rooms`](Self::rooms).
    pub fn try_loan(&self, len: usize) -> Result<LoanToken, PutError> {
        // Asked first, so that nobody fills a block in vain; asked again by the claim.
        if self.flagged() {
            return Err(PutError::Closed);
        }
        let Some(class) = self.storage.geometry().class_for(len) else {
            let most = self.storage.geometry().options().most_message as usize;
            return Err(PutError::TooLarge { len, most });
        };
        let block = self.take_block(class, Use::Put)?;
        hit(Point::LoanTaken);
        Ok(LoanToken { block, len })
    }

    /// Makes the loan an item: nothing is copied.
    ///
    /// What the caller wrote into the block before happens before the end of the `get` or `lease` that takes the item (Q1).
    ///
    /// # Errors
    ///
    /// `Closed`, `Corrupt`; `Full` may end by waiting. The loan is kept and comes back.
    pub fn try_publish(&self, loan: LoanToken) -> Result<(), (LoanToken, PutError)> {
        if !self.is_lent(&loan) {
            return Err((loan, PutError::Corrupt));
        }
        if self.flagged() {
            return Err((loan, PutError::Closed));
        }
        self.note_len(loan.block, loan.len as u64);
        hit(Point::LoanSized);
        match self.queue_block(loan.block, false) {
            Ok(()) => {
                self.wake_reader();
                Ok(())
            }
            Err(why) => Err((loan, why)),
        }
    }

    /// Gives the block back; nobody ever sees what was written.
    pub fn return_loan(&self, loan: LoanToken) {
        if self.is_lent(&loan) {
            self.free_block(loan.block);
            hit(Point::LoanReturned);
        }
    }

    /// Where to write: valid for reads and writes of the loan's bytes until it ends, and nobody else's till then (as far as all
    /// keep to the protocol). At least 256-aligned in mapped memory. `None`: the storage gives no address away.
    #[must_use]
    pub fn loan_address(&self, loan: &LoanToken) -> Option<NonNull<u8>> {
        self.storage.block_address(loan.block, loan.len)
    }

    /// Where the message of a leased item lies, and how long it is: valid for reads until the lease ends, and nobody writes there
    /// (as far as all keep to the protocol). Aligned as [`loan_address`](Self::loan_address). `None`: the lease is not the
    /// caller's or the block's words were overwritten, or the storage gives no address away.
    #[must_use]
    pub fn lease_address(&self, lease: &LeaseToken) -> Option<(NonNull<u8>, usize)> {
        if !self.block_word(lease.block).is(BlockState::Leased, u32::from(self.me)) {
            return None;
        }
        let (len, _) = self.block_len(lease.block)?;
        Some((self.storage.block_address(lease.block, len)?, len))
    }

    /// Whether the block's word says so; another one says, if anything, the work of a process that writes wild.
    fn is_lent(&self, loan: &LoanToken) -> bool {
        self.block_word(loan.block).is(BlockState::Owned, u32::from(self.me))
    }
}

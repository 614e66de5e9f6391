//! An armed lifeline: this process ends when its parent's end closes. macOS; type-checked, not run.
//!
//! The kernel sends no signal of one's choice for a pipe here, so a thread waits for it, parked in the kernel for as long as the
//! lifeline is armed. A fork of the process has no such thread, and does not end with its parent's parent.

use crate::calls;
use crate::error::{OsError, Result};
use crate::lifeline::end;
use crate::{generation, watcher};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};

/// An armed lifeline. Stays armed when dropped.
#[derive(Debug)]
pub struct Armed {
    /// Closing it tells the thread to let go.
    hold: ManuallyDrop<OwnedFd>,
    /// Of the process that armed it.
    generation: u32,
}

/// Arms the reading end of a lifeline that has nothing to read.
pub(crate) fn arm(read: OwnedFd) -> Result<Armed> {
    let failed = |code| OsError::new("arm", "the lifeline", code);
    let events = calls::poll(read.as_fd(), libc::POLLIN, Some(crate::futex::now()));
    if events & libc::POLLHUP != 0 {
        end();
    }
    if events & libc::POLLIN != 0 {
        return Err(
            failed(libc::EPROTO).with_advice("read the start message first; nothing may follow it")
        );
    }
    let [released, hold] = calls::pipe().map_err(failed)?;
    watcher::start("lifeline", move || wait(&read, &released))?;
    Ok(Armed { hold: ManuallyDrop::new(hold), generation: generation::current() })
}

/// Ends this process when `read` hangs up; comes back when `released` does.
fn wait(read: &OwnedFd, released: &OwnedFd) {
    use std::os::fd::AsRawFd;
    loop {
        let mut entries = [read, released].map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: two entries, writable.
        if unsafe { libc::poll(entries.as_mut_ptr(), 2, -1) } <= 0 {
            continue;
        }
        if entries[1].revents != 0 {
            return;
        }
        // A hang-up, or what nobody writes.
        if entries[0].revents != 0 {
            end();
        }
    }
}

impl Armed {
    /// In a fork of the process that armed it: closes the fork's copy, which does nothing there. Elsewhere it stays.
    pub fn close_in_fork(mut self) {
        if self.generation != generation::current() {
            // SAFETY: not used or dropped after.
            unsafe { ManuallyDrop::drop(&mut self.hold) };
        }
    }

    /// From now on the parent's end does not matter.
    ///
    /// # Errors
    ///
    /// Invalid: this is a forked child of the process that armed it, and concerns itself alone.
    pub fn disarm(mut self) -> Result<()> {
        if self.generation != generation::current() {
            return Err(OsError::new("disarm", "the lifeline", libc::EBADF)
                .with_advice("only the process that armed it can; a fork of it has no lifeline"));
        }
        // SAFETY: not used or dropped after.
        unsafe { ManuallyDrop::drop(&mut self.hold) };
        Ok(())
    }
}

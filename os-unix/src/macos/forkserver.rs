//! Fork servers, which there are none of on macOS yet: each call says so, and what cannot be made here has no value.

use crate::error::{OsError, Result};
use crate::start::Child;
use std::os::fd::{BorrowedFd, OwnedFd};

fn unsupported(object: &'static str) -> OsError {
    OsError::new("make", object, libc::ENOTSUP)
        .with_advice("on macOS fork servers are not there yet; start a program instead")
}

/// The client's side of one server. There is none.
#[derive(Debug)]
pub enum Client {}

/// The server's side, which refuses to serve.
#[derive(Debug)]
pub struct Server(());

/// What [`Server::serve`] would come back for.
#[derive(Debug)]
pub enum Served {
    /// This is a fork, with what it was given.
    InFork(Vec<OwnedFd>),
    /// Nobody asks any more.
    Over,
}

/// Makes none.
///
/// # Errors
///
/// Unsupported, always.
pub fn pair() -> Result<(Client, [OwnedFd; 2])> {
    Err(unsupported("a fork server"))
}

#[allow(missing_docs, clippy::missing_errors_doc)] // there is nobody to call them
impl Client {
    pub fn await_ready(&self) -> Result<Result<(), String>> {
        match *self {}
    }

    pub fn fork(&self, _: &[BorrowedFd<'_>]) -> Result<Child> {
        match *self {}
    }

    pub fn finish(&self) {
        match *self {}
    }
}

impl Server {
    /// Closes what it was given.
    #[must_use]
    pub fn new(_: OwnedFd, _: OwnedFd) -> Self {
        Self(())
    }

    /// Nobody hears it: there is no client.
    pub fn refuse(self, _: &str) {}

    /// Does not serve.
    ///
    /// # Errors
    ///
    /// Unsupported, always.
    ///
    /// # Safety
    ///
    /// None; elsewhere this has conditions.
    pub unsafe fn serve(self) -> Result<Served> {
        Err(unsupported("forks of this process"))
    }
}

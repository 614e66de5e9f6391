//! What Windows lacks, under the names that it has elsewhere: copies of a process. Each call says so, and what cannot be
//! made here has no value.

use crate::error::{OsError, Result};
use crate::start::Child;
use std::os::windows::io::{BorrowedHandle, OwnedHandle};
use windows_sys::Win32::Foundation::ERROR_NOT_SUPPORTED;

fn unsupported(object: &'static str) -> OsError {
    OsError::new("make", object, ERROR_NOT_SUPPORTED as i32)
        .with_advice("Windows has no `fork`; start a program instead")
}

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Fork {
    /// The one that forked; this is its child.
    Parent(Child),
    /// The new one.
    InChild,
}

/// Does not copy this process.
///
/// # Errors
///
/// Unsupported, always.
///
/// # Safety
///
/// None; elsewhere this has conditions.
pub unsafe fn fork() -> Result<Fork> {
    Err(unsupported("a copy of this process"))
}

/// How many threads this process has, which only who forks needs to know.
///
/// # Errors
///
/// Unsupported, always.
pub fn thread_count() -> Result<usize> {
    Err(unsupported("a count of threads for a fork"))
}

/// Fork servers.
pub mod forkserver {
    use super::{BorrowedHandle, Child, OwnedHandle, Result, unsupported};

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
        InFork(Vec<OwnedHandle>),
        /// Nobody asks any more.
        Over,
    }

    /// Makes none.
    ///
    /// # Errors
    ///
    /// Unsupported, always.
    pub fn pair() -> Result<(Client, [OwnedHandle; 2])> {
        Err(unsupported("a fork server"))
    }

    #[allow(missing_docs, clippy::missing_errors_doc)] // there is nobody to call them
    impl Client {
        pub fn await_ready(&self) -> Result<Result<(), String>> {
            match *self {}
        }

        pub fn fork(&self, _: &[BorrowedHandle<'_>]) -> Result<Child> {
            match *self {}
        }

        pub fn finish(&self) {
            match *self {}
        }
    }

    impl Server {
        /// Closes what it was given.
        #[must_use]
        pub fn new(_: OwnedHandle, _: OwnedHandle) -> Self {
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
}

//! A process to be, with a name and options.

use super::{Process, start};
use crate::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A process to be; [`Process::builder`] makes one.
///
/// ```
/// use offspring::Process;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     let child = Process::builder("adder").spawn(|(a, b): (u8, u8)| a + b, (2, 3))?;
///     assert_eq!(child.name(), "adder");
///     assert_eq!(child.join()?, 5);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is started before `spawn`"]
pub struct Builder {
    pub(super) name: Option<String>,
    pub(super) daemon: Option<bool>,
}

impl Builder {
    /// Whether it is terminated, rather than waited for, when this process ends. Without this it is what this process is.
    ///
    /// Unlike a Unix daemon it does not outlive its parent. A daemon may not start processes.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// Starts it; as [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]; also for a name of more than 1024 bytes.
    pub fn spawn<A, R>(&self, function: fn(A) -> R, arguments: A) -> Result<Process<R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        start::start(self.name.clone(), self.daemon, function, arguments).map(Process::new)
    }
}

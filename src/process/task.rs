//! A task as a type: what Python does by a subclass of `Process`.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Something that another process can do: its fields travel there, and `run` is called.
///
/// ```
/// use offspring::{Process, Queue, process::Run};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Shouter {
///     lines: Queue<String>,
///     times: usize,
/// }
///
/// impl Run for Shouter {
///     type Output = usize;
///
///     fn run(self) -> usize {
///         self.lines.iter().map(|line| line.to_uppercase().repeat(self.times).len()).sum()
///     }
/// }
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let _main = offspring::init();
///     let lines = Queue::bounded(4)?;
///     let child = Process::run(Shouter { lines: lines.clone(), times: 2 })?;
///     lines.put("ab".into())?;
///     lines.close();
///     assert_eq!(child.join()?, 4);
///     Ok(())
/// }
/// ```
#[doc(alias = "subclass")]
pub trait Run: Serialize + DeserializeOwned {
    /// What it gives.
    type Output: Serialize + DeserializeOwned;

    /// Does it, in the other process.
    fn run(self) -> Self::Output;
}

//! Functions by name: for children that are another program than their parent.

use super::child::{self, Child};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

type Runner = Arc<dyn Fn(Child) -> i32 + Send + Sync>;

static NAMED: Mutex<Option<HashMap<String, Runner>>> = Mutex::new(None);

/// Lets parents start `function` in this program as `name`, by [`spawn_named`](super::Builder::spawn_named): before
/// `init()`, which in a child does not return. A later one of the same name takes its place.
///
/// For programs whose children are not copies of them; within one program `spawn` needs no names.
///
/// ```
/// use offspring::{Process, process};
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     process::register("add", |(a, b): (u32, u32)| a + b);
///     let _main = offspring::init();
///     let child = Process::builder("").spawn_named::<_, u32>("add", (2_u32, 3_u32))?;
///     assert_eq!(child.join()?, 5);
///     Ok(())
/// }
/// ```
pub fn register<A, R>(name: impl Into<String>, function: fn(A) -> R)
where
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    let runner: Runner = Arc::new(move |child| child::call(function, child));
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    named.get_or_insert_default().insert(name.into(), runner);
}

pub(super) fn find(name: &str) -> Option<Runner> {
    NAMED.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(name).cloned()
}

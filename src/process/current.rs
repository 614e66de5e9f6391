//! What this process knows of itself: its name, whether it is a daemon, where in the tree it stands.

use super::context::StartMethod;
use super::parent::Identity;
use offspring_core::prim::{AtomicU32, Ordering};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a parent says of its child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) daemon: bool,
    /// The how manieth child of the how manieth child it is, from the root on.
    pub(super) path: Vec<u32>,
    pub(super) method: StartMethod,
    /// Who started it; nobody of the family that is known, for the root.
    pub(super) parent: Option<Identity>,
}

/// One process; a fork that this library made has another.
#[derive(Debug)]
pub(super) struct Me {
    pub(super) told: Told,
    /// Set over the one that was told.
    name: Mutex<Option<String>>,
    /// Children so far.
    started: AtomicU32,
}

static ME: Mutex<Option<Arc<Me>>> = Mutex::new(None);

fn me() -> MutexGuard<'static, Option<Arc<Me>>> {
    ME.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Me {
    /// This process. One that nobody started is the root.
    pub(super) fn get() -> Arc<Self> {
        let root = || {
            Arc::new(Self::new(Told {
                name: "Main".to_owned(),
                daemon: false,
                path: Vec::new(),
                method: StartMethod::Spawn,
                parent: None,
            }))
        };
        Arc::clone(me().get_or_insert_with(root))
    }

    fn new(told: Told) -> Self {
        Self { told, name: Mutex::new(None), started: AtomicU32::new(0) }
    }

    /// This process learns who it is.
    pub(super) fn set(told: Told) {
        *me() = Some(Arc::new(Self::new(told)));
    }

    pub(super) fn name(&self) -> String {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone().unwrap_or_else(|| self.told.name.clone())
    }

    /// Its next child, called `Process-2:1` if nothing else: the first child of the second child of the root.
    pub(super) fn child(
        &self,
        name: Option<String>,
        daemon: Option<bool>,
        method: StartMethod,
        parent: Option<Identity>,
    ) -> Told {
        // ORDER: Relaxed. A number of its own.
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let mut path = self.told.path.clone();
        path.push(number);
        let by_path = || {
            let numbers: Vec<String> = path.iter().map(u32::to_string).collect();
            format!("Process-{}", numbers.join(":"))
        };
        let name = name.unwrap_or_else(by_path);
        Told { name, daemon: daemon.unwrap_or(self.told.daemon), path, method, parent }
    }
}

/// The process that asks; [`current`] gives it.
#[derive(Clone, Debug)]
pub struct Current(Arc<Me>);

/// This process, as its parent knows it.
///
/// ```
/// use offspring::{Process, process};
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> offspring::Result<()> {
///     let _main = offspring::init();
///     assert_eq!(process::current().name(), "Main");
///     let name = Process::builder("worker").spawn(|()| process::current().name(), ())?.join()?;
///     assert_eq!(name, "worker");
///     Ok(())
/// }
/// ```
#[doc(alias = "current_process")]
#[must_use]
pub fn current() -> Current {
    Current(Me::get())
}

impl Current {
    /// Its name: `Main` for a process that nobody of the family started.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// Gives it another name, which its parent's handle does not know.
    pub fn set_name(&self, name: impl Into<String>) {
        *self.0.name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.into());
    }

    /// Its number.
    #[doc(alias = "getpid")]
    #[must_use]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it is terminated, rather than waited for, when its parent ends.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.0.told.daemon
    }

    /// Where it stands in the tree: the how manieth child of the how manieth child, from the root on, which is `[]`.
    #[must_use]
    pub fn path(&self) -> &[u32] {
        &self.0.told.path
    }

    /// How it was made.
    #[must_use]
    pub fn method(&self) -> StartMethod {
        self.0.told.method
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_in_the_tree_a_process_stands() {
        let parent = Me::new(Told {
            name: "x".into(),
            daemon: true,
            path: vec![2],
            method: StartMethod::Spawn,
            parent: None,
        });
        let child = |name, daemon| parent.child(name, daemon, StartMethod::Fork, None);
        let [first, second] = [None, Some("named".to_owned())].map(|name| child(name, None));
        assert_eq!(first.name, "Process-2:1");
        assert_eq!((second.name.as_str(), &second.path[..]), ("named", &[2, 2][..]));
        assert!(first.daemon, "a daemon's child is one unless told otherwise");
        assert!(!child(None, Some(false)).daemon);
    }
}

//! What this process knows of itself: its name, whether it is a daemon, where in the tree it stands.

use offspring_core::prim::{AtomicU32, Ordering};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// What a parent says of its child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Current {
    pub(super) name: String,
    pub(super) daemon: bool,
    /// The how manieth child of the how manieth child it is, from the root on.
    pub(super) path: Vec<u32>,
}

static CURRENT: OnceLock<Current> = OnceLock::new();
static STARTED: AtomicU32 = AtomicU32::new(0);

impl Current {
    /// This process. One that nobody started is the root.
    pub(super) fn get() -> &'static Self {
        CURRENT.get_or_init(|| Self { name: "Main".to_owned(), daemon: false, path: Vec::new() })
    }

    /// This process learns who it is.
    pub(super) fn set(self) {
        let _ = CURRENT.set(self);
    }

    /// Its next child, called `Process-2:1` if nothing else: the first child of the second child of the root.
    pub(super) fn child(&self, name: Option<String>, daemon: Option<bool>) -> Self {
        // ORDER: Relaxed. A number of its own.
        let number = STARTED.fetch_add(1, Ordering::Relaxed) + 1;
        let mut path = self.path.clone();
        path.push(number);
        let by_path = || {
            let numbers: Vec<String> = path.iter().map(u32::to_string).collect();
            format!("Process-{}", numbers.join(":"))
        };
        let name = name.unwrap_or_else(by_path);
        Self { name, daemon: daemon.unwrap_or(self.daemon), path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_in_the_tree_a_process_stands() {
        let parent = Current { name: "x".into(), daemon: true, path: vec![2] };
        let [first, second] = [None, Some("named".to_owned())].map(|name| parent.child(name, None));
        assert_eq!(first.name, format!("Process-2:{}", first.path[1]));
        assert_eq!((second.name.as_str(), second.path[1]), ("named", first.path[1] + 1));
        assert!(first.daemon, "a daemon's child is one unless told otherwise");
        assert!(!parent.child(None, Some(false)).daemon);
    }
}

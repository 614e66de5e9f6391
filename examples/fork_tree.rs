//! A tree of processes: each starts two more, down to a depth, and all are counted; on Unix by `fork`.
//!
//! ```text
//! cargo run --example fork_tree [DEPTH] [spawn|forkserver|fork]
//! ```

use offspring::process::{self, Context, StartMethod};
use serde::{Deserialize, Serialize};

/// One process, and those below it.
#[derive(Serialize, Deserialize)]
struct Tree {
    name: String,
    pid: u32,
    parent: Option<u32>,
    children: Vec<Tree>,
}

impl Tree {
    fn count(&self) -> usize {
        1 + self.children.iter().map(Self::count).sum::<usize>()
    }

    fn print(&self, depth: usize) {
        println!("{:indent$}{} ({})", "", self.name, self.pid, indent = 2 * depth);
        self.children.iter().for_each(|child| child.print(depth + 1));
    }

    /// Everybody's parent is who started it.
    fn is_sound(&self) -> bool {
        let own = |child: &Self| child.parent == Some(self.pid) && child.is_sound();
        self.children.iter().all(own)
    }
}

/// Grows a tree in this process and below it. The children are a scope: none outlives the call, and if one fails, its
/// sisters are cancelled.
fn grow((depth, method): (u32, StartMethod)) -> Result<Tree, String> {
    let children = process::scope(|scope| {
        let builder = Context::new(method)?.builder("");
        let count = if depth == 0 { 0 } else { 2 };
        let started = (0..count).map(|_| scope.spawn_with(&builder, grow, (depth - 1, method)));
        let started = started.collect::<offspring::Result<Vec<_>>>()?;
        started.into_iter().map(|child| child.join()).collect::<offspring::Result<Vec<_>>>()
    });
    let children = children.map_err(|error| format!("{error:?}"))?;
    Ok(Tree {
        name: process::current().name(),
        pid: std::process::id(),
        parent: process::parent().map(|parent| parent.pid()),
        children: children.into_iter().collect::<Result<_, _>>()?,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = offspring::init();
    let mut arguments = std::env::args().skip(1);
    let depth = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let best = if StartMethod::supported().contains(&StartMethod::Fork) { "fork" } else { "spawn" };
    let method = arguments.next().unwrap_or_else(|| best.to_owned()).parse()?;
    let tree = grow((depth, method))?;
    tree.print(0);
    println!("{} processes by `{method}`", tree.count());
    assert_eq!(tree.count(), (1 << (depth + 1)) - 1);
    assert!(tree.is_sound());
    Ok(())
}

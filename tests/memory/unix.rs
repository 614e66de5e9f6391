//! Memory that is used up: the value comes back, and nobody is killed for it.
//!
//! A child is put into a small memory control group below this program's own (cgroup v1 or v2, whichever can be written
//! to). Where none can be made, the case is skipped and says so.

#[path = "../common/mod.rs"]
mod common;

use offspring::{Process, Queue};
use std::fs;
use std::path::{Path, PathBuf};

pub fn main() {
    let _main = offspring::init();
    common::watchdog(120);
    common::run(&[("value_comes_back_when_memory_is_used_up", value_comes_back)]);
}

const MIB: usize = 1 << 20;
const LIMIT: usize = 96 * MIB;

/// A memory control group, removed when it is dropped.
struct Group {
    directory: PathBuf,
    version: u32,
}

impl Group {
    fn new() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |version: u32| {
            own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':');
                let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
                let fits = match version {
                    1 => controllers.split(',').any(|name| name == "memory"),
                    _ => number == "0",
                };
                fits.then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let roots = [
            (1, "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            (2, "/sys/fs/cgroup", "memory.max"),
        ];
        roots.into_iter().find_map(|(version, root, limit)| {
            let name = format!("offspring-queue-{}", std::process::id());
            let directory = Path::new(root).join(path(version)?).join(name);
            fs::create_dir(&directory).ok()?;
            let group = Self { directory, version };
            fs::write(group.directory.join(limit), LIMIT.to_string()).ok()?;
            println!("{} limited to {LIMIT} bytes by {limit}", group.directory.display());
            Some(group)
        })
    }

    fn take_in(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    fn kills(&self) -> u64 {
        let file = if self.version == 1 { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.directory.join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.map_or(0, |number| number.parse().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it has ended.
        let removed = fs::remove_dir(&self.directory);
        assert!(std::thread::panicking() || removed.is_ok(), "{removed:?}");
    }
}

type Large = Queue<Vec<u8>>;

/// Puts until memory is used up, and goes on with what can still be done. Gives how many there was room for.
fn fill((queue, go): (Large, Queue<u32>)) -> usize {
    go.get().unwrap();
    let value = |n: usize| vec![n as u8; MIB - 100];
    let mut put = 0;
    let refused = loop {
        match queue.try_put(value(put)) {
            Ok(()) => put += 1,
            Err(refused) => break refused,
        }
        assert!(put < LIMIT / MIB, "more was granted than there is");
    };
    assert!(refused.error().is_out_of_memory(), "{refused}");
    // A put that may wait does not wait for memory that nobody will give back.
    let refused = queue.put(refused.into_inner()).unwrap_err();
    assert!(refused.error().is_out_of_memory(), "{refused}");
    assert!(refused.into_inner() == value(put), "the value comes back whole");

    // What was taken can be used again.
    for n in 0..put {
        assert!(queue.get().unwrap() == value(n), "item {n}");
        queue.try_put(value(n)).unwrap();
    }
    queue.try_put(value(put)).unwrap_err();
    // Small ones go their way.
    let small = Queue::<u32>::bounded(4).unwrap();
    small.put(7).unwrap();
    assert_eq!(small.get().unwrap(), 7);
    // Whose memory at its making alone is too much.
    let error = Queue::<[u64; 30]>::bounded(1 << 20).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    put
}

fn value_comes_back() {
    let Some(group) = Group::new() else {
        return println!("skipped: no memory control group can be made here");
    };
    let queue: Large = Queue::builder().capacity(512).class_bytes(512 * MIB).build().unwrap();
    let go = Queue::<u32>::bounded(1).unwrap();
    let child = Process::spawn(fill, (queue.clone(), go.clone())).unwrap();
    group.take_in(child.pid());
    go.put(0).unwrap();
    let put = child.join().unwrap();
    assert_eq!(group.kills(), 0);
    println!("{put} values of 1 MiB went into {} MiB", LIMIT / MIB);
    assert!(put >= 8, "{put}");
    // This process is not limited: all that was put is there, and more goes in.
    queue.put(vec![1; MIB]).unwrap();
    assert_eq!(queue.len(), put + 1);
    assert!((0..put).all(|n| queue.get().unwrap() == vec![n as u8; MIB - 100]));
    drop(queue);
}

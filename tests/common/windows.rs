//! What the tests ask of the system: Windows.

use std::time::Duration;

/// Ends this program if it takes that long; its children go with it.
pub fn watchdog(seconds: u32) {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds.into()));
        eprintln!("the watchdog ends this program");
        std::process::abort();
    });
}

/// The calling thread's number, which nobody asks about here.
pub fn thread() -> u32 {
    0
}

/// Gives a thread of another process the time to block. What it waits for is told to nobody here: a test that is early tries
/// less, and holds all the same.
pub fn until_blocked(_: u32) {
    std::thread::sleep(Duration::from_millis(100));
}

/// Not counted: pages of the arena stay committed until the family ends.
pub fn pieces() -> u64 {
    0
}

/// Not counted: handles of peers and of their events are kept for the next wait.
pub fn descriptors() -> usize {
    0
}

/// Nobody stays to be reaped.
pub fn has_children() -> bool {
    false
}

//! What this crate promises of processes. Off Windows it is empty, and there is nothing to test.

#[cfg(windows)]
mod suite;

fn main() {
    #[cfg(windows)]
    suite::main();
}

//! What this crate promises of families. Off Windows it is empty, and there is nothing to test.

#[cfg(windows)]
mod suite;

fn main() {
    #[cfg(windows)]
    suite::main();
}

//! What a forked child inherits: where there is fork.

#[cfg(unix)]
mod unix;

fn main() {
    #[cfg(unix)]
    unix::main();
    #[cfg(not(unix))]
    println!("nobody forks here");
}

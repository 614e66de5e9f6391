//! What the kernel sees of a queue: where a filter can end whoever makes a system call.

#[cfg(unix)]
mod unix;

fn main() {
    #[cfg(unix)]
    unix::main();
    #[cfg(not(unix))]
    println!("no filter of system calls here");
}

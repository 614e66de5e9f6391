//! Children made in each way: where there are others than execution.

#[cfg(unix)]
mod unix;

fn main() {
    #[cfg(unix)]
    unix::main();
    #[cfg(not(unix))]
    println!("execution is the only way here");
}

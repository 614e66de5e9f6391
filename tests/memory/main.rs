//! Memory that is used up: where a control group can limit it.

#[cfg(unix)]
mod unix;

fn main() {
    #[cfg(unix)]
    unix::main();
    #[cfg(not(unix))]
    println!("no control groups here");
}

//! offspring's figures beside its peers': `cargo peers list`, `cargo peers run`, `cargo peers plot`.

#[cfg(feature = "peers")]
mod blocks;
#[cfg(feature = "peers")]
mod command;
#[cfg(feature = "peers")]
mod cores;
#[cfg(feature = "peers")]
mod figures;
#[cfg(feature = "peers")]
mod measure;
#[cfg(feature = "peers")]
mod message;
#[cfg(feature = "peers")]
mod ours;
#[cfg(feature = "peers")]
mod peers;
#[cfg(feature = "peers")]
mod plot;
#[cfg(feature = "peers")]
mod raw;
#[cfg(feature = "peers")]
mod results;
#[cfg(feature = "peers")]
mod roles;
#[cfg(feature = "peers")]
mod stage;
#[cfg(feature = "peers")]
mod table;

use std::process::ExitCode;

/// What can go wrong here is told to the person at the terminal and to nobody else.
#[cfg(feature = "peers")]
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[cfg(feature = "peers")]
fn main() -> ExitCode {
    // What `posix_spawn` is measured with.
    if std::env::var_os(raw::process::NOTHING).is_some() {
        return ExitCode::SUCCESS;
    }
    // Children that offspring starts begin their work in here and do not return.
    let _main = offspring::init();
    // The same for procspawn's.
    procspawn::init();
    command::run(std::env::args().skip(1))
}

#[cfg(not(feature = "peers"))]
fn main() -> ExitCode {
    eprintln!(
        "this build has no peers to compare with; they are optional, so that testing the workspace stays quick.\n\
         Use the alias:  cargo peers list | run [ROW …] | noise [ROW …] | plot\n\
         which is:       cargo run --release -p offspring-benches --features peers -- list"
    );
    ExitCode::FAILURE
}

//! Python's `multiprocessing.Queue` between processes, by the interpreter on the machine.

use super::CAPACITY;
use crate::Result;
use crate::cores::Cores;
use crate::message::Message;
use std::process::Command;

const PROGRAM: &str = include_str!("queue.py");

/// Nanoseconds for `count` messages from one process to another.
pub fn one_to_one<M: Message>(count: u64, cores: Cores) -> Result<u64> {
    let arguments =
        [count, size_of::<M>() as u64, CAPACITY as u64, cores.first as u64, cores.second as u64];
    let output = Command::new("python3")
        .args(["-c", PROGRAM])
        .args(arguments.map(|argument| argument.to_string()))
        .output()
        .map_err(|error| format!("run python3: {error}; install Python 3 to compare with it"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("python3 ended with {}: {}", output.status, said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

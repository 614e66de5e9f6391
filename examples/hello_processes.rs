//! The first programs that everybody writes with processes: who is whose parent, one process, ten, four that are not
//! waited for, a writer and a reader that is ended, and two that would never end.
//!
//! ```text
//! cargo run --example hello_processes
//! ```

use offspring::process::{self, Context, StartMethod};
use offspring::{Process, Queue};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = offspring::init();
    who_is_whose()?;
    one_process()?;
    ten_processes()?;
    not_waited_for()?;
    writer_and_reader()?;
    two_without_end()
}

/// Who a process is, and who started it.
fn pids(_: ()) -> (u32, Option<u32>) {
    (std::process::id(), process::parent().map(|parent| parent.pid()))
}

/// Child and parent, by each start method that this system has.
fn who_is_whose() -> offspring::Result<()> {
    for method in StartMethod::supported() {
        let child = Context::new(*method)?.spawn(pids, ())?;
        let pid = child.pid();
        let (own, parent) = child.join()?;
        println!("{method}: I am {}, my child was {own}", std::process::id());
        assert_eq!((own, parent), (pid, Some(std::process::id())));
    }
    Ok(())
}

fn run(name: String) {
    println!("Run child process {name} ({})", std::process::id());
}

fn one_process() -> offspring::Result<()> {
    println!("Parent process {}", std::process::id());
    let child = Process::spawn(run, "test".to_owned())?;
    println!("Child process will start.");
    child.join()?;
    println!("Child process end.");
    Ok(())
}

fn hello(n: u32) -> u32 {
    println!("hello {n}");
    n
}

/// All of them are joined; joining the last alone would let the others' lines come late.
fn ten_processes() -> offspring::Result<()> {
    let children =
        (0..10).map(|n| Process::spawn(hello, n)).collect::<offspring::Result<Vec<_>>>()?;
    for (n, child) in (0..).zip(children) {
        assert_eq!(child.join()?, n);
    }
    Ok(())
}

/// Nobody joins these: the end of `main` waits for them.
fn not_waited_for() -> offspring::Result<()> {
    for n in 0..4_u64 {
        let nap = |n: u64| {
            std::thread::sleep(Duration::from_millis(200));
            println!("nap {n} is over");
        };
        drop(Process::builder(format!("nap {n}")).spawn(nap, n)?);
    }
    Ok(())
}

fn write(queue: Queue<String>) {
    for value in ["A", "B", "C"] {
        println!("Put {value}");
        queue.put(value.to_owned()).expect("the queue is open");
    }
}

/// Reads for ever, and says what it got.
fn read((queue, seen): (Queue<String>, Queue<String>)) {
    while let Ok(value) = queue.get() {
        println!("Get {value}");
        seen.put(value).expect("the queue is open");
    }
}

fn writer_and_reader() -> Result<(), Box<dyn std::error::Error>> {
    let (queue, seen) = (Queue::bounded(8)?, Queue::bounded(8)?);
    let writer = Process::spawn(write, queue.clone())?;
    let reader = Process::spawn(read, (queue, seen.clone()))?;
    writer.join()?;
    for value in ["A", "B", "C"] {
        assert_eq!(seen.get()?, value, "in order");
    }
    // It waits for a fourth that never comes.
    reader.terminate()?;
    let status = reader.wait();
    println!("the reader: {status}");
    assert!(!status.success());
    Ok(())
}

fn forever((mark, said): (u32, Queue<u32>)) {
    loop {
        println!("---{mark}---");
        if said.put(mark).is_err() {
            return;
        }
    }
}

/// Two endless loops at once; the queue holds them up until somebody looks.
fn two_without_end() -> Result<(), Box<dyn std::error::Error>> {
    let said = Queue::bounded(1)?;
    let children = [1, 2].map(|mark| Process::spawn(forever, (mark, said.clone())));
    let mut seen = [false; 3];
    while seen != [false, true, true] {
        seen[said.get()? as usize] = true;
    }
    for child in children {
        let child = child?;
        child.shutdown(Duration::from_secs(1))?;
    }
    println!("both ran, and both were ended");
    Ok(())
}

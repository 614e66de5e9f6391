//! A participant besides the examiner: a process or a thread of its own that does as it is told, line by line.
//!
//! Lines go through pipes or channels and not through what is examined, so that a back end that loses a wake loses none of them.

use super::bench::Bench;
use super::scene::Scene;
use offspring_core::prim::Ordering;
use offspring_core::process::{Liveness, ProcessRef};
use offspring_core::wait::{Wait, Watch, Woken};
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the start of a participant may take.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// What a participant is told at its start.
#[derive(Clone, Debug)]
pub struct Orders {
    /// The arena, as a number that the system's part understands; nothing where it is handed over otherwise.
    pub arena: u64,
    /// The examiner's name.
    pub parent: u64,
    /// The board's region.
    pub board: u64,
    /// How many seconds an answer may take.
    pub patience: u64,
    /// The planted fault's number.
    pub fault: u32,
}

impl Orders {
    /// As arguments of a program.
    pub fn arguments(&self) -> [String; 5] {
        let numbers = [self.arena, self.parent, self.board, self.patience, u64::from(self.fault)];
        numbers.map(|number| number.to_string())
    }

    /// From arguments of a program.
    pub fn from_arguments(arguments: &[String]) -> Option<Self> {
        let numbers: Vec<u64> =
            arguments.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
        let [arena, parent, board, patience, fault] = numbers[..] else { return None };
        Some(Self { arena, parent, board, patience, fault: fault as u32 })
    }
}

enum End {
    Process(Child),
    Thread(Option<JoinHandle<()>>),
}

/// Tells the participant a line; `false` if it cannot hear.
type Tell = Box<dyn FnMut(&str) -> bool + Send>;

/// The examiner's side.
pub struct Mate {
    tell: Tell,
    said: Receiver<String>,
    end: End,
    patience: Duration,
    /// Its name in the registry.
    pub name: ProcessRef,
    /// Its number for `System::is_gone`.
    pub number: u32,
    /// Its identity.
    pub identity: u64,
    /// What it says of its generation.
    pub generation: u32,
}

impl Mate {
    fn new(tell: Tell, said: Receiver<String>, end: End, patience: u64) -> Result<Self, String> {
        let patience = Duration::from_secs(patience);
        let name = ProcessRef::NONE;
        let mut mate =
            Self { tell, said, end, patience, name, number: 0, identity: 0, generation: 0 };
        mate.tell("me")?;
        let hello = mate.hear_within(STARTS_WITHIN)?;
        let mut fields = Fields(hello.split_whitespace());
        mate.name = ProcessRef::from_bits(fields.next()?);
        mate.number = fields.next()?;
        mate.identity = fields.next()?;
        mate.generation = fields.next()?;
        Ok(mate)
    }

    /// This program again, as a participant.
    pub fn process(backend: &str, orders: &Orders) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("start a participant: {error}");
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args([super::MATE, backend])
            .args(orders.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (mut input, output) = (child.stdin.take(), child.stdout.take());
        let (say, said) = channel();
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                if !line.is_ok_and(|line| say.send(line).is_ok()) {
                    return;
                }
            }
        });
        let tell = move |line: &str| {
            input
                .as_mut()
                .is_some_and(|input| writeln!(input, "{line}").and_then(|()| input.flush()).is_ok())
        };
        Self::new(Box::new(tell), said, End::Process(child), orders.patience)
    }

    /// A thread, as a participant.
    pub fn thread<S: Bench>(file: S::File, orders: Orders) -> Result<Self, String>
    where
        S::File: Send,
    {
        let (tell, told) = channel::<String>();
        let (say, said) = channel();
        let patience = orders.patience;
        let thread = std::thread::spawn(move || {
            live::<S>(file, &orders, &told, &|line| {
                let _ = say.send(line);
            })
        });
        let tell = move |line: &str| tell.send(line.to_owned()).is_ok();
        Self::new(Box::new(tell), said, End::Thread(Some(thread)), patience)
    }

    /// Says something to it.
    pub fn tell(&mut self, line: &str) -> Result<(), String> {
        if (self.tell)(line) { Ok(()) } else { Err(format!("`{line}`: the participant has ended")) }
    }

    /// Its next line.
    pub fn hear(&self) -> Result<String, String> {
        self.hear_within(self.patience)
    }

    fn hear_within(&self, patience: Duration) -> Result<String, String> {
        let line = self.said.recv_timeout(patience).map_err(|_| {
            format!("a participant did not come back within {} s", patience.as_secs())
        })?;
        match line.strip_prefix("error ") {
            Some(error) => Err(error.to_owned()),
            None => Ok(line),
        }
    }

    /// Says something to it, and hears its answer.
    pub fn ask<T: FromStr>(&mut self, line: &str) -> Result<T, String>
    where
        T::Err: Display,
    {
        self.tell(line)?;
        let answer = self.hear()?;
        answer.parse().map_err(|error| format!("`{line}` was answered `{answer}`: {error}"))
    }

    /// Lets it sleep on these until it is woken; it is asleep, or just about to be, when this returns.
    pub fn sleep(&mut self, watches: &str) -> Result<(), String> {
        self.tell(&format!("sleep - {watches}"))?;
        match self.hear()?.as_str() {
            "sleeping" => Ok(()),
            other => Err(format!("`sleep` was answered `{other}`")),
        }
    }

    /// Its process's number in the system, if it is a process.
    pub fn pid(&self) -> Option<u32> {
        match &self.end {
            End::Process(child) => Some(child.id()),
            End::Thread(_) => None,
        }
    }

    /// Kills it, and comes back when the system has said that it is gone. A thread ends without having left.
    pub fn kill(&mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("kill a participant: {error}");
        match &mut self.end {
            End::Process(child) => {
                child.kill().map_err(failed)?;
                child.wait().map(|_| ()).map_err(failed)
            }
            End::Thread(thread) => {
                let thread = thread.take();
                self.tell("end")?;
                thread.map_or(Ok(()), JoinHandle::join).map_err(|_| "a participant panicked".into())
            }
        }
    }
}

impl Drop for Mate {
    fn drop(&mut self) {
        if let End::Process(child) = &mut self.end {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Fields<'a>(std::str::SplitWhitespace<'a>);

impl Fields<'_> {
    fn next<T: FromStr>(&mut self) -> Result<T, String> {
        let text = self.0.next().unwrap_or_default();
        text.parse().map_err(|_| format!("`{text}` is no answer and no order"))
    }
}

/// The life of a participant that is a process: from its standard input to its standard output.
pub fn live_as_process<S: Bench>(file: S::File, orders: &Orders) {
    let (tell, told) = channel::<String>();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
        // The examiner has ended; this participant may be asleep for good.
        std::process::exit(1);
    });
    live::<S>(file, orders, &told, &|line| println!("{line}"));
}

fn live<S: Bench>(file: S::File, orders: &Orders, told: &Receiver<String>, say: &dyn Fn(String)) {
    let scene = match Scene::<S>::join(file, orders) {
        Ok(scene) => scene,
        Err(error) => return say(format!("error {error}")),
    };
    for line in told {
        if line == "end" {
            return;
        }
        let answer = obey(&scene, &line, say);
        say(answer.unwrap_or_else(|error| format!("error {error}")));
    }
}

/// Does what a line says, and answers.
fn obey<S: Bench>(scene: &Scene<S>, line: &str, say: &dyn Fn(String)) -> Result<String, String> {
    let mut words = Fields(line.split_whitespace());
    let family = &scene.family;
    let order: String = words.next()?;
    match order.as_str() {
        "me" => {
            let me = family.me().bits();
            let number = S::number(std::process::id());
            Ok(format!("{me} {number} {} {}", S::identity(), S::generation()))
        }
        "now" => Ok(S::now().0.to_string()),
        "random" => S::random().map(|number| number.to_string()).map_err(|error| error.to_string()),
        "load" => Ok(scene.word(words.next()?).load(Ordering::SeqCst).to_string()),
        "store" => {
            scene.word(words.next()?).store(words.next()?, Ordering::SeqCst);
            Ok(String::new())
        }
        // word, value, most
        "change" => {
            let word = scene.word(words.next()?);
            word.store(words.next()?, Ordering::SeqCst);
            Ok(family.wake(word, words.next()?).to_string())
        }
        // a deadline in nanoseconds from now, or -; then what to watch
        "sleep" => {
            let limit: String = words.next()?;
            let until = limit.parse().ok().map(|nanos| S::now().after(nanos));
            let watches =
                words.0.map(|spec| scene.watch(spec)).collect::<Result<Vec<Watch<'_>>, _>>()?;
            say("sleeping".to_owned());
            Ok(match family.wait(&watches, until) {
                Woken::Maybe => "maybe".to_owned(),
                Woken::TimedOut => "late".to_owned(),
            })
        }
        "byte" => Ok(scene.bytes(words.next()?, words.next()?)?.max().unwrap_or(0).to_string()),
        "rally" => scene.rally(1, words.next()?).map(|()| "done".to_owned()),
        // whether this side is the sleeper's; the logs
        "barrier" => scene.barrier(1, words.next()?, words.next()?).map(|_| "done".to_owned()),
        "await-death" => {
            let process = ProcessRef::from_bits(words.next()?);
            scene.await_death(process)?;
            Ok("dead".to_owned())
        }
        "is-dead" => Ok(family.is_dead(ProcessRef::from_bits(words.next()?)).to_string()),
        // another thread takes a lane and ends
        "thread" => {
            let family = *family;
            let entered =
                std::thread::spawn(move || family.enter().map_err(|e| e.to_string())).join();
            entered.map_err(|_| "a thread panicked".to_owned())?.map(|()| "done".to_owned())
        }
        "join" => scene.join_crew(words.next()?).map(|()| "done".to_owned()),
        // word, how often; 0: for ever
        "count" => {
            let (word, times) = (scene.word(words.next()?), words.next::<u64>()?);
            say("counting".to_owned());
            let mut counted = 0;
            while times == 0 || counted < times {
                word.fetch_add(1, Ordering::SeqCst);
                counted += 1;
            }
            Ok("done".to_owned())
        }
        "leave" => {
            family.leave();
            Ok("left".to_owned())
        }
        other => Err(format!("`{other}` is no order")),
    }
}

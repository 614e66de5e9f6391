//! What Ctrl-C does to a pool that heeds it: a program in a process group of its own, whose group gets the signal as from a terminal.
//!
//! Without libtest, as the program is this one, started again with the name of a part.

#[cfg(unix)]
mod common;

#[cfg(unix)]
fn main() {
    unix::main();
}

/// Windows sends control-C to consoles, which the tests do not have.
#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod unix {
    use crate::common::{until, watchdog};
    use offspring::pool::TaskError;
    use offspring::{Pool, Queue};
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

    const PART: &str = "POOL_INTERRUPTS_PART";

    const CASES: &[(&str, fn())] = &[
        ("first_press_finishes_what_runs", first_press_finishes_what_runs),
        ("second_press_ends_what_runs", second_press_ends_what_runs),
        ("third_press_ends_the_program", third_press_ends_the_program),
        ("press_ends_a_program_whose_pool_does_not_heed_it", press_ends_other_programs),
        ("press_after_the_pools_end_ends_the_program", press_after_the_pools_end),
    ];

    pub fn main() {
        let _main = offspring::init();
        watchdog(120);
        match std::env::var(PART).as_deref() {
            Ok("finish") => return finish(true),
            Ok("stubborn") => return finish(false),
            Ok("deaf") => return deaf(),
            Ok("over") => return over(),
            _ => {}
        }
        let filters: Vec<String> =
            std::env::args().skip(1).filter(|text| !text.starts_with('-')).collect();
        let chosen = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f));
        let cases: Vec<_> = CASES.iter().filter(|case| chosen(case.0)).collect();
        if std::env::args().any(|text| text == "--list") {
            return cases.iter().for_each(|case| println!("{}: test", case.0));
        }
        println!("\nrunning {} tests", cases.len());
        for (name, case) in &cases {
            watchdog(120);
            case();
            println!("test {name} ... ok");
        }
        println!("\ntest result: ok. {} passed; 0 failed; 0 ignored\n", cases.len());
    }

    // The parts.

    /// Says that it runs, and goes on once it is told to.
    fn work((began, go): (Queue<u64>, Queue<u64>)) -> u64 {
        began.put(1).unwrap();
        go.get().unwrap()
    }

    /// Two tasks run, others wait. Says what became of them; goes on until it is killed, unless it was to finish.
    fn finish(heeds_the_first: bool) {
        let pool = Pool::builder().workers(2).heed_interrupts(true).build().unwrap();
        let (began, go) = (Queue::bounded(100).unwrap(), Queue::bounded(100).unwrap());
        let arguments = (0..20).map(|_| (began.clone(), go.clone()));
        let tasks: Vec<_> = arguments.map(|both| pool.submit(work, both).unwrap()).collect();
        for _ in 0..2 {
            began.get().unwrap();
        }
        println!("two run");
        until("it is interrupted", || pool.submit(|n: u8| n, 1).is_err_and(|e| e.is_closed()));
        println!("interrupted");
        if heeds_the_first {
            go.put(5).unwrap();
            go.put(6).unwrap();
        }
        let mut ended = [0; 3];
        for task in &tasks {
            match task.get() {
                Ok(5 | 6) => ended[0] += 1,
                Err(TaskError::Interrupted) => ended[1] += 1,
                Err(TaskError::Terminated) => ended[2] += 1,
                other => panic!("{other:?}"),
            }
        }
        println!("{ended:?}, {} more began", began.len());
        if !heeds_the_first {
            forever();
        }
    }

    fn deaf() {
        let pool = Pool::builder().workers(2).warm(true).build().unwrap();
        let _running = pool.submit(|_: ()| forever(), ()).unwrap();
        println!("it runs");
        forever();
    }

    fn over() {
        let mut pool = Pool::builder().workers(2).heed_interrupts(true).build().unwrap();
        let _kept = pool.submit(|n: u8| n, 1).unwrap();
        pool.close();
        pool.join().unwrap();
        println!("it is over");
        forever();
    }

    fn forever() {
        loop {
            std::thread::park();
        }
    }

    // The cases.

    /// A part, and all that it starts.
    struct Group {
        child: Child,
        output: BufReader<ChildStdout>,
    }

    impl Group {
        fn start(part: &str) -> Self {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env(PART, part).stdout(Stdio::piped()).process_group(0);
            let mut child = command.spawn().unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            Self { child, output }
        }

        #[track_caller]
        fn says(&mut self, expected: &str) {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            assert_eq!(line.trim_end(), expected);
        }

        /// As a terminal does at Ctrl-C.
        fn press(&self) {
            // SAFETY: takes integers; the group is our child's, which was not waited for yet.
            let sent = unsafe { libc::kill(-(self.child.id() as i32), libc::SIGINT) };
            assert_eq!(sent, 0);
        }

        /// How the part ends; nobody of its group is left then.
        #[track_caller]
        fn ends(mut self) -> ExitStatus {
            let group = self.child.id();
            let how = self.child.wait().unwrap();
            until("the group is empty", || !has_living(group));
            how
        }
    }

    /// Whether a process of the group is there that has not ended.
    fn has_living(group: u32) -> bool {
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // Behind the name in parentheses: state, parent, group.
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let mut fields = rest.split_whitespace();
            let state = fields.next();
            fields.nth(1).and_then(|text| text.parse().ok()) == Some(group) && state != Some("Z")
        })
    }

    fn first_press_finishes_what_runs() {
        let mut group = Group::start("finish");
        group.says("two run");
        group.press();
        group.says("interrupted");
        group.says("[2, 18, 0], 0 more began");
        assert!(group.ends().success());
    }

    fn second_press_ends_what_runs() {
        let mut group = Group::start("stubborn");
        group.says("two run");
        group.press();
        group.says("interrupted");
        group.press();
        group.says("[0, 18, 2], 0 more began");
        group.child.kill().unwrap();
        assert_eq!(group.ends().signal(), Some(libc::SIGKILL));
    }

    fn third_press_ends_the_program() {
        let mut group = Group::start("stubborn");
        group.says("two run");
        group.press();
        group.says("interrupted");
        group.press();
        group.says("[0, 18, 2], 0 more began");
        group.press();
        assert_eq!(group.ends().signal(), Some(libc::SIGINT));
    }

    fn press_ends_other_programs() {
        let mut group = Group::start("deaf");
        group.says("it runs");
        group.press();
        assert_eq!(group.ends().signal(), Some(libc::SIGINT));
    }

    fn press_after_the_pools_end() {
        let mut group = Group::start("over");
        group.says("it is over");
        group.press();
        assert_eq!(group.ends().signal(), Some(libc::SIGINT));
    }
}

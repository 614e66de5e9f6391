//! Runs test programs, here or under Wine, and reads what became of each test.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Where tests run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On this machine's own system.
    Here,
    /// The Windows build, by cargo's runner for it.
    Wine,
}

/// The variable that names cargo's runner of Windows programs.
const RUNNER: &str = "CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER";

impl Place {
    /// What its column is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wine => "wine",
            Self::Here => env::consts::OS,
        }
    }

    /// Whether the tests are Unix programs there.
    pub fn is_unix(self) -> bool {
        cfg!(unix) && self == Self::Here
    }

    /// Whether cargo was told how to run Windows programs.
    pub fn has_runner() -> bool {
        env::var_os(RUNNER).is_some()
    }
}

/// A test's name, and its program's: `program::test`, or `package/program::test` where it is not the facade's; `lib` is the program
/// of a package's own tests, `doc` that of the documentation's examples.
pub fn split(test: &str) -> Option<(&str, &str)> {
    test.split_once("::")
}

/// What became of each test of a program: the last that was said of it.
pub type Outcomes = BTreeMap<String, String>;

/// Reads lines such as `test name ... ok`, whatever a child wrote before it on the same line.
pub fn outcomes(output: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for line in output.lines() {
        let said = line.rfind("test ").and_then(|at| line[at + 5..].rsplit_once(" ... "));
        let Some((name, outcome)) = said else { continue };
        // Examples have their place and kind behind their name.
        let name = name
            .rsplit_once(" - ")
            .filter(|(_, kind)| kind.starts_with("compile"))
            .map_or(name, |(n, _)| n);
        let name = name.split(" (line").next().unwrap_or(name);
        let name = name.rsplit_once(" - ").map_or(name, |(_, name)| name).trim();
        // Several examples of one item: all of them, or none.
        let worst = outcomes.entry(name.to_owned()).or_insert_with(|| outcome.to_owned());
        if worst == "ok" {
            outcome.clone_into(worst);
        }
    }
    outcomes
}

/// Runs one test program.
pub fn run(program: &str, place: Place) -> Result<Outcomes, String> {
    let (package, name) = match program.split_once('/') {
        Some((package, name)) => (format!("offspring-{package}"), name),
        None => ("offspring".to_owned(), program),
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "-p", &package]);
    if place == Place::Wine {
        command.args(["--target", "x86_64-pc-windows-gnu"]);
        if !Place::has_runner() {
            let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
            command.env(RUNNER, root.join("ci/wine-runner.sh"));
        }
    }
    match name {
        "doc" => command.args(["--doc", "--", "compile_fail::"]),
        "lib" => command.arg("--lib"),
        name => command.args(["--test", name]),
    };
    let output = command.output().map_err(|error| format!("  run cargo test: {error}"))?;
    let found = outcomes(&String::from_utf8_lossy(&output.stdout));
    if found.is_empty() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        return Err(format!("  `{program}` ran no test:\n  {last}"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_from_any_harness() {
        let text = "\nrunning 4 tests\ntest a ...\nsome child says test a ... ok\ntest b ... FAILED\n\
                    test c ... ignored\ntest src/x.rs - compile_fail::Twice (line 3) - compile fail ... ok\n\
                    test src/x.rs - compile_fail::Twice (line 9) - compile fail ... FAILED\n\
                    test src/x.rs - compile_fail::Once (line 12) - compile fail ... ok\n\
                    test result: ok. 1 passed";
        let found = outcomes(text);
        let get = |name: &str| found.get(name).map(String::as_str);
        assert_eq!((get("a"), get("b"), get("c")), (Some("ok"), Some("FAILED"), Some("ignored")));
        assert_eq!(get("compile_fail::Twice"), Some("FAILED"));
        assert_eq!(get("compile_fail::Once"), Some("ok"));
    }
}

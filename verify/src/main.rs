//! `cargo verify <stage>`: runs one stage of the verification and fails if anything is violated.

#[cfg(not(offspring_loom))]
use offspring_verify::report::Row;
use offspring_verify::report::{Progress, Report, Settings};
use std::process::ExitCode;
#[cfg(not(offspring_loom))]
use std::time::Duration;

/// One way to check.
struct Stage {
    name: &'static str,
    about: &'static str,
    run: fn(&Settings, &Progress) -> Report,
}

#[cfg(not(offspring_loom))]
const STAGES: &[Stage] = {
    use offspring_verify::{conformance, kill, mutants, parity, props, restart, sanitize, summary};
    #[cfg(unix)]
    use offspring_verify::{corrupt, cpython, lin, step};
    &[
        Stage {
            name: "model",
            about: "every state of the protocols' machines, with deaths anywhere, and of their mutants",
            run: model,
        },
        Stage {
            name: "loom",
            about: "the real code under every interleaving that loom finds, a death at every point",
            run: restart::stage,
        },
        Stage {
            name: "props",
            about: "the real code against plain models: random operations, deaths, counters near their wrap",
            run: props::stage,
        },
        Stage {
            name: "conformance",
            about: "each promise of the platform seam, against each back end; broken ones must be caught",
            run: conformance::stage,
        },
        Stage {
            name: "kill",
            about: "real processes, killed at every named point and at any instruction",
            run: kill::stage,
        },
        #[cfg(unix)]
        Stage {
            name: "step",
            about: "every operation, killed after each instruction that others notice, and who repairs it as well",
            run: step::stage,
        },
        #[cfg(unix)]
        Stage {
            name: "corrupt",
            about: "regions with wrong bytes: every operation comes back, inside the region",
            run: corrupt::stage,
        },
        #[cfg(unix)]
        Stage {
            name: "lin",
            about: "what real processes did to a queue, some killed, against a sequential queue",
            run: lin::stage,
        },
        Stage {
            name: "mutants",
            about: "the real code with one planted mistake at a time, which some layer must find",
            run: mutants::stage,
        },
        Stage {
            name: "parity",
            about: "each behaviour of Python's that is ours, against the tests that hold it",
            run: parity::stage,
        },
        Stage {
            name: "miri",
            about: "core's tests under an interpreter that knows undefined behaviour (nightly)",
            run: sanitize::miri,
        },
        Stage {
            name: "tsan",
            about: "core's tests under the thread sanitizer (nightly)",
            run: sanitize::tsan,
        },
        #[cfg(unix)]
        Stage {
            name: "cpython",
            about: "what a kill leaves of a queue, in Python's multiprocessing and here",
            run: cpython::stage,
        },
        Stage {
            name: "report",
            about: "verify/REPORT.md, from what the others found when they last ran",
            run: |settings, progress| {
                let stages = STAGES.iter().map(|stage| stage.name);
                let stages: Vec<_> = stages.filter(|name| *name != "report").collect();
                summary::stage(&stages, settings, progress)
            },
        },
        #[cfg(unix)]
        Stage {
            name: "faults",
            about: "what a pool's user sees after one fault: by us, and by the pools of Python",
            run: offspring_verify::faults::stage,
        },
    ]
};

/// The stage `model`: its reports as rows.
#[cfg(not(offspring_loom))]
fn model(settings: &Settings, progress: &Progress) -> Report {
    let mut say = |name: &str, states: u64| progress.say(format!("{name}: {states} states"));
    let only = settings.only.as_deref();
    let reports =
        offspring_verify::model::run_only(settings.quick, settings.seconds, only, &mut say);
    let rows = reports.iter().map(|report| {
        let mutant = report.mutant.map(|mutant| format!(", but {mutant}")).unwrap_or_default();
        let found = report.trace().join("\n  ");
        Row {
            name: format!("{} ({}){mutant}", report.name, report.config),
            extent: format!("{:9} states: {}", report.states, report.summary()),
            took: Duration::from_secs_f64(report.seconds),
            verdict: if report.passed() { Ok(()) } else { Err(format!("  {found}")) },
        }
    });
    Report { rows: rows.collect() }
}

#[cfg(offspring_loom)]
const STAGES: &[Stage] = &[Stage {
    name: "loom",
    about: "the real code under every interleaving that loom finds, a death at every point",
    run: offspring_verify::explore::stage,
}];

fn usage() {
    println!(
        "cargo verify <stage> [--quick] [--seconds N] [--only NAME] [--bound N] [--threads] [--object NAME] [--kills N] [--seed N] [--wine]\n"
    );
    for stage in STAGES {
        println!("  {:11} {}", stage.name, stage.about);
    }
    println!(
        "\n--quick is the small version for every change; --seconds is about how long it may take;\n\
         --only runs what has NAME in its name; --bound sets loom's preemptions;\n\
         --threads, --object, --kills and --seed N are for kill: victims of several threads, one object alone,\n\
         parents, children, grandchildren and fork servers so often each, a run again;\n\
         --wine is for parity: the Windows build under Wine, too."
    );
}

fn settings(mut arguments: pico_args::Arguments) -> Result<Settings, String> {
    let said = |error: pico_args::Error| error.to_string();
    let settings = Settings {
        quick: arguments.contains("--quick"),
        seconds: arguments.opt_value_from_str("--seconds").map_err(said)?,
        only: arguments.opt_value_from_str("--only").map_err(said)?,
        bound: arguments.opt_value_from_str("--bound").map_err(said)?,
        threads: arguments.contains("--threads"),
        object: arguments.opt_value_from_str("--object").map_err(said)?,
        kills: arguments.opt_value_from_str("--kills").map_err(said)?,
        wine: arguments.contains("--wine"),
        seed: arguments.opt_value_from_str("--seed").map_err(said)?,
    };
    match arguments.finish().first() {
        None => Ok(settings),
        Some(unknown) => Err(format!("unknown argument {}", unknown.display())),
    }
}

fn main() -> ExitCode {
    #[cfg(not(offspring_loom))]
    {
        use offspring_verify::{conformance, kill};
        let inner = kill::inner_process().or_else(conformance::inner_process);
        #[cfg(unix)]
        use offspring_verify::{corrupt, cpython, faults, lin, step};
        #[cfg(unix)]
        let inner = inner
            .or_else(step::inner_process)
            .or_else(corrupt::inner_process)
            .or_else(lin::inner_process)
            .or_else(cpython::inner_process)
            .or_else(faults::inner_process);
        if let Some(code) = inner {
            return code;
        }
    }
    let mut arguments = pico_args::Arguments::from_env();
    let name = match arguments.subcommand() {
        Ok(Some(name)) => name,
        Ok(None) => {
            usage();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("cargo verify: {error}");
            return ExitCode::from(2);
        }
    };
    let Some(stage) = STAGES.iter().find(|stage| stage.name == name) else {
        eprintln!("cargo verify: no stage `{name}`; `cargo verify` lists them");
        return ExitCode::from(2);
    };
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("cargo verify {name}: {error}");
            return ExitCode::from(2);
        }
    };
    let progress = Progress::new(stage.name);
    let report = (stage.run)(&settings, &progress);
    progress.finish();
    print!("{report}");
    #[cfg(not(offspring_loom))]
    if stage.name != "report"
        && let Err(error) = offspring_verify::summary::save(stage.name, &settings, &report)
    {
        eprintln!("cargo verify {name}: keep the table for the report: {error}");
    }
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

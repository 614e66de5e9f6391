//! The stage `loom` in a normal build: builds this program again with loom's atomics, and lets that one explore.

use crate::report::{Progress, Report, Settings};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sources this program was built from.
pub const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where a normal build's files go.
#[must_use]
pub fn plain_target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(WORKSPACE).join("target"), PathBuf::from)
}

/// Where the other build's files go, apart from the normal ones, so that neither throws the other's away.
#[must_use]
pub fn target() -> PathBuf {
    plain_target().join("loom")
}

/// `cargo <verb>` on the program without loom, from the sources in `workspace`, with a `target` as for [`explorer`].
#[must_use]
pub fn plain(verb: &str, workspace: &Path, target: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([verb, "--quiet", "--profile", "ci", "-p", "offspring-verify", "--target-dir"])
        .arg(target)
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(workspace);
    command
}

/// `cargo <verb>` on the program with loom's atomics, from the sources in `workspace`.
///
/// Each workspace needs a `target` of its own: cargo does not tell two copies of a package apart by where they lie.
#[must_use]
pub fn explorer(verb: &str, workspace: &Path, target: &Path) -> Command {
    let mut flags = env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" --cfg offspring_loom");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([verb, "--quiet", "--profile", "ci", "-p", "offspring-verify", "--target-dir"])
        .arg(target)
        .env("RUSTFLAGS", flags)
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(workspace);
    command
}

/// Builds and runs it; its own table comes first, one row here says how it ended.
pub fn stage(settings: &Settings, progress: &Progress) -> Report {
    progress.finish(); // the other program draws its own
    let mut report = Report::default();
    report.row("explorer", || {
        let mut command = explorer("run", Path::new(WORKSPACE), &target());
        command.args(["--", "loom"]);
        if settings.quick {
            command.arg("--quick");
        }
        let options = [
            ("--seconds", settings.seconds.map(|seconds| seconds.to_string())),
            ("--only", settings.only.clone()),
            ("--bound", settings.bound.map(|bound| bound.to_string())),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                command.args([name, &value]);
            }
        }
        let verdict = match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(format!("the explorer ended with {status}; what it found stands above"))
            }
            Err(error) => Err(format!("start cargo to build the explorer: {error}")),
        };
        ("built with --cfg offspring_loom".to_owned(), verdict)
    });
    report
}

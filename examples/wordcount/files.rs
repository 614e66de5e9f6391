//! Which files are counted.

use std::io;
use std::path::{Path, PathBuf};

/// Every regular file below `path` (or `path` itself), in order; links are not followed.
pub(crate) fn below(path: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    collect(path, &mut found).map_err(|error| format!("read {}: {error}", path.display()))?;
    found.sort();
    Ok(found)
}

/// The sources that cargo has on this machine, and this repository's.
pub(crate) fn by_default() -> Result<Vec<PathBuf>, String> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut found = Vec::new();
    let sources = home.map(|home| home.join("registry").join("src")).filter(|path| path.is_dir());
    if let Some(sources) = sources {
        found.extend(below(&sources)?);
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["src", "core", "os-unix", "verify", "benches", "examples", "tests", "README.md"] {
        let part = here.join(part);
        if part.exists() {
            found.extend(below(&part)?);
        }
    }
    Ok(found)
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_file() {
        found.push(path.to_owned());
    } else if kind.is_dir() {
        for entry in std::fs::read_dir(path)? {
            collect(&entry?.path(), found)?;
        }
    }
    Ok(())
}

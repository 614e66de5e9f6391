//! What a child changes of what it inherited, before its function runs.
//!
//! Environment and streams of an executed child are given to it by the system; a fork has those of whom it is a copy
//! of, and changes them itself.
#![allow(unsafe_code)] // the environment

use crate::sys;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// Changes to the environment: a new value, or none.
pub(super) type Changes = Vec<(OsString, Option<OsString>)>;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) directory: Option<PathBuf>,
    pub(super) umask: Option<u32>,
    /// Of a fork alone: whether it begins with what is there.
    pub(super) clear: bool,
    /// Of a fork alone.
    pub(super) changes: Changes,
}

impl Setup {
    /// Makes it so in this process, whose only thread that uses the environment is the calling one.
    ///
    /// Errors: what cannot be had, and why.
    pub(super) fn apply(&self) -> Result<(), String> {
        if self.clear {
            for (name, _) in std::env::vars_os() {
                // SAFETY: nobody else in this process looks at the environment: it begins, before its function runs.
                unsafe { std::env::remove_var(name) };
            }
        }
        for (name, value) in &self.changes {
            // SAFETY: as above; names and values were checked where they were given.
            unsafe {
                match value {
                    Some(value) => std::env::set_var(name, value),
                    None => std::env::remove_var(name),
                }
            }
        }
        if let Some(umask) = self.umask {
            sys::setup::set_umask(umask);
        }
        if let Some(directory) = &self.directory {
            std::env::set_current_dir(directory).map_err(|error| {
                format!("it could not enter the directory {}: {error}", directory.display())
            })?;
        }
        Ok(())
    }
}

/// Whether the system takes it as a variable's name.
pub(super) fn is_name(name: &OsString) -> bool {
    let bytes = name.as_encoded_bytes();
    !bytes.is_empty() && !bytes.contains(&b'=') && !bytes.contains(&0)
}

/// Whether the system takes it as a variable's value.
pub(super) fn is_value(value: &OsString) -> bool {
    !value.as_encoded_bytes().contains(&0)
}

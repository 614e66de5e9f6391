//! Where a child's standard streams come from.

use crate::sys::OwnedFile;
use std::fmt;
use std::sync::Arc;

/// Where one of a child's standard streams comes from: [`Builder`](super::Builder) takes it.
///
/// A file, or an end of a pipe, becomes one by `into()`.
///
/// ```
/// use offspring::Process;
/// use std::io::Read;
///
/// # #[allow(clippy::needless_doctest_main)]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let _main = offspring::init();
///     let (mut read, write) = std::io::pipe()?;
///     let child = Process::builder("").stdout(write).spawn(|()| println!("hello"), ())?;
///     child.join()?;
///     let mut text = String::new();
///     read.read_to_string(&mut text)?;
///     assert_eq!(text, "hello\n");
///     Ok(())
/// }
/// ```
#[derive(Clone, Default)]
pub struct Stdio(pub(super) Source);

#[derive(Clone, Default)]
pub(super) enum Source {
    #[default]
    Inherit,
    Null,
    File(Arc<OwnedFile>),
}

impl Stdio {
    /// What this process has.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Source::Inherit)
    }

    /// Nothing: reads as empty, swallows what is written.
    #[must_use]
    pub fn null() -> Self {
        Self(Source::Null)
    }
}

impl<F: Into<OwnedFile>> From<F> for Stdio {
    fn from(file: F) -> Self {
        Self(Source::File(Arc::new(file.into())))
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Inherit => "inherit",
            Source::Null => "null",
            Source::File(_) => "file",
        })
    }
}

//! Files, sockets and pipe ends inside spawn arguments.

use super::{handle_error, note_file, take_file};
use crate::sys::{self, AsFile, OwnedFile};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::{Deref, DerefMut};

/// A file, socket or pipe end that goes along in spawn arguments: the child gets a duplicate of its own.
///
/// It travels only so: a queue refuses a value that holds one, and gives the value back.
///
/// ```
/// use offspring::{Process, Queue, process::Passed};
/// use std::fs::File;
///
/// fn size(file: Passed<File>) -> u64 {
///     file.metadata().map_or(0, |data| data.len())
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let _main = offspring::init();
///     let file = File::open(std::env::current_exe()?)?;
///     let len = file.metadata()?.len();
///     assert_eq!(Process::spawn(size, Passed(file.try_clone()?))?.join()?, len);
///
///     let queue = Queue::<Passed<File>>::bounded(1)?;
///     let refused = queue.put(Passed(file)).unwrap_err();
///     assert!(refused.error().is_encode());
///     assert_eq!(refused.into_inner().metadata()?.len(), len);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Passed<F>(pub F);

impl<F> Deref for Passed<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.0
    }
}

impl<F> DerefMut for Passed<F> {
    fn deref_mut(&mut self) -> &mut F {
        &mut self.0
    }
}

impl<F: AsFile> Serialize for Passed<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let duplicate = sys::borrow(&self.0).try_clone_to_owned().map_err(S::Error::custom)?;
        note_file(duplicate).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de, F: From<OwnedFile>> Deserialize<'de> for Passed<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        take_file(number).map(|file| Self(F::from(file))).map_err(handle_error)
    }
}

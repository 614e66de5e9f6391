//! A queue as an iterator: items as they come, until it is closed.

use super::Queue;
use crate::error::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Items as they come; see [`Queue::iter`].
#[derive(Debug)]
pub struct Iter<'a, T, R = ()> {
    pub(super) queue: &'a Queue<T, R>,
    pub(super) error: Option<Error>,
}

impl<T, R> Iter<'_, T, R> {
    /// What ended the iteration, if it was not the end of the queue.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

impl<T: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned> Iterator for Iter<'_, T, R> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        match self.queue.get() {
            Ok(item) => Some(item),
            Err(error) => {
                if !error.is_closed() {
                    self.error = Some(error);
                }
                None
            }
        }
    }
}

impl<'a, T: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned> IntoIterator
    for &'a Queue<T, R>
{
    type Item = T;
    type IntoIter = Iter<'a, T, R>;

    fn into_iter(self) -> Iter<'a, T, R> {
        self.iter()
    }
}

//! How a queue's handle travels inside a message.

use super::Queue;
use super::place::Attached;
use crate::error::Result;
use crate::value::{self, HandleOnWire};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Only through this crate's queues and spawn arguments: any other serialiser is refused.
impl<T, R> Serialize for Queue<T, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.at.core().map_err(serde::ser::Error::custom)?;
        let handle = value::note_handle(self.at.region).map_err(serde::ser::Error::custom)?;
        handle.serialize(serializer)
    }
}

impl<'de, T, R> Deserialize<'de> for Queue<T, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = HandleOnWire::deserialize(deserializer)?;
        let joined = value::handle_region(&handle)
            .and_then(|region| Attached::join(region, Self::type_hash()));
        joined.map(Self::over).map_err(value::handle_error)
    }
}

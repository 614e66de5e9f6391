//! What parent and workers say to each other: chunks of tasks, and what became of them.

use crate::family::family;
use crate::process::Panic;
use crate::sys::RegionRef;
use crate::value::{self, HandleOnWire};
use offspring_core::queue::split_handles;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Bytes that are copied in one piece, and shared here.
#[derive(Clone, Default, Debug)]
pub(super) struct Blob(pub(super) Arc<Vec<u8>>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Arc::new(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Whole)
    }
}

/// A serialised value that names queues or other objects. It keeps them until it is dropped.
#[derive(Debug)]
pub(super) struct Carrying {
    bytes: Blob,
    kept: Vec<RegionRef>,
}

impl Carrying {
    /// `bytes` begin with a list of handles, as `value::encode` made them.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let named = split_handles(&bytes).map(|(handles, _)| handles.collect::<Vec<u64>>());
        let regions = named.unwrap_or_default().into_iter().map(RegionRef::from_bits);
        Self { kept: keep(regions), bytes: Blob(Arc::new(bytes)) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes.0
    }
}

/// Gets handles of this process on `regions`; what is gone is left out, and reading the value says so.
fn keep(regions: impl Iterator<Item = RegionRef>) -> Vec<RegionRef> {
    match family() {
        Ok(family) => regions.filter(|region| family.adopt(*region).is_ok()).collect(),
        Err(_) => Vec::new(),
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        if let Ok(family) = family() {
            self.kept.iter().for_each(|region| family.leave_object(*region));
        }
    }
}

impl Clone for Carrying {
    fn clone(&self) -> Self {
        Self { kept: keep(self.kept.iter().copied()), bytes: self.bytes.clone() }
    }
}

/// The message around it lists the same handles.
impl Serialize for Carrying {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let note = |region: &RegionRef| value::note_handle(*region).map_err(S::Error::custom);
        let handles = self.kept.iter().map(note).collect::<Result<Vec<_>, _>>()?;
        (handles, &self.bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Carrying {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (handles, bytes) = <(Vec<HandleOnWire>, Blob)>::deserialize(deserializer)?;
        let regions: Result<Vec<_>, _> = handles.iter().map(value::handle_region).collect();
        let regions = regions.map_err(value::handle_error::<D::Error>)?;
        Ok(Self { kept: keep(regions.into_iter()), bytes })
    }
}

/// Serialised values, one after the other; or a single one that carries handles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Values {
    Plain {
        /// Where each ends.
        ends: Vec<u32>,
        bytes: Blob,
    },
    Carrying(Carrying),
}

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain { ends, .. } => ends.len(),
            Self::Carrying(_) => 1,
        }
    }

    /// One of them; `None` if what came from elsewhere does not fit together.
    pub(super) fn get(&self, index: usize) -> Option<Value<'_>> {
        match self {
            Self::Plain { ends, bytes } => {
                let begin = match index.checked_sub(1) {
                    Some(before) => *ends.get(before)?,
                    None => 0,
                };
                let end = *ends.get(index)?;
                bytes.0.get(begin as usize..end as usize).map(Value::Plain)
            }
            Self::Carrying(value) => (index == 0).then_some(Value::Carrying(value)),
        }
    }

    /// Those from `first` on, as many as `count`.
    pub(super) fn part(&self, first: usize, count: usize) -> Self {
        match self {
            Self::Plain { ends, bytes } => {
                let begin = if first == 0 { 0 } else { ends[first - 1] };
                let ends: Vec<u32> =
                    ends[first..first + count].iter().map(|end| end - begin).collect();
                let end = (begin + ends.last().copied().unwrap_or(0)) as usize;
                let bytes = bytes.0[begin as usize..end].to_vec();
                Self::Plain { ends, bytes: Blob(Arc::new(bytes)) }
            }
            Self::Carrying(value) => Self::Carrying(value.clone()),
        }
    }
}

/// One serialised value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Plain(&'a [u8]),
    Carrying(&'a Carrying),
}

impl Value<'_> {
    pub(super) fn decode<T: de::DeserializeOwned>(self) -> crate::Result<T> {
        match self {
            Self::Plain(bytes) => value::decode(bytes, false, Vec::new()),
            Self::Carrying(carrying) => value::decode(carrying.bytes(), true, Vec::new()),
        }
    }
}

/// What a worker takes on lease.
#[derive(Serialize, Deserialize)]
pub(super) enum Job {
    /// Leave: there are to be fewer workers.
    Leave,
    Chunk {
        id: u64,
        /// Which word of the board says whether it was withdrawn.
        place: u32,
        function: u32,
        values: Values,
    },
}

/// What became of a chunk's first tasks. The rest was not begun.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Reply {
    /// Nanoseconds that they took in all.
    pub(super) nanos: u64,
    pub(super) parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Part {
    Values(Values),
    Failed(Failure),
}

impl Part {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Failed(_) => 1,
        }
    }
}

/// Why a task gave no value, though its worker lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Panicked(Panic),
    /// The argument could not be read, or the result not be sent.
    Refused(String),
}

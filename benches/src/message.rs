//! What is sent: 8 bytes or 64 bytes, both numbered, so that the receiver can tell that all of them came.

use bytemuck::{Pod, Zeroable};
use iceoryx2::prelude::ZeroCopySend;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A message that carries its number.
pub trait Message:
    Pod + Send + Sync + fmt::Debug + Serialize + DeserializeOwned + ZeroCopySend + 'static
{
    /// Its bytes, for queues of bytes.
    type Bytes: AsRef<[u8]>;

    /// The message with this number.
    fn numbered(number: u64) -> Self;

    /// Its number.
    fn number(&self) -> u64;

    /// Its bytes.
    fn to_bytes(self) -> Self::Bytes;

    /// The message whose bytes these are; `None` when there are too few or too many.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// Eight bytes. Numbers are spread over all 64 bits, so that no encoding makes them shorter.
#[derive(Clone, Copy, Debug, Pod, Zeroable, ZeroCopySend, Serialize, Deserialize)]
#[repr(C)]
pub struct Word(u64);

/// Set in every number, so that a variable-length encoding is never shorter than it can be.
const TOP: u64 = 1 << 63;

impl Message for Word {
    type Bytes = [u8; 8];

    #[inline(always)]
    fn numbered(number: u64) -> Self {
        Self(number | TOP)
    }

    #[inline(always)]
    fn number(&self) -> u64 {
        self.0 & !TOP
    }

    #[inline(always)]
    fn to_bytes(self) -> Self::Bytes {
        self.0.to_ne_bytes()
    }

    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u64::from_ne_bytes(bytes.try_into().ok()?)))
    }
}

/// Sixty-four bytes, the number in the first eight. serde sees a string of bytes.
#[derive(Clone, Copy, Debug, Pod, Zeroable, ZeroCopySend)]
#[repr(C)]
pub struct Line([u8; 64]);

impl Message for Line {
    type Bytes = [u8; 64];

    #[inline(always)]
    fn numbered(number: u64) -> Self {
        let mut bytes = [0x5a; 64];
        bytes[..8].copy_from_slice(&number.to_ne_bytes());
        Self(bytes)
    }

    #[inline(always)]
    fn number(&self) -> u64 {
        u64::from_ne_bytes(self.0[..8].try_into().expect("eight bytes are eight bytes"))
    }

    #[inline(always)]
    fn to_bytes(self) -> Self::Bytes {
        self.0
    }

    #[inline(always)]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Line, E> {
                Line::from_bytes(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

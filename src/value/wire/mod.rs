//! The bytes of a value: serde's data model, made for the way from one process to another on the same machine.
//!
//! Numbers have their own width, little-endian: no branch on their size, and a message of plain numbers costs little more than
//! its copy. (The variable-length numbers of formats made for wires and discs took 190 of the 490 instructions that a `u64` needed
//! from `put` to `get`; memory is not what this way is short of.)
//!
//! | serde | bytes |
//! |---|---|
//! | `bool`, `u8` … `i128`, `f32`, `f64` | its own width, little-endian; a `bool` is 0 or 1 |
//! | `char` | as `u32` |
//! | a length, the number of a variant | one byte up to 253; else 254, then 8 bytes. In front of a sequence whose length was not known: 255, then 8 bytes that were filled in afterwards |
//! | `str`, bytes | length, then the bytes |
//! | `Option` | 0; or 1, then the value |
//! | unit, unit struct | nothing |
//! | newtype | what is in it |
//! | sequence, map | length, then the elements; one that takes no bytes is followed by a zero |
//! | tuple, struct | the fields |
//! | enum | the number of the variant, then its fields |
//!
//! So every element of a sequence takes a byte at least, and a damaged length ends with the message, not after 2^64 turns.
//!
//! A byte vector that is the whole message is copied at once, in and out. In a larger value, serde hands over a `Vec<u8>` byte by
//! byte; the `serde_bytes` crate makes it one piece there.

mod de;
mod ser;

pub(crate) use de::decode;
pub(crate) use ser::encode;

use std::fmt;

/// Changes with the table above. Part of each type's hash, so that two builds that differ in it refuse each other.
pub(crate) const VERSION: u64 = 1;

/// Lengths up to here are their own byte.
const MOST_SHORT: u8 = 253;
/// Eight bytes of length follow.
const LONG: u8 = 254;
/// The same, of a sequence that was counted while it was written.
const COUNTED: u8 = 255;

/// Why a value has no bytes, or bytes are no value. One word, so that a success costs nothing.
pub(crate) struct WireError(Box<Why>);

#[derive(Debug)]
enum Why {
    /// The value's own `Serialize` or `Deserialize` says so.
    Custom(String),
    CutOff,
    LeftOver(usize),
    Bad(&'static str),
    NeedsNames,
}

impl WireError {
    #[cold]
    fn new(why: Why) -> Self {
        Self(Box::new(why))
    }
}

impl fmt::Debug for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Why::Custom(text) => f.write_str(text),
            Why::CutOff => f.write_str("the message ends before the value does"),
            Why::LeftOver(bytes) => write!(f, "{bytes} bytes of the message are left over"),
            Why::Bad(what) => write!(f, "{what} is expected, and something else is there"),
            Why::NeedsNames => f.write_str(
                "its type asks what comes next (as untagged and flattened types do), which a message does not say",
            ),
        }
    }
}

impl std::error::Error for WireError {}

impl serde::ser::Error for WireError {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(Why::Custom(text.to_string()))
    }
}

impl serde::de::Error for WireError {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(Why::Custom(text.to_string()))
    }
}

#[cfg(test)]
mod tests;

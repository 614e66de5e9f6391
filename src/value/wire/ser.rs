//! Writing a value; the format is told in the parent module.

use super::{COUNTED, LONG, MOST_SHORT, Why, WireError};
use crate::value::Bytes;
use castaway::cast;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

type Result<T = ()> = std::result::Result<T, WireError>;

/// Makes a message of `value` in `bytes`, which are empty. On an error what was written so far stays there.
#[inline(always)]
pub(crate) fn encode<T: Serialize>(value: &T, bytes: &mut Bytes) -> Result {
    if let Ok(all) = cast!(value, &Vec<u8>) {
        bytes.extend(all);
        return Ok(());
    }
    append(value, bytes)
}

#[inline(always)]
fn append<T: Serialize + ?Sized>(value: &T, bytes: &mut Bytes) -> Result {
    value.serialize(Writer(bytes))
}

struct Writer<'b>(&'b mut Bytes);

impl Writer<'_> {
    #[inline(always)]
    fn length(&mut self, len: usize) {
        if len <= MOST_SHORT.into() {
            self.0.push(len as u8);
        } else {
            self.long_length(LONG, len as u64);
        }
    }

    #[cold]
    fn long_length(&mut self, tag: u8, len: u64) {
        self.0.push(tag);
        self.0.extend(&len.to_le_bytes());
    }
}

macro_rules! numbers {
    ($($name:ident $type:ty),*) => {
        $(#[inline(always)]
        fn $name(self, value: $type) -> Result {
            self.0.extend(&value.to_le_bytes());
            Ok(())
        })*
    };
}

impl<'b> Serializer for Writer<'b> {
    type Ok = ();
    type Error = WireError;
    type SerializeSeq = Elements<'b>;
    type SerializeTuple = Fields<'b>;
    type SerializeTupleStruct = Fields<'b>;
    type SerializeTupleVariant = Fields<'b>;
    type SerializeMap = Elements<'b>;
    type SerializeStruct = Fields<'b>;
    type SerializeStructVariant = Fields<'b>;

    numbers!(
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
        serialize_f32 f32, serialize_f64 f64
    );

    #[inline(always)]
    fn serialize_u8(self, value: u8) -> Result {
        self.0.push(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_bool(self, value: bool) -> Result {
        self.serialize_u8(value.into())
    }

    #[inline(always)]
    fn serialize_char(self, value: char) -> Result {
        self.serialize_u32(value.into())
    }

    #[inline(always)]
    fn serialize_str(self, value: &str) -> Result {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline(always)]
    fn serialize_bytes(mut self, value: &[u8]) -> Result {
        self.length(value.len());
        self.0.extend(value);
        Ok(())
    }

    #[inline(always)]
    fn serialize_none(self) -> Result {
        self.serialize_u8(0)
    }

    #[inline(always)]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        self.0.push(1);
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_unit(self) -> Result {
        Ok(())
    }

    #[inline(always)]
    fn serialize_unit_struct(self, _: &'static str) -> Result {
        Ok(())
    }

    #[inline(always)]
    fn serialize_unit_variant(mut self, _: &'static str, index: u32, _: &'static str) -> Result {
        self.length(index as usize);
        Ok(())
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result {
        self.length(index as usize);
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_seq(mut self, len: Option<usize>) -> Result<Elements<'b>> {
        let counted_at = match len {
            Some(len) => {
                self.length(len);
                None
            }
            None => {
                self.long_length(COUNTED, 0);
                Some(self.0.len() - size_of::<u64>())
            }
        };
        Ok(Elements { bytes: self.0, told: len, written: 0, counted_at })
    }

    #[inline(always)]
    fn serialize_tuple(self, _: usize) -> Result<Fields<'b>> {
        Ok(Fields(self.0))
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Fields<'b>> {
        Ok(Fields(self.0))
    }

    #[inline(always)]
    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'b>> {
        self.length(index as usize);
        Ok(Fields(self.0))
    }

    #[inline(always)]
    fn serialize_map(self, len: Option<usize>) -> Result<Elements<'b>> {
        self.serialize_seq(len)
    }

    #[inline(always)]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'b>> {
        Ok(Fields(self.0))
    }

    #[inline(always)]
    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'b>> {
        self.length(index as usize);
        Ok(Fields(self.0))
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a sequence, or the entries of a map.
struct Elements<'b> {
    bytes: &'b mut Bytes,
    /// How many were announced.
    told: Option<usize>,
    written: usize,
    /// Where to fill in how many there were.
    counted_at: Option<usize>,
}

impl Elements<'_> {
    #[inline(always)]
    fn one(&mut self, write: impl FnOnce(&mut Bytes) -> Result) -> Result {
        let before = self.bytes.len();
        write(self.bytes)?;
        if self.bytes.len() == before {
            self.bytes.push(0);
        }
        self.written += 1;
        Ok(())
    }

    #[inline(always)]
    fn done(self) -> Result {
        if let Some(at) = self.counted_at {
            self.bytes.overwrite(at, &(self.written as u64).to_le_bytes());
        }
        match self.told {
            Some(told) if told != self.written => Err(WireError::new(Why::Bad(
                "a sequence of as many elements as its `Serialize` announced",
            ))),
            _ => Ok(()),
        }
    }
}

impl SerializeSeq for Elements<'_> {
    type Ok = ();
    type Error = WireError;

    #[inline(always)]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.one(|bytes| append(value, bytes))
    }

    #[inline(always)]
    fn end(self) -> Result {
        self.done()
    }
}

impl SerializeMap for Elements<'_> {
    type Ok = ();
    type Error = WireError;

    // Key and value apart: an entry may be written in two steps, and between them nothing is remembered.
    #[inline(always)]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.one(|bytes| append(key, bytes))
    }

    #[inline(always)]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        append(value, self.bytes)
    }

    #[inline(always)]
    fn end(self) -> Result {
        self.done()
    }
}

/// The fields of a tuple or struct.
struct Fields<'b>(&'b mut Bytes);

macro_rules! fields {
    ($($trait:ident $name:ident ($($key:ident)?)),*) => {
        $(impl $trait for Fields<'_> {
            type Ok = ();
            type Error = WireError;

            #[inline(always)]
            fn $name<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result {
                append(value, self.0)
            }

            #[inline(always)]
            fn end(self) -> Result {
                Ok(())
            }
        })*
    };
}

fields!(
    SerializeTuple serialize_element(),
    SerializeTupleStruct serialize_field(),
    SerializeTupleVariant serialize_field(),
    SerializeStruct serialize_field(_key),
    SerializeStructVariant serialize_field(_key)
);

//! Values come out as they went in, and damaged bytes are errors.

use super::{WireError, decode, encode};
use crate::value::Bytes;
use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Bytes::new();
    encode(value, &mut bytes).unwrap();
    bytes.as_slice().to_vec()
}

fn returns<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) -> Vec<u8> {
    let bytes = bytes_of(&value);
    assert_eq!(decode::<T>(&bytes).unwrap(), value);
    // Cut anywhere, it is an error or (where the rest took no bytes) another value, but nothing worse.
    for len in 0..bytes.len() {
        let _ = decode::<T>(&bytes[..len]);
    }
    bytes
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Shape {
    Nothing,
    Round(f64),
    Flat(u16, i8),
    Named { corners: Vec<(i32, i32)>, name: Option<String> },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Mixed {
    shapes: Vec<Shape>,
    units: Vec<()>,
    map: BTreeMap<String, Option<u128>>,
    empty: BTreeMap<(), ()>,
    letter: char,
    #[serde(with = "serde_bytes_like")]
    raw: Vec<u8>,
    pair: (bool, [u64; 3]),
}

/// What the `serde_bytes` crate does.
mod serde_bytes_like {
    use serde::de::Visitor;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Raw;
        impl Visitor<'_> for Raw {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_byte_buf(Raw)
    }
}

fn mixed() -> Mixed {
    let long = "x".repeat(1000);
    Mixed {
        shapes: vec![
            Shape::Nothing,
            Shape::Round(-0.5),
            Shape::Flat(65_535, -128),
            Shape::Named { corners: vec![(i32::MIN, 7); 300], name: Some(long.clone()) },
            Shape::Named { corners: vec![], name: None },
        ],
        units: vec![(); 5],
        map: [("a".to_owned(), None), (long, Some(u128::MAX))].into(),
        empty: [((), ())].into(),
        letter: '\u{10ffff}',
        raw: (0..=255).collect(),
        pair: (true, [0, 1, u64::MAX]),
    }
}

#[test]
fn every_kind_of_value_returns() {
    returns(mixed());
    returns((u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN));
    returns((i64::MIN, i128::MIN, f32::MIN_POSITIVE, 'ß', "text".to_owned()));
    returns(HashMap::from([(1_u8, vec![1_u64, 2]), (2, vec![])]));
    returns(());
}

#[test]
fn a_number_is_as_long_as_its_type() {
    assert_eq!(returns(0x0102_0304_u32), [4, 3, 2, 1]);
    assert_eq!(returns(u64::MAX).len(), 8);
    assert_eq!(returns(vec![1_u16, 2]), [2, 1, 0, 2, 0]);
}

#[test]
fn a_vector_of_bytes_is_its_own_message() {
    for len in [0, 1, 191, 192, 193, 100_000] {
        let value: Vec<u8> = (0..len).map(|i| i as u8).collect();
        assert_eq!(bytes_of(&value), value);
        assert_eq!(decode::<Vec<u8>>(&value).unwrap(), value);
    }
}

#[test]
fn every_length_has_one_way_out_and_in() {
    for len in [0, 1, 252, 253, 254, 255, 256, 70_000] {
        let text = "t".repeat(len);
        let bytes = returns(text);
        assert_eq!(bytes.len(), len + if len <= 253 { 1 } else { 9 });
    }
}

/// A sequence that does not know how many it is.
struct Unknown(usize);

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut seq = to.serialize_seq(None)?;
        for i in 0..self.0 {
            seq.serialize_element(&(i as u32))?;
        }
        seq.end()
    }
}

#[test]
fn a_sequence_of_unknown_length_is_counted() {
    for len in [0, 3, 100] {
        let bytes = bytes_of(&Unknown(len));
        let all: Vec<u32> = (0..len as u32).collect();
        assert_eq!(decode::<Vec<u32>>(&bytes).unwrap(), all);
        let inside = bytes_of(&("before", Unknown(len), 9_u8));
        assert_eq!(
            decode::<(String, Vec<u32>, u8)>(&inside).unwrap(),
            ("before".to_owned(), all, 9)
        );
    }
}

#[test]
fn a_sequence_that_lies_about_its_length_is_refused() {
    struct Liar;
    impl Serialize for Liar {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let mut seq = to.serialize_seq(Some(2))?;
            seq.serialize_element(&1_u8)?;
            seq.end()
        }
    }
    assert!(encode(&Liar, &mut Bytes::new()).is_err());
}

#[test]
fn what_is_left_over_is_an_error() {
    let error = decode::<u32>(&[1, 2, 3, 4, 5]).unwrap_err();
    assert_eq!(error.to_string(), "1 bytes of the message are left over");
}

#[test]
fn values_that_no_type_has_are_refused() {
    assert!(decode::<bool>(&[2]).is_err());
    assert!(decode::<char>(&0xd800_u32.to_le_bytes()).is_err());
    assert!(decode::<String>(&[2, 0xff, 0xff]).is_err());
    assert!(decode::<Option<u8>>(&[2, 0]).is_err());
    assert!(decode::<Shape>(&[4]).is_err());
    assert!(decode::<Shape>(&[254, 0, 0, 0, 0, 1, 0, 0, 0]).is_err());
}

#[test]
fn an_impossible_length_ends_at_once() {
    let mut bytes = vec![254];
    bytes.extend_from_slice(&u64::MAX.to_le_bytes());
    assert!(decode::<Vec<()>>(&bytes).is_err());
    assert!(decode::<Vec<u64>>(&bytes).is_err());
    assert!(decode::<String>(&bytes).is_err());
    assert!(decode::<BTreeMap<(), ()>>(&bytes).is_err());
}

#[test]
fn random_bytes_are_a_value_or_an_error() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let good = bytes_of(&mixed());
    for turn in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=turn % 4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 20) as u8;
        }
        let _: Result<Mixed, WireError> = decode(&bytes);
    }
}

#[test]
fn a_types_own_words_reach_the_error() {
    struct Never;
    impl Serialize for Never {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not on a Sunday"))
        }
    }
    let error = encode(&Never, &mut Bytes::new()).unwrap_err();
    assert_eq!(error.to_string(), "not on a Sunday");
}

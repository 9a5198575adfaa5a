//! Any serializable value to a tuple: a serde serializer that knows three levels, the tuple, its
//! fields, and the bytes of a field, and refuses everything deeper.

use std::fmt::Display;

use serde::Serialize;
use serde::ser::{self, Impossible, Serializer};
use thiserror::Error;

use super::{FIELD_VARIANTS, Field, Tuple, TupleError};

/// Makes a tuple of a value. See [`crate::tuple`] for the values that can become one.
pub fn to_tuple<T: Serialize + ?Sized>(value: &T) -> Result<Tuple, ToTupleError> {
    let tuple = match value.serialize(Writer::Top)? {
        Written::Tuple(fields) => Tuple(fields),
        Written::Field(_) | Written::Byte(_) => return Err(ToTupleError::Bare),
    };
    tuple.check()?;
    Ok(tuple)
}

/// Why a value cannot become a tuple. Fields are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ToTupleError {
    /// A single value outside of any tuple.
    #[error("a bare value is no tuple; a tuple of one field is written (value,)")]
    Bare,
    /// Something that is neither a sequence of fields nor a struct.
    #[error("{what} is no tuple; use a tuple, an array or a struct")]
    NotATuple {
        /// What it is.
        what: &'static str,
    },
    /// A field of a kind that tuples do not have.
    #[error("field {index} is {what}: {advice}")]
    Field {
        /// Which field.
        index: usize,
        /// What it is.
        what: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// A struct that leaves out one of its fields, so that the others would move.
    #[error("the struct leaves out its field {0}; fields are told apart by their place alone")]
    LeftOut(&'static str),
    /// Too many fields or bytes.
    #[error("the tuple is too large: {0}")]
    TooLarge(#[from] TupleError),
    /// The value's own `Serialize` failed.
    #[error("{0}")]
    Value(String),
}

impl ser::Error for ToTupleError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }
}

const FLAT: &str = "tuples are flat; make its parts fields of their own, or bytes of the whole";
const PRESENT: &str =
    "a field always has a value; leave it out, or use another tuple for its absence";
const NARROW: &str = "integers have 64 bits at most; use bytes";

/// What a value was written as.
enum Written {
    /// A `u8`, which is a field or, within one, a byte.
    Byte(u8),
    Field(Field),
    Tuple(Vec<Field>),
}

/// Where the value stands.
#[derive(Clone, Copy)]
enum Writer {
    Top,
    Field(usize),
    Byte(usize),
}

impl Writer {
    fn refuse<T>(self, what: &'static str, advice: &'static str) -> Result<T, ToTupleError> {
        Err(match self {
            Self::Top => ToTupleError::NotATuple { what },
            Self::Field(index) | Self::Byte(index) => ToTupleError::Field {
                index,
                what,
                advice,
            },
        })
    }

    fn collect(self, what: &'static str) -> Result<Collector, ToTupleError> {
        match self {
            Self::Top => Ok(Collector::Fields(Vec::new())),
            Self::Field(index) => Ok(Collector::Bytes {
                index,
                what,
                bytes: Vec::new(),
            }),
            Self::Byte(_) => self.refuse("nested", FLAT),
        }
    }
}

macro_rules! fields {
    ($($method:ident($from:ty) => $variant:ident),* $(,)?) => {$(
        fn $method(self, value: $from) -> Result<Written, ToTupleError> {
            Ok(Written::Field(Field::$variant(value.into())))
        }
    )*};
}

impl Serializer for Writer {
    type Ok = Written;
    type Error = ToTupleError;
    type SerializeSeq = Collector;
    type SerializeTuple = Collector;
    type SerializeTupleStruct = Collector;
    type SerializeStruct = Collector;
    type SerializeTupleVariant = Impossible<Written, ToTupleError>;
    type SerializeMap = Impossible<Written, ToTupleError>;
    type SerializeStructVariant = Impossible<Written, ToTupleError>;

    fields! {
        serialize_bool(bool) => Bool,
        serialize_i8(i8) => Int, serialize_i16(i16) => Int, serialize_i32(i32) => Int,
        serialize_i64(i64) => Int,
        serialize_u16(u16) => Uint, serialize_u32(u32) => Uint, serialize_u64(u64) => Uint,
        serialize_f64(f64) => Float,
        serialize_char(char) => Text, serialize_str(&str) => Text, serialize_bytes(&[u8]) => Bytes,
    }

    fn serialize_u8(self, value: u8) -> Result<Written, ToTupleError> {
        Ok(Written::Byte(value))
    }

    fn serialize_f32(self, value: f32) -> Result<Written, ToTupleError> {
        self.serialize_f64(value.into())
    }

    fn serialize_i128(self, _: i128) -> Result<Written, ToTupleError> {
        self.refuse("an i128", NARROW)
    }

    fn serialize_u128(self, _: u128) -> Result<Written, ToTupleError> {
        self.refuse("a u128", NARROW)
    }

    fn serialize_none(self) -> Result<Written, ToTupleError> {
        self.refuse("an Option", PRESENT)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Written, ToTupleError> {
        self.refuse("an Option", PRESENT)
    }

    fn serialize_unit(self) -> Result<Written, ToTupleError> {
        match self {
            Self::Top => Ok(Written::Tuple(Vec::new())),
            Self::Field(_) | Self::Byte(_) => self.refuse("a unit", PRESENT),
        }
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Written, ToTupleError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Written, ToTupleError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Written, ToTupleError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Written, ToTupleError> {
        if name != "Field" || !FIELD_VARIANTS.contains(&variant) {
            return self.refuse("an enum's variant with data", FLAT);
        }
        match value.serialize(self)? {
            Written::Field(Field::Uint(bits)) if variant == "Float" => {
                Ok(Written::Field(Field::Float(f64::from_bits(bits).into())))
            }
            written => Ok(written),
        }
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Collector, ToTupleError> {
        self.collect("a sequence of something else than bytes")
    }

    fn serialize_tuple(self, _: usize) -> Result<Collector, ToTupleError> {
        self.collect("a tuple or an array of something else than bytes")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Collector, ToTupleError> {
        self.collect("a struct")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Collector, ToTupleError> {
        match self {
            Self::Top => self.collect("a struct"),
            Self::Field(_) | Self::Byte(_) => self.refuse("a struct", FLAT),
        }
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, ToTupleError> {
        self.refuse("an enum's variant with data", FLAT)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, ToTupleError> {
        self.refuse("a map", FLAT)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, ToTupleError> {
        self.refuse("an enum's variant with data", FLAT)
    }
}

/// What has been written of a sequence.
enum Collector {
    Fields(Vec<Field>),
    Bytes {
        index: usize,
        what: &'static str,
        bytes: Vec<u8>,
    },
}

impl Collector {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToTupleError> {
        match self {
            Self::Fields(fields) => {
                let writer = Writer::Field(fields.len());
                fields.push(match value.serialize(writer)? {
                    Written::Byte(byte) => byte.into(),
                    Written::Field(field) => field,
                    Written::Tuple(_) => return writer.refuse("nested", FLAT),
                });
            }
            Self::Bytes { index, what, bytes } => {
                let writer = Writer::Byte(*index);
                match value.serialize(writer) {
                    Ok(Written::Byte(byte)) => bytes.push(byte),
                    Ok(_) | Err(_) => return writer.refuse(what, FLAT),
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Written {
        match self {
            Self::Fields(fields) => Written::Tuple(fields),
            Self::Bytes { bytes, .. } => Written::Field(Field::Bytes(bytes)),
        }
    }
}

macro_rules! collects {
    ($($serialize:ident::$method:ident),*) => {$(
        impl ser::$serialize for Collector {
            type Ok = Written;
            type Error = ToTupleError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToTupleError> {
                self.add(value)
            }

            fn end(self) -> Result<Written, ToTupleError> {
                Ok(self.finish())
            }
        }
    )*};
}

collects!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field
);

impl ser::SerializeStruct for Collector {
    type Ok = Written;
    type Error = ToTupleError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _: &'static str,
        value: &T,
    ) -> Result<(), ToTupleError> {
        self.add(value)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), ToTupleError> {
        Err(ToTupleError::LeftOut(name))
    }

    fn end(self) -> Result<Written, ToTupleError> {
        Ok(self.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn reason<T: Serialize>(value: T) -> String {
        to_tuple(&value).expect_err("no tuple").to_string()
    }

    #[test]
    fn tuple_write_every_kind_of_field() {
        #[derive(Serialize)]
        enum State {
            Ready,
        }
        #[derive(Serialize)]
        struct Meters(u32);
        let wrapped = serde_bytes::Bytes::new(b"c");
        let tuple = to_tuple(&((-1i8, 2u8, 'x', "text", 0.5f32, true),));
        assert!(tuple.is_err(), "nested");
        let tuple = to_tuple(&(
            -1i8,
            2u8,
            'x',
            "text",
            0.5f32,
            true,
            b"ab",
            wrapped,
            State::Ready,
            Meters(3),
        ));
        let fields: Vec<Field> = vec![
            Field::Int(-1),
            Field::Uint(2),
            "x".into(),
            "text".into(),
            0.5.into(),
            true.into(),
            Field::Bytes(b"ab".to_vec()),
            Field::Bytes(b"c".to_vec()),
            "Ready".into(),
            Field::Uint(3),
        ];
        assert_eq!(tuple, Ok(Tuple(fields)));
    }

    #[test]
    fn tuple_write_structs_and_newtypes_by_order() {
        #[derive(Serialize)]
        struct Point {
            x: i64,
            y: i64,
        }
        #[derive(Serialize)]
        struct Wrapped(Point);
        let tuple = to_tuple(&Wrapped(Point { x: 1, y: -2 }));
        assert_eq!(tuple, Ok(Tuple(vec![Field::Int(1), Field::Int(-2)])));
        assert_eq!(to_tuple(&()), Ok(Tuple(Vec::new())));
        assert_eq!(
            to_tuple(&vec![1u8, 2]),
            Ok(Tuple(vec![1u8.into(), 2u8.into()]))
        );
    }

    #[test]
    fn tuple_write_refusals_name_field_and_reason() {
        #[derive(Serialize)]
        struct Sparse {
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<u8>,
        }
        #[derive(Serialize)]
        enum Shape {
            Round(u8),
        }
        for (found, told) in [
            (reason(17), "a bare value is no tuple"),
            (reason(BTreeMap::from([("a", 1)])), "a map is no tuple"),
            (
                reason(("a", Some(1))),
                "field 1 is an Option: a field always has a value",
            ),
            (reason(("a", 1, ())), "field 2 is a unit"),
            (reason((0u128,)), "field 0 is a u128: integers have 64 bits"),
            (
                reason((0, vec!["a"])),
                "field 1 is a sequence of something else than bytes",
            ),
            (
                reason((0, (1, 2))),
                "field 1 is a tuple or an array of something else",
            ),
            (
                reason((0, vec![vec![1u8]])),
                "field 1 is a sequence of something else than bytes",
            ),
            (
                reason((Shape::Round(1), 0)),
                "field 0 is an enum's variant with data",
            ),
            (reason(Sparse { hint: None }), "leaves out its field hint"),
            (reason(vec![0u16; 65]), "65 fields, at most 64"),
            (reason((vec![0u8; 70_000],)), "at most 65536 are allowed"),
        ] {
            assert!(found.contains(told), "{found:?} should say {told:?}");
        }
    }
}

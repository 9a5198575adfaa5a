//! A tuple to any deserializable value: a serde deserializer that converts no type into another.

use std::fmt::Display;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess,
    VariantAccess, Visitor, value,
};
use serde::forward_to_deserialize_any;
use thiserror::Error;

use super::{FIELD_VARIANTS, Field, FieldType, Tuple, type_name};

/// Takes a tuple apart. See [`crate::tuple`] for the types.
pub fn from_tuple<T: DeserializeOwned>(tuple: Tuple) -> Result<T, FromTupleError> {
    T::deserialize(TupleReader(tuple))
}

/// Why a tuple is not what was asked for. Fields are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FromTupleError {
    /// Another number of fields.
    #[error("the tuple has {found} fields, {expected} were expected")]
    Arity {
        /// Fields asked for.
        expected: usize,
        /// Fields of the tuple.
        found: usize,
    },
    /// A field of another type.
    #[error("field {index} is {found}, {expected} was expected")]
    Type {
        /// Which field.
        index: usize,
        /// The Rust type, and the type of field that it needs.
        expected: &'static str,
        /// The type of the field, by [`type_name`].
        found: &'static str,
    },
    /// A field whose value does not fit.
    #[error("field {index}: {reason}")]
    Value {
        /// Which field.
        index: usize,
        /// Why.
        reason: String,
    },
    /// The target's own `Deserialize` refused the tuple as a whole.
    #[error("{0}")]
    Whole(String),
}

impl FromTupleError {
    fn at(self, index: usize) -> Self {
        match self {
            Self::Whole(reason) => Self::Value { index, reason },
            other => other,
        }
    }
}

impl de::Error for FromTupleError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Whole(message.to_string())
    }
}

struct TupleReader(Tuple);

impl TupleReader {
    fn exactly<'de, V: Visitor<'de>>(
        self,
        expected: usize,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        match self.0.arity() {
            found if found == expected => self.deserialize_any(visitor),
            found => Err(FromTupleError::Arity { expected, found }),
        }
    }
}

impl<'de> Deserializer<'de> for TupleReader {
    type Error = FromTupleError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromTupleError> {
        visitor.visit_seq(Fields(self.0.0.into_iter().enumerate()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        self.exactly(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        self.exactly(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        self.exactly(fields.len(), visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromTupleError> {
        match self.0.arity() {
            0 => visitor.visit_unit(),
            found => Err(FromTupleError::Arity { expected: 0, found }),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        self.deserialize_unit(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        seq map enum identifier ignored_any
    }
}

struct Fields(std::iter::Enumerate<std::vec::IntoIter<Field>>);

impl<'de> SeqAccess<'de> for Fields {
    type Error = FromTupleError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, FromTupleError> {
        let Some((index, field)) = self.0.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(FieldReader { index, field });
        read.map(Some).map_err(|error| error.at(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct FieldReader {
    index: usize,
    field: Field,
}

impl FieldReader {
    fn refuse<T>(self, expected: &'static str) -> Result<T, FromTupleError> {
        Err(FromTupleError::Type {
            index: self.index,
            expected,
            found: type_name(self.field.field_type()),
        })
    }

    /// The field, if it has this type, as serde sees it.
    fn typed<'de, V: Visitor<'de>>(
        self,
        field_type: FieldType,
        expected: &'static str,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        if self.field.field_type() != field_type {
            return self.refuse(expected);
        }
        self.deserialize_any(visitor)
    }

    fn bytes<'de, V: Visitor<'de>>(
        self,
        expected: &'static str,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        match self.field {
            Field::Bytes(bytes) => {
                visitor.visit_seq(value::SeqDeserializer::new(bytes.into_iter()))
            }
            _ => self.refuse(expected),
        }
    }
}

macro_rules! typed {
    ($($method:ident => $field_type:ident, $expected:literal);* $(;)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromTupleError> {
            self.typed(FieldType::$field_type, $expected, visitor)
        }
    )*};
}

macro_rules! refused {
    ($($method:ident => $expected:literal);* $(;)?) => {$(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, FromTupleError> {
            self.refuse($expected)
        }
    )*};
}

impl<'de> Deserializer<'de> for FieldReader {
    type Error = FromTupleError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromTupleError> {
        match self.field {
            Field::Int(value) => visitor.visit_i64(value),
            Field::Uint(value) => visitor.visit_u64(value),
            Field::Float(value) => visitor.visit_f64(value.into()),
            Field::Bool(value) => visitor.visit_bool(value),
            Field::Text(value) => visitor.visit_string(value),
            Field::Bytes(value) => visitor.visit_byte_buf(value),
        }
    }

    typed! {
        deserialize_bool => Bool, "bool";
        deserialize_i8 => Int, "int (i8)";
        deserialize_i16 => Int, "int (i16)";
        deserialize_i32 => Int, "int (i32)";
        deserialize_i64 => Int, "int (i64)";
        deserialize_u8 => Uint, "uint (u8)";
        deserialize_u16 => Uint, "uint (u16)";
        deserialize_u32 => Uint, "uint (u32)";
        deserialize_u64 => Uint, "uint (u64)";
        deserialize_f32 => Float, "float (f32)";
        deserialize_f64 => Float, "float (f64)";
        deserialize_char => Text, "string (char)";
        deserialize_str => Text, "string";
        deserialize_string => Text, "string";
        deserialize_bytes => Bytes, "bytes";
        deserialize_byte_buf => Bytes, "bytes";
    }

    refused! {
        deserialize_i128 => "an i128, which no field can be,";
        deserialize_u128 => "a u128, which no field can be,";
        deserialize_option => "an Option, which no field can be,";
        deserialize_unit => "a unit, which no field can be,";
        deserialize_map => "a map, which no field can be,";
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, FromTupleError> {
        self.refuse("a struct, which no field can be,")
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FromTupleError> {
        self.bytes("bytes (a sequence)", visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        self.bytes("bytes (an array)", visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        self.bytes("bytes (an array)", visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FromTupleError> {
        if name == "Field" && variants == FIELD_VARIANTS {
            return visitor.visit_enum(AsField(self));
        }
        match self.field {
            Field::Text(variant) => visitor.visit_enum(variant.into_deserializer()),
            _ => self.refuse("string (the name of an enum's variant)"),
        }
    }

    forward_to_deserialize_any! { identifier ignored_any }
}

/// A field read as a [`Field`]: the variant of its type, and in it the value.
struct AsField(FieldReader);

impl<'de> EnumAccess<'de> for AsField {
    type Error = FromTupleError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        mut self,
        seed: V,
    ) -> Result<(V::Value, Self), FromTupleError> {
        let index = self.0.field.field_type() as usize;
        let name = FIELD_VARIANTS.get(index).copied().unwrap_or_default();
        let variant: value::StrDeserializer<'_, FromTupleError> = name.into_deserializer();
        // A float is its bits to serde, so that equal ones are equal.
        if let Field::Float(float) = self.0.field {
            self.0.field = Field::Uint(f64::from(float).to_bits());
        }
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for AsField {
    type Error = FromTupleError;

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, FromTupleError> {
        seed.deserialize(self.0)
    }

    fn unit_variant(self) -> Result<(), FromTupleError> {
        self.0.refuse("a variant without data")
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, FromTupleError> {
        self.0.refuse("a variant with one value")
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, FromTupleError> {
        self.0.refuse("a variant with one value")
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::tuple::to_tuple;

    fn tuple() -> Tuple {
        Tuple(vec!["task".into(), 300u64.into(), Field::Bytes(vec![1, 2])])
    }

    fn reason<T: DeserializeOwned>() -> String {
        match from_tuple::<T>(tuple()) {
            Ok(_) => "no error".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tuple_read_into_structs_newtypes_and_enums() {
        #[derive(Deserialize, PartialEq, Debug)]
        enum Kind {
            #[serde(rename = "task")]
            Task,
        }
        #[derive(Deserialize, PartialEq, Debug)]
        struct Number(u64);
        #[derive(Deserialize, PartialEq, Debug)]
        struct Job {
            kind: Kind,
            number: Number,
            payload: serde_bytes::ByteBuf,
        }
        let job = Job {
            kind: Kind::Task,
            number: Number(300),
            payload: serde_bytes::ByteBuf::from(vec![1, 2]),
        };
        assert_eq!(from_tuple(tuple()), Ok(job));
        let mixed: (Field, u64, [u8; 2]) = from_tuple(tuple()).expect("these types");
        assert_eq!(mixed, ("task".into(), 300, [1, 2]));
        assert_eq!(from_tuple::<()>(to_tuple(&()).expect("empty")), Ok(()));
    }

    #[test]
    fn tuple_read_errors_name_field_expected_and_found() {
        for (found, told) in [
            (
                reason::<(String, u64)>(),
                "the tuple has 3 fields, 2 were expected",
            ),
            (
                reason::<(String, i64, Vec<u8>)>(),
                "field 1 is uint, int (i64) was expected",
            ),
            (
                reason::<(String, u8, Vec<u8>)>(),
                "field 1: invalid value: integer `300`, expected u8",
            ),
            (
                reason::<(Vec<u8>, u64, Vec<u8>)>(),
                "field 0 is string, bytes (a sequence) was expected",
            ),
            (
                reason::<(String, u64, [u8; 3])>(),
                "field 2: invalid length 2",
            ),
            (
                reason::<(String, Option<u64>, Vec<u8>)>(),
                "field 1 is uint, an Option, which no field",
            ),
            (
                reason::<(bool, u64, Vec<u8>)>(),
                "field 0 is string, bool was expected",
            ),
            (reason::<u64>(), "invalid type: sequence, expected u64"),
        ] {
            assert!(found.contains(told), "{found:?} should say {told:?}");
        }
    }
}

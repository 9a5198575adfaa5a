//! Tuples: ordered, typed fields (PROTOCOL section 2). Flat on purpose: a nested type on the wire
//! would let a peer choose the depth of our stack.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::limits::{FIELDS_MAX, TUPLE_BYTES_MAX};

/// A floating point number that is equal to another if its bits are: NaN equals itself, and 0.0
/// differs from -0.0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Float(u64);

impl From<f64> for Float {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

impl From<Float> for f64 {
    fn from(value: Float) -> Self {
        Self::from_bits(value.0)
    }
}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", f64::from(*self))
    }
}

/// One field of a tuple.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Field {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating point number.
    Float(Float),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FieldType {
    /// [`Field::Int`].
    Int,
    /// [`Field::Uint`].
    Uint,
    /// [`Field::Float`].
    Float,
    /// [`Field::Bool`].
    Bool,
    /// [`Field::Text`].
    Text,
    /// [`Field::Bytes`].
    Bytes,
}

impl Field {
    /// The field's type.
    pub fn field_type(&self) -> FieldType {
        match self {
            Self::Int(_) => FieldType::Int,
            Self::Uint(_) => FieldType::Uint,
            Self::Float(_) => FieldType::Float,
            Self::Bool(_) => FieldType::Bool,
            Self::Text(_) => FieldType::Text,
            Self::Bytes(_) => FieldType::Bytes,
        }
    }
}

/// Why a tuple or a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TupleError {
    /// Too many fields.
    #[error("{fields} fields, at most {FIELDS_MAX} are allowed")]
    TooManyFields {
        /// Fields given.
        fields: usize,
    },
    /// Too long when encoded.
    #[error("{bytes} bytes when encoded, at most {TUPLE_BYTES_MAX} are allowed")]
    TooLong {
        /// Encoded bytes.
        bytes: usize,
    },
}

/// A tuple. Two are equal if all their fields have equal types and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tuple(#[serde(deserialize_with = "codec::at_most::<FIELDS_MAX, _, _>")] pub Vec<Field>);

impl Tuple {
    /// The fields.
    pub fn fields(&self) -> &[Field] {
        &self.0
    }

    /// Number of fields.
    pub fn arity(&self) -> usize {
        self.0.len()
    }

    /// Checks the bounds that hold for every tuple.
    pub fn check(&self) -> Result<(), TupleError> {
        check_size(self.arity(), self)
    }
}

/// The bounds common to tuples and templates.
pub(crate) fn check_size<T: Serialize>(fields: usize, value: &T) -> Result<(), TupleError> {
    if fields > FIELDS_MAX {
        return Err(TupleError::TooManyFields { fields });
    }
    let bytes = codec::encoded_len(value);
    if bytes > TUPLE_BYTES_MAX {
        return Err(TupleError::TooLong { bytes });
    }
    Ok(())
}

impl FromIterator<Field> for Tuple {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for Field {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from!(i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => Uint, u16 => Uint, u32 => Uint,
      u64 => Uint, f64 => Float, bool => Bool, &str => Text, String => Text, Vec<u8> => Bytes,
      &[u8] => Bytes);

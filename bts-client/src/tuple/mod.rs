//! Tuples from ordinary Rust values and back, through serde.
//!
//! A tuple is flat, so what becomes one is a Rust tuple, an array, a `Vec` or a struct whose fields
//! are all of these:
//!
//! | field | from and to |
//! |---|---|
//! | int | `i8` `i16` `i32` `i64` `isize` |
//! | uint | `u8` `u16` `u32` `u64` `usize` |
//! | float | `f32` `f64` |
//! | bool | `bool` |
//! | string | `String`, `&str`, `char`, an enum's variant without data, what serde writes as text |
//! | bytes | `Vec<u8>`, `&[u8]`, `[u8; N]`, `serde_bytes` |
//!
//! A newtype is what it wraps, and [`Field`] is whatever field it holds. Types are kept apart: an
//! int never becomes a uint by itself, and `17` is an `i32`, so an int; write `17u64` for a uint.
//! Fields that could be absent (`Option`), empty (`()`), nested or wider than 64 bits are refused.
//!
//! ```
//! use bts_client::{from_tuple, to_tuple};
//! use serde::{Deserialize, Serialize};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tuple = to_tuple(&("task", 17u64, vec![0u8, 255]))?;
//! let (name, number, payload): (String, u64, Vec<u8>) = from_tuple(tuple)?;
//! assert_eq!((name.as_str(), number, payload), ("task", 17, vec![0, 255]));
//!
//! #[derive(Serialize, Deserialize)]
//! struct Task {
//!     name: String,
//!     number: u64,
//! }
//! let tuple = to_tuple(&Task { name: "task".into(), number: 17 })?;
//! assert_eq!(from_tuple::<(String, u64)>(tuple)?, ("task".into(), 17));
//! # Ok(())
//! # }
//! ```

mod read;
mod write;

pub use bts_core::tuple::{Field, FieldType, Float, Tuple, TupleError};
pub use read::{FromTupleError, from_tuple};
pub use write::{ToTupleError, to_tuple};

/// What a type of field is called in texts, as `("task", int)`, and in errors.
pub fn type_name(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Int => "int",
        FieldType::Uint => "uint",
        FieldType::Float => "float",
        FieldType::Bool => "bool",
        FieldType::Text => "string",
        FieldType::Bytes => "bytes",
    }
}

/// Variants of [`Field`] by the names that serde knows them by. A value of that type is the field
/// that it holds, not an enum.
const FIELD_VARIANTS: &[&str] = &["Int", "Uint", "Float", "Bool", "Text", "Bytes"];

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any field, with floats of all bits.
    pub(crate) fn any_field() -> impl Strategy<Value = Field> {
        prop_oneof![
            any::<i64>().prop_map(Field::Int),
            any::<u64>().prop_map(Field::Uint),
            any::<u64>().prop_map(|bits| Field::Float(f64::from_bits(bits).into())),
            any::<bool>().prop_map(Field::Bool),
            any::<String>().prop_map(Field::Text),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Field::Bytes),
        ]
    }

    proptest! {
        #[test]
        fn tuple_of_fields_is_itself(fields in prop::collection::vec(any_field(), 0..12)) {
            let tuple = Tuple(fields);
            prop_assert_eq!(to_tuple(&tuple), Ok(tuple.clone()));
            prop_assert_eq!(to_tuple(&tuple.0), Ok(tuple.clone()));
            prop_assert_eq!(from_tuple::<Tuple>(tuple.clone()), Ok(tuple.clone()));
            prop_assert_eq!(from_tuple::<Vec<Field>>(tuple.clone()), Ok(tuple.0));
        }

        #[test]
        fn tuple_of_values_comes_back(
            values in any::<(i8, u16, f64, f32, bool, char, String, Vec<u8>, [u8; 3])>()
        ) {
            let tuple = to_tuple(&values).expect("all are fields");
            let back: (i8, u16, f64, f32, bool, char, String, Vec<u8>, [u8; 3]) =
                from_tuple(tuple).expect("the same types");
            prop_assert_eq!(back, values);
        }
    }
}

//! The library that users of a BTS tuple space link.

#![warn(missing_docs)]

pub mod template;
pub mod text;
pub mod tuple;

pub use template::{Query, Template, TypedTemplate};
pub use tuple::{Field, Tuple, from_tuple, to_tuple};

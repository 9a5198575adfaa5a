//! Templates whose matches have a type: [`template!`](crate::template!) and what it is made of.
//!
//! Each place of a template is a value, a type or open:
//!
//! ```
//! use bts_client::{template, Query};
//!
//! let me = 4u64;
//! let mine = template!["doing", me, ?u64, _];
//! ```
//!
//! * an expression matches that value of that type only: `17` is an int, `17u64` a uint;
//! * `?` and a type matches any value of it, as the formals `?x` of Linda do. The types are `i64`,
//!   `u64`, `f64`, `bool`, `String` and `Vec<u8>`, one for each type of field;
//! * `_` matches anything.
//!
//! The template knows the Rust type of what it finds, here `(String, u64, u64, Field)`: what is
//! taken with it comes out typed, and a mistake is one at compile time:
//!
//! ```compile_fail
//! bts_client::template!["task", ?Option<u64>]; // no field is an Option
//! ```
//!
//! [`TypedTemplate::of`] asks for another type instead, a struct for instance. A [`Template`]
//! without types, made at run time, finds a [`Tuple`].

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

pub use bts_core::template::{Pattern, Template};

use crate::tuple::{Field, FieldType, FromTupleError, Tuple, from_tuple};

/// What `rd`, `take` and the others ask for: a template, and the type of what it finds.
pub trait Query {
    /// The type of what is found.
    type Found;

    /// The template.
    fn template(&self) -> Template;

    /// Takes apart what was found.
    fn read(tuple: Tuple) -> Result<Self::Found, FromTupleError>;
}

impl Query for Template {
    type Found = Tuple;

    fn template(&self) -> Template {
        self.clone()
    }

    fn read(tuple: Tuple) -> Result<Tuple, FromTupleError> {
        Ok(tuple)
    }
}

impl<Q: Query> Query for &Q {
    type Found = Q::Found;

    fn template(&self) -> Template {
        (**self).template()
    }

    fn read(tuple: Tuple) -> Result<Q::Found, FromTupleError> {
        Q::read(tuple)
    }
}

/// A template that knows what Rust type its matches have. Made by [`template!`](crate::template!).
pub struct TypedTemplate<T> {
    template: Template,
    found: PhantomData<fn() -> T>,
}

impl<T> TypedTemplate<T> {
    /// The template of these places.
    pub fn new<P: Places<Found = T>>(places: P) -> Self {
        Self {
            template: places.template(),
            found: PhantomData,
        }
    }

    /// The same template, whose matches are taken apart as another type. That they have this type
    /// is not certain any more; what does not have it comes back with the error.
    ///
    /// ```
    /// use bts_client::template;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Task { kind: String, number: u64 }
    /// let tasks = template!["task", ?u64].of::<Task>();
    /// ```
    pub fn of<U: DeserializeOwned>(self) -> TypedTemplate<U> {
        TypedTemplate {
            template: self.template,
            found: PhantomData,
        }
    }

    /// The template without its type.
    pub fn untyped(self) -> Template {
        self.template
    }
}

impl<T: DeserializeOwned> Query for TypedTemplate<T> {
    type Found = T;

    fn template(&self) -> Template {
        self.template.clone()
    }

    fn read(tuple: Tuple) -> Result<T, FromTupleError> {
        from_tuple(tuple)
    }
}

impl<T> Clone for TypedTemplate<T> {
    fn clone(&self) -> Self {
        Self {
            template: self.template.clone(),
            found: PhantomData,
        }
    }
}

impl<T> fmt::Debug for TypedTemplate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.template.fmt(f)
    }
}

/// One place of a template.
pub trait Place {
    /// The type of the field that is found there.
    type Found;

    /// What the place accepts.
    fn pattern(self) -> Pattern;
}

/// A place for one value.
#[derive(Clone, Copy, Debug)]
pub struct Exact<V>(pub V);

/// A place for all values of a type: `?u64`.
#[derive(Clone, Copy, Debug)]
pub struct Formal<T>(PhantomData<T>);

/// A place for anything: `_`.
#[derive(Clone, Copy, Debug)]
pub struct Wildcard;

impl<T: Typed> Formal<T> {
    /// A place for all values of `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Typed> Default for Formal<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Value> Place for Exact<V> {
    type Found = V::Owned;

    fn pattern(self) -> Pattern {
        Pattern::Exact(self.0.into_field())
    }
}

impl<T: Typed> Place for Formal<T> {
    type Found = T;

    fn pattern(self) -> Pattern {
        Pattern::Typed(T::FIELD_TYPE)
    }
}

impl Place for Wildcard {
    type Found = Field;

    fn pattern(self) -> Pattern {
        Pattern::Any
    }
}

/// The Rust types that stand for a whole type of field: they hold each of its values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no type of field",
    note = "the types are i64, u64, f64, bool, String and Vec<u8>"
)]
pub trait Typed {
    /// The type of field.
    const FIELD_TYPE: FieldType;
}

/// A Rust value that is a field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field",
    note = "fields are integers up to 64 bits, floats, bool, char, text and bytes"
)]
pub trait Value {
    /// What comes back when such a field is found.
    type Owned;

    /// The field.
    fn into_field(self) -> Field;
}

macro_rules! typed {
    ($($typed:ty => $variant:ident),*) => {$(
        impl Typed for $typed {
            const FIELD_TYPE: FieldType = FieldType::$variant;
        }
    )*};
}

macro_rules! values {
    ($($value:ty => $owned:ty, |$name:ident| $field:expr);* $(;)?) => {$(
        impl Value for $value {
            type Owned = $owned;

            fn into_field(self) -> Field {
                let $name = self;
                $field
            }
        }
    )*};
}

typed!(i64 => Int, u64 => Uint, f64 => Float, bool => Bool, String => Text, Vec<u8> => Bytes);

values! {
    i8 => i8, |v| v.into();
    i16 => i16, |v| v.into();
    i32 => i32, |v| v.into();
    i64 => i64, |v| v.into();
    isize => isize, |v| Field::Int(v as i64);
    u8 => u8, |v| v.into();
    u16 => u16, |v| v.into();
    u32 => u32, |v| v.into();
    u64 => u64, |v| v.into();
    usize => usize, |v| Field::Uint(v as u64);
    f32 => f32, |v| f64::from(v).into();
    f64 => f64, |v| v.into();
    bool => bool, |v| v.into();
    char => char, |v| String::from(v).into();
    &str => String, |v| v.into();
    &String => String, |v| v.as_str().into();
    String => String, |v| v.into();
    &[u8] => Vec<u8>, |v| v.into();
    &Vec<u8> => Vec<u8>, |v| v.as_slice().into();
    Vec<u8> => Vec<u8>, |v| v.into();
    Field => Field, |v| v;
}

impl<const N: usize> Value for &[u8; N] {
    type Owned = Vec<u8>;

    fn into_field(self) -> Field {
        self.as_slice().into()
    }
}

/// All places of a template: a tuple of up to 16 [`Place`]s. A longer template is made at run time,
/// as a [`Template`].
pub trait Places {
    /// The tuple that is found.
    type Found: DeserializeOwned;

    /// The template.
    fn template(self) -> Template;
}

macro_rules! places {
    ($($place:ident),*) => {
        impl<$($place: Place<Found: DeserializeOwned>),*> Places for ($($place,)*) {
            type Found = ($($place::Found,)*);

            #[allow(non_snake_case)]
            fn template(self) -> Template {
                let ($($place,)*) = self;
                Template(vec![$($place.pattern()),*])
            }
        }
    };
}

places!();
places!(A);
places!(A, B);
places!(A, B, C);
places!(A, B, C, D);
places!(A, B, C, D, E);
places!(A, B, C, D, E, F);
places!(A, B, C, D, E, F, G);
places!(A, B, C, D, E, F, G, H);
places!(A, B, C, D, E, F, G, H, I);
places!(A, B, C, D, E, F, G, H, I, J);
places!(A, B, C, D, E, F, G, H, I, J, K);
places!(A, B, C, D, E, F, G, H, I, J, K, L);
places!(A, B, C, D, E, F, G, H, I, J, K, L, M);
places!(A, B, C, D, E, F, G, H, I, J, K, L, M, N);
places!(A, B, C, D, E, F, G, H, I, J, K, L, M, N, O);
places!(A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P);

/// A [`TypedTemplate`]: values as they are, `?` before a type, `_` for anything.
///
/// ```
/// use bts_client::{Query, template, to_tuple};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let open = template!["task", ?u64, _].untyped();
/// assert!(open.matches(&to_tuple(&("task", 17u64, true))?));
/// assert!(!open.matches(&to_tuple(&("task", 17, true))?), "17 is an int, not a uint");
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! template {
    (@places [$($place:expr,)*]) => {
        $crate::TypedTemplate::new(($($place,)*))
    };
    (@places [$($place:expr,)*] _ $(, $($rest:tt)*)?) => {
        $crate::template!(@places [$($place,)* $crate::template::Wildcard,] $($($rest)*)?)
    };
    (@places [$($place:expr,)*] ? $typed:ty $(, $($rest:tt)*)?) => {
        $crate::template!(@places [$($place,)* $crate::template::Formal::<$typed>::new(),] $($($rest)*)?)
    };
    (@places [$($place:expr,)*] $value:expr $(, $($rest:tt)*)?) => {
        $crate::template!(@places [$($place,)* $crate::template::Exact($value),] $($($rest)*)?)
    };
    ($($places:tt)*) => {
        $crate::template!(@places [] $($places)*)
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::to_tuple;

    #[test]
    fn template_macro_makes_each_kind_of_place() {
        let name = String::from("task");
        let template = template![&name, 17, -3i8, ?String, b"ab", 0.5, _,].untyped();
        let expected = Template(vec![
            Pattern::Exact("task".into()),
            Pattern::Exact(Field::Int(17)),
            Pattern::Exact(Field::Int(-3)),
            Pattern::Typed(FieldType::Text),
            Pattern::Exact(Field::Bytes(b"ab".to_vec())),
            Pattern::Exact(0.5.into()),
            Pattern::Any,
        ]);
        assert_eq!(template, expected);
        assert_eq!(template![].untyped(), Template(Vec::new()));
        assert_eq!(
            template![1 + 1].untyped(),
            Template(vec![Pattern::Exact(Field::Int(2))])
        );
    }

    #[test]
    fn template_found_type_follows_from_the_places() {
        fn read<Q: Query>(_: &Q, tuple: Tuple) -> Q::Found {
            Q::read(tuple).expect("matches have the type")
        }
        let query = template!["task", ?u64, 5u8, _, ?Vec<u8>];
        let tuple = to_tuple(&("task", 17u64, 5u8, true, [1u8, 2])).expect("a tuple");
        assert!(query.template().matches(&tuple));
        let (name, number, small, open, bytes) = read(&query, tuple);
        assert_eq!((name.as_str(), number, small), ("task", 17, 5));
        assert_eq!((open, bytes), (Field::Bool(true), vec![1, 2]));
    }

    #[test]
    fn template_of_another_type_says_what_does_not_fit() {
        let tuple = to_tuple(&("task", 17u64)).expect("a tuple");
        let wrong = <TypedTemplate<(String, i64)> as Query>::read(tuple);
        let told = wrong.expect_err("17 is a uint").to_string();
        assert_eq!(told, "field 1 is uint, int (i64) was expected");
    }
}

//! Tuples and templates as people type them.
//!
//! ```
//! use bts_client::text::{parse_template, parse_tuple, show_tuple};
//!
//! # fn main() -> Result<(), bts_client::text::ParseError> {
//! let tuple = parse_tuple(r#"("task", 17, 3u, 0.5, true, x"00ff")"#)?;
//! assert_eq!(show_tuple(&tuple), r#"("task", 17, 3u, 0.5, true, x"00ff")"#);
//! assert!(parse_template(r#"("task", int, _, ?float, *, ?)"#)?.matches(&tuple));
//! assert_eq!(tuple, parse_tuple(r#"["task", 17, {"uint": 3}, 0.5, true, {"bytes": "00ff"}]"#)?);
//! # Ok(())
//! # }
//! ```
//!
//! | type | written | in JSON |
//! |---|---|---|
//! | int | `17`, `-3` | `17`, `-3` |
//! | uint | `17u` | `{"uint": 17}` |
//! | float | `0.5`, `1e9`, `inf`, `-inf`, `nan` | `0.5`, `1e9`, `{"float": "inf"}` |
//! | bool | `true`, `false` | `true`, `false` |
//! | string | `"a\n\u{e9}"`, escapes `\" \\ \n \r \t \0 \u{...}` | `"a\n\u00e9"` |
//! | bytes | `x"00ff"` | `{"bytes": "00ff"}` |
//! | any of a type | `int` or `?int` (in templates) | `{"type": "int"}` |
//! | anything | `_`, `*` or `?` (in templates) | `null` |
//! | field 2 of the taken tuple | `$2` (in replacements, from `$0`) | `{"taken": 2}` |
//!
//! A NaN whose bits are not the usual ones is `nan:7ff8000000000001`. What starts with `[` is JSON.
//! Whatever is shown reads back as the same tuple; parsing is bounded and cannot fail otherwise
//! than by a [`ParseError`].

mod json;
mod parse;
mod place;
mod show;

use thiserror::Error;

use crate::template::Template;
use crate::tuple::{Tuple, TupleError};

pub use json::{parse_tuples, show_tuple_as_json};
pub use place::{NoSuchField, Replacement};
pub use show::{show_template, show_tuple};

pub(crate) use json::{template_of, template_values, tuple_of, tuple_values};

use place::{Place, Role};

/// Why a text is no tuple or template. Columns are counted from 1, fields from 0.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The text does not follow the syntax.
    #[error("column {column}: {reason}")]
    Syntax {
        /// The column, in characters.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// The text starts as JSON and is not, or not a list.
    #[error("not usable as JSON: {0}")]
    Json(String),
    /// A place in a JSON list.
    #[error("field {index}: {reason}")]
    Field {
        /// Which.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// One of several tuples.
    #[error("tuple {index}: {source}")]
    Tuple {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        source: Box<ParseError>,
    },
    /// Too many fields or bytes.
    #[error("too large: {0}")]
    TooLarge(#[from] TupleError),
}

/// A tuple, in either syntax.
pub fn parse_tuple(text: &str) -> Result<Tuple, ParseError> {
    place::tuple(places(text, Role::Tuple)?)
}

/// A template, in either syntax.
pub fn parse_template(text: &str) -> Result<Template, ParseError> {
    place::template(places(text, Role::Template)?)
}

/// The tuple that a swap puts in place of the taken one, in either syntax: as a tuple, and `$0`,
/// `$1`, ... stand for the fields of the taken one.
pub fn parse_replacement(text: &str) -> Result<Replacement, ParseError> {
    Ok(Replacement::new(places(text, Role::Replacement)?))
}

/// Bytes of hexadecimal digits.
pub(crate) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    parse::from_hex(digits).ok()
}

fn places(text: &str, role: Role) -> Result<Vec<Place>, ParseError> {
    if text.trim_start().starts_with('[') {
        json::places(text, role)
    } else {
        parse::places(text, role)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::Pattern;
    use crate::tuple::tests::any_field;

    fn any_pattern() -> impl Strategy<Value = Pattern> {
        prop_oneof![
            any_field().prop_map(Pattern::Exact),
            any_field().prop_map(|field| Pattern::Typed(field.field_type())),
            Just(Pattern::Any),
        ]
    }

    proptest! {
        #[test]
        fn text_tuple_shown_reads_back(fields in prop::collection::vec(any_field(), 0..9)) {
            let tuple = Tuple(fields);
            prop_assert_eq!(parse_tuple(&show_tuple(&tuple)), Ok(tuple.clone()));
            prop_assert_eq!(parse_tuple(&show_tuple_as_json(&tuple)), Ok(tuple));
        }

        #[test]
        fn text_template_shown_reads_back(patterns in prop::collection::vec(any_pattern(), 0..9)) {
            let template = Template(patterns);
            prop_assert_eq!(parse_template(&show_template(&template)), Ok(template));
        }

        #[test]
        fn text_of_any_kind_is_parsed_or_refused(text in any::<String>()) {
            let _ = (parse_tuple(&text), parse_template(&text), parse_replacement(&text));
        }

        #[test]
        fn text_almost_right_is_parsed_or_refused(text in r#"[(\[]("(a|\\n|\\u\{[0-9a-f]{0,7}\}|é)*"?|x"[0-9a-f]*"|[?$_*,:.eu+-]|[0-9]{1,25}|nan|inf|int|true|null|[{}]|"uint":| |\\)*[)\]]?"#) {
            let _ = (parse_tuple(&text), parse_template(&text), parse_replacement(&text));
            let _ = parse_tuples(&text);
        }
    }
}

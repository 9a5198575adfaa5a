//! The plain syntax, written. Texts of others may hold anything, so whatever could play tricks on a
//! terminal is escaped.

use crate::template::{Pattern, Template};
use crate::tuple::{Field, Tuple, type_name};

/// A tuple in the syntax that [`super::parse_tuple`] reads.
pub fn show_tuple(tuple: &Tuple) -> String {
    in_parentheses(tuple.fields().iter().map(field))
}

/// A template in the syntax that [`super::parse_template`] reads.
pub fn show_template(template: &Template) -> String {
    in_parentheses(template.patterns().iter().map(|pattern| match pattern {
        Pattern::Exact(value) => field(value),
        Pattern::Typed(field_type) => type_name(*field_type).into(),
        Pattern::Any => "_".into(),
    }))
}

/// Bytes in hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A float that [`super::parse::special_float`] reads, if it is no finite number.
pub(super) fn show_special_float(float: f64) -> Option<String> {
    if float.is_nan() && float.to_bits() != f64::NAN.to_bits() {
        return Some(format!("nan:{:016x}", float.to_bits()));
    }
    (!float.is_finite()).then(|| float.to_string().to_lowercase())
}

fn in_parentheses(places: impl Iterator<Item = String>) -> String {
    format!("({})", places.collect::<Vec<_>>().join(", "))
}

fn field(field: &Field) -> String {
    match field {
        Field::Int(value) => value.to_string(),
        Field::Uint(value) => format!("{value}u"),
        Field::Float(value) => {
            let float = f64::from(*value);
            show_special_float(float).unwrap_or_else(|| format!("{float:?}"))
        }
        Field::Bool(value) => value.to_string(),
        Field::Text(value) => format!("{value:?}"),
        Field::Bytes(value) => format!("x\"{}\"", to_hex(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shown_cannot_trick_a_terminal() {
        let tuple = Tuple(vec!["\u{1b}[2J\u{202e}\u{7f}\u{85}\r".into()]);
        let shown = show_tuple(&tuple);
        assert_eq!(shown, r#"("\u{1b}[2J\u{202e}\u{7f}\u{85}\r")"#);
    }

    #[test]
    fn text_shown_floats_stay_floats() {
        let floats = [
            1.0,
            -0.0,
            1e300,
            f64::NEG_INFINITY,
            f64::NAN,
            f64::from_bits(0x7ff8_0000_0000_0001),
        ];
        let tuple: Tuple = floats.into_iter().map(Field::from).collect();
        assert_eq!(
            show_tuple(&tuple),
            "(1.0, -0.0, 1e300, -inf, nan, nan:7ff8000000000001)"
        );
    }
}

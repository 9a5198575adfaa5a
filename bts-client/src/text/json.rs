//! Tuples and templates as JSON lists, for programs that know nothing else. JSON has one type of
//! number where tuples have three, so a uint is written as an object.

use serde_json::{Map, Number, Value, json};

use super::ParseError;
use super::parse::{from_hex, special_float};
use super::place::{self, Place, Role, type_named};
use super::show::{show_special_float, to_hex};
use crate::template::{Pattern, Template};
use crate::tuple::{Field, Tuple, type_name};

/// All places of a JSON list.
pub(super) fn places(text: &str, role: Role) -> Result<Vec<Place>, ParseError> {
    let list: Vec<Value> = serde_json::from_str(text).map_err(not_json)?;
    of_list(list, role)
}

/// The tuples of a JSON list of lists.
pub fn parse_tuples(text: &str) -> Result<Vec<Tuple>, ParseError> {
    let lists: Vec<Vec<Value>> = serde_json::from_str(text).map_err(not_json)?;
    let tuple = |(index, list)| {
        tuple_of(list).map_err(|source| ParseError::Tuple {
            index,
            source: Box::new(source),
        })
    };
    lists.into_iter().enumerate().map(tuple).collect()
}

/// A tuple as a JSON list, which [`super::parse_tuple`] reads.
pub fn show_tuple_as_json(tuple: &Tuple) -> String {
    Value::Array(tuple_values(tuple)).to_string()
}

/// The members of a JSON list that [`tuple_of`] reads.
pub(crate) fn tuple_values(tuple: &Tuple) -> Vec<Value> {
    tuple.fields().iter().map(value).collect()
}

/// The members of a JSON list that [`template_of`] reads.
pub(crate) fn template_values(template: &Template) -> Vec<Value> {
    let pattern = |pattern: &Pattern| match pattern {
        Pattern::Exact(field) => value(field),
        Pattern::Typed(field_type) => json!({ "type": type_name(*field_type) }),
        Pattern::Any => Value::Null,
    };
    template.patterns().iter().map(pattern).collect()
}

/// The tuple of a JSON list.
pub(crate) fn tuple_of(list: Vec<Value>) -> Result<Tuple, ParseError> {
    of_list(list, Role::Tuple).and_then(place::tuple)
}

/// The template of a JSON list.
pub(crate) fn template_of(list: Vec<Value>) -> Result<Template, ParseError> {
    of_list(list, Role::Template).and_then(place::template)
}

fn not_json(error: serde_json::Error) -> ParseError {
    ParseError::Json(error.to_string())
}

fn of_list(list: Vec<Value>, role: Role) -> Result<Vec<Place>, ParseError> {
    let of_value = |(index, value)| {
        let found = place(value);
        let fits = found.and_then(|place| match place.objection(role) {
            Some(objection) => Err(objection.into()),
            None => Ok(place),
        });
        fits.map_err(|reason| ParseError::Field { index, reason })
    };
    list.into_iter().enumerate().map(of_value).collect()
}

fn place(value: Value) -> Result<Place, String> {
    let field = match value {
        Value::Null => return Ok(Place::Any),
        Value::Bool(value) => value.into(),
        Value::Number(number) => number_field(&number)?,
        Value::String(text) => Field::Text(text),
        Value::Array(_) => return Err("tuples are flat, a list cannot stand in one".into()),
        Value::Object(object) => return object_place(&object),
    };
    Ok(Place::Value(field))
}

fn number_field(number: &Number) -> Result<Field, String> {
    if let Some(int) = number.as_i64() {
        return Ok(Field::Int(int));
    }
    match number.as_f64() {
        Some(float) if number.is_f64() => Ok(float.into()),
        _ => Err(format!(
            "{number} does not fit into an int; write {{\"uint\": {number}}}"
        )),
    }
}

fn object_place(object: &Map<String, Value>) -> Result<Place, String> {
    let kinds = r#"an object is one of {"uint": 17}, {"float": "nan"}, {"bytes": "00ff"}, {"type": "int"}, {"taken": 0}"#;
    let mut members = object.iter();
    let (Some((kind, value)), None) = (members.next(), members.next()) else {
        return Err(kinds.into());
    };
    let place = match (kind.as_str(), value) {
        ("uint", Value::Number(number)) => number.as_u64().map(|uint| Place::Value(uint.into())),
        ("float", Value::String(text)) => special_float(text).map(|f| Place::Value(f.into())),
        ("bytes", Value::String(text)) => {
            return Ok(Place::Value(Field::Bytes(from_hex(text)?)));
        }
        ("type", Value::String(name)) => type_named(name).map(Place::Typed),
        ("taken", Value::Number(number)) => {
            let index = number
                .as_u64()
                .and_then(|index| usize::try_from(index).ok());
            index.map(Place::Taken)
        }
        _ => None,
    };
    place.ok_or_else(|| kinds.into())
}

fn value(field: &Field) -> Value {
    match field {
        Field::Int(value) => json!(value),
        Field::Uint(value) => json!({ "uint": value }),
        Field::Float(value) => {
            let float = f64::from(*value);
            match show_special_float(float) {
                Some(text) => json!({ "float": text }),
                None => json!(float),
            }
        }
        Field::Bool(value) => json!(value),
        Field::Text(value) => json!(value),
        Field::Bytes(value) => json!({ "bytes": to_hex(value) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{parse_replacement, parse_template, parse_tuple};

    #[test]
    fn json_means_the_same_as_the_plain_syntax() {
        let json = r#"["a", 1, {"uint": 1}, 1.0, {"float": "-inf"}, {"bytes": "00ff"}, false]"#;
        let plain = r#"("a", 1, 1u, 1.0, -inf, x"00ff", false)"#;
        assert_eq!(parse_tuple(json), parse_tuple(plain));
        let template = parse_template(r#"["a", {"type": "uint"}, null]"#);
        assert_eq!(template, parse_template(r#"("a", uint, _)"#));
        let replacement = parse_replacement(r#"[{"taken": 2}, "b"]"#);
        assert_eq!(replacement, parse_replacement(r#"($2, "b")"#));
    }

    #[test]
    fn json_errors_name_tuple_and_field() {
        let told = |text: &str| parse_tuples(text).expect_err(text).to_string();
        assert_eq!(
            told(r#"[["a"], ["b", null]]"#),
            "tuple 1: field 1: a wildcard can stand in templates only"
        );
        assert_eq!(
            told("[[[1]]]"),
            "tuple 0: field 0: tuples are flat, a list cannot stand in one"
        );
        assert_eq!(
            told("[[9223372036854775808]]"),
            "tuple 0: field 0: 9223372036854775808 does not fit into an int; write {\"uint\": 9223372036854775808}"
        );
        for strange in [
            r#"{"uint": -1}"#,
            r#"{"uint": 1, "bytes": "00"}"#,
            "{}",
            r#"{"float": "1"}"#,
        ] {
            let told = told(&format!("[[{strange}]]"));
            assert!(
                told.starts_with("tuple 0: field 0: an object is one of"),
                "{told}"
            );
        }
        assert!(told("[1]").starts_with("not usable as JSON: invalid type: integer `1`"));
        assert!(told("[[1]").starts_with("not usable as JSON: EOF"));
        assert!(told(&"[".repeat(100_000)).starts_with("not usable as JSON: recursion limit"));
    }

    #[test]
    fn json_list_of_lists_as_a_tuple_space_writes_it() {
        let tuples = parse_tuples(r#"[["point", 1, 2], ["point", 3, 4.5], []]"#);
        let shown: Vec<String> = tuples
            .expect("tuples")
            .iter()
            .map(show_tuple_as_json)
            .collect();
        assert_eq!(shown, [r#"["point",1,2]"#, r#"["point",3,4.5]"#, "[]"]);
    }
}

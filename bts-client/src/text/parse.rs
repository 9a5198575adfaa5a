//! The plain syntax: `("task", 17, _)`. One pass, no recursion, no more places than a tuple may
//! have.

use bts_core::limits::{FIELDS_MAX, TUPLE_BYTES_MAX};

use super::ParseError;
use super::place::{Place, Role, type_named};
use crate::tuple::{Field, TupleError};

/// Longest text that is looked at. An escape needs up to ten bytes for one.
const TEXT_BYTES_MAX: usize = 10 * TUPLE_BYTES_MAX;

/// All places of a text in parentheses.
pub(super) fn places(text: &str, role: Role) -> Result<Vec<Place>, ParseError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TupleError::TooLong { bytes: text.len() }.into());
    }
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    scanner.expect('(', "a tuple starts with (")?;
    let mut places = Vec::new();
    loop {
        scanner.skip_space();
        if scanner.take(')') {
            break;
        }
        let start = scanner.at;
        let place = scanner.place()?;
        if let Some(objection) = place.objection(role) {
            return Err(scanner.error_at(start, objection));
        }
        places.push(place);
        if places.len() > FIELDS_MAX {
            return Err(TupleError::TooManyFields {
                fields: places.len(),
            }
            .into());
        }
        scanner.skip_space();
        if !scanner.take(',') && scanner.peek() != Some(')') {
            return Err(scanner.error("expected , or ) here"));
        }
    }
    scanner.skip_space();
    match scanner.peek() {
        None => Ok(places),
        Some(_) => Err(scanner.error("nothing may follow the ) of a tuple")),
    }
}

struct Scanner<'a> {
    text: &'a str,
    /// Byte offset of what comes next.
    at: usize,
}

impl<'a> Scanner<'a> {
    fn place(&mut self) -> Result<Place, ParseError> {
        if self.take('"') {
            return Ok(Place::Value(Field::Text(self.string()?)));
        }
        let start = self.at;
        let word = self.word();
        if word == "x" && self.take('"') {
            return Ok(Place::Value(Field::Bytes(self.bytes()?)));
        }
        classify(word).map_err(|reason| self.error_at(start, &reason))
    }

    /// The rest of a string, after its first quote.
    fn string(&mut self) -> Result<String, ParseError> {
        let start = self.at;
        let mut string = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(string),
                Some('\\') => string.push(self.escape()?),
                Some(other) => string.push(other),
                None => return Err(self.error_at(start, "the string has no end; it ends with \"")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let start = self.at;
        let escaped = match self.next() {
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('0') => Some('\0'),
            Some('u') => self.code_point(),
            Some(same @ ('"' | '\\' | '\'')) => Some(same),
            _ => None,
        };
        let escapes = r#"after \ one of " \ n r t 0 u{hexadecimal} is expected"#;
        escaped.ok_or_else(|| self.error_at(start, escapes))
    }

    fn code_point(&mut self) -> Option<char> {
        let rest = self.rest().strip_prefix('{')?;
        let (digits, _) = rest.split_once('}')?;
        let is_hex =
            (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = is_hex.then(|| u32::from_str_radix(digits, 16).ok())??;
        self.at += digits.len() + 2;
        char::from_u32(code)
    }

    /// The rest of `x"..."`, after its quote.
    fn bytes(&mut self) -> Result<Vec<u8>, ParseError> {
        let start = self.at;
        let Some((digits, _)) = self.rest().split_once('"') else {
            return Err(self.error("the bytes have no end; they end with \""));
        };
        self.at += digits.len() + 1;
        from_hex(digits).map_err(|reason| self.error_at(start, reason))
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '"');
        let (word, _) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        self.at += word.len();
        word
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn expect(&mut self, wanted: char, reason: &str) -> Result<(), ParseError> {
        if self.take(wanted) {
            return Ok(());
        }
        Err(self.error(reason))
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, reason: &str) -> ParseError {
        self.error_at(self.at, reason)
    }

    fn error_at(&self, at: usize, reason: &str) -> ParseError {
        let before = self.text.get(..at).unwrap_or(self.text);
        ParseError::Syntax {
            column: before.chars().count() + 1,
            reason: reason.into(),
        }
    }
}

/// What a word without quotes means.
fn classify(word: &str) -> Result<Place, String> {
    let place = match word {
        "" => return Err("a value is missing here".into()),
        "_" | "*" | "?" => Place::Any,
        "true" => Place::Value(true.into()),
        "false" => Place::Value(false.into()),
        _ => {
            if let Some(field_type) = type_named(word.strip_prefix('?').unwrap_or(word)) {
                return Ok(Place::Typed(field_type));
            }
            if let Some(index) = word.strip_prefix('$') {
                let index = index.parse().map_err(|_| "after $ a number is expected")?;
                return Ok(Place::Taken(index));
            }
            return number(word).map(Place::Value);
        }
    };
    Ok(place)
}

fn number(word: &str) -> Result<Field, String> {
    if let Some(float) = special_float(word) {
        return Ok(Field::Float(float.into()));
    }
    let shown: String = word.chars().take(40).collect();
    let (digits, is_uint) = match word.strip_suffix('u') {
        Some(digits) => (digits, true),
        None => (word, false),
    };
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!(
            "{shown} is no value; text is written in quotes: \"{shown}\""
        ));
    }
    let is_whole = unsigned.bytes().all(|b| b.is_ascii_digit());
    let field = match (is_whole, is_uint) {
        (true, true) => digits.parse().ok().map(Field::Uint),
        (true, false) => digits.parse().ok().map(Field::Int),
        (false, _) => return float(word).ok_or_else(|| format!("{shown} is no number")),
    };
    field.ok_or_else(|| match is_uint {
        true => format!("{shown} is no uint, which goes from 0 to {}", u64::MAX),
        false => format!("{shown} is no int; write it as a uint ({shown}u) or as a float"),
    })
}

fn float(word: &str) -> Option<Field> {
    let is_decimal = |b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    let value = word.parse::<f64>().ok()?;
    (value.is_finite() && word.bytes().all(is_decimal)).then(|| value.into())
}

/// Floats that have no digits: infinities, and NaNs by their bits.
pub(super) fn special_float(word: &str) -> Option<f64> {
    match word {
        "nan" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => {
            let digits = word.strip_prefix("nan:")?;
            let is_hex = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let bits = is_hex.then(|| u64::from_str_radix(digits, 16).ok())??;
            Some(f64::from_bits(bits)).filter(|float| float.is_nan())
        }
    }
}

/// Bytes of hexadecimal digits, two for each.
pub(super) fn from_hex(digits: &str) -> Result<Vec<u8>, &'static str> {
    let nibbles: Option<Vec<u8>> = digits
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let nibbles = nibbles.ok_or("bytes are written in hexadecimal digits")?;
    let pairs = nibbles.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err("bytes are written with two hexadecimal digits each");
    }
    Ok(pairs
        .map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble))
        .collect())
}

#[cfg(test)]
mod tests {
    use crate::text::{parse_replacement, parse_template, parse_tuple};
    use crate::tuple::{Field, Tuple};

    #[test]
    fn text_values_of_every_type() {
        let text = r#" ( "a\"\\\n\u{e9}" ,17,-3, 17u, 0.5,-1e3, true ,false,x"00fF", inf, nan, ) "#;
        let fields: Vec<Field> = vec![
            "a\"\\\né".into(),
            17i64.into(),
            (-3i64).into(),
            17u64.into(),
            0.5.into(),
            (-1000.0).into(),
            true.into(),
            false.into(),
            Field::Bytes(vec![0, 255]),
            f64::INFINITY.into(),
            f64::NAN.into(),
        ];
        assert_eq!(parse_tuple(text), Ok(Tuple(fields)));
        assert_eq!(parse_tuple("()"), Ok(Tuple(Vec::new())));
    }

    #[test]
    fn text_errors_say_where_and_what_to_write() {
        for (text, told) in [
            ("", "column 1: a tuple starts with ("),
            ("task, 17", "column 1: a tuple starts with ("),
            (
                "(task, 17)",
                "column 2: task is no value; text is written in quotes: \"task\"",
            ),
            ("(\"é\", 17", "column 9: expected , or ) here"),
            ("(\"a\" 17)", "column 6: expected , or ) here"),
            ("(\"a", "column 3: the string has no end; it ends with \""),
            (
                "(\"a\\q\")",
                "column 5: after \\ one of \" \\ n r t 0 u{hexadecimal} is expected",
            ),
            ("(\"\\u{d800}\")", "column 4: after \\ one of"),
            ("(1, , 2)", "column 5: a value is missing here"),
            ("(1) x", "column 5: nothing may follow the ) of a tuple"),
            ("((1))", "column 2: a value is missing here"),
            (
                "(x\"0\")",
                "column 4: bytes are written with two hexadecimal digits each",
            ),
            (
                "(x\"0g\")",
                "column 4: bytes are written in hexadecimal digits",
            ),
            (
                "(-1u)",
                "column 2: -1u is no uint, which goes from 0 to 18446744073709551615",
            ),
            (
                "(9223372036854775808)",
                "column 2: 9223372036854775808 is no int; write it as a uint (9223372036854775808u)",
            ),
            ("(1e999)", "column 2: 1e999 is no number"),
            ("(1.2.3)", "column 2: 1.2.3 is no number"),
            ("(1x)", "column 2: 1x is no number"),
            (
                "(int)",
                "column 2: a type can stand in templates only; text is written in quotes",
            ),
            ("(1, _)", "column 5: a wildcard can stand in templates only"),
            (
                "($0)",
                "column 2: a field of a taken tuple can stand in the replacements of a swap only",
            ),
            (
                &format!("({})", "1,".repeat(65)),
                "too large: 65 fields, at most 64 are allowed",
            ),
            (
                &format!("(x\"{}\")", "0".repeat(800_000)),
                "too large: 800005 bytes",
            ),
            (&format!("(x\"{}\")", "0".repeat(140_000)), "too large: 700"),
        ] {
            let found = parse_tuple(text).expect_err(text).to_string();
            assert!(found.starts_with(told), "{found:?} should say {told:?}");
        }
    }

    #[test]
    fn text_replacement_takes_fields_of_the_taken_tuple() {
        let taken = parse_tuple(r#"("task", 17, x"00")"#).expect("a tuple");
        let replacement = parse_replacement(r#"("done", $1, $2, $1)"#).expect("a replacement");
        let filled = replacement.fill(&taken).expect("all fields are there");
        assert_eq!(Ok(filled), parse_tuple(r#"("done", 17, x"00", 17)"#));
        let told = replacement.check(2).expect_err("no $2").to_string();
        assert_eq!(
            told,
            "$2 is used, but the taken tuple has 2 fields, the first of them $0"
        );
        assert!(parse_replacement("(_)").is_err() && parse_template("($1)").is_err());
        assert!(parse_replacement("($-1)").is_err());
    }
}

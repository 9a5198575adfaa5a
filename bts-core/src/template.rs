//! Templates: what `rd` and `in` ask for (PROTOCOL section 2).

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::limits::FIELDS_MAX;
use crate::tuple::{Field, FieldType, Tuple, TupleError, check_size};

/// What one field of a template accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pattern {
    /// This value only.
    Exact(Field),
    /// Any value of this type: a *formal* in Linda's words.
    Typed(FieldType),
    /// Anything.
    Any,
}

impl Pattern {
    /// True if the field is acceptable.
    pub fn accepts(&self, field: &Field) -> bool {
        match self {
            Self::Exact(value) => value == field,
            Self::Typed(field_type) => *field_type == field.field_type(),
            Self::Any => true,
        }
    }
}

/// A template. It matches tuples of its own length whose fields its patterns accept.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Template(
    #[serde(deserialize_with = "codec::at_most::<FIELDS_MAX, _, _>")] pub Vec<Pattern>,
);

impl Template {
    /// The patterns.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Number of fields of the tuples it matches.
    pub fn arity(&self) -> usize {
        self.0.len()
    }

    /// True if the tuple matches.
    pub fn matches(&self, tuple: &Tuple) -> bool {
        self.arity() == tuple.arity()
            && self
                .0
                .iter()
                .zip(tuple.fields())
                .all(|(pattern, field)| pattern.accepts(field))
    }

    /// Checks the bounds that hold for every template.
    pub fn check(&self) -> Result<(), TupleError> {
        check_size(self.arity(), self)
    }
}

impl From<Tuple> for Template {
    /// The template that matches equal tuples only.
    fn from(tuple: Tuple) -> Self {
        Self(tuple.0.into_iter().map(Pattern::Exact).collect())
    }
}

impl FromIterator<Pattern> for Template {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple() -> Tuple {
        Tuple(vec!["task".into(), 17u64.into(), (-1i64).into()])
    }

    #[test]
    fn template_matches_values_types_and_wildcards() {
        let exact = Pattern::Exact("task".into());
        let typed = Pattern::Typed(FieldType::Uint);
        assert!(Template(vec![exact.clone(), typed, Pattern::Any]).matches(&tuple()));
        assert!(
            !Template(vec![
                exact.clone(),
                Pattern::Typed(FieldType::Int),
                Pattern::Any
            ])
            .matches(&tuple())
        );
        assert!(
            !Template(vec![exact, Pattern::Any]).matches(&tuple()),
            "other length"
        );
        assert!(Template::from(tuple()).matches(&tuple()));
    }

    #[test]
    fn template_types_of_equal_numbers_differ() {
        let one = Template(vec![Pattern::Exact(1u64.into())]);
        assert!(!one.matches(&Tuple(vec![1i64.into()])));
    }

    #[test]
    fn template_floats_match_by_bits() {
        let nan = Template(vec![Pattern::Exact(f64::NAN.into())]);
        assert!(nan.matches(&Tuple(vec![f64::NAN.into()])));
        let zero = Template(vec![Pattern::Exact(0.0.into())]);
        assert!(!zero.matches(&Tuple(vec![(-0.0).into()])));
    }
}

//! What may stand at one place of a tuple, a template or a replacement, before it is known which of
//! the three it belongs to.

use thiserror::Error;

use super::ParseError;
use crate::template::{Pattern, Template};
use crate::tuple::{Field, FieldType, Tuple, type_name};

/// What is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Tuple,
    Template,
    Replacement,
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Value(Field),
    Typed(FieldType),
    Any,
    /// This field of the tuple that is replaced.
    Taken(usize),
}

impl Place {
    /// Why this cannot stand there, if so.
    pub(super) fn objection(&self, role: Role) -> Option<&'static str> {
        match (self, role) {
            (Self::Value(_), _)
            | (Self::Typed(_) | Self::Any, Role::Template)
            | (Self::Taken(_), Role::Replacement) => None,
            (Self::Typed(_), Role::Tuple | Role::Replacement) => {
                Some("a type can stand in templates only; text is written in quotes")
            }
            (Self::Any, Role::Tuple | Role::Replacement) => {
                Some("a wildcard can stand in templates only")
            }
            (Self::Taken(_), Role::Tuple | Role::Template) => {
                Some("a field of a taken tuple can stand in the replacements of a swap only")
            }
        }
    }
}

/// The type of field with this name.
pub(super) fn type_named(name: &str) -> Option<FieldType> {
    use FieldType::{Bool, Bytes, Float, Int, Text, Uint};
    [Int, Uint, Float, Bool, Text, Bytes]
        .into_iter()
        .find(|field_type| type_name(*field_type) == name)
}

pub(super) fn tuple(places: Vec<Place>) -> Result<Tuple, ParseError> {
    let fields = places.into_iter().filter_map(|place| match place {
        Place::Value(field) => Some(field),
        Place::Typed(_) | Place::Any | Place::Taken(_) => None,
    });
    let tuple: Tuple = fields.collect();
    tuple.check()?;
    Ok(tuple)
}

pub(super) fn template(places: Vec<Place>) -> Result<Template, ParseError> {
    let patterns = places.into_iter().filter_map(|place| match place {
        Place::Value(field) => Some(Pattern::Exact(field)),
        Place::Typed(field_type) => Some(Pattern::Typed(field_type)),
        Place::Any => Some(Pattern::Any),
        Place::Taken(_) => None,
    });
    let template: Template = patterns.collect();
    template.check()?;
    Ok(template)
}

/// A tuple to be put in place of a taken one, some fields of which may be those of the taken one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    places: Vec<Place>,
}

/// A replacement names a field that the taken tuple does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("${index} is used, but the taken tuple has {arity} fields, the first of them $0")]
pub struct NoSuchField {
    /// The field named.
    pub index: usize,
    /// Fields there are.
    pub arity: usize,
}

impl Replacement {
    pub(super) fn new(places: Vec<Place>) -> Self {
        Self { places }
    }

    /// Checks that tuples with so many fields have all those that are named here.
    pub fn check(&self, arity: usize) -> Result<(), NoSuchField> {
        self.places.iter().try_for_each(|place| match place {
            Place::Taken(index) if *index >= arity => Err(NoSuchField {
                index: *index,
                arity,
            }),
            _ => Ok(()),
        })
    }

    /// The tuple to be put.
    pub fn fill(&self, taken: &Tuple) -> Result<Tuple, NoSuchField> {
        self.check(taken.arity())?;
        let field = |place: &Place| match place {
            Place::Value(field) => Some(field.clone()),
            Place::Taken(index) => taken.fields().get(*index).cloned(),
            Place::Typed(_) | Place::Any => None,
        };
        Ok(self.places.iter().filter_map(field).collect())
    }
}

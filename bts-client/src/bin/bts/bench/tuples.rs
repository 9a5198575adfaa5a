//! The tuples that the benchmark writes and looks for. All have a tag, a queue, a number that no other
//! tuple has, and bytes that make them as long as was asked for.

use bts_client::template::Pattern;
use bts_client::tuple::FieldType;
use bts_client::{Field, Template, Tuple};
use bts_core::codec;

/// Encoded bytes, and a few more, of the longest tuple without padding.
pub(super) const SIZE_MIN: u32 = 40;

/// What tuples are for, so that workloads do not take one another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// They stay.
    Live,
    /// They are written by `out` and taken by `inp`.
    Job,
    /// They are handed from one to another.
    Hand,
    /// Each is replaced by the next, again and again.
    Count,
    /// The one that all want.
    Lock,
    /// They are written by producers for takers.
    Work,
    /// They come and go.
    Mixed,
}

impl Tag {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Job => "job",
            Self::Hand => "hand",
            Self::Count => "count",
            Self::Lock => "lock",
            Self::Work => "work",
            Self::Mixed => "mixed",
        }
    }
}

/// A tuple of `size` encoded bytes.
pub(super) fn tuple(tag: Tag, queue: usize, number: u64, size: u32) -> Tuple {
    let of = |padding: usize| {
        Tuple(vec![
            tag.name().into(),
            Field::Uint(queue as u64),
            Field::Uint(number),
            Field::Bytes(vec![7; padding]),
        ])
    };
    let size = size as usize;
    let bare = codec::encoded_len(&of(0));
    let tuple = of(size.saturating_sub(bare));
    // The length of the padding has a length of its own.
    match codec::encoded_len(&tuple).saturating_sub(size) {
        0 => tuple,
        excess => of(size.saturating_sub(bare + excess)),
    }
}

/// The number of a tuple that this file made.
pub(super) fn number_of(tuple: &Tuple) -> Option<u64> {
    match tuple.fields().get(2) {
        Some(Field::Uint(number)) => Some(*number),
        _ => None,
    }
}

/// Finds the tuple with this number.
pub(super) fn the_one(tag: Tag, queue: usize, number: u64) -> Template {
    Template(vec![
        Pattern::Exact(tag.name().into()),
        Pattern::Exact(Field::Uint(queue as u64)),
        Pattern::Exact(Field::Uint(number)),
        Pattern::Typed(FieldType::Bytes),
    ])
}

/// Finds any tuple of a queue.
pub(super) fn any_of(tag: Tag, queue: usize) -> Template {
    Template(vec![
        Pattern::Exact(tag.name().into()),
        Pattern::Exact(Field::Uint(queue as u64)),
        Pattern::Typed(FieldType::Uint),
        Pattern::Typed(FieldType::Bytes),
    ])
}

/// Finds this very tuple.
pub(super) fn exactly(tuple: &Tuple) -> Template {
    tuple.fields().iter().cloned().map(Pattern::Exact).collect()
}

/// Finds all tuples of the benchmark.
pub(super) fn everything() -> Template {
    Template(vec![Pattern::Any; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_have_the_size_that_was_asked_for() {
        for size in [SIZE_MIN, 64, 250, 251, 252, 253, 300, 65_000] {
            for (queue, number) in [(0, 0), (300, 70_000), (262_144, u64::MAX)] {
                let tuple = tuple(Tag::Live, queue, number, size);
                let (found, size) = (codec::encoded_len(&tuple), size as usize);
                // No tuple has just the length at which the length of its padding grows.
                assert!(found <= size && found + 2 >= size, "{found} is not {size}");
                assert!(the_one(Tag::Live, queue, number).matches(&tuple));
                assert!(any_of(Tag::Live, queue).matches(&tuple));
                assert!(exactly(&tuple).matches(&tuple) && everything().matches(&tuple));
                assert_eq!(number_of(&tuple), Some(number));
            }
        }
    }
}

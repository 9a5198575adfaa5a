//! Finding what matches without looking at the rest. Templates (and, the other way round, tuples)
//! are sorted by *shape*: which positions are exact, typed or free. Within a shape everything that
//! matches has one key, the projection of the bound positions, so a look-up is one range.

mod space;

use std::collections::{BTreeMap, BTreeSet};

use crate::codec;
use crate::crypto::hash::{Digest, Domain, Hasher};
use crate::template::{Pattern, Template};
use crate::tuple::Tuple;

pub(super) use space::{Place, Placed, SpaceIndex};

/// How each position of a template is bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape(Vec<Binding>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Exact,
    Typed,
    Free,
}

impl Shape {
    pub(super) fn of(template: &Template) -> Self {
        let bound = |pattern: &Pattern| match pattern {
            Pattern::Exact(_) => Binding::Exact,
            Pattern::Typed(_) => Binding::Typed,
            Pattern::Any => Binding::Free,
        };
        Self(template.patterns().iter().map(bound).collect())
    }

    fn fits(&self, tuple: &Tuple) -> bool {
        self.0.len() == tuple.arity()
    }

    /// What all tuples that match one template of this shape have in common.
    pub(super) fn project_tuple(&self, tuple: &Tuple) -> Digest {
        let hasher = Hasher::new(Domain::Projection);
        let bounds = self.0.iter().zip(tuple.fields());
        bounds
            .fold(hasher, |hasher, (bound, field)| match bound {
                Binding::Exact => hasher.part(&codec::encode(field)),
                Binding::Typed => hasher.part(&[field.field_type() as u8]),
                Binding::Free => hasher,
            })
            .finish()
    }

    /// The same for the template itself.
    pub(super) fn project_template(&self, template: &Template) -> Digest {
        let hasher = Hasher::new(Domain::Projection);
        let bound = |hasher: Hasher, pattern: &Pattern| match pattern {
            Pattern::Exact(field) => hasher.part(&codec::encode(field)),
            Pattern::Typed(field_type) => hasher.part(&[*field_type as u8]),
            Pattern::Any => hasher,
        };
        template.patterns().iter().fold(hasher, bound).finish()
    }
}

/// Templates that wait for tuples, found by the tuple.
#[derive(Debug)]
pub(super) struct TemplateIndex<K> {
    shapes: BTreeMap<Shape, BTreeMap<Digest, BTreeSet<K>>>,
}

impl<K> Default for TemplateIndex<K> {
    fn default() -> Self {
        Self {
            shapes: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> TemplateIndex<K> {
    pub(super) fn insert(&mut self, template: &Template, key: K) {
        let shape = Shape::of(template);
        let projection = shape.project_template(template);
        self.shapes
            .entry(shape)
            .or_default()
            .entry(projection)
            .or_default()
            .insert(key);
    }

    pub(super) fn remove(&mut self, template: &Template, key: &K) {
        let shape = Shape::of(template);
        let projection = shape.project_template(template);
        let Some(projections) = self.shapes.get_mut(&shape) else {
            return;
        };
        if let Some(keys) = projections.get_mut(&projection) {
            keys.remove(key);
            if keys.is_empty() {
                projections.remove(&projection);
            }
        }
        if projections.is_empty() {
            self.shapes.remove(&shape);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// The keys of all templates that may match the tuple; equal projections are as good as
    /// certain to match.
    pub(super) fn matching(&self, tuple: &Tuple) -> Vec<K> {
        let fitting = self.shapes.iter().filter(|(shape, _)| shape.fits(tuple));
        let found = fitting.filter_map(|(shape, keys)| keys.get(&shape.project_tuple(tuple)));
        found.flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::ContentHash;
    use crate::limits::SHAPES_MAX;
    use crate::tuple::{Field, FieldType};

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 33) % bound
        }

        fn field(&mut self) -> Field {
            match self.below(3) {
                0 => Field::Int(self.below(3) as i64),
                1 => Field::Uint(self.below(3)),
                _ => Field::Text(["a", "b"][self.below(2) as usize].into()),
            }
        }

        fn tuple(&mut self) -> Tuple {
            (0..1 + self.below(3)).map(|_| self.field()).collect()
        }

        fn template(&mut self) -> Template {
            let mut pattern = || match self.below(3) {
                0 => Pattern::Exact(self.field()),
                1 => Pattern::Typed([FieldType::Int, FieldType::Uint][self.below(2) as usize]),
                _ => Pattern::Any,
            };
            (0..3).map(|_| pattern()).collect()
        }
    }

    #[derive(Debug)]
    struct Item(u64, Tuple);

    impl Placed for Item {
        fn head(&self) -> u64 {
            self.place().0.head()
        }

        fn place(&self) -> Place {
            // Some begin alike.
            let mut ring = Hasher::new(Domain::Ring).number(self.0).finish();
            ring.0[..8].copy_from_slice(&(self.0 / 3).to_be_bytes());
            (ring, ContentHash(ring))
        }

        fn tuple(&self) -> Tuple {
            self.1.clone()
        }
    }

    #[test]
    fn index_agrees_with_a_scan() {
        let mut random = Random(3);
        let mut index = SpaceIndex::default();
        let mut scan: BTreeMap<Place, Arc<Item>> = BTreeMap::new();
        for step in 0..3000 {
            let item = Arc::new(Item(random.below(60), random.tuple()));
            let place = item.place();
            match random.below(3) {
                0 => {
                    let there = scan.remove(&place);
                    index.remove(there.as_ref().unwrap_or(&item));
                }
                _ if !scan.contains_key(&place) => {
                    index.insert(&item, &item.1);
                    scan.insert(place, item);
                }
                _ => {}
            }
            assert_eq!(index.len(), scan.len());
            let template = random.template();
            let mut start = Hasher::new(Domain::RingStart).number(step).finish();
            start.0[..8].copy_from_slice(&random.below(20).to_be_bytes());
            let found: Vec<_> = index
                .matches(&template, start)
                .map(|item| item.place())
                .collect();
            let matching = || {
                scan.iter()
                    .filter(|(_, item)| template.matches(&item.1))
                    .map(|(p, _)| *p)
            };
            let after = matching().filter(|place| place.0 >= start);
            let expected: Vec<_> = after
                .chain(matching().filter(|place| place.0 < start))
                .collect();
            assert_eq!(found, expected, "step {step}");
        }
        assert!(index.shapes.len() > 10);
    }

    /// However little of it is made at a time, and whatever comes and goes meanwhile.
    #[test]
    fn index_made_in_slices_is_that_made_at_once() {
        let mut random = Random(5);
        for round in 0..200 {
            let (mut sliced, mut whole) = (SpaceIndex::default(), SpaceIndex::default());
            let mut there: BTreeMap<Place, Arc<Item>> = BTreeMap::new();
            let mut change = |random: &mut Random, all: [&mut SpaceIndex<Item>; 2]| {
                let item = Arc::new(Item(random.below(40), random.tuple()));
                match there.remove(&item.place()) {
                    Some(item) => all.into_iter().for_each(|index| index.remove(&item)),
                    None => {
                        all.into_iter()
                            .for_each(|index| index.insert(&item, &item.1));
                        there.insert(item.place(), item);
                    }
                }
            };
            (0..30).for_each(|_| change(&mut random, [&mut sliced, &mut whole]));
            let (template, slice) = (random.template(), 1 + random.below(4) as usize);
            let shape = Shape::of(&template);
            while !sliced.make(&shape, slice) {
                assert!(!sliced.is_made(&template, slice), "it was not gone on");
                change(&mut random, [&mut sliced, &mut whole]);
            }
            let places = |index: &mut SpaceIndex<Item>| -> Vec<_> {
                let found = index.matches(&template, Digest([0; 32]));
                found.map(|item| item.place()).collect()
            };
            assert_eq!(places(&mut sliced), places(&mut whole), "round {round}");
        }
    }

    #[test]
    fn index_of_little_is_made_at_once_and_of_much_in_slices() {
        let mut index = SpaceIndex::default();
        let add = |index: &mut SpaceIndex<Item>, i: u64, bytes: usize| {
            let fields = [Field::Uint(i), Field::Bytes(vec![0; bytes])];
            let item = Arc::new(Item(i, fields.into_iter().collect()));
            index.insert(&item, &item.1);
        };
        (0..10).for_each(|i| add(&mut index, i, 0));
        let [all, typed, other]: [Template; 3] = [
            [Pattern::Any, Pattern::Any].into_iter().collect(),
            [Pattern::Typed(FieldType::Uint), Pattern::Any]
                .into_iter()
                .collect(),
            [Pattern::Any, Pattern::Typed(FieldType::Bytes)]
                .into_iter()
                .collect(),
        ];
        assert!(!index.is_made(&all, 9) && index.shapes.is_empty());
        assert!(index.is_made(&all, 10));
        let made = |index: &mut SpaceIndex<Item>, of: &Template| {
            let shape = Shape::of(of);
            1 + (0..1000).take_while(|_| !index.make(&shape, 4)).count()
        };
        assert_eq!(made(&mut index, &typed), 3);
        assert!(index.is_made(&typed, 4));
        assert_eq!(index.matches(&typed, Digest([0; 32])).count(), 10);
        (10..20).for_each(|i| add(&mut index, i, 8 << 10));
        let slices = made(&mut index, &other);
        assert!(slices >= 10, "a long one is a slice of its own: {slices}");
    }

    #[test]
    fn index_keeps_a_bounded_number_of_shapes() {
        let mut index = SpaceIndex::<Item>::default();
        for bits in 0..200u32 {
            let pattern = |bit: u32| match bits >> bit & 1 {
                1 => Pattern::Any,
                _ => Pattern::Typed(FieldType::Int),
            };
            let template: Template = (0..8).map(pattern).collect();
            assert_eq!(index.matches(&template, Digest([0; 32])).count(), 0);
        }
        assert_eq!(index.shapes.len(), SHAPES_MAX);
    }

    #[test]
    fn template_index_agrees_with_a_scan() {
        let mut random = Random(11);
        let mut index = TemplateIndex::default();
        let mut scan: BTreeMap<u64, Template> = BTreeMap::new();
        for step in 0..2000 {
            let key = random.below(40);
            if let Some(template) = scan.remove(&key) {
                index.remove(&template, &key);
            } else {
                let template = random.template();
                index.insert(&template, key);
                scan.insert(key, template);
            }
            let tuple = random.tuple();
            let found: BTreeSet<_> = index.matching(&tuple).into_iter().collect();
            let expected = scan
                .iter()
                .filter(|(_, t)| t.matches(&tuple))
                .map(|(k, _)| *k);
            assert_eq!(found, expected.collect(), "step {step}");
        }
        scan.iter()
            .for_each(|(key, template)| index.remove(template, key));
        assert!(index.shapes.is_empty(), "nothing is left behind");
    }
}

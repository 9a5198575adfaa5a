//! What is present in one space, along the ring, and by each shape that templates had.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::Arc;

use super::Shape;
use crate::codec;
use crate::crypto::hash::Digest;
use crate::ids::ContentHash;
use crate::limits::SHAPES_MAX;
use crate::template::Template;
use crate::tuple::Tuple;

/// An entry's place in an index: its place on the ring, and which content of it.
pub(in crate::replica) type Place = (Digest, ContentHash);

/// What can be indexed.
pub(in crate::replica) trait Placed: 'static {
    /// Where it stands.
    fn place(&self) -> Place;
    /// The first bytes of its place on the ring.
    fn head(&self) -> u64;
    /// Its tuple.
    fn tuple(&self) -> Tuple;
}

/// For so many bytes of a tuple it counts as one entry more when its shape is indexed.
const LONG_BYTES: usize = 1 << 10;

/// The contents of one space. It points to them, and looks at their tuples when a shape of templates
/// comes for the first time.
#[derive(Debug)]
pub(in crate::replica) struct SpaceIndex<T: Placed> {
    all: BTreeSet<Indexed<(), T>>,
    pub(super) shapes: BTreeMap<Shape, ShapeIndex<T>>,
    uses: u64,
}

/// Who matches the templates of one shape.
#[derive(Debug)]
pub(super) struct ShapeIndex<T: Placed> {
    places: BTreeSet<Indexed<Projection, T>>,
    /// From where on the ring it still has to be made; what came since it was begun is in it.
    missing: Option<Bound<Place>>,
    last_use: u64,
}

impl<T: Placed> Default for SpaceIndex<T> {
    fn default() -> Self {
        Self {
            all: BTreeSet::new(),
            shapes: BTreeMap::new(),
            uses: 0,
        }
    }
}

impl<T: Placed> SpaceIndex<T> {
    /// Contents present.
    pub(in crate::replica) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds one that has this tuple.
    pub(in crate::replica) fn insert(&mut self, item: &Arc<T>, tuple: &Tuple) {
        for (shape, index) in self.shapes.iter_mut().filter(|(s, _)| s.fits(tuple)) {
            let projection = projection(shape.project_tuple(tuple));
            index.places.insert(Indexed::new(projection, item));
        }
        self.all.insert(Indexed::new((), item));
    }

    /// Takes in many at once, before any shape was asked for.
    pub(in crate::replica) fn fill(&mut self, items: &[&Arc<T>]) {
        assert!(self.len() == 0 && self.shapes.is_empty(), "it was empty");
        self.all = items.iter().map(|item| Indexed::new((), item)).collect();
    }

    pub(in crate::replica) fn remove(&mut self, item: &Arc<T>) {
        if !self.all.remove(&Indexed::new((), item)) || self.shapes.is_empty() {
            return;
        }
        let tuple = item.tuple();
        for (shape, index) in self.shapes.iter_mut().filter(|(s, _)| s.fits(&tuple)) {
            let projection = projection(shape.project_tuple(&tuple));
            index.places.remove(&Indexed::new(projection, item));
        }
    }

    /// True if the index for such templates is there, or is made by looking at no more than `slice` entries.
    pub(in crate::replica) fn is_made(&mut self, template: &Template, slice: usize) -> bool {
        let shape = Shape::of(template);
        match self.shapes.get(&shape) {
            Some(index) => index.missing.is_none() || mutant!(IndexUsedTooEarly),
            None => self.len() <= slice && self.make(&shape, slice),
        }
    }

    /// What matches the template, as good as certainly, along the ring from `start`, once around. Makes the index
    /// whole that it needs.
    pub(in crate::replica) fn matches(
        &mut self,
        template: &Template,
        start: Digest,
    ) -> impl Iterator<Item = &Arc<T>> {
        let shape = Shape::of(template);
        let key = projection(shape.project_template(template));
        if !mutant!(IndexUsedTooEarly) || !self.shapes.contains_key(&shape) {
            self.make(&shape, usize::MAX);
        }
        self.uses += 1;
        let index = self.shapes.get_mut(&shape).expect("made above");
        index.last_use = self.uses;
        let places = &self.shapes.get(&shape).expect("indexed above").places;
        let at = |ring: Digest, hash: [u8; 32]| At(key, (ring, ContentHash(Digest(hash))));
        let from = at(start, [0; 32]);
        let low = at(Digest([0; 32]), [0; 32]);
        let high = at(Digest([255; 32]), [255; 32]);
        let (from, low, high): (&dyn Key, &dyn Key, &dyn Key) = (&from, &low, &high);
        let after = places.range::<dyn Key, _>((Included(from), Included(high)));
        let before = places.range::<dyn Key, _>((Included(low), Excluded(from)));
        after.chain(before).map(|indexed| &indexed.item)
    }

    /// Begins an index, unless there is one, and forgets the one longest unused beyond the bound.
    fn begin(&mut self, shape: &Shape) {
        if self.shapes.contains_key(shape) {
            return;
        }
        if self.shapes.len() >= SHAPES_MAX {
            let whole = self.shapes.iter().filter(|(_, i)| i.missing.is_none());
            let oldest = whole.min_by_key(|(_, index)| index.last_use);
            let oldest = oldest.map(|(shape, _)| shape.clone());
            oldest.and_then(|shape| self.shapes.remove(&shape));
        }
        let index = ShapeIndex {
            places: BTreeSet::new(),
            missing: Some(Unbounded),
            last_use: self.uses,
        };
        self.shapes.insert(shape.clone(), index);
    }

    /// Makes an index as far as so many entries go, of which a long one counts for several; true if it is whole.
    pub(in crate::replica) fn make(&mut self, shape: &Shape, slice: usize) -> bool {
        self.begin(shape);
        let index = self.shapes.get_mut(shape).expect("it was begun");
        let Some(from) = &index.missing else {
            return true;
        };
        // Who has just made it wants to use it.
        (self.uses, index.last_use) = (self.uses + 1, self.uses + 1);
        let from = from.map(|place| At(Projection::default(), place));
        let from = from.as_ref().map(|at| {
            let at: &dyn Key = at;
            at
        });
        let mut rest = self.all.range::<dyn Key, _>((from, Unbounded));
        let (mut last, mut spent, mut places) = (None, 0, Vec::new());
        while spent < slice.max(1)
            && let Some(Indexed { item, .. }) = rest.next()
        {
            let tuple = item.tuple();
            spent += 1 + codec::encoded_len(&tuple) / LONG_BYTES;
            if shape.fits(&tuple) {
                let projection = projection(shape.project_tuple(&tuple));
                places.push(Indexed::new(projection, item));
            }
            last = Some(item);
        }
        // What is put into an empty one at once is sorted first, which is faster.
        match index.places.is_empty() {
            true => index.places = places.into_iter().collect(),
            false => index.places.extend(places),
        }
        let is_whole = rest.next().is_none();
        index.missing = last
            .filter(|_| !is_whole)
            .map(|item| Excluded(item.place()));
        is_whole
    }
}

/// Half of the digest of what is bound: still more than anybody can find a tuple for that falls among
/// what others look for.
type Projection = [u8; 16];

fn projection(digest: Digest) -> Projection {
    let (half, _) = digest.0.split_first_chunk().expect("a digest is longer");
    *half
}

/// What indices are sorted by: the projection, and then the place, whose first bytes are at hand.
trait Key {
    fn projection(&self) -> Projection;
    fn head(&self) -> u64;
    fn place(&self) -> Place;
}

/// Elements of one index are compared by this as well: what they are is known then.
fn compare<K: Key + ?Sized>(one: &K, other: &K) -> Ordering {
    let by_projection = one.projection().cmp(&other.projection());
    let by_head = by_projection.then_with(|| one.head().cmp(&other.head()));
    by_head.then_with(|| one.place().cmp(&other.place()))
}

impl Ord for dyn Key {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other)
    }
}

impl PartialOrd for dyn Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Key {}

/// A place to look for.
struct At(Projection, Place);

impl Key for At {
    fn projection(&self) -> Projection {
        self.0
    }

    fn head(&self) -> u64 {
        self.1.0.head()
    }

    fn place(&self) -> Place {
        self.1
    }
}

/// An element of an index.
#[derive(Debug)]
struct Indexed<P, T> {
    projection: P,
    head: u64,
    item: Arc<T>,
}

impl<P, T: Placed> Indexed<P, T> {
    fn new(projection: P, item: &Arc<T>) -> Self {
        Self {
            projection,
            head: item.head(),
            item: Arc::clone(item),
        }
    }
}

impl<T: Placed> Key for Indexed<Projection, T> {
    fn projection(&self) -> Projection {
        self.projection
    }

    fn head(&self) -> u64 {
        self.head
    }

    fn place(&self) -> Place {
        self.item.place()
    }
}

/// Where everything is, nothing is bound.
impl<T: Placed> Key for Indexed<(), T> {
    fn projection(&self) -> Projection {
        Projection::default()
    }

    fn head(&self) -> u64 {
        self.head
    }

    fn place(&self) -> Place {
        self.item.place()
    }
}

impl<P: 'static, T: Placed> Borrow<dyn Key> for Indexed<P, T>
where
    Self: Key,
{
    fn borrow(&self) -> &(dyn Key + 'static) {
        self
    }
}

impl<P: 'static, T: Placed> Ord for Indexed<P, T>
where
    Self: Key,
{
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other)
    }
}

impl<P: 'static, T: Placed> PartialOrd for Indexed<P, T>
where
    Self: Key,
{
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: 'static, T: Placed> PartialEq for Indexed<P, T>
where
    Self: Key,
{
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<P: 'static, T: Placed> Eq for Indexed<P, T> where Self: Key {}

//! Maps by entry whose order nobody sees. Ids are long, and alike to their last bytes where one session
//! wrote many; so they are compared by a mark first, which seldom leaves anything else to compare.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::ranges::WriterSession;
use crate::ids::EntryId;

/// What is known of entries, in an order that is the same in each run and has no meaning.
#[derive(Debug)]
pub(super) struct IdMap<V>(BTreeMap<MarkedId, V>);

/// An id that is compared by its mark first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MarkedId {
    mark: u64,
    id: EntryId,
}

impl MarkedId {
    /// The id itself.
    pub(super) fn id(&self) -> &EntryId {
        &self.id
    }
}

impl From<MarkedId> for EntryId {
    fn from(marked: MarkedId) -> Self {
        marked.id
    }
}

impl From<EntryId> for MarkedId {
    fn from(id: EntryId) -> Self {
        Self {
            mark: id.mark(),
            id,
        }
    }
}

/// A place in such an order.
trait Marked {
    fn mark(&self) -> u64;
    fn id(&self) -> &EntryId;
}

impl Marked for MarkedId {
    fn mark(&self) -> u64 {
        self.mark
    }

    fn id(&self) -> &EntryId {
        &self.id
    }
}

/// A place to look for.
struct At<'a>(u64, &'a EntryId);

impl Marked for At<'_> {
    fn mark(&self) -> u64 {
        self.0
    }

    fn id(&self) -> &EntryId {
        self.1
    }
}

impl Ord for dyn Marked + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_mark = self.mark().cmp(&other.mark());
        by_mark.then_with(|| self.id().cmp(other.id()))
    }
}

impl PartialOrd for dyn Marked + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Marked + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Marked + '_ {}

impl Ord for MarkedId {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other): (&dyn Marked, &dyn Marked) = (self, other);
        one.cmp(other)
    }
}

impl PartialOrd for MarkedId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> Borrow<dyn Marked + 'a> for MarkedId {
    fn borrow(&self) -> &(dyn Marked + 'a) {
        self
    }
}

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> IdMap<V> {
    pub(super) fn get(&self, id: &EntryId) -> Option<&V> {
        let at = At(id.mark(), id);
        self.0.get::<dyn Marked>(&at)
    }

    pub(super) fn get_mut(&mut self, id: &EntryId) -> Option<&mut V> {
        let at = At(id.mark(), id);
        self.0.get_mut::<dyn Marked>(&at)
    }

    pub(super) fn contains_key(&self, id: &EntryId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn insert(&mut self, id: EntryId, value: V) -> Option<V> {
        self.0.insert(id.into(), value)
    }

    /// What is there, or this.
    pub(super) fn get_or_insert_with(&mut self, id: &EntryId, new: impl FnOnce() -> V) -> &mut V {
        self.0.entry(id.clone().into()).or_insert_with(new)
    }

    pub(super) fn remove(&mut self, id: &EntryId) -> Option<V> {
        let at = At(id.mark(), id);
        self.0.remove::<dyn Marked>(&at)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The roots of a session from one counter to another, in order of these.
    pub(super) fn roots_within(
        &self,
        session: &WriterSession,
        seqs: RangeInclusive<u64>,
    ) -> Vec<EntryId> {
        let (first, last) = (*seqs.start(), *seqs.end());
        if last.saturating_sub(first) < self.len() as u64 {
            let all = seqs.map(|seq| session.id(seq));
            return all.filter(|id| self.contains_key(id)).collect();
        }
        let seq_of = |id: &EntryId| session.seq_of(id).map(|seq| seq.0);
        let within = |id: &&EntryId| seq_of(id).is_some_and(|seq| seqs.contains(&seq));
        let mut found: Vec<_> = self.keys().filter(within).cloned().collect();
        found.sort_unstable();
        found
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &EntryId> {
        self.0.keys().map(MarkedId::id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&EntryId, &V)> {
        self.0.iter().map(|(marked, value)| (marked.id(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PublicKey, Seq, Session, SpaceName};

    fn ids() -> Vec<EntryId> {
        let space = SpaceName::new("s").expect("legal");
        let mut ids = Vec::new();
        for (session, seq) in (0..4).flat_map(|session| (0..40).map(move |seq| (session, seq))) {
            let key = PublicKey([(session % 2) as u8; 32]);
            let root = EntryId::written(space.clone(), key, Session(session), Seq(seq));
            let put = root.put(seq as u16 % 3).expect("short");
            ids.extend([root, put]);
        }
        ids
    }

    /// The stupid twin is an ordinary map.
    #[test]
    fn id_map_is_a_map() {
        let (mut map, mut twin) = (IdMap::default(), BTreeMap::new());
        for (number, id) in ids().iter().enumerate() {
            assert_eq!(
                map.insert(id.clone(), number),
                twin.insert(id.clone(), number)
            );
        }
        for id in ids().iter().step_by(3) {
            assert_eq!(map.remove(id), twin.remove(id));
            *map.get_or_insert_with(id, || 7) += 1;
            twin.insert(id.clone(), 8);
            assert_eq!(map.get_mut(id).copied(), Some(8));
        }
        for id in ids().iter().step_by(5) {
            assert_eq!(map.remove(id), twin.remove(id));
            assert!(!map.contains_key(id) && map.get(id).is_none());
        }
        assert_eq!(map.len(), twin.len());
        assert!(ids().iter().all(|id| map.get(id) == twin.get(id)));
        let sorted: BTreeMap<_, _> = map.iter().map(|(id, n)| (id.clone(), *n)).collect();
        assert_eq!(sorted, twin);
        assert_eq!(map.keys().count(), twin.len());
    }

    #[test]
    fn id_map_finds_the_roots_of_a_session() {
        let mut map = IdMap::default();
        for id in ids() {
            map.insert(id, ());
        }
        let (session, _) = WriterSession::of(&ids()[0]).expect("a root");
        for seqs in [3..=9, 0..=u64::MAX, 39..=50, 60..=70] {
            let expected: Vec<_> = seqs.clone().take_while(|seq| *seq < 40).collect();
            let expected: Vec<_> = expected.into_iter().map(|seq| session.id(seq)).collect();
            assert_eq!(
                map.roots_within(&session, seqs.clone()),
                expected,
                "{seqs:?}"
            );
        }
    }

    /// Whoever chooses ids can make marks equal, and gains nothing.
    #[test]
    fn id_map_tells_ids_of_one_mark_apart() {
        let all = ids();
        let equal = |mark| {
            all.iter().map(move |id| MarkedId {
                mark,
                id: id.clone(),
            })
        };
        let set: std::collections::BTreeSet<_> = equal(1).collect();
        assert_eq!(set.len(), all.len());
        assert!(equal(1).all(|id| set.contains(&id)));
        assert!(equal(2).all(|id| !set.contains(&id)));
    }
}

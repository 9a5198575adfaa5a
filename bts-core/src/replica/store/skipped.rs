//! Entries that were dropped because `f + 1` peers had forgotten them. Whether one of them is above another entry is
//! found in few steps, however many there are, and however deep: a faulty replica may claim any number.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::EntryId;

/// A set of entries, and something about each.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    /// With the puts of each that are known to be removed, bit by bit: the others are unknown here (G2).
    all: BTreeMap<EntryId, u16>,
    /// How far down they are in lines of puts of the same number: below which entry, by which number.
    lines: BTreeMap<(EntryId, u16), BTreeSet<u64>>,
}

impl Skipped {
    pub(super) fn insert(&mut self, id: &EntryId) {
        if self.all.contains_key(id) {
            return;
        }
        self.all.insert(id.clone(), 0);
        if let Some((head, index, times)) = id.line() {
            let line = self.lines.entry((head, index)).or_default();
            line.insert(times);
        }
    }

    pub(super) fn contains(&self, id: &EntryId) -> bool {
        self.all.contains_key(id)
    }

    /// Its puts that are known to be removed.
    pub(super) fn puts_mut(&mut self, id: &EntryId) -> Option<&mut u16> {
        self.all.get_mut(id)
    }

    /// All of them, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &EntryId> {
        self.all.keys()
    }

    /// The nearest of them above this entry, with its puts that are known to be removed.
    pub(super) fn above(&self, id: &EntryId) -> Option<(&EntryId, u16)> {
        if self.all.is_empty() {
            return None;
        }
        let found = |id: &EntryId| self.all.get_key_value(id).map(|(id, puts)| (id, *puts));
        let (mut head, index, times) = id.line()?;
        let mut upto = (index, times.saturating_sub(1));
        loop {
            let line = self.lines.get(&(head.clone(), upto.0));
            let nearest = line.and_then(|line| line.range(..=upto.1).next_back());
            if let Some(nearest) = nearest {
                return found(&head.along(upto.0, *nearest));
            }
            let Some((next, index, times)) = head.line() else {
                return found(&head);
            };
            (head, upto) = (next, (index, times));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PublicKey, Seq, Session, SpaceName};

    #[test]
    fn skipped_nearest_above_is_found() {
        let mut seed = 7_u64;
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            (seed >> 33) % below
        };
        let space = SpaceName::new("s").expect("legal");
        let mut above = 0;
        for _ in 0..300 {
            let mut id = || {
                let seq = Seq(draw(2));
                let root = EntryId::written(space.clone(), PublicKey([1; 32]), Session(1), seq);
                let length = draw(7);
                let path = (0..length).map(|_| draw(2) as u16);
                path.fold(root, |id, index| id.put(index).expect("few runs"))
            };
            let mut skipped = Skipped::default();
            (0..8).for_each(|_| skipped.insert(&id()));
            for _ in 0..8 {
                let id = id();
                let all = skipped.ids().filter(|one| one.is_ancestor_of(&id));
                let nearest = all.reduce(|one, other| match one.is_ancestor_of(other) {
                    true => other,
                    false => one,
                });
                assert_eq!(skipped.above(&id).map(|(id, _)| id), nearest, "{id}");
                above += u32::from(nearest.is_some());
            }
        }
        assert!(above > 300, "{above}");
    }
}

//! The ids of removed roots (the paper's `R_s`), as ranges of counters per writer session: a
//! session that wrote in order and whose entries were all taken costs one range.

use std::collections::BTreeMap;

use crate::ids::{EntryId, PublicKey, Root, Seq, Session, SpaceName};

type WriterSession = (SpaceName, PublicKey, Session);

/// A set of removed roots.
#[derive(Clone, Debug, Default)]
pub(super) struct RemovedRanges {
    /// Per writer session, first counter -> last counter of disjoint, non-adjacent ranges.
    sessions: BTreeMap<WriterSession, BTreeMap<u64, u64>>,
}

impl RemovedRanges {
    /// Adds a root; true if it is new.
    pub(super) fn insert(&mut self, id: &EntryId) -> bool {
        let Some((session, seq)) = key(id) else {
            return false;
        };
        let ranges = self.sessions.entry(session).or_default();
        let below = ranges
            .range(..=seq.0)
            .next_back()
            .map(|(first, last)| (*first, *last));
        if below.is_some_and(|(_, last)| last >= seq.0) {
            return false;
        }
        let joins_below = below.filter(|(_, last)| last.checked_add(1) == Some(seq.0));
        let first = joins_below.map_or(seq.0, |(first, _)| first);
        let above = seq.0.checked_add(1).and_then(|next| ranges.remove(&next));
        ranges.insert(first, above.unwrap_or(seq.0));
        true
    }

    /// True if the root is removed.
    pub(super) fn contains(&self, id: &EntryId) -> bool {
        let Some((session, seq)) = key(id) else {
            return false;
        };
        let below = self
            .sessions
            .get(&session)
            .and_then(|r| r.range(..=seq.0).next_back());
        below.is_some_and(|(_, last)| *last >= seq.0)
    }
}

fn key(id: &EntryId) -> Option<(WriterSession, Seq)> {
    match id.root() {
        Root::Written {
            space,
            writer,
            session,
            seq,
        } if id.is_root() => Some(((space.clone(), *writer, *session), *seq)),
        Root::Written { .. } | Root::Genesis { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn id(seq: u64) -> EntryId {
        let space = SpaceName::new("s").expect("legal");
        EntryId::written(space, PublicKey([1; 32]), Session(1), Seq(seq))
    }

    #[test]
    fn ranges_agree_with_a_set() {
        let mut seed = 7u64;
        for _ in 0..50 {
            let mut ranges = RemovedRanges::default();
            let mut set = BTreeSet::new();
            for _ in 0..80 {
                seed = seed
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let seq = (seed >> 33) % 40;
                assert_eq!(ranges.insert(&id(seq)), set.insert(seq));
                (0..41).for_each(|s| assert_eq!(ranges.contains(&id(s)), set.contains(&s)));
            }
        }
    }

    #[test]
    fn ranges_in_order_are_one_range() {
        let mut ranges = RemovedRanges::default();
        (0..1000).for_each(|seq| assert!(ranges.insert(&id(seq))));
        assert!(ranges.insert(&id(u64::MAX)));
        assert!(ranges.contains(&id(u64::MAX)));
        assert_eq!(
            ranges.sessions.values().map(BTreeMap::len).sum::<usize>(),
            2
        );
    }

    #[test]
    fn ranges_hold_roots_only() {
        let put = id(1).put(0).expect("short");
        assert!(!RemovedRanges::default().insert(&put));
    }
}

//! Ids of roots, as ranges of counters per writer session: a session that wrote in order and whose
//! entries were all taken costs one range.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{EntryId, IdParts, PublicKey, Root, Seq, Session, SpaceName};

/// The entries that one process wrote into one space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WriterSession {
    /// The space.
    pub space: SpaceName,
    /// The writer's key.
    pub writer: PublicKey,
    /// The writer's session.
    pub session: Session,
}

impl WriterSession {
    /// Whose entry this is, and its counter; `None` for a put.
    pub(crate) fn of(id: &EntryId) -> Option<(Self, Seq)> {
        match id.root() {
            Root::Written {
                space,
                writer,
                session,
                seq,
            } if id.is_root() => {
                let session = Self {
                    space: space.clone(),
                    writer: *writer,
                    session: *session,
                };
                Some((session, *seq))
            }
            Root::Written { .. } | Root::Genesis { .. } => None,
        }
    }

    /// The counter of this entry; `None` if it is none of the session's, or a put.
    pub(crate) fn seq_of(&self, id: &EntryId) -> Option<Seq> {
        match id.root() {
            Root::Written {
                space,
                writer,
                session,
                seq,
            } if id.is_root() => {
                let is_ours =
                    (space, writer, session) == (&self.space, &self.writer, &self.session);
                is_ours.then_some(*seq)
            }
            Root::Written { .. } | Root::Genesis { .. } => None,
        }
    }

    /// What the id of one of its entries is made of.
    pub(crate) fn id_parts(&self, seq: Seq) -> IdParts<'_> {
        IdParts::written(&self.space, &self.writer, self.session, seq)
    }

    /// The id of one of its entries.
    pub(crate) fn id(&self, seq: u64) -> EntryId {
        EntryId::written(self.space.clone(), self.writer, self.session, Seq(seq))
    }
}

/// A set of roots.
#[derive(Clone, Debug, Default)]
pub(super) struct RemovedRanges {
    /// Per writer session, first counter -> last counter of disjoint, non-adjacent ranges.
    sessions: BTreeMap<WriterSession, BTreeMap<u64, u64>>,
}

impl RemovedRanges {
    /// Adds all from `first` to `last`; false if they were there.
    pub(super) fn insert_range(&mut self, session: &WriterSession, first: u64, last: u64) -> bool {
        if first > last {
            return false;
        }
        if !self.sessions.contains_key(session) {
            self.sessions.insert(session.clone(), BTreeMap::new());
        }
        let Some(ranges) = self.sessions.get_mut(session) else {
            return false;
        };
        let below = ranges.range(..=first).next_back();
        let below = below.map(|(first, last)| (*first, *last));
        if below.is_some_and(|(_, end)| end >= last) {
            return false;
        }
        let joins = below.filter(|(_, end)| end.saturating_add(1) >= first);
        let start = joins.map_or(first, |(start, _)| start);
        let mut end = last;
        let joined = ranges.range(start..=last.saturating_add(1));
        for start in joined.map(|(start, _)| *start).collect::<Vec<_>>() {
            end = end.max(ranges.remove(&start).unwrap_or(end));
        }
        ranges.insert(start, end);
        true
    }

    /// What is not in the set, from `first` to `last`.
    pub(super) fn gaps(&self, session: &WriterSession, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = Some(first);
        let ranges = self.sessions.get(session);
        let before = ranges.and_then(|ranges| ranges.range(..=first).next_back());
        let begin = before.map_or(first, |(begin, _)| *begin);
        let known = ranges.into_iter().flat_map(|ranges| ranges.range(begin..));
        for (known_first, known_last) in known.take_while(|(known, _)| **known <= last) {
            if let Some(gap) = next.filter(|next| next < known_first) {
                gaps.push((gap, known_first - 1));
            }
            next = next.and_then(|next| Some(next.max(known_last.checked_add(1)?)));
        }
        gaps.extend(next.filter(|next| *next <= last).map(|next| (next, last)));
        gaps
    }

    /// True if the root is in the set.
    pub(super) fn contains(&self, id: &EntryId) -> bool {
        let Some((session, seq)) = WriterSession::of(id) else {
            return false;
        };
        let ranges = self.sessions.get(&session);
        let below = ranges.and_then(|ranges| ranges.range(..=seq.0).next_back());
        below.is_some_and(|(_, last)| *last >= seq.0)
    }

    /// First and last counters.
    pub(super) fn ranges_of(&self, session: &WriterSession) -> Vec<(u64, u64)> {
        let ranges = self.sessions.get(session).into_iter().flatten();
        ranges.map(|(first, last)| (*first, *last)).collect()
    }

    /// All of it, session by session.
    pub(super) fn into_ranges(self) -> impl Iterator<Item = (WriterSession, Vec<(u64, u64)>)> {
        let ranges =
            |(session, ranges): (_, BTreeMap<_, _>)| (session, ranges.into_iter().collect());
        self.sessions.into_iter().map(ranges)
    }

    /// The roots that so many of these sets hold.
    pub(super) fn in_at_least(enough: usize, sets: &[Self]) -> Self {
        let mut common = Self::default();
        let sessions: BTreeSet<_> = sets.iter().flat_map(|set| set.sessions.keys()).collect();
        for session in sessions {
            // How many sets more, or fewer, hold what begins here.
            let mut steps = BTreeMap::<u64, isize>::new();
            for (first, last) in sets.iter().flat_map(|set| set.ranges_of(session)) {
                *steps.entry(first).or_default() += 1;
                if let Some(after) = last.checked_add(1) {
                    *steps.entry(after).or_default() -= 1;
                }
            }
            let mut holders = 0_isize;
            let mut steps = steps.into_iter().peekable();
            while let Some((first, step)) = steps.next() {
                holders += step;
                let last = steps.peek().map_or(u64::MAX, |(next, _)| next - 1);
                if holders.unsigned_abs() >= enough {
                    common.insert_range(session, first, last);
                }
            }
        }
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> WriterSession {
        WriterSession {
            space: SpaceName::new("s").expect("legal"),
            writer: PublicKey([1; 32]),
            session: Session(1),
        }
    }

    fn draw(seed: &mut u64, below: u64) -> u64 {
        *seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (*seed >> 33) % below
    }

    #[test]
    fn ranges_agree_with_a_set() {
        let mut seed = 7u64;
        let mut draw = |below| draw(&mut seed, below);
        for _ in 0..50 {
            let mut ranges = RemovedRanges::default();
            let mut set = BTreeSet::new();
            for _ in 0..40 {
                let first = draw(60);
                let last = first + draw(4);
                let new: Vec<_> = (first..=last).filter(|seq| !set.contains(seq)).collect();
                let is_new = !new.is_empty();
                let gaps = ranges.gaps(&session(), first, last);
                let gaps = gaps.into_iter().flat_map(|(first, last)| first..=last);
                assert_eq!(gaps.collect::<Vec<_>>(), new);
                set.extend(first..=last);
                assert_eq!(ranges.insert_range(&session(), first, last), is_new);
                (0..66).for_each(|seq| {
                    assert_eq!(ranges.contains(&session().id(seq)), set.contains(&seq));
                });
                let told = ranges.ranges_of(&session());
                assert!(told.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }
    }

    #[test]
    fn ranges_in_order_are_one_range() {
        let mut ranges = RemovedRanges::default();
        (0..1000).for_each(|seq| assert!(ranges.insert_range(&session(), seq, seq)));
        assert_eq!(ranges.gaps(&session(), 5, u64::MAX), [(1000, u64::MAX)]);
        assert!(ranges.insert_range(&session(), u64::MAX, u64::MAX));
        assert_eq!(ranges.gaps(&session(), u64::MAX, u64::MAX), []);
        assert!(ranges.contains(&session().id(u64::MAX)));
        assert_eq!(ranges.ranges_of(&session()).len(), 2);
        assert!(!ranges.insert_range(&session(), 5, 4), "an empty range");
    }

    #[test]
    fn ranges_held_by_enough_sets() {
        let mut seed = 7u64;
        let mut draw = |below| draw(&mut seed, below);
        for _ in 0..50 {
            let mut sets = vec![RemovedRanges::default(); 4];
            for _ in 0..12 {
                let first = u64::MAX - 60 + draw(57);
                let last = first + draw(4);
                sets[draw(4) as usize].insert_range(&session(), first, last);
            }
            for enough in 1..=4 {
                let common = RemovedRanges::in_at_least(enough, &sets);
                for seq in u64::MAX - 62..=u64::MAX {
                    let id = session().id(seq);
                    let holders = sets.iter().filter(|set| set.contains(&id)).count();
                    assert_eq!(common.contains(&id), holders >= enough);
                }
            }
        }
        assert_eq!(RemovedRanges::in_at_least(1, &[]).into_ranges().count(), 0);
    }

    #[test]
    fn ranges_hold_roots_only() {
        let put = session().id(1).put(0).expect("short");
        assert_eq!(WriterSession::of(&put), None);
    }
}

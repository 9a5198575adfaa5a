//! The identity of an entry: a root, and the way down from it (PROTOCOL section 2).

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{PublicKey, Seq, Session, SpaceName};
use crate::codec;
use crate::limits::PATH_RUNS_MAX;

/// Where a line of entries begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Root {
    /// Written by an `out`: the id is unique because the writer counts.
    Written {
        /// The space; part of the id so that votes bind it (G1).
        space: SpaceName,
        /// The writer's key.
        writer: PublicKey,
        /// The writer's session.
        session: Session,
        /// The writer's counter.
        seq: Seq,
    },
    /// The implicit first entry of a lineage. Reserved: refused until lineages exist.
    Genesis {
        /// The space.
        space: SpaceName,
        /// The key of the lineage.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
}

/// `times` descents by put number `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// Which put of the Take.
    pub index: u16,
    /// How often in a row, at least 1.
    pub times: u64,
}

/// Identity of an entry: a root, and the way down from it through the puts of decided Takes. The
/// path is run-length coded and canonical: neighbouring runs differ, no run is empty (C6).
///
/// Every `EntryId` is in its one legal form, as bytes in any other do not decode. Ids are ordered by
/// root and then by descent: each before all that descends from it, and these before its next
/// sibling.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "UncheckedId")]
pub struct EntryId {
    root: Root,
    path: Vec<Run>,
}

/// An [`EntryId`] as it comes from the wire.
#[derive(Deserialize)]
struct UncheckedId {
    root: Root,
    #[serde(deserialize_with = "codec::at_most::<PATH_RUNS_MAX, _, _>")]
    path: Vec<Run>,
}

impl TryFrom<UncheckedId> for EntryId {
    type Error = BadId;

    fn try_from(UncheckedId { root, path }: UncheckedId) -> Result<Self, BadId> {
        let id = Self { root, path };
        match id.is_canonical() {
            true => Ok(id),
            false => Err(BadId),
        }
    }
}

/// Odd, with its bits well mixed.
const MARK_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The runs of a path are not in their one legal form, or the root is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id is not canonical or of a reserved kind")]
pub struct BadId;

impl EntryId {
    /// The id of an entry that `writer` wrote by an `out`.
    pub fn written(space: SpaceName, writer: PublicKey, session: Session, seq: Seq) -> Self {
        let root = Root::Written {
            space,
            writer,
            session,
            seq,
        };
        Self {
            root,
            path: Vec::new(),
        }
    }

    /// What it is made of.
    pub(crate) fn parts(&self) -> IdParts<'_> {
        let root = match &self.root {
            Root::Written {
                space,
                writer,
                session,
                seq,
            } => RootParts::Written(space, writer, *session, *seq),
            Root::Genesis { space, key } => RootParts::Genesis(space, key),
        };
        IdParts {
            root,
            path: &self.path,
        }
    }

    /// A number that most ids do not share. It is the same for equal ids, and easily made the same for others.
    pub(crate) fn mark(&self) -> u64 {
        let (mut mark, key) = match &self.root {
            Root::Written {
                writer,
                session,
                seq,
                ..
            } => (seq.0 ^ session.0.rotate_left(32), writer.0.as_slice()),
            Root::Genesis { key, .. } => (0, key.as_slice()),
        };
        if let Some(head) = key.first_chunk() {
            mark ^= u64::from_le_bytes(*head);
        }
        for run in &self.path {
            let step = run.times.wrapping_add(u64::from(run.index) << 48);
            mark = mark.wrapping_mul(MARK_FACTOR) ^ step;
        }
        mark.wrapping_mul(MARK_FACTOR)
    }

    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The id of the root itself.
    pub fn root_id(&self) -> Self {
        Self {
            root: self.root.clone(),
            path: Vec::new(),
        }
    }

    /// The space the entry is in.
    pub fn space(&self) -> &SpaceName {
        match &self.root {
            Root::Written { space, .. } | Root::Genesis { space, .. } => space,
        }
    }

    /// True for an entry that an `out` wrote, false for a put of a Take.
    pub fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    /// The id of put `index` of a Take on this entry; `None` if its path would need more than
    /// [`PATH_RUNS_MAX`] runs, which makes the Take ill-formed.
    pub fn put(&self, index: u16) -> Option<Self> {
        let mut child = self.clone();
        let runs = child.path.len();
        match child.path.last_mut() {
            Some(run) if run.index == index => run.times = run.times.checked_add(1)?,
            _ if runs == PATH_RUNS_MAX => return None,
            _ => child.path.push(Run { index, times: 1 }),
        }
        Some(child)
    }

    /// The entry whose Take put this one in place, and the number of the put; `None` for a root.
    pub fn origin(&self) -> Option<(Self, u16)> {
        let mut parent = self.clone();
        let run = parent.path.last_mut()?;
        let index = run.index;
        run.times = run.times.checked_sub(1)?;
        if run.times == 0 {
            parent.path.pop();
        }
        Some((parent, index))
    }

    /// The last run of the way down: below which entry, by which put, how often. `None` for a root.
    pub(crate) fn line(&self) -> Option<(Self, u16, u64)> {
        let mut head = self.clone();
        let Run { index, times } = head.path.pop()?;
        Some((head, index, times))
    }

    /// What is so far down a line that begins at this entry.
    pub(crate) fn along(&self, index: u16, times: u64) -> Self {
        let mut id = self.clone();
        id.path.push(Run { index, times });
        id
    }

    /// True if `other` descends from this entry, over one put or many.
    pub fn is_ancestor_of(&self, other: &Self) -> bool {
        self.root == other.root && descent(&self.path, &other.path) == Descent::Above
    }

    /// The put through which `below` descends from this entry; `None` if it does not.
    pub fn put_towards(&self, below: &Self) -> Option<(Self, u16)> {
        if !self.is_ancestor_of(below) {
            return None;
        }
        // An ancestor's path is the beginning of the other's; its last run may go on there.
        let runs = self.path.len();
        let own = self.path.last().map_or(0, |run| run.times);
        let same = runs.checked_sub(1).and_then(|last| below.path.get(last));
        let goes_on = same.filter(|run| run.times > own);
        let index = goes_on.or_else(|| below.path.get(runs))?.index;
        Some((self.put(index)?, index))
    }

    /// True if the id has its one legal form and no reserved root.
    pub fn is_canonical(&self) -> bool {
        let runs_fit = self.path.len() <= PATH_RUNS_MAX;
        let no_empty_run = self.path.iter().all(|run| run.times >= 1);
        let neighbours_differ = self
            .path
            .iter()
            .zip(self.path.iter().skip(1))
            .all(|(a, b)| a.index != b.index);
        let not_reserved = matches!(self.root, Root::Written { .. });
        runs_fit && no_empty_run && neighbours_differ && not_reserved
    }
}

impl Ord for EntryId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

/// What an id is made of, wherever that is kept. Ordered as ids are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdParts<'a> {
    root: RootParts<'a>,
    path: &'a [Run],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RootParts<'a> {
    Written(&'a SpaceName, &'a PublicKey, Session, Seq),
    Genesis(&'a SpaceName, &'a [u8]),
}

impl Ord for RootParts<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        use RootParts::{Genesis, Written};
        match (self, other) {
            // Most ids that meet in a large store are of one session, whose names they share.
            (Written(space, writer, session, seq), Written(spaces, writers, sessions, seqs)) => {
                let same_names = std::ptr::eq(*space, *spaces) && std::ptr::eq(*writer, *writers);
                let by_names = match same_names {
                    true => Ordering::Equal,
                    false => (space, writer).cmp(&(spaces, writers)),
                };
                by_names.then_with(|| (session, seq).cmp(&(sessions, seqs)))
            }
            (Genesis(space, key), Genesis(spaces, keys)) => (space, key).cmp(&(spaces, keys)),
            (Written(..), Genesis(..)) => Ordering::Less,
            (Genesis(..), Written(..)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for RootParts<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> IdParts<'a> {
    /// Those of [`EntryId::written`].
    pub(crate) fn written(
        space: &'a SpaceName,
        writer: &'a PublicKey,
        session: Session,
        seq: Seq,
    ) -> Self {
        Self {
            root: RootParts::Written(space, writer, session, seq),
            path: &[],
        }
    }
}

impl Ord for IdParts<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_root = self.root.cmp(&other.root);
        by_root.then_with(|| match descent(self.path, other.path) {
            Descent::Same => Ordering::Equal,
            Descent::Above => Ordering::Less,
            Descent::Below => Ordering::Greater,
            Descent::Apart(order) => order,
        })
    }
}

impl PartialOrd for IdParts<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialOrd for EntryId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How two ways down from one root relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Descent {
    Same,
    /// The first is the beginning of the second.
    Above,
    /// The second is the beginning of the first.
    Below,
    /// They part, in this order.
    Apart(Ordering),
}

/// Compares two paths step by step, without unfolding their runs.
fn descent(one: &[Run], other: &[Run]) -> Descent {
    let (mut ones, mut others) = (one.iter().copied(), other.iter().copied());
    let (mut a, mut b) = (ones.next(), others.next());
    loop {
        let (Some(x), Some(y)) = (&mut a, &mut b) else {
            return match (a, b) {
                (None, None) => Descent::Same,
                (None, Some(_)) => Descent::Above,
                (Some(_), _) => Descent::Below,
            };
        };
        if x.index != y.index {
            return Descent::Apart(x.index.cmp(&y.index));
        }
        let both = x.times.min(y.times);
        x.times -= both;
        y.times -= both;
        if x.times == 0 {
            a = ones.next();
        }
        if y.times == 0 {
            b = others.next();
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Written {
                space,
                writer,
                session,
                seq,
            } => {
                write!(f, "{space}:{writer}/{session}.{seq}")?;
            }
            Root::Genesis { space, key } => write!(f, "{space}:genesis({})", key.len())?,
        }
        self.path.iter().try_for_each(|run| match run.times {
            1 => write!(f, "+{}", run.index),
            times => write!(f, "+{}x{times}", run.index),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> EntryId {
        let space = SpaceName::new("jobs").expect("a good name");
        EntryId::written(space, PublicKey([7; 32]), Session(5), Seq(1))
    }

    #[test]
    fn id_put_and_origin_are_inverse() {
        let mut id = root();
        for index in [0, 0, 0, 1, 1, 0] {
            let child = id.put(index).expect("few runs");
            assert!(child.is_canonical());
            assert_eq!(child.origin(), Some((id.clone(), index)));
            id = child;
        }
        assert_eq!(id.to_string(), "jobs:07070707/5.1+0x3+1x2+0");
        assert_eq!(id.root_id(), root());
        assert_eq!(root().origin(), None);
    }

    #[test]
    fn id_order_is_that_of_descent() {
        let mut ids = vec![(root(), Vec::new())];
        for depth in 0..4 {
            let deepest: Vec<_> = ids
                .iter()
                .filter(|(_, p)| p.len() == depth)
                .cloned()
                .collect();
            for (id, path) in deepest {
                for index in 0..3 {
                    let steps = [path.clone(), vec![index]].concat();
                    ids.push((id.put(index).expect("short"), steps));
                }
            }
        }
        for (a, way_a) in &ids {
            for (b, way_b) in &ids {
                assert_eq!(a.cmp(b), way_a.cmp(way_b), "{a} and {b}");
                let is_above = way_b.len() > way_a.len() && way_b.starts_with(way_a);
                assert_eq!(a.is_ancestor_of(b), is_above, "{a} and {b}");
                let towards = a.put_towards(b).map(|(_, index)| index);
                assert_eq!(towards, is_above.then(|| way_b[way_a.len()]), "{a} to {b}");
            }
        }
    }

    #[test]
    fn id_c6_more_than_32_runs_is_no_id() {
        let mut id = root();
        for step in 0..32 {
            id = id.put(step % 2).expect("32 runs fit");
        }
        assert_eq!(id.put(0), None);
        assert!(id.put(1).is_some(), "the last run can still grow");
    }

    ///
    #[test]
    fn id_other_forms_are_not_canonical() {
        let twice = [Run { index: 0, times: 1 }, Run { index: 0, times: 1 }];
        assert!(
            !EntryId {
                root: root().root,
                path: twice.to_vec()
            }
            .is_canonical()
        );
        let empty = [Run { index: 0, times: 0 }];
        assert!(
            !EntryId {
                root: root().root,
                path: empty.to_vec()
            }
            .is_canonical()
        );
        let space = SpaceName::new("jobs").expect("a good name");
        let genesis = Root::Genesis {
            space,
            key: vec![1],
        };
        assert!(
            !EntryId {
                root: genesis,
                path: Vec::new()
            }
            .is_canonical()
        );
    }
}

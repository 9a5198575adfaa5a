//! Removed entries (the paper's `R_s`): with the decision as long as it is kept, as a range when it
//! is forgotten, and by themselves when they were skipped (PROTOCOL section 7; C1, C6, G2).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use super::skipped::Skipped;
use crate::content::DecidedTake;
use crate::ids::{ClientRef, EntryId, Lsn, ReplicaId, TakeNumber};
use crate::replica::id_map::IdMap;
use crate::replica::outputs::Obsolete;
use crate::replica::ranges::{RemovedRanges, WriterSession};

/// A set of replicas; a cluster has at most 40.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::replica) struct ReplicaSet(u64);

impl ReplicaSet {
    pub(in crate::replica) fn insert(&mut self, replica: ReplicaId) {
        self.0 |= 1_u64.checked_shl(u32::from(replica.0)).unwrap_or(0);
    }

    pub(in crate::replica) fn contains(self, replica: ReplicaId) -> bool {
        self.0.checked_shr(u32::from(replica.0)).unwrap_or(0) & 1 == 1
    }

    pub(in crate::replica) fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// A decision that is not forgotten, and what is known of it elsewhere.
#[derive(Debug)]
pub(in crate::replica) struct Kept {
    /// The decision.
    pub(in crate::replica) decided: Arc<DecidedTake>,
    /// Its record: its number in the own stream.
    pub(in crate::replica) lsn: Lsn,
    /// Peers that logged it.
    pub(in crate::replica) applied: ReplicaSet,
    /// Peers that had it and forgot it.
    pub(in crate::replica) forgot: ReplicaSet,
    /// Records of the contents that it removed, while an answer may depend on them (A1).
    contents: Vec<Lsn>,
    /// Marks of its puts, to go with it.
    marks: Vec<Obsolete>,
}

/// All removed entries.
#[derive(Debug, Default)]
pub(super) struct Removed {
    kept: IdMap<Kept>,
    by_number: BTreeMap<Lsn, EntryId>,
    of_winner: BTreeMap<ClientRef, BTreeMap<TakeNumber, Vec<EntryId>>>,
    /// Roots whose decisions were forgotten.
    forgotten: RemovedRanges,
    /// The records of these ranges.
    range_records: BTreeMap<WriterSession, Vec<Lsn>>,
    /// Dropped because `f + 1` peers had forgotten them.
    skipped: Skipped,
}

impl Removed {
    /// Whether the entry was present, or would have been, and is gone for good. `live` are the
    /// present puts.
    ///
    /// A put needs no record of its own: it goes live in the step that removes its origin, so below a
    /// removed root each put is live, or still to come below a live one, or gone (C6). Only below
    /// what was skipped this is not known, but of the puts that were decided here.
    pub(super) fn contains(&self, id: &EntryId, live: &BTreeSet<EntryId>) -> bool {
        if self.kept.contains_key(id) || self.skipped.contains(id) {
            return true;
        }
        if id.is_root() {
            return self.forgotten.contains(id);
        }
        let above = self.skipped.above(id);
        let known = match above.and_then(|(above, puts)| Some((above.put_towards(id)?, puts))) {
            Some(((put, index), puts)) => {
                let is_gone = puts.checked_shr(u32::from(index)).unwrap_or(0) & 1 == 1;
                if put == *id {
                    return is_gone;
                }
                is_gone || self.kept.contains_key(&put)
            }
            None => {
                let root = id.root_id();
                self.kept.contains_key(&root) || self.forgotten.contains(&root)
            }
        };
        // The live puts of one root descend from none of each other, so of those before `id` only
        // the last can be above it.
        let is_to_come = || {
            let before = live.range(..id).next_back();
            before.is_some_and(|before| before.is_ancestor_of(id))
        };
        known && !live.contains(id) && !is_to_come()
    }

    pub(super) fn keep(&mut self, decided: &Arc<DecidedTake>, lsn: Lsn, contents: Vec<Lsn>) {
        let id = decided.id().clone();
        let take = decided.take();
        let (winner, number) = (take.taker(), take.number);
        self.by_number.insert(lsn, id.clone());
        self.of_winner
            .entry(winner)
            .or_default()
            .entry(number)
            .or_default()
            .push(id.clone());
        let kept = Kept {
            decided: Arc::clone(decided),
            lsn,
            applied: ReplicaSet::default(),
            forgot: ReplicaSet::default(),
            contents,
            marks: Vec::new(),
        };
        self.kept.insert(id, kept);
    }

    pub(super) fn kept(&self, id: &EntryId) -> Option<&Kept> {
        self.kept.get(id)
    }

    pub(super) fn kept_mut(&mut self, id: &EntryId) -> Option<&mut Kept> {
        self.kept.get_mut(id)
    }

    pub(super) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    /// Kept decisions in the order in which they were applied here, from this number on.
    pub(super) fn numbered(&self, from: Lsn) -> impl Iterator<Item = (Lsn, &Kept)> {
        let kept = |(lsn, id): (&Lsn, &EntryId)| self.kept.get(id).map(|kept| (*lsn, kept));
        self.by_number.range(from..).filter_map(kept)
    }

    /// Kept decisions of a session's Takes with these numbers.
    pub(super) fn won_between(
        &self,
        winner: &ClientRef,
        numbers: Range<TakeNumber>,
    ) -> impl Iterator<Item = &EntryId> {
        let won = self.of_winner.get(winner).into_iter();
        won.flat_map(move |won| won.range(numbers.clone()))
            .flat_map(|(_, ids)| ids)
    }

    /// True if a decision of this session is kept.
    pub(super) fn has_won(&self, winner: &ClientRef) -> bool {
        self.of_winner.contains_key(winner)
    }

    /// The contents that a decision removed need not be known any more.
    pub(super) fn settle_contents(&mut self, id: &EntryId) -> Vec<Lsn> {
        let kept = self.kept.get_mut(id);
        kept.map_or_else(Vec::new, |kept| std::mem::take(&mut kept.contents))
    }

    /// Drops a decision; what its record made obsolete, with the record.
    pub(super) fn drop_kept(&mut self, id: &EntryId) -> Option<(Arc<DecidedTake>, Vec<Obsolete>)> {
        let kept = self.kept.remove(id)?;
        self.by_number.remove(&kept.lsn);
        let take = kept.decided.take();
        let (winner, number) = (take.taker(), take.number);
        if let Some(won) = self.of_winner.get_mut(&winner) {
            if let Some(ids) = won.get_mut(&number) {
                ids.retain(|other| other != id);
                if ids.is_empty() {
                    won.remove(&number);
                }
            }
            if won.is_empty() {
                self.of_winner.remove(&winner);
            }
        }
        let own = kept.contents.into_iter().chain([kept.lsn]);
        let obsolete = own.map(Obsolete::now).chain(kept.marks).collect();
        Some((kept.decided, obsolete))
    }

    /// A put was forgotten, as this record says: what it makes obsolete, maybe itself.
    ///
    /// The mark stays as long as a replay could find the put without it: in the record of its
    /// origin, or in its own.
    pub(super) fn mark(&mut self, put: &EntryId, mark: Lsn, own: Option<Lsn>) -> Option<Obsolete> {
        let (origin, index) = put.origin()?;
        if let Some(puts) = self.skipped.puts_mut(&origin) {
            *puts |= 1_u16.checked_shl(u32::from(index)).unwrap_or(0);
            return None;
        }
        let obsolete = Obsolete {
            lsn: mark,
            after: own,
        };
        match self.kept.get_mut(&origin) {
            Some(kept) => {
                kept.marks.push(obsolete);
                None
            }
            None => Some(obsolete),
        }
    }

    pub(super) fn skip(&mut self, id: &EntryId) {
        self.skipped.insert(id);
    }

    pub(super) fn is_skipped(&self, id: &EntryId) -> bool {
        self.skipped.contains(id)
    }

    /// Roots that were forgotten or skipped. A liar's log may keep the decision of what it skipped: that is
    /// its word that the entry was taken, not that it is gone.
    pub(super) fn gone_roots(&self) -> RemovedRanges {
        let mut gone = self.forgotten.clone();
        let skipped = self.skipped.ids().filter(|id| !self.kept.contains_key(id));
        for (session, seq) in skipped.filter_map(WriterSession::of) {
            gone.insert_range(&session, seq.0, seq.0);
        }
        gone
    }

    /// Adds a range of forgotten roots; what of it was not known.
    pub(super) fn forget_range(
        &mut self,
        session: &WriterSession,
        first: u64,
        last: u64,
    ) -> Vec<(u64, u64)> {
        let news = self.forgotten.gaps(session, first, last);
        self.forgotten.insert_range(session, first, last);
        news
    }

    /// Kept decisions of roots of a session from one counter to another.
    pub(super) fn kept_in(
        &self,
        session: &WriterSession,
        seqs: RangeInclusive<u64>,
    ) -> Vec<EntryId> {
        self.kept.roots_within(session, seqs)
    }

    pub(super) fn note_range_record(&mut self, session: &WriterSession, lsn: Lsn) {
        let records = self.range_records.entry(session.clone()).or_default();
        records.push(lsn);
    }

    /// All forgotten ranges of a session, if their records should be replaced by one.
    pub(super) fn scattered(&self, session: &WriterSession) -> Option<Vec<(u64, u64)>> {
        let records = self.range_records.get(session).map_or(0, Vec::len);
        let ranges = self.forgotten.ranges_of(session);
        (records >= RANGE_RECORDS_MAX.max(ranges.len())).then_some(ranges)
    }

    /// The records that this one replaces.
    pub(super) fn replace_range_records(&mut self, session: &WriterSession, by: Lsn) -> Vec<Lsn> {
        let records = self.range_records.entry(session.clone()).or_default();
        std::mem::replace(records, vec![by])
    }
}

/// Records of ranges of one session before one takes their place.
const RANGE_RECORDS_MAX: usize = 16;

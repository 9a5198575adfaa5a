//! Forgetting: a decision that nobody needs any more shrinks to a range of counters, or, for a put, to
//! nothing (PROTOCOL section 7). In replay the records of what is forgotten may be there or not.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Kept, Store};
use crate::ids::{ClientRef, EntryId, Lsn, Seq, TakeNumber};
use crate::replica::outputs::Obsolete;
use crate::replica::ranges::{RemovedRanges, WriterSession};

impl Store {
    pub(in crate::replica) fn kept(&self, id: &EntryId) -> Option<&Kept> {
        self.removed.kept(id)
    }

    pub(in crate::replica) fn kept_mut(&mut self, id: &EntryId) -> Option<&mut Kept> {
        self.removed.kept_mut(id)
    }

    /// Kept decisions in the order of their records, from this one on.
    pub(in crate::replica) fn numbered(&self, from: Lsn) -> impl Iterator<Item = (Lsn, &Kept)> {
        self.removed.numbered(from)
    }

    /// Entries taken by Takes of this session with these numbers, their decisions being kept.
    pub(in crate::replica) fn won_between(
        &self,
        winner: &ClientRef,
        numbers: Range<TakeNumber>,
    ) -> impl Iterator<Item = &EntryId> {
        self.removed.won_between(winner, numbers)
    }

    /// Below which number the Takes of a session are settled, as logged.
    pub(in crate::replica) fn settled(&self, winner: &ClientRef) -> TakeNumber {
        self.settled
            .get(winner)
            .map_or(TakeNumber(0), |(number, _)| *number)
    }

    /// What is known of sessions is of no use when no decision of theirs is kept.
    pub(in crate::replica) fn unsettle_idle(&mut self) {
        let (removed, obsolete) = (&self.removed, &mut self.obsolete);
        self.settled.retain(|session, (_, lsn)| {
            let is_idle = !removed.has_won(session);
            if is_idle {
                obsolete.push(Obsolete::now(*lsn));
            }
            !is_idle
        });
    }

    /// True if a decision of this session is kept.
    pub(in crate::replica) fn has_won(&self, winner: &ClientRef) -> bool {
        self.removed.has_won(winner)
    }

    /// True if no put of this decision is present.
    pub(in crate::replica) fn puts_are_gone(&self, kept: &Kept) -> bool {
        let mut puts = kept.decided.take().put_ids();
        puts.all(|put| !self.live_puts.contains(&put))
    }

    /// True if the entry was dropped without its decision.
    pub(in crate::replica) fn is_skipped(&self, id: &EntryId) -> bool {
        self.removed.is_skipped(id)
    }

    /// Roots that were removed without their decision being kept.
    pub(in crate::replica) fn gone_roots(&self) -> RemovedRanges {
        self.removed.gone_roots()
    }

    /// The live put above `id`, if there is one.
    pub(in crate::replica) fn live_above(&self, id: &EntryId) -> Option<&EntryId> {
        let before = self.live_puts.range(..id).next_back();
        before.filter(|before| before.is_ancestor_of(id))
    }

    /// A decision is stable: what it removed need not be known any more.
    pub(in crate::replica) fn forget_contents(&mut self, id: &EntryId) {
        let records = self.removed.settle_contents(id);
        self.discard(records);
    }

    /// The ranges of a session, if one record should say what many say.
    pub(in crate::replica) fn scattered(&self, session: &WriterSession) -> Option<Vec<(u64, u64)>> {
        self.removed.scattered(session)
    }

    /// Drops what log records that came after tell to be an entry of no meaning: none is in the
    /// store of a replica that ran on.
    pub(in crate::replica) fn drop_leftovers(&mut self) {
        let gone = |id: &&EntryId| !self.present.has(id) && self.is_removed(id);
        let leftovers: Vec<_> = self.bound.keys().filter(gone).cloned().collect();
        for id in leftovers {
            self.clear_slot(&id);
        }
    }

    pub(super) fn forget_roots(
        &mut self,
        lsn: Lsn,
        session: &WriterSession,
        ranges: &[(u64, u64)],
    ) {
        let mut is_news = false;
        for (first, last) in ranges {
            // Each root once, however often a log of somebody else says that it is gone.
            for (first, last) in self.removed.forget_range(session, *first, *last) {
                is_news = true;
                self.purge_roots(session, first, last);
            }
        }
        // A record that says nothing new says all that the others said.
        match is_news {
            true => self.removed.note_range_record(session, lsn),
            false => {
                let replaced = self.removed.replace_range_records(session, lsn);
                self.discard(replaced);
            }
        }
    }

    fn purge_roots(&mut self, session: &WriterSession, first: u64, last: u64) {
        let live = self.present.roots_within(session, Seq(first)..=Seq(last));
        let kept = self.removed.kept_in(session, first..=last);
        let bound = self.bound.roots_within(session, first..=last);
        let left: BTreeSet<_> = live.chain(bound).collect();
        for id in kept.into_iter().chain(left) {
            self.purge(&id);
        }
    }

    pub(super) fn forget_put(&mut self, lsn: Lsn, id: &EntryId) {
        let own = self.removed.kept(id).map(|kept| kept.lsn);
        self.purge(id);
        let obsolete = self.removed.mark(id, lsn, own);
        self.obsolete.extend(obsolete);
    }

    /// Drops all that is known of an entry whose decision was forgotten. None of its puts is present
    /// but in a replay that did not meet the records of their end.
    fn purge(&mut self, id: &EntryId) {
        self.clear_slot(id);
        let Some((decided, obsolete)) = self.removed.drop_kept(id) else {
            return;
        };
        self.obsolete.extend(obsolete);
        let winner = decided.take().taker();
        if !self.removed.has_won(&winner) {
            let idle = self.ends.on_last_forgotten(winner);
            self.discard(idle.into_iter().collect());
        }
        for put in decided.take().put_ids() {
            if self.live_puts.contains(&put) {
                self.clear_slot(&put);
            }
        }
    }

    /// Drops what is present of an entry, and the records of it.
    fn clear_slot(&mut self, id: &EntryId) {
        let records = self.remove_slot(id);
        self.discard(records);
    }

    pub(super) fn skip(&mut self, id: &EntryId) {
        self.clear_slot(id);
        self.removed.skip(id);
    }

    pub(super) fn settle(&mut self, lsn: Lsn, client: &ClientRef, number: TakeNumber) {
        if let Some((_, before)) = self.settled.insert(*client, (number, lsn)) {
            self.obsolete.push(Obsolete::now(before));
        }
    }
}

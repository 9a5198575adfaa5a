//! A replica's disk: it takes records at once and has them for good after a while. One sync serves
//! all that was appended before it began, so a slow disk makes larger groups. What is obsolete it
//! deletes when it likes, or never.

use std::collections::BTreeSet;

use bts_core::ids::Lsn;
use bts_core::replica::{Obsolete, Record};

use super::rng::Rng;

/// An append-only log with syncs that take time.
#[derive(Debug, Default)]
pub struct Disk {
    appended: Vec<(Lsn, Record)>,
    durable: usize,
    syncing: Option<usize>,
    /// What may be deleted as soon as this record is durable.
    obsolete: Vec<(Lsn, Obsolete)>,
}

impl Disk {
    /// Appends, and notes what may be deleted. True if a sync is to be started.
    pub fn append(&mut self, records: Vec<(Lsn, Record)>, obsolete: Vec<Obsolete>) -> bool {
        for (lsn, _) in &records {
            let last = self.appended.last().map(|(last, _)| *last);
            assert!(last.is_none_or(|last| last < *lsn), "{lsn} after {last:?}");
        }
        self.appended.extend(records);
        let last = self.last();
        let obsolete = obsolete.into_iter().map(|obsolete| (last, obsolete));
        self.obsolete.extend(obsolete);
        self.start_sync()
    }

    /// A sync ended. What is durable now, and whether the next one is to be started.
    pub fn synced(&mut self) -> (Option<Lsn>, bool) {
        self.durable = self.syncing.take().unwrap_or(self.durable);
        let last = self
            .durable
            .checked_sub(1)
            .map(|last| self.appended[last].0);
        (last, self.start_sync())
    }

    /// The power goes: of what was not synced only the first `kept` records are found again, since
    /// a log is cut off where it is torn.
    pub fn lose_unsynced(&mut self, kept: usize) {
        self.appended
            .truncate(self.durable.saturating_add(kept).min(self.appended.len()));
        self.durable = self.appended.len();
        self.syncing = None;
        let last = self.last();
        self.obsolete.retain(|(after, _)| *after <= last);
    }

    /// Deletes some of what is obsolete for good, whatever came first. The last record stays, as
    /// numbers must rise. How many are gone.
    pub fn clean(&mut self, rng: &mut Rng) -> usize {
        assert_eq!(self.durable, self.appended.len(), "after a loss of power");
        let last = self.last();
        let mut there: BTreeSet<_> = self.appended.iter().map(|(lsn, _)| *lsn).collect();
        let before = there.len();
        let share = rng.below(1001);
        self.obsolete.retain(|(_, obsolete)| {
            let is_held = obsolete.after.is_some_and(|after| there.contains(&after));
            let goes = obsolete.lsn != last && !is_held && rng.chance(share);
            !(goes && there.remove(&obsolete.lsn))
        });
        self.appended.retain(|(lsn, _)| there.contains(lsn));
        self.durable = self.appended.len();
        before - there.len()
    }

    fn last(&self) -> Lsn {
        self.appended.last().map_or(Lsn(0), |(last, _)| *last)
    }

    /// How many records are not synced.
    pub fn unsynced(&self) -> usize {
        self.appended.len() - self.durable
    }

    /// What a restart would find.
    pub fn durable(&self) -> &[(Lsn, Record)] {
        &self.appended[..self.durable]
    }

    fn start_sync(&mut self) -> bool {
        let starts = self.syncing.is_none() && self.durable < self.appended.len();
        if starts {
            self.syncing = Some(self.appended.len());
        }
        starts
    }
}

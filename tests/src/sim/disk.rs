//! A replica's disk: it takes records at once and has them for good after a while. One sync serves
//! all that was appended before it began, so a slow disk makes larger groups.

use bts_core::ids::Lsn;
use bts_core::replica::Record;

/// An append-only log with syncs that take time.
#[derive(Debug, Default)]
pub struct Disk {
    appended: Vec<(Lsn, Record)>,
    durable: usize,
    syncing: Option<usize>,
}

impl Disk {
    /// Appends. True if a sync is to be started.
    pub fn append(&mut self, records: Vec<(Lsn, Record)>) -> bool {
        for (lsn, _) in &records {
            let last = self.appended.last().map(|(last, _)| *last);
            assert!(last.is_none_or(|last| last < *lsn), "{lsn} after {last:?}");
        }
        self.appended.extend(records);
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

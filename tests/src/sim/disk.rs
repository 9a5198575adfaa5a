//! A replica's disk: it takes records at once and has them for good after a while. One sync serves
//! all that was appended before it began, so a slow disk makes larger groups. What is obsolete it
//! deletes when it likes, or never.
//!
//! A loss of power leaves any first part of what was not synced. The real store leaves less: all or nothing
//! of the commit that was being written, and nothing of what waited behind it
//! (`bts-replica/src/store/tests/crash.rs`). Every state it can be found in is one of these.

use std::collections::BTreeSet;

use bts_core::ids::{Incarnation, Lsn};
use bts_core::memory::Peers;
use bts_core::replica::{Obsolete, Record};

use super::rng::Rng;

/// An append-only log with syncs that take time, and what a store says of itself and of peers.
#[derive(Clone, Debug)]
pub struct Disk {
    incarnation: Incarnation,
    is_confirmed: bool,
    peers: Peers,
    /// What is known of peers once the next sync has ended.
    noted: Option<Peers>,
    appended: Vec<(Lsn, Record)>,
    durable: usize,
    syncing: Option<usize>,
    /// What may be deleted as soon as this record is durable.
    obsolete: Vec<(Lsn, Obsolete)>,
}

impl Disk {
    /// A new one.
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            is_confirmed: false,
            peers: Peers::new(),
            noted: None,
            appended: Vec::new(),
            durable: 0,
            syncing: None,
            obsolete: Vec::new(),
        }
    }

    /// Whose owner has met these peers, and was confirmed by them.
    pub fn settled(incarnation: Incarnation, peers: Peers) -> Self {
        Self {
            is_confirmed: true,
            peers,
            ..Self::new(incarnation)
        }
    }

    /// The random number of the store on it.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether enough peers remember the store.
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// Enough peers do.
    pub fn confirm(&mut self) {
        self.is_confirmed = true;
    }

    /// What is remembered of peers.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Remembers this of peers, at once.
    pub fn remember(&mut self, peers: Peers) {
        for (peer, known) in peers {
            let known_before = self.peers.get(&peer);
            if known_before.is_none_or(|before| before.position <= known.position) {
                self.peers.insert(peer, known);
            }
        }
    }

    /// Remembers this of peers with the next sync.
    pub fn note(&mut self, peers: Peers) {
        self.noted = Some(peers);
    }

    /// Nothing is known of how far the logs of peers came.
    pub fn forget_positions(&mut self) {
        self.noted = None;
        self.peers
            .values_mut()
            .for_each(|known| known.position = Lsn(0));
    }

    /// The log is durable up to here.
    pub fn position(&self) -> Lsn {
        let last = self.durable().last();
        last.map_or(Lsn(0), |(lsn, _)| *lsn)
    }

    /// What a copy of it would hold.
    pub fn copy(&self) -> Self {
        let mut copy = self.clone();
        copy.lose_unsynced(0);
        copy
    }

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
        if let Some(noted) = self.syncing.and_then(|_| self.noted.take()) {
            self.remember(noted);
        }
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
        (self.syncing, self.noted) = (None, None);
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

    /// What a loss of power may take away.
    pub fn unsynced_records(&self) -> &[(Lsn, Record)] {
        &self.appended[self.durable..]
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

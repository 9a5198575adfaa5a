//! What an operator may know of a replica.

use super::Replica;
use crate::message::Report;

impl Replica {
    /// How this replica is.
    pub(super) fn report(&self) -> Report {
        let spaces = self.store.space_sizes();
        let counters = self
            .counters
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_us: self.now.as_micros(),
            entries: self.store.entries(),
            spaces: spaces
                .map(|(name, size)| (name.clone(), size as u64))
                .take(1000)
                .collect(),
            removed: self.store.removed(),
            waiters: self.sessions.waiting() as u64,
            sessions: self.sessions.connected() as u64,
            peers: self.connected.iter().copied().collect(),
            refused: self.refused,
            forged: self
                .forged
                .iter()
                .map(|(key, count)| (*key, *count))
                .take(1000)
                .collect(),
            convicted: self
                .convicted
                .iter()
                .map(|(key, count)| (*key, *count))
                .take(1000)
                .collect(),
            signatures_checked: self.verifier.checks(),
            counters: counters.collect(),
            trouble: self.frozen.clone(),
            comparing: self.report_comparing(),
        }
    }
}

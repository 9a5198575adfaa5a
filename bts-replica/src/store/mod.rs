//! Where records go before what they promise may leave (docs/storage.md).
//!
//! One commit makes durable what arrived while the one before was under way, and removes what no
//! replay needs any more.

mod ballast;
mod compact;
mod disk;
mod error;
mod files;
mod folder;
mod format;
mod frame;
mod living;
mod memory;
mod open;
mod parts;
mod replay;
mod segments;
#[cfg(test)]
mod tests;

use bts_core::ids::Lsn;
use bts_core::memory::Peers;
use bts_core::replica::{Obsolete, Record, Unreplayable};

pub(crate) use disk::{DiskStore, Found};
pub use error::StoreError;
pub(crate) use files::sync_dir;
pub(crate) use format::Identity;
pub(crate) use memory::MemoryStore;
pub(crate) use parts::Totals;

/// What one commit is to make durable.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Records, whose numbers rise, also from batch to batch.
    pub(crate) records: Vec<(Lsn, Record)>,
    /// Records that no replay needs any more once this batch is durable.
    pub(crate) obsolete: Vec<Obsolete>,
    /// The peers met so far, if that changed.
    pub(crate) peers: Option<Peers>,
    /// Enough peers remember this store: it may be used.
    pub(crate) confirmed: bool,
}

impl Batch {
    /// True if nothing waits for it. What is obsolete can wait for the next.
    pub(crate) fn is_idle(&self) -> bool {
        self.records.is_empty() && self.peers.is_none() && !self.confirmed
    }
}

/// The records that a replay reads, in the order of their numbers.
pub(crate) type Log<'a> = &'a mut dyn Iterator<Item = (Lsn, Record)>;

/// A log of records. After an error it is of no use until it was replayed again.
pub(crate) trait Store: Send + 'static {
    /// Hands all that is durable to `read`, which reads it to its end unless it fails. The store
    /// can be used if this succeeds; returns how many records there were.
    fn replay(&mut self, read: &mut dyn FnMut(Log<'_>)) -> Result<u64, StoreError>;

    /// Makes a batch durable; returns the last record of the log.
    fn commit(&mut self, batch: Batch) -> Result<Option<Lsn>, StoreError>;

    /// Does a little of what can be done while nobody waits: makes ready what the next commits need.
    fn tend(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// After [`StoreError::Full`]: whether there is room again, and some to spare.
    fn has_room(&mut self) -> Result<(), StoreError>;

    /// What it means that its records do not fit each other.
    fn unreplayable(&self, why: Unreplayable) -> StoreError;

    /// Nothing more will be committed.
    fn close(self) -> Result<(), StoreError>
    where
        Self: Sized;
}

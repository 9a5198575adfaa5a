//! Where records go before what they promise may leave.

use std::io;

use bts_core::ids::Lsn;
use bts_core::replica::Record;

/// A log of records. After an error it must not be used again: what is on the disk is unknown then.
pub(crate) trait Store {
    /// Adds records, whose numbers rise.
    fn append(&mut self, records: Vec<(Lsn, Record)>) -> io::Result<()>;

    /// Makes all that was added survive what the store is to survive; returns the last of it.
    fn sync(&mut self) -> io::Result<Option<Lsn>>;
}

/// A store that survives nothing. That is honest only because peers remember its incarnation and
/// refuse the next one (A8): no replica comes back with less than it promised.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    last: Option<Lsn>,
}

impl Store for MemoryStore {
    fn append(&mut self, records: Vec<(Lsn, Record)>) -> io::Result<()> {
        self.last = records.last().map(|(lsn, _)| *lsn).or(self.last);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<Option<Lsn>> {
        Ok(self.last)
    }
}

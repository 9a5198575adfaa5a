//! A store that survives nothing.

use bts_core::ids::Lsn;
use bts_core::replica::Unreplayable;

use super::{Batch, Log, Store, StoreError};

/// Forgets all it is given. That is honest only because peers remember its incarnation and refuse
/// the next one (A8): no replica comes back with less than it promised.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    last: Option<Lsn>,
}

impl Store for MemoryStore {
    fn replay(&mut self, read: &mut dyn FnMut(Log<'_>)) -> Result<u64, StoreError> {
        read(&mut std::iter::empty());
        Ok(0)
    }

    fn commit(&mut self, batch: Batch) -> Result<Option<Lsn>, StoreError> {
        self.last = batch.records.last().map(|(lsn, _)| *lsn).or(self.last);
        Ok(self.last)
    }

    fn has_room(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn unreplayable(&self, why: Unreplayable) -> StoreError {
        unreachable!("there are no records, so none can be wrong: {why}")
    }

    fn close(self) -> Result<(), StoreError> {
        Ok(())
    }
}

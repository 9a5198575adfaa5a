//! Whether a record of a log fits what the log said before. In replay it is the log, and not this
//! program, that may be wrong.

use super::Store;
use crate::consensus::instance::Instance;
use crate::ids::EntryId;
use crate::replica::record::Change;

/// What a record is to a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Admitted {
    /// It goes on from what was there.
    Fits,
    /// What it went on from was deleted, and so would have been this record, in time.
    Leftover,
}

impl Store {
    /// Whether a change that a log claims fits what the log said before. Obsolete records may be
    /// there or not, each by itself: those whose predecessors are not are passed over.
    pub(in crate::replica) fn admits(&self, change: &Change) -> Result<Admitted, &'static str> {
        self.has_not_stopped()?;
        let (id, epoch) = match change {
            Change::Entry(content) => return self.admits_entry(&content.id),
            Change::FirstVote(take) => (&take.id, Some(take.epoch)),
            Change::Entered(promise, _) => (&promise.promise.id, Some(promise.promise.epoch)),
            Change::Prepared(id, epoch, _, _) => (id, Some(*epoch)),
            Change::Locked(lock, _) => (&lock.statement().id, Some(lock.statement().epoch)),
            Change::Decided(decided) => (decided.id(), None),
            Change::Released(released) => (&released.statement().id, None),
            Change::ForgotRoots(..)
            | Change::ForgotPut(_)
            | Change::Skipped(_)
            | Change::Settled(..)
            | Change::Ended(_)
            | Change::Stopped(_) => return Ok(Admitted::Fits),
        };
        if matches!(change, Change::Decided(_)) && !id.is_root() {
            // That of its origin may be forgotten, and then the put was never inserted here.
            return match self.removed.kept(id) {
                Some(_) => Err(REMOVED),
                None => Ok(Admitted::Fits),
            };
        }
        match (self.is_removed(id), id.is_root()) {
            (true, true) => return Err(REMOVED),
            (true, false) => return Ok(Admitted::Leftover),
            (false, _) => {}
        }
        let current = self.epoch(id);
        if epoch.is_some_and(|epoch| epoch < current) {
            return Err("its epoch was released before");
        }
        if epoch.is_some_and(|epoch| epoch > current) {
            return Ok(Admitted::Leftover);
        }
        let untouched = Instance::default();
        let bound = self.bound(id);
        let acceptor = bound.map_or(&untouched, |bound| &bound.instance);
        let promised = acceptor.promised();
        let fits = match change {
            Change::Prepared(_, _, ballot, _) if promised < *ballot => {
                return Ok(Admitted::Leftover);
            }
            Change::Locked(lock, _) if promised < lock.statement().ballot => {
                return Ok(Admitted::Leftover);
            }
            Change::FirstVote(take) => acceptor.may_first_vote(take.op()).is_ok(),
            Change::Entered(promise, _) => promise.promise.ballot > promised,
            Change::Prepared(_, _, ballot, value) => {
                promised == *ballot && acceptor.may_prepare(*ballot, *value).is_ok()
            }
            Change::Locked(lock, _) => promised == lock.statement().ballot,
            Change::Released(released) => released.statement().epoch >= current,
            Change::Entry(_)
            | Change::Decided(_)
            | Change::ForgotRoots(..)
            | Change::ForgotPut(_)
            | Change::Skipped(_)
            | Change::Settled(..)
            | Change::Ended(_)
            | Change::Stopped(_) => true,
        };
        match fits {
            true => Ok(Admitted::Fits),
            false => Err("the replica had bound itself otherwise"),
        }
    }

    /// The same of the content of an entry.
    pub(in crate::replica) fn admits_entry(&self, id: &EntryId) -> Result<Admitted, &'static str> {
        self.has_not_stopped()?;
        match self.is_removed(id) {
            true => Err(REMOVED),
            false => Ok(Admitted::Fits),
        }
    }

    fn has_not_stopped(&self) -> Result<(), &'static str> {
        match self.stopped {
            Some(_) => Err("the replica had stopped before"),
            None => Ok(()),
        }
    }
}

const REMOVED: &str = "its entry was removed before";

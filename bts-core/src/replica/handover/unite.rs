//! the one state that follows from what all replicas held. Of every entry it says the same whoever
//! computes it from the same exports.
//!
//! | of an entry the exports hold | it is |
//! |---|---|
//! | `f+1` words that it is gone | gone |
//! | else a decision | taken, and its puts are judged each by itself |
//! | else what forces `Take(op)` by R-5.2 | taken |
//! | else what forces `Release` by R-5.2 | present, in the next epoch |
//! | else a content | present, in the epoch it had, where nobody is bound to anything |
//!
//! Why nothing is lost or doubled: docs/protocol.md, R-7.9.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use super::export::Export;
use crate::consensus::certificate::Value;
use crate::consensus::choose::{Told, forced};
use crate::content::{DecidedTake, HeldContent, TakePayload};
use crate::crypto::verified::{ValidCertificate, Verified};
use crate::ids::{ClientRef, ContentHash, EntryId, Epoch, ReplicaId, TakeNumber};
use crate::quorum::ClusterSize;
use crate::replica::ranges::{RemovedRanges, WriterSession};

/// Why exports give no state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CannotUnite {
    /// A replica neither exported nor was given up.
    #[error("there is no export of {0}: get it, or give its memory up for lost")]
    Missing(ReplicaId),
    /// Two exports of one replica, or one of a replica that was given up.
    #[error("{0} is there twice")]
    Twice(ReplicaId),
    /// More replicas lost than the cluster survives.
    #[error("{0} replicas are given up, which is more than may be faulty")]
    TooManyGivenUp(usize),
    /// Two decisions of one entry, a put without its origin, a lock without its Take: more replicas are faulty
    /// than the cluster survives.
    #[error("what is said of {0} shows that more replicas are faulty than may be")]
    TooManyFaults(EntryId),
}

/// What a new configuration begins with.
#[derive(Debug, Default)]
pub struct United {
    /// Roots whose removal was forgotten, as ranges of counters.
    pub gone_roots: BTreeMap<WriterSession, Vec<(u64, u64)>>,
    /// Puts whose removal was forgotten, of the decisions below.
    pub gone_puts: BTreeSet<EntryId>,
    /// Decisions with their votes. Ids are in order of descent.
    pub decided: BTreeMap<EntryId, Arc<DecidedTake>>,
    /// Takes that have won since their instance was closed here, or had before without a vote more being
    /// known. They have no certificate: who signs the state must vouch for them.
    pub concluded: BTreeMap<EntryId, Verified<TakePayload>>,
    /// Entries that were written and are present, with all contents.
    pub written: BTreeMap<(EntryId, ContentHash), HeldContent>,
    /// Present puts of the decisions and conclusions above.
    pub puts: BTreeSet<EntryId>,
    /// By which certificate the epoch of a present entry began, if it is not its first.
    pub released: BTreeMap<EntryId, ValidCertificate>,
    /// Epochs of present entries that were released since their instance was closed here: as for
    /// `concluded`, who signs must vouch for it.
    pub ended: BTreeMap<EntryId, Epoch>,
    /// Below which number the Takes of a session are settled, if it still won something.
    pub settled: BTreeMap<ClientRef, TakeNumber>,
}

impl United {
    /// True if the entry is present.
    pub fn is_present(&self, id: &EntryId) -> bool {
        let first = (
            id.clone(),
            ContentHash(crate::crypto::hash::Digest([0; 32])),
        );
        let written = self.written.range(first..).next();
        self.puts.contains(id) || written.is_some_and(|((present, _), _)| present == id)
    }

    /// How many contents are present.
    pub fn present(&self) -> usize {
        self.written.len() + self.puts.len()
    }

    /// All Takes that won an entry and are still known.
    pub fn takes(&self) -> impl Iterator<Item = (&EntryId, &Verified<TakePayload>)> {
        let decided = self
            .decided
            .iter()
            .map(|(id, decided)| (id, decided.take()));
        decided.chain(&self.concluded)
    }

    /// In which epoch a present entry goes on.
    pub fn epoch(&self, id: &EntryId) -> Epoch {
        let released = self
            .released
            .get(id)
            .map(|released| released.statement().epoch);
        let ended = self.ended.get(id).copied();
        let last = released.max(ended);
        last.map_or(Epoch(0), |last| Epoch(last.0 + 1))
    }

    /// The Take that won the entry, if that is still known.
    pub fn taken(&self, id: &EntryId) -> Option<&Verified<TakePayload>> {
        let decided = self.decided.get(id).map(|decided| decided.take());
        decided.or_else(|| self.concluded.get(id))
    }
}

/// Unites the exports of all replicas but those given up: their memory is lost for good, and they count among
/// the `f` that may be faulty.
pub fn unite(
    size: ClusterSize,
    exports: &[Export],
    given_up: &BTreeSet<ReplicaId>,
) -> Result<United, CannotUnite> {
    let exports = in_order(size, exports, given_up)?;
    let mut work = Work {
        size,
        exports,
        united: United::default(),
    };
    work.gather_decisions()?;
    work.close_instances()?;
    work.check_descent()?;
    work.gather_written();
    work.judge_puts();
    work.drop_epochs_of_the_gone();
    work.tell_gone_roots();
    work.tell_settled();
    Ok(work.united)
}

fn in_order<'a>(
    size: ClusterSize,
    exports: &'a [Export],
    given_up: &BTreeSet<ReplicaId>,
) -> Result<Vec<&'a Export>, CannotUnite> {
    if given_up.len() > size.faults() {
        return Err(CannotUnite::TooManyGivenUp(given_up.len()));
    }
    let mut by_seat = BTreeMap::new();
    for export in exports {
        let replica = export.replica();
        if given_up.contains(&replica) || by_seat.insert(replica, export).is_some() {
            return Err(CannotUnite::Twice(replica));
        }
    }
    let mut seats = (0..).map(ReplicaId).take(size.replicas());
    let missing = |seat: &ReplicaId| !by_seat.contains_key(seat) && !given_up.contains(seat);
    match seats.find(missing) {
        Some(seat) => Err(CannotUnite::Missing(seat)),
        None => Ok(by_seat.into_values().collect()),
    }
}

struct Work<'a> {
    size: ClusterSize,
    /// In order of their seats, at least `P`.
    exports: Vec<&'a Export>,
    united: United,
}

impl Work<'_> {
    /// A decision is forgotten after `n-f` replicas logged it, of which at least `n-2f >= f+1` are correct and
    /// exported: they say "gone" or show it. So without a decision `f` words are lies.
    fn is_gone(&self, id: &EntryId) -> bool {
        let words = self.exports.iter().filter(|export| export.says_gone(id));
        words.count() >= self.words_enough()
    }

    fn words_enough(&self) -> usize {
        match mutant!(GoneByOneWord) {
            true => 1,
            false => self.size.fact_quorum(),
        }
    }

    fn gather_decisions(&mut self) -> Result<(), CannotUnite> {
        for decided in self.exports.iter().flat_map(|export| export.decided()) {
            let id = decided.id();
            let shows = |export: &&&Export| export.decided().any(|other| other.id() == id);
            if mutant!(DecisionOfFewDropped)
                && self.exports.iter().filter(shows).count() < self.size.fact_quorum()
            {
                continue;
            }
            match self.united.decided.get(id) {
                Some(known) if known.op() == decided.op() => {}
                Some(_) => return Err(CannotUnite::TooManyFaults(id.clone())),
                None if self.is_gone(id) => {}
                None => {
                    self.united.decided.insert(id.clone(), Arc::clone(decided));
                }
            }
        }
        Ok(())
    }

    fn close_instances(&mut self) -> Result<(), CannotUnite> {
        let open: BTreeSet<_> = self.exports.iter().flat_map(|e| e.instances()).collect();
        for id in open {
            if !self.united.decided.contains_key(id) && !self.is_gone(id) {
                self.close(id)?;
            }
        }
        Ok(())
    }

    /// on exactly `P` of the exports, as if they were promises of a ballot above all others: who
    /// exported votes no more.
    fn close(&mut self, id: &EntryId) -> Result<(), CannotUnite> {
        let epochs = self.exports.iter().map(|export| export.epoch(id));
        let epoch = epochs.max().unwrap_or_default();
        let in_it = self.exports.iter().filter(|e| e.epoch(id) == epoch);
        let released = in_it.clone().find_map(|export| export.released(id));
        if let Some(released) = released.filter(|_| !mutant!(ReleaseReopened)) {
            self.united.released.insert(id.clone(), released.clone());
        }
        let asked = self.size.promise_quorum() - usize::from(mutant!(TooFewExportsClose));
        let promises = self.exports.iter().take(asked);
        let told: Vec<Told> = promises.map(|export| export.told(id, epoch)).collect();
        let too_many = || CannotUnite::TooManyFaults(id.clone());
        match forced(self.size, &told) {
            Some(Value::Take(_)) if mutant!(NotConcluded) => {}
            Some(Value::Release) if mutant!(ReleaseReopened) => {}
            Some(Value::Take(op)) => {
                let take = in_it.clone().find_map(|export| export.take(id, op));
                let take = take.ok_or_else(too_many)?.clone();
                self.united.concluded.insert(id.clone(), take);
            }
            Some(Value::Release) => {
                self.united.ended.insert(id.clone(), epoch);
            }
            Some(Value::Expire) => return Err(too_many()),
            None => {}
        }
        Ok(())
    }

    /// The voters of a Take held its entry: of a put they had applied the origin.
    fn check_descent(&self) -> Result<(), CannotUnite> {
        for (id, _) in self.united.takes() {
            let Some((origin, index)) = id.origin() else {
                continue;
            };
            let is_put = match self.united.taken(&origin) {
                Some(take) => usize::from(index) < take.puts.len(),
                None => self.is_gone(&origin),
            };
            if !is_put {
                return Err(CannotUnite::TooManyFaults(id.clone()));
            }
        }
        Ok(())
    }

    fn gather_written(&mut self) {
        for content in self.exports.iter().flat_map(|export| export.written()) {
            let key = (content.id.clone(), content.hash);
            let is_known = self.united.written.contains_key(&key);
            let shows = |export: &&&Export| export.written().any(|other| other.id == content.id);
            if mutant!(EntryOfFewDropped)
                && self.exports.iter().filter(shows).count() <= self.size.fact_quorum()
            {
                continue;
            }
            if !is_known && self.united.taken(&content.id).is_none() && !self.is_gone(&content.id) {
                self.united.written.insert(key, content);
            }
        }
    }

    fn judge_puts(&mut self) {
        let takes = self.united.takes();
        let puts: Vec<_> = takes.flat_map(|(_, take)| take.put_ids()).collect();
        for put in puts {
            if self.united.taken(&put).is_some() {
                continue;
            }
            match self.is_gone(&put) && !mutant!(GonePutReturns) {
                true => self.united.gone_puts.insert(put),
                false => self.united.puts.insert(put),
            };
        }
    }

    fn drop_epochs_of_the_gone(&mut self) {
        let mut released = std::mem::take(&mut self.united.released);
        released.retain(|id, _| self.united.is_present(id));
        self.united.released = released;
        let mut ended = std::mem::take(&mut self.united.ended);
        ended.retain(|id, _| self.united.is_present(id));
        self.united.ended = ended;
    }

    /// What `f+1` know of a session one correct replica was told by it.
    fn tell_settled(&mut self) {
        let winners: BTreeSet<_> = self.united.takes().map(|(_, take)| take.taker()).collect();
        for winner in winners {
            let numbers = self.exports.iter().map(|export| export.settled(&winner));
            let mut numbers: Vec<_> = numbers.collect();
            numbers.sort_by(|one, other| other.cmp(one));
            let known = numbers.get(self.size.faults()).copied();
            if let Some(below) = known.filter(|below| *below > TakeNumber(0)) {
                self.united.settled.insert(winner, below);
            }
        }
    }

    fn tell_gone_roots(&mut self) {
        let claims: Vec<_> = self
            .exports
            .iter()
            .map(|export| export.gone_roots())
            .collect();
        let gone = RemovedRanges::in_at_least(self.words_enough(), &claims);
        self.united.gone_roots = gone.into_ranges().collect();
    }
}

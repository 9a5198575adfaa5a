//! What replicas answered, the newest of each, and what enough of them say alike.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{OpId, ReplicaId, WatchId};
use crate::message::Refused;
use crate::quorum::ClusterSize;

/// A replica's answer to round 1 of a read, but for the entries it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Not its last word: it named an entry, or could not say that there is none.
    pub(super) is_open: bool,
    /// It named nothing ("empty, watch w", or "empty but for" `moved`).
    pub(super) empty: Option<WatchId>,
    /// Decisions on which this depends.
    pub(super) moved: BTreeSet<OpId>,
}

/// The newest answer of each replica.
#[derive(Debug, Default)]
pub(super) struct Replies {
    newest: BTreeMap<ReplicaId, Answer>,
}

impl Replies {
    /// Takes an answer, in place of the replica's earlier one.
    pub(super) fn record(&mut self, from: ReplicaId, answer: Answer) {
        self.newest.insert(from, answer);
    }

    /// The replica's answer counts no more.
    pub(super) fn forget(&mut self, replica: ReplicaId) {
        self.newest.remove(&replica);
    }

    /// Nobody's answer counts any more.
    pub(super) fn clear(&mut self) {
        self.newest.clear();
    }

    /// True if a quorum answered.
    pub(super) fn are_enough(&self, size: ClusterSize) -> bool {
        self.newest.len() >= size.ack_quorum()
    }

    /// The answers.
    pub(super) fn all(&self) -> &BTreeMap<ReplicaId, Answer> {
        &self.newest
    }

    /// A replica that waits for us named an entry.
    pub(super) fn on_push(&mut self, from: ReplicaId) {
        if let Some(answer) = self.newest.get_mut(&from) {
            answer.is_open = true;
        }
    }

    /// Adds to the decisions on which a replica's answer depends.
    pub(super) fn add_moved(&mut self, from: ReplicaId, moved: impl IntoIterator<Item = OpId>) {
        if let Some(answer) = self.newest.get_mut(&from) {
            answer.moved.extend(moved);
        }
    }
}

/// Replicas that refuse for good. `f+1` of them are a fact; "limit" and "starting" are no refusals
/// but reasons to ask again.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by: BTreeMap<ReplicaId, Refused>,
    /// Who says that our session has ended: of that nothing else is a sign.
    ended: BTreeSet<ReplicaId>,
}

impl Refusals {
    /// Notes a refusal; the reason, if `f+1` replicas refuse.
    pub(super) fn count(
        &mut self,
        from: ReplicaId,
        refused: Refused,
        size: ClusterSize,
    ) -> Option<Refused> {
        if is_temporary(&refused) {
            return None;
        }
        if refused == Refused::SessionEnded {
            self.ended.insert(from);
            let is_fact = self.ended.len() >= size.fact_quorum();
            return is_fact.then_some(refused);
        }
        self.by.insert(from, refused);
        (self.by.len() >= size.fact_quorum()).then(|| self.reason())?
    }

    /// The most frequent kind of reason: a liar's text does not hide that of the others.
    fn reason(&self) -> Option<Refused> {
        let alike = |refused: &Refused| {
            let kind = std::mem::discriminant(refused);
            let same = |other: &&Refused| std::mem::discriminant(*other) == kind;
            self.by.values().filter(same).count()
        };
        let most = self.by.values().max_by_key(|refused| alike(refused));
        most.cloned()
    }
}

fn is_temporary(refused: &Refused) -> bool {
    match refused {
        Refused::Limit(_)
        | Refused::Starting
        | Refused::NoRoom(_)
        | Refused::Ended
        | Refused::TooManySessions => true,
        Refused::Forbidden(_)
        | Refused::IllFormed(_)
        | Refused::SessionEnded
        | Refused::Forged(_) => false,
    }
}

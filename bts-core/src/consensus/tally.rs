//! Counting votes: one per replica, for one statement, each threshold delivered once.

use std::collections::BTreeMap;

use super::certificate::{Certificate, SealedVote, Statement, VoteKind};
use crate::crypto::verified::VerifiedVote;
use crate::ids::ReplicaId;
use crate::misbehavior::Evidence;

/// The votes of one kind that somebody collects in one ballot of one instance.
#[derive(Clone, Debug)]
pub struct Tally {
    kind: VoteKind,
    votes: BTreeMap<ReplicaId, VerifiedVote>,
}

/// What a vote did to a tally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is the replica's first one here.
    New,
    /// The replica had said the same before.
    Repeated,
    /// The replica had said something else: proof against it. The earlier vote stands.
    Contradicts(Box<Evidence>),
    /// A vote of another kind, or about another ballot or instance than its vote before.
    OtherKind,
}

impl Tally {
    /// An empty tally.
    pub fn new(kind: VoteKind) -> Self {
        Self {
            kind,
            votes: BTreeMap::new(),
        }
    }

    /// Counts a vote. All votes given to one tally are of one instance and ballot; that is the
    /// caller's to see to, but a replica is never convicted by votes of two ballots.
    pub fn count(&mut self, vote: VerifiedVote) -> Counted {
        if vote.sealed().kind != self.kind {
            return Counted::OtherKind;
        }
        let replica = vote.replica();
        let Some(earlier) = self.votes.get(&replica) else {
            self.votes.insert(replica, vote);
            return Counted::New;
        };
        if earlier.statement() == vote.statement() {
            return Counted::Repeated;
        }
        if !earlier.statement().is_rival_of(vote.statement()) {
            return Counted::OtherKind;
        }
        let one: SealedVote = earlier.sealed().clone();
        let other = vote.sealed().clone();
        Counted::Contradicts(Box::new(Evidence::ContradictingVotes {
            replica,
            one,
            other,
        }))
    }

    /// Replicas that voted, whatever they said.
    pub fn voters(&self) -> usize {
        self.votes.len()
    }

    /// True if this replica voted.
    pub fn has_voted(&self, replica: ReplicaId) -> bool {
        self.votes.contains_key(&replica)
    }

    /// How many said this.
    pub fn votes_for(&self, statement: &Statement) -> usize {
        self.votes
            .values()
            .filter(|vote| vote.statement() == statement)
            .count()
    }

    /// A certificate of all votes for this statement, if there are at least `enough`.
    pub fn certificate(&self, statement: &Statement, enough: usize) -> Option<Certificate> {
        let agree = |vote: &&VerifiedVote| vote.statement() == statement;
        let votes: Vec<_> = self.votes.values().filter(agree).cloned().collect();
        (votes.len() >= enough && !votes.is_empty()).then(|| Certificate::of(&votes))
    }
}

//! Proposals, prepare votes and commit votes of the higher ballots (PROTOCOL section 5 rules 3, 4).
//! The owner's own proposal takes the same way as everybody else's.

use std::collections::BTreeMap;

use super::answer::Standing;
use super::outputs::VoteTo;
use super::record::Change;
use super::stash::Stashed;
use super::{Outputs, Principal, Replica};
use crate::consensus::ballot::owner;
use crate::consensus::certificate::{SealedVote, Statement, Value, VoteKind};
use crate::consensus::choose::{Choice, choose};
use crate::consensus::promise::{PromiseFault, ValidPromise};
use crate::consensus::tally::{Counted, Tally};
use crate::content::{Decision, TakePayload};
use crate::crypto::verified::{Verified, VerifiedVote};
use crate::ids::{OpId, ReplicaId};
use crate::limits::TAKES_PER_PROMISE_MAX;
use crate::message::{FetchKey, LockRequest, PeerMessage, Proposal};
use crate::misbehavior::{Evidence, Forgery};

type Takes = BTreeMap<OpId, Verified<TakePayload>>;

impl Replica {
    /// runs the owner's rule on the owner's promises before it votes.
    pub(super) fn on_propose(&mut self, from: ReplicaId, proposal: Proposal, out: &mut Outputs) {
        let by = Principal::Replica(from);
        let (id, epoch, ballot) = (&proposal.id, proposal.epoch, proposal.ballot);
        let statement = Statement {
            id: id.clone(),
            epoch,
            ballot,
            value: proposal.value,
        };
        if let Err(why) = statement.well_formed(VoteKind::Prepare) {
            return self.blame(by, why.into(), out);
        }
        if owner(self.size, id, epoch, ballot) != from {
            return self.blame(by, Forgery::WrongInstance, out);
        }
        match self.standing(by, id, epoch, proposal.released.clone(), out) {
            Standing::Current => {}
            Standing::Removed | Standing::Over => return self.tell_over(from, id),
            Standing::Ahead => {
                return self.want_epoch(by, id, epoch, out);
            }
        }
        if ballot < self.store.promised(id) {
            return self.repeat_promise(id, &[from]);
        }
        let limit = self.size.promise_quorum() * (TAKES_PER_PROMISE_MAX + 1) + 1;
        let takes = self.takes_of(by, id, epoch, &proposal.takes, limit, out);
        let takes: Takes = takes.into_iter().map(|take| (take.op(), take)).collect();
        match self.justified(&proposal, &takes) {
            Ok(chosen) => self.accept_proposal(from, statement, chosen, &takes, out),
            Err(Unjustified::Lacks(hashes)) => {
                let key = |hash| FetchKey::Content(id.clone(), hash);
                let keys: Vec<_> = hashes.into_iter().map(key).collect();
                self.stash.keep(
                    id,
                    Stashed::Peer(from, PeerMessage::Propose(proposal.clone())),
                );
                keys.into_iter().for_each(|key| self.want(key, by, out));
            }
            Err(Unjustified::Differs) => self.count("free choice differs"),
            Err(Unjustified::Forged(forgery)) => self.blame(by, forgery, out),
        }
    }

    /// Counts a prepare vote for an own proposal; `q` of them are a lock.
    pub(super) fn on_prepare_vote(&mut self, from: ReplicaId, vote: SealedVote, out: &mut Outputs) {
        let Some(vote) = self.vote_by(from, vote, VoteKind::Prepare, out) else {
            return;
        };
        let (id, quorum) = (vote.statement().id.clone(), self.size.ack_quorum());
        let released = self.released(&id);
        let Some(own) = self
            .contests
            .get_mut(&id)
            .and_then(|contest| contest.own.as_mut())
        else {
            return;
        };
        let same_ballot =
            vote.statement().ballot == own.ballot && vote.statement().epoch == own.statement.epoch;
        if !same_ballot {
            return;
        }
        let proof = contradiction(&mut own.prepared, vote);
        let certificate = own.prepared.certificate(&own.statement, quorum);
        if let (None, Some(certificate)) = (&own.lock, certificate) {
            let lock = LockRequest {
                certificate,
                take: own.evidence.clone(),
                released,
            };
            own.lock = Some(lock.clone());
            self.send_peers(&PeerMessage::Lock(lock.clone()), out);
            self.on_peer_lock(self.options.id, lock, out);
        }
        proof
            .into_iter()
            .for_each(|evidence| self.convict(evidence, out));
    }

    /// Counts a commit vote for an own lock; `q` of them decide.
    pub(super) fn on_commit_vote(&mut self, from: ReplicaId, vote: SealedVote, out: &mut Outputs) {
        let Some(vote) = self.vote_by(from, vote, VoteKind::Commit, out) else {
            return;
        };
        let (id, quorum) = (vote.statement().id.clone(), self.size.ack_quorum());
        let Some(own) = self
            .contests
            .get_mut(&id)
            .and_then(|contest| contest.own.as_mut())
        else {
            return;
        };
        let same_ballot =
            vote.statement().ballot == own.ballot && vote.statement().epoch == own.statement.epoch;
        if !same_ballot {
            return;
        }
        let proof = contradiction(&mut own.committed, vote);
        let certificate = own.committed.certificate(&own.statement, quorum);
        let is_take = matches!(own.statement.value, Value::Take(_));
        let take = is_take.then(|| own.evidence.clone());
        proof
            .into_iter()
            .for_each(|evidence| self.convict(evidence, out));
        let Some(certificate) = certificate else {
            return;
        };
        let decision = Decision { certificate, take };
        match self.verifier.decision(decision.clone()) {
            Ok(outcome) => {
                self.count("decided as owner");
                self.on_outcome(Principal::Replica(self.options.id), outcome, out);
                self.send_peers(&PeerMessage::Decide(decision), out);
            }
            Err(forgery) => panic!("a decision made of verified votes does not verify: {forgery}"),
        }
    }

    fn accept_proposal(
        &mut self,
        from: ReplicaId,
        statement: Statement,
        chosen: Option<Verified<TakePayload>>,
        takes: &Takes,
        out: &mut Outputs,
    ) {
        let id = &statement.id;
        for take in takes.values().chain(&chosen) {
            if self.allows(take) {
                self.learn(take.clone(), None);
            }
        }
        if statement.ballot > self.store.promised(id) && !mutant!(LockReplacedByLower) {
            self.join(id, statement.ballot, out);
        }
        let (ballot, value) = (statement.ballot, statement.value);
        let instance = self
            .store
            .bound(id)
            .map(|bound| bound.instance.clone())
            .unwrap_or_default();
        if instance.may_prepare(ballot, value).is_err() {
            return self.count("proposal refused");
        }
        if instance.voted() != Some((ballot, value)) {
            self.log(
                Change::Prepared(id.clone(), statement.epoch, ballot, value),
                out,
            );
        }
        self.vote(VoteTo::Replica(from), VoteKind::Prepare, statement);
    }

    /// True work of: every promise valid, the value permitted, its content held. It looks at
    /// the proposal's Takes only, so that it sees what the owner saw.
    fn justified(
        &self,
        proposal: &Proposal,
        takes: &Takes,
    ) -> Result<Option<Verified<TakePayload>>, Unjustified> {
        if proposal.promises.len() != self.size.promise_quorum() {
            return Err(Forgery::WrongInstance.into());
        }
        let known = |op: &OpId| takes.get(op).cloned();
        let lacks = takes.values().filter(|take| !self.holds(take));
        let lacks: Vec<_> = lacks.map(|take| take.content).collect();
        let mut promises = Vec::new();
        for signed in &proposal.promises {
            let signed = self.verifier.signed_promise(signed.clone())?;
            let allows = |take: &TakePayload| self.allows(take) || mutant!(PolicyNotAsked);
            match ValidPromise::new(&self.verifier, signed, known, allows) {
                Ok(promise) => promises.push(promise),
                Err(PromiseFault::BadLock(forgery)) => return Err(forgery.into()),
                Err(PromiseFault::NoAllowedTake) if !lacks.is_empty() => {
                    return Err(Unjustified::Lacks(lacks));
                }
                Err(PromiseFault::NoAllowedTake | PromiseFault::FirstUnknown(_)) => {
                    return Err(Forgery::TakeMissing.into());
                }
            }
        }
        let choice = choose(self.size, &promises).map_err(|_| Forgery::WrongInstance)?;
        let about = promises.first().map(ValidPromise::payload);
        let same = about.is_some_and(|promise| {
            let instance = (&promise.id, promise.epoch, promise.ballot);
            instance == (&proposal.id, proposal.epoch, proposal.ballot)
        });
        if !same {
            return Err(Forgery::WrongInstance.into());
        }
        if !choice.permits(proposal.value) {
            return Err(match choice {
                Choice::Forced(_) => Forgery::WrongInstance.into(),
                Choice::Free { .. } if lacks.is_empty() => Unjustified::Differs,
                Choice::Free { .. } => Unjustified::Lacks(lacks),
            });
        }
        match proposal.value {
            Value::Release | Value::Expire => Ok(None),
            Value::Take(op) => match known(&op) {
                Some(take) if self.holds(&take) => Ok(Some(take)),
                Some(take) => Err(Unjustified::Lacks(vec![take.content])),
                None => Err(Forgery::TakeMissing.into()),
            },
        }
    }

    fn vote_by(
        &mut self,
        from: ReplicaId,
        vote: SealedVote,
        kind: VoteKind,
        out: &mut Outputs,
    ) -> Option<VerifiedVote> {
        let forgery = match self.verifier.vote(vote) {
            Ok(vote) if vote.replica() == from && vote.sealed().kind == kind => return Some(vote),
            Ok(vote) => Forgery::NoSuchReplica(vote.replica()),
            Err(forgery) => forgery,
        };
        self.blame(Principal::Replica(from), forgery, out);
        None
    }
}

/// Why a proposal gets no vote.
enum Unjustified {
    /// Contents that are not held; they are asked for.
    Lacks(Vec<crate::ids::ContentHash>),
    /// The owner knows of other Takes than this replica; neither need be at fault.
    Differs,
    /// The owner is at fault.
    Forged(Forgery),
}

impl From<Forgery> for Unjustified {
    fn from(forgery: Forgery) -> Self {
        Self::Forged(forgery)
    }
}

fn contradiction(tally: &mut Tally, vote: VerifiedVote) -> Option<Evidence> {
    match tally.count(vote) {
        Counted::Contradicts(evidence) => Some(*evidence),
        Counted::New | Counted::Repeated | Counted::OtherKind => None,
    }
}

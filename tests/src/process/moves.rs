//! The moves of a client in a Take, one by one (PROTOCOL section 4), so that a test can stop after
//! any of them.

use std::collections::BTreeMap;

use bts_core::consensus::certificate::{Certificate, SealedVote};
use bts_core::content::{Content, Decision, Put};
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{EntryId, Epoch, ReplicaId};
use bts_core::message::{ClientBody, LockRequest, ReadMode, ReadRequest, ReplyBody, TakeRequest};
use bts_core::template::Template;
use bts_core::tuple::Tuple;

use super::hand::Hand;
use super::workers::space_name;

/// An entry that is written, and can be taken.
#[derive(Clone, Debug)]
pub struct Target {
    /// The entry.
    pub id: EntryId,
    /// As it was signed.
    pub entry: SignedBytes,
}

/// What the replicas answer to a Take or a Lock: votes, or that it is not to be.
#[derive(Debug, Default)]
pub struct Votes {
    /// The votes.
    pub votes: Vec<SealedVote>,
    /// Who did not vote.
    pub refused: Vec<(ReplicaId, ReplyBody)>,
}

impl Hand {
    /// Writes a tuple, and waits until a quorum has it.
    pub async fn write(&mut self, tuple: Tuple) -> Target {
        let id = self.new_id(&space_name());
        let entry = self.entry(id.clone(), tuple);
        let target = Target { id, entry };
        let out = ClientBody::Out {
            entry: target.entry.clone(),
        };
        let request = self.send(&self.replicas(), out);
        let quorum = self.configuration().size().ack_quorum();
        let ack = |body| (body == ReplyBody::Ack).then_some(());
        self.answers(request, quorum, ack).await;
        target
    }

    /// Asks everybody what there is to be taken, and waits until a quorum has answered.
    pub async fn enter(&mut self, template: Template) {
        let read = ReadRequest {
            space: space_name(),
            template,
            mode: ReadMode::Enter,
            start: 0,
            candidates: 4,
            full: ReplicaId(0),
        };
        let request = self.send(&self.replicas(), ClientBody::Read(read));
        let quorum = self.configuration().size().ack_quorum();
        let found = |body| matches!(body, ReplyBody::Found { .. }).then_some(());
        self.answers(request, quorum, found).await;
    }

    /// Signs a Take of the target.
    pub fn take_of(&mut self, target: &Target, puts: &[Tuple]) -> SignedBytes {
        let content = self.content_hash(&target.entry);
        let puts = puts.iter().cloned().map(Put::from).collect();
        self.take(&target.id, content, Epoch(0), puts)
    }

    /// Asks these replicas for their votes, and waits for the answer of each.
    pub async fn ask_for_votes(
        &mut self,
        of: &[ReplicaId],
        target: &Target,
        take: &SignedBytes,
    ) -> Votes {
        let take = TakeRequest {
            take: take.clone(),
            content: Some(Content::Signed(target.entry.clone())),
            released: None,
        };
        let request = self.send(of, ClientBody::Take(take));
        Votes::of(self.answers(request, of.len(), Some).await)
    }

    /// Locks a certificate at these replicas, and waits for the answer of each.
    pub async fn lock(
        &mut self,
        at: &[ReplicaId],
        certificate: &Certificate,
        take: &SignedBytes,
    ) -> Votes {
        let lock = LockRequest {
            certificate: certificate.clone(),
            take: take.clone(),
            released: None,
        };
        let request = self.send(at, ClientBody::Lock(lock));
        Votes::of(self.answers(request, at.len(), Some).await)
    }

    /// Tells these replicas of a decision, and waits until each has answered.
    pub async fn decide(&mut self, at: &[ReplicaId], decision: &Decision) -> Vec<ReplyBody> {
        let decide = ClientBody::Decide {
            decision: decision.clone(),
            applied: true,
        };
        let request = self.send(at, decide);
        let answers = self.answers(request, at.len(), Some).await;
        answers.into_values().collect()
    }
}

impl Votes {
    fn of(answers: BTreeMap<ReplicaId, ReplyBody>) -> Self {
        let mut votes = Self::default();
        for (replica, body) in answers {
            match body {
                ReplyBody::FirstVote(vote) | ReplyBody::CommitVote(vote) => votes.votes.push(vote),
                other => votes.refused.push((replica, other)),
            }
        }
        votes
    }

    /// All of them as a certificate, whether they are enough or not; without any there is none.
    pub fn certificate(&self) -> Option<Certificate> {
        let first = self.votes.first()?;
        let vote = |vote: &SealedVote| (vote.replica, vote.seal.clone());
        Some(Certificate {
            kind: first.kind,
            payload: first.payload.clone(),
            votes: self.votes.iter().map(vote).collect(),
            carried: None,
        })
    }
}

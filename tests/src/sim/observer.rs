//! Who sees every message: it notes what was written, taken and decided, and objects to what no
//! correct machine may ever say, whoever is lied to.
//!
//! * Two correct machines never hold contradicting decisions (agreement).
//! * A correct replica never gives contradicting votes.
//! * Nobody correct is accused of a fault.
//! * No Take is decided that the policy of its space forbids.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bts_core::codec;
use bts_core::configuration::{Configuration, Policy};
use bts_core::consensus::certificate::{SealedVote, Statement, Value, VoteKind};
use bts_core::content::{Decision, EntryPayload, TakePayload};
use bts_core::crypto::sign::{Kind, SignedBytes, SigningContext};
use bts_core::ids::{
    Ballot, ClientRef, ContentHash, EntryId, Epoch, Lsn, OpId, PublicKey, ReplicaId,
};
use bts_core::misbehavior::Evidence;
use bts_core::quorum::ClusterSize;
use bts_core::replica::{Event, Principal, Record};
use bts_core::tuple::Tuple;

use super::coverage::Coverage;
use super::node::{Flight, Node};
use super::parts::{self, Mark, Part};
use crate::check::history::Moment;

/// A Take that somebody sent.
#[derive(Clone, Debug)]
pub struct SeenTake {
    /// What it says.
    pub payload: TakePayload,
    /// When it was first seen.
    pub since: Moment,
}

/// An entry that a correct client sent.
#[derive(Clone, Debug)]
pub struct SentEntry {
    /// The entry.
    pub id: EntryId,
    /// Its tuple.
    pub tuple: Tuple,
    /// When it was first sent.
    pub since: Moment,
}

/// All that was seen.
#[derive(Debug)]
pub struct Observer {
    /// What the run came across.
    pub coverage: Coverage,
    context: SigningContext,
    policy: Policy,
    size: ClusterSize,
    replicas: BTreeSet<ReplicaId>,
    clients: BTreeMap<PublicKey, Vec<ClientRef>>,
    known: HashSet<Mark>,
    takes: BTreeMap<OpId, SeenTake>,
    sent_entries: Vec<SentEntry>,
    contents: BTreeMap<ContentHash, Tuple>,
    decided: BTreeMap<EntryId, OpId>,
    ended: BTreeMap<(EntryId, Epoch), Value>,
    votes: BTreeMap<(ReplicaId, VoteKind, EntryId, Epoch, Ballot), Value>,
    /// Signatures of promises that a correct replica sent.
    promised: HashSet<Mark>,
    objections: Vec<String>,
}

impl Observer {
    /// An observer that has seen nothing.
    pub fn new(configuration: &Configuration) -> Self {
        Self {
            coverage: Coverage::default(),
            context: *configuration.signing_context(),
            policy: configuration.policy().clone(),
            size: configuration.size(),
            replicas: BTreeSet::new(),
            clients: BTreeMap::new(),
            known: HashSet::new(),
            takes: BTreeMap::new(),
            sent_entries: Vec::new(),
            contents: BTreeMap::new(),
            decided: BTreeMap::new(),
            ended: BTreeMap::new(),
            votes: BTreeMap::new(),
            promised: HashSet::new(),
            objections: Vec::new(),
        }
    }

    /// This replica is correct.
    pub fn trust_replica(&mut self, id: ReplicaId) {
        self.replicas.insert(id);
    }

    /// This replica is not correct any more.
    pub fn distrust_replica(&mut self, id: ReplicaId) {
        self.replicas.remove(&id);
    }

    /// From now on votes are those of the next configuration, in which nobody has voted yet.
    pub fn begin_next(&mut self, configuration: &Configuration) {
        self.context = *configuration.signing_context();
        self.votes.clear();
    }

    /// A Take was found to have won an entry when its configuration ended.
    pub fn conclude(&mut self, id: &EntryId, op: OpId) {
        let earlier = *self.decided.entry(id.clone()).or_insert(op);
        if earlier != op {
            self.objections
                .push(format!("{op} is concluded for {id}, but {earlier} took it"));
        }
    }

    /// An epoch of an entry was released: no Take of it may be decided.
    pub fn release(&mut self, id: &EntryId, epoch: Epoch) {
        let instance = (id.clone(), epoch);
        let earlier = *self.ended.entry(instance).or_insert(Value::Release);
        if earlier != Value::Release {
            self.objections
                .push(format!("{epoch} of {id} is released, but it was {earlier}"));
        }
    }

    /// This client is correct, and so is whoever else has its key.
    pub fn trust_client(&mut self, client: ClientRef) {
        self.clients.entry(client.key).or_default().push(client);
    }

    /// True if the holders of this key are correct clients.
    pub fn trusts(&self, key: &PublicKey) -> bool {
        self.clients.contains_key(key)
    }

    /// The Take that was decided on each entry.
    pub fn decided(&self) -> impl Iterator<Item = (&EntryId, &SeenTake)> {
        let seen = |(id, op)| Some((id, self.takes.get(op)?));
        self.decided.iter().filter_map(seen)
    }

    /// Takes sent so far.
    pub fn takes(&self) -> impl Iterator<Item = (&OpId, &SeenTake)> {
        self.takes.iter()
    }

    /// The Take that removed this entry.
    pub fn decided_on(&self, id: &EntryId) -> Option<OpId> {
        self.decided.get(id).copied()
    }

    /// The tuple of a signed content, whoever signed it.
    pub fn tuple_of(&self, content: &ContentHash) -> Option<&Tuple> {
        self.contents.get(content)
    }

    /// Entries that correct clients sent.
    pub fn sent_entries(&self) -> &[SentEntry] {
        &self.sent_entries
    }

    /// True if something was seen that must never be.
    pub fn objects(&self) -> bool {
        !self.objections.is_empty()
    }

    /// What must never have been seen; they are told once.
    pub fn take_objections(&mut self) -> Vec<String> {
        std::mem::take(&mut self.objections)
    }

    /// A message is sent, by somebody correct or not.
    pub fn on_flight(&mut self, moment: Moment, flight: &Flight, honest: bool) {
        self.coverage.note(&flight.message);
        if honest {
            self.coverage.note_honest(self.size, &flight.message);
        }
        let from = flight.from;
        parts::visit(&flight.message, &mut |part| match part {
            Part::Entry(entry) => self.on_entry(moment, from, entry),
            Part::Take(take) => self.on_take(moment, take),
            Part::Decision(decision) if honest => self.on_decision(from, decision),
            Part::Vote(vote) => self.on_vote(from, vote),
            Part::Promise(promise) if honest => {
                self.promised.insert(parts::mark(promise));
            }
            Part::Decision(_) | Part::Promise(_) | Part::Certificate(_) | Part::End(_) => {}
        });
    }

    /// A correct replica logs a decision. It may have it from a faulty one and never pass it on.
    pub fn on_records(&mut self, moment: Moment, id: ReplicaId, records: &[(Lsn, Record)]) {
        for (_, record) in records {
            if let Record::Decided(decision) = record {
                if let Some(take) = &decision.take {
                    self.on_take(moment, take);
                }
                self.on_decision(Node::Replica(id), decision);
            }
            if let Record::Released(certificate) = record
                && let Ok(said) = codec::decode_payload::<Statement>(&certificate.payload)
            {
                self.release(&said.id, said.epoch);
            }
            match record {
                Record::ForgotRoots(..) => self.coverage.mark("root forgotten"),
                Record::ForgotPut(_) => self.coverage.mark("put forgotten"),
                Record::Skipped(_) => self.coverage.mark("skipped"),
                Record::Settled(..) => self.coverage.mark("settled, but kept"),
                Record::Ended(_) => self.coverage.mark("session ended"),
                Record::Stopped(_)
                | Record::Entry(_)
                | Record::FirstVote(_)
                | Record::Entered(..)
                | Record::Prepared(..)
                | Record::Locked(..)
                | Record::Decided(_)
                | Record::Released(_) => {}
            }
        }
    }

    /// These records were lost before they were synced: nothing of what they say may have left.
    pub fn on_lost(&mut self, id: ReplicaId, records: &[(Lsn, Record)]) {
        for (lsn, record) in records {
            let has_left = match record {
                Record::FirstVote(take) => codec::decode_payload::<TakePayload>(&take.payload)
                    .is_ok_and(|take| {
                        let voting = (id, VoteKind::First, take.id, take.epoch, Ballot::ZERO);
                        self.votes.contains_key(&voting)
                    }),
                Record::Prepared(entry, epoch, ballot, _) => {
                    let voting = (id, VoteKind::Prepare, entry.clone(), *epoch, *ballot);
                    self.votes.contains_key(&voting)
                }
                Record::Entered(promise, _) => self.promised.contains(&parts::mark(promise)),
                Record::Locked(..)
                | Record::Entry(_)
                | Record::Decided(_)
                | Record::Released(_)
                | Record::ForgotRoots(..)
                | Record::ForgotPut(_)
                | Record::Skipped(_)
                | Record::Settled(..)
                | Record::Ended(_)
                | Record::Stopped(_) => false,
            };
            if has_left {
                self.objections.push(format!(
                    "{id} said what record {lsn} says before that was stored: {record:?}"
                ));
            }
        }
    }

    /// What a correct replica told people.
    pub fn on_replica_events(&mut self, replica: ReplicaId, events: &[Event]) {
        for event in events {
            self.coverage.note_event(event);
            let accused = match event {
                Event::Forged { by, .. } => self.is_trusted(by),
                Event::Convicted(evidence) => self.is_wrongly_convicted(evidence),
                Event::Refused { .. } => false,
            };
            if accused {
                self.objections
                    .push(format!("{replica} accuses somebody correct: {event:?}"));
            }
        }
    }

    /// What a correct client told people.
    pub fn on_client_events(&mut self, client: usize, events: &[(ReplicaId, String)]) {
        for (accused, what) in events {
            self.coverage.mark("client reports a fault");
            if self.replicas.contains(accused) {
                self.objections.push(format!(
                    "c{client} accuses {accused}, which is correct: {what}"
                ));
            }
        }
    }

    fn is_trusted(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Client(client) => self.trusts(&client.key),
            Principal::Replica(id) => self.replicas.contains(id),
        }
    }

    fn is_wrongly_convicted(&self, evidence: &Evidence) -> bool {
        match evidence {
            Evidence::ContradictingPromises { replica, .. }
            | Evidence::ContradictingVotes { replica, .. } => self.replicas.contains(replica),
            Evidence::TwoContents { writer, .. } => self.trusts(writer),
        }
    }

    fn is_new(&mut self, signed: &SignedBytes) -> bool {
        self.known.insert(parts::mark(signed))
    }

    fn on_entry(&mut self, moment: Moment, from: Node, signed: &SignedBytes) {
        // What hostile replicas relay may be altered under an old signature.
        let by_author = matches!(from, Node::Client(_)) || !self.trusts(&signed.signer);
        if !by_author || !self.is_new(signed) {
            return;
        }
        let hash = self
            .context
            .leaf(Kind::Entry, &signed.signer, &signed.payload);
        let Ok(entry) = codec::decode_payload::<EntryPayload>(&signed.payload) else {
            return;
        };
        self.contents.insert(ContentHash(hash), entry.tuple.clone());
        if self.trusts(&signed.signer) {
            self.sent_entries.push(SentEntry {
                id: entry.id,
                tuple: entry.tuple,
                since: moment,
            });
        }
    }

    fn on_take(&mut self, moment: Moment, signed: &SignedBytes) {
        if !self.is_new(signed) {
            return;
        }
        let op = OpId(
            self.context
                .leaf(Kind::Take, &signed.signer, &signed.payload),
        );
        if let Ok(payload) = codec::decode_payload::<TakePayload>(&signed.payload) {
            let seen = SeenTake {
                payload,
                since: moment,
            };
            self.takes.entry(op).or_insert(seen);
        }
    }

    fn on_decision(&mut self, from: Node, decision: &Decision) {
        let Ok(said) = codec::decode_payload::<Statement>(&decision.certificate.payload) else {
            return;
        };
        let instance = (said.id.clone(), said.epoch);
        let earlier = *self.ended.entry(instance).or_insert(said.value);
        if earlier != said.value {
            self.objections
                .push(format!("{from} says {said}, but it was {earlier}"));
        }
        if let Value::Take(op) = said.value {
            self.coverage.note_decision(&decision.certificate, &said);
            let earlier = *self.decided.entry(said.id.clone()).or_insert(op);
            if earlier != op {
                self.objections
                    .push(format!("{from} says {said}, but {earlier} took it"));
            }
            let take = self.takes.get(&op);
            if take.is_some_and(|take| !self.policy.allows(&take.payload, None)) {
                self.objections
                    .push(format!("{from} says {said}, which the policy forbids"));
            }
        }
    }

    fn on_vote(&mut self, from: Node, vote: &SealedVote) {
        if from != Node::Replica(vote.replica) || !self.replicas.contains(&vote.replica) {
            return;
        }
        let Ok(said) = codec::decode_payload::<Statement>(&vote.payload) else {
            return;
        };
        let voting = (
            vote.replica,
            vote.kind,
            said.id.clone(),
            said.epoch,
            said.ballot,
        );
        let earlier = *self.votes.entry(voting).or_insert(said.value);
        if earlier != said.value {
            self.objections.push(format!(
                "{} votes for {said} and for {earlier}",
                vote.replica
            ));
        }
    }
}

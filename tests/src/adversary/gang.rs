//! What all hostile replicas and clients of a world know together: their keys, and every signed
//! thing that any of them came across. Genuine signatures used in the wrong place are the best lies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Content, Decision, EntryPayload, TakePayload};
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{Ballot, ContentHash, EntryId, Epoch, OpId, ReplicaId};

use super::forge::{self, ClientForge, ReplicaForge};
use crate::sim::node::Message;
use crate::sim::parts::{self, Mark, Part, mark};
use crate::sim::rng::Rng;

/// Things of one kind that are remembered; newer ones replace the oldest.
const KEPT_MAX: usize = 64;

/// Of things that are found by what they are about, every second one is forgotten beyond so many: a hostile process
/// that runs for hours stays as quick as it was. No simulated run comes near.
const FOUND_MAX: usize = 2048;

/// The shared knowledge.
#[derive(Clone, Debug)]
pub struct Gang {
    configuration: Arc<Configuration>,
    lore: Arc<Mutex<Lore>>,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Lore {
    /// Keys of hostile replicas.
    pub replicas: Vec<ReplicaForge>,
    /// Keys of hostile clients.
    pub clients: Vec<ClientForge>,
    /// Takes, by hash.
    pub takes: BTreeMap<OpId, (SignedBytes, TakePayload)>,
    /// Contents of entries.
    pub contents: BTreeMap<EntryId, Vec<(ContentHash, Content)>>,
    /// Votes of ballot 0, and higher ones.
    pub votes: BTreeMap<Statement, BTreeMap<(ReplicaId, VoteKind), SealedVote>>,
    /// Certificates.
    pub certificates: Vec<(Certificate, Statement)>,
    /// Decisions.
    pub decisions: Vec<Decision>,
    /// Promises, by instance and ballot.
    pub promises: BTreeMap<(EntryId, Epoch, Ballot), BTreeMap<ReplicaId, SignedBytes>>,
    /// Whole messages.
    pub messages: Vec<Message>,
    /// Signatures seen, so that nothing is learnt twice.
    seen: BTreeSet<Mark>,
}

impl Gang {
    /// A gang that knows nothing yet.
    pub fn new(configuration: Arc<Configuration>) -> Self {
        Self {
            configuration,
            lore: Arc::default(),
        }
    }

    /// The cluster.
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// What is known.
    pub fn lore(&self) -> MutexGuard<'_, Lore> {
        self.lore.lock().expect("nobody panics while holding it")
    }

    /// One of them came across this message.
    pub fn learn(&self, message: &Message) {
        let mut lore = self.lore();
        let lore = &mut *lore;
        parts::visit(message, &mut |part| lore.learn(&self.configuration, part));
        lore.forget();
        keep(&mut lore.messages, message.clone());
    }

    /// A certificate of `count` votes that nobody gave.
    pub fn forged_certificate(
        &self,
        kind: VoteKind,
        said: &Statement,
        count: usize,
    ) -> Option<Certificate> {
        let lore = self.lore();
        let own = lore.replicas.first()?;
        let votes = self.configuration.replicas().take(count);
        let votes: Vec<_> = votes.map(|id| own.vote_of(id, kind, said)).collect();
        forge::certificate(&votes)
    }

    /// What some Take in ballot 0 says: any known one, of this entry if possible.
    pub fn some_take(&self, rng: &mut Rng, id: Option<&EntryId>) -> Option<(OpId, SignedBytes)> {
        let lore = self.lore();
        let fits = |payload: &TakePayload| id.is_none_or(|id| payload.id == *id);
        let all = lore.takes.iter().filter(|(_, (_, payload))| fits(payload));
        let all: Vec<_> = all.map(|(op, (signed, _))| (*op, signed)).collect();
        rng.pick(&all).map(|(op, signed)| (*op, (*signed).clone()))
    }
}

impl Lore {
    fn learn(&mut self, configuration: &Configuration, part: Part<'_>) {
        match part {
            Part::Entry(signed) if self.seen.insert(mark(signed)) => {
                if let Ok(entry) = codec::decode_payload::<EntryPayload>(&signed.payload) {
                    let hash = forge::content_hash(configuration, signed);
                    let contents = self.contents.entry(entry.id).or_default();
                    contents.push((hash, Content::Signed(signed.clone())));
                }
            }
            Part::Take(signed) if self.seen.insert(mark(signed)) => {
                if let Ok(take) = codec::decode_payload::<TakePayload>(&signed.payload) {
                    let op = forge::op_of(configuration, signed);
                    self.takes.insert(op, (signed.clone(), take));
                }
            }
            Part::Promise(signed) if self.seen.insert(mark(signed)) => {
                self.learn_promise(configuration, signed);
            }
            Part::Vote(vote) => self.learn_vote(vote),
            Part::Certificate(certificate) => self.learn_certificate(certificate),
            Part::Decision(decision) => self.learn_decision(decision),
            Part::Entry(_) | Part::Take(_) | Part::Promise(_) | Part::End(_) => {}
        }
    }

    fn forget(&mut self) {
        halve(&mut self.contents);
        halve(&mut self.takes);
        halve(&mut self.votes);
        halve(&mut self.promises);
        // What was forgotten may be learnt again.
        if self.seen.len() > 8 * FOUND_MAX {
            self.seen.clear();
        }
    }

    fn learn_promise(&mut self, configuration: &Configuration, signed: &SignedBytes) {
        let replica = configuration.replica_of(&signed.signer);
        let promise = codec::decode_payload::<PromisePayload>(&signed.payload);
        if let (Some(replica), Ok(promise)) = (replica, promise) {
            let key = (promise.id, promise.epoch, promise.ballot);
            self.promises
                .entry(key)
                .or_default()
                .insert(replica, signed.clone());
        }
    }

    fn learn_vote(&mut self, vote: &SealedVote) {
        if let Ok(said) = codec::decode_payload::<Statement>(&vote.payload) {
            let votes = self.votes.entry(said).or_default();
            votes.insert((vote.replica, vote.kind), vote.clone());
        }
    }

    fn learn_certificate(&mut self, certificate: &Certificate) {
        let known = self
            .certificates
            .iter()
            .any(|(known, _)| known == certificate);
        if let (false, Ok(said)) = (known, codec::decode_payload(&certificate.payload)) {
            keep(&mut self.certificates, (certificate.clone(), said));
        }
    }

    fn learn_decision(&mut self, decision: &Decision) {
        if self.decisions.contains(decision) {
            return;
        }
        self.learn_certificate(&decision.certificate);
        keep(&mut self.decisions, decision.clone());
        let said = codec::decode_payload::<Statement>(&decision.certificate.payload);
        let Ok(Statement {
            id,
            value: Value::Take(op),
            ..
        }) = said
        else {
            return;
        };
        let puts = self
            .takes
            .get(&op)
            .map_or(0, |(_, take)| take.puts.len() as u16);
        for index in 0..puts {
            if let Some(put) = id.put(index) {
                let hash = bts_core::content::put_hash(op, index);
                let contents = self.contents.entry(put).or_default();
                if contents.iter().all(|(known, _)| *known != hash) {
                    contents.push((hash, Content::Put(Box::new(decision.clone()))));
                }
            }
        }
    }
}

fn halve<K: Ord, V>(found: &mut BTreeMap<K, V>) {
    if found.len() <= FOUND_MAX {
        return;
    }
    let mut stays = false;
    found.retain(|_, _| {
        stays = !stays;
        stays
    });
}

fn keep<T>(kept: &mut Vec<T>, new: T) {
    if kept.len() >= KEPT_MAX {
        kept.remove(0);
    }
    kept.push(new);
}

//! what all replicas of the next configuration begin with, as the records of a log. Votes of the old
//! configuration mean nothing in the next: in their place, each decision and each release names its way
//! in a Merkle tree whose root is part of the configuration. So whoever trusts the configuration need
//! not know any earlier one, however many there were.

use std::collections::BTreeMap;

use super::unite::United;
use crate::codec;
use crate::consensus::certificate::{Certificate, Statement, Value, VoteKind};
use crate::content::{Decision, Source};
use crate::crypto::batch::{self, PathStep};
use crate::crypto::hash::{Digest, Domain, Hasher};
use crate::crypto::sign::SigningContext;
use crate::ids::{Ballot, EntryId, Epoch};
use crate::replica::record::Record;

/// The beginning of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// What the proofs of decisions and releases lead to: the next configuration's
    /// [`founding`](crate::configuration::Configuration::founding).
    pub proofs: Digest,
    /// Hash of the records, as they are encoded, in order.
    pub state: Digest,
    /// The log that each replica begins with, numbered from 1.
    pub records: Vec<Record>,
}

/// Makes the hash of what a configuration begins with.
#[derive(Debug)]
pub struct StateHasher(Hasher);

impl Default for StateHasher {
    fn default() -> Self {
        Self(Hasher::new(Domain::Founding).part(b"state"))
    }
}

impl StateHasher {
    /// The next record, as it is encoded.
    pub fn add(&mut self, record: &[u8]) {
        let hasher = std::mem::replace(&mut self.0, Hasher::new(Domain::Founding));
        self.0 = hasher.part(record);
    }

    /// After the last.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

impl Founding {
    /// The same from the same state, whoever makes it. `context` is that of the configuration that ended;
    /// only its cluster matters.
    pub fn of(united: &United, context: &SigningContext) -> Self {
        let facts = Facts::of(united, context);
        let mut records = Vec::new();
        let gone = united.gone_roots.iter();
        for (session, ranges) in gone.filter(|_| !mutant!(GoneRootNotTold)) {
            let record = Record::ForgotRoots(session.clone(), ranges.clone());
            records.push(record);
        }
        // In the order of ids, which is that of descent: the puts of one are there when they are taken.
        let takes: BTreeMap<_, _> = united.takes().collect();
        for (id, take) in takes {
            records.push(Record::Decided(Decision {
                certificate: facts.certificate(&facts.takes[id]),
                take: Some(take.signed().clone()),
            }));
        }
        records.extend(united.gone_puts.iter().cloned().map(Record::ForgotPut));
        for content in united.written.values() {
            if let Source::Entry(entry) = &content.source {
                records.push(Record::Entry(entry.signed().clone()));
            }
        }
        let releases = facts.releases.values();
        records.extend(releases.map(|at| Record::Released(facts.certificate(at))));
        let settled = united.settled.iter();
        records.extend(settled.map(|(session, below)| Record::Settled(*session, *below)));
        let mut hasher = StateHasher::default();
        for record in &records {
            hasher.add(&codec::encode(record));
        }
        Self {
            proofs: facts.root,
            state: hasher.finish(),
            records,
        }
    }
}

/// What votes had said, and the tree over it.
struct Facts<'a> {
    /// Encoded statements, with their ways to the root.
    said: Vec<(Vec<u8>, Vec<PathStep>)>,
    /// Where the statement about an entry stands.
    takes: BTreeMap<&'a EntryId, usize>,
    releases: BTreeMap<&'a EntryId, usize>,
    root: Digest,
}

impl<'a> Facts<'a> {
    fn of(united: &'a United, context: &SigningContext) -> Self {
        let (mut takes, mut releases) = (BTreeMap::new(), BTreeMap::new());
        let mut said = Vec::new();
        for (id, take) in united.takes() {
            takes.insert(id, said.len());
            said.push(encoded(id, take.epoch, Value::Take(take.op())));
        }
        for id in united.released.keys().chain(united.ended.keys()) {
            let last = united.epoch(id).0.checked_sub(1).map(Epoch);
            if let Some(last) = last.filter(|_| !releases.contains_key(id)) {
                releases.insert(id, said.len());
                said.push(encoded(id, last, Value::Release));
            }
        }
        let leaf = |bytes: &Vec<u8>| context.carried_leaf(bytes);
        let leaves: Vec<_> = said.iter().map(leaf).collect();
        let (root, paths) = match leaves.is_empty() {
            true => (Hasher::new(Domain::Founding).finish(), Vec::new()),
            false => batch::build(&leaves),
        };
        Self {
            said: said.into_iter().zip(paths).collect(),
            takes,
            releases,
            root,
        }
    }

    fn certificate(&self, at: &usize) -> Certificate {
        let (payload, path) = self.said[*at].clone();
        Certificate {
            kind: VoteKind::Commit,
            payload,
            votes: Vec::new(),
            carried: Some(path.into_boxed_slice()),
        }
    }
}

/// In which ballot it was decided matters no more: it is 1, where a `Release` can be decided as well.
fn encoded(id: &EntryId, epoch: Epoch, value: Value) -> Vec<u8> {
    codec::encode(&Statement {
        id: id.clone(),
        epoch,
        ballot: Ballot(1),
        value,
    })
}

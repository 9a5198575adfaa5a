//! A cluster whose keys are all known: whatever a correct or a faulty process could sign, tests can.

use std::sync::Arc;

use bts_core::codec;
use bts_core::configuration::{Configuration, Policy};
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::content::{EntryPayload, Put, TakePayload};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{Kind, SignedBytes, Signer};
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{
    Ballot, ClusterId, ContentHash, EntryId, Epoch, OpId, PublicKey, ReplicaId, Seq, Session,
    SpaceName, TakeNumber,
};
use bts_core::tuple::Tuple;
use ed25519_dalek::SigningKey;
use proptest::test_runner::{Config, RngSeed};

/// A cluster with the keys of all its members.
pub(crate) struct Cluster {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) verifier: Verifier,
    pub(crate) replicas: Vec<Signer>,
}

impl Cluster {
    /// Four replicas, one of which may be faulty.
    pub(crate) fn of_four() -> Self {
        Self::new(4, 1, 1, [9; 32])
    }

    pub(crate) fn new(n: u8, faults: usize, number: u64, cluster: [u8; 32]) -> Self {
        let keys: Vec<_> = (0..n).map(|i| SigningKey::from_bytes(&[i; 32])).collect();
        let public = keys.iter().map(public_key).collect();
        let policy = Policy::default();
        let configuration =
            Configuration::new(ClusterId(cluster), number, public, faults, policy).unwrap();
        let context = *configuration.signing_context();
        let configuration = Arc::new(configuration);
        Self {
            verifier: Verifier::new(Arc::clone(&configuration)),
            configuration,
            replicas: keys
                .into_iter()
                .map(|key| Signer::new(key, context))
                .collect(),
        }
    }

    /// A client of this cluster; its key is made of `seed`.
    pub(crate) fn client(&self, seed: u8) -> Signer {
        let key = SigningKey::from_bytes(&[seed; 32]);
        Signer::new(key, *self.configuration.signing_context())
    }

    pub(crate) fn key(&self, replica: u16) -> PublicKey {
        self.configuration.key_of(ReplicaId(replica)).unwrap()
    }

    pub(crate) fn vote(&self, replica: u16, kind: VoteKind, statement: &Statement) -> SealedVote {
        let signer = &self.replicas[usize::from(replica)];
        SealedVote::new(signer, ReplicaId(replica), kind, statement)
    }

    pub(crate) fn certificate(
        &self,
        kind: VoteKind,
        statement: &Statement,
        voters: impl IntoIterator<Item = u16>,
    ) -> Certificate {
        let votes = voters.into_iter().map(|voter| {
            let vote = self.vote(voter, kind, statement);
            (vote.replica, vote.seal)
        });
        Certificate {
            kind,
            payload: codec::encode(statement),
            votes: votes.collect(),
            carried: None,
        }
    }
}

pub(crate) fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// An entry id of `writer` in `space`.
pub(crate) fn id_in(space: &str, writer: PublicKey, seq: u64) -> EntryId {
    let space = SpaceName::new(space).unwrap();
    EntryId::written(space, writer, Session(3), Seq(seq))
}

pub(crate) fn entry_payload(writer: &Signer, seq: u64) -> EntryPayload {
    EntryPayload {
        id: id_in("jobs", writer.public(), seq),
        tuple: Tuple(vec!["task".into(), 17u64.into()]),
        expiry: None,
        access: None,
    }
}

pub(crate) fn take_payload(client: &Signer, id: &EntryId, epoch: u8) -> TakePayload {
    TakePayload {
        client: client.public(),
        session: Session(5),
        number: TakeNumber(1),
        id: id.clone(),
        content: ContentHash(Digest([4; 32])),
        epoch: Epoch(epoch),
        puts: vec![Put::from(Tuple(vec!["done".into()]))],
    }
}

pub(crate) fn signed(signer: &Signer, kind: Kind, payload: &impl serde::Serialize) -> SignedBytes {
    signer.sign(kind, codec::encode(payload))
}

pub(crate) fn statement(id: &EntryId, epoch: u8, ballot: u32, value: Value) -> Statement {
    Statement {
        id: id.clone(),
        epoch: Epoch(epoch),
        ballot: Ballot(ballot),
        value,
    }
}

/// An `op` of no particular Take.
pub(crate) fn some_op(seed: u8) -> OpId {
    OpId(Digest([seed; 32]))
}

/// A configuration for property tests that draws the same cases in every run.
pub(crate) fn seeded(cases: u32, seed: u64) -> Config {
    Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    }
}

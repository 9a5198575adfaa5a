//! Keys in hostile hands: signs whatever a holder of the key can sign, true or not, legal or not.
//! Nothing else can be forged; bytes that are signed by nobody are easy.

use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{EndPayload, EntryPayload, Put, TakePayload};
use bts_core::crypto::sign::{Kind, SignedBytes, Signer, SigningContext};
use bts_core::ids::{
    Ballot, ClusterId, ContentHash, EntryId, Epoch, OpId, PublicKey, ReplicaId, Seq, Session,
    SpaceName, TakeNumber,
};
use bts_core::tuple::Tuple;
use ed25519_dalek::SigningKey;

/// A replica's key.
#[derive(Clone, Debug)]
pub struct ReplicaForge {
    id: ReplicaId,
    key: SigningKey,
    context: SigningContext,
    signer: Signer,
}

impl ReplicaForge {
    /// The key of this replica.
    pub fn new(configuration: &Configuration, id: ReplicaId, key: SigningKey) -> Self {
        Self {
            id,
            signer: Signer::new(key.clone(), *configuration.signing_context()),
            key,
            context: *configuration.signing_context(),
        }
    }

    /// Whose key it is.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// The same key in another cluster, where its signatures mean something else.
    pub fn abroad(&self) -> Self {
        let context = SigningContext {
            cluster: ClusterId([0xAB; 32]),
            ..self.context
        };
        Self {
            signer: Signer::new(self.key.clone(), context),
            context,
            ..self.clone()
        }
    }

    /// A vote, whatever was voted before.
    pub fn vote(&self, kind: VoteKind, said: &Statement) -> SealedVote {
        SealedVote::new(&self.signer, self.id, kind, said)
    }

    /// A vote that claims to be another replica's.
    pub fn vote_of(&self, other: ReplicaId, kind: VoteKind, said: &Statement) -> SealedVote {
        SealedVote {
            replica: other,
            ..self.vote(kind, said)
        }
    }

    /// A first vote for this Take.
    pub fn first_vote(
        &self,
        configuration: &Configuration,
        take: &SignedBytes,
    ) -> Option<SealedVote> {
        let said = first_statement(configuration, take)?;
        Some(self.vote(VoteKind::First, &said))
    }

    /// An entry that claims to be written by somebody else.
    pub fn entry_of(&self, writer: PublicKey, payload: &EntryPayload) -> SignedBytes {
        let own = self.signer.sign(Kind::Entry, codec::encode(payload));
        SignedBytes {
            signer: writer,
            ..own
        }
    }

    /// A promise, true or not.
    pub fn promise(&self, payload: &PromisePayload) -> SignedBytes {
        self.signer.sign(Kind::Promise, codec::encode(payload))
    }
}

/// A client's key.
#[derive(Clone, Debug)]
pub struct ClientForge {
    signer: Signer,
    session: Session,
}

impl ClientForge {
    /// The key of this client.
    pub fn new(configuration: &Configuration, key: SigningKey, session: Session) -> Self {
        Self {
            signer: Signer::new(key, *configuration.signing_context()),
            session,
        }
    }

    /// Whose key it is.
    pub fn public(&self) -> PublicKey {
        self.signer.public()
    }

    /// The session that it speaks in.
    pub fn session(&self) -> Session {
        self.session
    }

    /// The id of its entry of this number.
    pub fn id(&self, space: &SpaceName, seq: u64) -> EntryId {
        EntryId::written(space.clone(), self.public(), self.session, Seq(seq))
    }

    /// An entry; two with one id are possible, of course.
    pub fn entry(&self, id: EntryId, tuple: Tuple) -> SignedBytes {
        let payload = EntryPayload {
            id,
            tuple,
            expiry: None,
            access: None,
        };
        self.signer.sign(Kind::Entry, codec::encode(&payload))
    }

    /// A Take.
    pub fn take(
        &self,
        number: u64,
        id: EntryId,
        content: ContentHash,
        epoch: Epoch,
        puts: Vec<Put>,
    ) -> SignedBytes {
        let payload = TakePayload {
            client: self.public(),
            session: self.session,
            number: TakeNumber(number),
            id,
            content,
            epoch,
            puts,
        };
        self.sign_take(&payload)
    }

    /// The end of a session, of whatever key.
    pub fn end(&self, key: PublicKey, session: Session) -> SignedBytes {
        let payload = codec::encode(&EndPayload { key, session });
        self.signer.sign(Kind::EndSession, payload)
    }

    /// A Take that may name anybody.
    pub fn sign_take(&self, payload: &TakePayload) -> SignedBytes {
        self.signer.sign(Kind::Take, codec::encode(payload))
    }
}

/// The hash of a signed entry.
pub fn content_hash(configuration: &Configuration, entry: &SignedBytes) -> ContentHash {
    let context = configuration.signing_context();
    ContentHash(context.leaf(Kind::Entry, &entry.signer, &entry.payload))
}

/// The hash of a signed Take.
pub fn op_of(configuration: &Configuration, take: &SignedBytes) -> OpId {
    let context = configuration.signing_context();
    OpId(context.leaf(Kind::Take, &take.signer, &take.payload))
}

/// What a first vote for this Take says.
pub fn first_statement(configuration: &Configuration, take: &SignedBytes) -> Option<Statement> {
    let payload: TakePayload = codec::decode_payload(&take.payload).ok()?;
    Some(Statement {
        id: payload.id,
        epoch: payload.epoch,
        ballot: Ballot::ZERO,
        value: Value::Take(op_of(configuration, take)),
    })
}

/// A certificate of these votes, which need not be valid, or agree.
pub fn certificate(votes: &[SealedVote]) -> Option<Certificate> {
    let first = votes.first()?;
    Some(Certificate {
        kind: first.kind,
        payload: first.payload.clone(),
        votes: votes
            .iter()
            .map(|vote| (vote.replica, vote.seal.clone()))
            .collect(),
        carried: None,
    })
}

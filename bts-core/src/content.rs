//! What clients sign, and what a replica holds of an entry: entries, Takes with their puts, and the
//! contents that follow from them (PROTOCOL section 2). What a correct replica holds is
//! self-certifying: anyone may relay it, nobody can forge it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec;
use crate::consensus::certificate::{Certificate, CertificateKind, Value};
use crate::crypto::hash::{Domain, Hasher};
use crate::crypto::sign::SignedBytes;
use crate::crypto::verified::{ValidCertificate, Verified, Verifier};
use crate::ids::{ClientRef, ContentHash, EntryId, Epoch, OpId, PublicKey, Session, TakeNumber};
use crate::limits::{ACCESS_KEYS_MAX, EPOCH_MAX, PUTS_BYTES_MAX, PUTS_MAX};
use crate::misbehavior::Forgery;
use crate::tuple::{Tuple, TupleError};

/// Why something signed is not what it claims to be, whoever signed it. The rules are equal at all
/// replicas, so an ill-formed Take is no Take for anybody (C7).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IllFormed {
    /// The entry names another writer than its signer, or the Take or the end of a session another client.
    #[error("signed by another key than it names")]
    ForeignSigner,
    /// The id is not in its one legal form, or is of a reserved kind.
    #[error("the id is not canonical or of a reserved kind")]
    BadId,
    /// An `out` writes roots; puts come from Takes only.
    #[error("an entry with a path can only be put by a Take")]
    NotARoot,
    /// A tuple breaks the bounds.
    #[error("bad tuple: {0}")]
    BadTuple(#[from] TupleError),
    /// Reserved: entries do not expire yet.
    #[error("expiry is not supported by this version")]
    Expiry,
    /// An access list is too long.
    #[error("an access list has at most {ACCESS_KEYS_MAX} keys")]
    AccessTooLong,
    /// Higher than any epoch that can exist.
    #[error("epoch above {EPOCH_MAX}")]
    EpochTooHigh,
    /// Too many puts, too long, or too deep.
    #[error("more than {PUTS_MAX} puts, {PUTS_BYTES_MAX} bytes of puts, or too deep a descent")]
    BadPuts,
    /// The kind of vote does not go with its ballot or value.
    #[error("a vote of this kind cannot have this ballot or value")]
    BadVote,
    /// More Takes than a promise may name.
    #[error("a promise names too many Takes or has ballot 0")]
    BadPromise,
}

/// Who may read and take one entry, besides what the policy of its space says. `None`: everybody
/// whom the space admits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Keys that may read.
    pub read: Option<Vec<PublicKey>>,
    /// Keys that may take.
    pub take: Option<Vec<PublicKey>>,
}

impl Access {
    fn check(&self) -> Result<(), IllFormed> {
        let lists = [&self.read, &self.take];
        match lists
            .into_iter()
            .flatten()
            .all(|keys| keys.len() <= ACCESS_KEYS_MAX)
        {
            true => Ok(()),
            false => Err(IllFormed::AccessTooLong),
        }
    }
}

/// The signed payload of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPayload {
    /// Identity: space, writer, session, counter.
    pub id: EntryId,
    /// The tuple.
    pub tuple: Tuple,
    /// Reserved: microseconds since the Unix epoch. `Some` is ill-formed in this version.
    pub expiry: Option<u64>,
    /// Who may read and take it.
    pub access: Option<Access>,
}

impl EntryPayload {
    /// Checks all that does not depend on a configuration.
    pub fn well_formed(&self, signer: &PublicKey) -> Result<(), IllFormed> {
        if !self.id.is_canonical() {
            return Err(IllFormed::BadId);
        }
        if !self.id.is_root() {
            return Err(IllFormed::NotARoot);
        }
        match self.id.root() {
            crate::ids::Root::Written { writer, .. } if writer == signer => {}
            _ => return Err(IllFormed::ForeignSigner),
        }
        check_body(&self.tuple, self.expiry, self.access.as_ref())
    }
}

/// What a swap puts in place of the entry it takes. Not signed by itself: it is a part of the Take,
/// and its id and content hash follow from it (A3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The tuple.
    pub tuple: Tuple,
    /// Reserved, as in [`EntryPayload`].
    pub expiry: Option<u64>,
    /// Who may read and take it.
    pub access: Option<Access>,
}

impl From<Tuple> for Put {
    fn from(tuple: Tuple) -> Self {
        Self {
            tuple,
            expiry: None,
            access: None,
        }
    }
}

/// R-7.12. The signed payload of the end of a session: "nobody of it wants to know any more what its Takes won,
/// and it takes nothing more".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndPayload {
    /// The key of the session; the signer.
    pub key: PublicKey,
    /// The session.
    pub session: Session,
}

impl EndPayload {
    /// Checks all that does not depend on a configuration.
    pub fn well_formed(&self, signer: &PublicKey) -> Result<(), IllFormed> {
        match self.key == *signer {
            true => Ok(()),
            false => Err(IllFormed::ForeignSigner),
        }
    }

    /// The session that ends.
    pub fn session(&self) -> ClientRef {
        ClientRef {
            key: self.key,
            session: self.session,
        }
    }
}

/// The signed payload of a Take: "I take this content of this entry in this epoch, and put these in
/// its place". Its hash is `op`, the value that votes name (A3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakePayload {
    /// The client's key; the signer.
    pub client: PublicKey,
    /// The client's session.
    pub session: Session,
    /// A new number for each engagement (G4).
    pub number: TakeNumber,
    /// The entry.
    pub id: EntryId,
    /// Which of its contents, should a faulty writer have signed several (A2).
    pub content: ContentHash,
    /// The epoch in which it shall be taken.
    pub epoch: Epoch,
    /// What comes in its place.
    #[serde(deserialize_with = "codec::at_most::<PUTS_MAX, _, _>")]
    pub puts: Vec<Put>,
}

impl TakePayload {
    /// The process that takes.
    pub fn taker(&self) -> ClientRef {
        ClientRef {
            key: self.client,
            session: self.session,
        }
    }

    /// The ids of what comes in its place. A well-formed Take has one for each put.
    pub fn put_ids(&self) -> impl Iterator<Item = EntryId> {
        let indices = (0..).zip(&self.puts).map(|(index, _)| index);
        indices.filter_map(|index| self.id.put(index))
    }

    /// Checks all that does not depend on a configuration.
    pub fn well_formed(&self, signer: &PublicKey) -> Result<(), IllFormed> {
        if self.client != *signer && !mutant!(ForeignTake) {
            return Err(IllFormed::ForeignSigner);
        }
        if !self.id.is_canonical() {
            return Err(IllFormed::BadId);
        }
        if self.epoch.0 > EPOCH_MAX {
            return Err(IllFormed::EpochTooHigh);
        }
        if self.puts.len() > PUTS_MAX || codec::encoded_len(&self.puts) > PUTS_BYTES_MAX {
            return Err(IllFormed::BadPuts);
        }
        for (index, put) in (0..).zip(&self.puts) {
            check_body(&put.tuple, put.expiry, put.access.as_ref())?;
            self.id.put(index).ok_or(IllFormed::BadPuts)?;
        }
        Ok(())
    }
}

fn check_body(
    tuple: &Tuple,
    expiry: Option<u64>,
    access: Option<&Access>,
) -> Result<(), IllFormed> {
    tuple.check()?;
    if expiry.is_some() {
        return Err(IllFormed::Expiry);
    }
    access.map_or(Ok(()), Access::check)
}

impl Verified<TakePayload> {
    /// The hash that votes for this Take name.
    pub fn op(&self) -> OpId {
        OpId(self.leaf())
    }
}

/// The end of an instance, as it travels: a certificate and, if its value is a Take, the Take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Votes that decide.
    pub certificate: Certificate,
    /// The decided Take; `None` for `Release`.
    pub take: Option<SignedBytes>,
}

/// A verified decision that some Take won. (A Release is a [`ValidCertificate`] and no more.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedTake {
    certificate: ValidCertificate,
    take: Verified<TakePayload>,
}

impl DecidedTake {
    /// Joins a deciding certificate with the Take that it names.
    pub fn new(
        certificate: ValidCertificate,
        take: Verified<TakePayload>,
    ) -> Result<Self, Forgery> {
        if certificate.meaning() != CertificateKind::Decision {
            return Err(Forgery::NotADecision);
        }
        let statement = certificate.statement();
        let same = statement.value == Value::Take(take.op())
            && statement.id == take.id
            && statement.epoch == take.epoch;
        match same || mutant!(DecisionOfAnotherTake) {
            true => Ok(Self { certificate, take }),
            false => Err(Forgery::TakeMismatch),
        }
    }

    /// The Take.
    pub fn take(&self) -> &Verified<TakePayload> {
        &self.take
    }

    /// The votes.
    pub fn certificate(&self) -> &ValidCertificate {
        &self.certificate
    }

    /// The entry that was taken.
    pub fn id(&self) -> &EntryId {
        &self.take.id
    }

    /// The decision's identity: one Take at most is decided per entry.
    pub fn op(&self) -> OpId {
        self.take.op()
    }

    /// The decision as it travels.
    pub fn to_wire(&self) -> Decision {
        Decision {
            certificate: self.certificate.certificate().clone(),
            take: Some(self.take.signed().clone()),
        }
    }

    /// The contents that this decision puts in place.
    pub fn puts(self: &Arc<Self>) -> Vec<HeldContent> {
        let content = |(index, put): (u16, &Put)| HeldContent {
            id: self
                .take
                .id
                .put(index)
                .expect("well-formed Takes have puts with ids"),
            hash: put_hash(self.op(), index),
            tuple: put.tuple.clone(),
            access: put.access.clone(),
            source: Source::Put(Arc::clone(self)),
        };
        (0..).zip(&self.take.puts).map(content).collect()
    }
}

/// The content hash of put `index` of the Take `op`.
pub fn put_hash(op: OpId, index: u16) -> ContentHash {
    let hasher = Hasher::new(Domain::Put)
        .part(&op.0.0)
        .number(u64::from(index));
    ContentHash(hasher.finish())
}

/// Either end of an instance, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A Take won.
    Taken(Arc<DecidedTake>),
    /// The entry stays, the next epoch begins.
    Released(ValidCertificate),
}

impl Outcome {
    /// It as it travels.
    pub fn to_wire(&self) -> Decision {
        match self {
            Self::Taken(decided) => decided.to_wire(),
            Self::Released(valid) => Decision {
                certificate: valid.certificate().clone(),
                take: None,
            },
        }
    }
}

impl Verifier {
    /// Checks a decision: its votes, its Take, and that they belong together.
    pub fn decision(&self, decision: Decision) -> Result<Outcome, Forgery> {
        let certificate = self.decision_certificate(decision.certificate)?;
        match (certificate.statement().value, decision.take) {
            (Value::Take(_), Some(take)) => {
                let decided = DecidedTake::new(certificate, self.take(take)?)?;
                Ok(Outcome::Taken(Arc::new(decided)))
            }
            (Value::Take(_), None) => Err(Forgery::TakeMissing),
            (Value::Release, _) => Ok(Outcome::Released(certificate)),
            (Value::Expire, _) => Err(Forgery::IllFormed(IllFormed::Expiry)),
        }
    }

    /// Checks a certificate that `(id, epoch)` was released.
    pub fn release(
        &self,
        certificate: Certificate,
        id: &EntryId,
        epoch: Epoch,
    ) -> Result<ValidCertificate, Forgery> {
        let valid = self.decision_certificate(certificate)?;
        let said = valid.statement();
        match said.value == Value::Release && said.id == *id && said.epoch == epoch {
            true => Ok(valid),
            false => Err(Forgery::WrongInstance),
        }
    }

    /// Checks a content that claims to be one of `id`.
    pub fn content(&self, content: Content, id: &EntryId) -> Result<HeldContent, Forgery> {
        let held = match content {
            Content::Signed(signed) => HeldContent::from_entry(self.entry(signed)?),
            Content::Put(decision) => {
                let Outcome::Taken(decided) = self.decision(*decision)? else {
                    return Err(Forgery::TakeMissing);
                };
                let same = |put: &HeldContent| put.id == *id;
                decided
                    .puts()
                    .into_iter()
                    .find(same)
                    .ok_or(Forgery::WrongInstance)?
            }
        };
        match held.id == *id {
            true => Ok(held),
            false => Err(Forgery::WrongInstance),
        }
    }
}

/// A content as it travels: what proves it, and nothing that follows from the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// An entry with its writer's signature.
    Signed(SignedBytes),
    /// A put: the decision that put it in place. Which put is told by the id asked for.
    Put(Box<Decision>),
}

/// What proves a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The writer's signature.
    Entry(Verified<EntryPayload>),
    /// The decision of its origin, which is applied as a whole or not at all (A7).
    Put(Arc<DecidedTake>),
}

/// A verified content of an entry.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldContent {
    /// The entry.
    pub id: EntryId,
    /// The content's hash.
    pub hash: ContentHash,
    /// The tuple.
    pub tuple: Tuple,
    /// Who may read and take it.
    pub access: Option<Access>,
    /// What proves it.
    pub source: Source,
}

impl HeldContent {
    /// The content of a signed entry.
    pub fn from_entry(entry: Verified<EntryPayload>) -> Self {
        Self {
            id: entry.id.clone(),
            hash: ContentHash(entry.leaf()),
            tuple: entry.tuple.clone(),
            access: entry.access.clone(),
            source: Source::Entry(entry),
        }
    }

    /// The content as it travels.
    pub fn to_wire(&self) -> Content {
        match &self.source {
            Source::Entry(entry) => Content::Signed(entry.signed().clone()),
            Source::Put(decided) => Content::Put(Box::new(decided.to_wire())),
        }
    }
}

impl fmt::Debug for HeldContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.hash)
    }
}

//! The only makers of witnesses: whoever holds a [`Verified`] or a [`ValidCertificate`] need not
//! ask whether somebody checked it. "Valid signature" is one predicate everywhere: `verify_strict`
//! on the root of the batch (A12).

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ed25519_dalek::{Signature, VerifyingKey};

use super::batch;
use super::hash::Digest;
use super::sign::{Kind, Seal, SignedBytes, root_message};
use crate::codec::{self, DecodeError};
use crate::configuration::Configuration;
use crate::consensus::certificate::{
    Certificate, CertificateKind, SealedVote, Statement, VoteKind,
};
use crate::content::{EndPayload, EntryPayload, TakePayload};
use crate::ids::{PublicKey, ReplicaId};
use crate::limits::VERIFIED_ROOTS_MAX;
use crate::misbehavior::Forgery;

/// A payload whose signature, form and signer were checked, with the bytes it came in.
pub struct Verified<T>(Arc<VerifiedInner<T>>);

struct VerifiedInner<T> {
    value: T,
    signed: SignedBytes,
    leaf: Digest,
}

impl<T> Verified<T> {
    /// The message as it travels.
    pub fn signed(&self) -> &SignedBytes {
        &self.0.signed
    }

    /// Who signed it.
    pub fn signer(&self) -> PublicKey {
        self.0.signed.signer
    }

    /// The hash of all that the signature binds: the message's identity.
    pub fn leaf(&self) -> Digest {
        self.0.leaf
    }

    /// What was verified before, and packed by [`super::packed`] meanwhile.
    pub(super) fn restored(value: T, signed: SignedBytes, leaf: Digest) -> Self {
        Self(Arc::new(VerifiedInner {
            value,
            signed,
            leaf,
        }))
    }
}

impl<T> Clone for Verified<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> PartialEq for Verified<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.leaf == other.0.leaf
    }
}

impl<T> Eq for Verified<T> {}

impl<T: fmt::Debug> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.value)
    }
}

/// A certificate every vote of which was verified. A quorum of them speaks, whoever relays it.
#[derive(Clone, PartialEq, Eq)]
pub struct ValidCertificate(Arc<CertificateInner>);

#[derive(PartialEq, Eq)]
struct CertificateInner {
    certificate: Certificate,
    statement: Statement,
    meaning: CertificateKind,
}

impl ValidCertificate {
    /// The certificate as it travels.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// What its votes say.
    pub fn statement(&self) -> &Statement {
        &self.0.statement
    }

    /// Which votes it consists of.
    pub fn kind(&self) -> VoteKind {
        self.0.certificate.kind
    }

    /// What it is good for in the cluster whose verifier made it.
    pub fn meaning(&self) -> CertificateKind {
        self.0.meaning
    }
}

impl fmt::Debug for ValidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} certificate of {}", self.kind(), self.statement())
    }
}

/// A vote of a known replica whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedVote {
    statement: Statement,
    sealed: SealedVote,
}

impl VerifiedVote {
    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The vote as it travels.
    pub fn sealed(&self) -> &SealedVote {
        &self.sealed
    }

    /// Who voted.
    pub fn replica(&self) -> ReplicaId {
        self.sealed.replica
    }
}

/// Checks signatures of one cluster. A root that was verified once is remembered with its very
/// signature, so the messages of a batch cost one check.
#[derive(Debug)]
pub struct Verifier {
    configuration: Arc<Configuration>,
    roots: VerifiedRoots,
    checks: Cell<u64>,
    trust: Trust,
}

/// Whether signatures are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Every one.
    Nobody,
    /// None: the bytes are our own, written after they had been verified.
    OwnLog,
}

impl Verifier {
    /// A verifier for this configuration.
    pub fn new(configuration: Arc<Configuration>) -> Self {
        Self::sharing(configuration, VerifiedRoots::default())
    }

    /// A verifier that remembers together with others of its process.
    pub fn sharing(configuration: Arc<Configuration>, roots: VerifiedRoots) -> Self {
        Self {
            configuration,
            roots,
            checks: Cell::new(0),
            trust: Trust::Nobody,
        }
    }

    /// For what this very replica verified before it wrote it: everything but signatures is checked.
    /// Only replay uses it.
    pub(crate) fn of_own_log(configuration: Arc<Configuration>) -> Self {
        Self {
            trust: Trust::OwnLog,
            ..Self::new(configuration)
        }
    }

    /// The configuration.
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// How many Ed25519 checks were made, cached ones not counted.
    pub fn checks(&self) -> u64 {
        self.checks.get()
    }

    /// A signed entry: signature, form, and that its signer is the writer in its id.
    pub fn entry(&self, signed: SignedBytes) -> Result<Verified<EntryPayload>, Forgery> {
        let entry: Verified<EntryPayload> = self.payload(Kind::Entry, signed)?;
        entry
            .well_formed(&entry.signer())
            .map_err(Forgery::IllFormed)?;
        Ok(entry)
    }

    /// A signed Take: signature, form, and that its signer is the client it names.
    pub fn take(&self, signed: SignedBytes) -> Result<Verified<TakePayload>, Forgery> {
        let take: Verified<TakePayload> = self.payload(Kind::Take, signed)?;
        take.well_formed(&take.signer())
            .map_err(Forgery::IllFormed)?;
        Ok(take)
    }

    /// The end of a session: signature, form, and that its signer is the key whose session it is.
    pub fn end(&self, signed: SignedBytes) -> Result<Verified<EndPayload>, Forgery> {
        let end: Verified<EndPayload> = self.payload(Kind::EndSession, signed)?;
        let well_formed = end.well_formed(&end.signer());
        if !mutant!(ForeignEnd) {
            well_formed.map_err(Forgery::IllFormed)?;
        }
        Ok(end)
    }

    /// A payload that we signed ourselves, which needs no check.
    pub(crate) fn own<T: codec::Payload>(
        &self,
        kind: Kind,
        value: T,
        signed: SignedBytes,
    ) -> Verified<T> {
        debug_assert_eq!(
            signed.payload,
            codec::encode(&value),
            "it is what was signed"
        );
        let context = self.configuration.signing_context();
        let leaf = context.leaf(kind, &signed.signer, &signed.payload);
        Verified(Arc::new(VerifiedInner {
            value,
            signed,
            leaf,
        }))
    }

    /// A promise's signature and encoding, and that its signer is a replica. Whether the promise
    /// is *valid* (G9c) needs the Takes it names, which [`crate::consensus::promise`] checks.
    pub fn promise<T: codec::Payload>(
        &self,
        signed: SignedBytes,
    ) -> Result<(ReplicaId, Verified<T>), Forgery> {
        self.of_replica(Kind::Promise, signed)
    }

    /// What a replica says that it holds at the end of its configuration: signature and encoding,
    /// and that its signer is a replica.
    pub fn export<T: codec::Payload>(
        &self,
        signed: SignedBytes,
    ) -> Result<(ReplicaId, Verified<T>), Forgery> {
        self.of_replica(Kind::Export, signed)
    }

    /// One vote.
    pub fn vote(&self, vote: SealedVote) -> Result<VerifiedVote, Forgery> {
        let statement = self.statement(vote.kind, &vote.payload)?;
        self.vote_seal(vote.kind, &vote.payload, vote.replica, &vote.seal)?;
        Ok(VerifiedVote {
            statement,
            sealed: vote,
        })
    }

    /// A certificate that can be locked or that decides: distinct replicas, enough of them for its
    /// kind, every vote verified.
    pub fn certificate(&self, certificate: Certificate) -> Result<ValidCertificate, Forgery> {
        let statement = self.statement(certificate.kind, &certificate.payload)?;
        if certificate.carried.is_some() {
            return self.carried(certificate, statement);
        }
        let mut voters = BTreeSet::new();
        for (replica, seal) in &certificate.votes {
            if !voters.insert(*replica) && !mutant!(VotersNotDistinct) {
                return Err(Forgery::VoterTwice(*replica));
            }
            self.vote_seal(certificate.kind, &certificate.payload, *replica, seal)?;
        }
        if mutant!(VotersNotDistinct) {
            voters.extend((0..).map(ReplicaId).take(certificate.votes.len()));
        }
        if voters.len() < self.configuration.size().ack_quorum() {
            return Err(Forgery::TooFewVotes(voters.len()));
        }
        Ok(self.valid(certificate, statement))
    }

    /// in place of votes, the way to what the configuration is founded on. It has one form, that of
    /// commit votes.
    fn carried(
        &self,
        certificate: Certificate,
        statement: Statement,
    ) -> Result<ValidCertificate, Forgery> {
        let leaf = self.configuration.signing_context();
        let leaf = leaf.carried_leaf(&certificate.payload);
        let path = certificate.carried.as_deref().unwrap_or_default();
        let root = batch::root(leaf, path).ok_or(Forgery::PathTooLong)?;
        let is_founded = self.configuration.founding() == Some(root);
        let has_form = certificate.votes.is_empty() && certificate.kind == VoteKind::Commit;
        match (is_founded || mutant!(CarriedUnchecked)) && has_form {
            true => Ok(self.valid(certificate, statement)),
            false => Err(Forgery::NotCarried),
        }
    }

    fn valid(&self, certificate: Certificate, statement: Statement) -> ValidCertificate {
        let meaning = certificate.meaning(self.configuration.size());
        ValidCertificate(Arc::new(CertificateInner {
            certificate,
            statement,
            meaning,
        }))
    }

    /// A certificate that decides (section 5): `q` commit votes, or `F` first votes.
    pub fn decision_certificate(
        &self,
        certificate: Certificate,
    ) -> Result<ValidCertificate, Forgery> {
        let valid = self.certificate(certificate)?;
        match valid.meaning() {
            CertificateKind::Decision => Ok(valid),
            CertificateKind::Lock => Err(Forgery::NotADecision),
        }
    }

    fn of_replica<T: codec::Payload>(
        &self,
        kind: Kind,
        signed: SignedBytes,
    ) -> Result<(ReplicaId, Verified<T>), Forgery> {
        let replica = self.configuration.replica_of(&signed.signer);
        let replica = replica.ok_or(Forgery::NotAReplica(signed.signer))?;
        Ok((replica, self.payload(kind, signed)?))
    }

    fn statement(&self, kind: VoteKind, payload: &[u8]) -> Result<Statement, Forgery> {
        let statement: Statement = decode_canonical(payload)?;
        statement.well_formed(kind).map_err(Forgery::IllFormed)?;
        Ok(statement)
    }

    fn vote_seal(
        &self,
        kind: VoteKind,
        payload: &[u8],
        replica: ReplicaId,
        seal: &Seal,
    ) -> Result<(), Forgery> {
        let key = self
            .configuration
            .key_of(replica)
            .ok_or(Forgery::NoSuchReplica(replica))?;
        self.check(kind.signed_kind(), &key, payload, seal)
            .map(|_| ())
    }

    fn payload<T: codec::Payload>(
        &self,
        kind: Kind,
        signed: SignedBytes,
    ) -> Result<Verified<T>, Forgery> {
        let leaf = self.check(kind, &signed.signer, &signed.payload, &signed.seal)?;
        let value = codec::decode_payload(&signed.payload).map_err(Forgery::Undecodable)?;
        Ok(Verified(Arc::new(VerifiedInner {
            value,
            signed,
            leaf,
        })))
    }

    fn check(
        &self,
        kind: Kind,
        signer: &PublicKey,
        payload: &[u8],
        seal: &Seal,
    ) -> Result<Digest, Forgery> {
        let leaf = self
            .configuration
            .signing_context()
            .leaf(kind, signer, payload);
        if self.trust == Trust::OwnLog {
            return Ok(leaf);
        }
        let is_vote = matches!(kind, Kind::First | Kind::Prepare | Kind::Commit);
        if kind == Kind::Take && mutant!(UnsignedTake) || is_vote && mutant!(UnsignedVote) {
            return Ok(leaf);
        }
        let root = batch::root(leaf, &seal.path).ok_or(Forgery::PathTooLong)?;
        let signed = (root, *signer, seal.signature);
        if !self.roots.contains(&signed) {
            self.checks.set(self.checks.get() + 1);
            strict(signer, &root, &seal.signature)?;
            self.roots.remember(signed);
        }
        Ok(leaf)
    }
}

/// The predicate. It depends on nothing but its arguments, so two correct processes never differ.
fn strict(signer: &PublicKey, root: &Digest, signature: &[u8; 64]) -> Result<(), Forgery> {
    let key = VerifyingKey::from_bytes(&signer.0).map_err(|_| Forgery::BadSignature(*signer))?;
    key.verify_strict(&root_message(root), &Signature::from_bytes(signature))
        .map_err(|_| Forgery::BadSignature(*signer))
}

/// Votes have one encoding, so that equal votes share one payload in a certificate.
fn decode_canonical(payload: &[u8]) -> Result<Statement, Forgery> {
    let statement: Statement = codec::decode_payload(payload).map_err(Forgery::Undecodable)?;
    match codec::encode(&statement) == payload {
        true => Ok(statement),
        false => Err(Forgery::Undecodable(DecodeError::NotCanonical)),
    }
}

/// Root, signer and signature. The signature is part of it: a known root with another signature
/// would be taken here and refused elsewhere, and the innocent who relays it blamed (A12).
pub(super) type SignedRoot = (Digest, PublicKey, [u8; 64]);

/// Roots that were verified, the oldest forgotten first. Clones share what they remember: all
/// machines and threads of one process may, as the predicate is the same for everybody.
#[derive(Clone, Debug, Default)]
pub struct VerifiedRoots(Arc<Mutex<RootCache>>);

#[derive(Debug, Default)]
struct RootCache {
    known: BTreeSet<SignedRoot>,
    order: VecDeque<SignedRoot>,
}

impl VerifiedRoots {
    fn contains(&self, root: &SignedRoot) -> bool {
        self.cache().known.contains(root)
    }

    /// Only [`Verifier::check`] calls this, after the predicate held, and [`super::sign::Signer`] for what it
    /// signed, as it holds for that.
    pub(super) fn remember(&self, root: SignedRoot) {
        let mut cache = self.cache();
        if !cache.known.insert(root) {
            return;
        }
        cache.order.push_back(root);
        if cache.order.len() > VERIFIED_ROOTS_MAX
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.known.remove(&oldest);
        }
    }

    /// Whoever panicked while holding it left a set of verified roots all the same.
    fn cache(&self) -> MutexGuard<'_, RootCache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Signed things, as they come from strangers. Bytes made up at random are never signed, so the
//! fuzzer may have them signed with the keys of a cluster: what a faulty member can do.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::consensus::certificate::{Certificate, SealedVote, VoteKind};
use bts_core::consensus::promise::ValidPromise;
use bts_core::content::{Content, Decision, HeldContent, Outcome};
use bts_core::crypto::sign::{Kind, Seal, SignedBytes, Signer};
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{EntryId, ReplicaId};

use super::Draw;
use crate::sim::setup::Setup;

/// Keys of the cluster of this target: four replicas and two clients.
#[derive(Debug)]
pub struct Keys {
    configuration: Arc<Configuration>,
    replicas: Vec<Signer>,
    clients: Vec<Signer>,
}

impl Keys {
    /// The keys of [`Setup::calm`].
    pub fn new() -> Self {
        let setup = Setup::calm(4, 1);
        let configuration = setup.configuration();
        let context = *configuration.signing_context();
        let signer = |key| Signer::new(key, context);
        Self {
            replicas: (0..4).map(|n| signer(setup.replica_key(n))).collect(),
            clients: (0..2).map(|n| signer(setup.client_key(n))).collect(),
            configuration,
        }
    }

    fn sign(&self, draw: &mut Draw<'_>, kind: Kind, signed: &mut SignedBytes) {
        let signers = match kind {
            Kind::Promise => &self.replicas,
            _ => &self.clients,
        };
        if let Some(signer) = draw.pick(signers) {
            *signed = signer.sign(kind, std::mem::take(&mut signed.payload));
        }
    }

    fn seal(&self, kind: VoteKind, payload: &[u8], replica: ReplicaId, seal: &mut Seal) {
        let signer = self.replicas.get(usize::from(replica.0));
        let sealed = signer.map(|signer| signer.seal(&[(kind.signed_kind(), payload)]));
        if let Some(new) = sealed.into_iter().flatten().next() {
            *seal = new;
        }
    }

    fn certify(&self, certificate: &mut Certificate) {
        let Certificate {
            kind,
            payload,
            votes,
            carried: _,
        } = certificate;
        for (replica, seal) in votes {
            self.seal(*kind, payload, *replica, seal);
        }
    }

    fn decide(&self, draw: &mut Draw<'_>, decision: &mut Decision) {
        self.certify(&mut decision.certificate);
        if let Some(take) = &mut decision.take {
            self.sign(draw, Kind::Take, take);
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    static KEYS: LazyCell<Keys> = LazyCell::new(Keys::new);
}

/// A byte says what it is, one whether to sign it, one with which key; the rest is it. What is
/// verified is relayed as it came, and verifies again.
pub fn verify(bytes: &[u8]) {
    KEYS.with(|keys| {
        let mut draw = Draw::new(bytes);
        let claim = Claim {
            keys,
            verifier: Verifier::new(Arc::clone(&keys.configuration)),
            kind: draw.below(8),
            sign: draw.once_in(2),
            key: draw.byte(),
        };
        claim.check(draw.rest());
    });
}

struct Claim<'a> {
    keys: &'a Keys,
    verifier: Verifier,
    kind: usize,
    sign: bool,
    key: u8,
}

impl Claim<'_> {
    fn check(&self, bytes: &[u8]) {
        match self.kind {
            0 => self.entry(bytes),
            1 => self.take(bytes),
            2 => self.promise(bytes),
            3 => self.vote(bytes),
            4 => self.certificate(bytes),
            5 => self.decision(bytes),
            6 => self.content(bytes),
            _ => self.end(bytes),
        }
    }

    /// The value in the bytes, signed if so said.
    fn read<T: codec::Payload>(
        &self,
        bytes: &[u8],
        sign: impl Fn(&Keys, &mut Draw<'_>, &mut T),
    ) -> Option<T> {
        let mut value = codec::decode_peer(bytes).ok()?;
        if self.sign {
            sign(self.keys, &mut Draw::new(&[self.key]), &mut value);
        }
        Some(value)
    }

    fn entry(&self, bytes: &[u8]) {
        let entry = self.read(bytes, |keys, draw, signed| {
            keys.sign(draw, Kind::Entry, signed)
        });
        let Some(Ok(entry)) = entry.map(|signed| self.verifier.entry(signed)) else {
            return;
        };
        assert!(entry.id.is_root() && entry.tuple.check().is_ok());
        self.hold(&HeldContent::from_entry(entry));
    }

    fn take(&self, bytes: &[u8]) {
        let take = self.read(bytes, |keys, draw, signed| {
            keys.sign(draw, Kind::Take, signed)
        });
        if let Some(Ok(take)) = take.map(|signed| self.verifier.take(signed)) {
            assert_eq!(take.client, take.signer());
            let again = self.verifier.take(take.signed().clone());
            assert_eq!(again.map(|again| again.op()), Ok(take.op()));
        }
    }

    fn end(&self, bytes: &[u8]) {
        let end = self.read(bytes, |keys, draw, signed| {
            keys.sign(draw, Kind::EndSession, signed);
        });
        if let Some(Ok(end)) = end.map(|signed| self.verifier.end(signed)) {
            assert_eq!(end.key, end.signer());
        }
    }

    /// A promise whose Takes are unknown is never valid.
    fn promise(&self, bytes: &[u8]) {
        let promise = self.read(bytes, |keys, draw, signed| {
            keys.sign(draw, Kind::Promise, signed);
        });
        if let Some(Ok(promise)) = promise.map(|signed| self.verifier.signed_promise(signed)) {
            let valid = ValidPromise::new(&self.verifier, promise, |_| None, |_| true);
            assert!(valid.is_err());
        }
    }

    fn vote(&self, bytes: &[u8]) {
        let vote = self.read(bytes, |keys, _, vote: &mut SealedVote| {
            keys.seal(vote.kind, &vote.payload, vote.replica, &mut vote.seal);
        });
        if let Some(Ok(vote)) = vote.map(|vote| self.verifier.vote(vote)) {
            let encoded = codec::encode(vote.statement());
            assert_eq!(encoded, vote.sealed().payload, "votes have one encoding");
        }
    }

    fn certificate(&self, bytes: &[u8]) {
        let certificate = self.read(bytes, |keys, _, found| keys.certify(found));
        let Some(certificate) = certificate else {
            return;
        };
        if let Ok(valid) = self.verifier.certificate(certificate) {
            let votes = &valid.certificate().votes;
            let voters: BTreeSet<_> = votes.iter().map(|(replica, _)| *replica).collect();
            assert!(voters.len() == votes.len() && voters.len() >= 3);
            let said = valid.statement();
            let lock = self
                .verifier
                .lock(valid.certificate().clone(), &said.id, said.epoch);
            assert_eq!(lock.is_ok(), valid.kind() != VoteKind::Commit);
        }
    }

    fn decision(&self, bytes: &[u8]) {
        let decision = self.read(bytes, |keys, draw, found| keys.decide(draw, found));
        let outcome = decision.map(|decision| self.verifier.decision(decision));
        let Some(Ok(Outcome::Taken(decided))) = outcome else {
            return;
        };
        let again = self.verifier.decision(decided.to_wire());
        assert_eq!(again, Ok(Outcome::Taken(Arc::clone(&decided))));
        decided.puts().iter().for_each(|put| self.hold(put));
    }

    fn content(&self, bytes: &[u8]) {
        let content = self.read(
            bytes,
            |keys, draw, found: &mut (EntryId, Content)| match &mut found.1 {
                Content::Signed(entry) => keys.sign(draw, Kind::Entry, entry),
                Content::Put(decision) => keys.decide(draw, decision),
            },
        );
        let Some((id, content)) = content else {
            return;
        };
        if let Ok(held) = self.verifier.content(content, &id) {
            assert_eq!(held.id, id);
            self.hold(&held);
        }
    }

    /// What is held can be handed on.
    fn hold(&self, held: &HeldContent) {
        let again = self.verifier.content(held.to_wire(), &held.id);
        assert_eq!(again.as_ref(), Ok(held));
    }
}

//! Making signatures: what a leaf binds, and signing one message or a batch of them under one
//! signature.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use super::batch::{self, PathStep};
use super::hash::{Digest, Domain, Hasher};
use super::verified::VerifiedRoots;
use crate::codec;
use crate::ids::{ClusterId, PublicKey};
use crate::limits::MERKLE_PATH_MAX;

/// Version of the protocol, bound by every signature and compared in the Hello.
pub const PROTOCOL_VERSION: u16 = 1;

/// The kinds of signed messages. Nothing else is ever signed. A kind's number is its domain tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An entry, by its writer.
    Entry = 0,
    /// A Take, by its client.
    Take = 1,
    /// The end of a session, by its key.
    EndSession = 2,
    /// A vote of ballot 0, by a replica.
    First = 3,
    /// A prepare vote of a higher ballot, by a replica.
    Prepare = 4,
    /// A commit vote, by a replica.
    Commit = 5,
    /// A promise, by a replica.
    Promise = 6,
    /// All that a replica holds when its configuration ends, by that replica.
    Export = 7,
    /// What an earlier configuration had decided, by nobody: it is a leaf below what the present one is
    /// founded on.
    Carried = 8,
}

/// What every signature of a cluster binds besides the message. Votes and promises bind the
/// configuration too, whatever a client signs does not, so that entries outlive a change of
/// replicas (C8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningContext {
    /// The cluster.
    pub cluster: ClusterId,
    /// Hash of the configuration: its number, n, f and the ordered replica keys.
    pub configuration: Digest,
}

impl SigningContext {
    /// The leaf of a statement that is carried from an earlier configuration. What it leads to is
    /// a part of the configuration, which therefore it cannot bind.
    pub fn carried_leaf(&self, statement: &[u8]) -> Digest {
        self.leaf(Kind::Carried, &PublicKey([0; 32]), statement)
    }

    /// The leaf of a message: the hash of all that its signature binds.
    pub fn leaf(&self, kind: Kind, signer: &PublicKey, payload: &[u8]) -> Digest {
        #[cfg(bts_mutants)]
        let payload = &crate::mutant::bound_part(kind, payload)[..];
        let configuration = match kind {
            Kind::Entry | Kind::Take | Kind::EndSession | Kind::Carried => [0; 32],
            Kind::First | Kind::Prepare | Kind::Commit | Kind::Promise | Kind::Export => {
                self.configuration.0
            }
        };
        Hasher::new(Domain::Leaf)
            .part(&[kind as u8])
            .number(u64::from(PROTOCOL_VERSION))
            .part(&self.cluster.0)
            .part(&configuration)
            .part(&signer.0)
            .part(payload)
            .finish()
    }
}

/// A signature over the root of a batch, and the path to it of the message it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Ed25519 signature of the root.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
    /// From the message's leaf to the root.
    #[serde(deserialize_with = "codec::at_most::<MERKLE_PATH_MAX, _, _>")]
    pub path: Vec<PathStep>,
}

/// A message as it travels: the payload as signed, never re-encoded, its signer, and the seal.
/// Nothing in it has been checked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBytes {
    /// The encoded payload.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Who claims to have signed it.
    pub signer: PublicKey,
    /// The proof.
    pub seal: Seal,
}

impl fmt::Debug for SignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signed({} bytes by {})", self.payload.len(), self.signer)
    }
}

/// The bytes an Ed25519 signature is made over: distinct from anything TLS signs with the same key.
pub(super) fn root_message(root: &Digest) -> [u8; 48] {
    let mut message = [0; 48];
    message[..16].copy_from_slice(b"BTS batch root 1");
    message[16..].copy_from_slice(&root.0);
    message
}

/// A key that signs for one cluster and configuration.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    public: PublicKey,
    context: SigningContext,
    roots: Option<VerifiedRoots>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signer {}", self.public)
    }
}

impl Signer {
    /// A signer with this key.
    pub fn new(key: SigningKey, context: SigningContext) -> Self {
        let public = PublicKey(key.verifying_key().to_bytes());
        Self {
            key,
            public,
            context,
            roots: None,
        }
    }

    /// What it signs comes back, in certificates for example, and is not checked then by whoever remembers with
    /// it: that it is valid is known.
    #[must_use]
    pub fn remembering(self, roots: VerifiedRoots) -> Self {
        Self {
            roots: Some(roots),
            ..self
        }
    }

    /// The public half of the key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs one message.
    pub fn sign(&self, kind: Kind, payload: Vec<u8>) -> SignedBytes {
        let seal = self.seal(&[(kind, payload.as_slice())]).pop();
        let seal = seal.expect("one message gives one seal");
        SignedBytes {
            payload,
            signer: self.public,
            seal,
        }
    }

    /// Signs several messages with one signature; one seal for each, in order.
    pub fn seal(&self, messages: &[(Kind, &[u8])]) -> Vec<Seal> {
        if messages.is_empty() {
            return Vec::new();
        }
        let leaf =
            |(kind, payload): &(Kind, &[u8])| self.context.leaf(*kind, &self.public, payload);
        let leaves: Vec<_> = messages.iter().map(leaf).collect();
        let (root, paths) = batch::build(&leaves);
        let signature = self.key.sign(&root_message(&root)).to_bytes();
        if let Some(roots) = &self.roots {
            roots.remember((root, self.public, signature));
        }
        paths
            .into_iter()
            .map(|path| Seal { signature, path })
            .collect()
    }
}

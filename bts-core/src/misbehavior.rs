//! Faults of peers as values (own bugs panic, bad peers never do). A [`Forgery`] names what
//! was wrong with bytes that somebody relayed, and is the relayer's fault; [`Evidence`] holds two
//! signed halves that convict their signer to anybody.

use thiserror::Error;

use crate::codec::DecodeError;
use crate::consensus::certificate::SealedVote;
use crate::content::IllFormed;
use crate::crypto::sign::SignedBytes;
use crate::ids::{PublicKey, ReplicaId};

/// Why something relayed was refused. Nobody relays what it has not verified, so whoever sent it
/// is at fault, not whoever it names.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Forgery {
    /// The signature does not verify under this key.
    #[error("the signature is not by {0}")]
    BadSignature(PublicKey),
    /// Validly signed, but no legal message.
    #[error("ill-formed: {0}")]
    IllFormed(#[from] IllFormed),
    /// A vote of a replica that the configuration does not have.
    #[error("no such replica: {0}")]
    NoSuchReplica(ReplicaId),
    /// A promise by a key that is no replica's.
    #[error("{0} is no replica's key")]
    NotAReplica(PublicKey),
    /// A lock where a decision is needed.
    #[error("the votes make a lock, not a decision")]
    NotADecision,
    /// A decision where a lock is needed.
    #[error("commit votes make no lock")]
    NotALock,
    /// A Merkle path that is too long.
    #[error("the Merkle path is too long")]
    PathTooLong,
    /// The Take is not the one that the votes name.
    #[error("the Take is not the one the certificate names")]
    TakeMismatch,
    /// The Take that the votes name is missing.
    #[error("the certificate names a Take that was not sent along")]
    TakeMissing,
    /// Fewer votes than a certificate has.
    #[error("{0} votes are too few for a certificate")]
    TooFewVotes(usize),
    /// The signed bytes are no payload of this kind.
    #[error("undecodable payload: {0}")]
    Undecodable(DecodeError),
    /// Two votes of one replica in one certificate.
    #[error("{0} votes twice in one certificate")]
    VoterTwice(ReplicaId),
    /// No votes, and not what the configuration is founded on either.
    #[error("what it says is not carried from an earlier configuration")]
    NotCarried,
    /// About another entry, epoch or ballot than it was sent for.
    #[error("about another entry, epoch or ballot than it was sent for")]
    WrongInstance,
}

/// Proof that a signer is faulty: two signed statements of which a correct one makes at most one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Two votes of one kind by one replica in one ballot of one instance.
    ContradictingVotes {
        /// The faulty replica.
        replica: ReplicaId,
        /// One half.
        one: SealedVote,
        /// The other half.
        other: SealedVote,
    },
    /// Two promises by one replica for one ballot of one instance.
    ContradictingPromises {
        /// The faulty replica.
        replica: ReplicaId,
        /// One half.
        one: SignedBytes,
        /// The other half.
        other: SignedBytes,
    },
    /// Two contents for one id by one writer.
    TwoContents {
        /// The faulty writer.
        writer: PublicKey,
        /// One half.
        one: SignedBytes,
        /// The other half.
        other: SignedBytes,
    },
}

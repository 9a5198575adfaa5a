//! Votes and certificates (PROTOCOL section 5). A certificate is a set of signed votes of one kind
//! by distinct replicas for one statement; its kind and size give its meaning (G9d).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::codec;
use crate::content::IllFormed;
use crate::crypto::batch::PathStep;
use crate::crypto::sign::{Kind, Seal, Signer};
use crate::crypto::verified::VerifiedVote;
use crate::ids::{Ballot, EntryId, Epoch, OpId, ReplicaId};
use crate::limits::{EPOCH_MAX, MERKLE_PATH_MAX};
use crate::quorum::ClusterSize;

/// What an instance decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// This Take wins the entry.
    Take(OpId),
    /// Nobody does: the entry stays, the next epoch begins (the paper's ⊥).
    Release,
    /// Reserved: the entry's time is over.
    Expire,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(op) => write!(f, "take({op})"),
            Self::Release => f.write_str("release"),
            Self::Expire => f.write_str("expire"),
        }
    }
}

/// What a vote says: this value in this ballot of `I(id, epoch)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Statement {
    /// The entry.
    pub id: EntryId,
    /// The epoch.
    pub epoch: Epoch,
    /// The ballot.
    pub ballot: Ballot,
    /// The value.
    pub value: Value,
}

impl Statement {
    /// Checks that a vote of this kind can say this: first votes and all of ballot 0 are for
    /// Takes, prepare votes belong to higher ballots, the last epoch is never released.
    pub fn well_formed(&self, kind: VoteKind) -> Result<(), IllFormed> {
        if !self.id.is_canonical() {
            return Err(IllFormed::BadId);
        }
        if self.epoch.0 > EPOCH_MAX {
            return Err(IllFormed::EpochTooHigh);
        }
        let is_take = matches!(self.value, Value::Take(_));
        let fits_ballot = match kind {
            VoteKind::First => self.ballot == Ballot::ZERO && is_take,
            VoteKind::Prepare => self.ballot > Ballot::ZERO,
            VoteKind::Commit => self.ballot > Ballot::ZERO || is_take,
        };
        let fits_epoch = match self.value {
            Value::Take(_) => true,
            Value::Release => self.epoch.0 < EPOCH_MAX || mutant!(ReleaseInLastEpoch),
            Value::Expire => false,
        };
        match fits_ballot && fits_epoch {
            true => Ok(()),
            false => Err(IllFormed::BadVote),
        }
    }

    /// True if no correct replica votes for both in votes of one kind: other values of one ballot.
    pub fn is_rival_of(&self, other: &Self) -> bool {
        let ballot = (&self.id, self.epoch, self.ballot);
        ballot == (&other.id, other.epoch, other.ballot) && self.value != other.value
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} {} {}",
            self.value, self.id, self.epoch, self.ballot
        )
    }
}

/// The kinds of votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VoteKind {
    /// For a Take, in ballot 0.
    First,
    /// For a proposal, in a higher ballot.
    Prepare,
    /// For a lock: the sender will defend it in every higher ballot.
    Commit,
}

impl VoteKind {
    /// The domain in which votes of this kind are signed.
    pub fn signed_kind(self) -> Kind {
        match self {
            Self::First => Kind::First,
            Self::Prepare => Kind::Prepare,
            Self::Commit => Kind::Commit,
        }
    }
}

/// A vote as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedVote {
    /// The kind.
    pub kind: VoteKind,
    /// The encoded [`Statement`].
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Who claims to vote.
    pub replica: ReplicaId,
    /// Its signature.
    pub seal: Seal,
}

impl SealedVote {
    /// Signs a vote of its own.
    pub fn new(signer: &Signer, replica: ReplicaId, kind: VoteKind, statement: &Statement) -> Self {
        let payload = codec::encode(statement);
        let seal = signer.seal(&[(kind.signed_kind(), &payload)]).pop();
        Self {
            kind,
            payload,
            replica,
            seal: seal.expect("one message gives one seal"),
        }
    }
}

/// Votes of one kind for one statement, as they travel. Equal votes share their payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The kind of all votes.
    pub kind: VoteKind,
    /// The encoded [`Statement`].
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Who votes, with the signature.
    pub votes: Vec<(ReplicaId, Seal)>,
    /// In place of votes, for what an earlier configuration had decided: the way from the
    /// statement to [`crate::configuration::Configuration::founding`].
    #[serde(deserialize_with = "path_if_any")]
    pub carried: Option<Box<[PathStep]>>,
}

fn path_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<[PathStep]>>, D::Error> {
    let path = codec::at_most_if_any::<MERKLE_PATH_MAX, _, _>(from)?;
    Ok(path.map(Vec::into_boxed_slice))
}

/// What a certificate with enough votes is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// It can be locked: every higher ballot must respect it once `q` replicas did.
    Lock,
    /// It decides.
    Decision,
}

impl Certificate {
    /// The certificate made of these votes, all of one kind for one statement.
    pub fn of(votes: &[VerifiedVote]) -> Self {
        let first = votes.first().expect("a certificate has votes").sealed();
        debug_assert!(
            votes
                .iter()
                .all(|vote| vote.sealed().payload == first.payload)
        );
        Self {
            kind: first.kind,
            payload: first.payload.clone(),
            votes: votes
                .iter()
                .map(|vote| (vote.replica(), vote.sealed().seal.clone()))
                .collect(),
            carried: None,
        }
    }

    /// `F` first votes or `q` commit votes decide; anything else with `q` votes is a lock. What is carried was
    /// decided.
    pub fn meaning(&self, size: ClusterSize) -> CertificateKind {
        if self.carried.is_some() {
            return CertificateKind::Decision;
        }
        let decides = match self.kind {
            VoteKind::First => self.votes.len() >= size.fast_quorum(),
            VoteKind::Prepare => {
                mutant!(PrepareVotesDecide) && self.votes.len() >= size.fast_quorum()
            }
            VoteKind::Commit => self.votes.len() >= size.ack_quorum(),
        };
        match decides {
            true => CertificateKind::Decision,
            false => CertificateKind::Lock,
        }
    }
}

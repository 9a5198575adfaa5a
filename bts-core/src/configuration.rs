//! The configuration of a cluster: who its replicas are, how many may be faulty, and the policy.
//! All of it is fixed while a cluster runs and equal at all correct replicas (PROTOCOL sections 1, 4).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec;
use crate::content::{Access, TakePayload};
use crate::crypto::hash::{Digest, Domain, Hasher};
use crate::crypto::sign::SigningContext;
use crate::ids::{ClusterId, PublicKey, ReplicaId, SpaceName};
use crate::quorum::{ClusterSize, ClusterSizeError};

/// Who may do something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allow {
    /// Every client that is admitted to the cluster.
    #[default]
    All,
    /// These keys.
    Keys(BTreeSet<PublicKey>),
}

impl Allow {
    fn includes(&self, key: &PublicKey) -> bool {
        match self {
            Self::All => true,
            Self::Keys(keys) => keys.contains(key),
        }
    }
}

/// The rights in one space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpacePolicy {
    /// Who may write entries and put others in place of taken ones.
    pub insert: Allow,
    /// Who may read.
    pub read: Allow,
    /// Who may take.
    pub take: Allow,
}

/// The rights of a cluster: per space, and for all other spaces. A space exists by being used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Spaces with rights of their own.
    pub spaces: BTreeMap<SpaceName, SpacePolicy>,
    /// All others.
    pub others: SpacePolicy,
    /// Clients that may connect at all; a certificate of the CA alone is not a right.
    pub clients: Allow,
    /// Who may change the members of the cluster. Nobody, if it is empty.
    pub operators: BTreeSet<PublicKey>,
}

impl Policy {
    /// True if this client may use the cluster.
    pub fn admits(&self, client: &PublicKey) -> bool {
        self.clients.includes(client)
    }

    /// True if this client may write into the space.
    pub fn may_insert(&self, client: &PublicKey, space: &SpaceName) -> bool {
        self.of(space).insert.includes(client)
    }

    /// True if this client may read an entry of the space with these access lists.
    pub fn may_read(&self, client: &PublicKey, space: &SpaceName, access: Option<&Access>) -> bool {
        let listed = access.and_then(|access| access.read.as_ref());
        self.of(space).read.includes(client) && listed.is_none_or(|keys| keys.contains(client))
    }

    /// True if this client may take such an entry. Whoever takes also reads.
    pub fn may_take(&self, client: &PublicKey, space: &SpaceName, access: Option<&Access>) -> bool {
        let listed = access.and_then(|access| access.take.as_ref());
        self.may_read(client, space, access)
            && self.of(space).take.includes(client)
            && listed.is_none_or(|keys| keys.contains(client))
    }

    /// True if this client may take, or else read, such an entry.
    pub fn may(
        &self,
        client: &PublicKey,
        space: &SpaceName,
        access: Option<&Access>,
        to_take: bool,
    ) -> bool {
        match to_take {
            true => self.may_take(client, space, access),
            false => self.may_read(client, space, access),
        }
    }

    /// True if the Take is allowed on an entry with these access lists: the right to take, and to
    /// insert what it puts (C7).
    pub fn allows(&self, take: &TakePayload, access: Option<&Access>) -> bool {
        let space = take.id.space();
        let puts = take.puts.is_empty() || self.may_insert(&take.client, space);
        puts && self.may_take(&take.client, space, access)
    }

    /// True if nobody but listed keys could take or read anything the client asks for: it is told
    /// "forbidden" at once instead of finding nothing.
    pub fn forbids_space(&self, client: &PublicKey, space: &SpaceName, to_take: bool) -> bool {
        let rights = self.of(space);
        !rights.read.includes(client) || (to_take && !rights.take.includes(client))
    }

    /// Hash by which replicas find out that their policies differ.
    pub fn hash(&self) -> Digest {
        Hasher::new(Domain::Configuration)
            .part(b"policy")
            .part(&codec::encode(self))
            .finish()
    }

    fn of(&self, space: &SpaceName) -> &SpacePolicy {
        self.spaces.get(space).unwrap_or(&self.others)
    }
}

/// Why a configuration is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigurationError {
    /// The sizes do not go together.
    #[error(transparent)]
    Size(#[from] ClusterSizeError),
    /// Two replicas with one key would vote twice.
    #[error("replicas {one} and {other} have the same key")]
    KeyTwice {
        /// The first of them.
        one: ReplicaId,
        /// The second.
        other: ReplicaId,
    },
}

/// A cluster as every process in it knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    size: ClusterSize,
    replicas: Vec<PublicKey>,
    by_key: BTreeMap<PublicKey, ReplicaId>,
    policy: Policy,
    context: SigningContext,
    number: u64,
    founding: Option<Digest>,
}

impl Configuration {
    /// Configuration `number` of the cluster: its replicas in order, `faults` of which may be
    /// Byzantine. It is not founded on an earlier one.
    pub fn new(
        cluster: ClusterId,
        number: u64,
        replicas: Vec<PublicKey>,
        faults: usize,
        policy: Policy,
    ) -> Result<Self, ConfigurationError> {
        Self::founded(cluster, number, replicas, faults, policy, None)
    }

    /// The same, and what earlier configurations had decided leads to `founding`.
    pub fn founded(
        cluster: ClusterId,
        number: u64,
        replicas: Vec<PublicKey>,
        faults: usize,
        policy: Policy,
        founding: Option<Digest>,
    ) -> Result<Self, ConfigurationError> {
        let size = ClusterSize::new(replicas.len(), faults)?;
        let mut by_key = BTreeMap::new();
        for (index, key) in (0..).zip(&replicas) {
            if let Some(one) = by_key.insert(*key, ReplicaId(index)) {
                return Err(ConfigurationError::KeyTwice {
                    one,
                    other: ReplicaId(index),
                });
            }
        }
        let hasher = Hasher::new(Domain::Configuration)
            .number(number)
            .number(replicas.len() as u64)
            .number(faults as u64);
        let hasher = replicas
            .iter()
            .fold(hasher, |hasher, key| hasher.part(&key.0));
        let hasher = founding.iter().fold(hasher, |h, root| h.part(&root.0));
        let configuration = hasher.finish();
        let context = SigningContext {
            cluster,
            configuration,
        };
        Ok(Self {
            size,
            replicas,
            by_key,
            policy,
            context,
            number,
            founding,
        })
    }

    /// How many configurations the cluster had before.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What proofs carried from earlier configurations lead to; `None` in the first.
    pub fn founding(&self) -> Option<Digest> {
        self.founding
    }

    /// Quorum sizes.
    pub fn size(&self) -> ClusterSize {
        self.size
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What signatures bind.
    pub fn signing_context(&self) -> &SigningContext {
        &self.context
    }

    /// All replicas in order.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.size.replicas() as u16).map(ReplicaId)
    }

    /// The key of a replica.
    pub fn key_of(&self, replica: ReplicaId) -> Option<PublicKey> {
        self.replicas.get(usize::from(replica.0)).copied()
    }

    /// The replica with this key.
    pub fn replica_of(&self, key: &PublicKey) -> Option<ReplicaId> {
        self.by_key.get(key).copied()
    }
}

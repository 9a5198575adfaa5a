//! Who may have a connection: the checks of the first frame, in both directions.
//!
//! TLS has proved the key and that the deployment's authority issued its certificate; that is no
//! right yet. Here key and role are compared with the configuration, and what both sides believe of
//! the cluster with each other. A replica that comes back with another incarnation has lost its
//! memory, and with it its promises: it is refused for as long as this process remembers (A8).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bts_certs::cluster::Cluster;
use bts_certs::{Identity, Role};
use bts_core::crypto::sign::PROTOCOL_VERSION;
use bts_core::ids::{ClientRef, Incarnation, PublicKey, ReplicaId};
use bts_core::message::{Hello, HelloReply, HelloRole};

/// Who stands at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visitor {
    /// A client process.
    Client(ClientRef),
    /// A peer.
    Replica(ReplicaId),
}

/// Why somebody is refused, in words for that somebody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("you speak version {0} of the protocol, this replica version {PROTOCOL_VERSION}")]
    Version(u16),
    #[error("this is another cluster than yours: compare the id in the cluster files")]
    Cluster,
    #[error(
        "your configuration of this cluster is another one: compare faults, replicas, their order \
         and keys in the cluster files"
    )]
    Configuration,
    #[error("your policy is another one: compare the policies in the cluster files")]
    Policy,
    #[error("you speak as a client, but your certificate is that of a {0}")]
    NotAClient(Role),
    #[error("you speak as a client, but your key is that of replica {0}")]
    KeyOfReplica(ReplicaId),
    #[error("the policy of this cluster does not admit your key: see policy.clients in its file")]
    NotAdmitted,
    #[error("you speak as replica {said}, but your certificate is that of a {role}")]
    NotAReplica { said: ReplicaId, role: Role },
    #[error("you speak as replica {0}, but your key is not the configured one")]
    KeyOfAnother(ReplicaId),
    #[error("you speak as replica {0}, and so does the one you speak to")]
    Myself(ReplicaId),
    #[error(
        "replica {0} lost its memory: it speaks with another incarnation than before, and may have \
         forgotten promises, so it has to stay out until it is replaced under a new key"
    )]
    LostMemory(ReplicaId),
    #[error("dialed replica {0}, but replica {1} answered")]
    WrongReplica(ReplicaId, ReplicaId),
    #[error("{0}")]
    RefusedUs(String),
}

/// What this replica is, and whom it has met.
#[derive(Debug)]
pub(crate) struct Gate {
    cluster: Cluster,
    id: ReplicaId,
    incarnation: Incarnation,
    met: Mutex<BTreeMap<ReplicaId, Incarnation>>,
}

impl Gate {
    /// The gate of one replica of the cluster.
    pub(crate) fn new(cluster: Cluster, id: ReplicaId, incarnation: Incarnation) -> Self {
        Self {
            cluster,
            id,
            incarnation,
            met: Mutex::new(BTreeMap::new()),
        }
    }

    /// Whether whoever proved `identity` may come in as what its Hello says.
    pub(crate) fn admit(&self, identity: &Identity, hello: &Hello) -> Result<Visitor, HelloError> {
        let context = self.cluster.configuration().signing_context();
        if hello.version != PROTOCOL_VERSION {
            return Err(HelloError::Version(hello.version));
        }
        if hello.cluster != context.cluster {
            return Err(HelloError::Cluster);
        }
        if hello.configuration != context.configuration {
            return Err(HelloError::Configuration);
        }
        match hello.role {
            HelloRole::Client { session } => {
                let key = self.admit_client(identity)?;
                Ok(Visitor::Client(ClientRef { key, session }))
            }
            HelloRole::Replica {
                replica,
                incarnation,
                policy,
                stream_next: _,
            } => {
                self.recognize(replica, identity)?;
                if policy != self.cluster.configuration().policy().hash() {
                    return Err(HelloError::Policy);
                }
                self.meet(replica, incarnation)?;
                Ok(Visitor::Replica(replica))
            }
        }
    }

    /// The Hello for a peer.
    pub(crate) fn hello(&self, stream_next: u64) -> Hello {
        let configuration = self.cluster.configuration();
        let context = configuration.signing_context();
        Hello {
            version: PROTOCOL_VERSION,
            cluster: context.cluster,
            configuration: context.configuration,
            role: HelloRole::Replica {
                replica: self.id,
                incarnation: self.incarnation,
                policy: configuration.policy().hash(),
                stream_next,
            },
        }
    }

    /// The answer to a welcome visitor.
    pub(crate) fn welcome(&self, stream_next: u64) -> HelloReply {
        HelloReply::Ack {
            version: PROTOCOL_VERSION,
            replica: self.id,
            incarnation: self.incarnation,
            stream_next,
        }
    }

    /// Whether the answer of the dialed `peer` is one to go on with; if so, where our stream is to
    /// go on.
    pub(crate) fn on_reply(&self, peer: ReplicaId, reply: HelloReply) -> Result<u64, HelloError> {
        match reply {
            HelloReply::Refused(reason) => Err(HelloError::RefusedUs(reason)),
            HelloReply::Ack { version, .. } if version != PROTOCOL_VERSION => {
                Err(HelloError::Version(version))
            }
            HelloReply::Ack { replica, .. } if replica != peer => {
                Err(HelloError::WrongReplica(peer, replica))
            }
            HelloReply::Ack {
                incarnation,
                stream_next,
                ..
            } => self.meet(peer, incarnation).map(|()| stream_next),
        }
    }

    /// Whether `identity` is that of the replica `said`, and not of this one.
    pub(crate) fn recognize(&self, said: ReplicaId, identity: &Identity) -> Result<(), HelloError> {
        if identity.role != Role::Replica {
            let role = identity.role;
            return Err(HelloError::NotAReplica { said, role });
        }
        if self.cluster.configuration().key_of(said) != Some(PublicKey(identity.key)) {
            return Err(HelloError::KeyOfAnother(said));
        }
        if said == self.id {
            return Err(HelloError::Myself(said));
        }
        Ok(())
    }

    fn admit_client(&self, identity: &Identity) -> Result<PublicKey, HelloError> {
        let key = PublicKey(identity.key);
        if let Some(replica) = self.cluster.configuration().replica_of(&key) {
            return Err(HelloError::KeyOfReplica(replica));
        }
        if identity.role != Role::Client {
            return Err(HelloError::NotAClient(identity.role));
        }
        if !self.cluster.configuration().policy().admits(&key) {
            return Err(HelloError::NotAdmitted);
        }
        Ok(key)
    }

    fn meet(&self, replica: ReplicaId, incarnation: Incarnation) -> Result<(), HelloError> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        match *met.entry(replica).or_insert(incarnation) {
            known if known == incarnation => Ok(()),
            _ => Err(HelloError::LostMemory(replica)),
        }
    }
}

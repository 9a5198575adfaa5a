//! Who may have a connection: the checks of the first frame, in both directions.
//!
//! TLS has proved the key and that the deployment's authority issued its certificate; that is no
//! right yet. Here key and role are compared with the configuration, and what both sides believe of
//! the cluster with each other. A replica that comes back with another incarnation has lost its
//! memory, and with it its promises; one that comes back with a shorter log than before, a part of
//! them. Both are refused (`bts_core::memory`), and what they are compared with is durable (A8).

use std::sync::{Mutex, MutexGuard, PoisonError};

use bts_certs::cluster::Cluster;
use bts_certs::{Identity, Role};
use bts_core::crypto::sign::PROTOCOL_VERSION;
use bts_core::ids::{ClientRef, Incarnation, Lsn, PublicKey, ReplicaId};
use bts_core::memory::{Acquaintances, MemoryLoss, Peers, Presented};
use bts_core::message::{Hello, HelloReply, HelloRole};

/// Who stands at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visitor {
    /// A client process.
    Client(ClientRef),
    /// A peer.
    Replica(ReplicaId),
    /// Somebody who may change the members of the cluster.
    Operator,
}

/// Why somebody is refused, in words for that somebody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("you speak version {0} of the protocol, this replica version {PROTOCOL_VERSION}")]
    Version(u16),
    #[error("this is another cluster than yours: compare the id in the cluster files")]
    Cluster,
    #[error(
        "your configuration of this cluster is another one: if a member was replaced, take the new \
         cluster file; else compare faults, replicas, their order and keys in the cluster files"
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
    #[error(
        "your key is not that of an operator: see policy.operators in the cluster file, which only \
         its next restart makes a replica read again"
    )]
    NotAnOperator,
    #[error("you speak as replica {said}, but your certificate is that of a {role}")]
    NotAReplica { said: ReplicaId, role: Role },
    #[error("you speak as replica {0}, but your key is not the configured one")]
    KeyOfAnother(ReplicaId),
    #[error("you speak as replica {0}, and so does the one you speak to")]
    Myself(ReplicaId),
    #[error(transparent)]
    Lost(#[from] MemoryLoss),
    #[error("dialed replica {0}, but replica {1} answered")]
    WrongReplica(ReplicaId, ReplicaId),
    #[error("{0}")]
    RefusedUs(String),
    #[error("{0}")]
    DisownedUs(String),
}

impl HelloError {
    /// What whoever is refused is told.
    pub(crate) fn reply(&self) -> HelloReply {
        let reason = self.to_string();
        match self {
            Self::Lost(_) => HelloReply::LostMemory(reason),
            _ => HelloReply::Refused(reason),
        }
    }
}

/// Where both logs stand at the beginning of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number after the last decision of the peer's stream that was heard of.
    pub(crate) stream_next: u64,
    /// Our own log is durable up to here.
    pub(crate) position: Lsn,
}

/// What this replica is, and whom it has met.
#[derive(Debug)]
pub(crate) struct Gate {
    cluster: Cluster,
    id: ReplicaId,
    incarnation: Incarnation,
    /// Of this process.
    run: u64,
    met: Mutex<Acquaintances>,
}

impl Gate {
    /// The gate of one replica of the cluster.
    pub(crate) fn new(
        cluster: Cluster,
        id: ReplicaId,
        incarnation: Incarnation,
        peers: Peers,
    ) -> Self {
        Self {
            cluster,
            id,
            incarnation,
            run: rand::random(),
            met: Mutex::new(Acquaintances::new(peers)),
        }
    }

    /// The peers met so far, if that is not in the store yet.
    pub(crate) fn news(&self) -> Option<Peers> {
        self.met().news()
    }

    /// A peer told that its log was durable up to here: if it comes back with less, it lost a part of it.
    pub(crate) fn hear(&self, peer: ReplicaId, position: Lsn) {
        self.met().hear(peer, position);
    }

    /// A commit failed, so what was handed over is not in the store.
    pub(crate) fn forget_handed_over(&self) {
        self.met().forget_handed_over();
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
        if hello.role == HelloRole::Operator {
            return admit_operator(&self.cluster, identity);
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
                position,
                run,
            } => {
                self.recognize(replica, identity)?;
                if policy != self.cluster.configuration().policy().hash() {
                    return Err(HelloError::Policy);
                }
                let presented = Presented {
                    incarnation,
                    position,
                    run,
                };
                self.met().meet(replica, presented)?;
                Ok(Visitor::Replica(replica))
            }
            HelloRole::Operator => admit_operator(&self.cluster, identity),
        }
    }

    /// The Hello for a peer.
    pub(crate) fn hello(&self, place: Place) -> Hello {
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
                stream_next: place.stream_next,
                position: place.position,
                run: self.run,
            },
        }
    }

    /// The answer to a welcome visitor.
    pub(crate) fn welcome(&self, place: Place) -> HelloReply {
        HelloReply::Ack {
            version: PROTOCOL_VERSION,
            replica: self.id,
            incarnation: self.incarnation,
            stream_next: place.stream_next,
            position: place.position,
            run: self.run,
        }
    }

    /// Whether the answer of the dialed `peer` is one to go on with; if so, where our stream is to
    /// go on.
    pub(crate) fn on_reply(&self, peer: ReplicaId, reply: HelloReply) -> Result<u64, HelloError> {
        match reply {
            HelloReply::Refused(reason) => Err(HelloError::RefusedUs(reason)),
            HelloReply::LostMemory(reason) => Err(HelloError::DisownedUs(reason)),
            HelloReply::Ack { version, .. } if version != PROTOCOL_VERSION => {
                Err(HelloError::Version(version))
            }
            HelloReply::Ack { replica, .. } if replica != peer => {
                Err(HelloError::WrongReplica(peer, replica))
            }
            HelloReply::Ack {
                incarnation,
                stream_next,
                position,
                run,
                ..
            } => {
                let presented = Presented {
                    incarnation,
                    position,
                    run,
                };
                self.met().meet(peer, presented)?;
                Ok(stream_next)
            }
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

    fn met(&self) -> MutexGuard<'_, Acquaintances> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether whoever proved `identity` may change the members of the cluster. It need not be admitted as
/// a client.
pub(crate) fn admit_operator(
    cluster: &Cluster,
    identity: &Identity,
) -> Result<Visitor, HelloError> {
    let operators = &cluster.configuration().policy().operators;
    match operators.contains(&PublicKey(identity.key)) {
        true => Ok(Visitor::Operator),
        false => Err(HelloError::NotAnOperator),
    }
}

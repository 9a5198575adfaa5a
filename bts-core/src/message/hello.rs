//! The first frame in each direction of a connection: who am I, and are we of one cluster
//!

use serde::{Deserialize, Serialize};

use crate::crypto::hash::Digest;
use crate::ids::{ClusterId, Incarnation, Lsn, ReplicaId, Session};

/// The first frame on a connection, from whoever dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Protocol version.
    pub version: u16,
    /// The cluster the dialler believes to speak to.
    pub cluster: ClusterId,
    /// Hash of its configuration.
    pub configuration: Digest,
    /// As what it speaks; must fit its certificate.
    pub role: HelloRole,
}

/// Who dials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloRole {
    /// A client process.
    Client {
        /// Its session.
        session: Session,
    },
    /// A replica, which sends on the connection and hears nothing but the answer to this.
    Replica {
        /// Which.
        replica: ReplicaId,
        /// Identity of its store.
        incarnation: Incarnation,
        /// Hash of its policy, which must be equal everywhere.
        policy: Digest,
        /// Number after the last of our decisions that it has heard of.
        stream_next: u64,
        /// Its log is durable up to here.
        position: Lsn,
        /// Random, another one for each start of its process: within one, greetings may overtake one
        /// another, and a lower position is no sign of a loss.
        run: u64,
    },
    /// Somebody who may change the members of the cluster, and speaks [`super::AdminRequest`]. Which
    /// configuration it knows does not matter.
    Operator,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloReply {
    /// Welcome.
    Ack {
        /// Protocol version.
        version: u16,
        /// Who answers.
        replica: ReplicaId,
        /// Identity of its store.
        incarnation: Incarnation,
        /// Number after the last decision of the dialler's stream that it has heard of.
        stream_next: u64,
        /// Its log is durable up to here.
        position: Lsn,
        /// Random, another one for each start of its process: within one, greetings may overtake one
        /// another, and a lower position is no sign of a loss.
        run: u64,
    },
    /// Go away, with the reason in words; the connection is closed.
    Refused(String),
    /// The same, to a replica that came back with less than it had (A8).
    LostMemory(String),
}

//! What a replica wants done.

use super::record::Record;
use crate::ids::{ClientRef, Lsn, ReplicaId};
use crate::message::{PeerMessage, Reply};
use crate::misbehavior::{Evidence, Forgery};

/// The results of one or more inputs. The owner empties it.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be appended to the log in this order, then synced, then told by `Input::Synced`.
    pub records: Vec<(Lsn, Record)>,
    /// To be sent, in any order; losing or doubling one is harmless.
    pub send: Vec<Outgoing>,
    /// To be logged for people.
    pub events: Vec<Event>,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// To a client session.
    Client(ClientRef, Reply),
    /// To a peer, on our own connection.
    Peer(ReplicaId, PeerMessage),
}

/// Whom something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// A client.
    Client(ClientRef),
    /// A replica.
    Replica(ReplicaId),
}

/// Something people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something forged or altered was relayed; refused and counted.
    Forged {
        /// By whom.
        by: Principal,
        /// What was wrong.
        what: Forgery,
    },
    /// Proof that a signer is faulty.
    Convicted(Box<Evidence>),
    /// A request was refused.
    Refused {
        /// Whose.
        by: Principal,
        /// Why.
        why: String,
    },
}

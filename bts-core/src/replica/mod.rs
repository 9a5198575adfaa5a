//! The server as a state machine: its inputs, its outputs, and the table that leads each message to
//! the file that handles it.

pub mod outputs;
pub mod record;

use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::configuration::Configuration;
use crate::ids::{ClientRef, Incarnation, Lsn, ReplicaId};
use crate::message::{ClientRequest, PeerMessage};
use crate::time::{Span, Time};

pub use outputs::{Event, Outgoing, Outputs, Principal};
pub use record::Record;

/// What happens to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client connected and was welcomed.
    ClientConnected(ClientRef),
    /// Its last connection ended.
    ClientGone(ClientRef),
    /// A request of a connected client.
    Client(ClientRef, ClientRequest),
    /// Our connection to a peer is up; `stream_next` is from its Hello answer.
    PeerConnected(ReplicaId, u64),
    /// Our connection to a peer is down.
    PeerGone(ReplicaId),
    /// A message that a peer sent on its own connection.
    Peer(ReplicaId, PeerMessage),
    /// All records up to this one are on disk.
    Synced(Lsn),
    /// Nothing but time passed: a deadline is reached.
    Tick,
}

/// What a replica is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which replica of the configuration.
    pub id: ReplicaId,
    /// The cluster.
    pub configuration: Arc<Configuration>,
    /// Its key; the public half stands in the configuration.
    pub key: SigningKey,
    /// Random identity of its store.
    pub incarnation: Incarnation,
    /// Δ: the first window of a recovery. About ten times a round trip.
    pub window: Span,
    /// How long an entry stays reserved for the client that it was named to.
    pub reservation: Span,
    /// Limits that deployments may lower.
    pub limits: Limits,
}

/// Limits that a configuration file may set; the defaults are those of [`crate::limits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Undecided first votes per client key.
    pub open_votes_per_client: usize,
    /// Blocked operations per session.
    pub waiters_per_session: usize,
    /// Contents per writer key.
    pub live_contents_per_writer: usize,
}

/// The server.
#[derive(Debug)]
pub struct Replica {
    options: Options,
}

impl Replica {
    /// A replica without any entry.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Takes one input to its end.
    pub fn handle(&mut self, _now: Time, _input: Input, _out: &mut Outputs) {
        let _ = &self.options;
    }

    /// When the replica wants a [`Input::Tick`], and what for.
    pub fn deadline(&self) -> Option<(Time, &'static str)> {
        None
    }

    /// Number after the last decision of this peer's stream that was heard of, for the Hello.
    pub fn stream_next(&self, _peer: ReplicaId) -> u64 {
        0
    }
}

//! What the tasks of one replica share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bts_certs::{Closer, FrameWriter, LinkError};
use bts_core::configuration::Configuration;
use bts_core::ids::{ClientRef, Incarnation, PublicKey, ReplicaId};
use bts_core::message::{ClientRequest, PeerMessage};
use tokio::sync::{Notify, oneshot, watch};

use crate::hello::Gate;
use crate::inbox::Inbox;
use crate::journal::{Journal, Kind};
use crate::roster::Roster;
use crate::settings::Settings;

/// What the connections tell the driver.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A client was welcomed.
    ClientOpened(ClientRef, Connection),
    /// It sent a request on this connection.
    Client(ClientRef, ConnectionId, ClientRequest),
    /// The connection ended.
    ClientClosed(ClientRef, ConnectionId),
    /// A peer welcomed us; our stream goes on at this number.
    PeerOpened(ReplicaId, Connection, u64),
    /// That connection ended.
    PeerClosed(ReplicaId, ConnectionId),
    /// A peer sent a message on its own connection.
    Peer(ReplicaId, PeerMessage),
    /// Where is this peer's stream to go on?
    StreamNext(ReplicaId, oneshot::Sender<u64>),
}

/// Tells connections apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId(u64);

/// A connection to write to.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The name in the certificate of the other side.
    pub(crate) name: String,
    pub(crate) writer: FrameWriter,
    pub(crate) closer: Closer,
}

/// What is shared.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) settings: Settings,
    pub(crate) gate: Gate,
    pub(crate) inbox: Inbox<Arrival>,
    pub(crate) journal: Journal,
    pub(crate) roster: Roster,
    /// Per peer: it is up, so dialing it is worth while.
    pub(crate) is_up: BTreeMap<ReplicaId, Notify>,
    welcomed_by: Mutex<BTreeSet<ReplicaId>>,
    is_ready: watch::Sender<bool>,
    connections: AtomicU64,
}

impl Shell {
    /// What the tasks of the replica with these settings share.
    pub(crate) fn new(settings: Settings, incarnation: Incarnation) -> Self {
        let configuration = settings.cluster.configuration();
        let alone = configuration.size().replicas() == 1;
        let peers = configuration.replicas().filter(|id| *id != settings.id);
        Self {
            gate: Gate::new(settings.cluster.clone(), settings.id, incarnation),
            inbox: Inbox::new(),
            journal: Journal::new(),
            roster: Roster::new(settings.connections),
            is_up: peers.map(|id| (id, Notify::new())).collect(),
            welcomed_by: Mutex::new(BTreeSet::new()),
            is_ready: watch::Sender::new(alone),
            connections: AtomicU64::new(0),
            settings,
        }
    }

    /// The configuration of the cluster.
    pub(crate) fn configuration(&self) -> &Configuration {
        self.settings.cluster.configuration()
    }

    /// A number for a new connection.
    pub(crate) fn connection_id(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    /// A peer has welcomed this incarnation. When all correct ones may have, clients are welcomed
    /// here: a replica that lost its memory never comes so far, since its peers remember.
    pub(crate) fn on_welcomed(&self, peer: ReplicaId) {
        let mut by = self
            .welcomed_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        by.insert(peer);
        if by.len() + 1 >= self.configuration().size().promise_quorum() {
            self.is_ready.send_replace(true);
        }
    }

    /// Waits until clients may be served.
    pub(crate) async fn ready(&self) {
        // It fails only when there is nobody left to become ready.
        let _ = self.is_ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Notes the end of a connection if the other side broke the protocol.
    pub(crate) fn on_ended(&self, key: PublicKey, name: &str, error: &LinkError) {
        match error {
            LinkError::Frame(why) => self.journal.note(Kind::Broke, key, &name, why),
            other => tracing::debug!("connection of {name} ended: {other}"),
        }
    }
}

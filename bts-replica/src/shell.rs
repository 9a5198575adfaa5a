//! What the tasks of one replica share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bts_certs::{Closer, FrameWriter, LinkError};
use bts_core::configuration::Configuration;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{ClientRef, Incarnation, PublicKey, ReplicaId};
use bts_core::memory::{Opinion, Peers, Standing, Welcomes};
use bts_core::message::{ClientRequest, PeerMessage};
use tokio::sync::{Notify, oneshot, watch};

use crate::hello::{Gate, Place};
use crate::inbox::{Inbox, Owner};
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
    /// Where is this peer's stream to go on? Answered when what was met so far is durable.
    Greet(ReplicaId, oneshot::Sender<Place>),
    /// What the peers think of this store.
    Judged(Opinion),
    /// An operator wants this configuration to end.
    Stop(Digest),
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
    welcomes: Mutex<Welcomes>,
    standing: watch::Sender<Standing>,
    connections: AtomicU64,
}

/// What a client is told by a replica that has lost its memory.
pub(crate) const DISOWNED: &str =
    "this replica lost its memory, as its peers say: it stays out until it is replaced";

impl Shell {
    /// What the tasks of the replica with these settings share.
    /// `standing` is what the store says.
    pub(crate) fn new(
        settings: Settings,
        incarnation: Incarnation,
        known: Peers,
        standing: Standing,
    ) -> Self {
        let configuration = settings.cluster.configuration();
        let peers = configuration.replicas().filter(|id| *id != settings.id);
        Self {
            gate: Gate::new(settings.cluster.clone(), settings.id, incarnation, known),
            inbox: Inbox::new(),
            journal: Journal::new(),
            roster: Roster::new(settings.connections),
            is_up: peers.map(|id| (id, Notify::new())).collect(),
            welcomes: Mutex::new(Welcomes::new(configuration.size())),
            standing: watch::Sender::new(standing),
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

    /// A peer has welcomed this store.
    pub(crate) fn on_welcomed(&self, peer: ReplicaId) {
        let opinion = self.welcomes().welcomed_by(peer);
        self.tell(Arrival::Judged(opinion));
    }

    /// A peer says that this store has lost something.
    pub(crate) fn on_disowned(&self, peer: ReplicaId) {
        let opinion = self.welcomes().disowned_by(peer);
        self.tell(Arrival::Judged(opinion));
    }

    /// What follows from what peers said so far.
    pub(crate) fn opinion(&self) -> Opinion {
        self.welcomes().opinion()
    }

    /// Tells the driver.
    pub(crate) fn tell(&self, arrival: Arrival) {
        let own = Owner::Replica(self.settings.id);
        self.inbox.lane(own).tell(arrival);
    }

    fn welcomes(&self) -> MutexGuard<'_, Welcomes> {
        let welcomes = self.welcomes.lock();
        welcomes.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the replica takes part.
    pub(crate) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// The driver, and nobody else, learned something of that. Returns what `learn` does.
    pub(crate) fn learn<T>(&self, learn: impl FnOnce(&mut Standing) -> T) -> T {
        let mut known = self.standing();
        let learned = learn(&mut known);
        self.standing.send_if_modified(|standing| {
            let changes = *standing != known;
            *standing = known;
            changes
        });
        learned
    }

    /// Waits until clients may be served; or says why they never will be.
    pub(crate) async fn ready(&self) -> Result<(), &'static str> {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(|standing| !matches!(standing, Standing::Starting { .. }));
        // It fails only when there is nobody left to become ready.
        match known.await.map(|standing| *standing) {
            Ok(Standing::Ready) => Ok(()),
            Ok(Standing::Disowned) => Err(DISOWNED),
            Ok(Standing::Starting { .. }) | Err(_) => Err("this replica stops"),
        }
    }

    /// Notes the end of a connection if the other side broke the protocol.
    pub(crate) fn on_ended(&self, key: PublicKey, name: &str, error: &LinkError) {
        match error {
            LinkError::Frame(why) => self.journal.note(Kind::Broke, key, &name, why),
            other => tracing::debug!("connection of {name} ended: {other}"),
        }
    }
}

//! What the tasks of one replica share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bts_certs::{Closer, FrameWriter, LinkError};
use bts_core::configuration::Configuration;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{ClientRef, Incarnation, PublicKey, ReplicaId};
use bts_core::message::{ClientRequest, PeerMessage};
use tokio::sync::{Notify, oneshot, watch};

use crate::hello::{Gate, Place};
use crate::inbox::{Inbox, Owner};
use crate::journal::{Journal, Kind};
use crate::roster::Roster;
use crate::settings::Settings;
use crate::store::Peers;

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
    /// Enough peers have welcomed this store.
    Remembered,
    /// Too many peers say that this store has lost something.
    Disowned,
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
    judged_by: Mutex<JudgedBy>,
    standing: watch::Sender<Standing>,
    connections: AtomicU64,
}

/// What peers think of this store.
#[derive(Debug, Default)]
struct JudgedBy {
    welcomed: BTreeSet<ReplicaId>,
    disowned: BTreeSet<ReplicaId>,
}

/// Whether clients may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not known yet whether the store has lost something.
    Starting,
    /// Enough peers have welcomed it.
    Ready,
    /// It has (A8).
    Disowned,
}

/// What a client is told by a replica that has lost its memory.
const DISOWNED: &str =
    "this replica lost its memory, as its peers say: it stays out until it is replaced";

impl Shell {
    /// What the tasks of the replica with these settings share.
    pub(crate) fn new(settings: Settings, incarnation: Incarnation, known: Peers) -> Self {
        let configuration = settings.cluster.configuration();
        let peers = configuration.replicas().filter(|id| *id != settings.id);
        Self {
            gate: Gate::new(settings.cluster.clone(), settings.id, incarnation, known),
            inbox: Inbox::new(),
            journal: Journal::new(),
            roster: Roster::new(settings.connections),
            is_up: peers.map(|id| (id, Notify::new())).collect(),
            judged_by: Mutex::default(),
            standing: watch::Sender::new(Standing::Starting),
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

    /// A peer has welcomed this store. When all correct ones may have, it can be used: a replica that
    /// lost its memory never comes so far, since its peers remember.
    pub(crate) fn on_welcomed(&self, peer: ReplicaId) {
        let mut by = self.judged_by();
        by.welcomed.insert(peer);
        by.disowned.remove(&peer);
        if by.welcomed.len() + 1 >= self.configuration().size().promise_quorum() {
            self.tell(Arrival::Remembered);
        }
    }

    /// A peer says that this store has lost something. When one of those who say so must be
    /// correct, it has.
    pub(crate) fn on_disowned(&self, peer: ReplicaId) {
        let mut by = self.judged_by();
        by.welcomed.remove(&peer);
        let is_new = by.disowned.insert(peer);
        if is_new && by.disowned.len() == self.configuration().size().fact_quorum() {
            tracing::error!(
                "THIS REPLICA HAS LOST ITS MEMORY: {} peers say that its store is not, or not all \
                 of, what it was. It may have forgotten promises, so it serves nobody any more. \
                 Replace it: see `When a replica lost its memory` in docs/operations.md",
                by.disowned.len()
            );
            self.tell(Arrival::Disowned);
        }
    }

    /// Tells the driver.
    pub(crate) fn tell(&self, arrival: Arrival) {
        let own = Owner::Replica(self.settings.id);
        self.inbox.lane(own).tell(arrival);
    }

    fn judged_by(&self) -> MutexGuard<'_, JudgedBy> {
        self.judged_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on clients are served, or not any more. A lost memory does not come back.
    pub(crate) fn set_standing(&self, standing: Standing) {
        self.standing.send_if_modified(|current| {
            let changes = *current != Standing::Disowned && *current != standing;
            if changes {
                *current = standing;
            }
            changes
        });
    }

    /// Whether this store has lost something.
    pub(crate) fn is_disowned(&self) -> bool {
        *self.standing.borrow() == Standing::Disowned
    }

    /// Waits until clients may be served; or says why they never will be.
    pub(crate) async fn ready(&self) -> Result<(), &'static str> {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(|standing| *standing != Standing::Starting);
        // It fails only when there is nobody left to become ready.
        match known.await.map(|standing| *standing) {
            Ok(Standing::Ready) => Ok(()),
            Ok(Standing::Disowned) => Err(DISOWNED),
            Ok(Standing::Starting) | Err(_) => Err("this replica stops"),
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

//! The loop that owns the core: arrivals in, records to the store, what they allow out.
//!
//! What the core wants logged waits for the store; while a commit is under way inputs go on being
//! handled, and all they log is the next one. The core is told what is durable, and only then lets
//! messages go that depend on it. Sending never waits: a client that does not read its answers is
//! disconnected, and what a peer has no room for is dropped, because the protocol repeats it.

mod storing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bts_certs::SendError;
use bts_core::codec;
use bts_core::ids::{ClientRef, Lsn, PublicKey, ReplicaId};
use bts_core::memory::Standing;
use bts_core::message::{PeerMessage, Reply, ReplyBody};
use bts_core::misbehavior::Evidence;
use bts_core::replica::{Event, Input, Outgoing, Outputs, Principal, Unreplayable};
use bts_core::time::Time;
use tokio::time::{Instant, sleep_until};

use crate::journal::Kind;
use crate::machine::{Machine, Start};
use crate::shell::{Arrival, Connection, ConnectionId, DISOWNED, Shell};
use crate::store::{Batch, Store, StoreError};
use crate::writer::Writer;

pub(crate) use storing::Maker;
use storing::{Flight, Frozen, Greeter};

/// Inputs handled at once, at most.
const BATCH_MAX: usize = 256;
/// Records that may wait for the store; then nothing is taken in until it is done.
const WAITING_MAX: usize = 16_384;
/// For so many messages that leave together room is kept.
const KEPT_MAX: usize = 1024;
/// How often it is looked at how much waits for all clients together.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(50);
/// No sleep is longer, so that no sum of times overflows.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// The owner of a machine and its store.
pub(crate) struct Driver<M, S, F> {
    shell: Arc<Shell>,
    maker: Maker<S, F>,
    machine: M,
    writer: Writer<S>,
    started: Instant,
    out: Outputs,
    /// What the next commit is to make durable, and what is under way.
    batch: Batch,
    flight: Option<Flight>,
    /// Peers that are answered when the next commit is done.
    greeters: Vec<Greeter>,
    /// The log is durable up to here.
    position: Lsn,
    frozen: Option<Frozen>,
    clients: BTreeMap<ClientRef, Connection>,
    /// With where our stream is to go on.
    peers: BTreeMap<ReplicaId, (Connection, u64)>,
    backlog_checked: Instant,
    positions_noted: Instant,
}

impl<M: Machine, S: Store, F> Driver<M, S, F>
where
    F: FnMut(Start<'_>) -> Result<M, Unreplayable>,
{
    /// A driver of the machine that wrote what is in the store.
    pub(crate) fn start(
        shell: Arc<Shell>,
        mut store: S,
        mut maker: Maker<S, F>,
    ) -> Result<Self, StoreError> {
        let mut out = Outputs::default();
        let (machine, position) = maker.make(&mut store, Time::ZERO, &mut out)?;
        let mut driver = Self {
            writer: maker.employ(store)?,
            maker,
            machine,
            started: Instant::now(),
            out,
            batch: Batch::default(),
            flight: None,
            greeters: Vec::new(),
            position,
            frozen: None,
            clients: BTreeMap::new(),
            peers: BTreeMap::new(),
            backlog_checked: Instant::now(),
            positions_noted: Instant::now(),
            shell,
        };
        // Who has no peers is remembered by all of them.
        driver.on_judged(driver.shell.opinion());
        Ok(driver)
    }

    /// Drives the machine until the store fails, or the configuration has ended here. Cancel-safe
    /// between two batches.
    pub(crate) async fn run(&mut self) -> Result<(), StoreError> {
        let (inbox, mut arrivals) = (self.shell.inbox.clone(), Vec::new());
        // What a restarted machine wants to say does not wait for somebody to speak to it.
        self.finish_batch()?;
        while !self.has_ended() {
            let wake_at = self.wake_at();
            let takes_more = self.batch.records.len() < WAITING_MAX;
            let handled = tokio::select! {
                () = inbox.take(BATCH_MAX, &mut arrivals), if takes_more => {
                    arrivals.drain(..).for_each(|arrival| self.on_arrival(arrival));
                    Ok(())
                }
                done = self.writer.done() => self.on_done(done),
                () = sleep_until(wake_at) => {
                    self.on_time();
                    Ok(())
                }
            };
            self.shed_backlog();
            handled.and_then(|()| self.finish_batch())?;
            // The connections share this thread, and take of it what is left. When there is nothing more for us,
            // they come without being asked: to ask costs a look at the network.
            if !inbox.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// True if the machine has stopped for good and the store says so: what it says is all that will
    /// ever be in it.
    fn has_ended(&self) -> bool {
        let is_durable = self.batch.records.is_empty() && !self.writer.is_busy();
        self.machine.stopped().is_some() && is_durable && self.frozen.is_none()
    }

    fn on_time(&mut self) {
        match &self.frozen {
            Some(frozen) if frozen.look_at <= Instant::now() => self.find_room(),
            Some(_) | None if self.takes_part() => self.handle(Input::Tick),
            Some(_) | None => {}
        }
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::ClientOpened(client, connection) => self.on_client_opened(client, connection),
            Arrival::Client(client, on, request) => {
                if is_current(&self.clients, &client, on) {
                    self.handle(Input::Client(client, request));
                }
            }
            Arrival::ClientClosed(client, on) => {
                if is_current(&self.clients, &client, on) {
                    self.drop_client(&client);
                }
            }
            Arrival::PeerOpened(peer, connection, stream_next) => {
                self.on_peer_opened(peer, connection, stream_next);
            }
            Arrival::PeerClosed(peer, on) => {
                let current = self.peers.get(&peer);
                if current.is_some_and(|(connection, _)| connection.id == on) {
                    self.drop_peer(peer);
                }
            }
            Arrival::Peer(peer, message) => {
                if self.takes_part() {
                    self.handle(Input::Peer(peer, message));
                }
            }
            Arrival::Greet(peer, answer) => self.on_greet(Greeter { peer, answer }),
            Arrival::Judged(opinion) => self.on_judged(opinion),
            Arrival::Stop(purpose) => self.handle(Input::Stop(purpose)),
        }
    }

    /// The newest connection of a session wins. Its waiters and watches end with the old one.
    fn on_client_opened(&mut self, client: ClientRef, connection: Connection) {
        if let Some(old) = self.drop_client(&client) {
            old.closer.close("your session has a newer connection");
        }
        // It may have been disowned since this client was welcomed.
        if !self.takes_part() {
            return connection.closer.close(DISOWNED);
        }
        self.note_client(Kind::Connected, &client, &connection);
        self.clients.insert(client, connection);
        self.handle(Input::ClientConnected(client));
    }

    fn drop_client(&mut self, client: &ClientRef) -> Option<Connection> {
        let connection = self.clients.remove(client)?;
        self.note_client(Kind::Left, client, &connection);
        self.handle(Input::ClientGone(*client));
        Some(connection)
    }

    fn on_peer_opened(&mut self, peer: ReplicaId, connection: Connection, stream_next: u64) {
        if let Some(old) = self.drop_peer(peer) {
            old.closer.close("there is a newer connection");
        }
        self.peers.insert(peer, (connection, stream_next));
        self.note_peer(Kind::Connected, peer);
        if self.takes_part() {
            self.handle(Input::PeerConnected(peer, stream_next));
        }
    }

    fn drop_peer(&mut self, peer: ReplicaId) -> Option<Connection> {
        let (connection, _) = self.peers.remove(&peer)?;
        self.note_peer(Kind::Left, peer);
        self.handle(Input::PeerGone(peer));
        Some(connection)
    }

    fn note_client(&self, kind: Kind, client: &ClientRef, connection: &Connection) {
        let name = format!("client {}", connection.name);
        let session = format!("session {}", client.session);
        self.shell.journal.note(kind, client.key, &name, &session);
    }

    fn note_peer(&self, kind: Kind, peer: ReplicaId) {
        let size = self.shell.configuration().size();
        let (n, quorum) = (size.replicas(), size.ack_quorum());
        let connected = self.peers.len() + 1;
        let state = if connected >= quorum {
            "a quorum"
        } else if connected > size.faults() {
            "not a quorum, but one of them is correct"
        } else {
            "all of which may be faulty"
        };
        let why = format!("{connected} of {n} replicas with this one, {state} (q = {quorum})");
        let journal = &self.shell.journal;
        journal.note(kind, self.key_of(peer), &format!("peer {peer}"), &why);
    }

    /// Whether the machine is given anything but orders to stop (A8).
    fn takes_part(&self) -> bool {
        self.shell.standing().takes_part()
    }

    fn handle(&mut self, input: Input) {
        self.machine.handle(self.now(), input, &mut self.out);
    }

    /// Hands what is to be logged to the store, if that has time, and sends what may leave, until
    /// nothing is left: a client that is dropped for not reading gives the core more to say.
    fn finish_batch(&mut self) -> Result<(), StoreError> {
        loop {
            self.collect();
            self.commit();
            while let Some(done) = self.writer.try_done() {
                self.on_done(Some(done))?;
                self.collect();
                self.commit();
            }
            if self.out.send.is_empty() && self.out.events.is_empty() {
                return Ok(());
            }
            let mut send = std::mem::take(&mut self.out.send);
            let events = std::mem::take(&mut self.out.events);
            // What was promised before the store was disowned stays unsaid too.
            let may_speak = self.shell.standing() != Standing::Disowned;
            for outgoing in send.drain(..).filter(|_| may_speak) {
                match outgoing {
                    Outgoing::Client(client, reply) => self.send_to_client(client, reply),
                    Outgoing::Peer(peer, message) => self.send_to_peer(peer, &message),
                }
            }
            // With what came of sending.
            send.shrink_to(KEPT_MAX);
            send.append(&mut self.out.send);
            self.out.send = send;
            for event in events {
                self.on_event(event);
            }
        }
    }

    fn send_to_client(&mut self, client: ClientRef, mut reply: Reply) {
        let Some(connection) = self.clients.get(&client) else {
            return;
        };
        if let ReplyBody::Report(report) = &mut reply.body {
            self.shell.journal.add_to(report);
        }
        let write = |bytes: &mut Vec<u8>| codec::encode_into(&reply, bytes);
        match connection.writer.try_send_with(write) {
            Ok(()) | Err(SendError::Ended) => {}
            Err(SendError::Full) => self.drop_slow_client(&client),
            Err(error) => tracing::error!("an answer to {client} cannot be sent: {error}"),
        }
    }

    /// Each queue is bounded, but so many together may still be too much. Then those go for whom most
    /// is kept.
    fn shed_backlog(&mut self) {
        if self.backlog_checked.elapsed() < BACKLOG_INTERVAL {
            return;
        }
        self.backlog_checked = Instant::now();
        let waiting = |connection: &Connection| connection.writer.queued_bytes();
        let mut total: usize = self.clients.values().map(waiting).sum();
        while total > self.shell.settings.connections.queues_bytes {
            let queues = self
                .clients
                .iter()
                .map(|(client, to)| (waiting(to), *client));
            let Some((bytes, slowest)) = queues.max() else {
                return;
            };
            self.drop_slow_client(&slowest);
            total = total.saturating_sub(bytes);
        }
    }

    fn drop_slow_client(&mut self, client: &ClientRef) {
        let Some(connection) = self.drop_client(client) else {
            return;
        };
        let waiting = connection.writer.queued_bytes();
        let why = format!("{waiting} bytes of answers wait for you to read them");
        connection.closer.close(&why);
        let name = format!("client {}", connection.name);
        let journal = &self.shell.journal;
        journal.note(Kind::TooSlow, client.key, &name, &why);
    }

    fn send_to_peer(&self, peer: ReplicaId, message: &PeerMessage) {
        let Some((connection, _)) = self.peers.get(&peer) else {
            return;
        };
        let write = |bytes: &mut Vec<u8>| codec::encode_into(message, bytes);
        match connection.writer.try_send_with(write) {
            Ok(()) | Err(SendError::Ended) => {}
            Err(SendError::Full) => {
                let name = format!("peer {}", connection.name);
                let why = "it has no room for more; what is lost is repeated later";
                let key = self.key_of(peer);
                self.shell.journal.note(Kind::TooSlow, key, &name, &why);
            }
            Err(error) => tracing::error!("a message to {peer} cannot be sent: {error}"),
        }
    }

    fn on_event(&self, event: Event) {
        let journal = &self.shell.journal;
        match event {
            Event::Forged { by, what } => {
                let (key, who) = self.name(by);
                journal.note(Kind::Forged, key, &who, &what);
            }
            Event::Refused { by, why } => {
                let (key, who) = self.name(by);
                journal.note(Kind::Refused, key, &who, &why);
            }
            Event::Convicted(evidence) => {
                let (key, who, why) = self.describe(&evidence);
                journal.note(Kind::Convicted, key, &who, &why);
            }
        }
    }

    fn name(&self, principal: Principal) -> (PublicKey, String) {
        match principal {
            Principal::Client(client) => {
                let connection = self.clients.get(&client);
                let name = connection.map_or("(gone)", |connection| &connection.name);
                (client.key, format!("client {name} ({client})"))
            }
            Principal::Replica(replica) => (self.key_of(replica), format!("peer {replica}")),
        }
    }

    fn describe(&self, evidence: &Evidence) -> (PublicKey, String, &'static str) {
        match evidence {
            Evidence::ContradictingPromises { replica, .. } => {
                let who = format!("replica {replica}");
                (
                    self.key_of(*replica),
                    who,
                    "it signed two different promises",
                )
            }
            Evidence::ContradictingVotes { replica, .. } => {
                let who = format!("replica {replica}");
                (self.key_of(*replica), who, "it signed two different votes")
            }
            Evidence::TwoContents { writer, .. } => {
                let who = format!("client ({writer})");
                (*writer, who, "it signed two contents for one entry")
            }
        }
    }

    fn key_of(&self, replica: ReplicaId) -> PublicKey {
        let key = self.shell.configuration().key_of(replica);
        key.unwrap_or(PublicKey([0; 32]))
    }

    fn now(&self) -> Time {
        let micros = self.started.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn wake_at(&self) -> Instant {
        let latest = match &self.frozen {
            Some(frozen) => frozen.look_at,
            None => Instant::now() + SLEEP_MAX,
        };
        let deadline = self.machine.deadline().filter(|_| self.takes_part());
        deadline.map_or(latest, |(deadline, _why)| {
            let after = Duration::from_micros(deadline.as_micros());
            self.started
                .checked_add(after)
                .unwrap_or(latest)
                .min(latest)
        })
    }
}

fn is_current<K: Ord>(
    connections: &BTreeMap<K, Connection>,
    whose: &K,
    connection: ConnectionId,
) -> bool {
    connections
        .get(whose)
        .is_some_and(|current| current.id == connection)
}

#[cfg(test)]
pub(crate) mod tests;

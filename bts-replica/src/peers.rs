//! The connections to the peers, on which this replica speaks and they listen.
//!
//! Each peer is dialed for as long as this replica lives: with a pause that doubles, is spread by
//! chance so that a cluster does not dial in step, and ends when the peer shows by its own dialing
//! that it is up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bts_certs::cluster::Member;
use bts_certs::{Authenticated, Dialer, FrameReader, Link, LinkError, LinkLimits};
use bts_core::codec;
use bts_core::ids::ReplicaId;
use bts_core::limits::PEER_FRAME_BYTES_MAX;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::endpoint::stopped;
use crate::hello::HelloError;
use crate::inbox::{Lane, Owner};
use crate::journal::Kind;
use crate::session::greet;
use crate::shell::{Arrival, Connection, Shell};

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A dialing that was answered is over so soon.
const UNDER_WAY: Duration = Duration::from_millis(200);
/// A connection that lasted so long was a good one: the pauses begin anew.
const LASTING: Duration = Duration::from_secs(10);
/// Longest answer to a Hello, in bytes.
const REPLY_BYTES_MAX: usize = 4096;
/// How long the answer to a Hello may take.
const REPLY_PATIENCE: Duration = Duration::from_secs(5);

/// Keeps a connection to one peer, until `stop` says why not any more.
pub(crate) async fn keep_connected(
    shell: Arc<Shell>,
    peer: ReplicaId,
    mut stop: watch::Receiver<Option<String>>,
) {
    let Some(member) = shell.settings.cluster.member(peer).cloned() else {
        return;
    };
    let lane = shell.inbox.lane(Owner::Replica(peer));
    let mut route = Route {
        shell,
        peer,
        member,
        lane,
        dialer: None,
        is_connected: false,
    };
    let reason = tokio::select! {
        reason = stopped(&mut stop) => reason,
        () = route.redial() => unreachable!("redialing never ends"),
    };
    // A peer that does not answer our dialing would not answer our goodbye either.
    if let (Some((_, dialer)), true) = (route.dialer, route.is_connected) {
        dialer.shutdown(&reason).await;
    }
}

/// The way to one peer.
struct Route {
    shell: Arc<Shell>,
    peer: ReplicaId,
    member: Member,
    lane: Lane<Arrival>,
    /// With whether it is for IPv6.
    dialer: Option<(bool, Dialer)>,
    is_connected: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("cannot find {0}: {1}")]
    Lookup(String, std::io::Error),
    #[error("{0} has no address")]
    NoAddress(String),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error("its answer to our Hello is none: {0}")]
    Answer(String),
    #[error("this replica stops, or its disk is full")]
    Stopping,
}

impl Route {
    async fn redial(&mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            let began = Instant::now();
            let error = match self.dial_if_up().await {
                Ok((link, stream_next)) => self.hold(link, stream_next).await,
                Err(error) => error,
            };
            self.log(&error);
            pause = match began.elapsed() {
                lasted if lasted >= LASTING => PAUSE_MIN,
                _ => PAUSE_MAX.min(2 * pause),
            };
            self.wait(pause).await;
        }
    }

    /// Between half the pause and all of it; but if the peer shows that it is up, only the shortest.
    async fn wait(&self, pause: Duration) {
        sleep(PAUSE_MIN.mul_f64(rand::random())).await;
        tokio::select! {
            () = sleep(pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())) => {}
            () = self.peer_is_up() => {}
        }
    }

    /// Dials, and begins anew when the peer comes up meanwhile: packets that were sent before are
    /// repeated at long intervals only.
    async fn dial_if_up(&mut self) -> Result<(Link, u64), DialError> {
        let shell = self.shell.clone();
        let is_up = shell.is_up.get(&self.peer);
        let came_up = async {
            match is_up {
                Some(is_up) => is_up.notified().await,
                None => std::future::pending().await,
            }
            sleep(UNDER_WAY).await;
        };
        tokio::select! {
            biased;
            dialed = self.dial() => return dialed,
            () = came_up => {}
        }
        self.dial().await
    }

    async fn peer_is_up(&self) {
        match self.shell.is_up.get(&self.peer) {
            Some(is_up) => is_up.notified().await,
            None => std::future::pending().await,
        }
    }

    async fn dial(&mut self) -> Result<(Link, u64), DialError> {
        let address = self.address().await?;
        let name = self.member.name.clone();
        let dialer = self.dialer_for(address)?;
        let Authenticated { identity, mut link } = dialer.connect(address, &name).await?;
        if let Err(error) = self.shell.gate.recognize(self.peer, &identity) {
            link.closer.close(&error.to_string());
            return Err(error.into());
        }
        let Some(place) = greet(&self.lane, self.peer).await else {
            return Err(DialError::Stopping);
        };
        link.reader.set_frame_bytes_max(REPLY_BYTES_MAX);
        let hello = codec::encode(&self.shell.gate.hello(place));
        // It fails only if the link has ended, and then reading says why.
        let _ = link.writer.try_send(hello);
        let frame = match timeout(REPLY_PATIENCE, link.reader.next()).await {
            Ok(frame) => frame?,
            Err(_) => return Err(DialError::Answer("it does not come".into())),
        };
        let frame = frame.ok_or_else(|| DialError::Answer("it hangs up".into()))?;
        let reply =
            codec::decode_client(&frame).map_err(|error| DialError::Answer(error.to_string()))?;
        match self.shell.gate.on_reply(self.peer, reply) {
            Ok(stream_next) => Ok((link, stream_next)),
            Err(error) => {
                if let HelloError::DisownedUs(_) = error {
                    self.shell.on_disowned(self.peer);
                }
                link.closer.close(&error.to_string());
                Err(error.into())
            }
        }
    }

    /// Lets the driver speak on the connection until it ends.
    async fn hold(&mut self, link: Link, stream_next: u64) -> DialError {
        self.shell.on_welcomed(self.peer);
        let (reader, writer, closer) = link.split();
        let id = self.shell.connection_id();
        let connection = Connection {
            id,
            name: self.member.name.clone(),
            writer,
            closer,
        };
        self.lane
            .tell(Arrival::PeerOpened(self.peer, connection, stream_next));
        self.is_connected = true;
        let error = end_of(reader).await;
        self.is_connected = false;
        self.lane.tell(Arrival::PeerClosed(self.peer, id));
        error
    }

    async fn address(&self) -> Result<SocketAddr, DialError> {
        let address = &self.member.address;
        let found = lookup_host(address).await;
        let mut found = found.map_err(|error| DialError::Lookup(address.clone(), error))?;
        let none = || DialError::NoAddress(address.clone());
        found.next().ok_or_else(none)
    }

    fn dialer_for(&mut self, address: SocketAddr) -> Result<&Dialer, LinkError> {
        let (limits, v6) = (self.limits(), address.is_ipv6());
        let made = match self.dialer.take() {
            Some((known, dialer)) if known == v6 => dialer,
            Some(_) | None => Dialer::bind(any(v6), &self.shell.settings.identity, limits)?,
        };
        Ok(&self.dialer.insert((v6, made)).1)
    }

    fn limits(&self) -> LinkLimits {
        LinkLimits {
            frame_bytes_max: PEER_FRAME_BYTES_MAX,
            queue_bytes_max: self.shell.settings.connections.queue_bytes,
        }
    }

    fn log(&self, error: &DialError) {
        let kind = match error {
            DialError::Hello(HelloError::RefusedUs(_) | HelloError::DisownedUs(_)) => {
                Kind::TurnedUsAway
            }
            DialError::Hello(_) | DialError::Answer(_) => Kind::TurnedAway,
            DialError::Lookup(..)
            | DialError::NoAddress(_)
            | DialError::Link(_)
            | DialError::Stopping => Kind::Unreached,
        };
        let Member { name, key, .. } = &self.member;
        let journal = &self.shell.journal;
        journal.note(kind, *key, &format!("replica {name}"), error);
    }
}

/// Waits for the end of a connection on which the peer has nothing to say.
async fn end_of(mut reader: FrameReader) -> DialError {
    match reader.next().await {
        Ok(None) => LinkError::ClosedByPeer("it hung up".into()).into(),
        Err(error) => error.into(),
        Ok(Some(_)) => {
            reader.close("you have nothing to say on this connection");
            DialError::Answer("it went on after its answer".into())
        }
    }
}

fn any(v6: bool) -> SocketAddr {
    if v6 {
        SocketAddr::from(([0_u16; 8], 0))
    } else {
        SocketAddr::from(([0_u8; 4], 0))
    }
}

//! Accepting links.
//!
//! Handshakes run beside one another, each with a deadline and a place at the [`Door`], so no
//! stranger holds up another. Only peers that proved a member's certificate and greeted come out of
//! [`Listener::accept`]; the others are counted and logged. Whether a member may have a link, and
//! how many, is decided by the caller, who closes with a reason.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, TokioRuntime};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::dial::{
    Authenticated, CONNECT_TIMEOUT, GREETING, end_of, peer_identity, read_greeting, shutdown,
};
use crate::door::{Admission, Door, Place};
use crate::link::{Link, LinkLimits};
use crate::link_error::{CLOSE_CODE, LinkError};
use crate::local::LocalIdentity;
use crate::reset::endpoint_config;
use crate::tls::{TlsError, server_config};

/// Links that are made and wait for [`Listener::accept`].
const ACCEPTED_MAX: usize = 64;
/// At most one refusal in so long is logged at info; strangers do not fill our disk.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts links from members. Dropping it ends the accepting, not the links.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    accepted: mpsc::Receiver<Authenticated>,
    refusals: Arc<Refusals>,
    accepting: AbortHandle,
}

/// The count of those who were refused, and when one was logged last.
#[derive(Debug, Default)]
struct Refusals {
    total: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Listener {
    /// Listens on a UDP socket bound to `address` as `local`. To be called within a tokio runtime,
    /// which runs the handshakes.
    pub fn bind(
        address: SocketAddr,
        local: &LocalIdentity,
        limits: LinkLimits,
    ) -> Result<Self, LinkError> {
        let server = server_config(local)?;
        let socket = UdpSocket::bind(address)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(endpoint_config(local), Some(server), socket, runtime)?;
        let refusals = Arc::new(Refusals::default());
        let (links, accepted) = mpsc::channel(ACCEPTED_MAX);
        let porter = Porter {
            endpoint: endpoint.clone(),
            limits,
            links,
            refusals: refusals.clone(),
        };
        let accepting = tokio::spawn(porter.run()).abort_handle();
        Ok(Self {
            endpoint,
            accepted,
            refusals,
            accepting,
        })
    }

    /// The next link, or `None` after the shutdown. Cancel-safe.
    pub async fn accept(&mut self) -> Option<Authenticated> {
        self.accepted.recv().await
    }

    /// The address that peers dial.
    pub fn local_addr(&self) -> Result<SocketAddr, LinkError> {
        Ok(self.endpoint.local_addr()?)
    }

    /// How many were turned away because of their certificate or greeting.
    pub fn refused_total(&self) -> u64 {
        self.refusals.total.load(Ordering::Relaxed)
    }

    /// Uses another identity for links made from now on; those that exist stay.
    pub fn set_identity(&self, local: &LocalIdentity) -> Result<(), TlsError> {
        self.endpoint.set_server_config(Some(server_config(local)?));
        Ok(())
    }

    /// Closes all links with this reason, accepts no more, and waits until the peers know, three
    /// seconds at most.
    pub async fn shutdown(&self, reason: &str) {
        shutdown(&self.endpoint, reason).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
        self.endpoint.set_server_config(None);
    }
}

/// The task that turns connection attempts into links.
#[derive(Clone)]
struct Porter {
    endpoint: Endpoint,
    limits: LinkLimits,
    links: mpsc::Sender<Authenticated>,
    refusals: Arc<Refusals>,
}

impl Porter {
    async fn run(self) {
        let door = Door::default();
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.on_incoming(incoming, &door, &mut handshakes),
                    None => return,
                },
                Some(_) = handshakes.join_next() => {}
            }
        }
    }

    fn on_incoming(&self, incoming: Incoming, door: &Door, handshakes: &mut JoinSet<()>) {
        let validated = incoming.remote_address_validated() || !incoming.may_retry();
        match door.admit(incoming.remote_address().ip(), validated) {
            Admission::Enter(place) => {
                handshakes.spawn(self.clone().on_admitted(incoming, place));
            }
            // It fails only for an address that is validated already.
            Admission::Validate => drop(incoming.retry()),
            Admission::Ignore => incoming.ignore(),
        }
    }

    async fn on_admitted(self, incoming: Incoming, place: Place) {
        let remote = incoming.remote_address();
        match self.make_link(incoming, place).await {
            Ok((peer, _place)) => {
                tracing::debug!(%remote, identity = %peer.identity, "link accepted");
                // It fails only if the listener is gone, and the link goes with it.
                let _ = self.links.send(peer).await;
            }
            Err(error) => self.refusals.on_refused(remote, &error),
        }
    }

    async fn make_link(
        &self,
        incoming: Incoming,
        place: Place,
    ) -> Result<(Authenticated, Place), LinkError> {
        let of = |error| LinkError::of(error, None);
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let connecting = incoming.accept().map_err(of)?;
        let Ok(connected) = timeout_at(deadline, connecting).await else {
            return Err(LinkError::TimedOut);
        };
        let connection = connected.map_err(of)?;
        let identity = peer_identity(&connection)?;
        let Some(place) = place.proved(identity.key) else {
            connection.close(CLOSE_CODE, b"you have too many connections without a link");
            return Err(LinkError::TooMany(identity));
        };
        let Ok(greeted) = timeout_at(deadline, accept_greeting(&connection)).await else {
            connection.close(CLOSE_CODE, b"you opened no link in time");
            return Err(LinkError::TimedOut);
        };
        let link = Link::new(connection, greeted?, self.limits);
        Ok((Authenticated { identity, link }, place))
    }
}

impl Refusals {
    fn on_refused(&self, remote: SocketAddr, error: &LinkError) {
        let refused_total = self.total.fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|last| last.elapsed() >= REFUSAL_LOG_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::info!(%remote, refused_total, "refused a connection: {error}");
        } else {
            tracing::trace!(%remote, refused_total, "refused a connection: {error}");
        }
    }
}

/// Takes the one stream that the dialer opens, and greets back.
async fn accept_greeting(connection: &Connection) -> Result<(SendStream, RecvStream), LinkError> {
    let failed = |_| end_of(connection, "the greeting failed");
    let (mut send, mut recv) = connection
        .accept_bi()
        .await
        .map_err(|error| LinkError::of(error, None))?;
    read_greeting(connection, &mut recv).await?;
    send.write_all(&GREETING).await.map_err(failed)?;
    Ok((send, recv))
}

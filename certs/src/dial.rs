//! Dialing a replica.
//!
//! A dialed link is greeted: the dialer sends four bytes, the other side answers with the same. So
//! [`Dialer::connect`] returns a link only if the other side has accepted our certificate too, which
//! the TLS 1.3 handshake alone does not tell, and refusals come as its error.

use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;

use crate::identity::{Identity, Role};
use crate::link::{Closer, Link, LinkLimits};
use crate::link_error::{CLOSE_CODE, LinkError};
use crate::local::LocalIdentity;
use crate::tls::{TlsError, client_config};

/// How long a link may take from the first packet to the end of the greeting.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the shutdown of an endpoint waits for its goodbyes to arrive.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// The greeting: name and version of the link.
pub(crate) const GREETING: [u8; 4] = *b"BTS\x01";

/// A link and who is at its other end, as TLS has proved.
#[derive(Debug)]
pub struct Authenticated {
    /// Who the peer is. That it is of the authority gives it no right: compare role and key with
    /// the configuration.
    pub identity: Identity,
    /// The link to it.
    pub link: Link,
}

/// Makes links to replicas.
#[derive(Debug)]
pub struct Dialer {
    endpoint: Endpoint,
    config: RwLock<quinn::ClientConfig>,
    limits: LinkLimits,
}

impl Dialer {
    /// A dialer on a UDP socket bound to `address` (port 0: any). To be called within a tokio
    /// runtime.
    pub fn bind(
        address: SocketAddr,
        local: &LocalIdentity,
        limits: LinkLimits,
    ) -> Result<Self, LinkError> {
        let config = RwLock::new(client_config(local)?);
        Ok(Self {
            endpoint: Endpoint::client(address)?,
            config,
            limits,
        })
    }

    /// Dials the replica at `address`, whose certificate must carry `server_name` (a DNS name or
    /// an IP address; see [`crate::replica_name`]). Fails after five seconds.
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
    ) -> Result<Authenticated, LinkError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.try_connect(address, server_name))
            .await
            .unwrap_or(Err(LinkError::TimedOut))
    }

    /// Uses another identity for links made from now on.
    pub fn set_identity(&self, local: &LocalIdentity) -> Result<(), TlsError> {
        let config = client_config(local)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Closes all links with this reason, and waits until the peers know, three seconds at most.
    pub async fn shutdown(&self, reason: &str) {
        shutdown(&self.endpoint, reason).await;
    }

    async fn try_connect(
        &self,
        address: SocketAddr,
        server_name: &str,
    ) -> Result<Authenticated, LinkError> {
        let config = self
            .config
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let connecting = self.endpoint.connect_with(config, address, server_name)?;
        let connection = connecting
            .await
            .map_err(|error| LinkError::of(error, None))?;
        let identity = peer_identity(&connection)?;
        if identity.role != Role::Replica {
            connection.close(CLOSE_CODE, b"you are not a replica");
            return Err(LinkError::NotAReplica(identity));
        }
        let stream = greet(&connection).await?;
        Ok(Authenticated {
            identity,
            link: Link::new(connection, stream, self.limits),
        })
    }
}

/// Who is at the other end. Closes the connection if it is no member.
pub(crate) fn peer_identity(connection: &Connection) -> Result<Identity, LinkError> {
    let chain = connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
        .unwrap_or_default();
    let der = chain.first().map_or(&[][..], |leaf| leaf.as_ref());
    Identity::from_der(der).map_err(|error| {
        let reason = format!("your certificate was refused: {error}");
        connection.close(CLOSE_CODE, reason.as_bytes());
        error.into()
    })
}

/// Reads the peer's greeting. Closes the connection if it is another one.
pub(crate) async fn read_greeting(
    connection: &Connection,
    recv: &mut RecvStream,
) -> Result<(), LinkError> {
    let mut greeting = [0; GREETING.len()];
    let read = recv.read_exact(&mut greeting).await;
    if read.is_ok() && greeting == GREETING {
        return Ok(());
    }
    Err(end_of(
        connection,
        "you do not speak this version of the link",
    ))
}

/// The error of a connection on which something failed: that of its end, or else a bad greeting,
/// which ends it.
pub(crate) fn end_of(connection: &Connection, reason: &str) -> LinkError {
    match connection.close_reason() {
        Some(error) => Closer::new(connection.clone()).why(error),
        None => {
            connection.close(CLOSE_CODE, reason.as_bytes());
            LinkError::Greeting
        }
    }
}

/// Closes an endpoint. Waiting longer than a few seconds helps nobody: a peer that does not answer
/// learns by its own timer.
pub(crate) async fn shutdown(endpoint: &Endpoint, reason: &str) {
    endpoint.close(CLOSE_CODE, reason.as_bytes());
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, endpoint.wait_idle()).await;
}

async fn greet(connection: &Connection) -> Result<(SendStream, RecvStream), LinkError> {
    let failed = |_| end_of(connection, "the greeting failed");
    let (mut send, mut recv) = connection
        .open_bi()
        .await
        .map_err(|error| LinkError::of(error, None))?;
    send.write_all(&GREETING).await.map_err(failed)?;
    read_greeting(connection, &mut recv).await?;
    Ok((send, recv))
}

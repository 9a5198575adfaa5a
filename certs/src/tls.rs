//! The TLS and QUIC settings of every link: TLS 1.3 only, both sides authenticated, nothing resumed.
//!
//! A resumed session would not check again whether a certificate has expired, and early data can be
//! replayed, so there are neither tickets nor 0-RTT. The transport is set for peers that do not wish
//! us well: one stream, no datagrams, bounded windows, no migration.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::SignatureScheme;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;

use crate::local::LocalIdentity;

/// The application protocol; another version of the link would take another name.
const ALPN: &[u8] = b"bts/1";
/// Without a packet for so long, a connection is dead.
const IDLE_TIMEOUT_MS: u32 = 10_000;
/// A connection without traffic sends a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// The first guess of the round trip, which sets how soon a lost first packet is sent again.
const INITIAL_RTT: Duration = Duration::from_millis(20);
/// How much a peer may have sent that we have not read, in bytes.
const RECEIVE_WINDOW_BYTES: u32 = 1 << 20;
/// How much we keep for a peer that has not acknowledged it, in bytes.
const SEND_WINDOW_BYTES: u64 = 2 << 20;
/// How much of a handshake may wait for missing parts, in bytes; a certificate has some 500.
const HANDSHAKE_BYTES_MAX: usize = 16 << 10;
/// Connection attempts that may wait to be looked at.
const INCOMING_MAX: usize = 256;
/// What one such attempt, and all of them, may make us keep, in bytes.
const INCOMING_BYTES_MAX: u64 = 16 << 10;
const INCOMING_TOTAL_BYTES_MAX: u64 = 1 << 20;

/// Why TLS could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct TlsError(String);

/// The settings of an endpoint that accepts links as `local`, from any certificate of a trusted
/// authority.
pub fn server_config(local: &LocalIdentity) -> Result<quinn::ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(local.roots(), provider())
        .build()
        .map_err(failed)?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(local.chain(), local.tls_key())
        .map_err(failed)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    let crypto = QuicServerConfig::try_from(tls).map_err(failed)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport(1)))
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_TOTAL_BYTES_MAX);
    Ok(config)
}

/// The settings for dialing as `local`, to servers with a certificate of a trusted authority.
pub fn client_config(local: &LocalIdentity) -> Result<quinn::ClientConfig, TlsError> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_root_certificates(local.roots())
        .with_client_auth_cert(local.chain(), local.tls_key())
        .map_err(failed)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    tls.enable_early_data = false;
    let crypto = QuicClientConfig::try_from(tls).map_err(failed)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(0)));
    Ok(config)
}

/// Of signatures Ed25519 alone, so that no certificate and no handshake with another verifies.
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::ring::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::ring::ED25519])],
};

/// The only place that chooses the implementation of cryptography: ring.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        signature_verification_algorithms: SIGNATURES,
        ..rustls::crypto::ring::default_provider()
    })
}

/// `streams_from_peer`: the dialer opens the one stream of a link, the other side none.
fn transport(streams_from_peer: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams_from_peer))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .crypto_buffer_size(HANDSHAKE_BYTES_MAX)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT);
    transport
}

fn failed(error: impl std::fmt::Display) -> TlsError {
    TlsError(error.to_string())
}

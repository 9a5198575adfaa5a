//! A deployment in one process, and strangers that speak QUIC without our library's manners.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bts_certs::{
    Authenticated, Authority, Dialer, LinkError, LinkLimits, Listener, LocalIdentity, Subject,
    Validity,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

pub(crate) const LIMITS: LinkLimits = LinkLimits {
    frame_bytes_max: 1000,
    queue_bytes_max: 4000,
};

pub(crate) fn authority() -> Authority {
    Authority::create(Validity::days(2)).expect("an authority is made")
}

pub(crate) fn replica(authority: &Authority) -> LocalIdentity {
    let subject = Subject::replica(0, &["127.0.0.1"]).expect("a proper subject");
    authority
        .member(&subject, Validity::days(1))
        .expect("a replica is made")
}

pub(crate) fn client(authority: &Authority) -> LocalIdentity {
    let subject = Subject::client("w1").expect("a proper subject");
    authority
        .member(&subject, Validity::days(1))
        .expect("a client is made")
}

pub(crate) fn expired() -> Validity {
    let now = OffsetDateTime::now_utc();
    Validity::between(
        now - time::Duration::days(9),
        now - time::Duration::minutes(1),
    )
}

pub(crate) fn listen(local: &LocalIdentity) -> (Listener, SocketAddr) {
    let listener = Listener::bind(loopback(), local, LIMITS).expect("the listener is bound");
    let address = listener.local_addr().expect("the listener has an address");
    (listener, address)
}

pub(crate) fn dialer(local: &LocalIdentity) -> Dialer {
    Dialer::bind(loopback(), local, LIMITS).expect("the dialer is bound")
}

pub(crate) async fn dial(
    local: &LocalIdentity,
    address: SocketAddr,
) -> Result<Authenticated, LinkError> {
    dialer(local).connect(address, "replica-0").await
}

/// Both ends of a link: the dialer's, the listener's, and the listener, which lives on.
pub(crate) async fn link_pair() -> (Authenticated, Authenticated, Listener) {
    let authority = authority();
    let (mut listener, address) = listen(&replica(&authority));
    let client = client(&authority);
    let (dialed, accepted) = tokio::join!(dial(&client, address), listener.accept());
    (
        dialed.expect("the link is made"),
        accepted.expect("the link is accepted"),
        listener,
    )
}

/// A connection of a member that goes its own ways from here on.
pub(crate) async fn raw_member(local: &LocalIdentity, address: SocketAddr) -> quinn::Connection {
    let config = bts_certs::client_config(local).expect("the settings are made");
    raw(config, address).await.expect("a member is let in")
}

pub(crate) async fn raw(
    config: quinn::ClientConfig,
    address: SocketAddr,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let endpoint = quinn::Endpoint::client(loopback()).expect("the endpoint is bound");
    endpoint
        .connect_with(config, address, "replica-0")
        .expect("the dialing begins")
        .await
}

/// Settings of a stranger that trusts `authority`: with a certificate and key (PEM) or without.
pub(crate) fn stranger(
    authority: &Authority,
    pair: Option<(&str, &str)>,
    protocol: &[u8],
) -> quinn::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(certificate(authority.certificate_pem()))
        .expect("an authority's certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .with_root_certificates(roots);
    let mut tls = match pair {
        None => builder.with_no_client_auth(),
        Some((certificate_pem, key_pem)) => {
            let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).expect("a key");
            let chain = vec![certificate(certificate_pem)];
            builder
                .with_client_auth_cert(chain, key)
                .expect("key and certificate fit")
        }
    };
    tls.alpn_protocols = vec![protocol.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("QUIC's suite");
    quinn::ClientConfig::new(Arc::new(crypto))
}

pub(crate) fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// Waits until something has come true; the time is only a bound on failure.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(within(waited).await.is_some(), "never came true: {what}");
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .ok()
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

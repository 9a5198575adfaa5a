//! What tells a peer that its link is dead, when this side died without a word and is back.
//!
//! A process that was killed knows nothing of its former links, and those at their other ends would
//! speak into them until their patience ends. QUIC's stateless reset (RFC 9000, section 10.3) ends
//! that with their next packet: it carries a token that only the former process, or one that can
//! derive the same, knows. So the tokens of a listener are derived from the member's secret key and
//! not from chance, as they would be by default.

use std::sync::Arc;
use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use ring::hmac;

use crate::local::LocalIdentity;

/// What the key of the tokens is derived for, so that nothing else is ever derived alike.
const PURPOSE: &[u8] = b"bts/1 stateless reset";
/// Bytes of a connection id.
const ID_BYTES: usize = 8;

/// The settings of the endpoint of a listener. One process at a time may listen as a member: two
/// with the same tokens would end each other's links.
pub(crate) fn endpoint_config(local: &LocalIdentity) -> EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, local.signing_key().as_bytes());
    let derived = hmac::sign(&secret, PURPOSE);
    let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
    let mut config = EndpointConfig::new(Arc::new(key));
    config.cid_generator(|| Box::new(Ids));
    config
}

/// Connection ids by chance. The usual ones carry a mark of the process that made them, and those
/// without it are not answered.
struct Ids;

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; ID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

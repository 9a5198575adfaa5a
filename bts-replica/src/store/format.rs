//! The bytes of a store: chunks of records, who it belongs to, and how it stands. Every value
//! begins with a digest of its key and of what follows.

use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::ids::{ClusterId, Incarnation, Lsn, PublicKey, ReplicaId};
use bts_core::memory::Peers;
use bts_core::replica::Record;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What the key `format` says in stores that this program writes. A change of anything here, or
/// of the meaning of a record, is a new one.
pub(super) const FORMAT: &str = "bts store 1";

/// Bytes of the digest in front of each value.
const SEAL_BYTES: usize = 16;

/// Whose store it is. Written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    /// Hash of the configuration.
    pub(crate) configuration: Digest,
    pub(crate) replica: ReplicaId,
    pub(crate) key: PublicKey,
}

/// The identity with the random number of this very store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) identity: Identity,
    pub(super) incarnation: Incarnation,
}

/// How the store stands. Written by every commit, so that what a commit added or took cannot be
/// missing unnoticed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Commits so far.
    pub(super) commits: u64,
    /// Chunks, and the sum of their seals.
    pub(super) chunks: u64,
    pub(super) sum: u128,
    /// The last record.
    pub(super) last: Lsn,
    /// Whether enough peers remember this store.
    pub(super) confirmed: bool,
    pub(super) peers: Peers,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cluster,
            configuration,
            replica,
            key,
        } = self;
        write!(
            f,
            "replica {replica} (key {key}) of cluster {cluster}, configuration {configuration}"
        )
    }
}

/// What a seal says of a key and a value.
pub(super) fn seal_of(key: &[u8], body: &[u8]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update(b"bts store");
    hasher.update((key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(body);
    let digest = hasher.finalize();
    let (head, _) = digest.split_at(SEAL_BYTES);
    head.iter()
        .fold(0, |seal, byte| seal << 8 | u128::from(*byte))
}

/// A value with its seal.
pub(super) fn seal(key: &[u8], body: &[u8]) -> (u128, Vec<u8>) {
    let seal = seal_of(key, body);
    let mut value = Vec::with_capacity(SEAL_BYTES + body.len());
    value.extend(seal.to_be_bytes());
    value.extend(body);
    (seal, value)
}

/// What follows the seal, if it is intact.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<(u128, &'a [u8])> {
    let (said, body) = value.split_at_checked(SEAL_BYTES)?;
    let seal = seal_of(key, body);
    (said == seal.to_be_bytes()).then_some((seal, body))
}

/// The key of a chunk as its seal sees it.
pub(super) fn chunk_key(first: u64) -> [u8; 8] {
    first.to_be_bytes()
}

/// A sealed value of the head.
pub(super) fn encode_head<T: Serialize>(key: &str, value: &T) -> Vec<u8> {
    seal(key.as_bytes(), &codec::encode(value)).1
}

/// What [`encode_head`] encoded.
pub(super) fn decode_head<T: DeserializeOwned>(key: &str, value: &[u8]) -> Option<T> {
    let (_, body) = unseal(key.as_bytes(), value)?;
    codec::decode_peer(body).ok()
}

/// Adds a record to the body of a chunk.
pub(super) fn push_record(body: &mut Vec<u8>, lsn: u64, record: &[u8]) {
    body.extend(lsn.to_le_bytes());
    body.extend((record.len() as u64).to_le_bytes());
    body.extend(record);
}

/// The records of a chunk, as bytes.
pub(super) fn records(body: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut rest = body;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (lsn, after) = rest.split_first_chunk::<8>()?;
        let (length, after) = after.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (record, after) = after.split_at_checked(length)?;
        records.push((u64::from_le_bytes(*lsn), record));
        rest = after;
    }
    Some(records)
}

/// A record.
pub(super) fn decode_record(bytes: &[u8]) -> Result<Record, codec::DecodeError> {
    codec::decode_peer(bytes)
}

//! The only file that knows the wire format's library: bincode 2 with its standard configuration
//! (docs/wire.md). Decoding is bounded before it starts, and what is left over is an error.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::limits::{CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX};

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// More bytes than a message of this kind may have.
    #[error("{bytes} bytes, at most {limit} are allowed")]
    TooLong {
        /// Bytes received.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes do not follow the format.
    #[error("not a message: {0}")]
    Malformed(String),
    /// Bytes follow the end of the message.
    #[error("{0} bytes after the end of the message")]
    Trailing(usize),
    /// The bytes are not the one encoding of what they mean.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// What may stand in a signed payload.
pub trait Payload: Serialize + DeserializeOwned {}
impl<T: Serialize + DeserializeOwned> Payload for T {}

/// Encodes a value of our own making.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("our own types have known lengths, the only thing that can fail")
}

/// Decodes a frame from a client or from a replica to a client.
pub fn decode_client<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode::<T, { 8 * CLIENT_FRAME_BYTES_MAX }>(bytes, CLIENT_FRAME_BYTES_MAX)
}

/// Decodes a frame between replicas.
pub fn decode_peer<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode::<T, { 8 * PEER_FRAME_BYTES_MAX }>(bytes, PEER_FRAME_BYTES_MAX)
}

/// Decodes the payload of a signed message.
pub fn decode_payload<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_client(bytes)
}

/// `MEMORY` counts decoded widths, which exceed the bytes on the wire by up to eight times.
fn decode<T: DeserializeOwned, const MEMORY: usize>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLong {
            bytes: bytes.len(),
            limit,
        });
    }
    let config = bincode::config::standard().with_limit::<MEMORY>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::Trailing(left)),
    }
}

//! The only file that knows the wire format's library: bincode 2 with its standard configuration
//! (docs/wire.md). Decoding is bounded before it starts, and what is left over is an error.

use std::fmt;
use std::marker::PhantomData;

use bincode::enc::write::SizeWriter;
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
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

/// Room for what is encoded most: ids, votes, entries of a few fields.
const USUAL: usize = 128;

/// Encodes a value of our own making.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL);
    encode_into(value, &mut bytes);
    bytes
}

/// How many bytes the encoding of a value of our own making has.
pub fn encoded_len<T: Serialize>(value: &T) -> usize {
    let mut counter = SizeWriter::default();
    bincode::serde::encode_into_writer(value, &mut counter, bincode::config::standard())
        .expect("our own types have known lengths, the only thing that can fail");
    counter.bytes_written
}

/// Appends the encoding of a value of our own making to bytes that are there.
pub fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, bytes, bincode::config::standard())
        .expect("our own types have known lengths, the only thing that can fail");
}

/// Decodes a frame from a client or from a replica to a client.
pub fn decode_client<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode(bytes, CLIENT_FRAME_BYTES_MAX)
}

/// Decodes a frame between replicas.
pub fn decode_peer<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode(bytes, PEER_FRAME_BYTES_MAX)
}

/// Decodes the payload of a signed message.
pub fn decode_payload<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_client(bytes)
}

/// Decodes a list of at most `MAX` elements; a longer one is refused before any is built. For
/// `serde(deserialize_with)` on lists whose elements take far more memory than bytes on the wire.
pub fn at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(AtMost::<MAX, T>(PhantomData))
}

/// The same for a list that may be missing.
pub fn at_most_if_any<'de, const MAX: usize, T, D>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let list = Option::<Limited<MAX, T>>::deserialize(deserializer)?;
    Ok(list.map(|Limited(list)| list))
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Limited<const MAX: usize, T>(#[serde(deserialize_with = "at_most::<MAX, _, _>")] Vec<T>);

struct AtMost<const MAX: usize, T>(PhantomData<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MAX, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let length = list.size_hint().unwrap_or(0);
        if length > MAX {
            return Err(A::Error::invalid_length(length, &self));
        }
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}

/// The library allocates a text or byte string of any length that is claimed before it looks
/// whether the bytes are there, up to a limit that must be a constant: hence limits in steps, so
/// that a short frame cannot claim what a long one may.
fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    match bytes.len() {
        length if length > limit => Err(DecodeError::TooLong {
            bytes: length,
            limit,
        }),
        0..SMALL => decode_within::<T, { 8 * SMALL }>(bytes),
        SMALL..MIDDLE => decode_within::<T, { 8 * MIDDLE }>(bytes),
        MIDDLE..LARGE => decode_within::<T, { 8 * LARGE }>(bytes),
        _ => decode_within::<T, { 8 * PEER_FRAME_BYTES_MAX }>(bytes),
    }
}

const SMALL: usize = 4 * 1024;
const MIDDLE: usize = 64 * 1024;
const LARGE: usize = 1024 * 1024;

/// `MEMORY` counts decoded widths, which exceed the bytes on the wire by up to eight times.
fn decode_within<T: DeserializeOwned, const MEMORY: usize>(bytes: &[u8]) -> Result<T, DecodeError> {
    let config = bincode::config::standard().with_limit::<MEMORY>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::Trailing(left)),
    }
}

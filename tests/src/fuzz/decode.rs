//! Decoders: whatever decodes is encoded again, and means the same then. The encoding need not be
//! the same bytes, since numbers may come written longer than necessary, but then it is shorter.

use std::fmt::Debug;

use bts_certs::FrameDecoder;
use bts_core::codec::{self, DecodeError};
use bts_core::consensus::certificate::{Statement, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{EntryPayload, TakePayload};
use bts_core::ids::{EntryId, PublicKey};
use bts_core::message::{Hello, HelloReply};
use bts_core::replica::Record;
use bts_core::template::Template;
use bts_core::tuple::Tuple;

use super::Draw;
use crate::sim::node::Message;

/// A stream of frames: the limit on their length, how the stream is cut, the stream. However it is
/// cut, the same frames come out of it.
pub fn frames(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let limit = 1 << draw.below(25);
    let cut = 1 + draw.below(64);
    let stream = draw.rest();
    let mut whole = FrameDecoder::new(limit);
    let mut rest = stream;
    let mut frames = Vec::new();
    let end = loop {
        match whole.decode(&mut rest) {
            Ok(Some(frame)) => frames.push(frame.to_vec()),
            Ok(None) => break whole.finish(),
            Err(error) => break Err(error),
        }
    };
    assert!(frames.iter().all(|f| (1..=limit).contains(&f.len())));
    let taken: usize = frames.iter().map(|frame| 4 + frame.len()).sum();
    assert!(taken <= stream.len());

    let mut decoder = FrameDecoder::new(limit);
    let mut again = Vec::new();
    let mut error = None;
    'pieces: for mut piece in stream.chunks(cut) {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(frame)) => again.push(frame.to_vec()),
                Ok(None) => break,
                Err(found) => {
                    error = Some(found);
                    break 'pieces;
                }
            }
        }
    }
    let again_end = error.map_or_else(|| decoder.finish(), Err);
    assert_eq!((frames, end), (again, again_end));
}

/// A request of a client.
pub fn request(bytes: &[u8]) {
    if let Some(request) = same_again(bytes, codec::decode_client) {
        shown(&Message::Request(request));
    }
}

/// An answer to a client.
pub fn reply(bytes: &[u8]) {
    if let Some(reply) = same_again(bytes, codec::decode_client) {
        shown(&Message::Reply(reply));
    }
}

/// A message between replicas.
pub fn peer(bytes: &[u8]) {
    if let Some(message) = same_again(bytes, codec::decode_peer) {
        shown(&Message::Peer(message));
    }
}

/// The first words of a connection, in either direction.
pub fn hello(bytes: &[u8]) {
    same_again::<Hello>(bytes, codec::decode_client);
    same_again::<HelloReply>(bytes, codec::decode_client);
}

/// What is signed, stored or matched: a byte says which, the rest is it. What is well-formed keeps
/// the bounds that everybody relies on.
pub fn payload(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let kind = draw.below(7);
    let bytes = draw.rest();
    match kind {
        0 => of_entry(bytes),
        1 => of_take(bytes),
        2 => of_statement(bytes),
        3 => {
            if let Some(promise) = same_again::<PromisePayload>(bytes, codec::decode_payload) {
                descend(&promise.id);
            }
        }
        4 => drop(same_again::<Record>(bytes, codec::decode_payload)),
        5 => {
            if let Some(tuple) = same_again::<Tuple>(bytes, codec::decode_payload)
                && tuple.check().is_ok()
            {
                assert!(Template::from(tuple.clone()).matches(&tuple));
            }
        }
        _ => {
            if let Some(template) = same_again::<Template>(bytes, codec::decode_payload) {
                let _ = template.check();
            }
        }
    }
}

fn of_entry(bytes: &[u8]) {
    if let Some(entry) = same_again::<EntryPayload>(bytes, codec::decode_payload) {
        descend(&entry.id);
        let _ = entry.well_formed(&PublicKey([0; 32]));
    }
}

fn of_take(bytes: &[u8]) {
    if let Some(take) = same_again::<TakePayload>(bytes, codec::decode_payload) {
        descend(&take.id);
        if take.well_formed(&take.client).is_ok() {
            let ids = (0..).zip(&take.puts).map(|(index, _)| take.id.put(index));
            assert!(ids.into_iter().all(|id| id.is_some()));
        }
    }
}

fn of_statement(bytes: &[u8]) {
    let Some(statement) = same_again::<Statement>(bytes, codec::decode_payload) else {
        return;
    };
    descend(&statement.id);
    let kinds = [VoteKind::First, VoteKind::Prepare, VoteKind::Commit];
    for kind in kinds {
        let _ = statement.well_formed(kind);
    }
    assert!(!statement.is_rival_of(&statement));
}

/// What decodes is canonical, so that going down and up again ends where it began.
fn descend(id: &EntryId) {
    assert!(id.is_canonical());
    if let Some(put) = id.put(1) {
        assert_eq!(put.origin(), Some((id.clone(), 1)));
    }
    if let Some((parent, index)) = id.origin() {
        assert_eq!(parent.put(index).as_ref(), Some(id));
    }
}

/// Decodes; what decodes is encoded, and decoded again, to the same value and the same bytes.
pub(super) fn same_again<T: codec::Payload + PartialEq + Debug>(
    bytes: &[u8],
    decode: fn(&[u8]) -> Result<T, DecodeError>,
) -> Option<T> {
    let value = decode(bytes).ok()?;
    let encoded = codec::encode(&value);
    assert!(encoded.len() <= bytes.len(), "{value:?} grew");
    let again = decode(&encoded).expect("our own encoding");
    assert_eq!(again, value);
    assert_eq!(codec::encode(&again), encoded);
    Some(value)
}

/// Logs and traces show what came from outside.
fn shown(message: &Message) {
    assert!(!message.to_string().is_empty() && !format!("{message:?}").is_empty());
}

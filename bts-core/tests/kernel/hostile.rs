//! Hostile bytes: whatever arrives, the decoder and the verifier answer with an error, quickly, and
//! without more memory than the bytes are worth.

use std::collections::BTreeSet;

use bts_core::codec::{self, DecodeError};
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Content, Decision, EntryPayload, TakePayload};
use bts_core::crypto::sign::SignedBytes;
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{EntryId, Epoch};
use bts_core::limits::{CLIENT_FRAME_BYTES_MAX, FIELDS_MAX, PEER_FRAME_BYTES_MAX, PUTS_MAX};
use bts_core::message::{ClientRequest, Hello, HelloReply, PeerMessage, Reply};
use bts_core::template::Template;
use bts_core::tuple::{Field, Tuple};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::samples::Samples;
use crate::support::{Cluster, id_in, seeded};

/// Everything that is decoded from bytes of a stranger.
#[derive(Clone, Copy, Debug)]
enum Frame {
    Request,
    Reply,
    Peer,
    Hello,
    HelloReply,
}

const FRAMES: [Frame; 5] = [
    Frame::Request,
    Frame::Reply,
    Frame::Peer,
    Frame::Hello,
    Frame::HelloReply,
];

/// The outcome of decoding, and for what was decoded the bytes that encode it.
fn decoded(frame: Frame, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    fn again<T: Serialize>(value: Result<T, DecodeError>) -> Result<Vec<u8>, DecodeError> {
        value.map(|value| codec::encode(&value))
    }
    match frame {
        Frame::Request => again(codec::decode_client::<ClientRequest>(bytes)),
        Frame::Reply => again(codec::decode_client::<Reply>(bytes)),
        Frame::Peer => again(codec::decode_peer::<PeerMessage>(bytes)),
        Frame::Hello => again(codec::decode_client::<Hello>(bytes)),
        Frame::HelloReply => again(codec::decode_client::<HelloReply>(bytes)),
    }
}

/// Every sample as it travels.
fn frames() -> Vec<(Frame, &'static str, Vec<u8>)> {
    fn add<T: Serialize>(
        frames: &mut Vec<(Frame, &'static str, Vec<u8>)>,
        frame: Frame,
        samples: Vec<(&'static str, T)>,
    ) {
        let bytes = |(name, sample)| (frame, name, codec::encode(&sample));
        frames.extend(samples.into_iter().map(bytes));
    }
    let samples = Samples::new();
    let mut frames = Vec::new();
    add(&mut frames, Frame::Request, samples.requests());
    add(&mut frames, Frame::Reply, samples.replies());
    add(&mut frames, Frame::Peer, samples.peer_messages());
    add(&mut frames, Frame::Hello, samples.hellos());
    add(&mut frames, Frame::HelloReply, samples.hello_replies());
    frames
}

#[test]
fn codec_bytes_after_the_end_are_refused() {
    for (frame, name, mut bytes) in frames() {
        assert_eq!(decoded(frame, &bytes).as_ref(), Ok(&bytes), "{name}");
        bytes.extend([0, 0]);
        assert_eq!(
            decoded(frame, &bytes),
            Err(DecodeError::Trailing(2)),
            "{name}"
        );
    }
}

#[test]
fn codec_cut_messages_are_refused() {
    for (frame, name, bytes) in frames() {
        for end in 0..bytes.len() {
            let cut = decoded(frame, &bytes[..end]);
            assert!(
                matches!(cut, Err(DecodeError::Malformed(_))),
                "{name} cut at {end}"
            );
        }
    }
}

/// A huge number in every place of every message: where it is a length it must not be believed,
/// and nothing in the format has elements without bytes that could be counted for ever.
#[test]
fn codec_length_bombs_are_refused() {
    let huge: [&[u8]; 4] = [
        &[253, 255, 255, 255, 255, 255, 255, 255, 255],
        &[253, 0, 0, 0, 0, 0, 1, 0, 0],
        &[252, 255, 255, 255, 255],
        &[251, 255, 255],
    ];
    let mut refused = 0;
    for (frame, _, bytes) in frames() {
        for at in 0..bytes.len() {
            for number in huge {
                let bomb = [&bytes[..at], number, &bytes[at + 1..]].concat();
                refused += u32::from(decoded(frame, &bomb).is_err());
            }
        }
    }
    assert!(refused > 10_000, "the bombs went off nowhere: {refused}");
}

/// The library allocates a claimed text or byte string before it looks for the bytes. A frame of
/// ten bytes therefore cannot claim more than its size allows: it is refused by the limit, not for
/// the bytes that are missing.
#[test]
fn codec_short_frames_claim_little() {
    let claims = |bytes: &[u8]| match codec::decode_peer::<Tuple>(bytes) {
        Err(DecodeError::Malformed(error)) => error,
        other => panic!("{other:?}"),
    };
    for tag in [4, 5] {
        // One field, a text or bytes, of a claimed length of 1 MiB, then of 100 bytes.
        let error = claims(&[1, tag, 252, 0, 0, 16, 0, b'x']);
        assert_eq!(error, "LimitExceeded");
        let error = claims(&[1, tag, 100, b'x']);
        assert!(error.starts_with("UnexpectedEnd"), "{error}");
    }
}

/// The lists whose elements take far more memory than bytes are refused by their length.
#[test]
fn codec_lists_are_bounded_before_they_are_built() {
    fn error<T: DeserializeOwned + std::fmt::Debug>(bytes: &[u8]) -> String {
        match codec::decode_client::<T>(bytes) {
            Err(DecodeError::Malformed(error)) => error,
            other => panic!("{other:?}"),
        }
    }
    let many = [&[251, 0, 8][..], &[2; 2048]].concat();
    assert!(error::<Template>(&many).contains("invalid length 2048"));
    assert!(error::<Tuple>(&many).contains("invalid length 2048"));
    let cluster = Cluster::of_four();
    let id = codec::encode(&id_in("jobs", cluster.key(0), 1));
    let runs = [&id[..id.len() - 1], &[33], &[1; 66]].concat();
    assert!(error::<EntryId>(&runs).contains("invalid length 33"));
    assert_eq!((FIELDS_MAX, PUTS_MAX), (64, 16), "in docs/wire.md");
}

#[test]
fn codec_frames_beyond_the_limit_are_not_looked_at() {
    let long = vec![0; CLIENT_FRAME_BYTES_MAX + 1];
    let too_long = |bytes, limit| Err(DecodeError::TooLong { bytes, limit });
    let refused = codec::decode_client::<ClientRequest>(&long).map(drop);
    assert_eq!(
        refused,
        too_long(CLIENT_FRAME_BYTES_MAX + 1, CLIENT_FRAME_BYTES_MAX)
    );
    let long = vec![0; PEER_FRAME_BYTES_MAX + 1];
    let refused = codec::decode_peer::<PeerMessage>(&long).map(drop);
    assert_eq!(
        refused,
        too_long(PEER_FRAME_BYTES_MAX + 1, PEER_FRAME_BYTES_MAX)
    );
}

/// The limit of memory does not refuse what the limit of bytes allows, however small the numbers
/// that fill the frame.
#[test]
fn codec_full_frames_of_small_numbers_decode() {
    for elements in [100, 4_092, 65_532, 1_048_570, CLIENT_FRAME_BYTES_MAX - 5] {
        let numbers = vec![1_u64; elements];
        let bytes = codec::encode(&numbers);
        assert!(bytes.len() <= CLIENT_FRAME_BYTES_MAX);
        assert_eq!(codec::decode_client::<Vec<u64>>(&bytes), Ok(numbers));
    }
}

/// Any bytes. What happens to decode is a message like any other: it encodes and decodes again.
#[test]
fn codec_random_bytes_never_panic() {
    let random = prop::collection::vec(any::<u8>(), 0..200);
    // Small numbers are tags, lengths and options: they reach deeper.
    let small = prop::collection::vec(prop_oneof![8 => 0..4_u8, 1 => any::<u8>()], 0..200);
    let test = |bytes: Vec<u8>| {
        for frame in FRAMES {
            if let Ok(again) = decoded(frame, &bytes) {
                prop_assert_eq!(decoded(frame, &again), Ok(again));
            }
        }
        let _ = codec::decode_payload::<EntryPayload>(&bytes);
        let _ = codec::decode_payload::<TakePayload>(&bytes);
        let _ = codec::decode_payload::<PromisePayload>(&bytes);
        let _ = codec::decode_payload::<Statement>(&bytes);
        Ok(())
    };
    let strategy = prop_oneof![random, small];
    TestRunner::new(seeded(4000, 3))
        .run(&strategy, test)
        .unwrap();
}

/// One change to a message.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Copy(Index, Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let number = prop_oneof![
            Just(vec![253, 255, 255, 255, 255, 255, 255, 255, 255]),
            Just(vec![251, 255, 255]),
            prop::collection::vec(any::<u8>(), 1..4),
        ];
        prop_oneof![
            4 => (any::<Index>(), prop_oneof![0..5_u8, any::<u8>()]).prop_map(|(at, byte)| Self::Set(at, byte)),
            1 => (any::<Index>(), number).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            1 => any::<Index>().prop_map(Self::Remove),
            2 => (any::<Index>(), any::<Index>(), 1..80_usize).prop_map(|(from, to, length)| Self::Copy(from, to, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Set(at, byte) => bytes[at.index(length)] = *byte,
            Self::Insert(at, inserted) => {
                let at = at.index(length);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Remove(at) => drop(bytes.remove(at.index(length))),
            Self::Copy(from, to, count) => {
                let (from, to) = (from.index(length), to.index(length));
                let count = (*count).min(length - from.max(to));
                bytes.copy_within(from..from + count, to);
            }
        }
    }
}

/// Altered messages that still decode reach the verifier. It must not panic, and must not believe
/// anything that nobody signed: what it accepts is what the sample held.
#[test]
fn verifier_altered_messages_are_not_believed() {
    let samples = Samples::new();
    let verifier = &samples.cluster().verifier;
    let mut genuine = Believed::about(samples.id());
    let parts = parts();
    for part in &parts {
        genuine.see(verifier, part);
    }
    assert_eq!(genuine.said.len(), 9, "the samples are believed");
    let strategy = (0..parts.len(), prop::collection::vec(Change::any(), 1..4));
    let test = |(index, changes): (usize, Vec<Change>)| {
        let mut bytes = parts[index].clone();
        changes.iter().for_each(|change| change.apply(&mut bytes));
        let mut altered = Believed::about(samples.id());
        altered.see(verifier, &bytes);
        for believed in &altered.said {
            prop_assert!(genuine.said.contains(believed), "believed {believed}");
        }
        Ok(())
    };
    TestRunner::new(seeded(6000, 4))
        .run(&strategy, test)
        .unwrap();
}

/// The signed parts of messages, each as bytes.
fn parts() -> Vec<Vec<u8>> {
    let samples = Samples::new();
    let mut parts = vec![
        codec::encode(samples.entry().signed()),
        codec::encode(samples.take().signed()),
        codec::encode(&samples.promise()),
        codec::encode(&samples.first_vote()),
    ];
    for (_, message) in samples.peer_messages() {
        match message {
            PeerMessage::Decide(decision) => {
                parts.push(codec::encode(&decision.certificate));
                parts.push(codec::encode(&Content::Put(Box::new(decision.clone()))));
                parts.push(codec::encode(&decision));
            }
            PeerMessage::CommitVote(vote) | PeerMessage::PrepareVote(vote) => {
                parts.push(codec::encode(&vote));
            }
            PeerMessage::Released { certificate, .. } => parts.push(codec::encode(&certificate)),
            PeerMessage::Lock(lock) => parts.push(codec::encode(&lock.certificate)),
            _ => {}
        }
    }
    parts
}

/// Statements that a verifier believed, in words.
struct Believed {
    /// The entry that the samples are about.
    id: EntryId,
    said: BTreeSet<String>,
}

impl Believed {
    fn about(id: EntryId) -> Self {
        let said = BTreeSet::new();
        Self { id, said }
    }

    /// Reads the bytes as everything that can be signed, and checks it.
    fn see(&mut self, verifier: &Verifier, bytes: &[u8]) {
        if let Ok(signed) = codec::decode_peer::<SignedBytes>(bytes) {
            let entry = verifier
                .entry(signed.clone())
                .map(|entry| format!("{entry:?}"));
            let take = verifier
                .take(signed.clone())
                .map(|take| format!("{take:?}"));
            let promise = verifier
                .signed_promise(signed)
                .map(|promise| format!("{promise:?}"));
            self.said
                .extend([entry, take, promise].into_iter().flatten());
        }
        if let Ok(vote) = codec::decode_peer::<SealedVote>(bytes) {
            let vote = verifier
                .vote(vote)
                .map(|vote| format!("{} {}", vote.replica(), vote.statement()));
            self.said.extend(vote);
        }
        if let Ok(certificate) = codec::decode_peer::<Certificate>(bytes) {
            let valid = verifier
                .certificate(certificate.clone())
                .map(|valid| format!("{valid:?}"));
            let release = verifier.release(certificate.clone(), &self.id, Epoch(0));
            let lock = verifier.lock(certificate, &self.id, Epoch(0));
            let further = [release, lock].map(|valid| valid.map(|valid| format!("{valid:?}")));
            self.said
                .extend(further.into_iter().chain([valid]).flatten());
        }
        if let Ok(decision) = codec::decode_peer::<Decision>(bytes) {
            self.said.extend(
                verifier
                    .decision(decision)
                    .map(|outcome| format!("{outcome:?}")),
            );
        }
        if let Ok(content) = codec::decode_peer::<Content>(bytes) {
            let child = self.id.put(0).expect("one run");
            self.said.extend(
                verifier
                    .content(content, &child)
                    .map(|held| format!("{held:?}")),
            );
        }
    }
}

/// Fields of every type survive, whatever their values: floats by their bits.
#[test]
fn codec_any_tuple_round_trips() {
    let field = prop_oneof![
        any::<i64>().prop_map(Field::from),
        any::<u64>().prop_map(Field::from),
        any::<u64>().prop_map(|bits| Field::from(f64::from_bits(bits))),
        any::<bool>().prop_map(Field::from),
        ".{0,20}".prop_map(Field::from),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Field::from),
    ];
    let tuple = prop::collection::vec(field, 0..FIELDS_MAX).prop_map(Tuple);
    let test = |tuple: Tuple| {
        let bytes = codec::encode(&tuple);
        prop_assert_eq!(codec::decode_payload::<Tuple>(&bytes), Ok(tuple.clone()));
        let template = Template::from(tuple);
        let bytes = codec::encode(&template);
        prop_assert_eq!(codec::decode_client::<Template>(&bytes), Ok(template));
        Ok(())
    };
    TestRunner::new(seeded(256, 5)).run(&tuple, test).unwrap();
}

//! What fuzzing taught, on every compiler: each target replays its corpus and takes what chance
//! makes of it; and what the decoders promise is demanded of messages made up at random.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bts_core::codec::{self, DecodeError};
use bts_core::consensus::certificate::Value;
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{EntryPayload, TakePayload};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::Signer;
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{Ballot, EntryId, Epoch, ReplicaId, Seq, Session, SpaceName};
use bts_core::message::{
    AdminReply, AdminRequest, ClientRequest, Hello, HelloReply, PeerMessage, Reply, ReplyBody,
    Report,
};
use bts_core::replica::Record;
use bts_core::replica::handover::{Export, sign_export};
use bts_core::replica::ranges::WriterSession;
use bts_core::tuple::{Field, Tuple};
use bts_tests::fuzz::machines::spoken;
use bts_tests::fuzz::{TARGETS, Target};
use bts_tests::sim::node::Message;
use bts_tests::sim::setup::{Setup, public};
use proptest::collection::vec;
use proptest::prelude::*;

/// Most that all corpora may take, in bytes.
const CORPORA_BYTES_MAX: usize = 300_000;
/// What decoding may take at once, besides what it makes of the bytes: lists that claim to be long
/// are begun with room for a megabyte each, and three may be open within one another.
const ALLOCATED_AT_ONCE_MAX: u64 = 3 << 20;
/// How many times the bytes on the wire a value may take. Names without letters and their counters take two bytes on the
/// wire and 32 in memory, and a list that grows has up to half as much again to spare.
const GROWTH_MAX: u64 = 48;

#[test]
fn fuzz_corpora_replay() {
    let mut bytes = 0;
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        for (path, content) in corpus {
            bytes += content.len();
            println!("{}", path.display());
            (target.run)(&content);
        }
    }
    assert!(
        bytes <= CORPORA_BYTES_MAX,
        "{bytes} bytes: minimise the corpora"
    );
}

/// A function that no binary calls is not fuzzed.
#[test]
fn fuzz_targets_have_binaries() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("it is there");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let binaries = manifest["bin"].as_array().expect("a list");
    let named: Vec<_> = binaries.iter().map(|bin| bin["name"].as_str()).collect();
    let targets: Vec<_> = TARGETS.iter().map(|target| Some(target.name)).collect();
    assert_eq!(named, targets);
    for target in TARGETS {
        let path = folder().join(format!("fuzz_targets/{}.rs", target.name));
        let text = fs::read_to_string(&path).expect("the binary of the target");
        let called = format!("::{}(bytes));", target.name);
        assert!(text.contains(&called), "{} calls {called}", path.display());
    }
}

#[test]
fn fuzz_prefixes_of_recorded_messages_are_refused() {
    let mut met = 0;
    for target in TARGETS {
        for (path, bytes) in corpus(target) {
            let Some(decodes) = decoder(target.name, &bytes) else {
                continue;
            };
            met += 1;
            for end in 0..bytes.len() {
                assert!(!decodes(&bytes[..end]), "{}: {end} bytes", path.display());
            }
        }
    }
    assert!(met >= 50, "only {met} messages decode");
}

/// A list may claim any length and a text any number of bytes: what is taken for it follows from
/// the bytes that are there.
#[test]
fn fuzz_claims_of_length_take_no_memory() {
    let claims: [&[u8]; 3] = [
        &[253, 255, 255, 255, 255, 255, 255, 255, 255],
        &[252, 255, 255, 255, 255],
        &[251, 255, 255],
    ];
    for target in TARGETS {
        for (_, bytes) in corpus(target) {
            for place in 0..bytes.len().min(400) {
                for claim in claims {
                    let hostile = [&bytes[..place], claim, &bytes[place + 1..]].concat();
                    demand_little_memory(target.name, &hostile);
                }
            }
        }
    }
}

/// The values that grow most by being decoded.
#[test]
fn fuzz_long_messages_take_bounded_memory() {
    let report = |count| {
        let report = Report {
            counters: vec![(String::new(), 0); count],
            ..Report::default()
        };
        ReplyBody::Report(Box::new(report))
    };
    let request = Default::default();
    for count in [1_000, 30_000, 700_000] {
        let reply = Reply {
            request,
            body: report(count),
        };
        demand_little_memory("reply", &codec::encode(&reply));
        let records = vec![Vec::new().into(); count];
        demand_little_memory("admin", &codec::encode(&AdminReply::Records(records)));
        let flags = Tuple(vec![Field::Bool(true); count]);
        let payload = codec::encode(&flags);
        demand_little_memory("payload", &[&[5], payload.as_slice()].concat());
    }
}

/// A faulty replica may hand over very much that nobody signed. Where looking at one of these records meant to look
/// at all others, as it once did, this takes an hour.
#[test]
fn fuzz_long_exports_take_no_longer_than_their_length() {
    const MANY: u16 = 30_000;
    let setup = Setup::calm(4, 1);
    let configuration = setup.configuration();
    let session = WriterSession {
        space: SpaceName::new("s").expect("a good name"),
        writer: public(&setup.client_key(0)),
        session: Session(1),
    };
    let root = EntryId::written(
        session.space.clone(),
        session.writer,
        session.session,
        Seq(1),
    );
    let put = |of: &EntryId, index| of.put(index).expect("few runs");
    let last = put(&root, u16::MAX);
    let skipped = (0..MANY).map(|index| Record::Skipped(put(&root, index)));
    let prepared = (0..MANY).map(|index| {
        let id = put(&last, index);
        Record::Prepared(id, Epoch(0), Ballot(1), Value::Release)
    });
    let gone = (2..u64::from(MANY)).map(|last| {
        let ranges = vec![(2, last)];
        Record::ForgotRoots(session.clone(), ranges)
    });
    let purpose = Digest([7; 32]);
    let records = skipped.chain(prepared).chain(gone);
    let records: Vec<_> = records
        .chain([Record::Stopped(purpose)])
        .map(|record| codec::encode(&record))
        .collect();
    let signer = Signer::new(setup.replica_key(3), *configuration.signing_context());
    let seal = sign_export(&signer, purpose, records.iter().map(Vec::as_slice));
    let began = Instant::now();
    let export = Export::verify(
        &Verifier::new(configuration),
        ReplicaId(3),
        purpose,
        seal,
        records,
    );
    assert!(export.is_ok());
    assert!(began.elapsed() < Duration::from_secs(120));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn fuzz_any_bytes(bytes in vec(any::<u8>(), 0..600)) {
        for target in TARGETS {
            (target.run)(&bytes);
            demand_little_memory(target.name, &bytes);
        }
    }

    #[test]
    fn fuzz_recorded_bytes_altered(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for target in TARGETS {
            let corpus = corpus(target);
            let mut bytes = which.get(&corpus).1.clone();
            for (place, byte) in &changes {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = *byte;
                }
            }
            (target.run)(&bytes);
            (target.run)(&bytes[..cut.index(bytes.len() + 1)]);
            demand_little_memory(target.name, &bytes);
        }
    }

    #[test]
    fn fuzz_messages_round_trip(bytes in vec(any::<u8>(), 0..400)) {
        let message = spoken(&bytes);
        prop_assert_eq!(message.over_the_wire(), Ok(message.clone()));
        let (name, encoded) = match &message {
            Message::Request(request) => ("request", codec::encode(request)),
            Message::Reply(reply) => ("reply", codec::encode(reply)),
            Message::Peer(message) => ("peer", codec::encode(message)),
        };
        let decodes = decoder(name, &encoded).expect("it just did");
        for end in 0..encoded.len() {
            prop_assert!(!decodes(&encoded[..end]));
        }
        let longer = [encoded.as_slice(), &[0]].concat();
        prop_assert!(!decodes(&longer), "what follows a message is an error");
    }
}

/// The decoder of a target that takes exactly one encoded value, if it takes these bytes.
fn decoder(target: &str, bytes: &[u8]) -> Option<fn(&[u8]) -> bool> {
    fn is<T>(decoded: Result<T, DecodeError>) -> bool {
        decoded.is_ok()
    }
    let decoders: &[fn(&[u8]) -> bool] = match target {
        "request" => &[|bytes| is(codec::decode_client::<ClientRequest>(bytes))],
        "reply" => &[|bytes| is(codec::decode_client::<Reply>(bytes))],
        "peer" => &[|bytes| is(codec::decode_peer::<PeerMessage>(bytes))],
        "hello" => &[
            |bytes| is(codec::decode_client::<Hello>(bytes)),
            |bytes| is(codec::decode_client::<HelloReply>(bytes)),
        ],
        "admin" => &[
            |bytes| is(codec::decode_peer::<AdminRequest>(bytes)),
            |bytes| is(codec::decode_peer::<AdminReply>(bytes)),
        ],
        _ => &[],
    };
    decoders.iter().copied().find(|decodes| decodes(bytes))
}

/// Decodes bytes with the decoders of a target, in bounded memory.
fn demand_little_memory(target: &str, bytes: &[u8]) {
    let inner = bytes.get(1..).unwrap_or_default();
    let used = allocation_counter::measure(|| match target {
        "request" => drop(codec::decode_client::<ClientRequest>(bytes)),
        "reply" => drop(codec::decode_client::<Reply>(bytes)),
        "peer" => drop(codec::decode_peer::<PeerMessage>(bytes)),
        "hello" => {
            drop(codec::decode_client::<Hello>(bytes));
            drop(codec::decode_client::<HelloReply>(bytes));
        }
        "admin" => {
            drop(codec::decode_peer::<AdminRequest>(bytes));
            drop(codec::decode_peer::<AdminReply>(bytes));
        }
        "export" => drop(codec::decode_peer::<Record>(bytes)),
        "payload" => {
            drop(codec::decode_payload::<EntryPayload>(inner));
            drop(codec::decode_payload::<TakePayload>(inner));
            drop(codec::decode_payload::<PromisePayload>(inner));
            drop(codec::decode_payload::<Tuple>(inner));
        }
        _ => {}
    });
    let limit = ALLOCATED_AT_ONCE_MAX + GROWTH_MAX * bytes.len() as u64;
    assert!(
        used.bytes_max <= limit,
        "{target}: {} bytes take {} at once, {limit} are allowed",
        bytes.len(),
        used.bytes_max
    );
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder().join("corpus").join(target.name);
    let entries = fs::read_dir(&folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the folder is readable").path())
        .map(|path| (path.clone(), fs::read(&path).expect("a file of the corpus")))
        .collect();
    files.sort();
    files
}

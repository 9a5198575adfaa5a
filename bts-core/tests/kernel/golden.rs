//! The wire format, byte by byte: `golden.txt` holds one message of every kind, made by keys that
//! everybody knows. Bytes may be added to it, never changed once released (docs/wire.md).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bts_core::codec::{self, DecodeError};
use bts_core::consensus::certificate::Certificate;
use bts_core::consensus::choose::take_order;
use bts_core::crypto::hash::Digest;
use bts_core::ids::Epoch;
use bts_core::message::{
    AdminReply, AdminRequest, ClientBody, ClientRequest, Hello, HelloReply, HelloRole, PeerMessage,
    Reply, ReplyBody,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::samples::Samples;

const GOLDEN: &str = include_str!("golden.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// The vector of this name; whoever adds a message finds the line to add in the failure.
fn golden(name: &str) -> Option<Vec<u8>> {
    let line = GOLDEN
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(unhex)
}

/// Lines that are missing or differ, as they should be.
fn compare<'a>(lines: impl IntoIterator<Item = (&'a str, Vec<u8>)>) {
    let mut differences = String::new();
    for (name, bytes) in lines {
        if golden(name).as_ref() != Some(&bytes) {
            writeln!(differences, "{name} {}", hex(&bytes)).expect("a string takes all");
        }
    }
    assert!(
        differences.is_empty(),
        "golden.txt should say\n{differences}"
    );
}

fn round_trip<T>(messages: &[(&'static str, T)])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    compare(
        messages
            .iter()
            .map(|(name, message)| (*name, codec::encode(message))),
    );
    for (name, message) in messages {
        let bytes = golden(name).expect("compared before");
        assert_eq!(
            codec::decode_peer::<T>(&bytes).as_ref(),
            Ok(message),
            "{name}"
        );
    }
}

#[test]
fn wire_hello_golden_vectors() {
    let samples = Samples::new();
    round_trip::<Hello>(&samples.hellos());
    round_trip::<HelloReply>(&samples.hello_replies());
}

#[test]
fn wire_requests_golden_vectors() {
    round_trip::<ClientRequest>(&Samples::new().requests());
}

#[test]
fn wire_replies_golden_vectors() {
    round_trip::<Reply>(&Samples::new().replies());
}

#[test]
fn wire_peer_messages_golden_vectors() {
    round_trip::<PeerMessage>(&Samples::new().peer_messages());
}

#[test]
fn wire_admin_golden_vectors() {
    let samples = Samples::new();
    round_trip::<AdminRequest>(&samples.admin_requests());
    round_trip::<AdminReply>(&samples.admin_replies());
    round_trip::<Certificate>(&[("certificate.carried", samples.carried())]);
}

/// What signatures are made over, and the hashes that all must compute alike.
#[test]
fn wire_hashes_golden_vectors() {
    let samples = Samples::new();
    let digest = |digest: Digest| digest.0.to_vec();
    let (entry, take) = (samples.entry(), samples.take());
    let cluster = samples.cluster();
    let end = cluster
        .verifier
        .end(samples.end())
        .expect("signed by its key");
    let order = take_order(&entry.id, Epoch(0), &take.client, take.op());
    let policy = cluster.configuration.policy().hash();
    let configuration = cluster.configuration.signing_context().configuration;
    compare([
        ("payload.entry", entry.signed().payload.clone()),
        ("payload.take", take.signed().payload.clone()),
        ("payload.promise", samples.promise().payload),
        ("payload.first", samples.first_vote().payload),
        ("leaf.entry", digest(entry.leaf())),
        ("leaf.take", digest(take.leaf())),
        ("payload.end-session", samples.end().payload),
        ("leaf.end-session", digest(end.leaf())),
        ("hash.put", digest(samples.put_hash().0)),
        ("hash.configuration", digest(configuration)),
        ("hash.policy", digest(policy)),
        (
            "hash.take-order",
            [order.0.to_be_bytes().as_slice(), &order.1.0].concat(),
        ),
    ]);
}

/// Every variant has a vector: the tags in use are 0, 1, 2, ... and the next one is unknown.
#[test]
fn wire_golden_vectors_cover_every_tag() {
    let samples = Samples::new();
    covered::<ClientBody>(
        samples
            .requests()
            .into_iter()
            .map(|(_, request)| request.body),
    );
    covered::<ReplyBody>(samples.replies().into_iter().map(|(_, reply)| reply.body));
    covered::<PeerMessage>(
        samples
            .peer_messages()
            .into_iter()
            .map(|(_, message)| message),
    );
    covered::<HelloRole>(samples.hellos().into_iter().map(|(_, hello)| hello.role));
    covered::<HelloReply>(samples.hello_replies().into_iter().map(|(_, reply)| reply));
    covered::<AdminRequest>(samples.admin_requests().into_iter().map(|(_, asked)| asked));
    covered::<AdminReply>(samples.admin_replies().into_iter().map(|(_, reply)| reply));
}

fn covered<T: Serialize + DeserializeOwned>(samples: impl Iterator<Item = T>) {
    let tags: BTreeSet<u8> = samples.map(|sample| codec::encode(&sample)[0]).collect();
    let next = tags.len() as u8;
    assert_eq!(tags, (0..next).collect());
    let Err(DecodeError::Malformed(error)) = codec::decode_client::<T>(&[next]) else {
        panic!(
            "{}: {next} is a tag without a vector",
            std::any::type_name::<T>()
        );
    };
    assert!(error.contains("variant index"), "tag {next}: {error}");
}

/// No line of the file is about a message that is not checked.
#[test]
fn wire_golden_vectors_are_all_used() {
    let samples = Samples::new();
    let mut names: Vec<&str> = samples.hellos().iter().map(|sample| sample.0).collect();
    names.extend(samples.hello_replies().iter().map(|sample| sample.0));
    names.extend(samples.requests().iter().map(|sample| sample.0));
    names.extend(samples.admin_requests().iter().map(|sample| sample.0));
    names.extend(samples.admin_replies().iter().map(|sample| sample.0));
    names.push("certificate.carried");
    names.extend(samples.replies().iter().map(|sample| sample.0));
    names.extend(samples.peer_messages().iter().map(|sample| sample.0));
    for line in GOLDEN
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let name = line.split(' ').next().expect("a line has a first word");
        let is_hash = ["payload.", "leaf.", "hash."]
            .iter()
            .any(|kind| name.starts_with(kind));
        assert!(is_hash || names.contains(&name), "{name}");
    }
}

/// The document explains every vector, and its worked example is one of them.
#[test]
fn wire_document_names_every_vector() {
    let document = include_str!("../../../docs/wire.md");
    for line in GOLDEN
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let name = line.split(' ').next().expect("a line has a first word");
        assert!(
            document.contains(&format!("`{name}`")),
            "docs/wire.md lacks {name}"
        );
    }
    let example = golden("request.cancel").expect("the worked example");
    let spaced: Vec<_> = example.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(document.contains(&format!("`{}`", spaced.join(" "))));
}

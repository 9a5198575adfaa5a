//! Where fuzzing begins: every kind of message that simulated clusters send, what is signed in
//! them, and files as they are made for real deployments. Written by
//! `cargo run -p bts-tests --bin fuzz-seeds`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bts_core::codec;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{Seal, SignedBytes};
use bts_core::ids::{ClusterId, Incarnation, Lsn, PublicKey, ReplicaId, Session};
use bts_core::message::{
    AdminReply, AdminRequest, Hello, HelloReply, HelloRole, Reply, ReplyBody, Standing,
};
use bts_core::replica::Record;

use super::files;
use crate::sim::cluster::{Cluster, take, template, tuple};
use crate::sim::node::Message;
use crate::sim::parts::{self, Part};
use crate::sim::rng::Rng;
use crate::sim::run::Run;

/// Runs that are listened to.
const RUNS: u64 = 60;
/// Messages kept of one kind.
const OF_A_KIND: usize = 2;
/// Longest seed; longer ones teach nothing more.
const BYTES_MAX: usize = 3000;

/// What a corpus begins with: the target, a name, and bytes.
pub type Seeds = Vec<(&'static str, String, Vec<u8>)>;

/// Seeds of all targets.
pub fn all() -> Seeds {
    let messages = overheard();
    let mut seeds = Vec::new();
    for (name, message) in &messages {
        let (target, bytes) = match message {
            Message::Request(request) => ("request", codec::encode(request)),
            Message::Reply(reply) => ("reply", codec::encode(reply)),
            Message::Peer(message) => ("peer", codec::encode(message)),
        };
        seeds.push((target, name.clone(), bytes));
    }
    seeds.extend(hellos());
    seeds.extend(admin());
    seeds.extend(frames());
    seeds.extend(signed());
    seeds.extend(texts());
    seeds.extend(deployment());
    seeds.extend(scripts());
    seeds
}

/// Some messages of each kind, short ones first.
fn overheard() -> Vec<(String, Message)> {
    let kept: Arc<Mutex<BTreeMap<&str, Vec<Message>>>> = Arc::default();
    for seed in 1..=RUNS {
        let mut run = Run::new(seed);
        let kept = Arc::clone(&kept);
        run.world.lose(move |flight| {
            let mut kept = kept.lock().expect("nobody panics while holding it");
            let of_kind = kept.entry(flight.message.kind()).or_default();
            of_kind.push(flight.message.clone());
            of_kind.sort_by_key(|message| length(message).abs_diff(BYTES_MAX / 4));
            of_kind.dedup_by_key(|message| length(message));
            of_kind.truncate(OF_A_KIND);
            false
        });
        run.finish();
    }
    let kept = kept.lock().expect("nobody panics while holding it");
    let named = kept.iter().flat_map(|(kind, messages)| {
        let name = |number| format!("{}-{number}", kind.replace(' ', "-"));
        (0..OF_A_KIND).map(name).zip(messages.iter().cloned())
    });
    named
        .filter(|(_, message)| length(message) <= BYTES_MAX)
        .collect()
}

fn length(message: &Message) -> usize {
    match message {
        Message::Request(request) => codec::encode(request).len(),
        Message::Reply(reply) => codec::encode(reply).len(),
        Message::Peer(message) => codec::encode(message).len(),
    }
}

/// A short life of the cluster whose keys [`super::verify::Keys`] has: written, read, swapped,
/// and taken by a client that ends before it knows, so that the replicas have to finish.
fn rehearsal() -> Vec<Message> {
    let mut cluster = Cluster::new(4, 1, &[]);
    let heard: Arc<Mutex<Vec<Message>>> = Arc::default();
    let ears = Arc::clone(&heard);
    cluster.world.lose(move |flight| {
        let mut heard = ears.lock().expect("nobody panics while holding it");
        heard.push(flight.message.clone());
        false
    });
    let (one, two) = (cluster.client(), cluster.client());
    cluster.out(one, tuple("task 1"));
    cluster.swapp(
        two,
        template("task *"),
        vec![tuple("done 1"), tuple("log 1")],
    );
    cluster.rdp(one, template("done *"));
    cluster.world.crash_replica(ReplicaId(3));
    cluster.inp(one, template("log uint"));
    cluster.start(two, take(template("done uint"), false));
    cluster.run_until("a Take", |world| world.observer.takes().count() == 3);
    cluster.run_ms(2);
    cluster.crash_client(two);
    cluster.run_ms(2_000);
    let heard = heard.lock().expect("nobody panics while holding it");
    heard.clone()
}

/// What is signed, as payloads and as claims to be verified: the shortest of each kind.
fn signed() -> Seeds {
    let messages = rehearsal();
    let mut claims: BTreeMap<(&str, u8), Vec<Vec<u8>>> = BTreeMap::new();
    let mut claim = |target, kind, bytes| claims.entry((target, kind)).or_default().push(bytes);
    for message in &messages {
        parts::visit(message, &mut |part| match part {
            Part::Entry(signed) => {
                claim("payload", 0, signed.payload.clone());
                claim("payload", 4, codec::encode(&Record::Entry(signed.clone())));
                claim("verify", 0, codec::encode(signed));
            }
            Part::Take(signed) => {
                claim("payload", 1, signed.payload.clone());
                claim("verify", 1, codec::encode(signed));
            }
            Part::End(signed) => claim("verify", 7, codec::encode(signed)),
            Part::Promise(signed) => {
                claim("payload", 3, signed.payload.clone());
                claim("verify", 2, codec::encode(signed));
            }
            Part::Vote(vote) => {
                claim("payload", 2, vote.payload.clone());
                claim("verify", 3, codec::encode(vote));
            }
            Part::Certificate(certificate) => claim("verify", 4, codec::encode(certificate)),
            Part::Decision(decision) => {
                claim(
                    "payload",
                    4,
                    codec::encode(&Record::Decided(decision.clone())),
                );
                claim("verify", 5, codec::encode(decision));
            }
        });
        if let Message::Reply(Reply {
            body: ReplyBody::Found { candidates, .. },
            ..
        }) = message
        {
            for candidate in candidates {
                let full = candidate.full.as_ref();
                let content = full.map(|full| codec::encode(&(&candidate.id, full)));
                content
                    .into_iter()
                    .for_each(|content| claim("verify", 6, content));
            }
        }
    }
    claim("payload", 5, codec::encode(&tuple("task 17 x")));
    claim("payload", 6, codec::encode(&template("task uint *")));
    let mut seeds = Seeds::new();
    for ((target, kind), mut found) in claims {
        found.sort_by_key(Vec::len);
        found.dedup();
        for (number, bytes) in (0..OF_A_KIND).zip(found.iter().rev()) {
            let head: &[u8] = if target == "verify" {
                &[kind, 1, 0]
            } else {
                &[kind]
            };
            seeds.push((target, format!("{kind}-{number}"), [head, bytes].concat()));
        }
    }
    seeds
}

fn hellos() -> Seeds {
    let client = HelloRole::Client {
        session: Session(1_700_000_000_000_000),
    };
    let replica = HelloRole::Replica {
        replica: ReplicaId(3),
        incarnation: Incarnation(u64::MAX),
        policy: Digest([7; 32]),
        stream_next: 300,
        position: Lsn(u64::MAX),
        run: 5,
    };
    let hello = |role| Hello {
        version: 1,
        cluster: ClusterId([1; 32]),
        configuration: Digest([2; 32]),
        role,
    };
    let welcome = HelloReply::Ack {
        version: 1,
        replica: ReplicaId(0),
        incarnation: Incarnation(5),
        stream_next: 70_000,
        position: Lsn(u64::MAX),
        run: 5,
    };
    let refused = HelloReply::Refused("another cluster".into());
    [
        ("client", codec::encode(&hello(client))),
        ("replica", codec::encode(&hello(replica))),
        ("welcome", codec::encode(&welcome)),
        ("refused", codec::encode(&refused)),
    ]
    .map(|(name, bytes)| ("hello", name.to_owned(), bytes))
    .to_vec()
}

/// What operators ask, and what they are told.
fn admin() -> Seeds {
    let (configuration, purpose) = (Digest([3; 32]), Digest([7; 32]));
    let records = || vec![vec![1, 2, 3].into(), Vec::new().into()];
    let standing = Standing {
        configuration,
        number: 2,
        stopped: Some(purpose),
    };
    let seal = SignedBytes {
        signer: PublicKey([1; 32]),
        payload: codec::encode(&(purpose, configuration)),
        seal: Seal {
            signature: [2; 64],
            path: Vec::new(),
        },
    };
    let stop = AdminRequest::Stop {
        configuration,
        purpose,
    };
    let part = AdminRequest::Part {
        skip: 300,
        records: records(),
    };
    let cluster = "number = 1".into();
    let ask = |request: AdminRequest| codec::encode(&request);
    let told = |reply: AdminReply| codec::encode(&reply);
    [
        ("stop", ask(stop)),
        ("seal", ask(AdminRequest::Seal)),
        ("records", ask(AdminRequest::Records { skip: 70_000 })),
        ("begin", ask(AdminRequest::Begin { cluster })),
        ("part", ask(part)),
        ("stands", told(AdminReply::Standing(standing))),
        ("sealed", told(AdminReply::Sealed { seal, records: 7 })),
        ("page", told(AdminReply::Records(records()))),
        ("refused", told(AdminReply::Refused("no".into()))),
    ]
    .map(|(name, bytes)| ("admin", name.to_owned(), bytes))
    .to_vec()
}

/// Two frames, a frame that never comes, one that is empty, and one that is too long.
fn frames() -> Seeds {
    [
        ("two", b"\x0a\x02\x03\0\0\0abc\x01\0\0\0d".as_slice()),
        ("cut", b"\x18\x01\xff\xff\x0f\0abc"),
        ("empty", b"\x0a\x40\x01\0\0\0a\0\0\0\0"),
        ("long", b"\x02\x05\x05\0\0\0abcde"),
    ]
    .map(|(name, bytes)| ("frames", name.to_owned(), bytes.to_vec()))
    .to_vec()
}

/// For the machines any bytes will do.
fn scripts() -> Seeds {
    let mut rng = Rng::new(7);
    let mut script = |number: usize| {
        let bytes: Vec<u8> = (0..4 * number).flat_map(|_| rng.bytes()).collect();
        ["replica", "client", "export", "cluster"]
            .map(|target| (target, format!("chance-{number}"), bytes.clone()))
    };
    (1..=8).flat_map(&mut script).collect()
}

fn texts() -> Seeds {
    [
        ("plain", r#"("task", -17, 3u, 0.5, true, x"00ff")"#),
        (
            "floats",
            "(1e9, inf, -inf, nan, nan:7ff8000000000001, -0.0)",
        ),
        ("escapes", r#"("a\n\u{e9}\"\\", "é\0")"#),
        ("template", r#"("task", int, _, ?float, *, ?bytes, ?)"#),
        ("replacement", r#"("done", $1, $0, $2)"#),
        (
            "json",
            r#"["a", {"uint": 3}, 0.5, {"bytes": "00ff"}, {"float": "inf"}]"#,
        ),
        (
            "json-template",
            r#"[null, {"type": "string"}, {"taken": 2}]"#,
        ),
        ("json-tuples", r#"[["point", 1], ["point", 2.5]]"#),
    ]
    .map(|(name, text)| ("text", name.to_owned(), text.as_bytes().to_vec()))
    .to_vec()
}

/// The files of a real deployment, with keys that nobody uses.
fn deployment() -> Seeds {
    let folder = files::deployment();
    let read = |name: &str| {
        let read = std::fs::read(folder.path().join(name));
        read.expect("a file of the deployment")
    };
    let settings = |kind: u8, name: &str| [&[kind], read(name).as_slice()].concat();
    let member = |name: &str| {
        let parts = [
            format!("{name}.crt"),
            format!("{name}.key"),
            "ca.crt".into(),
        ];
        parts.map(|part| read(&part)).join(&0)
    };
    let cluster = read("cluster.toml");
    let policy = [cluster.as_slice(), POLICY.as_bytes()].concat();
    let all_settings = [settings(0, "replica-0.toml"), REPLICA_SETTINGS.into()].concat();
    let client_settings = [settings(1, "alice.toml"), CLIENT_SETTINGS.into()].concat();
    let der = |name: &str| der_of(&String::from_utf8_lossy(&read(name)));
    [
        ("cluster_file", "plain", cluster),
        ("cluster_file", "policy", policy),
        ("settings", "replica", settings(0, "replica-0.toml")),
        ("settings", "replica-all", all_settings),
        ("settings", "client", settings(1, "alice.toml")),
        ("settings", "client-all", client_settings),
        ("certificate", "authority", der("ca.crt")),
        ("certificate", "replica", der("replica-0.crt")),
        ("certificate", "client", der("alice.crt")),
        ("identity", "replica", member("replica-0")),
        ("identity", "client", member("alice")),
    ]
    .map(|(target, name, bytes)| (target, name.to_owned(), bytes))
    .to_vec()
}

const POLICY: &str = "
[policy.others]
read = []
[policy.spaces.\"jobs\"]
take = \"all\"
insert = []
";

const REPLICA_SETTINGS: &str = "
[limits]
open_votes_per_client = 1024
waiters_per_session = 1024
live_contents_per_writer = 4000000
sessions = 4096
sessions_per_client = 256
queue_bytes = 8388608
queues_bytes = 268435456
[timing]
window_ms = 200
reservation_ms = 50
";

const CLIENT_SETTINGS: &str = "
[timeouts]
default_deadline_ms = 30000
connect_deadline_ms = 10000
";

/// What stands between the lines of a PEM text.
fn der_of(pem: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    let digits: Vec<u8> = lines.flat_map(str::bytes).filter_map(digit).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four
            .iter()
            .fold(0, |bits, digit| bits << 6 | u32::from(*digit));
        let bytes = (bits << (6 * (4 - four.len()))).to_be_bytes();
        bytes[1..four.len()].to_vec()
    });
    bytes.collect()
}

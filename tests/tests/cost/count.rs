//! A cluster in which everything is counted. It goes in rounds: what is sent in one arrives in the next, and
//! what a replica logs in a round is synced at its end, once. Nothing is lost and nobody lies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bts_core::client::{self, Client, Handle, Op, Outcome};
use bts_core::codec;
use bts_core::configuration::{Configuration, Policy};
use bts_core::crypto::verified::{VerifiedRoots, Verifier};
use bts_core::ids::{
    ClientRef, ClusterId, Incarnation, PublicKey, ReplicaId, RequestId, Session, TakeNumber,
};
use bts_core::message::{ClientBody, ClientRequest, PeerMessage, Reply, ReplyBody};
use bts_core::replica::{self, Limits, Outgoing, Replica};
use bts_core::time::{Span, Time};
use ed25519_dalek::SigningKey;

use crate::signatures::{self, Shown};

/// How long a round takes.
const ROUND: Span = Span::from_micros(50);

/// How long is waited for what follows operations.
const SETTLE: Span = Span::from_millis(2000);

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Rounds until operations had ended.
    pub(crate) rounds: u64,
    /// Messages from clients to replicas.
    pub(crate) requests: u64,
    /// Messages from replicas to clients.
    pub(crate) replies: u64,
    /// Messages between replicas, but for those with which they compare what they hold.
    pub(crate) gossip: u64,
    /// Encoded bytes of all of them.
    pub(crate) bytes: u64,
    /// Signatures made: different ones that somebody was sent.
    pub(crate) signed: u64,
    /// Signatures that replicas checked.
    pub(crate) checked_by_replicas: u64,
    /// Votes and entries whose signatures clients checked.
    pub(crate) checked_by_clients: u64,
    /// Records that replicas logged.
    pub(crate) records: u64,
    /// Rounds, of all replicas, in which there were some.
    pub(crate) syncs: u64,
}

impl Counts {
    pub(crate) const NAMES: [&str; 10] = [
        "rounds",
        "requests",
        "replies",
        "gossip",
        "bytes",
        "signed",
        "checked by replicas",
        "checked by clients",
        "records",
        "syncs",
    ];

    pub(crate) fn all(&self) -> [u64; 10] {
        [
            self.rounds,
            self.requests,
            self.replies,
            self.gossip,
            self.bytes,
            self.signed,
            self.checked_by_replicas,
            self.checked_by_clients,
            self.records,
            self.syncs,
        ]
    }

    fn since(&self, before: &Self) -> [u64; 10] {
        let (now, before) = (self.all(), before.all());
        std::array::from_fn(|index| now[index] - before[index])
    }
}

/// Counts per operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PerOp(pub(crate) [f64; 10]);

impl fmt::Display for PerOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Counts::NAMES.iter().zip(self.0);
        let counts: Vec<String> = counts
            .map(|(name, count)| format!("{name} {count:.2}"))
            .collect();
        f.write_str(&counts.join(", "))
    }
}

enum Letter {
    Request(usize, ReplicaId, ClientRequest),
    Reply(ReplicaId, usize, Reply),
    Peer(ReplicaId, ReplicaId, PeerMessage),
}

/// The cluster.
pub(crate) struct Counted {
    replicas: Vec<Replica>,
    clients: Vec<(ClientRef, Client, VerifiedRoots)>,
    configuration: Arc<Configuration>,
    now: Time,
    letters: Vec<Letter>,
    done: BTreeMap<Handle, Outcome>,
    handles: u64,
    counts: Counts,
    signatures: BTreeSet<String>,
    /// What each client was sent that it may have checked.
    shown: Vec<Vec<Shown>>,
}

impl Counted {
    /// `n` replicas, all connected with one another and with so many clients.
    pub(crate) fn new(n: u16, f: usize, clients: usize) -> Self {
        let replica_key = |index: u16| SigningKey::from_bytes(&[100 + index as u8; 32]);
        let public = |key: &SigningKey| PublicKey(key.verifying_key().to_bytes());
        let keys = (0..n).map(|index| public(&replica_key(index))).collect();
        let configuration = Configuration::new(ClusterId([9; 32]), 1, keys, f, Policy::default());
        let configuration = Arc::new(configuration.expect("a legal cluster"));
        let replica = |index: u16| {
            Replica::new(replica::Options {
                id: ReplicaId(index),
                configuration: configuration.clone(),
                key: replica_key(index),
                incarnation: Incarnation(u64::from(index)),
                run: 7,
                window: Span::from_millis(200),
                reservation: Span::from_millis(50),
                limits: Limits::default(),
                roots: VerifiedRoots::default(),
            })
        };
        let client = |number: usize| {
            let key = SigningKey::from_bytes(&[1 + number as u8; 32]);
            let session = Session(7);
            let at = ClientRef {
                key: public(&key),
                session,
            };
            let roots = VerifiedRoots::default();
            let client = Client::new(client::Options {
                configuration: configuration.clone(),
                key,
                session,
                candidates: 4,
                resend: Span::from_millis(250),
                spare_from: 4,
                roots: roots.clone(),
            });
            (at, client, roots)
        };
        let mut counted = Self {
            replicas: (0..n).map(replica).collect(),
            clients: (0..clients).map(client).collect(),
            configuration: configuration.clone(),
            now: Time::from_micros(1_000_000),
            letters: Vec::new(),
            done: BTreeMap::new(),
            handles: 0,
            counts: Counts::default(),
            signatures: BTreeSet::new(),
            shown: vec![Vec::new(); clients],
        };
        counted.connect();
        counted
    }

    fn connect(&mut self) {
        let all: Vec<ReplicaId> = self.configuration.replicas().collect();
        for id in &all {
            for peer in all.iter().filter(|peer| *peer != id) {
                let next = self.replicas[usize::from(peer.0)].stream_next(*id);
                self.tell(*id, vec![replica::Input::PeerConnected(*peer, next)]);
            }
            let clients: Vec<ClientRef> = self.clients.iter().map(|(at, _, _)| *at).collect();
            let connected = clients.into_iter().map(replica::Input::ClientConnected);
            self.tell(*id, connected.collect());
            for client in 0..self.clients.len() {
                self.prompt(client, client::Input::Connected(*id));
            }
        }
        self.pass(Span::from_millis(3000));
    }

    /// Begins an operation of a client.
    pub(crate) fn begin(&mut self, client: usize, op: Op) -> Handle {
        let handle = Handle(self.handles);
        self.handles += 1;
        self.prompt(client, client::Input::Invoke(handle, op));
        handle
    }

    /// Goes on until this operation has ended.
    pub(crate) fn end(&mut self, handle: Handle) -> Outcome {
        loop {
            if let Some(outcome) = self.done.remove(&handle) {
                return outcome;
            }
            self.counts.rounds += 1;
            assert!(self.counts.rounds < 1_000_000, "it does not end");
            self.round();
        }
    }

    /// An operation from its beginning to its end.
    pub(crate) fn run(&mut self, client: usize, op: Op) -> Outcome {
        let handle = self.begin(client, op);
        self.end(handle)
    }

    /// Lets so much time pass, for what is done in the background.
    pub(crate) fn pass(&mut self, span: Span) {
        let until = self.now + span;
        while self.now < until {
            if self.letters.is_empty() {
                self.now = self.next_deadline().unwrap_or(until).clamp(self.now, until);
            }
            self.round();
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let replicas = self.replicas.iter().filter_map(Replica::deadline);
        let clients = self
            .clients
            .iter()
            .filter_map(|(_, client, _)| client.deadline());
        replicas.chain(clients).map(|(at, _)| at).min()
    }

    /// What so many operations cost each: `work` does them, and a while is left for what follows.
    pub(crate) fn per_op(&mut self, operations: u64, work: impl FnOnce(&mut Self)) -> PerOp {
        let before = self.count();
        work(self);
        self.pass(SETTLE);
        let all = self.count().since(&before);
        PerOp(all.map(|count| count as f64 / operations as f64))
    }

    fn round(&mut self) {
        self.now = self.now + ROUND;
        let mut to_replicas: BTreeMap<ReplicaId, Vec<replica::Input>> = BTreeMap::new();
        let mut to_clients = Vec::new();
        for letter in std::mem::take(&mut self.letters) {
            self.note(&letter);
            match letter {
                Letter::Request(client, to, request) => {
                    let input = replica::Input::Client(self.clients[client].0, request);
                    to_replicas.entry(to).or_default().push(input);
                }
                Letter::Peer(from, to, message) => {
                    let input = replica::Input::Peer(from, message);
                    to_replicas.entry(to).or_default().push(input);
                }
                Letter::Reply(from, client, reply) => to_clients.push((client, from, reply)),
            }
        }
        for id in self.configuration.clone().replicas() {
            let mut inputs = to_replicas.remove(&id).unwrap_or_default();
            let deadline = self.replicas[usize::from(id.0)].deadline();
            if deadline.is_some_and(|(at, _)| at <= self.now) {
                inputs.push(replica::Input::Tick);
            }
            self.tell(id, inputs);
        }
        for (client, from, reply) in to_clients {
            self.shown[client].extend(Shown::of(&reply.body));
            self.prompt(client, client::Input::Reply(from, reply));
        }
        for client in 0..self.clients.len() {
            let deadline = self.clients[client].1.deadline();
            if deadline.is_some_and(|(at, _)| at <= self.now) {
                self.prompt(client, client::Input::Tick);
            }
        }
    }

    /// All inputs of a round; what they log is synced in the end.
    fn tell(&mut self, id: ReplicaId, inputs: Vec<replica::Input>) {
        let mut out = replica::Outputs::default();
        let replica = &mut self.replicas[usize::from(id.0)];
        for input in inputs {
            replica.handle(self.now, input, &mut out);
        }
        while let Some((last, _)) = out.records.last() {
            let last = *last;
            self.counts.records += out.records.len() as u64;
            self.counts.syncs += 1;
            out.records.clear();
            replica.handle(self.now, replica::Input::Synced(last), &mut out);
        }
        for outgoing in out.send {
            let letter = match outgoing {
                Outgoing::Peer(peer, message) => Letter::Peer(id, peer, message),
                Outgoing::Client(at, reply) => {
                    let client = self.clients.iter().position(|(other, _, _)| *other == at);
                    Letter::Reply(id, client.expect("a client of this cluster"), reply)
                }
            };
            self.letters.push(letter);
        }
        assert!(out.events.is_empty(), "nobody is hostile: {:?}", out.events);
    }

    fn prompt(&mut self, client: usize, input: client::Input) {
        let mut out = client::Outputs::default();
        self.clients[client].1.handle(self.now, input, &mut out);
        let requests = out.send.into_iter();
        let letters = requests
            .map(|(to, request)| Letter::Request(client, to, Arc::unwrap_or_clone(request)));
        self.letters.extend(letters);
        self.done.extend(out.done);
        assert!(out.events.is_empty(), "nobody is hostile: {:?}", out.events);
    }

    fn note(&mut self, letter: &Letter) {
        let (counts, signatures) = (&mut self.counts, &mut self.signatures);
        let bytes = match letter {
            Letter::Request(_, _, request) => {
                counts.requests += 1;
                signatures::collect(request, signatures);
                codec::encode(request)
            }
            Letter::Reply(_, _, reply) => {
                counts.replies += 1;
                signatures::collect(reply, signatures);
                codec::encode(reply)
            }
            // Replicas compare what they hold all the time, whatever clients do.
            Letter::Peer(_, _, PeerMessage::Compare(_) | PeerMessage::Compared(_)) => return,
            Letter::Peer(_, _, message) => {
                counts.gossip += 1;
                signatures::collect(message, signatures);
                codec::encode(message)
            }
        };
        counts.bytes += bytes.len() as u64;
    }

    /// All that was counted so far.
    fn count(&mut self) -> Counts {
        let checked = (0..self.replicas.len())
            .map(|index| self.checked_by(index))
            .sum();
        let by_clients = (0..self.clients.len())
            .map(|client| self.checked_by_client(client))
            .sum::<u64>();
        self.counts.checked_by_clients += by_clients;
        Counts {
            signed: self.signatures.len() as u64,
            checked_by_replicas: checked,
            ..self.counts
        }
    }

    /// What a replica says how many it checked.
    fn checked_by(&mut self, index: usize) -> u64 {
        let inspect = ClientRequest {
            request: RequestId(u64::MAX),
            settled_below: TakeNumber(0),
            body: ClientBody::Inspect,
        };
        let mut out = replica::Outputs::default();
        let input = replica::Input::Client(self.clients[0].0, inspect);
        self.replicas[index].handle(self.now, input, &mut out);
        let report = out.send.iter().find_map(|outgoing| match outgoing {
            Outgoing::Client(
                _,
                Reply {
                    body: ReplyBody::Report(report),
                    ..
                },
            ) => Some(report),
            _ => None,
        });
        report.expect("it answers at once").signatures_checked
    }

    /// What the client was shown since this was asked last, and remembers as checked.
    fn checked_by_client(&mut self, client: usize) -> u64 {
        let roots = self.clients[client].2.clone();
        let verifier = Verifier::sharing(self.configuration.clone(), roots);
        let shown = std::mem::take(&mut self.shown[client]);
        let checked = shown.iter().filter(|one| one.was_checked(&verifier));
        let checked: BTreeSet<[u8; 64]> = checked.map(Shown::signature).collect();
        checked.len() as u64
    }
}

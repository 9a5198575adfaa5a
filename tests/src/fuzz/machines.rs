//! One machine among faulty ones that say what the bytes say: it does not panic, everything it
//! sends can be decoded, and what it keeps is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use bts_core::client::{self, Client, Handle};
use bts_core::codec;
use bts_core::ids::{ClientRef, Lsn, ReplicaId, RequestId, Session};
use bts_core::message::{ClientBody, ClientRequest, ReplyBody, Report};
use bts_core::replica::{self, Limits, Outgoing, Replica};
use bts_core::time::{Span, Time};

use super::Draw;
use super::words::Speaker;
use crate::adversary::Gang;
use crate::adversary::forge::{ClientForge, ReplicaForge};
use crate::sim::node::Message;
use crate::sim::setup::{Setup, client_ref};

/// Inputs of one machine.
const STEPS_MAX: usize = 100;
/// Messages that one input may cause; far more than any rule of the protocol sends.
const SENT_MAX: usize = 500;
/// Of each kind that is limited, a replica here keeps so many.
const LIMIT: usize = 3;

/// Keys and knowledge of the faulty ones: all replicas from `first` on, and two clients.
#[derive(Clone)]
pub(super) struct Faulty {
    pub(super) gang: Gang,
    pub(super) replicas: Vec<ReplicaForge>,
    pub(super) clients: Vec<ClientForge>,
    pub(super) names: Vec<ClientRef>,
}

impl Faulty {
    pub(super) fn new(setup: &Setup, first: u16) -> Self {
        let configuration = setup.configuration();
        let replica = |n| ReplicaForge::new(&configuration, ReplicaId(n), setup.replica_key(n));
        let key = |n: usize| setup.client_key(1_000_000 + n);
        let client = |n| ClientForge::new(&configuration, key(n), Session(1));
        Self {
            replicas: (first..setup.replicas).map(replica).collect(),
            clients: (0..2).map(client).collect(),
            names: (0..2).map(|n| client_ref(&key(n), Session(1))).collect(),
            gang: Gang::new(configuration),
        }
    }

    pub(super) fn speaker<'s, 'b>(&'s self, draw: &'s mut Draw<'b>) -> Speaker<'s, 'b> {
        Speaker {
            draw,
            gang: &self.gang,
            replicas: &self.replicas,
            clients: &self.clients,
        }
    }
}

/// A message of somebody faulty, chosen by these bytes.
pub fn spoken(bytes: &[u8]) -> Message {
    let faulty = Faulty::new(&Setup::calm(4, 1), 0);
    let mut draw = Draw::new(bytes);
    let which = draw.below(3);
    let mut speaker = faulty.speaker(&mut draw);
    match which {
        0 => Message::Request(speaker.request()),
        1 => {
            let asked = speaker.request();
            Message::Reply(speaker.reply(&asked))
        }
        _ => Message::Peer(speaker.peer()),
    }
}

/// One replica. One of its peers and two clients are faulty, the other two peers say nothing.
pub fn replica(bytes: &[u8]) {
    let mut setup = Setup::calm(4, 1);
    setup.window = Span::from_millis(20);
    let faulty = Faulty::new(&setup, 3);
    let mut options = setup.replica_options(faulty.gang.configuration(), 0);
    options.limits = Limits {
        open_votes_per_client: LIMIT,
        waiters_per_session: LIMIT,
        live_contents_per_writer: LIMIT,
        gone_sessions_per_client: LIMIT,
        session_lingers: Span::from_millis(20),
        index_slice: 2,
    };
    let mut host = ReplicaHost {
        machine: Replica::new(options),
        faulty,
        now: Time::ZERO,
        last: Lsn(0),
        report: None,
    };
    let mut draw = Draw::new(bytes);
    host.connect();
    for _ in 0..STEPS_MAX {
        if draw.is_over() {
            break;
        }
        let input = host.input(&mut draw);
        host.handle(input);
    }
    host.end();
}

struct ReplicaHost {
    machine: Replica,
    faulty: Faulty,
    now: Time,
    last: Lsn,
    report: Option<Box<Report>>,
}

impl ReplicaHost {
    fn connect(&mut self) {
        for name in self.faulty.names.clone() {
            self.handle(replica::Input::ClientConnected(name));
        }
        for peer in 1..4 {
            self.handle(replica::Input::PeerConnected(ReplicaId(peer), 0));
        }
    }

    fn input(&mut self, draw: &mut Draw<'_>) -> replica::Input {
        let which = draw.below(16);
        let client = self.faulty.names[draw.below(2)];
        let liar = ReplicaId(3);
        match which {
            0..=5 => {
                let request = self.faulty.speaker(draw).request();
                replica::Input::Client(client, request)
            }
            6..=9 => replica::Input::Peer(liar, self.faulty.speaker(draw).peer()),
            10 => match codec::decode_client(draw.piece()) {
                Ok(request) => replica::Input::Client(client, request),
                Err(_) => replica::Input::Tick,
            },
            11 => match codec::decode_peer(draw.piece()) {
                Ok(message) => replica::Input::Peer(liar, message),
                Err(_) => replica::Input::Tick,
            },
            12 => replica::Input::Synced(self.last),
            13 => {
                self.now = self.now + Span::from_millis(u64::from(draw.byte()));
                replica::Input::Tick
            }
            14 => {
                self.handle(replica::Input::ClientGone(client));
                replica::Input::ClientConnected(client)
            }
            _ => {
                self.handle(replica::Input::PeerGone(liar));
                replica::Input::PeerConnected(liar, u64::from(draw.byte()))
            }
        }
    }

    fn handle(&mut self, input: replica::Input) {
        match &input {
            replica::Input::Client(_, request) => {
                self.faulty.gang.learn(&Message::Request(request.clone()));
            }
            replica::Input::Peer(_, message) => {
                self.faulty.gang.learn(&Message::Peer(message.clone()));
            }
            _ => {}
        }
        let mut out = replica::Outputs::default();
        self.machine.handle(self.now, input, &mut out);
        self.last = out.records.last().map_or(self.last, |(lsn, _)| *lsn);
        assert!(out.send.len() <= SENT_MAX, "{} messages", out.send.len());
        for outgoing in out.send {
            let message = match outgoing {
                Outgoing::Client(_, reply) => Message::Reply(reply),
                Outgoing::Peer(_, message) => Message::Peer(message),
            };
            assert_eq!(message.over_the_wire().as_ref(), Ok(&message));
            self.faulty.gang.learn(&message);
            if let Message::Reply(reply) = message
                && let ReplyBody::Report(report) = reply.body
            {
                self.report = Some(report);
            }
        }
        let stuck = self.machine.deadline().is_some_and(|(at, _)| at < self.now);
        assert!(!stuck, "{:?} is over", self.machine.deadline());
    }

    /// What is kept for two clients and their entries is bounded by the limits.
    fn end(&mut self) {
        let inspect = ClientRequest {
            request: RequestId(99),
            settled_below: Default::default(),
            body: ClientBody::Inspect,
        };
        self.report = None;
        self.handle(replica::Input::Client(self.faulty.names[0], inspect));
        self.handle(replica::Input::Synced(self.last));
        let report = self.report.take().expect("somebody connected asked for it");
        assert!(report.waiters <= 2 * LIMIT as u64, "{report:?}");
        assert_eq!(report.sessions, 2);
    }
}

/// One client. All replicas are faulty, which is more than it can be asked to be right about, but
/// it must not panic, and must end when it is told to.
pub fn client(bytes: &[u8]) {
    let setup = Setup::calm(4, 1);
    let faulty = Faulty::new(&setup, 0);
    let configuration = Arc::clone(faulty.gang.configuration());
    let options = setup.client_options(&configuration, setup.client_key(0), Session(1));
    let mut host = ClientHost {
        machine: Client::new(options),
        faulty,
        now: Time::ZERO,
        asked: Vec::new(),
        open: BTreeMap::new(),
        begun: 0,
    };
    let mut draw = Draw::new(bytes);
    for id in 0..4 {
        host.handle(client::Input::Connected(ReplicaId(id)));
    }
    for _ in 0..STEPS_MAX {
        if draw.is_over() {
            break;
        }
        let input = host.input(&mut draw);
        host.handle(input);
    }
    for handle in host.open.keys().copied().collect::<Vec<_>>() {
        host.handle(client::Input::Cancel(handle));
    }
    assert!(host.open.is_empty(), "what is cancelled ends");
}

struct ClientHost {
    machine: Client,
    faulty: Faulty,
    now: Time,
    asked: Vec<(ReplicaId, ClientRequest)>,
    open: BTreeMap<Handle, ()>,
    begun: u64,
}

impl ClientHost {
    fn input(&mut self, draw: &mut Draw<'_>) -> client::Input {
        match draw.below(16) {
            0..=10 => self.reply(draw),
            11 => match codec::decode_client(draw.piece()) {
                Ok(reply) => client::Input::Reply(ReplicaId(draw.below(4) as u16), reply),
                Err(_) => client::Input::Tick,
            },
            12 if self.open.len() < 4 => self.invoke(draw),
            13 => {
                self.now = self.now + Span::from_millis(u64::from(draw.byte()));
                client::Input::Tick
            }
            14 => {
                let replica = ReplicaId(draw.below(4) as u16);
                self.handle(client::Input::Disconnected(replica));
                client::Input::Connected(replica)
            }
            _ => {
                let handles: Vec<_> = self.open.keys().copied().collect();
                let handle = draw.pick(&handles).copied();
                handle.map_or(client::Input::Tick, client::Input::Cancel)
            }
        }
    }

    /// The latest requests are answered first.
    fn reply(&mut self, draw: &mut Draw<'_>) -> client::Input {
        let latest: Vec<_> = self.asked.iter().rev().take(16).cloned().collect();
        let Some((to, request)) = draw.pick(&latest).cloned() else {
            return self.invoke(draw);
        };
        client::Input::Reply(to, self.faulty.speaker(draw).reply(&request))
    }

    fn invoke(&mut self, draw: &mut Draw<'_>) -> client::Input {
        let handle = Handle(self.begun);
        self.begun += 1;
        self.open.insert(handle, ());
        client::Input::Invoke(handle, self.faulty.speaker(draw).operation(true))
    }

    fn handle(&mut self, input: client::Input) {
        if let client::Input::Reply(_, reply) = &input {
            self.faulty.gang.learn(&Message::Reply(reply.clone()));
        }
        let mut out = client::Outputs::default();
        self.machine.handle(self.now, input, &mut out);
        assert!(out.send.len() <= SENT_MAX, "{} messages", out.send.len());
        for (to, request) in out.send {
            let request = Arc::unwrap_or_clone(request);
            let message = Message::Request(request.clone());
            assert_eq!(message.over_the_wire().as_ref(), Ok(&message));
            self.faulty.gang.learn(&message);
            self.asked.push((to, request));
        }
        for (handle, _) in out.done {
            assert!(self.open.remove(&handle).is_some(), "{handle:?} ends twice");
        }
        let stuck = self.machine.deadline().is_some_and(|(at, _)| at < self.now);
        assert!(!stuck, "{:?} is over", self.machine.deadline());
    }
}

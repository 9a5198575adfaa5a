//! A swap of x to y that is decided, in words of machines: three correct replicas that may have
//! applied it, a faulty one, and a client that reads.

use std::sync::Arc;

use bts_core::client::{self, Client, Handle, Op, Outcome};
use bts_core::configuration::{Configuration, Policy};
use bts_core::consensus::certificate::{Statement, Value, VoteKind};
use bts_core::content::{Content, Decision, Put, put_hash};
use bts_core::crypto::sign::SignedBytes;
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::{
    Ballot, ClientRef, ClusterId, ContentHash, EntryId, Epoch, Incarnation, OpId, PublicKey,
    ReplicaId, RequestId, Session, SpaceName, TakeNumber,
};
use bts_core::message::{
    Candidate, ClientBody, ClientRequest, LockRequest, PeerMessage, Reply, ReplyBody, Since,
    Status, TakeRequest,
};
use bts_core::replica::{self, Outgoing, Record, Replica};
use bts_core::template::{Pattern, Template};
use bts_core::time::{Span, Time};
use bts_core::tuple::Tuple;
use ed25519_dalek::SigningKey;

use super::machine::Machine;
use crate::adversary::forge::{self, ClientForge, ReplicaForge};

/// Correct replicas; the one after them is faulty.
pub(super) const CORRECT: usize = 3;
const LIAR: ReplicaId = ReplicaId(CORRECT as u16);
const NOW: Time = Time::from_micros(1_000_000);

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// A template that only x matches.
    X,
    /// A template that only y matches.
    Y,
}

/// Everything that is signed beforehand.
pub(super) struct Cast {
    configuration: Arc<Configuration>,
    space: SpaceName,
    x: (EntryId, ContentHash, SignedBytes),
    y: (EntryId, ContentHash),
    take: SignedBytes,
    op: OpId,
    swapper: ClientRef,
    reader: ClientRef,
    lock: LockRequest,
    pub(super) decision: Decision,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn tuple(read: Read) -> Tuple {
    Tuple(vec![(read as u64).into()])
}

impl Cast {
    pub(super) fn new() -> Self {
        let public = |seed| PublicKey(key(seed).verifying_key().to_bytes());
        let keys = (0..=CORRECT as u8).map(public).collect();
        let configuration = Configuration::new(ClusterId([9; 32]), 1, keys, 1, Policy::default());
        let configuration = Arc::new(configuration.expect("a legal cluster"));
        let space = SpaceName::new("jobs").expect("a legal name");
        let writer = ClientForge::new(&configuration, key(100), Session(3));
        let id = writer.id(&space, 1);
        let entry = writer.entry(id.clone(), tuple(Read::X));
        let hash = forge::content_hash(&configuration, &entry);
        let swapper = ClientForge::new(&configuration, key(101), Session(5));
        let puts = vec![Put::from(tuple(Read::Y))];
        let take = swapper.take(1, id.clone(), hash, Epoch(0), puts);
        let op = forge::op_of(&configuration, &take);
        let said = Statement {
            id: id.clone(),
            epoch: Epoch(0),
            ballot: Ballot::ZERO,
            value: Value::Take(op),
        };
        let certificate = |kind| {
            let replica = |i| ReplicaForge::new(&configuration, ReplicaId(i), key(i as u8));
            let votes = [0, 1, LIAR.0].map(|i| replica(i).vote(kind, &said));
            forge::certificate(&votes).expect("votes")
        };
        let lock = LockRequest {
            certificate: certificate(VoteKind::First),
            take: take.clone(),
            released: None,
        };
        let decision = Decision {
            certificate: certificate(VoteKind::Commit),
            take: Some(take.clone()),
        };
        Self {
            y: (id.put(0).expect("a short path"), put_hash(op, 0)),
            x: (id, hash, entry),
            op,
            swapper: ClientRef {
                key: swapper.public(),
                session: Session(5),
            },
            reader: ClientRef {
                key: public(120),
                session: Session(7),
            },
            lock,
            decision,
            take,
            space,
            configuration,
        }
    }

    /// A correct replica: it holds x or not, and if it does, its votes are among those that decided.
    pub(super) fn replica(&self, number: u16, has_x: bool) -> RealReplica {
        let options = replica::Options {
            id: ReplicaId(number),
            configuration: Arc::clone(&self.configuration),
            key: key(number as u8),
            incarnation: Incarnation(1 + u64::from(number)),
            window: Span::from_millis(1000),
            reservation: Span::from_millis(100),
            limits: replica::Limits::default(),
            run: 1,
            roots: VerifiedRoots::default(),
        };
        let mut replica = RealReplica {
            replica: Replica::new(options),
            reader: self.reader,
        };
        for client in [self.swapper, self.reader] {
            replica.feed(replica::Input::ClientConnected(client));
        }
        if has_x {
            let entry = self.x.2.clone();
            let content = Some(Content::Signed(entry.clone()));
            let take = TakeRequest {
                take: self.take.clone(),
                content,
                released: None,
            };
            let bodies = [
                ClientBody::Out { entry },
                ClientBody::Take(take),
                ClientBody::Lock(self.lock.clone()),
            ];
            for (number, body) in (1..).zip(bodies) {
                let (request, settled_below) = (RequestId(number), TakeNumber(0));
                let request = ClientRequest {
                    request,
                    settled_below,
                    body,
                };
                replica.feed(replica::Input::Client(self.swapper, request));
            }
        }
        replica
    }

    /// The client that reads.
    pub(super) fn client(&self) -> RealClient {
        let mut client = Client::new(client::Options {
            configuration: Arc::clone(&self.configuration),
            key: key(120),
            session: Session(7),
            candidates: 4,
            resend: Span::from_millis(500),
            spare_from: usize::MAX,
            roots: VerifiedRoots::default(),
        });
        let mut out = client::Outputs::default();
        for replica in 0..=CORRECT as u16 {
            client.handle(NOW, client::Input::Connected(ReplicaId(replica)), &mut out);
        }
        RealClient {
            client,
            now: NOW,
            space: self.space.clone(),
        }
    }

    /// What a replica is told by another that applied the decision.
    pub(super) fn applied(&self) -> PeerMessage {
        let items = vec![(1, self.x.0.clone(), self.op)];
        PeerMessage::Applied { after: 0, items }
    }

    /// What the faulty replica answers: that there is nothing, and ever was; or that all is there.
    pub(super) fn lie(&self, request: &ClientRequest, finds: bool) -> Option<Reply> {
        let watch = bts_core::ids::WatchId(1);
        let body = match &request.body {
            ClientBody::Read(read) => {
                let wanted = match read.template == template(Read::X) {
                    true => Read::X,
                    false => Read::Y,
                };
                let candidates: Vec<_> =
                    finds.then(|| self.candidate(wanted)).into_iter().collect();
                ReplyBody::Found {
                    watch: candidates.is_empty().then_some(watch),
                    candidates,
                    moved: Vec::new(),
                }
            }
            ClientBody::StillEmpty { watch, nonce, .. } => ReplyBody::EmptySince {
                nonce: *nonce,
                watch: *watch,
                since: Since::Yes,
                moved: Vec::new(),
            },
            ClientBody::Decide { .. } => ReplyBody::Applied {
                id: self.x.0.clone(),
                op: self.op,
            },
            ClientBody::WriteBack { .. } => ReplyBody::Status {
                id: self.x.0.clone(),
                status: self.candidate(Read::X).status,
            },
            ClientBody::Out { .. }
            | ClientBody::Take(_)
            | ClientBody::Evidence(_)
            | ClientBody::Lock(_)
            | ClientBody::Fetch(_)
            | ClientBody::Dropped { .. }
            | ClientBody::Cancel { .. }
            | ClientBody::Inspect
            | ClientBody::EndSession(_)
            | ClientBody::Sessions
            | ClientBody::List { .. } => return None,
        };
        Some(Reply {
            request: request.request,
            body,
        })
    }

    fn candidate(&self, read: Read) -> Candidate {
        let (id, hash, content) = match read {
            Read::X => (&self.x.0, self.x.1, Content::Signed(self.x.2.clone())),
            Read::Y => (
                &self.y.0,
                self.y.1,
                Content::Put(Box::new(self.decision.clone())),
            ),
        };
        let contents = vec![hash];
        let status = Status {
            contents,
            ..Status::default()
        };
        Candidate {
            id: id.clone(),
            hash,
            full: Some(content),
            status,
        }
    }
}

fn template(read: Read) -> Template {
    Template(tuple(read).0.into_iter().map(Pattern::Exact).collect())
}

/// A replica of bts-core whose disk is as fast as it is.
#[derive(Debug)]
pub(super) struct RealReplica {
    replica: Replica,
    reader: ClientRef,
}

/// What happens to a replica here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToReplica {
    Client(ClientRequest),
    Peer(u16, PeerMessage),
}

/// What a replica does here.
#[expect(
    clippy::large_enum_variant,
    reason = "replies and requests are most of them; boxing each would cost more than it saves"
)]
#[derive(Clone, Debug)]
pub(super) enum FromReplica {
    Reply(Reply),
    Applied,
}

impl RealReplica {
    fn feed(&mut self, input: replica::Input) -> Vec<FromReplica> {
        let mut out = replica::Outputs::default();
        let mut done = Vec::new();
        self.replica.handle(NOW, input, &mut out);
        while let Some((last, _)) = out.records.last() {
            let last = *last;
            let applies = |(_, record): &(_, Record)| matches!(record, Record::Decided(_));
            done.extend(
                out.records
                    .iter()
                    .filter(|r| applies(r))
                    .map(|_| FromReplica::Applied),
            );
            out.records.clear();
            self.replica
                .handle(NOW, replica::Input::Synced(last), &mut out);
        }
        let reader = self.reader;
        done.extend(out.send.into_iter().filter_map(|sent| match sent {
            Outgoing::Client(to, reply) if to == reader => Some(FromReplica::Reply(reply)),
            Outgoing::Client(..) | Outgoing::Peer(..) => None,
        }));
        done
    }
}

impl Machine for RealReplica {
    type Input = ToReplica;
    type Output = FromReplica;

    fn take(&mut self, input: &ToReplica) -> Vec<FromReplica> {
        let reader = self.reader;
        self.feed(match input.clone() {
            ToReplica::Client(request) => replica::Input::Client(reader, request),
            ToReplica::Peer(from, message) => replica::Input::Peer(ReplicaId(from), message),
        })
    }
}

/// A client of bts-core.
#[derive(Debug)]
pub(super) struct RealClient {
    client: Client,
    now: Time,
    space: SpaceName,
}

/// What happens to a client here.
#[expect(
    clippy::large_enum_variant,
    reason = "replies and requests are most of them; boxing each would cost more than it saves"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToClient {
    Begin(u64, Read),
    Reply(u16, Reply),
    /// Time passes until it wants to be woken.
    Wake,
}

/// What a client does here.
#[expect(
    clippy::large_enum_variant,
    reason = "replies and requests are most of them; boxing each would cost more than it saves"
)]
#[derive(Clone, Debug)]
pub(super) enum FromClient {
    Request(u16, ClientRequest),
    /// Whether the read found something.
    Read(bool),
}

impl Machine for RealClient {
    type Input = ToClient;
    type Output = FromClient;

    fn take(&mut self, input: &ToClient) -> Vec<FromClient> {
        let mut out = client::Outputs::default();
        let input = match input.clone() {
            ToClient::Begin(number, read) => {
                let (space, template) = (self.space.clone(), template(read));
                let op = Op::Read {
                    space,
                    template,
                    wait: false,
                };
                client::Input::Invoke(Handle(number), op)
            }
            ToClient::Reply(from, reply) => client::Input::Reply(ReplicaId(from), reply),
            ToClient::Wake => {
                let deadline = self.client.deadline().map(|(time, _)| time);
                self.now = deadline.map_or(self.now, |deadline| self.now.max(deadline));
                client::Input::Tick
            }
        };
        self.client.handle(self.now, input, &mut out);
        let sent = out
            .send
            .into_iter()
            .map(|(to, request)| FromClient::Request(to.0, Arc::unwrap_or_clone(request)));
        let done = out.done.into_iter().map(|(_, outcome)| match outcome {
            Outcome::Found(_) => FromClient::Read(true),
            Outcome::None => FromClient::Read(false),
            other => panic!("a read that ends with {other:?}"),
        });
        sent.chain(done).collect()
    }
}

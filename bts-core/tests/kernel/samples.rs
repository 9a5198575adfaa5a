//! One message of every kind, made by keys that everybody knows: the material of the golden vectors
//! and the seeds of the hostile bytes.

use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Access, Content, Decision, EntryPayload, TakePayload, put_hash};
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{Kind, SignedBytes};
use bts_core::crypto::verified::Verified;
use bts_core::ids::{
    Ballot, ContentHash, EntryId, Epoch, Incarnation, Lsn, ReplicaId, RequestId, Session,
    SpaceName, TakeNumber, WatchId,
};
use bts_core::message::{
    Candidate, ClientBody, ClientRequest, FetchKey, Given, Hello, HelloReply, HelloRole,
    LockRequest, PeerMessage, Proposal, ReadMode, ReadRequest, Refused, Removal, Reply, ReplyBody,
    Report, Since, Status, TakeRequest,
};
use bts_core::template::{Pattern, Template};
use bts_core::tuple::{FieldType, Tuple};

use crate::support::{Cluster, entry_payload, signed, statement, take_payload};

pub(crate) struct Samples {
    cluster: Cluster,
    entry: Verified<EntryPayload>,
    take: Verified<TakePayload>,
}

pub(crate) type Named<T> = (&'static str, T);

impl Samples {
    pub(crate) fn new() -> Self {
        let cluster = Cluster::of_four();
        let (writer, client) = (cluster.client(40), cluster.client(41));
        let mut entry = entry_payload(&writer, 300);
        entry.tuple = Tuple(vec![
            "task".into(),
            17_u64.into(),
            (-2_i64).into(),
            1.5.into(),
            true.into(),
            vec![0_u8, 255].into(),
        ]);
        entry.access = Some(Access {
            read: None,
            take: Some(vec![client.public()]),
        });
        let entry = cluster
            .verifier
            .entry(signed(&writer, Kind::Entry, &entry))
            .unwrap();
        let take = take_payload(&client, &entry.id, 0);
        let take = cluster
            .verifier
            .take(signed(&client, Kind::Take, &take))
            .unwrap();
        Self {
            cluster,
            entry,
            take,
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn entry(&self) -> &Verified<EntryPayload> {
        &self.entry
    }

    pub(crate) fn take(&self) -> &Verified<TakePayload> {
        &self.take
    }

    pub(crate) fn put_hash(&self) -> ContentHash {
        put_hash(self.take.op(), 0)
    }

    /// A first vote whose signature covers a batch of two, so that there is a path.
    pub(crate) fn first_vote(&self) -> SealedVote {
        let mut vote = self.vote(VoteKind::First, 0);
        let batch = [(Kind::Commit, [].as_slice()), (Kind::First, &vote.payload)];
        vote.seal = self.cluster.replicas[0].seal(&batch).remove(1);
        vote
    }

    pub(crate) fn promise(&self) -> SignedBytes {
        let promise = PromisePayload {
            id: self.id(),
            epoch: Epoch(0),
            ballot: Ballot(2),
            first: Some(self.take.op()),
            lock: Some(self.lock()),
            takes: vec![self.take.op()],
        };
        signed(&self.cluster.replicas[1], Kind::Promise, &promise)
    }

    /// The entry that all samples are about.
    pub(crate) fn id(&self) -> EntryId {
        self.entry.id.clone()
    }

    /// An id with a path of two runs.
    fn deep_id(&self) -> EntryId {
        let child = self.id().put(0).and_then(|id| id.put(0));
        child.and_then(|id| id.put(3)).expect("two runs")
    }

    fn said(&self, ballot: u32, value: Value) -> Statement {
        statement(&self.id(), 0, ballot, value)
    }

    fn vote(&self, kind: VoteKind, ballot: u32) -> SealedVote {
        let said = self.said(ballot, Value::Take(self.take.op()));
        self.cluster.vote(0, kind, &said)
    }

    fn lock(&self) -> Certificate {
        let said = self.said(0, Value::Take(self.take.op()));
        self.cluster.certificate(VoteKind::First, &said, 0..3)
    }

    fn released(&self) -> Certificate {
        let said = self.said(1, Value::Release);
        self.cluster.certificate(VoteKind::Commit, &said, 1..4)
    }

    fn decision(&self) -> Decision {
        let said = self.said(0, Value::Take(self.take.op()));
        Decision {
            certificate: self.cluster.certificate(VoteKind::First, &said, 0..4),
            take: Some(self.take.signed().clone()),
        }
    }

    fn status(&self) -> Status {
        Status {
            contents: vec![self.hash()],
            epoch: Epoch(1),
            released: Some(self.released()),
            first: Some(self.take.op()),
            lock: Some(self.lock()),
            promised: Ballot(2),
            reserved: true,
        }
    }

    fn hash(&self) -> ContentHash {
        ContentHash(self.entry.leaf())
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            id: self.id(),
            hash: self.hash(),
            full: Some(Content::Signed(self.entry.signed().clone())),
            status: Status {
                contents: vec![self.hash()],
                ..Status::default()
            },
        }
    }

    fn template(&self) -> Template {
        let patterns = vec![
            Pattern::Exact("task".into()),
            Pattern::Typed(FieldType::Uint),
            Pattern::Any,
        ];
        Template(patterns)
    }

    fn fetch_keys(&self) -> [FetchKey; 4] {
        [
            FetchKey::Content(self.deep_id(), self.put_hash()),
            FetchKey::Take(self.id(), self.take.op()),
            FetchKey::Decision(self.id()),
            FetchKey::Release(self.id(), Epoch(0)),
        ]
    }

    pub(crate) fn hellos(&self) -> Vec<Named<Hello>> {
        let context = self.cluster.configuration.signing_context();
        let hello = |role| Hello {
            version: 1,
            cluster: context.cluster,
            configuration: context.configuration,
            role,
        };
        let session = Session(1_700_000_000_000_000);
        let replica = HelloRole::Replica {
            replica: ReplicaId(2),
            incarnation: Incarnation(0xfeed),
            policy: self.cluster.configuration.policy().hash(),
            stream_next: 70_000,
            position: Lsn(1 << 30),
            run: 5,
        };
        vec![
            ("hello.client", hello(HelloRole::Client { session })),
            ("hello.replica", hello(replica)),
            ("hello.operator", hello(HelloRole::Operator)),
        ]
    }

    pub(crate) fn hello_replies(&self) -> Vec<Named<HelloReply>> {
        let ack = HelloReply::Ack {
            version: 1,
            replica: ReplicaId(3),
            incarnation: Incarnation(0xfeed),
            stream_next: 1,
            position: Lsn(1 << 20),
            run: 5,
        };
        vec![
            ("hello.ack", ack),
            (
                "hello.lost-memory",
                HelloReply::LostMemory("it was more before".to_owned()),
            ),
            (
                "hello.refused",
                HelloReply::Refused("other cluster".to_owned()),
            ),
        ]
    }

    pub(crate) fn requests(&self) -> Vec<Named<ClientRequest>> {
        let bodies = [self.questions(), self.deeds(), self.endings()];
        let request = |(name, body)| {
            let (request, settled_below) = (RequestId(1000), TakeNumber(4));
            let request = ClientRequest {
                request,
                settled_below,
                body,
            };
            (name, request)
        };
        bodies.into_iter().flatten().map(request).collect()
    }

    fn questions(&self) -> Vec<Named<ClientBody>> {
        let [content, _, decision, release] = self.fetch_keys();
        let still_empty = ClientBody::StillEmpty {
            watch: WatchId(7),
            nonce: 8,
            stable: vec![self.take.op()],
        };
        let list = ClientBody::List {
            space: self.id().space().clone(),
            template: self.template(),
            after: Some(Digest([3; 32])),
        };
        let waiter = RequestId(1);
        vec![
            ("request.read", ClientBody::Read(self.read(ReadMode::Rdp))),
            ("request.read-in", ClientBody::Read(self.read(ReadMode::In))),
            ("request.still-empty", still_empty),
            ("request.fetch-content", ClientBody::Fetch(content)),
            ("request.fetch-decision", ClientBody::Fetch(decision)),
            ("request.fetch-release", ClientBody::Fetch(release)),
            ("request.cancel", ClientBody::Cancel { waiter }),
            ("request.inspect", ClientBody::Inspect),
            ("request.list", list),
        ]
    }

    fn deeds(&self) -> Vec<Named<ClientBody>> {
        let entry = || self.entry.signed().clone();
        let take = || TakeRequest {
            take: self.take.signed().clone(),
            content: Some(Content::Signed(entry())),
            released: Some(self.released()),
        };
        let lock = LockRequest {
            certificate: self.lock(),
            take: self.take.signed().clone(),
            released: None,
        };
        let decide = ClientBody::Decide {
            decision: self.decision(),
            applied: true,
        };
        let id = self.deep_id();
        vec![
            ("request.out", ClientBody::Out { entry: entry() }),
            (
                "request.write-back",
                ClientBody::WriteBack { entry: entry() },
            ),
            ("request.take", ClientBody::Take(take())),
            ("request.evidence", ClientBody::Evidence(take())),
            ("request.lock", ClientBody::Lock(lock)),
            ("request.decide", decide),
            ("request.dropped", ClientBody::Dropped { id }),
        ]
    }

    fn read(&self, mode: ReadMode) -> ReadRequest {
        ReadRequest {
            space: SpaceName::new("jobs").expect("a good name"),
            template: self.template(),
            mode,
            start: u64::MAX,
            candidates: 16,
            full: ReplicaId(2),
        }
    }

    pub(crate) fn replies(&self) -> Vec<Named<Reply>> {
        let bodies = self
            .findings()
            .into_iter()
            .chain(self.states())
            .chain(self.services())
            .chain(self.told_endings());
        let request = RequestId(1000);
        bodies
            .map(|(name, body)| (name, Reply { request, body }))
            .collect()
    }

    fn findings(&self) -> Vec<Named<ReplyBody>> {
        let found = ReplyBody::Found {
            candidates: vec![self.candidate()],
            watch: None,
            moved: vec![],
        };
        let empty = ReplyBody::Found {
            candidates: vec![],
            watch: Some(WatchId(7)),
            moved: vec![self.decision()],
        };
        let empty_since = ReplyBody::EmptySince {
            nonce: 8,
            watch: WatchId(7),
            since: Since::Yes,
            moved: vec![self.decision()],
        };
        let page = ReplyBody::Page {
            candidates: vec![self.candidate()],
            next: Some(Digest([3; 32])),
        };
        vec![
            ("reply.found", found),
            ("reply.empty", empty),
            ("reply.empty-since", empty_since),
            ("reply.push", ReplyBody::Push(Box::new(self.candidate()))),
            ("reply.page", page),
        ]
    }

    fn states(&self) -> Vec<Named<ReplyBody>> {
        let (id, op, status) = (|| self.id(), self.take.op(), || self.status());
        let removed = |removal| ReplyBody::Removed { id: id(), removal };
        let released = ReplyBody::Released {
            id: id(),
            certificate: self.released(),
        };
        let commit = self.vote(VoteKind::Commit, 0);
        vec![
            (
                "reply.status",
                ReplyBody::Status {
                    id: id(),
                    status: status(),
                },
            ),
            ("reply.first-vote", ReplyBody::FirstVote(self.first_vote())),
            ("reply.commit-vote", ReplyBody::CommitVote(commit)),
            (
                "reply.contended",
                ReplyBody::Contended {
                    id: id(),
                    status: status(),
                },
            ),
            ("reply.applied", ReplyBody::Applied { id: id(), op }),
            (
                "reply.removed",
                removed(Removal::Decision(Box::new(self.decision()))),
            ),
            ("reply.removed-forgotten", removed(Removal::Forgotten)),
            ("reply.removed-unknown", removed(Removal::Unknown)),
            ("reply.released", released),
        ]
    }

    fn services(&self) -> Vec<Named<ReplyBody>> {
        let [_, take, _, release] = self.fetch_keys();
        let content = Content::Put(Box::new(self.decision()));
        let given = Given::Content(self.deep_id(), content);
        let limit = Refused::Limit("too many".to_owned());
        let no_room = Refused::NoRoom("full".to_owned());
        vec![
            ("reply.ack", ReplyBody::Ack),
            ("reply.given", ReplyBody::Given(given)),
            ("reply.not-held-take", ReplyBody::NotHeld(take)),
            ("reply.not-held-release", ReplyBody::NotHeld(release)),
            ("reply.refused", ReplyBody::Refused(limit)),
            (
                "reply.refused-starting",
                ReplyBody::Refused(Refused::Starting),
            ),
            ("reply.refused-no-room", ReplyBody::Refused(no_room)),
            ("reply.refused-ended", ReplyBody::Refused(Refused::Ended)),
            ("reply.report", ReplyBody::Report(Box::new(self.report()))),
        ]
    }

    fn report(&self) -> Report {
        Report {
            version: "0.1.0".to_owned(),
            uptime_us: 1 << 40,
            entries: 3,
            spaces: vec![(self.id().space().clone(), 3)],
            peers: vec![ReplicaId(1), ReplicaId(2)],
            forged: vec![(self.cluster.key(3), 9)],
            counters: vec![("syncs".to_owned(), 12)],
            comparing: vec![self.comparing()],
            ..Report::default()
        }
    }

    pub(crate) fn peer_messages(&self) -> Vec<Named<PeerMessage>> {
        let id = || self.id();
        let take = || self.take.signed().clone();
        let promise = PeerMessage::Promise {
            promise: self.promise(),
            takes: vec![take()],
            released: None,
        };
        let proposal = Proposal {
            id: id(),
            epoch: Epoch(0),
            ballot: Ballot(2),
            value: Value::Release,
            promises: vec![self.promise()],
            takes: vec![take()],
            released: Some(self.released()),
        };
        let lock = LockRequest {
            certificate: self.lock(),
            take: take(),
            released: None,
        };
        let applied = PeerMessage::Applied {
            after: 70_000,
            items: vec![(70_003, id(), self.take.op())],
        };
        let [content, take_key, _, _] = self.fetch_keys();
        let given = Given::Release(id(), Epoch(0), self.released());
        let removed = PeerMessage::Removed {
            id: id(),
            removal: Removal::Unknown,
        };
        let mut messages = vec![
            ("peer.promise", promise),
            ("peer.propose", PeerMessage::Propose(proposal)),
            (
                "peer.prepare-vote",
                PeerMessage::PrepareVote(self.vote(VoteKind::Prepare, 2)),
            ),
            ("peer.lock", PeerMessage::Lock(lock)),
            (
                "peer.commit-vote",
                PeerMessage::CommitVote(self.vote(VoteKind::Commit, 2)),
            ),
            ("peer.decide", PeerMessage::Decide(self.decision())),
            ("peer.applied", applied),
            (
                "peer.relay",
                PeerMessage::Relay {
                    entry: self.entry.signed().clone(),
                },
            ),
            ("peer.fetch", PeerMessage::Fetch(content)),
            ("peer.given-take", PeerMessage::Given(Given::Take(take()))),
            ("peer.given-release", PeerMessage::Given(given)),
            ("peer.not-held", PeerMessage::NotHeld(take_key)),
            ("peer.removed", removed),
            (
                "peer.released",
                PeerMessage::Released {
                    id: id(),
                    certificate: self.released(),
                },
            ),
            ("peer.resume", PeerMessage::Resume { next: 70_000 }),
        ];
        messages.extend(self.comparisons());
        messages.push(("peer.end-session", PeerMessage::EndSession(self.end())));
        messages
    }
}

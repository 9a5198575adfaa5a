//! Where a client is driven by hand: a cluster's keys, a client, and the clock.

use std::sync::Arc;

use bts_core::client::{Client, Handle, Input, Op, Options, Outcome, Outputs, SwapWith};
use bts_core::codec;
use bts_core::configuration::{Configuration, Policy};
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::content::{Content, Decision, EntryPayload, Put, TakePayload, put_hash};
use bts_core::crypto::sign::{Kind, SignedBytes, Signer};
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::{
    Ballot, ClusterId, ContentHash, EntryId, Epoch, OpId, PublicKey, ReplicaId, RequestId, Seq,
    Session, SpaceName, TakeNumber, WatchId,
};
use bts_core::message::{
    Candidate, ClientBody, ClientRequest, ReadMode, ReadRequest, Reply, ReplyBody, Status,
    TakeRequest,
};
use bts_core::template::{Pattern, Template};
use bts_core::time::{Span, Time};
use bts_core::tuple::Tuple;
use ed25519_dalek::SigningKey;

/// What the client sent to one replica.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) to: u16,
    pub(crate) request: RequestId,
    pub(crate) body: ClientBody,
}

pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) me: PublicKey,
    pub(crate) events: Vec<(ReplicaId, String)>,
    replicas: Vec<Signer>,
    stranger: Signer,
    now: u64,
    sent: Vec<(ReplicaId, ClientRequest)>,
    settled_below: TakeNumber,
    done: Vec<(Handle, Outcome)>,
    invoked: u64,
}

/// An entry that somebody wrote, as replicas hold it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) hash: ContentHash,
    pub(crate) content: Content,
    pub(crate) tuple: Tuple,
}

/// A Take that somebody signed.
#[derive(Clone, Debug)]
pub(crate) struct SignedTake {
    pub(crate) payload: TakePayload,
    pub(crate) signed: SignedBytes,
    pub(crate) op: OpId,
}

impl Desk {
    /// `n` replicas, all connected.
    pub(crate) fn new(n: u8, f: usize) -> Self {
        Self::sparing(n, f, usize::MAX)
    }

    /// The same, and reads ask a quorum at first when so many requests are open.
    pub(crate) fn sparing(n: u8, f: usize, spare_from: usize) -> Self {
        let key = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
        let public = |seed| PublicKey(key(seed).verifying_key().to_bytes());
        let keys: Vec<_> = (0..n).map(|i| public(100 + i)).collect();
        let cluster = ClusterId([9; 32]);
        let configuration = Configuration::new(cluster, 1, keys, f, Policy::default());
        let configuration = Arc::new(configuration.expect("a legal cluster"));
        let context = *configuration.signing_context();
        let client = Client::new(Options {
            configuration: Arc::clone(&configuration),
            key: key(1),
            session: Session(7),
            candidates: 4,
            resend: Span::from_millis(500),
            spare_from,
            roots: VerifiedRoots::default(),
        });
        let mut desk = Self {
            client,
            me: public(1),
            configuration,
            events: Vec::new(),
            replicas: (0..n).map(|i| Signer::new(key(100 + i), context)).collect(),
            stranger: Signer::new(key(2), context),
            now: 1_000_000,
            sent: Vec::new(),
            settled_below: TakeNumber(0),
            done: Vec::new(),
            invoked: 0,
        };
        for replica in 0..u16::from(n) {
            desk.input(Input::Connected(ReplicaId(replica)));
        }
        desk
    }

    pub(crate) fn input(&mut self, input: Input) {
        let mut out = Outputs::default();
        self.client
            .handle(Time::from_micros(self.now), input, &mut out);
        self.take_in(out);
    }

    /// Gives it an input of several that come together: what is to be signed waits for the others.
    pub(crate) fn gather(&mut self, input: Input) {
        let mut out = Outputs::default();
        self.client
            .accept(Time::from_micros(self.now), input, &mut out);
        self.take_in(out);
    }

    /// Has it sign what came together.
    pub(crate) fn sign(&mut self) {
        let mut out = Outputs::default();
        self.client.sign(Time::from_micros(self.now), &mut out);
        self.take_in(out);
    }

    fn take_in(&mut self, out: Outputs) {
        if let Some((_, last)) = out.send.last() {
            self.settled_below = last.settled_below;
        }
        let sent = out.send.into_iter();
        self.sent
            .extend(sent.map(|(to, request)| (to, Arc::unwrap_or_clone(request))));
        self.done.extend(out.done);
        self.events.extend(out.events);
        if let Some((deadline, what)) = self.client.deadline() {
            assert!(
                deadline > Time::from_micros(self.now),
                "woken for ever: {what}"
            );
        }
    }

    pub(crate) fn invoke(&mut self, op: Op) -> Handle {
        self.invoked += 1;
        let handle = Handle(self.invoked);
        self.input(Input::Invoke(handle, op));
        handle
    }

    /// An `out` that replicas answer late: from then on they are expected to.
    pub(crate) fn answered_late(&mut self) {
        let put = Put::from(tuple(0));
        self.invoke(Op::Out {
            space: space(),
            put,
        });
        let request = self.sent()[0].request;
        self.pass_ms(300);
        (0..4).for_each(|replica| self.reply(replica, request, ReplyBody::Ack));
        assert!(matches!(self.outcome(), Outcome::Written(_)));
        self.sent();
    }

    pub(crate) fn rdp(&mut self) -> Handle {
        self.invoke(Op::Read {
            space: space(),
            template: any(),
            wait: false,
        })
    }

    pub(crate) fn take(&mut self, wait: bool, with: Option<SwapWith>) -> Handle {
        self.invoke(Op::Take {
            space: space(),
            template: any(),
            wait,
            with,
        })
    }

    /// A swap that found this entry, declines it, and looks at it once more: its search, and that.
    pub(crate) fn declining(&mut self, entry: &Entry) -> (RequestId, RequestId) {
        self.take(false, Some(Box::new(|_| None)));
        let (enter, _) = self.read_request();
        for replica in 0..3 {
            self.reply(replica, enter, named(vec![in_full(entry)]));
        }
        let (again, _) = self.read_request();
        (enter, again)
    }

    pub(crate) fn reply(&mut self, from: u16, request: RequestId, body: ReplyBody) {
        let reply = Reply { request, body };
        self.input(Input::Reply(ReplicaId(from), reply));
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_micros(self.now)
    }

    /// Lets time pass, waking the client whenever it wants to be woken.
    pub(crate) fn pass_ms(&mut self, ms: u64) {
        let end = self.now + 1000 * ms;
        while let Some((deadline, _)) = self.client.deadline()
            && deadline <= Time::from_micros(end)
        {
            self.now = self.now.max(deadline.as_micros());
            self.input(Input::Tick);
        }
        self.now = end;
    }

    /// What the last request said of the Takes.
    pub(crate) fn settled_below(&self) -> TakeNumber {
        self.settled_below
    }

    /// What was sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        let sent = std::mem::take(&mut self.sent).into_iter();
        sent.map(|(to, request)| Sent {
            to: to.0,
            request: request.request,
            body: request.body,
        })
        .collect()
    }

    /// As `sent`, only what the filter picks.
    pub(crate) fn sent_of<T>(
        &mut self,
        pick: impl Fn(&ClientBody) -> Option<T>,
    ) -> Vec<(u16, RequestId, T)> {
        let sent = self.sent().into_iter();
        sent.filter_map(|sent| pick(&sent.body).map(|what| (sent.to, sent.request, what)))
            .collect()
    }

    /// The read that was just sent to all.
    pub(crate) fn read_request(&mut self) -> (RequestId, ReadRequest) {
        let mut reads = self.sent_of(|body| match body {
            ClientBody::Read(read) => Some(read.clone()),
            _ => None,
        });
        assert_eq!(reads.len(), self.replicas.len(), "a read goes to all");
        let (_, request, read) = reads.remove(0);
        (request, read)
    }

    /// The Take that was just sent to all, with what each replica got.
    pub(crate) fn take_request(&mut self) -> (RequestId, SignedTake, Vec<TakeRequest>) {
        let takes = self.sent_of(|body| match body {
            ClientBody::Take(take) => Some(take.clone()),
            _ => None,
        });
        assert_eq!(takes.len(), self.replicas.len(), "a Take goes to all");
        let take = self.known_take(&takes[0].2.take);
        (
            takes[0].1,
            take,
            takes.into_iter().map(|(_, _, take)| take).collect(),
        )
    }

    pub(crate) fn known_take(&self, signed: &SignedBytes) -> SignedTake {
        let context = self.configuration.signing_context();
        SignedTake {
            payload: codec::decode_payload(&signed.payload).expect("a Take"),
            op: OpId(context.leaf(Kind::Take, &signed.signer, &signed.payload)),
            signed: signed.clone(),
        }
    }

    /// The outcomes since the last call.
    pub(crate) fn done(&mut self) -> Vec<Outcome> {
        let done = std::mem::take(&mut self.done).into_iter();
        done.map(|(_, outcome)| outcome).collect()
    }

    /// The one outcome since the last call.
    pub(crate) fn outcome(&mut self) -> Outcome {
        let mut done = self.done();
        assert_eq!(done.len(), 1, "one outcome in {done:?}");
        done.remove(0)
    }

    pub(crate) fn assert_pending(&mut self) {
        assert_eq!(self.done(), [], "nothing is decided yet");
    }

    /// An entry by another client.
    pub(crate) fn entry(&self, seq: u64) -> Entry {
        self.entry_of(seq, tuple(seq))
    }

    pub(crate) fn entry_of(&self, seq: u64, tuple: Tuple) -> Entry {
        let writer = self.stranger.public();
        let id = EntryId::written(space(), writer, Session(3), Seq(seq));
        let payload = EntryPayload {
            id: id.clone(),
            tuple: tuple.clone(),
            expiry: None,
            access: None,
        };
        let signed = self.stranger.sign(Kind::Entry, codec::encode(&payload));
        let context = self.configuration.signing_context();
        let hash = context.leaf(Kind::Entry, &signed.signer, &signed.payload);
        Entry {
            id,
            hash: ContentHash(hash),
            content: Content::Signed(signed),
            tuple,
        }
    }

    /// A Take by another client, with these puts.
    pub(crate) fn rival(
        &self,
        entry: &Entry,
        epoch: u8,
        number: u64,
        puts: Vec<Put>,
    ) -> SignedTake {
        let payload = TakePayload {
            client: self.stranger.public(),
            session: Session(3),
            number: TakeNumber(number),
            id: entry.id.clone(),
            content: entry.hash,
            epoch: Epoch(epoch),
            puts,
        };
        let signed = self.stranger.sign(Kind::Take, codec::encode(&payload));
        self.known_take(&signed)
    }

    /// Put `index` of a decided Take as an entry.
    pub(crate) fn put_of(&self, take: &SignedTake, index: u16, decision: Decision) -> Entry {
        Entry {
            id: take.payload.id.put(index).expect("a short path"),
            hash: put_hash(take.op, index),
            content: Content::Put(Box::new(decision)),
            tuple: take.payload.puts[usize::from(index)].tuple.clone(),
        }
    }

    pub(crate) fn vote(&self, replica: u16, kind: VoteKind, statement: &Statement) -> SealedVote {
        let signer = &self.replicas[usize::from(replica)];
        SealedVote::new(signer, ReplicaId(replica), kind, statement)
    }

    pub(crate) fn first_vote(&self, replica: u16, take: &SignedTake) -> ReplyBody {
        ReplyBody::FirstVote(self.vote(replica, VoteKind::First, &first(take)))
    }

    pub(crate) fn commit_vote(&self, replica: u16, lock: &Certificate) -> ReplyBody {
        let statement: Statement = codec::decode_payload(&lock.payload).expect("a statement");
        ReplyBody::CommitVote(self.vote(replica, VoteKind::Commit, &statement))
    }

    pub(crate) fn certificate(
        &self,
        kind: VoteKind,
        statement: &Statement,
        replicas: impl IntoIterator<Item = u16>,
    ) -> Certificate {
        let votes = replicas.into_iter().map(|replica| {
            let vote = self.vote(replica, kind, statement);
            (ReplicaId(replica), vote.seal)
        });
        Certificate {
            kind,
            payload: codec::encode(statement),
            votes: votes.collect(),
            carried: None,
        }
    }

    /// A lock of ballot 0.
    pub(crate) fn lock(&self, take: &SignedTake) -> Certificate {
        self.certificate(VoteKind::First, &first(take), 0..3)
    }

    /// A decision by commit votes of ballot 0.
    pub(crate) fn decision(&self, take: &SignedTake) -> Decision {
        Decision {
            certificate: self.certificate(VoteKind::Commit, &first(take), 0..3),
            take: Some(take.signed.clone()),
        }
    }

    /// A certificate that this epoch was released.
    pub(crate) fn release(&self, id: &EntryId, epoch: u8) -> Certificate {
        let statement = self.release_statement(id, epoch);
        self.certificate(VoteKind::Commit, &statement, 0..3)
    }

    pub(crate) fn release_statement(&self, id: &EntryId, epoch: u8) -> Statement {
        Statement {
            id: id.clone(),
            epoch: Epoch(epoch),
            ballot: Ballot(1),
            value: Value::Release,
        }
    }
}

/// What a first vote for this Take says.
pub(crate) fn first(take: &SignedTake) -> Statement {
    Statement {
        id: take.payload.id.clone(),
        epoch: take.payload.epoch,
        ballot: Ballot::ZERO,
        value: Value::Take(take.op),
    }
}

pub(crate) fn space() -> SpaceName {
    SpaceName::new("jobs").expect("a good name")
}

/// Tuples of these tests have one field.
pub(crate) fn any() -> Template {
    Template(vec![Pattern::Any])
}

pub(crate) fn tuple(number: u64) -> Tuple {
    Tuple(vec![number.into()])
}

/// A report of the entry, by hash, untouched.
pub(crate) fn by_hash(entry: &Entry) -> Candidate {
    Candidate {
        id: entry.id.clone(),
        hash: entry.hash,
        full: None,
        status: status(entry),
    }
}

/// A report of the entry in full.
pub(crate) fn in_full(entry: &Entry) -> Candidate {
    Candidate {
        full: Some(entry.content.clone()),
        ..by_hash(entry)
    }
}

/// A report of the entry in full with this first vote.
pub(crate) fn voted(entry: &Entry, op: OpId) -> Candidate {
    let mut candidate = in_full(entry);
    candidate.status.first = Some(op);
    candidate
}

pub(crate) fn status(entry: &Entry) -> Status {
    Status {
        contents: vec![entry.hash],
        ..Status::default()
    }
}

pub(crate) fn named(candidates: Vec<Candidate>) -> ReplyBody {
    ReplyBody::Found {
        candidates,
        watch: None,
        moved: Vec::new(),
    }
}

pub(crate) fn empty(watch: u64) -> ReplyBody {
    empty_but_for(watch, Vec::new())
}

pub(crate) fn empty_but_for(watch: u64, moved: Vec<Decision>) -> ReplyBody {
    ReplyBody::Found {
        candidates: Vec::new(),
        watch: Some(WatchId(watch)),
        moved,
    }
}

/// True if a replica that is asked this is to read for us again.
pub(crate) fn is_read(body: &ClientBody, wanted: ReadMode) -> bool {
    matches!(body, ClientBody::Read(read) if read.mode == wanted)
}

//! Replicas driven by hand: real ones beside faulty ones whose keys the tests hold, a synchronous
//! message pump, and a clock that moves from deadline to deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bts_core::codec;
use bts_core::configuration::{Configuration, Policy};
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Content, Decision};
use bts_core::crypto::sign::{Kind, SignedBytes, Signer};
use bts_core::crypto::verified::{VerifiedRoots, Verifier};
use bts_core::ids::{
    ClientRef, ClusterId, ContentHash, EntryId, Incarnation, Lsn, OpId, PublicKey, ReplicaId,
    RequestId, Session, TakeNumber,
};
use bts_core::message::{ClientBody, ClientRequest, PeerMessage, ReplyBody};
use bts_core::replica::handover::Founding;
use bts_core::replica::{
    Event, Input, Limits, Obsolete, Options, Outgoing, Outputs, Record, Replica,
};
use bts_core::time::{Span, Time};
use bts_core::tuple::Tuple;

use crate::cast::{Client, Target, key, statement};

/// Δ of all replicas.
pub(crate) const WINDOW: Span = Span::from_millis(1000);
/// How long a reservation lasts.
pub(crate) const RESERVATION: Span = Span::from_millis(200);

/// A cluster of which some members are real replicas and the others are the test's to play.
pub(crate) struct World {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) verifier: Verifier,
    pub(crate) signers: Vec<Signer>,
    pub(crate) now: Time,
    /// What clients were sent, in order.
    pub(crate) replies: Vec<(u16, ClientRef, RequestId, ReplyBody)>,
    /// What replicas sent each other, in order.
    pub(crate) wire: Vec<(u16, u16, PeerMessage)>,
    /// Where on the wire begins what a replica sent at once, and whose it is.
    pub(crate) bursts: Vec<(u16, usize)>,
    /// What replicas told people.
    pub(crate) events: Vec<(u16, Event)>,
    /// Records logged, by replica.
    pub(crate) logged: Vec<u64>,
    /// The records, and how many of them are synced.
    disks: Vec<(Vec<(Lsn, Record)>, usize)>,
    options: Vec<Options>,
    /// Replicas whose disk is slow: nothing of theirs is synced until told.
    pub(crate) slow: BTreeSet<u16>,
    /// One-way links that lose everything.
    pub(crate) cut: BTreeSet<(u16, u16)>,
    replicas: Vec<Option<Replica>>,
    queue: VecDeque<(u16, u16, PeerMessage)>,
    next_request: u64,
    /// What a client says of its Takes with every request.
    pub(crate) settled: BTreeMap<ClientRef, u64>,
    /// Records that are obsolete, by replica.
    obsolete: Vec<Vec<Obsolete>>,
}

/// What a world is made of.
pub(crate) struct Plan {
    pub(crate) n: u16,
    pub(crate) faults: usize,
    pub(crate) real: Vec<u16>,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            n: 4,
            faults: 1,
            real: vec![0, 1, 2, 3],
            policy: Policy::default(),
            limits: Limits::default(),
        }
    }
}

impl World {
    /// Four correct replicas.
    pub(crate) fn of_four() -> Self {
        Self::new(Plan::default())
    }

    /// Of four replicas these are correct.
    pub(crate) fn with_real(real: &[u16]) -> Self {
        Self::new(Plan {
            real: real.to_vec(),
            ..Plan::default()
        })
    }

    pub(crate) fn new(plan: Plan) -> Self {
        Self::founded(plan, None)
    }

    /// All that are real begin with this, but for those that begin with nothing.
    pub(crate) fn founded(plan: Plan, on: Option<(&Founding, &[u16])>) -> Self {
        let keys: Vec<_> = (0..plan.n).map(|i| key(1 + i as u8)).collect();
        let public = keys
            .iter()
            .map(|key| PublicKey(key.verifying_key().to_bytes()));
        let configuration = Configuration::founded(
            ClusterId([9; 32]),
            if on.is_some() { 2 } else { 1 },
            public.collect(),
            plan.faults,
            plan.policy,
            on.map(|(founding, _)| founding.proofs),
        );
        let configuration = Arc::new(configuration.expect("a legal cluster"));
        let context = *configuration.signing_context();
        let options = |i: u16| Options {
            id: ReplicaId(i),
            configuration: Arc::clone(&configuration),
            key: keys[usize::from(i)].clone(),
            incarnation: Incarnation(u64::from(i)),
            run: 0,
            window: WINDOW,
            reservation: RESERVATION,
            limits: plan.limits.clone(),
            roots: VerifiedRoots::default(),
        };
        let options: Vec<_> = (0..plan.n).map(options).collect();
        let is_real = |options: &&Options| plan.real.contains(&options.id.0);
        let log_of = |options: &Options| match on {
            Some((founding, empty)) if !empty.contains(&options.id.0) => {
                (1..).map(Lsn).zip(founding.records.clone()).collect()
            }
            Some(_) | None => Vec::new(),
        };
        let logs: Vec<Vec<_>> = options.iter().map(log_of).collect();
        let start = |(options, log): (&Options, &Vec<_>)| {
            let options = Some(options).filter(is_real)?.clone();
            let (log, out) = (log.iter().cloned(), &mut Outputs::default());
            Some(Replica::recover(options, Time::from_micros(1), log, out).expect("a log"))
        };
        let synced = |log: Vec<_>| (log.clone(), log.len());
        let mut world = Self {
            replicas: options.iter().zip(&logs).map(start).collect(),
            logged: logs.iter().map(|log| log.len() as u64).collect(),
            disks: logs.into_iter().map(synced).collect(),
            options,
            verifier: Verifier::new(Arc::clone(&configuration)),
            signers: keys.into_iter().map(|k| Signer::new(k, context)).collect(),
            configuration,
            now: Time::from_micros(1),
            replies: Vec::new(),
            wire: Vec::new(),
            bursts: Vec::new(),
            events: Vec::new(),
            slow: BTreeSet::new(),
            cut: BTreeSet::new(),
            queue: VecDeque::new(),
            next_request: 0,
            settled: BTreeMap::new(),
            obsolete: vec![Vec::new(); usize::from(plan.n)],
        };
        for (one, other) in (0..plan.n).flat_map(|i| (0..plan.n).map(move |j| (i, j))) {
            if one != other && world.replicas[usize::from(one)].is_some() {
                world.step(one, Input::PeerConnected(ReplicaId(other), 0));
            }
        }
        world.pump();
        world
    }

    pub(crate) fn replica(&mut self, i: u16) -> &mut Replica {
        self.replicas[usize::from(i)]
            .as_mut()
            .expect("a real replica")
    }

    pub(crate) fn real(&self) -> Vec<u16> {
        let real = (0..).zip(&self.replicas).filter(|(_, r)| r.is_some());
        real.map(|(i, _)| i).collect()
    }

    /// Hands one input to a replica. What it logs is durable at once unless its disk is slow.
    pub(crate) fn step(&mut self, i: u16, input: Input) {
        let now = self.now;
        let Some(replica) = self.replicas[usize::from(i)].as_mut() else {
            return;
        };
        let mut out = Outputs::default();
        replica.handle(now, input, &mut out);
        self.gather(i, out);
        if !self.slow.contains(&i) {
            self.sync(i);
        }
    }

    pub(crate) fn options_of(&self, i: u16) -> Options {
        self.options[usize::from(i)].clone()
    }

    /// The power of a replica fails: it starts again with what it had synced, connected to nobody.
    pub(crate) fn restart(&mut self, i: u16) {
        let options = &mut self.options[usize::from(i)];
        options.run += 1 << 32;
        let (records, synced) = &mut self.disks[usize::from(i)];
        records.truncate(*synced);
        let mut out = Outputs::default();
        let replica = Replica::recover(options.clone(), self.now, records.clone(), &mut out);
        self.replicas[usize::from(i)] = Some(replica.expect("a log of our own"));
        self.logged[usize::from(i)] = records.last().map_or(0, |(lsn, _)| lsn.0);
        self.gather(i, out);
        self.sync(i);
    }

    /// The same, and these clients connect anew.
    pub(crate) fn restart_with(&mut self, i: u16, clients: &[&Client]) {
        self.restart(i);
        for client in clients {
            self.step(i, Input::ClientConnected(client.at));
        }
    }

    /// The whole log of a replica.
    pub(crate) fn log_of(&self, i: u16) -> &[(Lsn, Record)] {
        &self.disks[usize::from(i)].0
    }

    /// What of it is obsolete, in the order in which that was said.
    pub(crate) fn obsolete_of(&self, i: u16) -> &[Obsolete] {
        &self.obsolete[usize::from(i)]
    }

    /// Deletes records from the log of a replica: those obsolete that `chosen` picks, unless they must
    /// stay for another.
    pub(crate) fn prune(&mut self, i: u16, mut chosen: impl FnMut() -> bool) {
        let (records, _) = &self.disks[usize::from(i)];
        let mut there: BTreeSet<_> = records.iter().map(|(lsn, _)| *lsn).collect();
        let last = self.logged[usize::from(i)];
        // In the second round go those that had to stay for others in the first.
        for _ in 0..2 {
            for obsolete in &self.obsolete[usize::from(i)] {
                let is_last = obsolete.lsn == Lsn(last);
                let is_held = obsolete.after.is_some_and(|after| there.contains(&after));
                if !is_last && !is_held && chosen() {
                    there.remove(&obsolete.lsn);
                }
            }
        }
        let (records, synced) = &mut self.disks[usize::from(i)];
        assert_eq!(records.len(), *synced, "all is durable");
        records.retain(|(lsn, _)| there.contains(lsn));
        *synced = records.len();
    }

    /// Makes durable what a replica logged.
    pub(crate) fn sync(&mut self, i: u16) {
        let (now, lsn) = (self.now, Lsn(self.logged[usize::from(i)]));
        let mut out = Outputs::default();
        let disk = &mut self.disks[usize::from(i)];
        disk.1 = disk.0.len();
        self.replica(i).handle(now, Input::Synced(lsn), &mut out);
        self.gather(i, out);
        if Lsn(self.logged[usize::from(i)]) > lsn && !self.slow.contains(&i) {
            self.sync(i);
        }
    }

    fn gather(&mut self, i: u16, out: Outputs) {
        if let Some((last, _)) = out.records.last() {
            self.logged[usize::from(i)] = last.0;
        }
        self.disks[usize::from(i)].0.extend(out.records);
        self.obsolete[usize::from(i)].extend(out.obsolete);
        self.events.extend(out.events.into_iter().map(|e| (i, e)));
        self.bursts.push((i, self.wire.len()));
        for outgoing in out.send {
            match outgoing {
                Outgoing::Client(client, reply) => {
                    self.replies.push((i, client, reply.request, reply.body));
                }
                Outgoing::Peer(to, message) => {
                    assert_ne!(to.0, i, "a message to itself: {message:?}");
                    self.wire.push((i, to.0, message.clone()));
                    self.queue.push_back((i, to.0, message));
                }
            }
        }
    }

    /// Delivers what replicas sent each other until nothing is left.
    pub(crate) fn pump(&mut self) {
        let mut steps = 0;
        while let Some((from, to, message)) = self.queue.pop_front() {
            steps += 1;
            assert!(steps < 1_000_000, "replicas talk for ever");
            if !self.cut.contains(&(from, to)) {
                self.step(to, Input::Peer(ReplicaId(from), message));
            }
        }
    }

    /// A message of a replica that the test plays.
    pub(crate) fn peer(&mut self, from: u16, to: u16, message: PeerMessage) {
        self.step(to, Input::Peer(ReplicaId(from), message));
        self.pump();
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn pass(&mut self, span: Span) {
        let end = self.now + span;
        for _ in 0..1_000_000 {
            let due = |replica: &Replica| replica.deadline().map(|(at, _)| at);
            let next = self.replicas.iter().flatten().filter_map(due).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            for i in self.real() {
                self.step(i, Input::Tick);
            }
            self.pump();
        }
        panic!("time stands still");
    }

    /// Separates a replica from all others, or joins it again.
    pub(crate) fn isolate(&mut self, i: u16) {
        let others = (0..self.signers.len() as u16).filter(|j| *j != i);
        self.cut.extend(others.flat_map(|j| [(i, j), (j, i)]));
    }

    /// Heals all links and connects everybody anew.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        let real = self.real();
        for (one, other) in real.iter().flat_map(|i| real.iter().map(move |j| (*i, *j))) {
            if one != other {
                let next = self.replica(other).stream_next(ReplicaId(one));
                self.step(one, Input::PeerConnected(ReplicaId(other), next));
            }
        }
        self.pump();
    }

    /// A client that is connected to every real replica.
    pub(crate) fn client(&mut self, seed: u8) -> Client {
        let signer = Signer::new(key(100 + seed), *self.configuration.signing_context());
        let at = ClientRef {
            key: signer.public(),
            session: Session(u64::from(seed)),
        };
        for i in self.real() {
            self.step(i, Input::ClientConnected(at));
        }
        Client { signer, at }
    }

    /// Sends a request to one replica without delivering what follows from it.
    pub(crate) fn send(&mut self, client: &Client, to: u16, body: ClientBody) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.send_as(client, to, request, body);
        request
    }

    /// The same with a request number of the test's choice.
    pub(crate) fn send_as(
        &mut self,
        client: &Client,
        to: u16,
        request: RequestId,
        body: ClientBody,
    ) {
        let message = ClientRequest {
            request,
            settled_below: TakeNumber(self.settled.get(&client.at).copied().unwrap_or(0)),
            body,
        };
        self.step(to, Input::Client(client.at, message));
    }

    /// Sends a request to one replica, delivers what follows, and gives the answer.
    pub(crate) fn ask(&mut self, client: &Client, to: u16, body: ClientBody) -> Option<ReplyBody> {
        let request = self.send(client, to, body);
        self.pump();
        self.answer(to, client, request)
    }

    /// The last answer of a replica to a request.
    pub(crate) fn answer(
        &self,
        from: u16,
        client: &Client,
        request: RequestId,
    ) -> Option<ReplyBody> {
        let mine = |(i, to, r, _): &&(u16, ClientRef, RequestId, ReplyBody)| {
            (*i, *to, *r) == (from, client.at, request)
        };
        self.replies
            .iter()
            .rev()
            .find(mine)
            .map(|(_, _, _, body)| body.clone())
    }

    /// Writes an entry at these replicas.
    pub(crate) fn out(&mut self, client: &Client, seq: u64, tuple: Tuple, at: &[u16]) -> Target {
        let entry = client.entry(seq, tuple);
        for i in at {
            let body = ClientBody::Out {
                entry: entry.clone(),
            };
            assert_eq!(self.ask(client, *i, body), Some(ReplyBody::Ack));
        }
        self.target(entry)
    }

    /// What has to be known of an entry to take it.
    pub(crate) fn target(&self, entry: SignedBytes) -> Target {
        let verified = self.verifier.entry(entry.clone()).expect("a good entry");
        Target {
            id: verified.id.clone(),
            hash: ContentHash(verified.leaf()),
            content: Content::Signed(entry),
        }
    }

    /// The op of a Take.
    pub(crate) fn op(&self, take: &SignedBytes) -> OpId {
        self.verifier.take(take.clone()).expect("a good Take").op()
    }

    pub(crate) fn vote(&self, by: u16, kind: VoteKind, statement: &Statement) -> SealedVote {
        SealedVote::new(
            &self.signers[usize::from(by)],
            ReplicaId(by),
            kind,
            statement,
        )
    }

    pub(crate) fn certificate(
        &self,
        kind: VoteKind,
        statement: &Statement,
        by: &[u16],
    ) -> Certificate {
        let votes = by.iter().map(|i| self.vote(*i, kind, statement));
        Certificate {
            kind,
            payload: codec::encode(statement),
            votes: votes.map(|vote| (vote.replica, vote.seal)).collect(),
            carried: None,
        }
    }

    /// A decision by `q` commit votes in ballot 1, as if it had been reached elsewhere.
    pub(crate) fn decision(&self, take: &SignedBytes) -> Decision {
        let verified = self.verifier.take(take.clone()).expect("a good Take");
        let value = Value::Take(verified.op());
        let statement = statement(&verified.id, verified.epoch.0, 1, value);
        let size = self.configuration.size();
        let voters: Vec<_> = (0..size.replicas() as u16)
            .rev()
            .take(size.ack_quorum())
            .collect();
        Decision {
            certificate: self.certificate(VoteKind::Commit, &statement, &voters),
            take: Some(take.clone()),
        }
    }

    /// The certificate that an epoch was released.
    pub(crate) fn release(&self, id: &EntryId, epoch: u8) -> Certificate {
        let statement = statement(id, epoch, 1, Value::Release);
        self.certificate(VoteKind::Commit, &statement, &[1, 2, 3])
    }

    pub(crate) fn promise(&self, by: u16, promise: &PromisePayload) -> SignedBytes {
        self.signers[usize::from(by)].sign(Kind::Promise, codec::encode(promise))
    }
}

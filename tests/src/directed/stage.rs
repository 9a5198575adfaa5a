//! One entry, four replicas that do not hear each other, a liar that owns ballot 1, and two hostile
//! clients: what it takes to play an attack on one instance step by step. Everything that correct
//! replicas sign reaches the attackers, and only what those pass on reaches anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bts_core::client;
use bts_core::codec;
use bts_core::consensus::ballot::owner;
use bts_core::consensus::certificate::{Certificate, SealedVote, Statement, Value, VoteKind};
use bts_core::consensus::promise::PromisePayload;
use bts_core::content::{Decision, Put};
use bts_core::crypto::sign::SignedBytes;
use bts_core::ids::{
    Ballot, ContentHash, EntryId, Epoch, OpId, ReplicaId, RequestId, Root, Session, SpaceName,
    TakeNumber,
};
use bts_core::message::{
    ClientBody, ClientRequest, LockRequest, PeerMessage, Proposal, TakeRequest,
};
use bts_core::time::{Span, Time};

use crate::adversary::forge::{ClientForge, certificate, content_hash, first_statement, op_of};
use crate::sim::Interception;
use crate::sim::cluster::{Cluster, space, template, tuple};
use crate::sim::machine::ClientMachine;
use crate::sim::node::{Flight, Message, Node, replica};
use crate::sim::setup::{Setup, client_ref};

mod ears;

/// The liar.
pub const LIAR: u16 = 3;

/// Steps of an attack follow one another after so long.
const STEP_MS: u64 = 6;

/// How long a correct replica stays in ballot 0, in milliseconds: longer than an attack.
const WINDOW_MS: u64 = 300;

/// How long it stays there once it knows two Takes, and a little more.
const RIVALS_MS: u64 = WINDOW_MS / 8 + STEP_MS;

/// Replicas hear nothing of each other, or all.
const CLOSED: u8 = 0b0000;
const OPEN: u8 = 0b1111;

/// A client that says only what the test says in its name.
#[derive(Debug)]
pub(super) struct Mute;

impl ClientMachine for Mute {
    fn handle(&mut self, _now: Time, _input: client::Input, _out: &mut client::Outputs) {}

    fn deadline(&self) -> Option<(Time, &'static str)> {
        None
    }

    fn is_idle(&self) -> bool {
        true
    }
}

/// An entry that is fought for.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its id.
    pub id: EntryId,
    /// Its content.
    pub content: ContentHash,
}

/// The stage.
#[derive(Debug)]
pub struct Stage {
    /// Where it happens.
    pub c: Cluster,
    forges: [ClientForge; 2],
    clients: [usize; 2],
    told: Interception,
    /// A bit for each replica whose word the others with such a bit hear.
    doors: Arc<AtomicU8>,
    heard: Vec<(ReplicaId, PeerMessage)>,
    /// The proof that the epoch of what follows has begun.
    pub released: Option<Certificate>,
    written: u64,
    requests: u64,
}

impl Stage {
    /// Four replicas, the last of them the liar, and nobody hears anybody.
    pub fn new() -> Self {
        Self::of(Setup::calm(4, 1))
    }

    /// The same with this setup.
    pub fn of(mut setup: Setup) -> Self {
        setup.window = Span::from_millis(WINDOW_MS);
        let mut c = Cluster::of(setup, &[LIAR]);
        let keys = [0, 1].map(|number| c.world.setup.client_key(1_000_000 + number));
        let forges = [0, 1].map(|number| c.client_forge(number));
        let clients = keys.map(|key| {
            let identity = client_ref(&key, Session(1));
            c.world.add_client_machine(Box::new(Mute), identity, false)
        });
        clients
            .iter()
            .for_each(|one| c.world.connect_client(*one, 1));
        c.run_ms(10);
        let told = c
            .world
            .hold(move |f| clients.iter().any(|one| f.to == Node::Client(*one)));
        let doors = Arc::new(AtomicU8::new(CLOSED));
        let open = Arc::clone(&doors);
        c.world
            .hold(move |f| !may_hear(f, open.load(Ordering::Relaxed)));
        Self {
            c,
            forges,
            clients,
            told,
            doors,
            heard: Vec::new(),
            released: None,
            written: 0,
            requests: 1_000,
        }
    }

    /// The key of a hostile client.
    pub fn forge(&self, who: usize) -> &ClientForge {
        &self.forges[who]
    }

    /// From now on these replicas hear each other, and nobody else does.
    pub fn open_doors(&mut self, of: &[u16]) {
        let open = of.iter().fold(CLOSED, |open, number| open | 1 << number);
        self.doors.store(open, Ordering::Relaxed);
    }

    /// An entry that all correct replicas hold and whose ballot 1 is the liar's.
    pub fn item(&mut self) -> Item {
        self.item_of_epochs(1)
    }

    /// The same, and ballot 1 of so many epochs is the liar's.
    pub fn item_of_epochs(&mut self, epochs: u8) -> Item {
        let size = self.c.world.configuration.size();
        let is_the_liars =
            |id: &EntryId, epoch| owner(size, id, Epoch(epoch), Ballot(1)) == ReplicaId(LIAR);
        let id = loop {
            let id = self.forges[0].id(&space(), self.written);
            self.written += 1;
            if (0..epochs).all(|epoch| is_the_liars(&id, epoch)) {
                break id;
            }
        };
        self.write(id)
    }

    /// Writes the entry, or once more what a disk may have lost.
    pub fn write(&mut self, id: EntryId) -> Item {
        let entry = self.forges[0].entry(id.clone(), tuple("prize 1"));
        let content = content_hash(&self.c.world.configuration, &entry);
        for number in 0..LIAR {
            let entry = entry.clone();
            self.ask(0, number, ClientBody::Out { entry });
        }
        self.c.run_ms(STEP_MS);
        Item { id, content }
    }

    /// A Take by a hostile client.
    pub fn take(
        &self,
        who: usize,
        number: impl Into<u64>,
        item: &Item,
        puts: &[&str],
    ) -> SignedBytes {
        let puts = puts.iter().map(|words| Put::from(tuple(words))).collect();
        self.forges[who].take(
            number.into(),
            item.id.clone(),
            item.content,
            self.epoch(),
            puts,
        )
    }

    /// Two Takes by two hostile clients, in the order of their hashes.
    pub fn rivals(&self, item: &Item) -> (SignedBytes, SignedBytes) {
        let (one, other) = (
            self.take(0, 0_u64, item, &[]),
            self.take(1, 0_u64, item, &[]),
        );
        match self.op(&one) < self.op(&other) {
            true => (one, other),
            false => (other, one),
        }
    }

    /// The epoch that the release proves.
    fn epoch(&self) -> Epoch {
        let released = self.released.as_ref();
        let said = released.map(|c| codec::decode_payload::<Statement>(&c.payload));
        said.map_or(Epoch(0), |said| {
            Epoch(said.expect("a statement").epoch.0 + 1)
        })
    }

    /// The value of a Take.
    pub fn value(&self, take: &SignedBytes) -> Value {
        Value::Take(self.op(take))
    }

    /// Which of the hostile clients signed it.
    pub fn signer_of(&self, take: &SignedBytes) -> usize {
        usize::from(self.forges[1].public() == take.signer)
    }

    /// Another entry of the same number in another space.
    pub fn twin(&mut self, of: &Item, space: &SpaceName) -> Item {
        let Root::Written { seq, .. } = *of.id.root() else {
            panic!("only written entries have numbers");
        };
        let id = self.forges[0].id(space, seq.0);
        self.write(id)
    }

    /// Lets the windows of ballot 0 run out.
    pub fn wait_for_window(&mut self) {
        self.c.run_ms(WINDOW_MS + STEP_MS);
    }

    /// After a release, shown to two replicas: another Take is decided by them and the liar, and the
    /// first of the two learns of it.
    pub fn take_again(&mut self, item: &Item, released: Certificate) -> Option<()> {
        self.released = Some(released);
        let take = self.take(0, 9_u64, item, &[]);
        let votes = self.ask_votes(0, &take, &[1, 2]);
        let lock = self.certify(&votes, false)?;
        let said = self.says(item, 0, self.value(&take));
        let commits = self.lock(&lock, &said, &take, &[1, 2]);
        let decision = self.certify(&commits, false)?;
        self.decide(&decision, Some(&take), &[1]);
        Some(())
    }

    /// The hash of a Take.
    pub fn op(&self, take: &SignedBytes) -> OpId {
        op_of(&self.c.world.configuration, take)
    }

    /// What votes of a ballot say.
    pub fn says(&self, item: &Item, ballot: u32, value: Value) -> Statement {
        Statement {
            id: item.id.clone(),
            epoch: self.epoch(),
            ballot: Ballot(ballot),
            value,
        }
    }

    /// A hostile client asks a replica for something.
    pub fn ask(&mut self, who: usize, number: u16, body: ClientBody) {
        self.requests += 1;
        let request = ClientRequest {
            request: RequestId(self.requests),
            settled_below: TakeNumber(0),
            body,
        };
        self.send(
            Node::Client(self.clients[who]),
            number,
            Message::Request(request),
        );
    }

    /// The liar says something to a replica.
    pub fn say(&mut self, number: u16, message: PeerMessage) {
        self.send(replica(LIAR), number, Message::Peer(message));
    }

    /// Asks these replicas for their first votes; all that there are for it.
    pub fn ask_votes(&mut self, who: usize, take: &SignedBytes, of: &[u16]) -> Vec<SealedVote> {
        for number in of {
            let request = self.request_for(take);
            self.ask(who, *number, ClientBody::Take(request));
        }
        self.c.run_ms(STEP_MS);
        let said = first_statement(&self.c.world.configuration, take).expect("a Take");
        self.votes(VoteKind::First, &said)
    }

    /// Makes a Take known to these replicas: their timers run.
    pub fn show(&mut self, who: usize, take: &SignedBytes, to: &[u16]) {
        for number in to {
            let request = self.request_for(take);
            self.ask(who, *number, ClientBody::Evidence(request));
        }
        self.c.run_ms(STEP_MS);
    }

    /// Shows these replicas both Takes, which makes them enter ballot 1.
    pub fn enter(&mut self, takes: [&SignedBytes; 2], of: &[u16]) {
        takes.iter().for_each(|take| self.show(0, take, of));
        self.c.run_ms(RIVALS_MS);
    }

    /// Lets these replicas climb to a ballot, with the liar for company.
    pub fn climb(&mut self, item: &Item, ballot: u32, takes: &[&SignedBytes], of: [u16; 2]) {
        let lie = self.lie(item, ballot, None, None, takes);
        for number in of {
            let takes = takes.iter().map(|take| (*take).clone()).collect();
            let released = self.released.clone();
            let promise = lie.clone();
            let promise = PeerMessage::Promise {
                promise,
                takes,
                released,
            };
            self.say(number, promise);
        }
        self.open_doors(&of);
        for _ in 0..200 {
            if of
                .iter()
                .all(|one| self.promise_of(*one, item, ballot).is_some())
            {
                break;
            }
            self.c.run_ms(50);
        }
        self.open_doors(&[]);
    }

    fn request_for(&self, take: &SignedBytes) -> TakeRequest {
        TakeRequest {
            take: take.clone(),
            content: None,
            released: self.released.clone(),
        }
    }

    /// What the liar promises.
    pub fn lie(
        &self,
        item: &Item,
        ballot: u32,
        first: Option<&SignedBytes>,
        lock: Option<Certificate>,
        takes: &[&SignedBytes],
    ) -> SignedBytes {
        let ops = takes.iter().map(|take| self.op(take));
        let payload = PromisePayload {
            id: item.id.clone(),
            epoch: self.epoch(),
            ballot: Ballot(ballot),
            first: first.map(|take| self.op(take)),
            lock,
            takes: ops.take(2).collect(),
        };
        self.c.forge(LIAR).promise(&payload)
    }

    /// The liar proposes; the prepare votes it gets, its own included.
    pub fn propose(
        &mut self,
        said: &Statement,
        promises: &[SignedBytes],
        takes: &[&SignedBytes],
        to: &[u16],
    ) -> Vec<SealedVote> {
        for number in to {
            let proposal = Proposal {
                id: said.id.clone(),
                epoch: said.epoch,
                ballot: said.ballot,
                value: said.value,
                promises: promises.to_vec(),
                takes: takes.iter().map(|take| (*take).clone()).collect(),
                released: self.released.clone(),
            };
            self.say(*number, PeerMessage::Propose(proposal));
        }
        self.c.run_ms(STEP_MS);
        self.votes(VoteKind::Prepare, said)
    }

    /// A hostile client shows a lock to these replicas; the commit votes that there are for it.
    pub fn lock(
        &mut self,
        votes: &Certificate,
        said: &Statement,
        take: &SignedBytes,
        to: &[u16],
    ) -> Vec<SealedVote> {
        for number in to {
            let lock = LockRequest {
                certificate: votes.clone(),
                take: take.clone(),
                released: self.released.clone(),
            };
            self.ask(0, *number, ClientBody::Lock(lock));
        }
        self.c.run_ms(STEP_MS);
        self.votes(VoteKind::Commit, said)
    }

    /// A certificate of these votes, if they are as many as the real rules ask for.
    pub fn certify(&self, votes: &[SealedVote], fast: bool) -> Option<Certificate> {
        let enough = if fast { 4 } else { 3 };
        certificate(votes).filter(|_| votes.len() >= enough)
    }

    /// A hostile client tells a replica of a decision.
    pub fn decide(&mut self, certificate: &Certificate, take: Option<&SignedBytes>, to: &[u16]) {
        for number in to {
            let decision = Decision {
                certificate: certificate.clone(),
                take: take.cloned(),
            };
            let applied = false;
            self.ask(0, *number, ClientBody::Decide { decision, applied });
        }
        self.c.run_ms(STEP_MS);
    }

    /// A ballot of the liar from its promises to its decision, as far as the others go along.
    pub fn ballot(
        &mut self,
        said: &Statement,
        promises: &[SignedBytes],
        takes: &[&SignedBytes],
        to: &[u16],
    ) -> Option<Certificate> {
        let named = takes
            .iter()
            .find(|take| said.value == Value::Take(self.op(take)));
        let named = named.or(takes.first())?;
        let prepared = self.propose(said, promises, takes, to);
        let lock = self.certify(&prepared, false)?;
        let commits = self.lock(&lock, said, named, to);
        self.certify(&commits, false)
    }

    /// Two decisions of one instance reach different replicas, and these talk.
    pub fn reveal(
        &mut self,
        one: (&Certificate, Option<&SignedBytes>),
        other: (&Certificate, Option<&SignedBytes>),
    ) {
        self.decide(one.0, one.1, &[0]);
        self.decide(other.0, other.1, &[1]);
    }

    /// Correct replicas hear each other again; they agree, and a reader finds no contradiction.
    pub fn end(&mut self) {
        self.doors.store(OPEN, Ordering::Relaxed);
        self.c.run_ms(3_000);
        let reader = self.c.client();
        self.c.rdp(reader, template("* *"));
        while self.c.inp(reader, template("* *")).is_some() {}
        self.c.judge();
    }

    fn send(&mut self, from: Node, number: u16, message: Message) {
        let to = replica(number);
        self.c.world.send(Flight { from, to, message });
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

/// True unless it passes between correct replicas whose doors are closed.
fn may_hear(flight: &Flight, open: u8) -> bool {
    match (flight.from, flight.to) {
        (Node::Replica(from), Node::Replica(to)) if from.0 != LIAR && to.0 != LIAR => {
            open >> from.0 & open >> to.0 & 1 == 1
        }
        _ => true,
    }
}

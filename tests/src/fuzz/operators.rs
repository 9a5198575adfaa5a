//! The end of a configuration: what operators and replicas say to each other, and what a faulty replica
//! may hand over when it has stopped.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bts_core::codec;
use bts_core::configuration::Configuration;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{SignedBytes, Signer};
use bts_core::crypto::verified::Verifier;
use bts_core::ids::{ClientRef, EntryId, Lsn, PublicKey, ReplicaId, Root, Session, TakeNumber};
use bts_core::message::{AdminReply, AdminRequest, ClientBody};
use bts_core::replica::handover::{Export, Founding, United, sign_export, unite};
use bts_core::replica::ranges::WriterSession;
use bts_core::replica::{Input, Outputs, Record, Replica};
use bts_core::time::Time;

use super::Draw;
use super::decode::same_again;
use super::machines::Faulty;
use super::words::Speaker;
use crate::adversary::forge::ReplicaForge;
use crate::sim::cluster::{Cluster, take, template, tuple};
use crate::sim::machine::ReplicaMachine;
use crate::sim::node::{Message, Node, replica};
use crate::sim::setup::Setup;

/// What replicas stop for.
const PURPOSE: Digest = Digest([7; 32]);
/// Replicas of the cluster.
const REPLICAS: u16 = 4;
/// The faulty one: the first, since what the first ones say of an instance closes it.
const LIAR: ReplicaId = ReplicaId(0);
/// Records of one export.
const RECORDS_MAX: usize = 64;

/// What operators and replicas say to each other, in either direction.
pub fn admin(bytes: &[u8]) {
    same_again::<AdminRequest>(bytes, codec::decode_peer);
    same_again::<AdminReply>(bytes, codec::decode_peer);
}

thread_local! {
    static SCENES: LazyCell<[Scene; 2]> = LazyCell::new(|| {
        let life = Life::lived();
        [Scene::new(&life, &[LIAR.0]), Scene::new(&life, &[0, 1, 2, 3])]
    });
}

/// Logs that are handed over. A byte says whether three of the four replicas are correct, or none; the
/// rest makes up the records of the faulty ones. Whatever these are, what three correct ones hold
/// is neither lost nor back, and what follows from it is a log that a replica can begin with.
pub fn export(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let all_are_faulty = draw.once_in(4);
    SCENES.with(|scenes| match all_are_faulty {
        false => scenes[0].one_lies(&mut draw),
        true => scenes[1].all_lie(&mut draw),
    });
}

/// A cluster that has stopped.
struct Scene {
    setup: Setup,
    configuration: Arc<Configuration>,
    verifier: Verifier,
    faulty: Faulty,
    logs: Vec<Vec<Record>>,
    /// What is handed over if nobody lies, and the liar is given up.
    truth: United,
    /// Entries that somebody bound itself in.
    contested: BTreeSet<EntryId>,
}

impl Scene {
    /// These replicas are faulty, and two clients.
    fn new(life: &Life, liars: &[u16]) -> Self {
        let setup = Setup::calm(REPLICAS, 1);
        let configuration = setup.configuration();
        let mut faulty = Faulty::new(&setup, REPLICAS);
        let forge =
            |n: &u16| ReplicaForge::new(&configuration, ReplicaId(*n), setup.replica_key(*n));
        faulty.replicas = liars.iter().map(forge).collect();
        life.messages.iter().for_each(|m| faulty.gang.learn(m));
        let mut scene = Self {
            verifier: Verifier::sharing(Arc::clone(&configuration), setup.roots.clone()),
            faulty,
            logs: life.logs.clone(),
            truth: United::default(),
            contested: life.logs.iter().flatten().filter_map(bound_in).collect(),
            configuration,
            setup,
        };
        scene.truth = scene.united(None).expect("nobody lies");
        scene
    }

    /// The export of a replica with these records.
    fn sealed(&self, replica: ReplicaId, records: &[Vec<u8>]) -> SignedBytes {
        let context = *self.configuration.signing_context();
        let signer = Signer::new(self.setup.replica_key(replica.0), context);
        sign_export(&signer, PURPOSE, records.iter().map(Vec::as_slice))
    }

    /// What follows from the exports of those that are correct, and of the liar, if it has one.
    fn united(&self, lie: Option<Export>) -> Result<United, String> {
        let given_up = BTreeSet::from_iter([LIAR].into_iter().filter(|_| lie.is_none()));
        let logs = (0..).map(ReplicaId).zip(&self.logs);
        let correct = logs.filter(|(replica, _)| *replica != LIAR);
        let correct = correct.map(|(replica, log)| {
            let records: Vec<_> = log.iter().map(codec::encode).chain([stopped()]).collect();
            let seal = self.sealed(replica, &records);
            Export::verify(&self.verifier, replica, PURPOSE, seal, records)
                .expect("a log of our own")
        });
        let exports: Vec<_> = correct.chain(lie).collect();
        let united = unite(self.configuration.size(), &exports, &given_up);
        united.map_err(|why| why.to_string())
    }

    /// An export that the bytes make up, if it is one.
    fn made_up(&self, draw: &mut Draw<'_>, replica: ReplicaId) -> Option<Export> {
        let mut records = Vec::new();
        let mut copied = [0; REPLICAS as usize];
        while records.len() < RECORDS_MAX && !draw.is_over() {
            let Some(record) = self.record(draw, &mut copied) else {
                break;
            };
            records.push(record);
        }
        let whole = !draw.once_in(16);
        records.extend(whole.then(stopped));
        let mut seal = self.sealed(replica, &records);
        let is_altered = match draw.below(32) {
            30 => {
                seal.payload.push(draw.byte());
                true
            }
            31 => records.pop().is_some(),
            _ => false,
        };
        let export = Export::verify(&self.verifier, replica, PURPOSE, seal, records).ok()?;
        assert!(whole && !is_altered, "nobody said this");
        assert_eq!(export.replica(), replica);
        Some(export)
    }

    /// A record: one of a real log, one of the same shape, or bytes; `None` is the last.
    fn record(&self, draw: &mut Draw<'_>, copied: &mut [usize]) -> Option<Vec<u8>> {
        Some(match draw.below(16) {
            0..=4 => {
                let of = draw.below(copied.len());
                let log = self.logs.get(of)?;
                let at = copied.get_mut(of)?;
                // Now and then one is left out.
                *at += usize::from(draw.once_in(8));
                let record = log.get(*at)?;
                *at += 1;
                codec::encode(record)
            }
            5 => draw.piece().to_vec(),
            6 => return None,
            _ => codec::encode(&invented(&mut self.faulty.speaker(draw))),
        })
    }

    fn one_lies(&self, draw: &mut Draw<'_>) {
        let Some(lie) = self.made_up(draw, LIAR) else {
            return;
        };
        let united = self.united(Some(lie)).expect("one may lie");
        for id in present(&self.truth).filter(|id| !self.is_open_above(id)) {
            let is_there = united.is_present(id);
            let may_be_taken = self.contested.contains(id) && united.taken(id).is_some();
            assert!(is_there || may_be_taken, "{id} is lost");
        }
        for (id, decided) in &self.truth.decided {
            assert!(!united.is_present(id), "{id} is back");
            let known = united.taken(id).map(|take| take.op());
            let is_same = known.is_none_or(|op| op == decided.op());
            assert!(is_same, "{id} went to somebody else");
        }
        for (session, ranges) in &self.truth.gone_roots {
            assert!(united.gone_roots.contains_key(session), "{ranges:?}");
        }
        self.found(&united);
    }

    /// True if this put comes from a Take that was not decided: another one may win in its place.
    fn is_open_above(&self, id: &EntryId) -> bool {
        let above = std::iter::successors(id.origin(), |(origin, _)| origin.origin());
        let mut above = above.map(|(origin, _)| origin);
        above.any(|origin| self.truth.concluded.contains_key(&origin))
    }

    fn all_lie(&self, draw: &mut Draw<'_>) {
        let seats = (0..REPLICAS).map(ReplicaId);
        let exports: Vec<_> = seats
            .clone()
            .filter_map(|seat| self.made_up(draw, seat))
            .collect();
        let there = |seat: &ReplicaId| exports.iter().any(|export| export.replica() == *seat);
        let given_up = seats.filter(|seat| !there(seat)).collect();
        if let Ok(united) = unite(self.configuration.size(), &exports, &given_up) {
            let founding = Founding::of(&united, self.configuration.signing_context());
            assert!(founding.records.len() >= united.written.len());
        }
    }

    /// A replica begins with it, and holds all that is present.
    fn found(&self, united: &United) {
        let founding = Founding::of(united, self.configuration.signing_context());
        let next = self
            .setup
            .configuration_after(&self.configuration, founding.proofs)
            .expect("the same members");
        let options = self.setup.replica_options(&next, 0);
        let log = (1..).map(Lsn).zip(founding.records);
        let replica = Replica::recover(options, Time::ZERO, log, &mut Outputs::default());
        let replica = replica.expect("it is a log");
        assert_eq!(replica.live().count(), united.present());
    }
}

/// Any record, of things that are known, signed by the faulty ones, or by nobody.
fn invented(speaker: &mut Speaker<'_, '_>) -> Record {
    let id = speaker.id();
    match speaker.draw.below(13) {
        0 => Record::Entry(speaker.entry()),
        1 => Record::FirstVote(speaker.take()),
        2 => Record::Entered(speaker.promise(), speaker.takes()),
        3 => Record::Prepared(id, speaker.epoch(), speaker.ballot(), speaker.value()),
        4 => Record::Locked(speaker.certificate(), speaker.take()),
        5 => Record::Decided(speaker.decision()),
        6 => Record::Released(speaker.certificate()),
        7 => gone(speaker, &id),
        8 => Record::ForgotPut(id),
        9 => Record::Skipped(id),
        10 => Record::Settled(client(speaker), TakeNumber(u64::from(speaker.draw.byte()))),
        11 => Record::Ended(speaker.end()),
        _ => Record::Stopped(Digest([speaker.draw.byte(); 32])),
    }
}

/// Ranges of counters around those that are in use, and at the end of all.
fn gone(speaker: &mut Speaker<'_, '_>, id: &EntryId) -> Record {
    let Root::Written {
        space,
        writer,
        session,
        ..
    } = id.root()
    else {
        return Record::Skipped(id.clone());
    };
    let session = WriterSession {
        space: space.clone(),
        writer: *writer,
        session: *session,
    };
    let count = speaker.draw.below(4);
    let mut counter = || match speaker.draw.byte() {
        255 => u64::MAX,
        254 => u64::MAX - 1,
        low => u64::from(low & 15),
    };
    let ranges = (0..count).map(|_| (counter(), counter())).collect();
    Record::ForgotRoots(session, ranges)
}

fn client(speaker: &mut Speaker<'_, '_>) -> ClientRef {
    let known = speaker.draw.pick(speaker.clients);
    let key = known.map_or(PublicKey([0; 32]), |forge| forge.public());
    ClientRef {
        key,
        session: Session(u64::from(speaker.draw.byte())),
    }
}

fn stopped() -> Vec<u8> {
    codec::encode(&Record::Stopped(PURPOSE))
}

/// Which entry a record binds its replica in.
fn bound_in(record: &Record) -> Option<EntryId> {
    match record {
        Record::FirstVote(take) => {
            let take = codec::decode_payload::<bts_core::content::TakePayload>(&take.payload);
            take.ok().map(|take| take.id)
        }
        Record::Prepared(id, ..) => Some(id.clone()),
        Record::Entry(_)
        | Record::Entered(..)
        | Record::Locked(..)
        | Record::Decided(_)
        | Record::Released(_)
        | Record::ForgotRoots(..)
        | Record::ForgotPut(_)
        | Record::Skipped(_)
        | Record::Settled(..)
        | Record::Ended(_)
        | Record::Stopped(_) => None,
    }
}

fn present(united: &United) -> impl Iterator<Item = &EntryId> {
    let written = united.written.keys().map(|(id, _)| id);
    written.chain(&united.puts)
}

/// What the replicas of a cluster logged, and what was said in it, until they stopped.
struct Life {
    messages: Vec<Message>,
    logs: Vec<Vec<Record>>,
}

impl Life {
    /// Entries that are there, were put, were taken and forgotten, and two that are about to be taken.
    fn lived() -> Self {
        let setup = Setup::calm(REPLICAS, 1);
        let configuration = setup.configuration();
        let logs: Vec<Arc<Mutex<Vec<Record>>>> = (0..REPLICAS).map(|_| Arc::default()).collect();
        let scribe = |(number, log): (u16, &Arc<_>)| {
            let replica = Replica::new(setup.replica_options(&configuration, number));
            let log = Arc::clone(log);
            let scribe: Box<dyn ReplicaMachine> = Box::new(Scribe { replica, log });
            (number, scribe)
        };
        let scribes = (0..).zip(&logs).map(scribe).collect();
        let mut cluster = Cluster::with(setup.clone(), scribes);
        let heard: Arc<Mutex<Vec<Message>>> = Arc::default();
        let ears = Arc::clone(&heard);
        let lonely: Arc<AtomicBool> = Arc::default();
        let is_lonely = Arc::clone(&lonely);
        cluster.world.lose(move |flight| {
            let mut heard = ears.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push(flight.message.clone());
            let is_take = matches!(&flight.message, Message::Request(request)
                if matches!(request.body, ClientBody::Take(_)));
            is_take && is_lonely.load(Ordering::Relaxed) && flight.to != replica(1)
        });
        let (one, two) = (cluster.client(), cluster.client());
        for number in 1..=6 {
            cluster.out(one, tuple(&format!("task {number}")));
        }
        cluster.inp(two, template("task 1"));
        let puts = vec![tuple("done 2"), tuple("log 2")];
        cluster.swapp(two, template("task 2"), puts);
        cluster.inp(one, template("log *"));
        cluster.run_ms(3_000);
        let puts = vec![tuple("done 3")];
        cluster.swapp(two, template("task 3"), puts);
        // One Take that three vote for at once, and one that a single replica hears of.
        cluster.cut(replica(0), Node::Client(one));
        for (client, wanted) in [(one, "task 4"), (two, "task 5")] {
            let takes = cluster.world.observer.takes().count();
            cluster.start(client, take(template(wanted), false));
            cluster.run_until("a Take", |world| world.observer.takes().count() > takes);
            lonely.store(true, Ordering::Relaxed);
        }
        cluster.run_ms(1);
        let of = |log: &Arc<Mutex<Vec<Record>>>| {
            let log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.clone()
        };
        let messages = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let logs: Vec<_> = logs.iter().map(of).collect();
        Self {
            messages: messages.clone(),
            logs,
        }
    }
}

/// A replica whose log is read.
#[derive(Debug)]
struct Scribe {
    replica: Replica,
    log: Arc<Mutex<Vec<Record>>>,
}

impl ReplicaMachine for Scribe {
    fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) {
        self.replica.handle(now, input, out);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend(out.records.iter().map(|(_, record)| record.clone()));
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        self.replica.deadline()
    }

    fn stream_next(&self, peer: ReplicaId) -> u64 {
        self.replica.stream_next(peer)
    }
}

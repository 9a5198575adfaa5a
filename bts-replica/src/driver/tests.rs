//! The order of input, log, sync and promise, with a store that can fail.

use std::sync::Mutex;

use bts_certs::cluster::{Cluster, Member};
use bts_certs::{Authority, LocalIdentity, Subject, Validity};
use bts_core::configuration::Policy;
use bts_core::crypto::hash::Digest;
use bts_core::crypto::sign::{Seal, SignedBytes};
use bts_core::crypto::verified::VerifiedRoots;
use bts_core::ids::{ClusterId, Incarnation, Lsn};
use bts_core::memory::{Opinion, Peers};
use bts_core::replica::{Options, Record};

use super::*;
use crate::inbox::Owner;
use crate::settings::{Durability, Settings};
use crate::store::Log;

#[tokio::test]
async fn driver_tells_of_a_sync_only_after_it_and_once_per_batch() {
    let (mut driver, trace) = driver(Failing::Never);
    let lane = driver.shell.inbox.lane(Owner::Replica(PEER));
    for _ in 0..3 {
        lane.tell(Arrival::Peer(PEER, message()));
    }
    let peered = ["input", "input", "input"];
    let synced = ["commit 3", "synced 3"];
    let expected = [&peered[..], &synced[..]].concat();
    tokio::select! {
        ended = driver.run() => panic!("{ended:?}"),
        () = reached(&trace, expected.len()) => {}
    }
    assert_eq!(*trace.lock().expect("nobody panicked"), expected);
}

/// While a commit is under way inputs are handled, and what they log is the next commit.
#[tokio::test]
async fn driver_gathers_the_next_commit_while_one_is_under_way() {
    let (mut driver, trace) = slow_driver();
    let lane = driver.shell.inbox.lane(Owner::Replica(PEER));
    lane.tell(Arrival::Peer(PEER, message()));
    let begun = async {
        reached(&trace, 1).await;
        for _ in 0..4 {
            lane.tell(Arrival::Peer(PEER, message()));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        reached(&trace, 9).await;
    };
    tokio::select! {
        ended = driver.run() => panic!("{ended:?}"),
        () = begun => {}
    }
    let trace = trace.lock().expect("nobody panicked");
    let expected = [
        "input", "input", "input", "input", "input", "commit 1", "synced 1", "commit 4", "synced 5",
    ];
    assert_eq!(*trace, expected);
}

#[tokio::test]
async fn driver_of_a_failed_store_stops_and_promises_nothing() {
    let (mut driver, trace) = driver(Failing::Commit);
    let lane = driver.shell.inbox.lane(Owner::Replica(PEER));
    lane.tell(Arrival::Peer(PEER, message()));
    let error = driver.run().await.expect_err("the store is broken");
    assert!(error.to_string().contains("broken"), "{error}");
    assert_eq!(*trace.lock().expect("nobody panicked"), ["input"]);
}

/// the machine is made anew from what is durable, told that it is frozen, and told when there
/// is room again.
#[tokio::test]
async fn driver_of_a_full_store_freezes_and_goes_on() {
    let (mut driver, trace) = driver(Failing::Full);
    let lane = driver.shell.inbox.lane(Owner::Replica(PEER));
    lane.tell(Arrival::Peer(PEER, message()));
    let work = async {
        reached(&trace, 5).await;
        lane.tell(Arrival::Peer(PEER, message()));
        reached(&trace, 8).await;
    };
    tokio::select! {
        ended = driver.run() => panic!("{ended:?}"),
        () = work => {}
    }
    let expected = [
        "input", "made", "frozen", "no room", "thawed", "input", "commit 1", "synced 1",
    ];
    assert_eq!(*trace.lock().expect("nobody panicked"), expected);
}

/// A new store is not used before enough peers remember it, and says so itself.
#[tokio::test]
async fn driver_of_a_new_store_waits_until_it_is_remembered() {
    let waits = Standing::of_store(false);
    let (mut driver, trace) = driver_among(4, waits, Failing::Never, Duration::ZERO);
    let lane = driver.shell.inbox.lane(Owner::Replica(PEER));
    lane.tell(Arrival::Peer(PEER, message()));
    lane.tell(Arrival::Judged(Opinion::Remembered));
    let work = async {
        reached(&trace, 1).await;
        // The commit is said before the driver knows of it, and what comes before that is dropped.
        while trace.lock().expect("nobody panicked").len() < 2 {
            lane.tell(Arrival::Peer(PEER, message()));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        ended = driver.run() => panic!("{ended:?}"),
        () = work => {}
    }
    let expected = ["confirm", "input"];
    assert_eq!(trace.lock().expect("nobody panicked")[..2], expected);
}

/// A store that is not new may be an older copy of itself: before enough peers have looked at it, it hears
/// those who do not know, and its log grows, nobody ever sees that it was shorter.
#[tokio::test]
async fn driver_a8_older_copy_stays_silent_and_does_not_grow() {
    let starting = Standing::of_store(true);
    let (mut driver, trace) = driver_among(4, starting, Failing::Never, Duration::ZERO);
    let lane = driver.shell.inbox.lane(Owner::Replica(PEER));
    lane.tell(Arrival::Peer(PEER, message()));
    driver.shell.on_welcomed(PEER);
    lane.tell(Arrival::Peer(PEER, message()));
    driver.shell.on_disowned(ReplicaId(2));
    driver.shell.on_disowned(ReplicaId(3));
    lane.tell(Arrival::Peer(PEER, message()));
    // Too late: who vouches for it now does not know better than those who do not.
    driver.shell.on_welcomed(ReplicaId(2));
    driver.shell.on_welcomed(ReplicaId(3));
    lane.tell(Arrival::Peer(PEER, message()));
    let shell = driver.shell.clone();
    let disowned = async {
        while shell.standing() != Standing::Disowned {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    tokio::select! {
        ended = driver.run() => panic!("{ended:?}"),
        () = disowned => {}
    }
    assert_eq!(driver.position, Lsn(0));
    let trace = trace.lock().expect("nobody panicked");
    assert!(trace.is_empty(), "{trace:?}");
}

const PEER: ReplicaId = ReplicaId(1);
type Trace = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Copy, PartialEq)]
enum Failing {
    Never,
    Commit,
    /// Once.
    Full,
}

/// Logs one record per message.
struct Logger {
    trace: Trace,
    last: u64,
}

impl Machine for Logger {
    fn handle(&mut self, _now: Time, input: Input, out: &mut Outputs) {
        if let Input::Synced(lsn) = input {
            return say(&self.trace, format!("synced {}", lsn.0));
        }
        match input {
            Input::Frozen(Some(_)) => return say(&self.trace, "frozen".into()),
            Input::Frozen(None) => return say(&self.trace, "thawed".into()),
            _ => {}
        }
        say(&self.trace, "input".into());
        self.last += 1;
        let record = Record::Entry(nothing());
        out.records.push((Lsn(self.last), record));
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        None
    }

    fn stream_next(&self, _peer: ReplicaId) -> u64 {
        0
    }

    fn stopped(&self) -> Option<Digest> {
        None
    }
}

struct TracedStore {
    trace: Trace,
    failing: Failing,
    last: Option<Lsn>,
    takes: Duration,
    looked: bool,
}

impl Store for TracedStore {
    fn replay(&mut self, read: &mut dyn FnMut(Log<'_>)) -> Result<u64, StoreError> {
        read(&mut std::iter::empty());
        Ok(0)
    }

    fn commit(&mut self, batch: Batch) -> Result<Option<Lsn>, StoreError> {
        let path = "store".into();
        match std::mem::replace(&mut self.failing, Failing::Never) {
            Failing::Never => {}
            Failing::Commit => {
                let what = "broken".into();
                return Err(StoreError::Engine { path, what });
            }
            Failing::Full => {
                let source = std::io::ErrorKind::StorageFull.into();
                return Err(StoreError::Full { path, source });
            }
        }
        std::thread::sleep(self.takes);
        match batch.confirmed {
            true => say(&self.trace, "confirm".into()),
            false => say(&self.trace, format!("commit {}", batch.records.len())),
        }
        self.last = batch.records.last().map(|(lsn, _)| *lsn).or(self.last);
        Ok(self.last)
    }

    fn has_room(&mut self) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.looked, true) {
            return Ok(());
        }
        say(&self.trace, "no room".into());
        let source = std::io::ErrorKind::StorageFull.into();
        Err(StoreError::Full {
            path: "store".into(),
            source,
        })
    }

    fn unreplayable(&self, why: Unreplayable) -> StoreError {
        panic!("{why}")
    }

    fn close(self) -> Result<(), StoreError> {
        Ok(())
    }
}

type Made = Box<dyn FnMut(Start<'_>) -> Result<Logger, Unreplayable>>;

fn driver(failing: Failing) -> (Driver<Logger, TracedStore, Made>, Trace) {
    driver_of(failing, Duration::ZERO)
}

fn slow_driver() -> (Driver<Logger, TracedStore, Made>, Trace) {
    driver_of(Failing::Never, Duration::from_millis(200))
}

fn driver_of(failing: Failing, takes: Duration) -> (Driver<Logger, TracedStore, Made>, Trace) {
    driver_among(1, Standing::of_store(true), failing, takes)
}

fn driver_among(
    replicas: u32,
    standing: Standing,
    failing: Failing,
    takes: Duration,
) -> (Driver<Logger, TracedStore, Made>, Trace) {
    let trace = Trace::default();
    let store = TracedStore {
        trace: trace.clone(),
        failing,
        last: None,
        takes,
        looked: false,
    };
    let shell = Shell::new(
        settings_among(replicas),
        Incarnation(1),
        Peers::new(),
        standing,
    );
    let shell = Arc::new(shell);
    let options = Options {
        id: shell.settings.id,
        configuration: shell.settings.cluster.configuration().clone(),
        key: shell.settings.identity.signing_key().clone(),
        incarnation: Incarnation(1),
        run: 0,
        window: shell.settings.window,
        reservation: shell.settings.reservation,
        limits: shell.settings.limits.clone(),
        roots: VerifiedRoots::default(),
    };
    let (told, mut starts) = (trace.clone(), 0);
    let make: Made = Box::new(move |_| {
        starts += 1;
        if starts > 1 {
            say(&told, "made".into());
        }
        let (trace, last) = (told.clone(), 0);
        Ok(Logger { trace, last })
    });
    let maker = Maker::new(options, make, Writer::thread);
    let driver = Driver::start(shell, store, maker).expect("it starts");
    (driver, trace)
}

pub(crate) fn settings() -> Settings {
    settings_among(1)
}

/// Settings of the first of so many replicas.
fn settings_among(replicas: u32) -> Settings {
    let authority = Authority::create(Validity::days(2)).expect("an authority");
    let local = |number| {
        let subject = Subject::replica(number, &["localhost"]).expect("a subject");
        authority.member(&subject, Validity::days(1)).expect("made")
    };
    let locals: Vec<_> = (0..replicas).map(local).collect();
    let member = |(port, local): (u16, &LocalIdentity)| Member {
        name: local.identity().name.clone(),
        address: format!("localhost:{port}"),
        key: PublicKey(local.identity().key),
    };
    let members: Vec<_> = (1..).zip(&locals).map(member).collect();
    let faults = (members.len() - 1) / 3;
    let cluster = Cluster::new(ClusterId([1; 32]), faults, &members, &Policy::default());
    let listen = "127.0.0.1:0".parse().expect("an address");
    let cluster = cluster.expect("a cluster");
    let local = locals.into_iter().next().expect("at least one");
    Settings::new(cluster, local, listen, Durability::Memory).expect("settings")
}

fn nothing() -> SignedBytes {
    SignedBytes {
        payload: Vec::new(),
        signer: PublicKey([0; 32]),
        seal: Seal {
            signature: [0; 64],
            path: Vec::new(),
        },
    }
}

fn message() -> PeerMessage {
    PeerMessage::Applied {
        after: 0,
        items: Vec::new(),
    }
}

fn say(trace: &Trace, what: String) {
    trace.lock().expect("nobody panicked").push(what);
}

async fn reached(trace: &Trace, length: usize) {
    while trace.lock().expect("nobody panicked").len() < length {
        tokio::task::yield_now().await;
    }
}

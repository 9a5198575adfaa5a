//! The order of input, log, sync and promise, with a store that can fail.

use std::sync::Mutex;

use bts_certs::cluster::{Cluster, Member};
use bts_certs::{Authority, Subject, Validity};
use bts_core::configuration::Policy;
use bts_core::crypto::sign::{Seal, SignedBytes};
use bts_core::ids::{ClusterId, Incarnation, Lsn};
use bts_core::replica::Record;

use super::*;
use crate::inbox::Owner;
use crate::settings::Settings;

#[tokio::test]
async fn driver_tells_of_a_sync_only_after_it_and_once_per_batch() {
    let (mut driver, trace) = driver(Failing::Never);
    let lane = driver.shell.inbox.lane(Owner::Replica(PEER));
    for _ in 0..3 {
        lane.tell(Arrival::Peer(PEER, message()));
    }
    let peered = ["input", "input", "input"];
    let synced = ["append 3", "sync", "synced 3"];
    let expected = [&peered[..], &synced[..]].concat();
    tokio::select! {
        error = driver.run() => panic!("{error}"),
        () = reached(&trace, expected.len()) => {}
    }
    assert_eq!(*trace.lock().expect("nobody panicked"), expected);
}

#[tokio::test]
async fn driver_of_a_failed_store_stops_and_promises_nothing() {
    for (failing, expected) in [
        (Failing::Append, vec!["input"]),
        (Failing::Sync, vec!["input", "append 1"]),
    ] {
        let (mut driver, trace) = driver(failing);
        let lane = driver.shell.inbox.lane(Owner::Replica(PEER));
        lane.tell(Arrival::Peer(PEER, message()));
        let error = driver.run().await;
        assert_eq!(error.to_string(), "broken");
        assert_eq!(*trace.lock().expect("nobody panicked"), expected);
    }
}

const PEER: ReplicaId = ReplicaId(1);
type Trace = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Copy, PartialEq)]
enum Failing {
    Never,
    Append,
    Sync,
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
}

struct TracedStore {
    trace: Trace,
    failing: Failing,
    last: Option<Lsn>,
}

impl Store for TracedStore {
    fn append(&mut self, records: Vec<(Lsn, Record)>) -> io::Result<()> {
        if self.failing == Failing::Append {
            return Err(io::Error::other("broken"));
        }
        say(&self.trace, format!("append {}", records.len()));
        self.last = records.last().map(|(lsn, _)| *lsn);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<Option<Lsn>> {
        if self.failing == Failing::Sync {
            return Err(io::Error::other("broken"));
        }
        say(&self.trace, "sync".into());
        Ok(self.last)
    }
}

fn driver(failing: Failing) -> (Driver<Logger, TracedStore>, Trace) {
    let trace = Trace::default();
    let machine = Logger {
        trace: trace.clone(),
        last: 0,
    };
    let store = TracedStore {
        trace: trace.clone(),
        failing,
        last: None,
    };
    let shell = Arc::new(Shell::new(settings(), Incarnation(1)));
    (Driver::new(shell, machine, store), trace)
}

fn settings() -> Settings {
    let authority = Authority::create(Validity::days(2)).expect("an authority");
    let subject = Subject::replica(0, &["localhost"]).expect("a subject");
    let local = authority.member(&subject, Validity::days(1)).expect("made");
    let member = Member {
        name: local.identity().name.clone(),
        address: "localhost:1".into(),
        key: PublicKey(local.identity().key),
    };
    let cluster = Cluster::new(ClusterId([1; 32]), 0, &[member], &Policy::default());
    let listen = "127.0.0.1:0".parse().expect("an address");
    Settings::new(cluster.expect("a cluster"), local, listen).expect("settings")
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
        from: 0,
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

//! `bts-replica check`: whether a store is intact, and what is in it.

use std::fmt;
use std::path::Path;

use bts_core::ids::{ClientRef, PublicKey, RequestId, Session, TakeNumber};
use bts_core::message::{ClientBody, ClientRequest, Reply, ReplyBody, Report};
use bts_core::replica::{Input, Options, Outgoing, Outputs, Record, Replica};
use bts_core::time::Time;

use crate::home;
use crate::run::options;
use crate::settings::Settings;
use crate::store::{DiskStore, Found, Store, StoreError, Totals};

/// What a check found in an intact store.
#[derive(Debug)]
pub struct Checked {
    owner: String,
    incarnation: String,
    was_closed: bool,
    is_confirmed: bool,
    peers: usize,
    totals: Totals,
    kinds: [(&'static str, u64); 13],
    /// As the replica made from it reports itself.
    report: Option<Box<Report>>,
}

/// Reads the store in a directory from end to end, and verifies all of it. With the settings of
/// the replica it is also replayed, as at a start. Nothing is changed; nobody else may use it.
pub fn check(dir: &Path, settings: Option<&Settings>) -> Result<Checked, StoreError> {
    let dir = &match settings {
        Some(settings) => home::store_dir(dir, settings.cluster.configuration().number()),
        None => home::current_store(dir).map_err(|error| StoreError::Engine {
            path: dir.to_owned(),
            what: error.to_string(),
        })?,
    };
    let (mut store, found) = DiskStore::inspect(dir)?;
    let ours = settings.map(Settings::owner);
    if let Some(ours) = ours.filter(|ours| ours != store.identity()) {
        return Err(StoreError::Foreign {
            path: dir.to_owned(),
            theirs: store.identity().to_string(),
            ours: ours.to_string(),
        });
    }
    let options = settings.map(|settings| options(settings, store.incarnation()));
    let mut kinds = [0; 13];
    let (mut out, mut made) = (Outputs::default(), None);
    store.replay(&mut |log| {
        let log = log.inspect(|(_, record)| kinds[kind(record)] += 1);
        match options.clone() {
            Some(options) => made = Some(Replica::recover(options, Time::ZERO, log, &mut out)),
            None => log.for_each(drop),
        }
    })?;
    let report = match made {
        Some(Ok(replica)) => inspect(replica, options.as_ref()),
        Some(Err(why)) => return Err(store.unreplayable(why)),
        None => None,
    };
    store.note_obsolete(&out.obsolete);
    let mut named = NAMES.map(|name| (name, 0));
    for ((_, count), found) in named.iter_mut().zip(kinds) {
        *count = found;
    }
    Ok(Checked {
        owner: store.identity().to_string(),
        incarnation: store.incarnation().to_string(),
        was_closed: found == Found::Closed,
        is_confirmed: store.is_confirmed(),
        peers: store.peers().len(),
        totals: store.totals(),
        kinds: named,
        report,
    })
}

const NAMES: [&str; 13] = [
    "contents",
    "first votes",
    "ballots entered",
    "prepare votes",
    "locks",
    "decisions",
    "releases",
    "ranges of forgotten entries",
    "forgotten puts",
    "skipped entries",
    "settled sessions",
    "stops",
    "ended sessions",
];

fn kind(record: &Record) -> usize {
    match record {
        Record::Entry(_) => 0,
        Record::FirstVote(_) => 1,
        Record::Entered(..) => 2,
        Record::Prepared(..) => 3,
        Record::Locked(..) => 4,
        Record::Decided(_) => 5,
        Record::Released(_) => 6,
        Record::ForgotRoots(..) => 7,
        Record::ForgotPut(_) => 8,
        Record::Skipped(_) => 9,
        Record::Settled(..) => 10,
        Record::Stopped(_) => 11,
        Record::Ended(_) => 12,
    }
}

/// Asks a replica how it is, as an operator does.
fn inspect(mut replica: Replica, options: Option<&Options>) -> Option<Box<Report>> {
    let key = options.map_or(PublicKey([0; 32]), |options| {
        PublicKey(options.key.verifying_key().to_bytes())
    });
    let session = Session(0);
    let client = ClientRef { key, session };
    let request = ClientRequest {
        request: RequestId(0),
        settled_below: TakeNumber(0),
        body: ClientBody::Inspect,
    };
    let mut out = Outputs::default();
    replica.handle(Time::ZERO, Input::ClientConnected(client), &mut out);
    replica.handle(Time::ZERO, Input::Client(client, request), &mut out);
    out.send.into_iter().find_map(|outgoing| match outgoing {
        Outgoing::Client(
            _,
            Reply {
                body: ReplyBody::Report(report),
                ..
            },
        ) => Some(report),
        Outgoing::Client(..) | Outgoing::Peer(..) => None,
    })
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals {
            files,
            records,
            living,
            bytes,
        } = self.totals;
        writeln!(f, "the store of {}", self.owner)?;
        let closed = match self.was_closed {
            true => "closed",
            false => "not closed: what had not been synced is gone",
        };
        let used = match self.is_confirmed {
            true => "in use",
            false => "new, not used yet",
        };
        let Self {
            incarnation, peers, ..
        } = self;
        writeln!(
            f,
            "incarnation {incarnation}, {used}, {closed}; {peers} peers met"
        )?;
        writeln!(f, "{records} records in {files} files, {bytes} bytes")?;
        for (name, count) in self.kinds {
            writeln!(f, "  {count:>10} {name}")?;
        }
        let Some(report) = &self.report else {
            return write!(f, "intact; with --config it is replayed as well");
        };
        let dead = 100 * (records - living) / records.max(1);
        writeln!(
            f,
            "{} entries present, {} decisions remembered, {dead} % of the records obsolete",
            report.entries, report.removed
        )?;
        write!(f, "intact")
    }
}
